package planner

import (
	"fmt"
	"slices"
	"strings"
)

// recover is the plan of a cluster whose quorum is gone, and of which disks are
// left: the best of them is fenced, copied, made readable in the copy, and
// restored to all members under a new identity.
func (b *builder) recover(why string) *Plan {
	for _, check := range []func() *Refusal{b.checkListKnown, b.checkVoters, b.checkFenceable} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	ranked := b.survivors()
	if len(ranked) == 0 {
		return b.refuse(b.refuseNoSurvivor())
	}
	chosen, r := b.choose(ranked)
	if r != nil {
		return b.refuse(r)
	}
	// All of the new identity run what the survivor ran: the file's version comes after.
	n := chosen.m.minor
	if n == 0 {
		n = chosen.m.wroteMinor()
	}
	b.use(append(slices.Clone(b.members), chosen.m), n)
	empty := with(b.members, condFresh, condMissing)
	for _, check := range []func() *Refusal{
		b.checkKeepers, b.checkGone, func() *Refusal { return b.checkSilent(empty) }, func() *Refusal { return b.checkRecoverBinary(chosen) }, func() *Refusal { return b.checkRecoverRoom(chosen) }, func() *Refusal { return b.checkRecoverBump(chosen) },
	} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	if b.inPlace() {
		if r := b.checkInPlace(chosen); r != nil {
			return b.refuse(r)
		}
	}
	if b.plan.ClusterID == "" {
		b.plan.ClusterID = chosen.d.ClusterID
	}
	b.plan.Route = RouteRecover
	b.survivorLines(chosen, ranked)
	b.pass(RouteInSync, "%s", why)
	b.pass(RouteStart, "%s", b.whyNotStart())
	b.pass(RouteReconfigure, "there is no quorum to ask")
	if b.cantMeet() != "" {
		b.note(NoteRemaining, b.cluster.Pos, "if the addresses of before can still be used, there is a smaller way: put them back into the file, apply, and change them while the cluster serves, one after the other")
	}
	upto := b.decideTail(chosen, ranked)
	for i, l := range b.plan.Survivors {
		if n := chosen.d.LastIndex - upto; l.Chosen && n > 0 {
			b.plan.Survivors[i].Verdict += fmt.Sprintf("; the last %d dropped", n)
		}
	}
	b.tellLoss(chosen, ranked, upto)
	if b.inPlace() {
		b.recoverInPlace(chosen, upto)
	} else {
		b.recoverSteps(chosen, upto)
	}
	return b.plan
}

func (b *builder) inPlace() bool { return b.cluster.Recover != nil && b.cluster.Recover.InPlace }

func (b *builder) whyNotStart() string {
	if back := b.wentBack(); back != "" {
		return back
	}
	if meet := b.cantMeet(); meet != "" && len(b.intact()) >= majority(b.listedVoters()) {
		return meet
	}
	return fmt.Sprintf("%d of %d voters' disks are left, %d are needed", len(b.intact()), b.listedVoters(), majority(b.listedVoters()))
}

// decideTail gives the last entry that is recovered. Entries that no disk proves to
// be agreed on are kept: any of them may have been acknowledged. Where one of them
// undoes something, a person decides (S9).
func (b *builder) decideTail(chosen survivor, ranked []survivor) uint64 {
	proven := b.proven(chosen, ranked)
	entries, n, unseen := tail(chosen, proven)
	if n == 0 {
		return chosen.d.LastIndex
	}
	risky, kinds := riskyText(entries), entryKinds(entries)
	if unseen {
		risky, kinds = orWord(risky, "entries that could not be looked at"), "not all of them known"
	}
	name := chosen.m.spec.Name
	switch drop := b.in.Accept[ConsentTailDrop] && !b.in.Accept[ConsentTailKeep]; {
	case risky == "":
		b.note(NoteInDoubt, chosen.m.spec.Pos, "in doubt: the last %d entries of %s's log (%s) are kept; some may never have been acknowledged", n, name, kinds)
	case drop:
		b.need(ConsentTailDrop, "the last %d entries of %s's log are left out, and with them: %s. A write among them that was acknowledged is lost; accept tail-keep instead to keep them", n, name, risky)
		return proven
	default:
		b.need(ConsentTailKeep, "the last %d entries of %s's log are kept, and with them: %s. They may never have been agreed on; accept tail-drop instead to leave all %d out (%s)", n, name, risky, n, kinds)
	}
	return chosen.d.LastIndex
}

// entryKinds counts entries by kind.
func entryKinds(entries []TailEntry) string {
	var order []string
	counts := map[string]int{}
	for _, e := range entries {
		if counts[e.Kind] == 0 {
			order = append(order, e.Kind)
		}
		counts[e.Kind]++
	}
	var out []string
	for _, k := range order {
		out = append(out, fmt.Sprintf("%d %s", counts[k], k))
	}
	return strings.Join(out, ", ")
}

// tellLoss is S8.
func (b *builder) tellLoss(chosen survivor, ranked []survivor, upto uint64) {
	intact, voters, name := len(b.intact()), b.listedVoters(), chosen.m.spec.Name
	whole := b.superseded() == "" && b.recoverFrom() == "" && upto == chosen.d.LastIndex && b.wentBack() == ""
	switch {
	case whole && intact >= majority(voters):
		b.plan.Headline = fmt.Sprintf("can't be started as it is, with %d of %d voters' data intact: recover from %s", intact, voters, name)
		b.plan.Loss = Loss{Kind: LossNone, Text: fmt.Sprintf("Lost: nothing. The intact directories (%s) are a majority of the %d voters, and %s holds the most of them.", names(b.intact()), voters, name)}
		return
	case whole && b.allThatRan():
		b.plan.Headline = fmt.Sprintf("a voter was added that never started, so that there is no quorum: recover from %s", name)
		b.plan.Loss = Loss{Kind: LossNone, Text: fmt.Sprintf("Lost: nothing. Every voter that ever ran has its data here, and %s holds the most of it.", name)}
		return
	}
	b.plan.Headline = fmt.Sprintf("quorum is lost for good (%d of %d voters' data is left): recover from %s", intact, voters, name)
	switch back := b.wentBack(); {
	case back != "":
		b.plan.Headline = fmt.Sprintf("a disk was put back to an earlier state: recover from %s", name)
	case intact >= majority(voters):
		b.plan.Headline = fmt.Sprintf("recover from %s, as the file asks", name)
	}
	if b.inPlace() {
		b.plan.Headline += " in place: it keeps its ID, as a cluster of one that grows again"
	}
	text := "Lost: no upper bound is known. "
	switch r := chosen.m.seen.Client.Revision; {
	case chosen.d.Revision > 0:
		text += fmt.Sprintf("The last write that %s's database proves is revision %d. ", name, chosen.d.Revision)
	case r > 0: // its database is open
		text += fmt.Sprintf("%s serves revision %d. ", name, r)
	}
	if upto == chosen.d.LastIndex {
		text += fmt.Sprintf("%s's log is kept to its end, term %d #%d.", name, chosen.d.LastTerm, upto)
	} else {
		text += fmt.Sprintf("%s's log is kept to #%d; the %d entries after it are dropped.", name, upto, chosen.d.LastIndex-upto)
	}
	for _, s := range ranked {
		if newer(s.d, chosen.d) {
			text += fmt.Sprintf(" At least what %s holds beyond it (%s) is given up.", s.m.spec.Name, s.m.logText(s.d))
		}
	}
	b.plan.Loss = Loss{Kind: LossUnknown, Text: text}
	why := "what only the lost disks held is given up"
	if lost := b.lostText(); lost != "" {
		why += fmt.Sprintf(" (%s; a disk that is not mounted looks the same)", lost)
	}
	b.need(ConsentDataLoss, "%s", why)
}

// lostText names the voters whose disks are not there.
func (b *builder) lostText() string {
	var out []string
	for _, l := range b.list {
		if l.Learner || slices.ContainsFunc(b.intact(), func(m *member) bool { return m.id() == l.ID }) {
			continue
		}
		why := "not in the file, so that its disk can't be looked at"
		if m := b.ofFile(l); m != nil {
			why = m.dataText()
		}
		out = append(out, nameOf(l)+": "+why)
	}
	return few(out)
}
