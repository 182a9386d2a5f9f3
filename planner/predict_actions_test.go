package planner

import (
	"strings"
	"testing"
)

// actionIn is the first action of its type in the plan of the input.
func actionIn[A Action](t *testing.T, in Input) A {
	t.Helper()
	return firstOf[A](t, in).(A)
}

func edited[A any](a A, change func(*A)) A {
	change(&a)
	return a
}

// TestPredictRefuses: what could not be carried out is an error that says why.
func TestPredictRefuses(t *testing.T) {
	three := func(ks ...kind) Input { return input(threeMembers(), ks...) }
	snap := func(ks ...kind) Input { return input(withSnapshot(threeMembers()), ks...) }
	with := func(in Input, name string, f func(*MemberObservation)) Input { edit(&in, name, f); return in }
	grown := func() Input { return input(members(4), serving, serving, serving, newcomer) }
	restoring, recovering := snap(fresh, fresh, fresh), three(down, missing, missing)
	for _, tc := range []struct {
		name string
		in   Input
		a    Action
		want string
	}{
		{"claim over data", three(serving, serving, down), Claim{Members: []ClaimMember{{Place: Place{Name: "m3"}, Provenance: Provenance{Token: "x", ClusterID: "c", MemberID: "d"}}}}, "data lies there"},
		{"claim under a process", three(fresh, fresh, hollow), Claim{Members: []ClaimMember{{Place: Place{Name: "m3"}, Provenance: Provenance{Token: "x"}}}}, "a process is at work"},
		{"claim what was not read", three(fresh, fresh, unread), Claim{Members: []ClaimMember{{Place: Place{Name: "m3"}}}}, "is not known"},
		{"restore another snapshot", edited(restoring, func(in *Input) { in.Observation.Snapshot = &SnapshotObservation{SHA256: "other"} }), actionIn[Restore](t, restoring), "another one by now"},
		{"restore a snapshot with a problem", edited(restoring, func(in *Input) {
			in.Observation.Snapshot = &SnapshotObservation{Problem: CodeSnapshotDamaged, Detail: "torn"}
		}), actionIn[Restore](t, restoring), "can't be used: torn"},
		{"restore nothing", three(fresh, fresh, fresh), actionIn[Restore](t, restoring), "was not looked at"},
		{"trial of nothing", recovering, actionIn[Trial](t, recovering), "nothing is staged"},
		{"install nothing", snap(claimed, claimed, claimed), Install{Token: oldToken, Members: []InstallMember{{Place: Place{Name: "m1"}}}}, "nothing is staged"},
		{"install under another token", snap(staged, staged, staged), Install{Token: "other", Members: []InstallMember{{Place: Place{Name: "m1"}}}}, "not of token other"},
		{"start what runs", three(serving, serving, serving), actionIn[Start](t, three(serving, serving, down)), "it runs"},
		{"start what is fenced", three(serving, serving, fenced), actionIn[Start](t, three(serving, serving, down)), "it is fenced"},
		{"start without data", three(serving, serving, missing), actionIn[Start](t, three(serving, serving, down)), "no data directory"},
		{"start on damaged data", three(serving, serving, damaged), actionIn[Start](t, three(serving, serving, down)), "crc mismatch"},
		{"start on another's data", three(serving, serving, removed), actionIn[Start](t, three(serving, serving, down)), "holds member"},
		{"start where somebody listens", with(three(serving, serving, down), "m3", func(o *MemberObservation) { o.PortsTaken = []string{"http://127.0.0.1:2373"} }), actionIn[Start](t, three(serving, serving, down)), "in use"},
		{"start a first time, unrecorded", three(fresh, fresh, fresh), actionIn[Start](t, three(fresh, fresh, fresh)), "not recorded"},
		{"start without an etcd", with(three(serving, serving, down), "m3", func(o *MemberObservation) { o.Binary = Unknown[Binary]("no such file") }), actionIn[Start](t, three(serving, serving, down)), "no such file"},
		{"start with an etcd that is too old", with(three(serving, serving, down), "m3", func(o *MemberObservation) { o.Binary = Known(Binary{Version: "3.5.17"}) }), actionIn[Start](t, three(serving, serving, down)), "older etcd"},
		{"start another cluster's service", with(three(serving, serving, down), "m3", func(o *MemberObservation) { o.Service.Value.Cluster = "other" }), actionIn[Start](t, three(serving, serving, down)), "installed for cluster other"},
		{"adopt what is kept", three(serving, kept, serving), actionIn[Adopt](t, three(serving, byHand, serving)), "kept by"},
		{"adopt what has ended", three(serving, down, serving), actionIn[Adopt](t, three(serving, byHand, serving)), "has ended"},
		{"adopt with force-new-cluster", three(serving, forced, serving), actionIn[Adopt](t, three(serving, byHand, serving)), "--force-new-cluster"},
		{"stop another process", with(three(serving, byHand, serving), "m2", func(o *MemberObservation) { f := *o.Service.Value.Foreign; f.PID = 7; o.Service.Value.Foreign = &f }), Stop{Members: []StopMember{{Place: Place{Name: "m2"}, PID: 4711, Start: 99}}}, "process 7 runs there"},
		{"verify without a leader", three(serving, missing, missing), Verify{Members: []string{"m1"}}, "no leader"},
		{"verify unequal data", edited(three(serving, serving, serving), unequal), Verify{Members: []string{"m1", "m2", "m3"}}, "different data"},
		{"update without a quorum", three(serving, missing, missing), Update{Name: "m2"}, "no quorum"},
		{"update one that is not listed", three(serving, serving, serving), Update{Name: "m2", MemberID: "beef", Endpoints: []string{"http://127.0.0.1:2371"}}, "member not found"},
		{"update to another's URL", three(serving, serving, serving), Update{Name: "m2", MemberID: MemberID([]string{"http://127.0.0.1:2382"}, oldToken), PeerURLs: []string{"http://127.0.0.1:2381"}, Endpoints: []string{"http://127.0.0.1:2371"}}, "already exists"},
		{"update a learner", three(serving, serving, learner), Update{Name: "m3", MemberID: MemberID([]string{"http://127.0.0.1:2383"}, oldToken), Endpoints: []string{"http://127.0.0.1:2371"}}, "is a learner"},
		{"ask nobody who serves", grown(), edited(actionIn[Add](t, grown()), func(a *Add) { a.Endpoints = []string{"http://127.0.0.1:1"} }), "nobody serves"},
		{"a second learner", input(members(4), serving, serving, learner, newcomer), actionIn[Add](t, grown()), "too many learner"},
		{"add beside one that is down", input(members(3), serving, down, newcomer), Add{Name: "m3", PeerURLs: []string{"http://127.0.0.1:2383"}, Endpoints: []string{"http://127.0.0.1:2371"}}, "no quorum"},
		{"add to an unhealthy cluster", input(members(4), serving, serving, missing, newcomer), edited(actionIn[Add](t, grown()), func(a *Add) { a.Name = "m4" }), "unhealthy cluster"},
		{"add again what runs", three(serving, serving, serving), Add{Name: "m3", PeerURLs: []string{"http://127.0.0.1:2383"}, Endpoints: []string{"http://127.0.0.1:2371"}}, "is there already"},
		{"join without being listed", grown(), actionIn[Join](t, grown()), "not in the member list"},
		{"promote what does not run", three(serving, serving, unstarted), Promote{Name: "m3", PeerURLs: []string{"http://127.0.0.1:2389"}, Endpoints: []string{"http://127.0.0.1:2371"}}, "member not found"},
		{"lead by a learner", three(serving, serving, learner), MoveLeader{From: "m1", FromID: MemberID([]string{"http://127.0.0.1:2381"}, oldToken), To: "m3", ToURL: "http://127.0.0.1:2373", Endpoints: []string{"http://127.0.0.1:2371"}}, "no voter"},
		{"remove the last voter", input(members(1), serving), Remove{Name: "m1", MemberID: MemberID([]string{"http://127.0.0.1:2381"}, oldToken), Endpoints: []string{"http://127.0.0.1:2371"}}, "the only voter"},
		{"remove a living one beside a dead one", three(serving, serving, missing), Remove{Name: "m2", MemberID: MemberID([]string{"http://127.0.0.1:2382"}, oldToken), Endpoints: []string{"http://127.0.0.1:2371"}}, "unhealthy cluster"},
		{"remove so that too few have started", input(members(4), serving, serving, unstarted, serving), Remove{}, "nobody serves"},
		{"set aside a listed member's data", three(serving, serving, down), SetAside{Place: Place{Name: "m3"}, Over: Identity{ClusterID(threeMembers().Members, oldToken), MemberID([]string{"http://127.0.0.1:2383"}, oldToken)}}, "still listed"},
		{"set aside what was not seen", three(serving, serving, damaged), SetAside{Place: Place{Name: "m3"}, Over: Identity{"a", "b"}, Problem: "torn"}, "did not see"},
		{"fence another's data", three(down, missing, missing), edited(actionIn[Fence](t, recovering), func(a *Fence) { a.Members = []FenceMember{{Place: Place{Name: "m1"}, Over: Identity{"a", "b"}}} }), "did not see"},
		{"fence what is kept", three(kept, missing, missing), actionIn[Fence](t, recovering), "would start it again"},
		{"unfence nothing", three(down, down, missing), Unfence{Members: []FenceMember{{Place: Place{Name: "m3"}, Over: Identity{"a", "b"}}}}, "other data"},
		{"recover what is not fenced", recovering, actionIn[Recover](t, recovering), "not fenced"},
		{"save from another", three(serving, serving, serving), Save{Name: "m1", ClientURL: "http://127.0.0.1:2371", ClusterID: "a", MemberID: "b"}, "answers at"},
		{"save from nobody", three(down, down, down), Save{Name: "m1", ClientURL: "http://127.0.0.1:2371"}, "does not serve"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Predict(tc.in.Observation, tc.a)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestPredictEffects: what each action leaves, and that Holds knows it.
func TestPredictEffects(t *testing.T) {
	is := func(t *testing.T, obs Observation, name, want string) {
		t.Helper()
		o := obs.Members[name]
		d := o.Data.Value
		got := []string{string(o.Client.Reach), string(o.Service.Value.State), string(d.State)}
		if o.Client.LeaderID != "" {
			got = append(got, "led")
		}
		if have := strings.Join(got, " "); have != want {
			t.Errorf("%s: %s, want %s", name, have, want)
		}
	}
	m := func(i string) string { return MemberID([]string{"http://127.0.0.1:238" + i}, oldToken) }
	at := []string{"http://127.0.0.1:2371"}
	stop := func(names ...string) Stop {
		a := Stop{Cluster: "demo"}
		for _, n := range names {
			a.Members = append(a.Members, StopMember{Place: Place{Name: n, DataDir: "/data/" + n}})
		}
		return a
	}
	for _, tc := range []struct {
		name  string
		in    Input
		as    []Action
		wants map[string]string
	}{
		{"claim leaves the place as it is", input(threeMembers(), fresh, fresh, fresh), []Action{actionIn[Claim](t, input(threeMembers(), fresh, fresh, fresh))}, map[string]string{"m1": "refused none absent"}},
		{"a follower stops", input(threeMembers(), serving, serving, serving), []Action{stop("m3")}, map[string]string{"m1": "serving running present led", "m3": "refused stopped present"}},
		{"the leader stops", input(threeMembers(), serving, serving, serving), []Action{stop("m1")}, map[string]string{"m1": "refused stopped present", "m2": "serving running present led"}},
		{"too many stop", input(threeMembers(), serving, serving, serving), []Action{stop("m1", "m3")}, map[string]string{"m2": "serving running present"}},
		{"one alone starts", input(threeMembers(), down, down, down), []Action{Start{Members: actionIn[Start](t, input(threeMembers(), down, down, down)).Members[:1]}}, map[string]string{"m1": "hangs running present", "m2": "refused none present"}},
		{"a second starts beside a mute one", input(threeMembers(), down, down, down), []Action{
			Start{Members: actionIn[Start](t, input(threeMembers(), down, down, down)).Members[:1]},
			Start{Members: actionIn[Start](t, input(threeMembers(), down, down, down)).Members[1:2]},
		}, map[string]string{"m1": "serving running present led", "m2": "serving running present led"}},
		{"a member that runs is removed", input(threeMembers(), serving, serving, serving), []Action{Remove{Name: "m3", MemberID: m("3"), Endpoints: at}}, map[string]string{"m1": "serving running present led", "m3": "refused failed present"}},
		{"the leader is removed", input(threeMembers(), serving, serving, serving), []Action{Remove{Name: "m1", MemberID: m("1"), Endpoints: []string{"http://127.0.0.1:2372"}}}, map[string]string{"m1": "refused failed present", "m2": "serving running present led"}},
		{"a removed member's data goes behind a fence", input(threeMembers(), serving, serving, removed), []Action{actionIn[SetAside](t, input(threeMembers(), serving, serving, removed))}, map[string]string{"m3": "refused none fenced"}},
		{"the lead moves", input(threeMembers(), serving, serving, serving), []Action{MoveLeader{From: "m1", FromID: m("1"), To: "m2", ToURL: "http://127.0.0.1:2372", Endpoints: at}}, map[string]string{"m1": "serving running present led", "m2": "serving running present led"}},
		{"fenced while it runs", input(threeMembers(), serving, missing, missing), []Action{actionIn[Fence](t, input(threeMembers(), serving, missing, missing))}, map[string]string{"m1": "refused stopped fenced", "m2": "refused none absent"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			obs := tc.in.Observation
			for _, a := range tc.as {
				if ok, _ := Holds(a, obs); ok {
					t.Errorf("%s holds before it", a.Kind())
				}
				next, err := Predict(obs, a)
				if err != nil {
					t.Fatal(err)
				}
				obs = next
			}
			for name, want := range tc.wants {
				is(t, obs, name, want)
			}
		})
	}
}
