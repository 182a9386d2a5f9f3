package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/requorum/requorum/planner"
)

// openFile opens a regular file to read, without waiting for a pipe's other end.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file (%s)", path, info.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// localFile is the file that a local place stands for, and its state. A folder
// stands for the newest file in it.
func localFile(p place) (string, os.FileInfo, error) {
	info, err := os.Stat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, refuse(planner.CodeSnapshotMissing, err, "%s does not exist", p.shown())
	case err != nil:
		return "", nil, unreadable(p, err)
	case p.folder && !info.IsDir():
		return "", nil, refuse(planner.CodeSnapshotMissing, nil, "%s is no folder: leave out the / at its end to name the file", p.shown())
	case !info.IsDir():
		return p.path, info, nil
	}
	found, err := listLocal(p)
	if err != nil {
		return "", nil, err
	}
	if len(found) == 0 {
		return "", nil, refuse(planner.CodeSnapshotMissing, nil, "no snapshot is in the folder %s: name the file itself", p.shown())
	}
	info, err = os.Stat(found[0].Name)
	if err != nil {
		return "", nil, unreadable(p, err)
	}
	return found[0].Name, info, nil
}

func unreadable(p place, err error) error {
	return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be read: %s", p.shown(), p.scrub(err.Error()))
}

// listLocal gives the snapshots in a folder, the newest first.
func listLocal(p place) ([]Object, error) {
	entries, err := os.ReadDir(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(planner.CodeSnapshotMissing, err, "the folder %s does not exist", p.shown())
	}
	if err != nil {
		return nil, unreadable(p, err)
	}
	var out []Object
	for _, e := range entries {
		if !isSnapshotName(e.Name()) {
			continue
		}
		info, err := os.Stat(filepath.Join(p.path, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken away in between, or a link to nothing
		}
		if err != nil {
			return nil, unreadable(p, err)
		}
		if info.Mode().IsRegular() {
			out = append(out, Object{Name: filepath.Join(p.path, e.Name()), Size: info.Size(), ModifiedAt: info.ModTime()})
		}
	}
	newestFirst(out)
	return out, nil
}

func newestFirst(list []Object) {
	slices.SortFunc(list, func(a, b Object) int {
		return cmp.Or(b.ModifiedAt.Compare(a.ModifiedAt), strings.Compare(b.Name, a.Name))
	})
}

// removeLocal removes one snapshot, never a folder or what a member has.
func removeLocal(p place) error {
	info, err := os.Lstat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse(planner.CodeSnapshotMissing, err, "%s does not exist", p.shown())
	case err != nil:
		return unreadable(p, err)
	case info.IsDir():
		return refuse(planner.CodeSnapshotUnsupported, nil, "%s is a folder, and only files are removed", p.shown())
	case memberFile(p.path):
		return refuse(planner.CodeSnapshotUnsupported, nil, "%s lies in a member's data directory, from which nothing is removed", p.shown())
	}
	if err := os.Remove(p.path); err != nil {
		return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be removed: %v", p.shown(), err)
	}
	return syncFolder(filepath.Dir(p.path))
}

// memberFile tells whether a file lies in a data directory of etcd's.
func memberFile(path string) bool {
	real, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		real = filepath.Dir(path)
	}
	in := filepath.Base(real)
	return in == "wal" || in == "snap" && filepath.Base(filepath.Dir(real)) == "member"
}
