package planner

import "encoding/json"

// FactState says how far a fact can be relied on. "Unknown" and "absent" are
// never the same value: absence is a known fact, with an empty or false Value.
type FactState string

// The states of a fact.
const (
	FactUnknown      FactState = "unknown"
	FactKnown        FactState = "known"
	FactContradicted FactState = "contradicted" // two sources disagree
)

// Fact is one thing observed, or the reason why it could not be. The zero value
// is unknown without a reason.
type Fact[T any] struct {
	State FactState
	Value T
	// Why says what stood in the way (unknown) or who disagrees (contradicted).
	Why string
}

// Known is a fact that was seen.
func Known[T any](v T) Fact[T] { return Fact[T]{State: FactKnown, Value: v} }

// Unknown is a fact that could not be learned.
func Unknown[T any](why string) Fact[T] { return Fact[T]{State: FactUnknown, Why: why} }

// Contradicted is a fact on which two sources disagree.
func Contradicted[T any](why string) Fact[T] {
	return Fact[T]{State: FactContradicted, Why: why}
}

// Known reports whether the value may be used.
func (f Fact[T]) Known() bool { return f.State == FactKnown }

// MarshalJSON writes {"state":…,"value":…} or {"state":…,"why":…}.
func (f Fact[T]) MarshalJSON() ([]byte, error) {
	if f.Known() {
		return json.Marshal(struct {
			State FactState `json:"state"`
			Value T         `json:"value"`
		}{f.State, f.Value})
	}
	s := f.State
	if s == "" {
		s = FactUnknown
	}
	return json.Marshal(struct {
		State FactState `json:"state"`
		Why   string    `json:"why"`
	}{s, f.Why})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Fact[T]) UnmarshalJSON(b []byte) error {
	var in struct {
		State FactState `json:"state"`
		Value T         `json:"value"`
		Why   string    `json:"why"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*f = Fact[T]{State: in.State, Value: in.Value, Why: in.Why}
	return nil
}
