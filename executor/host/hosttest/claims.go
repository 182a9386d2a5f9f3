package hosttest

import (
	"os"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// abandonedBootstraps starts an etcd that ends on a bad flag before it writes
// anything, twice, and gives each up for another identity. Nothing was lost with
// them. What runs then, and is deleted, is lost, whatever is claimed after it.
func abandonedBootstraps(t *testing.T, newHost func(*testing.T) host.Host) {
	h := newHost(t)
	c := newCluster(t, t.TempDir(), 1)
	stopAtEnd(t, h, c)
	claim := func(token string) {
		t.Helper()
		must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, token)}))
	}
	nothingLost := func(d planner.DataDir) bool { return len(d.Evidence) == 0 && !d.EverRan }
	for _, token := range []string{"token-bad-1", "token-bad-2"} {
		claim(token)
		wantData(t, c.observe(t, h), nothingLost)
		start := c.start(token, true)
		start[0].Args = append(start[0].Args, "--no-such-flag")
		must(t, h.Start(ctx(t), start))
		eventually(t, "it was tried again", func() bool { return c.observe(t, h)["m1"].Service.Value.Restarts > 0 })
		must(t, h.Stop(ctx(t), clusterName, c.stops()))
		wantData(t, c.observe(t, h), nothingLost)
	}
	claim("token-good")
	wantData(t, c.observe(t, h), nothingLost)
	must(t, h.Start(ctx(t), c.start("token-good", true)))
	c.serves(t)
	must(t, h.Stop(ctx(t), clusterName, c.stops()))

	lost := func(d planner.DataDir) bool { return len(d.Evidence) > 0 }
	if err := os.RemoveAll(c.places[0].DataDir); err != nil { // this test's own
		t.Fatal(err)
	}
	wantData(t, c.observe(t, h), lost)
	for _, token := range []string{"token-after-1", "token-after-2", "token-after-3"} {
		claim(token)
		wantData(t, c.observe(t, h), lost)
	}
}

// anotherCluster has another cluster's file name the same data directory.
func anotherCluster(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 2)
	stopAtEnd(t, h, c)
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-one")}))
	must(t, h.Start(ctx(t), c.start("token-one", true)))
	c.serves(t)
	before := c.observe(t, h)
	for name, f := range before {
		if f.Service.Value.Cluster != clusterName {
			t.Errorf("%s: %+v", name, f.Service.Value)
		}
	}
	// m0 has no service at all: it is not touched either.
	free := planner.Place{Name: "m0", DataDir: dir + "/m0"}
	if h.Stop(ctx(t), "other", append([]planner.StopMember{{Place: free}}, c.stops()...)) == nil {
		t.Error("another cluster's member was stopped")
	}
	for name, f := range c.observe(t, h) {
		if f.Service.Value.PID != before[name].Service.Value.PID || f.Service.Value.SupervisorPID != before[name].Service.Value.SupervisorPID {
			t.Errorf("%s: %+v, was %+v", name, f.Service.Value, before[name].Service.Value)
		}
	}
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
	at := tree(t, dir)
	theirs := c.start("token-one", false)
	for i := range theirs {
		theirs[i].Cluster = "other"
	}
	if h.Start(ctx(t), theirs) == nil {
		t.Error("another cluster's member was started")
	}
	same(t, at, tree(t, dir))
	must(t, h.Stop(ctx(t), "other", []planner.StopMember{{Place: free}}))
	same(t, at, tree(t, dir))
}
