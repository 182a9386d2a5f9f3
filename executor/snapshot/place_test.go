package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Where a file system has no files without a name, the snapshot is copied by name.
// In both ways a name that is taken stays as it is.
func TestPlacing(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	snapshot := write(t, append(bytes.Clone(body), make([]byte, 32)...))
	for name, nameless := range map[string]bool{"nameless": true, "by name": false} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			place := func() error {
				list, err := openPlacings(snapshot, int64(len(body)), []string{path})
				if err != nil {
					t.Fatal(err)
				}
				p := list[0]
				defer p.close()
				if !nameless && p.file != nil {
					p.file.Close()
					p.file = nil
				}
				if s := p.sink(); s != nil {
					if err := s(body); err != nil {
						t.Fatal(err)
					}
				}
				if names := must(os.ReadDir(filepath.Dir(path)))(t); len(names) > 1 {
					t.Errorf("%v", names)
				}
				return p.link(snapshot, int64(len(body)))
			}
			if err := place(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(must(os.ReadFile(path))(t), body) {
				t.Error("other bytes")
			}
			must(0, os.WriteFile(path, []byte("mine"), 0o600))(t)
			if err := place(); err == nil || string(must(os.ReadFile(path))(t)) != "mine" {
				t.Errorf("written over (%v)", err)
			}
		})
	}
}
