package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
)

// placing is one member's db on its way to where it belongs. Until the snapshot
// is proven it has no name: a refusal, a crash or a kill leaves nothing behind.
type placing struct {
	path string   // where it goes
	file *os.File // nil where the file system has no files without a name
	// same is the placing whose blocks it shares: its bytes are taken when those
	// are complete.
	same   *placing
	filled bool // by sharing the snapshot's own blocks
	begun  int64
	ask    chan int64 // how far writing has come, for the disk
	asked  chan struct{}
}

// openPlacings opens a file for each path. Those that can share blocks, with the
// snapshot or with one another, do; the others are given the bytes by a sink.
func openPlacings(snapshot string, body int64, paths []string) (list []*placing, err error) {
	src, err := os.Open(snapshot)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	for _, path := range paths {
		p := &placing{path: path}
		list = append(list, p)
		if p.file = nameless(existing(path)); p.file == nil {
			continue
		}
		if unix.IoctlFileClone(int(p.file.Fd()), int(src.Fd())) == nil {
			if err := p.file.Truncate(body); err != nil {
				return list, err
			}
			p.filled = true
			continue
		}
		for _, other := range list[:len(list)-1] {
			if other.file != nil && other.same == nil && unix.IoctlFileClone(int(p.file.Fd()), int(other.file.Fd())) == nil {
				p.same = other
				break
			}
		}
	}
	return list, nil
}

// nameless opens a file that has no name in the file system of dir, nil where
// there is no such thing (NFS, some FUSE).
func nameless(dir string) *os.File {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, "(no name)"))
}

// existing is the nearest folder above path that is there.
func existing(path string) string {
	for path = filepath.Dir(path); ; path = filepath.Dir(path) {
		if fi, err := os.Stat(path); err == nil && fi.IsDir() || path == filepath.Dir(path) {
			return path
		}
	}
}

// sink writes the bytes as they come, nil where none are to be written. The disk
// is asked to begin at once: it has the longest way to go.
func (p *placing) sink() sink {
	if p.file == nil || p.same != nil || p.filled {
		return nil
	}
	p.ask, p.asked = make(chan int64, 1), make(chan struct{})
	go p.push()
	const often = 16 << 20
	var done int64
	return func(b []byte) error {
		if _, err := p.file.WriteAt(b, done); err != nil {
			return fmt.Errorf("writing %s: %w", p.path, err)
		}
		done += int64(len(b))
		if done-p.begun >= often {
			select {
			case p.ask <- done:
				p.begun = done
			default: // it is at it
			}
		}
		return nil
	}
}

// push has the kernel write back what was written: no promise, only an early
// beginning. fsync follows.
func (p *placing) push() {
	defer close(p.asked)
	var from int64
	for upTo := range p.ask {
		_ = unix.SyncFileRange(int(p.file.Fd()), from, upTo-from, unix.SYNC_FILE_RANGE_WRITE)
		from = upTo
	}
}

// close gives up what has no name yet.
func (p *placing) close() {
	if p.ask != nil {
		close(p.ask)
		<-p.asked
		p.ask = nil
	}
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
}

// link gives the file its name, which must be free. snapshot is copied, by name,
// where there is no other way.
func (p *placing) link(snapshot string, body int64) error {
	if p.same != nil {
		if err := unix.IoctlFileClone(int(p.file.Fd()), int(p.same.file.Fd())); err != nil {
			return fmt.Errorf("sharing the blocks of %s: %w", p.same.path, err)
		}
	}
	if p.file != nil {
		err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", p.file.Fd()), unix.AT_FDCWD, p.path, unix.AT_SYMLINK_FOLLOW)
		if err == nil || errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	// Without /proc, or across a project's quota.
	if err := throwaway.CopyFile(snapshot, p.path); err != nil {
		return err
	}
	return os.Truncate(p.path, body)
}
