package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestSlice makes a few attempts of the table; all of them are `make crashmatrix`.
func TestSlice(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	sources.dir = folder
	for _, a := range slice() {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			l := run(a, nil, folder)
			t.Log(l)
			if l.Error != "" {
				t.Error(l.Error)
			}
		})
	}
}

// The slice is drawn from the table that `make crashmatrix` works through.
func TestSliceIsOfTheTable(t *testing.T) {
	all := table()
	if got := len(slice()); got < 7 {
		t.Errorf("of the slice only %d attempts are in the table", got)
	}
	for _, a := range slice() {
		if !slices.Contains(all, a) {
			t.Errorf("%s is not in the table", a)
		}
	}
}

// Every kind of action is in the table, requorum is killed at every boundary of
// every scenario, and each attempt stands there once.
func TestTableIsComplete(t *testing.T) {
	known := map[string]bool{}
	for _, a := range planner.Actions() {
		known[a.Kind()] = false
	}
	all := table()
	count := map[string]int{}
	for _, a := range all {
		count[fmt.Sprint(a)]++
		if k := a.kind(); a.Place > 0 && k != "" {
			if _, ok := known[k]; !ok {
				t.Errorf("%s: there is no action %q", a, k)
			}
			known[k] = true
		}
	}
	for k, there := range known {
		if !there {
			t.Errorf("no scenario has %s", k)
		}
	}
	for name, n := range count {
		if n != 1 {
			t.Errorf("%s stands there %d times", name, n)
		}
	}
	for _, s := range scenarios {
		for place := 0; place <= 2*len(strings.Fields(s.steps))+1; place++ {
			if !s.large && !slices.Contains(all, attempt{Scenario: s.name, Place: place, Who: requorum}) {
				t.Errorf("requorum is not killed at place %d of %s", place, s.name)
			}
		}
	}
	for _, who := range []string{leader, follower, learner, closed, leader + host, follower + host, learner + host, closed + host} {
		if !slices.ContainsFunc(all, func(a attempt) bool { return a.Who == who }) {
			t.Errorf("nobody kills a %s", who)
		}
	}
}

// What is not there, or failed, or never was hit, is not called well.
func TestShowTells(t *testing.T) {
	var lines []line
	for _, a := range table() {
		lines = append(lines, line{attempt: a, Hit: true})
	}
	with := func(i int, change func(*line)) []line {
		out := slices.Clone(lines)
		change(&out[i])
		return out
	}
	late := slices.Clone(lines)
	for i := range late {
		late[i].Hit = late[i].kind() != "unfence"
	}
	for name, tc := range map[string]struct {
		lines []line
		says  string
		bad   bool
	}{
		"well":             {lines, "failed=0 missing=0 kinds=19 of 19", false},
		"one is missing":   {lines[:len(lines)-1], "missing=1", true},
		"one failed":       {with(40, func(l *line) { l.Error = "lost" }), "failed=1", true},
		"one was too late": {with(40, func(l *line) { l.Hit = false }), "not_hit=1", false},
		"never at one":     {late, "kinds=18 of 19", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := show(&out, tc.lines)
			if (err != nil) != tc.bad || !strings.Contains(out.String(), tc.says) {
				t.Errorf("%v\n%s", err, out.String()[strings.LastIndex(out.String(), "attempts="):])
			}
		})
	}
}

// The journal is followed record by record, in a file of its own or in a folder, a
// half line included.
func TestJournalIsFollowed(t *testing.T) {
	for name, file := range map[string]string{"a file": "new.jsonl", "a folder": "new/journal.jsonl"} {
		t.Run(name, func(t *testing.T) {
			e := harness.New(t)
			runs := filepath.Join(e.State(), "requorum", "runs")
			path := filepath.Join(runs, file)
			for _, err := range []error{
				os.MkdirAll(filepath.Dir(path), 0o700),
				os.WriteFile(filepath.Join(runs, "old.jsonl"), []byte(`{"event":"begin"}`+"\n"), 0o600),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			_ = os.Remove(filepath.Dir(path)) // the run makes it; runs stays, for it is not empty
			j := e.Journal()
			if j.Poll() || j.Place() != -1 {
				t.Fatalf("it reads an old run: %v", j.Records)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			text := ""
			for i, part := range []struct {
				text  string
				place int
			}{
				{`{"event":"begin"}` + "\n", 0},
				{`{"event":"intent","step":1,"kind":"claim"}` + "\n" + `{"event":"phase","step":1}` + "\n", 1},
				{`{"event":"do`, 1},
				{`ne","step":1,"kind":"claim","target":["m1"]}` + "\n", 2},
				{`{"event":"skipped","step":2}` + "\n", 4},
				{`{"event":"intent","step":3}` + "\n" + `{"event":"failed","step":3}` + "\n", 6},
				{`{"event":"end"}` + "\n" + `{"event":"state"}` + "\n", 7},
			} {
				text += part.text
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				j.Poll()
				if j.Place() != part.place {
					t.Errorf("part %d: place %d, want %d; %v", i, j.Place(), part.place, j.Records)
				}
			}
			if got := j.Records[3].String(); got != "done 1 claim m1" {
				t.Errorf("%q", got)
			}
		})
	}
}

// Two clusters that live together are noticed, and one after the other is counted.
func TestTwoClustersAreNoticed(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	a, b := e.Server("a"), e.Server("b")
	ids := &recorder{TB: t}
	w := harness.WatchIdentities(t, nil, []string{a.Client, b.Client})
	for len(w.Seen()) < 3 {
		harness.AwaitServing(t, a.Client)
	}
	w.Stop()
	w.OneAtATime(ids, 2)
	if ids.errors < 2 {
		t.Errorf("two clusters were alive, and %d faults were found: %v", ids.errors, w.Seen())
	}
}

// recorder counts errors, and reports none.
type recorder struct {
	testing.TB
	errors int
}

func (r *recorder) Helper()               {}
func (r *recorder) Error(...any)          { r.errors++ }
func (r *recorder) Errorf(string, ...any) { r.errors++ }
