package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// copied is a file whose source is a live member of another cluster.
func copied(ks ...kind) Input {
	c := withSnapshot(threeMembers())
	c.Snapshot.Source = "etcd://10.9.9.1:2379"
	in := input(c, ks...)
	s := in.Observation.Snapshot
	s.Source = c.Snapshot.Source
	s.Live = &LiveSource{
		URL: "http://10.9.9.1:2379", ClusterID: "feed", MemberID: "beef", Quorum: true, At: "2026-01-02T03:00:00Z",
		Members: []ListedMember{{ID: "beef", Name: "other", PeerURLs: []string{"http://10.9.9.1:2380"}, ClientURLs: []string{"http://10.9.9.1:2379"}}},
	}
	return in
}

// A cluster is copied from a live one; but none is replaced by a snapshot of itself
// while it serves (S15), whatever says that it is the same.
func TestLiveSource(t *testing.T) {
	p := New(copied(fresh, fresh, fresh))
	if p.Refusal != nil || p.Route != RouteRestore || len(p.Needs) != 0 {
		t.Fatalf("%+v, route %s, needs %v", p.Refusal, p.Route, p.Needs)
	}
	if !strings.Contains(p.Loss.Text, "nothing of cluster feed, which goes on") {
		t.Errorf("loss: %s", p.Loss.Text)
	}
	if by := p.Steps[0].Equivalent; !strings.HasPrefix(by[0], "etcdctl --endpoints=http://10.9.9.1:2379 snapshot save") {
		t.Errorf("by hand: %q", by)
	}
	for name, same := range map[string]func(*Input){
		"the file's id": func(in *Input) { in.Cluster.ID = "feed" },
		"the journal":   func(in *Input) { in.Observation.JournalClusterID = "feed" },
		"a peer URL":    func(in *Input) { in.Observation.Snapshot.Live.Members[0].PeerURLs = []string{"http://127.0.0.1:2382"} },
		"a client URL": func(in *Input) {
			in.Observation.Snapshot.Live.Members[0].ClientURLs = []string{"http://127.0.0.1:2371"}
		},
		"no ID of its own": func(in *Input) { in.Observation.Snapshot.Live.ClusterID = "" },
		"a record of before": func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) {
				o.Data.Value.Provenance = &Provenance{Kind: ProvenanceBootstrap, Token: "x", ClusterID: "feed"}
			})
		},
	} {
		in := copied(fresh, fresh, fresh)
		same(&in)
		if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeHostAlive {
			t.Errorf("%s: route %s, %+v", name, p.Route, p.Refusal)
		}
		if Replaces(in.Cluster, in.Observation, in.Observation.Snapshot.Live) == "" {
			t.Errorf("%s: Replaces says no", name)
		}
	}
	in := copied(fresh, fresh, fresh)
	in.Observation.Snapshot.Live.Members, in.Observation.Snapshot.Live.Replaces = nil, "its member has an address of the file"
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeHostAlive {
		t.Errorf("one whose members are not shown: route %s, %+v", p.Route, p.Refusal)
	}
	in = copied(fresh, missing, fresh)
	if p := New(in); len(p.Needs) != 1 || p.Needs[0].Consent != ConsentDataLoss {
		t.Errorf("with a disk gone: needs %v", p.Needs)
	}
	in = copied(fresh, fresh, fresh)
	in.Observation.Snapshot.Live.Quorum = false
	if p := New(in); !strings.Contains(p.Loss.Text, "no quorum") {
		t.Errorf("without a quorum: %s", p.Loss.Text)
	}
}

// fromDir is a file whose source is a stopped member's directory.
func fromDir(ks ...kind) Input {
	c := withSnapshot(threeMembers())
	c.Snapshot.Source = "datadir:///rescued"
	in := input(c, ks...)
	d := DataDir{
		Path: "/rescued", State: DirPresent, ClusterID: "feed", MemberID: "beef", LastTerm: 4, LastIndex: 900, Commit: 898, ConsistentIndex: 890,
		Revision: 700, StorageVersion: "3.7.0", DBSize: 1 << 20,
		Tail: []TailEntry{{Index: 899, Term: 4, Kind: EntryPut, Key: "a"}, {Index: 900, Term: 4, Kind: EntryPut, Key: "b"}},
	}
	for i, name := range []string{"x1", "x2", "x3"} {
		id := []string{"beef", "bee2", "bee3"}[i]
		d.Members = append(d.Members, ListedMember{ID: id, Name: name, PeerURLs: []string{"http://10.9.9." + name[1:] + ":2380"}})
	}
	in.Observation.Snapshot = &SnapshotObservation{Source: c.Snapshot.Source, Size: d.DBSize, Revision: d.Revision, Version: "3.7.0", Keys: -1, Dir: &SourceDir{DataDir: d}}
	return in
}

// ofThese makes the directory one of the cluster that the file's members were of.
func ofThese(in *Input) {
	for i := range in.Observation.Snapshot.Dir.Members {
		in.Observation.Snapshot.Dir.Members[i].PeerURLs = in.Cluster.Members[i].PeerURLs
	}
}

func TestSourceDir(t *testing.T) {
	in := fromDir(fresh, fresh, fresh)
	p := New(in)
	if p.Refusal != nil || p.Route != RouteRestore || !strings.HasPrefix(stepKinds(p), "recover restore trial install start verify") {
		t.Fatalf("%+v, route %s, steps %s", p.Refusal, p.Route, stepKinds(p))
	}
	a := p.Steps[0].Action.(Recover)
	if a.From == nil || a.From.DataDir != "/rescued" || a.Upto != 900 || a.Name != "m1" || a.ClusterID != "feed" {
		t.Errorf("%+v", a)
	}
	if r := p.Steps[1].Action.(Restore); !r.Recovered || r.Snapshot != a.Out || r.RevisionBump != spec.DefaultRevisionBump {
		t.Errorf("%+v", r)
	}
	if p.Loss.Kind != LossUnknown || !strings.Contains(p.Loss.Text, "revision 700") || len(p.Needs) != 0 {
		t.Errorf("loss %+v, needs %v", p.Loss, p.Needs)
	}
	walked := in.Observation
	for _, s := range p.Steps {
		next, err := Predict(walked, s.Action)
		if err != nil {
			t.Fatalf("%s: %v", s.Title, err)
		}
		if ok, why := Holds(s.Action, next); !ok {
			t.Fatalf("%s: %s", s.Title, why)
		}
		walked = next
	}
	if last := New(Input{Cluster: in.Cluster, Observation: walked, Token: "later", Now: in.Now, By: in.By}); last.Route != RouteInSync {
		t.Errorf("it leads to %s: %+v", last.Route, last.Refusal)
	}

	in = fromDir(fresh, missing, fresh)
	if p := New(in); !needed(p, ConsentDataLoss) {
		t.Errorf("with a disk gone: needs %v", p.Needs)
	}
	in = fromDir(fresh, fresh, fresh)
	ofThese(&in) // whose addresses are here, and nothing listens there
	if p := New(in); p.Refusal != nil || !needed(p, ConsentDataLoss) {
		t.Errorf("of this cluster: %+v, needs %v", p.Refusal, p.Needs)
	}
	// Two of the three are elsewhere, and may be alive.
	in = fromDir(fresh, fresh, fresh)
	in.Observation.Snapshot.Dir.Members[0].PeerURLs = in.Cluster.Members[0].PeerURLs
	if p := New(in); !needed(p, ConsentHostDestroyed+":x2") || !needed(p, ConsentHostDestroyed+":x3") {
		t.Errorf("two may be alive: needs %v", p.Needs)
	}
	// One answers.
	in.Observation.Snapshot.Dir.Others = []OtherMember{{ListedMember: in.Observation.Snapshot.Dir.Members[1], Client: Endpoint{Reach: ReachServing, MemberID: "bee2", ClusterID: "feed", URL: "http://10.9.9.2:2379"}}}
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeHostAlive {
		t.Errorf("one answers: %+v", p.Refusal)
	}
	in = fromDir(fresh, fresh, fresh)
	in.Cluster.ID, in.Observation.Snapshot.Dir.Members = "feed", nil
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeDataUnknown {
		t.Errorf("its list is not known: %+v", p.Refusal)
	}
	in = fromDir(fresh, fresh, fresh)
	in.Observation.Snapshot.Dir.StorageVersion = "3.6.0"
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeBinaryVersion {
		t.Errorf("of another minor (S12): %+v", p.Refusal)
	}
	in = fromDir(fresh, fresh, fresh)
	in.Observation.Snapshot.Dir.Tail[1] = TailEntry{Index: 900, Term: 4, Kind: EntryDelete, Key: "b", Risky: true}
	if p := New(in); !needed(p, ConsentTailKeep) || p.Steps[0].Action.(Recover).Upto != 900 {
		t.Errorf("a delete in doubt: needs %v", p.Needs)
	}
	in.Accept = map[Consent]bool{ConsentTailDrop: true}
	if p := New(in); !needed(p, ConsentTailDrop) || p.Steps[0].Action.(Recover).Upto != 898 {
		t.Errorf("dropped: needs %v", p.Needs)
	}
	in = fromDir(fresh, fresh, fresh)
	edit(&in, "m1", func(o *MemberObservation) { o.FreeBytes = Known(int64(100 << 20)) })
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeNoRoom {
		t.Errorf("no room: %+v", p.Refusal)
	}
	for _, code := range []Code{CodeSnapshotMissing, CodeDataHeld, CodeDataDamaged, CodeDataUnknown} {
		in := fromDir(fresh, fresh, fresh)
		in.Observation.Snapshot = &SnapshotObservation{Problem: code, Detail: "so and so"}
		if p := New(in); p.Refusal == nil || p.Refusal.Code != code || len(p.Refusal.Remedy) == 0 {
			t.Errorf("%s: %+v", code, p.Refusal)
		}
	}
}

func needed(p *Plan, c Consent) bool {
	return slices.ContainsFunc(p.Needs, func(n Need) bool { return n.Consent == c })
}

// datadir://NAME is recover { from }: where a survivor is left it says which, and
// where that one is none it is refused.
func TestSourceOfAMember(t *testing.T) {
	c := withSnapshot(threeMembers())
	c.Snapshot.Source = "datadir://m3"
	in := input(c, missing, missing, down)
	in.Observation.Snapshot = nil
	p := New(in)
	if p.Route != RouteRecover || p.Refusal != nil || p.Survivors[0].Verdict != "intact, chosen by the file" {
		t.Fatalf("route %s, %+v, %+v", p.Route, p.Refusal, p.Survivors)
	}
	c.Snapshot.Source = "datadir://m1"
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeSurvivorWrong || p.Refusal.Pos != c.Snapshot.SourcePos {
		t.Errorf("%+v", p.Refusal)
	}
}

func TestRefuseDir(t *testing.T) {
	ok := DataDir{Path: "/d", State: DirPresent, ClusterID: "c", MemberID: "m", StorageVersion: "3.6.0"}
	for _, tc := range []struct {
		code Code
		fact Fact[DataDir]
	}{
		{"", Known(ok)},
		{CodeDataUnknown, Unknown[DataDir]("permission denied")},
		{CodeSnapshotMissing, Known(DataDir{State: DirAbsent})},
		{CodeSnapshotMissing, Known(DataDir{State: DirFenced})},
		{CodeDataHeld, Known(DataDir{State: DirPresent, HeldBy: -1})},
		{CodeDataDamaged, Known(DataDir{State: DirPresent, Problem: "walpb: crc mismatch"})},
	} {
		r := RefuseDir("/d", tc.fact)
		if r == nil != (tc.code == "") || r != nil && (r.Code != tc.code || len(r.Remedy) == 0) {
			t.Errorf("%q: %+v", tc.code, r)
		}
	}
	if r := RefuseOpen(ok, "3.7.3"); r == nil || r.Code != CodeBinaryVersion {
		t.Errorf("3.6 opened by 3.7: %+v", r)
	}
	if r := RefuseOpen(ok, "3.6.16"); r != nil {
		t.Errorf("3.6 opened by 3.6: %+v", r)
	}
}
