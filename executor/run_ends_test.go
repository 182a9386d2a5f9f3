package executor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// slowly is a host whose stop takes until its time is over.
type slowly struct {
	stub
	began chan struct{}
}

func (s *slowly) Stop(ctx context.Context, _ string, _ []planner.StopMember) error {
	close(s.began)
	<-ctx.Done()
	return ctx.Err()
}

// TestTimeOutAfterInterrupt: an act that is not done in its time has failed, also
// where the operator had interrupted it meanwhile: no safe point was reached.
func TestTimeOutAfterInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &slowly{began: make(chan struct{})}
	r := runner(t, &h.stub, &lock{})
	r.Host = h
	p := plan(planner.Stop{})
	p.Steps[0].TimeoutSeconds = 1
	go func() {
		<-h.began
		cancel()
	}()
	err := r.Run(ctx, p)
	var step *StepError
	if !errors.As(err, &step) || step.Interrupted || !step.Acted || !errors.Is(err, errTimeout) {
		t.Errorf("%+v", err)
	}
	if got := events(t, r); got != "begin , intent stop, failed stop, end " {
		t.Error(got)
	}
}

// asking is a lock on a machine that says nothing.
type asking struct {
	lock
	asked chan struct{}
}

func (l *asking) Held(ctx context.Context) error {
	close(l.asked)
	<-ctx.Done()
	return ctx.Err()
}

// TestInterruptWhileTheLockIsAsked: nothing was begun, and it ends as interrupted.
func TestInterruptWhileTheLockIsAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h, l := &stub{}, &asking{asked: make(chan struct{})}
	r := runner(t, h, nil)
	r.Lock = l
	go func() {
		<-l.asked
		cancel()
	}()
	var step *StepError
	if err := r.Run(ctx, plan(planner.Install{})); !errors.As(err, &step) || !step.Interrupted || step.Acted || len(h.calls) != 0 {
		t.Errorf("%+v after %v", err, h.calls)
	}
}

// TestLastRecordIsLost: where all steps are done and the journal can't say so of the
// last one, all is done; where a step is left, the run stops.
func TestLastRecordIsLost(t *testing.T) {
	for steps, left := range map[int]bool{1: false, 2: true} {
		h := &stub{}
		r := runner(t, h, &lock{})
		h.hook = func() { _ = r.Journal.Close() }
		err := r.Run(t.Context(), plan([]planner.Action{planner.Install{}, planner.Claim{}}[:steps]...))
		var unkept *UnkeptError
		var step *StepError
		if errors.As(err, &unkept) == left || errors.As(err, &step) != left || len(h.calls) != 1 {
			t.Errorf("%d steps: %v after %v", steps, err, h.calls)
		}
	}
}

// TestBegin: what is to be done before anything is done happens once, and not in a run
// that ends before its first act; where it can't be done nothing is.
func TestBegin(t *testing.T) {
	calls, no := 0, error(nil)
	run := func(ctx context.Context, l *lock) (*stub, error) {
		h := &stub{}
		r := runner(t, h, l)
		r.Begin = func(context.Context) error {
			if calls++; len(h.calls) > 0 {
				t.Error("it comes too late")
			}
			return no
		}
		return h, r.Run(ctx, plan(planner.Install{}, planner.Claim{}))
	}
	over, end := context.WithCancel(t.Context())
	end()
	if h, err := run(over, &lock{}); err == nil || calls != 0 || len(h.calls) != 0 {
		t.Errorf("interrupted: %v, %d calls", err, calls)
	}
	if h, err := run(t.Context(), &lock{lost: errors.New("gone")}); err == nil || calls != 0 || len(h.calls) != 0 {
		t.Errorf("without the lock: %v, %d calls", err, calls)
	}
	if h, err := run(t.Context(), &lock{}); err != nil || calls != 1 || len(h.calls) != 2 {
		t.Errorf("%v, %d calls, %v", err, calls, h.calls)
	}
	no = errors.New("no")
	var step *StepError
	if h, err := run(t.Context(), &lock{}); !errors.As(err, &step) || step.Acted || !errors.Is(err, no) || len(h.calls) != 0 {
		t.Errorf("%+v, %v", err, h.calls)
	}
}

// TestBeginBeforeTheFirstChange: steps that only read need no Begin, and a run of such
// steps never calls it; the journal tells them from the others.
func TestBeginBeforeTheFirstChange(t *testing.T) {
	for _, c := range []struct {
		plan  *planner.Plan
		fail  error
		begun string // what the host had been asked for when it was called; "never"
		acted bool
	}{
		{plan: plan(planner.Trial{}, planner.Install{}, planner.Claim{}), begun: "trial", acted: true},
		{plan: plan(planner.Trial{}, planner.Verify{}), begun: "never"},
		{plan: plan(planner.Trial{}, planner.Install{}), fail: errors.New("no"), begun: "never"},
		{plan: plan(planner.Install{}), fail: errors.New("no"), begun: "", acted: true},
	} {
		h := &stub{fail: c.fail}
		r := runner(t, h, &lock{})
		begun := "never"
		r.Begin = func(context.Context) error {
			begun = strings.Join(h.calls, " ")
			return nil
		}
		err := r.Run(t.Context(), c.plan)
		if (err != nil) != (c.fail != nil) || begun != c.begun {
			t.Errorf("%v: %v, begun after %q, want %q", h.calls, err, begun, c.begun)
		}
		_ = r.Journal.Close()
		run, err := journal.Find(filepath.Dir(filepath.Dir(r.Journal.Path())), "")
		if err != nil || run.Acted != c.acted {
			t.Errorf("%v: acted %t, %v", h.calls, run.Acted, err)
		}
	}
}

// TestLockIsLostInBegin: what comes before the first change takes its time; nothing is
// done where the lock is somebody else's by then, or where the operator interrupted it.
func TestLockIsLostInBegin(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		h, l := &stub{}, &losing{}
		r := runner(t, h, nil)
		r.Lock = l
		r.Begin = func(context.Context) error {
			if interrupted {
				cancel()
			} else {
				l.gone.Store(true)
			}
			return nil
		}
		err := r.Run(ctx, plan(planner.Install{}))
		cancel()
		var step *StepError
		var lost *host.LostError
		if !errors.As(err, &step) || step.Acted || step.Interrupted != interrupted || errors.As(err, &lost) == interrupted || len(h.calls) != 0 {
			t.Errorf("interrupted %t: %+v after %v", interrupted, err, h.calls)
		}
	}
}

// recorded is a host that keeps what is copied to each place.
type recorded struct {
	stub
	mu sync.Mutex
	at map[string]*bytes.Buffer
}

func (h *recorded) Record(_ context.Context, p planner.Place, _ string, lines []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := p.Host + ":" + p.DataDir
	if h.at[key] == nil {
		h.at[key] = &bytes.Buffer{}
	}
	h.at[key].Write(lines)
	return nil
}

// TestCopiesGoToWhoIsTakenAway: also a member that the file has no more has the
// journal of the run that stopped it; one that is not touched has none.
func TestCopiesGoToWhoIsTakenAway(t *testing.T) {
	h := &recorded{at: map[string]*bytes.Buffer{}}
	r := runner(t, &h.stub, &lock{})
	r.Host = h
	r.Cluster = &spec.Cluster{Members: []spec.Member{{Name: "m1", DataDir: "/m1"}, {Name: "m2", DataDir: "/new/m2"}}}
	gone := []planner.StopMember{{Place: planner.Place{Name: "m3", Host: "h3", DataDir: "/m3"}}, {Place: planner.Place{Name: "m2", DataDir: "/old/m2"}}}
	p := plan(planner.Stop{Members: gone}, planner.Stop{Members: gone})
	p.Steps[0].Target, p.Steps[1].Target = []string{"m3", "m2"}, []string{"m3", "m2"}
	if err := r.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r.Close()
	want, err := os.ReadFile(r.Journal.Path())
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var at []string
	for key, got := range h.at {
		at = append(at, key)
		if got.String() != string(want) {
			t.Errorf("%s has %q", key, got)
		}
	}
	slices.Sort(at)
	if got := strings.Join(at, " "); got != ":/new/m2 :/old/m2 h3:/m3" {
		t.Errorf("copies at %s", got)
	}
}

// losing is a lock that somebody takes while a step waits.
type losing struct {
	lock
	gone atomic.Bool
}

func (l *losing) Held(context.Context) error {
	if l.gone.Load() {
		return &host.LostError{Path: "/m1.requorum/lock", Why: "bob has it"}
	}
	return nil
}

// waiting is a host whose restore ends only with its ctx.
type waiting struct {
	stub
	lock *losing
}

func (h *waiting) Restore(ctx context.Context, _ planner.Restore, _ host.Progress) error {
	h.lock.gone.Store(true)
	<-ctx.Done()
	return ctx.Err()
}

// TestLockLostInAStep: a step that waits is left as soon as the lock is lost, and that
// is its error: what it waits for is in somebody else's hands.
func TestLockLostInAStep(t *testing.T) {
	l := &losing{}
	h := &waiting{lock: l}
	r := runner(t, &h.stub, nil)
	r.Host, r.Lock = h, l
	p := plan(planner.Restore{}, planner.Install{})
	p.Steps[0].TimeoutSeconds = 60
	began := time.Now()
	err := r.Run(t.Context(), p)
	var lost *host.LostError
	var step *StepError
	if !errors.As(err, &lost) || !errors.As(err, &step) || step.Interrupted || !step.Acted || len(h.calls) != 0 {
		t.Errorf("%+v after %v", err, h.calls)
	}
	if took := time.Since(began); took > 3*guardEvery {
		t.Errorf("it took %s", took)
	}
}
