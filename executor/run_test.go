package executor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// stub is a host that notes what it is asked. The real ones are tested in
// host/hosttest and tests/scenario; here only the order of things is.
type stub struct {
	calls  []string
	fail   error
	phases []string
	hook   func()
}

func (s *stub) do(name string) error {
	s.calls = append(s.calls, name)
	if s.hook != nil {
		s.hook()
	}
	return s.fail
}

func (s *stub) Observe(context.Context, []planner.Place) (map[string]host.Facts, error) {
	return nil, nil
}
func (s *stub) Etcds(context.Context) []planner.Foreign { return nil }
func (s *stub) Binary(context.Context, string) planner.Fact[planner.Binary] {
	return planner.Unknown[planner.Binary]("stub")
}
func (s *stub) Lock(context.Context, []planner.Place, host.Holder) (host.Lock, error) {
	return &lock{}, nil
}
func (s *stub) Claim(context.Context, planner.Claim) error { return s.do("claim") }
func (s *stub) Restore(_ context.Context, _ planner.Restore, progress host.Progress) error {
	for _, what := range s.phases {
		progress(what, 1, 2)
	}
	return s.do("restore")
}
func (s *stub) Trial(context.Context, planner.Trial, host.Progress) error { return s.do("trial") }
func (s *stub) Install(context.Context, planner.Install) error            { return s.do("install") }
func (s *stub) Start(context.Context, []planner.StartMember) error        { return s.do("start") }
func (s *stub) Adopt(context.Context, []planner.AdoptMember) error        { return s.do("adopt") }
func (s *stub) Stop(context.Context, string, []planner.StopMember) error  { return s.do("stop") }
func (s *stub) SetAside(context.Context, planner.SetAside) error          { return s.do("set-aside") }
func (s *stub) Fence(context.Context, planner.Fence) error                { return s.do("fence") }
func (s *stub) Unfence(context.Context, planner.Unfence) error            { return s.do("unfence") }
func (s *stub) Keys(_ context.Context, asks []host.KeyAsk) map[string]planner.Fact[host.Keys] {
	return host.UnknownKeys(asks, "a stub")
}

func (s *stub) Prove(context.Context, []planner.Place, host.Progress) (map[string]string, error) {
	return nil, nil
}
func (s *stub) Recover(context.Context, planner.Recover, host.Progress) error {
	return s.do("recover")
}

func (s *stub) Locks(context.Context, []planner.Place) (map[string]host.LockState, error) {
	return nil, nil
}
func (s *stub) BreakLock(context.Context, planner.Place, int64) error       { return nil }
func (s *stub) Record(context.Context, planner.Place, string, []byte) error { return nil }

type lock struct{ lost error }

func (l *lock) Held(context.Context) error { return l.lost }
func (l *lock) Release() error             { return nil }

func (l *lock) Note(string) error        { return nil }
func (l *lock) Epochs() map[string]int64 { return nil }

func runner(t *testing.T, h *stub, l *lock) *Runner {
	t.Helper()
	j, err := journal.Open(t.TempDir(), "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return &Runner{Cluster: &spec.Cluster{}, Host: h, Lock: l, Journal: j}
}

func plan(actions ...planner.Action) *planner.Plan {
	p := &planner.Plan{}
	for i, a := range actions {
		p.Steps = append(p.Steps, planner.Step{ID: i + 1, Kind: a.Kind(), Action: a, Title: a.Kind(), TimeoutSeconds: 5})
	}
	return p
}

func events(t *testing.T, r *Runner) string {
	t.Helper()
	f, err := os.Open(r.Journal.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var rec journal.Record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		out = append(out, rec.Event+" "+rec.Kind)
	}
	return strings.Join(out, ", ")
}

// TestEveryActionIsCarriedOut: no action of the sealed set lacks its place in
// act.
func TestEveryActionIsCarriedOut(t *testing.T) {
	for _, a := range planner.Actions() {
		h := &stub{}
		err := runner(t, h, &lock{}).Run(t.Context(), plan(a))
		if overTheAPI(a) {
			// Without an endpoint it ends with etcd's client's word, not with ours.
			if err == nil || strings.Contains(err.Error(), "can't carry out") {
				t.Errorf("%s: %v", a.Kind(), err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", a.Kind(), err)
		}
		if _, reads := a.(planner.Verify); !reads && (len(h.calls) != 1 || h.calls[0] != a.Kind()) {
			t.Errorf("%s asked the host for %v", a.Kind(), h.calls)
		}
	}
}

// overTheAPI reports whether an action goes to etcd and not to the host.
func overTheAPI(a planner.Action) bool {
	switch a.(type) {
	case planner.Update, planner.Add, planner.Join, planner.Promote, planner.MoveLeader, planner.Remove, planner.Save:
		return true
	}
	return false
}

// TestIntentComesFirst: at the moment of the act, its intent is in the journal.
func TestIntentComesFirst(t *testing.T) {
	h := &stub{}
	r := runner(t, h, &lock{})
	seen := ""
	h.hook = func() { seen = events(t, r) }
	if err := r.Run(t.Context(), plan(planner.Claim{})); err != nil {
		t.Fatal(err)
	}
	if seen != "begin , intent claim" || events(t, r) != "begin , intent claim, done claim, end " {
		t.Errorf("at the act: %q, at the end: %q", seen, events(t, r))
	}
}

func TestFirstFailureStops(t *testing.T) {
	h := &stub{fail: errors.New("no")}
	r := runner(t, h, &lock{})
	err := r.Run(t.Context(), plan(planner.Claim{}, planner.Install{}))
	var step *StepError
	if !errors.As(err, &step) || step.Step.ID != 1 || step.Interrupted || len(h.calls) != 1 {
		t.Errorf("%v after %v", err, h.calls)
	}
	if got := events(t, r); got != "begin , intent claim, failed claim, not started install, end " {
		t.Error(got)
	}
}

func TestLostLockStops(t *testing.T) {
	h := &stub{}
	err := runner(t, h, &lock{lost: errors.New("gone")}).Run(t.Context(), plan(planner.Install{}))
	if err == nil || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
}

// TestInterrupt: the step at work is finished, the next one is not begun.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &stub{hook: cancel}
	err := runner(t, h, &lock{}).Run(ctx, plan(planner.Install{}, planner.Claim{}))
	var step *StepError
	if !errors.As(err, &step) || !step.Interrupted || step.Step.ID != 2 || strings.Join(h.calls, " ") != "install" {
		t.Errorf("%v after %v", err, h.calls)
	}
}
