// Package executor carries out a plan, one step after the other: look whether the
// step is done already and whether it still can be, record the intent, act, wait
// until what the step promised holds, record the outcome. It decides nothing: what
// a step does stands in the plan. At the first failure it stops and says so;
// planning again gives the rest of the way.
package executor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Runner carries out plans for one cluster.
type Runner struct {
	Cluster *spec.Cluster
	Host    host.Host
	Lock    host.Lock
	Client  etcd.Access
	Peer    etcd.Access // for peer URLs, which answer without a user
	Journal *journal.Run
	About   About
	// Seen is what the plan was made from, at SeenAt. Look gives it anew where a step
	// is about to touch it; without Look no step is checked before it is done.
	Seen   planner.Observation
	SeenAt time.Time
	Look   Look
	// Begin is called once, right before the first step that changes anything: not where
	// the run ends before, nor for steps that only read. Its error ends the run with
	// nothing changed. It may be nil.
	Begin func(context.Context) error
	// Events is told what happens, from one goroutine at a time; it may be nil.
	Events func(Event)

	// Compared is the last comparison of the members' data, where nothing was begun after
	// the step that made it; unknown otherwise.
	Compared planner.Fact[planner.KVComparison]

	clusterID string        // of the plan: nobody else's members are changed
	looked    time.Duration // that the looks took so far
	begun     bool
	telling   sync.Mutex
	copies    *copies
	waits     func(string)       // is told what the step at work waits for
	phase     func(string) error // begins a part of it
	said      []string           // of the step at work, for whoever reads the result

	// In an opening: how many voters the cluster has that was verified closed, 0 where
	// none was; which of its members were not verified; and who is left behind.
	opening            int
	unverified, behind []string
}

// StepError says at which step a plan stopped, and why.
type StepError struct {
	Step planner.Step
	Err  error
	// Interrupted is true where the operator stopped it.
	Interrupted bool
	// Acted is whether any step of the run was begun.
	Acted bool
}

// Error implements error.
func (e *StepError) Error() string {
	return fmt.Sprintf("step %d (%s): %v", e.Step.ID, e.Step.Title, e.Err)
}

// Unwrap gives the cause.
func (e *StepError) Unwrap() error { return e.Err }

// Run carries out the plan. Cancelling ctx stops it at the next safe point: a
// step that has begun to act is finished, a step that only waits is given up.
// The error is a *StepError where a step did not end well.
func (r *Runner) Run(ctx context.Context, p *planner.Plan) error {
	r.clusterID = p.ID()
	began := time.Now()
	r.copies = r.startCopies(p)
	begin := RunBegan{Plan: p, About: r.About, Observation: Digest(r.Seen), Locks: r.Lock.Epochs()}
	if r.Journal != nil {
		begin.Run = r.Journal.ID()
	}
	err := r.tell(begin)
	end := RunEnded{Result: journal.ResultDone}
	acted := false
	var unkept error
	for i, s := range p.Steps {
		res := StepEnded{Step: s, Outcome: NotStarted}
		switch {
		case err != nil:
			_ = r.tell(res) // the first error is the one that counts
		case ctx.Err() != nil:
			res.Interrupted = true
			err = &StepError{Step: s, Err: errors.New("not begun"), Interrupted: true, Acted: acted}
			_ = r.tell(res)
		default:
			var stepErr error
			res, stepErr = r.step(ctx, s)
			acted = acted || res.Outcome == Done || res.Outcome == Failed
			var kept *unrecordedError
			switch {
			case errors.As(stepErr, &kept) && i == len(p.Steps)-1:
				unkept = kept // nothing is left to be done
			case stepErr != nil:
				err = &StepError{Step: s, Err: stepErr, Interrupted: res.Interrupted, Acted: acted}
			}
		}
		end.Steps = append(end.Steps, res)
	}
	var step *StepError
	switch {
	case errors.As(err, &step) && step.Interrupted:
		end.Result = journal.ResultInterrupted
	case err != nil:
		end.Result = journal.ResultStopped
	}
	end.Err, end.Took, end.Looked = err, time.Since(began), r.looked
	if lost := errors.Join(unkept, r.tell(end)); err == nil && lost != nil {
		return &UnkeptError{lost}
	}
	return err
}

// step carries out one step; the error is why the run can't go on.
func (r *Runner) step(ctx context.Context, s planner.Step) (res StepEnded, err error) {
	began := time.Now()
	r.said, r.Compared = nil, planner.Unknown[planner.KVComparison]("not compared")
	res = StepEnded{Step: s, Outcome: NotStarted}
	end := func(err error) (StepEnded, error) {
		res.Took, res.Err = time.Since(began), err
		if res.Note == "" {
			res.Note = strings.Join(r.said, "; ")
		}
		res.Interrupted = ctx.Err() != nil && (errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled))
		lost := r.tell(res)
		if err == nil && lost != nil {
			return res, &unrecordedError{lost}
		}
		return res, errors.Join(err, lost)
	}
	seen, done, err := r.ready(ctx, s)
	if err != nil {
		return end(err)
	}
	if done {
		res.Outcome, res.Note = Skipped, "it was so already"
		return end(nil)
	}
	if err := r.Lock.Held(ctx); err != nil {
		return end(fmt.Errorf("nothing more is done: %w", err))
	}
	if err := r.begin(ctx, s); err != nil {
		return end(err)
	}
	if err := r.tell(StepBegan{Step: s, Observation: seen}); err != nil {
		return end(err)
	}
	res.Outcome = Done
	if err := r.perform(ctx, s); err != nil {
		if res.Note, err = r.doneAfterAll(ctx, s, err); err != nil {
			res.Outcome = Failed
			return end(err)
		}
	}
	r.foresee(s)
	return end(nil)
}

// begin calls Begin before the first step that changes anything. That takes its time:
// so the lock is looked at once more, and who interrupts meanwhile is heard.
func (r *Runner) begin(ctx context.Context, s planner.Step) error {
	if r.Begin == nil || r.begun || readsOnly(s.Action) {
		return nil
	}
	if err := r.Begin(ctx); err != nil {
		return err
	}
	r.begun = true
	if ctx.Err() != nil {
		return fmt.Errorf("%w: not begun", errInterrupted)
	}
	if err := r.Lock.Held(ctx); err != nil {
		return fmt.Errorf("nothing more is done: %w", err)
	}
	return nil
}

// perform acts and waits, within the step's time. Acting is not interrupted by
// the operator, for half an act is worse than a whole one; staging, trials and
// waits can be left at any moment.
func (r *Runner) perform(ctx context.Context, s planner.Step) error {
	limit := time.Duration(s.TimeoutSeconds) * time.Second
	why := fmt.Errorf("%w within %s", errTimeout, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, why)
	defer cancel()
	act := context.WithoutCancel(ctx)
	act, stop := context.WithTimeoutCause(act, limit, why)
	defer stop()
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	go r.guard(ctx, lose)
	err := r.act(ctx, act, s.Action, r.watch(s))
	var lost *host.LostError
	switch {
	case err != nil && errors.As(context.Cause(ctx), &lost):
		return fmt.Errorf("nothing more is done: %w", lost)
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case act.Err() != nil: // its time is over, whatever the operator did meanwhile
		return context.Cause(act)
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	}
	return err
}

// guardEvery is how often the lock is looked at within a step.
const guardEvery = 3 * time.Second

// guard ends what a step waits for as soon as the lock is seen to be lost: somebody
// else is at work, and what is waited for may never come.
func (r *Runner) guard(ctx context.Context, lose context.CancelCauseFunc) {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var lost *host.LostError
		if err := r.Lock.Held(ctx); errors.As(err, &lost) {
			lose(err)
			return
		}
	}
}

// maxPhases is how many parts of a step the journal names.
const maxPhases = 50

// watch tells of the step's progress: each part of it, by its name, once in the
// journal.
func (r *Runner) watch(s planner.Step) host.Progress {
	var mu sync.Mutex
	seen := map[string]bool{}
	r.phase = func(name string) error {
		mu.Lock()
		first := !seen[name] && len(seen) < maxPhases
		seen[name] = true
		mu.Unlock()
		if !first {
			return nil
		}
		return r.tell(StepPhase{Step: s, Phase: name})
	}
	r.waits = func(why string) { _ = r.tell(StepWaits{Step: s, For: why}) }
	return func(what string, done, total int64) {
		_ = r.phase(what) // the outcome's record fails as well, and stops the run
		_ = r.tell(StepProgress{Step: s, What: what, Done: done, Total: total})
	}
}

// tell records an event and passes it on; the error is the journal's.
func (r *Runner) tell(e Event) error {
	r.telling.Lock()
	defer r.telling.Unlock()
	var err error
	if r.Journal != nil && e.kept() {
		if b, ok := e.(StepBegan); ok {
			r.copies.touch(b.Step)
		}
		err = r.Journal.Write(e.Record())
	}
	if r.Events != nil {
		r.Events(e)
	}
	return err
}

// say tells whoever reads the result something about the step that is at work.
func (r *Runner) say(text string) {
	if !slices.Contains(r.said, text) { // a wait says it at each look
		r.said = append(r.said, text)
	}
}

// act is the one place where actions meet the world.
func (r *Runner) act(ctx, act context.Context, action planner.Action, progress host.Progress) error {
	switch a := action.(type) {
	case planner.Claim:
		return r.Host.Claim(act, a)
	case planner.Restore:
		return r.restore(ctx, a, progress)
	case planner.Trial:
		return r.Host.Trial(ctx, a, progress)
	case planner.Install:
		return r.Host.Install(act, a)
	case planner.Start:
		return r.start(ctx, act, a, progress)
	case planner.Adopt:
		return r.Host.Adopt(act, a.Members)
	case planner.Verify:
		return r.verify(ctx, a, progress)
	case planner.Stop:
		return r.Host.Stop(act, a.Cluster, a.Members)
	case planner.SetAside:
		return r.Host.SetAside(act, a)
	case planner.Fence:
		return r.Host.Fence(act, a)
	case planner.Unfence:
		return r.Host.Unfence(act, a)
	case planner.Recover:
		return r.Host.Recover(ctx, a, progress)
	}
	return r.actOnList(ctx, act, action, progress)
}

// actOnList carries out what changes the cluster's member list, or asks a member.
func (r *Runner) actOnList(ctx, act context.Context, action planner.Action, progress host.Progress) error {
	switch a := action.(type) {
	case planner.Update:
		return r.update(ctx, a)
	case planner.Add:
		return r.add(ctx, a)
	case planner.Join:
		return r.join(ctx, act, a, progress)
	case planner.Promote:
		return r.promote(ctx, a, progress)
	case planner.MoveLeader:
		return r.moveLeader(ctx, a)
	case planner.Remove:
		return r.remove(ctx, a)
	case planner.Save:
		return r.save(ctx, a, progress)
	case planner.Downgrade:
		return r.downgrade(ctx, a)
	case planner.TrimLog:
		return r.trimLog(ctx, a, progress)
	case planner.CancelDowngrade:
		return r.cancelDowngrade(ctx, a)
	}
	return fmt.Errorf("this version can't carry out %q", action.Kind())
}

// restore takes a sensitive path from the file, for the plan does not have it,
// and keeps it out of the error. What was fetched has a path in the cache, which
// the plan has.
func (r *Runner) restore(ctx context.Context, a planner.Restore, progress host.Progress) error {
	s := r.Cluster.Snapshot
	if s == nil || !s.Sensitive || filepath.IsAbs(a.Snapshot) {
		return r.Host.Restore(ctx, a, progress)
	}
	shown := a.Snapshot
	a.Snapshot = s.Source
	err := r.Host.Restore(ctx, a, progress)
	if err != nil && strings.Contains(err.Error(), s.Source) {
		return errors.New(strings.ReplaceAll(err.Error(), s.Source, shown))
	}
	return err
}
