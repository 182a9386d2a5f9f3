package hosttest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// fence names all members and what they are under token.
func (c *cluster) fences(token string) []planner.FenceMember {
	var out []planner.FenceMember
	for _, m := range c.claims("", token) {
		out = append(out, planner.FenceMember{Place: m.Place, Over: planner.Identity{ClusterID: m.Provenance.ClusterID, MemberID: m.Provenance.MemberID}})
	}
	return out
}

// fencedAgainstLoop fences a member that a shell starts over and over.
func fencedAgainstLoop(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 1)
	stopAtEnd(t, h, c)
	argv := slices.Concat(etcdCommand(t), c.start("token-loop", true)[0].Args)
	byHand(t, dir, nil, append([]string{"/bin/sh", "-c", `while :; do "$@"; sleep 0.2; done`, "sh"}, argv...)...)
	c.serves(t)
	put(t, c)
	wrong := c.fences("token-loop")
	wrong[0].Over.MemberID = "beef"
	if h.Fence(ctx(t), planner.Fence{Cluster: clusterName, Members: wrong}) == nil {
		t.Fatal("a member that the plan did not name was fenced")
	}
	c.serves(t)
	fence := planner.Fence{Cluster: clusterName, Members: c.fences("token-loop")}
	for range 2 {
		must(t, h.Fence(ctx(t), fence))
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		c.wantFenced(t, h, "token-loop")
	}
	start := c.start("token-loop", false)
	if err := h.Start(ctx(t), start); err == nil || !strings.Contains(err.Error(), "fenced") {
		t.Errorf("start on a fence: %v", err)
	}
	for range 2 {
		must(t, h.Unfence(ctx(t), planner.Unfence{Members: c.fences("token-loop")}))
	}
	c.serves(t) // the loop goes on
	if n := c.count(t); n != 1 {
		t.Errorf("%d keys", n)
	}
}

func put(t *testing.T, c *cluster) {
	t.Helper()
	_, err := c.connect(t).Put(ctx(t), "key", "value")
	must(t, err)
}

func (c *cluster) wantFenced(t *testing.T, h host.Host, token string) {
	t.Helper()
	facts := c.observe(t, h)
	for _, m := range c.fences(token) {
		d := facts[m.Name].Data.Value
		if d.State != planner.DirFenced || d.Path != m.DataDir || d.Fenced == nil || d.HeldBy != 0 || d.ProvenanceAgrees || len(d.Evidence) == 0 {
			t.Fatalf("%s: %+v", m.Name, d)
		}
		if b := d.Fenced; b.State != planner.DirPresent || b.Problem != "" || (planner.Identity{ClusterID: b.ClusterID, MemberID: b.MemberID}) != m.Over || b.HeldBy != 0 {
			t.Fatalf("%s: behind the fence: %+v", m.Name, b)
		}
		if fi, err := os.Lstat(m.DataDir); err != nil || !fi.Mode().IsRegular() {
			t.Fatalf("%s: %v", m.DataDir, err)
		}
	}
}

// fencedAndReplaced fences requorum's own members, brings them back, fences them
// again and restores over the fences.
func fencedAndReplaced(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	s := makeSnapshot(t, h, keys)
	c := newCluster(t, dir, 2)
	c.places[1].WALDir = filepath.Join(dir, "log")
	stopAtEnd(t, h, c)
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-old")}))
	must(t, h.Start(ctx(t), c.start("token-old", true)))
	c.serves(t)
	put(t, c)
	before := c.observe(t, h)
	fence := planner.Fence{Cluster: clusterName, Members: c.fences("token-old")}
	if h.Fence(ctx(t), planner.Fence{Cluster: "other", Members: fence.Members}) == nil {
		t.Error("another cluster's members were fenced")
	}
	must(t, h.Fence(ctx(t), fence))
	c.wantFenced(t, h, "token-old")

	// A restore that is begun and given up leaves all as it was.
	must(t, h.Restore(ctx(t), c.restore(s, "token-new"), nil))
	c.wantFenced(t, h, "token-old")
	must(t, h.Unfence(ctx(t), planner.Unfence{Members: fence.Members}))
	for name, f := range c.observe(t, h) {
		was := before[name].Data.Value
		if d := f.Data.Value; !d.ProvenanceAgrees || !d.EverRan || d.Provenance.Token != "token-old" || d.MemberID != was.MemberID || f.Service.Value.State != planner.ServiceStopped {
			t.Errorf("%s: unfenced: %+v", name, f)
		}
	}
	must(t, h.Start(ctx(t), c.start("token-old", false)))
	c.serves(t)
	if n := c.count(t); n != 1 {
		t.Errorf("%d keys", n)
	}

	must(t, h.Fence(ctx(t), fence))
	restore := c.restore(s, "token-new")
	for range 2 {
		must(t, h.Restore(ctx(t), restore, nil))
		c.wantFenced(t, h, "token-old")
	}
	must(t, h.Trial(ctx(t), planner.Trial{Place: c.places[1], Token: "token-new", Keys: -1}, nil))
	install := c.install("token-new")
	for i, m := range fence.Members {
		install.Members[i].Over = m.Over // what the plan saw before it fenced
	}
	for range 2 {
		must(t, h.Install(ctx(t), install))
	}
	must(t, h.Restore(ctx(t), restore, nil)) // nothing left to do
	wantData(t, c.observe(t, h), func(d planner.DataDir) bool {
		return d.State == planner.DirPresent && d.ProvenanceAgrees && d.Staged == "" && d.Fenced == nil
	})
	if n := count(t, dir, "db"); n < 4 { // two old, two new
		t.Errorf("%d databases are there", n)
	}
	if n := count(t, dir, "fence.json") + count(t, dir, "complete"); n != 0 {
		t.Errorf("%d marks are left", n)
	}
	must(t, h.Start(ctx(t), c.start("token-new", false)))
	c.serves(t)
	if n := c.count(t); n != s.keys {
		t.Errorf("%d keys of %d", n, s.keys)
	}
	if h.Unfence(ctx(t), planner.Unfence{Members: fence.Members}) == nil {
		t.Error("what is no more was unfenced")
	}
}

// count is how many files of a name lie under dir.
func count(t *testing.T, dir, name string) (n int) {
	t.Helper()
	for path := range tree(t, dir) {
		if filepath.Base(path) == name {
			n++
		}
	}
	return n
}
