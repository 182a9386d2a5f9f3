package planner

import (
	"slices"
	"strings"
)

// runner is a process of some member that runs.
type runner struct {
	i       int // in forecast.ms, or, where other is true, in obs.Others
	other   bool
	cid, id string
	list    []ListedMember // as it knows it; nil where that is not known
	term    uint64
	index   uint64
	follows string // the leader's ID as it was seen
	answers bool   // clients
	young   bool
	fresh   bool
	apart   bool // whatever is done, it does not find the others
	leader  int  // in the slice of runners; -1 for none
}

// runners are all processes that run, of the file's members first.
func (f *forecast) runners() []runner {
	out := make([]runner, 0, len(f.ms)+len(f.obs.Others))
	for i := range f.ms {
		o := &f.ms[i]
		if !o.runs() {
			continue
		}
		r := runner{i: i, leader: -1, fresh: f.fresh[i], young: o.young()}
		r.cid, r.id = o.identity()
		if o.Client.Reach == ReachServing {
			r.follows, r.answers = o.Client.LeaderID, true
		}
		d := &o.Data.Value
		switch {
		case o.Client.Members.Known():
			r.list = o.Client.Members.Value
		case o.Peer.Members.Known():
			r.list = o.Peer.Members.Value
		default:
			r.list = d.Members
		}
		r.term, r.index = max(d.LastTerm, o.Client.Term), max(d.LastIndex, o.Client.Applied)
		out = append(out, r)
	}
	for i := range f.obs.Others {
		o := &f.obs.Others[i]
		r := runner{i: i, other: true, id: o.ID, leader: -1, answers: true}
		switch {
		case o.Client.Reach == ReachServing && o.Client.MemberID == o.ID:
			r.cid, r.follows, r.term = o.Client.ClusterID, o.Client.LeaderID, o.Client.Term
			r.index = o.Client.Applied
			if o.Client.Members.Known() {
				r.list = o.Client.Members.Value
			}
		case o.Peer.Reach == ReachServing:
			r.cid, r.follows = o.Peer.ClusterID, f.leader
			if o.Peer.Members.Known() {
				r.list = o.Peer.Members.Value
			}
		default:
			continue
		}
		if r.cid == "" {
			r.cid = f.cid // it was asked, and not as what
		}
		out = append(out, r)
	}
	return out
}

// identity is whom a member that runs is, as far as it can be told.
func (o *MemberObservation) identity() (clusterID, memberID string) {
	d := &o.Data.Value
	switch {
	case o.Client.Reach == ReachServing && o.Client.MemberID != "":
		return o.Client.ClusterID, o.Client.MemberID
	case d.MemberID != "":
		return d.ClusterID, d.MemberID
	case d.Provenance != nil:
		return d.Provenance.ClusterID, d.Provenance.MemberID
	case o.Peer.Reach == ReachServing && o.Peer.Members.Known():
		for _, l := range o.Peer.Members.Value {
			if slices.Contains(l.PeerURLs, o.Peer.URL) {
				return o.Peer.ClusterID, l.ID
			}
		}
	}
	return "", ""
}

// look finds out, before anything changes, which cluster has a quorum, and who was
// apart from it.
func (f *forecast) look() {
	for i := range f.ms {
		if e := &f.ms[i].Client; e.Reach == ReachServing && e.Linearizable.Known() && e.Linearizable.Value && e.LeaderID != "" && e.Members.Known() {
			f.cid, f.list, f.leader, f.version = e.ClusterID, e.Members.Value, e.LeaderID, e.ClusterVersion
			break
		}
	}
	for i := range f.ms {
		if e := &f.ms[i].Client; e.Reach == ReachServing {
			f.told = orWord(f.told, e.Downgrade)
		}
	}
	rs := f.runners()
	seen := 0
	for i := range rs {
		if f.cid != "" && rs[i].cid == f.cid && rs[i].follows != "" && isVoter(f.list, rs[i].id) {
			seen++
		}
	}
	if f.cid != "" {
		f.hidden = max(0, majority(voters(f.list))-seen)
	}
	for i := range rs {
		if r := &rs[i]; r.follows == "" && !r.young && r.id != "" && r.cid == f.cid {
			f.freeze(r.id)
		}
	}
}

// waits reports whether rs[i] runs, says nothing to clients, and nobody was started
// of whom it may have been waiting.
func waits(rs []runner, i int) bool {
	return !rs[i].answers && !slices.ContainsFunc(rs, func(x runner) bool { return x.cid == rs[i].cid && (x.fresh || x.young) })
}

func entryOf(list []ListedMember, id string) *ListedMember {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

func isVoter(list []ListedMember, id string) bool {
	l := entryOf(list, id)
	return l != nil && !l.Learner
}

func voters(list []ListedMember) int {
	n := 0
	for i := range list {
		if !list[i].Learner {
			n++
		}
	}
	return n
}

// settle is the one place that says who leads and who serves after an action: in
// each cluster the voter that led before or, without it, one with the newest log,
// if a majority of its list can follow it.
func (f *forecast) settle() {
	rs := f.runners()
	for i := range rs {
		if rs[i].list == nil {
			rs[i].list = f.anyList(rs, rs[i].cid)
		}
		rs[i].apart = f.frozen[rs[i].id] || waits(rs, i)
	}
	for {
		c := f.candidate(rs)
		if c < 0 {
			break
		}
		f.elect(rs, c)
	}
	for i := range rs {
		if rs[i].leader < 0 {
			f.leaderless(rs, i)
		}
	}
	f.pruneOthers()
}

// anyList is the newest member list of a cluster that is to be had.
func (f *forecast) anyList(rs []runner, cid string) []ListedMember {
	var best []ListedMember
	var newest DataDir
	for i := range rs {
		if d := (DataDir{LastTerm: rs[i].term, LastIndex: rs[i].index}); rs[i].cid == cid && rs[i].list != nil && (best == nil || newer(d, newest)) {
			best, newest = rs[i].list, d
		}
	}
	for i := range f.ms {
		if d := &f.ms[i].Data.Value; best == nil && d.ClusterID == cid && len(d.Members) > 0 {
			best = d.Members
		}
	}
	return best
}

// candidate is the next runner that can be a leader; -1 for none.
func (f *forecast) candidate(rs []runner) int {
	best := -1
	for i := range rs {
		r := &rs[i]
		if r.leader >= 0 || r.id == "" || r.apart || !isVoter(r.list, r.id) || !f.wins(rs, i) {
			continue
		}
		if r.id == f.leader && r.cid == f.cid {
			return i
		}
		if best < 0 || newer(DataDir{LastTerm: r.term, LastIndex: r.index}, DataDir{LastTerm: rs[best].term, LastIndex: rs[best].index}) {
			best = i
		}
	}
	return best
}

// wins reports whether a majority of rs[c]'s list can follow it.
func (f *forecast) wins(rs []runner, c int) bool {
	n := 0
	for i := range rs {
		if isVoter(rs[c].list, rs[i].id) && f.canFollow(rs, i, c) {
			n++
		}
	}
	if rs[c].cid == f.cid {
		n += f.hidden
	}
	return n >= majority(voters(rs[c].list))
}

// canFollow reports whether rs[i] is in the cluster of rs[c], finds it or is found
// by it, and has no newer log than it.
func (f *forecast) canFollow(rs []runner, i, c int) bool {
	r, l := &rs[i], &rs[c]
	if i == c {
		return true
	}
	if r.leader >= 0 || r.cid != l.cid || r.apart {
		return false
	}
	if l.id != f.leader && isVoter(l.list, r.id) && newer(DataDir{LastTerm: r.term, LastIndex: r.index}, DataDir{LastTerm: l.term, LastIndex: l.index}) {
		return false
	}
	a, b := entryOf(l.list, r.id), entryOf(l.list, l.id)
	return a != nil && (f.found(r, a.PeerURLs) || f.found(l, b.PeerURLs))
}

// found reports whether a runner listens where the list has it.
func (f *forecast) found(r *runner, urls []string) bool {
	if r.other {
		return true // it answered there
	}
	o := &f.ms[r.i]
	if o.Peer.Reach == ReachServing && slices.Contains(urls, o.Peer.URL) {
		return true
	}
	listen := o.flag("listen-peer-urls")
	if listen == "" {
		return o.Peer.Reach != ReachRefused || o.Peer.URL == ""
	}
	return listensAt(strings.Split(listen, ","), urls) || listensAt(strings.Split(o.flag("initial-advertise-peer-urls"), ","), urls)
}

// elect has all that can follow rs[c] follow it, publish themselves, and catch up.
func (f *forecast) elect(rs []runner, c int) {
	l := &rs[c]
	list, term, index := l.list, l.term, l.index
	if l.cid == f.cid && l.id == f.leader {
		list = f.list
	} else { // a new term begins with an entry of its own
		term, index = term+1, index+1
	}
	var revision int64
	for i := range rs {
		if i == c || entryOf(list, rs[i].id) != nil && f.canFollow(rs, i, c) {
			rs[i].leader = c
			if i != c {
				rs[i].list = list
			}
			revision = max(revision, f.revision(&rs[i]))
			if rs[i].fresh {
				list = f.published(list, &rs[i])
			}
		}
	}
	if index < uint64(len(list)) {
		index = uint64(len(list))
	}
	var log *Log
	if !l.other {
		log = f.ms[l.i].Data.Value.Log
	}
	for i := range rs {
		if rs[i].leader == c {
			f.serve(&rs[i], led{leader: l.id, list: list, term: term, index: index, revision: revision, log: log, moved: term != l.term})
		}
	}
	if l.cid == f.cid || f.cid == "" {
		f.cid, f.leader, f.list = l.cid, l.id, list
	}
}

// revision is that of what a runner holds.
func (f *forecast) revision(r *runner) int64 {
	if r.other {
		return f.obs.Others[r.i].Client.Revision
	}
	o := &f.ms[r.i]
	return max(o.Client.Revision, o.Data.Value.Revision)
}

// published is a list with the name and client URLs of one that has just started.
func (f *forecast) published(list []ListedMember, r *runner) []ListedMember {
	urls := strings.Split(f.ms[r.i].flag("advertise-client-urls"), ",")
	l := entryOf(list, r.id)
	if l.Name == f.names[r.i] && slices.Equal(l.ClientURLs, urls) {
		return list
	}
	list = slices.Clone(list)
	l = entryOf(list, r.id)
	l.Name, l.ClientURLs = f.names[r.i], urls
	return list
}

// led is what the members of a cluster with a leader have in common.
type led struct {
	leader   string
	list     []ListedMember
	term     uint64
	index    uint64
	revision int64
	log      *Log
	moved    bool // the term is a new one
}
