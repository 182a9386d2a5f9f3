package scenario

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// A learner that can't keep up is given up and removed, and no voter notices; the next
// plan says what became of it, and adds it anew.
func TestLearnerIsGivenUp(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1)
	c.More = idle(harness.Inside())
	c.Write()
	e.Apply(c.Path())
	want := harness.Fill(t, c.Endpoints(), keysPerTest)
	m := e.ClusterIn("more", 2).Members[1]
	c.Members = append(c.Members, m)
	s := &told{t: t, e: e, c: c.Write(), host: local.New(local.Options{Self: harness.Binary()})}
	in, p := s.plan("add-learner join promote verify")
	p.Steps[2].TimeoutSeconds = 24 // half of it until it is given up
	ctx := harness.Context(t)
	lock, err := s.host.Lock(ctx, []planner.Place{{Name: "m1", DataDir: c.Members[0].DataDir}, {Name: "m2", DataDir: m.DataDir}},
		host.Holder{Who: "test", PID: os.Getpid(), Operation: "apply"})
	noErr(t, err)
	run, err := journal.Open(e.State(), "demo", time.Now())
	noErr(t, err)
	defer run.Close()
	w := harness.StartWriters(t, 8, []string{c.Members[0].Client})
	observer := s.observer(in.Cluster)
	var frozen harness.Proc
	r := executor.Runner{
		Cluster: in.Cluster, Host: s.host, Lock: lock, Client: observer.Client, Peer: observer.Peer, Journal: run, Seen: in.Observation,
		Look: func(ctx context.Context, last planner.Observation, want executor.Want) (planner.Observation, error) {
			return observer.Again(ctx, last, want.Endpoints, want.Places, want.Processes)
		},
		Events: func(ev executor.Event) {
			if b, ok := ev.(executor.StepBegan); ok && b.Step.Kind == "promote" {
				frozen = c.Etcd(m)
				noErr(t, syscall.Kill(frozen.PID, syscall.SIGSTOP))
			}
		},
	}
	err = r.Run(ctx, p)
	r.Close()
	if err == nil || !strings.Contains(err.Error(), "did not catch up within 12s") || !strings.Contains(err.Error(), "taken off the member list again") {
		t.Errorf("%v", err)
	}
	noErr(t, lock.Release())
	for w.Acked() < 8000 { // so that what is added anew gets a snapshot, and seems far behind
		w.Await(t, 100)
	}
	w.Stop()
	w.Unhindered(t, "beside a learner that is given up", 2*time.Second)
	if err := syscall.Kill(frozen.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	list := e.Plan(c.Path())
	if list.Route != "reconfigure" || !strings.Contains(list.Kinds(), "add-learner join promote") {
		t.Errorf("the next plan: %s %s", list.Kinds(), list.Headline)
	}
	t.Log(list.Headline)
	e.Apply(c.Path(), "--accept="+list.Consents()) // nobody writes now
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
}

// A learner whose etcd never starts: the voters serve on, and the next plan says what
// the matter is and what the way back is.
func TestLearnerNeverStarts(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1)
	broken := e.Path("broken")
	wrapper := e.Path("etcd")
	noErr(t, os.WriteFile(wrapper, []byte(fmt.Sprintf(`#!/bin/sh
case "$*" in *--name=m2*) if [ -e %q ]; then echo "no luck today" >&2; exit 1; fi;; esac
exec %q etcd "$@"
`, broken, harness.Binary())), 0o755))
	c.More = fmt.Sprintf("  etcd { binary = %q }\n", wrapper)
	c.Write()
	e.Apply(c.Path())
	want := harness.Fill(t, c.Endpoints(), keysPerTest)
	write(t, broken, nil)
	first := c.Members
	m := e.ClusterIn("more", 2).Members[1]
	c.Members = append(slices.Clone(first), m)
	c.Write()
	w := harness.StartWriters(t, 2, []string{first[0].Client})
	r := e.Run("apply", "--auto-approve", c.Path()).Want(t, 7).Says(t, "m2 does not come up", "no luck today", "Safe to leave yes")
	t.Logf("%s", r.Stderr)
	p := e.Run("plan", c.Path()).Want(t, 6).Says(t, "no luck today", "take m2 out of the file")
	t.Logf("%s", p.Stdout)
	c.Members = first // the way back
	c.Write()
	e.Apply(c.Path(), "--accept="+e.Plan(c.Path()).Consents())
	e.InSync(c.Path())
	c.Members = append(slices.Clone(first), m) // and on, once the cause is gone
	c.Write()
	noErr(t, os.Remove(broken))
	e.Run("stop", "--auto-approve", "--member", "m2", c.Path()).Want(t, 0) // it is still being tried
	e.Apply(c.Path())
	w.Stop()
	w.Unhindered(t, "beside a learner that never starts", 2*time.Second)
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
}
