package planner

import (
	"fmt"
	"slices"
	"strings"
)

// What a cluster may be in that is no reason to change its members, and often one
// not to.

// checkCalm refuses to change the members of a cluster that would not bear it.
func (b *builder) checkCalm(c *changes) *Refusal {
	promotes := slices.ContainsFunc(c.join, func(s *seat) bool { return s.learner && !s.m.spec.Learner })
	if !c.membership() && !promotes {
		return nil
	}
	for _, check := range []func() *Refusal{b.checkDowngrade, b.checkMinors, b.checkLoad, b.checkFlaps} {
		if r := check(); r != nil {
			return r
		}
	}
	return nil
}

func (b *builder) checkDowngrade() *Refusal {
	for _, m := range with(b.members, condServing) {
		if to := m.seen.Client.Downgrade; to != "" {
			return refusal(CodeDowngrade, b.cluster.Pos, "a downgrade was begun and not finished",
				fmt.Sprintf("%s says that a downgrade to %s is on. A member that is added or restarted meanwhile may find a version that it does not take.", m.spec.Name, to),
				"Finish it: restart each member with that version, the leader last; it ends by itself when all run it.",
				"Or call it off: etcdctl downgrade cancel. One that came along with a snapshot is called off in the same way.",
				"Then plan again.")
		}
	}
	return nil
}

func (b *builder) checkMinors() *Refusal {
	low, high := b.minors()
	if low == high {
		return nil
	}
	var parts []string
	for _, m := range with(b.members, condServing) {
		parts = append(parts, m.spec.Name+" "+m.seen.Client.Version)
	}
	return refusal(CodeMixedMinors, b.cluster.Pos, "the members run different minor versions",
		strings.Join(parts, ", ")+". A member that joins meanwhile may be refused, or bring a version that the others can't follow.",
		fmt.Sprintf("Finish the upgrade to 3.%d first: one member at a time, the leader last.", high), "Then plan again.")
}

func (b *builder) checkLoad() *Refusal {
	for _, m := range b.members {
		if text := m.overloaded(); text != "" {
			return b.refuseOverloaded(m, text)
		}
	}
	return nil
}

func (b *builder) refuseOverloaded(m *member, text string) *Refusal {
	return refusal(CodeOverloaded, m.spec.Pos, "the cluster has more to do than it can",
		fmt.Sprintf("%s: %s. A change would wait behind all that, and time out with its outcome unknown.", m.spec.Name, text),
		"Find out who asks for so much, and stop or slow it: large ranges and watches without end first.",
		"Look at the disks: etcd_disk_wal_fsync_duration_seconds, etcd_disk_backend_commit_duration_seconds.",
		"Then plan again. No member has to be changed for that.")
}

func (b *builder) checkFlaps() *Refusal {
	text := b.flaps()
	if text == "" {
		return nil
	}
	return refusal(CodeFlapping, b.cluster.Pos, "the leader changes again and again",
		text+". Each change of membership needs a leader that stays, and each new member makes the disks and the network do more.",
		"Look at the disks (etcd_disk_wal_fsync_duration_seconds) and at the network between the members: what makes it flap is there, not in the membership.",
		"Where the members are far apart: raise heartbeat-interval and election-timeout on all of them.",
		"Plan again when it is calm.")
}

// checkAsked: a member that follows a leader and only has no time to prove it shows
// no quorum, and none that is gone.
func (b *builder) checkAsked() *Refusal {
	for _, m := range with(b.members, condServing) {
		if e := m.seen.Client; e.LeaderID != "" && !e.Linearizable.Known() {
			if text := m.overloaded(); text != "" {
				return b.refuseOverloaded(m, text)
			}
		}
	}
	return nil
}

// led is a voter that names a leader though no quorum is proven; nil for none. It hears
// from that leader, or did until a moment ago: a voter gives a silent one up within an
// election time-out, and so does a leader whom nobody follows (S2).
func (b *builder) led() *member {
	for _, m := range with(b.members, condServing) {
		if e := b.entry(m); e != nil && !e.Learner && m.seen.Client.LeaderID != "" {
			return m
		}
	}
	return nil
}

func (b *builder) refuseLed(m *member) *Refusal {
	e := m.seen.Client
	return refusal(CodeNoLeader, m.spec.Pos, "it is too early to call the quorum lost: "+m.spec.Name+" names a leader",
		fmt.Sprintf("%s follows %s, and no linearizable read was answered (%s).", m.spec.Name, orWord(b.listed(e.LeaderID).Name, e.LeaderID), orWord(e.Linearizable.Why, "refused")),
		"Plan again in a few seconds: a member that no leader speaks to says so by then.",
		"If it stays so, the cluster lives and is slow, or a part of it can't be seen from here: look at the load, the disks and the network first.")
}

// peerTLS is what says that members refuse each other's certificates; "" for nothing.
func (b *builder) peerTLS() string {
	for _, m := range b.members {
		if text := m.peerTLS(); text != "" {
			return m.spec.Name + ": " + text
		}
	}
	return ""
}

func (b *builder) refusePeerTLS(m *member) *Refusal {
	return refusal(CodePeerTLS, m.spec.Pos, "members refuse each other's certificates", fmt.Sprintf("%s has no part in a quorum. %s.", m.spec.Name, b.peerTLS()),
		"Look at the certificates that each member has for its peers: the CA that signed them, their dates, and that they name the peer URLs' hosts.",
		"Correct those of one member, restart it, and see that it follows the leader before you go on to the next.",
		"The membership needs no change for that.")
}

// refuseKnownSilence is for members that run and don't serve, where it is known why;
// nil where it isn't.
func (b *builder) refuseKnownSilence() *Refusal {
	for _, m := range with(b.members, condRunning) {
		if m.diskFull() != "" || b.learnersBlock(m) || b.badCertificate(m, false) != nil {
			return b.refuseBlocked(m)
		}
	}
	silent := with(b.members, condRunning, condServing)
	if len(silent) > 0 && b.peerTLS() != "" && !b.starting() {
		return b.refusePeerTLS(silent[0])
	}
	if count(b.members, condRunning) > 0 || count(b.members, condServing) == 0 {
		return nil
	}
	return refusal(CodeNoLeader, silent[0].spec.Pos, "the members run, and none of them leads",
		fmt.Sprintf("%s without a leader, and would be a majority.", verb(silent, "serves", "serve")),
		"An election may be going on: plan again in a few seconds.",
		"If it stays so, look at their logs and at the network between them. Don't restart them: what they hold can be saved as long as they run.")
}

// learnersBlock reports whether etcd said that it does not start beside so many
// learners, and nothing has changed since.
func (b *builder) learnersBlock(m *member) bool {
	n := 0
	for _, l := range b.list {
		if l.Learner {
			n++
		}
	}
	return m.blocksUpgrade() != "" && (b.list == nil || n > b.maxLearners())
}

// unblocked tells those of ms that can be started from those of whom it is known
// that they would end again at once, for reasons that a start does not mend.
func (b *builder) unblocked(ms []*member) (can, blocked []*member) {
	for _, m := range ms {
		if m.diskFull() != "" || b.learnersBlock(m) || b.badCertificate(m, true) != nil {
			blocked = append(blocked, m)
			continue
		}
		can = append(can, m)
	}
	if len(can) > 0 {
		for _, m := range blocked {
			b.note(NoteRemaining, m.spec.Pos, "%s is left alone: %s", m.spec.Name, b.blockedBy(m))
		}
	}
	return can, blocked
}

// blockedBy is why the member is not started.
func (b *builder) blockedBy(m *member) string {
	r := b.badCertificate(m, true)
	switch {
	case m.diskFull() != "":
		return m.diskFull()
	case b.learnersBlock(m) || r == nil:
		return m.blocksUpgrade()
	}
	return r.Title + ": " + strings.TrimSuffix(r.Detail, ".")
}

func (b *builder) refuseBlocked(m *member) *Refusal {
	if r := b.badCertificate(m, true); r != nil && m.diskFull() == "" && !b.learnersBlock(m) {
		return r
	}
	if text := m.diskFull(); text != "" {
		return refusal(CodeDiskFull, m.spec.Pos, m.spec.Name+"'s disk is full", text+". etcd ends when it can't write its log, and would end again.",
			"Make room on the file system of "+m.spec.DataDir+", but not by removing anything of etcd's: what lies there is its data.",
			"requorum clean lists what requorum has moved aside; old snapshots and logs of others are the first to go.",
			"Then plan again: the member is started with all that it has.")
	}
	var learners []string
	for _, l := range b.list {
		if l.Learner {
			learners = append(learners, nameOf(l))
		}
	}
	return refusal(CodeLearnerBlocks, m.spec.Pos, "etcd refuses to start beside so many learners", fmt.Sprintf("%s: %s. The cluster's learners: %s.", m.spec.Name, m.blocksUpgrade(), orWord(strings.Join(learners, ", "), "not known")),
		"Start it with the etcd that it ran before, promote the learners or remove them, then upgrade.",
		fmt.Sprintf("Or allow so many: etcd { config = { max-learners = %d } }.", max(2, len(learners))),
		"Where the list shows no learner: etcd before 3.5.32 keeps stale ones on its disk; upgrade to the last 3.5 first, so that they are corrected.")
}

// checkSpace refuses to call a cluster in sync that takes no writes any more.
func (b *builder) checkSpace() *Refusal {
	list := b.alarmed("NOSPACE")
	if len(list) == 0 {
		return nil
	}
	var texts, ends []string
	for _, a := range list {
		texts = append(texts, b.alarmName(a))
	}
	followers, leader := leaderApart(with(b.members, condServing))
	remedy := []string{"Give the old revisions up: etcdctl compact $(etcdctl endpoint status -w json | jq '.[0].Status.header.revision')."}
	for _, m := range slices.Concat(followers, leader) {
		ends = append(ends, m.seen.Client.URL)
		remedy = append(remedy, "etcdctl --endpoints="+m.seen.Client.URL+" defrag, and wait until it is done: it serves nobody meanwhile.")
	}
	remedy = append(remedy,
		"If the data needs more room: raise quota-backend-bytes in etcd { config = … } and apply.",
		"Then etcdctl --endpoints="+strings.Join(ends, ",")+" alarm disarm, and plan again. Disarmed before there is room, it is back with the next write.")
	return refusal(CodeSpaceExhausted, b.cluster.Pos, "the database has reached its quota: etcd takes no more writes",
		fmt.Sprintf("NOSPACE on %s; %s of data at most. Reads and deletes still work. requorum does not do this by itself yet: compaction gives old revisions up.", strings.Join(texts, ", "), sizeText(b.dbSize())), remedy...)
}

func sizeText(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// checkCorrupt refuses to call a cluster in sync in which etcd found a difference
// that a comparison does not show, or that nobody could look for.
func (b *builder) checkCorrupt() *Refusal {
	list := b.alarmed("CORRUPT")
	if len(list) == 0 {
		return nil
	}
	now := "a comparison finds no difference now"
	if !b.obs.KV.Known() {
		now = "the data could not be compared: " + b.obs.KV.Why
	}
	return refusal(CodeCorruptAlarm, b.cluster.Pos, "etcd found that a member's data differs, and it is not known whose",
		fmt.Sprintf("CORRUPT on %s; %s. As long as the alarm is on, etcd takes no writes.", b.alarmName(list[0]), now),
		"Plan again: where a majority of the voters has the same data, the others are replaced.",
		"If the data is equal each time: save a snapshot of each member, then etcdctl alarm disarm.")
}

// disarm is the plan of a cluster that has nothing but alarms of members that are no
// more.
func (b *builder) disarm() *Plan {
	var texts []string
	for _, a := range b.inherited() {
		texts = append(texts, a.text)
	}
	b.plan.Route = RouteReconfigure
	b.plan.Headline = "alarms of members that are no more: disarm"
	b.pass(RouteInSync, "%s, and no member has that ID", strings.Join(texts, ", "))
	b.pass(RouteStart, "nothing to start")
	b.plan.Loss.Text = "Lost: nothing. No member is touched; alarms of those that are listed stay."
	b.verifyStep(with(b.members, condServing), b.plan.ClusterID, 0, true)
	s := &b.plan.Steps[len(b.plan.Steps)-1]
	s.Title, s.Reason.Fact = "disarm, verify", strings.Join(texts, ", ")+": no member has that ID"
	s.Undo, s.Wait = "not needed: nobody has that ID", "no alarm of theirs, one cluster ID, one leader, equal HashKV"
	s.Equivalent = append([]string{"etcdctl alarm disarm  # clears every alarm, also those of living members"}, s.Equivalent...)
	b.lines(func(*member) string { return "" })
	b.noteLive()
	return b.plan
}

// noteStates says what is the matter with a cluster that runs, where nothing is to be
// done about it here.
func (b *builder) noteStates() {
	codes := map[StateCode]Code{
		StateClockSkew: NoteClockSkew, StateClientsStale: NoteClientsStale, StateLeaderFlapping: CodeFlapping,
		StateOverloaded: CodeOverloaded, StateDowngradeStuck: CodeDowngrade, StateMixedMinors: CodeMixedMinors,
	}
	helps := map[StateCode]string{
		StateClockSkew:    "let all hosts keep the same time; leases and certificates depend on it",
		StateClientsStale: "clients that watched before may show what is no more: restart them, or restore again with a bump",
	}
	for _, f := range b.plan.States {
		code, ok := codes[f.State]
		if !ok {
			continue
		}
		text := f.Fact
		if f.Member != "" {
			text = f.Member + ": " + text
		}
		if help := helps[f.State]; help != "" {
			text += "; " + help
		}
		b.note(code, b.cluster.Pos, "%s", text)
	}
}
