package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// inSync is the plan of a cluster that is as the file says.
func (b *builder) inSync() *Plan {
	b.plan.Route = RouteInSync
	b.plan.Headline = "in sync: nothing to do"
	b.lines(func(*member) string { return "" })
	b.noteLive()
	return b.plan
}

// start is the plan of a cluster with quorum, some of whose members are down
// with good data. What else differs waits for the plan after it.
func (b *builder) start(c *changes) *Plan {
	down, blocked := b.unblocked(b.startable())
	for _, check := range []func() *Refusal{b.checkHistories, b.checkOwnLists} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	if len(down) == 0 {
		return b.refuse(b.refuseBlocked(blocked[0]))
	}
	if r := b.checkStartable(down); r != nil {
		return b.refuse(r)
	}
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("%s down, the data is intact: start", isAre(down))
	b.pass(RouteInSync, "%s not running", isAre(down))
	b.plan.Loss.Text = "Lost: nothing. The cluster has quorum, and the directories of the members that are down are intact."
	b.unfenceStep(down)
	dealt := b.updateBeforeStart(c, down)
	b.startStep(down, b.plan.ClusterID)
	for _, d := range c.words {
		if slices.Contains(dealt, d) {
			continue
		}
		b.note(NoteRemaining, spec.Position{}, "planning again will deal with: %s", d)
	}
	b.startLines()
	b.noteLive()
	return b.plan
}

// updateBeforeStart has the cluster look for the members where the file has them, before
// they listen there: one that nobody finds, and that looks for others which are about to
// move too, would follow nobody. It gives the differences that are dealt with by that.
// Where the list can't be changed now they are started all the same, and the plan after it
// deals with it.
func (b *builder) updateBeforeStart(c *changes, down []*member) (dealt []string) {
	var moved []*seat
	for _, m := range down {
		s, l := b.seatOf(m), b.entry(m)
		if l == nil || s == nil || SameURLs(l.PeerURLs, m.spec.PeerURLs) {
			continue
		}
		if b.takenPeerURL(s.id, m.spec.PeerURLs) {
			return nil
		}
		moved = append(moved, s)
	}
	sealed := slices.ContainsFunc(b.members, func(m *member) bool { return m.seen.Client.Sealed })
	if len(moved) == 0 || sealed || b.checkCalm(c) != nil || b.saveBefore(c) != nil {
		return nil
	}
	for _, s := range moved {
		b.updateStep(s)
		dealt = append(dealt, b.movedWords(s))
	}
	return dealt
}

// takenPeerURL reports whether another member is listed with one of the URLs: etcd takes
// none twice.
func (b *builder) takenPeerURL(id string, urls []string) bool {
	return slices.ContainsFunc(b.list, func(l ListedMember) bool {
		return l.ID != id && slices.ContainsFunc(l.PeerURLs, func(u string) bool { return slices.Contains(urls, u) })
	})
}

// startFromDisks is the plan of a cluster without quorum whose intact
// directories are a majority: nothing acknowledged is lost (S1).
func (b *builder) startFromDisks() *Plan {
	down, empty := b.startable(), b.unstarted()
	intact := b.intact()
	if can, blocked := b.unblocked(down); len(blocked) > 0 {
		intact = slices.DeleteFunc(slices.Clone(intact), func(m *member) bool { return contains(blocked, m) })
		if len(intact)+b.aliveElsewhere() < majority(b.listedVoters()) || len(can) == 0 {
			return b.refuse(b.refuseBlocked(blocked[0]))
		}
		down = can
	}
	if len(b.intact()) >= majority(b.listedVoters()) {
		empty = nil // they join when there is a quorum
	}
	if m := b.inPlaceUnopened(); m != nil {
		return b.openInPlace(m)
	}
	if len(down)+len(empty) == 0 {
		if count(b.members, condRunning, condServing) == 0 {
			return b.refuse(b.refuseElsewhere())
		}
		return b.awaitOrRefuse()
	}
	for _, check := range []func() *Refusal{
		b.checkHistories, b.checkSameMembership, func() *Refusal { return b.checkStartable(down) }, func() *Refusal { return b.checkPlaces(empty) },
		func() *Refusal { return b.checkSameMinors(empty) },
	} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	started := union(down, empty)
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("stopped, with %d of %d voters' data directories intact: start", len(intact), b.listedVoters())
	b.pass(RouteInSync, "%s not running", isAre(started))
	b.plan.Loss.Text = fmt.Sprintf("Lost: nothing. The intact directories (%s) are a majority of the %d voters, so they hold every acknowledged write.", names(intact), b.listedVoters())
	for _, m := range down {
		if diff := b.settingsDiffer(m); diff != "" {
			b.note(NoteRemaining, m.spec.Pos, "%s: it is started with the file's", diff)
		}
	}
	b.tellSuperseded()
	if n := b.aliveElsewhere(); n > 0 && len(intact) < majority(b.listedVoters()) {
		b.plan.Headline = fmt.Sprintf("stopped in part, with %d voters here and %d that answer elsewhere, of %d: start", len(intact), n, b.listedVoters())
		b.plan.Loss.Text = "Lost: nothing. With those that answer elsewhere the intact directories are a majority, so they hold every acknowledged write."
	}
	if len(empty) > 0 {
		b.plan.Headline = fmt.Sprintf("%s added and never started, so that there is no quorum: start", verb(empty, "was", "were"))
		b.plan.Loss.Text = fmt.Sprintf("Lost: nothing. Every voter that ever ran has its data here (%s), and it holds every acknowledged write.", names(intact))
		b.claimUnstarted(empty)
	}
	b.unfenceStep(down)
	b.startStep(started, b.plan.ClusterID)
	b.verifyStep(union(union(intact, down), empty), b.plan.ClusterID, 0, false)
	for _, m := range with(b.members, condMissing, condFresh, condDamaged, condPristine, condRemoved) {
		b.note(NoteRemaining, m.spec.Pos, "%s: %s; with a quorum back, planning again will deal with it", m.spec.Name, m.dataText())
	}
	b.startLines()
	b.noteReboot()
	return b.plan
}

// tellSuperseded is for disks that were fenced when another identity took their place,
// and ran: what it acknowledged is on none of them (S8).
func (b *builder) tellSuperseded() {
	id := b.superseded()
	if id == "" {
		return
	}
	b.plan.Loss = Loss{Kind: LossUnknown, Text: fmt.Sprintf("Lost: what cluster %s took after these directories were fenced; no upper bound is known.", id)}
	b.need(ConsentDataLoss, "cluster %s took the place of this one and ran, and its data is gone (a disk that is not mounted looks the same): what it acknowledged is given up", id)
	b.needOnce(ConsentStaleWatchers, "revisions go on where this cluster was fenced: clients that watched the other one may keep showing what is no more")
}

// superseded is the ID of a cluster that ran after the one whose disks are all behind
// the fence, by the record beside a place that has lost its data; "" for none.
func (b *builder) superseded() string {
	old := ""
	for _, m := range b.holders() {
		if m.cond != condFenced {
			return ""
		}
		old = m.survivor().ClusterID
	}
	for _, m := range with(b.members, condMissing, condFresh) {
		if p := m.data().Provenance; old != "" && p != nil && m.data().EverRan && p.ClusterID != "" && p.ClusterID != old {
			return p.ClusterID
		}
	}
	return ""
}

// refuseElsewhere is for a cluster whose voters all run where the file has nobody.
func (b *builder) refuseElsewhere() *Refusal {
	return refusal(CodeUnreachable, b.cluster.Pos, "the cluster's voters run, and none of them is in the file",
		fmt.Sprintf("They are %s. Of the members of the file none serves, and none can be started as a voter.", listText(b.list)),
		"Name those that serve in the file too, and plan again: the others are then replaced or added beside them.")
}

// claimUnstarted records whom listed members are about to be, before they start
// for the first time.
func (b *builder) claimUnstarted(ms []*member) {
	var a Claim
	for _, m := range ms {
		l := b.listedAt(m)
		a.Members = append(a.Members, ClaimMember{Place: m.place(), Provenance: Provenance{
			Kind: ProvenanceJoin, Token: JoinToken(b.plan.ClusterID, l.ID), Name: m.spec.Name, InitialCluster: Fellows(b.list, l.ID, m.spec.Name),
			ClusterID: b.plan.ClusterID, MemberID: l.ID, When: b.in.Now, By: b.in.By,
		}})
	}
	b.step(Step{
		Action: a, Title: "record identity",
		Reason: Reason{Fact: fmt.Sprintf("%s listed and never ran", isAre(ms)), Pos: ms[0].spec.Pos},
		Undo:   "nothing to undo: no data yet",
		Wait:   "written and synced", TimeoutSeconds: 30,
		Equivalent: []string{"# no equivalent: etcd keeps no record of it"},
	}, b.quorum)
}

// JoinToken is what the provenance of a member that joins a living cluster has as
// its token: it has none of etcd's.
func JoinToken(clusterID, memberID string) string { return "join-" + clusterID + "-" + memberID }

// Fellows is --initial-cluster for the member with this ID, which joins as name: the
// peer URLs as listed. The other names in it mean nothing to etcd, but that two that
// are the same would be taken for one member.
func Fellows(list []ListedMember, id, name string) string {
	var out []string
	for _, l := range list {
		label := "member-" + l.ID
		if l.ID == id {
			label = name
		}
		for _, u := range l.PeerURLs {
			out = append(out, label+"="+u)
		}
	}
	return strings.Join(out, ",")
}

// listedAt is the entry of the list that the member of the file is.
func (b *builder) listedAt(m *member) ListedMember {
	for _, l := range b.list {
		if b.ofFile(l) == m {
			return l
		}
	}
	return ListedMember{}
}

// union has every member of a and of b once, in the file's order as far as a and
// b have it.
func union(a, b []*member) []*member {
	out := slices.Clone(a)
	for _, m := range b {
		if !contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// startSeconds is how long a member that was started may take to answer before
// its silence means something.
const startSeconds = 60

// starting reports whether the members that run without answering have all been
// started just now.
func (b *builder) starting() bool {
	running := with(b.members, condRunning)
	for _, m := range running {
		s := m.seen.Service
		// A supervisor that has not started it yet, or a process that is young.
		coming := s.Value.State == ServiceBackoff && s.Value.Restarts == 0
		young := s.Value.State == ServiceRunning && s.Value.UpSeconds <= startSeconds
		// A process on a directory that is no more is no start.
		gone := m.seen.Data.Known() && m.data().State == DirAbsent && young
		if !s.Known() || !coming && !young || gone {
			return false
		}
	}
	return len(running) > 0
}

// startedInVain reports whether one that runs without answering has done so before:
// systemd ends a unit that does not report within its time, and starts it again, so that
// it is young for ever.
func (b *builder) startedInVain() bool {
	return slices.ContainsFunc(with(b.members, condRunning), func(m *member) bool {
		return m.unit() != nil && m.seen.Service.Value.Restarts > 0
	})
}

// refuseTooEarly is for members that were started just now: whether they find a quorum
// is not known (S2).
func (b *builder) refuseTooEarly() *Refusal {
	m := with(b.members, condRunning)[0]
	up := m.seen.Service.Value.UpSeconds
	return refusal(CodeDeadWithAlive, m.spec.Pos, m.spec.Name+" was started just now, and does not answer yet",
		fmt.Sprintf("It is up for %d s (%s). Without a quorum etcd answers nobody; that there is none any more is believed after %d s.", up, m.portDetail(), startSeconds),
		fmt.Sprintf("Plan again in %d s.", max(startSeconds-up+1, 1)))
}

// awaitOrRefuse is for members that run and don't answer, where there is nothing
// to start: young ones are waited for.
func (b *builder) awaitOrRefuse() *Plan {
	if b.starting() {
		return b.await()
	}
	return b.refuse(b.refuseNoReply())
}

// await is the plan of members that were started and do not answer yet.
func (b *builder) await() *Plan {
	running := with(b.members, condRunning)
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("%s starting: wait", isAre(running))
	b.pass(RouteInSync, "%s not answering yet", isAre(running))
	b.plan.Loss.Text = "Lost: nothing. The data is in place."
	up := with(b.members, condRunning, condServing)
	b.verifyStep(up, b.plan.ClusterID, 0, false)
	b.quorum.Healthy = min(b.quorum.Voters, b.votersOf(up))
	b.plan.Steps[0].After = b.quorum
	b.lines(func(m *member) string {
		if m.cond == condRunning {
			return "wait"
		}
		return ""
	})
	b.noteReboot()
	return b.plan
}

func (b *builder) startLines() {
	b.lines(func(m *member) string {
		if m.cond == condDown || m.cond == condFenced && b.entry(m) != nil {
			return "start"
		}
		return ""
	})
}

// adopt is the plan of members that run as the file says, and that nobody would
// start again.
func (b *builder) adopt() *Plan {
	var ms []*member
	for _, m := range with(b.members, condServing) {
		if m.adoptable() || b.unitDiffers(m) != "" {
			ms = append(ms, m)
		}
	}
	for _, check := range []func() *Refusal{b.checkAllServe, func() *Refusal { return b.checkStarts(&changes{adopt: ms}) }} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("%s without a supervisor: adopt", verb(ms, "runs", "run"))
	b.pass(RouteInSync, "nothing would start %s again after a crash", names(ms))
	var next []string
	for _, m := range ms {
		if diff := b.unitDiffers(m); diff != "" {
			next = append(next, fmt.Sprintf("%s would start %s with other settings the next time: %s", m.at.Unit, m.spec.Name, diff))
		}
	}
	if len(next) > 0 {
		b.plan.Headline = fmt.Sprintf("%s as the file says, and would not after the next start: write the units", verb(ms, "runs", "run"))
		b.plan.Passed[len(b.plan.Passed)-1].Why = strings.Join(next, "; ")
	}
	b.plan.Loss.Text = "Lost: nothing. No member is touched."
	b.adoptStep(ms)
	b.lines(func(m *member) string {
		if contains(ms, m) {
			return "adopt"
		}
		return ""
	})
	b.noteLive(ms...)
	return b.plan
}

// unfenceStep puts the directories of those of ms that are fenced back.
func (b *builder) unfenceStep(ms []*member) {
	var a Unfence
	var by []string
	for _, m := range with(ms, condFenced) {
		d := m.survivor()
		a.Members = append(a.Members, FenceMember{Place: m.place(), Over: Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}})
		by = append(by, "mv "+d.Path+" "+m.spec.DataDir)
	}
	if len(a.Members) == 0 {
		return
	}
	b.step(Step{
		Action: a, Title: "put back",
		Reason: Reason{Fact: "fenced by a recovery that is no longer needed", Pos: b.cluster.Pos},
		Undo:   "yes", Wait: "the directories are in their place", TimeoutSeconds: 30, Equivalent: by,
	}, b.quorum)
}

func (b *builder) adoptAction(ms []*member) Adopt {
	var a Adopt
	for _, m := range ms {
		x := AdoptMember{StartMember: b.startMember(m)}
		if f := m.foreign(); f != nil {
			x.PID, x.Start = f.PID, f.Start
		}
		a.Members = append(a.Members, x)
	}
	return a
}

// foreign is the process on the member's directory that requorum did not start;
// nil for none.
func (m *member) foreign() *Foreign {
	if !m.seen.Service.Known() {
		return nil
	}
	return m.seen.Service.Value.Foreign
}

// orphan is a member that requorum started and that has lost its supervisor.
func (m *member) orphan() bool {
	s := m.seen.Service
	return s.Known() && s.Value.State == ServiceRunning && s.Value.SupervisorPID == 0
}

// startStep starts ms on the data that they have.
func (b *builder) startStep(ms []*member, clusterID string) {
	a := Start{Voters: b.quorum.Voters}
	for _, m := range ms {
		s := b.startMember(m)
		s.ClusterID = clusterID
		if m.cond == condFresh { // listed, and never started
			s.MemberID, s.Bootstrap = b.listedAt(m).ID, true
			s.Args = append(slices.DeleteFunc(s.Args, isInitialCluster), "--initial-cluster="+Fellows(b.list, s.MemberID, m.spec.Name))
		}
		a.Members = append(a.Members, s)
	}
	after := b.quorum
	after.Healthy = min(after.Voters, after.Healthy+b.votersOf(ms)+b.waiting())
	b.appendStart(a, after, Reason{Fact: fmt.Sprintf("%s not running; data intact", isAre(ms)), Pos: ms[0].spec.Pos}, "requorum stop")
}

// startMember is how the member is started, and started again, on the data that
// it has.
func (b *builder) startMember(m *member) StartMember {
	token := b.plan.ClusterID
	if p := m.provenance(); p != nil {
		token = p.Token
	}
	carried := b.carried(m, m.nextMinor())
	return StartMember{
		Place: m.place(), Binary: b.binaryOf(m), Cluster: b.cluster.Name,
		Args: append(b.args(m, token, "existing"), carried...), Carried: carried,
		ClusterID: b.plan.ClusterID, MemberID: m.id(), ClientURL: m.spec.ClientURLs[0],
	}
}

func isInitialCluster(arg string) bool { return strings.HasPrefix(arg, "--initial-cluster=") }

// waiting counts voters that run and only lack a quorum: they serve once there
// is one.
func (b *builder) waiting() int {
	if b.quorum.Has() {
		return 0
	}
	return count(b.intact(), condRunning, condServing) + b.aliveElsewhere()
}

func (b *builder) appendStart(a Start, after Quorum, why Reason, undo string) {
	s := Step{
		Action: a, Title: "start", Reason: why, Undo: undo,
		Wait:           "each serves clients, and a majority follows one leader",
		TimeoutSeconds: 120 + b.sizeSeconds(),
	}
	if undo == "" {
		s.NoUndo = "clients write again"
	}
	for _, m := range a.Members {
		binary := m.Binary
		if binary == "" {
			binary = "requorum etcd"
		}
		s.Equivalent = append(s.Equivalent, binary+" "+strings.Join(m.Args, " "))
	}
	b.step(s, after)
}

// verifyStep reads ms back.
func (b *builder) verifyStep(ms []*member, clusterID string, revision int64, disarm bool) {
	var urls []string
	a := Verify{ClusterID: clusterID, Revision: revision, Disarm: disarm}
	for _, m := range ms {
		a.Members = append(a.Members, m.spec.Name)
		urls = append(urls, m.spec.ClientURLs[0])
	}
	fact := "what was started has to be the same everywhere"
	if revision > 0 {
		fact = fmt.Sprintf("revision %d, or a later one, has to be on every member", revision)
	}
	b.step(Step{
		Action: a, Title: "verify",
		Reason: Reason{Fact: fact, Pos: b.cluster.Pos},
		Undo:   "changes nothing",
		Wait:   "one cluster ID, one leader, equal HashKV", TimeoutSeconds: 120 + 2*b.sizeSeconds(),
		Equivalent: []string{"etcdctl --endpoints=" + strings.Join(urls, ",") + " endpoint hashkv"},
	}, b.quorum)
}

// isAre is "m1 is" or "m1, m2 are".
func isAre(ms []*member) string { return verb(ms, "is", "are") }

func verb(ms []*member, one, many string) string {
	if len(ms) == 1 {
		return names(ms) + " " + one
	}
	return names(ms) + " " + many
}
