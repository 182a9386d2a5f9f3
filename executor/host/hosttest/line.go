package hosttest

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

const keys = 50

// wholeLine restores a snapshot to three members, one with an empty directory in
// the way and one with somebody's data, each request twice; then it starts them,
// loses a supervisor, adopts and stops.
func wholeLine(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	s := makeSnapshot(t, h, keys)
	c := newCluster(t, dir, 3)
	must(t, os.Mkdir(c.places[1].DataDir, 0o700))
	must(t, os.MkdirAll(filepath.Join(c.places[2].DataDir, "member"), 0o700))
	must(t, os.WriteFile(filepath.Join(c.places[2].DataDir, "member", "precious"), []byte("data"), 0o600))

	const token = "token-restored"
	must(t, h.Restore(ctx(t), c.restore(s, token), nil))
	staged := tree(t, dir)
	must(t, h.Restore(ctx(t), c.restore(s, token), nil))
	same(t, staged, tree(t, dir))
	wantData(t, c.observe(t, h), func(d planner.DataDir) bool {
		return d.Staged == token && !d.ProvenanceAgrees && !d.EverRan && d.Provenance.Token == token && d.ClusterID == ""
	})
	trial := planner.Trial{Place: c.places[0], Token: token, Revision: s.revision, Keys: s.keys}
	must(t, h.Trial(ctx(t), trial, nil))
	trial.Keys++
	if h.Trial(ctx(t), trial, nil) == nil {
		t.Error("a trial with a key too many passed")
	}

	install := c.install(token)
	must(t, h.Install(ctx(t), install))
	must(t, h.Install(ctx(t), install))
	wantData(t, c.observe(t, h), func(d planner.DataDir) bool {
		return d.Staged == "" && d.ProvenanceAgrees && !d.EverRan && d.State == planner.DirPresent && d.Problem == ""
	})
	must(t, h.Restore(ctx(t), c.restore(s, token), nil)) // nothing left to do
	wantKept(t, dir, "precious")

	stopAtEnd(t, h, c)
	must(t, h.Start(ctx(t), c.start(token, false)))
	must(t, h.Start(ctx(t), c.start(token, false)))
	c.serves(t)
	if n := c.count(t); n != s.keys {
		t.Errorf("%d keys of %d", n, s.keys)
	}
	if err := h.Install(ctx(t), install); err != nil {
		t.Errorf("an installed member that runs: %v", err)
	}
	adoption(t, h, c)

	// A restore under another token does not touch what runs, and isn't installed.
	must(t, h.Restore(ctx(t), c.restore(s, "token-another"), nil))
	if h.Install(ctx(t), c.install("token-another")) == nil {
		t.Error("a running member's data was swapped")
	}
	c.serves(t)
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
	for name, f := range c.observe(t, h) {
		if f.Service.Value.State != planner.ServiceStopped || f.Data.Value.HeldBy != 0 {
			t.Errorf("%s was stopped: %+v", name, f.Service.Value)
		}
	}
	// S5: data that the plan did not see there stays where it is.
	if h.Install(ctx(t), c.install("token-another")) == nil {
		t.Error("data was swapped that the plan did not name")
	}
	over := c.install("token-another")
	for i, f := range c.observe(t, h) {
		for j, m := range over.Members {
			if m.Name == i {
				over.Members[j].Over = planner.Identity{ClusterID: f.Data.Value.ClusterID, MemberID: f.Data.Value.MemberID}
			}
		}
	}
	must(t, h.Install(ctx(t), over))
	must(t, h.Start(ctx(t), c.start("token-another", false)))
	c.serves(t)
}

// adoption kills a supervisor: its member runs on, and gets another one.
func adoption(t *testing.T, h host.Host, c *cluster) {
	before := c.observe(t, h)
	wantData(t, before, func(d planner.DataDir) bool { return d.EverRan && d.ProvenanceAgrees && d.HeldBy > 0 })
	if s := before["m1"].Service.Value; s.Unit != nil || s.Commands != nil {
		return // systemd does not die, and nothing is adopted for commands
	}
	must(t, h.Adopt(ctx(t), c.adopts())) // all are supervised: nothing
	must(t, syscall.Kill(before["m1"].Service.Value.SupervisorPID, syscall.SIGKILL))
	eventually(t, "m1 is without a supervisor", func() bool { return c.observe(t, h)["m1"].Service.Value.SupervisorPID == 0 })
	if s := c.observe(t, h)["m1"].Service.Value; s.State != planner.ServiceRunning || s.PID != before["m1"].Service.Value.PID {
		t.Errorf("m1 did not run on: %+v", s)
	}
	must(t, h.Adopt(ctx(t), c.adopts()))
	for name, f := range c.observe(t, h) {
		was, is := before[name].Service.Value, f.Service.Value
		if is.PID != was.PID || is.SupervisorPID == 0 || (is.SupervisorPID == was.SupervisorPID) != (name != "m1") || is.Restarts != 0 {
			t.Errorf("%s: before %+v, adopted %+v", name, was, is)
		}
	}
}

func wantData(t *testing.T, facts map[string]host.Facts, ok func(planner.DataDir) bool) {
	t.Helper()
	for name, f := range facts {
		if !f.Data.Known() || !ok(f.Data.Value) {
			t.Fatalf("%s: %+v (%s)", name, f.Data.Value, f.Data.Why)
		}
	}
}

// wantKept looks for a file of that name anywhere under dir.
func wantKept(t *testing.T, dir, name string) {
	t.Helper()
	for path := range tree(t, dir) {
		if filepath.Base(path) == name {
			return
		}
	}
	t.Errorf("%s is gone", name)
}

func ownWAL(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	s := makeSnapshot(t, h, keys)
	c := newCluster(t, dir, 1)
	c.places[0].WALDir = filepath.Join(dir, "log")
	must(t, os.Mkdir(c.places[0].WALDir, 0o700))
	must(t, os.WriteFile(filepath.Join(c.places[0].WALDir, "0.wal.old"), []byte("data"), 0o600))
	must(t, h.Restore(ctx(t), c.restore(s, "token-restored"), nil))
	must(t, h.Trial(ctx(t), planner.Trial{Place: c.places[0], Token: "token-restored", Revision: s.revision, Keys: s.keys}, nil))
	must(t, h.Install(ctx(t), c.install("token-restored")))
	wantKept(t, dir, "0.wal.old")
	stopAtEnd(t, h, c)
	must(t, h.Start(ctx(t), c.start("token-restored", false)))
	c.serves(t)
	if n := c.count(t); n != s.keys {
		t.Errorf("%d keys of %d", n, s.keys)
	}
}

// restoreStartsOver interrupts a restore at several moments and finishes it.
func restoreStartsOver(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	s := makeSnapshot(t, h, keys)
	c := newCluster(t, dir, 2)
	for _, after := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond} {
		short, cancel := context.WithTimeout(context.Background(), after)
		_ = h.Restore(short, c.restore(s, "token-restored"), nil)
		cancel()
		for _, f := range c.observe(t, h) {
			if d := f.Data.Value; d.State != planner.DirAbsent || len(d.Evidence) != 0 {
				t.Errorf("interrupted after %v: %+v", after, d)
			}
		}
	}
	// Killed twice, each time under a token of its own: none ever ran.
	for _, token := range []string{"token-dead-1", "token-dead-2"} {
		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		_ = h.Restore(short, c.restore(s, token), nil)
		cancel()
	}
	wantData(t, c.observe(t, h), func(d planner.DataDir) bool { return len(d.Evidence) == 0 && !d.EverRan })
	wrong := c.restore(s, "token-restored")
	wrong.SHA256 = "00" + wrong.SHA256[2:]
	// This test's own staged copy, as if the interruption had come earlier.
	if err := os.RemoveAll(host.LayoutOf(c.places[1].DataDir, "").Staging()); err != nil {
		t.Fatal(err)
	}
	if h.Restore(ctx(t), wrong, nil) == nil {
		t.Error("a snapshot that is not the plan's was restored")
	}
	must(t, h.Restore(ctx(t), c.restore(s, "token-restored"), nil))
	// And under another token, with the first staging complete.
	must(t, h.Restore(ctx(t), c.restore(s, "token-another"), nil))
	if err := h.Install(ctx(t), c.install("token-restored")); err == nil {
		t.Error("a superseded staging was installed")
	}
	must(t, h.Install(ctx(t), c.install("token-another")))
	stopAtEnd(t, h, c)
	must(t, h.Start(ctx(t), c.start("token-another", false)))
	c.serves(t)
}
