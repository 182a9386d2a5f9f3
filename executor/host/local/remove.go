package local

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// Everything that this package removes goes through this file.

// removeOwn removes one of requorum's own half-made copies, with all that is in
// it: a staging that is not complete or that was put in place, or the throwaway
// copy of a trial or of a recovery. It refuses any path that is not one of these
// folders of the member's, or that leads out of them through a symbolic link.
// A user's directories never lie in them (see install.go).
func removeOwn(l host.Layout, path string) error {
	roots := []string{l.Staging(), l.Trial(), recoverWork(l)}
	if l.WALDir != "" {
		roots = append(roots, l.StagingWAL())
	}
	fi, err := os.Lstat(path)
	if notExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("not removed: %s is not a directory of requorum's", path)
	}
	for _, root := range roots {
		ok, err := inRoot(root, path)
		if err != nil {
			return err
		}
		if ok && !within(l.DataDir, path) && (l.WALDir == "" || !within(l.WALDir, path)) {
			// Staging and throwaway copies only, as just checked: never the data itself.
			return os.RemoveAll(path)
		}
	}
	return fmt.Errorf("not removed: %s is not in %v", path, roots)
}

// inRoot reports whether path is root or in it, where both really are.
func inRoot(root, path string) (bool, error) {
	fi, err := os.Lstat(root)
	if notExist(err) {
		return false, nil
	}
	if err != nil || !fi.IsDir() {
		return false, err
	}
	root, err = filepath.EvalSymlinks(root)
	if err != nil {
		return false, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	return within(real, root), nil
}

// removeUntouched removes the marker that etcd was started, where it is proven
// that this etcd wrote nothing: requorum's own small file, never data, and no
// evidence of any.
func removeUntouched(l host.Layout) error {
	if err := os.Remove(l.Ran()); err != nil {
		return err
	}
	return host.SyncDir(l.Base())
}

// removeFenceFile removes the plain file of a fence: requorum's own words, which
// are read here once more, in a regular file. A directory can't be removed by it.
func removeFenceFile(path string) error {
	if host.FenceTextAt(path) == "" {
		return fmt.Errorf("not removed: %s is no fence", path)
	}
	if err := unix.Unlink(path); err != nil { // of a file only
		return err
	}
	return host.SyncDir(filepath.Dir(path))
}

// removeFence removes a fence's plain file from a slot, and the marks that were
// written for it; the slot goes only if nothing else is in it.
func removeFence(s slot) {
	if removeFenceFile(s.fenceIn) != nil || s.name != "" {
		return
	}
	for _, mark := range []string{s.fenceFile(), s.mark()} {
		_ = unix.Unlink(mark) // requorum's own small files about what is not there
	}
	removeEmpty([]string{s.dir, filepath.Dir(s.dir)})
}

// removeRecord removes a record of origin, of which a copy is kept beside it, for
// data that never came: requorum's own small file, never data.
func removeRecord(l host.Layout) error {
	if err := os.Remove(l.Provenance()); err != nil {
		return err
	}
	return host.SyncDir(l.Base())
}

// removeEmpty removes folders of requorum's own that are empty, the innermost
// first; rmdir(2) leaves any that has something in it.
func removeEmpty(dirs []string) {
	slices.SortFunc(dirs, func(a, b string) int { return len(b) - len(a) })
	for _, dir := range slices.Compact(dirs) {
		_ = unix.Rmdir(dir) // fails where there is anything in it, and should
	}
}
