package hosttest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// epochsGrow: with each run that did something, and with each lock that was broken;
// a run that did nothing leaves nothing, not even that.
func epochsGrow(t *testing.T, newHost func(*testing.T) host.Host) {
	dir := t.TempDir()
	c := newCluster(t, dir, 1)
	before := tree(t, dir)
	take := func(want int64) (host.Host, host.Lock) {
		t.Helper()
		h := newHost(t)
		k, err := h.Lock(ctx(t), c.places, host.Holder{Who: "ann@here", PID: os.Getpid(), Operation: "apply"})
		must(t, err)
		if got := k.Epochs()[c.places[0].Name]; got != want {
			t.Fatalf("epoch %d, want %d", got, want)
		}
		state := lockState(t, newHost(t), c.places[0])
		if !state.Held.Known() || !state.Held.Value || state.Holder.Who != "ann@here" || state.Holder.Epoch != want || state.Epoch != want {
			t.Errorf("%+v", state)
		}
		return h, k
	}
	_, k := take(1)
	must(t, k.Note("the digest"))
	if s := lockState(t, newHost(t), c.places[0]); s.Holder.Plan != "the digest" || s.Holder.Epoch != 1 {
		t.Errorf("%+v", s)
	}
	must(t, k.Release())
	same(t, before, tree(t, dir))
	h, k := take(1)
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "one")}))
	must(t, k.Release())
	if s := lockState(t, newHost(t), c.places[0]); !s.Held.Known() || s.Held.Value || s.Holder.Who != "" || s.Epoch != 1 {
		t.Errorf("after the release: %+v", s)
	}
	_, k = take(2)
	must(t, newHost(t).BreakLock(ctx(t), c.places[0], 2))
	_, next := take(3)
	if err := k.Held(ctx(t)); err == nil {
		t.Error("a broken lock is still held")
	}
	must(t, k.Release())
	must(t, next.Held(ctx(t))) // the one who lost it took nothing away
	must(t, next.Release())
}

func lockState(t *testing.T, h host.Host, p planner.Place) host.LockState {
	t.Helper()
	states, err := h.Locks(ctx(t), []planner.Place{p})
	must(t, err)
	return states[p.Name]
}

// brokenLock: who lost a lock does nothing more, whoever has it now.
func brokenLock(t *testing.T, newHost func(*testing.T) host.Host) {
	dir := t.TempDir()
	c := newCluster(t, dir, 2)
	first := newHost(t)
	_, err := first.Lock(ctx(t), c.places, host.Holder{Who: "ann@here", PID: os.Getpid()})
	must(t, err)
	p := c.places[1]
	if err := newHost(t).BreakLock(ctx(t), p, 7); err == nil {
		t.Error("a lock of another epoch was broken")
	}
	must(t, newHost(t).BreakLock(ctx(t), p, 1))
	if err := newHost(t).BreakLock(ctx(t), p, 1); err == nil {
		t.Error("a lock that is not there was broken")
	}
	claim := planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "one")}
	before := tree(t, dir)
	refused := func() {
		t.Helper()
		var lost *host.LostError
		for name, err := range map[string]error{
			"claim":     first.Claim(ctx(t), claim),
			"install":   first.Install(ctx(t), planner.Install{Token: "one", Members: []planner.InstallMember{{Place: p}}}),
			"start":     first.Start(ctx(t), []planner.StartMember{{Place: p}}),
			"stop":      first.Stop(ctx(t), "", []planner.StopMember{{Place: p}}),
			"fence":     first.Fence(ctx(t), planner.Fence{Members: []planner.FenceMember{{Place: p}}}),
			"unfence":   first.Unfence(ctx(t), planner.Unfence{Members: []planner.FenceMember{{Place: p}}}),
			"set aside": first.SetAside(ctx(t), planner.SetAside{Place: p}),
			"adopt":     first.Adopt(ctx(t), []planner.AdoptMember{{StartMember: planner.StartMember{Place: p}}}),
			"restore":   first.Restore(ctx(t), planner.Restore{Members: claim.Members}, nil),
			"trial":     first.Trial(ctx(t), planner.Trial{Place: p}, nil),
			"recover":   first.Recover(ctx(t), planner.Recover{Place: p}, nil),
		} {
			if !errors.As(err, &lost) {
				t.Errorf("%s after the lock was broken: %v", name, err)
			}
		}
		same(t, before, tree(t, dir))
	}
	refused()
	second := newHost(t)
	k, err := second.Lock(ctx(t), c.places[1:], host.Holder{Who: "bob@here", PID: os.Getpid()})
	must(t, err)
	before = tree(t, dir)
	refused()
	must(t, second.Claim(ctx(t), planner.Claim{Members: claim.Members[1:]}))
	must(t, k.Release())
}

func runsAreCopied(t *testing.T, newHost func(*testing.T) host.Host) {
	dir := t.TempDir()
	c := newCluster(t, dir, 1)
	h := newHost(t)
	if err := h.Record(ctx(t), c.places[0], "run", []byte("x\n")); err == nil {
		t.Error("a run was copied to a place where nothing is kept")
	}
	k, err := h.Lock(ctx(t), c.places, host.Holder{Who: "ann@here"})
	must(t, err)
	must(t, h.Record(ctx(t), c.places[0], "20260102T030405Z-c-1", []byte("one\ntwo\n")))
	must(t, newHost(t).Record(ctx(t), c.places[0], "20260102T030405Z-c-1", []byte("three\n")))
	begun := func() planner.Fact[[]string] {
		facts, err := h.Observe(ctx(t), c.places)
		must(t, err)
		return facts[c.places[0].Name].Plans
	}
	if f := begun(); !f.Known() || len(f.Value) > 0 {
		t.Errorf("plans begun: %+v", f)
	}
	must(t, h.Record(ctx(t), c.places[0], host.PlanRun("7k3m-x9qd"), []byte("{}\n")))
	if f := begun(); !f.Known() || !slices.Equal(f.Value, []string{"7k3m-x9qd"}) {
		t.Errorf("plans begun: %+v", f)
	}
	must(t, k.Release())
	l := host.LayoutOf(c.places[0].DataDir, "")
	b, err := os.ReadFile(filepath.Join(l.Runs(), "20260102T030405Z-c-1.jsonl"))
	if err != nil || string(b) != "one\ntwo\nthree\n" {
		t.Errorf("%q %v", b, err)
	}
	before := tree(t, dir)
	for _, name := range []string{"", "..", "../x", "a/b", ".hidden", "a\x00b"} {
		if err := h.Record(ctx(t), c.places[0], name, []byte("x\n")); err == nil {
			t.Errorf("a run was copied under the name %q", name)
		}
	}
	same(t, before, tree(t, dir))
}
