package scenario

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

const question = "Only 'yes' will be accepted"

// At the prompt only "yes" is a yes; anything else exits with 3 and changes
// nothing.
func TestPromptTakesOnlyYes(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	before := harness.Tree(t, e.Dir)
	for name, keys := range map[string]string{
		"y": "y\n", "YES": "YES\n", "Yes": "Yes\n", "an empty line": "\n", "no": "no\n", "yes and more": "yes please\n",
		"a blank before yes": " yes\n", "end of input": "\x04", "Ctrl-C": "\x03", "Ctrl-C behind yes": "yes\x03",
	} {
		term := e.Terminal("apply", c.Path())
		term.Await(question)
		term.Type(keys)
		if r := term.End(); r.Exit != 3 {
			t.Errorf("%s: exit %d, want 3\n%s", name, r.Exit, r)
		}
		harness.Unchanged(t, before, harness.Tree(t, e.Dir))
	}
	term := e.Terminal("apply", c.Path())
	term.Await(question)
	term.Type("yes\n")
	term.End().Want(t, 0)
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
	stopAtPrompt(t, e, c)
}

// stopAtPrompt holds stop to the same rule.
func stopAtPrompt(t *testing.T, e *harness.Env, c *harness.Cluster) {
	t.Helper()
	term := e.Terminal("stop", c.Path())
	term.Await(question)
	term.Type("y\n")
	term.End().Want(t, 3)
	if len(c.Processes()) != 6 {
		t.Errorf("after a declined stop: %v", c.Processes())
	}
	term = e.Terminal("stop", c.Path())
	term.Await(question)
	term.Type("yes\n")
	term.End().Want(t, 0)
	if len(c.Processes()) != 0 {
		t.Errorf("after stop: %v", c.Processes())
	}
}

// Without a terminal and without --auto-approve, silence is a no; a "yes" that
// is piped in is a yes.
func TestPromptWithoutTerminal(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	before := harness.Tree(t, e.Dir)
	for _, stdin := range []string{"", "no\n", "yes", "y\n"} {
		e.Finish(e.Command("apply", c.Path()), stdin).Want(t, 3)
		harness.Unchanged(t, before, harness.Tree(t, e.Dir))
	}
	e.Finish(e.Command("apply", c.Path()), "yes\n").Want(t, 0)
	e.InSync(c.Path())
}

// A consent that is unknown, or lacks its name, is an error before anything is
// looked at; policy.prevent beats one that is given.
func TestConsents(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, _ := bootstrapped(t, e, 1)
	harness.Snapshot(t, c.Members[0].Client, c.Dir+"/saved.db")
	c.Stop()
	c.DropData(c.Members...)
	c.Snapshot, c.SnapshotMore = "saved.db", "    revision_bump = 0\n"
	c.Write()
	before := harness.Tree(t, e.Dir)
	apply := func(accept ...string) harness.Result {
		return e.Run(append([]string{"apply", "--auto-approve", c.Path()}, accept...)...)
	}
	apply("--accept=dataloss").Want(t, 1).Says(t, `no consent "dataloss"`, "data-loss")
	apply("--accept=host-destroyed").Want(t, 1).Says(t, "host-destroyed:NAME")
	apply("--accept=data-loss").Want(t, 6).Says(t, "stale-watchers")
	apply("--accept=stale-watchers").Want(t, 6).Says(t, "data-loss")
	c.More = "  policy { prevent = [\"stale-watchers\"] }\n"
	c.Write()
	apply("--accept=data-loss,stale-watchers").Want(t, 6).Says(t, "policy-prevented")
	c.More = ""
	c.Write()
	harness.Unchanged(t, before, harness.Tree(t, e.Dir))
	apply("--accept=data-loss", "--accept=stale-watchers", "--accept=downtime").Want(t, 0)
	e.InSync(c.Path())
}

// Two applies at once: one has the lock, the other exits with 5 and says who it
// is.
func TestTwoAppliesAtOnce(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	first := e.Terminal("apply", c.Path())
	first.Await(question)
	r := e.Run("apply", "--auto-approve", c.Path()).Want(t, 5)
	r.Says(t, fmt.Sprintf("pid %d", first.PID()), "apply", "demo")
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 5)
	first.Type("yes\n")
	first.Await("put in place")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 5).Says(t, fmt.Sprintf("pid %d", first.PID()))
	first.End().Want(t, 0)
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
}

// Ctrl-C while a plan is carried out ends it at a safe point, with 8; planning
// again gives the rest.
func TestInterruptedApply(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	for _, file := range []string{"staging", "service.json"} {
		term := e.Terminal("apply", "--auto-approve", c.Path())
		for end := time.Now().Add(60 * time.Second); !exists(c.Members[0].Base(), file); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("there is no %s in\n%s", file, term.Text())
			}
		}
		term.Type("\x03\x03") // one that pressed it, one that passes it on
		term.End().Want(t, 8).Says(t, "Interrupted", "requorum plan")
	}
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
}

// SIGTERM to an apply that waits at the prompt is a no.
func TestTerminatedAtPrompt(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	before := harness.Tree(t, e.Dir)
	term := e.Terminal("apply", c.Path())
	term.Await(question)
	if err := syscall.Kill(term.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	term.End().Want(t, 3)
	harness.Unchanged(t, before, harness.Tree(t, e.Dir))
}

// jsonField gives a string field of a JSON object.
func jsonField(t *testing.T, b []byte, name string) string {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	s, _ := m[name].(string)
	return s
}
