package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// withoutFile is a cluster that was killed under writers, and whose file nobody has.
func withoutFile(t *testing.T) crash {
	t.Helper()
	x := crashed(t, 6)
	if err := os.Remove(x.c.Path()); err != nil {
		t.Fatal(err)
	}
	return x
}

// rescued writes the file anew from what lies below the data folder, and checks that
// nothing else was touched.
func (x crash) rescued(t *testing.T, flags ...string) (path string, said harness.Result) {
	t.Helper()
	path = x.e.Path("night.hcl")
	tree := harness.Tree(t, x.e.Dir)
	said = x.e.Run(append([]string{"rescue", "--out", path}, flags...)...).Want(t, 0).Says(t, "Wrote ")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	harness.Unchanged(t, tree, harness.Tree(t, x.e.Dir))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	x.e.Run("fmt", "--check", path).Want(t, 0)
	x.e.Run("validate", path).Want(t, 0)
	// The same disks give the same file, and none is written over.
	x.e.Run("rescue", "--out", path, flags[0], flags[1]).Want(t, 1).Says(t, "is not written over")
	if len(flags) == 2 {
		if again := x.e.Run("rescue", flags[0], flags[1]).Want(t, 0); again.Stdout != string(text) {
			t.Errorf("another file the second time:\n%s", again.Stdout)
		}
	}
	return path, said
}

// Of three members one disk is left and no file: the leader's. The file comes from
// it, and with that file every acknowledged write comes back.
func TestRescueFromOneDisk(t *testing.T) {
	t.Parallel()
	x := withoutFile(t)
	x.only(x.leader)
	path, said := x.rescued(t, "--data-dir", filepath.Join(x.c.Dir, "data"))
	said.Says(t, "recover from "+x.c.Members[x.leader].Name, "--accept=data-loss")
	p := x.e.Plan(path)
	if p.Route != "recover" || p.Consents() != "data-loss" {
		t.Fatalf("route %s, consents %q: %s", p.Route, p.Consents(), p.Headline)
	}
	x.e.Run("apply", "--auto-approve", path).Want(t, 6)
	x.e.Run("apply", "--auto-approve", "--accept=data-loss", path).Want(t, 0)
	if gone := x.served(t); len(gone) > 0 {
		t.Errorf("of %d acknowledged writes %d are lost: %q", x.w.Acked(), len(gone), gone)
	}
}

// With all three disks there is nothing to recover: they are started.
func TestRescueFromAllDisks(t *testing.T) {
	t.Parallel()
	x := withoutFile(t)
	path, _ := x.rescued(t, "--data-dir", filepath.Join(x.c.Dir, "data"))
	p := x.e.Plan(path)
	if p.Route != "start" || p.Consents() != "" {
		t.Fatalf("route %s, consents %q: %s", p.Route, p.Consents(), p.Headline)
	}
	x.e.Apply(path)
	if gone := x.served(t); len(gone) > 0 {
		t.Errorf("%d acknowledged writes are lost: %q", len(gone), gone)
	}
}

// A member that still runs, without its quorum, is found by its process, and says
// itself who is in its cluster.
func TestRescueOfARunningSurvivor(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	hs := e.ByHand(c.Members)
	w := harness.StartWriters(t, 3, hs.Endpoints())
	w.Await(t, 50)
	w.Stop()
	hs[1:].Kill9()
	c.DropData(c.Members[1:]...)
	path := e.Path("night.hcl")
	tree := harness.Tree(t, c.Dir, "db") // the etcd that runs writes it
	e.Run("rescue", "--data-dir", c.Members[0].DataDir, "--out", path).Want(t, 0)
	harness.Unchanged(t, tree, harness.Tree(t, c.Dir, "db"))
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "an etcd runs on it") {
		t.Errorf("%v\n%s", err, text)
	}
	p := e.Plan(path)
	if p.Route != "recover" || p.Consents() != "data-loss" {
		t.Errorf("route %s, consents %q: %s\n%s", p.Route, p.Consents(), p.Headline, text)
	}
}

// Disks of two clusters are never put into one file.
func TestRescueOfTwoClusters(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	for _, folder := range []string{"one", "two"} {
		hs := e.ByHand(e.ClusterIn(folder, 1).Members)
		hs.Term() // a clean end: its db has its own addresses then
	}
	out := e.Path("night.hcl")
	e.Run("rescue", "--data-dir", e.Path("one", "data"), "--data-dir", e.Path("two", "data"), "--out", out).Want(t, 6).
		Says(t, "split-cluster", "two/data/m1")
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written all the same")
	}
	e.Run("rescue", "--data-dir", e.Path("two", "data"), "--out", out).Want(t, 0)
	if p := e.Plan(out); p.Route != "start" {
		t.Errorf("route %s: %s", p.Route, p.Headline)
	}
}
