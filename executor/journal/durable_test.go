package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestNamesAreDurable: after each call every file and folder that is new has its name
// in a folder that was synced after it was made.
func TestNamesAreDurable(t *testing.T) {
	base := t.TempDir()
	state := filepath.Join(base, "home", "state", "requorum")
	known := names(t, base)
	plain := syncDir
	t.Cleanup(func() { syncDir = plain })
	durable := map[string]bool{}
	syncDir = func(dir string) error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			durable[filepath.Join(dir, e.Name())] = true
		}
		return err
	}
	check := func(what string) {
		t.Helper()
		now := names(t, base)
		for _, path := range now {
			if !slices.Contains(known, path) && !durable[path] {
				t.Errorf("%s: %s is not durable", what, path)
			}
		}
		if len(now) == len(known) {
			t.Errorf("%s made nothing", what)
		}
		known = now
	}
	run, err := Open(state, "demo", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	check("Open")
	if err := run.SavePlan([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	check("SavePlan")
	if err := AppendSeen(state, Seen{Cluster: "demo"}); err != nil {
		t.Fatal(err)
	}
	check("AppendSeen")
	if _, err := UsePlan(filepath.Join(base, "other", "requorum"), Use{Digest: "d"}); err != nil {
		t.Fatal(err)
	}
	check("UsePlan")
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		out = append(out, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
