package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// How long the steps of a changing membership may take, in seconds.
const (
	changeSeconds  = 60  // one change of the list
	joinSeconds    = 120 // to start and follow the leader
	catchUpSeconds = 600 // and more for a large database
)

func (b *builder) reconfigureSteps(c *changes) {
	if len(c.adopt) > 0 {
		b.adoptStep(c.adopt)
	}
	b.leadByMajority(c)
	for _, s := range c.lost {
		if s.m.tried() { // once it is removed, its next start would begin as who it was
			b.stopStepFor(s.m, "an etcd is started on its empty place again and again, and the others refuse it")
		}
	}
	// What is dead, or gone, only weighs on the quorum; a learner that moves has the
	// slot that others need.
	for _, s := range slices.Concat(c.dead, c.lost) {
		b.removeStep(s)
	}
	for _, s := range c.demote {
		if !s.learner && !s.healthy {
			b.retire(s)
		}
	}
	for _, s := range c.join { // a voter that never ran weighs on the quorum too
		if !s.learner {
			b.vacate(s.m)
			b.joinStep(s)
		}
	}
	b.updateSteps(c)
	for _, s := range slices.Concat(c.demote, c.differ) {
		if s.learner && slices.Contains(b.seats, s) {
			b.retire(s)
		}
	}
	for _, s := range c.join {
		if !s.started {
			b.vacate(s.m)
			b.joinStep(s)
		}
	}
	for _, s := range c.promote {
		b.promoteStep(s)
	}
	for _, s := range extraLearners(c) {
		b.removeStep(s)
	}
	for _, voters := range []bool{true, false} { // a learner that stays one keeps the slot
		if !voters { // restarts while there are the most voters
			b.lateRestarts(c)
		}
		for _, s := range c.lost {
			if s.m.spec.Learner != voters {
				b.vacate(s.m)
				b.addSteps(s.m)
			}
		}
		for _, s := range c.differ {
			if s.m.spec.Learner == voters {
				continue
			}
			if slices.Contains(b.seats, s) {
				b.retire(s)
			}
			b.addSteps(s.m)
		}
		for _, s := range c.demote {
			if s.m.spec.Learner == voters {
				continue
			}
			if slices.Contains(b.seats, s) {
				b.retire(s)
			}
			b.addSteps(s.m)
		}
		for _, m := range c.add {
			if m.spec.Learner != voters {
				b.vacate(m)
				b.addSteps(m)
			}
		}
	}
	for _, s := range c.extra {
		if !s.learner {
			b.removeStep(s)
		}
	}
}

// stopRemoved stops the service of a member that is no more, and has it disabled:
// nobody else would, for the file does not have it any longer, or has it elsewhere.
func (b *builder) stopRemoved(s *seat) {
	found := s.m != nil
	for _, p := range b.obs.JournalPlaces {
		if p.Name != s.name || b.taken(p) {
			continue
		}
		found = true
		by := "systemctl disable --now " + orWord(p.Unit, "etcd") + "  # on " + orWord(p.Host, p.Name)
		wait := "its process has ended, and nothing starts it at the next boot"
		if p.Commands != nil {
			by, wait = shellLine(p.Commands.Stop)+"  # on "+orWord(p.Host, p.Name), "its process has ended; see to it that its commands are not run at the next boot"
		}
		b.step(Step{
			Action: Stop{Cluster: b.cluster.Name, Members: []StopMember{{Place: p, Removed: true}}}, Title: "stop",
			Reason: Reason{Fact: "it was removed; its data stays in " + p.DataDir, Pos: b.cluster.Pos},
			Undo:   "not needed", Wait: wait, TimeoutSeconds: 60,
			Equivalent: []string{by},
		}, b.seated())
	}
	if !found && s.started {
		b.note(NoteRemaining, b.cluster.Pos, "%s is removed from the cluster, and where it runs is on no host of the file, or not known here: its service is neither stopped nor disabled. On its host: systemctl disable --now etcd", s.name)
	}
}

// taken reports whether a member of the file has the place, or its unit, by now.
func (b *builder) taken(p Place) bool {
	return slices.ContainsFunc(b.members, func(m *member) bool {
		return b.machine(m.at.Host) == b.machine(p.Host) && (m.spec.DataDir == p.DataDir || p.Unit != "" && m.at.Unit == p.Unit)
	})
}

// machine is where a host of the file is; "" for this machine.
func (b *builder) machine(host string) string {
	if h, ok := b.cluster.Host(host); ok && h.Access != spec.AccessLocal {
		return h.Address
	}
	return ""
}

// updateSteps corrects addresses. A member that has to listen elsewhere for it is
// restarted before the next one is updated: two that can't be reached where they
// are listed could not find each other again.
func (b *builder) updateSteps(c *changes) {
	var ms, before []*member
	for _, s := range c.update {
		ms = append(ms, s.m)
	}
	for _, m := range c.early {
		if !contains(ms, m) {
			before = append(before, m) // nobody finds it where it is listed already
		}
	}
	for _, m := range b.leaderLast(before) {
		b.restartSteps(c, m)
	}
	for _, s := range c.update { // these too listen where nobody looks for them yet
		if s.m.seen.Peer.Reach == ReachServing {
			b.updateStep(s)
			ms = slices.DeleteFunc(ms, func(m *member) bool { return m == s.m })
		}
	}
	for _, m := range b.leaderLast(union(ms, c.early)) {
		if s := b.seatOf(m); contains(ms, m) && slices.Contains(c.update, s) {
			b.updateStep(s)
		}
		if contains(c.early, m) && !contains(before, m) {
			b.restartSteps(c, m)
		}
	}
}

func (b *builder) lateRestarts(c *changes) {
	for _, m := range b.leaderLast(c.restart) {
		if !contains(c.early, m) {
			b.restartSteps(c, m)
		}
	}
}

func extraLearners(c *changes) []*seat {
	var out []*seat
	for _, s := range c.extra {
		if s.learner {
			out = append(out, s)
		}
	}
	return out
}

// leaderLast: whoever takes the lead over should not be restarted after that.
func (b *builder) leaderLast(ms []*member) []*member {
	out := slices.Clone(ms)
	slices.SortStableFunc(out, func(x, y *member) int { return rank(b.seatOf(x)) - rank(b.seatOf(y)) })
	return out
}

func rank(s *seat) int {
	if s != nil && s.leads {
		return 1
	}
	return 0
}

// saveBefore is policy { snapshot_before }: from the voter that leads least, so
// that the one everybody waits for has the least to do.
func (b *builder) saveBefore(c *changes) *Refusal {
	p := b.cluster.Policy.SnapshotBefore
	if p == "" || p == "never" || p == "membership" && !c.membership() {
		return nil
	}
	for _, leads := range []bool{false, true} {
		for _, s := range b.seats {
			if s.healthy && !s.learner && s.leads == leads && s.m != nil && s.m.seen.Base != "" && !slices.Contains(c.differ, s) {
				b.saveStep(s.m, Reason{Fact: fmt.Sprintf("the policy says snapshot_before = %q", p), Pos: b.cluster.Policy.Pos})
				return nil
			}
		}
	}
	return refusal(CodeSnapshotBefore, b.cluster.Policy.Pos, "the policy wants a snapshot first, and no member can give one",
		"No voter of the file serves from a place where it could be kept.", "Save one by hand and set snapshot_before = \"never\" for this once.")
}

// saveStep saves what a member holds while it still runs.
func (b *builder) saveStep(m *member, why Reason) {
	url := m.seen.Client.URL
	// Two plans of one second are two files.
	path := m.seen.Base + "/saved/" + fileTime(b.in.Now) + "-" + lastOf(b.in.Token, 6) + ".db"
	b.step(Step{
		Action: Save{Name: m.spec.Name, ClusterID: m.seen.Client.ClusterID, MemberID: m.seen.Client.MemberID, ClientURL: url, Host: m.spec.Host, Path: path},
		Title:  "save snapshot", Reason: Reason{Fact: why.Fact + "; to " + path, Pos: why.Pos}, Undo: "nothing to undo: one more file",
		Wait:           "written, synced, its sha256 checked",
		TimeoutSeconds: copySeconds(m.seen.Client.DBSize, 1),
		Equivalent:     []string{fmt.Sprintf("etcdctl --endpoints=%s snapshot save %s", url, path)},
	}, b.quorum)
}

// fileTime is a time as a file's name.
func fileTime(rfc3339 string) string { return strings.NewReplacer(":", "", "-", "").Replace(rfc3339) }

func lastOf(s string, n int) string { return s[max(0, len(s)-n):] }

// adoptStep leaves every process as it is: what it changes counts from its next start.
func (b *builder) adoptStep(ms []*member) {
	var units, others []*member
	for _, m := range ms {
		if m.unit() != nil {
			units = append(units, m)
		} else {
			others = append(others, m)
		}
	}
	if len(units) > 0 {
		b.step(Step{
			Action: b.adoptAction(units), Title: "write units",
			Reason: Reason{Fact: "started again, etcd would not run as the file says (" + units[0].spec.Name + ": " + b.unitDiffers(units[0]) + ")", Pos: units[0].spec.Pos},
			Undo:   "not needed: etcd runs on", Wait: "systemd has read them", TimeoutSeconds: 30,
		}, b.quorum)
	}
	if len(others) > 0 {
		b.superviseStep(others)
	}
}

func (b *builder) superviseStep(ms []*member) {
	fact := "etcd runs on without a supervisor"
	for _, m := range ms {
		if m.foreign() != nil {
			fact = "started by somebody else; runs as the file wants"
		}
	}
	b.step(Step{
		Action: b.adoptAction(ms), Title: "adopt",
		Reason: Reason{Fact: fact, Pos: ms[0].spec.Pos},
		Undo:   "not needed: etcd runs on",
		Wait:   "a supervisor watches each", TimeoutSeconds: 30,
		Equivalent: []string{"# no equivalent: the running process is watched through a pidfd, and started again when it ends"},
	}, b.quorum)
}

func (b *builder) removeStep(s *seat) {
	fact := "it is not in the file"
	pos := b.cluster.Pos
	if s.m != nil {
		fact, pos = "it is added anew: "+s.m.dataText(), s.m.spec.Pos
	}
	if s.leads {
		b.moveLead(s, func(o *seat) bool { return o.m == nil })
	}
	ends := b.endpoints(s)
	b.unseat(s)
	b.step(Step{
		Action: Remove{Name: s.name, MemberID: s.id, Endpoints: ends},
		Title:  "remove member", Reason: Reason{Fact: fact, Pos: pos},
		NoUndo:         "it can only be added again, empty",
		Wait:           "a quorum of those that stay lists it no more",
		TimeoutSeconds: changeSeconds,
		Equivalent:     []string{fmt.Sprintf("etcdctl --endpoints=%s member remove %s", strings.Join(ends, ","), s.id)},
	}, b.seated())
	b.stopRemoved(s)
}

func (b *builder) updateStep(s *seat) {
	l := b.listed(s.id)
	ends := b.endpoints(nil)
	b.step(Step{
		Action: Update{Name: s.name, MemberID: s.id, PeerURLs: s.m.spec.PeerURLs, Endpoints: ends},
		Title:  "update peer URLs",
		Reason: Reason{Fact: fmt.Sprintf("the cluster has %s for it", strings.Join(l.PeerURLs, ",")), Pos: s.m.spec.Pos},
		Undo:   "yes: update back", Wait: "every voter lists the new ones", TimeoutSeconds: changeSeconds,
		Equivalent: []string{fmt.Sprintf("etcdctl --endpoints=%s member update %s --peer-urls=%s", strings.Join(ends, ","), s.id, strings.Join(s.m.spec.PeerURLs, ","))},
	}, b.quorum)
}

// retire takes a member that runs off the list, to be added anew: what it has goes
// aside only after that (S19).
func (b *builder) retire(s *seat) {
	b.removeStep(s)
	b.stopStepFor(s.m, "it was removed and is added anew")
	b.setAsideStep(s.m)
}

// vacate makes a place free for a member that is added anew: whatever runs there
// is stopped, whatever lies there is kept aside.
func (b *builder) vacate(m *member) {
	if m.processRuns() && !m.tried() {
		b.stopStepFor(m, "what runs there is no member any more")
	}
	d := m.data()
	if f := d.Fenced; d.State == DirFenced && f.Leftovers {
		return // nothing that was anybody's
	}
	if m.seen.Data.Known() && (d.State == DirPresent || d.State == DirFenced || d.Leftovers || d.ClusterID != "") {
		b.setAsideStep(m) // the last is a log of its own without its data
	}
}

func (b *builder) stopStepFor(m *member, why string) {
	b.step(Step{
		Action: Stop{Cluster: b.cluster.Name, Members: stopMembers([]*member{m})}, Title: "stop",
		Reason: Reason{Fact: why, Pos: m.spec.Pos},
		Undo:   "yes: start it again", Wait: "its process has ended", TimeoutSeconds: 60,
		Equivalent: stopCommands([]*member{m}),
	}, b.seated())
}

func (b *builder) setAsideStep(m *member) {
	d := m.survivor()
	a := SetAside{Place: m.place(), Problem: d.Problem}
	if d.ClusterID != "" {
		a.Over = Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
	}
	if a.Problem == "" && (m.cond == condDamaged || m.data().Leftovers) {
		a.Problem = m.dataText()
	}
	b.step(Step{
		Action: a, Title: "set aside",
		Reason: Reason{Fact: "what lies there is not the new member's: " + m.dataText(), Pos: m.spec.Pos},
		Undo:   "yes: it is kept", Wait: "the place is free", TimeoutSeconds: 30,
		Equivalent: []string{"mv " + m.spec.DataDir + " ELSEWHERE"},
	}, b.seated())
}

// addSteps adds a member as a learner, starts it on its empty place and, where the
// file has a voter, promotes it.
func (b *builder) addSteps(m *member) {
	ends := b.endpoints(nil)
	s := &seat{name: m.spec.Name, m: m, learner: true}
	b.seats = append(b.seats, s)
	b.step(Step{
		Action: Add{Name: m.spec.Name, PeerURLs: m.spec.PeerURLs, Endpoints: ends},
		Title:  "add as learner",
		Reason: Reason{Fact: "it is not in the member list", Pos: m.spec.Pos},
		Undo:   "yes: remove it", Wait: "it is listed; etcd wants the voters connected for 5 s first", TimeoutSeconds: changeSeconds,
		Equivalent: []string{fmt.Sprintf("etcdctl --endpoints=%s member add %s --learner --peer-urls=%s", strings.Join(ends, ","), m.spec.Name, strings.Join(m.spec.PeerURLs, ","))},
	}, b.seated())
	b.joinStep(s)
}

// joinStep starts a listed member for the first time, and promotes it where it is
// a learner that is to vote.
func (b *builder) joinStep(s *seat) {
	m := s.m
	ends := b.endpoints(nil)
	start := b.startMember(m)
	start.MemberID, start.Bootstrap, start.Carried = "", true, nil
	start.Args = slices.DeleteFunc(etcdArgs(b.cluster, m.spec, b.plan.ClusterID, "existing"), isInitialCluster)
	s.healthy, s.started, s.url = true, true, m.spec.ClientURLs[0]
	after := b.seated()
	b.step(Step{
		Action: Join{StartMember: start, PeerURLs: m.spec.PeerURLs, Endpoints: ends, When: b.in.Now, By: b.in.By},
		Title:  "start empty",
		Reason: Reason{Fact: "it is listed and has never run", Pos: m.spec.Pos},
		Undo:   "yes: stop and remove it", Wait: "it follows the leader", TimeoutSeconds: joinSeconds + b.sizeSeconds(),
		Equivalent: []string{"etcd " + strings.Join(start.Args, " ") + " --initial-cluster=$(etcdctl member list, as NAME=URL)"},
	}, after)
	if s.learner && !m.spec.Learner {
		b.promoteStep(s)
	}
}

func (b *builder) promoteStep(s *seat) {
	ends := b.endpoints(nil)
	url := s.m.spec.ClientURLs[0]
	if e := s.m.seen.Client; e.Reach == ReachServing && e.URL != "" && e.MemberID == s.id {
		url = e.URL
	}
	s.learner = false
	b.step(Step{
		Action: Promote{Name: s.name, PeerURLs: s.m.spec.PeerURLs, ClientURL: url, Endpoints: ends},
		Title:  "promote",
		Reason: Reason{Fact: "the file has it as a voter", Pos: s.m.spec.Pos},
		NoUndo: "it can only be removed and added again", Wait: "it has all that the leader has; every voter lists it as one",
		TimeoutSeconds: catchUpSeconds + copySeconds(b.dbSize(), 1),
		Equivalent:     []string{fmt.Sprintf("etcdctl --endpoints=%s member promote %s", strings.Join(ends, ","), orWord(s.id, "ID"))},
	}, b.seated())
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

// dbSize is that of the largest database seen, in bytes.
func (b *builder) dbSize() int64 {
	var n int64
	for _, m := range b.members {
		n = max(n, m.seen.Client.DBSize)
	}
	return n
}

// moveLead hands the lead over before its holder stops or goes.
func (b *builder) moveLead(s *seat, changing func(*seat) bool) {
	to := b.successor(s, changing)
	if to == nil {
		return
	}
	ends := b.endpoints(nil)
	s.leads, to.leads = false, true
	b.step(Step{
		Action: MoveLeader{From: s.name, FromID: s.id, To: to.name, ToURL: to.url, Endpoints: ends},
		Title:  "move leader",
		Reason: Reason{Fact: s.name + " leads and is about to stop", Pos: b.cluster.Pos},
		Undo:   "yes: move it back", Wait: "every voter follows another leader", TimeoutSeconds: changeSeconds,
		Equivalent: []string{fmt.Sprintf("etcdctl --endpoints=%s move-leader %s", s.url, orWord(to.id, "ID"))},
	}, b.quorum)
}

// restartSteps stop a member and start it with the file's settings.
func (b *builder) restartSteps(c *changes, m *member) {
	s := b.seatOf(m)
	if s.leads { // to one that stays, and that is where the list has it
		b.moveLead(s, func(o *seat) bool {
			return o.m == nil || slices.Contains(c.demote, o) || contains(c.restart, o.m) && !contains(c.restarted, o.m)
		})
	}
	c.restarted = append(c.restarted, m)
	s.healthy = false
	b.stopStepFor(m, c.why[m])
	s.healthy, s.url = true, m.spec.ClientURLs[0]
	if b.leader() == nil {
		s.leads = true
	}
	a := Start{Voters: b.seated().Voters, Members: []StartMember{b.startMember(m)}}
	b.appendStart(a, b.seated(), Reason{Fact: "with the file's settings", Pos: m.spec.Pos}, "yes: put the file back, apply")
}

// verifyAll reads the file's members back.
func (b *builder) verifyAll() {
	var ms []*member
	for _, m := range b.members {
		if s := b.seatOf(m); s != nil && s.healthy {
			ms = append(ms, m)
		}
	}
	b.verifyStep(ms, b.plan.ClusterID, 0, len(b.inherited())+len(b.alarmed("CORRUPT")) > 0)
}
