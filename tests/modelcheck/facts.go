package main

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// What an observation means, for the rules: read from it here, in this package's own
// words, and not by anything of the planner's.

// quorumOf is a majority of n voters.
func quorumOf(n int) int { return n/2 + 1 }

// living is a cluster that answers as one.
type living struct {
	list    []planner.ListedMember
	voters  int
	healthy int
	leader  string
	unseen  bool // some of the majority that answered can't be seen
}

func (l *living) tolerance() int { return l.healthy - quorumOf(l.voters) }

// live is the cluster that proves its quorum by a linearizable answer; nil for none.
func live(o *planner.Observation) *living {
	var out *living
	eachClient(o, func(_ string, e *planner.Endpoint) {
		if out != nil || !e.Linearizable.Known() || !e.Linearizable.Value || !e.Members.Known() {
			return
		}
		out = &living{list: e.Members.Value, leader: e.LeaderID}
	})
	if out == nil {
		return nil
	}
	counted := map[string]bool{}
	eachClient(o, func(_ string, e *planner.Endpoint) {
		if e.LeaderID == out.leader && !counted[e.MemberID] && votes(out.list, e.MemberID) {
			counted[e.MemberID] = true
			out.healthy++
		}
	})
	for _, l := range out.list {
		if !l.Learner {
			out.voters++
		}
	}
	out.unseen = out.healthy < quorumOf(out.voters)
	out.healthy = max(out.healthy, quorumOf(out.voters)) // a majority answered, also of those that can't be seen
	return out
}

// eachClient calls f for each that serves; others have the name "".
func eachClient(o *planner.Observation, f func(name string, e *planner.Endpoint)) {
	for _, n := range names {
		if o.Members[n].Client.Reach == planner.ReachServing { // without a copy of all the rest
			e := o.Members[n].Client
			f(n, &e)
		}
	}
	for i := range o.Others {
		if o.Others[i].Client.Reach == planner.ReachServing {
			f("", &o.Others[i].Client)
		}
	}
}

func votes(list []planner.ListedMember, id string) bool {
	l := listed(list, id)
	return l != nil && !l.Learner
}

func listed(list []planner.ListedMember, id string) *planner.ListedMember {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

func listedAt(list []planner.ListedMember, urls []string) *planner.ListedMember {
	for i := range list {
		if sameSet(list[i].PeerURLs, urls) {
			return &list[i]
		}
	}
	return nil
}

func sameSet(a, b []string) bool {
	if len(a) == 1 && len(b) == 1 {
		return a[0] == b[0]
	}
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// holding is what a member's place holds of a log, in its place or behind the fence.
type holding struct {
	name   string
	d      *planner.DataDir
	fenced bool
}

// disks are all that hold one of the old identity: not what was restored and never ran.
func disks(o *planner.Observation) []holding {
	var out []holding
	for _, n := range names {
		m, ok := o.Members[n]
		if !ok || !m.Data.Known() {
			continue
		}
		d := m.Data.Value
		switch {
		case d.State == planner.DirFenced && d.Fenced != nil:
			out = append(out, holding{n, d.Fenced, true})
		case d.State == planner.DirPresent && !neverRan(&d):
			out = append(out, holding{n, &d, false})
		}
	}
	return out
}

// decidesAlone: the only voter of its list, which agrees with itself.
func decidesAlone(d *planner.DataDir) bool {
	n := 0
	for _, l := range d.Members {
		if !l.Learner {
			n++
		}
	}
	return n == 1 && votes(d.Members, d.MemberID)
}

// neverRan: restored, as the record beside it says, and nothing but the members in its
// log.
func neverRan(d *planner.DataDir) bool {
	return d.Provenance != nil && d.ProvenanceAgrees && !d.EverRan && d.LastTerm <= 1 && (d.Provenance.Kind == planner.ProvenanceRestore || d.Provenance.Kind == planner.ProvenanceRecover)
}

// whole reports whether etcd would start on the disk and go on.
func (h holding) whole(o *planner.Observation) bool {
	s := o.Members[h.name].Service
	gaveUp := s.Known() && !(h.d.ProvenanceAgrees && !h.d.EverRan) && (strings.Contains(s.Value.LastError, "tocommit(") || strings.Contains(s.Value.LastError, "removed all voters"))
	return h.d.Problem == "" && h.d.ClusterID != "" && h.d.LastIndex > 0 && !gaveUp
}

// proven is the last entry that the disk proves to be agreed on.
func (h holding) proven() uint64 { return max(h.d.Commit, h.d.ConsistentIndex) }

func further(a, b *planner.DataDir) bool {
	return a.LastTerm > b.LastTerm || a.LastTerm == b.LastTerm && a.LastIndex > b.LastIndex
}

// oneHistory reports whether two logs may be of one: no entry that both hold as agreed
// on differs, and no force-new began one of its own.
func oneHistory(a, b holding) bool {
	if a.d.LastIndex == 0 || b.d.LastIndex == 0 {
		return true // nothing in it says otherwise
	}
	x, y := a.d.Log, b.d.Log
	if x == nil || y == nil {
		return false
	}
	for i := max(x.SumsFirst, y.SumsFirst); i < min(x.SumsFirst+uint64(len(x.Sums)), y.SumsFirst+uint64(len(y.Sums))); i++ {
		if x.Sums[i-x.SumsFirst] != y.Sums[i-y.SumsFirst] && (i <= min(a.proven(), b.proven()) || x.Forced > 0 || y.Forced > 0) {
			return false
		}
	}
	return true
}

// lacks reports whether h's entry at an index is not in the other's log: it ends before
// that, or has another there.
func lacks(other, h holding, index uint64) bool {
	if other.d.LastIndex < index {
		return true
	}
	x, y := other.d.Log, h.d.Log
	if x == nil || y == nil || index < x.SumsFirst || index < y.SumsFirst || index-x.SumsFirst >= uint64(len(x.Sums)) || index-y.SumsFirst >= uint64(len(y.Sums)) {
		return false // nobody can tell
	}
	return x.Sums[index-x.SumsFirst] != y.Sums[index-y.SumsFirst]
}

// processRuns reports whether anything of the member's is up, or may be.
func processRuns(m *planner.MemberObservation) bool {
	s := m.Service
	return m.Client.Reach == planner.ReachServing || s.Known() && (s.Value.State == planner.ServiceRunning || s.Value.State == planner.ServiceBackoff) ||
		m.Data.Known() && m.Data.Value.HeldBy != 0
}

// needs reports whether the plan asks for a consent.
func needs(p *planner.Plan, c planner.Consent) bool {
	return slices.ContainsFunc(p.Needs, func(n planner.Need) bool { return n.Consent == c })
}

// survivors is what is left of a cluster's disks, and what follows from it.
type remains struct {
	all, whole []holding
	newest     *holding // of the whole ones
	list       []planner.ListedMember
	voters     int  // by the newest one's list
	intact     int  // of these
	ran        bool // every voter that ever ran has its disk here, whole
	doubt      bool // the newest ends with a change of membership
	oneHistory bool
	back       bool // too few have what was agreed on
	moved      int  // voters that would be looked for elsewhere
}

func (r *remains) majority() bool {
	n := r.voters
	if r.doubt {
		n++
	}
	return r.voters > 0 && r.intact >= quorumOf(n)
}

func remainsOf(c *spec.Cluster, o *planner.Observation) *remains {
	r := &remains{all: disks(o), oneHistory: true}
	if i := slices.IndexFunc(r.all, func(h holding) bool { return !h.fenced && h.d.ClusterID != "" }); i >= 0 { // what is fenced of an older identity is over
		id := r.all[i].d.ClusterID
		r.all = slices.DeleteFunc(r.all, func(h holding) bool { return h.fenced && h.d.ClusterID != id })
	}
	for _, h := range r.all {
		if h.whole(o) {
			r.whole = append(r.whole, h)
			if r.newest == nil || further(h.d, r.newest.d) {
				r.newest = &r.whole[len(r.whole)-1]
			}
		}
	}
	if r.newest == nil {
		return r
	}
	newest := *r.newest // the slice may have moved
	r.newest = &newest
	r.list = newest.d.Members
	for _, h := range r.all { // one that can't be started may still know more of who there is
		if further(h.d, newest.d) && len(h.d.Members) > 0 {
			r.list = h.d.Members
		}
	}
	agreed := uint64(0)
	var voting []holding
	for _, h := range r.whole {
		r.oneHistory = r.oneHistory && oneHistory(newest, h)
		r.doubt = r.doubt || h.d.UncommittedMembership && !decidesAlone(h.d)
		if votes(r.list, h.d.MemberID) {
			voting = append(voting, h)
		}
		if listed(r.list, h.d.MemberID) != nil {
			agreed = max(agreed, h.proven())
		}
	}
	r.ran = true
	for _, l := range r.list {
		if l.Learner {
			continue
		}
		r.voters++
		has := slices.ContainsFunc(voting, func(h holding) bool { return h.d.MemberID == l.ID })
		r.ran = r.ran && (has || l.Name == "")
		if m := listedIn(c, l); has && m != nil && !sameSet(m.PeerURLs, l.PeerURLs) {
			r.moved++
		}
	}
	r.intact = len(voting)
	have := r.voters - len(voting)
	for _, h := range voting {
		if h.d.LastIndex >= agreed {
			have++
		}
	}
	r.back = have < quorumOf(r.voters)
	return r
}

func listedIn(c *spec.Cluster, l planner.ListedMember) *spec.Member {
	for i := range c.Members {
		if c.Members[i].Name == l.Name {
			return &c.Members[i]
		}
	}
	return nil
}
