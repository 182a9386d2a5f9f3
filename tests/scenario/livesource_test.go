package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// addressOf is a URL's HOST:PORT.
func addressOf(url string) string { return strings.TrimPrefix(url, "http://") }

// another is a cluster that somebody started by hand, with keys, to copy from.
func another(t *testing.T, e *harness.Env, n int) (*harness.Cluster, harness.Hands, harness.Keys) {
	t.Helper()
	c := e.ClusterIn("another", n)
	hands := e.ByHand(c.Members)
	return c, hands, harness.Fill(t, c.Endpoints(), keysPerTest)
}

// A cluster is copied from a live one: from a follower that has all, again and
// again the same file while the plan is asked about, though clients write; and the
// source goes on as it was.
func TestCopyOfALiveCluster(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	from, hands, want := another(t, e, 3)
	var addresses []string
	for _, url := range from.Endpoints() {
		addresses = append(addresses, addressOf(url))
	}
	id := harness.ClusterID(t, from.Endpoints())
	revision := harness.Status(t, from.Endpoints()[0]).Header.Revision
	c := e.Cluster(3)
	c.Snapshot = "etcd://" + strings.Join(addresses, ",")
	c.Write()
	p := e.Plan(c.Path())
	if p.Route != "restore" || p.Consents() != "" || !strings.Contains(p.Loss.Text, "nothing of cluster "+id) {
		t.Fatalf("route %s, consents %q, loss %q, refusal %+v", p.Route, p.Consents(), p.Loss.Text, p.Refusal)
	}
	leader := addressOf(from.Endpoints()[hands.Leader()])
	e.Run("plan", c.Path()).Want(t, 0).Says(t, "saved from http://", id)
	if r := e.Run("plan", "--json", c.Path()); strings.Contains(r.Stdout, `"url": "http://`+leader+`"`) {
		t.Errorf("it was saved from the leader, %s:\n%s", leader, r)
	}
	// While the operator is asked, clients write to the source: it is still that plan.
	cli := harness.Client(t, from.Endpoints()...)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = cli.Put(harness.Context(t), "/after", strings.Repeat("x", 1000))
			}
		}
	}()
	r := e.Finish(e.Command("apply", c.Path()), "yes\n")
	close(stop)
	<-done
	r.Want(t, 0)
	cli2 := harness.Client(t, c.Endpoints()...)
	if _, err := cli2.Delete(harness.Context(t), "/after"); err != nil {
		t.Fatal(err)
	}
	harness.CompareAll(t, want, c.Endpoints())
	bumped(t, c, revision+1_000_000_000)
	e.InSync(c.Path())
	if now := harness.ClusterID(t, from.Endpoints()); now != id {
		t.Errorf("the source was %s and is %s", id, now)
	}
	if harness.ClusterID(t, c.Endpoints()) == id {
		t.Error("the copy has the source's identity")
	}
}

// A copy that was begun goes on from the file that it was begun from, when the
// source has other data by then, or is gone.
func TestCopyIsFinishedFromItsFile(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		t.Run(map[bool]string{false: "written to", true: "gone"}[gone], func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			from, hands, want := another(t, e, 1)
			c := e.Cluster(3)
			c.Snapshot = "etcd://" + addressOf(from.Endpoints()[0])
			c.Write()
			hit := killedWith(t, e, c, anyMember(func(m harness.Member) bool { return exists(m.Base(), "staging", "complete") }))
			t.Logf("killed: %v", hit)
			if gone {
				hands[0].Term()
			} else if _, err := harness.Client(t, from.Endpoints()...).Put(harness.Context(t), "/later", "x"); err != nil {
				t.Fatal(err)
			}
			claimed := claimedIDs(t, c)
			if p := e.Plan(c.Path()); p.Refusal != nil || p.Consents() != "" {
				t.Fatalf("%+v, consents %q", p.Refusal, p.Consents())
			}
			e.Apply(c.Path())
			harness.CompareAll(t, want, c.Endpoints())
			if id := harness.ClusterID(t, c.Endpoints()); hit && !strings.Contains(strings.Join(claimed, " "), id) {
				t.Errorf("cluster ID %s, begun were %v", id, claimed)
			}
			e.InSync(c.Path())
		})
	}
}

// A live snapshot of the cluster that would be replaced is no source (S15): neither
// by the name of a member that is dead, nor by the address of one that lives where
// the file does not look.
func TestLiveSourceOfTheSameCluster(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	hands := e.ByHand(c.Members)
	harness.Fill(t, c.Endpoints(), 100)
	hands[0].Term()
	hands[1].Term()
	c.DropData(c.Members[0], c.Members[1])

	alive := c.Members[2]
	harness.Settled(t, alive.DataDir)
	c.Members = c.Members[:2]
	c.Snapshot = "etcd://" + addressOf(alive.Client)
	c.Write()
	refused(t, e, c.Path(), "host-alive")
	c.Snapshot = "etcd://m1"
	c.Write()
	refused(t, e, c.Path(), "unreachable")
	c.Snapshot = "etcd://"
	c.Write()
	refused(t, e, c.Path(), "unreachable")

	// While the member is in the file and runs, plan does not ask it for anything.
	c.Members = append(c.Members, alive)
	c.Snapshot = "etcd://m3"
	c.Write()
	if p := e.Plan(c.Path()); p.Route != "recover" {
		t.Errorf("route %s, refusal %+v", p.Route, p.Refusal)
	}
	if cache, _ := filepath.Glob(e.Path("home", ".cache", "requorum", "snapshots", "*", "snapshot-*")); len(cache) > 0 {
		t.Errorf("%q were fetched, and no plan needs them", cache)
	}
}

// rescued is a cluster all of whose disks are gone, but one, which lies elsewhere.
func rescued(t *testing.T, e *harness.Env) (c *harness.Cluster, want harness.Keys, dir string) {
	t.Helper()
	c, want = bootstrapped(t, e, 3)
	leader, err := harness.Leader(harness.Context(t), c.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	cli := harness.Client(t, c.Endpoints()[leader])
	for range 20 { // in the log alone, after a kill
		put(t, cli, "/tail", "acknowledged")
	}
	if _, err := cli.Delete(harness.Context(t), "/tail"); err != nil {
		t.Fatal(err)
	}
	c.PowerCut()
	dir = e.Path("rescued")
	rename(t, c.Members[leader].DataDir, dir)
	c.DropData(c.Members...)
	return c, want, dir
}

func put(t *testing.T, cli *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := cli.Put(harness.Context(t), key, value); err != nil {
		t.Fatal(err)
	}
}

// A dead member's directory that lies elsewhere is a source, with all that its log
// holds, and is the same afterwards, byte for byte.
func TestRestoreFromADirectory(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want, dir := rescued(t, e)
	before := harness.Tree(t, dir)
	c.Snapshot = "datadir://" + dir
	c.Write()
	p := e.Plan(c.Path())
	if p.Route != "restore" || !hasConsent(p, "data-loss") || p.Loss.Kind != "unknown" || !strings.HasPrefix(p.Kinds(), "recover restore trial install start") {
		t.Fatalf("route %s, steps %s, consents %q, loss %+v, refusal %+v", p.Route, p.Kinds(), p.Consents(), p.Loss, p.Refusal)
	}
	e.Run("plan", c.Path()).Want(t, 0).Says(t, dir, "a stopped member's directory")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "--accept=")
	e.Apply(c.Path(), "--accept="+p.Consents())
	harness.CompareAll(t, want, c.Endpoints())
	serves(t, c)
	e.InSync(c.Path())
	harness.Unchanged(t, before, harness.Tree(t, dir))
}

// It is killed on the way, and comes to its end.
func TestKilledRestoreFromADirectory(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(*harness.Cluster) bool{
		"while the copy is there": anyMember(func(m harness.Member) bool { return exists(m.Base(), "recovered", "work") }),
		"one member staged":       anyMember(func(m harness.Member) bool { return exists(m.Base(), "staging", "complete") }),
		"one in place":            anyMember(func(m harness.Member) bool { return exists(m.DataDir) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, want, dir := rescued(t, e)
			before := harness.Tree(t, dir)
			c.Snapshot = "datadir://" + dir
			c.Write()
			consents := e.Plan(c.Path()).Consents()
			t.Logf("killed: %v", killedWith(t, e, c, at, "--accept="+consents))
			p := e.Plan(c.Path())
			if p.Refusal != nil {
				t.Fatalf("%+v", p.Refusal)
			}
			e.Apply(c.Path(), "--accept="+consents)
			harness.CompareAll(t, want, c.Endpoints())
			e.InSync(c.Path())
			harness.Unchanged(t, before, harness.Tree(t, dir))
		})
	}
}

// What is wrong with a directory is said before anything is made.
func TestDirectoryThatIsNoSource(t *testing.T) {
	t.Parallel()
	src := func(t *testing.T, harm func(t *testing.T, e *harness.Env, dir string) string, codes ...string) {
		e := harness.New(t)
		c, _, dir := rescued(t, e)
		c.Snapshot = "datadir://" + harm(t, e, dir)
		c.Write()
		if codes[0] == "data-held" { // whoever runs writes
			if p := e.Plan(c.Path()); p.Code() != codes[0] {
				t.Errorf("%+v", p.Refusal)
			}
			return
		}
		refused(t, e, c.Path(), codes...)
	}
	for name, x := range map[string]struct {
		harm  func(t *testing.T, e *harness.Env, dir string) string
		codes []string
	}{
		"none there":   {func(t *testing.T, _ *harness.Env, dir string) string { return dir + "-not" }, []string{"snapshot-missing"}},
		"an empty one": {func(t *testing.T, e *harness.Env, _ string) string { return e.Path("tmp") }, []string{"snapshot-missing"}},
		"db cut short": {func(t *testing.T, _ *harness.Env, dir string) string {
			cutFile(t, filepath.Join(dir, "member", "snap", "db"))
			return dir
		}, []string{"data-damaged"}},
		"log is gone": {func(t *testing.T, _ *harness.Env, dir string) string {
			remove(t, filepath.Join(dir, "member", "wal"))
			return dir
		}, []string{"data-damaged", "data-unknown"}},
		"log has a bad byte": {func(t *testing.T, _ *harness.Env, dir string) string { harmLog(t, dir); return dir }, []string{"data-damaged"}},
		"somebody runs on it": {func(t *testing.T, e *harness.Env, dir string) string {
			m := harness.Member{Name: "x", Client: e.Ports(1).URL(0), Peer: e.Ports(1).URL(0), DataDir: dir}
			e.Expect(dir)
			e.Hand(m, nil).Start()
			return dir
		}, []string{"data-held"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src(t, x.harm, x.codes...)
		})
	}
}

// datadir://NAME names a survivor, as recover { from } does.
func TestDatadirOfAMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	leader, err := harness.Leader(harness.Context(t), c.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	c.PowerCut()
	gone := c.Members[(leader+1)%3]
	c.DropData(gone, c.Members[(leader+2)%3])
	c.Snapshot = "datadir://" + gone.Name
	c.Write()
	refused(t, e, c.Path(), "survivor-unfit")
	c.Snapshot = "datadir://" + c.Members[leader].Name
	c.Write()
	p := e.Plan(c.Path())
	if p.Route != "recover" || !hasConsent(p, "data-loss") || !strings.Contains(p.Survivors[0].Verdict, "chosen by the file") {
		t.Fatalf("route %s, consents %q, %+v, refusal %+v", p.Route, p.Consents(), p.Survivors, p.Refusal)
	}
	e.Apply(c.Path(), "--accept="+p.Consents())
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
	c.Stop()
	c.DropData(c.Members...)
	for _, m := range c.Members { // and the fence, and what it keeps
		if err := os.RemoveAll(m.Base()); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, e, c.Path(), "snapshot-missing")
}
