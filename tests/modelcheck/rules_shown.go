package main

import (
	"strings"

	"github.com/requorum/requorum/planner"
)

// S17. What was restored is verified before client listeners open; once clients write,
// going back is itself data loss. So the first start of what was restored or recovered
// is one that no client finds, and what runs so is verified before any other start.
func (v *visit) shown() {
	verified := map[string]bool{}
	restored := v.restoredIDs()
	for _, s := range v.p.Steps {
		switch a := s.Action.(type) {
		case planner.Verify:
			if a.Closed != nil {
				verified[a.ClusterID] = true
				if len(a.Closed.URLs) != len(a.Members) || len(a.Closed.MemberIDs) < len(a.Members) || len(a.Members) < quorumOf(v.votersOf(a.ClusterID)) {
					v.sayf(s17, "verifies %v of the members %v, which are too few", a.Members, a.Closed.MemberIDs)
				}
			}
		case planner.Start:
			for _, m := range a.Members {
				if unseen(m.Args) != a.Closed {
					v.sayf(s17, "says closed (%t) of %s, which is not so", a.Closed, m.Name)
				}
				if !a.Closed && restored[m.ClusterID] && !verified[m.ClusterID] {
					v.sayf(s17, "starts %s for clients, and what was restored was not verified", m.Name)
				}
			}
		case planner.Join, planner.Add, planner.Promote, planner.Update:
			if id := v.p.ID(); restored[id] && !verified[id] {
				v.sayf(s17, "%s %v changes what was restored and not verified", s.Kind, s.Target)
			}
		}
	}
}

func (v *visit) votersOf(id string) int {
	if id == v.p.NewClusterID {
		n := 0
		for _, m := range v.in.Cluster.Members {
			if !m.Learner {
				n++
			}
		}
		return n
	}
	return 1 // in place
}

// unseen reports whether no client finds an etcd with these arguments.
func unseen(args []string) bool {
	for _, a := range args {
		if urls, ok := strings.CutPrefix(a, "--listen-client-urls="); ok {
			return !strings.Contains(urls, "http")
		}
	}
	return false
}

// restoredIDs are the clusters that this plan restores or recovers, or that one before
// it did, and that no client has been shown yet.
func (v *visit) restoredIDs() map[string]bool {
	ids, seen := map[string]bool{}, map[string]bool{}
	for _, m := range v.in.Cluster.Members {
		o := v.in.Observation.Members[m.Name]
		d := o.Data.Value
		if o.Client.Reach == planner.ReachServing {
			seen[o.Client.ClusterID] = true
		}
		p := d.Provenance
		of := p != nil && (p.Kind == planner.ProvenanceRestore || p.Kind == planner.ProvenanceRecover || p.Kind == planner.ProvenanceForceNew)
		switch {
		case d.State != planner.DirPresent || d.ClusterID == "":
		case of && d.ProvenanceAgrees && (p.Kind == planner.ProvenanceForceNew || d.LastTerm <= 1) && !d.EverRan && !processRuns(&o):
			ids[d.ClusterID] = true // installed, and nothing ran on it
		case of && d.ProvenanceAgrees && o.Service.Known() && o.Service.Value.Foreign == nil && unseen(o.Service.Value.Args):
			ids[d.ClusterID] = true
		default:
			seen[d.ClusterID] = true
		}
	}
	for id := range seen {
		delete(ids, id)
	}
	for _, s := range v.p.Steps {
		switch a := s.Action.(type) {
		case planner.Restore:
			for _, m := range a.Members {
				if !seen[m.Provenance.ClusterID] {
					ids[m.Provenance.ClusterID] = true
				}
			}
		case planner.Recover:
			if a.InPlace != nil {
				ids[a.InPlace.ClusterID] = true
			}
		}
	}
	return ids
}
