package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func hashes(in *Input, list ...uint32) {
	kv := KVComparison{Revision: 7, Hashes: map[string]uint32{}}
	for i, h := range list {
		kv.Hashes[in.Cluster.Members[i].Name] = h
	}
	in.Observation.KV = Known(kv)
}

// What is added anew copies its data from the leader: two of five differ, and one of
// them leads. The lead goes to one of the majority first, the snapshot that the policy
// wants comes from one of them too, and one is replaced after the other.
func TestDivergedLeader(t *testing.T) {
	in := input(members(5), serving, serving, serving, serving, serving)
	in.Cluster.Policy.SnapshotBefore = "membership"
	hashes(&in, 9, 8, 1, 1, 1)
	p := New(in)
	one := "remove-member stop set-aside add-learner join promote"
	if !routeIs(t, p, RouteReconfigure) || stepKinds(p) != "save-snapshot move-leader "+one+" "+one+" verify" {
		t.Fatalf("%s", stepKinds(p))
	}
	if a, _ := actionOf[Save](p); a.Name != "m3" {
		t.Errorf("saves %s", a.Name)
	}
	if a, _ := actionOf[MoveLeader](p); a.From != "m1" || a.To != "m3" {
		t.Errorf("moves the lead from %s to %s", a.From, a.To)
	}
	if p.Loss.Kind != LossUnknown || !needs(p, ConsentDataLoss) {
		t.Errorf("loss %+v, needs %v", p.Loss, p.Needs)
	}
	for _, s := range p.Steps {
		if !s.After.Has() {
			t.Errorf("step %d %s leaves no quorum", s.ID, s.Kind)
		}
	}
}

// A vote counts only where it is a majority of all voters, not of those that were
// compared, and learners and members that were removed have none.
func TestDivergedVotes(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   func() Input
		code Code
	}{
		{"two of three that were compared, of five", func() Input {
			in := input(members(5), serving, serving, serving, kept, kept)
			hashes(&in, 1, 1, 2)
			return in
		}, CodeDiverged},
		{"halves", func() Input {
			in := input(members(4), serving, serving, serving, serving)
			hashes(&in, 1, 1, 2, 2)
			return in
		}, CodeDiverged},
		{"one against one", func() Input {
			in := input(members(2), serving, serving)
			hashes(&in, 1, 2)
			return in
		}, CodeDiverged},
		{"its directory can't be read", func() Input {
			in := input(members(3), serving, serving, blind)
			hashes(&in, 1, 1, 2)
			return in
		}, CodeDataUnknown},
		{"somebody else keeps it", func() Input {
			in := input(members(3), serving, serving, kept)
			hashes(&in, 1, 1, 2)
			return in
		}, CodeForeignKeeper},
		{"the fewer have more", func() Input {
			in := input(members(3), serving, serving, serving)
			hashes(&in, 1, 1, 2)
			for i, rev := range []int64{5, 5, 40} {
				edit(&in, in.Cluster.Members[i].Name, func(o *MemberObservation) { o.Client.Applied, o.Client.Revision = 50, rev })
			}
			return in
		}, CodePartlyRestored},
		{"the policy never grants it", func() Input {
			in := input(members(3), serving, serving, serving)
			hashes(&in, 1, 1, 2)
			in.Cluster.Policy.Prevent = []string{"data-loss"}
			return in
		}, CodePrevented},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if p := New(tc.in()); refusedWith(p) != tc.code {
				t.Errorf("%+v, %s", p.Refusal, stepKinds(p))
			}
		})
	}
}

// Writes go on while members are asked: one that lags by as much as was applied
// meanwhile was not restored apart.
func TestDivergedUnderWrites(t *testing.T) {
	in := input(members(3), serving, serving, serving)
	hashes(&in, 1, 1, 2)
	for i, n := range []uint64{9000, 9010, 9040} {
		edit(&in, in.Cluster.Members[i].Name, func(o *MemberObservation) { o.Client.Applied, o.Client.Revision = n, int64(n)-20 })
	}
	if p := New(in); stepKinds(p) != replaceDiffering || found(p) != "silent-divergence m3" {
		t.Errorf("%+v: %s: %s", p.Refusal, stepKinds(p), found(p))
	}
}

// An alarm of the member that is replaced ends with it, and those of living members
// stay on.
func TestDivergedAlarm(t *testing.T) {
	in := input(members(3), serving, serving, serving)
	unequal(&in)
	alarmsOf("CORRUPT", "m3")(&in)
	v, ok := actionOf[Verify](New(in))
	if !ok || !v.Disarm || !slices.Equal(v.Members, []string{"m1", "m2", "m3"}) {
		t.Errorf("%+v", v)
	}
	in = input(members(3), serving, serving, missing)
	if v, _ := actionOf[Verify](New(in)); v.Disarm {
		t.Error("disarms where there is no alarm")
	}
}

// m1 was stopped, and started by hand with --force-new-cluster; m2 and m3 run, and
// elect a leader just then. m1's log has the later term, and its list of one must
// not count for more than theirs.
func TestForcedBesideAnElection(t *testing.T) {
	for _, lead := range []string{"", "m2"} {
		in := input(threeMembers(), down, serving, serving)
		data(&in, "m1", func(d *DataDir) {
			d.LastTerm, d.LastIndex, d.Commit, d.Members = 4, 1203, 1203, d.Members[:1]
			d.Log = logTo(1203)
			d.Log.Forced = 1201
		})
		for _, n := range []string{"m2", "m3"} {
			edit(&in, n, func(o *MemberObservation) {
				o.Client.LeaderID, o.Client.Linearizable = "", Unknown[bool]("deadline")
				if lead != "" {
					o.Client.LeaderID = in.Observation.Members[lead].Client.MemberID
				}
			})
		}
		if p := New(in); refusedWith(p) != CodeSplitCluster {
			t.Errorf("leader %q: %+v, route %s: %s: %s", lead, p.Refusal, p.Route, p.Headline, stepKinds(p))
		}
	}
}

// While members are restarted for new addresses, the lead never goes to the one whose
// data differs, and a learner that differs gives its slot up before one is added.
func TestDivergedBesideOtherChanges(t *testing.T) {
	in := input(members(3), serving, serving, serving)
	hashes(&in, 9, 1, 1)
	for i := range in.Cluster.Members[1:] {
		m := &in.Cluster.Members[i+1]
		m.PeerURLs = []string{strings.Replace(m.PeerURLs[0], ":238", ":248", 1)}
		m.ListenPeerURLs = m.PeerURLs
		edit(&in, m.Name, func(o *MemberObservation) { o.Peer = PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused} })
	}
	p := New(in)
	moves := 0
	for _, s := range p.Steps {
		if a, ok := s.Action.(MoveLeader); ok {
			if moves++; a.To == "m1" {
				t.Errorf("step %d hands the lead to m1", s.ID)
			}
		}
	}
	if p.Refusal != nil || moves == 0 {
		t.Fatalf("%d moves of the lead, %+v", moves, p.Refusal)
	}

	in = input(members(4), damaged, serving, serving, learner)
	in.Cluster.Members[3].Learner = false
	hashes(&in, 0, 1, 1, 9)
	delete(in.Observation.KV.Value.Hashes, "m1")
	p = New(in)
	if kinds := stepKinds(p); p.Refusal != nil || strings.Index(kinds, "add-learner") < strings.LastIndex(kinds, "remove-member") {
		t.Errorf("%s %+v", kinds, p.Refusal)
	}
}

// What joins changes the cluster like what is added, where it is to vote; a voter that
// never ran weighs on the quorum, and is started.
func TestCalmForThoseThatJoin(t *testing.T) {
	for _, learner := range []bool{true, false} {
		in := input(members(3), serving, serving, unstarted)
		edit(&in, "m1", func(o *MemberObservation) {
			for i := range o.Client.Members.Value {
				if l := &o.Client.Members.Value[i]; l.Name == "" {
					l.Learner = learner
				}
			}
			o.Client.Metrics = Known(Metrics{UpSeconds: 60, LeaderChanges: 50, FsyncSeconds: 2})
		})
		p := New(in)
		if refused := p.Refusal != nil && p.Refusal.Code == CodeFlapping; refused != learner {
			t.Errorf("learner %t: route %q, %+v", learner, p.Route, p.Refusal)
		}
	}
}

// Of two logs that reach as far, the one of a member that its own list still has is
// asked who the members are.
func TestRemovedDiskIsNoWitness(t *testing.T) {
	for _, first := range []string{"m1", "m2"} {
		in := input(members(2), down, down)
		list := slices.Clone(in.Observation.Members["m1"].Data.Value.Members)
		data(&in, first, func(d *DataDir) {
			d.Members = slices.DeleteFunc(slices.Clone(list), func(l ListedMember) bool { return l.ID == d.MemberID })
		})
		b := newBuilder(in)
		if len(b.list) != 2 {
			t.Errorf("%s's list counts: %d members", first, len(b.list))
		}
	}
}

// The same m1, whose words have ended m2 and m3: each dies of a commit that it does not
// have, and is on its way back. Their disks read well. Where they can't be read just then
// they may still be the others' quorum.
func TestForcedBesideThoseItEnded(t *testing.T) {
	for name, edits := range map[string]func(*MemberObservation){
		"ended": func(o *MemberObservation) {
			o.Service = Known(Service{State: ServiceBackoff, LastError: "tocommit(1203) is out of range [lastIndex(1201)]"})
		},
		"ended, and read while it comes back": func(o *MemberObservation) {
			o.Service = Known(Service{State: ServiceBackoff, LastError: "tocommit(1203) is out of range [lastIndex(1201)]"})
			o.Data = Unknown[DataDir]("it changes while it is read")
		},
		"coming back, and not read": func(o *MemberObservation) { o.Data = Unknown[DataDir]("it changes while it is read") },
	} {
		t.Run(name, func(t *testing.T) {
			in := input(threeMembers(), down, stuck, stuck)
			data(&in, "m1", func(d *DataDir) {
				d.LastTerm, d.LastIndex, d.Commit, d.Members = 4, 1203, 1203, d.Members[:1]
				d.Log = logTo(1203)
				d.Log.Forced = 1201
			})
			for _, n := range []string{"m2", "m3"} {
				edit(&in, n, func(o *MemberObservation) { o.Data.Value.HeldBy = 0; edits(o) })
			}
			if p := New(in); p.Refusal == nil {
				t.Errorf("route %s: %s: %s", p.Route, p.Headline, stepKinds(p))
			} else {
				t.Log(p.Refusal.Code, p.Refusal.Detail)
			}
		})
	}
}

// The same, seen between two starts: neither list, or only one, could be read, and neither
// log has an entry that m1's lacks. They end because m1 told them that it removed them.
func TestForcedBesideThoseItRemoved(t *testing.T) {
	unread := func(o *MemberObservation) {
		o.Data.Value.Members, o.Peer.Members = nil, Fact[[]ListedMember]{}
	}
	for name, edits := range map[string]map[string]func(*MemberObservation){
		"neither list": {"m2": unread, "m3": unread},
		"one list":     {"m2": unread},
		"between its starts": {"m2": func(o *MemberObservation) {
			unread(o)
			o.Service = Known(Service{State: ServiceBackoff, LastError: "the member has been permanently removed from the cluster"})
			o.Data.Value.HeldBy = 0
		}, "m3": unread},
	} {
		for _, forced := range []uint64{0, 1201} {
			t.Run(fmt.Sprintf("%s, forced at %d", name, forced), func(t *testing.T) {
				in := input(threeMembers(), down, stuck, stuck)
				data(&in, "m1", func(d *DataDir) {
					d.LastTerm, d.LastIndex, d.Commit, d.Members = 4, 1203, 1203, d.Members[:1]
					d.Log = logTo(1203)
					d.Log.Forced = forced
				})
				for n, f := range edits {
					edit(&in, n, f)
				}
				want := CodeDeadWithAlive
				if forced > 0 || name == "one list" {
					want = CodeSplitCluster
				}
				if p := New(in); refusedWith(p) != want {
					t.Errorf("%+v, route %s: %s: %s", p.Refusal, p.Route, p.Headline, stepKinds(p))
				}
			})
		}
	}
}

// The one that was forced serves, with a quorum of its own: the others may have one too,
// and have acknowledged writes after it left them.
func TestForcedThatServesBesideThoseItRemoved(t *testing.T) {
	in := input(threeMembers(), serving, stuck, stuck)
	data(&in, "m1", func(d *DataDir) {
		d.LastTerm, d.LastIndex, d.Commit, d.Members = 4, 1203, 1203, nil
		d.Log = logTo(1203)
		d.Log.Forced = 1201
	})
	edit(&in, "m1", func(o *MemberObservation) {
		o.Client.Members.Value = o.Client.Members.Value[:1]
		o.Client.LeaderID, o.Client.Linearizable = o.Client.MemberID, Known(true)
	})
	for _, n := range []string{"m2", "m3"} {
		edit(&in, n, func(o *MemberObservation) {
			o.Data.Value.Members, o.Peer.Members = nil, Fact[[]ListedMember]{}
		})
	}
	if p := New(in); refusedWith(p) != CodeSplitCluster {
		t.Errorf("%+v, route %s: %s: %s", p.Refusal, p.Route, p.Headline, stepKinds(p))
	}
}
