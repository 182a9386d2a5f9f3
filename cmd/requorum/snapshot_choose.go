package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// candidate is what a member of the file said.
type candidate = etcd.Candidate

// origin is where a snapshot comes from: a member that answers, or else the
// directory of one that is stopped.
type origin struct {
	live candidate
	from *stopped
	data planner.DataDir // of from
	etcd string          // the version of the etcd that opens its copy
}

func (a origin) name() string {
	if a.from != nil && a.live.Name == "" {
		return stoppedName(a.data)
	}
	return a.live.Name
}

func (a origin) clusterID() string {
	if a.from != nil {
		return a.data.ClusterID
	}
	return a.live.ClusterID
}

// origins are all that is to be saved from, the live ones first. What can't be is
// failed; the error is a *refused where there is nothing to save from.
func (v *saver) origins(ctx context.Context) (from []origin, failed []notSaved, err error) {
	if v.dataDir != "" {
		d, version, err := v.stopped.look(ctx)
		if err != nil {
			return nil, nil, err
		}
		v.cluster = d.ClusterID
		return []origin{{from: &v.stopped, data: d, etcd: version}}, []notSaved{}, nil
	}
	live, silent, err := v.choose(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range live {
		from = append(from, origin{live: a})
	}
	if !v.all && v.member == "" {
		return from, silent, nil
	}
	failed = []notSaved{}
	var places []planner.Place
	for _, p := range v.session.places() {
		i := slices.IndexFunc(silent, func(f notSaved) bool { return f.Member == p.Name })
		switch h, _ := v.session.cluster.Host(p.Host); {
		case i < 0:
		case h.Access != spec.AccessLocal:
			failed = append(failed, silent[i]) // a disk on another host is not read from here
			silent = slices.Delete(silent, i, i+1)
		default:
			places = append(places, p)
		}
	}
	facts, err := v.session.host.Observe(ctx, places)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range silent {
		a, why := v.fromDisk(ctx, f.Member, facts[f.Member].Data)
		if why != "" {
			failed = append(failed, notSaved{f.Member, f.Why + "; " + why})
			continue
		}
		if text := v.foreign(a); text != "" {
			if !v.all {
				return nil, nil, &refused{planner.RefuseSave(planner.CodeClusterIDChanged, text+".")}
			}
			v.notes = append(v.notes, text)
		}
		from = append(from, a)
	}
	if len(from) == 0 && !v.all {
		return nil, nil, &refused{planner.RefuseSave(planner.CodeUnreachable, whyNobody(failed))}
	}
	return from, failed, nil
}

// foreign says that a directory is of another cluster than the file names, or than
// members answer as; "" where it is not, or nothing is known of that.
func (v *saver) foreign(a origin) string {
	known := v.answered
	if id := v.session.cluster.ID; id != "" {
		known = []string{id}
	}
	if len(known) == 0 || slices.Contains(known, a.data.ClusterID) {
		return ""
	}
	return fmt.Sprintf("%s is of cluster %s, and %s's is %s", a.from.dataDir, a.data.ClusterID, v.cluster, strings.Join(known, " and "))
}

// fromDisk is a member that does not answer, by what lies at its place or behind
// the fence there; why says what is in the way.
func (v *saver) fromDisk(ctx context.Context, name string, fact planner.Fact[planner.DataDir]) (a origin, why string) {
	d := fact.Value
	switch {
	case !fact.Known():
		return a, "its data directory can't be read: " + fact.Why
	case d.State == planner.DirFenced && d.Fenced != nil:
		d = *d.Fenced
	case d.State != planner.DirPresent:
		return a, fmt.Sprintf("%s is %s, as where a disk is not mounted", d.Path, d.State)
	}
	if d.HeldBy != 0 {
		return a, fmt.Sprintf("a process (pid %d) has %s open and does not answer: stop it, then save again", d.HeldBy, d.Path)
	}
	s := &stopped{dataDir: d.Path, walDir: d.WALDir, binary: planner.BinaryForDir(v.session.cluster.Etcd, d), dropTail: v.dropTail}
	d, version, err := s.look(ctx)
	if err != nil {
		return a, err.Error()
	}
	return origin{live: candidate{Name: name}, from: s, data: d, etcd: version}, ""
}

// choose asks every member and picks whom to save from. Those that did not answer
// are failed; the error is a *refused where there is nobody to save from.
func (v *saver) choose(ctx context.Context) (from []candidate, failed []notSaved, err error) {
	failed = []notSaved{}
	asked := v.ask(ctx, v.session.cluster.Members)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for _, a := range asked {
		if a.Reach == planner.ReachServing && !slices.Contains(v.answered, a.ClusterID) {
			v.answered = append(v.answered, a.ClusterID)
		}
	}
	if v.member != "" {
		asked = slices.DeleteFunc(asked, func(a candidate) bool { return a.Name != v.member })
	}
	var serving []candidate
	for _, a := range asked {
		if a.Reach != planner.ReachServing {
			failed = append(failed, notSaved{a.Name, etcd.ReachText(a.Endpoint)})
			continue
		}
		serving = append(serving, a)
	}
	if len(serving) == 0 && (v.all || v.member != "") {
		return nil, failed, nil // their directories are looked at next
	}
	if len(serving) == 0 {
		return nil, nil, &refused{planner.RefuseSave(etcd.ReachCode(asked), whyNobody(failed))}
	}
	if id := v.session.cluster.ID; id != "" {
		for _, a := range serving {
			if a.ClusterID != id {
				return nil, nil, &refused{planner.RefuseSave(planner.CodeClusterIDChanged, fmt.Sprintf(
					"%s answers as a member of cluster %s at %s, and the file says %s.", a.Name, a.ClusterID, a.URL, id))}
			}
		}
	}
	clusters := map[string]bool{}
	for _, a := range serving {
		clusters[a.ClusterID] = true
	}
	one := len(clusters) == 1
	if !one && !v.all {
		return nil, nil, &refused{planner.RefuseSave(planner.CodeSplitCluster,
			"The members answer as "+strings.Join(slices.Sorted(maps.Keys(clusters)), " and ")+".")}
	}
	if !one {
		v.notes = append(v.notes, "the members are of different clusters: "+strings.Join(slices.Sorted(maps.Keys(clusters)), ", "))
	}
	v.noteDoubts(ctx, serving, one)
	if v.all || v.member != "" {
		return serving, failed, nil
	}
	best, why := v.best(ctx, serving)
	if why != nil {
		return nil, nil, &refused{why}
	}
	return []candidate{best}, failed, nil
}

// noteDoubts says what one snapshot may not show.
func (v *saver) noteDoubts(ctx context.Context, serving []candidate, one bool) {
	for _, a := range serving {
		if a.Linearizable.Known() && !a.Linearizable.Value {
			v.notes = append(v.notes, "there is no quorum: what other members acknowledged may not be in it")
			break
		}
	}
	// One look may catch an entry between two readings; a difference that stays
	// is one.
	if text := differ(serving); one && text != "" {
		if text = differ(v.ask(ctx, membersOf(v.session, serving))); text != "" && !v.all {
			v.notes = append(v.notes, text+": save each member's own with --all, and see requorum status")
		}
	}
}

func membersOf(s *session, list []candidate) []spec.Member {
	var out []spec.Member
	for _, a := range list {
		if m, ok := s.cluster.Member(a.Name); ok {
			out = append(out, m)
		}
	}
	return out
}

// differ finds members that have applied as much of the log, and are at different
// revisions.
func differ(list []candidate) string {
	for i, a := range list {
		for _, b := range list[i+1:] {
			if a.Reach == planner.ReachServing && b.Reach == planner.ReachServing && a.Applied == b.Applied && a.Revision != b.Revision {
				return fmt.Sprintf("%s and %s have applied the log to #%d both, and are at revisions %d and %d", a.Name, b.Name, a.Applied, a.Revision, b.Revision)
			}
		}
	}
	return ""
}

// best is the voter that has applied as much as any had when it was asked, and not
// the leader where another gets there soon.
func (v *saver) best(ctx context.Context, serving []candidate) (candidate, *planner.Refusal) {
	best, ok := etcd.Freshest(ctx, serving, func(names []string) []candidate {
		var again []spec.Member
		for _, m := range v.session.cluster.Members {
			if slices.Contains(names, m.Name) {
				again = append(again, m)
			}
		}
		return v.ask(ctx, again)
	})
	if !ok {
		return candidate{}, planner.RefuseSave(planner.CodeUnreachable, "Only learners answer: they may lack what voters have. Name one with --member to save from it all the same.")
	}
	return best, nil
}

// ask asks members at the same time; the answers are in their order.
func (v *saver) ask(ctx context.Context, members []spec.Member) []candidate {
	var targets []etcd.Member
	for _, m := range members {
		targets = append(targets, etcd.Member{Name: m.Name, URLs: m.ClientURLs})
	}
	return etcd.Ask(ctx, targets, v.session.observer.Client, endpointLimit)
}

func whyNobody(failed []notSaved) string {
	var parts []string
	for _, f := range failed {
		parts = append(parts, f.Member+" at "+f.Why)
	}
	return strings.Join(parts, "; ") + "."
}
