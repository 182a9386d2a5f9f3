package scenario

import (
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// settlesOrRefuses applies with all that the plan needs until there is nothing
// to do, or sees it refused with one of the codes and nothing changed. It gives
// the code, or "".
func settlesOrRefuses(t *testing.T, e *harness.Env, c *harness.Cluster, codes ...string) string {
	t.Helper()
	p := e.Plan(c.Path())
	if p.Refusal == nil {
		e.Settle(c.Path(), harness.Granted)
		return ""
	}
	t.Logf("refused: %s: %s", p.Refusal.Code, p.Refusal.Detail)
	if !oneOf(p.Code(), codes) {
		t.Errorf("refusal %q, want one of %q", p.Code(), codes)
	}
	running := len(harness.Processes(e.Dir))
	e.Run("apply", "--auto-approve", "--accept=data-loss,stale-watchers,downtime", c.Path()).Want(t, 6).Says(t, p.Code()+":")
	if now := len(harness.Processes(e.Dir)); now != running {
		t.Errorf("%d processes ran, now %d", running, now)
	}
	return p.Code()
}

// Under m3's name lies another cluster's data, while m1 and m2 serve.
func TestForeignDataBesideALiveCluster(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	other := e.Server("other")
	harness.Fill(t, []string{other.Client}, keysPerTest)
	e.StopServer(other)
	hs[2].Term()
	m := c.Members[2]
	rename(t, m.DataDir, e.Path("m3-of-old"))
	rename(t, other.DataDir, m.DataDir)
	dirs := harness.DataDirs(t, e.Dir)
	if settlesOrRefuses(t, e, c, "foreign-data", "foreign-cluster") == "" {
		harness.CompareAll(t, base, c.Endpoints())
		membersAreTheFiles(t, c)
	} else {
		harness.CompareAll(t, base, c.Endpoints()[:2])
	}
	dirs.Kept(t, e.Dir)
}

// Two members call themselves m1.
func TestTwoMembersOfOneName(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	hs[1].Term()
	hs[1].Set("--name=m1")
	hs[1].Serve()
	if p := e.Plan(c.Path()); p.Route == "in-sync" {
		t.Errorf("in sync: %s", p.Headline)
	}
	if settlesOrRefuses(t, e, c, "foreign-data", "wrong-service") == "" {
		membersAreTheFiles(t, c)
	}
	harness.CompareAll(t, base, c.Endpoints())
}

// A member was removed by hand, and somebody starts it again, again and again.
func TestRemovedMemberStartedAgain(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members)
	lead(t, hs, 0)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	gone := harness.Status(t, hs[2].Client).Header.MemberId
	time.Sleep(5500 * time.Millisecond) // etcd's own rule before a removal
	if _, err := harness.Client(t, hs[0].Client).MemberRemove(harness.Context(t), gone); err != nil {
		t.Fatal(err)
	}
	hs[2].AwaitEnd()
	hs[2].Start()
	hs[2].AwaitEnd()
	dirs := harness.DataDirs(t, e.Dir)
	if settlesOrRefuses(t, e, c, "removed-member") == "" {
		harness.CompareAll(t, base, c.Endpoints())
		membersAreTheFiles(t, c)
		if now := harness.Status(t, c.Members[2].Client).Header.MemberId; now == gone {
			t.Errorf("the removed member %x is back", now)
		}
	} else {
		harness.CompareAll(t, base, c.Endpoints()[:2])
	}
	dirs.Kept(t, e.Dir)
}
