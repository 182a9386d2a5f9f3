package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// The rules, as findings name them.
const (
	p1      = "P1 quorum"
	p2      = "P2 one cluster"
	p3      = "P3 nothing deleted"
	p4      = "P4 fresh identity"
	p5      = "P5 verified first"
	p6      = "P6 one change at a time"
	p7      = "P7 loss told truly"
	p8      = "P8 kill it anywhere"
	s1      = "S1 a majority of disks is started"
	s2      = "S2 unreachable is not gone"
	s3      = "S3 stopped before copied"
	s4      = "S4 in sync is proven"
	s5      = "S5 whose it is"
	s6      = "S6 missing is not new"
	s7      = "S7 one history"
	s8      = "S8 the loss is none or unbounded"
	s15     = "S15 fenced before replaced"
	s17     = "S17 verified before clients"
	s18     = "S18 fence"
	s19     = "S19 aside after removal"
	s24     = "S24 tolerance"
	certs   = "certificates first"
	refused = "refusals have a reason"
	ends    = "walks end"
	repeats = "no step repeats"
	carried = "steps can be carried out"
	same    = "the same input plans the same"
	panics  = "the planner panics"
)

// rules are all of them.
var rules = []string{p1, p2, p3, p4, p5, p6, p7, p8, s1, s2, s3, s4, s5, s6, s7, s8, s15, s17, s18, s19, s24, certs, refused, ends, repeats, carried, same, panics}

// visit is a plan made for a state, with what the rules read from the state.
type visit struct {
	in   *planner.Input
	p    *planner.Plan
	live *living  // nil without a quorum
	left *remains // of the disks
	// begins is whether the steps begin an identity that nothing had before; anew
	// whether they begin any, or go on with one that was begun.
	begins, anew bool
	// was and is are the cluster before and after the step that is looked at.
	was, is *living
	stepped bool
	say     func(rule, why string)
}

func newVisit(in *planner.Input, p *planner.Plan, say func(rule, why string)) *visit {
	v := &visit{in: in, p: p, say: say, live: live(&in.Observation), left: remainsOf(in.Cluster, &in.Observation)}
	for _, s := range p.Steps {
		switch a := s.Action.(type) {
		case planner.Restore:
			for _, m := range a.Members {
				v.anew = true
				v.begins = v.begins || m.Provenance.Token == in.Token
			}
		case planner.Claim:
			for _, m := range a.Members {
				if m.Provenance.Kind == planner.ProvenanceBootstrap {
					v.anew = true
					v.begins = v.begins || m.Provenance.Token == in.Token
				}
			}
		case planner.Recover:
			v.begins, v.anew = true, true
		case planner.Install:
			v.anew = true
		}
	}
	return v
}

// plan holds what the plan says of itself to the rules.
func (v *visit) plan() {
	if v.p.Refusal != nil {
		v.refusal()
		return
	}
	v.inSync()
	v.lossOf()
	v.started()
	v.gone()
	v.whose()
	v.missing()
	v.choice()
	v.order()
	v.shown()
}

func (v *visit) sayf(rule, format string, args ...any) { v.say(rule, fmt.Sprintf(format, args...)) }

// A refusal is a result with a stable code, the reason, and what a person can do.
func (v *visit) refusal() {
	r := v.p.Refusal
	if r.Code == "" || r.Title == "" || r.Detail == "" || len(r.Remedy) == 0 || slices.Contains(r.Remedy, "") {
		v.sayf(refused, "the refusal %q lacks its reason or a remedy", r.Code)
	}
	if len(v.p.Steps) > 0 {
		v.sayf(refused, "the refusal %q has steps", r.Code)
	}
}

// S4. One cluster ID, one view of the leader, and equal HashKV (or "not compared",
// said) before anything is called in sync: split and diverged clusters have quorum too.
func (v *visit) inSync() {
	if v.p.Route != planner.RouteInSync {
		if len(v.p.Steps) == 0 {
			v.sayf(ends, "the route %s has no steps", v.p.Route)
		}
		return
	}
	v.certifiedInSync()
	ids, leaders := map[string]bool{}, map[string]bool{}
	for _, m := range v.in.Cluster.Members {
		e := v.in.Observation.Members[m.Name].Client
		if e.Reach != planner.ReachServing || e.LeaderID == "" {
			v.sayf(s4, "in sync, and %s does not serve under a leader", m.Name)
			continue
		}
		if !m.Learner && !(e.Linearizable.Known() && e.Linearizable.Value) {
			v.sayf(s4, "in sync, and %s does not answer linearizable reads", m.Name)
		}
		ids[e.ClusterID], leaders[e.LeaderID] = true, true
		if v.live == nil {
			v.sayf(s4, "in sync without a quorum")
			return
		}
		switch l := listed(v.live.list, e.MemberID); {
		case l == nil:
			v.sayf(s4, "in sync, and %s is not listed", m.Name)
		case l.Learner != m.Learner || !sameSet(l.PeerURLs, m.PeerURLs) || len(v.live.list) != len(v.in.Cluster.Members):
			v.sayf(s4, "in sync, and the list is not as the file says")
		}
	}
	if len(ids) != 1 || len(leaders) != 1 {
		v.sayf(s4, "in sync, with %d cluster IDs and %d leaders", len(ids), len(leaders))
	}
	kv := v.in.Observation.KV
	if kv.Known() && !kv.Value.Equal {
		v.sayf(s4, "in sync, and the members' data differs")
	}
	if !kv.Known() && len(v.in.Cluster.Members) > 1 && !v.notes(planner.NoteNotCompared) {
		v.sayf(s4, "in sync, and it is not said that the data was not compared")
	}
}

func (v *visit) notes(c planner.Code) bool {
	return slices.ContainsFunc(v.p.Notices, func(n planner.Notice) bool { return n.Code == c })
}

// S1. If the intact disks that can be read are a majority of the voters (by the
// membership in the newest log among them, with and without its uncommitted changes),
// nothing acknowledged is lost and the route is start, not recovery.
func (v *visit) started() {
	r := v.left
	if v.live != nil {
		if v.p.Route == planner.RouteRecover || v.p.Route == planner.RouteRestore || v.p.Route == planner.RouteBootstrap {
			if v.begins {
				v.sayf(s1, "the cluster has a quorum, and the route is %s", v.p.Route)
			}
		}
		return
	}
	if v.p.Route == planner.RouteReconfigure {
		v.sayf(p1, "the membership is changed without a quorum")
	}
	v.unread()
	meet := r.intact-r.moved >= quorumOf(r.voters) || r.moved == 0
	if v.begins && r.majority() && r.oneHistory && !r.back && meet {
		v.sayf(s1, "%d of %d voters' disks are intact, and the route is %s", r.intact, r.voters, v.p.Route)
	}
}

// P2. What runs as a member that the newest disk does not list, and can't be asked which
// members it knows, may be a cluster that lives: none is started beside it.
func (v *visit) unread() {
	for _, m := range v.in.Cluster.Members {
		o := v.in.Observation.Members[m.Name]
		d := o.Data.Value
		if len(v.p.Steps) > 0 && v.left.list != nil && processRuns(&o) && o.Client.Reach != planner.ReachServing && d.State == planner.DirPresent &&
			len(d.Members) == 0 && !o.Peer.Members.Known() && d.ClusterID != "" && listed(v.left.list, d.MemberID) == nil {
			v.sayf(p2, "the route is %s, and %s runs as a member that the newest disk does not list; its own list is unread", v.p.Route, m.Name)
		}
	}
}

// S6. Absent data is missing, not never existed, where a journal, provenance or
// set-aside directory says that a cluster was here: then bootstrap is refused, and
// restore needs data-loss. And: a snapshot alone never leads to a restore while any
// survivor exists; an unreachable host is never taken for lost.
func (v *visit) missing() {
	if !v.begins || v.p.Route != planner.RouteRestore && v.p.Route != planner.RouteBootstrap {
		return
	}
	for _, m := range v.in.Cluster.Members {
		o := v.in.Observation.Members[m.Name]
		d := o.Data.Value
		switch {
		case !o.Data.Known():
			v.sayf(s2, "a new identity (%s), and what lies at %s's place is not known", v.p.Route, m.Name)
		case o.Client.Reach != planner.ReachRefused || o.Peer.Reach != planner.ReachRefused:
			v.sayf(s2, "a new identity (%s), and %s's address may lead to where it runs", v.p.Route, m.Name)
		case d.State == planner.DirPresent || d.Fenced != nil && (d.Fenced.ClusterID != "" || v.p.Route == planner.RouteBootstrap):
			v.sayf(p2, "a new identity (%s) beside %s's data", v.p.Route, m.Name)
		case len(d.Evidence) > 0 && v.p.Route == planner.RouteBootstrap:
			v.sayf(s6, "%s's data is missing, and the route is bootstrap", m.Name)
		case (len(d.Evidence) > 0 || d.Fenced != nil) && !needs(v.p, planner.ConsentDataLoss):
			v.sayf(s6, "%s's data is missing, and the restore needs no consent to a loss", m.Name)
		}
	}
}

// Promise 7 and S8. With a majority of disks the loss is exactly none. Otherwise what
// is stated is a lower bound from evidence and "no upper bound is known; the last
// write that this disk proves is revision R". It needs consent by name.
func (v *visit) lossOf() {
	p, r := v.p, v.left
	switch {
	case p.Route == planner.RouteInSync:
		return
	case p.Loss.Kind != planner.LossNone && p.Loss.Kind != planner.LossUnknown || p.Loss.Text == "":
		v.sayf(p7, "the loss is not told: %q", p.Loss.Kind)
	case p.Loss.Kind == planner.LossUnknown && !strings.Contains(p.Loss.Text, "no upper bound is known"):
		v.sayf(s8, "a loss without %q: %s", "no upper bound is known", p.Loss.Text)
	}
	if p.Route == planner.RouteRestore && p.Loss.Kind == planner.LossNone {
		v.sayf(p7, "a restore that promises to lose nothing")
	}
	if p.Loss.Kind == planner.LossNone && v.live == nil && (p.Route == planner.RouteRecover || p.Route == planner.RouteStart) {
		alive := 0
		for _, o := range v.in.Observation.Others {
			if o.Client.Reach == planner.ReachServing && !o.Learner {
				alive++
			}
		}
		running := false // what runs on may have its disk unread
		for _, o := range v.in.Observation.Members {
			running = running || processRuns(&o)
		}
		if r.intact+alive < quorumOf(r.voters) && !r.ran && !(running && p.Route == planner.RouteStart) {
			v.sayf(s8, "%s promises to lose nothing with %d of %d voters' disks", p.Route, r.intact, r.voters)
		}
	}
	recovers := p.Route == planner.RouteRecover && v.begins
	if recovers && p.Loss.Kind == planner.LossUnknown && !needs(p, planner.ConsentDataLoss) {
		v.sayf(p7, "a loss without consent")
	}
	if recovers && r.newest != nil && r.intact >= quorumOf(r.voters) && r.oneHistory && !r.back && p.Loss.Kind != planner.LossNone &&
		v.in.Cluster.Recover == nil && !needs(p, planner.ConsentTailDrop) {
		v.sayf(s8, "a majority of disks is intact, and the loss is %s", p.Loss.Kind)
	}
}

// A directory at no member's place is what the plan saw, and nothing of a cluster is
// left beside it (S9, and a snapshot block alone never leads to a restore otherwise).
func (v *visit) fromDir(a planner.Recover) {
	s := v.in.Observation.Snapshot
	switch {
	case s == nil || s.Dir == nil || s.Problem != "":
		v.sayf(p5, "recovers from a directory that was not looked at")
	case s.Dir.ClusterID != a.ClusterID || s.Dir.MemberID != a.MemberID || s.Dir.LastIndex != a.LastIndex:
		v.sayf(s5, "recovers from a directory that is not what was seen")
	case a.Upto > a.LastIndex || a.Upto < max(s.Dir.Commit, s.Dir.ConsistentIndex) || a.Upto < a.LastIndex && !needs(v.p, planner.ConsentTailDrop):
		v.sayf(p7, "takes the directory's log to #%d of #%d", a.Upto, a.LastIndex)
	}
	if v.left.newest != nil {
		v.sayf(p7, "recovers from a directory, and a member's own disk is left")
	}
}

// S7 and promise 7. Terms compare only within one history: ranking holds only where
// logs share a prefix; otherwise it is a split brain, and a person chooses. And within
// one the log that goes furthest is taken, whole, unless consent says otherwise.
func (v *visit) choice() {
	for _, s := range v.p.Steps {
		a, ok := s.Action.(planner.Recover)
		if ok && a.From != nil {
			v.fromDir(a)
		}
		if !ok || a.From != nil {
			continue
		}
		i := slices.IndexFunc(v.left.all, func(h holding) bool { return h.name == a.Name })
		if i < 0 || v.left.all[i].d.MemberID != a.MemberID || v.left.all[i].d.ClusterID != a.ClusterID {
			v.sayf(s5, "recovers from %s, whose disk is not that", a.Name)
			return
		}
		chosen := v.left.all[i]
		if chosen.d.Problem != "" {
			v.sayf(p5, "recovers from %s, which is damaged", a.Name)
		}
		if a.LastTerm != chosen.d.LastTerm || a.LastIndex != chosen.d.LastIndex {
			v.sayf(p7, "the log's end is not the disk's")
		}
		if a.Upto < chosen.proven() || a.Upto > a.LastIndex || a.Upto < a.LastIndex && !needs(v.p, planner.ConsentTailDrop) {
			v.sayf(p7, "takes %s's log to #%d of #%d, #%d is proven", a.Name, a.Upto, a.LastIndex, chosen.proven())
		}
		if v.in.Cluster.Recover != nil && v.in.Cluster.Recover.From != "" {
			if a.Name != v.in.Cluster.Recover.From {
				v.sayf(s7, "recovers from %s, and the file says %s", a.Name, v.in.Cluster.Recover.From)
			}
			return
		}
		for _, h := range v.left.all {
			if h.d.Problem == "" && further(h.d, chosen.d) && h.d.ClusterID == chosen.d.ClusterID {
				v.sayf(s7, "recovers from %s, and %s has more", a.Name, h.name)
			}
		}
		for _, h := range v.left.all {
			if n := h.proven(); h.d.Problem == "" && h.d.ClusterID == chosen.d.ClusterID && lacks(chosen, h, n) {
				v.sayf(s7, "recovers from %s, which lacks #%d, and %s has it as agreed on", a.Name, n, h.name)
			}
		}
		for _, h := range v.left.all {
			if h.d.Problem == "" && !oneHistory(chosen, h) && h.name != a.Name && !(h.fenced && h.d.LastTerm <= 1) {
				v.sayf(s7, "recovers from %s, and %s is of another history", a.Name, h.name)
			}
		}
	}
}
