package scenario

import (
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 6: apply, then plan again finds nothing; plan, status and validate
// change nothing, whatever state the cluster is in.
func TestPlanAgainFindsNothing(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	e.Run("plan", "--detailed-exitcode", c.Path()).Want(t, 2)
	e.Run("plan", c.Path()).Want(t, 0)
	e.Run("status", c.Path()).Want(t, 2)
	changesNothing(t, e, c, "before")

	e.Apply(c.Path())
	e.Run("plan", "--detailed-exitcode", c.Path()).Want(t, 0).Says(t, "in sync")
	e.Run("status", c.Path()).Want(t, 0)
	harness.CompareAll(t, src.keys, c.Endpoints())
	changesNothing(t, e, c, "serving")
	e.Apply(c.Path()).Says(t, "in sync")
	changesNothing(t, e, c, "applied again")

	c.Stop()
	e.Run("status", c.Path()).Want(t, 2)
	e.Run("plan", "--detailed-exitcode", c.Path()).Want(t, 2)
	changesNothing(t, e, c, "stopped")

	c.DropData(c.Members[0])
	changesNothing(t, e, c, "one directory lost")
}

// changesNothing runs every verb that only reads and compares the whole tree and
// the members' revisions before and after.
func changesNothing(t *testing.T, e *harness.Env, c *harness.Cluster, when string) {
	t.Helper()
	pids, tree, rev := c.Processes(), harness.Tree(t, e.Dir, "etcd.log"), revisions(t, c)
	for _, verb := range [][]string{
		{"validate"}, {"plan"}, {"plan", "--json"}, {"status"}, {"status", "--json"}, {"fmt", "--check"},
	} {
		r := e.Run(append(verb, c.Path())...)
		if r.Exit == 1 && verb[0] != "fmt" && verb[0] != "status" {
			t.Errorf("%s: %s", when, r)
		}
	}
	t.Log(when)
	harness.Unchanged(t, tree, harness.Tree(t, e.Dir, "etcd.log"))
	if now := revisions(t, c); !equal(rev, now) {
		t.Errorf("%s: revisions %v became %v", when, rev, now)
	}
	if now := c.Processes(); len(now) != len(pids) {
		t.Errorf("%s: processes %v became %v", when, pids, now)
	}
}

// revisions are those of the members that run.
func revisions(t *testing.T, c *harness.Cluster) map[string]int64 {
	t.Helper()
	revs := map[string]int64{}
	for _, m := range c.Members {
		if c.Etcd(m).PID != 0 {
			revs[m.Name] = harness.Status(t, m.Client).Header.Revision
		}
	}
	return revs
}

func equal(a, b map[string]int64) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}
