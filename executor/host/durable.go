package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile puts data at path, 0600, so that after any crash either the old or
// the new content is there in full: a temporary file beside it, fsync, rename,
// fsync of the folder.
func WriteFile(path string, data []byte) error { return WriteFileIf(path, data, nil) }

// WriteFileIf is WriteFile that asks right before the rename whether it is still to be:
// the fsync takes a while, in which whoever writes may lose the right to.
func WriteFileIf(path string, data []byte, still func() error) error {
	return writeFile(path, data, nil, still)
}

// WriteFileFor is WriteFile of a file that a group may read too, 0640: it is so from the
// first moment that it is at path, and nobody else can read it at any.
func WriteFileFor(path string, data []byte, uid, gid int) error {
	return writeFile(path, data, func(f *os.File) error {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
		return f.Chmod(0o640)
	}, nil)
}

func writeFile(path string, data []byte, give func(*os.File) error, still func() error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name()) // the temporary file that was made above: never data
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if give != nil {
		if err = give(f); err != nil {
			return err
		}
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if still != nil {
		if err = still(); err != nil {
			return err
		}
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
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

// MkdirAll makes dir (absolute) and what is missing above it, 0700 and durable.
// It returns the folders that it made, the outermost first.
func MkdirAll(dir string) ([]string, error) {
	fi, err := os.Stat(dir)
	if err == nil {
		if !fi.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", dir)
		}
		return nil, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if filepath.Dir(dir) == dir {
		return nil, err
	}
	made, err := MkdirAll(filepath.Dir(dir))
	if err != nil {
		return made, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) { // somebody else was faster
			return made, nil
		}
		return made, err
	}
	return append(made, dir), SyncDir(filepath.Dir(dir))
}

// MakeFolder makes a folder that everybody may read, and those above it.
func MakeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := MakeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is
		return err
	}
	return SyncDir(filepath.Dir(dir))
}
