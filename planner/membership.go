package planner

import (
	"fmt"
	"slices"
	"strings"
)

// membership is the member list that counts: the cluster's own where it has a
// quorum, otherwise that of the newest log among the members' disks (S1). It is
// nil where there is neither, or where the newest log's list can't be read.
func (b *builder) membership() []ListedMember {
	if live := b.liveMembers(); live != nil {
		return live
	}
	var newest *member
	for _, m := range b.members {
		if m.hasData() && m.cond != condPristine && (newest == nil || newer(m.data(), newest.data())) {
			newest = m
		}
	}
	if newest == nil {
		return nil
	}
	return newest.list()
}

// list is the membership as this member knows it: from its db, or, as long as it
// runs and the db can't be read, from its peer port.
func (m *member) list() []ListedMember {
	if l := m.data().Members; len(l) > 0 {
		return l
	}
	if m.seen.Peer.Members.Known() {
		return m.seen.Peer.Members.Value
	}
	return nil
}

// newer orders logs of one history (S7).
func newer(a, b DataDir) bool {
	if a.LastTerm != b.LastTerm {
		return a.LastTerm > b.LastTerm
	}
	return a.LastIndex > b.LastIndex
}

// entry is the member's entry in the membership, by its ID; nil where it has
// none: the ID was removed, or there is no list.
func (b *builder) entry(m *member) *ListedMember {
	id := m.id()
	for i, l := range b.list {
		if id != "" && l.ID == id {
			return &b.list[i]
		}
	}
	return nil
}

// id is the member's ID: the one that it serves as, or its disk's; "" if
// neither is known.
func (m *member) id() string {
	if m.seen.Client.Reach == ReachServing {
		return m.seen.Client.MemberID
	}
	if m.hasData() {
		return m.data().MemberID
	}
	return ""
}

// markRemoved finds the members whose directory holds an ID that the membership
// does not have: started, they would crash, or form a cluster of their own with
// others of their kind.
func (b *builder) markRemoved() {
	if b.list == nil {
		return
	}
	for _, m := range b.members {
		if (m.cond == condDown || m.cond == condRunning) && m.hasData() && b.entry(m) == nil {
			m.cond = condRemoved
		}
	}
}

// listedVoters counts the voters of the membership, or of the file where there
// is no list.
func (b *builder) listedVoters() int {
	if b.list == nil {
		return b.cluster.Voters()
	}
	n := 0
	for _, l := range b.list {
		if !l.Learner {
			n++
		}
	}
	return n
}

// intact are the voters of the membership whose disk holds their log whole,
// whether they run or not.
func (b *builder) intact() []*member {
	var out []*member
	for _, m := range with(b.members, condDown, condRunning, condServing) {
		if e := b.entry(m); m.hasData() && m.data().Problem == "" && e != nil && !e.Learner {
			out = append(out, m)
		}
	}
	return out
}

// votersOf counts those of ms that are voters: by the membership where it has
// them, otherwise by the file.
func (b *builder) votersOf(ms []*member) int {
	n := 0
	for _, m := range ms {
		e := b.entry(m)
		if e != nil && !e.Learner || e == nil && !m.spec.Learner {
			n++
		}
	}
	return n
}

// checkSameMembership refuses to start a stopped cluster where the disks don't
// agree on who is in it, or the file changes it: a change needs the cluster up,
// as it was.
func (b *builder) checkSameMembership() *Refusal {
	for _, m := range b.intact() {
		if m.data().UncommittedMembership {
			return refusal(CodeMembershipInDoubt, m.spec.Pos, "a change of membership was under way when the cluster stopped",
				fmt.Sprintf("The log of %s ends with a change that is not known to be agreed on, so which disks are a majority depends on it.", m.spec.Name),
				"Bring every member's disk back if you can, and start the members by hand as they were: etcd decides then.")
		}
	}
	if r := b.checkOwnLists(); r != nil {
		return r
	}
	return b.checkListedAsInFile()
}

// checkOwnLists refuses disks whose own membership is so unlike the one that
// counts that they might form a quorum beside it. A laggard beside a living
// quorum may have missed several changes; without one, lists that differ by more
// than one voter are of no one history that could be relied on.
func (b *builder) checkOwnLists() *Refusal {
	for _, m := range b.intact() {
		n := differing(m.list(), b.list)
		if m.list() != nil && (n > 1 && !b.quorum.Has() || n > 0 && b.alone(m.list())) {
			return refusal(CodeSplitCluster, m.spec.Pos, "the disks disagree on who is in the cluster",
				fmt.Sprintf("%s knows the members %s; the newest log has %s. Started together they might form two clusters (a member was started with --force-new-cluster, perhaps).", m.spec.Name, listText(m.list()), listText(b.list)),
				"Copy every disk before you try anything.",
				"Find out which member has the data that counts; the others' directories must not be started beside it.")
		}
	}
	return nil
}

func (b *builder) checkListedAsInFile() *Refusal {
	for _, l := range b.list {
		f := b.ofFile(l)
		if f == nil {
			b.note(NoteRemaining, b.cluster.Pos, "%s is a member and not in the file; with a quorum back, planning again will deal with it", listText([]ListedMember{l}))
			continue
		}
		if !sameURLs(l.PeerURLs, f.spec.PeerURLs) {
			return b.refuseReconfigure([]string{fmt.Sprintf("%s has the peer URLs %s on disk and %s in the file", f.spec.Name, strings.Join(l.PeerURLs, ","), strings.Join(f.spec.PeerURLs, ","))})
		}
		if l.Learner != f.spec.Learner {
			return b.refuseReconfigure([]string{fmt.Sprintf("%s is %s on disk and %s in the file", f.spec.Name, voterOrLearner(l.Learner), voterOrLearner(f.spec.Learner))})
		}
	}
	return nil
}

// alone reports whether the members that know this list are a majority of it:
// started, they would be a quorum of their own, beside the newest log's.
func (b *builder) alone(list []ListedMember) bool {
	n, voters := 0, 0
	for _, l := range list {
		if l.Learner {
			continue
		}
		voters++
		for _, m := range b.intact() {
			if m.id() == l.ID && differing(m.list(), list) == 0 {
				n++
			}
		}
	}
	return n >= majority(voters)
}

// differing counts the voters that are in one list only.
func differing(a, b []ListedMember) int {
	ids := func(l []ListedMember) []string {
		var out []string
		for _, m := range l {
			if !m.Learner {
				out = append(out, m.ID)
			}
		}
		return out
	}
	n := 0
	for _, id := range ids(a) {
		if !slices.Contains(ids(b), id) {
			n++
		}
	}
	for _, id := range ids(b) {
		if !slices.Contains(ids(a), id) {
			n++
		}
	}
	return n
}

// refuseRemoved is for directories of members that the membership does not have.
func (b *builder) refuseRemoved() *Refusal {
	var parts []string
	for _, m := range with(b.members, condRemoved) {
		parts = append(parts, fmt.Sprintf("%s holds member %s", m.spec.DataDir, m.data().MemberID))
	}
	return refusal(CodeRemovedMember, with(b.members, condRemoved)[0].spec.Pos, "a data directory is that of a member that was removed",
		fmt.Sprintf("%s; the members are %s. It must not be started: it would crash, or form a second cluster with others of its kind.", strings.Join(parts, "; "), listText(b.list)),
		"If a member was started with --force-new-cluster: find out which side has the data that counts, before anything else.",
		"If it was removed on purpose: take it out of the file.",
		"Otherwise the member has to be added anew, on an empty directory; that comes with a later version, by hand it is etcdctl member add.")
}
