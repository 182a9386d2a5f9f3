package hosttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// replaced joins a member to a living cluster, removes it while it runs, and
// joins it anew on the same place, twice.
func replaced(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 2)
	one, two := *c, *c
	one.places, two.places = c.places[:1], c.places[1:]
	one.initialMember = "m1=" + c.peer[0]
	two.peer, two.client = c.peer[1:], c.client[1:]
	two.places[0].WALDir = filepath.Join(dir, "log")
	stopAtEnd(t, h, c)
	must(t, h.Claim(ctx(t), planner.Claim{Members: one.claims(planner.ProvenanceBootstrap, "token-one")}))
	must(t, h.Start(ctx(t), one.start("token-one", true)))
	one.client = c.client[:1]
	one.serves(t)
	cli := one.connect(t)
	cluster := one.claims("", "token-one")[0].Provenance.ClusterID
	for round := range 3 {
		added, err := cli.MemberAddAsLearner(ctx(t), two.peer)
		must(t, err)
		id := added.Member.ID
		start := two.join(cluster, types.ID(id).String(), one.initialMember+",m2="+two.peer[0])
		must(t, h.Claim(ctx(t), planner.Claim{Members: []planner.ClaimMember{start.claim}}))
		must(t, h.Claim(ctx(t), planner.Claim{Members: []planner.ClaimMember{start.claim}}))
		must(t, h.Start(ctx(t), []planner.StartMember{start.StartMember}))
		must(t, h.Start(ctx(t), []planner.StartMember{start.StartMember}))
		eventually(t, "m2 has joined", func() bool { return named(t, cli, id) == "m2" })
		wantData(t, two.observe(t, h), func(d planner.DataDir) bool { return d.EverRan && d.ProvenanceAgrees })
		over := planner.SetAside{Place: two.places[0], Over: planner.Identity{ClusterID: cluster, MemberID: start.MemberID}}
		if h.SetAside(ctx(t), over) == nil {
			t.Fatal("a running member was moved aside")
		}
		if round == 0 {
			two.bootstrapsOnce(t, h, start.StartMember)
		}
		_, err = cli.MemberRemove(ctx(t), id)
		must(t, err)
		// It gives up where its own data knows of the removal, and tries again otherwise.
		eventually(t, "it does not run any more", func() bool {
			s := two.observe(t, h)["m2"].Service.Value
			return s.PID == 0 && (s.State == planner.ServiceFailed || s.State == planner.ServiceBackoff || s.Commands != nil && s.State == planner.ServiceStopped)
		})
		must(t, h.Stop(ctx(t), clusterName, two.stops()))
		wrong := over
		wrong.Over.MemberID = "beef"
		if h.SetAside(ctx(t), wrong) == nil {
			t.Fatal("data that the plan did not name was moved aside")
		}
		for range 2 {
			must(t, h.SetAside(ctx(t), over))
		}
		wantData(t, two.observe(t, h), func(d planner.DataDir) bool {
			return d.State == planner.DirFenced && len(d.Evidence) > 0 && !d.ProvenanceAgrees && d.HeldBy == 0 &&
				d.Fenced.ClusterID == cluster && d.Fenced.MemberID == start.MemberID && d.Fenced.Problem == ""
		})
		if err := h.Start(ctx(t), []planner.StartMember{start.StartMember}); err == nil || !strings.Contains(err.Error(), "fenced") {
			t.Errorf("the one that was set aside was started: %v", err)
		}
		if n := count(t, dir, "db"); n != round+2 {
			t.Fatalf("%d databases after round %d", n, round)
		}
		time.Sleep(time.Second) // an ID is made of the URLs and the second: a removed one is refused
	}
}

// asideAgainstLoop gives a place to a new member while a shell goes on starting the
// old one's command there. The old one never comes up again, not as an empty twin.
func asideAgainstLoop(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 1)
	stopAtEnd(t, h, c)
	start := c.start("token-loop", true)
	argv := slices.Concat(etcdCommand(t), start[0].Args)
	loop := filepath.Join(dir, "loop.sh") // which has no path in its own command line
	must(t, os.WriteFile(loop, []byte("while :; do '"+strings.Join(argv, "' '")+"'; sleep 0.05; done\n"), 0o600))
	byHand(t, dir, nil, "/bin/sh", loop)
	c.serves(t)
	put(t, c)
	f := c.observe(t, h)["m1"].Service.Value.Foreign
	if f == nil || !strings.Contains(f.Keeper, "the script that started it") {
		t.Errorf("%+v", f)
	}
	old := c.fences("token-loop")[0].Over
	eventually(t, "it is stopped and set aside", func() bool {
		if f := c.observe(t, h)["m1"].Service.Value.Foreign; f != nil {
			_ = h.Stop(ctx(t), clusterName, []planner.StopMember{{Place: c.places[0], PID: f.PID, Start: f.Start}})
		}
		return h.SetAside(ctx(t), planner.SetAside{Place: c.places[0], Over: old}) == nil
	})
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c.wantFenced(t, h, "token-loop")
	}
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-new")}))
	c.wantFenced(t, h, "token-loop")
	// Where the loop hits the moment between the exchange and the first write, the
	// supervisor says so and starts none beside it.
	err := h.Start(ctx(t), c.start("token-new", true))
	var s planner.Service
	var d planner.DataDir
	// Or the loop hits the one between the supervisor's look and its etcd's start:
	// etcd itself waits then for the other's lock.
	waits := func() bool { return slices.Contains(d.Waiting, s.PID) }
	eventually(t, "one of them has the place", func() bool {
		facts := c.observe(t, h)["m1"]
		s, d = facts.Service.Value, facts.Data.Value
		if d.State == planner.DirFenced && strings.Contains(s.LastError, "requorum did not start") {
			return true // no gap was found yet: it is tried again
		}
		return d.State == planner.DirPresent && d.HeldBy > 0 && d.ClusterID != "" && (s.State == planner.ServiceFailed || s.Foreign != nil && (s.State != planner.ServiceRunning || waits()) || s.PID == d.HeldBy)
	})
	if now := c.fences("token-new")[0].Over; s.State == planner.ServiceRunning && !waits() && (planner.Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}) != now {
		t.Errorf("%v: %+v, %+v", err, s, d)
	}
	if s.Foreign != nil || d.State == planner.DirFenced {
		t.Logf("the loop was faster: %s", s.LastError)
		noticed := func(words string) bool { return strings.Contains(s.LastError, words) }
		if !waits() && !slices.ContainsFunc([]string{"requorum did not start", "holds member", "in use", "something was written to"}, noticed) {
			t.Errorf("%v: %+v", err, s)
		}
		return
	}
	c.serves(t)
	if n := c.count(t); n != 0 {
		t.Errorf("%d keys", n)
	}
}

type joiner struct {
	planner.StartMember
	claim planner.ClaimMember
}

// join is what a learner's first start takes.
func (c *cluster) join(cluster, member, initial string) joiner {
	p := c.places[0]
	token := "join-" + cluster + "-" + member
	return joiner{
		planner.StartMember{
			Place: p, Cluster: clusterName, ClusterID: cluster, MemberID: member, Bootstrap: true, ClientURL: c.client[0],
			Args: []string{
				"--name=" + p.Name, "--data-dir=" + p.DataDir, "--wal-dir=" + p.WALDir,
				"--listen-client-urls=" + c.client[0], "--advertise-client-urls=" + c.client[0],
				"--listen-peer-urls=" + c.peer[0], "--initial-advertise-peer-urls=" + c.peer[0],
				"--initial-cluster=" + initial, "--initial-cluster-state=existing",
			},
		},
		planner.ClaimMember{Place: p, Provenance: planner.Provenance{
			Kind: planner.ProvenanceJoin, Token: token, InitialCluster: initial, Name: p.Name,
			ClusterID: cluster, MemberID: member, When: "2026-01-02T03:04:05Z", By: "test",
		}},
	}
}

// named is the name that the cluster has for a member; "" until it started.
func named(t *testing.T, cli *clientv3.Client, id uint64) string {
	t.Helper()
	list, err := cli.MemberList(ctx(t))
	must(t, err)
	for _, m := range list.Members {
		if m.ID == id {
			return m.Name
		}
	}
	return ""
}

// bootstrapsOnce loses the data of a joined member: it must not join as an empty
// one under the same ID (etcd-facts.md, section 10, 24).
func (c *cluster) bootstrapsOnce(t *testing.T, h host.Host, start planner.StartMember) {
	t.Helper()
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
	dirs := []string{start.DataDir, start.WALDir}
	for _, dir := range dirs {
		must(t, os.Rename(dir, dir+".lost"))
	}
	if h.Start(ctx(t), []planner.StartMember{start}) == nil {
		t.Error("a lost member was started empty")
	}
	for _, dir := range dirs {
		must(t, os.Rename(dir+".lost", dir))
	}
	must(t, h.Start(ctx(t), []planner.StartMember{start}))
}
