package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// What a unit's user may read is found out as that user; and whoever asks is himself
// again afterwards.
func TestReadAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string, mode os.FileMode, gid int) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o600), os.Chown(path, 0, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const nobody, group, further = 65534, 65534, 4711
	who := user{name: "nobody", uid: nobody, gid: group, groups: []int{further}}
	closed := file("closed/key", 0o644, 0)
	if err := os.Chmod(filepath.Dir(closed), 0o700); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		for path, want := range map[string]error{
			file("all", 0o644, 0): nil, file("group", 0o640, group): nil, file("further", 0o640, further): nil,
			file("root", 0o600, 0): fs.ErrPermission, file("another-group", 0o640, 12): fs.ErrPermission, closed: fs.ErrPermission,
			filepath.Join(dir, "none"): fs.ErrNotExist,
		} {
			wg.Go(func() {
				if _, err := who.read(path); !errors.Is(err, want) && err != want {
					t.Errorf("%s: %v, want %v", path, err, want)
				}
				if _, err := os.ReadFile(filepath.Join(dir, "root")); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}
