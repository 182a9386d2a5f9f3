package systemd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// largest is the size of a unit's file that is still read.
const largest = 1 << 20

// readOwn reads a file of requorum's own; ok is false for any other, and for none.
func readOwn(path string) (text string, ok bool) {
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > largest {
		return "", false
	}
	b, err := os.ReadFile(path)
	if err != nil || !planner.OwnUnitText(string(b)) {
		return "", false
	}
	return string(b), true
}

// writeFile has f's text at its path, durably, in one rename: with the owner and mode
// of the file that is there, or 0644. What the plan did not see is not written over.
func writeFile(f planner.FileChange) (err error) {
	if planner.IsUntold(f.Text) {
		return fmt.Errorf("%s: the plan does not have all that belongs there, for it is a secret: plan again", f.Path)
	}
	if !inUnitDir(f.Path) {
		return fmt.Errorf("%s is no place for a unit's file", f.Path)
	}
	mode, uid, gid := fs.FileMode(0o644), os.Geteuid(), os.Getegid()
	fi, err := os.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.Was != "":
		return fmt.Errorf("%s is gone since the plan was made: plan again", f.Path)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%s is no plain file (%s): it is not written over", f.Path, fi.Mode().Type())
	default:
		now, err := os.ReadFile(f.Path)
		if err != nil {
			return err
		}
		if string(now) == f.Text {
			return nil
		}
		if sumOf(string(now)) != f.Was && sumOf(process.TellUnit(string(now))) != f.Was {
			return fmt.Errorf("%s is another file than the plan saw: plan again", f.Path)
		}
		mode = fi.Mode().Perm()
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(st.Uid), int(st.Gid)
		}
	}
	return put(f.Path, f.Text, mode, uid, gid)
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func put(path, text string, mode fs.FileMode, uid, gid int) (err error) {
	if err := host.MakeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	// A name that systemd does not read.
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name()) // the temporary file that was made above: never data
		}
	}()
	if _, err = tmp.WriteString(text); err != nil {
		return err
	}
	if err = tmp.Chown(uid, gid); err != nil {
		return err
	}
	if err = tmp.Chmod(mode); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// dropFile removes a drop-in that requorum has written: its first words are read here
// once more. Nothing of a unit's own settings is in one that is dropped.
func dropFile(path string) error {
	if _, ok := readOwn(path); !ok || !inUnitDir(path) {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("%s is not requorum's: it is not removed", path)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	if os.Remove(filepath.Dir(path)) != nil { // of a folder only where it is empty, and fails otherwise
		return nil
	}
	return syncDir(filepath.Dir(filepath.Dir(path)))
}

// syncDir is host.SyncDir; a test looks at what is made durable, and when.
var syncDir = host.SyncDir

// syncLinks makes durable what systemctl has linked or unlinked in dir: it does not do
// that itself, and a power cut some seconds later would take an enable, or a mask, back.
func syncLinks(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() || ext != ".wants" && ext != ".requires" && ext != ".upholds" {
			continue
		}
		if err := syncDir(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(dir)
}

const runtimeDir = "/run/systemd/system"

// unitDirs are the folders that files are written in, others in tests.
var unitDirs = []string{planner.UnitDir, runtimeDir}

func inUnitDir(path string) bool {
	return filepath.Clean(path) == path && slices.ContainsFunc(unitDirs, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
}
