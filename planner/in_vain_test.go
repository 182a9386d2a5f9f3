package planner

import "testing"

// A member was added and started, and its etcd ended before it had a log: the others had
// lost their quorum. It never begins a second time under its ID; it is added anew, and
// nobody has to give up anything for that.
func TestStartedInVain(t *testing.T) {
	for i := range 4 {
		voter, leftovers := i%2 == 0, i > 1
		in := input(members(3), serving, serving, unstarted)
		id := MemberID(in.Cluster.Members[2].PeerURLs, oldToken)
		for _, name := range []string{"m1", "m2"} {
			edit(&in, name, func(o *MemberObservation) {
				for _, list := range [][]ListedMember{o.Client.Members.Value, o.Data.Value.Members} {
					for i := range list {
						if list[i].ID == id {
							list[i].Learner = !voter
						}
					}
				}
			})
		}
		if p := New(in); stepKinds(p) != map[bool]string{true: "join verify", false: "join promote verify"}[voter] {
			t.Fatalf("%s, refusal %+v", stepKinds(p), p.Refusal)
		}
		edit(&in, "m3", func(o *MemberObservation) {
			d := &o.Data.Value
			d.State, d.EverRan, d.Leftovers, d.Evidence = DirEmpty, true, leftovers, []string{"requorum started a member here"}
			d.Provenance = &Provenance{Kind: ProvenanceJoin, Name: "m3", MemberID: id, ClusterID: in.Observation.Members["m1"].Client.ClusterID}
		})
		p := New(in)
		if routeIs(t, p, RouteReconfigure); stepKinds(p) != map[bool]string{false: "remove-member add-learner join promote verify", true: "remove-member set-aside add-learner join promote verify"}[leftovers] || len(p.Needs) > 0 {
			t.Errorf("voter %v, leftovers %v: %s, needs %v", voter, leftovers, stepKinds(p), p.Needs)
		}
		obs := in.Observation
		for _, s := range p.Steps {
			if holds, _ := Holds(s.Action, obs); holds && leftovers && s.Kind == "set-aside" {
				t.Errorf("voter %v: it is taken for set aside", voter)
			}
			next, err := Predict(obs, s.Action)
			if err != nil {
				t.Fatalf("voter %v: step %d, %s: %v", voter, s.ID, s.Kind, err)
			}
			obs = next
		}
	}
}
