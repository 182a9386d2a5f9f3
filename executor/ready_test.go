package executor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// world is a cluster of one member, m1, that a test changes under the runner.
type world struct {
	data    planner.DataDir
	looks   int
	broken  error
	changed func(*world)
}

func (w *world) look(context.Context, planner.Observation, Want) (planner.Observation, error) {
	w.looks++
	if w.changed != nil {
		w.changed(w)
	}
	return w.seen(), w.broken
}

func (w *world) seen() planner.Observation {
	return planner.Observation{Members: map[string]planner.MemberObservation{"m1": {
		Data: planner.Known(w.data), Service: planner.Known(planner.Service{State: planner.ServiceNone}),
		Binary: planner.Known(planner.Binary{Version: "3.7.3"}),
	}}}
}

var origin = planner.Provenance{Kind: planner.ProvenanceBootstrap, Token: "t", Name: "m1", ClusterID: "c1", MemberID: "a1"}

func claim() planner.Claim {
	return planner.Claim{Members: []planner.ClaimMember{{Place: planner.Place{Name: "m1", DataDir: "/m1"}, Provenance: origin}}}
}

func checked(t *testing.T, h *stub, w *world) *Runner {
	t.Helper()
	r := runner(t, h, &lock{})
	r.Cluster = &spec.Cluster{Members: []spec.Member{{Name: "m1", DataDir: "/m1"}}}
	r.Seen, r.Look = w.seen(), w.look
	return r
}

func absent() *world { return &world{data: planner.DataDir{Path: "/m1", State: planner.DirAbsent}} }

// TestDoneIsSkipped: a step whose postcondition holds is not done again.
func TestDoneIsSkipped(t *testing.T) {
	w, h := absent(), &stub{}
	p := origin
	w.data.Provenance = &p
	r := checked(t, h, w)
	if err := r.Run(t.Context(), planOn("m1", claim())); err != nil || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
	if got := events(t, r); got != "begin , skipped claim, end " {
		t.Error(got)
	}
}

// TestChangedIsRefused: one whose precondition does not hold any more ends the run,
// with what changed, before anything of it is done.
func TestChangedIsRefused(t *testing.T) {
	w, h := absent(), &stub{}
	w.data = planner.DataDir{Path: "/m1", State: planner.DirPresent, ClusterID: "c9", MemberID: "a9"}
	r := checked(t, h, w)
	ctx, cancel := context.WithTimeout(t.Context(), settleTime+5*time.Second)
	defer cancel()
	err := r.Run(ctx, planOn("m1", claim()))
	var step *StepError
	var changed *ChangedError
	if !errors.As(err, &step) || step.Acted || !errors.As(err, &changed) || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
	if got := events(t, r); got != "begin , not started claim, end " {
		t.Error(got)
	}
}

// TestPassingIsWaitedFor: what stands in the way and passes is no reason to stop.
func TestPassingIsWaitedFor(t *testing.T) {
	w, h := absent(), &stub{}
	w.data = planner.DataDir{Path: "/m1", State: planner.DirPresent, ClusterID: "c9", MemberID: "a9"}
	w.changed = func(w *world) {
		if w.looks == 3 {
			*w = world{data: planner.DataDir{Path: "/m1", State: planner.DirAbsent}, looks: 3}
		}
	}
	if err := checked(t, h, w).Run(t.Context(), planOn("m1", claim())); err != nil || len(h.calls) != 1 {
		t.Errorf("%v after %v", err, h.calls)
	}
}

// TestUnseenIsRefused: what can't be looked at is not acted on.
func TestUnseenIsRefused(t *testing.T) {
	w, h := absent(), &stub{}
	w.broken = errors.New("no such host")
	err := checked(t, h, w).Run(t.Context(), planOn("m1", claim()))
	if err == nil || !strings.Contains(err.Error(), "no such host") || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
}

// TestTimeoutIsUnknown: after one the runner looks again, and goes on or says what is
// missing.
func TestTimeoutIsUnknown(t *testing.T) {
	for _, done := range []bool{true, false} {
		w := absent()
		h := &stub{fail: context.DeadlineExceeded}
		h.hook = func() {
			if p := origin; done {
				w.data.Provenance = &p
			}
		}
		r := checked(t, h, w)
		err := r.Run(t.Context(), planOn("m1", claim()))
		switch got := events(t, r); {
		case done && (err != nil || got != "begin , intent claim, done claim, end "):
			t.Errorf("done: %v, %s", err, got)
		case !done && (err == nil || !strings.Contains(err.Error(), "it is not done: m1's new identity is not recorded") || got != "begin , intent claim, failed claim, end "):
			t.Errorf("not done: %v, %s", err, got)
		}
	}
}

// TestOtherErrorsAreFinal: an error that says what happened is not looked behind.
func TestOtherErrorsAreFinal(t *testing.T) {
	w := absent()
	h := &stub{fail: &host.LostError{Path: "/m1.requorum/lock", Why: "gone"}}
	h.hook = func() { p := origin; w.data.Provenance = &p }
	if err := checked(t, h, w).Run(t.Context(), planOn("m1", claim())); err == nil {
		t.Error("a lost lock was passed over")
	}
}

// TestUnwritableJournal: no step acts whose intent could not be written down.
func TestUnwritableJournal(t *testing.T) {
	w, h := absent(), &stub{}
	r := checked(t, h, w)
	w.changed = func(*world) { _ = r.Journal.Close() }
	r.SeenAt = time.Time{}
	err := r.Run(t.Context(), planOn("m1", claim()))
	var step *StepError
	if !errors.As(err, &step) || step.Acted || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
	if got := events(t, r); got != "begin " {
		t.Error(got)
	}
	// And none at all where not even the beginning could.
	r = checked(t, h, absent())
	_ = r.Journal.Close()
	if err := r.Run(t.Context(), planOn("m1", claim())); err == nil || errors.As(err, &step) && step.Acted || len(h.calls) != 0 {
		t.Errorf("%v after %v", err, h.calls)
	}
}

// TestPhasesAreRecorded: each part of a long step once, in the midst of it.
func TestPhasesAreRecorded(t *testing.T) {
	h := &stub{}
	r := runner(t, h, &lock{})
	h.phases = []string{"m1: copying", "m1: copying", "m2: copying"}
	if err := r.Run(t.Context(), plan(planner.Restore{})); err != nil {
		t.Fatal(err)
	}
	if got := events(t, r); got != "begin , intent restore, phase restore, phase restore, done restore, end " {
		t.Error(got)
	}
}

func planOn(name string, actions ...planner.Action) *planner.Plan {
	p := plan(actions...)
	for i := range p.Steps {
		p.Steps[i].Target = []string{name}
	}
	return p
}
