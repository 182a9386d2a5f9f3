package planner

import (
	"fmt"
	"slices"
	"strings"
)

// groups are the members of the file by the hash of their data, the largest group
// first; nil where they were not compared, or are equal.
func (b *builder) groups() [][]*member {
	kv := b.obs.KV
	if !kv.Known() || kv.Value.Equal {
		return nil
	}
	var out [][]*member
	at := map[uint32]int{}
	for _, m := range b.members {
		h, ok := kv.Value.Hashes[m.spec.Name]
		if !ok {
			continue
		}
		i, there := at[h]
		if !there {
			i = len(out)
			at[h], out = i, append(out, nil)
		}
		out[i] = append(out[i], m)
	}
	slices.SortStableFunc(out, func(x, y []*member) int { return len(y) - len(x) })
	return out
}

// outvoted are the members whose data differs from that of a clear majority: of all
// voters, not only of those that were compared. Nil where there is none.
func (b *builder) outvoted() []*member {
	groups := b.groups()
	if len(groups) < 2 {
		return nil
	}
	votes := 0
	for _, m := range groups[0] {
		if e := b.entry(m); e != nil && !e.Learner {
			votes++
		}
	}
	if votes < majority(b.listedVoters()) {
		return nil
	}
	var out []*member
	for _, m := range b.members {
		if slices.ContainsFunc(groups[1:], func(g []*member) bool { return contains(g, m) }) {
			out = append(out, m)
		}
	}
	return out
}

// partlyRestored says why the members' data differs because they did not begin with
// the same: their revisions differ by more than their logs do, and one has a
// revision that its log can't have made, or those who are fewer have more. There a
// vote means nothing: the emptier ones may be the majority. "" where nothing shows
// that.
func (b *builder) partlyRestored() string {
	groups := b.groups()
	if len(groups) < 2 {
		return ""
	}
	for _, g := range groups[1:] {
		for _, m := range g {
			if why := restoredApart(groups[0][0], m); why != "" {
				return why
			}
		}
	}
	return ""
}

// restoredApart compares two members' revisions with what they have applied. Under
// writes both move, and are not read at one instant: a gap counts only where it is
// wider than what was applied between them.
func restoredApart(most, m *member) string {
	x, y := most.seen.Client, m.seen.Client
	if x.Reach != ReachServing || y.Reach != ReachServing || x.Applied == 0 || y.Applied == 0 {
		return ""
	}
	gap, lag := x.Revision-y.Revision, int64(x.Applied)-int64(y.Applied)
	if max(gap, -gap) <= max(lag, -lag) {
		return ""
	}
	if where, _ := parts(most.survivor(), m.survivor()); where != "" {
		return "" // their logs are of different histories: an old member
	}
	made := func(e Endpoint) bool { return e.Revision <= int64(e.Applied)+1 }
	if made(x) && made(y) && y.Revision <= x.Revision {
		return ""
	}
	return fmt.Sprintf("%s is at revision %d with #%d applied, %s at revision %d with #%d: they did not begin with the same data",
		most.spec.Name, x.Revision, x.Applied, m.spec.Name, y.Revision, y.Applied)
}

// findDiverged: members whose data differs.
func (b *builder) findDiverged(f *finder) {
	groups := b.groups()
	if len(groups) == 0 {
		return
	}
	if why := b.partlyRestored(); why != "" {
		f.add(StatePartlyRestored, "", "%s", why)
		return
	}
	kv := b.obs.KV.Value
	out := b.outvoted()
	for _, m := range out {
		where, _ := parts(groups[0][0].survivor(), m.survivor())
		switch {
		case f.has(StateCorruptAlarm, m.spec.Name):
		case where != "":
			f.add(StateOldMemberSameID, m.spec.Name, "its data differs from the others', and its log at %s", where)
		default:
			f.add(StateSilentDivergence, m.spec.Name, "HashKV %08x at revision %d, the majority has %08x", kv.Hashes[m.spec.Name], kv.Revision, kv.Hashes[groups[0][0].spec.Name])
		}
	}
	if len(out) == 0 {
		f.add(StateSilentDivergence, "", "HashKV at revision %d: %s", kv.Revision, b.hashText())
	}
}

func (b *builder) refusePartlyRestored(why string) *Refusal {
	return refusal(CodePartlyRestored, b.cluster.Pos, "the members did not begin with the same data", why+". A vote between them means nothing: those with less may be more.",
		"Save a snapshot from each member before anything else: etcdctl --endpoints=EACH snapshot save FILE.",
		"Decide which one has the data that counts.",
		"Stop all members, move their data directories away, name that snapshot in the file, snapshot { source = … }, and apply: it is restored to all of them, under a new token.")
}

// checkDiffer refuses to replace members whose data differs where it is not known
// what would be moved aside, or nobody of the majority could lead meanwhile.
func (b *builder) checkDiffer(c *changes) *Refusal {
	for _, s := range c.differ {
		if !s.m.seen.Data.Known() {
			return refusal(CodeDataUnknown, s.m.spec.Pos, s.name+"'s data differs, and its directory can't be read",
				fmt.Sprintf("%s: %s. It would have to be set aside.", s.m.spec.DataDir, s.m.seen.Data.Why),
				"Give requorum access to it (run as root, or as the user etcd runs as), then plan again.")
		}
	}
	if l := b.leader(); len(c.differ) > 0 && l != nil && b.apart(l) && b.successor(l, b.apart) == nil {
		return refusal(CodeDiverged, b.cluster.Pos, "the leader is not known to have the majority's data, and nobody else can lead",
			fmt.Sprintf("%s leads; a new member would copy its data from it.", l.name), "Move the lead to a member of the majority by hand, etcdctl move-leader, and plan again.")
	}
	return nil
}

// apart reports whether members' data differs and a seat is not known to have the
// majority's.
func (b *builder) apart(s *seat) bool {
	return len(b.outvoted()) > 0 && (s.m == nil || !contains(b.groups()[0], s.m))
}

// leadByMajority hands the lead to one of the majority first: what is added anew
// copies its data from the leader.
func (b *builder) leadByMajority(c *changes) {
	if l := b.leader(); len(c.differ) > 0 && l != nil && b.apart(l) {
		b.moveLead(l, b.apart)
	}
}

// tellDiffer says what replacing members whose data differs gives up.
func (b *builder) tellDiffer(c *changes) {
	for _, s := range c.differ {
		b.plan.Loss = Loss{Kind: LossUnknown, Text: "Lost: what only the replaced members' copies hold; no upper bound is known. They are set aside whole, for a person to compare; what a majority of the voters holds is kept."}
		b.need(ConsentDataLoss, "%s's data is not what the majority has; its directory is set aside, and what only it holds is served no more", s.name)
	}
}

// hashText is each member's hash.
func (b *builder) hashText() string {
	var out []string
	for _, m := range b.members {
		if h, ok := b.obs.KV.Value.Hashes[m.spec.Name]; ok {
			out = append(out, fmt.Sprintf("%s %08x", m.spec.Name, h))
		}
	}
	return strings.Join(out, ", ")
}
