package planner

import (
	"strings"
	"testing"
)

// What a step takes away is taken only from what it was planned over.
func TestShaken(t *testing.T) {
	rest := Step{Action: Stop{}, Before: Quorum{Voters: 3, Healthy: 3}, After: Quorum{Voters: 3, Healthy: 2}}
	gone := Step{Action: Fence{}, Before: Quorum{Voters: 3}, After: Quorum{Voters: 3}}
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
		"it is back":           {input(threeMembers(), serving, missing, serving), gone, "quorum back"},
	} {
		if got := Shaken(c.in.Cluster, c.in.Observation, c.step); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}
