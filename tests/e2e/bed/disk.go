package bed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// newDisk makes an empty disk, with a file system that has all its room for any
// user.
func (h *Host) newDisk(ctx context.Context, name, fileSystem string, mb int) error {
	image := h.path(name + ".img")
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(int64(mb)<<20), f.Close()); err != nil {
		return err
	}
	switch fileSystem {
	case "ext4":
		_, err = run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", image)
	case "xfs":
		_, err = run(ctx, "mkfs.xfs", "-q", "-f", image)
	default:
		err = fmt.Errorf("there is no file system %q for a disk: ext4 or xfs", fileSystem)
	}
	return err
}

// shutdown is what `xfs_io -x -c shutdown` does, on ext4 and xfs alike: from now on
// everything fails with EIO, and nothing that is not on the disk gets there.
func shutdown(f *os.File) error {
	const (
		goingDown  = 0x8004587d // XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN
		noLogFlush = 2
	)
	if err := unix.IoctlSetPointerInt(int(f.Fd()), goingDown, noLogFlush); err != nil {
		return fmt.Errorf("shutdown of the file system at %s: %w", f.Name(), err)
	}
	return nil
}

// KillDisk makes the data disk fail with EIO from now on, reads and writes; what was
// not synced is lost. It works again, as after a crash, when the host was powered off
// and on.
func (h *Host) KillDisk() {
	h.b.t.Helper()
	h.b.must(h.shutDisk("data"))
}

// ReplaceDisk puts a new, empty data disk into a host that is off.
func (h *Host) ReplaceDisk() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.offline())
	h.b.must(errors.Join(os.Remove(h.path("data.img")), os.Remove(h.path("data.used"))))
	h.b.must(h.newDisk(ctx, "data", h.b.o.FileSystem, h.b.o.DiskMB))
}

// Reinstall gives a host that is off new disks, both of them: a new machine under
// the old name and address. Its ssh host key stays, as a configuration manager would
// see to it.
func (h *Host) Reinstall() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.ReplaceDisk()
	h.b.must(os.Remove(h.path("system.img")))
	h.b.must(h.newDisk(ctx, "system", "ext4", systemMB))
}

func (h *Host) offline() error {
	if h.On() {
		return fmt.Errorf("host %s is on", h.Name)
	}
	return nil
}

// ballast is the file that FillDisk makes, where no member's data is.
func (h *Host) ballast() (string, error) {
	root, err := h.root()
	if err != nil {
		return "", err
	}
	if h.b.o.FileSystem == "xfs" {
		return filepath.Join(root, "var/lib/etcd/.bed-ballast"), nil
	}
	return filepath.Join(root, "var/lib/etcd/lost+found/ballast"), nil
}

// root is the host's root folder, as the machine gets to it.
func (h *Host) root() (string, error) {
	pid := h.initPID()
	if pid == 0 {
		return "", fmt.Errorf("host %s is off", h.Name)
	}
	return fmt.Sprintf("/proc/%d/root", pid), nil
}

// FillDisk takes the room of the data disk away, but for so many bytes.
func (h *Host) FillDisk(leave int64) {
	h.b.t.Helper()
	path, err := h.ballast()
	h.b.must(err)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	h.b.must(err)
	defer f.Close()
	h.b.must(fill(f, leave))
}

// fill makes f longer until no more than leave bytes are free.
func fill(f *os.File, leave int64) error {
	for range 1000 {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
			return err
		}
		more := int64(fs.Bavail)*fs.Bsize - leave
		if more < fs.Bsize {
			return nil
		}
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		// The file needs blocks for what it is made of, too.
		for err = unix.ENOSPC; errors.Is(err, unix.ENOSPC) && more >= fs.Bsize; more /= 2 {
			err = unix.Fallocate(int(f.Fd()), 0, size, more/fs.Bsize*fs.Bsize)
		}
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("filling the disk: %w", err)
		}
	}
	return fmt.Errorf("the disk of %s does not get full", f.Name())
}

// FreeDisk gives the room back.
func (h *Host) FreeDisk() {
	h.b.t.Helper()
	path, err := h.ballast()
	h.b.must(err)
	h.b.must(os.Remove(path))
}

// SnapshotDisk copies the data disk as it is at one moment, which is as a power-off
// would leave it, and gives the image's path. The host is frozen meanwhile.
func (h *Host) SnapshotDisk() string {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	from := h.path("data.img")
	if h.On() {
		h.Freeze()
		defer h.Thaw()
	}
	for i := 1; ; i++ {
		to := h.path(fmt.Sprintf("data-%d.img", i))
		if exists(to) {
			continue
		}
		// The kernel may still be writing: what was there before has to be what is
		// there afterwards.
		for range 20 {
			before, err := sum(from)
			h.b.must(err)
			_, err = run(ctx, "cp", "--sparse=auto", from, to)
			h.b.must(err)
			after, err := sum(from)
			h.b.must(err)
			if before == after {
				return to
			}
		}
		h.b.t.Fatalf("the disk of %s is never quiet", h.Name)
	}
}

// sum is the hash of what a sparse file holds, with its places.
func sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	for at := int64(0); ; {
		begin, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return fmt.Sprintf("%x", hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if at, err = f.Seek(begin, unix.SEEK_HOLE); err != nil {
			return "", err
		}
		fmt.Fprintln(hash, begin, at)
		if _, err := io.Copy(hash, io.NewSectionReader(f, begin, at-begin)); err != nil {
			return "", err
		}
	}
}

// UseDisk puts an image of SnapshotDisk into a host that is off.
func (h *Host) UseDisk(image string) {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.offline())
	_, err := run(ctx, "cp", "--sparse=auto", image, h.path("data.img"))
	h.b.must(err)
}
