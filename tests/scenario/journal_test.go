package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/tests/harness"
)

// After an apply the journal has every boundary of it, with the plan beside; each
// touched place has a copy; and log tells of it.
func TestJournal(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	e.Run("log").Want(t, 0).Says(t, "No runs yet")
	e.Run("plan", c.Path()).Want(t, 0)
	if e.Runs() != nil {
		t.Error("a plan left a journal")
	}
	r := e.Apply(c.Path())
	runs := e.Runs()
	if len(runs) != 1 || runs[0].Result != journal.ResultDone || runs[0].Done != runs[0].Steps || runs[0].PlanPath == "" {
		t.Fatalf("%+v", runs)
	}
	records := e.Records(0)
	var events []string
	for _, rec := range records {
		events = append(events, rec.Event)
	}
	if records[0].Event != journal.Began || len(records[0].Binary) != 64 || records[0].Plan == "" || records[0].By == "" || records[0].Locks["m1"] != 1 {
		t.Errorf("it begins with %+v", records[0])
	}
	if n := len(records); records[n-2].Event != journal.Ended || records[n-1].Event != journal.State {
		t.Errorf("it ends with %v", events[n-2:])
	}
	for _, kind := range []string{"restore", "install", "start", "verify", "stop"} {
		is := func(event string) func(journal.Record) bool {
			return func(r journal.Record) bool { return r.Kind == kind && r.Event == event }
		}
		intent, done := slices.IndexFunc(records, is(journal.Intent)), slices.IndexFunc(records, is(journal.Done))
		if intent < 0 || done < intent {
			t.Errorf("%s: intent %d, done %d in %v", kind, intent, done, events)
		}
		if kind == "restore" || kind == "start" {
			if i := slices.IndexFunc(records, is(journal.Phase)); i < intent || i > done {
				t.Errorf("%s has no record inside it: %v", kind, events)
			}
		}
	}
	var plan struct {
		Steps []any `json:"steps"`
	}
	if err := json.Unmarshal(read(t, runs[0].PlanPath), &plan); err != nil || len(plan.Steps) != runs[0].Steps {
		t.Errorf("plan.json: %v, %d steps", err, len(plan.Steps))
	}
	own := read(t, runs[0].Path)
	for _, m := range c.Members {
		if got := read(t, filepath.Join(m.Base(), "runs", runs[0].ID+".jsonl")); string(got) != string(own) {
			t.Errorf("%s's copy is another one:\n%s\nwant\n%s", m.Name, got, own)
		}
	}
	if !strings.Contains(r.Stderr, "done") {
		t.Errorf("no results in\n%s", r)
	}
	e.Run("log").Want(t, 0).Says(t, runs[0].ID, "done", "7 of 7")
	e.Run("log", "last").Want(t, 0).Says(t, runs[0].ID, "put in place", "m1, m2, m3", "sha256")
	e.Run("log", "--dir", filepath.Join(c.Members[0].Base(), "runs"), "last").Want(t, 0).Says(t, "put in place")
	e.Run("log", "nothing-like-it").Want(t, 1).Says(t, "no run")
	var list []journal.Summary
	if out := e.Run("log", "--json").Want(t, 0).Stdout; json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 {
		t.Errorf("log --json: %s", out)
	}
	e.InSync(c.Path())
}

// An apply that was killed is known as cut off, and where.
func TestLogOfAKilledApply(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	cmd := e.Command("apply", "--auto-approve", c.Path())
	hit := runAndKill(t, cmd, func() bool {
		return slices.ContainsFunc(e.Records(0), func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "start" })
	})
	if !hit {
		t.Fatal("the apply ended before it was killed")
	}
	e.Run("log").Want(t, 0).Says(t, "cut off")
	e.Run("log", "last").Want(t, 0).Says(t, "start, closed", "cut off here")
	e.Apply(c.Path())
	e.InSync(c.Path())
}

// An earlier version's journals are flat files.
func TestLogReadsOldJournals(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	runs := filepath.Join(e.State(), "requorum", "runs")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(runs, "20260102T030405Z-demo-123.jsonl"), []byte(`{"time":"2026-01-02T03:04:05.1Z","event":"begin","cluster":"demo","plan":"0123456789abcdef","by":"ann@old","version":"v0.4"}
{"time":"2026-01-02T03:04:05.2Z","event":"intent","step":1,"kind":"claim","target":["m1"],"action":{"members":[]}}
{"time":"2026-01-02T03:04:05.3Z","event":"done","step":1,"kind":"claim","target":["m1"]}
{"time":"2026-01-02T03:04:05.4Z","event":"intent","step":2,"kind":"start","target":["m1"]}
{"time":"2026-01-02T03:04:06.4Z","event":"failed","step":2,"kind":"start","target":["m1"],"error":"m1 does not come up"}
{"time":"2026-01-02T03:04:06.5Z","event":"end","error":"step 2","result":"stopped"}
`))
	e.Run("log").Want(t, 0).Says(t, "20260102T030405Z-demo-123", "stopped", "ann@old")
	e.Run("log", "demo-123").Want(t, 0).Says(t, "claim", "done", "failed", "m1 does not come up", "1.0 s")
}
