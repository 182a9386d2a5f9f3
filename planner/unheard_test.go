package planner

import (
	"slices"
	"testing"
)

// Found by a torture round on a busy machine: three members ran and served, none of
// them answered within the limit, and their logs grew between one look and the next.
// That is no quorum lost, and no disk that was put back.
func TestS2WhoCouldNotBeAskedMayServe(t *testing.T) {
	in := input(threeMembers(), stuck, stuck, stuck)
	for name, o := range in.Observation.Members {
		o.Client.Reach, o.Client.Detail = ReachUnasked, "given up before it answered"
		in.Observation.Members[name] = o
	}
	endsAt(&in, "m1", 1493, 1492)
	endsAt(&in, "m2", 1481, 1480)
	endsAt(&in, "m3", 1477, 1476)
	p := New(in)
	if p.Refusal == nil || len(p.Steps) > 0 {
		t.Errorf("route %s: %s: %s; it may well serve", p.Route, p.Headline, stepKinds(p))
	}
	if slices.ContainsFunc(p.States, func(f Finding) bool { return f.State == StateDiskRolledBack }) {
		t.Errorf("a disk that was put back, where logs grew: %+v", p.States)
	}
}
