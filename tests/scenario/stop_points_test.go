package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/tests/harness"
)

// The first interrupt brings the step to a safe point and says how things stand,
// whether they can stay so and what comes next; each signal does.
func TestInterruptSaysHowThingsStand(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 3, src.snapshot)
			term := e.Terminal("apply", "--auto-approve", c.Path())
			e.AwaitRecord(0, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "start" })
			noErr(t, syscall.Kill(term.PID(), sig))
			r := term.End().Want(t, 8)
			r.Says(t, "going to a safe point first", "Interrupted at", "start, closed", "The cluster now", "Safe to leave", "Plan again", "not started", "Journal")
			if cr := strings.LastIndex(r.Stdout, "\r\x1b[K"); !strings.HasSuffix(r.Stdout, "\n") || cr > strings.LastIndex(r.Stdout, "Interrupted at") {
				t.Errorf("the terminal ends in the midst of a line: %q", r.Stdout[max(0, len(r.Stdout)-200):])
			}
			runs := e.Runs()
			if last := runs[len(runs)-1]; last.Result != journal.ResultInterrupted || last.Now == "" {
				t.Errorf("the journal has %+v", last)
			}
			e.Apply(c.Path())
			e.InSync(c.Path())
			harness.CompareAll(t, src.keys, c.Endpoints())
		})
	}
}

// The second interrupt ends requorum at once, in the midst of an act that the first one
// has to wait for, and the terminal is as it was. One that comes with the first, as
// sudo and make pass it on, counts as the same.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	etcd := c.Etcd(c.Members[0])
	noErr(t, syscall.Kill(etcd.PID, syscall.SIGSTOP)) // to be stopped takes it long
	t.Cleanup(func() { _ = syscall.Kill(etcd.PID, syscall.SIGCONT) })
	runs := len(e.Runs())
	term := e.Terminal("stop", "--auto-approve", c.Path())
	e.AwaitRecord(runs, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "stop" })
	before, err := term.Modes()
	noErr(t, err)
	noErr(t, syscall.Kill(term.PID(), syscall.SIGINT))
	noErr(t, syscall.Kill(term.PID(), syscall.SIGINT))
	term.Await("going to a safe point first")
	time.Sleep(time.Second)
	if text := term.Text(); strings.Contains(text, "Interrupted at") || strings.Contains(text, "ended at once") {
		t.Fatalf("the act was left, or was over too soon to tell:\n%s", text)
	}
	sent := time.Now()
	noErr(t, syscall.Kill(term.PID(), syscall.SIGINT))
	r := term.End().Want(t, 7)
	if took := time.Since(sent); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	r.Says(t, "ended at once, perhaps in the midst of a step")
	if !strings.HasSuffix(r.Stdout, "\n") {
		t.Errorf("the terminal ends in the midst of a line: %q", r.Stdout[max(0, len(r.Stdout)-200):])
	}
	after, err := term.Modes()
	noErr(t, err)
	if *before != *after {
		t.Errorf("the terminal's modes were %+v and are %+v", before, after)
	}
	all := e.Runs()
	if last := all[len(all)-1]; last.Result != journal.ResultCutOff {
		t.Errorf("the journal has %+v", last)
	}
	noErr(t, syscall.Kill(etcd.PID, syscall.SIGCONT))
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 0) // the rest of the way
	e.Apply(c.Path())
	e.InSync(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// The events go to stdout as JSON lines, and beside the usual output into a file; the
// first is the plan, the last has the exit code.
func TestJSONLines(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	into := filepath.Join(e.Dir, "events.jsonl")
	r := e.Apply(c.Path(), "--json", "--json-into", into)
	for name, text := range map[string]string{"stdout": r.Stdout, "--json-into": string(read(t, into))} {
		ls := events(t, text)
		if ls[0]["event"] != "plan" || ls[0]["plan"] == nil {
			t.Errorf("%s begins with %v", name, ls[0]["event"])
		}
		if last := ls[len(ls)-1]; last["event"] != "result" || last["exit"] != 0.0 || last["quorum"] == nil {
			t.Errorf("%s ends with %v", name, last)
		}
		seen := map[any]int{}
		for _, l := range ls {
			seen[l["event"]]++
		}
		if seen["intent"] != 7 || seen["done"] != 7 || seen["phase"] == 0 || seen["progress"] == 0 || seen["begin"] != 1 || seen["end"] != 1 {
			t.Errorf("%s: %v", name, seen)
		}
	}
	if !strings.Contains(r.Stderr, "put in place") {
		t.Errorf("the results are not on stderr:\n%s", r)
	}
	r = e.Run("apply", "--auto-approve", "--json-into", into, c.Path()).Want(t, 0)
	r.Says(t, "in sync")
	if ls := events(t, string(read(t, into))); ls[len(ls)-1]["exit"] != 0.0 {
		t.Errorf("in sync: %v", ls[len(ls)-1])
	}
	noErr(t, os.Remove(filepath.Join(c.Dir, "snapshot.db")))
	c.Stop()
	c.DropData(c.Members...)
	ls := events(t, e.Run("apply", "--auto-approve", "--json", c.Path()).Want(t, 6).Stdout)
	if last := ls[len(ls)-1]; last["exit"] != 6.0 {
		t.Errorf("refused: %v", last)
	}
	e.Run("apply", "--json-into", filepath.Join(e.Dir, "no/such/folder"), c.Path()).Want(t, 1).Says(t, "--json-into")
}

func events(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(text) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		t.Fatal("no lines")
	}
	return out
}

// Whoever reads the output may go: the run goes on.
func TestReaderGoesAway(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, src.snapshot)
	r, w, err := os.Pipe()
	noErr(t, err)
	noErr(t, r.Close())
	cmd := e.Command("apply", "--auto-approve", "--json", c.Path())
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		t.Errorf("apply: %v", err)
	}
	noErr(t, w.Close())
	e.InSync(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
}
