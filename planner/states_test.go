package planner

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// state is one of the states that a cluster can be in, by the number that
// docs/states.md has for it: what is seen of it, and what the plan has to be.
type state struct {
	number  int
	name    string
	in      func() Input
	route   Route
	steps   string
	refused Code
}

func lastWords(words string) func(*MemberObservation) {
	return func(o *MemberObservation) {
		o.Service = Known(Service{State: ServiceFailed, LastError: words, Log: "/data/m3.requorum/log"})
	}
}

func problem(words string) func(*Input) {
	return func(in *Input) { data(in, "m3", func(d *DataDir) { d.Problem = words }) }
}

func seen(n int, ks []kind, change func(*Input)) func() Input {
	return func() Input {
		in := input(members(n), ks...)
		if change != nil {
			change(&in)
		}
		return in
	}
}

// relist changes the cluster's own list as those who serve, and all disks, have it.
func relist(in *Input, change func([]ListedMember) []ListedMember) {
	for _, m := range in.Cluster.Members {
		edit(in, m.Name, func(o *MemberObservation) {
			if o.Client.Members.Known() {
				o.Client.Members = Known(change(slices.Clone(o.Client.Members.Value)))
			}
			if len(o.Data.Value.Members) > 0 {
				o.Data.Value.Members = change(slices.Clone(o.Data.Value.Members))
			}
		})
	}
}

const replaceSteps = "remove-member add-learner join promote verify"
const replaceDamaged = "remove-member set-aside add-learner join promote verify"

func states() []state {
	all := []kind{serving, serving, serving}
	withM3 := func(k kind) []kind { return []kind{serving, serving, k} }
	return []state{
		{1, "minority down", seen(3, withM3(down), nil), RouteStart, "start", ""},
		{2, "minority lost", seen(3, withM3(missing), nil), RouteReconfigure, replaceSteps, ""},
		{3, "survivor runs", seen(3, []kind{serving, missing, missing}, nil), RouteRecover, "save-snapshot " + recoverSteps, ""},
		{4, "survivor restarted", seen(3, []kind{stuck, missing, missing}, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) { o.Peer.Reach, o.Peer.Members = ReachServing, Known(o.Data.Value.Members) })
		}), RouteRecover, recoverSteps, ""},
		{5, "lost for good", seen(3, []kind{down, missing, missing}, nil), RouteRecover, recoverSteps, ""},
		{5, "in place", seen(3, []kind{down, missing, missing}, func(in *Input) { in.Cluster.Recover = inPlaceFrom("m1") }), RouteRecover, "fence recover trial install start add-learner join promote add-learner join promote verify", ""},
		{6, "a snapshot alone", func() Input { return input(withSnapshot(members(3)), missing, missing, missing) }, RouteRestore, "restore trial install start verify", ""},
		{6, "not even that", seen(3, []kind{missing, missing, missing}, nil), "", "", CodeDataMissing},
		{7, "stopped", seen(2, []kind{down, unstarted}, nil), RouteStart, "claim start verify", ""},
		{7, "running", seen(2, []kind{serving, unstarted}, nil), RouteStart, "claim start verify", ""},
		{7, "the second is at no address of the file", seen(2, []kind{down, unstarted}, func(in *Input) {
			elsewhere(in, 1, silent)
			in.Observation.Others[0].Name, in.Observation.Others[0].ClientURLs = "", nil
		}), RouteRecover, recoverSteps, ""},
		{8, "several unstarted", seen(5, []kind{serving, serving, serving, unstarted, unstarted}, nil), RouteReconfigure, "join join verify", ""},
		{9, "one of two lost", seen(2, []kind{serving, missing}, nil), RouteRecover, "save-snapshot " + recoverSteps, ""},
		{9, "one of two down", seen(2, []kind{serving, down}, nil), RouteStart, "start verify", ""},
		{10, "running", seen(3, all, func(in *Input) {
			for i := range in.Cluster.Members {
				m := &in.Cluster.Members[i]
				m.PeerURLs = []string{"http://127.0.0.1:248" + m.Name[1:]}
				m.ListenPeerURLs = m.PeerURLs
				edit(in, m.Name, func(o *MemberObservation) { o.Peer = PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused} })
			}
		}), RouteReconfigure, "update-member stop start update-member stop start update-member move-leader stop start verify", ""},
		{10, "stopped", movedWhileStopped, RouteRecover, recoverSteps, ""},
		{11, "a stale URL", seen(3, all, func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember {
				l[1].PeerURLs = []string{"http://127.0.0.1:2999"}
				return l
			})
		}), RouteReconfigure, "update-member verify", ""},
		{12, "isolated", seen(3, all, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
		}), "", "", CodeNoLeader},
		{13, "split brain, both serve", seen(3, all, func(in *Input) {
			edit(in, "m1", func(o *MemberObservation) {
				o.Client.Members = Known(o.Client.Members.Value[:1])
				o.Data.Value.Members = o.Data.Value.Members[:1]
			})
			for _, n := range []string{"m2", "m3"} {
				edit(in, n, func(o *MemberObservation) { o.Client.LeaderID = in.Observation.Members["m2"].Client.MemberID })
			}
		}), "", "", CodeSplitCluster},
		{13, "split brain, stopped", seen(3, []kind{down, down, down}, func(in *Input) {
			data(in, "m1", func(d *DataDir) { d.Members = d.Members[:1] })
		}), "", "", CodeSplitCluster},
		{18, "cluster ID mismatch", seen(3, all, func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) {
				o.Client.ClusterID, o.Peer.ClusterID, o.Data.Value.ClusterID = "abc", "abc", "abc"
			})
		}), "", "", CodeSplitCluster},
		{19, "old member, same IDs", seen(3, all, unequal), "", "", CodeDiverged},
		{20, "partly restored", seen(3, all, unequal), "", "", CodeDiverged},
		{21, "removed, exits", seen(3, withM3(removed), func(in *Input) {
			edit(in, "m3", lastWords("the member has been permanently removed from the cluster"))
		}), RouteReconfigure, "set-aside add-learner join promote verify", ""},
		{22, "removed, alone", seen(3, all, func(in *Input) {
			for _, n := range []string{"m1", "m2"} {
				edit(in, n, func(o *MemberObservation) {
					o.Client.Members = Known(o.Client.Members.Value[:2])
					o.Data.Value.Members = o.Data.Value.Members[:2]
				})
			}
			edit(in, "m3", func(o *MemberObservation) { o.Client.LeaderID, o.Client.Linearizable = "", Known(false) })
		}), RouteReconfigure, "stop set-aside add-learner join promote verify", ""},
		{23, "empty, new", seen(3, withM3(missing), func(in *Input) {
			edit(in, "m3", lastWords("member a3 has already been bootstrapped"))
		}), RouteReconfigure, replaceSteps, ""},
		{24, "empty, existing", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("tocommit(48) is out of range [lastIndex(0)]"))
		}), RouteReconfigure, replaceDamaged, ""},
		{25, "rolled back", seen(3, withM3(down), func(in *Input) {
			edit(in, "m3", lastWords("tocommit(49) is out of range [lastIndex(48)]"))
		}), RouteReconfigure, replaceDamaged, ""},
		{28, "force-new left on", seen(3, withM3(forced), nil), RouteReconfigure, "stop start verify", ""},
		{28, "it expelled the others", seen(3, []kind{forced, removed, removed}, nil), RouteReconfigure, "stop start set-aside add-learner join promote set-aside add-learner join promote verify", ""},
		{29, "removed all voters", seen(3, []kind{missing, missing, down}, func(in *Input) {
			edit(in, "m3", lastWords("removed all voters"))
		}), RouteRecover, recoverSteps, ""},
		{30, "learner never started", seen(3, withM3(unstarted), func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember { l[2].Learner = true; return l })
		}), RouteReconfigure, "join promote verify", ""},
		{30, "and not in the file", seen(3, withM3(unstarted), func(in *Input) {
			relist(in, func(l []ListedMember) []ListedMember { l[2].Learner = true; return l })
			elsewhere(in, 2, silent)
			in.Observation.Others[0].Name, in.Observation.Others[0].ClientURLs, in.Observation.Others[0].Learner = "", nil, true
		}), RouteReconfigure, "remove-member verify", ""},
		{31, "learner behind", seen(3, withM3(learner), nil), RouteReconfigure, "promote verify", ""},
		{32, "slot taken", seen(4, []kind{serving, serving, learner, newcomer}, func(in *Input) { in.Cluster.Members[2].Learner = true }), "", "", CodeLearnerSlot},
		{32, "by a learner that is to vote", seen(4, []kind{serving, serving, learner, newcomer}, nil), RouteReconfigure, "promote add-learner join promote verify", ""},
		{36, "WAL lost", seen(3, withM3(damaged), problem("the log ends before the database does")), RouteReconfigure, replaceDamaged, ""},
		{36, "unreadable", seen(3, withM3(unread2), nil), RouteReconfigure, replaceDamaged, ""},
		{37, "db missing", seen(3, withM3(damaged), problem("failed to find database snapshot file")), RouteReconfigure, replaceDamaged, ""},
		{38, "snap gone", seen(3, withM3(damaged), problem("failed to find database snapshot file")), RouteReconfigure, replaceDamaged, ""},
		{39, "snap files missing", seen(3, withM3(down), nil), RouteStart, "start", ""},
		{40, "pages", seen(3, withM3(damaged), problem("invalid database")), RouteReconfigure, replaceDamaged, ""},
		{41, "crc", seen(3, withM3(damaged), problem("walpb: crc mismatch")), RouteReconfigure, replaceDamaged, ""},
		{42, "torn", seen(3, withM3(damaged), problem("wal: unexpected EOF")), RouteReconfigure, replaceDamaged, ""},
		{43, "old db", seen(3, withM3(damaged), problem("the database is older than the log's snapshot")), RouteReconfigure, replaceDamaged, ""},
		{43, "nothing else is left", seen(3, []kind{damaged, missing, missing}, nil), "", "", CodeDataDamaged},
		{44, "newer than the binary", seen(3, []kind{down, down, down}, func(in *Input) {
			for _, m := range in.Cluster.Members {
				edit(in, m.Name, func(o *MemberObservation) { o.Binary = Known(Binary{Version: "3.6.16"}) })
			}
		}), "", "", CodeBinaryVersion},
		{45, "3.5 on 3.7", seen(3, []kind{down, down, down}, func(in *Input) {
			for _, m := range in.Cluster.Members {
				data(in, m.Name, func(d *DataDir) { d.StorageVersion, d.ClusterVersion = "", "3.5.0" })
			}
		}), "", "", CodeBinaryVersion},
		{46, "held by another", seen(3, withM3(down), func(in *Input) { data(in, "m3", func(d *DataDir) { d.HeldBy = 99 }) }), "", "", CodeDeadWithAlive},
		{46, "behind one that serves", seen(3, all, nil), RouteInSync, "", ""},
	}
}

func unequal(in *Input) {
	in.Observation.KV = Known(KVComparison{Revision: 7, Hashes: map[string]uint32{"m1": 1, "m2": 1, "m3": 2}})
}

func TestStates(t *testing.T) {
	for _, s := range states() {
		t.Run(fmt.Sprintf("%d %s", s.number, s.name), func(t *testing.T) {
			p := New(s.in())
			code := Code("")
			if p.Refusal != nil {
				code = p.Refusal.Code
			}
			if code != s.refused || code == "" && (p.Route != s.route || stepKinds(p) != s.steps) {
				t.Errorf("got %q %q %q, want %q %q %q\n%s", p.Route, stepKinds(p), code, s.route, s.steps, s.refused, p.Headline)
			}
		})
	}
}

// TestStatesAreDocumented: docs/states.md has one row for each number, with the
// routes and codes that the cases above prove, and numbers without a case say why.
func TestStatesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			rows[strings.TrimSpace(cells[1])] = line
		}
	}
	cases := map[int]bool{}
	for _, s := range states() {
		cases[s.number] = true
		row, word := rows[fmt.Sprint(s.number)], "`"+string(s.refused)+"`"
		if s.refused == "" {
			word = "**" + string(s.route) + "**"
		}
		if !strings.Contains(row, word) {
			t.Errorf("%d %s: the row does not say %s: %s", s.number, s.name, word, row)
		}
	}
	for n := range 47 {
		told := n >= 1 && n <= 13 || n >= 18 && n <= 32 || n >= 36
		if told && !cases[n] && !strings.Contains(rows[fmt.Sprint(n)], "not seen") {
			t.Errorf("%d has neither a case here nor a row that says that it is not seen", n)
		}
	}
}
