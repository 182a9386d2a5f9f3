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
	case planner.Install:
		v.told(s, before)
		v.warned(s.Kind)
	case planner.Stop, planner.SetAside, planner.Adopt:
		v.told(s, before)
	case planner.Start:
		v.told(s, before)
		for i := range a.Members {
			m := &a.Members[i]
			v.configured(m)
			if d := before.Members[m.Name].Data.Value; d.Provenance != nil && d.Provenance.Kind == planner.ProvenanceForceNew && !d.EverRan {
				v.noTwin(m.Name, before)
			}
		}
	case planner.Join:
		v.told(s, before)
		v.configured(&a.StartMember)
	case planner.Recover:
		if a.InPlace != nil {
			v.noTwin(a.Name, before)
		}
	case planner.Fence:
		v.told(s, before)
		v.warned(s.Kind)
	case planner.Restore:
		v.warned(s.Kind)
	}
}

func (v *visit) told(s *planner.Step, before *planner.Observation) {
	for _, m := range v.in.Cluster.Members {
		if o := before.Members[m.Name]; planner.PlaceOf(v.in.Cluster, m).Commands != nil && slices.Contains(s.Target, m.Name) && !o.Service.Known() {
			v.sayf(s2, "%s %s, of which it is not known whether it runs", s.Kind, m.Name)
		}
	}
}

// configured: each setting that the step names is in the file, and nothing of the
// cluster's beginning; and no start command is run that was seen to expel the others.
func (v *visit) configured(m *planner.StartMember) {
	if m.Commands == nil {
		return
	}
	if o := v.in.Observation.Members[m.Name]; o.Service.Known() && slices.Contains(o.Service.Value.Args, "--force-new-cluster=true") {
		v.sayf(s22, "%s's commands run etcd with --force-new-cluster, and are run again", m.Name)
	}
	if planner.Closed(m.Args) {
		return
	}
	if len(m.Files) != 1 {
		v.sayf(s18, "%s's commands would find no settings", m.Name)
		return
	}
	text := m.Files[0].Text
	if !strings.Contains(text, "\ninitial-cluster-state: \"existing\"\n") || strings.Contains(text, "\ninitial-cluster:") || strings.Contains(text, "\ninitial-cluster-token:") || strings.Contains(text, "force-new-cluster") {
		v.sayf(s18, "%s's commands would find the settings of a new cluster", m.Name)
	}
	for _, a := range m.Args {
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if !strings.HasPrefix(name, "initial-cluster") && !strings.Contains(text, "\n"+name+": "+value+"\n") && !strings.Contains(text, "\n"+name+": \""+value+"\"\n") {
			v.sayf(s22, "%s's commands would not find --%s", m.Name, name)
		}
	}
}

// noTwin: beside one that keeps its old identity no command may begin it on nothing.
func (v *visit) noTwin(name string, before *planner.Observation) {
	for _, m := range v.in.Cluster.Members {
		o := before.Members[m.Name]
		if m.Name != name && planner.PlaceOf(v.in.Cluster, m).Commands != nil && o.Data.Known() && (o.Data.Value.State == planner.DirAbsent || o.Data.Value.State == planner.DirEmpty) {
			v.sayf(s18, "recovers %s in place, and nothing keeps %s's commands from beginning its twin", name, m.Name)
		}
	}
}

// warned: whoever's commands can't be kept from being run is named.
func (v *visit) warned(kind string) {
	for _, m := range v.in.Cluster.Members {
		if planner.PlaceOf(v.in.Cluster, m).Commands != nil && !slices.ContainsFunc(v.p.Notices, func(n planner.Notice) bool {
			return n.Code == planner.NoteNotBarred && strings.Contains(n.Text, m.Name)
		}) {
			v.sayf(s18, "%s, and it is not said that %s's commands may be run all the same", kind, m.Name)
		}
	}
}
