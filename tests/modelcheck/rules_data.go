package main

import (
	"slices"

	"github.com/requorum/requorum/planner"
)

// S5 and S18. Nothing starts on data that is not the plan's, on damaged data, or on an
// absent directory, which would begin an empty twin: but for the one start that
// bootstraps, under a record of who it is.
func (v *visit) start(a *planner.StartMember, before *planner.Observation) {
	o := before.Members[a.Name]
	d := o.Data.Value
	if hasFlag(a.Args, "--force-new-cluster") {
		v.sayf(s18, "starts %s with --force-new-cluster", a.Name)
	}
	if f := foreign(&o); processRuns(&o) && o.Service.Value.State != planner.ServiceBackoff || f != nil && f.Keeper != "" {
		v.sayf(carried, "starts %s, which runs", a.Name)
	}
	if o.Data.Known() && d.State == planner.DirPresent {
		if d.ClusterID != a.ClusterID || d.MemberID != a.MemberID {
			v.sayf(s5, "starts %s on the data of another", a.Name)
		}
		if d.Problem != "" {
			v.sayf(p5, "starts %s on damaged data", a.Name)
		}
		return
	}
	if !a.Bootstrap {
		v.sayf(s18, "starts %s, and there is nothing to start on", a.Name)
		return
	}
	if p := d.Provenance; p == nil || p.MemberID != a.MemberID || p.ClusterID != a.ClusterID {
		v.sayf(p8, "starts %s empty, and no record of it was written before", a.Name)
	}
	if d.State == planner.DirFenced {
		v.sayf(s18, "starts %s empty, and its data is behind a fence", a.Name)
	}
	if slices.Contains(a.Args, "--initial-cluster-state=new") && !v.bootstraps(d.Provenance) {
		v.sayf(s18, "starts %s as the beginning of a cluster", a.Name)
	}
}

func (v *visit) bootstraps(p *planner.Provenance) bool {
	return v.p.Route == planner.RouteBootstrap && p != nil && p.Kind == planner.ProvenanceBootstrap
}

// S19. In a replacement, data is moved aside only after the removal is listed by a
// quorum. And only the data that was seen (S5).
func (v *visit) aside(a planner.SetAside, before *planner.Observation) {
	o := before.Members[a.Name]
	d := &o.Data.Value
	if a.Over != identity(d) {
		v.sayf(s5, "sets aside what was not seen at %s", a.Name)
	}
	if a.Over == (planner.Identity{}) && a.Problem == "" {
		v.sayf(s5, "sets aside %s's directory, and does not say why", a.Name)
	}
	if processRuns(&o) && o.Service.Value.State != planner.ServiceBackoff {
		v.sayf(p3, "sets aside %s's directory under a process that runs", a.Name)
	}
	l := v.was
	if l == nil {
		v.sayf(s19, "sets aside %s's directory without a quorum that removed it", a.Name)
		return
	}
	if listed(l.list, a.Over.MemberID) != nil {
		v.sayf(s19, "sets aside %s's directory, and it is a member", a.Name)
	}
	if m := fileHas(v.in.Cluster, a.Name); a.Over == (planner.Identity{}) && m != nil {
		if e := listedAt(l.list, m.PeerURLs); e != nil && e.Name != "" {
			v.sayf(s19, "sets aside %s's directory, and its address is a member's", a.Name)
		}
	}
}

// A running member is adopted without touching it, and only where nobody else keeps it
// running and its next start would harm nobody.
func (v *visit) adopt(a planner.Adopt, before *planner.Observation) {
	for _, m := range a.Members {
		o := before.Members[m.Name]
		f := foreign(&o)
		if f != nil && (f.Keeper != "" || f.Settings["force-new-cluster"] == "true" || f.PID != m.PID || f.Start != m.Start) {
			v.sayf(s5, "adopts %s, which is not to be adopted as it is", m.Name)
		}
		if d := o.Data.Value; o.Data.Known() && (d.ClusterID != m.ClusterID || d.MemberID != m.MemberID) {
			v.sayf(s5, "adopts %s under another identity than its data's", m.Name)
		}
		if hasFlag(m.Args, "--force-new-cluster") {
			v.sayf(s18, "adopts %s with --force-new-cluster", m.Name)
		}
	}
}

// A leader is stopped only after it handed over, where another can lead; and what
// somebody else keeps running is not stopped, for it would come back.
func (v *visit) stop(a planner.Stop, before *planner.Observation) {
	l := v.was
	for _, m := range a.Members {
		o := before.Members[m.Name]
		if f := foreign(&o); f != nil && f.Keeper != "" {
			v.sayf(s5, "stops %s, which somebody else keeps running", m.Name)
		}
		if l != nil && o.Client.Reach == planner.ReachServing && o.Client.MemberID == l.leader && votes(l.list, l.leader) && l.healthy > 1 && l.healthy-1 >= quorumOf(l.voters) {
			v.sayf(p1, "stops the leader %s, and another could lead", m.Name)
		}
	}
	if len(a.Members) > 1 && l != nil {
		v.sayf(s24, "stops %d members of a cluster with quorum at once", len(a.Members))
	}
}
