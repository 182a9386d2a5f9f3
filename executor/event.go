package executor

import (
	"time"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
)

// Event is one thing that happened while a plan is carried out. There is one stream
// of them: what must survive a crash goes to the journal first, and then everything
// to whoever watches, a terminal or a program.
type Event interface {
	// Record is the event's line in the journal and for programs.
	Record() journal.Record
	// kept is whether it belongs in the journal.
	kept() bool
}

// RunBegan is the first event: nothing was changed yet.
type RunBegan struct {
	Plan        *planner.Plan
	Run         string // the journal's name for it; "" without one
	About       About
	Observation string // the digest of what the plan was made from
	Locks       map[string]int64
}

// StepBegan says that a step is about to act.
type StepBegan struct {
	Step        planner.Step
	Observation string // the digest of what was seen right before
}

// StepPhase says that a part of a long step has begun.
type StepPhase struct {
	Step  planner.Step
	Phase string
}

// StepProgress says how far a step is: Done of Total (bytes, members or
// revisions, as What says; Total 0 where the end is not known).
type StepProgress struct {
	Step        planner.Step
	What        string
	Done, Total int64
}

// StepWaits says what a step waits for.
type StepWaits struct {
	Step planner.Step
	For  string
}

// Outcome is how a step ended.
type Outcome string

// The outcomes, as the journal has them.
const (
	Done       Outcome = journal.Done       // its postcondition holds
	Skipped    Outcome = journal.Skipped    // it held before
	Failed     Outcome = journal.Failed     // it was begun, and ended otherwise
	NotStarted Outcome = journal.NotStarted // nothing of it was done
)

// StepEnded says how a step ended.
type StepEnded struct {
	Step    planner.Step
	Outcome Outcome
	Took    time.Duration
	// Err is why, for Failed; for NotStarted it is nil where an earlier step is the
	// reason.
	Err error
	// Note is what else is to be said: that it was done although no answer came, say.
	Note        string
	Interrupted bool // by the operator
}

// RunEnded is the last event.
type RunEnded struct {
	Result string // as journal.Ended has it
	Err    error
	Took   time.Duration
	Looked time.Duration // of it, the looks before the steps
	Steps  []StepEnded   // of all of the plan's
}

// About says who carries out what, and with which program.
type About struct {
	Cluster, Verb, By, Version string
	PID                        int
	Binary                     string // its sha256, in hex
	Saved                      string // the digest of the saved plan, as Record has it
	Note                       string // on what there is to be said, such as the lock
}

// Record implements Event.
func (e RunBegan) Record() journal.Record {
	return journal.Record{
		Event: journal.Began, Run: e.Run, Cluster: e.About.Cluster, Verb: e.About.Verb, Plan: e.Plan.Digest(), Saved: e.About.Saved, By: e.About.By,
		PID: e.About.PID, Version: e.About.Version, Binary: e.About.Binary, Steps: len(e.Plan.Steps), Headline: e.Plan.Headline,
		Observation: e.Observation, Locks: e.Locks, Note: e.About.Note,
	}
}

// Record implements Event.
func (e StepBegan) Record() journal.Record {
	r := ofStep(e.Step, journal.Intent)
	r.Action, r.Observation, r.Reads = e.Step.Action, e.Observation, readsOnly(e.Step.Action)
	return r
}

// Record implements Event.
func (e StepPhase) Record() journal.Record {
	r := ofStep(e.Step, journal.Phase)
	r.Phase = e.Phase
	return r
}

// Record implements Event.
func (e StepProgress) Record() journal.Record {
	r := ofStep(e.Step, "progress")
	r.Phase, r.Done, r.Total = e.What, e.Done, e.Total
	return r
}

// Record implements Event.
func (e StepWaits) Record() journal.Record {
	r := ofStep(e.Step, "waits")
	r.Note = e.For
	return r
}

// Record implements Event.
func (e StepEnded) Record() journal.Record {
	r := ofStep(e.Step, string(e.Outcome))
	r.Seconds, r.Note = seconds(e.Took), e.Note
	if e.Err != nil {
		r.Error = e.Err.Error()
	}
	return r
}

// Record implements Event.
func (e RunEnded) Record() journal.Record {
	r := journal.Record{Event: journal.Ended, Result: e.Result, Seconds: seconds(e.Took), Looked: seconds(e.Looked)}
	if e.Err != nil {
		r.Error = e.Err.Error()
	}
	return r
}

func ofStep(s planner.Step, event string) journal.Record {
	return journal.Record{Event: event, Step: s.ID, Kind: s.Kind, Title: s.Title, Target: s.Target}
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

func (RunBegan) kept() bool     { return true }
func (StepBegan) kept() bool    { return true }
func (StepPhase) kept() bool    { return true }
func (StepProgress) kept() bool { return false }
func (StepWaits) kept() bool    { return false }
func (StepEnded) kept() bool    { return true }
func (RunEnded) kept() bool     { return true }

// unrecordedError says that a step ended well, and that the journal does not have it.
type unrecordedError struct{ err error }

func (e *unrecordedError) Error() string { return e.err.Error() }
func (e *unrecordedError) Unwrap() error { return e.err }

// UnkeptError says that all was done, and that the journal's last line is missing.
type UnkeptError struct{ Err error }

// Error implements error.
func (e *UnkeptError) Error() string {
	return "all steps are done; the journal lacks its end: " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *UnkeptError) Unwrap() error { return e.Err }
