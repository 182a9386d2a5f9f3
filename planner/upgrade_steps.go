package planner

import (
	"fmt"
	"slices"
	"strings"
)

// versionSeconds is how long a cluster may take to notice that all its members run
// another minor: etcd looks every few seconds.
const versionSeconds = 60

// trimSeconds is how long it may take to fill the log up to the members' next snapshot,
// some ten thousand entries.
const trimSeconds = 600

// checkRoll finds the way to the file's version, and what of it this plan does. What
// has to be repaired comes first, with the version that runs; in a cluster whose members
// run two minors already the roll is finished before that.
func (b *builder) checkRoll(c *changes) *Refusal {
	if !c.rolls() {
		return nil
	}
	low, high := b.minors()
	if b.missed(c) && low == high && b.downgradeTo() < 0 {
		b.note(NoteRemaining, b.cluster.Etcd.VersionPos, "planning again will deal with: %s; a version changes when every member that is listed is there, and in the file", strings.Join(c.rollWords, "; "))
		return nil
	}
	w, r := b.wayTo(c)
	if r != nil {
		return r
	}
	if low == high && b.downgradeTo() < 0 { // what was begun is finished all the same
		for _, check := range []func() *Refusal{b.checkLoad, b.checkFlaps} {
			if r := check(); r != nil {
				return r
			}
		}
	}
	c.way = w
	if !w.ends && len(w.hops) > 0 && len(c.update) > 0 {
		return refusal(CodeMixedMinors, c.update[0].m.spec.Pos, "the members run different minor versions, and some are to move as well",
			strings.Join(c.words, "; ")+". A member that is restarted at an address where the others don't look for it does not find them.",
			"Write the peer URLs into the file that the cluster has for its members, and apply: the roll is finished.", "Then the new ones.")
	}
	if !w.ends {
		c.leave(b)
	} else if n := len(w.hops); n > 0 {
		b.comesTo = w.hops[n-1].minor
		b.use(c.add, b.comesTo)
	}
	// They are restarted by the roll, with the file's settings.
	in := w.members()
	rolled := func(m *member) bool { return contains(in, m) }
	c.restart = slices.DeleteFunc(c.restart, func(m *member) bool { return rolled(m) && !contains(c.early, m) })
	c.adopt = slices.DeleteFunc(c.adopt, rolled)
	return b.checkRolled(c)
}

// leave has all but the roll wait for the next plan.
func (c *changes) leave(b *builder) {
	for _, word := range c.words {
		if !slices.Contains(c.rollWords, word) {
			b.note(NoteRemaining, b.cluster.Pos, "planning again will deal with: %s", word)
		}
	}
	c.adopt, c.update, c.join, c.promote, c.lost, c.demote, c.differ = nil, nil, nil, nil, nil, nil, nil
	c.add, c.restart, c.early, c.dead, c.extra = nil, nil, nil, nil, nil
}

// checkRolled refuses to stop members that could not be started again.
func (b *builder) checkRolled(c *changes) *Refusal {
	for _, m := range c.way.members() {
		if d := m.seen.Data; !d.Known() {
			return refusal(CodeDataUnknown, m.spec.Pos, m.spec.Name+" would be stopped, and its data directory can't be read",
				fmt.Sprintf("%s: %s. Whose data it starts on again could not be checked.", m.spec.DataDir, d.Why),
				"Give requorum access to it (run as root, or as the user etcd runs as), then plan again.")
		}
		if f := m.foreign(); f != nil && f.Keeper != "" {
			return refusal(CodeForeignKeeper, m.spec.Pos, m.spec.Name+" would have to be restarted, and somebody else keeps it running",
				fmt.Sprintf("It is kept running by %s (pid %d), and the file wants etcd %s.", f.Keeper, f.PID, b.cluster.Etcd.Version),
				"Change its version there, one minor and one member at a time, then plan again.",
				"Or take it out of there, without stopping etcd, and plan again: requorum adopts it.")
		}
	}
	return b.checkCopiesRoom(c.way)
}

// checkCopiesRoom refuses where there is no room for the copies of each etcd that requorum
// keeps beside a member (S20), which those on one file system share.
func (b *builder) checkCopiesRoom(w *way) *Refusal {
	for _, m := range w.members() {
		n := int64(len(w.hops)) * binarySize
		n += n / 10
		if free := m.seen.FreeBytes; m.at.Unit == "" && free.Known() && free.Value < n {
			return refusal(CodeNoRoom, m.spec.Pos, "there is no room for "+m.spec.Name+"'s next etcd",
				fmt.Sprintf("The file system of %s has %d MiB free; %d MiB are needed for a copy of each etcd on the way to %s.", m.spec.DataDir, free.Value>>20, n>>20, b.cluster.Etcd.Version),
				"Make room there, and plan again.")
		}
	}
	return nil
}

// members are all that the way restarts.
func (w *way) members() []*member {
	var out []*member
	if w == nil {
		return nil
	}
	for _, h := range w.hops {
		out = union(out, h.members)
	}
	return out
}

func (w *way) word() string {
	if w != nil && w.down > 0 {
		return "downgrade"
	}
	return "upgrade"
}

func (w *way) headline() string {
	var parts []string
	if w.cancel {
		parts = append(parts, "call the downgrade off")
	}
	for _, h := range w.hops {
		if name := "3." + fmt.Sprint(h.minor); len(parts) == 0 || parts[len(parts)-1] != name {
			parts = append(parts, name)
		}
	}
	if len(w.hops) == 0 {
		return strings.Join(parts, ", ")
	}
	return w.word() + " to etcd " + strings.Join(parts, ", then ")
}

// rollSteps carry the way out.
func (b *builder) rollSteps(c *changes) {
	w := c.way
	if w == nil {
		return
	}
	if w.cancel {
		b.cancelStep()
	}
	if w.down > 0 {
		b.downgradeStep(w)
	}
	if w.from > 0 && w.ends && (w.cancel || !b.knownAt(w.from)) {
		b.versionStep(w.from, fmt.Sprintf("the cluster has to be at etcd 3.%d as a whole first", w.from))
	}
	for _, h := range w.hops {
		if left := b.leftOut(h.minor); len(left) > 0 {
			b.note(NoteRemaining, b.cluster.Etcd.Pos, "etcd 3.%d has no setting %s yet: the members get it with the version that has", h.minor, strings.Join(left, ", "))
		}
		if h.minor >= 7 && b.oldEntries(w) {
			b.trimStep(h.members)
		}
		b.use(b.members, h.minor)
		round := &changes{restart: h.members, demote: c.demote, why: map[*member]string{}}
		for _, m := range b.leaderLast(h.members) {
			if h.patch && b.cluster.Etcd.EachMinor() && contains(c.restarted, m) {
				continue // with that patch, for another reason
			}
			bin := m.etcd(b.cluster.Etcd, h.minor).Value.Version
			round.why[m] = fmt.Sprintf("%s: etcd %s comes next", h.why, bin)
			b.restartSteps(round, m)
			b.awaits(&b.plan.Steps[len(b.plan.Steps)-2], m, bin)
			s := &b.plan.Steps[len(b.plan.Steps)-1]
			s.Title, s.Reason.Fact = "start "+bin, "with etcd "+bin+", and the file's settings"
			switch {
			case h.patch || w.down > 0:
			case h.minor >= 6:
				s.Undo, s.NoUndo = "", "back by a downgrade only"
			default:
				s.Undo, s.NoUndo = "", "etcd does not go back there"
			}
		}
		if w.ends && !h.part {
			b.versionStep(h.minor, fmt.Sprintf("nothing else begins before the whole cluster is at etcd 3.%d", h.minor))
		}
	}
}

// knownAt reports whether every voter that serves says that the cluster is at etcd 3.n.
func (b *builder) knownAt(n int) bool {
	for _, m := range with(b.members, condServing) {
		if b.seatOf(m) != nil && minor(m.seen.Client.ClusterVersion) != n {
			return false
		}
	}
	return true
}

// versionStep reads the members back, and waits until the cluster has come along.
func (b *builder) versionStep(n int, why string) {
	var ms []*member
	for _, m := range b.members {
		if s := b.seatOf(m); s != nil && s.healthy {
			ms = append(ms, m)
		}
	}
	b.verifyStep(ms, b.plan.ClusterID, 0, false)
	s := &b.plan.Steps[len(b.plan.Steps)-1]
	a := s.Action.(Verify)
	a.Version = minorName(n)
	s.Action, s.Reason.Fact = a, why
	s.Reason.Pos = b.cluster.Etcd.VersionPos
	s.Title = "verify " + a.Version
	s.Wait = fmt.Sprintf("the cluster's version is 3.%d; one cluster ID, one leader, equal HashKV", n)
	s.TimeoutSeconds += versionSeconds
	s.Equivalent = append([]string{"curl -s " + ms[0].spec.ClientURLs[0] + "/version  # etcdcluster"}, s.Equivalent...)
}

// downgradeStep tells the cluster to go back.
func (b *builder) downgradeStep(w *way) {
	ends := b.endpoints(nil)
	version := minorName(w.down)
	b.step(Step{
		Action: Downgrade{Version: version, Members: b.served(), Endpoints: ends},
		Title:  "enable downgrade",
		Reason: Reason{Fact: fmt.Sprintf("the file wants etcd %s; older members are taken only by a cluster that was told so", b.cluster.Etcd.Version), Pos: b.cluster.Etcd.VersionPos},
		Undo:   "yes, until a member was restarted: put the file back, apply calls it off", Wait: "every member's database is of the older version", TimeoutSeconds: 2 * versionSeconds,
		Equivalent: []string{
			fmt.Sprintf("etcdctl --endpoints=%s downgrade validate %s", strings.Join(ends, ","), version),
			fmt.Sprintf("etcdctl --endpoints=%s downgrade enable %s", strings.Join(ends, ","), version),
		},
	}, b.quorum)
}

// cancelStep calls a downgrade off.
func (b *builder) cancelStep() {
	ends := b.endpoints(nil)
	b.step(Step{
		Action: CancelDowngrade{Members: b.served(), Endpoints: ends},
		Title:  "cancel downgrade",
		Reason: Reason{Fact: fmt.Sprintf("a downgrade to 3.%d is on, and the file's etcd %s does not need it", b.downgradeTo(), b.cluster.Etcd.Version), Pos: b.cluster.Etcd.VersionPos},
		Undo:   "yes: write the older version into the file, apply", Wait: "no member says that it is on", TimeoutSeconds: versionSeconds,
		Equivalent: []string{fmt.Sprintf("etcdctl --endpoints=%s downgrade cancel", strings.Join(ends, ","))},
	}, b.quorum)
}

// served are the names of the file's members that serve.
func (b *builder) served() []string {
	var out []string
	for _, m := range b.members {
		if s := b.seatOf(m); s != nil && s.healthy {
			out = append(out, m.spec.Name)
		}
	}
	return out
}

// oldEntries reports whether some log has entries that etcd 3.7 can't read, and would read
// again, or may have by the time that it comes to that.
func (b *builder) oldEntries(w *way) bool {
	return slices.ContainsFunc(w.members(), func(m *member) bool {
		return m.survivor().OldEntry > 0 || writesOld(m.seen.Client.Version) || slices.ContainsFunc(w.hops, func(h hop) bool { return h.minor <= 5 && contains(h.members, m) })
	})
}

func (b *builder) trimStep(ms []*member) {
	a := TrimLog{Endpoints: b.endpoints(nil)}
	for _, m := range ms {
		a.Members = append(a.Members, m.place())
	}
	b.step(Step{
		Action: a, Title: "trim log",
		Reason: Reason{Fact: "a start reads the log again from its last snapshot on, and etcd 3.7 ends at entries that 3.5 wrote", Pos: b.cluster.Etcd.VersionPos},
		Undo:   "not needed: no key and no revision changes", Wait: "each member's log has no such entry after its last snapshot",
		TimeoutSeconds: trimSeconds,
		Equivalent:     []string{"# write to the cluster until each has a *.snap of its own that is newer than the upgrade to 3.6 (--snapshot-count entries)"},
	}, b.quorum)
}

// rolls reports whether a plan brings the members to another version.
func (p *Plan) rolls() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool {
		a, ok := s.Action.(Verify)
		return ok && a.Version != ""
	})
}

// awaits has a member stopped only as long as the etcd is there that comes next.
func (b *builder) awaits(s *Step, m *member, version string) {
	a := s.Action.(Stop)
	if path := b.binaryOf(m); path != "" { // the one inside requorum is
		a.Members[0].Next = &Binary{Path: path, Version: version}
		s.Action = a
	}
}
