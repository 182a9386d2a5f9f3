package planner

import (
	"slices"
	"strings"
)

// sign is the line of this kind in the member's log; "" for none.
func (m *member) sign(kind string) string {
	if !m.seen.Service.Known() {
		return ""
	}
	for _, s := range m.seen.Service.Value.Signs {
		if s.Kind == kind {
			return orWord(s.Text, kind)
		}
	}
	return ""
}

// says is the member's last words where they contain any of these, or the sign of
// that kind; "" for neither.
func (m *member) says(kind string, words ...string) string {
	for _, w := range words {
		if last := m.lastWords(); strings.Contains(last, w) {
			return last
		}
	}
	return m.sign(kind)
}

// findConnections: members that can't reach, or trust, each other or their clients.
func (b *builder) findConnections(f *finder) {
	for _, m := range b.members {
		name, e := m.spec.Name, m.seen.Client
		if text := m.peerTLS(); text != "" {
			f.add(StatePeerTLSFailure, name, "%s", text)
		}
		if e.Reach == ReachTLSFailed {
			f.add(StateClientTLSFailure, name, "%s: TCP accepts, the TLS handshake fails: %s", e.URL, e.Detail)
		}
		if text := m.sign(SignClockDrift); text != "" {
			f.add(StateClockSkew, name, "%s", text)
		}
		if b.isolated(m) && m.peerTLS() == "" {
			f.add(StateMemberIsolated, name, "serves without a leader, while enough voters run")
		}
	}
	if leader := b.flaps(); leader != "" {
		f.add(StateLeaderFlapping, "", "%s", leader)
	}
}

// peerTLS is what says that other members refuse this one's certificate, or it
// theirs; "" for nothing.
func (m *member) peerTLS() string {
	// Where requorum itself is refused, the log tells of that too.
	if text := m.sign(SignPeerTLS); text != "" && !m.seen.Peer.Refused {
		return text
	}
	if p := m.seen.Peer; p.Reach == ReachTLSFailed && !p.Refused {
		return p.URL + ": the TLS handshake fails: " + p.Detail
	}
	return ""
}

// isolated reports whether a member serves without a leader though enough voters
// run for one.
func (b *builder) isolated(m *member) bool {
	if m.cond != condServing || m.seen.Client.LeaderID != "" || b.entry(m) == nil {
		return false
	}
	return b.quorum.Has() || len(with(b.intact(), condServing, condRunning))+b.aliveElsewhere() >= majority(b.listedVoters())
}

// findIdentity: members of another cluster, of another time, or of none.
func (b *builder) findIdentity(f *finder) {
	b.findOtherCluster(f)
	b.findHalves(f)
	for _, m := range b.members {
		name := m.spec.Name
		// The log does not say whose ID is the wrong one: its own, or that of who asked.
		if text := m.sign(SignIDMismatch); text != "" && !f.hasAny(StateClusterIDMismatch) {
			f.add(StateClusterIDMismatch, "", "%s's log: %s", name, text)
		}
		switch words := m.lastWords(); {
		case m.cond == condRemoved && (m.processRuns() || m.seen.Client.Reach == ReachServing):
			f.add(StateRemovedMemberRuns, name, "it runs as member %s, which was removed", m.id())
		case m.cond == condRemoved:
			f.add(StateRemovedMemberExits, name, "%s", orWord(m.says(SignRemoved, "permanently removed"), "its directory is of member "+m.id()+", which was removed"))
		case strings.Contains(words, "tocommit(") && strings.Contains(words, "[lastIndex(0)]"):
			f.add(StateEmptyDirExisting, name, "%s", words)
		case strings.Contains(words, "tocommit("):
			f.add(StateDiskRolledBack, name, "%s", words)
		}
		if text := m.forcedText(); text != "" {
			f.add(StateForceNewLeftOn, name, "%s", text)
		}
		if strings.Contains(m.survivor().Problem, "removed all voters") || strings.Contains(m.lastWords(), "removed all voters") {
			f.add(StateForceNewSpoilt, name, "%s", orWord(m.survivor().Problem, m.lastWords()))
		}
		if p := m.provenance(); m.hasData() && p != nil && p.RevisionBump == 0 && (p.Kind == ProvenanceRestore || p.Kind == ProvenanceForceNew) && m.cond != condPristine {
			f.add(StateClientsStale, name, "it was restored (%s) at revision %d without a bump", p.When, p.Revision)
		}
	}
	if !b.quorum.Has() {
		b.findWentBack(f)
	}
	b.findBegun(f)
}

// forcedText says by what --force-new-cluster is seen to be on; "" where it isn't.
func (m *member) forcedText() string {
	switch {
	case m.forceNew():
		return "it runs with --force-new-cluster"
	case m.processRuns() && m.runsWith() == nil:
		return m.sign(SignForced)
	}
	return ""
}

// findWentBack: disks that end before what a majority once had.
func (b *builder) findWentBack(f *finder) {
	back := b.wentBack()
	if back == "" {
		return
	}
	var most uint64
	for _, m := range b.intact() {
		most = max(most, m.survivor().agreed())
	}
	for _, m := range b.intact() {
		if m.survivor().LastIndex < most {
			f.add(StateDiskRolledBack, m.spec.Name, "%s", back)
		}
	}
}

// findOtherCluster names the places whose cluster ID most of the others do not have.
func (b *builder) findOtherCluster(f *finder) {
	counts, order := map[string]int{}, []string{}
	ids := map[*member]string{}
	for _, m := range b.members {
		id := m.servedID()
		if id == "" && m.hasData() && m.cond != condPristine {
			id = m.data().ClusterID
		}
		if id == "" {
			continue
		}
		if counts[id]++; counts[id] == 1 {
			order = append(order, id)
		}
		ids[m] = id
	}
	if len(order) == 0 {
		return
	}
	most := order[0]
	for _, id := range order {
		if counts[id] > counts[most] {
			most = id
		}
	}
	for _, m := range b.members {
		if id := ids[m]; id != "" && id != most {
			f.add(StateClusterIDMismatch, m.spec.Name, "cluster ID %s, %d of the others %s", id, counts[most], most)
		} else if id != "" && m.servedID() == id && m.hasData() && m.cond != condPristine && m.data().ClusterID != id {
			f.add(StateClusterIDMismatch, m.spec.Name, "cluster ID %s answers, %s lies in %s", id, m.data().ClusterID, m.spec.DataDir)
		}
	}
}

// findHalves: two leaders, each with a member list of its own.
func (b *builder) findHalves(f *finder) {
	var first *member
	for _, m := range with(b.members, condServing) {
		switch {
		case m.seen.Client.LeaderID == "" || !m.seen.Client.Members.Known():
		case first == nil:
			first = m
		case first.splitFrom(m):
			f.add(StateSplitBrain, m.spec.Name, "it follows %s and lists %s; %s follows %s and lists %s", m.seen.Client.LeaderID, listText(m.seen.Client.Members.Value),
				first.spec.Name, first.seen.Client.LeaderID, listText(first.seen.Client.Members.Value))
		}
	}
}

// splitFrom reports whether two members of one cluster ID follow different leaders
// with different member lists.
func (m *member) splitFrom(o *member) bool {
	x, y := m.seen.Client, o.seen.Client
	return x.ClusterID == y.ClusterID && x.LeaderID != y.LeaderID && x.Members.Known() && y.Members.Known() && differing(x.Members.Value, y.Members.Value) > 0
}

// findBegun: a restore that was begun and is not finished.
func (b *builder) findBegun(f *finder) {
	token := b.unfinished()
	for _, m := range b.members {
		p := m.provenance()
		if p == nil || p.Kind != ProvenanceRestore && p.Kind != ProvenanceRecover {
			continue
		}
		switch {
		case token != "" && p.Token == token && m.closed() && b.unopened(token):
			f.add(StateRestoreHalfDone, m.spec.Name, "restored and started, and not opened to clients yet")
		case token != "" && p.Token == token && m.incomplete(token):
			f.add(StateRestoreHalfDone, m.spec.Name, "%s", m.begunText())
		case token == "" && !b.quorum.Has() && (m.cond == condPristine || m.data().Staged != ""):
			f.add(StateRestoreHalfDone, m.spec.Name, "%s", m.begunText())
		}
	}
}

func (m *member) begunText() string {
	if m.hasData() || m.data().Staged != "" {
		return m.dataText()
	}
	return "its identity is recorded, and nothing is restored yet"
}

// findLearners: learners, and those that are taken for them.
func (b *builder) findLearners(f *finder) {
	learners := 0
	for _, l := range b.list {
		m := b.ofFile(l)
		name := nameOf(l)
		if m != nil {
			name = m.spec.Name
		}
		b.findZombie(f, l, m, name)
		if !l.Learner {
			if m != nil && m.spec.Learner && m.cond == condServing && promotesByUpdate(m.seen.Client.Version) {
				f.add(StatePromotedByUpdate, name, "a voter, in the file a learner; etcd %s promotes a learner whose URLs are updated", m.seen.Client.Version)
			}
			continue
		}
		learners++
		switch {
		case !hasRun(l) && (m == nil || m.cond != condServing && m.cond != condRunning):
			f.add(StateLearnerUnstarted, name, "listed as a learner with %s and no name: it has never run", strings.Join(l.PeerURLs, ","))
			if m != nil {
				if s, _, words := b.lostState(m); s != StateMinorityLost {
					f.add(s, name, "%s", words)
				}
			}
		case m != nil && b.behind(m) > 0:
			f.add(StateLearnerBehind, name, "it has applied #%d, the leader #%d", m.seen.Client.Applied, b.behind(m))
		}
	}
	for _, m := range b.members {
		if text := m.blocksUpgrade(); text != "" {
			f.add(StateLearnerBlocksUpgrade, m.spec.Name, "%s", text)
		}
	}
	if !b.quorum.Has() || learners < b.maxLearners() {
		return
	}
	for _, m := range b.members {
		if !m.spec.Learner && b.listedAt(m).ID == "" && b.entry(m) == nil {
			f.add(StateLearnerSlotTaken, m.spec.Name, "it is to be added, and etcd takes %d learner at a time", b.maxLearners())
		}
	}
}

// behind is what the leader has applied where a learner has less than nine tenths
// of it; 0 where it has enough, or it isn't known.
func (b *builder) behind(m *member) uint64 {
	e := m.seen.Client
	if m.cond != condServing || e.Applied == 0 {
		return 0
	}
	for _, o := range with(b.members, condServing) {
		if l := o.seen.Client; l.MemberID == e.LeaderID && e.LeaderID != "" && e.Applied*10 < l.Applied*9 {
			return l.Applied
		}
	}
	return 0
}

// blocksUpgrade is etcd's word that it does not start beside so many learners.
func (m *member) blocksUpgrade() string {
	if m.cond == condServing {
		return ""
	}
	return m.says(SignTooManyLearner, "too many learner members in cluster")
}

// promotesByUpdate reports whether an etcd of this version makes a voter of a
// learner whose peer URLs are updated: all of 3.4, 3.5 to 3.5.30, 3.6 to 3.6.11.
func promotesByUpdate(version string) bool {
	switch n := minor(version); n {
	case 5:
		return patch(version) <= 30
	case 6:
		return patch(version) <= 11
	default:
		return n >= 0 && n <= 4
	}
}

// findZombie: an ID that some disk has as removed, and that is listed all the same.
func (b *builder) findZombie(f *finder, l ListedMember, m *member, name string) {
	if m != nil && (m.cond == condServing || m.cond == condRunning) {
		return
	}
	if o := b.other(l.ID); o != nil && (alive(o.Client.Reach) || alive(o.Peer.Reach)) {
		return
	}
	if id := b.removedOn(l.ID); id != "" {
		f.add(StateZombieMember, name, "%s lists member %s as removed, and the cluster lists it as a member", id, l.ID)
		return
	}
	if o := b.other(l.ID); b.quorum.Has() && m == nil && o != nil && hasRun(l) && o.Client.Reach != "" && o.Client.Reach != ReachUnasked {
		f.add(StateMinorityDown, name, "listed, not in the file, and it does not answer (%s); its data can't be looked at", o.Client.Reach)
	}
}

// removedOn names a member whose disk has the ID as removed for good; "" for none.
func (b *builder) removedOn(id string) string {
	for _, m := range b.members {
		if slices.Contains(m.survivor().Removed, id) {
			return m.spec.Name + "'s disk"
		}
	}
	return ""
}
