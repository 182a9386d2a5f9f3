package planner

import "testing"

// What is started again and again on an empty place stays what runs there: but where
// the others refuse it as a new one, and they have a quorum.
func TestTried(t *testing.T) {
	bootstrapped := tried("discovery failed: member a3 has already been bootstrapped")
	three := []kind{serving, serving, missing}
	if p := New(seen(3, three, bootstrapped)()); p.Refusal != nil || len(p.Needs) == 0 || p.Needs[0].Consent != ConsentDataLoss {
		t.Errorf("refusal %+v, needs %+v", p.Refusal, p.Needs)
	}
	refusedAs(t, New(seen(3, three, tried("couldn't open the log"))()), CodeDeadWithAlive)
	refusedAs(t, New(seen(3, []kind{serving, stuck, missing}, func(in *Input) {
		bootstrapped(in)
		edit(in, "m1", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
	})()), CodeDeadWithAlive)
}
