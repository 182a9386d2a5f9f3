package saved

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// firstDifference says in words where two plans do not do the same; "" where they do.
// Why a step is there, and how long it may take, has no part in it; nor has who leads:
// see normal.
func firstDifference(was, is *planner.Plan) string {
	if (was.Refusal == nil) != (is.Refusal == nil) || was.Route != is.Route {
		return "another route"
	}
	if d := differentSteps(normal(was.Steps), normal(is.Steps)); d != "" {
		return d
	}
	for _, n := range is.Needs {
		if !slices.ContainsFunc(was.Needs, func(m planner.Need) bool { return m.Consent == n.Consent }) {
			return "it would need --accept=" + string(n.Consent)
		}
	}
	if was.Loss.Kind != is.Loss.Kind {
		return "another loss: " + is.Loss.Text
	}
	return ""
}

func differentSteps(was, is []planner.Step) string {
	named := func(s planner.Step) string { return s.Title + " " + strings.Join(s.Target, " ") }
	for i := range max(len(was), len(is)) {
		switch {
		case i >= len(is):
			return fmt.Sprintf("step %d (%s) is not needed any more", was[i].ID, named(was[i]))
		case i >= len(was):
			return fmt.Sprintf("there is a further step %d (%s)", is[i].ID, named(is[i]))
		case !sameStep(was[i], is[i]):
			a, b := was[i], is[i]
			if a.Kind == b.Kind && slices.Equal(a.Target, b.Target) {
				return fmt.Sprintf("step %d (%s) would be done with other values", b.ID, named(b))
			}
			return fmt.Sprintf("step %d was %s, and would be %s", a.ID, named(a), named(b))
		}
	}
	return ""
}

func sameStep(a, b planner.Step) bool {
	x, errA := json.Marshal(a.Action)
	y, errB := json.Marshal(b.Action)
	return errA == nil && errB == nil && a.Kind == b.Kind && slices.Equal(a.Target, b.Target) && bytes.Equal(x, y) && a.Before == b.Before && a.After == b.After && a.Undo == b.Undo
}

// SameOrder reports whether p takes the very steps of the file's plan, which has been
// found to do the same: not so where a leader moved, who is restarted last.
func (f *File) SameOrder(p *planner.Plan) bool {
	return slices.EqualFunc(f.Plan.Steps, p.Steps, func(a, b planner.Step) bool {
		return a.Kind == b.Kind && slices.Equal(a.Target, b.Target)
	})
}

// normal are the steps without what changes while a cluster lives, and makes a plan no
// other one: who leads, and so gives the lead away and is restarted last, which
// processes run, and where a snapshot lies that was fetched. All else stays, each quorum too.
func normal(steps []planner.Step) []planner.Step {
	var out []planner.Step
	for _, s := range steps {
		switch a := s.Action.(type) {
		case planner.MoveLeader:
			continue
		case planner.Restore:
			if a.SHA256 != "" { // the same snapshot, wherever whoever looked has put it
				a.Snapshot = ""
			}
			s.Action = a
		case planner.Stop:
			a.Members = slices.Clone(a.Members)
			for i := range a.Members {
				a.Members[i].PID, a.Members[i].Start = 0, 0
			}
			s.Action = a
		case planner.Adopt:
			a.Members = slices.Clone(a.Members)
			for i := range a.Members {
				a.Members[i].PID, a.Members[i].Start = 0, 0
			}
			s.Action = a
		}
		out = append(out, s)
	}
	// Restarts in a row are a set.
	var units [][]planner.Step
	for i := 0; i < len(out); {
		n := restart(out[i:])
		if n == 0 {
			units = append(units, out[i:i+1])
			i++
			continue
		}
		first := len(units)
		for ; n > 0; n = restart(out[i:]) {
			units = append(units, out[i:i+n])
			i += n
		}
		slices.SortStableFunc(units[first:], func(a, b []planner.Step) int { return strings.Compare(a[0].Target[0], b[0].Target[0]) })
	}
	return slices.Concat(units...)
}

// restart is how many of the steps, from the first on, restart one member: its
// addresses updated, perhaps, then stop and start. 0 for none.
func restart(steps []planner.Step) int {
	n := 0
	for _, kind := range []string{planner.Update{}.Kind(), planner.Stop{}.Kind(), planner.Start{}.Kind()} {
		switch {
		case n < len(steps) && steps[n].Kind == kind && len(steps[n].Target) == 1 && steps[n].Target[0] == steps[0].Target[0]:
			n++
		case kind != planner.Update{}.Kind():
			return 0
		}
	}
	return n
}
