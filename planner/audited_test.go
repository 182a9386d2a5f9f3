package planner_test

import (
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/audit"
)

// An audit passes over nothing: whatever three members are like, it finds something
// where a plan would not leave them as they are, and something bad where no quorum is
// seen. And it gets through all of them, also those that are refused at first sight.
func TestAuditPassesOverNothing(t *testing.T) {
	names, n, bad := planner.KindNames(), 0, 0
	for _, snapshot := range []bool{false, true} {
		for i, x := range names {
			for j, y := range names {
				for k, z := range names {
					if snapshot && (i+j+k)%3 > 0 {
						continue
					}
					in := planner.InputOf(snapshot, x, y, z)
					p := planner.New(in)
					list := audit.Of(audit.Input{Input: in, Plan: p, Differences: planner.Differences(in)})
					worst := audit.Info
					for _, f := range list {
						if f.Fact == "" || f.Title == "" || len(f.Remedy) == 0 {
							t.Errorf("%s, %s, %s: half said: %+v", x, y, z, f)
						}
						worst = max(worst, f.Severity)
					}
					n++
					if (p.Refusal != nil || p.Changes()) && worst < audit.Warning {
						t.Errorf("%s, %s, %s: nothing is found, and the plan is %s, %v", x, y, z, p.Headline, p.Refusal)
					}
					if !p.Before.Has() && worst < audit.Error {
						t.Errorf("%s, %s, %s: no quorum, and nothing bad is found: %+v", x, y, z, list)
					}
					if worst >= audit.Error {
						bad++
					}
					if bad > 0 && t.Failed() && n%500 == 0 {
						t.FailNow()
					}
				}
			}
		}
	}
	t.Logf("%d states, %d of them bad", n, bad)
}
