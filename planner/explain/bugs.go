package explain

import (
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner"
)

// occasions says when a bug matters.
var occasions = map[planner.Occasion]string{
	planner.OccasionAlways:   "at any time",
	planner.OccasionStart:    "where a member is started on its data, or dies again and again",
	planner.OccasionGrow:     "where a member is added or promoted",
	planner.OccasionLearner:  "where a learner is listed or added",
	planner.OccasionUpgrade:  "where a later minor is to run",
	planner.OccasionSingle:   "with one voter only",
	planner.OccasionAuth:     "with auth",
	planner.OccasionForceNew: "where the plan uses --force-new-cluster in place",
	planner.OccasionDiverged: "where the members' data was found to differ",
}

// Bugs gives a topic for each of etcd's own bugs that a plan warns of.
func Bugs() []Topic {
	var out []Topic
	for _, b := range planner.Bugs() {
		var versions, when []string
		for _, r := range b.Affected {
			versions = append(versions, r.String())
		}
		for _, o := range b.Matters {
			when = append(when, occasions[o])
		}
		fixed := "No later version of these minors is without it."
		if f := b.Fixed(); len(f) > 0 {
			fixed = "Fixed in " + strings.Join(f, ", ") + "."
		}
		remedy := strings.ToUpper(b.Remedy[:1]) + b.Remedy[1:]
		out = append(out, Topic{
			Group: GroupBug, Name: string(b.Code), Title: b.Title,
			Why:          fmt.Sprintf("Versions that have it: %s. %s %s.", strings.Join(versions, ", "), fixed, remedy),
			Invariant:    "a plan warns of it once, " + strings.Join(when, "; ") + ", and goes on.",
			Call:         "none: the version is the one that a member answers with, or that its binary says.",
			NoEquivalent: "`etcd --version` on each host, or the column VERSION of `etcdctl endpoint status --cluster -w table`, says which it is.",
			Sources:      []Source{{Module: "web", File: b.Source}},
		})
	}
	return out
}
