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
)

func kinds() []kind {
	return []kind{fresh, missing, down, serving, stuck, begun, damaged, unread, claimed, staged, installed, orphaned}
}

// runs and hasRun say what a kind means for the invariants, apart from the
// planner's own helpers.
func (k kind) hasRun() bool {
	return slices.Contains([]kind{down, serving, stuck, begun, damaged, orphaned}, k)
}

func (k kind) serves() bool { return k == serving || k == orphaned }

func input(c *spec.Cluster, ks ...kind) Input {
	in := Input{Cluster: c, Token: token, Now: "2026-01-02T03:04:05Z", By: "ops@here"}
	in.Observation.Members = map[string]MemberObservation{}
	if c.Snapshot != nil {
		in.Observation.Snapshot = provenSnapshot()
	}
	up := 0
	for _, k := range ks {
		if k.serves() {
			up++
		}
	}
	for i, k := range ks {
		in.Observation.Members[c.Members[i].Name] = observed(c, c.Members[i], k, up >= len(ks)/2+1)
	}
	in.Observation.KV = Unknown[KVComparison]("not asked")
	return in
}

func observed(c *spec.Cluster, m spec.Member, k kind, quorum bool) MemberObservation {
	clusterID, id := ClusterID(c.Members, oldToken), MemberID(m.PeerURLs, oldToken)
	d := DataDir{Path: m.DataDir, State: DirAbsent}
	o := MemberObservation{
		Client: Endpoint{URL: m.ClientURLs[0], Reach: ReachRefused}, Peer: PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused},
		Service: Known(Service{State: ServiceNone}), Binary: Known(Binary{Version: "3.7.3"}),
	}
	var list []ListedMember
	for _, x := range c.Members {
		list = append(list, ListedMember{ID: MemberID(x.PeerURLs, oldToken), Name: x.Name, PeerURLs: x.PeerURLs, ClientURLs: x.ClientURLs})
	}
	used := func() {
		d = DataDir{Path: m.DataDir, State: DirPresent, ClusterID: clusterID, MemberID: id, LastTerm: 3, LastIndex: 1200, Commit: 1200, EverRan: true, Members: list, StorageVersion: "3.7.0"}
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
		d.Members = unpublished(list)
	case damaged:
		used()
		d.Problem = "walpb: crc mismatch"
	case down, serving, stuck, begun, orphaned:
		used()
	}
	switch k {
	case serving, orphaned:
		leader := ""
		if quorum {
			leader = MemberID(c.Members[0].PeerURLs, oldToken)
		}
		o.Peer.Reach = ReachServing
		o.Client = Endpoint{
			URL: m.ClientURLs[0], Reach: ReachServing, ClusterID: clusterID, MemberID: id, LeaderID: leader, Version: "3.7.3",
			Revision: 1204, DBSize: 45056, Linearizable: Known(quorum), Members: Known(list),
		}
	case stuck, begun:
		o.Client.Reach = ReachHangs
	}
	switch k {
	case serving, stuck, begun, orphaned:
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
	o.Data = Known(d)
	if k == unread {
		o.Data = Unknown[DataDir]("permission denied")
	}
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
		{"one survivor", true, []kind{down, missing, missing}, "", CodeRouteRecover, ""},
		{"one survivor beside fresh ones", true, []kind{down, fresh, fresh}, "", CodeRouteRecover, ""},
		{"one damaged survivor", true, []kind{damaged, fresh, fresh}, "", CodeDataDamaged, ""},
		{"unread is not absent", true, []kind{unread, fresh, fresh}, "", CodeDataUnknown, ""},
		{"all starting", false, []kind{begun, begun, begun}, RouteStart, "", "verify"},
		{"all stuck", false, []kind{stuck, stuck, stuck}, "", CodeDeadWithAlive, ""},
		{"nothing anywhere", false, []kind{fresh, fresh, fresh}, RouteBootstrap, "", "claim start verify"},
		{"missing data, no snapshot", false, []kind{missing, fresh, fresh}, "", CodeDataMissing, ""},
		{"missing data, a snapshot", true, []kind{missing, missing, missing}, RouteRestore, "", "restore trial install start verify"},
		{"a snapshot alone", true, []kind{fresh, fresh, fresh}, RouteRestore, "", "restore trial install start verify"},
		{"one member lost its disk", true, []kind{serving, serving, missing}, "", CodeRouteReconfigure, ""},
		{"supervisor gone", false, []kind{serving, orphaned, serving}, RouteStart, "", "adopt"},
		{"restore: only claimed, so anew", true, []kind{claimed, claimed, fresh}, RouteRestore, "", "restore trial install start verify"},
		{"restore: partly staged", true, []kind{staged, claimed, claimed}, RouteRestore, "", "restore trial install start verify"},
		{"restore: all staged", true, []kind{staged, staged, staged}, RouteRestore, "", "trial install start verify"},
		{"restore: partly installed", true, []kind{installed, staged, staged}, RouteRestore, "", "trial install start verify"},
		{"restore: all installed", true, []kind{installed, installed, installed}, RouteRestore, "", "start verify"},
		{"restore: all installed, snapshot block gone", false, []kind{installed, installed, installed}, RouteRestore, "", "start verify"},
		{"a fresh one is no finished restore once others ran", true, []kind{down, installed, fresh}, RouteStart, "", ""},
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
			if tc.name == "a fresh one is no finished restore once others ran" {
				for _, s := range p.Steps {
					if slices.Contains(s.Target, "m3") && s.Kind != "verify" {
						t.Fatalf("m3 may have run and lost its disk, and gets %s", s.Kind)
					}
				}
				return
			}
			if p.Route != tc.route && code == "" || code != tc.refusal || stepKinds(p) != tc.steps {
				t.Fatalf("route %q refusal %q steps %q, want %q %q %q\n%s", p.Route, code, stepKinds(p), tc.route, tc.refusal, tc.steps, p.Headline)
			}
		})
	}
}

// TestEveryMixture walks all mixtures of what three members can be, and holds
// every plan to what must never happen, in the test's own words.
func TestEveryMixture(t *testing.T) {
	n := 0
	for _, a := range kinds() {
		for _, b := range kinds() {
			for _, c := range kinds() {
				for _, snapshot := range []bool{false, true} {
					n++
					ks := []kind{a, b, c}
					file := threeMembers()
					if snapshot {
						withSnapshot(file)
					}
					in := input(file, ks...)
					p := New(in)
					if why := broken(p, ks); why != "" {
						t.Errorf("%v snapshot=%v: %s (route %s, steps %s)", ks, snapshot, why, p.Route, stepKinds(p))
					}
					if again := New(in); again.Digest() != p.Digest() {
						t.Errorf("%v: planning twice gives two plans", ks)
					}
				}
			}
		}
	}
	t.Logf("%d mixtures", n)
}

// broken says which promise a plan breaks; "" for none.
func broken(p *Plan, ks []kind) string {
	ran, lost := false, false
	for _, k := range ks {
		ran = ran || k.hasRun()
		lost = lost || k == missing
	}
	if p.Refusal != nil {
		if len(p.Steps) > 0 || p.Refusal.Code == "" || p.Refusal.Detail == "" || len(p.Refusal.Remedy) == 0 {
			return "a refusal without reason, with steps or without a remedy"
		}
		return ""
	}
	if slices.Contains(ks, unread) && p.Route != RouteInSync {
		return "plans over a disk that could not be read"
	}
	alive, whole := 0, 0
	for _, k := range ks {
		if k.serves() {
			alive++
		}
		if k.hasRun() && k != damaged {
			whole++
		}
	}
	switch {
	case p.Route == RouteInSync && alive < len(ks):
		return "in sync, and not every member serves"
	case p.Route == RouteStart && alive < 2 && whole < 2:
		return "a start that promises to lose nothing, without a majority of disks"
	case p.Route == RouteBootstrap && ran, p.Loss.Kind == LossNone && p.Route == RouteRestore:
		return "says that nothing is lost"
	}
	needsLoss := slices.ContainsFunc(p.Needs, func(n Need) bool { return n.Consent == ConsentDataLoss })
	for _, s := range p.Steps {
		if s.After.Healthy < s.Before.Healthy {
			return "a step loses healthy voters"
		}
		switch a := s.Action.(type) {
		case Restore:
			for _, m := range a.Members {
				if ran && m.Provenance.Token == token {
					return "a new identity beside members that have run"
				}
				if k := ks[m.Name[1]-'1']; k.hasRun() || k == installed && m.Provenance.Token != token {
					return "restores over data"
				}
			}
			if lost && !ran && !needsLoss && a.Members[0].Provenance.Token == token {
				return "restores where data is missing without consent"
			}
		case Install:
			for _, m := range a.Members {
				if k := ks[m.Name[1]-'1']; k.hasRun() || k == installed || m.Over != (Identity{}) {
					return "installs over data"
				}
			}
		case Claim:
			if ran || lost {
				return "bootstraps where a cluster is or was"
			}
		case Start:
			for _, m := range a.Members {
				if k := ks[m.Name[1]-'1']; m.Bootstrap && k != fresh && k != claimed {
					return "bootstraps over " + string(k)
				}
			}
		}
	}
	return ""
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
	if got := stepKinds(p); got != "restore trial install start verify" {
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
		{"another cluster behind an endpoint", []kind{serving, down, down}, func(in *Input) { edit(in, "m1", func(o *MemberObservation) { o.Client.ClusterID = "abc" }) }, CodeForeignCluster},
		{"two clusters", three, func(in *Input) {
			edit(in, "m2", func(o *MemberObservation) { o.Client.ClusterID = "abc"; o.Data.Value.ClusterID = "abc" })
		}, CodeSplitCluster},
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
		{"tls", three, func(in *Input) { in.Cluster.TLS = &spec.TLS{} }, CodeFeatureUnsupported},
		{"auth", three, func(in *Input) { in.Cluster.Auth = &spec.Auth{} }, CodeFeatureUnsupported},
		{"recover", three, func(in *Input) { in.Cluster.Recover = &spec.Recover{} }, CodeFeatureUnsupported},
		{"encrypted", three, func(in *Input) { in.Cluster.Snapshot = &spec.Snapshot{Identity: "/key"} }, CodeFeatureUnsupported},
		{"snapshot before all", three, func(in *Input) { in.Cluster.Policy.SnapshotBefore = "always" }, CodeFeatureUnsupported},
		{"a learner to begin with", []kind{fresh, fresh, fresh}, func(in *Input) { in.Cluster.Members[2].Learner = true }, CodeFeatureUnsupported},
		{"another file's service", three, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Service.Value.Cluster = "other" })
		}, CodeForeignData},
		{"ssh", three, func(in *Input) {
			in.Cluster.Hosts = []spec.Host{{Name: "h", Access: spec.AccessSSH}}
			in.Cluster.Members[0].Host = "h"
		}, CodeHostUnsupported},
		{"systemd", three, func(in *Input) {
			in.Cluster.Hosts = []spec.Host{{Name: "h", Access: spec.AccessLocal, Service: spec.Service{Kind: spec.ServiceSystemd}}}
			in.Cluster.Members[0].Host = "h"
		}, CodeServiceUnsupported},
		{"a member too many", three, func(in *Input) {
			in.Cluster.Members = in.Cluster.Members[:2]
		}, CodeRouteReconfigure},
		{"other settings", three, func(in *Input) { in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "1"} }, CodeRouteReconfigure},
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
