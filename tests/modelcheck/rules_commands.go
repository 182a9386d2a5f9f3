package main

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// commanded: of members that commands of the user's keep, nothing is done to a process
// whose standing is not known; no command is run without the settings that it is to
// find; and what no fence can keep from happening is said.
func (v *visit) commanded(s *planner.Step, before *planner.Observation) {
	switch a := s.Action.(type) {
	case planner.Stop, planner.Install, planner.SetAside, planner.Adopt:
		v.told(s, before)
	case planner.Start:
		v.told(s, before)
		for i := range a.Members {
			v.configured(&a.Members[i])
		}
	case planner.Join:
		v.told(s, before)
		v.configured(&a.StartMember)
	case planner.Fence:
		v.told(s, before)
		for _, m := range a.Members {
			if m.Commands != nil && !slices.ContainsFunc(v.p.Notices, func(n planner.Notice) bool {
				return n.Code == planner.NoteNotBarred && strings.Contains(n.Text, m.Name)
			}) {
				v.sayf(s18, "fences %s, and does not say that its commands may be run all the same", m.Name)
			}
		}
	}
}

func (v *visit) told(s *planner.Step, before *planner.Observation) {
	for _, m := range v.in.Cluster.Members {
		if o := before.Members[m.Name]; planner.PlaceOf(v.in.Cluster, m).Commands != nil && slices.Contains(s.Target, m.Name) && !o.Service.Known() {
			v.sayf(s2, "%s %s, of which it is not known whether it runs", s.Kind, m.Name)
		}
	}
}

func (v *visit) configured(m *planner.StartMember) {
	if m.Commands == nil || planner.Closed(m.Args) {
		return
	}
	if len(m.Files) != 1 || !strings.Contains(m.Files[0].Text, "\ndata-dir: ") || !strings.Contains(m.Files[0].Text, "\ninitial-cluster-state: \"existing\"\n") {
		v.sayf(s18, "%s's commands would find no settings, or those of a new cluster", m.Name)
	}
}
