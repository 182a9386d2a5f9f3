package planner

import (
	"encoding/json"
	"fmt"
)

// UnmarshalJSON reads a step as json.Marshal wrote it: its kind says which action
// it has.
func (s *Step) UnmarshalJSON(b []byte) error {
	type plain Step
	in := struct {
		*plain
		Action json.RawMessage `json:"action"` // stands before plain's own
	}{plain: (*plain)(s)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	a, err := decodeAction(s.Kind, in.Action)
	s.Action = a
	return err
}

func decodeAction(kind string, b []byte) (Action, error) {
	for _, read := range []func(string, []byte) (Action, error){
		decode[Claim], decode[Restore], decode[Trial], decode[Install], decode[Start], decode[Adopt], decode[Verify],
		decode[Stop], decode[Update], decode[Add], decode[Join], decode[Promote], decode[MoveLeader], decode[Remove],
		decode[SetAside], decode[Save], decode[Fence], decode[Unfence], decode[Recover],
		decode[Downgrade], decode[CancelDowngrade], decode[TrimLog],
	} {
		if a, err := read(kind, b); a != nil || err != nil {
			return a, err
		}
	}
	return nil, fmt.Errorf("a step of kind %q is not known to this version", kind)
}

// decode gives the action where it is of that kind, and nil where it is not.
func decode[A Action](kind string, b []byte) (Action, error) {
	var a A
	if a.Kind() != kind {
		return nil, nil
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("a step of kind %q: %w", kind, err)
	}
	return a, nil
}
