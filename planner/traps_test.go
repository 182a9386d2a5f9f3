package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// Each test here is a trap: a sequence in which a planner easily promises too
// much, and each once did.

func plannedStart(p *Plan, name string) bool {
	for _, s := range p.Steps {
		if a, ok := s.Action.(Start); ok && slices.Contains(a.Targets(), name) {
			return true
		}
	}
	return false
}

// promisesNothing: quorum is gone, so the plan is refused, or recovers with consent
// to loss, under a new identity; it never just starts what is left.
func promisesNothing(t *testing.T, p *Plan, why string) {
	t.Helper()
	if p.Refusal != nil {
		return
	}
	consent := slices.ContainsFunc(p.Needs, func(n Need) bool { return n.Consent == ConsentDataLoss })
	if p.Route != RouteRecover || p.Loss.Kind != LossUnknown || !consent || p.NewClusterID == p.ClusterID {
		t.Errorf("%s: %s: %s", why, p.Headline, p.Loss.Text)
	}
}

func data(in *Input, name string, f func(*DataDir)) {
	edit(in, name, func(o *MemberObservation) { f(&o.Data.Value) })
}

// A member that serves without a leader, beside a quorum, is not in sync.
func TestTrapServingWithoutLeaderIsNotInSync(t *testing.T) {
	in := input(threeMembers(), serving, serving, serving)
	edit(&in, "m3", func(o *MemberObservation) { o.Client.LeaderID = ""; o.Client.Linearizable = Known(false) })
	if p := New(in); p.Route == RouteInSync || p.Health() == HealthGood {
		t.Errorf("route %s, health %s, quorum %+v: %s", p.Route, p.Health(), p.Before, p.Headline)
	}
}

// One process that answers at two members' addresses (a load balancer, a wrong
// URL) is not two members.
func TestTrapOneProcessForTwoMembers(t *testing.T) {
	in := input(threeMembers(), serving, serving, missing)
	url := in.Observation.Members["m3"].Client.URL
	edit(&in, "m3", func(o *MemberObservation) {
		o.Client = in.Observation.Members["m1"].Client
		o.Client.URL = url
	})
	if p := New(in); p.Route == RouteInSync || p.Before.Healthy == 3 {
		t.Errorf("m3's data is gone and m1 answers for it: route %q, healthy %d: %s", p.Route, p.Before.Healthy, p.Headline)
	}
}

// A member that serves from another directory than the file's, or whose
// directory was deleted under it, is not as the file says.
func TestTrapServesFromElsewhere(t *testing.T) {
	for _, k := range []DirState{DirAbsent, DirEmpty} {
		in := input(threeMembers(), serving, serving, serving)
		edit(&in, "m3", func(o *MemberObservation) {
			o.Service = Known(Service{State: ServiceNone})
			o.Data = Known(DataDir{Path: o.Data.Value.Path, State: k})
		})
		if p := New(in); p.Route == RouteInSync {
			t.Errorf("m3 serves and its data_dir is %s: %s", k, p.Headline)
		}
	}
	in := input(threeMembers(), serving, serving, serving)
	edit(&in, "m3", func(o *MemberObservation) {
		o.Service = Known(Service{State: ServiceNone})
		o.Data.Value.HeldBy = 0 // a copy: the one that runs lies elsewhere
	})
	if p := New(in); p.Route == RouteInSync {
		t.Errorf("m3 serves and nobody has its data_dir open: %s", p.Headline)
	}
}

// A pinned ID says that a cluster was here.
func TestTrapPinnedIDForbidsBootstrap(t *testing.T) {
	c := threeMembers()
	c.ID = "cdf818194e3a8c32"
	if p := New(input(c, fresh, fresh, fresh)); p.Refusal == nil {
		t.Errorf("route %s for a file that pins a cluster's ID: %s", p.Route, p.Loss.Text)
	}
	c = withSnapshot(threeMembers())
	c.ID = "cdf818194e3a8c32"
	p := New(input(c, fresh, fresh, fresh))
	if p.Refusal == nil && !slices.ContainsFunc(p.Needs, func(n Need) bool { return n.Consent == ConsentDataLoss }) {
		t.Errorf("restores over a pinned cluster without data-loss")
	}
}

// Learners and removed members are no part of a majority (S1, S10).
func TestTrapLearnersAreNoMajority(t *testing.T) {
	c := threeMembers()
	c.Members = append(c.Members, spec.Member{
		Name: "m4", DataDir: "/data/m4", Learner: true,
		PeerURLs: []string{"http://127.0.0.1:2384"}, ClientURLs: []string{"http://127.0.0.1:2374"},
	})
	in := input(c, down, missing, missing, down)
	for _, n := range []string{"m1", "m4"} {
		data(&in, n, func(d *DataDir) {
			d.Members = slices.Clone(d.Members)
			d.Members[3].Learner = true
		})
	}
	promisesNothing(t, New(in), "one of three voters' disks")
}

func TestTrapRemovedMembersAreNoMajority(t *testing.T) {
	in := input(threeMembers(), down, missing, down)
	data(&in, "m1", func(d *DataDir) { d.Members = d.Members[:2]; d.LastIndex = 2000 }) // m3 was removed
	promisesNothing(t, New(in), "one of two voters' disks")
}

// S1: with and without the uncommitted changes of the log.
func TestTrapUncommittedMembership(t *testing.T) {
	c := threeMembers()
	for _, n := range []string{"4", "5"} {
		c.Members = append(c.Members, spec.Member{
			Name: "m" + n, DataDir: "/data/m" + n,
			PeerURLs: []string{"http://127.0.0.1:238" + n}, ClientURLs: []string{"http://127.0.0.1:237" + n},
		})
	}
	in := input(c, down, down, missing, missing, missing)
	for _, n := range []string{"m1", "m2"} {
		data(&in, n, func(d *DataDir) { d.Members = d.Members[:3]; d.UncommittedMembership = true })
	}
	if p := New(in); p.Refusal == nil {
		t.Errorf("two of five disks, the log's tail changes the membership: %s: %s", p.Headline, p.Loss.Text)
	}
}

// The newest log may be that of a running member, whose db is not read: an older
// one's membership is not the last word.
func TestTrapNewestLogIsOfTheRunning(t *testing.T) {
	c := threeMembers()
	for _, n := range []string{"4", "5"} {
		c.Members = append(c.Members, spec.Member{
			Name: "m" + n, DataDir: "/data/m" + n,
			PeerURLs: []string{"http://127.0.0.1:238" + n}, ClientURLs: []string{"http://127.0.0.1:237" + n},
		})
	}
	in := input(c, stuck, down, missing, missing, missing)
	data(&in, "m1", func(d *DataDir) { d.Members = nil; d.LastIndex = 5000 })
	edit(&in, "m1", func(o *MemberObservation) {
		o.Peer.Reach = ReachServing
		o.Peer.Members = Known(in.Observation.Members["m3"].Client.Members.Value)
	})
	data(&in, "m2", func(d *DataDir) { d.Members = d.Members[:3] })
	if p := New(in); p.Refusal == nil {
		t.Errorf("two of five disks: %s: %s", p.Headline, p.Loss.Text)
	}
}

// A crash loop on a damaged directory is no intact disk.
func TestTrapCrashLoopOnDamagedDisk(t *testing.T) {
	in := input(threeMembers(), damaged, down, missing)
	edit(&in, "m1", func(o *MemberObservation) {
		o.Service = Known(Service{State: ServiceBackoff, SupervisorPID: 4710, Restarts: 9, LastError: "walpb: crc mismatch"})
	})
	promisesNothing(t, New(in), "one intact disk of three")
}

// A restored directory that never ran, beside a cluster that lives, is not in
// sync with it.
func TestTrapPristineBesideQuorum(t *testing.T) {
	in := input(threeMembers(), serving, serving, installed)
	data(&in, "m3", func(d *DataDir) {
		d.ClusterID, d.MemberID = "1234", "5678"
		p := *d.Provenance
		p.Token, p.ClusterID, p.MemberID = "another", "1234", "5678"
		d.Provenance = &p
	})
	if p := New(in); p.Route == RouteInSync {
		t.Errorf("m3 does not run and has another cluster's data: %s", p.Headline)
	}
}

// A member that a quorum has removed, or added anew under another ID, is not
// started from its old directory.
func TestTrapRemovedMemberIsNotStarted(t *testing.T) {
	for name, change := range map[string]func([]ListedMember) []ListedMember{
		"removed": func(l []ListedMember) []ListedMember { return l[:2] },
		"added again": func(l []ListedMember) []ListedMember {
			l[2].ID, l[2].Name, l[2].ClientURLs = "abc", "", nil
			return l
		},
	} {
		in := input(threeMembers(), serving, serving, down)
		for _, n := range []string{"m1", "m2"} {
			edit(&in, n, func(o *MemberObservation) {
				o.Client.Members.Value = change(slices.Clone(o.Client.Members.Value))
			})
		}
		if p := New(in); plannedStart(p, "m3") {
			t.Errorf("%s: %s: %s", name, p.Headline, p.Loss.Text)
		}
	}
}

// The quorum after a start from disks is that of the membership on the disks.
func TestTrapQuorumOfTheDisks(t *testing.T) {
	in := input(threeMembers(), down, fresh, fresh)
	data(&in, "m1", func(d *DataDir) { d.Members = d.Members[:1] })
	p := New(in)
	if p.Refusal != nil {
		return
	}
	if after := p.Steps[0].After; after != (Quorum{Voters: 1, Healthy: 1}) {
		t.Errorf("one voter on disk, quorum after %+v", after)
	}
}

// Finishing a bootstrap: those that never ran count, those that ran and are
// gone don't, and too few are no majority (S1).
func TestTrapFinishBootstrapWithLostMembers(t *testing.T) {
	c := threeMembers()
	for _, n := range []string{"4", "5"} {
		c.Members = append(c.Members, spec.Member{
			Name: "m" + n, DataDir: "/data/m" + n,
			PeerURLs: []string{"http://127.0.0.1:238" + n}, ClientURLs: []string{"http://127.0.0.1:237" + n},
		})
	}
	in := input(c, down, missing, missing, missing, claimed)
	for _, m := range c.Members {
		data(&in, m.Name, func(d *DataDir) {
			d.Provenance = &Provenance{
				Kind: ProvenanceBootstrap, Token: oldToken, InitialCluster: c.InitialCluster(),
				ClusterID: ClusterID(c.Members, oldToken), MemberID: MemberID(m.PeerURLs, oldToken),
			}
			d.ProvenanceAgrees = d.State == DirPresent
			d.EverRan = m.Name != "m5"
		})
	}
	promisesNothing(t, New(in), "one used and one unused of five, three lost")
}

// Finishing a restore starts only what has, or gets, data; and promises no more.
func TestTrapFinishRestoreStartsTheLost(t *testing.T) {
	in := input(withSnapshot(threeMembers()), down, installed, missing)
	data(&in, "m1", func(d *DataDir) {
		d.Provenance, d.ProvenanceAgrees = in.Observation.Members["m2"].Data.Value.Provenance, true
		p := *d.Provenance
		p.MemberID = d.MemberID
		d.Provenance = &p
	})
	p := New(in)
	if plannedStart(p, "m3") {
		t.Errorf("m3 has no data and gets none: %s, steps %s", p.Headline, stepKinds(p))
	}
}

// A member that the cluster knows to have served (its client URLs are published)
// has run, whoever started it: it is not restored again under its old ID.
func TestTrapMemberThatRanByHandIsNotRestoredAgain(t *testing.T) {
	in := input(withSnapshot(threeMembers()), serving, serving, claimed)
	for _, n := range []string{"m1", "m2"} {
		data(&in, n, func(d *DataDir) {
			p := *in.Observation.Members["m3"].Data.Value.Provenance
			p.MemberID = d.MemberID
			d.Provenance, d.ProvenanceAgrees = &p, true
		})
	}
	// The list names m3 with its client URLs: it was up once, without requorum.
	p := New(in)
	if k := stepKinds(p); strings.Contains(k, "restore") {
		t.Errorf("m3 served in this cluster and lost its data: %s, steps %s", p.Headline, k)
	}
}

// A member with two peer URLs counts once.
func TestTrapNeverStartedWithTwoPeerURLs(t *testing.T) {
	c := withSnapshot(threeMembers())
	for i := range c.Members {
		c.Members[i].PeerURLs = append(c.Members[i].PeerURLs, c.Members[i].PeerURLs[0]+"0")
	}
	p := New(input(c, installed, installed, installed))
	if p.Route != RouteRestore {
		t.Errorf("restored and never started: route %s: %s", p.Route, p.Loss.Text)
	}
}

// A sensitive source is shown nowhere.
func TestTrapSensitiveSource(t *testing.T) {
	c := withSnapshot(threeMembers())
	c.Snapshot.Sensitive = true
	in := input(c, fresh, fresh, fresh)
	in.Observation.Snapshot.Source = "(sensitive)"
	p := New(in)
	for _, s := range p.Steps {
		for _, e := range s.Equivalent {
			if strings.Contains(e, "/backup/snapshot.db") {
				t.Errorf("step %d shows it: %s", s.ID, e)
			}
		}
	}
}

// No answer from an address is not "nobody is there": it may lead to another
// machine, where the cluster is.
func TestTrapUnreachableIsNotAbsent(t *testing.T) {
	for _, reach := range []Reach{ReachTimeout, ReachNoRoute, ReachBadName} {
		in := input(threeMembers(), fresh, fresh, fresh)
		for _, n := range []string{"m1", "m2", "m3"} {
			edit(&in, n, func(o *MemberObservation) { o.Client.Reach, o.Peer.Reach = reach, reach })
		}
		if p := New(in); p.Refusal == nil {
			t.Errorf("%s at every address: route %s: %s", reach, p.Route, p.Loss.Text)
		}
	}
}

// To finish is to start an etcd: the one that the file asks for.
func TestTrapFinishChecksTheBinary(t *testing.T) {
	c := withSnapshot(threeMembers())
	c.Etcd.Version = "3.5"
	if p := New(input(c, installed, installed, installed)); p.Refusal == nil {
		t.Errorf("the file wants etcd 3.5, 3.7.3 would be started: route %s", p.Route)
	}
}

// Two voters, m1's directory an old copy that was started with
// --force-new-cluster (or an old copy from before m2 was added): m1's own list is
// {m1}, the newest log (m2's) has {m1, m2}. Started, m1 is a quorum of itself and
// serves without what m2 alone holds. One voter's difference is enough where
// those who hold the other list are a majority of it.
func TestTrapAMajorityOfItsOwnList(t *testing.T) {
	c := threeMembers()
	c.Members = c.Members[:2]
	in := input(c, down, down)
	data(&in, "m1", func(d *DataDir) { d.Members = d.Members[:1]; d.LastTerm, d.LastIndex = 3, 60 })
	data(&in, "m2", func(d *DataDir) { d.Members = d.Members[:2]; d.LastTerm, d.LastIndex = 5, 215 })
	if p := New(in); p.Refusal == nil {
		t.Errorf("m1 would serve alone, without m2's writes: %s: %s", p.Headline, p.Loss.Text)
	}
}

// A stopped cluster whose disks are a majority is started, although its member
// list has one more, never started, that the file lacks (somebody ran member add,
// then the power went): "the cluster lives" is not so, and member remove can't be
// run on a cluster that is down. With quorum, start() gives the same difference
// as a note.
func TestTrapStoppedWithAnUnlistedLearner(t *testing.T) {
	in := input(threeMembers(), down, down, down)
	for _, n := range []string{"m1", "m2", "m3"} {
		data(&in, n, func(d *DataDir) {
			d.Members = append(append([]ListedMember{}, d.Members...), ListedMember{
				ID: "abc", PeerURLs: []string{"http://127.0.0.1:2999"}, Learner: true,
			})
		})
	}
	if p := New(in); p.Refusal != nil {
		t.Errorf("three of three voters' disks are intact, and it is refused: %s: %s", p.Refusal.Title, p.Refusal.Detail)
	}
}

// The same beside a living quorum: m1, down, was started once with
// --force-new-cluster by hand. Its member ID is still in the live list, its own
// list is {m1} alone: started, it serves and acknowledges writes as a second
// cluster of the same ID. start() has to compare the disk's list too.
func TestTrapForcedMemberBesideQuorumIsNotStarted(t *testing.T) {
	in := input(threeMembers(), down, serving, serving)
	data(&in, "m1", func(d *DataDir) { d.Members = d.Members[:1] })
	if p := New(in); plannedStart(p, "m1") {
		t.Errorf("m1 knows itself alone and would serve alone: %s: %s", p.Headline, p.Loss.Text)
	}
}

// Two disks rolled back to the days of two members outvote the newest log.
func TestTrapTwoRolledBackDisksAreAMajorityOfTheirOwn(t *testing.T) {
	in := input(threeMembers(), down, down, down)
	for _, n := range []string{"m1", "m2"} {
		data(&in, n, func(d *DataDir) { d.Members = d.Members[:2]; d.LastIndex = 100 })
	}
	data(&in, "m3", func(d *DataDir) { d.LastTerm, d.LastIndex = 5, 5000 })
	if p := New(in); p.Refusal == nil {
		t.Errorf("m1 and m2 would serve without m3's writes: %s: %s", p.Headline, p.Loss.Text)
	}
}

// A directory that is there and can't be read, in a place that was claimed, is not
// vacant: nothing is staged over it.
func TestTrapUnreadableLogIsNotVacant(t *testing.T) {
	in := input(withSnapshot(threeMembers()), serving, serving, claimed)
	prov := *in.Observation.Members["m3"].Data.Value.Provenance
	for _, n := range []string{"m1", "m2"} {
		edit(&in, n, func(o *MemberObservation) {
			p := prov
			p.MemberID = o.Data.Value.MemberID
			o.Data.Value.Provenance, o.Data.Value.ProvenanceAgrees = &p, true
			o.Client.Members = Known(unpublished(o.Client.Members.Value))
			o.Data.Value.Members = unpublished(o.Data.Value.Members)
		})
	}
	if k := stepKinds(New(in)); !strings.Contains(k, "restore") {
		t.Fatalf("the restore that was begun is finished where the place is vacant, got %q", k)
	}
	data(&in, "m3", func(d *DataDir) { d.State, d.Problem = DirPresent, "walpb: crc mismatch" })
	if p := New(in); stepKinds(p) != "remove-member set-aside add-learner join promote verify" {
		t.Errorf("m3's directory is damaged: it is kept, and m3 added anew; the plan is %s: %s", p.Headline, stepKinds(p))
	}
}

// A laggard that missed two changes of membership is started beside a living
// quorum: those who know its list are no majority of it.
func TestTrapLaggardBesideQuorumIsStarted(t *testing.T) {
	in := input(threeMembers(), down, serving, serving)
	data(&in, "m1", func(d *DataDir) {
		d.Members = slices.Clone(d.Members)
		d.Members[1].ID, d.Members[2].ID = "a1", "a2"
	})
	if p := New(in); !plannedStart(p, "m1") {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
}
