package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/render/page"
)

// lineOf is a record, at a second of its run.
func lineOf(second int, r journal.Record) string {
	r.Time = fmt.Sprintf("2026-01-02T03:04:%02dZ", second)
	b, _ := json.Marshal(r)
	return string(b) + "\n"
}

const torn = `{"time":"2026-01-02T03:04:59Z","event":"do` + "\n"

// ranFrom is the run that a journal's lines give; kept is whether its plan is beside it.
func ranFrom(t *testing.T, kept bool, lines ...string) *render.Ran {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "20260102T030400Z-demo-1.jsonl")
	if kept {
		dir := filepath.Join(folder, "20260102T030400Z-demo-1")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(dir, "journal.jsonl")
		p := &planner.Plan{Cluster: "demo", Headline: "found"}
		for i := range 3 {
			p.Steps = append(p.Steps, planner.Step{ID: i + 1, Kind: "claim", Action: planner.Claim{}, Title: "plan's", Target: []string{"m1"}})
		}
		b, err := render.JSON(p)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "plan.json"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	run, err := journal.Find(folder, "")
	if err != nil {
		t.Fatal(err)
	}
	records, unreadable, err := journal.Read(run.Path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ranOf(run, records, unreadable)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func outcomes(r *render.Ran) string {
	var all []string
	for _, s := range r.Steps {
		all = append(all, s.Outcome)
	}
	return strings.Join(all, ", ")
}

// TestRanOf: what a page says of a run follows from the lines that are there, and says
// where some are missing.
func TestRanOf(t *testing.T) {
	begin := lineOf(0, journal.Record{Event: journal.Began, Cluster: "demo", Verb: "apply", By: "ops@here", Steps: 3, Headline: "found"})
	step := func(second, n int, event string) string {
		return lineOf(second, journal.Record{Event: event, Step: n, Title: fmt.Sprint("s", n), Target: []string{"m1"}, Seconds: 1})
	}
	end := lineOf(9, journal.Record{Event: journal.Ended, Result: journal.ResultDone})
	for _, c := range []struct {
		name     string
		kept     bool
		lines    []string
		outcomes string
		verdict  string
		seconds  float64
		gaps     bool
	}{
		{"a copy of a killed run", false, []string{begin, step(1, 1, journal.Intent), step(3, 1, journal.Done), step(4, 2, journal.Intent)},
			"done, cut off, not known", "Cut off at step 2, s2, with 1 of 3 steps done: this copy ends here", 4, false},
		{"a copy that ends between steps", false, []string{begin, step(1, 1, journal.Intent), step(3, 1, journal.Done)},
			"done, not known, not known", "Cut off before step 2, not named here, with 1 of 3", 3, false},
		{"killed between steps", true, []string{begin, step(1, 1, journal.Intent), step(3, 1, journal.Done)},
			"done, not started, not started", "Cut off before step 2, plan's, with 1 of 3 steps done: whoever", 3, false},
		{"killed within a line", true, []string{begin, step(1, 1, journal.Intent), torn},
			"cut off, not known, not known", "Cut off at step 1, plan's, with 0 of 3", 1, true},
		{"an outcome can't be read", true, []string{begin, step(1, 1, journal.Intent), torn, step(4, 2, journal.Intent), step(5, 2, journal.Done), step(6, 3, journal.Skipped), end},
			"not known, done, skipped", "Done: 2 of 3 steps in 9.0 s", 9, true},
		{"a beginning can't be read", true, []string{begin, torn, step(3, 1, journal.Done), step(4, 2, journal.Skipped), step(4, 3, journal.Skipped), end},
			"done, skipped, skipped", "Done: 3 of 3 steps in 9.0 s", 9, true},
		{"the first line can't be read", true, []string{torn, step(2, 1, journal.Intent), step(4, 1, journal.Done), step(4, 2, journal.Skipped), step(4, 3, journal.Skipped), end},
			"done, skipped, skipped", "Done: 3 of 3 steps in 7.0 s", 7, true},
		{"no line can be read", true, []string{torn, torn}, "not known, not known, not known", "Cut off before step 1", 0, true},
		{"an empty copy", false, nil, "", "Cut off, with 0 of 0 steps done", 0, false},
		{"a time can't be read", true, []string{begin, `{"time":"","event":"intent","step":1}` + "\n", `{"time":"noon","event":"done","step":1}` + "\n", step(4, 2, journal.Skipped), step(4, 3, journal.Skipped), end},
			"done, skipped, skipped", "Done: 3 of 3 steps in 9.0 s", 9, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ranFrom(t, c.kept, c.lines...)
			if got := outcomes(r); got != c.outcomes {
				t.Errorf("outcomes %s, want %s", got, c.outcomes)
			}
			if got, _ := r.Verdict(); !strings.HasPrefix(got, c.verdict) {
				t.Errorf("%s; want %s", got, c.verdict)
			}
			if r.Seconds != c.seconds {
				t.Errorf("it took %v, want %v", r.Seconds, c.seconds)
			}
			for i, s := range r.Steps {
				if s.At < 0 || s.Seconds < 0 || s.At+s.Seconds > r.Seconds+0.001 {
					t.Errorf("step %d: at %v for %v, of %v", i+1, s.At, s.Seconds, r.Seconds)
				}
			}
			b, err := page.Ran(r)
			if err != nil {
				t.Fatal(err)
			}
			for form, text := range map[string]string{"html": string(b), "markdown": render.RanMarkdown(r, render.MarkdownLimit)} {
				if said := strings.Contains(text, "of the journal"); said != c.gaps {
					t.Errorf("%s: says that lines are missing: %t", form, said)
				}
			}
		})
	}
}

// TestManySteps: a journal's number of steps is not believed without bound.
func TestManySteps(t *testing.T) {
	r := ranFrom(t, false, lineOf(0, journal.Record{Event: journal.Began, Cluster: "demo", Steps: 1 << 40}), lineOf(1, journal.Record{Event: journal.Intent, Step: 1 << 30, Title: "x"}))
	if len(r.Steps) != mostSteps {
		t.Errorf("%d steps", len(r.Steps))
	}
}

func TestBetween(t *testing.T) {
	const at = "2026-01-02T03:04:05Z"
	for _, c := range []struct {
		from, to string
		want     float64
	}{{"", at, 0}, {at, "", 0}, {"", "", 0}, {"noon", at, 0}, {at, "2026-01-02T03:04:06.5Z", 1.5}, {"2026-01-02T03:04:06Z", at, 0}} {
		if got := between(c.from, c.to); got != c.want {
			t.Errorf("%q to %q: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
