package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/planner"
)

// spareRoom stays free on a disk that a snapshot is written to.
const spareRoom = 64 << 20

// checkEvery is how many bytes are written between two looks at the free space.
const checkEvery = 32 << 20

// freeBytes is how much may be written where f lies. Tests replace it.
var freeBytes = func(f *os.File) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("free space at %s: %w", f.Name(), err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// room refuses to write need more bytes to f's disk. instead says how to come by
// another one.
func room(f *os.File, need int64, instead string) error {
	free, err := freeBytes(f)
	if err != nil {
		return err
	}
	if free < need+spareRoom {
		return refuse(planner.CodeNoRoom, nil, "%s has %d MiB free; %d more are needed, and %d are to stay free: make room there, or %s",
			filepath.Dir(f.Name()), free>>20, need>>20+1, spareRoom>>20, instead)
	}
	return nil
}

// roomWriter writes to a file as long as its disk has room.
type roomWriter struct {
	f       *os.File
	since   int64  // bytes written since the last look
	instead string // how to come by another disk
}

// RoomWriter writes to f as long as its disk has room, and some to spare (S20).
// instead says how to come by another disk. Its errors are *Problem where there is no
// room.
func RoomWriter(f *os.File, instead string) io.Writer { return &roomWriter{f: f, instead: instead} }

const elsewhere = "fetch to another file system (XDG_CACHE_HOME)"

func (w *roomWriter) Write(p []byte) (int, error) {
	if w.since -= int64(len(p)); w.since < 0 {
		if err := room(w.f, checkEvery, w.instead); err != nil {
			return 0, err
		}
		w.since = checkEvery
	}
	n, err := w.f.Write(p)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = refuse(planner.CodeNoRoom, err, "%s is full: make room there, or %s", filepath.Dir(w.f.Name()), w.instead)
	}
	return n, err
}

// writeWhole writes a file of requorum's own so that it is there in full or not
// at all; an older one of that name is replaced.
func writeWhole(path string, fill func(*os.File) error) error {
	return fillPart(path+".part", fill, func(part string) error { return publish(part, path) })
}

// writeNew is writeWhole for a name that must be free.
func writeNew(path string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	f.Close()
	return fillPart(f.Name(), fill, func(part string) error { return publishNew(part, path) })
}

// fillPart fills a file, makes it durable and gives it its name; after an error
// nothing of it is left.
func fillPart(part string, fill func(*os.File) error, name func(string) error) (err error) {
	f, err := openPart(part)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			dropPart(part)
		}
	}()
	if err = fill(f); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return name(part)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("fsync %s: %w", dir, err)
	}
	return nil
}

// --- What takes a file away, or its name. Nothing else in this package does.

// openPart opens a half file of this package's own, empty.
func openPart(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
}

// dropPart removes a half file.
func dropPart(path string) { _ = os.Remove(path) }

// publish gives a finished file of the cache its name.
func publish(part, path string) error {
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// publishNew gives a finished file its name, unless something has it by now. NFS
// and others know no RENAME_NOREPLACE; there a second name is made and the first
// taken away.
func publishNew(part, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err = os.Link(part, path); err == nil {
			dropPart(part)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return refuse(planner.CodeSnapshotUnreadable, err, "%s is there already, and no snapshot is written over: give another name", path)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: part, New: path, Err: err}
	}
	return syncFolder(filepath.Dir(path))
}

// drop removes a file of the cache.
func (s *store) drop(name string) { _ = os.Remove(s.path(name)) }

// dropOthers removes what the cache has of other versions than this id.
func (s *store) dropOthers(id string) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return // only room is lost
	}
	for _, e := range entries {
		kind, of, _ := strings.Cut(e.Name(), "-")
		if (kind == "body" || kind == "snapshot") && of != id {
			s.drop(e.Name())
		}
	}
}
