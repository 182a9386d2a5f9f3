// Package hosttest is the suite that every host.Host driver passes. It runs real
// etcd through the driver.
package hosttest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// Run holds a driver to the rules of host.Host. newHost gives a driver for a
// machine whose paths are this one's; it may be called several times, each being
// another operator's.
func Run(t *testing.T, newHost func(t *testing.T) host.Host) {
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) { c.test(t, newHost) })
	}
}

// RunKept is Run for a driver whose members are kept by a service manager of the
// machine's: nothing is adopted there, and no supervisor of requorum's can die.
func RunKept(t *testing.T, newHost func(t *testing.T) host.Host) {
	for _, c := range suite {
		if c.supervised {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.test(t, newHost) })
	}
}

type test struct {
	name       string
	test       func(*testing.T, func(*testing.T) host.Host)
	supervised bool // it is about requorum's own supervisor
}

var suite = []test{
	{name: "ObserveChangesNothing", test: observeChangesNothing},
	{name: "ObserveTellsUnknownFromAbsent", test: observeUnknown},
	{name: "Binary", test: binary},
	{name: "Keys", test: keyFiles},
	{name: "Lock", test: locks},
	{name: "LockLeavesNothing", test: lockLeavesNothing},
	{name: "StaleLockFile", test: staleLockFile},
	{name: "EpochsGrow", test: epochsGrow},
	{name: "BrokenLock", test: brokenLock},
	{name: "RunsAreCopied", test: runsAreCopied},
	{name: "ClaimIsRepeatable", test: claimRepeats},
	{name: "ClaimSparesData", test: claimSparesData},
	{name: "BootstrapRestoreStartStop", test: wholeLine},
	{name: "WALDirectoryOfItsOwn", test: ownWAL},
	{name: "RestoreStartsOver", test: restoreStartsOver},
	{name: "NothingStaged", test: nothingStaged},
	{name: "CancelledRequests", test: cancelled},
	{name: "AbandonedBootstraps", test: abandonedBootstraps, supervised: true},
	{name: "AnotherCluster", test: anotherCluster},
	{name: "AdoptsForeign", test: adoptsForeign, supervised: true},
	{name: "KeptForeign", test: keptForeign, supervised: true},
	{name: "FencedAgainstALoop", test: fencedAgainstLoop},
	{name: "SetAsideAgainstALoop", test: asideAgainstLoop},
	{name: "FencedAndReplaced", test: together(fencedAndReplaced)},
	{name: "Replaced", test: together(replaced)},
	{name: "Recovered", test: together(recovered)},
	{name: "RecoveredInPlace", test: together(recoveredInPlace)},
}

// together runs a long test beside others of its kind.
func together(test func(*testing.T, func(*testing.T) host.Host)) func(*testing.T, func(*testing.T) host.Host) {
	return func(t *testing.T, newHost func(*testing.T) host.Host) {
		t.Parallel()
		test(t, newHost)
	}
}

func observeChangesNothing(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 3)
	must(t, os.Mkdir(c.places[1].DataDir, 0o700))
	must(t, os.WriteFile(c.places[2].DataDir, nil, 0o600))
	before := tree(t, dir)
	for range 2 {
		facts := c.observe(t, h)
		want := []planner.DirState{planner.DirAbsent, planner.DirEmpty, planner.DirNotDir}
		for i, p := range c.places {
			f := facts[p.Name]
			if !f.Data.Known() || f.Data.Value.State != want[i] || len(f.Data.Value.Evidence) != 0 {
				t.Errorf("%s: %+v", p.Name, f.Data)
			}
			if !f.Service.Known() || f.Service.Value.State != planner.ServiceNone {
				t.Errorf("%s: %+v", p.Name, f.Service)
			}
			if !f.FreeBytes.Known() || f.FreeBytes.Value <= 0 {
				t.Errorf("%s: %+v", p.Name, f.FreeBytes)
			}
		}
	}
	same(t, before, tree(t, dir))
}

func observeUnknown(t *testing.T, newHost func(*testing.T) host.Host) {
	facts, err := newHost(t).Observe(ctx(t), []planner.Place{{Name: "m1", DataDir: "relative"}})
	must(t, err)
	if facts["m1"].Data.Known() || facts["m1"].Data.Why == "" {
		t.Errorf("%+v", facts["m1"].Data)
	}
}

func binary(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	if b := h.Binary(ctx(t), ""); !b.Known() || b.Value.Version == "" {
		t.Errorf("the one inside: %+v", b)
	}
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), mode))
		return path
	}
	good := script("good", "echo 'etcd Version: 3.6.16'; echo 'Git SHA: x'", 0o755)
	if b := h.Binary(ctx(t), good); !b.Known() || b.Value.Version != "3.6.16" || b.Value.Path != good {
		t.Errorf("good: %+v", b)
	}
	for _, path := range []string{
		script("other", "echo hello", 0o755), script("fails", "exit 1", 0o755),
		script("plain", "", 0o644), dir, filepath.Join(dir, "none"), "etcd",
	} {
		if b := h.Binary(ctx(t), path); b.Known() || b.Why == "" {
			t.Errorf("%s: %+v", path, b)
		}
	}
}

func locks(t *testing.T, newHost func(*testing.T) host.Host) {
	dir := t.TempDir()
	c := newCluster(t, dir, 3)
	me := host.Holder{Who: "ann@here", PID: 7, Operation: "apply", Cluster: "c", Since: "2026-01-02T03:04:05Z"}
	held, err := newHost(t).Lock(ctx(t), c.places[1:2], me)
	me.Epoch = 1
	must(t, err)
	before := tree(t, dir)
	for _, h := range []host.Host{newHost(t), newHost(t)} {
		_, err = h.Lock(ctx(t), c.places, host.Holder{Who: "bob"})
		var locked *host.LockedError
		if !errors.As(err, &locked) || locked.Holder != me {
			t.Fatalf("the second one got %v", err)
		}
	}
	same(t, before, tree(t, dir)) // all or none: m1's was given back
	must(t, held.Held(ctx(t)))
	must(t, held.Release())
	all, err := newHost(t).Lock(ctx(t), c.places, me)
	must(t, err)
	must(t, all.Held(ctx(t)))
	must(t, os.Remove(host.LayoutOf(c.places[2].DataDir, "").Lock())) // this test's own lock file
	if all.Held(ctx(t)) == nil {
		t.Error("a lock whose file is gone is still held")
	}
	must(t, all.Release())
}

func lockLeavesNothing(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	before := tree(t, dir)
	places := []planner.Place{{Name: "a", DataDir: filepath.Join(dir, "x/y/a")}, {Name: "b", DataDir: filepath.Join(dir, "x/z/b")}}
	k, err := h.Lock(ctx(t), places, host.Holder{})
	must(t, err)
	must(t, k.Release())
	same(t, before, tree(t, dir))
	k, err = h.Lock(ctx(t), places, host.Holder{})
	must(t, err)
	kept := filepath.Join(dir, "x/y/a.requorum/kept")
	must(t, os.WriteFile(kept, nil, 0o600))
	must(t, k.Release())
	if _, err := os.Stat(kept); err != nil {
		t.Error("more than the lock was removed")
	}
}

func staleLockFile(t *testing.T, newHost func(*testing.T) host.Host) {
	c := newCluster(t, t.TempDir(), 1)
	l := host.LayoutOf(c.places[0].DataDir, "")
	must(t, os.MkdirAll(l.Base(), 0o700))
	must(t, os.WriteFile(l.Lock(), []byte(`{"who":"dead","pid":1}`), 0o600))
	k, err := newHost(t).Lock(ctx(t), c.places, host.Holder{Who: "me"})
	must(t, err)
	must(t, k.Release())
}

func claimRepeats(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 2)
	claim := planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-one")}
	must(t, h.Claim(ctx(t), claim))
	before := tree(t, dir)
	must(t, h.Claim(ctx(t), claim))
	same(t, before, tree(t, dir))
	f := c.observe(t, h)["m1"].Data.Value
	if f.Provenance == nil || *f.Provenance != claim.Members[0].Provenance || f.EverRan || f.ProvenanceAgrees || len(f.Evidence) != 0 {
		t.Errorf("claimed: %+v", f)
	}
	if f.State != planner.DirAbsent {
		t.Errorf("a claim made %s", f.Path)
	}
	// Another identity for a place without data: nothing was lost with the first.
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-two")}))
	f = c.observe(t, h)["m1"].Data.Value
	if f.Provenance.Token != "token-two" || len(f.Evidence) != 0 {
		t.Errorf("claimed anew: %+v", f)
	}
}

func claimSparesData(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 1)
	must(t, os.MkdirAll(filepath.Join(c.places[0].DataDir, "member"), 0o700))
	before := tree(t, dir)
	if err := h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-one")}); err == nil {
		t.Error("a place with data got another identity")
	}
	same(t, before, tree(t, dir))
}

func nothingStaged(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 1)
	must(t, os.Mkdir(c.places[0].DataDir, 0o700))
	before := tree(t, dir)
	for _, err := range []error{
		h.Install(ctx(t), c.install("token-one")),
		h.Trial(ctx(t), planner.Trial{Place: c.places[0], Token: "token-one"}, nil),
		h.Adopt(ctx(t), c.adopts()),
	} {
		if err == nil {
			t.Error("nothing is there, and it was done")
		}
	}
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
	same(t, before, tree(t, dir))
}

func cancelled(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	c := newCluster(t, dir, 1)
	gone, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-gone.Done()
	before := tree(t, dir)
	if err := h.Claim(gone, planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-one")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("claim: %v", err)
	}
	if _, err := h.Lock(gone, c.places, host.Holder{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock: %v", err)
	}
	if err := h.Install(gone, c.install("")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("install: %v", err)
	}
	same(t, before, tree(t, dir))
}
