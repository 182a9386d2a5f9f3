package main

import (
	"errors"
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
	host, boot := hereNow()
	for name, lock := range map[string]bool{host + "~" + boot + "~1": false, host + "~" + boot + "~2": true, host + "~00000000~3": true, "pod-1~" + boot + "~4": true} {
		left(t, parent, name, lock)
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

// left makes what a kill leaves.
func left(t *testing.T, parent, name string, lock bool) (dir string) {
	t.Helper()
	dir = filepath.Join(parent, savingPrefix+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if lock {
		if err := os.WriteFile(filepath.Join(dir, lockName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What may be at work on another machine, where a lock is not seen, is left alone, and
// what is another user's, or open to others; and it is said.
func TestWorkFoldersOfOthers(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	host, boot := hereNow()
	left(t, parent, "elsewhere~00000000~1", true)
	left(t, parent, "123456", true) // does not say where
	if err := os.Chmod(left(t, parent, host+"~"+boot+"~2", true), 0o755); err != nil {
		t.Fatal(err)
	}
	want := 3
	if os.Geteuid() == 0 {
		if err := os.Chown(left(t, parent, host+"~"+boot+"~3", true), 1234, 1234); err != nil {
			t.Fatal(err)
		}
		want++
	}
	if notes := dropWork(parent, savingPrefix); len(notes) != want {
		t.Errorf("%q", notes)
	}
	if left, _ := os.ReadDir(parent); len(left) != want {
		t.Errorf("%v is left", left)
	}
}

// Somebody who may write to the folder above puts a link where the work folder was:
// nothing is removed where that leads.
func TestWorkFolderSwapped(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	victim := left(t, parent, "victim", true)
	for _, name := range []string{"precious", lockName} {
		if err := os.WriteFile(filepath.Join(victim, name), []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, err := newWork(parent, savingPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "snapshot.db"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(parent, "away")
	if err := errors.Join(os.Rename(w.dir, away), os.Symlink(victim, w.dir)); err != nil {
		t.Fatal(err)
	}
	if w, err := openWork(w.dir); err == nil {
		t.Errorf("%s was opened by way of a link", w.dir)
	}
	_ = w.remove()
	for _, name := range []string{"precious", lockName} {
		if _, err := os.Stat(filepath.Join(victim, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(away, "snapshot.db")); err == nil {
		t.Error("what was half done is left")
	}
}
