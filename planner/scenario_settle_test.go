package planner_test

import (
	"strings"

	"github.com/requorum/requorum/planner"
)

// settle has the members that serve follow a leader where enough of those on their
// list do, and compares their data.
func (v *view) settle(obs *planner.Observation) {
	for name, o := range obs.Members {
		if o.Client.Reach == planner.ReachServing {
			v.elect(obs, name, &o.Client)
			obs.Members[name] = o
		}
	}
	for i, o := range obs.Others {
		if o.Client.Reach == planner.ReachServing {
			v.elect(obs, o.Name, &obs.Others[i].Client)
		}
	}
	serving, quorum := 0, hasQuorum(*obs)
	for _, o := range obs.Members {
		if o.Client.Reach == planner.ReachServing {
			serving++
		}
	}
	if !v.kv && quorum && serving > 1 {
		_ = v.keys(obs, []string{"equal"})
		v.kv = false
	}
	if !v.kv && !quorum {
		obs.KV = planner.Unknown[planner.KVComparison]("there is no quorum")
	}
}

// elect gives a member that serves its leader.
func (v *view) elect(obs *planner.Observation, name string, e *planner.Endpoint) {
	voters, up, lead := 0, 0, ""
	for _, l := range e.Members.Value {
		if l.Learner {
			continue
		}
		voters++
		for n, id := range v.serving(obs, e.ClusterID) {
			if id == l.ID && v.leads[n] == v.leads[name] {
				up++
				if lead == "" || n == v.lead {
					lead = id
				}
			}
		}
	}
	if v.alone[name] || up < voters/2+1 {
		e.LeaderID, e.Linearizable = "", planner.Known(false)
		return
	}
	if follows := v.leads[name]; follows != "" {
		lead = v.listed(follows).ID
	}
	e.LeaderID, e.Linearizable = lead, planner.Known(!e.Learner)
}

// serving are the IDs of the members of a cluster that serve and are not cut off.
func (v *view) serving(obs *planner.Observation, cluster string) map[string]string {
	out := map[string]string{}
	for name, o := range obs.Members {
		if o.Client.Reach == planner.ReachServing && o.Client.ClusterID == cluster && !v.alone[name] {
			out[name] = o.Client.MemberID
		}
	}
	for _, o := range obs.Others {
		if o.Client.Reach == planner.ReachServing {
			out[o.Name] = o.Client.MemberID
		}
	}
	return out
}

// split takes a line apart at its blanks; what stands in quotes stays together.
func split(line string) []string {
	var out []string
	var b strings.Builder
	quoted, some := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, some = !quoted, true
		case r == ' ' && !quoted:
			if some {
				out = append(out, b.String())
			}
			b.Reset()
			some = false
		default:
			b.WriteRune(r)
			some = true
		}
	}
	if some {
		out = append(out, b.String())
	}
	return out
}
