package scenario

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 1: a snapshot saved from a live member onto three new members, and
// once more when those are lost too: under a fresh token each time, though names
// and URLs are the same.
func TestRestoreOntoThree(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	ids := map[string]bool{src.clusterID: true}
	for _, consents := range []string{"", "data-loss"} {
		p := e.Plan(c.Path())
		if p.Route != "restore" || p.Consents() != consents || p.Loss.Kind != "unknown" {
			t.Fatalf("route %s, consents %q, loss %q: %s", p.Route, p.Consents(), p.Loss.Kind, p.Headline)
		}
		e.Apply(c.Path(), "--accept="+consents)
		harness.CompareAll(t, src.keys, c.Endpoints())
		id := harness.ClusterID(t, c.Endpoints())
		if ids[id] {
			t.Errorf("cluster ID %s again: the token is not fresh", id)
		}
		ids[id] = true
		bumped(t, c, src.revision+1_000_000_000)
		serves(t, c)
		e.InSync(c.Path())
		c.Stop()
		c.DropData(c.Members...)
	}
}

// serves writes through every member and reads it back from all.
func serves(t *testing.T, c *harness.Cluster) {
	t.Helper()
	for _, m := range c.Members {
		if _, err := harness.Client(t, m.Client).Put(harness.Context(t), "/after/"+m.Name, "written"); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if err := harness.SameHash(harness.Context(t), c.Endpoints()); err != nil {
		t.Error(err)
	}
	for _, ep := range c.Endpoints() {
		keys, err := harness.ReadAll(harness.Context(t), ep)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Members {
			if keys["/after/"+m.Name] != "written" {
				t.Errorf("%s does not have what was written through %s", ep, m.Name)
			}
		}
	}
}

// bumped asserts every member's revision to be at least the bumped one.
func bumped(t *testing.T, c *harness.Cluster, revision int64) {
	t.Helper()
	for _, ep := range c.Endpoints() {
		if got := harness.Status(t, ep).Header.Revision; got < revision {
			t.Errorf("%s is at revision %d, want %d", ep, got, revision)
		}
	}
}

// A write-ahead log on a path of its own is restored there, started from there,
// and found there after a stop.
func TestRestoreWithWALDirectory(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	for i := range c.Members {
		c.Members[i].WALDir = filepath.Join(c.Dir, "wal", c.Members[i].Name)
	}
	c.Write()
	e.Apply(c.Path())
	for _, m := range c.Members {
		if logs, _ := filepath.Glob(filepath.Join(m.WALDir, "*.wal")); len(logs) == 0 {
			t.Errorf("%s has no log in %s", m.Name, m.WALDir)
		}
		if _, err := os.Stat(filepath.Join(m.DataDir, "member", "wal")); err == nil {
			t.Errorf("%s has a log in its data directory too", m.Name)
		}
	}
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
	c.Stop()
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
}

// Data that was there and is gone needs a consent by name; with it the snapshot
// comes back, and without it nothing changes.
func TestRestoreOverMissingDataNeedsConsent(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	harness.AwaitServing(t, c.Members[1].Client) // who answers this has applied all that was written
	harness.Snapshot(t, c.Members[1].Client, filepath.Join(c.Dir, "saved.db"))
	old := harness.ClusterID(t, c.Endpoints())
	c.Stop()
	c.DropData(c.Members...)
	c.Snapshot = "saved.db"
	c.Write()
	before := harness.Tree(t, e.Dir)
	if p := e.Plan(c.Path()); p.Route != "restore" || p.Consents() != "data-loss" {
		t.Fatalf("route %s, consents %q: %s", p.Route, p.Consents(), p.Headline)
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "--accept=data-loss")
	e.Run("apply", "--auto-approve", "--accept=downtime", c.Path()).Want(t, 6).Says(t, "--accept=data-loss")
	harness.Unchanged(t, before, harness.Tree(t, e.Dir))
	e.Apply(c.Path(), "--accept=data-loss")
	harness.CompareAll(t, want, c.Endpoints())
	if id := harness.ClusterID(t, c.Endpoints()); id == old {
		t.Errorf("the old cluster ID %s came back", id)
	}
	e.InSync(c.Path())
}
