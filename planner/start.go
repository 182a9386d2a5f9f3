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
// with good data. differences wait for the plan after it.
func (b *builder) start(differences []string) *Plan {
	down := with(b.members, condDown)
	if r := b.checkOwnLists(); r != nil {
		return b.refuse(r)
	}
	if r := b.checkStartable(down); r != nil {
		return b.refuse(r)
	}
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("%s down, the data is intact: start", isAre(down))
	b.pass(RouteInSync, "%s not running", isAre(down))
	b.plan.Loss.Text = "Lost: nothing. The cluster has quorum, and the directories of the members that are down are intact."
	b.startStep(down, b.plan.ClusterID)
	for _, d := range differences {
		b.note(NoteRemaining, spec.Position{}, "planning again will deal with: %s", d)
	}
	b.startLines()
	b.noteLive()
	return b.plan
}

// startFromDisks is the plan of a cluster without quorum whose intact
// directories are a majority: nothing acknowledged is lost (S1).
func (b *builder) startFromDisks() *Plan {
	down := with(b.members, condDown)
	if len(down) == 0 {
		return b.awaitOrRefuse()
	}
	for _, check := range []func() *Refusal{b.checkSameMembership, func() *Refusal { return b.checkStartable(down) }} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	intact := b.intact()
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("stopped, with %d of %d voters' data directories intact: start", len(intact), b.listedVoters())
	b.pass(RouteInSync, "%s not running", isAre(down))
	b.plan.Loss.Text = fmt.Sprintf("Lost: nothing. The intact directories (%s) are a majority of the %d voters, so they hold every acknowledged write.", names(intact), b.listedVoters())
	b.startStep(down, b.plan.ClusterID)
	b.verifyStep(union(intact, down), b.plan.ClusterID, 0, false)
	for _, m := range with(b.members, condMissing, condFresh, condDamaged, condPristine) {
		b.note(NoteRemaining, m.spec.Pos, "%s: %s; with a quorum back, planning again will deal with it", m.spec.Name, m.dataText())
	}
	b.startLines()
	b.noteReboot()
	return b.plan
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
		if !s.Known() || !coming && !young {
			return false
		}
	}
	return len(running) > 0
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
		if m.cond == condDown {
			return "start"
		}
		return ""
	})
}

// adopt is the plan of members that run on without their supervisor.
func (b *builder) adopt() *Plan {
	orphans := b.orphans()
	b.plan.Route = RouteStart
	b.plan.Headline = fmt.Sprintf("%s without a supervisor: adopt", verb(orphans, "runs", "run"))
	b.pass(RouteInSync, "nothing would start %s again after a crash", names(orphans))
	b.plan.Loss.Text = "Lost: nothing. No member is touched."
	b.step(Step{
		Action: Adopt{Members: places(orphans)},
		Title:  "adopt",
		Reason: Reason{Fact: "the supervisor is gone, etcd runs on", Pos: orphans[0].spec.Pos},
		Undo:   "not needed: etcd runs on",
		Wait:   "a supervisor watches each", TimeoutSeconds: 30,
		Equivalent: []string{"# no equivalent: the running process is watched through a pidfd"},
	}, b.quorum)
	b.lines(func(m *member) string {
		if m.orphan() {
			return "adopt"
		}
		return ""
	})
	b.noteLive()
	return b.plan
}

// orphans are members that requorum started and whose supervisor has died.
func (b *builder) orphans() []*member {
	var out []*member
	for _, m := range b.members {
		if m.orphan() {
			out = append(out, m)
		}
	}
	return out
}

func (m *member) orphan() bool {
	s := m.seen.Service
	return s.Known() && s.Value.State == ServiceRunning && s.Value.SupervisorPID == 0
}

// startStep starts ms on the data that they have.
func (b *builder) startStep(ms []*member, clusterID string) {
	a := Start{Voters: b.quorum.Voters}
	for _, m := range ms {
		token := clusterID
		if p := m.provenance(); p != nil {
			token = p.Token
		}
		id := m.data().MemberID
		a.Members = append(a.Members, StartMember{
			Place: m.place(), Binary: b.cluster.Etcd.Binary, Cluster: b.cluster.Name,
			Args:      etcdArgs(b.cluster, m.spec, token, "existing"),
			ClusterID: clusterID, MemberID: id, ClientURL: m.spec.ClientURLs[0],
		})
	}
	after := b.quorum
	after.Healthy = min(after.Voters, after.Healthy+b.votersOf(ms)+b.waiting())
	b.appendStart(a, after, Reason{Fact: fmt.Sprintf("%s not running; data intact", isAre(ms)), Pos: ms[0].spec.Pos}, "requorum stop")
}

// waiting counts voters that run and only lack a quorum: they serve once there
// is one.
func (b *builder) waiting() int {
	if b.quorum.Has() {
		return 0
	}
	return len(b.intact()) - len(with(b.intact(), condDown))
}

func (b *builder) appendStart(a Start, after Quorum, why Reason, undo string) {
	s := Step{
		Action: a, Title: "start", Reason: why, Undo: undo,
		Wait:           "each serves clients, and a majority follows one leader",
		TimeoutSeconds: 120,
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
		Wait:   "one cluster ID, one leader, equal HashKV", TimeoutSeconds: 120,
		Equivalent: []string{"etcdctl --endpoints=" + strings.Join(urls, ",") + " endpoint hashkv"},
	}, b.quorum)
}

func places(ms []*member) []Place {
	out := make([]Place, len(ms))
	for i, m := range ms {
		out[i] = m.place()
	}
	return out
}

// isAre is "m1 is" or "m1, m2 are".
func isAre(ms []*member) string { return verb(ms, "is", "are") }

func verb(ms []*member, one, many string) string {
	if len(ms) == 1 {
		return names(ms) + " " + one
	}
	return names(ms) + " " + many
}
