package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

const (
	token    = "token-of-this-plan"
	oldToken = "token-of-before"
)

// threeMembers is the file that most tests plan for.
func threeMembers() *spec.Cluster {
	c := &spec.Cluster{Name: "demo", Pos: spec.Position{File: "demo.hcl", Line: 1}}
	for i := 1; i <= 3; i++ {
		peer, client := fmt.Sprintf("http://127.0.0.1:238%d", i), fmt.Sprintf("http://127.0.0.1:237%d", i)
		c.Members = append(c.Members, spec.Member{
			Name: fmt.Sprintf("m%d", i), DataDir: fmt.Sprintf("/data/m%d", i),
			PeerURLs: []string{peer}, ListenPeerURLs: []string{peer},
			ClientURLs: []string{client}, ListenClientURLs: []string{client},
			Pos: spec.Position{File: "demo.hcl", Line: 2 + 4*i},
		})
	}
	return c
}

func withSnapshot(c *spec.Cluster) *spec.Cluster {
	c.Snapshot = &spec.Snapshot{Source: "/backup/snapshot.db", Pos: spec.Position{File: "demo.hcl", Line: 20}, SourcePos: spec.Position{File: "demo.hcl", Line: 21}}
	return c
}

func provenSnapshot() *SnapshotObservation {
	return &SnapshotObservation{
		Source: "/backup/snapshot.db", Path: "/backup/snapshot.db", Size: 45056, HasHash: true, Version: "3.7.0",
		SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Revision: 1204, Keys: 1000,
	}
}

// kind is what a member is in a test: each is a whole observation of it.
type kind string

const (
	fresh     kind = "fresh"
	missing   kind = "missing"
	down      kind = "down"
	serving   kind = "serving"
	stuck     kind = "stuck"    // runs for long and does not answer
	begun     kind = "starting" // runs since a moment ago
	damaged   kind = "damaged"
	unread    kind = "unread"
	claimed   kind = "claimed" // restore's token is written, nothing else
	staged    kind = "staged"  // under oldToken
	installed kind = "installed"
	orphaned  kind = "orphaned"
	fenced    kind = "fenced"     // old data behind requorum's fence
	removed   kind = "removed"    // the directory of an ID that the list does not have
	unstarted kind = "unstarted"  // listed without a name, its place empty
	learner   kind = "learner"    // serves, a learner that the file has as a voter
	byHand    kind = "by hand"    // serves; started by somebody else, as the file wants
	kept      kind = "kept"       // the same, and somebody would start it again
	forced    kind = "forced"     // the same without a keeper, with --force-new-cluster
	unread2   kind = "unreadable" // a directory is there, and not even its identity can be read
	hollow    kind = "hollow"     // runs for long, does not answer, and its directory is gone
	blind     kind = "blind"      // serves, and its directory can't be looked at
	newcomer  kind = "newcomer"   // in the file, and not a member
)

func kinds() []kind {
	return []kind{
		fresh, missing, down, serving, stuck, begun, damaged, unread, claimed, staged, installed, orphaned,
		fenced, removed, unstarted, learner, byHand, kept, forced, unread2, hollow, blind, newcomer,
	}
}

// What a kind means, for the invariants, apart from the planner's own helpers.

func (k kind) is(of ...kind) bool { return slices.Contains(of, k) }

// hasRun: what it held, or holds, may have been acknowledged.
func (k kind) hasRun() bool {
	return k.serves() || k.is(down, stuck, begun, damaged, fenced, removed, unread2, hollow)
}

func (k kind) serves() bool {
	return k.is(serving, orphaned, learner, byHand, kept, forced, blind)
}

// up: a process of it runs.
func (k kind) up() bool { return k.serves() || k.is(stuck, begun, hollow) }

// lies: a directory of the old identity is in its place.
func (k kind) lies() bool {
	return k.serves() && k != blind || k.is(down, stuck, begun, damaged, removed)
}

// whole: a voter's log that can be read and is not removed, in place or behind the
// fence.
func (k kind) whole() bool {
	return k.is(down, serving, stuck, begun, orphaned, fenced, byHand, kept, forced)
}

func (k kind) voter() bool { return !k.is(learner, removed, newcomer) }

func input(c *spec.Cluster, ks ...kind) Input {
	in := Input{Cluster: c, Token: token, Now: "2026-01-02T03:04:05Z", By: "ops@here"}
	in.Observation.Members = map[string]MemberObservation{}
	if c.Snapshot != nil {
		in.Observation.Snapshot = provenSnapshot()
	}
	up, voters, leader := 0, 0, ""
	for i, k := range ks {
		if !k.voter() {
			continue
		}
		voters++
		if k.serves() {
			up++
			leader = orWord(leader, MemberID(c.Members[i].PeerURLs, oldToken))
		}
	}
	if up < voters/2+1 {
		leader = ""
	}
	list := listOf(c, ks)
	for i, k := range ks {
		in.Observation.Members[c.Members[i].Name] = observed(c, c.Members[i], k, leader, list)
	}
	in.Observation.KV = Unknown[KVComparison]("not asked")
	return in
}

// listOf is the member list of a cluster whose members are of these kinds.
func listOf(c *spec.Cluster, ks []kind) []ListedMember {
	var list []ListedMember
	for i, x := range c.Members {
		l := ListedMember{ID: MemberID(x.PeerURLs, oldToken), Name: x.Name, PeerURLs: x.PeerURLs, ClientURLs: x.ClientURLs}
		if i < len(ks) {
			switch ks[i] {
			case removed, newcomer:
				continue
			case unstarted:
				l.Name, l.ClientURLs = "", nil
			case learner:
				l.Learner = true
			}
		}
		list = append(list, l)
	}
	return list
}

// logTo is a log of one history, up to last: the same entries in every member.
func logTo(last uint64) *Log {
	return &Log{First: 1, Terms: []TermRun{{Term: 1, First: 1}, {Term: 3, First: 900}}, SumsFirst: 1091, Sums: sums[:last-1090]}
}

// sums are those of the entries from #1091 on.
var sums = func() (out []uint32) {
	for i := range uint32(5000) {
		out = append(out, i*2654435761)
	}
	return out
}()

func observed(c *spec.Cluster, m spec.Member, k kind, leader string, list []ListedMember) MemberObservation {
	quorum := leader != ""
	clusterID, id := ClusterID(c.Members, oldToken), MemberID(m.PeerURLs, oldToken)
	d := DataDir{Path: m.DataDir, State: DirAbsent}
	o := MemberObservation{
		Client: Endpoint{URL: m.ClientURLs[0], Reach: ReachRefused}, Peer: PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused},
		Service: Known(Service{State: ServiceNone}), Binary: Known(Binary{Version: "3.7.3"}),
	}
	used := func() {
		d = DataDir{Path: m.DataDir, State: DirPresent, ClusterID: clusterID, MemberID: id, LastTerm: 3, LastIndex: 1200, Commit: 1200, EverRan: true, Members: list, StorageVersion: "3.7.0", Log: logTo(1200)}
	}
	restored := &Provenance{
		Kind: ProvenanceRestore, Token: oldToken, ClusterID: clusterID, MemberID: id, InitialCluster: c.InitialCluster(),
		SHA256: provenSnapshot().SHA256, Revision: 1204, RevisionBump: spec.DefaultRevisionBump,
	}
	switch k {
	case missing:
		d.Evidence = []string{"requorum started a member here"}
	case claimed:
		d.Provenance = restored
	case staged:
		d.Provenance, d.Staged = restored, oldToken
	case installed:
		used()
		d.Provenance, d.ProvenanceAgrees, d.EverRan, d.LastTerm, d.LastIndex, d.Revision = restored, true, false, 1, 3, 1_000_001_204
		d.Commit, d.Log = 3, nil
		d.Members = unpublished(list)
	case damaged:
		used()
		d.Problem = "walpb: crc mismatch"
	case unread2:
		d.State, d.Problem = DirPresent, "no WAL file can be read"
	case removed:
		used()
		d.MemberID, d.LastIndex, d.Commit, d.Log = MemberID(m.PeerURLs, "an older token"), 1100, 1100, logTo(1100)
		d.Members = append(slices.Clone(list), ListedMember{ID: d.MemberID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	case down, serving, stuck, begun, orphaned, learner, byHand, kept, forced, blind:
		used()
	case fenced:
		used()
		was := d
		was.Path += ".requorum/fenced"
		d = DataDir{Path: m.DataDir, State: DirFenced, Fenced: &was, EverRan: true}
	}
	switch {
	case k.serves():
		o.Peer.Reach, o.Peer.ClusterID = ReachServing, clusterID
		o.Client = Endpoint{
			URL: m.ClientURLs[0], Reach: ReachServing, ClusterID: clusterID, MemberID: id, LeaderID: leader, Version: "3.7.3",
			Revision: 1204, DBSize: 45056, Linearizable: Known(quorum), Members: Known(list), Learner: k == learner,
		}
	case k.is(stuck, begun, hollow):
		o.Client.Reach = ReachHangs
	}
	switch k {
	case byHand, kept, forced:
		d.HeldBy = 4711
		f := &Foreign{PID: 4711, Start: 99, Exe: "/usr/bin/etcd", Settings: map[string]string{}}
		for _, a := range etcdArgs(c, m, "", "existing") {
			name, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
			f.Settings[name] = value
		}
		f.Settings["auto-compaction-retention"] = "8h"
		if k == kept {
			f.Keeper = "the systemd unit etcd.service"
		}
		if k == forced {
			f.Settings["force-new-cluster"] = "true"
		}
		o.Service = Known(Service{State: ServiceNone, Foreign: f})
	case serving, stuck, begun, orphaned, learner, hollow, blind:
		d.HeldBy = 4711
		s := Service{State: ServiceRunning, PID: 4711, SupervisorPID: 4710, UpSeconds: 3600, Binary: "requorum", Args: etcdArgs(c, m, "", "existing")}
		if k == begun {
			s.UpSeconds = 2
		}
		if k == orphaned {
			s.SupervisorPID = 0
		}
		o.Service = Known(s)
	}
	if k == hollow {
		d = DataDir{Path: m.DataDir, State: DirAbsent, EverRan: true}
	}
	o.Data = Known(d)
	if k.is(unread, blind) {
		o.Data = Unknown[DataDir]("permission denied")
	}
	o.Base = m.DataDir + ".requorum"
	return o
}

// unpublished is a list as a restore writes it: no member has run yet.
func unpublished(list []ListedMember) []ListedMember {
	out := slices.Clone(list)
	for i := range out {
		out[i].ClientURLs = nil
	}
	return out
}

func stepKinds(p *Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.Kind)
	}
	return strings.Join(out, " ")
}

const recoverSteps = "fence recover restore trial install start verify stop start verify"

func TestRoutes(t *testing.T) {
	for _, tc := range []struct {
		name     string
		snapshot bool
		kinds    []kind
		route    Route
		refusal  Code
		steps    string
	}{
		{"in sync", false, []kind{serving, serving, serving}, RouteInSync, "", ""},
		{"a snapshot block never restores over what lives", true, []kind{serving, serving, serving}, RouteInSync, "", ""},
		{"one down", false, []kind{serving, serving, down}, RouteStart, "", "start"},
		{"all down", true, []kind{down, down, down}, RouteStart, "", "start verify"},
		{"a majority of disks", true, []kind{down, down, missing}, RouteStart, "", "start verify"},
		{"a majority of disks, one of them running", false, []kind{stuck, down, fresh}, RouteStart, "", "start verify"},
		{"one survivor", true, []kind{down, missing, missing}, RouteRecover, "", recoverSteps},
		{"one survivor beside fresh ones", true, []kind{down, fresh, fresh}, RouteRecover, "", recoverSteps},
		{"one survivor, one fenced before", true, []kind{fenced, missing, missing}, RouteRecover, "", "recover restore trial install start verify stop start verify"},
		{"one survivor, still running", false, []kind{serving, missing, missing}, RouteRecover, "", "save-snapshot " + recoverSteps},
		{"a majority behind the fence", false, []kind{fenced, fenced, missing}, RouteStart, "", "unfence start verify"},
		{"one behind the fence, beside a quorum", false, []kind{serving, fenced, serving}, RouteStart, "", "unfence start"},
		{"one damaged survivor", true, []kind{damaged, fresh, fresh}, "", CodeDataDamaged, ""},
		{"unread is not absent", true, []kind{unread, fresh, fresh}, "", CodeDataUnknown, ""},
		{"all starting", false, []kind{begun, begun, begun}, RouteStart, "", "verify"},
		{"all stuck", false, []kind{stuck, stuck, stuck}, "", CodeDeadWithAlive, ""},
		{"nothing anywhere", false, []kind{fresh, fresh, fresh}, RouteBootstrap, "", "claim start verify"},
		{"missing data, no snapshot", false, []kind{missing, fresh, fresh}, "", CodeDataMissing, ""},
		{"missing data, a snapshot", true, []kind{missing, missing, missing}, RouteRestore, "", "restore install start verify stop start verify"},
		{"a snapshot alone", true, []kind{fresh, fresh, fresh}, RouteRestore, "", "restore install start verify stop start verify"},
		{"one member lost its disk", true, []kind{serving, serving, missing}, RouteReconfigure, "", "remove-member add-learner join promote verify"},
		{"one member's disk is damaged", true, []kind{serving, serving, damaged}, RouteReconfigure, "", "remove-member set-aside add-learner join promote verify"},
		{"one was removed", false, []kind{serving, serving, removed}, RouteReconfigure, "", "set-aside add-learner join promote verify"},
		{"one was added and never started", false, []kind{serving, serving, unstarted}, RouteReconfigure, "", "join verify"},
		{"a learner that is to vote", false, []kind{serving, serving, learner}, RouteReconfigure, "", "promote verify"},
		{"started by hand", false, []kind{serving, byHand, serving}, RouteStart, "", "adopt"},
		{"kept by somebody else", false, []kind{serving, kept, serving}, RouteInSync, "", ""},
		{"kept by somebody else, quorum lost", false, []kind{kept, missing, missing}, "", CodeForeignKeeper, ""},
		{"force-new-cluster left on", false, []kind{serving, forced, serving}, RouteReconfigure, "", "stop start verify"},
		{"force-new-cluster left on, on the leader", false, []kind{forced, serving, serving}, RouteReconfigure, "", "move-leader stop start verify"},
		{"supervisor gone", false, []kind{serving, orphaned, serving}, RouteStart, "", "adopt"},
		{"restore: only claimed, so anew", true, []kind{claimed, claimed, fresh}, RouteRestore, "", "restore install start verify stop start verify"},
		{"restore: partly staged", true, []kind{staged, claimed, claimed}, RouteRestore, "", "restore install start verify stop start verify"},
		{"restore: all staged", true, []kind{staged, staged, staged}, RouteRestore, "", "install start verify stop start verify"},
		{"restore: partly installed", true, []kind{installed, staged, staged}, RouteRestore, "", "install start verify stop start verify"},
		{"restore: all installed", true, []kind{installed, installed, installed}, RouteRestore, "", "start verify stop start verify"},
		{"restore: all installed, snapshot block gone", false, []kind{installed, installed, installed}, RouteRestore, "", "start verify stop start verify"},
		{"a fresh one is no finished restore once others ran", true, []kind{down, installed, fresh}, RouteRecover, "", recoverSteps},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := threeMembers()
			if tc.snapshot {
				withSnapshot(c)
			}
			p := New(input(c, tc.kinds...))
			code := Code("")
			if p.Refusal != nil {
				code = p.Refusal.Code
			}
			if p.Route != tc.route && code == "" || code != tc.refusal || stepKinds(p) != tc.steps {
				t.Fatalf("route %q refusal %q steps %q, want %q %q %q\n%s", p.Route, code, stepKinds(p), tc.route, tc.refusal, tc.steps, p.Headline)
			}
		})
	}
}

func TestFinishKeepsToken(t *testing.T) {
	c := withSnapshot(threeMembers())
	p := New(input(c, installed, staged, claimed))
	for _, s := range p.Steps {
		if a, ok := s.Action.(Restore); ok {
			if len(a.Members) != 1 || a.Members[0].Name != "m3" || a.Members[0].Provenance.Token != oldToken {
				t.Fatalf("the restore that was begun is not finished under its token: %+v", a.Members)
			}
		}
	}
	if got := stepKinds(p); got != "restore install start verify stop start verify" {
		t.Fatal(got)
	}
}

func TestStagedRestoreWithAnotherSnapshotBeginsAnew(t *testing.T) {
	c := withSnapshot(threeMembers())
	in := input(c, staged, staged, claimed)
	in.Observation.Snapshot.SHA256 = strings.Repeat("ab", 32)
	p := New(in)
	a, ok := p.Steps[0].Action.(Restore)
	if !ok || len(a.Members) != 3 || a.Members[0].Provenance.Token != token {
		t.Fatalf("want a new restore of all three under a new token, got %s", stepKinds(p))
	}
}

func TestInstalledRestoreWithAnotherSnapshotIsRefused(t *testing.T) {
	c := withSnapshot(threeMembers())
	in := input(c, installed, staged, claimed)
	in.Observation.Snapshot.SHA256 = strings.Repeat("ab", 32)
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeRestoreUnfinished {
		t.Fatalf("got %q %v", stepKinds(p), p.Refusal)
	}
}

func TestStartedRestoreWithAnotherSnapshotIsRefused(t *testing.T) {
	c := withSnapshot(threeMembers())
	in := input(c, installed, installed, claimed)
	m1 := in.Observation.Members["m1"]
	m1.Data.Value.EverRan = true
	in.Observation.Members["m1"] = m1
	in.Observation.Snapshot.SHA256 = strings.Repeat("ab", 32)
	p := New(in)
	if p.Refusal == nil || p.Refusal.Code != CodeRestoreUnfinished {
		t.Fatalf("got %q %v", stepKinds(p), p.Refusal)
	}
}

// TestFrozen: members that run and whose lists can't be had are no lost quorum.
func TestFrozen(t *testing.T) {
	for _, ks := range [][]kind{{stuck, stuck, stuck}, {stuck, down, down}} {
		in := input(threeMembers(), ks...)
		edit(&in, "m1", func(o *MemberObservation) { o.Data.Value.Members = nil; o.Data.Value.LastIndex++ })
		if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeDeadWithAlive {
			t.Errorf("%v: route %q, %+v", ks, p.Route, p.Refusal)
		}
	}
}

// TestSeenWhileStarting: two members were looked at a moment too early, when their
// processes ran and their directories were still empty.
func TestSeenWhileStarting(t *testing.T) {
	in := input(threeMembers(), begun, serving, begun)
	for _, n := range []string{"m1", "m3"} {
		edit(&in, n, func(o *MemberObservation) {
			o.Data = Known(DataDir{Path: o.Data.Value.Path, State: DirEmpty})
		})
	}
	if p := New(in); p.Route != RouteStart || stepKinds(p) != "verify" {
		t.Errorf("route %q, steps %q, %+v", p.Route, stepKinds(p), p.Refusal)
	}
}

// TestFirstOfABootstrapIsStarting: apply was killed when one supervisor was at
// work and had not written anything yet. The others have to be started beside it.
func TestFirstOfABootstrapIsStarting(t *testing.T) {
	c := threeMembers()
	in := input(c, fresh, fresh, begun)
	for _, m := range c.Members {
		edit(&in, m.Name, func(o *MemberObservation) {
			o.Data = Known(DataDir{Path: m.DataDir, State: DirEmpty, EverRan: m.Name == "m3", Provenance: &Provenance{
				Kind: ProvenanceBootstrap, Token: oldToken, InitialCluster: c.InitialCluster(),
				ClusterID: ClusterID(c.Members, oldToken), MemberID: MemberID(m.PeerURLs, oldToken),
			}})
		})
	}
	p := New(in)
	if p.Route != RouteBootstrap || stepKinds(p) != "start verify" {
		t.Fatalf("route %q, steps %q, %+v", p.Route, stepKinds(p), p.Refusal)
	}
	a := p.Steps[0].Action.(Start)
	if !slices.Equal(a.Targets(), []string{"m1", "m2"}) || a.Members[0].ClusterID != ClusterID(c.Members, oldToken) || !a.Members[0].Bootstrap {
		t.Errorf("%+v", a)
	}
	if want := (Quorum{Voters: 3, Healthy: 3}); p.Steps[0].After != want || len(p.Steps[1].Target) != 3 {
		t.Errorf("quorum %+v, verified %v", p.Steps[0].After, p.Steps[1].Target)
	}
}

func TestBump(t *testing.T) {
	c := withSnapshot(threeMembers())
	p := New(input(c, fresh, fresh, fresh))
	if got := p.Steps[0].Action.(Restore).RevisionBump; got != spec.DefaultRevisionBump {
		t.Fatalf("S16: every new identity bumps; got %d", got)
	}
	old := input(c, fresh, fresh, fresh)
	old.Observation.Snapshot.Weeks = 2
	p = New(old)
	if got := p.Steps[0].Action.(Restore).RevisionBump; got != 3*spec.DefaultRevisionBump {
		t.Errorf("a snapshot of the third week is bumped by %d", got)
	}
	if !slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Text, "each of the 3 weeks") }) {
		t.Errorf("not said: %v", p.Notices)
	}
	zero := int64(0)
	c.Snapshot.RevisionBump = &zero
	p = New(input(c, fresh, fresh, fresh))
	if len(p.Needs) != 1 || p.Needs[0].Consent != ConsentStaleWatchers {
		t.Fatalf("no bump needs stale-watchers, got %v", p.Needs)
	}
	c.Policy.Prevent = []string{"stale-watchers"}
	if p = New(input(c, fresh, fresh, fresh)); p.Refusal == nil || p.Refusal.Code != CodePrevented {
		t.Fatalf("the policy prevents it, got %v", p.Refusal)
	}
}

func TestIdentityRefusals(t *testing.T) {
	three := []kind{serving, serving, serving}
	for _, tc := range []struct {
		name string
		ks   []kind
		edit func(*Input)
		want Code
	}{
		{"pinned", three, func(in *Input) { in.Cluster.ID = "abc" }, CodeClusterIDChanged},
		{"journal", three, func(in *Input) { in.Observation.JournalClusterID = "abc" }, CodeClusterIDChanged},
		{"pinned, stopped", []kind{down, down, down}, func(in *Input) { in.Cluster.ID = "abc" }, CodeClusterIDChanged},
		{"another cluster behind an endpoint", []kind{serving, down, down}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Client.ClusterID, o.Peer.ClusterID = "abc", "abc" })
		}, CodeForeignCluster},
		{"two clusters", three, func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) { o.Client.ClusterID = "abc"; o.Data.Value.ClusterID = "abc" })
		}, CodeClusterIDMismatch},
		{"another cluster's directory", []kind{down, down, down}, func(in *Input) { edit(in, "m2", func(o *MemberObservation) { o.Data.Value.ClusterID = "abc" }) }, CodeForeignData},
		{"two copies of one member", []kind{down, down, down}, func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) { o.Data.Value.MemberID = in.Observation.Members["m1"].Data.Value.MemberID })
		}, CodeForeignData},
		{"somebody else's cluster, nothing here", []kind{serving, fresh, fresh}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) {
				o.Data = Known(DataDir{State: DirAbsent})
				o.Client.Members = Known([]ListedMember{{ID: "1", Name: "x", PeerURLs: []string{"http://127.0.0.1:1"}}})
			})
		}, CodeForeignCluster},
		{"port taken", []kind{fresh, fresh, fresh}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.PortsTaken = []string{"http://127.0.0.1:2371"} })
		}, CodePortTaken},
		{"diverged", three, func(in *Input) {
			in.Observation.KV = Known(KVComparison{Revision: 7, Hashes: map[string]uint32{"m1": 1, "m2": 2}})
		}, CodeDiverged},
		{"not a directory", []kind{fresh, fresh, fresh}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Data.Value.State = DirNotDir })
		}, CodeNotADirectory},
		{"wrong version", []kind{fresh, fresh, fresh}, func(in *Input) { in.Cluster.Etcd.Version = "3.5" }, CodeBinaryVersion},
		{"no binary", []kind{fresh, fresh, fresh}, func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) { o.Binary = Unknown[Binary]("no such file") })
		}, CodeBinaryMissing},
		{"auth", three, func(in *Input) { in.Cluster.Auth = &spec.Auth{} }, CodeFeatureUnsupported},
		{"learners alone to begin with", []kind{fresh, fresh, fresh}, func(in *Input) {
			for i := range in.Cluster.Members {
				in.Cluster.Members[i].Learner = true
			}
		}, CodeFeatureUnsupported},
		{"another file's service", three, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Service.Value.Cluster = "other" })
		}, CodeForeignData},
		{"a host without access", three, func(in *Input) {
			in.Cluster.Hosts = []spec.Host{{Name: "h", Access: spec.AccessManual}}
			in.Cluster.Members[0].Host = "h"
		}, CodeHostUnsupported},
		{"commands", three, func(in *Input) {
			in.Cluster.Hosts = []spec.Host{{Name: "h", Access: spec.AccessLocal, Service: spec.Service{Kind: spec.ServiceCommand}}}
			in.Cluster.Members[0].Host = "h"
		}, CodeServiceUnsupported},
		{"other settings, and no answer", []kind{stuck, stuck, stuck}, func(in *Input) { in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "1"} }, CodeRouteReconfigure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := input(threeMembers(), tc.ks...)
			tc.edit(&in)
			p := New(in)
			if p.Refusal == nil || p.Refusal.Code != tc.want {
				t.Fatalf("got %+v (%s), want %s", p.Refusal, p.Headline, tc.want)
			}
		})
	}
}

func edit(in *Input, name string, f func(*MemberObservation)) {
	o := in.Observation.Members[name]
	f(&o)
	in.Observation.Members[name] = o
}

// TestPinnedIDAfterRestore: a file that pins the ID from before a restore still
// fits the cluster that was restored from it.
func TestPinnedIDAfterRestore(t *testing.T) {
	c := withSnapshot(threeMembers())
	in := input(c, serving, serving, serving)
	c.ID = "abc"
	for _, m := range c.Members {
		edit(&in, m.Name, func(o *MemberObservation) {
			o.Data.Value.ProvenanceAgrees = true
			o.Data.Value.Provenance = &Provenance{Kind: ProvenanceRestore, Token: oldToken, Replaces: "abc", ClusterID: o.Data.Value.ClusterID}
		})
	}
	if p := New(in); p.Refusal != nil || p.Route != RouteInSync {
		t.Fatalf("got %+v", p.Refusal)
	}
}

func TestSnapshotRefusals(t *testing.T) {
	for _, code := range []Code{CodeSnapshotMissing, CodeSnapshotDamaged, CodeSnapshotNoHash, CodeSnapshotNotEtcd, CodeSnapshotWrongSHA, CodeSnapshotUnsupported} {
		in := input(withSnapshot(threeMembers()), fresh, fresh, fresh)
		in.Observation.Snapshot = &SnapshotObservation{Problem: code, Detail: "so and so"}
		if p := New(in); p.Refusal == nil || p.Refusal.Code != code {
			t.Errorf("%s: got %+v", code, p.Refusal)
		}
	}
	in := input(withSnapshot(threeMembers()), fresh, fresh, fresh)
	in.Observation.Snapshot.Revision = maxRevision
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeRevisionOverflow {
		t.Errorf("overflow: got %+v", p.Refusal)
	}
	in = input(withSnapshot(threeMembers()), fresh, fresh, fresh)
	edit(&in, "m1", func(o *MemberObservation) { o.Binary = Known(Binary{Version: "3.6.16"}) })
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeSnapshotVersion {
		t.Errorf("version: got %+v", p.Refusal)
	}
}

func TestStop(t *testing.T) {
	p := NewStop(input(threeMembers(), serving, serving, serving), []string{"m2"})
	if stepKinds(p) != "stop" || p.Steps[0].After.Healthy != 2 || !slices.Equal(p.Steps[0].Target, []string{"m2"}) {
		t.Fatalf("%+v", p.Steps)
	}
	if p := NewStop(input(threeMembers(), down, down, down), nil); p.Changes() {
		t.Fatal("nothing runs, and yet it stops something")
	}
}
