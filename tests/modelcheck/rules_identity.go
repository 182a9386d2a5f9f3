package main

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// S2. A new identity starts without consent only once the unfenced old voters are
// fewer than their quorum; otherwise each must be named as destroyed. "Unreachable" is
// never a consent. And whoever answers is not gone.
func (v *visit) gone() {
	if !v.begins || v.p.Route != planner.RouteRecover {
		return
	}
	for _, m := range v.in.Cluster.Members {
		if o := v.in.Observation.Members[m.Name]; !o.Data.Known() {
			v.sayf(s2, "a new identity, and what lies at %s's place is not known", m.Name)
		}
	}
	var out []planner.ListedMember
	for _, l := range v.left.list {
		if l.Learner {
			continue
		}
		if slices.ContainsFunc(v.in.Observation.Others, func(o planner.OtherMember) bool { return o.ID == l.ID && o.Disk != nil }) {
			v.sayf(s1, "a new identity, and the disk of %s, a voter, is whole where the journal has it", l.Name)
		}
		if v.controlled(l) {
			continue
		}
		out = append(out, l)
		for _, o := range v.in.Observation.Others {
			if o.ID == l.ID && (answers(o.Client.Reach) || answers(o.Peer.Reach)) {
				v.sayf(s2, "a new identity, and %s is alive where it can't be stopped", l.Name)
			}
		}
	}
	if len(out) < quorumOf(v.left.voters) {
		return
	}
	for _, l := range out {
		name := l.Name
		if name == "" {
			name = l.ID
		}
		if !needs(v.p, planner.Consent("host-destroyed:"+name)) {
			v.sayf(s2, "%d of %d voters may be alive elsewhere, and %s is not named as destroyed", len(out), v.left.voters, name)
		}
	}
}

// controlled reports whether a listed member can be nowhere but where the plan stops
// it: its disk is at a place of the file, or nothing listens at its address, which is
// one of the file.
func (v *visit) controlled(l planner.ListedMember) bool {
	for _, h := range v.left.all {
		if h.d.MemberID == l.ID {
			return true
		}
	}
	for _, m := range v.in.Cluster.Members {
		o := v.in.Observation.Members[m.Name]
		if sameSet(m.PeerURLs, l.PeerURLs) && o.Peer.Reach == planner.ReachRefused && o.Data.Known() {
			return true
		}
	}
	return false
}

func answers(r planner.Reach) bool {
	switch r {
	case planner.ReachServing, planner.ReachHangs, planner.ReachTLSFailed, planner.ReachWrongService, planner.ReachAuth:
		return true
	}
	return false
}

// S5. The cluster's ID is checked, where the file or the journal has one. Removing a
// live member that the last applied file did not name needs remove-member:NAME. A place
// that another file claims is refused.
func (v *visit) whose() {
	o := &v.in.Observation
	want := v.in.Cluster.ID
	if want == "" {
		want = o.JournalClusterID
	}
	ours := want == "" // or what took its place
	seen := map[string]bool{}
	for _, m := range v.in.Cluster.Members {
		x := o.Members[m.Name]
		if d := x.Data.Value; x.Data.Known() && d.State == planner.DirPresent && d.ClusterID != "" && !neverRan(&d) {
			seen[d.ClusterID] = true
		}
		if x.Client.Reach == planner.ReachServing {
			seen[x.Client.ClusterID] = true
		}
		if p := x.Data.Value.Provenance; p != nil && (p.Replaces == want || v.in.Cluster.ID == "") && (x.Data.Value.ProvenanceAgrees || x.Data.Value.ClusterID == "") {
			ours = ours || seen[p.ClusterID]
		}
		if s := x.Service; s.Known() && s.Value.Cluster != "" && s.Value.Cluster != v.in.Cluster.Name {
			v.sayf(s5, "%s's place is another file's", m.Name)
		}
	}
	if len(seen) > 1 {
		v.sayf(s5, "plans over %d cluster IDs", len(seen))
	}
	if !ours && len(seen) > 0 && !seen[want] {
		v.sayf(s5, "plans for a cluster that is not %s", want)
	}
	for _, s := range v.p.Steps {
		a, ok := s.Action.(planner.Remove)
		if ok && fileHas(v.in.Cluster, a.Name) == nil && !slices.Contains(o.JournalMembers, a.Name) && !needs(v.p, planner.Consent("remove-member:"+a.Name)) {
			v.sayf(s5, "removes %s, which no applied file named, without consent", a.Name)
		}
	}
}

func fileHas(c *spec.Cluster, name string) *spec.Member {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i]
		}
	}
	return nil
}

// Promises 4 and 5. Every restore gets a new token, so that no stray member can join. A
// snapshot or survivor is proven before anything live is touched, and by a trial start
// before anything takes the place of a directory that is, or was, there.
func (v *visit) order() {
	tried, staged, recovered := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i, s := range v.p.Steps {
		switch a := s.Action.(type) {
		case planner.Claim:
			for _, m := range a.Members {
				v.identity(m.Provenance)
			}
		case planner.Restore:
			v.snapshotProven(a, recovered)
			for _, m := range a.Members {
				v.identity(m.Provenance)
				staged[m.Provenance.Token] = true
				if m.Provenance.Token != a.Members[0].Provenance.Token {
					v.sayf(p4, "members are restored under two tokens")
				}
			}
		case planner.Recover:
			recovered[a.Out] = true
			if a.InPlace != nil {
				staged[a.InPlace.Token] = true
				if !strings.HasSuffix(a.InPlace.Token, v.in.Token) {
					v.sayf(p4, "a recovery in place under the token %q, which is not fresh", a.InPlace.Token)
				}
			}
		case planner.Trial:
			tried[a.Token] = true
		case planner.Install:
			if !tried[a.Token] && v.takesPlaces(a) {
				v.sayf(p5, "puts in place what was not tried")
			}
			for _, m := range a.Members {
				o := v.in.Observation.Members[m.Name]
				if o.Data.Value.Staged != a.Token && !staged[a.Token] {
					v.sayf(p5, "puts %s in place, which was not staged", m.Name)
				}
			}
		}
		for _, t := range v.p.Steps[:i] {
			if t.Kind == s.Kind && sameAction(t.Action, s.Action) && !v.anotherRound(t.ID, s) {
				v.sayf(repeats, "step %d does what step %d did: %s %v", s.ID, t.ID, s.Kind, s.Target)
			}
		}
	}
}

// takesPlaces reports whether there is a directory, or a fence with one behind it, at
// any of the places.
func (v *visit) takesPlaces(a planner.Install) bool {
	return slices.ContainsFunc(a.Members, func(m planner.InstallMember) bool {
		switch v.in.Observation.Members[m.Name].Data.Value.State {
		case planner.DirAbsent, planner.DirEmpty:
			return false
		}
		return true
	})
}

// identity: what a member begins under is either new, or was begun here before.
func (v *visit) identity(p planner.Provenance) {
	if p.Kind == planner.ProvenanceJoin {
		if !strings.HasPrefix(p.Token, "join-") {
			v.sayf(p4, "a member joins under the token %q", p.Token)
		}
		return
	}
	before := false
	for _, m := range v.in.Cluster.Members {
		o := v.in.Observation.Members[m.Name].Data
		if q := o.Value.Provenance; o.Known() && q != nil && q.Token == p.Token {
			before = true
			believed := o.Value.ProvenanceAgrees || o.Value.State != planner.DirPresent
			if believed && (q.Kind != p.Kind || q.InitialCluster != p.InitialCluster) {
				v.sayf(p4, "goes on under %q with another kind or other members than it was begun with", p.Token)
			}
		}
	}
	recovers := slices.ContainsFunc(v.p.Steps, func(s planner.Step) bool { _, ok := s.Action.(planner.Recover); return ok })
	if p.Token != v.in.Token && recovers {
		v.sayf(p4, "a new identity is recovered into under %q, which was used before", p.Token)
	}
	if p.Token != v.in.Token && !before {
		v.sayf(p4, "begins under the token %q, which is not the fresh one", p.Token)
	}
	if p.ClusterID == "" || p.MemberID == "" || p.ClusterID == v.p.ClusterID && !before {
		v.sayf(p4, "a new identity with the old cluster ID")
	}
}

func (v *visit) snapshotProven(a planner.Restore, recovered map[string]bool) {
	if a.Recovered {
		begun := false
		for _, o := range v.in.Observation.Members {
			p := o.Data.Value.Provenance
			begun = begun || p != nil && p.Kind == planner.ProvenanceRecover && p.Source == a.Snapshot
		}
		if !recovered[a.Snapshot] && !begun {
			v.sayf(p5, "restores what no step recovered")
		}
		return
	}
	s := v.in.Observation.Snapshot
	switch {
	case s == nil || s.Problem != "":
		v.sayf(p5, "restores a snapshot that is not proven")
	case a.SHA256 != s.SHA256 || a.SHA256 == "":
		v.sayf(p5, "restores another snapshot than the one that was proven")
	}
}
