package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/planner"
)

const (
	// stallLimit is how long a snapshot's stream may bring nothing. There is no
	// limit for the whole: a database may have 8 GB.
	stallLimit = 30 * time.Second
	// spareRoom is what a saved snapshot leaves free: the file may lie on a
	// survivor's own disk, and etcd takes 64 MB for its next log file (S20).
	spareRoom = 128 << 20
)

// Saved is a snapshot that was saved: complete, checked and durable.
type Saved struct {
	Path string
	// SHA256 is that of the bbolt bytes, in hex; it also stands, as 32 bytes, at
	// the file's end.
	SHA256 string
	// Size is the file's, in bytes.
	Size int64
	// Version is the member's etcd version, "3.7.3".
	Version string
	// ClusterID and MemberID are the member's, in hex.
	ClusterID, MemberID string
	// Revision is where the member was just before: the snapshot has it at least.
	Revision int64
}

// SaveSnapshot saves the database of the member at url into path, which must not
// exist: 0600, in a folder that does. The member needs no quorum, but a log-in
// with a password does. The file is written as path.part-*, beside it, and gets
// its name only once the hash that etcd sends last is right and the bytes are on
// the disk; progress, which may be nil, is told the bytes. It gives up when
// nothing comes for 30 s, and before it fills the disk.
//
// After an error nothing is at path, except where the last fsync, of the folder,
// is what failed: the whole snapshot is there then, and may be gone after a power
// cut.
func SaveSnapshot(ctx context.Context, url string, a Access, path string, progress func(done, total int64)) (Saved, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = &fs.PathError{Op: "save", Path: path, Err: fs.ErrExist}
		}
		return Saved{}, err
	}
	s, err := saveSnapshot(ctx, url, a, path, progress)
	if err != nil {
		return Saved{}, plain{fmt.Errorf("save a snapshot from %s: %w", url, err)}
	}
	return s, nil
}

func saveSnapshot(ctx context.Context, url string, a Access, path string, progress func(done, total int64)) (Saved, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallLimit, func() { cancel(fmt.Errorf("nothing came for %v", stallLimit)) })
	defer stall.Stop()
	begin, end := context.WithTimeout(ctx, defaultLimit) // the connection outlives it
	defer end()
	c, err := open(begin, url, a)
	if err != nil {
		return Saved{}, err
	}
	defer func() { _ = c.Close() }()
	st, err := c.status(begin)
	if err != nil {
		return Saved{}, fmt.Errorf("status: %w", err)
	}
	e := fromStatus(st)
	s := Saved{Path: path, Version: e.Version, ClusterID: e.ClusterID, MemberID: e.MemberID, Revision: e.Revision}
	stream, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Snapshot(ctx, &etcdserverpb.SnapshotRequest{})
	if err != nil {
		return s, rpctypes.Error(err)
	}
	next := func() (*etcdserverpb.SnapshotResponse, error) {
		resp, err := stream.Recv()
		stall.Reset(stallLimit)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		return resp, err
	}
	s.SHA256, s.Size, err = write(path, next, progress)
	return s, err
}

// write puts the stream into a file beside path, checks it, and gives it its
// name.
func write(path string, next func() (*etcdserverpb.SnapshotResponse, error), progress func(done, total int64),
) (sum string, size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // O_EXCL, 0600
	if err != nil {
		return "", 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name()) // made above, under a name that was free: never a member's data
		}
	}()
	if sum, size, err = receive(f, next, progress); err != nil {
		return "", 0, err
	}
	if err = f.Sync(); err != nil {
		return "", 0, err
	}
	if err = f.Close(); err != nil {
		return "", 0, err
	}
	if err = publish(f.Name(), path); err != nil {
		return "", 0, err
	}
	return sum, size, syncFolder(filepath.Dir(path))
}

// receive copies the stream to f until its end, and holds what came before the
// last 32 bytes against the hash in them.
func receive(f *os.File, next func() (*etcdserverpb.SnapshotResponse, error), progress func(done, total int64),
) (sum string, size int64, err error) {
	t := tailHash{Hash: sha256.New()}
	var total int64
	for {
		resp, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", 0, fmt.Errorf("the stream broke off after %d of %d bytes: %w", size, total, rpctypes.Error(err))
		}
		if total == 0 {
			total = int64(resp.RemainingBytes) + int64(len(resp.Blob)) + sha256.Size
			if err := room(f, total); err != nil {
				return "", 0, err
			}
		}
		if _, err := f.Write(resp.Blob); err != nil {
			return "", 0, err
		}
		t.add(resp.Blob)
		size += int64(len(resp.Blob))
		progress(size, total)
	}
	got := t.Sum(nil)
	switch {
	case size%512 != sha256.Size || size == sha256.Size:
		return "", 0, fmt.Errorf("what came is no snapshot with its hash: %d bytes", size)
	case !bytes.Equal(got, t.tail):
		return "", 0, fmt.Errorf("the snapshot does not match its hash: %x was sent, %x came", t.tail, got)
	}
	return hex.EncodeToString(got), size, nil
}

// tailHash hashes all but the last 32 bytes, which it keeps.
type tailHash struct {
	hash.Hash
	tail []byte
}

func (t *tailHash) add(p []byte) {
	t.tail = append(t.tail, p...)
	if n := len(t.tail) - sha256.Size; n > 0 {
		t.Write(t.tail[:n])
		t.tail = append(t.tail[:0], t.tail[n:]...)
	}
}

// room makes sure that f's disk has space for need bytes and some to spare.
func room(f *os.File, need int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("free space at %s: %w", f.Name(), err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need+spareRoom {
		return noRoom{fmt.Errorf("%s has %d MiB free; the snapshot needs %d, and %d are to stay free",
			filepath.Dir(f.Name()), free>>20, need>>20+1, spareRoom>>20)}
	}
	return nil
}

type noRoom struct{ error }

// SaveCode is the code of a refusal that says why SaveSnapshot failed.
func SaveCode(err error) planner.Code {
	var full noRoom
	switch {
	case errors.As(err, &full), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return planner.CodeNoRoom
	case isAuth(err), errors.Is(err, rpctypes.ErrPermissionDenied):
		return planner.CodeAuthRequired
	}
	return planner.CodeSnapshotUnreadable
}

// publish gives the finished file its name, unless something has it by now. NFS
// and others know no RENAME_NOREPLACE; there a second name is made and the first
// taken away.
func publish(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from) // the temporary name; the file stays under its own
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// syncFolder makes the names in a folder durable.
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
