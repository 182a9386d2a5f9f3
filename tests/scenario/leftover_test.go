package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	utl "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/requorum/requorum/tests/harness"
)

// says fails the test where a person who plans does not read one of the words.
func says(t *testing.T, e *harness.Env, c *harness.Cluster, anyOf ...string) {
	t.Helper()
	r := e.Run("plan", c.Path())
	text := strings.Join(strings.Fields(r.Stdout+" "+r.Stderr), " ")
	for _, w := range anyOf {
		if strings.Contains(text, w) {
			return
		}
	}
	t.Errorf("plan says none of %q:\n%s", anyOf, r)
}

// addMember adds a member through the cluster's API, as somebody did who was
// then called away.
func addMember(t *testing.T, endpoint, peer string, learner bool) {
	t.Helper()
	cli := harness.Client(t, endpoint)
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var err error
		if learner {
			_, err = cli.MemberAddAsLearner(ctx, []string{peer})
		} else {
			_, err = cli.MemberAdd(ctx, []string{peer})
		}
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A voter was added to a single member and never started: nobody is served any
// more, until it starts.
func TestVoterNeverStartedHaltsOne(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members[:1])
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	addMember(t, hs[0].Client, c.Members[1].Peer, false)
	says(t, e, c, "never started", "not started", "unstarted")
	e.Settle(c.Path(), harness.Granted)
	harness.CompareAll(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
}

// The same with a peer URL that the file does not know.
func TestUnknownVoterHaltsOne(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members[:1])
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	addMember(t, hs[0].Client, e.Ports(1).URL(0), false)
	says(t, e, c, "never started", "not started", "unstarted")
	if p := e.Plan(c.Path()); p.Refusal != nil {
		e.Run("apply", "--auto-approve", "--accept=data-loss,downtime", c.Path()).Want(t, 6)
		t.Logf("refused: %s: %s", p.Refusal.Code, p.Refusal.Detail)
		return
	}
	e.Settle(c.Path(), harness.Granted)
	harness.CompareAll(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
}

// Two members of five never started; the file wants three, or one of the two.
func TestTwoNeverStarted(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 4} {
		t.Run(fmt.Sprintf("the file has %d", n), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(5)
			hs := e.ByHand(c.Members[:3])
			base := harness.Fill(t, hs.Endpoints(), keysPerTest)
			addMember(t, hs[0].Client, c.Members[3].Peer, false)
			addMember(t, hs[0].Client, c.Members[4].Peer, false)
			c.Members = c.Members[:n]
			c.Write()
			says(t, e, c, "never started", "not started", "unstarted")
			e.Settle(c.Path(), harness.Granted)
			harness.CompareAll(t, base, c.Endpoints())
			membersAreTheFiles(t, c)
		})
	}
}

// A learner was added and never started; the file has it as a voter, or not at
// all.
func TestLearnerNeverStarted(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("the file has %d", n), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(3)
			hs := e.ByHand(c.Members[:2])
			base := harness.Fill(t, hs.Endpoints(), keysPerTest)
			addMember(t, hs[0].Client, c.Members[2].Peer, true)
			c.Members = c.Members[:n]
			c.Write()
			says(t, e, c, "never started", "not started", "unstarted")
			e.Settle(c.Path(), harness.Granted)
			harness.CompareAll(t, base, c.Endpoints())
			membersAreTheFiles(t, c)
		})
	}
}

// Somebody forced a new cluster and left the flag on the command line: the next
// restart would expel everyone who joined since.
func TestForceNewLeftOn(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	h := e.Hand(c.Members[0], nil)
	h.Serve()
	base := harness.Fill(t, []string{h.Client}, keysPerTest)
	h.Term()
	h.Set("--force-new-cluster")
	h.Serve()
	says(t, e, c, "force-new-cluster")
	p := e.Plan(c.Path())
	if !hasConsent(p, "downtime") {
		t.Errorf("a single member is to be restarted, and the consents are %q", p.Consents())
	}
	e.Settle(c.Path(), harness.Granted)
	for _, m := range c.Members {
		if strings.Contains(strings.Join(c.Etcd(m).Args, " "), "force-new-cluster") {
			t.Errorf("still on: %v", c.Etcd(m))
		}
	}
	harness.CompareAll(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
}

// Somebody restored one of three from a snapshot and started the others empty:
// etcd calls that healthy. Nobody can tell which data counts but a person.
func TestOneOfThreeRestored(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := e.Cluster(3).Write()
	m := c.Members[0]
	snapshot := write(t, e.Path("saved.db"), src.snapshot)
	if err := os.MkdirAll(filepath.Dir(m.DataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	err := utl.NewV3(zap.NewNop()).Restore(utl.RestoreConfig{
		SnapshotPath: snapshot, Name: m.Name, OutputDataDir: m.DataDir, PeerURLs: []string{m.Peer},
		InitialCluster: harness.InitialCluster(c.Members), InitialClusterToken: "by-hand",
	})
	if err != nil {
		t.Fatal(err)
	}
	hs := e.ByHand(c.Members)
	running := pids(hs)
	p := e.Plan(c.Path())
	if p.Code() != "partly-restored" {
		t.Errorf("refusal %+v, route %s: %s", p.Refusal, p.Route, p.Headline)
	}
	e.Run("apply", "--auto-approve", "--accept=data-loss,stale-watchers,downtime", c.Path()).Want(t, 6)
	e.Run("status", c.Path()).Want(t, 2)
	if now := pids(hs); now != running {
		t.Errorf("running were %s, are %s", running, now)
	}
	hs.Term()
	p = e.Plan(c.Path())
	t.Logf("stopped: refusal %+v, route %s: %s", p.Refusal, p.Route, p.Headline)
}

func pids(hs harness.Hands) string {
	var out []string
	for _, h := range hs {
		if h.Runs() {
			out = append(out, fmt.Sprint(h.PID()))
		}
	}
	return strings.Join(out, " ")
}

// A member was started again on its directory of yesterday: etcd panics, for it
// acknowledged what the directory does not have.
func TestOldDirectoryOfAMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members)
	lead(t, hs, 0)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	m := c.Members[2]
	hs[2].Term()
	copyDir(t, m.DataDir, e.Path("yesterday"))
	hs[2].Serve()
	w := harness.StartWriters(t, 2, hs.Endpoints())
	w.Await(t, 300)
	w.Stop()
	hs[2].Term()
	rename(t, m.DataDir, e.Path("today"))
	rename(t, e.Path("yesterday"), m.DataDir)
	hs[2].Start()
	hs[2].AwaitEnd() // tocommit is out of range
	dirs := harness.DataDirs(t, e.Dir)
	p := e.Plan(c.Path())
	if p.Route == "in-sync" {
		t.Fatalf("in sync: %s", p.Headline)
	}
	// Nothing on the disk shows it, so it may be started once more; then it is
	// known to be of no use.
	if p.Route == "start" {
		e.Run(append([]string{"apply", "--auto-approve", c.Path()}, p.Accept()...)...).Want(t, 7).Says(t, "tocommit")
		says(t, e, c, "tocommit")
	}
	e.Settle(c.Path(), harness.Granted)
	w.Check(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
	dirs.Kept(t, e.Dir)
}

// The log had a disk of its own, and that one is gone.
func TestLogDirectoryLost(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	for i, m := range c.Members {
		c.Members[i].WALDir = filepath.Join(c.Dir, "wal", m.Name)
	}
	c.Write()
	e.Apply(c.Path())
	base := harness.Fill(t, c.Endpoints(), keysPerTest)
	m := c.Members[2]
	e.Run("stop", "--auto-approve", "--member", m.Name, c.Path()).Want(t, 0)
	w := harness.StartWriters(t, 2, c.Endpoints()[:2])
	w.Await(t, 100)
	remove(t, m.WALDir)
	dirs := harness.DataDirs(t, e.Dir)
	says(t, e, c, "WAL", "log")
	e.Settle(c.Path(), harness.Granted)
	w.Check(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
	dirs.Kept(t, e.Dir)
}

// With a single member the log is part of the only copy: that is refused.
func TestOnlyLogDirectoryLost(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1)
	c.Members[0].WALDir = filepath.Join(c.Dir, "wal", "m1")
	c.Write()
	e.Apply(c.Path())
	harness.Fill(t, c.Endpoints(), keysPerTest)
	c.Stop()
	remove(t, c.Members[0].WALDir)
	refused(t, e, c.Path(), "data-damaged", "data-missing", "data-unknown")
}

// A peer URL that was changed by hand, in the cluster alone.
func TestPeerURLUpdatedByHand(t *testing.T) {
	t.Parallel()
	l := living(t, 3)
	cli := harness.Client(t, l.c.Endpoints()...)
	list, err := cli.MemberList(harness.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	stale := idOf(list, "m3")
	if _, err := cli.MemberUpdate(harness.Context(t), stale, []string{l.e.Ports(1).URL(0)}); err != nil {
		t.Fatal(err)
	}
	l.becomes(t)
}

func idOf(list *clientv3.MemberListResponse, name string) uint64 {
	for _, m := range list.Members {
		if m.Name == name {
			return m.ID
		}
	}
	return 0
}
