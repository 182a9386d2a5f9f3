package planner

import (
	"fmt"
	"slices"
)

// One cluster must not become two (S7): whose list differs, whose history parts, and who
// runs beside a disk that --force-new-cluster made a cluster of its own.

// alone reports whether the members that know this list are a majority of it:
// started, they would be a quorum of their own, beside the newest log's.
func (b *builder) alone(list []ListedMember) bool {
	n, voters := 0, 0
	for _, l := range list {
		if l.Learner {
			continue
		}
		voters++
		for _, m := range with(b.members, condDown, condRunning, condServing, condRemoved) {
			unread := m.list() == nil && m.processRuns() // it may know the same
			if m.id() == l.ID && (unread || m.survivor().Problem == "" && differing(m.list(), list) == 0) {
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

// checkRemoved refuses a directory of a member that the membership does not have,
// where it might be of a history of its own that went on after it (S7): those who
// know the same list are a majority of it, and might have acknowledged writes.
func (b *builder) checkRemoved() *Refusal {
	for _, m := range b.strays() {
		list := m.list()
		knows := !slices.ContainsFunc(list, func(l ListedMember) bool { return l.ID == m.id() }) // that it was removed
		if list != nil && !knows && differing(list, b.list) > 0 && b.alone(list) {
			return b.refuseSplit(m)
		}
		for _, h := range b.holders() {
			if h == m || h.cond == condRemoved || b.recoverFrom() != "" {
				continue
			}
			where, why := parts(h.survivor(), m.survivor())
			if l := h.survivor().Log; where != "" || why != "" && l != nil && l.Forced > 0 {
				return b.refuseSplit(m)
			}
		}
	}
	for _, m := range b.strays() {
		if m.list() == nil && m.processRuns() && (b.liveMembers() == nil || b.forced()) {
			return b.refuseUnread(m)
		}
	}
	return nil
}

// strays are the members that the membership does not have: those with such a
// directory and, where no quorum is seen, those that serve too. They may only be
// electing a leader, beside a disk that somebody forced to go on alone.
func (b *builder) strays() []*member {
	out := with(b.members, condRemoved)
	if b.list == nil || b.liveMembers() != nil {
		return out
	}
	for _, m := range with(b.members, condServing) {
		if b.entry(m) == nil {
			out = append(out, m)
		}
	}
	return out
}

// checkHistories refuses to start members beside others where their logs part: raft
// would take what one of them has for the other's (S7).
func (b *builder) checkHistories() *Refusal {
	intact := b.intact()
	for _, m := range b.holders() { // a learner's disk too
		if e := b.entry(m); e != nil && e.Learner && m.startableDisk() && m.cond != condDamaged {
			intact = append(intact, m)
		}
	}
	for i, m := range intact {
		for _, o := range intact {
			if m.survivor().bare() && o.survivor().grown() {
				return refusal(CodePartlyRestored, m.spec.Pos, m.spec.Name+" was restored by itself, and the others were not",
					fmt.Sprintf("Its database is at revision %d and its log has nothing but the members, while %s's log holds all that it has (to #%d, revision %d). Started together they would never have the same data.",
						m.survivor().Revision, o.spec.Name, o.survivor().LastIndex, o.survivor().Revision),
					"If the others have the data that counts: move "+m.spec.DataDir+" away, and plan again; it is added anew.",
					"If the restored data counts: move the others' directories away; name its snapshot in the file, and plan again.")
			}
		}
		for _, o := range intact[:i] {
			if where, _ := parts(o.survivor(), m.survivor()); where != "" {
				return b.refuseParted(o.spec.Name, o.survivor(), m, where, "")
			}
		}
	}
	return nil
}

// bare reports whether a directory has data that its log did not make, and no more
// of a log than every restore writes: it was restored, and never ran.
func (d DataDir) bare() bool {
	return d.LastTerm <= 1 && d.LastIndex == uint64(len(d.Members)) && d.Revision > int64(d.LastIndex)+1
}

// grown reports whether the log can have made all that the database has: each entry
// raises the revision by one at most, and it begins at 1.
func (d DataDir) grown() bool {
	return d.Revision > 1 && d.Revision <= int64(d.ConsistentIndex)+1
}

// forced reports whether a member whose log counts went on alone by force.
func (b *builder) forced() bool {
	return slices.ContainsFunc(b.holders(), func(h *member) bool {
		l := h.survivor().Log
		return h.cond != condRemoved && l != nil && l.Forced > 0
	})
}

// refuseUnread is for a member that runs, is not in the list that counts, and whose own
// could not be read: it may be of a majority that lives, and only restarts. Etcd ends
// itself where one that was forced to go on alone tells it that it was removed.
func (b *builder) refuseUnread(m *member) *Refusal {
	if b.forced() {
		return b.refuseSplit(m)
	}
	log := "see its log"
	if path := m.seen.Service.Value.Log; path != "" {
		log += ", " + path
	}
	return refusal(CodeDeadWithAlive, m.spec.Pos, fmt.Sprintf("it is not known which members %s knows", m.spec.Name),
		fmt.Sprintf("%s runs as member %s, which the newest log that could be read does not have, and its own list could not be read: %s.", m.spec.Name, m.id(), m.runningText()),
		"Plan again in a few seconds.",
		fmt.Sprintf("If it stays so: %s. Don't stop it before you know: ask it and the others that run for their members (etcdctl member list); they may be a cluster that lives.", log))
}

func (b *builder) refuseSplit(m *member) *Refusal {
	why := "a member was started with --force-new-cluster, perhaps"
	for _, x := range b.members {
		if l := x.survivor().Log; l != nil && l.Forced > 0 {
			why = fmt.Sprintf("%s was started with --force-new-cluster: entry #%d of its log", x.spec.Name, l.Forced)
		}
	}
	return refusal(CodeSplitCluster, m.spec.Pos, "the disks disagree on who is in the cluster",
		fmt.Sprintf("%s knows the members %s; the newest log has %s. Started together they might form two clusters (%s).", m.spec.Name, orWord(listText(m.list()), "(they could not be read while it runs)"), listText(b.list), why),
		"Save a snapshot of each side that runs, and copy every disk, before you try anything.",
		"Find out which side has the data that counts. Stop the members of the other one and move their directories away, then plan again: they are added anew, empty.")
}
