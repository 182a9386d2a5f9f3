package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Saves that begin while others clear away what was left: nobody's folder goes, and
// what was left goes at once, however little of it there is.
func TestWorkFolders(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for name, lock := range map[string]bool{"empty": false, "with a lock": true} {
		dir := filepath.Join(parent, savingPrefix+name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if lock {
			if err := os.WriteFile(filepath.Join(dir, lockName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	dropWork(parent, savingPrefix)
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("%v is left", left)
	}

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				w, err := newWork(parent, savingPrefix)
				if err != nil {
					t.Error(err)
					return
				}
				dropWork(parent, savingPrefix)
				if _, err := os.Stat(filepath.Join(w.dir, lockName)); err != nil {
					t.Errorf("a folder that was worked in: %v", err)
				}
				if err := w.remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if left, _ := os.ReadDir(parent); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}
