package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// The disks are of one cluster ID and of two histories: terms of one say nothing of
// the other's.
func TestS7SplitHistories(t *testing.T) {
	five := func() Input {
		in := input(members(5), down, down, missing, missing, missing)
		endsAt(&in, "m1", 1300, 1300)
		return in
	}
	t.Run("both agreed on other entries", func(t *testing.T) {
		in := five()
		disk(&in, "m2", func(d *DataDir) { d.Log.Sums = slices.Clone(d.Log.Sums); d.Log.Sums[20]++ })
		refusedAs(t, New(in), CodeSplitCluster)
		in.Cluster.Recover = &spec.Recover{From: "m2"}
		p := New(in)
		if routeIs(t, p, RouteRecover) {
			if a, _ := actionOf[Recover](p); a.Name != "m2" || !needs(p, ConsentDataLoss) {
				t.Errorf("recovers from %s, needs %v", a.Name, p.Needs)
			}
			if !strings.Contains(p.Loss.Text, "m1") {
				t.Errorf("what m1 holds is given up, and it does not say so: %s", p.Loss.Text)
			}
		}
	})
	t.Run("no entry in common", func(t *testing.T) {
		in := five()
		disk(&in, "m1", func(d *DataDir) {
			d.Log = &Log{First: 1251, SumsFirst: 1251, Sums: sums[160:210]}
		})
		refusedAs(t, New(in), CodeSplitCluster)
	})
	t.Run("in common only what one of them does not know to be agreed on", func(t *testing.T) {
		in := five()
		endsAt(&in, "m2", 1200, 1150)
		disk(&in, "m1", func(d *DataDir) { d.Log = &Log{First: 1180, SumsFirst: 1180, Sums: sums[89:210]} })
		disk(&in, "m2", func(d *DataDir) {
			d.Log.Sums = slices.Clone(d.Log.Sums)
			for i := 89; i < len(d.Log.Sums); i++ {
				d.Log.Sums[i]++
			}
		})
		refusedAs(t, New(in), CodeSplitCluster) // nothing shows one history
	})
	t.Run("not compared", func(t *testing.T) {
		in := five()
		disk(&in, "m2", func(d *DataDir) { d.Log = nil })
		refusedAs(t, New(in), CodeSplitCluster)
	})
	t.Run("a majority of disks of two histories is not started", func(t *testing.T) {
		in := input(threeMembers(), down, down, missing)
		disk(&in, "m2", func(d *DataDir) { d.Log.Sums = slices.Clone(d.Log.Sums); d.Log.Sums[20]++ })
		refusedAs(t, New(in), CodeSplitCluster)
	})
	t.Run("nor one of them beside a quorum of the other", func(t *testing.T) {
		in := input(threeMembers(), serving, serving, down)
		disk(&in, "m3", func(d *DataDir) { d.Log.Sums = slices.Clone(d.Log.Sums); d.Log.Sums[20]++ })
		if p := New(in); plannedStart(p, "m3") {
			t.Errorf("m3's log differs in what all agreed on, and it is started: %s", p.Headline)
		}
	})
	t.Run("an uncommitted end that differs is one history", func(t *testing.T) {
		in := five()
		endsAt(&in, "m2", 1200, 1190)
		disk(&in, "m2", func(d *DataDir) { d.Log.Sums = slices.Clone(d.Log.Sums); d.Log.Sums[105]++ })
		if p := New(in); routeIs(t, p, RouteRecover) {
			if a, _ := actionOf[Recover](p); a.Name != "m1" {
				t.Errorf("recovers from %s", a.Name)
			}
		}
	})
	t.Run("one was forced, and went on alone", func(t *testing.T) {
		// m1: --force-new-cluster after #1195, then #1196 to #1300 of its own. m2 went on
		// with the others to #1200; its hard state lags, as it does after a crash.
		in := input(members(5), down, down, missing, missing, missing)
		disk(&in, "m1", func(d *DataDir) {
			d.LastTerm, d.LastIndex, d.Commit = 4, 1300, 1300
			d.Log = logTo(1300)
			d.Log.Sums = slices.Clone(d.Log.Sums)
			for i := 1196 - 1091; i < len(d.Log.Sums); i++ {
				d.Log.Sums[i]++
			}
			d.Log.Forced = 1196
			d.Members = d.Members[:1]
		})
		endsAt(&in, "m2", 1200, 1195)
		p := New(in)
		if p.Refusal == nil {
			t.Errorf("m1 was forced to be a cluster of its own, m2 may hold what was acknowledged without it: %s: %s: %s", p.Headline, stepKinds(p), p.Loss.Text)
		}
	})
}

func TestS8LossIsToldTruly(t *testing.T) {
	t.Run("none, where an unstarted voter is all that is missing", func(t *testing.T) {
		in := input(members(2), down, unstarted)
		p := New(in)
		if routeIs(t, p, RouteStart) && (p.Loss.Kind != LossNone || stepKinds(p) != "claim start verify" || len(p.Needs) > 0) {
			t.Errorf("%s: %s: needs %v", stepKinds(p), p.Loss.Text, p.Needs)
		}
	})
	t.Run("unknown, with what is proven", func(t *testing.T) {
		in := input(threeMembers(), down, missing, missing)
		disk(&in, "m1", func(d *DataDir) { d.Revision = 20913 })
		p := New(in)
		if routeIs(t, p, RouteRecover) && (p.Loss.Kind != LossUnknown || !strings.Contains(p.Loss.Text, "no upper bound is known") || !strings.Contains(p.Loss.Text, "20913")) {
			t.Error(p.Loss.Text)
		}
	})
	t.Run("the file's choice gives up what others have", func(t *testing.T) {
		in := input(threeMembers(), down, down, missing)
		endsAt(&in, "m2", 1300, 1300)
		in.Cluster.Recover = &spec.Recover{From: "m1"}
		p := New(in)
		if p.Refusal == nil && p.Route == RouteRecover && (p.Loss.Kind == LossNone || !needs(p, ConsentDataLoss)) {
			t.Errorf("%s: needs %v", p.Loss.Text, p.Needs)
		}
	})
}

// inDoubt has m1, the only survivor, end in n entries that nothing proves.
func inDoubt(entries ...TailEntry) Input {
	in := input(threeMembers(), down, missing, missing)
	n := uint64(len(entries))
	endsAt(&in, "m1", 1200, 1200-n)
	disk(&in, "m1", func(d *DataDir) {
		for i, e := range entries {
			e.Index, e.Term = 1201-n+uint64(i), 3
			d.Tail = append(d.Tail, e)
		}
	})
	return in
}

func TestS9Tail(t *testing.T) {
	put := TailEntry{Kind: EntryPut, Key: "/a"}
	risky := TailEntry{Kind: EntryDelete, Key: "/b", Text: "delete /b", Risky: true}
	t.Run("puts are kept", func(t *testing.T) {
		p := New(inDoubt(put, put))
		a, _ := actionOf[Recover](p)
		if a.Upto != 1200 || needs(p, ConsentTailKeep) || !slices.ContainsFunc(p.Notices, func(n Notice) bool {
			return n.Code == NoteInDoubt && strings.Contains(n.Text, "never have been acknowledged")
		}) {
			t.Errorf("upto %d, needs %v, notes %v", a.Upto, p.Needs, p.Notices)
		}
	})
	t.Run("what undoes something is a decision", func(t *testing.T) {
		p := New(inDoubt(put, risky))
		a, _ := actionOf[Recover](p)
		if a.Upto != 1200 || !needs(p, ConsentTailKeep) {
			t.Errorf("upto %d, needs %v", a.Upto, p.Needs)
		}
		in := inDoubt(put, risky)
		in.Accept = map[Consent]bool{ConsentTailDrop: true}
		p = New(in)
		a, _ = actionOf[Recover](p)
		if a.Upto != 1198 || !needs(p, ConsentTailDrop) || needs(p, ConsentTailKeep) {
			t.Errorf("upto %d, needs %v", a.Upto, p.Needs)
		}
		if strings.Contains(p.Loss.Text, "log is kept to its end") {
			t.Errorf("the end of the log is dropped, and it says %s", p.Loss.Text)
		}
	})
	t.Run("tail-drop without a decision to take drops nothing", func(t *testing.T) {
		in := inDoubt(put)
		in.Accept = map[Consent]bool{ConsentTailDrop: true}
		if a, _ := actionOf[Recover](New(in)); a.Upto != 1200 {
			t.Errorf("upto %d", a.Upto)
		}
	})
	t.Run("both accepted drops nothing unasked", func(t *testing.T) {
		in := inDoubt(risky)
		in.Accept = map[Consent]bool{ConsentTailDrop: true, ConsentTailKeep: true}
		p := New(in)
		if a, ok := actionOf[Recover](p); ok && a.Upto != 1200 {
			t.Errorf("both are accepted, and it drops: upto %d", a.Upto)
		}
	})
	t.Run("entries that were not listed may be anything", func(t *testing.T) {
		in := inDoubt(put)
		disk(&in, "m1", func(d *DataDir) { d.Commit, d.TailMore = 1100, 99 })
		if p := New(in); p.Refusal == nil && !needs(p, ConsentTailKeep) {
			t.Errorf("99 entries were not looked at, and no decision is asked for: %v", p.Notices)
		}
	})
	t.Run("another disk proves the tail", func(t *testing.T) {
		in := input(members(5), down, down, missing, missing, missing)
		endsAt(&in, "m1", 1200, 1198)
		disk(&in, "m1", func(d *DataDir) {
			d.Tail = []TailEntry{{Index: 1199, Term: 3}, {Index: 1200, Term: 3, Kind: EntryDelete, Risky: true}}
		})
		endsAt(&in, "m2", 1200, 1200)
		if p := New(in); needs(p, ConsentTailKeep) {
			t.Errorf("m2 proves it, and the plan needs %v", p.Needs)
		}
	})
	t.Run("with nothing lost a dropped tail is a loss", func(t *testing.T) {
		in := movedWhileStopped()
		for _, n := range []string{"m1", "m2", "m3"} {
			endsAt(&in, n, 1200, 1199)
			disk(&in, n, func(d *DataDir) { d.Tail = []TailEntry{{Index: 1200, Term: 3, Kind: EntryDelete, Risky: true}} })
		}
		in.Accept = map[Consent]bool{ConsentTailDrop: true}
		p := New(in)
		if a, ok := actionOf[Recover](p); ok && a.Upto < 1200 && p.Loss.Kind == LossNone {
			t.Errorf("#1200 is dropped, and: %s", p.Loss.Text)
		}
	})
}

func TestS10LearnersAndRemovedMembersAreRanked(t *testing.T) {
	t.Run("removed", func(t *testing.T) {
		in := input(members(5), down, removed, missing, missing, missing)
		endsAt(&in, "m2", 1400, 1400) // wrote on with others of its kind, or was the better informed
		p := New(in)
		if p.Refusal != nil {
			return
		}
		if a, _ := actionOf[Recover](p); a.Name != "m2" {
			t.Errorf("recovers from %s, and m2 has more", a.Name)
		}
	})
	stopped := func(c *spec.Cluster) Input {
		in := input(c, down, missing, missing, down)
		for _, n := range []string{"m1", "m4"} {
			disk(&in, n, func(d *DataDir) {
				d.Members = slices.Clone(d.Members)
				d.Members[3].Learner = true
			})
		}
		endsAt(&in, "m4", 1400, 1400)
		return in
	}
	t.Run("learner", func(t *testing.T) {
		p := New(stopped(members(4)))
		if !routeIs(t, p, RouteRecover) {
			return
		}
		if a, _ := actionOf[Recover](p); a.Name != "m4" {
			t.Errorf("recovers from %s, and the learner has more", a.Name)
		}
		if !strings.Contains(p.Survivors[0].Verdict, "learner") {
			t.Errorf("%+v", p.Survivors[0])
		}
	})
	t.Run("a learner can't be forced in place", func(t *testing.T) {
		c := members(4)
		c.Recover = &spec.Recover{InPlace: true}
		if p := New(stopped(c)); p.Refusal == nil {
			if a, _ := actionOf[Recover](p); a.Name == "m4" {
				t.Errorf("in place from a learner: %s", stepKinds(p))
			}
		}
	})
}

func TestS12BinaryOfTheSurvivorsMinor(t *testing.T) {
	in := input(threeMembers(), down, missing, missing)
	disk(&in, "m1", func(d *DataDir) { d.StorageVersion = "3.6.0" })
	refusedAs(t, New(in), CodeBinaryVersion)
}

func TestS13TrialBeforeAnythingGoesInPlace(t *testing.T) {
	for _, in := range []Input{input(threeMembers(), down, missing, missing), movedWhileStopped()} {
		k := stepKinds(New(in))
		if !strings.Contains(k, "trial") || strings.Index(k, "trial") > strings.Index(k, "install") {
			t.Error(k)
		}
	}
}

// movedWhileStopped is a cluster that was stopped and whose file then got other
// peer addresses.
func movedWhileStopped() Input {
	in := input(threeMembers(), down, down, down)
	for i := range in.Cluster.Members {
		m := &in.Cluster.Members[i]
		m.PeerURLs = []string{"http://127.0.0.1:248" + m.Name[1:]}
		m.ListenPeerURLs = m.PeerURLs
		edit(&in, m.Name, func(o *MemberObservation) { o.Peer.URL = m.PeerURLs[0] })
	}
	return in
}

func TestMovedWhileStopped(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		p := New(movedWhileStopped())
		if routeIs(t, p, RouteRecover) && (p.Loss.Kind != LossNone || len(p.Needs) > 0 || stepKinds(p) != recoverSteps) {
			t.Errorf("%s: %s: needs %v", stepKinds(p), p.Loss.Text, p.Needs)
		}
	})
	t.Run("one: the others meet, and it is updated then", func(t *testing.T) {
		in := movedWhileStopped()
		for i := range 2 {
			in.Cluster.Members[i] = threeMembers().Members[i]
		}
		routeIs(t, New(in), RouteStart)
	})
	t.Run("while they run without a leader", func(t *testing.T) {
		in := input(threeMembers(), serving, serving, serving)
		for i := range in.Cluster.Members {
			m := &in.Cluster.Members[i]
			m.PeerURLs = []string{"http://127.0.0.1:248" + m.Name[1:]}
			m.ListenPeerURLs = m.PeerURLs
			edit(&in, m.Name, func(o *MemberObservation) {
				o.Client.LeaderID, o.Client.Linearizable = "", Known(false)
				o.Peer.Reach = ReachRefused
				o.Service = Unknown[Service]("not asked")
			})
		}
		if p := New(in); p.Refusal == nil && p.Route == RouteRecover {
			t.Errorf("an election may be going on, all disks are here, and the plan is %s: %s", p.Headline, stepKinds(p))
		}
	})
}

func TestInPlace(t *testing.T) {
	c := threeMembers()
	c.Recover = &spec.Recover{From: "m1", InPlace: true}
	t.Run("consents, and growth", func(t *testing.T) {
		p := New(input(c, down, missing, damaged))
		if !routeIs(t, p, RouteRecover) {
			return
		}
		if !needs(p, ConsentDataLoss) || !needs(p, ConsentStaleWatchers) {
			t.Errorf("needs %v", p.Needs)
		}
		if want := "fence recover trial install start verify stop start verify add-learner join promote set-aside add-learner join promote verify"; stepKinds(p) != want {
			t.Errorf("%s", stepKinds(p))
		}
		if p.NewClusterID != "" && p.NewClusterID != p.ClusterID {
			t.Errorf("a new ID %s in place", p.NewClusterID)
		}
		if last := p.Steps[len(p.Steps)-1].After; last != (Quorum{3, 3}) {
			t.Errorf("ends with %+v", last)
		}
	})
	t.Run("a stored URL that is not the file's is updated before anybody joins", func(t *testing.T) {
		in := input(c, down, missing, missing)
		disk(&in, "m1", func(d *DataDir) {
			d.Members = slices.Clone(d.Members)
			d.Members[0].PeerURLs = []string{"http://localhost:2380"}
		})
		p := New(in)
		if k := stepKinds(p); !strings.Contains(k, "start verify update-member add-learner") {
			t.Error(k)
		}
	})
	t.Run("it says that it is finished after a kill", func(t *testing.T) {
		// Installed, not started; the others are behind the fence, and m2 had more.
		in := input(c, down, fenced, fenced)
		disk(&in, "m1", func(d *DataDir) {
			d.LastTerm, d.LastIndex, d.Members = 4, 1150, d.Members[:1]
			d.Provenance = &Provenance{Kind: ProvenanceForceNew, Token: "force-new-x", ClusterID: d.ClusterID, MemberID: d.MemberID, InitialCluster: "m1=http://127.0.0.1:2381"}
			d.ProvenanceAgrees = true
		})
		disk(&in, "m2", func(d *DataDir) { d.LastTerm, d.LastIndex = 5, 1300 })
		if p := New(in); p.Refusal != nil {
			t.Errorf("killed between install and start, and then %s: %s", p.Refusal.Code, p.Refusal.Detail)
		}
	})
	t.Run("no more learners than etcd takes", func(t *testing.T) {
		c := members(3)
		c.Recover = &spec.Recover{From: "m1", InPlace: true}
		c.Members[1].Learner, c.Members[2].Learner = true, true
		in := input(c, down, missing, missing)
		refusedAs(t, New(in), CodeLearnerSlot)
	})
}

// Disks that were put back to an earlier state are no majority: what the third proves
// to be agreed on, they once had.
func TestS1DisksThatWentBack(t *testing.T) {
	in := input(threeMembers(), down, down, down)
	endsAt(&in, "m3", 1300, 1300)
	p := New(in)
	if routeIs(t, p, RouteRecover); p.Loss.Kind == LossNone || !strings.Contains(p.Headline, "from m3") || !needs(p, ConsentDataLoss) {
		t.Errorf("%s: %s, needs %v", p.Headline, p.Loss.Text, p.Needs)
	}
	// One that went back is only a laggard, wherever it stands.
	in = input(threeMembers(), down, down, down)
	endsAt(&in, "m1", 1300, 1300)
	endsAt(&in, "m3", 1300, 1300)
	routeIs(t, New(in), RouteStart)
	// Who is not here may have it.
	in = input(threeMembers(), down, missing, down)
	endsAt(&in, "m3", 1300, 1300)
	routeIs(t, New(in), RouteStart)
}

// A member whose service runs, or ran, with other directories is not started with
// the file's.
func TestOtherDirectories(t *testing.T) {
	for _, k := range []kind{serving, stuck} {
		in := input(threeMembers(), serving, serving, k)
		in.Cluster.Members[2].WALDir = "/wal/m3"
		if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeServesElsewhere {
			t.Errorf("%s: %q %+v", k, stepKinds(p), p.Refusal)
		}
	}
}

// What accepts connections and hangs, as a paused machine does, is not destroyed,
// whatever is said.
func TestS2WhoHangsIsAlive(t *testing.T) {
	in := input(threeMembers(), down, missing, missing)
	in.Accept = map[Consent]bool{ConsentDataLoss: true, ConsentHostDestroyed + ":m2": true, ConsentHostDestroyed + ":m3": true}
	elsewhere(&in, 1, func(o *OtherMember) { o.Client.Reach = ReachHangs })
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeHostAlive {
		t.Errorf("%q %+v", stepKinds(p), p.Refusal)
	}
}

// A second restore goes on beyond what the first one's clients saw.
func TestS16BumpBeyondWhatWasSeen(t *testing.T) {
	in := input(withSnapshot(threeMembers()), missing, missing, missing)
	disk(&in, "m2", func(d *DataDir) {
		d.Provenance = &Provenance{Kind: ProvenanceRestore, Token: oldToken, Revision: 1204, RevisionBump: spec.DefaultRevisionBump}
	})
	p := New(in)
	for _, s := range p.Steps {
		if a, ok := s.Action.(Restore); ok {
			if got := 1204 + a.RevisionBump; got < 1204+2*spec.DefaultRevisionBump {
				t.Errorf("it goes on at %d, and clients saw %d and more", got, 1204+spec.DefaultRevisionBump)
			}
			return
		}
	}
	t.Errorf("%q %+v", stepKinds(p), p.Refusal)
}

// TestRecoverIntoLearners: a file of learners alone has nobody to recover to.
func TestRecoverIntoLearners(t *testing.T) {
	c := threeMembers()
	for i := range c.Members {
		c.Members[i].Learner = true
	}
	if p := New(input(c, down, missing, missing)); p.Refusal == nil || p.Refusal.Code != CodeFeatureUnsupported {
		t.Errorf("route %q, %+v", p.Route, p.Refusal)
	}
}
