package observe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// live saves a snapshot from a member that runs, into the cache: once for one
// Observer, so that a plan that is made again is over the same file. Where a
// restore was begun from one, and the cache still has it, that is taken instead.
func (o *Observer) live(ctx context.Context, obs *planner.Observation, from string) planner.SnapshotObservation {
	if o.saved != nil {
		return *o.saved
	}
	s := o.saveLive(ctx, obs, from)
	s.Source = ShownSource(o.Cluster.Snapshot)
	if s.Live != nil {
		s.Live.Replaces = planner.Replaces(o.Cluster, *obs, s.Live)
	}
	if o.Cluster.Snapshot.Sensitive {
		for _, m := range o.liveTargets(from) {
			for _, secret := range append(m.URLs, m.Name) {
				s.Detail = strings.ReplaceAll(s.Detail, secret, s.Source)
			}
		}
		if s.Live != nil {
			s.Live.URL, s.Live.Members = s.Source, nil
		}
	}
	if s.Problem == "" && s.Path != "" {
		o.saved = &s
	}
	return s
}

func failed(code planner.Code, format string, args ...any) planner.SnapshotObservation {
	return planner.SnapshotObservation{Problem: code, Detail: fmt.Sprintf(format, args...)}
}

// begun are the sha256 sums of snapshots that restores were begun from.
func (o *Observer) begun(obs *planner.Observation) []string {
	sums := slices.Clone(o.Wanted)
	for _, m := range obs.Members {
		if p := m.Data.Value.Provenance; p != nil && p.Kind == planner.ProvenanceRestore && !m.Data.Value.EverRan {
			sums = append(sums, p.SHA256)
		}
	}
	slices.Sort(sums)
	return slices.Compact(sums)
}

func (o *Observer) saveLive(ctx context.Context, obs *planner.Observation, from string) planner.SnapshotObservation {
	begun := o.begun(obs)
	if len(begun) > 0 {
		if s, ok := o.kept(ctx, from, begun); ok {
			return s
		}
	}
	chosen, problem := o.chooseLive(ctx, from)
	if problem != nil {
		return *problem
	}
	l := &planner.LiveSource{URL: chosen.URL, ClusterID: chosen.ClusterID, MemberID: chosen.MemberID}
	l.Quorum = chosen.Linearizable.Known() && chosen.Linearizable.Value
	if _, ok := o.Cluster.Member(chosen.Name); ok {
		l.Name = chosen.Name
	}
	if chosen.Members.Known() {
		l.Members = chosen.Members.Value
	}
	if planner.Replaces(o.Cluster, *obs, l) != "" {
		return planner.SnapshotObservation{Live: l} // refused: nothing has to be sent for that
	}
	return o.saveFrom(ctx, l, from, begun)
}

// openKept is the folder of what was saved from there. Names say little of where:
// every file may have an m1.
func (o *Observer) openKept(ctx context.Context, from string) (*source.Kept, error) {
	var urls []string
	for _, m := range o.liveTargets(from) {
		urls = append(urls, m.URLs...)
	}
	return source.OpenKept(ctx, o.CacheDir, "etcd://"+strings.Join(urls, ","), o.Cluster.Snapshot.Sensitive)
}

func (o *Observer) saveFrom(ctx context.Context, l *planner.LiveSource, from string, begun []string) planner.SnapshotObservation {
	kept, err := o.openKept(ctx, from)
	if err != nil {
		return failed(planner.CodeSnapshotUnreadable, "%v", err)
	}
	defer kept.Close()
	path, err := kept.Begin()
	if err != nil {
		return failed(planner.CodeSnapshotUnreadable, "%v", err)
	}
	l.At = time.Now().UTC().Format(time.RFC3339)
	got, err := etcd.SaveSnapshot(ctx, l.URL, o.Client, path, func(done, total int64) {
		if o.Progress != nil {
			o.Progress("saving from "+l.URL, done, total)
		}
	})
	switch {
	case err != nil:
		return failed(etcd.SaveCode(err), "%v", err)
	case got.MemberID != l.MemberID || got.ClusterID != l.ClusterID:
		return failed(planner.CodeWrongService, "%s answered as member %s of cluster %s, and as %s of %s when it was saved from", l.URL, l.MemberID, l.ClusterID, got.MemberID, got.ClusterID)
	}
	s := snapshot.Verify(ctx, path, snapshot.Want{SHA256: got.SHA256}, o.Progress)
	if s.Problem != "" {
		return s
	}
	if s.Path, err = kept.Keep(path, s.SHA256, l, begun); err != nil {
		return failed(planner.CodeSnapshotUnreadable, "%v", err)
	}
	s.Live, s.ModifiedAt = l, l.At
	return s
}

// kept is the first of these sums that the cache has.
func (o *Observer) kept(ctx context.Context, from string, sums []string) (planner.SnapshotObservation, bool) {
	kept, err := o.openKept(ctx, from)
	if err != nil {
		return planner.SnapshotObservation{}, false
	}
	defer kept.Close()
	for _, sum := range sums {
		if s, ok := o.keptOne(ctx, kept, sum); ok {
			return s, true
		}
	}
	return planner.SnapshotObservation{}, false
}

// keptOne is the snapshot of that sum, proven again, with what was noted of it.
func (o *Observer) keptOne(ctx context.Context, kept *source.Kept, sum string) (planner.SnapshotObservation, bool) {
	l := &planner.LiveSource{}
	path, ok := kept.Find(sum, l)
	if !ok {
		return planner.SnapshotObservation{}, false
	}
	s := snapshot.Verify(ctx, path, snapshot.Want{SHA256: sum}, o.Progress)
	if s.Live = l; l.At != "" {
		s.ModifiedAt = l.At
	}
	if t, err := time.Parse(time.RFC3339, s.ModifiedAt); err == nil {
		s.Weeks = max(0, int(time.Since(t)/(7*24*time.Hour)))
	}
	return s, s.Problem == ""
}

// chooseLive asks whom the source names: a member of the file, all of them for "",
// or the addresses of another cluster's.
func (o *Observer) chooseLive(ctx context.Context, from string) (etcd.Candidate, *planner.SnapshotObservation) {
	targets := o.liveTargets(from)
	ask := func(names []string) []etcd.Candidate {
		list := slices.DeleteFunc(slices.Clone(targets), func(m etcd.Member) bool { return names != nil && !slices.Contains(names, m.Name) })
		return etcd.Ask(ctx, list, o.Client, o.Limit)
	}
	asked := ask(nil)
	refuse := func(code planner.Code, format string, args ...any) (etcd.Candidate, *planner.SnapshotObservation) {
		s := failed(code, format, args...)
		return etcd.Candidate{}, &s
	}
	var serving []etcd.Candidate
	var silent []string
	clusters := map[string]bool{}
	for _, a := range asked {
		if a.Reach == planner.ReachServing {
			serving = append(serving, a)
			clusters[a.ClusterID] = true
			continue
		}
		silent = append(silent, a.Name+" at "+etcd.ReachText(a.Endpoint))
	}
	switch {
	case len(serving) == 0:
		return refuse(etcd.ReachCode(asked), "no member answers that could be saved from: %s", strings.Join(silent, "; "))
	case len(clusters) > 1:
		return refuse(planner.CodeSplitCluster, "the addresses lead to %d clusters: name one member alone", len(clusters))
	case len(targets) == 1:
		return serving[0], nil
	}
	best, ok := etcd.Freshest(ctx, serving, ask)
	if !ok {
		return refuse(planner.CodeUnreachable, "only learners answer, and they may lack what voters have: name one alone to save from it all the same")
	}
	return best, nil
}

func (o *Observer) liveTargets(from string) []etcd.Member {
	var out []etcd.Member
	if strings.Contains(from, ":") {
		scheme := "http://"
		if o.Client.TLS != nil {
			scheme = "https://"
		}
		for _, a := range strings.Split(from, ",") {
			out = append(out, etcd.Member{Name: a, URLs: []string{scheme + a}})
		}
		return out
	}
	for _, m := range o.Cluster.Members {
		if from == "" || m.Name == from {
			out = append(out, etcd.Member{Name: m.Name, URLs: m.ClientURLs})
		}
	}
	return out
}

// dir looks at a stopped member's directory that is at nobody's place, and proves it
// as far as that can be done without a copy.
func (o *Observer) dir(ctx context.Context, want *spec.Snapshot) planner.SnapshotObservation {
	dataDir, walDir, err := want.DataDir()
	if err != nil {
		return failed(planner.CodeSnapshotMissing, "%v", err)
	}
	fact := etcd.ReadDataDir(dataDir, walDir)
	d := fact.Value
	switch {
	case !fact.Known():
		return failed(planner.CodeDataUnknown, "%s", fact.Why)
	case d.State != planner.DirPresent:
		return failed(planner.CodeSnapshotMissing, "%s holds no member's data: it is %s", dataDir, d.State)
	case d.HeldBy != 0:
		return failed(planner.CodeDataHeld, "process %d has %s open", d.HeldBy, dataDir)
	case d.Problem != "":
		return failed(planner.CodeDataDamaged, "%s: %s", dataDir, d.Problem)
	}
	wrong, err := o.Host.Prove(ctx, []planner.Place{{Name: "source", DataDir: dataDir, WALDir: walDir}}, o.Progress)
	if err != nil {
		return failed(planner.CodeDataUnknown, "%s: %v", dataDir, err)
	}
	if what, looked := wrong["source"]; what != "" || !looked {
		return failed(planner.CodeDataDamaged, "%s: %s", dataDir, what)
	}
	s := planner.SnapshotObservation{
		Size: d.DBSize, Revision: d.Revision, Version: d.StorageVersion, Keys: -1, Members: len(d.Members),
		Dir: &planner.SourceDir{DataDir: d},
	}
	if t, err := etcd.LastWritten(dataDir, walDir); err == nil {
		s.ModifiedAt = t.UTC().Format(time.RFC3339)
		s.Weeks = max(0, int(time.Since(t)/(7*24*time.Hour)))
	}
	theirs := planner.Observation{Members: map[string]planner.MemberObservation{"source": {Data: planner.Known(d)}}}
	o.addOthers(ctx, &theirs)
	s.Dir.Others = theirs.Others
	return s
}
