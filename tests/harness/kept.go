package harness

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
)

// Dirs are the directories with members' data below a folder: each member/, and
// each that write-ahead logs lie in, by their file system and inode.
type Dirs map[uint64]string

// DataDirs looks for them. Staging and trials, which are requorum's own copies,
// don't count.
func DataDirs(t testing.TB, root string) Dirs {
	t.Helper()
	out := Dirs{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) { // it went while we looked
				return nil
			}
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if name := d.Name(); (name == "staging" || name == "trial" || name == "recovered") && strings.HasSuffix(filepath.Dir(path), ".requorum") {
			return filepath.SkipDir
		}
		logs, _ := filepath.Glob(filepath.Join(path, "*.wal"))
		if d.Name() != "member" && len(logs) == 0 {
			return nil
		}
		info, err := d.Info()
		if err == nil {
			st := info.Sys().(*syscall.Stat_t)
			out[st.Ino^st.Dev<<40] = path // inodes are a file system's own
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Kept fails the test where one of the directories is nowhere below root any
// more: a directory that was moved aside is kept, one that was removed is not.
func (before Dirs) Kept(t testing.TB, root string) {
	t.Helper()
	now := DataDirs(t, root)
	var gone []string
	for ino, path := range before {
		if _, ok := now[ino]; !ok {
			gone = append(gone, fmt.Sprintf("%s (inode %d)", path, ino))
		}
	}
	sort.Strings(gone)
	if len(gone) > 0 {
		t.Errorf("data directories were removed:\n%s", strings.Join(gone, "\n"))
	}
}

// Without leaves out those below a path: a disk that a test itself took away.
func (before Dirs) Without(paths ...string) Dirs {
	out := Dirs{}
	for ino, path := range before {
		keep := true
		for _, p := range paths {
			keep = keep && path != p && !strings.HasPrefix(path, p+"/")
		}
		if keep {
			out[ino] = path
		}
	}
	return out
}
