package planner

import (
	"fmt"
	"slices"
)

// serve writes down how a member is seen that follows a leader.
func (f *forecast) serve(r *runner, s led) {
	learner := !isVoter(s.list, r.id)
	if r.other {
		o := &f.ofOthers()[r.i]
		if o.Client.Reach == ReachServing {
			answer(&o.Client, s, learner)
		}
		if o.Peer.Members.Known() {
			o.Peer.Members = Known(s.list)
		}
		return
	}
	o := &f.ms[r.i]
	e := &o.Client
	if e.Reach == ReachHangs && (r.fresh || r.young || o.Data.Known() && o.Data.Value.State == DirPresent) {
		*e = Endpoint{URL: e.URL, Reach: ReachServing, Advertised: e.Advertised, ClusterID: r.cid, MemberID: r.id, DBSize: o.Data.Value.DBSize, Metrics: e.Metrics, ClusterVersion: e.ClusterVersion}
		if bin := o.runsEtcd(); bin.Known() {
			e.Version = bin.Value.Version
		}
		f.versioned(e, r.cid)
		if learner {
			e.Linearizable = Unknown[bool]("a learner answers no linearizable read")
			e.Members = Unknown[[]ListedMember]("a learner does not give its member list")
		} else {
			e.Members = Known(s.list)
		}
		if o.Peer.Reach == ReachServing {
			o.Peer.ClusterID, o.Peer.Members = r.cid, Known(s.list)
		}
	}
	if e.Reach == ReachServing {
		answer(e, s, learner)
	}
	if o.Peer.Members.Known() {
		o.Peer.Members = Known(s.list)
	}
	if o.Data.Known() {
		f.logged(r, &o.Data.Value, s)
	}
}

func answer(e *Endpoint, s led, learner bool) {
	was := e.Learner
	e.LeaderID, e.Learner = s.leader, learner
	e.Revision, e.Term = max(e.Revision, s.revision), max(e.Term, s.term)
	if e.Applied > 0 {
		e.Applied = max(e.Applied, s.index)
	}
	if !learner {
		e.Linearizable = Known(true)
	}
	if e.Members.Known() || was && !learner {
		e.Members = Known(s.list)
	}
}

// logged is what its disk has by then: as much as the leader's.
func (f *forecast) logged(r *runner, d *DataDir, s led) {
	if d.State != DirPresent {
		if !r.young || d.State == DirFenced {
			return // it runs on something that is not there
		}
		// Its process was seen before it had written anything.
		d.State, d.ClusterID, d.MemberID, d.Evidence = DirPresent, r.cid, r.id, nil
		d.HeldBy = max(d.HeldBy, f.ms[r.i].Service.Value.PID)
		d.settleProvenance()
	}
	if len(d.Members) > 0 {
		d.Members = s.list
	}
	if s.moved || r.fresh || d.LastIndex != s.index {
		d.LastTerm, d.LastIndex, d.Commit = s.term, s.index, s.index
		d.Tail, d.TailMore, d.UncommittedMembership = nil, 0, false
		if s.log != nil {
			d.Log = s.log
		}
	}
}

// leaderless writes down how one is seen that has nobody to follow: it answers if it
// did, and one that was started since gets no further than its peer port. One that
// was removed meanwhile is told so by the others, and ends.
func (f *forecast) leaderless(rs []runner, i int) {
	r := &rs[i]
	if r.other {
		o := &f.ofOthers()[r.i]
		o.Client.LeaderID = ""
		if o.Client.Linearizable.Known() {
			o.Client.Linearizable = Known(false)
		}
		return
	}
	o := &f.ms[r.i]
	if r.fresh && slices.ContainsFunc(rs, func(x runner) bool {
		return x.leader >= 0 && x.cid == r.cid && entryOf(x.list, r.id) == nil
	}) {
		// What it is told counts only where its own data says so too: those who tell it
		// may be a stray's.
		knew := slices.Contains(o.Data.Value.Removed, r.id) || entryOf(r.list, r.id) == nil
		f.ended(o, ServiceFailed, removedWords)
		if s := &o.Service.Value; !knew {
			s.State, s.Restarts, s.SupervisorPID = ServiceBackoff, 1, pidOf(o.Data.Value.Path)+1
		}
		return
	}
	if o.Client.Reach == ReachServing && !r.apart {
		o.Client.LeaderID = ""
		if o.Client.Linearizable.Known() {
			o.Client.Linearizable = Known(false)
		}
	}
}

const removedWords = "the member has been permanently removed from the cluster"

// ended writes down that the member's process is no more.
func (f *forecast) ended(o *MemberObservation, state ServiceState, words string) {
	e, p := o.Client, o.Peer
	o.Client = Endpoint{URL: e.URL, Reach: ReachRefused, Linearizable: Unknown[bool](string(ReachRefused)), Members: Unknown[[]ListedMember](string(ReachRefused))}
	o.Peer = PeerEndpoint{URL: p.URL, Reach: ReachRefused, Members: Unknown[[]ListedMember](string(ReachRefused))}
	o.PortsTaken = nil
	closed := o.Service.Known() && o.Service.Value.State == ServiceRunning && Closed(o.Service.Value.Args)
	if o.Service.Known() {
		s := &o.Service.Value
		f.forget(o.Host, s.PID)
		if s.Foreign != nil {
			f.forget(o.Host, s.Foreign.PID)
		}
		s.PID, s.SupervisorPID, s.UpSeconds, s.Foreign = 0, 0, 0, nil
		if s.State != ServiceNone && s.State != ServiceFailed {
			s.State, s.LastError = state, words
		}
	}
	if !o.Data.Known() {
		return
	}
	d := &o.Data.Value
	f.forget(o.Host, d.HeldBy)
	d.HeldBy = 0
	if d.State != DirPresent {
		return
	}
	// Nobody writes to its database any more: it can be read.
	switch {
	case e.Members.Known():
		d.Members = e.Members.Value
	case p.Members.Known():
		d.Members = p.Members.Value
	}
	if e.Reach == ReachServing || closed {
		d.Revision = max(d.Revision, e.Revision)
		if version := orWord(e.Version, o.runsEtcd().Value.Version); e.ClusterVersion != "" {
			d.StorageVersion, d.ClusterVersion = onDisk(storageIn(version, e.ClusterVersion)), e.ClusterVersion
		} else if d.StorageVersion == "" {
			d.StorageVersion = storageOf(version)
		}
		d.ConsistentIndex = max(d.ConsistentIndex, d.Commit)
	}
}

// storageOf is the storage version that a server of this version writes; "" before
// 3.6.
func storageOf(version string) string {
	if n := minor(version); n >= 6 {
		return fmt.Sprintf("3.%d.0", n)
	}
	return ""
}

// pruneOthers leaves those of the members that the file does not have whom some list
// still has: the cluster's own where it has a quorum, otherwise any.
func (f *forecast) pruneOthers() {
	if len(f.obs.Others) == 0 {
		return
	}
	lists := f.lists()
	keep := func(id string) *ListedMember {
		for _, list := range lists {
			if l := entryOf(list, id); l != nil {
				return l
			}
		}
		return nil
	}
	out := make([]OtherMember, 0, len(f.obs.Others))
	for _, o := range f.obs.Others {
		if l := keep(o.ID); l != nil {
			o.ListedMember = *l
			out = append(out, o)
		}
	}
	f.obs.Others, f.others = out, true
	if len(out) == 0 {
		f.obs.Others = nil
	}
}

// lists are the member lists that count, as the observer takes them.
func (f *forecast) lists() [][]ListedMember {
	var proven, any [][]ListedMember
	for i := range f.ms {
		o := &f.ms[i]
		if e := &o.Client; e.Members.Known() {
			if e.Linearizable.Known() && e.Linearizable.Value {
				proven = append(proven, e.Members.Value)
			}
			any = append(any, e.Members.Value)
		}
		if o.Peer.Members.Known() {
			any = append(any, o.Peer.Members.Value)
		}
		any = append(any, o.Data.Value.Members)
		if d := o.Data.Value.Fenced; d != nil {
			any = append(any, d.Members)
		}
	}
	if len(proven) > 0 {
		return proven
	}
	return any
}
