package scenario

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// crash is a cluster of three whose members were all killed at once, under
// writers.
type crash struct {
	e      *harness.Env
	c      *harness.Cluster
	hs     harness.Hands
	w      *harness.Writers
	leader int // when they were killed
}

// crashed is crashedOf with three members in one directory each.
func crashed(t *testing.T, writers int) crash {
	t.Helper()
	e := harness.New(t)
	return crashedOf(t, e, e.Cluster(3), writers)
}

// crashedOf kills a cluster at a moment that chance chooses: right after a write
// was acknowledged, which is when etcd has not yet written down that it is agreed
// on.
func crashedOf(t *testing.T, e *harness.Env, c *harness.Cluster, writers int) crash {
	t.Helper()
	c.Write()
	hs := e.ByHand(c.Members)
	x := crash{e: e, c: c, hs: hs, leader: hs.Leader()}
	x.w = harness.StartWriters(t, writers, hs.Endpoints())
	x.w.Await(t, 200+rand.IntN(200))
	x.leader = hs.Leader() // there may have been an election under the load
	time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
	for n := x.w.Acked(); x.w.Acked() == n; {
		runtime.Gosched()
	}
	hs.Kill9()
	x.w.Stop()
	return x
}

// only keeps the disks of these members.
func (x crash) only(keep ...int) {
	for i, m := range x.c.Members {
		if !slices.Contains(keep, i) {
			x.c.DropData(m)
		}
	}
}

// served compares what every member serves with what was acknowledged, and gives
// the acknowledged keys that are gone.
func (x crash) served(t *testing.T) []string {
	t.Helper()
	gone, err := x.w.Missing(harness.Context(t), x.c.Members[0].Client)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range x.c.Members[1:] {
		other, err := x.w.Missing(harness.Context(t), m.Client)
		if err != nil || !slices.Equal(gone, other) {
			t.Errorf("m1 lacks %q, %s lacks %q: %v", gone, m.Name, other, err)
		}
	}
	if err := harness.SameHash(harness.Context(t), x.c.Endpoints()); err != nil {
		t.Error(err)
	}
	return gone
}

const (
	leaderRounds   = 30
	followerRounds = 6
)

// Of a cluster that was killed under writers only the leader's disk is left:
// every acknowledged write comes back, round after round. etcd's own way loses
// some of them, or these rounds would show nothing.
func TestRecoverFromTheLeader(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	acked, lost, lostByForce, forcedRounds := 0, 0, 0, 0
	t.Run("rounds", func(t *testing.T) {
		for i := range leaderRounds {
			t.Run(fmt.Sprint(i+1), func(t *testing.T) {
				t.Parallel()
				x := crashed(t, 4+i%3*6)
				x.only(x.leader)
				forced := x.forcedLoss(t)
				dirs := harness.DataDirs(t, x.c.Dir)
				p := x.e.Settle(x.c.Path(), harness.Granted)[0]
				if p.Route != "recover" || !hasConsent(p, "data-loss") {
					t.Errorf("route %s, consents %q: %s", p.Route, p.Consents(), p.Headline)
				}
				gone := x.served(t)
				if len(gone) > 0 {
					t.Errorf("of %d acknowledged writes %d are lost: %q", x.w.Acked(), len(gone), gone)
				}
				dirs.Kept(t, x.c.Dir)
				mu.Lock()
				defer mu.Unlock()
				acked, lost, lostByForce = acked+x.w.Acked(), lost+len(gone), lostByForce+forced
				if forced > 0 {
					forcedRounds++
				}
			})
		}
	})
	t.Logf("%d rounds, %d acknowledged writes: requorum lost %d, etcd --force-new-cluster %d (in %d rounds)",
		leaderRounds, acked, lost, lostByForce, forcedRounds)
	if lostByForce == 0 {
		t.Error("the control lost nothing, so these rounds prove nothing")
	}
}

// forcedLoss is how many acknowledged writes etcd --force-new-cluster loses on a
// copy of the survivor's directory.
func (x crash) forcedLoss(t *testing.T) int {
	t.Helper()
	from, ports := x.c.Members[x.leader], x.e.Ports(2)
	m := harness.Member{Name: from.Name, Client: ports.URL(0), Peer: ports.URL(1), DataDir: x.e.Path("control")}
	copyDir(t, from.DataDir, m.DataDir)
	control := x.e.Hand(m, nil, "--force-new-cluster")
	control.Serve()
	lost, err := x.w.Missing(harness.Context(t), m.Client)
	if err != nil {
		t.Fatal(err)
	}
	harness.Hands{control}.Kill9()
	return len(lost)
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
}

func hasConsent(p harness.Plan, name string) bool {
	return slices.Contains(strings.Split(p.Consents(), ","), name)
}

var revisionInText = regexp.MustCompile(`revision (\d+)`)

// A follower's disk alone may lack what was acknowledged last. The plan says so,
// and what it says is true: nothing up to the revision that it names is lost.
func TestRecoverFromAFollower(t *testing.T) {
	t.Parallel()
	for i := range followerRounds {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			x := crashed(t, 8)
			survivor := (x.leader + 1 + i%2) % 3
			x.only(survivor)
			p := x.e.Plan(x.c.Path())
			if p.Route != "recover" || p.Loss.Kind != "unknown" || !strings.Contains(p.Loss.Text, "o upper bound is known") || !hasConsent(p, "data-loss") {
				t.Fatalf("route %s, loss %+v, consents %q, refusal %+v: %s", p.Route, p.Loss, p.Consents(), p.Refusal, p.Headline)
			}
			found := revisionInText.FindStringSubmatch(p.Loss.Text)
			if found == nil {
				t.Fatalf("no revision is named: %s", p.Loss.Text)
			}
			proven, _ := strconv.ParseInt(found[1], 10, 64)
			x.e.Settle(x.c.Path(), harness.Granted)
			gone, upTo := x.served(t), x.w.UpTo(proven)
			t.Logf("survivor %s, leader %s: of %d acknowledged writes %d are gone; revision %d is proven, up to it were %d",
				x.c.Members[survivor].Name, x.c.Members[x.leader].Name, x.w.Acked(), len(gone), proven, len(upTo))
			for _, k := range gone {
				if _, promised := upTo[k]; promised {
					t.Errorf("%s is gone, although revision %d is called proven", k, proven)
				}
			}
			if len(upTo) == 0 {
				t.Errorf("revision %d proves none of %d writes", proven, x.w.Acked())
			}
			if now := harness.Status(t, x.c.Members[0].Client).Header.Revision; now < proven {
				t.Errorf("revision %d is served, %d was called proven", now, proven)
			}
		})
	}
}

// Of five, two disks are left, with the logs on disks of their own: the one that
// has more is taken.
func TestRecoverFromTheBetterOfTwo(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(5)
	for i, m := range c.Members {
		c.Members[i].WALDir = filepath.Join(c.Dir, "wal", m.Name)
	}
	x := crashedOf(t, e, c, 8)
	x.only(x.leader, (x.leader+1)%5)
	dirs := harness.DataDirs(t, c.Dir)
	p := e.Plan(c.Path())
	if p.Route != "recover" || !hasConsent(p, "data-loss") {
		t.Fatalf("route %s, consents %q, refusal %+v: %s", p.Route, p.Consents(), p.Refusal, p.Headline)
	}
	e.Settle(c.Path(), harness.Granted)
	if gone := x.served(t); len(gone) > 0 {
		t.Errorf("of %d acknowledged writes %d are lost: %q", x.w.Acked(), len(gone), gone)
	}
	membersAreTheFiles(t, c)
	for _, m := range c.Members {
		if logs, _ := filepath.Glob(filepath.Join(m.WALDir, "*.wal")); len(logs) == 0 {
			t.Errorf("%s has no log in %s", m.Name, m.WALDir)
		}
	}
	dirs.Kept(t, c.Dir)
}

// A file that says where to recover from says that a cluster was here. Where
// nothing is left, perhaps because no disk is mounted, nothing is begun.
func TestRecoverFromNothing(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]string{"in place": recoverInPlace("m1"), "a new identity": "  recover { from = \"m1\" }\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(3)
			c.More = block
			refused(t, e, c.Write().Path(), "data-missing")
		})
	}
}

// Two of three disks are a majority: nothing is lost, and nothing is recovered,
// only started. The third is replaced then.
func TestTwoOfThreeDisks(t *testing.T) {
	t.Parallel()
	x := crashed(t, 8)
	x.only((x.leader+1)%3, (x.leader+2)%3)
	id := ""
	dirs := harness.DataDirs(t, x.c.Dir)
	p := x.e.Plan(x.c.Path())
	if p.Route != "start" || p.Loss.Kind != "none" {
		t.Fatalf("route %s, loss %+v, refusal %+v: %s", p.Route, p.Loss, p.Refusal, p.Headline)
	}
	x.e.Apply(x.c.Path(), p.Accept()...)
	m := x.c.Members[(x.leader+1)%3]
	if id = harness.ClusterID(t, []string{m.Client}); id == "0" {
		t.Error("no cluster ID")
	}
	if p = x.e.Plan(x.c.Path()); p.Refusal != nil {
		t.Fatalf("%+v", p.Refusal)
	}
	x.e.Settle(x.c.Path(), harness.Granted)
	if gone := x.served(t); len(gone) > 0 {
		t.Errorf("lost: %q", gone)
	}
	if now := harness.ClusterID(t, x.c.Endpoints()); now != id {
		t.Errorf("cluster ID %s, before %s", now, id)
	}
	membersAreTheFiles(t, x.c)
	dirs.Kept(t, x.c.Dir)
}

// The log of a deposed leader ends with a delete that nobody acknowledged. The
// plan shows it, and what becomes of the key is the operator's choice.
func TestTailWithADelete(t *testing.T) {
	t.Parallel()
	for _, choice := range []struct {
		consent string
		there   bool
	}{{"tail-keep", false}, {"tail-drop", true}} {
		t.Run(choice.consent, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(3).Write()
			hs := e.ByHand(c.Members)
			lead(t, hs, 0)
			base := harness.Fill(t, hs.Endpoints(), keysPerTest)
			const key = "/registry/in-doubt"
			leader := harness.Client(t, hs[0].Client)
			if _, err := leader.Put(harness.Context(t), key, "precious"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond) // the followers know that it is agreed on, and the leader's db has it
			deleteAlone(t, hs, leader, key)
			c.DropData(c.Members[1:]...)

			before := harness.Tree(t, e.Dir)
			p := e.Plan(c.Path())
			if p.Route != "recover" || p.Refusal != nil {
				t.Fatalf("route %s, refusal %+v: %s", p.Route, p.Refusal, p.Headline)
			}
			e.Run("plan", c.Path()).Says(t, key, "tail-keep", "tail-drop")
			others := "--accept=data-loss,stale-watchers,downtime,host-destroyed:m2,host-destroyed:m3"
			e.Run("apply", "--auto-approve", others, c.Path()).Want(t, 6).Says(t, "tail-keep", "tail-drop")
			harness.Unchanged(t, before, harness.Tree(t, e.Dir))

			e.Settle(c.Path(), others+","+choice.consent)
			if choice.there {
				base[key] = "precious"
			}
			harness.CompareAll(t, base, c.Endpoints())
		})
	}
}

// deleteAlone deletes a key on a leader that nobody follows any more, and kills
// all.
func deleteAlone(t *testing.T, hs harness.Hands, leader *clientv3.Client, key string) {
	t.Helper()
	for _, h := range hs[1:] {
		h.Freeze()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
	defer cancel()
	if _, err := leader.Delete(ctx, key); err == nil {
		t.Fatal("the delete was acknowledged by nobody's quorum")
	}
	hs.Kill9()
}

// Keys with short leases, whose holders go on keeping them alive, are all there
// after a recovery: the way takes longer than a lease lasts.
func TestRecoverShortLeases(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members)
	lead(t, hs, 0)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	keepAlive(t, hs.Endpoints(), base, 3, 4, 5)
	hs.Kill9()
	c.DropData(c.Members[1:]...)
	e.Settle(c.Path(), harness.Granted)
	harness.CompareAll(t, base, c.Endpoints())
	time.Sleep(5 * time.Second) // their holders are known to the new cluster
	harness.CompareAll(t, base, c.Endpoints())
}

// keepAlive puts keys on leases of so many seconds, adds them to base, and goes
// on keeping them alive, as their holders do.
func keepAlive(t *testing.T, endpoints []string, base harness.Keys, seconds ...int64) {
	t.Helper()
	cli := harness.Client(t, endpoints...)
	ctx, cancel := context.WithCancel(context.Background())
	var holders sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		holders.Wait()
	})
	for _, ttl := range seconds {
		l, err := cli.Grant(ctx, ttl)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			k := fmt.Sprintf("/lease/short/%d/%d", ttl, i)
			base[k] = "held"
			if _, err := cli.Put(ctx, k, "held", clientv3.WithLease(l.ID)); err != nil {
				t.Fatal(err)
			}
		}
		holders.Go(func() {
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				_, _ = cli.KeepAliveOnce(one, l.ID) // there may be nobody to answer
				cancel()
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
}

// A survivor that still runs, without quorum, is not stopped before a snapshot
// of it was saved.
func TestRecoverARunningSurvivor(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hs := e.ByHand(c.Members)
	lead(t, hs, 0)
	base := harness.Fill(t, hs.Endpoints(), keysPerTest)
	w := harness.StartWriters(t, 4, hs.Endpoints())
	w.Await(t, 300)
	hs[1:].Kill9()
	c.DropData(c.Members[1:]...)
	w.Stop()
	dirs := harness.DataDirs(t, c.Dir)
	time.Sleep(3500 * time.Millisecond) // three election time-outs

	p := e.Plan(c.Path())
	kinds := strings.Fields(p.Kinds())
	save, fence := slices.Index(kinds, "save-snapshot"), slices.Index(kinds, "fence")
	if p.Route != "recover" || save < 0 || fence < save {
		t.Fatalf("route %s, steps %s, refusal %+v: %s", p.Route, p.Kinds(), p.Refusal, p.Headline)
	}
	if !hs[0].Runs() {
		t.Fatal("planning has stopped the survivor")
	}
	e.Settle(c.Path(), harness.Granted)
	w.Check(t, base, c.Endpoints())
	dirs.Kept(t, c.Dir)
	saved, _ := filepath.Glob(filepath.Join(c.Members[0].Base(), "saved", "*.db"))
	if len(saved) != 1 {
		t.Fatalf("saved: %v", saved)
	}
	b := read(t, saved[0])
	body, sum := b[:len(b)-32], b[len(b)-32:]
	if got := sha256.Sum256(body); len(body)%512 != 0 || string(got[:]) != string(sum) {
		t.Errorf("%s, of %d bytes, has not the sha256 that it says", saved[0], len(b))
	}
}
