package planner

import (
	"fmt"
	"slices"
	"strings"
)

// findings are the states that the observation shows, by number. Each rests on
// facts that are known: what could not be learned shows nothing.
func (b *builder) findings() []Finding {
	var f finder
	b.findQuorum(&f)
	b.findAddresses(&f)
	b.findConnections(&f)
	b.findIdentity(&f)
	b.findLearners(&f)
	b.findStorage(&f)
	b.findLogical(&f)
	return f.sorted()
}

// finder collects findings: each state once for a member.
type finder struct{ list []Finding }

func (f *finder) add(s StateCode, member, fact string, args ...any) {
	if f.has(s, member) {
		return
	}
	if len(args) > 0 {
		fact = fmt.Sprintf(fact, args...)
	}
	f.list = append(f.list, Finding{State: s, Member: member, Fact: fact})
}

func (f *finder) has(s StateCode, member string) bool {
	return slices.ContainsFunc(f.list, func(x Finding) bool { return x.State == s && x.Member == member })
}

// hasAny reports whether the state was found of any member.
func (f *finder) hasAny(s StateCode) bool {
	return slices.ContainsFunc(f.list, func(x Finding) bool { return x.State == s })
}

// sorted orders them by the states' numbers; within one, the members stay in the
// file's order.
func (f *finder) sorted() []Finding {
	slices.SortStableFunc(f.list, func(x, y Finding) int { return stateNumbers[x.State] - stateNumbers[y.State] })
	return f.list
}

var stateNumbers = func() map[StateCode]int {
	out := map[StateCode]int{}
	for _, s := range States() {
		out[s.Code] = s.Number
	}
	return out
}()

// refusedStates are the refusals that come of one state alone. What a member
// looks like may not show it; that the refusal was necessary does.
var refusedStates = map[Code]StateCode{
	CodeSplitCluster: StateSplitBrain, CodeForeignCluster: StateClusterIDMismatch, CodeClusterIDMismatch: StateClusterIDMismatch,
	CodeDiverged: StateSilentDivergence, CodePartlyRestored: StatePartlyRestored,
	CodeTLSFailed: StateClientTLSFailure, CodeNoRoom: StateDiskFull, CodeLearnerSlot: StateLearnerSlotTaken,
	CodeRestoreUnfinished: StateRestoreHalfDone,
	CodeSnapshotMissing:   StateSnapshotBad, CodeSnapshotUnreadable: StateSnapshotBad, CodeSnapshotDamaged: StateSnapshotBad,
	CodeSnapshotNoHash: StateSnapshotBad, CodeSnapshotNotEtcd: StateSnapshotBad, CodeSnapshotWrongSHA: StateSnapshotBad,
	CodeSnapshotVersion: StateSnapshotBad,
}

// findRefused adds the state that a refusal shows, where nothing else did.
func (p *Plan) findRefused() *Plan {
	if p.Refusal == nil {
		return p
	}
	s, ok := refusedStates[p.Refusal.Code]
	if !ok || slices.ContainsFunc(p.States, func(f Finding) bool { return f.State == s || alike(f.State, s) }) {
		return p
	}
	f := finder{list: slices.Clone(p.States)}
	f.add(s, "", "%s", p.Refusal.Title)
	p.States = f.sorted()
	return p
}

// alike reports whether a state may be another one that looks the same.
func alike(found, other StateCode) bool {
	for _, s := range States() {
		if s.Code == found {
			return slices.Contains(s.Alike, stateNumbers[other])
		}
	}
	return false
}

// findQuorum: who is down, who is gone, and whether that is most of them.
func (b *builder) findQuorum(f *finder) {
	has := b.quorum.Has()
	if has {
		for _, m := range b.startable() {
			f.add(StateMinorityDown, m.spec.Name, "not running, its directory is intact: %s", m.logText(m.survivor()))
		}
	}
	if has || b.canStart() {
		for _, l := range b.list {
			if m := b.ofFile(l); m != nil && hasRun(l) && m.lostAll() {
				f.add(b.lostState(m))
			}
		}
	}
	if !has {
		b.findNoQuorum(f)
	}
	b.findUnstartedVoters(f, has)
}

// lostAll reports whether nothing is left at the place of a member that ran.
func (m *member) lostAll() bool {
	return m.cond == condMissing || m.cond == condFresh && m.data().Staged == "" && m.data().Provenance == nil
}

// lostState is what became of such a member, by its last words.
func (b *builder) lostState(m *member) (s StateCode, name, fact string) {
	words := m.lastWords()
	for _, k := range wordStates {
		if strings.Contains(words, k.words) {
			return k.state, m.spec.Name, words
		}
	}
	return StateMinorityLost, m.spec.Name, m.dataText()
}

// wordStates are etcd's last words that say how a start on an empty place failed.
var wordStates = []struct {
	words string
	state StateCode
}{
	{refusedAsNew, StateEmptyDirNew},
	{"couldn't find local name", StateNameNotInInitial},
	{"member count is unequal", StateInitialClusterWrong},
	{"no match found for existing member", StateInitialClusterWrong},
}

// lastWords are what etcd said before it ended, where it does not serve now.
func (m *member) lastWords() string {
	s := m.seen.Service
	if !s.Known() || m.cond == condServing || s.Value.State == ServiceRunning {
		return ""
	}
	return s.Value.LastError
}

// findNoQuorum names what a cluster without a quorum is, by what is left of it.
func (b *builder) findNoQuorum(f *finder) {
	voters, left := b.listedVoters(), b.intact()
	up := with(left, condServing, condRunning)
	alive := len(up) + b.aliveElsewhere()
	if token := b.unfinished(); token != "" && b.unopened(token) {
		return // it has one, and nobody is shown it yet
	}
	switch {
	case len(b.holders()) == 0:
		if count(b.members, condServing, condRunning, condUnknown, condDamaged, condPristine) > 0 || b.anyStaged() {
			return
		}
		for _, m := range with(b.members, condMissing) {
			f.add(StateAllLost, m.spec.Name, "%s, and %s", m.dataText(), m.evidence())
		}
	case b.list == nil || alive >= majority(voters) || voters == 2 && !b.allRan():
		return // nobody's quorum is known to be gone, or it is for a reason of its own
	case voters == 2 && b.allRan() && (len(left) == 1 || len(up) == 1):
		m := slices.Concat(up, left)[0]
		f.add(StateOneOfTwoDead, "", "of two voters %s is left: %s", m.spec.Name, m.seenText())
	case count(up, condServing) > 0:
		for _, m := range with(up, condServing) {
			f.add(StateQuorumLostRunning, m.spec.Name, "serves without a leader; %d of %d voters are seen to run", alive, voters)
		}
	case len(up) > 0 && !b.starting():
		for _, m := range up {
			f.add(StateQuorumLostRestarted, m.spec.Name, "%s: %s; %d of %d voters are seen to run", orWord(m.seen.Client.URL, "its client port"), m.seen.Client.Reach, alive, voters)
		}
	case len(left)+count(b.members, condUnknown) >= majority(voters):
		return // a disk that can't be read may be whole
	case len(up) == 0 && !b.canStart() && b.cantMeet() == "" && b.wentBack() == "":
		for _, m := range left {
			f.add(StateQuorumLost, m.spec.Name, "%d of %d voters' disks are here and whole, this is one: %s", len(left), voters, m.logText(m.survivor()))
		}
		for _, s := range b.survivors() {
			if len(left) == 0 && s.role == "learner" {
				f.add(StateQuorumLost, s.m.spec.Name, "no voter's disk is here and whole, this one is a learner's: %s", s.m.logText(s.d))
			}
		}
	}
}

// allRan reports whether every voter has run.
func (b *builder) allRan() bool {
	return !slices.ContainsFunc(b.list, func(l ListedMember) bool { return !l.Learner && !hasRun(l) })
}

// findUnstartedVoters: voters that were added and never ran weigh on the quorum.
func (b *builder) findUnstartedVoters(f *finder, has bool) {
	for _, l := range b.list {
		if l.Learner || hasRun(l) {
			continue
		}
		name := nameOf(l)
		if m := b.ofFile(l); m != nil {
			if m.cond == condServing || m.cond == condRunning {
				continue // its name is about to come
			}
			name = m.spec.Name
			if s, _, words := b.lostState(m); s != StateMinorityLost {
				f.add(s, name, "%s", words)
			}
		}
		if b.listedVoters() == 2 && !has {
			f.add(StateSecondUnstarted, name, "listed with %s and no name: it has never run", strings.Join(l.PeerURLs, ","))
			continue
		}
		f.add(StateUnstartedVoters, name, "listed as a voter with %s and no name: it has never run", strings.Join(l.PeerURLs, ","))
	}
}

// findAddresses: the list's peer URLs, and the file's.
func (b *builder) findAddresses(f *finder) {
	var moved []*member
	seen := 0
	for _, l := range b.list {
		m := b.ofFile(l)
		if m == nil || !hasRun(l) {
			continue
		}
		seen++
		if !SameURLs(l.PeerURLs, m.spec.PeerURLs) {
			moved = append(moved, m)
		}
	}
	for _, m := range moved {
		state := StatePeerURLStale
		if len(moved) == seen && seen > 1 {
			state = StateAllAddressesChanged
		}
		f.add(state, m.spec.Name, "listed with %s, in the file %s", strings.Join(b.listedAt(m).PeerURLs, ","), strings.Join(m.spec.PeerURLs, ","))
	}
}

// RefusedState is the state that a refusal comes of, for those that come of one alone.
func RefusedState(code Code) (StateCode, bool) {
	s, ok := refusedStates[code]
	return s, ok
}

// Alike reports whether a state that was found may be another one that looks the same.
func Alike(found, other StateCode) bool { return alike(found, other) }
