package hosttest

import (
	"path/filepath"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// survivors are two members of an old identity with a key, fenced.
func survivors(t *testing.T, h host.Host, ownWAL bool) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := newCluster(t, dir, 2)
	if ownWAL {
		c.places[0].WALDir = filepath.Join(dir, "log")
	}
	stopAtEnd(t, h, c)
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-old")}))
	must(t, h.Start(ctx(t), c.start("token-old", true)))
	c.serves(t)
	put(t, c)
	return c
}

// recoverFrom is the recovery of all that the first member's log holds.
func (c *cluster) recoverFrom(t *testing.T, h host.Host) planner.Recover {
	t.Helper()
	must(t, h.Fence(ctx(t), planner.Fence{Cluster: clusterName, Members: c.fences("token-old")}))
	facts := c.observe(t, h)["m1"]
	d := facts.Data.Value.Fenced
	if d == nil || facts.Base == "" {
		t.Fatalf("%+v", facts)
	}
	return planner.Recover{
		Place: c.places[0], ClusterID: d.ClusterID, MemberID: d.MemberID,
		LastTerm: d.LastTerm, LastIndex: d.LastIndex, Upto: d.LastIndex, Out: filepath.Join(facts.Base, "recovered", "x.db"),
	}
}

func recovered(t *testing.T, newHost func(*testing.T) host.Host) {
	h := newHost(t)
	c := survivors(t, h, false)
	early := planner.Recover{Place: c.places[0], Out: filepath.Join(t.TempDir(), "x.db"), LastIndex: 1, Upto: 1}
	if h.Recover(ctx(t), early, nil) == nil {
		t.Error("a running member was copied")
	}
	a := c.recoverFrom(t, h)
	restore := planner.Restore{Snapshot: a.Out, Recovered: true, RevisionBump: 1000, Members: c.claims(planner.ProvenanceRecover, "token-new")}
	if h.Restore(ctx(t), restore, nil) == nil {
		t.Error("restored what is not there yet")
	}
	for range 2 {
		must(t, h.Recover(ctx(t), a, nil))
	}
	c.wantFenced(t, h, "token-old")
	for range 2 {
		must(t, h.Restore(ctx(t), restore, nil))
	}
	must(t, h.Trial(ctx(t), planner.Trial{Place: c.places[0], Token: "token-new", Keys: -1}, nil))
	must(t, h.Install(ctx(t), c.install("token-new")))
	must(t, h.Recover(ctx(t), a, nil)) // nothing left to do
	wantData(t, c.observe(t, h), func(d planner.DataDir) bool {
		return d.ProvenanceAgrees && d.Provenance.SHA256 != "" && d.Provenance.Revision == 2
	})
	must(t, h.Start(ctx(t), c.start("token-new", false)))
	c.serves(t)
	if n := c.count(t); n < 1 {
		t.Errorf("%d keys", n)
	}
}

func recoveredInPlace(t *testing.T, newHost func(*testing.T) host.Host) {
	h := newHost(t)
	c := survivors(t, h, true)
	a := c.recoverFrom(t, h)
	prov := c.claims(planner.ProvenanceForceNew, "token-old")[0].Provenance
	prov.Token = "token-alone"
	a.Out, a.InPlace = "", &prov
	for range 2 {
		must(t, h.Recover(ctx(t), a, nil))
		c.wantFenced(t, h, "token-old")
	}
	one := *c
	one.places, one.client = c.places[:1], c.client[:1]
	must(t, h.Trial(ctx(t), planner.Trial{Place: c.places[0], Token: prov.Token, Keys: -1}, nil))
	for range 2 {
		must(t, h.Install(ctx(t), one.install(prov.Token)))
		must(t, h.Recover(ctx(t), a, nil))
	}
	wantData(t, one.observe(t, h), func(d planner.DataDir) bool {
		return d.State == planner.DirPresent && d.ProvenanceAgrees && d.Staged == "" && !d.EverRan
	})
	must(t, h.Start(ctx(t), c.start("token-old", false)[:1]))
	one.serves(t)
	if n := one.count(t); n != 1 {
		t.Errorf("%d keys", n)
	}
}
