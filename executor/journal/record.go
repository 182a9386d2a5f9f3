package journal

// The events of a run's records, in the order in which they come: one Began; for
// each step either Skipped or NotStarted alone, or Intent, any number of Phase and
// one of Done and Failed; one Ended; and State, how the cluster was seen afterwards.
// A run that was killed has no Ended.
const (
	Began      = "begin"
	Intent     = "intent"      // the step is about to act
	Phase      = "phase"       // a part of a long step has begun
	Done       = "done"        // the step's postcondition holds
	Skipped    = "skipped"     // it held before the step
	Failed     = "failed"      // the step ended otherwise
	NotStarted = "not started" // the run ended before the step
	Ended      = "end"
	State      = "state"
)

// The results of a run, as Ended has them.
const (
	ResultDone        = "done"
	ResultStopped     = "stopped"     // by a failure
	ResultInterrupted = "interrupted" // by the operator, at a safe point
)

// Record is one line of a run.
type Record struct {
	Time  string `json:"time"` // RFC 3339 with nanoseconds, UTC
	Event string `json:"event"`

	// Of Began: which run of what, on which plan, by whom, with which program.
	Run     string `json:"run,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	Verb    string `json:"verb,omitempty"`
	Plan    string `json:"plan,omitempty"`       // its digest
	Saved   string `json:"saved_plan,omitempty"` // the digest of the file that it was read from
	By      string `json:"by,omitempty"`         // user@host
	PID     int    `json:"pid,omitempty"`
	Version string `json:"version,omitempty"` // of requorum
	Binary  string `json:"binary,omitempty"`  // its sha256, in hex
	Steps   int    `json:"steps,omitempty"`
	// Headline says what was found and what follows: of the plan, in Began; of a plan
	// that was made anew, in State.
	Headline string `json:"headline,omitempty"`
	// Locks has the epoch of each place's lock.
	Locks map[string]int64 `json:"locks,omitempty"`

	// Of a step.
	Step   int      `json:"step,omitempty"`
	Kind   string   `json:"kind,omitempty"`
	Title  string   `json:"title,omitempty"`
	Target []string `json:"target,omitempty"`
	Action any      `json:"action,omitempty"`
	// Reads is true in the Intent of a step that changes nothing of a member's.
	Reads bool `json:"reads,omitempty"`
	// Observation is the digest of what was seen right before: of the step's own part
	// of the world, freshly looked at; of all, in Began and State.
	Observation string `json:"observation,omitempty"`
	Phase       string `json:"phase,omitempty"`
	// Done of Total, in bytes or whatever Phase counts: never in a journal, only where
	// programs watch.
	Done    int64   `json:"done,omitempty"`
	Total   int64   `json:"total,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Looked  float64 `json:"looked,omitempty"` // of Seconds, for looks before the steps
	Note    string  `json:"note,omitempty"`
	Error   string  `json:"error,omitempty"`
	Result  string  `json:"result,omitempty"`
}
