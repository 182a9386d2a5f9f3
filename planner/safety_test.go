package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// Each test here is one of the safety rules (S1 to S22), as far as planning goes:
// the sequence that loses data, and what the plan makes of it.

func needs(p *Plan, c Consent) bool {
	return slices.ContainsFunc(p.Needs, func(n Need) bool { return n.Consent == c })
}

func refusedAs(t *testing.T, p *Plan, code Code) {
	t.Helper()
	if p.Refusal == nil || p.Refusal.Code != code {
		t.Errorf("want a refusal with %s, got %+v: %s: %s (%s)", code, p.Refusal, p.Headline, stepKinds(p), p.Loss.Text)
	}
}

func routeIs(t *testing.T, p *Plan, r Route) bool {
	t.Helper()
	if p.Refusal != nil || p.Route != r {
		t.Errorf("want the route %s, got %q, %+v: %s: %s", r, p.Route, p.Refusal, p.Headline, stepKinds(p))
		return false
	}
	return true
}

func actionOf[A Action](p *Plan) (out A, ok bool) {
	for _, s := range p.Steps {
		if a, is := s.Action.(A); is {
			return a, true
		}
	}
	return out, false
}

// disk changes what lies on a member's disk, behind a fence or not.
func disk(in *Input, name string, f func(*DataDir)) {
	data(in, name, func(d *DataDir) {
		if d.Fenced != nil {
			d = d.Fenced
		}
		f(d)
	})
}

// endsAt has a member's log, of the fixture's one history, end there.
func endsAt(in *Input, name string, last, commit uint64) {
	disk(in, name, func(d *DataDir) { d.LastIndex, d.Commit, d.Log = last, commit, logTo(last) })
}

func members(n int) *spec.Cluster {
	c := &spec.Cluster{Name: "demo", Pos: spec.Position{File: "demo.hcl", Line: 1}}
	for i := range n {
		c.Members = append(c.Members, numbered(i+1))
	}
	return c
}

// elsewhere has the file name only the first n members of the cluster; the others
// are in its list, and answer as f says.
func elsewhere(in *Input, n int, f func(*OtherMember)) {
	for _, m := range in.Cluster.Members[n:] {
		o := OtherMember{
			ListedMember: ListedMember{ID: MemberID(m.PeerURLs, oldToken), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs},
			Client:       Endpoint{URL: m.ClientURLs[0], Reach: ReachTimeout}, Peer: PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachTimeout},
		}
		f(&o)
		in.Observation.Others = append(in.Observation.Others, o)
		delete(in.Observation.Members, m.Name)
	}
	in.Cluster.Members = in.Cluster.Members[:n]
}

func silent(*OtherMember) {}

func TestS1MajorityOfDisksIsStarted(t *testing.T) {
	for _, ks := range [][]kind{{down, down, missing}, {down, fenced, fresh}, {fenced, fenced, damaged}, {down, down, removed}, {down, serving, missing}} {
		in := input(threeMembers(), ks...)
		if ks[2] == removed { // both lists count: the removed one's is older
			endsAt(&in, "m1", 1300, 1200)
		}
		p := New(in)
		if routeIs(t, p, RouteStart) && p.Loss.Kind != LossNone {
			t.Errorf("%v: nothing is lost, and the plan says %s", ks, p.Loss.Text)
		}
	}
}

// The log ends with a change of membership: with it and without it other disks are
// a majority, and other members may go on alone.
func TestS1UncommittedChange(t *testing.T) {
	in := input(threeMembers(), down, down, missing)
	disk(&in, "m1", func(d *DataDir) { d.UncommittedMembership = true })
	refusedAs(t, New(in), CodeMembershipInDoubt)

	t.Run("all voters decide it", func(t *testing.T) {
		in := input(threeMembers(), down, down, down)
		disk(&in, "m1", func(d *DataDir) { d.UncommittedMembership = true })
		if p := New(in); routeIs(t, p, RouteStart) && p.Loss.Kind != LossNone {
			t.Errorf("%+v", p.Loss)
		}
	})
	t.Run("the only voter agrees with itself", func(t *testing.T) {
		// Its learner was about to vote when it was killed.
		in := input(members(1), down)
		disk(&in, "m1", func(d *DataDir) {
			d.UncommittedMembership = true
			d.Members = append(slices.Clone(d.Members[:1]), ListedMember{ID: "b2", Name: "m2", PeerURLs: []string{"http://127.0.0.1:2392"}, Learner: true})
		})
		routeIs(t, New(in), RouteStart)
	})
	t.Run("one of two may have been left alone", func(t *testing.T) {
		// m1 led, and its own removal was under way: m2, not in the file and not seen,
		// may be the whole cluster by now.
		in := input(members(2), down, down)
		elsewhere(&in, 1, silent)
		disk(&in, "m1", func(d *DataDir) { d.UncommittedMembership = true })
		p := New(in)
		if p.Refusal == nil && !needs(p, "host-destroyed:m2") {
			t.Errorf("m2 may serve alone, and nobody has to say that it is destroyed: %s: %s", p.Headline, stepKinds(p))
		}
	})
}

func TestS2OthersMayBeAlive(t *testing.T) {
	t.Run("a majority that can't be seen has to be named", func(t *testing.T) {
		in := input(threeMembers(), down, down, down)
		elsewhere(&in, 1, silent)
		p := New(in)
		if routeIs(t, p, RouteRecover) && (!needs(p, "host-destroyed:m2") || !needs(p, "host-destroyed:m3") || !needs(p, ConsentDataLoss)) {
			t.Errorf("needs %v", p.Needs)
		}
	})
	t.Run("a minority can't", func(t *testing.T) {
		in := input(members(5), down, down, missing, missing, down)
		elsewhere(&in, 4, silent)
		p := New(in)
		if routeIs(t, p, RouteRecover) && (slices.ContainsFunc(p.Needs, func(n Need) bool { return strings.HasPrefix(string(n.Consent), "host-destroyed") }) || !slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.Code == NoteUnfenced })) {
			t.Errorf("needs %v, notes %v", p.Needs, p.Notices)
		}
	})
	t.Run("one that answers is alive, whatever was accepted", func(t *testing.T) {
		for name, f := range map[string]func(*OtherMember){
			"client": func(o *OtherMember) { o.Client.Reach = ReachServing },
			"peer":   func(o *OtherMember) { o.Peer.Reach = ReachServing },
		} {
			in := input(threeMembers(), down, down, down)
			elsewhere(&in, 1, f)
			in.Accept = map[Consent]bool{"host-destroyed:m2": true, "host-destroyed:m3": true, ConsentDataLoss: true}
			p := New(in)
			if refusedAs(t, p, CodeHostAlive); p.Changes() {
				t.Error(name)
			}
		}
	})
	t.Run("no answer at an empty place is no absence", func(t *testing.T) {
		in := input(threeMembers(), down, missing, missing)
		edit(&in, "m2", func(o *MemberObservation) { o.Peer.Reach = ReachTimeout })
		refusedAs(t, New(in), CodeUnreachable)
	})
	t.Run("a member that proves quorum is no reason to recover", func(t *testing.T) {
		in := input(members(5), serving, serving, serving, serving, serving)
		in.Observation.JournalMembers = []string{"m1", "m2", "m3", "m4", "m5"}
		elsewhere(&in, 1, silent) // the others' client ports can't be reached from here
		if p := New(in); p.Refusal == nil && p.Route == RouteRecover {
			t.Errorf("m1 answers linearizable reads, and the plan is %s: %s", p.Headline, stepKinds(p))
		}
	})
	t.Run("a list that can't be read proves nobody's absence", func(t *testing.T) {
		in := input(threeMembers(), down, down, down)
		elsewhere(&in, 1, silent)
		in.Observation.Others = nil
		disk(&in, "m1", func(d *DataDir) { d.Members = nil })
		if p := New(in); p.Refusal == nil {
			t.Errorf("nobody knows who else there is, and the plan is %s (needs %v)", p.Headline, p.Needs)
		}
	})
	t.Run("young processes are waited for", func(t *testing.T) {
		refusedAs(t, New(input(threeMembers(), begun, missing, missing)), CodeDeadWithAlive)
	})
}

func TestS3AllIsStoppedBeforeAnythingIsCopied(t *testing.T) {
	p := New(input(members(5), serving, stuck, missing, missing, damaged))
	if !routeIs(t, p, RouteRecover) {
		return
	}
	if stepKinds(p) != "save-snapshot "+recoverSteps {
		t.Errorf("steps %s", stepKinds(p))
	}
	if a, _ := actionOf[Fence](p); !slices.Equal(a.Targets(), []string{"m1", "m2", "m5"}) {
		t.Errorf("fences %v", a.Targets())
	}
}

func TestS4NothingIsChangedWhileDataDiffers(t *testing.T) {
	in := input(threeMembers(), serving, serving, missing)
	in.Observation.KV = Known(KVComparison{Revision: 7, Hashes: map[string]uint32{"m1": 1, "m2": 2}})
	refusedAs(t, New(in), CodeDiverged)
	in = input(threeMembers(), serving, serving, missing)
	edit(&in, "m2", func(o *MemberObservation) { o.Client.LeaderID = "abc" })
	refusedAs(t, New(in), CodeNoLeader)
}

func TestS5RemovalOfAMemberThatTheJournalDoesNotHave(t *testing.T) {
	for _, reach := range []Reach{ReachServing, ReachTimeout} {
		for _, known := range []bool{true, false} {
			in := input(threeMembers(), serving, serving, serving)
			elsewhere(&in, 2, func(o *OtherMember) {
				o.Client = Endpoint{URL: "http://127.0.0.1:2373", Reach: reach, MemberID: o.ID, LeaderID: "x"}
			})
			if known {
				in.Observation.JournalMembers = []string{"m1", "m2", "m3"}
			}
			p := New(in)
			if !routeIs(t, p, RouteReconfigure) {
				continue
			}
			if needs(p, "remove-member:m3") == known || stepKinds(p) != "remove-member verify" {
				t.Errorf("%s, in the journal %v: needs %v, steps %s", reach, known, p.Needs, stepKinds(p))
			}
		}
	}
}

func TestS5SomebodyElsesCluster(t *testing.T) {
	in := input(members(5), serving, serving, serving, serving, serving)
	elsewhere(&in, 2, silent)
	refusedAs(t, New(in), CodeForeignCluster)
	in.Cluster.ID = in.Observation.Members["m1"].Client.ClusterID
	if p := New(in); p.Refusal != nil && p.Refusal.Code == CodeForeignCluster {
		t.Errorf("the file names its ID: %+v", p.Refusal)
	}
}
