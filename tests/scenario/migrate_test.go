package scenario

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// longestGap is how much longer a client may wait for an acknowledgement while a
// cluster grows than one of an etcd beside it that nothing is done to.
const longestGap = 500 * time.Millisecond

// atLocalhost are flags of a member that the cluster knows by another peer URL
// than the file does: the default of many a quick start.
func atLocalhost(m harness.Member) []string {
	local := strings.Replace(m.Peer, "127.0.0.1", "localhost", 1)
	return []string{"--initial-advertise-peer-urls=" + local, "--initial-cluster=" + m.Name + "=" + local}
}

// A single member that somebody started with flags, known to its cluster as
// localhost, becomes three in one apply. It is corrected, grown and adopted
// without a restart, and no client notices.
func TestMigrateARunningMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	m := c.Members[0]
	byHand := e.Hand(m, nil, append(atLocalhost(m), "--quota-backend-bytes=3000000000", "--max-request-bytes=2000000")...)
	byHand.Serve()
	id := harness.ClusterID(t, []string{m.Client})
	base := harness.Fill(t, []string{m.Client}, keysPerTest)
	dirs := harness.DataDirs(t, e.Dir)
	beside := harness.New(t)
	alone := beside.Cluster(1)
	beside.Hand(alone.Members[0], alone.Members).Serve()
	control := harness.StartWriters(t, 1, alone.Endpoints())
	all, first := harness.StartWriters(t, 1, c.Endpoints()), harness.StartWriters(t, 1, []string{m.Client})
	all.Await(t, 100)
	first.Await(t, 100)

	p := e.Once(c.Path())
	if p.Route != "reconfigure" || p.Consents() != "" || p.Loss.Kind != "none" {
		t.Errorf("route %s, consents %q, loss %s: %s", p.Route, p.Consents(), p.Loss.Kind, p.Headline)
	}
	all.Await(t, 200)
	first.Await(t, 200)
	for _, w := range []*harness.Writers{all, first, control} {
		w.Stop()
	}
	limit := longestGap + control.Gap()
	control.Unhindered(t, "a writer beside it", limit)
	for who, w := range map[string]*harness.Writers{"a writer with all endpoints": all, "a writer with the first's alone": first} {
		w.Unhindered(t, who, limit)
	}
	want := harness.CheckAll(t, base, c.Endpoints(), all, first)
	membersAreTheFiles(t, c)
	if now := harness.ClusterID(t, c.Endpoints()); now != id {
		t.Errorf("cluster ID %s, before %s", now, id)
	}
	if now := c.Etcd(m).PID; now != byHand.PID() || !byHand.Runs() {
		t.Errorf("m1 was pid %d and is %d", byHand.PID(), now)
	}

	// From now on m1 is looked after, and keeps the flags that it came with.
	if err := harness.Kill9([]harness.Proc{c.Etcd(m)}); err != nil {
		t.Fatal(err)
	}
	harness.AwaitServing(t, m.Client)
	now := c.Etcd(m)
	if now.PID == byHand.PID() || c.Supervisor(m).PID == 0 {
		t.Errorf("m1 is %v, its supervisor %v", now, c.Supervisor(m))
	}
	if !slices.Contains(now.Args, "--quota-backend-bytes=3000000000") {
		t.Errorf("the quota is gone: %v", now.Args)
	}
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
	dirs.Kept(t, e.Dir)
}

// A member that was set up through its environment and with a relative path is
// known for what it is as well, and comes back with all of it.
func TestAdoptFromEnvironment(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	m := c.Members[0]
	bin := e.Path("etcd-by-hand")
	if err := errors.Join(os.Symlink(harness.Binary(), bin), os.Mkdir(filepath.Dir(m.DataDir), 0o700)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "etcd", "--data-dir", "data/m1", "--listen-client-urls", m.Client)
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "ETCD_NAME=m1", "ETCD_ADVERTISE_CLIENT_URLS="+m.Client, "ETCD_LISTEN_PEER_URLS="+m.Peer,
		"ETCD_INITIAL_ADVERTISE_PEER_URLS="+m.Peer, "ETCD_INITIAL_CLUSTER=m1="+m.Peer, "ETCD_QUOTA_BACKEND_BYTES=3000000000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	harness.AwaitServing(t, m.Client)
	want := harness.Fill(t, []string{m.Client}, keysPerTest)
	e.Settle(c.Path())
	select {
	case err := <-ended:
		t.Fatalf("it was ended: %v", err)
	default:
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	harness.AwaitServing(t, m.Client)
	if now := c.Etcd(m); !slices.Contains(now.Args, "--quota-backend-bytes=3000000000") {
		t.Errorf("the quota is gone: %v", now.Args)
	}
	e.InSync(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// membersAreTheFiles asserts that the cluster's list is the file's: names, peer
// and client URLs, all of them voters.
func membersAreTheFiles(t *testing.T, c *harness.Cluster) {
	t.Helper()
	list, err := harness.Client(t, c.Endpoints()...).MemberList(harness.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, m := range list.Members {
		s := m.Name + " " + strings.Join(m.PeerURLs, ",") + " " + strings.Join(m.ClientURLs, ",")
		if m.IsLearner {
			s += " learner"
		}
		got = append(got, s)
	}
	for _, m := range c.Members {
		want = append(want, m.Name+" "+m.Peer+" "+m.Client)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the cluster's members are\n%s\nthe file's\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The same member, stopped: from its directory.
func TestMigrateAStoppedMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	m := c.Members[0]
	byHand := e.Hand(m, nil, atLocalhost(m)...)
	byHand.Serve()
	id := harness.ClusterID(t, []string{m.Client})
	base := harness.Fill(t, []string{m.Client}, keysPerTest)
	w := harness.StartWriters(t, 4, []string{m.Client})
	w.Await(t, 300)
	harness.Hands{byHand}.Kill9()
	w.Stop()
	dirs := harness.DataDirs(t, e.Dir)

	e.Settle(c.Path())
	w.Check(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
	if now := harness.ClusterID(t, c.Endpoints()); now != id {
		t.Errorf("cluster ID %s, before %s", now, id)
	}
	dirs.Kept(t, e.Dir)
}

// recoverInPlace are the lines that ask for it.
func recoverInPlace(from string) string {
	return "  recover {\n    from     = \"" + from + "\"\n    in_place = true\n  }\n"
}

// The one directory that is left of three, in place: the same cluster, without
// the two that are gone for good, and then with two new ones.
func TestRecoverInPlace(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	c.More = recoverInPlace("m1")
	c.Write()
	hs := e.ByHand(c.Members)
	id, memberID := harness.ClusterID(t, hs.Endpoints()), harness.Status(t, hs[0].Client).Header.MemberId
	lead(t, hs, 0)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	w := harness.StartWriters(t, 4, hs.Endpoints())
	w.Await(t, 300)
	hs.Kill9()
	w.Stop()
	c.DropData(c.Members[1:]...)
	dirs := harness.DataDirs(t, e.Dir)

	before := harness.Tree(t, e.Dir)
	p := e.Plan(c.Path())
	if p.Route != "recover" || !strings.Contains(p.Consents(), "data-loss") || p.Loss.Kind != "unknown" {
		t.Fatalf("route %s, consents %q, loss %s, refusal %+v: %s", p.Route, p.Consents(), p.Loss.Kind, p.Refusal, p.Headline)
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "--accept=data-loss")
	harness.Unchanged(t, before, harness.Tree(t, e.Dir))
	e.Settle(c.Path(), harness.Granted)
	w.Check(t, base, c.Endpoints())
	membersAreTheFiles(t, c)
	if now := harness.ClusterID(t, c.Endpoints()); now != id {
		t.Errorf("cluster ID %s, before %s", now, id)
	}
	if now := harness.Status(t, c.Members[0].Client).Header.MemberId; now != memberID {
		t.Errorf("m1's member ID %x, before %x", now, memberID)
	}
	for _, m := range c.Members {
		if strings.Contains(strings.Join(c.Etcd(m).Args, " "), "force-new-cluster") {
			t.Errorf("%s still has it: %v", m.Name, c.Etcd(m))
		}
	}
	dirs.Kept(t, e.Dir)

	// The block does nothing any more, and may be taken out.
	c.More = ""
	e.InSync(c.Write().Path())
}

// lead makes the i-th member the leader.
func lead(t *testing.T, hs harness.Hands, i int) {
	t.Helper()
	for range 5 {
		now := hs.Leader()
		if now == i {
			return
		}
		to := harness.Status(t, hs[i].Client).Header.MemberId
		_, err := harness.Client(t, hs[now].Client).MoveLeader(harness.Context(t), to)
		if err != nil {
			t.Logf("move leader: %v", err)
		}
	}
	t.Fatalf("%s does not become the leader", hs[i].Name)
}
