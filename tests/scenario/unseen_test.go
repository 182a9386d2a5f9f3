package scenario

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// elsewhere is a cluster whose m2 and m3 live and serve where requorum can't
// look, while m1 has died and its disk is here.
type elsewhere struct {
	e    *harness.Env
	c    *harness.Cluster // the file
	here *harness.Net     // where requorum runs; nil for this machine's own
	far  *harness.Net
	hs   harness.Hands
	w    *harness.Writers
}

// livesElsewhere makes it; with other addresses than this machine's, requorum
// gets no route to m2 and m3, otherwise it finds nobody at their ports.
func livesElsewhere(t *testing.T, addresses bool) *elsewhere {
	t.Helper()
	e := harness.New(t)
	c := e.Cluster(3)
	x := &elsewhere{e: e, c: c}
	if addresses {
		all := []string{"10.77.0.11", "10.77.0.12", "10.77.0.13"}
		x.far, x.here = e.Net(all...), e.Net(all[0])
		for i := range c.Members {
			m := &c.Members[i]
			m.Client = strings.Replace(m.Client, "127.0.0.1", all[i], 1)
			m.Peer = strings.Replace(m.Peer, "127.0.0.1", all[i], 1)
		}
	} else {
		x.far = e.Net()
	}
	c.Write()
	var running []harness.Member
	for i, m := range c.Members {
		if i > 0 {
			m.DataDir = e.Path("elsewhere", m.Name)
		}
		running = append(running, m)
	}
	x.hs = e.ByHandIn(x.far, running)
	x.w = harness.StartWritersIn(t, x.far, 4, x.hs.Endpoints())
	x.w.Await(t, 200)
	x.hs[:1].Kill9()
	x.w.Await(t, 200)
	return x
}

// goesOn asserts that m2 and m3 still serve, and have all that they ever
// acknowledged.
func (x *elsewhere) goesOn(t *testing.T) {
	t.Helper()
	x.w.Await(t, 50)
	x.w.Stop()
	for _, h := range x.hs[1:] {
		cli, err := x.far.Dial(h.Client)
		if err != nil {
			t.Fatal(err)
		}
		defer cli.Close()
		for k, v := range x.w.Keys() {
			r, err := cli.Get(harness.Context(t), k)
			if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != v {
				t.Fatalf("%s: %s: %v", h.Name, k, err)
			}
		}
	}
}

// S2: our own view proves nothing. Two members that can't be seen may be a
// cluster, and are one here: no other one is begun unless somebody says that
// their hosts are destroyed.
func TestMembersThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	for name, addresses := range map[string]bool{"no route to them": true, "nobody at their ports": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := livesElsewhere(t, addresses)
			before := harness.Tree(t, x.c.Dir)
			p := x.e.PlanIn(x.here, x.c.Path())
			t.Logf("route %s, consents %q, refusal %+v: %s", p.Route, p.Consents(), p.Refusal, p.Headline)
			if p.Refusal == nil && !strings.Contains(p.Consents(), "host-destroyed:") {
				t.Errorf("no consent names a host: %q", p.Consents())
			}
			for _, accept := range [][]string{
				nil, {"--accept=data-loss"},
				{"--accept=data-loss,stale-watchers,downtime,tail-keep,remove-member:m2,remove-member:m3,lock-release"},
			} {
				x.e.RunIn(x.here, append([]string{"apply", "--auto-approve", x.c.Path()}, accept...)...).Want(t, 6)
			}
			harness.Unchanged(t, before, harness.Tree(t, x.c.Dir))
			x.goesOn(t)
		})
	}
}

// The processes and their directories are on this machine, their network is not
// ours: they run, and are not taken for dead.
func TestMembersInAnotherNetwork(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	far := e.Net()
	x := &elsewhere{e: e, c: c, far: far, hs: e.ByHandIn(far, c.Members)}
	x.w = harness.StartWritersIn(t, far, 4, x.hs.Endpoints())
	x.w.Await(t, 200)
	x.hs[:1].Kill9()
	x.w.Await(t, 100)
	before := harness.Tree(t, c.Members[0].DataDir)
	p := e.Plan(c.Path())
	t.Logf("route %s, consents %q, refusal %+v: %s", p.Route, p.Consents(), p.Refusal, p.Headline)
	e.Run("apply", "--auto-approve", c.Path(), "--accept=data-loss,stale-watchers,downtime").Want(t, 6)
	harness.Unchanged(t, before, harness.Tree(t, c.Members[0].DataDir))
	for _, h := range x.hs[1:] {
		if !h.Runs() {
			t.Errorf("%s was ended", h.Name)
		}
	}
	x.goesOn(t)
}

// With the hosts gone and named as destroyed it goes ahead, under an identity that
// the old members, should they come back, can't join.
func TestHostsNamedAsDestroyed(t *testing.T) {
	t.Parallel()
	x := livesElsewhere(t, false)
	old := x.hs[1]
	wasRun := x.w.Keys()
	all := "--accept=data-loss,stale-watchers,tail-keep,host-destroyed:m2,host-destroyed:m3"
	// Whoever is seen to run is not destroyed, whatever is said.
	x.e.Run("apply", "--auto-approve", x.c.Path(), all).Want(t, 6)
	x.hs[1:].Kill9()
	x.e.Settle(x.c.Path(), all)
	for _, h := range x.hs[1:] {
		if err := h.TryStart(); err != nil {
			t.Fatal(err)
		}
	}
	x.goesOn(t)
	cli, err := x.far.Dial(old.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	st, err := cli.Status(harness.Context(t), old.Client)
	if err != nil {
		t.Fatal(err)
	}
	if now := harness.Status(t, x.c.Members[0].Client).Header.ClusterId; now == st.Header.ClusterId {
		t.Errorf("two clusters are both %x", now)
	}
	gone, err := x.w.Missing(harness.Context(t), x.c.Members[0].Client)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d writes that were acknowledged when requorum began, and %d in all, the new cluster lacks %d", len(wasRun), x.w.Acked(), len(gone))
	if err := harness.SameHash(harness.Context(t), x.c.Endpoints()); err != nil {
		t.Error(err)
	}
}

// A configuration manager starts the fenced survivor's old command again every
// second, all the while.
func TestOldCommandComesBack(t *testing.T) {
	t.Parallel()
	x := crashed(t, 4)
	survivor, member := x.hs[x.leader], x.c.Members[x.leader]
	x.only(x.leader)
	stop := make(chan struct{})
	var manager sync.WaitGroup
	manager.Go(func() {
		for {
			if !survivor.Runs() {
				if err := survivor.TryStart(); err != nil {
					t.Error(err)
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
		}
	})
	endManager := sync.OnceFunc(func() { close(stop); manager.Wait() })
	t.Cleanup(endManager)
	time.Sleep(1500 * time.Millisecond)

	serves := false
	for range 2 {
		p := x.e.Plan(x.c.Path())
		t.Logf("while the manager is at work: route %s, steps %s, refusal %+v: %s", p.Route, p.Steplist(), p.Refusal, p.Headline)
		if p.Refusal != nil || len(p.Steps) == 0 {
			continue
		}
		r := x.e.Run(append([]string{"apply", "--auto-approve", x.c.Path()}, p.Accept()...)...)
		if r.Exit == 7 { // it was faster, with what had been put in place
			r.Says(t, "which requorum did not start")
			serves = false
			break
		}
		r.Want(t, 0)
		serves = true
		time.Sleep(1500 * time.Millisecond)
	}

	endManager()
	if survivor.Runs() {
		t.Logf("the manager's last attempt, pid %d, still has the directory or waits for it", survivor.PID())
		harness.Hands{survivor}.Kill9()
	}
	if serves {
		harness.AwaitServing(t, member.Client)
	}
	x.e.Settle(x.c.Path())
	if gone := x.served(t); len(gone) > 0 {
		t.Errorf("lost: %q", gone)
	}
	harness.ClusterID(t, x.c.Endpoints()) // one for all
	if b, err := os.ReadFile(survivor.Log()); err == nil && !strings.Contains(string(b), "not a directory") {
		t.Log("the fence was never met")
	}
}
