package planner

import (
	"slices"
	"strings"
	"testing"
)

// What a step takes away is taken only from what it was planned over.
func TestShaken(t *testing.T) {
	rest := Step{Action: Stop{}, Before: Quorum{Voters: 3, Healthy: 3}, After: Quorum{Voters: 3, Healthy: 2}}
	gone := Step{Action: Fence{}, Before: Quorum{Voters: 3}, After: Quorum{Voters: 3}}
	grown := input(threeMembers(), serving, serving, serving)
	tellList(&grown, func(l []ListedMember) []ListedMember {
		return append(l, ListedMember{ID: "f4", PeerURLs: []string{"http://10.9.9.9:2380"}})
	})
	replaced := input(threeMembers(), serving, serving, down) // the one that answers was removed
	replaced.Observation.Others = []OtherMember{{ListedMember: ListedMember{ID: "f4"}, Client: Endpoint{Reach: ReachServing, MemberID: "f4", LeaderID: "f4"}}}
	for name, c := range map[string]struct {
		in   Input
		step Step
		want string
	}{
		"all well":             {input(threeMembers(), serving, serving, serving), rest, ""},
		"another one died":     {input(threeMembers(), serving, serving, down), rest, "2 of 3 voters are healthy"},
		"it only starts":       {input(threeMembers(), serving, serving, down), Step{Action: Start{}, Before: rest.Before}, ""},
		"planned over two":     {input(threeMembers(), serving, serving, down), Step{Action: Remove{}, Before: Quorum{Voters: 3, Healthy: 2}}, ""},
		"no quorum, as before": {input(threeMembers(), down, missing, missing), gone, ""},
		"a voter was added":    {grown, rest, "which may lose 0, and the step was planned over 3 of 3, which may lose 1"},
		"added, and it starts": {grown, Step{Action: Start{}, Before: rest.Before}, ""},
		"another was removed":  {replaced, rest, "2 of 3 voters are healthy"},
		"it is back":           {input(threeMembers(), serving, missing, serving), gone, "quorum back"},
	} {
		if got := Shaken(c.in.Cluster, c.in.Observation, c.step); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// tellList has every member that serves tell another list.
func tellList(in *Input, change func([]ListedMember) []ListedMember) {
	for name, m := range in.Observation.Members {
		if m.Client.Members.Known() {
			m.Client.Members.Value = change(slices.Clone(m.Client.Members.Value))
			in.Observation.Members[name] = m
		}
	}
}

// A voter that the file does not have, and that answers its peers alone, counts before
// a step as it counted in the plan: at the first step, and at those after it.
func TestShakenCountsAsThePlanDoes(t *testing.T) {
	in := input(threeMembers(), serving, serving, serving)
	leader := in.Observation.Members["m1"].Client
	outside := ListedMember{ID: "f4", Name: "m4", PeerURLs: []string{"http://10.9.9.9:2380"}, ClientURLs: []string{"http://10.9.9.9:2379"}}
	tellList(&in, func(l []ListedMember) []ListedMember { return append(l, outside) })
	in.Observation.Others = []OtherMember{{
		ListedMember: outside, Client: Endpoint{Reach: ReachRefused},
		Peer: PeerEndpoint{Reach: ReachServing, ClusterID: leader.ClusterID},
	}}
	b := newBuilder(in)
	b.takeSeats()
	if b.quorum != b.seated() || b.quorum != (Quorum{Voters: 4, Healthy: 4}) {
		t.Errorf("the plan is over %+v, its later steps over %+v", b.quorum, b.seated())
	}
	step := Step{Action: Stop{}, Before: b.seated()}
	if why := Shaken(in.Cluster, in.Observation, step); why != "" {
		t.Error(why)
	}
	in.Observation.Others[0].Peer.Reach = ReachRefused
	if why := Shaken(in.Cluster, in.Observation, step); !strings.Contains(why, "3 of 4") {
		t.Errorf("it is gone: %q", why)
	}
}
