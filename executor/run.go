// Package executor carries out a plan, one step after the other: record the
// intent, act, wait until what the step promised holds, record the outcome. It
// decides nothing: what a step does stands in the plan. At the first failure it
// stops and says so; planning again gives the rest of the way.
package executor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
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
	// Events is told what happens, from one goroutine at a time; it may be nil.
	Events func(Event)

	clusterID string // of the plan: nobody else's members are changed
	now       planner.Step

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
	for _, s := range p.Steps {
		if ctx.Err() != nil {
			return &StepError{Step: s, Err: errors.New("not begun"), Interrupted: true}
		}
		if err := r.step(ctx, s); err != nil {
			return &StepError{Step: s, Err: err, Interrupted: ctx.Err() != nil}
		}
	}
	return nil
}

func (r *Runner) step(ctx context.Context, s planner.Step) error {
	if err := r.Lock.Held(); err != nil {
		return fmt.Errorf("the lock was lost, nothing more is done: %w", err)
	}
	rec := journal.Record{Event: "intent", Step: s.ID, Kind: s.Kind, Target: s.Target, Action: s.Action}
	if err := r.Journal.Write(rec); err != nil {
		return err
	}
	began := time.Now()
	r.now = s
	r.emit(StepBegan{s})
	err := r.perform(ctx, s)
	rec.Event, rec.Action = "done", nil
	if err != nil {
		rec.Event, rec.Error = "failed", err.Error()
		r.emit(StepFailed{s, time.Since(began), err})
	} else {
		r.emit(StepDone{s, time.Since(began)})
	}
	return errors.Join(err, r.Journal.Write(rec))
}

// perform acts and waits, within the step's time. Acting is not interrupted by
// the operator, for half an act is worse than a whole one; staging, trials and
// waits can be left at any moment.
func (r *Runner) perform(ctx context.Context, s planner.Step) error {
	limit := time.Duration(s.TimeoutSeconds) * time.Second
	why := fmt.Errorf("not done within %s; whether it will be is unknown: plan again", limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, why)
	defer cancel()
	act := context.WithoutCancel(ctx)
	act, stop := context.WithTimeoutCause(act, limit, why)
	defer stop()
	progress := func(what string, done, total int64) {
		r.emit(StepProgress{Step: s, What: what, Done: done, Total: total})
	}
	err := r.act(ctx, act, s.Action, progress)
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
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

// say tells whoever reads the result something about the step that is at work.
func (r *Runner) say(text string) { r.emit(StepSaid{r.now, text}) }

func (r *Runner) emit(e Event) {
	if r.Events != nil {
		r.Events(e)
	}
}
