package executor

import (
	"time"

	"github.com/requorum/requorum/planner"
)

// Event is one thing that happened while a plan is carried out. Events are for
// people and programs that watch; what must survive a crash is in the journal.
type Event interface{ event() }

// StepBegan says that a step begins.
type StepBegan struct{ Step planner.Step }

// StepProgress says how far a step is: Done of Total (bytes, members or
// revisions, as What says; Total 0 where the end is not known).
type StepProgress struct {
	Step        planner.Step
	What        string
	Done, Total int64
}

// StepSaid is something that whoever reads the result has to know of a step.
type StepSaid struct {
	Step planner.Step
	Text string
}

// StepDone says that a step's postcondition holds.
type StepDone struct {
	Step planner.Step
	Took time.Duration
}

// StepFailed says that a step ended otherwise.
type StepFailed struct {
	Step planner.Step
	Took time.Duration
	Err  error
}

func (StepBegan) event()    {}
func (StepProgress) event() {}
func (StepSaid) event()     {}
func (StepDone) event()     {}
func (StepFailed) event()   {}
