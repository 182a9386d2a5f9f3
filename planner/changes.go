package planner

import (
	"fmt"
	"slices"
	"strings"
)

// changes is what a cluster with quorum has otherwise than the file.
type changes struct {
	adopt   []*member
	update  []*seat
	join    []*seat // listed, never started, of the file
	promote []*seat // learners that run and are to vote
	lost    []*seat // listed, and what they had is gone
	demote  []*seat // voters that are to be learners: added anew
	differ  []*seat // their data is not what the majority has: added anew
	add     []*member
	restart []*member
	// restarted are those of restart that the steps so far have dealt with.
	restarted []*member
	early     []*member // of restart: nobody could join as long as they run like this
	dead      []*seat   // not in the file, and not there
	extra     []*seat   // not in the file, and alive
	why       map[*member]string
	versions  []*member // whose version is not the file's
	cancel    bool      // the cluster was told to go back to a version that the file does not want
	rollWords []string  // of words, those about the version
	way       *way      // to the file's version; nil for none
	words     []string  // each difference, for people
}

// changes compares the seats with the file.
func (b *builder) changes() *changes {
	b.takeSeats()
	c := &changes{why: map[*member]string{}}
	for _, s := range b.seats {
		if s.m == nil {
			b.extraSeat(c, s)
			continue
		}
		b.fileSeat(c, s)
	}
	slices.SortStableFunc(c.extra, func(x, y *seat) int { // who leads goes last; else as people name them
		switch {
		case x.leads:
			return 1
		case y.leads:
			return -1
		}
		return strings.Compare(x.name, y.name)
	})
	for _, m := range b.members {
		if b.seatOf(m) == nil {
			c.add = append(c.add, m)
			c.say("%s", b.addWords(m))
		}
	}
	for _, m := range with(b.members, condServing) {
		b.running(c, m)
	}
	before := len(c.words)
	if c.versions = b.versionsDiffer(); len(c.versions) > 0 {
		c.say("%s, in the file %s", versionsText(c.versions), b.cluster.Etcd.Version)
	}
	// One that all have come to ends by itself, where none of the members is missing.
	told := b.downgradeTo()
	if c.cancel = b.calledOff() || told >= 0 && len(c.versions) == 0 && c.membership() && b.cluster.Etcd.Version != ""; c.cancel && told == minor(b.cluster.Etcd.Version) {
		c.say("a downgrade to 3.%d is on, to which all have come", told)
	} else if c.cancel {
		c.say("a downgrade to 3.%d is on, and the file wants %s", b.downgradeTo(), b.cluster.Etcd.Version)
	}
	c.rollWords = slices.Clone(c.words[before:])
	return c
}

// rolls reports whether the version is to change.
func (c *changes) rolls() bool { return len(c.versions) > 0 || c.cancel }

func (c *changes) say(format string, args ...any) {
	c.words = append(c.words, fmt.Sprintf(format, args...))
}

// membership reports whether the cluster's list changes.
func (c *changes) membership() bool {
	return len(c.update)+len(c.promote)+len(c.lost)+len(c.demote)+len(c.differ)+len(c.add)+len(c.dead)+len(c.extra) > 0
}

func (c *changes) any() bool {
	return c.membership() || c.rolls() || len(c.join)+len(c.restart)+len(c.adopt) > 0
}

// only reports whether adopting some is all that is to be done.
func (c *changes) only(adopt []*member) bool {
	return len(adopt) > 0 && !c.membership() && !c.rolls() && len(c.join)+len(c.restart) == 0
}

func (c *changes) todo(m *member) string {
	of := func(ss []*seat) bool { return slices.ContainsFunc(ss, func(s *seat) bool { return s.m == m }) }
	var out []string
	for _, k := range []struct {
		is   bool
		word string
	}{
		{contains(c.adopt, m), "adopt"}, {of(c.update), "update"}, {of(c.join), "join"}, {of(c.promote), "promote"},
		{of(c.lost) || of(c.differ), "replace"}, {of(c.demote), "add as learner"}, {contains(c.add, m), "add"}, {contains(c.restart, m), "restart"}, {c.way != nil && contains(c.way.members(), m), c.way.word()},
	} {
		if k.is {
			out = append(out, k.word)
		}
	}
	return strings.Join(out, ", ")
}

func (b *builder) addWords(m *member) string {
	switch {
	case m.cond == condRemoved:
		return fmt.Sprintf("%s holds member %s, which was removed", m.spec.Name, m.data().MemberID)
	case m.cond == condPristine:
		return fmt.Sprintf("%s has a restored directory that is not of this cluster", m.spec.Name)
	}
	return m.spec.Name + " is not a member"
}

func (b *builder) extraSeat(c *changes, s *seat) {
	switch {
	case s.healthy:
		c.extra = append(c.extra, s)
		c.say("%s is not in the file", s.name)
	case !s.started:
		c.dead = append(c.dead, s)
		c.say("member %s was added, never started, and is not in the file", s.name)
	default:
		c.dead = append(c.dead, s)
		c.say("%s is not in the file and does not answer", s.name)
	}
}

// fileSeat finds what has to be done about a listed member of the file.
func (b *builder) fileSeat(c *changes, s *seat) {
	m, l := s.m, b.listed(s.id)
	role := voterOrLearner(l.Learner)
	free := m.vacant() && m.survivor().MemberID != s.id || m.stray(s.id) // of what is the member's own
	switch {
	case contains(b.outvoted(), m) && s.healthy:
		c.differ = append(c.differ, s)
		c.say("%s's data is not what the majority has", s.name)
		return
	case !s.started && !l.Learner && m.spec.Learner && free:
		c.lost = append(c.lost, s)
		c.say("%s was added as a voter and never started, in the file it is a learner", s.name)
		return
	case !s.started && free && m.ranInVain(s.id):
		c.lost = append(c.lost, s)
		c.say("%s was added as %s and started, and has nothing of it", s.name, role)
		return
	case !s.started && free:
		c.join = append(c.join, s)
		c.say("%s was added as %s and never started", s.name, role)
		if l.Learner && !m.spec.Learner {
			return // promoted when it has joined
		}
	case b.isLost(s):
		c.lost = append(c.lost, s)
		c.say("%s can't go on with what it has: %s", s.name, m.dataText())
		return
	case l.Learner && !m.spec.Learner && s.healthy:
		c.promote = append(c.promote, s)
		c.say("%s is a learner, in the file a voter", s.name)
	}
	if !l.Learner && m.spec.Learner {
		c.demote = append(c.demote, s)
		c.say("%s is a voter, in the file a learner", s.name)
		if !SameURLs(l.PeerURLs, m.spec.PeerURLs) && m.seen.Peer.Reach == ReachServing {
			c.update = append(c.update, s) // it listens there already, and counts until it goes
		}
		return
	}
	if l.Learner && !SameURLs(l.PeerURLs, m.spec.PeerURLs) {
		// Not updated, for older servers promote it by that.
		c.promote = slices.DeleteFunc(c.promote, func(x *seat) bool { return x == s })
		c.demote = append(c.demote, s)
		c.say("%s is a learner with the peer URLs %s, in the file %s", s.name, strings.Join(l.PeerURLs, ","), strings.Join(m.spec.PeerURLs, ","))
		return
	}
	if !SameURLs(l.PeerURLs, m.spec.PeerURLs) {
		c.update = append(c.update, s)
		c.say("%s", b.movedWords(s))
	}
}

func (b *builder) movedWords(s *seat) string {
	return fmt.Sprintf("%s has the peer URLs %s, in the file %s", s.name, strings.Join(b.listed(s.id).PeerURLs, ","), strings.Join(s.m.spec.PeerURLs, ","))
}

// stray reports whether the place has data, and not that of the member id.
func (m *member) stray(id string) bool {
	return m.cond == condRemoved || m.cond == condPristine || m.hasData() && m.data().MemberID != id
}

// ranInVain reports whether requorum started the member id here, which never came to
// serve, and nothing is left of what it may have written: as by a cluster that had no
// quorum at that moment. It does not begin a second time under that ID.
func (m *member) ranInVain(id string) bool {
	p := m.data().Provenance
	return m.vacant() && m.data().EverRan && p != nil && p.MemberID == id
}

// isLost reports whether a member that ran has lost what it had.
func (b *builder) isLost(s *seat) bool {
	switch s.m.cond {
	case condMissing, condFresh, condDamaged, condPristine, condRemoved:
		return true
	case condFenced:
		return s.m.survivor().MemberID != s.id || s.m.survivor().Problem != ""
	}
	return false
}

func (b *builder) listed(id string) ListedMember {
	for _, l := range b.list {
		if l.ID == id {
			return l
		}
	}
	return ListedMember{}
}

// running finds what has to be done about the process of a member that serves.
func (b *builder) running(c *changes, m *member) {
	s := b.seatOf(m)
	if s == nil || slices.Contains(c.demote, s) || slices.Contains(c.differ, s) {
		return
	}
	why := b.restartWhy(m)
	if len(why) > 0 {
		c.restart = append(c.restart, m)
		c.why[m] = strings.Join(why, "; ")
		c.words = append(c.words, why...)
		if m.seen.Peer.Reach != ReachServing || m.forceNew() || b.otherSlots(m) {
			c.early = append(c.early, m)
		}
		return
	}
	if diff := b.unitDiffers(m); diff != "" {
		c.adopt = append(c.adopt, m)
		c.say("%s would be started with other settings the next time (%s: %s)", m.spec.Name, m.at.Unit, diff)
		return
	}
	if m.adoptable() {
		if r := b.checkSameMinor(m); r != nil || !m.seen.Binary.Known() {
			b.note(NoteNotSupervised, m.spec.Pos, "%s can't be adopted: it would be started again with another etcd than it runs; name one in etcd { binary = … }", m.spec.Name)
			return
		}
		c.adopt = append(c.adopt, m)
		c.say("nothing would start %s again after a crash", m.spec.Name)
	}
}

// headline is what is to be done, in a few words.
func (c *changes) headline() string {
	var parts []string
	add := func(verb string, names ...string) {
		if len(names) > 0 {
			parts = append(parts, verb+" "+strings.Join(names, ", "))
		}
	}
	of := func(ss []*seat) []string {
		var out []string
		for _, s := range ss {
			out = append(out, s.name)
		}
		return out
	}
	ms := func(list []*member) []string {
		var out []string
		for _, m := range list {
			out = append(out, m.spec.Name)
		}
		return out
	}
	if len(c.lost) == 1 && c.lost[0].m != nil {
		parts = append(parts, fmt.Sprintf("replace %s (%s)", c.lost[0].name, c.lost[0].m.dataText()))
	} else {
		add("replace", of(c.lost)...)
	}
	for _, s := range c.differ {
		parts = append(parts, fmt.Sprintf("replace %s (its data is not what the majority has)", s.name))
	}
	add("start", of(c.join)...)
	add("promote", of(c.promote)...)
	add("update", of(c.update)...)
	add("make a learner of", of(c.demote)...)
	add("add", ms(c.add)...)
	add("restart", ms(c.restart)...)
	add("remove", of(slices.Concat(c.dead, c.extra))...)
	add("adopt", ms(c.adopt)...)
	if c.way != nil {
		parts = append(parts, c.way.headline())
	}
	return strings.Join(parts, "; ")
}

// otherSlots reports whether the member's process takes another number of learners than
// the file says: each has to know it before one is added.
func (b *builder) otherSlots(m *member) bool {
	n := 1
	for _, a := range m.runsWith() {
		if v, ok := strings.CutPrefix(a, "--max-learners="); ok {
			_, _ = fmt.Sscan(v, &n)
		}
	}
	return m.runsWith() != nil && n != b.maxLearners()
}
