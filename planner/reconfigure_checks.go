package planner

import (
	"fmt"
	"slices"
	"strings"
)

// checkReconfigure refuses to change a cluster that is not whole enough for it,
// or in a way that is not carried out.
func (b *builder) checkReconfigure(c *changes) *Refusal {
	if r := b.checkVoters(); r != nil {
		return r
	}
	if r := b.checkCalm(c); r != nil {
		return r
	}
	for _, m := range b.members {
		if s := b.seatOf(m); s != nil && m.cond == condServing && !slices.Contains(c.demote, s) {
			if r := b.checkServes(m); r != nil {
				return r
			}
		}
		if v := m.seen.Client.Version; m.cond == condServing && !satisfies(v, b.cluster.Etcd.Version) {
			return refusal(CodeFeatureUnsupported, b.cluster.Etcd.VersionPos, fmt.Sprintf("%s runs etcd %s, and the file wants %s", m.spec.Name, orWord(v, "(version not known)"), b.cluster.Etcd.Version),
				"Upgrading a running cluster comes with a later version of requorum.",
				"Write the version that runs into the file, or upgrade by hand: one minor at a time, one member at a time.")
		}
	}
	for _, check := range []func(*changes) *Refusal{b.checkSeen, b.checkDiffer, b.checkGoneFor, b.checkSlot, b.checkStarts, b.checkRemovals, b.checkLeaderKnown} {
		if r := check(c); r != nil {
			return r
		}
	}
	return nil
}

// checkSeen: a linearizable answer proves a majority, and where that is not seen
// nobody knows which of the others are alive.
func (b *builder) checkSeen(*changes) *Refusal {
	q := b.seated()
	if q.Has() {
		return nil
	}
	var silent []string
	for _, s := range b.seats {
		if !s.learner && !s.healthy {
			silent = append(silent, s.name)
		}
	}
	return refusal(CodeUnreachable, b.cluster.Pos, "the cluster has a quorum, and its members can't be seen from here",
		fmt.Sprintf("%d of %d voters answer here; %s don't, and some of them are alive.", q.Healthy, q.Voters, strings.Join(silent, ", ")),
		"Run requorum where all members can be reached, or bring the network up.")
}

// checkGoneFor: a member whose place is empty is lost only if nothing is at its
// address either: it may run from another directory, or on another machine.
func (b *builder) checkGoneFor(c *changes) *Refusal {
	for _, s := range c.lost {
		m := s.m
		if !m.vacant() || m.processRuns() {
			continue
		}
		if f := b.runsUnseen(m.spec.Name, m.spec.PeerURLs); f != nil {
			return b.refuseUnseen(m.spec.Name, f)
		}
		for _, seen := range []struct {
			url   string
			reach Reach
		}{{m.seen.Peer.URL, m.seen.Peer.Reach}, {m.seen.Client.URL, m.seen.Client.Reach}} {
			switch {
			case seen.reach == ReachRefused:
			case seen.reach == ReachServing || seen.reach.Mute():
				return refusal(CodeServesElsewhere, m.spec.Pos, m.spec.Name+"'s place is empty, and something answers at its address",
					fmt.Sprintf("%s: %s; %s: %s. It may be the member itself, running from another directory.", seen.url, seen.reach, m.spec.DataDir, m.dataText()),
					"Find out what runs there: if it is the member, correct data_dir in the file; if not, stop it.")
			default:
				return refusal(CodeUnreachable, m.spec.Pos, "it is not known whether "+m.spec.Name+" is alive elsewhere",
					fmt.Sprintf("%s: %s. Its place here is empty, but the address may lead to where it runs.", seen.url, seen.reach),
					"Correct the address if it is not this machine's, or bring it up if it is.")
			}
		}
	}
	return nil
}

// checkLeaderKnown: membership does not change while nobody is known to lead.
func (b *builder) checkLeaderKnown(*changes) *Refusal {
	if b.leader() != nil {
		return nil
	}
	return refusal(CodeNoLeader, b.cluster.Pos, "it is not known who leads", "The members that answer name a leader that is not in the member list.",
		"An election may be going on: plan again in a few seconds.")
}

// checkSlot: etcd takes so many learners at a time, and one that stays keeps its
// slot from the voters that come.
func (b *builder) checkSlot(c *changes) *Refusal {
	var stay []string
	for _, m := range b.members {
		if m.spec.Learner {
			stay = append(stay, m.spec.Name)
		}
	}
	sit, come := 0, false
	for _, s := range b.seats {
		if s.learner && s.m != nil && s.m.spec.Learner && !slices.Contains(c.lost, s) && !slices.Contains(c.demote, s) {
			sit++
		}
	}
	for _, s := range slices.Concat(c.lost, c.demote, c.differ) {
		come = come || !s.m.spec.Learner
	}
	for _, m := range c.add {
		come = come || !m.spec.Learner
	}
	if limit := b.maxLearners(); len(stay) > limit || come && sit >= limit {
		return refusal(CodeLearnerSlot, b.cluster.Pos, "there is no room for another learner",
			fmt.Sprintf("%s in the file, and new members are added as learners; etcd takes %d at a time.", verb2(stay, "is a learner", "are learners"), limit),
			fmt.Sprintf("Raise it in the file, etcd { config = { max-learners = %d } }, for etcd 3.6 and later; or take the learner out of the file until the voters are there.", len(stay)+1))
	}
	return nil
}

func verb2(names []string, one, many string) string {
	if len(names) == 1 {
		return names[0] + " " + one
	}
	return strings.Join(names, ", ") + " " + many
}

// maxLearners is how many learners etcd takes: its own limit is 1.
func (b *builder) maxLearners() int {
	n := 1
	if v, ok := b.cluster.Etcd.Config["max-learners"]; ok {
		_, _ = fmt.Sscan(v, &n)
	}
	return n
}

// checkStarts refuses to start what would not come up.
func (b *builder) checkStarts(c *changes) *Refusal {
	var fresh []*member
	for _, s := range slices.Concat(c.join, c.lost, c.demote, c.differ) {
		fresh = append(fresh, s.m)
	}
	fresh = append(fresh, c.add...)
	if r := b.checkPlaces(fresh); r != nil {
		return r
	}
	for _, m := range slices.Concat(fresh, c.restart) {
		if d := m.seen.Data; !d.Known() {
			return refusal(CodeDataUnknown, m.spec.Pos, m.spec.Name+" would be stopped, and its data directory can't be read",
				fmt.Sprintf("%s: %s. Whose data it starts on again could not be checked.", m.spec.DataDir, d.Why),
				"Give requorum access to it (run as root, or as the user etcd runs as), then plan again.")
		}
	}
	for _, m := range slices.Concat(fresh, c.restart, c.adopt) {
		if r := b.checkBinary(m); r != nil {
			return r
		}
		if r := b.checkSameMinor(m); r != nil {
			return r
		}
	}
	for _, m := range fresh {
		if f := m.foreign(); f != nil && f.Keeper != "" {
			return refusal(CodeForeignKeeper, m.spec.Pos, m.spec.Name+"'s place is taken by a process that somebody else keeps running",
				fmt.Sprintf("Process %d runs on %s and is kept running by %s.", f.PID, m.spec.DataDir, f.Keeper),
				"Stop it there, so that it is not started again, and plan again.")
		}
	}
	for _, s := range c.update {
		if m := s.m; !contains(c.restart, m) && m.seen.Peer.Reach != ReachServing && m.runsWith() == nil {
			return refusal(CodeForeignKeeper, m.spec.Pos, "it is not known where "+m.spec.Name+" listens",
				fmt.Sprintf("Nothing of it answers at %s, and its settings can't be told.", strings.Join(m.spec.PeerURLs, ", ")),
				"Give requorum access to its process (run as root, or as its user), or restart it by hand so that it listens there; then plan again.")
		}
	}
	for _, m := range c.restart {
		if taken := m.addressTaken(); taken != "" {
			return refusal(CodePortTaken, m.spec.Pos, "the address that "+m.spec.Name+" is to move to is in use",
				taken+".", "Stop what listens there, or give another URL in the file.")
		}
		if f := m.foreign(); f != nil && f.Keeper != "" {
			return refusal(CodeForeignKeeper, m.spec.Pos, m.spec.Name+" would have to be restarted, and somebody else keeps it running",
				fmt.Sprintf("It is kept running by %s (pid %d): %s.", f.Keeper, f.PID, c.why[m]),
				"Change its settings there and restart it there, then plan again.",
				"Or take it out of there, without stopping etcd, and plan again: requorum adopts it.")
		}
	}
	return nil
}

// addressTaken says what answers at an address that the member is to listen at after
// its restart; "" for nothing.
func (m *member) addressTaken() string {
	p := m.seen.Peer
	// Whoever wants another certificate there is the member itself where it listens so.
	own := p.Reach == ReachServing && (p.ClusterID == "" || p.ClusterID == m.seen.Client.ClusterID) ||
		p.Refused && listensAt(strings.Split(argValue(m.runsWith(), "listen-peer-urls"), ","), m.spec.PeerURLs)
	switch {
	case len(m.seen.PortsTaken) > 0:
		return strings.Join(m.seen.PortsTaken, ", ") + " answers"
	case own || p.Reach == ReachRefused || p.Reach == ReachUnasked || p.Reach == "":
		return ""
	}
	return fmt.Sprintf("%s: %s", p.URL, p.Reach)
}

// checkSameMinor: what runs and what would be started have to be of one minor
// version, for changing it is an upgrade.
func (b *builder) checkSameMinor(m *member) *Refusal {
	for _, s := range with(b.members, condServing) {
		have, want := s.seen.Client.Version, m.seen.Binary.Value.Version
		if minor(have) != minor(want) {
			return refusal(CodeBinaryVersion, b.cluster.Etcd.Pos, fmt.Sprintf("%s would be started with another etcd than the cluster runs", m.spec.Name),
				fmt.Sprintf("%s runs etcd %s; %s is etcd %s.", s.spec.Name, orWord(have, "(version not known)"), binaryName(b.binaryOf(m)), want),
				"Name a binary of the version that runs: etcd { binary = … }.")
		}
	}
	return nil
}

func (b *builder) checkSameMinors(ms []*member) *Refusal {
	for _, m := range ms {
		if r := b.checkSameMinor(m); r != nil {
			return r
		}
	}
	return nil
}

// checkRemovals: a member that the last applied file did not name was put there by
// somebody else, and a person has to say that it may go (S5).
func (b *builder) checkRemovals(c *changes) *Refusal {
	for _, s := range slices.Concat(c.dead, c.extra) {
		same := slices.ContainsFunc(b.seats, func(o *seat) bool { return o != s && o.name == s.name })
		if name := s.name; same { // the file that was applied may have meant the other one
			b.need(Consent(string(ConsentRemoveMember)+":"+s.id), "there are several members of the name %s, and this one (%s, %s) is not in the file", name, s.id, strings.Join(b.listed(s.id).PeerURLs, ","))
		} else if !slices.Contains(b.obs.JournalMembers, name) {
			b.need(Consent(string(ConsentRemoveMember)+":"+name), "%s is a member, and no file that was applied from here named it", name)
		}
	}
	return nil
}

// checkTolerance holds the plan to promise 1: no step loses the quorum without
// consent, nor goes below the tolerance that the policy asks for (S24).
func (b *builder) checkTolerance() *Refusal {
	floor := min(b.cluster.Policy.MinFaultTolerance, b.plan.Before.Tolerance())
	for _, s := range b.plan.Steps {
		if !s.Before.Has() || s.After.Tolerance() >= floor && s.After.Has() {
			continue
		}
		if !s.After.Has() {
			b.needOnce(ConsentDowntime, fmt.Sprintf("step %d (%s %s) leaves %d of %d voters: nobody is served until the next one is done", s.ID, s.Title, strings.Join(s.Target, ", "), s.After.Healthy, s.After.Voters))
			continue
		}
		if s.Kind == (Stop{}).Kind() && !b.cluster.Policy.Strict {
			b.note(NoteDip, b.cluster.Policy.Pos, "step %d lowers the tolerance to %d for as long as the restart takes, some seconds", s.ID, s.After.Tolerance())
			continue
		}
		return refusal(CodeTolerance, b.cluster.Policy.Pos, fmt.Sprintf("step %d (%s %s) would leave less than the policy's fault tolerance", s.ID, s.Title, strings.Join(s.Target, ", ")),
			fmt.Sprintf("After it %d of %d voters are healthy and %d more may fail; min_fault_tolerance = %d.", s.After.Healthy, s.After.Voters, s.After.Tolerance(), b.cluster.Policy.MinFaultTolerance),
			"Lower min_fault_tolerance in the file, if this is the exception, or keep more members.")
	}
	return nil
}

func (b *builder) needOnce(c Consent, why string) {
	if !slices.ContainsFunc(b.plan.Needs, func(n Need) bool { return n.Consent == c }) {
		b.need(c, "%s", why)
	}
}
