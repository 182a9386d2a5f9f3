package harness

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A run goes on where the last one stopped, also where that was killed in the middle of
// a line.
func TestTallyGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tally.jsonl")
	open := func(want ...int) *Tally[int] {
		t.Helper()
		tally, err := OpenTally[int](path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tally.Close() })
		if got := tally.Lines(); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		return tally
	}
	a := open()
	for seed := range 3 {
		if err := a.Add(1000 + seed); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-3); err != nil {
		t.Fatal(err)
	}
	if err := open(1000, 1001).Add(1002); err != nil {
		t.Fatal(err)
	}
	open(1000, 1001, 1002)
}
