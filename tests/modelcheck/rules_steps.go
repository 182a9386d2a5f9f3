package main

import (
	"reflect"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

func sameAction(a, b planner.Action) bool { return reflect.DeepEqual(a, b) }

// before holds a step to the rules by what there is before it. That is asked first: a
// step that breaks one of them need not be one that can be carried out.
func (v *visit) before(s *planner.Step, before *planner.Observation) {
	if v.was = v.is; !v.stepped {
		v.was = v.live
	}
	v.newIdentity(s, before)
	v.fencing(s, before)
	switch a := s.Action.(type) {
	case planner.Start:
		for _, m := range a.Members {
			v.certified(m.Name, before)
		}
	case planner.Join:
		v.certified(a.Name, before)
	case planner.Stop:
		v.leftAlone(a.Targets(), before)
	}
	switch a := s.Action.(type) {
	case planner.Add, planner.Join, planner.Promote, planner.Remove, planner.Update, planner.MoveLeader:
		v.change(s.Action, before)
	case planner.Start:
		for i := range a.Members {
			v.start(&a.Members[i], before)
		}
	case planner.SetAside:
		v.aside(a, before)
	case planner.Adopt:
		v.adopt(a, before)
	case planner.Stop:
		v.stop(a, before)
	}
}

// after holds the step to the rules by what it makes of that.
func (v *visit) after(s *planner.Step, before, after *planner.Observation) {
	v.is, v.stepped = live(after), true
	v.quorum(s)
	v.kept(s, before, after)
	v.fenced(s, after)
	if a, ok := s.Action.(planner.Add); ok && v.is != nil {
		if m := listedAt(v.is.list, a.PeerURLs); m == nil || !m.Learner {
			v.sayf(p6, "%s is not added as a learner", a.Name)
		}
	}
}

// Promise 1 and S24. No step of ours makes a cluster with quorum lose it without
// consent. Tolerance may not fall below the smaller of policy and where it began,
// except that one healthy member at a time may be stopped, or a dead one removed;
// strict refuses these too. And the plan counts as it is.
func (v *visit) quorum(s *planner.Step) {
	was, is := v.was, v.is
	if was == nil {
		return
	}
	switch {
	case needs(v.p, planner.ConsentDowntime):
	case is == nil:
		v.sayf(p1, "%s %v takes the quorum away without consent", s.Kind, s.Target)
	case v.live != nil && is.tolerance() < min(v.in.Cluster.Policy.MinFaultTolerance, v.live.tolerance()):
		_, stops := s.Action.(planner.Stop)
		_, removes := s.Action.(planner.Remove)
		dip := (stops || removes && is.healthy == was.healthy) && !v.in.Cluster.Policy.Strict
		if !dip || is.tolerance() < was.tolerance()-1 {
			v.sayf(s24, "%s %v lowers the tolerance to %d", s.Kind, s.Target, is.tolerance())
		}
	}
	if is == nil || v.live == nil || v.live.unseen {
		return
	}
	if s.After.Voters != is.voters {
		v.sayf(p1, "after %s %v the plan counts %d voters, and there are %d", s.Kind, s.Target, s.After.Voters, is.voters)
	}
	if s.After.Healthy > is.healthy {
		v.sayf(p1, "after %s %v the plan counts %d healthy voters, and there are %d", s.Kind, s.Target, s.After.Healthy, is.healthy)
	}
}

// Promise 3. Data and WAL directories are moved aside, never removed; and a step touches
// nobody but its targets.
func (v *visit) kept(s *planner.Step, before, after *planner.Observation) {
	for _, m := range v.in.Cluster.Members {
		b, a := before.Members[m.Name], after.Members[m.Name]
		if !b.Data.Known() || identity(&b.Data.Value) == identity(&a.Data.Value) {
			continue
		}
		if !slices.Contains(s.Target, m.Name) {
			v.sayf(p3, "%s %v changes what %s holds", s.Kind, s.Target, m.Name)
			continue
		}
		if identity(&b.Data.Value) == (planner.Identity{}) && b.Data.Value.State != planner.DirPresent {
			continue
		}
		switch x := s.Action.(type) {
		case planner.SetAside: // held to S19
		case planner.Join: // what was set aside lies behind the place
			l := v.was
			if d := b.Data.Value; d.State != planner.DirFenced || l != nil && listed(l.list, d.Fenced.MemberID) != nil {
				v.sayf(p3, "joins %s over a member's data", m.Name)
			}
		case planner.Install:
			if b.Data.Value.State == planner.DirPresent && b.Data.Value.HeldBy != 0 {
				v.sayf(p3, "puts %s in place under a process that runs", m.Name)
			}
			for _, i := range x.Members {
				if i.Name == m.Name && b.Data.Value.State == planner.DirPresent && i.Over != identity(&b.Data.Value) {
					v.sayf(p3, "puts %s in place over data that the plan did not name", m.Name)
				}
			}
		default:
			v.sayf(p3, "%s %v makes %s's data go", s.Kind, s.Target, m.Name)
		}
	}
}

// identity is whose data a place holds, be it behind the fence.
func identity(d *planner.DataDir) planner.Identity {
	if d.State == planner.DirFenced && d.Fenced != nil {
		return planner.Identity{ClusterID: d.Fenced.ClusterID, MemberID: d.Fenced.MemberID}
	}
	return planner.Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
}

// Promise 2, S3 and S18. Never two live clusters from one: every reachable old voter is
// stopped before anything is copied, and before a new identity is put in place or
// starts. And what lies at the old data path by then is the fence's plain file: a
// directory that nobody runs on is one that anybody may start.
func (v *visit) newIdentity(s *planner.Step, before *planner.Observation) {
	rule, id := "", ""
	switch a := s.Action.(type) {
	case planner.Recover:
		rule = s3
		if a.From != nil {
			return // it is at nobody's place: whether its members live is checked by consents
		}
		if o := before.Members[a.Name]; processRuns(&o) {
			v.sayf(s3, "copies %s, which was not stopped", a.Name)
		}
	case planner.Install:
		rule = p2
		id = v.p.NewClusterID
	case planner.Start:
		if id = v.p.NewClusterID; id == "" || len(a.Members) == 0 || a.Members[0].ClusterID != id {
			return
		}
		rule = p2
	default:
		return
	}
	if rule == p2 && !v.anew {
		return
	}
	for _, m := range v.in.Cluster.Members {
		o := before.Members[m.Name]
		d := o.Data.Value
		other := func(cluster string) bool { return cluster != "" && cluster != id }
		if o.Client.Reach == planner.ReachServing && other(o.Client.ClusterID) {
			v.sayf(rule, "%s while %s serves as the old cluster", s.Kind, m.Name)
		}
		if processRuns(&o) && o.Service.Known() && o.Service.Value.State == planner.ServiceRunning && d.ClusterID == "" && (d.Provenance == nil || d.Provenance.ClusterID != id) {
			v.sayf(rule, "%s while %s runs as nobody knows whom", s.Kind, m.Name)
		}
		if o.Data.Known() && d.HeldBy != 0 && other(d.ClusterID) {
			v.sayf(rule, "%s while %s runs on its old data", s.Kind, m.Name)
		}
		if o.Data.Known() && d.State == planner.DirPresent && other(d.ClusterID) {
			broken := s18
			if processRuns(&o) {
				broken = rule
			}
			v.sayf(broken, "%s while %s's old data is not behind a fence", s.Kind, m.Name)
		}
		if !o.Data.Known() {
			v.sayf(rule, "%s while %s's place can't be looked at", s.Kind, m.Name)
		}
		if f := foreign(&o); f != nil && f.Keeper != "" {
			v.sayf(rule, "%s while somebody else keeps %s running", s.Kind, m.Name)
		}
	}
	for _, o := range before.Others {
		serves := o.Client.Reach == planner.ReachServing && o.Client.ClusterID != id || o.Peer.Reach == planner.ReachServing && o.Peer.ClusterID != id
		if serves && !o.Learner {
			v.sayf(rule, "%s while %s, a voter that can't be stopped, serves as the old cluster", s.Kind, o.Name)
		}
	}
}

func foreign(o *planner.MemberObservation) *planner.Foreign {
	if !o.Service.Known() {
		return nil
	}
	return o.Service.Value.Foreign
}

// S18 and S15. Fence is stop, and a plain file at the old data path: nothing runs after
// it. No service is fenced unless its cluster and member IDs on disk are those in the
// plan (S5). A source that still serves is fenced first and recovered from its disks.
func (v *visit) fencing(s *planner.Step, before *planner.Observation) {
	switch a := s.Action.(type) {
	case planner.Fence:
		for _, m := range a.Members {
			b := before.Members[m.Name]
			if m.Over == (planner.Identity{}) || m.Over != identity(&b.Data.Value) {
				v.sayf(s5, "fences %s, whose data was not seen", m.Name)
			}
			if f := foreign(&b); f != nil && f.Keeper != "" {
				v.sayf(s18, "fences %s, which somebody else starts again", m.Name)
			}
		}
	case planner.Unfence:
		for _, m := range a.Members {
			b := before.Members[m.Name].Data.Value
			if b.State != planner.DirFenced || m.Over != identity(&b) {
				v.sayf(s5, "puts back %s, which was not fenced", m.Name)
			}
			if v.begins {
				v.sayf(s18, "takes %s's fence away beside a new identity", m.Name)
			}
		}
	case planner.Recover:
		v.barred(before)
	case planner.Restore:
		if !a.Recovered && v.begins {
			for _, m := range v.in.Cluster.Members {
				if o := before.Members[m.Name]; o.Client.Reach == planner.ReachServing {
					v.sayf(s15, "restores a snapshot while %s still serves", m.Name)
				}
			}
		}
	}
}

func (v *visit) fenced(s *planner.Step, after *planner.Observation) {
	if a, ok := s.Action.(planner.Fence); ok {
		for _, m := range a.Members {
			if x := after.Members[m.Name]; processRuns(&x) || x.Data.Value.State != planner.DirFenced {
				v.sayf(s18, "%s is not behind its fence", m.Name)
			}
		}
	}
}

// barred: where a survivor's data is taken for a new identity, no unit of the old
// cluster is left that would begin one of its own on a vacant place, after a reboot; also
// where the run that fenced was killed between two hosts.
func (v *visit) barred(before *planner.Observation) {
	for _, m := range v.in.Cluster.Members {
		x := before.Members[m.Name]
		if u := x.Service.Value.Unit; u != nil && u.Load != "not-found" && !u.Barred && slices.Contains([]planner.DirState{planner.DirAbsent, planner.DirEmpty}, x.Data.Value.State) {
			v.sayf(s18, "%s has no data, and its unit may begin a cluster after a reboot", m.Name)
		}
	}
}

// Promise 6. One change at a time, learner first, its postcondition waited for; and
// only what etcd takes.
func (v *visit) change(action planner.Action, before *planner.Observation) {
	eachClient(before, func(name string, e *planner.Endpoint) {
		if e.Sealed {
			v.sayf(carried, "%s, and %s wants a user for that", action.Kind(), name)
		}
	})
	l := v.was
	if l == nil {
		v.sayf(p6, "%s without a quorum", action.Kind())
		return
	}
	serves := func(id string) (out bool) {
		eachClient(before, func(_ string, e *planner.Endpoint) { out = out || e.MemberID == id && e.LeaderID != "" })
		return out
	}
	switch a := action.(type) {
	case planner.Add:
		learners := 0
		for _, m := range l.list {
			if m.Name == "" && len(m.ClientURLs) == 0 && !serves(m.ID) {
				v.sayf(p6, "adds %s while another member has not started", a.Name)
			}
			if m.Learner {
				learners++
			}
		}
		if learners > 0 && v.in.Cluster.Etcd.Config["max-learners"] == "" {
			v.sayf(p6, "adds %s while another learner has the slot", a.Name)
		}
		if l.voters > 1 && l.healthy < quorumOf(l.voters+1) {
			v.sayf(p6, "adds %s with %d of %d voters", a.Name, l.healthy, l.voters)
		}
	case planner.Join:
		m := listedAt(l.list, a.PeerURLs)
		if m == nil || m.Name != "" {
			v.sayf(p6, "joins %s, which is not listed as one that never ran", a.Name)
		}
		o := before.Members[a.Name]
		if processRuns(&o) || !o.Data.Known() || o.Data.Value.State == planner.DirPresent {
			v.sayf(p3, "joins %s over data or a process", a.Name)
		}
		if hasFlag(a.Args, "--force-new-cluster") || !slices.Contains(a.Args, "--initial-cluster-state=existing") {
			v.sayf(s18, "joins %s as the beginning of a cluster", a.Name)
		}
	case planner.Promote:
		m := listedAt(l.list, a.PeerURLs)
		if m == nil || !m.Learner || !serves(m.ID) {
			v.sayf(p6, "promotes %s, which is no learner that serves", a.Name)
		}
	case planner.Remove:
		m := listed(l.list, a.MemberID)
		switch {
		case m == nil:
			v.sayf(p6, "removes %s, which is not listed", a.Name)
		case !m.Learner && l.voters == 1:
			v.sayf(p6, "removes the last voter")
		case !m.Learner && serves(m.ID) && l.healthy-1 < quorumOf(l.voters-1):
			v.sayf(p1, "removes %s, and %d of %d would be left", a.Name, l.healthy-1, l.voters-1)
		}
	case planner.Update:
		if m := listed(l.list, a.MemberID); m == nil || m.Learner {
			v.sayf(p6, "updates %s, which is no voter", a.Name)
		}
	case planner.MoveLeader:
		to := ""
		eachClient(before, func(_ string, e *planner.Endpoint) {
			if e.URL == a.ToURL {
				to = e.MemberID
			}
		})
		if to != "" && !votes(l.list, to) {
			v.sayf(p6, "moves the lead to %s, which has no vote", a.To)
		}
	}
}

func hasFlag(args []string, name string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == name || strings.HasPrefix(a, name+"=") })
}
