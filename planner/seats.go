package planner

import "slices"

// seat is a member of the cluster's own list while a plan is made: what the steps
// so far have left of it.
type seat struct {
	id, name string
	url      string  // where its clients are served
	m        *member // of the file; nil where the file has none
	learner  bool
	healthy  bool // runs and follows the leader
	started  bool // has ever run
	leads    bool
}

// takeSeats lists the members of a cluster with quorum as they are.
func (b *builder) takeSeats() {
	b.seats = nil
	leader, cluster := "", b.plan.ClusterID
	if e := b.prover(); e != nil {
		cluster = e.ClusterID
	}
	for _, m := range with(b.members, condServing) {
		if m.seen.Client.LeaderID != "" {
			leader = m.seen.Client.LeaderID
		}
	}
	for _, l := range b.list {
		s := &seat{id: l.ID, name: l.Name, learner: l.Learner, started: l.Name != "" || len(l.ClientURLs) > 0, m: b.ofFile(l), leads: l.ID == leader}
		client := b.otherClient(l.ID)
		if s.m != nil {
			client = s.m.seen.Client
			s.name = s.m.spec.Name
			if s.m.id() != l.ID {
				client = Endpoint{} // somebody else answers there
			}
		}
		if client.Reach == ReachServing && client.MemberID == l.ID {
			s.url, s.healthy = client.URL, client.LeaderID != ""
		}
		if o := b.other(l.ID); o != nil && o.Peer.Reach == ReachServing && o.Peer.ClusterID == cluster && !o.leaderless() {
			s.healthy = true // it runs, and counts for the others, though it may not answer us
		}
		if s.name == "" {
			s.name = l.ID
		}
		b.seats = append(b.seats, s)
	}
}

// leaderless reports whether the member is known to follow nobody: it says so, or its
// clients wait in vain, as they do at an etcd that was started without a quorum.
func (o *OtherMember) leaderless() bool {
	e := o.Client
	return e.Reach == ReachHangs || e.Reach == ReachServing && e.MemberID == o.ID && e.LeaderID == ""
}

func (b *builder) otherClient(id string) Endpoint {
	for _, o := range b.obs.Others {
		if o.ID == id {
			return o.Client
		}
	}
	return Endpoint{}
}

// seated is the quorum as the seats are now.
func (b *builder) seated() Quorum {
	q := Quorum{}
	for _, s := range b.seats {
		if s.learner {
			continue
		}
		q.Voters++
		if s.healthy {
			q.Healthy++
		}
	}
	return q
}

// seatOf is the seat of a member of the file, nil for none.
func (b *builder) seatOf(m *member) *seat {
	for _, s := range b.seats {
		if s.m == m {
			return s
		}
	}
	return nil
}

// endpoints are the client URLs of the voters that serve, but for one.
func (b *builder) endpoints(but *seat) []string {
	var out []string
	for _, s := range b.seats {
		if s.healthy && !s.learner && s != but && s.url != "" {
			out = append(out, s.url)
		}
	}
	return out
}

// leader is the seat that leads; nil if it is not known.
func (b *builder) leader() *seat {
	for _, s := range b.seats {
		if s.leads {
			return s
		}
	}
	return nil
}

// successor is a voter that can lead in the place of s; nil for none. One that
// stays as it is goes first, so that the lead moves once. Where members' data
// differs, only one of the majority does: who joins copies its data from the leader.
func (b *builder) successor(s *seat, changing func(*seat) bool) *seat {
	var second *seat
	for _, o := range b.seats {
		if o == s || o.learner || !o.healthy || o.url == "" || b.apart(o) {
			continue
		}
		if !changing(o) {
			return o
		}
		if second == nil {
			second = o
		}
	}
	return second
}

func (b *builder) unseat(s *seat) {
	b.seats = slices.DeleteFunc(b.seats, func(o *seat) bool { return o == s })
}
