package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// condition is what a member of the file amounts to, as far as choosing a route
// goes.
type condition string

const (
	condServing  condition = "serving"  // answers clients
	condRunning  condition = "running"  // its process runs and does not answer clients
	condDown     condition = "down"     // no process; an intact directory
	condPristine condition = "pristine" // no process; restored by requorum, never started
	condDamaged  condition = "damaged"  // a directory that can't be started
	condRemoved  condition = "removed"  // a directory of a member that the membership does not have
	condFresh    condition = "fresh"    // no directory, and nothing says there ever was one
	condFenced   condition = "fenced"   // no process; requorum keeps its directory behind a fence
	condMissing  condition = "missing"  // no directory where one was (S6)
	condUnknown  condition = "unknown"  // it could not be learned
)

// member is one member of the file together with what was seen of it.
type member struct {
	spec spec.Member
	at   Place
	seen MemberObservation
	cond condition
	// minor is that of the etcd it is started with next, seen.Binary, where the file
	// has one for each.
	minor int
}

func (m *member) data() DataDir { return m.seen.Data.Value }

// hasData reports whether there is a directory with a log in it.
func (m *member) hasData() bool {
	return m.seen.Data.Known() && m.data().State == DirPresent && m.data().ClusterID != ""
}

// provenance is the member's record where the directory's IDs agree with it or
// where there is no directory yet to disagree (S18); nil otherwise.
func (m *member) provenance() *Provenance {
	p := m.data().Provenance
	if p == nil || (m.hasData() && !m.data().ProvenanceAgrees) {
		return nil
	}
	return p
}

func classify(c *spec.Cluster, obs *Observation) []*member {
	out := make([]*member, 0, len(c.Members))
	for _, m := range c.Members {
		v := &member{spec: m, at: PlaceOf(c, m), seen: obs.Members[m.Name]}
		v.addFileEvidence(c)
		v.cond = v.condition()
		out = append(out, v)
	}
	return out
}

// addFileEvidence: a file that pins an ID, or asks for a recovery, says that a
// cluster was here, but for what is claimed by the identity that took its place.
func (m *member) addFileEvidence(c *spec.Cluster) {
	if !m.seen.Data.Known() || m.data().State == DirPresent || m.data().Provenance != nil {
		return
	}
	d := &m.seen.Data.Value
	if c.ID != "" {
		d.Evidence = append(slices.Clone(d.Evidence), "the file pins the cluster ID "+c.ID)
	}
	if c.Recover != nil {
		d.Evidence = append(slices.Clone(d.Evidence), "the file asks for a recovery")
	}
}

func (m *member) condition() condition {
	if m.seen.Client.Reach == ReachServing {
		return condServing
	}
	if m.seen.Data.Known() && m.data().State == DirPresent && m.data().HeldBy == 0 && (m.data().Problem != "" || m.spoilt() != "") {
		return condDamaged // also where a supervisor tries again and again
	}
	if m.processRuns() {
		return condRunning
	}
	if !m.seen.Data.Known() {
		return condUnknown
	}
	d := m.data()
	switch d.State {
	case DirFenced:
		return condFenced
	case DirAbsent, DirEmpty:
		if len(d.Evidence) > 0 {
			return condMissing
		}
		return condFresh
	case DirPresent:
		if m.neverStarted() {
			return condPristine
		}
		return condDown
	}
	return condUnknown
}

// spoilt gives etcd's last words where they say that this directory can't take part
// in its cluster any more, though it reads well: a disk that was rolled back, or
// one on which force-new-cluster expelled everybody.
func (m *member) spoilt() string {
	s := m.seen.Service
	if d := m.data(); d.ProvenanceAgrees && !d.EverRan {
		return "" // put in place since: they were of what was there before
	}
	if !s.Known() || s.Value.State != ServiceFailed && s.Value.State != ServiceBackoff {
		return ""
	}
	for _, words := range []string{"tocommit(", "removed all voters"} {
		if strings.Contains(s.Value.LastError, words) {
			return s.Value.LastError
		}
	}
	return ""
}

// processRuns reports whether a process of this member is up, supervised or
// not.
func (m *member) processRuns() bool {
	if s := m.seen.Service; s.Known() && (s.Value.State == ServiceRunning || s.Value.State == ServiceBackoff) {
		return true
	}
	return m.seen.Data.Known() && m.data().HeldBy != 0
}

// neverStarted reports whether the directory is a restored one that no etcd has
// ever run on: requorum says so, and the log has nothing but the membership
// that every restore writes, in term 1.
func (m *member) neverStarted() bool {
	d := m.data()
	return !d.EverRan && d.ProvenanceAgrees && d.Provenance != nil &&
		(d.Provenance.Kind == ProvenanceRestore || d.Provenance.Kind == ProvenanceRecover) &&
		d.LastTerm <= 1 && d.LastIndex == uint64(initialMembers(d.Provenance.InitialCluster))
}

// initialMembers counts the names in an --initial-cluster, where a member stands
// once for each of its URLs.
func initialMembers(initialCluster string) int {
	names := map[string]bool{}
	for _, pair := range strings.Split(initialCluster, ",") {
		if name, _, ok := strings.Cut(pair, "="); ok {
			names[name] = true
		}
	}
	return len(names)
}

func count(ms []*member, conds ...condition) int {
	return len(with(ms, conds...))
}

func with(ms []*member, conds ...condition) []*member {
	var out []*member
	for _, m := range ms {
		for _, c := range conds {
			if m.cond == c {
				out = append(out, m)
				break
			}
		}
	}
	return out
}

func names(ms []*member) string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.spec.Name
	}
	return strings.Join(out, ", ")
}

func (m *member) place() Place { return m.at }

// otherLine describes a member that the file does not have.
func (b *builder) otherLine(o OtherMember) MemberLine {
	out := MemberLine{Name: nameOf(o.ListedMember), Data: "not in the file", Alarm: true}
	switch e := o.Client; {
	case e.Reach == ReachServing && e.LeaderID != "" && e.LeaderID == e.MemberID:
		out.Seen = "serves, leader, etcd " + e.Version
	case e.Reach == ReachServing && e.LeaderID != "":
		out.Seen = "serves, " + orWord(map[bool]string{true: "learner"}[e.Learner], "follower") + ", etcd " + e.Version
	case e.Reach == ReachServing:
		out.Seen = "serves, no leader, etcd " + e.Version
	case o.Peer.Reach == ReachServing:
		out.Seen = "its peer port answers"
	case !hasRun(o.ListedMember):
		out.Seen = "never started"
	default:
		out.Seen = orWord(string(e.Reach), "not asked")
	}
	for _, s := range b.plan.Steps {
		if a, ok := s.Action.(Remove); ok && a.MemberID == o.ID {
			out.Todo = "remove"
		}
	}
	return out
}

// line describes the member for the plan's first table.
func (m *member) line(todo string) MemberLine {
	bad := m.cond != condServing && m.cond != condFresh && m.cond != condPristine
	return MemberLine{Name: m.spec.Name, Seen: m.seenText(), Data: m.dataText(), Todo: todo, Alarm: bad}
}

func (m *member) seenText() string {
	e := m.seen.Client
	switch m.cond {
	case condServing:
		role := "follower"
		switch {
		case e.Learner:
			role = "learner"
		case e.LeaderID == "":
			role = "no leader"
		case e.LeaderID == e.MemberID:
			role = "leader"
		}
		return fmt.Sprintf("serves, %s, etcd %s", role, orWord(e.Version, "(version not known)"))
	case condRunning:
		return m.runningText()
	}
	if len(m.seen.PortsTaken) > 0 {
		return "its address is taken"
	}
	if e.Reach != "" && e.Reach != ReachRefused {
		return string(e.Reach)
	}
	return "not running"
}

func (m *member) runningText() string {
	s := m.seen.Service.Value
	switch {
	case s.State == ServiceBackoff && s.Restarts == 0:
		return "is about to start"
	case s.State == ServiceBackoff:
		return fmt.Sprintf("dies and restarts (%d times)", s.Restarts)
	case s.State == ServiceRunning && m.closed():
		return "runs, closed to clients"
	case m.seen.Peer.Reach == ReachServing:
		return "runs without a quorum"
	case s.State == ServiceRunning:
		return fmt.Sprintf("runs (pid %d), no answer", s.PID)
	}
	return fmt.Sprintf("runs outside requorum (pid %d)", m.data().HeldBy)
}

func (m *member) dataText() string {
	if !m.seen.Data.Known() {
		return "unknown: " + m.seen.Data.Why
	}
	d := m.data()
	switch {
	case d.State == DirAbsent && d.Staged != "", d.State == DirEmpty && d.Staged != "":
		return "restored, not yet in place"
	case d.State == DirAbsent:
		return "no data directory"
	case d.State == DirEmpty && d.Leftovers:
		return "an etcd ended there before it had a log"
	case d.State == DirEmpty:
		return "data directory is empty"
	case d.State == DirFenced:
		return "behind requorum's fence, " + m.logText(m.survivor())
	case d.State == DirNotDir:
		return "not a directory"
	case d.Problem != "":
		return d.Problem
	case m.cond == condDamaged:
		return m.spoilt()
	case m.cond == condRemoved:
		return fmt.Sprintf("member %s, which was removed", d.MemberID)
	case m.cond == condPristine:
		return fmt.Sprintf("restored, never started, revision %d", d.Revision)
	case m.cond == condServing:
		return fmt.Sprintf("revision %d", m.seen.Client.Revision)
	}
	return m.logText(d)
}

func (m *member) logText(d DataDir) string {
	if d.Problem != "" {
		return d.Problem
	}
	return fmt.Sprintf("log to term %d #%d", d.LastTerm, d.LastIndex)
}

// survivor is what the member's disk holds of the old identity: its directory, or
// what lies behind the fence.
func (m *member) survivor() DataDir {
	if d := m.data(); d.State == DirFenced && d.Fenced != nil {
		return *d.Fenced
	}
	return m.data()
}
