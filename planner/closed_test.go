package planner

import "testing"

// What a restore was to lead to is held to after an interruption too, though the
// snapshot is no longer looked at.
func TestVerifyClosedOnceMore(t *testing.T) {
	in := input(withSnapshot(threeMembers()), fresh, fresh, fresh)
	in.Observation.Snapshot.Keys = 100
	verify := func(p *Plan) Verify {
		t.Helper()
		for _, s := range p.Steps {
			if v, ok := s.Action.(Verify); ok && v.Closed != nil {
				return v
			}
		}
		t.Fatalf("route %s, steps %s, %+v", p.Route, stepKinds(p), p.Refusal)
		return Verify{}
	}
	p := New(in)
	first := verify(p)
	if first.Closed.Keys != 100 {
		t.Fatalf("%+v", first.Closed)
	}
	for _, s := range p.Steps {
		if v, ok := s.Action.(Verify); ok && v.Closed != nil {
			break
		}
		after, err := Predict(in.Observation, s.Action)
		if err != nil {
			t.Fatal(err)
		}
		in.Observation = after
	}
	in.Observation.Snapshot = nil
	if again := verify(New(in)); again.Closed.Keys != 100 || again.Revision != first.Revision {
		t.Errorf("at first %d keys at %d, later %d at %d", first.Closed.Keys, first.Revision, again.Closed.Keys, again.Revision)
	}
}
