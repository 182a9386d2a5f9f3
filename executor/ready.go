package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// Look gives what is seen now: last, with what want names looked at anew.
type Look func(ctx context.Context, last planner.Observation, want Want) (planner.Observation, error)

// Want is the part of the world that a step touches.
type Want struct {
	Endpoints []string // members whose addresses are asked
	Places    []string // members whose directories and services are read
	Processes bool     // the etcds of the machines: for members that the file has no more
}

const (
	// fresh is how old an observation may be that is taken for a fresh one.
	fresh = time.Second
	// settleTime is how long what stands in a step's way may take to pass: an
	// election, or etcd's own 5 s until it calls members connected.
	settleTime = 20 * time.Second
	// unseenTime is the same for a machine that can't be looked at: a connection that
	// was lost is made again in that time.
	unseenTime = 20 * time.Second
	lookEvery  = 300 * time.Millisecond
	// lookLimit is for a look after the step's own time is over.
	lookLimit = 20 * time.Second
)

var errTimeout = errors.New("not done")

// ChangedError says that a step can't be done any more as the plan has it (promise
// 10).
type ChangedError struct{ What string }

// Error implements error.
func (e *ChangedError) Error() string {
	return "the cluster changed since the plan was made: " + e.What + ". Nothing of this step was done; plan again"
}

// ready looks at what the step touches. Done is whether its postcondition holds
// already; an error says that it can't be done as the plan has it. Steps that change
// nothing are not looked at: they look for themselves.
func (r *Runner) ready(ctx context.Context, s planner.Step) (seen string, done bool, err error) {
	if err := r.Lock.Held(ctx); err != nil {
		return "", false, fmt.Errorf("nothing more is done: %w", err)
	}
	if r.Look == nil || readsOnly(s.Action) {
		return "", false, nil
	}
	obs := r.Seen
	if time.Since(r.SeenAt) > fresh {
		if obs, err = r.look(ctx, s); err != nil {
			return "", false, fmt.Errorf("what this step touches can't be looked at: %w", err)
		}
	}
	for began := time.Now(); ; {
		if ok, _ := planner.Holds(s.Action, obs); ok && !planner.Traceless(s.Action) && !r.stopsUnwatched(s.Action) {
			r.Seen = obs
			return Digest(obs), true, nil
		}
		_, err := planner.Predict(obs, s.Action)
		if err != nil && r.opensWithout(obs, s.Action) {
			err = nil
		}
		if why := planner.Shaken(r.Cluster, obs, s); err == nil && why != "" {
			err = errors.New(why)
		}
		if err == nil {
			r.Seen = obs
			return Digest(obs), false, nil
		}
		switch why := unseen(obs, s.Target); {
		case why == "" && time.Since(began) > settleTime:
			return "", false, &ChangedError{What: err.Error()}
		case time.Since(began) > unseenTime:
			return "", false, errors.New("what this step touches can't be looked at: " + why)
		}
		if r.Events != nil {
			_ = r.tell(StepWaits{Step: s, For: err.Error()})
		}
		select {
		case <-ctx.Done():
			return "", false, fmt.Errorf("%w: %w", errInterrupted, err)
		case <-time.After(lookEvery):
		}
		if obs, err = r.look(ctx, s); err != nil {
			return "", false, fmt.Errorf("what this step touches can't be looked at: %w", err)
		}
	}
}

// stopsUnwatched reports whether a stops a member that the file has no more: that no
// etcd of its runs proves nothing, for its service, which is not among what is
// observed, may be between two starts. To stop it again does no harm.
func (r *Runner) stopsUnwatched(a planner.Action) bool {
	stop, ok := a.(planner.Stop)
	return ok && slices.ContainsFunc(stop.Members, func(m planner.StopMember) bool {
		_, known := r.Cluster.Member(m.Name)
		return !known
	})
}

// unseen says which of the targets' machines could not be looked at, and why.
func unseen(obs planner.Observation, targets []string) string {
	for _, name := range targets {
		m, ok := obs.Members[name]
		switch {
		case !ok:
		case !m.Data.Known():
			return name + ": " + m.Data.Why
		case !m.Service.Known():
			return name + ": " + m.Service.Why
		}
	}
	return ""
}

// look looks at what the step touches.
func (r *Runner) look(ctx context.Context, s planner.Step) (planner.Observation, error) {
	began := time.Now()
	defer func() { r.looked += time.Since(began) }()
	return r.Look(ctx, r.Seen, r.wants(s))
}

// readsOnly is for actions that change nothing of a member's, and are repeated at
// will: they look for themselves at what they need.
func readsOnly(a planner.Action) bool {
	switch a.(type) {
	case planner.Verify, planner.Trial, planner.Save:
		return true
	}
	return false
}

// wants is what a step touches: always its targets; where it rests on a quorum, all
// members that served when they were last seen, for one that did not is not waited
// for; and where it takes something away, every member of the file: who gave no answer
// once is not taken for dead, nor who answered long ago for alive.
func (r *Runner) wants(s planner.Step) Want {
	var w Want
	quorum, places, all := true, true, planner.Takes(s.Action)
	switch s.Action.(type) {
	case planner.Claim, planner.Restore, planner.Install, planner.Unfence, planner.Recover:
		quorum = false
	case planner.Add, planner.Update, planner.Promote, planner.MoveLeader, planner.Remove, planner.Downgrade, planner.CancelDowngrade:
		places = false
	}
	for _, m := range r.Cluster.Members {
		target := slices.Contains(s.Target, m.Name)
		if target && places {
			w.Places = append(w.Places, m.Name)
		}
		if target || all || quorum && r.Seen.Members[m.Name].Client.Reach == planner.ReachServing {
			w.Endpoints = append(w.Endpoints, m.Name)
		}
	}
	for _, name := range s.Target {
		if _, ok := r.Cluster.Member(name); !ok {
			w.Processes = true
		}
	}
	return w
}

// foresee is what is known after a step that was not looked at again: what it was
// to lead to.
func (r *Runner) foresee(s planner.Step) {
	if r.Look == nil {
		return
	}
	if after, err := planner.Predict(r.Seen, s.Action); err == nil {
		r.Seen = after
	}
	r.SeenAt = time.Time{}
}

// doneAfterAll looks again after an error that leaves open whether the step was
// done: a time-out is unknown, not failed. Without an error the step is done, and
// the note says how that is known.
func (r *Runner) doneAfterAll(ctx context.Context, s planner.Step, err error) (note string, _ error) {
	open := errors.Is(err, errTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, etcd.ErrUnknownOutcome) || ctx.Err() != nil
	var lost *host.LostError
	var unknown *host.UnknownError
	open = open || errors.As(err, &unknown)
	if !open || r.Look == nil || errors.As(err, &lost) {
		return "", err
	}
	if planner.Traceless(s.Action) {
		return "", fmt.Errorf("%w; planning again repeats it, which is safe", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit)
	defer cancel()
	obs, lookErr := r.look(ctx, s)
	if lookErr != nil {
		return "", fmt.Errorf("%w; whether it was done is not known, for it can't be looked at: %w", err, lookErr)
	}
	r.Seen = obs
	if r.stopsUnwatched(s.Action) {
		return "", fmt.Errorf("%w; whether its service has ended is not seen from here: see to it on its machine", err)
	}
	if ok, missing := planner.Holds(s.Action, obs); !ok {
		return "", fmt.Errorf("%w; looked at again, it is not done: %s. Planning again goes on from there", err, missing)
	}
	return "no answer came in time, and it is done", nil
}

// Digest is the sha256, in hex, of an observation as JSON; "" for none.
func Digest(obs planner.Observation) string {
	if obs.Members == nil {
		return ""
	}
	b, err := json.Marshal(obs)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
