package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

func TestS18FenceAndBack(t *testing.T) {
	p := New(input(threeMembers(), fenced, fenced, missing))
	if a, ok := actionOf[Unfence](p); !ok || len(a.Members) != 2 || a.Members[0].Over.MemberID == "" {
		t.Errorf("%s: %+v", stepKinds(p), a)
	}
	t.Run("what is behind the fence is of an older cluster than the one that lives", func(t *testing.T) {
		in := input(threeMembers(), serving, serving, fenced)
		disk(&in, "m3", func(d *DataDir) { d.ClusterID, d.MemberID = "0ld", "0ldm3" })
		p := New(in)
		if k := stepKinds(p); strings.Contains(k, "unfence") || p.Refusal != nil {
			t.Errorf("m3 is to be replaced, and it is %q %+v", k, p.Refusal)
		}
	})
}

// A recovery was begun and killed, the others found each other again: what was fenced
// and can't be started is replaced, as it would be without the fence.
func TestS18DamagedBehindTheFenceBesideAQuorum(t *testing.T) {
	in := input(threeMembers(), serving, serving, fenced)
	disk(&in, "m3", func(d *DataDir) { d.Problem = "walpb: crc mismatch" })
	if p := New(in); stepKinds(p) != "remove-member set-aside add-learner join promote verify" {
		t.Errorf("%q %+v", stepKinds(p), p.Refusal)
	}
}

// The members that are not in the file any more answer, and one disk that is there
// makes them a quorum: it is started, and nothing is lost.
func TestOthersThatAnswerCountForAStart(t *testing.T) {
	in := input(threeMembers(), down, down, missing)
	elsewhere(&in, 1, func(o *OtherMember) {
		if o.Name == "m2" {
			at := in.Observation.Members["m1"].Data.Value
			o.Client = Endpoint{URL: o.ClientURLs[0], Reach: ReachServing, MemberID: o.ID, ClusterID: at.ClusterID, Members: Known(at.Members)}
			o.Peer.Reach = ReachServing
		}
	})
	routeIs(t, New(in), RouteStart)
}

func TestS19AsideOnlyAfterTheRemoval(t *testing.T) {
	for _, k := range []kind{damaged, unread2} {
		p := New(input(threeMembers(), serving, serving, k))
		if stepKinds(p) != "remove-member set-aside add-learner join promote verify" {
			t.Errorf("%s: %s", k, stepKinds(p))
		}
	}
}

func TestS20Room(t *testing.T) {
	in := input(threeMembers(), down, missing, missing)
	edit(&in, "m1", func(o *MemberObservation) { o.FreeBytes = Known(int64(1 << 20)) })
	refusedAs(t, New(in), CodeNoRoom)
	in = input(threeMembers(), serving, serving, missing)
	edit(&in, "m3", func(o *MemberObservation) { o.FreeBytes = Known(int64(1 << 20)) })
	refusedAs(t, New(in), CodeNoRoom)
}

func TestS22Adoption(t *testing.T) {
	t.Run("flags come along", func(t *testing.T) {
		p := New(input(threeMembers(), byHand, byHand, byHand))
		a, ok := actionOf[Adopt](p)
		if !ok || len(a.Members) != 3 {
			t.Fatalf("%s", stepKinds(p))
		}
		for _, m := range a.Members {
			if m.PID != 4711 || m.Start != 99 || !slices.Contains(m.Carried, "--auto-compaction-retention=8h") || !slices.Contains(m.Args, "--auto-compaction-retention=8h") {
				t.Errorf("%+v", m)
			}
		}
	})
	t.Run("and stay when it is restarted for something else", func(t *testing.T) {
		in := input(threeMembers(), serving, byHand, serving)
		in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"}
		for _, n := range []string{"m1", "m3"} {
			edit(&in, n, func(o *MemberObservation) {
				m, _ := in.Cluster.Member(n)
				o.Service.Value.Args = etcdArgs(in.Cluster, m, "", "existing")
			})
		}
		p := New(in)
		a, _ := actionOf[Start](p)
		if stepKinds(p) != "stop start verify" || len(a.Members) != 1 || !slices.Contains(a.Members[0].Args, "--auto-compaction-retention=8h") || !slices.Contains(a.Members[0].Args, "--quota-backend-bytes=9") {
			t.Errorf("%s: %+v", stepKinds(p), a.Members)
		}
	})
	t.Run("force-new-cluster is restarted without it, first of all", func(t *testing.T) {
		p := New(input(threeMembers(), forced, serving, missing))
		k := stepKinds(p)
		if p.Refusal == nil && (!strings.Contains(k, "stop start") || strings.Index(k, "stop start") > strings.Index(k, "add-learner") || !needs(p, ConsentDowntime)) {
			t.Errorf("%s, needs %v", k, p.Needs)
		}
		for _, s := range p.Steps {
			if a, ok := s.Action.(Start); ok && strings.Contains(strings.Join(a.Members[0].Args, " "), "force-new") {
				t.Errorf("%v", a.Members[0].Args)
			}
		}
	})
	t.Run("what somebody keeps is not touched", func(t *testing.T) {
		in := input(threeMembers(), serving, kept, serving)
		in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"}
		refusedAs(t, New(in), CodeForeignKeeper)
	})
	t.Run("nor to make a learner of it", func(t *testing.T) {
		in := input(members(4), serving, serving, serving, kept)
		in.Cluster.Members[3].Learner = true
		p := New(in)
		if a, ok := actionOf[Stop](p); ok && slices.Contains(a.Targets(), "m4") {
			t.Errorf("stops m4, which systemd starts again: %s", stepKinds(p))
		}
	})
	t.Run("nor to free its place", func(t *testing.T) {
		in := input(threeMembers(), serving, serving, removed)
		edit(&in, "m3", func(o *MemberObservation) {
			o.Data.Value.HeldBy = 7
			o.Service = Known(Service{State: ServiceNone, Foreign: &Foreign{PID: 7, Start: 1, Keeper: "the systemd unit etcd.service"}})
		})
		p := New(in)
		if a, ok := actionOf[Stop](p); ok && slices.Contains(a.Targets(), "m3") {
			t.Errorf("stops m3, which systemd starts again: %s", stepKinds(p))
		}
	})
	t.Run("settings that can't be told are no settings that fit", func(t *testing.T) {
		in := input(threeMembers(), serving, byHand, serving)
		edit(&in, "m2", func(o *MemberObservation) {
			f := *o.Service.Value.Foreign
			f.Settings, f.Problem = nil, "its configuration file can't be read"
			o.Service.Value.Foreign = &f
		})
		if _, ok := actionOf[Adopt](New(in)); ok {
			t.Error("adopts it")
		}
	})
	t.Run("an address can't be moved under a process whose settings are not known", func(t *testing.T) {
		in := input(threeMembers(), serving, byHand, serving)
		edit(&in, "m2", func(o *MemberObservation) {
			f := *o.Service.Value.Foreign
			f.Settings, f.Problem = nil, "its configuration file can't be read"
			o.Service.Value.Foreign = &f
			o.Peer.Reach = ReachRefused // at the file's
		})
		in.Cluster.Members[1].PeerURLs = []string{"http://127.0.0.1:2482"}
		in.Cluster.Members[1].ListenPeerURLs = in.Cluster.Members[1].PeerURLs
		p := New(in)
		if k := stepKinds(p); strings.Contains(k, "update-member") && !strings.Contains(k, "stop start") {
			t.Errorf("m2 listens where it did, and the others look for it elsewhere: %s", k)
		}
	})
}

func TestDowntime(t *testing.T) {
	for n, want := range map[int]bool{1: true, 2: true, 3: false} {
		ks := []kind{serving, serving, serving}[:n]
		in := input(members(n), ks...)
		in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"}
		p := New(in)
		if routeIs(t, p, RouteReconfigure) && needs(p, ConsentDowntime) != want {
			t.Errorf("%d members: needs %v: %s", n, p.Needs, stepKinds(p))
		}
		if n == 3 && stepKinds(p) != "stop start stop start move-leader stop start verify" {
			t.Errorf("%s", stepKinds(p))
		}
	}
}

// Two of five are dead for good, and one that lives has to be restarted: with the
// dead ones off the list first, that costs no quorum.
func TestTheDeadGoBeforeARestart(t *testing.T) {
	p := New(input(members(5), serving, serving, forced, missing, missing))
	if routeIs(t, p, RouteReconfigure) && needs(p, ConsentDowntime) {
		t.Errorf("needs %v: %s", p.Needs, stepKinds(p))
	}
}

func TestS24FaultTolerance(t *testing.T) {
	restart := func(strict bool, floor int) *Plan {
		in := input(threeMembers(), serving, serving, serving)
		in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"}
		in.Cluster.Policy = spec.Policy{MinFaultTolerance: floor, Strict: strict}
		return New(in)
	}
	if p := restart(false, 0); len(p.Notices) > 1 || p.Refusal != nil {
		t.Errorf("%v", p.Notices)
	}
	if p := restart(false, 1); !slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.Code == NoteDip }) {
		t.Errorf("the dip is not told: %v %+v", p.Notices, p.Refusal)
	}
	refusedAs(t, restart(true, 1), CodeTolerance)
	if p := restart(true, 0); p.Refusal != nil {
		t.Errorf("%+v", p.Refusal)
	}

	shrink := func(floor int) *Plan {
		in := input(members(5), serving, serving, serving, serving, serving)
		in.Observation.JournalMembers = []string{"m4", "m5"}
		elsewhere(&in, 3, func(o *OtherMember) {
			o.Client = Endpoint{URL: o.ClientURLs[0], Reach: ReachServing, MemberID: o.ID, LeaderID: "x"}
		})
		in.Cluster.Policy.MinFaultTolerance = floor
		return New(in)
	}
	if p := shrink(1); stepKinds(p) != "remove-member remove-member verify" {
		t.Errorf("%s %+v", stepKinds(p), p.Refusal)
	}
	refusedAs(t, shrink(2), CodeTolerance)
}

func TestSnapshotBefore(t *testing.T) {
	for _, tc := range []struct {
		policy string
		change func(*Input)
		want   bool
	}{
		{"", func(in *Input) { in.Cluster.Members = append(in.Cluster.Members, numbered(4)) }, false},
		{"membership", func(in *Input) { in.Cluster.Members = append(in.Cluster.Members, numbered(4)) }, true},
		{"membership", func(in *Input) { in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"} }, false},
		{"always", func(in *Input) { in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"} }, true},
	} {
		in := input(threeMembers(), serving, serving, serving)
		tc.change(&in)
		for _, m := range in.Cluster.Members[3:] {
			in.Observation.Members[m.Name] = observed(in.Cluster, m, fresh, "", nil)
		}
		in.Cluster.Policy.SnapshotBefore = tc.policy
		p := New(in)
		if p.Refusal != nil || strings.HasPrefix(stepKinds(p), "save-snapshot") != tc.want {
			t.Errorf("%q: %s %+v", tc.policy, stepKinds(p), p.Refusal)
		}
	}
	// Nothing of a file is ever ignored.
	in := input(threeMembers(), serving, serving, missing)
	in.Cluster.Policy.SnapshotBefore = "membership"
	for _, n := range []string{"m1", "m2"} {
		edit(&in, n, func(o *MemberObservation) { o.Base = "" })
	}
	if p := New(in); p.Refusal == nil && !strings.Contains(stepKinds(p), "save-snapshot") && !slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Text, "snapshot") }) {
		t.Errorf("no snapshot, and not a word of it: %s", stepKinds(p))
	}
}

func TestLearnerSlot(t *testing.T) {
	grow := func(edit func(*spec.Cluster)) *Plan {
		in := input(members(4), serving, serving, serving, fresh)
		for i := range 3 {
			data(&in, numbered(i+1).Name, func(d *DataDir) { d.Members = d.Members[:3] })
			name := numbered(i + 1).Name
			o := in.Observation.Members[name]
			o.Client.Members = Known(o.Client.Members.Value[:3])
			in.Observation.Members[name] = o
		}
		edit(in.Cluster)
		return New(in)
	}
	if p := grow(func(c *spec.Cluster) { c.Members[3].Learner = true }); stepKinds(p) != "add-learner join verify" {
		t.Errorf("%s %+v", stepKinds(p), p.Refusal)
	}
	refusedAs(t, grow(func(c *spec.Cluster) { c.Members[2].Learner, c.Members[3].Learner = true, true }), CodeLearnerSlot)
	if p := grow(func(c *spec.Cluster) {
		c.Members[2].Learner, c.Members[3].Learner = true, true
		c.Etcd.Config = map[string]string{"max-learners": "2"}
	}); p.Refusal != nil {
		t.Errorf("%+v", p.Refusal)
	}
}

// A learner whose addresses change: an update would make a voter of it on older
// servers.
func TestUpdateOfALearner(t *testing.T) {
	in := input(members(4), serving, serving, serving, learner)
	in.Cluster.Members[3].Learner = true
	in.Cluster.Members[3].PeerURLs = []string{"http://127.0.0.1:2484"}
	in.Cluster.Members[3].ListenPeerURLs = in.Cluster.Members[3].PeerURLs
	edit(&in, "m4", func(o *MemberObservation) { o.Peer.Reach = ReachRefused })
	p := New(in)
	if _, ok := actionOf[Update](p); ok {
		t.Errorf("updates a learner: %s", stepKinds(p))
	}
}

func inPlaceFrom(name string) *spec.Recover { return &spec.Recover{From: name, InPlace: true} }

// TestElsewhere has lists of one to five voters, some of them in the file with or
// without their disk, some elsewhere, silent or answering: a new identity begins
// beside none that answers, and only where those that can't be seen are too few for a
// quorum or each is named (S2).
func TestElsewhere(t *testing.T) {
	recovered := 0
	for n := 1; n <= 5; n++ {
		for code := range pow(5, n) {
			var ks []kind
			var answers, silence []string
			c := &spec.Cluster{Name: "demo"}
			all := members(n)
			for i, x := 0, code; i < n; i, x = i+1, x/5 {
				k := []kind{down, missing, fenced, "silent", "answers"}[x%5]
				switch k {
				case "silent":
					silence = append(silence, all.Members[i].Name)
				case "answers":
					answers = append(answers, all.Members[i].Name)
				default:
					c.Members = append(c.Members, all.Members[i])
				}
				ks = append(ks, k)
			}
			if len(c.Members) == 0 {
				continue
			}
			in := input(all, ks...)
			in.Cluster = c
			for i, k := range ks {
				m := all.Members[i]
				if k != "silent" && k != "answers" {
					continue
				}
				delete(in.Observation.Members, m.Name)
				o := OtherMember{ListedMember: ListedMember{ID: MemberID(m.PeerURLs, oldToken), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs}, Client: Endpoint{Reach: ReachTimeout}, Peer: PeerEndpoint{Reach: ReachTimeout}}
				if k == "answers" {
					o.Peer.Reach = ReachServing
				}
				in.Observation.Others = append(in.Observation.Others, o)
			}
			p := New(in)
			if p.Refusal != nil || p.Route == RouteStart {
				continue
			}
			if p.Route != RouteRecover {
				if slices.ContainsFunc(ks, func(k kind) bool { return k.is(down, fenced) }) {
					t.Errorf("%v: %s", ks, p.Route)
				}
				continue
			}
			recovered++
			if len(answers) > 0 {
				t.Errorf("%v: a new identity beside %v, which answer", ks, answers)
			}
			for _, name := range silence {
				if named := needs(p, Consent("host-destroyed:"+name)); len(silence) >= n/2+1 && !named {
					t.Errorf("%v: %s may be part of a quorum, and is not named: %v", ks, name, p.Needs)
				}
			}
			if p.Loss.Kind != LossNone && !needs(p, ConsentDataLoss) {
				t.Errorf("%v: a loss without consent", ks)
			}
		}
	}
	t.Logf("%d recoveries", recovered)
}

// A place is empty and its member's address is not: whoever lives there is not lost,
// and no consent to a lost directory stands in for that (S2).
func TestAnEmptyPlaceWhoseAddressIsNotSilentlyDead(t *testing.T) {
	for name, f := range map[string]func(*MemberObservation){
		"its peer port answers": func(o *MemberObservation) {
			o.Peer.Reach, o.Peer.ClusterID, o.Client.Reach = ReachServing, ClusterID(threeMembers().Members, oldToken), ReachHangs
		},
		"nothing comes back from it": func(o *MemberObservation) { o.Peer.Reach, o.Client.Reach = ReachTimeout, ReachTimeout },
	} {
		t.Run(name, func(t *testing.T) {
			in := input(threeMembers(), serving, serving, missing)
			edit(&in, "m3", f)
			if p := New(in); p.Refusal == nil && !needs(p, "host-destroyed:m3") {
				t.Errorf("m3 may live elsewhere, and it is %s (needs %v)", stepKinds(p), p.Needs)
			}
		})
	}
}

// Whoever answers elsewhere counts for a start only as the member that is listed, of
// this cluster, with this list: anything else is another cluster.
func TestOthersThatAnswerAsSomebodyElse(t *testing.T) {
	for name, f := range map[string]func(*OtherMember){
		"another cluster's ID": func(o *OtherMember) { o.Client.ClusterID, o.Peer.ClusterID = "abc", "abc" },
		"a cluster of its own, by force": func(o *OtherMember) {
			o.Client.LeaderID, o.Client.Linearizable = o.ID, Known(true)
			o.Client.Members = Known([]ListedMember{o.ListedMember})
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(threeMembers(), down, down, missing)
			elsewhere(&in, 1, func(o *OtherMember) {
				if o.Name == "m2" {
					o.Client = Endpoint{URL: o.ClientURLs[0], Reach: ReachServing, MemberID: o.ID, ClusterID: in.Observation.Members["m1"].Data.Value.ClusterID}
					o.Peer.Reach = ReachServing
					f(o)
				}
			})
			if p := New(in); p.Refusal == nil {
				t.Errorf("%s: %s: %s", p.Headline, stepKinds(p), p.Loss.Text)
			}
		})
	}
}

// What a later plan will need, this one does not: starting a member beside another
// whose disk is gone gives nothing up.
func TestStartNeedsNoConsentOfTheNextPlan(t *testing.T) {
	c := threeMembers()
	for _, n := range []string{"4", "5"} {
		c.Members = append(c.Members, spec.Member{
			Name: "m" + n, DataDir: "/data/m" + n, Pos: c.Pos,
			PeerURLs: []string{"http://127.0.0.1:238" + n}, ListenPeerURLs: []string{"http://127.0.0.1:238" + n},
			ClientURLs: []string{"http://127.0.0.1:237" + n}, ListenClientURLs: []string{"http://127.0.0.1:237" + n},
		})
	}
	p := New(input(c, serving, serving, serving, down, missing))
	if routeIs(t, p, RouteStart); len(p.Needs) > 0 {
		t.Errorf("%s: needs %v", p.Headline, p.Needs)
	}
	p = New(input(c, serving, serving, serving, serving, missing))
	if routeIs(t, p, RouteReconfigure); !needs(p, ConsentDataLoss) {
		t.Errorf("%s: needs %v", p.Headline, p.Needs)
	}
}
