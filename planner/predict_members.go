package planner

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The actions on the cluster's member list. Which of them etcd refuses is what its
// server checks under --strict-reconfig-check (etcdserver mayAddMember and the like).

// asked refuses where none of the endpoints leads to a member that follows a leader.
func (f *forecast) asked(endpoints []string) error {
	if f.cid == "" {
		return fmt.Errorf("the member list can't be changed: no quorum was seen")
	}
	for i := range f.ms {
		if e := &f.ms[i].Client; e.Reach == ReachServing && e.ClusterID == f.cid && e.LeaderID != "" && slices.Contains(endpoints, e.URL) {
			return nil
		}
	}
	for i := range f.obs.Others {
		if e := &f.obs.Others[i].Client; e.Reach == ReachServing && e.LeaderID != "" && slices.Contains(endpoints, e.URL) {
			return nil
		}
	}
	return fmt.Errorf("the member list can't be changed: nobody serves under a leader at %s", strings.Join(endpoints, ", "))
}

// connected counts the voters that follow the leader.
func (f *forecast) connected() int {
	n := f.hidden
	rs := f.runners()
	for i := range rs {
		if rs[i].cid == f.cid && rs[i].follows != "" && isVoter(f.list, rs[i].id) {
			n++
		}
	}
	return n
}

// listedAt is the entry with exactly these peer URLs.
func (f *forecast) listedAt(peerURLs []string) *ListedMember {
	for i := range f.list {
		if SameURLs(f.list[i].PeerURLs, peerURLs) {
			return &f.list[i]
		}
	}
	return nil
}

// free refuses peer URLs of which another member has one.
func (f *forecast) free(peerURLs []string, id string) error {
	for _, l := range f.list {
		if l.ID != id && slices.ContainsFunc(l.PeerURLs, func(u string) bool { return slices.Contains(peerURLs, u) }) {
			return fmt.Errorf("etcdserver: Peer URLs already exists (member %s)", l.ID)
		}
	}
	return nil
}

// relist makes list the cluster's own, in whoever follows its leader.
func (f *forecast) relist(list []ListedMember) {
	f.list = list
	rs := f.runners()
	index := uint64(0)
	for i := range rs {
		if rs[i].cid == f.cid && rs[i].follows != "" {
			index = max(index, rs[i].index+1)
		}
	}
	for i := range rs {
		r := &rs[i]
		if r.cid != f.cid || r.follows == "" || entryOf(list, r.id) == nil {
			continue
		}
		f.serve(r, led{leader: f.leader, list: list, term: r.term, index: max(index, r.index), moved: false})
	}
	f.pruneOthers()
}

func (f *forecast) changed(id string, change func(*ListedMember)) []ListedMember {
	list := slices.Clone(f.list)
	change(entryOf(list, id))
	return list
}

func (f *forecast) update(a Update) error {
	if err := f.asked(a.Endpoints); err != nil {
		return err
	}
	l := entryOf(f.list, a.MemberID)
	switch {
	case l == nil:
		return fmt.Errorf("etcdserver: member not found (%s)", a.MemberID)
	case l.Learner:
		return fmt.Errorf("%s is a learner, and older servers would promote it by an update", a.Name)
	}
	if err := f.free(a.PeerURLs, a.MemberID); err != nil {
		return err
	}
	f.relist(f.changed(a.MemberID, func(l *ListedMember) { l.PeerURLs = a.PeerURLs }))
	f.settle()
	return nil
}

func (f *forecast) add(a Add) error {
	if err := f.asked(a.Endpoints); err != nil {
		return err
	}
	if l := f.listedAt(a.PeerURLs); l != nil {
		if !l.Learner || l.Name != "" {
			return fmt.Errorf("%s: a member with these peer URLs is there already (%s)", a.Name, l.ID)
		}
		return nil
	}
	if err := f.free(a.PeerURLs, ""); err != nil {
		return err
	}
	n := voters(f.list)
	switch {
	case len(f.list)-n >= f.maxLearners():
		return fmt.Errorf("etcdserver: too many learner members in cluster")
	case n > 1 && f.connected() < (n+1)/2+1:
		return fmt.Errorf("etcdserver: unhealthy cluster")
	}
	f.relist(append(slices.Clip(f.list), ListedMember{ID: f.newID(a), PeerURLs: a.PeerURLs, Learner: true}))
	return nil
}

// newID makes up the ID that etcd gives: none that is, or was, somebody's here.
func (f *forecast) newID(a Add) string {
	for n := 0; ; n++ {
		id := MemberID(a.PeerURLs, a.Name+" added "+strconv.Itoa(n))
		used := entryOf(f.list, id) != nil
		for i := range f.ms {
			d := &f.ms[i].Data.Value
			used = used || d.MemberID == id || d.Fenced != nil && d.Fenced.MemberID == id || d.Provenance != nil && d.Provenance.MemberID == id ||
				slices.Contains(d.Removed, id)
		}
		if !used {
			return id
		}
	}
}

func (f *forecast) join(a Join) error {
	if err := f.asked(a.Endpoints); err != nil {
		return err
	}
	l := f.listedAt(a.PeerURLs)
	switch {
	case f.cid != a.ClusterID:
		return fmt.Errorf("%s does not join: cluster %s answers, not %s", a.Name, f.cid, a.ClusterID)
	case l == nil:
		return fmt.Errorf("%s does not join: it is not in the member list", a.Name)
	case l.Name != "" && l.Name != a.Name:
		return fmt.Errorf("%s does not join: the member at %s has run, as %s", a.Name, strings.Join(a.PeerURLs, ","), l.Name)
	}
	start := a.StartMember
	start.MemberID = l.ID
	if err := f.claim(Claim{Members: []ClaimMember{{Place: a.Place, Provenance: Provenance{
		Kind: ProvenanceJoin, Token: JoinToken(a.ClusterID, l.ID), Name: a.Name, InitialCluster: Fellows(f.list, l.ID, a.Name),
		ClusterID: a.ClusterID, MemberID: l.ID, When: a.When, By: a.By,
	}}}}); err != nil {
		return err
	}
	start.Args = append(slices.Clip(start.Args), "--initial-cluster="+Fellows(f.list, l.ID, a.Name))
	return f.start(Start{Members: []StartMember{start}})
}

func (f *forecast) promote(a Promote) error {
	if err := f.asked(a.Endpoints); err != nil {
		return err
	}
	l := f.listedAt(a.PeerURLs)
	switch {
	case l == nil:
		return fmt.Errorf("etcdserver: member not found (%s)", a.Name)
	case !l.Learner:
		return nil
	case l.Name == "" || !f.follows(l.ID):
		return fmt.Errorf("etcdserver: can only promote a learner member which is in sync with leader (%s does not follow)", a.Name)
	}
	started := 1
	for _, x := range f.list {
		if !x.Learner && hasRun(x) {
			started++
		}
	}
	if started < majority(voters(f.list)+1) {
		return fmt.Errorf("etcdserver: re-configuration failed due to not enough started members")
	}
	f.relist(f.changed(l.ID, func(l *ListedMember) { l.Learner = false }))
	f.settle()
	return nil
}

// follows reports whether the member runs and follows the leader.
func (f *forecast) follows(id string) bool {
	for i := range f.ms {
		if e := &f.ms[i].Client; e.Reach == ReachServing && e.MemberID == id && e.ClusterID == f.cid {
			return e.LeaderID != ""
		}
	}
	for i := range f.obs.Others {
		if o := &f.obs.Others[i]; o.ID == id {
			return o.Client.Reach == ReachServing && o.Client.LeaderID != "" || o.Peer.Reach == ReachServing
		}
	}
	return false
}

func (f *forecast) moveLeader(a MoveLeader) error {
	if err := f.asked(a.Endpoints); err != nil {
		return err
	}
	if f.leader != a.FromID {
		return nil // it does not lead any more
	}
	to := ""
	for i := range f.ms {
		if e := &f.ms[i].Client; e.Reach == ReachServing && e.URL == a.ToURL {
			to = e.MemberID
		}
	}
	for i := range f.obs.Others {
		if e := &f.obs.Others[i].Client; e.Reach == ReachServing && e.URL == a.ToURL {
			to = e.MemberID
		}
	}
	switch {
	case to == "" || !f.follows(to):
		return fmt.Errorf("%s, which is to lead, does not serve", a.To)
	case !isVoter(f.list, to):
		return fmt.Errorf("%s is no voter and can't lead", a.To)
	}
	f.leader = to
	rs := f.runners()
	for i := range rs {
		if r := &rs[i]; r.cid == f.cid && r.follows != "" {
			f.serve(r, led{leader: to, list: f.list, term: r.term + 1, index: r.index + 1, moved: true})
		}
	}
	return nil
}

func (f *forecast) remove(a Remove) error {
	if err := f.asked(a.Endpoints); err != nil {
		return err
	}
	l := entryOf(f.list, a.MemberID)
	if l == nil {
		return fmt.Errorf("etcdserver: member not found (%s)", a.MemberID)
	}
	n := voters(f.list)
	if !l.Learner {
		started := 0
		for _, x := range f.list {
			if x.ID != l.ID && !x.Learner && hasRun(x) {
				started++
			}
		}
		switch {
		case n == 1:
			return fmt.Errorf("%s is the only voter", a.Name)
		case started < majority(n-1):
			return fmt.Errorf("etcdserver: re-configuration failed due to not enough started members")
		case f.follows(l.ID) && f.connected()-1 < 1+(n-1)/2:
			return fmt.Errorf("etcdserver: unhealthy cluster")
		}
	}
	id := l.ID
	f.relist(slices.DeleteFunc(slices.Clone(f.list), func(x ListedMember) bool { return x.ID == id }))
	for i := range f.ms {
		o := &f.ms[i]
		if o.Data.Value.MemberID == id {
			f.unhash(f.names[i])
		}
		if cid, mid := o.identity(); cid != f.cid || mid != id || !o.runs() {
			continue
		}
		f.ended(o, ServiceFailed, "etcd is not started again, for that can't help: "+removedWords)
		if d := &o.Data.Value; o.Data.Known() && d.State == DirPresent {
			d.Removed, d.Members = append(slices.Clip(d.Removed), id), f.list
		}
	}
	f.settle()
	return nil
}

// maxLearners is how many learners the members that run take: each checks it when it
// applies the change.
func (f *forecast) maxLearners() int {
	limit := 0
	for i := range f.ms {
		if o := &f.ms[i]; o.Client.Reach == ReachServing {
			n := 1
			_, _ = fmt.Sscan(o.flag("max-learners"), &n)
			if limit == 0 || n < limit {
				limit = n
			}
		}
	}
	return max(limit, 1)
}
