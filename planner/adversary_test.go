package planner

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// What an adversary of the planner tried: observations at the edge of the kinds that
// the model check has. Each says what must hold.

// S2: a voter that follows a leader proves that somebody leads: nothing is lost yet,
// though nobody had the time to answer a linearizable read.
func TestAdversaryALeaderIsStillFollowed(t *testing.T) {
	in := input(threeMembers(), serving, missing, missing)
	edit(&in, "m1", func(o *MemberObservation) {
		o.Client.LeaderID = MemberID(in.Cluster.Members[1].PeerURLs, oldToken)
		o.Client.Linearizable = Unknown[bool]("context deadline exceeded")
	})
	if p := New(in); p.Refusal == nil {
		t.Errorf("m1 follows a leader, and the plan is %s: %s", p.Headline, stepKinds(p))
	}
}

// Promise 1: who serves without a leader, or hangs, is no healthy voter because its peer
// port answers: each restart would take the quorum away.
func TestAdversaryIsolatedOtherIsNotHealthy(t *testing.T) {
	for _, client := range []Endpoint{{Reach: ReachServing}, {Reach: ReachHangs}} {
		in := input(members(4), serving, serving, serving, serving)
		in.Observation.JournalMembers = []string{"m1", "m2", "m3", "m4"}
		id := ClusterID(in.Cluster.Members, oldToken)
		elsewhere(&in, 3, func(o *OtherMember) {
			client.URL, client.ClusterID, client.MemberID, client.Version = o.Client.URL, id, o.ID, "3.7.3"
			o.Client, o.Peer = client, PeerEndpoint{URL: o.Peer.URL, Reach: ReachServing, ClusterID: id}
		})
		in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "8589934592"}
		removed := false
		p := New(in)
		for _, s := range p.Steps {
			switch s.Action.(type) {
			case Remove:
				removed = true
			case Stop:
				if !removed && !needs(p, ConsentDowntime) {
					t.Errorf("%s: step %d leaves 2 of 4 voters, and says %+v", client.Reach, s.ID, s.After)
				}
			}
		}
	}
}

// Promise 2: the journal knows m2 and m3 of this very cluster, and they run here. A file
// that names m1 alone does not make them go away.
func TestAdversaryJournalMembersRun(t *testing.T) {
	in := input(withSnapshot(threeMembers()), missing, missing, missing)
	in.Observation.JournalMembers = []string{"m1", "m2", "m3"}
	for i, m := range in.Cluster.Members {
		in.Observation.JournalPlaces = append(in.Observation.JournalPlaces, Place{Name: m.Name, DataDir: m.DataDir})
		if i > 0 {
			in.Observation.Etcds = append(in.Observation.Etcds, Foreign{PID: 100 + i, Settings: map[string]string{
				"name": m.Name, "data-dir": m.DataDir, "initial-advertise-peer-urls": m.PeerURLs[0], "listen-client-urls": m.ClientURLs[0],
			}})
			delete(in.Observation.Members, m.Name)
		}
	}
	in.Cluster.Members = in.Cluster.Members[:1]
	for _, snapshot := range []bool{true, false} {
		if !snapshot {
			in.Cluster.Snapshot, in.Observation.Snapshot = nil, nil
		}
		if p := New(in); p.Refusal == nil || snapshot && p.Refusal.Code != CodeHostAlive {
			t.Errorf("m2 and m3 run, and the plan is %s: %s", p.Headline, stepKinds(p))
		}
	}
}

// Promise 2: m1's disk has m4 as a learner; m4 has been promoted since, and says so.
func TestAdversaryPromotedSince(t *testing.T) {
	in := input(members(4), down, missing, missing, learner)
	disk(&in, "m1", func(d *DataDir) { d.Members[3].Learner = true })
	elsewhere(&in, 3, func(o *OtherMember) {
		o.Learner = true
		o.Client = Endpoint{URL: o.Client.URL, Reach: ReachServing, ClusterID: ClusterID(members(4).Members, oldToken), MemberID: o.ID, LeaderID: o.ID, Version: "3.7.3", Linearizable: Known(true)}
	})
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeHostAlive {
		t.Errorf("m4 votes and leads, and the plan is %s: %s, %v", p.Headline, stepKinds(p), p.Refusal)
	}
}

// S5: somebody added a second m3 elsewhere. The journal has an m3, and it is another.
func TestAdversarySecondOfAName(t *testing.T) {
	in := input(members(4), serving, serving, serving, serving)
	in.Observation.JournalMembers = []string{"m1", "m2", "m3"}
	id := MemberID(in.Cluster.Members[3].PeerURLs, oldToken)
	elsewhere(&in, 3, func(o *OtherMember) { o.Name = "m3" })
	for _, m := range in.Cluster.Members {
		edit(&in, m.Name, func(o *MemberObservation) { o.Client.Members.Value[3].Name = "m3" })
	}
	p := New(in)
	if p.Refusal != nil || !needs(p, Consent("remove-member:"+id)) {
		t.Errorf("%s: %s, needs %v, %v", p.Headline, stepKinds(p), p.Needs, p.Refusal)
	}
}

// S2: two hosts that have one name are destroyed by two consents.
func TestAdversaryTwoOfANameAreGone(t *testing.T) {
	in := input(threeMembers(), down, down, down)
	ids := []string{MemberID(in.Cluster.Members[1].PeerURLs, oldToken), MemberID(in.Cluster.Members[2].PeerURLs, oldToken)}
	disk(&in, "m1", func(d *DataDir) { d.Members[1].Name = "m3" })
	elsewhere(&in, 1, func(o *OtherMember) { o.Name = "m3" })
	p := New(in)
	for _, id := range ids {
		if p.Refusal != nil || !needs(p, Consent("host-destroyed:"+id)) {
			t.Errorf("%s: needs %v, %v", p.Headline, p.Needs, p.Refusal)
		}
	}
}

// Never take unknown for absent: what lies behind the fence can't be read.
func TestAdversaryUnreadableBehindTheFence(t *testing.T) {
	for _, was := range []*DataDir{{State: DirPresent, Problem: "no WAL file can be read"}, nil} {
		in := input(withSnapshot(threeMembers()), fenced, fenced, fenced)
		for _, m := range in.Cluster.Members {
			data(&in, m.Name, func(d *DataDir) { d.Fenced = was })
		}
		if p := New(in); p.Refusal == nil {
			t.Errorf("three fenced directories, and the plan is %s: %s", p.Headline, stepKinds(p))
		}
	}
}

// S16: m2's record says that an identity went on from 1,000,001,204, and clients saw it.
// A recovery from an older disk goes on beyond that.
func TestAdversaryRecoverBeyondWhatWasSeen(t *testing.T) {
	in := input(threeMembers(), fenced, missing, missing)
	for _, m := range in.Cluster.Members {
		disk(&in, m.Name, func(d *DataDir) {
			d.Provenance = &Provenance{Kind: ProvenanceRecover, Token: "another", ClusterID: "abc", Revision: 1204, RevisionBump: spec.DefaultRevisionBump}
			d.EverRan = true
			if d.Fenced != nil {
				d.Fenced.Revision = 1204
			}
		})
	}
	p := New(in)
	for _, s := range p.Steps {
		if a, ok := s.Action.(Restore); ok {
			if got := 1204 + a.RevisionBump; got < 1204+2*spec.DefaultRevisionBump {
				t.Errorf("it goes on at %d, and clients saw %d and more", got, 1204+spec.DefaultRevisionBump)
			}
			return
		}
	}
	t.Errorf("%q %+v", stepKinds(p), p.Refusal)
}

// A bump that does not fit is refused in a recovery as in a restore.
func TestAdversaryRecoverOverflow(t *testing.T) {
	in := input(withSnapshot(threeMembers()), down, missing, missing)
	n := int64(math.MaxInt64 - 10)
	in.Cluster.Snapshot.RevisionBump = &n
	disk(&in, "m1", func(d *DataDir) { d.Revision = 1204 })
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeRevisionOverflow {
		t.Errorf("%s: %s, %v", p.Headline, stepKinds(p), p.Refusal)
	}
}

// Promise 2: m1 serves, and neither its directory nor its service can be looked at (a
// user without rights). Leftovers of a restore at the other places are not finished
// beside it.
func TestAdversaryFinishBesideABlindOne(t *testing.T) {
	for _, led := range []bool{true, false} {
		in := input(withSnapshot(threeMembers()), blind, staged, staged)
		edit(&in, "m1", func(o *MemberObservation) {
			o.Service = Unknown[Service]("permission denied")
			o.Client.Linearizable = Known(led)
			if led {
				o.Client.LeaderID = o.Client.MemberID
			}
			id := ClusterID(in.Cluster.Members, "a live one")
			o.Client.ClusterID, o.Peer.ClusterID = id, id
		})
		if p := New(in); p.Refusal == nil && (p.Route == RouteRestore || p.Route == RouteRecover || p.Route == RouteBootstrap) {
			t.Errorf("led %v: m1 serves, and the plan is %s: %s", led, p.Headline, stepKinds(p))
		}
	}
}

// S8: between these disks and now another identity ran (its record is beside m1's
// lost directory): what it acknowledged is on none of them.
func TestAdversarySupersededDisks(t *testing.T) {
	in := input(threeMembers(), missing, fenced, fenced)
	disk(&in, "m1", func(d *DataDir) {
		d.EverRan = true
		d.Provenance = &Provenance{Kind: ProvenanceRecover, Token: "another", ClusterID: "abc", MemberID: "def", Revision: 1204, RevisionBump: spec.DefaultRevisionBump, InitialCluster: "m1=http://127.0.0.1:2381"}
	})
	if p := New(in); p.Refusal == nil && p.Loss.Kind == LossNone {
		t.Errorf("%s: %s\n%s", p.Headline, stepKinds(p), p.Loss.Text)
	}
}

// The least destructive route: a member that listens everywhere, or at the same address
// written otherwise, is found where the others look for it.
func TestAdversaryListensThere(t *testing.T) {
	for _, tc := range []struct{ listed, peer, listen string }{
		{"http://127.0.0.1:2381", "http://m1.example:2381", "http://0.0.0.0:2381"},
		{"http://[::1]:2381", "http://m1.example:2381", "http://[::]:2381"},
		{"http://[::1]:2381", "http://[0:0:0:0:0:0:0:1]:2381", "http://[0:0:0:0:0:0:0:1]:2381"},
	} {
		in := input(threeMembers(), down, down, down)
		list := slices.Clone(in.Observation.Members["m1"].Data.Value.Members)
		for i := range in.Cluster.Members {
			port := strings.NewReplacer("2381", []string{"2381", "2382", "2383"}[i])
			m := &in.Cluster.Members[i]
			m.PeerURLs, m.ListenPeerURLs = []string{port.Replace(tc.peer)}, []string{port.Replace(tc.listen)}
			list[i].PeerURLs = []string{port.Replace(tc.listed)}
		}
		for _, m := range in.Cluster.Members {
			disk(&in, m.Name, func(d *DataDir) { d.Members = list })
		}
		if p := New(in); p.Route != RouteStart {
			t.Errorf("%v: route %s, %s, %v", tc, p.Route, p.Headline, p.Refusal)
		}
	}
}

// S8: a recovery in place was interrupted before its first start. To start it is no
// proof that nothing was lost.
func TestAdversaryInPlaceInterrupted(t *testing.T) {
	in := input(threeMembers(), down, missing, missing)
	disk(&in, "m1", func(d *DataDir) {
		d.Members = d.Members[:1]
		d.EverRan, d.ProvenanceAgrees = false, true
		d.Provenance = &Provenance{Kind: ProvenanceForceNew, Token: "force-new-x", ClusterID: d.ClusterID, MemberID: d.MemberID}
	})
	p := New(in)
	if p.Refusal != nil || strings.Contains(p.Loss.Text, "every acknowledged write") {
		t.Errorf("%s: %s\n%s %v", p.Headline, stepKinds(p), p.Loss.Text, p.Refusal)
	}
}

// A pinned ID is worth a note wherever the cluster gets a new one.
func TestAdversaryNewIDIsNoted(t *testing.T) {
	in := movedWhileStopped()
	in.Cluster.ID = in.Observation.Members["m1"].Data.Value.ClusterID
	p := New(in)
	if p.NewClusterID != "" && !slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Text, "new ID") }) {
		t.Errorf("%s: %v", p.Headline, p.Notices)
	}
}

// A version that is not known is no other version.
func TestAdversaryVersionNotKnown(t *testing.T) {
	in := input(threeMembers(), serving, serving, serving)
	in.Cluster.Etcd.Version = "3.7"
	edit(&in, "m2", func(o *MemberObservation) { o.Client.Version = "" })
	p := New(in)
	for _, l := range p.Members {
		if strings.HasSuffix(l.Seen, " ") {
			t.Errorf("%q", l.Seen)
		}
	}
	in = input(threeMembers(), serving, serving, missing)
	in.Cluster.Etcd.Version = "3.7"
	edit(&in, "m2", func(o *MemberObservation) { o.Client.Version = "" })
	if p := New(in); p.Refusal != nil && strings.Contains(p.Refusal.Title+p.Refusal.Detail, "etcd ,") {
		t.Errorf("%s %s", p.Refusal.Title, p.Refusal.Detail)
	}
}

// A way out: m3's old address belongs to another cluster now. Who answers there is
// known not to be m3.
func TestAdversaryAddressOfAnother(t *testing.T) {
	in := input(threeMembers(), down, missing, down)
	elsewhere(&in, 2, func(o *OtherMember) {
		o.Client = Endpoint{URL: o.Client.URL, Reach: ReachServing, ClusterID: "abc", MemberID: "def", LeaderID: "def"}
		o.Peer = PeerEndpoint{URL: o.Peer.URL, Reach: ReachServing, ClusterID: "abc", Members: Known([]ListedMember{{ID: "def"}})}
	})
	if p := New(in); p.Route != RouteRecover || p.Refusal != nil {
		t.Errorf("%s %v", p.Headline, p.Refusal)
	}
}

// Nothing is ever written to the root of a disk.
func TestAdversaryNoBase(t *testing.T) {
	in := input(threeMembers(), down, missing, missing)
	edit(&in, "m1", func(o *MemberObservation) { o.Base = "" })
	for _, s := range New(in).Steps {
		if a, ok := s.Action.(Recover); ok && strings.HasPrefix(a.Out, "/recovered/") {
			t.Errorf("%s", a.Out)
		}
	}
}

// A recover block that has no part in the plan is not passed over in silence.
func TestAdversaryRecoverBlockUnused(t *testing.T) {
	for _, ks := range [][]kind{{serving, serving, serving}, {down, down, missing}} {
		in := input(threeMembers(), ks...)
		in.Cluster.Recover = &spec.Recover{From: "m2", InPlace: true}
		p := New(in)
		if p.Refusal == nil && p.Route != RouteRecover && !slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Text, "recover") }) {
			t.Errorf("%v: %s: %v", ks, p.Headline, p.Notices)
		}
	}
}

// The other outcome of a tail is open although the policy forbids one of them.
func TestAdversaryPreventedTail(t *testing.T) {
	in := inDoubt(TailEntry{Kind: EntryDelete, Key: "/b", Text: "delete /b", Risky: true})
	in.Cluster.Policy.Prevent = []string{"tail-keep"}
	p := New(in)
	if p.Refusal == nil || !slices.ContainsFunc(p.Refusal.Remedy, func(s string) bool { return strings.Contains(s, "tail-drop") }) {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
}

// carriedOut says which step of a plan can't be, by Predict's word; "" for none.
func carriedOut(in Input, p *Plan) string {
	obs := in.Observation
	for _, s := range p.Steps {
		next, err := Predict(obs, s.Action)
		if err != nil {
			return s.Title + " " + strings.Join(s.Target, ",") + ": " + err.Error()
		}
		obs = next
	}
	return ""
}

// etcd refuses peer URLs that another member has: a plan that runs into that stops half-way.
func TestAdversaryPeerURLsOfAnother(t *testing.T) {
	t.Run("two members exchange their addresses", func(t *testing.T) {
		in := input(threeMembers(), serving, serving, serving)
		a, b := &in.Cluster.Members[0], &in.Cluster.Members[1]
		a.PeerURLs, b.PeerURLs = b.PeerURLs, a.PeerURLs
		a.ListenPeerURLs, b.ListenPeerURLs = b.ListenPeerURLs, a.ListenPeerURLs
		p := New(in)
		if why := carriedOut(in, p); why != "" {
			t.Errorf("%s: %s: %s", p.Headline, stepKinds(p), why)
		}
	})
	t.Run("a new member at the second address of one that goes", func(t *testing.T) {
		in := input(members(4), serving, serving, newcomer, serving)
		in.Observation.JournalMembers = []string{"m1", "m2", "m4"}
		urls := []string{in.Cluster.Members[3].PeerURLs[0], in.Cluster.Members[2].PeerURLs[0]}
		elsewhere(&in, 3, func(o *OtherMember) {
			o.PeerURLs = urls
			o.Client = Endpoint{URL: o.Client.URL, Reach: ReachServing, ClusterID: ClusterID(members(4).Members, oldToken), MemberID: o.ID, LeaderID: in.Observation.Members["m1"].Client.LeaderID, Version: "3.7.3"}
		})
		for _, m := range in.Cluster.Members {
			edit(&in, m.Name, func(o *MemberObservation) {
				for i, l := range o.Client.Members.Value {
					if l.Name == "m4" {
						o.Client.Members.Value[i].PeerURLs = urls
					}
				}
			})
		}
		p := New(in)
		if why := carriedOut(in, p); why != "" || p.Refusal == nil && !p.Changes() {
			t.Errorf("%s: %s: %s", p.Headline, stepKinds(p), why)
		}
	})
}
