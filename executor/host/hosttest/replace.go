package hosttest

import (
	"os"
	"path/filepath"
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
		eventually(t, "its supervisor gives up", func() bool {
			s := two.observe(t, h)["m2"].Service.Value
			return s.State == planner.ServiceFailed && strings.Contains(s.LastError, "permanently removed") && s.SupervisorPID == 0
		})
		wrong := over
		wrong.Over.MemberID = "beef"
		if h.SetAside(ctx(t), wrong) == nil {
			t.Fatal("data that the plan did not name was moved aside")
		}
		for range 2 {
			must(t, h.SetAside(ctx(t), over))
		}
		wantData(t, two.observe(t, h), func(d planner.DataDir) bool { return d.State == planner.DirAbsent && len(d.Evidence) > 0 })
		if n := count(t, dir, "db"); n != round+2 {
			t.Fatalf("%d databases after round %d", n, round)
		}
		time.Sleep(time.Second) // an ID is made of the URLs and the second: a removed one is refused
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
