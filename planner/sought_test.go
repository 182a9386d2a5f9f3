package planner

import "testing"

// A member that is not where the cluster looks for it is looked for elsewhere first:
// started before, it follows nobody, and with another that is about to move too it hears
// from nobody.
func TestStartedWhereItIsSought(t *testing.T) {
	moved := func(k kind) Input {
		in := input(threeMembers(), serving, serving, k)
		m := &in.Cluster.Members[2]
		m.PeerURLs, m.ListenPeerURLs = []string{"http://127.0.0.1:2393"}, []string{"http://127.0.0.1:2393"}
		return in
	}
	p := New(moved(down))
	if routeIs(t, p, RouteStart); stepKinds(p) != "update-member start" {
		t.Errorf("steps: %s", stepKinds(p))
	}
	// The policy's snapshot comes before a change of the list.
	in := moved(down)
	in.Cluster.Policy.SnapshotBefore = "membership"
	if p := New(in); stepKinds(p) != "save-snapshot update-member start" {
		t.Errorf("steps: %s", stepKinds(p))
	}
	// Where the list can't be changed it is started all the same: with auth and no user,
	// and where another member still has that URL.
	in = moved(down)
	for _, name := range []string{"m1", "m2"} {
		edit(&in, name, func(o *MemberObservation) { o.Client.Sealed = true })
	}
	if p := New(in); p.Refusal != nil || stepKinds(p) != "start" {
		t.Errorf("steps: %s, refusal %+v", stepKinds(p), p.Refusal)
	}
	in = moved(down)
	in.Cluster.Members[1].PeerURLs, in.Cluster.Members[2].PeerURLs = in.Cluster.Members[2].PeerURLs, threeMembers().Members[1].PeerURLs
	if p := New(in); p.Refusal != nil || stepKinds(p) != "start" {
		t.Errorf("steps: %s, refusal %+v", stepKinds(p), p.Refusal)
	}
	// It was started there before the update, as by an apply that was killed.
	in = moved(stuck)
	edit(&in, "m3", func(o *MemberObservation) {
		o.Client.Reach = ReachHangs
		o.Peer = PeerEndpoint{URL: "http://127.0.0.1:2393", Reach: ReachServing, ClusterID: in.Observation.Members["m1"].Client.ClusterID, Members: in.Observation.Members["m1"].Client.Members}
	})
	p = New(in)
	if routeIs(t, p, RouteReconfigure); stepKinds(p) != "update-member verify" {
		t.Errorf("steps: %s, refusal %+v", stepKinds(p), p.Refusal)
	}
	// It listens where it is sought, and is silent for another reason.
	in = moved(stuck)
	in.Cluster.Members[2] = threeMembers().Members[2]
	refusedAs(t, New(in), CodeDeadWithAlive)
}
