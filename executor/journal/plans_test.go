package journal

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A plan is used once, whoever comes at the same time, and whatever a crash left.
func TestPlansAreUsedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if u, err := PlanUse(dir, "aaaa-bbbb"); u != nil || err != nil {
		t.Fatalf("%v %v", u, err)
	}
	var wg sync.WaitGroup
	first := make(chan bool, 8)
	for range 8 {
		wg.Go(func() {
			before, err := UsePlan(dir, Use{By: "ops@here", Time: "now", Digest: "aaaa-bbbb"})
			if err != nil {
				t.Error(err)
			}
			first <- before == nil
		})
	}
	wg.Wait()
	close(first)
	n := 0
	for f := range first {
		if f {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d were the first", n)
	}
	if u, err := PlanUse(dir, "aaaa-bbbb"); err != nil || u == nil || u.By != "ops@here" {
		t.Errorf("%v %v", u, err)
	}
	if u, err := PlanUse(dir, "cccc"); u != nil || err != nil {
		t.Errorf("another plan: %v %v", u, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plans", "dddd.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if u, err := PlanUse(dir, "dddd"); u == nil || err != nil {
		t.Errorf("a record that was cut short: %v %v", u, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "plans", "eeee.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := PlanUse(dir, "eeee"); err == nil {
		t.Error("a record that can't be read is no record")
	}
}
