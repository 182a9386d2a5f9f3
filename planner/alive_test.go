package planner

import "testing"

// TestOldVoterElsewhere: no identity begins, or goes on without having run, beside a voter
// of the old cluster that answers where it can't be stopped. The first lists nobody's
// disk has; the second is a restore that was begun.
func TestOldVoterElsewhere(t *testing.T) {
	stranger := OtherMember{
		ListedMember: ListedMember{ID: "c3", Name: "m4", PeerURLs: []string{"http://127.0.0.1:2384"}, ClientURLs: []string{"http://127.0.0.1:2374"}},
		Client:       Endpoint{URL: "http://127.0.0.1:2374", Reach: ReachServing, MemberID: "c3", ClusterID: "f0"},
	}
	for _, tc := range []struct {
		name string
		in   Input
		then Route
	}{
		{"a disk whose list is from before it came", input(threeMembers(), down, missing, missing), RouteRecover},
		{"a restore that was begun", input(withSnapshot(threeMembers()), staged, staged, staged), RouteRestore},
	} {
		if p := New(tc.in); p.Refusal != nil || p.Route != tc.then {
			t.Errorf("%s, without it: %q %+v", tc.name, p.Route, p.Refusal)
		}
		tc.in.Observation.Others = []OtherMember{stranger}
		if p := New(tc.in); p.Refusal == nil || p.Refusal.Code != CodeHostAlive {
			t.Errorf("%s: %q %+v", tc.name, p.Route, p.Refusal)
		}
	}
}
