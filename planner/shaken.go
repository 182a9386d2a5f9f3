package planner

import (
	"fmt"

	"github.com/requorum/requorum/spec"
)

// Shaken says why a step that takes something away must not be done any more, though
// it could be: fewer voters are healthy than it was planned over, or fewer of them may
// be lost, as where somebody has added a voter meanwhile; or a cluster that had lost
// its quorum has it back. "" for no reason, and for steps that take nothing.
func Shaken(c *spec.Cluster, obs Observation, s Step) string {
	if !Takes(s.Action) {
		return ""
	}
	b := &builder{cluster: c, obs: &obs, members: classify(c, &obs), plan: &Plan{}}
	b.list = b.membership()
	q := b.liveQuorum()
	switch {
	case s.Before.Has() && q.Healthy < s.Before.Healthy:
		return fmt.Sprintf("%d of %d voters are healthy, and the step was planned over %d of %d", q.Healthy, q.Voters, s.Before.Healthy, s.Before.Voters)
	case s.Before.Has() && q.Tolerance() < s.Before.Tolerance():
		return fmt.Sprintf("%d of %d voters are healthy, which may lose %d, and the step was planned over %d of %d, which may lose %d",
			q.Healthy, q.Voters, q.Tolerance(), s.Before.Healthy, s.Before.Voters, s.Before.Tolerance())
	case !s.Before.Has() && q.Has():
		return fmt.Sprintf("the cluster has its quorum back, with %d of %d voters", q.Healthy, q.Voters)
	}
	return ""
}

// Takes reports whether an action takes something away from a cluster, or makes more of
// it necessary: what must be seen of all members right before.
func Takes(a Action) bool {
	switch a.(type) {
	case Stop, Fence, SetAside, Remove, Promote:
		return true
	}
	return false
}
