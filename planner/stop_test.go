package planner

import "testing"

// A stop is asked for by name, and needs no consent; an organisation's policy holds it
// all the same where it would leave the cluster without a quorum.
func TestStopUnderPolicy(t *testing.T) {
	all := []kind{serving, serving, serving}
	in := input(members(3), all...)
	if p := NewStop(in, nil); p.Refusal != nil {
		t.Errorf("refused: %+v", p.Refusal)
	}
	in.Cluster.Policy.Prevent = []string{"downtime"}
	refusedAs(t, NewStop(in, nil), CodePrevented)
	refusedAs(t, NewStop(in, []string{"m1", "m3"}), CodePrevented)
	if p := NewStop(in, []string{"m2"}); p.Refusal != nil {
		t.Errorf("one of three: %+v", p.Refusal)
	}
	down := input(members(3), serving, stuck, stuck) // it has none to lose
	down.Cluster.Policy.Prevent = []string{"downtime"}
	edit(&down, "m1", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
	if p := NewStop(down, nil); p.Refusal != nil {
		t.Errorf("without a quorum: %+v", p.Refusal)
	}
}
