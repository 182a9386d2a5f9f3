package main

import "github.com/requorum/requorum/planner"

const (
	pid        = 4711
	supervisor = 4710
)

// other is a member of the cluster that the file does not have.
func (w *world) other(i int, k kind) planner.OtherMember {
	s := &slots[i]
	o := planner.OtherMember{Client: planner.Endpoint{URL: s.clients[0], Reach: planner.ReachRefused}, Peer: planner.PeerEndpoint{URL: s.peers[0], Reach: planner.ReachRefused}}
	for _, l := range w.list {
		if l.ID == s.id {
			o.ListedMember = l
		}
	}
	switch k.cond {
	case up, unled:
		o.Client = w.client(i, k)
		o.Peer.Reach, o.Peer.ClusterID, o.Peer.Members = planner.ReachServing, w.cid, planner.Known(w.list)
	case away:
		o.Client.Reach, o.Peer.Reach = planner.ReachTimeout, planner.ReachTimeout
	case lostMute:
		o.Client.Reach = planner.ReachHangs
	}
	if o.Client.Reach != planner.ReachServing {
		o.Client.Detail = string(o.Client.Reach)
	}
	return o
}

// client is the answer of a member that serves.
func (w *world) client(i int, k kind) planner.Endpoint {
	s := &slots[i]
	e := planner.Endpoint{
		URL: s.clients[0], Reach: planner.ReachServing, ClusterID: w.cid, MemberID: s.id, Version: "3.7.3", ClusterVersion: "3.7.0", StorageVersion: "3.7.0", Revision: 15, Applied: agreedEnd, Term: 3, DBSize: 45056,
		Learner: k.list == learner, Linearizable: planner.Known(false), Members: planner.Known(w.list),
	}
	switch {
	case k.cond == alone:
		e.LeaderID, e.Linearizable = s.id, planner.Known(true)
		e.Members = planner.Known([]planner.ListedMember{{ID: s.id, Name: s.name, PeerURLs: s.peers, ClientURLs: s.clients}})
	case w.leader != "" && k.follows():
		e.LeaderID = w.leader
		if e.Learner {
			e.Linearizable = planner.Unknown[bool]("a learner does not answer")
		} else {
			e.Linearizable = planner.Known(true)
		}
	}
	return e
}

// member is what is seen of a member of the file.
func (w *world) member(i int, k kind) planner.MemberObservation {
	s := &slots[i]
	file, _ := w.in.Cluster.Member(s.name)
	o := planner.MemberObservation{
		Client:  planner.Endpoint{URL: s.clients[0], Reach: planner.ReachRefused, Detail: "connection refused"},
		Peer:    planner.PeerEndpoint{URL: file.PeerURLs[0], Reach: planner.ReachRefused, Detail: "connection refused"},
		Service: planner.Known(planner.Service{State: planner.ServiceNone}),
		Binary:  planner.Known(planner.Binary{Version: "3.7.3"}),
		Base:    s.dir + ".requorum",
	}
	if k.runs() {
		w.running(i, k, &o)
		return o
	}
	o.Data = planner.Known(w.stopped(i, k, &o))
	switch k.cond {
	case unread, away:
		o.Data = planner.Unknown[planner.DataDir]("permission denied")
	}
	if k.cond == away {
		o.Service, o.Binary = planner.Unknown[planner.Service]("no route"), planner.Unknown[planner.Binary]("no route")
		o.Client.Reach, o.Peer.Reach = planner.ReachTimeout, planner.ReachTimeout
	}
	return o
}

func (w *world) running(i int, k kind, o *planner.MemberObservation) {
	s := &slots[i]
	d := w.ran(i)
	d.HeldBy = pid
	if k.list == newVoter || k.list == newLearner { // not a byte is written yet
		d = planner.DataDir{Path: s.dir, State: planner.DirEmpty}
	}
	v := planner.Service{State: planner.ServiceRunning, PID: pid, SupervisorPID: supervisor, UpSeconds: 3600, Binary: "requorum", Args: s.args}
	if k.serves() {
		o.Client = w.client(i, k)
		if !k.moved { // otherwise it listens where the file does not look
			o.Peer.Reach, o.Peer.ClusterID, o.Peer.Members, o.Peer.Detail = planner.ReachServing, w.cid, o.Client.Members, ""
		}
	} else {
		o.Client.Reach = planner.ReachHangs
	}
	flags := s.settings
	switch k.cond {
	case orphan:
		v.SupervisorPID = 0
	case forced:
		flags = s.forcedSettings
		fallthrough
	case byHand, kept:
		v = planner.Service{State: planner.ServiceNone, Foreign: &planner.Foreign{PID: pid, Start: 99, Exe: "/usr/bin/etcd", Settings: flags}}
		if k.cond == kept {
			v.Foreign.Keeper = "the systemd unit etcd.service"
		}
	case otherFlags:
		v.Args = s.otherArgs
	case elsewhere, hollow:
		d = planner.DataDir{Path: s.dir, State: planner.DirAbsent, EverRan: true}
	case alone:
		d.Members, d.Log, d.LastTerm, d.LastIndex, d.Commit, d.ConsistentIndex = o.Client.Members.Value, logForced, 4, 23, 23, 23
	case young:
		v.UpSeconds = 2
	case dying:
		v.State, v.Restarts, v.LastError, v.PID = planner.ServiceBackoff, 4, "panic: something", 0
		d.HeldBy = 0
		o.Client.Reach = planner.ReachRefused
	case badTLS:
		o.Client.Reach = planner.ReachTLSFailed
	case badAuth:
		o.Client.Reach = planner.ReachAuth
	case notEtcd:
		o.Client.Reach = planner.ReachWrongService
	case held:
		v = planner.Service{State: planner.ServiceNone}
		d.HeldBy = -1
	case mismatched:
		o.Client.ClusterID, o.Peer.ClusterID = "f0f0f0", "f0f0f0"
	case proxied:
		o.Client = w.client(0, w.ks[0])
	}
	o.Data, o.Service = planner.Known(d), planner.Known(v)
	if k.cond == blind {
		o.Data = planner.Unknown[planner.DataDir]("permission denied")
	}
}

func (w *world) stopped(i int, k kind, o *planner.MemberObservation) planner.DataDir {
	s := &slots[i]
	d := w.ran(i)
	nothing := planner.DataDir{Path: s.dir, State: planner.DirAbsent}
	service := func(v planner.Service) { o.Service = planner.Known(v) }
	ends := func(term, last, commit uint64, log *planner.Log) {
		d.LastTerm, d.LastIndex, d.Commit, d.ConsistentIndex, d.Log = term, last, commit, min(last, commit), log
	}
	tail := func(kind string, risky bool) {
		d.Tail = []planner.TailEntry{{Index: 21, Term: 3, Kind: planner.EntryPut, Key: "a"}, {Index: 22, Term: 3, Kind: kind, Key: "b", Risky: risky}}
		d.Tail = d.Tail[:d.LastIndex-agreedEnd]
	}
	switch k.cond {
	case down:
		service(planner.Service{State: planner.ServiceStopped})
	case behind:
		ends(3, 17, 17, logBehind)
	case ahead:
		ends(3, 22, agreedEnd, logAhead)
		tail(planner.EntryPut, false)
	case risky:
		ends(3, 22, agreedEnd, logRisky)
		tail(planner.EntryDelete, true)
	case inDoubt:
		ends(3, 21, agreedEnd, logDoubt)
		d.Tail = []planner.TailEntry{{Index: 21, Term: 3, Kind: planner.EntryMembership, Text: "adds a member", Risky: true}}
		d.UncommittedMembership = true
	case newTerm:
		ends(4, 21, 21, logTerm)
	case parted:
		ends(3, agreedEnd, agreedEnd, logParted)
	case forcedDisk:
		ends(4, 23, 23, logForced)
		d.Members = []planner.ListedMember{{ID: s.id, Name: s.name, PeerURLs: s.peers, ClientURLs: s.clients}}
	case oldList:
		ends(3, 17, 17, logBehind)
		d.Members = w.old
	case damaged:
		d.Problem = "walpb: crc mismatch"
	case unreadable:
		d = planner.DataDir{Path: s.dir, State: planner.DirPresent, Problem: "no WAL file can be read", EverRan: true}
	case spoilt:
		service(planner.Service{State: planner.ServiceFailed, LastError: "tocommit(21) is out of range [lastIndex(20)]. Was the raft log corrupted, truncated, or lost?"})
	case emptied:
		ends(0, 0, 0, nil)
		d.Revision = 0
	case foreignDir:
		d.ClusterID, d.MemberID = "f0f0f0", "f1f1f1"
	case twin:
		d.MemberID = slots[0].id
	case wasRemoved:
		ends(3, 17, 17, logBehind)
		d.MemberID = s.removedID
		d.Members = append(w.list[:len(w.list):len(w.list)], planner.ListedMember{ID: s.removedID, Name: s.name, PeerURLs: s.peers, ClientURLs: s.clients})
	case fenced:
		d.Path += ".requorum/fenced"
		was := d
		d = planner.DataDir{Path: s.dir, State: planner.DirFenced, Fenced: &was, EverRan: true}
	case otherService:
		service(planner.Service{State: planner.ServiceStopped, Cluster: "another"})
	case newer:
		d.StorageVersion, d.ClusterVersion = "3.8.0", "3.8.0"
	case byItself:
		d.LastTerm, d.LastIndex, d.Commit, d.ConsistentIndex, d.Log, d.Revision = 1, uint64(len(w.list)), uint64(len(w.list)), uint64(len(w.list)), nil, 1204
	case disagreeing:
		token := w.token
		if token == oldToken { // which would agree
			w.token = "a third token"
		}
		d.Provenance, d.EverRan = w.restored(i), false
		w.token = token
	case fresh, away, unread:
		d = nothing
	case taken:
		d = nothing
		o.PortsTaken = []string{s.clients[0]}
		o.Client.Reach = planner.ReachWrongService
	case emptyDir:
		d = nothing
		d.State = planner.DirEmpty
	case lost, lostMute, lostFar:
		d = nothing
		d.EverRan, d.Evidence = true, []string{"requorum started a member here"}
		if k.cond == lostMute {
			o.Client.Reach = planner.ReachHangs
		}
		if k.cond == lostFar {
			o.Client.Reach, o.Peer.Reach = planner.ReachNoRoute, planner.ReachNoRoute
		}
	case notADir:
		d = nothing
		d.State = planner.DirNotDir
	case claimed:
		d = nothing
		d.Provenance = w.restored(i)
	case staged:
		d = nothing
		d.Provenance, d.Staged = w.restored(i), w.token
	case ready:
		w.install(i, &d)
	}
	return d
}

// install makes d what a restore puts in place: the members, in term 1, and the
// snapshot's data.
func (w *world) install(i int, d *planner.DataDir) {
	p := w.restored(i)
	*d = planner.DataDir{
		Path: d.Path, State: planner.DirPresent, ClusterID: p.ClusterID, MemberID: p.MemberID, Provenance: p, ProvenanceAgrees: true,
		LastTerm: 1, Revision: p.Revision + p.RevisionBump, StorageVersion: "3.7.0", DBSize: 45056,
	}
	for _, m := range w.in.Cluster.Members {
		if !m.Learner {
			d.Members = append(d.Members, planner.ListedMember{ID: planner.MemberID(m.PeerURLs, w.token), Name: m.Name, PeerURLs: m.PeerURLs})
			d.LastIndex++
		}
	}
	d.Commit, d.ConsistentIndex = d.LastIndex, d.LastIndex
}
