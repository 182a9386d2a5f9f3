package scenario

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 4, S6: where a cluster was, absent data is missing data. It is never
// bootstrapped over, whatever else is gone as well.
func TestMissingDataIsNotBootstrapped(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, _ := bootstrapped(t, e, n)
			c.Stop()
			c.DropData(c.Members...)
			refused(t, e, c.Path(), "data-missing")

			// An empty directory, as an unmounted disk leaves it, is the same.
			for _, m := range c.Members {
				if err := os.Mkdir(m.DataDir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, e, c.Path(), "data-missing")

			// The journal alone knows of it too.
			c.DropData(c.Members...)
			for _, m := range c.Members {
				if err := os.RemoveAll(m.Base()); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, e, c.Path(), "data-missing")
		})
	}
}

// What requorum keeps beside the data says so without the journal, on another
// operator's laptop.
func TestMissingDataWithoutJournal(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, _ := bootstrapped(t, e, 3)
	c.Stop()
	c.DropData(c.Members...)
	if err := os.RemoveAll(e.State()); err != nil {
		t.Fatal(err)
	}
	refused(t, e, c.Path(), "data-missing")
}

// One of three directories is gone: the others are started, and the lost one is
// not made anew, for it would be an empty twin. Once they serve, it is replaced,
// if somebody says that it is lost.
func TestOneDirectoryLost(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	id := harness.ClusterID(t, c.Endpoints())
	c.Stop()
	lost := c.Members[2]
	c.DropData(lost)
	p := e.Plan(c.Path())
	if p.Route != "start" || p.Kinds() != "start verify" || len(p.Steps[0].Target) != 2 {
		t.Fatalf("route %s, steps %s %+v: %s", p.Route, p.Kinds(), p.Steps, p.Headline)
	}
	e.Apply(c.Path())
	if _, err := os.Stat(lost.DataDir); err == nil {
		t.Errorf("%s was made anew", lost.DataDir)
	}
	two := c.Endpoints()[:2]
	harness.CompareAll(t, want, two)
	if now := harness.ClusterID(t, two); now != id {
		t.Errorf("cluster ID %s, before %s", now, id)
	}
	if p := e.Plan(c.Path()); p.Route != "reconfigure" || p.Consents() != "data-loss" || p.Loss.Kind != "none" {
		t.Errorf("with m3 lost: route %s, consents %q, loss %s: %s", p.Route, p.Consents(), p.Loss.Kind, p.Headline)
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "--accept=data-loss")
	e.Settle(c.Path(), harness.Granted)
	harness.CompareAll(t, want, c.Endpoints())
}

// Scenario 4, S5: another cluster behind the file's addresses is refused and
// left alone.
func TestForeignClusterBehindEndpoint(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name  string
		make  func(*testing.T, *harness.Env) (*harness.Cluster, *harness.Server)
		codes []string
	}{
		{"at a stopped member's URLs", foreignAtStopped, []string{"foreign-cluster", "cluster-id-changed"}},
		{"at a stopped member's URLs, without a journal", foreignWithoutJournal, []string{"foreign-cluster"}},
		{"where the data is gone", foreignWhereDataIsGone, []string{"foreign-cluster", "cluster-id-changed"}},
		{"at a new file's client URL", foreignAtNewFile, []string{"foreign-cluster", "cluster-id-changed", "port-taken"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, s := f.make(t, e)
			keys := harness.Fill(t, []string{s.Client}, keysPerTest)
			revision := harness.Status(t, s.Client).Header.Revision
			refusedBeside(t, e, c, s, f.codes...)
			if now := harness.Status(t, s.Client).Header.Revision; now != revision {
				t.Errorf("the other cluster's revision was %d and is %d", revision, now)
			}
			harness.CompareAll(t, keys, []string{s.Client})
		})
	}
}

// refusedBeside is refused, without the tree of an etcd that runs by hand.
func refusedBeside(t *testing.T, e *harness.Env, c *harness.Cluster, s *harness.Server, codes ...string) {
	t.Helper()
	before := harness.Tree(t, c.Dir)
	if p := e.Plan(c.Path()); !oneOf(p.Code(), codes) {
		t.Errorf("refusal %q, want one of %q: route %s: %s", p.Code(), codes, p.Route, p.Headline)
		return
	}
	e.Run("apply", "--auto-approve", "--accept=data-loss", c.Path()).Want(t, 6)
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))
}

func foreignAtStopped(t *testing.T, e *harness.Env) (*harness.Cluster, *harness.Server) {
	c, _ := bootstrapped(t, e, 1)
	c.Stop()
	return c, e.ServerAt("other", c.Members[0].Client, c.Members[0].Peer)
}

func foreignWhereDataIsGone(t *testing.T, e *harness.Env) (*harness.Cluster, *harness.Server) {
	c, s := foreignAtStopped(t, e)
	c.DropData(c.Members...)
	return c, s
}

func foreignWithoutJournal(t *testing.T, e *harness.Env) (*harness.Cluster, *harness.Server) {
	c, s := foreignAtStopped(t, e)
	if err := os.RemoveAll(e.State()); err != nil {
		t.Fatal(err)
	}
	return c, s
}

func foreignAtNewFile(t *testing.T, e *harness.Env) (*harness.Cluster, *harness.Server) {
	c := e.Cluster(3).Write()
	return c, e.ServerAt("other", c.Members[0].Client, e.Ports(1).URL(0))
}

// A member that serves from somewhere else than the file's data_dir is not as
// the file says: a restart by the file would find nothing there.
func TestServesFromElsewhere(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1)
	s := e.ServerAt("m1", c.Members[0].Client, c.Members[0].Peer)
	want := harness.Fill(t, []string{s.Client}, keysPerTest)
	c.Write()
	notInSync(t, e, c)
	harness.CompareAll(t, want, []string{s.Client})
}

// A running member whose directory was deleted serves until it ends, and then
// all is gone: that is no cluster in order.
func TestDirectoryDeletedUnderRunningMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	c.DropData(c.Members[1])
	notInSync(t, e, c)
	harness.CompareAll(t, want, c.Endpoints())
}

func notInSync(t *testing.T, e *harness.Env, c *harness.Cluster) {
	t.Helper()
	if p := e.Plan(c.Path()); p.Route == "in-sync" {
		t.Errorf("%s; notices %+v", p.Headline, p.Notices)
	}
	e.Run("status", c.Path()).Want(t, 2)
}

// Two clusters serve at the addresses of one file: refused, both left alone.
func TestTwoClustersServe(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(2).Write()
	for _, m := range c.Members {
		s := e.ServerAt("by-hand-"+m.Name, m.Client, m.Peer)
		harness.Fill(t, []string{s.Client}, keysPerTest)
	}
	before := harness.Tree(t, c.Dir)
	if p := e.Plan(c.Path()); p.Code() != "cluster-id-mismatch" {
		t.Errorf("refusal %q, route %s: %s", p.Code(), p.Route, p.Headline)
	}
	e.Run("apply", "--auto-approve", "--accept=data-loss", c.Path()).Want(t, 6)
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))
}

// One of the directories belongs to another cluster: none is started.
func TestDirectoryOfAnotherCluster(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	c.Stop()
	other := e.Server("other")
	harness.Fill(t, []string{other.Client}, keysPerTest)
	e.StopServer(other)
	m, aside := c.Members[2], e.Path("aside")
	rename(t, m.DataDir, aside)
	rename(t, other.DataDir, m.DataDir)
	refused(t, e, c.Path(), "foreign-data")
	if err := os.RemoveAll(e.State()); err != nil {
		t.Fatal(err)
	}
	refused(t, e, c.Path(), "foreign-data")
	rename(t, m.DataDir, other.DataDir)
	rename(t, aside, m.DataDir)
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// A pinned ID that is not the live cluster's, or the data's, is refused.
func TestPinnedID(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	right := harness.ClusterID(t, c.Endpoints())
	c.ID = right
	e.InSync(c.Write().Path())
	c.ID = "cdf818194e3a8c32"
	c.Write()
	revision := harness.Status(t, c.Members[0].Client).Header.Revision
	if p := e.Plan(c.Path()); p.Code() != "cluster-id-changed" {
		t.Errorf("refusal %q, route %s", p.Code(), p.Route)
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6)
	if now := harness.Status(t, c.Members[0].Client).Header.Revision; now != revision {
		t.Errorf("revision %d became %d", revision, now)
	}
	c.Stop()
	refused(t, e, c.Path(), "cluster-id-changed")
	c.ID = right
	c.Write()
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// A file that pins an ID says that a cluster was here: a restore needs the
// consent, and without a snapshot nothing is begun. The file still fits the
// restored cluster, whose ID is another one.
func TestPinnedIDAfterRestore(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, src.snapshot)
	c.ID, c.Snapshot = src.clusterID, ""
	refused(t, e, c.Write().Path(), "data-missing")
	c.Snapshot = "snapshot.db"
	c.Write()
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "--accept=data-loss")
	e.Apply(c.Path(), "--accept=data-loss")
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
	c.Stop()
	e.Apply(c.Path())
	e.InSync(c.Path())
}

// Something that is no etcd has the member's port.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	m := c.Members[0]
	c.Stop()
	for _, url := range []string{m.Peer, m.Client} {
		l, err := net.Listen("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		other := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
		go func() { _ = other.Serve(l) }()
		refused(t, e, c.Path(), "port-taken", "wrong-service")
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// Two members' directories were exchanged: neither is started.
func TestExchangedDirectories(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	c.Stop()
	exchange := func() {
		a, b, spare := c.Members[0].DataDir, c.Members[1].DataDir, e.Path("spare")
		rename(t, a, spare)
		rename(t, b, a)
		rename(t, spare, b)
	}
	exchange()
	refused(t, e, c.Path(), "foreign-data")
	exchange()
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// Scenario 4: everything stopped but healthy is started, and nothing else.
func TestStoppedIsStarted(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	id := harness.ClusterID(t, c.Endpoints())
	c.Stop()
	// A snapshot block alone never leads to a restore while a survivor exists.
	c.Snapshot = "snapshot.db"
	write(t, c.Dir+"/snapshot.db", oldCluster(t).snapshot)
	c.Write()
	onlyStart(t, e, c)
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	if now := harness.ClusterID(t, c.Endpoints()); now != id {
		t.Errorf("cluster ID %s, before %s", now, id)
	}
	e.InSync(c.Path())
}

// onlyStart asserts a plan that starts what is there and does nothing else.
func onlyStart(t *testing.T, e *harness.Env, c *harness.Cluster) {
	t.Helper()
	p := e.Plan(c.Path())
	if p.Route != "start" || p.Kinds() != "start verify" || p.Consents() != "" || p.Loss.Kind != "none" {
		t.Fatalf("route %s, steps %s, consents %q, loss %s: %s", p.Route, p.Kinds(), p.Consents(), p.Loss.Kind, p.Headline)
	}
	if len(p.Steps[0].Target) != len(c.Members) {
		t.Fatalf("starts %v; planned:\n%s", p.Steps[0].Target, e.Run("plan", c.Path()).Stdout)
	}
}

// Scenario 4: a power cut under writes, all directories intact: start, and every
// acknowledged write is there.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, base := bootstrapped(t, e, 3)
	id := harness.ClusterID(t, c.Endpoints())
	for range 2 {
		w := harness.StartWriters(t, 4, c.Endpoints())
		for end := time.Now().Add(30 * time.Second); w.Acked() < 300; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("only %d writes were acknowledged", w.Acked())
			}
		}
		c.PowerCut()
		w.Stop()
		onlyStart(t, e, c)
		e.Apply(c.Path())
		base = w.Check(t, base, c.Endpoints())
		if now := harness.ClusterID(t, c.Endpoints()); now != id {
			t.Errorf("cluster ID %s, before %s", now, id)
		}
		e.InSync(c.Path())
	}
}
