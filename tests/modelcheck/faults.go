package main

import (
	"maps"
	"slices"

	"github.com/requorum/requorum/planner"
)

// fault is something that happens between two steps, and what is seen after it.
type fault struct {
	what, name string
	obs        planner.Observation
}

// faultsOf are the faults that may happen: a process dies, a directory or a whole disk
// is lost, a host can't be reached any more, another operator removes a member.
func faultsOf(o *planner.Observation) []fault {
	var out []fault
	for _, n := range names {
		m, ok := o.Members[n]
		if !ok || !m.Data.Known() {
			continue
		}
		with := func(what string, edit func(*planner.MemberObservation), alive bool) {
			f := fault{what: what, name: n, obs: *o}
			f.obs.Members, f.obs.Others = maps.Clone(o.Members), slices.Clone(o.Others)
			x := m
			edit(&x)
			f.obs.Members[n] = x
			follow(&f.obs, m.Client, alive)
			if x.Client.Reach != planner.ReachServing {
				f.obs.KV = comparedWithout(o.KV, n)
			}
			if !knowsList(&f.obs) {
				f.obs.Others = nil // nothing leads to them any more
			}
			out = append(out, f)
		}
		d := m.Data.Value
		if f := foreign(&m); f != nil && f.Keeper != "" {
			continue // it comes back, whatever happens
		}
		if processRuns(&m) {
			with("its process dies", dies, false)
		}
		if d.State == planner.DirPresent || d.State == planner.DirFenced || d.Staged != "" {
			with("its directory is lost", func(x *planner.MemberObservation) {
				dies(x)
				x.Data.Value = planner.DataDir{Path: d.Path, State: planner.DirAbsent, EverRan: d.EverRan, Provenance: d.Provenance}
				if d.EverRan {
					x.Data.Value.Evidence = []string{"requorum started a member here"}
				}
			}, false)
			with("its disk is lost", func(x *planner.MemberObservation) {
				dies(x)
				x.Service = planner.Known(planner.Service{State: planner.ServiceNone})
				x.Data.Value = planner.DataDir{Path: d.Path, State: planner.DirAbsent}
			}, false)
		}
		with("its host can't be reached", func(x *planner.MemberObservation) {
			x.Client = planner.Endpoint{URL: x.Client.URL, Reach: planner.ReachTimeout}
			x.Peer = planner.PeerEndpoint{URL: x.Peer.URL, Reach: planner.ReachTimeout}
			x.Data, x.Service = planner.Unknown[planner.DataDir]("no route"), planner.Unknown[planner.Service]("no route")
		}, processRuns(&m))
		if f, ok := removed(o, n); ok {
			out = append(out, f)
		}
	}
	return out
}

// mute reports whether a process ran and did not answer when the plan was made: nobody
// knows whether it will.
func (v *visit) mute() bool {
	for _, m := range v.in.Observation.Members {
		if m.Client.Reach != planner.ReachServing && processRuns(&m) {
			return true
		}
	}
	return false
}

// young reports whether a process was started a moment ago: what is refused now need
// not be refused when it is older.
func (v *visit) young() bool {
	for _, m := range v.in.Observation.Members {
		if s := m.Service; m.Client.Reach != planner.ReachServing && s.Known() && s.Value.State == planner.ServiceRunning && s.Value.UpSeconds <= 60 {
			return true
		}
	}
	return false
}

// aged is a while later, with nobody answering who did not.
func aged(o *planner.Observation) planner.Observation {
	out := *o
	out.Members = maps.Clone(o.Members)
	for n, m := range out.Members {
		if m.Client.Reach != planner.ReachServing && m.Service.Known() && m.Service.Value.State == planner.ServiceRunning {
			m.Service.Value.UpSeconds = 3600
			out.Members[n] = m
		}
	}
	return out
}

// knowsList reports whether any member of the file has the cluster's list.
func knowsList(o *planner.Observation) bool {
	for _, m := range o.Members {
		d := m.Data.Value
		if m.Client.Members.Known() || m.Peer.Members.Known() || len(d.Members) > 0 || d.Fenced != nil && len(d.Fenced.Members) > 0 {
			return true
		}
	}
	return false
}

// dies: the process has ended, and nobody starts it again.
func dies(x *planner.MemberObservation) {
	switch { // nobody writes to its database any more: its list can be read
	case len(x.Data.Value.Members) > 0:
	case x.Client.Members.Known():
		x.Data.Value.Members = x.Client.Members.Value
	case x.Peer.Members.Known():
		x.Data.Value.Members = x.Peer.Members.Value
	}
	x.Client = planner.Endpoint{URL: x.Client.URL, Reach: planner.ReachRefused}
	x.Peer = planner.PeerEndpoint{URL: x.Peer.URL, Reach: planner.ReachRefused}
	if foreign(x) != nil {
		x.Service = planner.Known(planner.Service{State: planner.ServiceNone})
	}
	if x.Service.Known() && x.Service.Value.State != planner.ServiceNone {
		v := x.Service.Value
		x.Service = planner.Known(planner.Service{State: planner.ServiceStopped, Args: v.Args, Binary: v.Binary, Cluster: v.Cluster, Carried: v.Carried})
	}
	x.Data.Value.HeldBy = 0
}

// comparedWithout is what a comparison finds where one member does not answer any more.
func comparedWithout(kv planner.Fact[planner.KVComparison], name string) planner.Fact[planner.KVComparison] {
	if !kv.Known() {
		return kv
	}
	left, sums := maps.Clone(kv.Value.Hashes), map[uint32]bool{}
	delete(left, name)
	for _, sum := range left {
		sums[sum] = true
	}
	if len(left) < 2 {
		return planner.Unknown[planner.KVComparison]("nobody answers to be compared with")
	}
	return planner.Known(planner.KVComparison{Revision: kv.Value.Revision, Equal: len(sums) == 1, Hashes: left})
}

// follow has those that are left follow a leader, or nobody where they are no majority.
// gone is the answer of the one that is not seen any more; alive whether it still runs.
func follow(o *planner.Observation, gone planner.Endpoint, alive bool) {
	if gone.Reach != planner.ReachServing || gone.LeaderID == "" {
		return
	}
	var list []planner.ListedMember
	voters, left, heir := 0, 0, ""
	eachClient(o, func(_ string, e *planner.Endpoint) {
		if e.LeaderID != gone.LeaderID {
			return
		}
		if list == nil {
			list = e.Members.Value
		}
		if votes(list, e.MemberID) {
			left++
			if heir == "" {
				heir = e.MemberID
			}
		}
	})
	for _, l := range list {
		if !l.Learner {
			voters++
		}
	}
	if alive && votes(list, gone.MemberID) {
		left++
	}
	leader := gone.LeaderID
	switch {
	case left < quorumOf(voters):
		leader = ""
	case leader == gone.MemberID && !alive:
		leader = heir
	}
	if leader == gone.LeaderID {
		return
	}
	lead := func(e *planner.Endpoint) {
		if e.Reach == planner.ReachServing && e.LeaderID == gone.LeaderID {
			e.LeaderID = leader
			if leader == "" && e.Linearizable.Known() {
				e.Linearizable = planner.Known(false)
			}
		}
	}
	for n, m := range o.Members {
		lead(&m.Client)
		o.Members[n] = m
	}
	for i := range o.Others {
		lead(&o.Others[i].Client)
	}
}

// removed: somebody else removes the member from a cluster that has a quorum. It exits;
// what it has stays where it is.
func removed(o *planner.Observation, name string) (fault, bool) {
	l, m := live(o), o.Members[name]
	if l == nil || m.Client.Reach != planner.ReachServing || listed(l.list, m.Client.MemberID) == nil || m.Client.MemberID == l.leader || l.healthy-1 < quorumOf(max(l.voters-1, 1)) || l.voters < 2 {
		return fault{}, false
	}
	f := fault{what: "another operator removes it", name: name, obs: *o}
	f.obs.Members, f.obs.Others = maps.Clone(o.Members), slices.Clone(o.Others)
	list := slices.DeleteFunc(slices.Clone(l.list), func(x planner.ListedMember) bool { return x.ID == m.Client.MemberID })
	for n, x := range f.obs.Members {
		if n == name {
			dies(&x)
			x.Service.Value.State, x.Service.Value.LastError = planner.ServiceFailed, "the member has been permanently removed from the cluster"
		} else if x.Client.Reach == planner.ReachServing && x.Client.LeaderID == l.leader {
			x.Client.Members, x.Peer.Members = planner.Known(list), planner.Known(list)
			x.Data.Value.Members = list
			x.Data.Value.LastIndex, x.Data.Value.Commit, x.Data.Value.ConsistentIndex = x.Data.Value.LastIndex+1, x.Data.Value.LastIndex+1, x.Data.Value.LastIndex+1
			x.Client.Applied = max(x.Client.Applied+1, x.Data.Value.LastIndex)
		}
		f.obs.Members[n] = x
	}
	for i := range f.obs.Others {
		if x := &f.obs.Others[i]; x.Client.Reach == planner.ReachServing && x.Client.LeaderID == l.leader {
			x.Client.Members = planner.Known(list)
		}
	}
	return f, true
}
