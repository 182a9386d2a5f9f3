package planner

import (
	"fmt"
	"slices"
)

// NewStop is the plan of `requorum stop`: it stops the services of the members in
// only, or of all where only is empty, and keeps all data.
func NewStop(in Input, only []string) *Plan {
	b := newBuilder(in)
	for _, check := range []func() *Refusal{b.checkSupported, b.checkClaims, b.checkElsewhere} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	var ms, strays []*member
	for _, m := range b.members {
		if len(only) > 0 && !hasName(only, m.spec.Name) {
			continue
		}
		switch s := m.seen.Service; {
		case m.at.Commands != nil && !s.Known():
			return b.refuse(b.refuseUnclear(m))
		case s.Known() && (s.Value.State == ServiceRunning || s.Value.State == ServiceBackoff):
			ms = append(ms, m)
		case m.cond == condServing || m.cond == condRunning:
			strays = append(strays, m)
		}
	}
	b.plan.Route = RouteStop
	if len(strays) > 0 {
		b.note(NoteNotSupervised, strays[0].spec.Pos, "%s not started by requorum and left alone: stop it the way it was started", isAre(strays))
	}
	if len(ms) == 0 {
		b.plan.Headline = "nothing to stop"
		b.lines(func(*member) string { return "" })
		return b.plan
	}
	b.plan.Headline = "stop " + names(ms)
	b.plan.Loss.Text = "Lost: nothing. All data stays where it is."
	// The leader last: with its followers gone it hands its leadership to nobody
	// and does not wait for an answer (server.go, tryTransferLeadership).
	b.leadAway(ms)
	followers, leader := leaderApart(ms)
	for _, group := range [][]*member{followers, leader} {
		if len(group) > 0 {
			b.stopStep(group)
		}
	}
	if kind := string(ConsentDowntime); b.plan.Before.Has() && !b.quorum.Has() && slices.Contains(b.cluster.Policy.Prevent, kind) {
		return b.refuse(refusal(CodePrevented, b.cluster.Policy.Pos, "the policy forbids what you asked for",
			fmt.Sprintf("With %s stopped the cluster has no quorum: policy.prevent names %s.", names(ms), kind),
			"Stop fewer at a time: requorum stop --member NAME.",
			"Or have whoever answers for the policy change it for as long as this takes."))
	}
	b.lines(func(m *member) string {
		if contains(ms, m) {
			return "stop"
		}
		return ""
	})
	return b.plan
}

func (b *builder) stopStep(ms []*member) {
	after := b.quorum
	after.Healthy = max(0, after.Healthy-b.votersOf(with(ms, condServing)))
	b.step(Step{
		Action: Stop{Cluster: b.cluster.Name, Members: stopMembers(ms)}, Title: "stop",
		Reason: Reason{Fact: "you asked for it", Pos: ms[0].spec.Pos},
		Undo:   "requorum apply",
		Wait:   "their processes have ended", TimeoutSeconds: 60,
		Equivalent: stopCommands(ms),
	}, after)
}

// leadAway hands the lead to a voter that goes on, where there is one: a leader that
// is stopped leaves its clients waiting for an election. Without the user that etcd
// wants for that, it is left to etcd, which tries by itself when it is told to end.
func (b *builder) leadAway(ms []*member) {
	if b.takeSeats(); !b.quorum.Has() {
		return
	}
	for _, s := range b.seats {
		stays := slices.ContainsFunc(b.seats, func(o *seat) bool { return o.healthy && !o.learner && o.url != "" && !contains(ms, o.m) })
		if s.leads && contains(ms, s.m) && stays && !s.m.seen.Client.Sealed {
			b.moveLead(s, func(o *seat) bool { return contains(ms, o.m) })
			return
		}
	}
}

// stopMembers names ms to be stopped, with the process of each that somebody else
// started.
func stopMembers(ms []*member) []StopMember {
	out := make([]StopMember, len(ms))
	for i, m := range ms {
		out[i] = StopMember{Place: m.place()}
		if f := m.foreign(); f != nil {
			out[i].PID, out[i].Start = f.PID, f.Start
		}
	}
	return out
}

func leaderApart(ms []*member) (followers, leader []*member) {
	for _, m := range ms {
		if e := m.seen.Client; m.cond == condServing && e.LeaderID == e.MemberID {
			leader = append(leader, m)
		} else {
			followers = append(followers, m)
		}
	}
	return followers, leader
}

func stopCommands(ms []*member) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		if m.at.Unit != "" {
			out[i] = fmt.Sprintf("systemctl stop %s  # for %s", m.at.Unit, m.spec.Name)
			continue
		}
		if c := m.at.Commands; c != nil && !m.interim() {
			out[i] = shellLine(c.Stop) + "  # for " + m.spec.Name
			continue
		}
		out[i] = fmt.Sprintf("kill %d  # %s's supervisor, which stops etcd", m.seen.Service.Value.SupervisorPID, m.spec.Name)
	}
	return out
}

func hasName(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}
