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
	if newest := b.newest(); newest != nil {
		return newest.list()
	}
	return nil
}

// newest is the member whose disk has the newest log; nil where none has any.
func (b *builder) newest() *member {
	var newest *member
	for _, m := range b.holders() {
		if newest == nil || newer(m.survivor(), newest.survivor()) || !newer(newest.survivor(), m.survivor()) && m.betterWitness(newest) {
			newest = m
		}
	}
	return newest
}

// betterWitness says which of two logs that reach as far to ask for the membership:
// one that is whole, then one whose own list still has its member.
func (m *member) betterWitness(o *member) bool {
	rank := func(m *member) int {
		d := m.survivor()
		switch {
		case d.Problem != "" || m.spoilt() != "":
			return 0
		case !slices.ContainsFunc(d.Members, func(l ListedMember) bool { return l.ID == d.MemberID }):
			return 1
		}
		return 2
	}
	return rank(m) > rank(o)
}

// holders are the members whose disk holds a log of the cluster. What lies behind
// a fence counts as long as nothing of a newer identity lies elsewhere.
func (b *builder) holders() []*member {
	open := ""
	for _, m := range b.members {
		if m.hasData() && m.cond != condPristine && open != "in place" {
			open = m.data().ClusterID
		}
		if p := m.provenance(); m.hasData() && p != nil && p.Kind == ProvenanceForceNew {
			open = "in place" // the same ID, and a history of its own
		}
	}
	var out []*member
	for _, m := range b.members {
		d := m.survivor()
		fenced := m.cond == condFenced && d.ClusterID != "" && (open == "" || open == d.ClusterID)
		if m.hasData() && m.cond != condPristine || fenced {
			out = append(out, m)
		}
	}
	return slices.DeleteFunc(out, func(m *member) bool {
		// Restored, never started, and fenced beside the cluster that was.
		return m.cond == condFenced && m.survivor().bare() && slices.ContainsFunc(out, func(o *member) bool {
			return o.survivor().ClusterID != m.survivor().ClusterID && !o.survivor().bare()
		})
	})
}

// list is the membership as this member knows it: from its db, or, as long as it
// runs and the db can't be read, from its peer port.
func (m *member) list() []ListedMember {
	if l := m.survivor().Members; len(l) > 0 {
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

// Newer reports whether a's log goes further than b's, where both are of one history.
func Newer(a, b DataDir) bool { return newer(a, b) }

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
	return m.survivor().MemberID
}

// markRemoved finds the members whose directory holds an ID that the membership
// does not have: started, they would crash, or form a cluster of their own with
// others of their kind.
func (b *builder) markRemoved() {
	if b.list == nil {
		return
	}
	for _, m := range b.members {
		told := m.cond == condDamaged && m.data().Problem == "" // by somebody of another history, perhaps
		idle := m.cond == condDown || m.cond == condRunning || told ||
			m.cond == condServing && m.seen.Client.LeaderID == "" && b.liveMembers() != nil
		if idle && m.hasData() && b.entry(m) == nil {
			m.cond = condRemoved
		}
	}
}

// emptiedWords is what is the matter with a disk that holds nothing of what its member
// once had: markEmptied gives it to the disk as its problem.
const emptiedWords = "its log is empty, and the cluster lists it as one that ran"

// markEmptied finds the members that ran before and were started again on an empty
// directory, under their old ID. Such a disk reads well and starts, and has forgotten
// what its member promised to keep: it must not count for a majority (S1).
func (b *builder) markEmptied() {
	for _, m := range b.members {
		d := m.survivor()
		e := b.entry(m)
		if m.cond == condServing || d.State != DirPresent || d.Problem != "" || d.ClusterID == "" || d.LastIndex > 0 || e == nil || !hasRun(*e) {
			continue
		}
		d.Problem = emptiedWords
		if m.cond == condFenced {
			m.seen.Data.Value.Fenced = &d
			continue
		}
		m.seen.Data.Value = d
		if m.cond == condDown {
			m.cond = condDamaged
		}
	}
}

// refusedAsNew is in etcd's last words where it was started on the empty place of a
// member that its cluster knows as one that ran (server/etcdserver/bootstrap.go).
const refusedAsNew = "has already been bootstrapped"

// tried reports whether such an etcd is started here again and again: the others refuse
// it each time, and only what is no longer there could make that end.
func (m *member) tried() bool {
	s, d := m.seen.Service, m.seen.Data
	return s.Known() && s.Value.State == ServiceBackoff && s.Value.Restarts > 0 && strings.Contains(s.Value.LastError, refusedAsNew) &&
		d.Known() && (d.Value.State == DirAbsent || d.Value.State == DirEmpty) && d.Value.HeldBy == 0
}

// markTried: beside a quorum the place of such a member is as lost as one on which
// nothing is tried. Without one, what is tried there might be on its way to begin a
// cluster.
func (b *builder) markTried() {
	if !b.quorum.Has() {
		return
	}
	for _, l := range b.list {
		if m := b.ofFile(l); m != nil && m.cond == condRunning && m.tried() && hasRun(l) {
			m.cond = condMissing
			m.seen.Data.Value.Evidence = append(slices.Clone(m.data().Evidence), "the other members know it as one that ran")
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
	for _, m := range b.holders() {
		switch m.cond {
		case condDown, condRunning, condServing, condFenced:
		default:
			continue
		}
		if e := b.entry(m); m.startableDisk() && e != nil && !e.Learner {
			out = append(out, m)
		}
	}
	return out
}

// startableDisk reports whether etcd would go on with what the member's disk holds.
func (m *member) startableDisk() bool {
	return m.survivor().Problem == "" && (m.cond != condFenced || m.spoilt() == "")
}

// canStart reports whether the disks that are here are enough for a quorum, so
// that starting their members loses nothing (S1).
func (b *builder) canStart() bool {
	if b.cantMeet() != "" || b.wentBack() != "" {
		return false
	}
	n := len(b.intact()) + b.aliveElsewhere()
	return n >= majority(b.listedVoters()) || b.allThatRan() && n+len(b.unstarted()) >= majority(b.listedVoters())
}

// wentBack says why some disk here must have lost what it once had, a copy of
// before put in its place perhaps: an entry is proven to be agreed on, which takes
// a majority of voters to have it, and too few have it or are not here to say. Such
// disks could outvote the one that has it. "" for none.
func (b *builder) wentBack() string {
	var best DataDir
	intact := b.intact()
	for _, m := range b.holders() { // a learner's disk proves it as well
		if d := m.survivor(); d.agreed() > best.agreed() && d.Problem == "" && b.entry(m) != nil {
			best = d
		}
	}
	have := b.listedVoters() - len(intact) // who is not here may have it
	var short []string
	for _, m := range intact {
		// Whoever runs and could not be asked may be in a cluster that lives: its log
		// has grown since it was read.
		if m.survivor().LastIndex >= best.agreed() || m.unheard() {
			have++
		} else {
			short = append(short, fmt.Sprintf("%s ends at #%d", m.spec.Name, m.survivor().LastIndex))
		}
	}
	if have >= majority(b.listedVoters()) || len(short) == 0 {
		return ""
	}
	return fmt.Sprintf("entry #%d was agreed on, so a majority once had it, and now %s: a disk was put back to an earlier state", best.agreed(), strings.Join(short, ", "))
}

// soughtElsewhere reports whether all members that run and do not answer listen where the
// file has them, and the cluster has another address: nobody finds them, and an update
// of the list is what they wait for.
func (b *builder) soughtElsewhere(c *changes) bool {
	for _, m := range with(b.members, condRunning) {
		if s := b.seatOf(m); s == nil || m.seen.Peer.Reach != ReachServing || m.seen.Peer.ClusterID != b.plan.ClusterID || !slices.Contains(c.update, s) {
			return false
		}
	}
	return true
}

// unheard reports whether the member runs and nobody waited for its answer, as on a
// machine that is busy: whether it has a quorum is unknown (S2).
func (m *member) unheard() bool {
	return m.cond == condRunning && m.seen.Client.Reach == ReachUnasked
}

// aliveElsewhere counts the voters that answer as themselves, though their disks can't
// be looked at, most because the file does not have them: they only lack a quorum.
func (b *builder) aliveElsewhere() int {
	n := 0
	for _, m := range with(b.members, condServing) {
		e := m.seen.Client
		if l := b.entry(m); !m.seen.Data.Known() && l != nil && !l.Learner && e.ClusterID == b.plan.ClusterID && e.Members.Known() && differing(e.Members.Value, b.list) == 0 {
			n++
		}
	}
	for _, o := range b.obs.Others {
		e := o.Client
		itself := e.Reach == ReachServing && e.MemberID == o.ID && e.ClusterID == b.plan.ClusterID
		if itself && !o.Learner && b.listed(o.ID).ID != "" && e.Members.Known() && differing(e.Members.Value, b.list) == 0 {
			n++
		}
	}
	return n
}

// allThatRan reports whether every voter that ever ran has its disk here, whole.
// Whatever was acknowledged was so by a majority among them: all of it is here,
// and an empty member that is started beside them can't outvote it.
func (b *builder) allThatRan() bool {
	some := false
	for _, l := range b.list {
		if l.Learner || !hasRun(l) {
			continue
		}
		some = true
		if !slices.ContainsFunc(b.intact(), func(m *member) bool { return m.id() == l.ID }) {
			return false
		}
	}
	return some
}

// hasRun reports whether a listed member has ever run: it publishes its name then.
func hasRun(l ListedMember) bool { return l.Name != "" || len(l.ClientURLs) > 0 }

// unstarted are the voters of the file that were added and never ran: their place
// is empty, and nothing says that it ever was otherwise.
func (b *builder) unstarted() []*member {
	var out []*member
	for _, l := range b.list {
		if m := b.ofFile(l); m != nil && !l.Learner && !hasRun(l) && m.cond == condFresh {
			out = append(out, m)
		}
	}
	return out
}

// startable are the members that are down with a directory that is the
// membership's, in its place or behind the fence.
func (b *builder) startable() []*member {
	var out []*member
	for _, m := range with(b.members, condDown, condFenced) {
		e := b.entry(m)
		moves := e != nil && !SameURLs(e.PeerURLs, m.spec.PeerURLs)
		if moves && (e.Learner || m.spec.Learner && b.quorum.Has()) {
			continue // added anew where there is a quorum: nobody would look for it there
		}
		if m.startableDisk() && e != nil {
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
	// All the voters that are listed are a majority with a change of one and without it:
	// started, they decide it.
	all := b.listedVoters() > 1 && len(b.intact()) == b.listedVoters()
	for _, m := range b.intact() {
		if !all && m.membershipInDoubt() {
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
			return b.refuseSplit(m)
		}
	}
	return nil
}

// membershipInDoubt reports whether the member's log has a change of membership
// that is not known to be agreed on. What a running member has applied is, and so is all
// that the only voter's log has: it agrees with itself.
func (m *member) membershipInDoubt() bool {
	d, e := m.survivor(), m.seen.Client
	if onlyVoter(d.Members, d.MemberID) {
		return false
	}
	if !d.UncommittedMembership || e.Reach != ReachServing || e.MemberID != d.MemberID {
		return d.UncommittedMembership
	}
	return e.Applied < d.LastIndex && (d.TailMore > 0 || slices.ContainsFunc(d.Tail, func(t TailEntry) bool {
		return t.Kind == EntryMembership && t.Index > e.Applied
	}))
}

// onlyVoter reports whether the list has one voter, and it is id.
func onlyVoter(list []ListedMember, id string) bool {
	voters := slices.DeleteFunc(slices.Clone(list), func(l ListedMember) bool { return l.Learner })
	return len(voters) == 1 && voters[0].ID == id
}

func (b *builder) checkListedAsInFile() *Refusal {
	for _, l := range b.list {
		f := b.ofFile(l)
		switch {
		case f == nil:
			b.note(NoteRemaining, b.cluster.Pos, "%s is a member and not in the file; with a quorum back, planning again will deal with it", listText([]ListedMember{l}))
		case !SameURLs(l.PeerURLs, f.spec.PeerURLs):
			b.note(NoteRemaining, f.spec.Pos, "%s has the peer URLs %s on disk and %s in the file; planning again will deal with it", f.spec.Name, strings.Join(l.PeerURLs, ","), strings.Join(f.spec.PeerURLs, ","))
		case l.Learner != f.spec.Learner:
			b.note(NoteRemaining, f.spec.Pos, "%s is %s on disk and %s in the file; planning again will deal with it", f.spec.Name, voterOrLearner(l.Learner), voterOrLearner(f.spec.Learner))
		}
	}
	return nil
}

// cantMeet says why the voters, started as the file says, would not find each
// other: too few of them listen at the addresses that the others have for them;
// "" if enough do, or run already, wherever they do.
func (b *builder) cantMeet() string {
	if b.listedVoters() < 2 {
		return ""
	}
	why, meet := "", 0
	for _, m := range b.intact() {
		e := b.entry(m)
		if m.processRuns() || m.cond == condServing || SameURLs(e.PeerURLs, m.spec.PeerURLs) || m.foundAt(e.PeerURLs) {
			meet++
			continue
		}
		why = fmt.Sprintf("the others would look for %s at %s, and the file has it listen at %s", m.spec.Name, strings.Join(e.PeerURLs, ","), strings.Join(m.spec.ListenPeerURLs, ","))
	}
	if why == "" || meet >= majority(b.listedVoters()) {
		return ""
	}
	return why
}

// listensAt reports whether a listener on listen is what urls lead to, as far as
// their text tells.
func listensAt(listen, urls []string) bool {
	return slices.ContainsFunc(urls, func(u string) bool {
		return slices.ContainsFunc(listen, func(l string) bool { return plainURL(l) == plainURL(u) })
	})
}

// plainURL writes the addresses that have several spellings in one.
func plainURL(u string) string {
	u = strings.TrimSuffix(strings.ToLower(u), "/")
	return oneSpelling.Replace(u)
}

var oneSpelling = strings.NewReplacer("//localhost:", "//127.0.0.1:", "//[0:0:0:0:0:0:0:1]:", "//[::1]:")

// foundAt reports whether the member, started as the file says, is found at urls: it
// listens there, or everywhere, and the host is this machine or one that the file has
// for the member too.
func (m *member) foundAt(urls []string) bool {
	if listensAt(m.spec.ListenPeerURLs, urls) {
		return true
	}
	var own []string
	for _, u := range slices.Concat(m.spec.PeerURLs, m.spec.ClientURLs, m.spec.ListenClientURLs) {
		host, _ := splitURL(u)
		own = append(own, host)
	}
	return slices.ContainsFunc(urls, func(u string) bool {
		host, port := splitURL(u)
		return slices.ContainsFunc(m.spec.ListenPeerURLs, func(l string) bool {
			at, p := splitURL(l)
			four, six := strings.HasSuffix(at, "//0.0.0.0"), strings.HasSuffix(at, "//[::]")
			local := strings.HasSuffix(host, "//127.0.0.1") || six && strings.HasSuffix(host, "//[::1]")
			return p == port && (four || six) && (local || slices.Contains(own, host))
		})
	})
}

// splitURL parts a plain URL before its port.
func splitURL(u string) (host, port string) {
	u = plainURL(u)
	i := strings.LastIndex(u, ":")
	return u[:max(i, 0)], u[max(i, 0):]
}
