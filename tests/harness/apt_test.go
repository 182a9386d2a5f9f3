package harness

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestAptTakesTurns: of tests that need apt at once each gets it, one after the other,
// and one that finds its lock held by somebody else comes again. Another failure is one.
func TestAptTakesTurns(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("AT", dir)
	fake := `#!/bin/sh
case "$*" in *nosuch*) echo "E: Unable to locate package nosuch"; exit 100;; esac
echo run >> "$AT/runs"
if [ ! -e "$AT/foreign" ]; then : > "$AT/foreign"; echo "E: Could not get lock /var/lib/apt/lists/lock"; exit 100; fi
mkdir "$AT/busy" || { echo overlap >> "$AT/overlaps"; exit 1; }
sleep 0.1
rmdir "$AT/busy"
`
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(fake), 0o700); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := Apt(t.Context(), dir, "update"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	runs, err := os.ReadFile(filepath.Join(dir, "runs"))
	if n := strings.Count(string(runs), "run"); n != 5 || err != nil {
		t.Errorf("apt was run %d times, %v", n, err)
	}
	if exists(filepath.Join(dir, "overlaps")) {
		t.Error("two were at it at once")
	}
	if err := Apt(t.Context(), dir, "install", "nosuch"); err == nil || !strings.Contains(err.Error(), "Unable to locate") {
		t.Error(err)
	}
}
