package throwaway

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// MkdirSynced makes dir and what is missing above it, for the owner only, and
// makes each new name durable. A directory that is there stays as it is.
func MkdirSynced(dir string) error {
	dir = filepath.Clean(dir)
	err := os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return SyncPath(filepath.Dir(dir))
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		if err := MkdirSynced(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return err
	}
	return SyncPath(filepath.Dir(dir))
}

// SyncTree makes every file and folder of root durable, and root's own name.
func SyncTree(ctx context.Context, root string) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return SyncPath(path)
	})
	if err != nil {
		return err
	}
	return SyncPath(filepath.Dir(filepath.Clean(root)))
}

// SyncPath makes one file, or the names in one folder, durable.
func SyncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// CopyTree copies regular files and folders; to must not exist. Blocks are
// shared where the file system can (FICLONE), never names: a hard link would let
// the copy's etcd write to the original.
func CopyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		if d.IsDir() {
			return os.Mkdir(dst, 0o700)
		}
		if !d.Type().IsRegular() {
			return &fs.PathError{Op: "copy", Path: path, Err: errors.New("no regular file")}
		}
		return CopyFile(path, dst)
	})
}

// CopyFile copies one file's bytes; to must not exist.
func CopyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil {
		return dst.Close()
	}
	if _, err := dst.ReadFrom(src); err != nil { // copy_file_range
		return err
	}
	return dst.Close()
}
