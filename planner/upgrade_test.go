package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// ways of a cluster of three, m1 leading, by what runs, what the file wants and what lies on
// the hosts where that is not the last patch of each minor.
var ways = []struct {
	name, want string
	runs       []string
	edit       func(*Input)
	hops       string // each restart's version, in order, with the verified minors between
	refused    Code
	says       string
}{
	{name: "as the file says", want: "3.6", runs: all3("3.6.11"), hops: ""},
	{name: "one minor", want: "3.6", runs: all3("3.5.35"), hops: "m2 3.6.16, m3 3.6.16, m1 3.6.16, at 3.6"},
	{name: "over all minors", want: "3.7", runs: all3("3.4.45"),
		hops: "m2 3.5.35, m3 3.5.35, m1 3.5.35, at 3.5, m1 3.6.16, m3 3.6.16, m2 3.6.16, at 3.6, trim, m2 3.7.3, m3 3.7.3, m1 3.7.3, at 3.7"},
	{name: "a patch that is too old goes first", want: "3.6", runs: []string{"3.5.31", "3.5.32", "3.5.20"},
		hops: "m3 3.5.35, m1 3.5.35, at 3.5, m1 3.6.16, m3 3.6.16, m2 3.6.16, at 3.6"},
	{name: "and of 3.6", want: "3.7", runs: all3("3.6.10"), hops: "m2 3.6.16, m3 3.6.16, m1 3.6.16, at 3.6, m1 3.7.3, m3 3.7.3, m2 3.7.3, at 3.7"},
	{name: "3.4 has none that is too old", want: "3.5", runs: all3("3.4.0"), hops: "m2 3.5.35, m3 3.5.35, m1 3.5.35, at 3.5"},
	{name: "the later patch is not there", want: "3.6", runs: all3("3.5.31"), edit: has("3.5", "3.5.31"), refused: CodeUpgradePath, says: "3.5.32"},
	{name: "nor any of that minor", want: "3.6", runs: all3("3.5.31"), edit: hasNot("3.5"), refused: CodeUpgradePath, says: "3.5.32"},
	{name: "a stop on the way is too old", want: "3.7", runs: all3("3.5.35"), edit: has("3.6", "3.6.10"), refused: CodeUpgradePath, says: "3.6.11"},
	{name: "that stop as the end will do", want: "3.6", runs: all3("3.5.35"), edit: has("3.6", "3.6.10"), hops: "m2 3.6.10, m3 3.6.10, m1 3.6.10, at 3.6"},
	{name: "a version that is none to go to", want: "3.5", runs: all3("3.4.45"), edit: has("3.5", "3.5.2"), refused: CodeUpgradePath, says: "etcd-13908"},
	{name: "the one after it", want: "3.5", runs: all3("3.4.45"), edit: has("3.5", "3.5.3"), hops: "m2 3.5.3, m3 3.5.3, m1 3.5.3, at 3.5"},
	{name: "another that is none", want: "3.6", runs: all3("3.5.35"), edit: has("3.6", "3.6.3"), refused: CodeUpgradePath, says: "etcd-20387"},
	{name: "and the one after that", want: "3.6", runs: all3("3.5.35"), edit: has("3.6", "3.6.4"), hops: "m2 3.6.4, m3 3.6.4, m1 3.6.4, at 3.6"},
	{name: "one on the way is missing", want: "3.7", runs: all3("3.4.45"), edit: hasNot("3.6"), refused: CodeBinaryMissing, says: "/opt/etcd/3.6/etcd: exec format error"},
	{name: "one is of another version", want: "3.7", runs: all3("3.5.35"), edit: has("3.6", "3.5.35"), refused: CodeBinaryVersion, says: "/opt/etcd/3.6/etcd is etcd 3.5.35"},
	{name: "the last is not the file's patch", want: "3.7.2", runs: all3("3.6.16"), refused: CodeBinaryVersion, says: "3.7.2"},
	{name: "another patch", want: "3.6.16", runs: []string{"3.6.11", "3.6.16", "3.6.11"}, hops: "m3 3.6.16, m1 3.6.16, at 3.6"},
	{name: "an older patch", want: "3.6.16", runs: all3("3.6.20"), hops: "m2 3.6.16, m3 3.6.16, m1 3.6.16, at 3.6"},
	{name: "stopped half-way", want: "3.7", runs: []string{"3.6.16", "3.6.16", "3.5.35"},
		hops: "m3 3.6.16, at 3.6, trim, m3 3.7.3, m2 3.7.3, m1 3.7.3, at 3.7"},
	{name: "half-way from a patch that is too old", want: "3.6", runs: []string{"3.6.16", "3.5.20", "3.5.35"},
		hops: "m2 3.5.35, m2 3.6.16, m3 3.6.16, at 3.6"},
	{name: "the leader is left", want: "3.6", runs: []string{"3.5.35", "3.6.16", "3.6.16"}, hops: "m1 3.6.16, at 3.6"},
	{name: "too far apart", want: "3.7", runs: []string{"3.7.3", "3.5.35", "3.5.35"}, refused: CodeMixedMinors, says: "m1 3.7.3"},
	{name: "not known", want: "3.7", runs: []string{"3.6.16", "", "3.6.16"}, refused: CodeUpgradePath, says: "m2"},
	{name: "the cluster has not come along yet", want: "3.7", runs: all3("3.6.16"), edit: func(in *Input) { cluster(in, "3.5.0") },
		hops: "at 3.6, m2 3.7.3, m3 3.7.3, m1 3.7.3, at 3.7"},
	{name: "nor is it told", want: "3.7", runs: all3("3.6.16"), edit: func(in *Input) { cluster(in, "") }, hops: "at 3.6, m2 3.7.3, m3 3.7.3, m1 3.7.3, at 3.7"},

	{name: "3.5 has been in the log", want: "3.7", runs: all3("3.6.16"), edit: func(in *Input) {
		edit(in, "m3", func(o *MemberObservation) { o.Data.Value.OldEntry = 12 })
	}, hops: "trim, m2 3.7.3, m3 3.7.3, m1 3.7.3, at 3.7"},

	{name: "back", want: "3.6", runs: all3("3.7.3"), hops: "back to 3.6, m2 3.6.16, m3 3.6.16, m1 3.6.16, at 3.6"},
	{name: "back from 3.6", want: "3.5", runs: all3("3.6.16"), hops: "back to 3.5, m2 3.5.35, m3 3.5.35, m1 3.5.35, at 3.5"},
	{name: "back from 3.5", want: "3.4", runs: all3("3.5.35"), refused: CodeDowngradePath, says: "only from 3.6 on"},
	{name: "back by two", want: "3.5", runs: all3("3.7.3"), refused: CodeDowngradePath, says: "one minor at a time"},
	{name: "back, half-way", want: "3.6", runs: []string{"3.7.3", "3.6.16", "3.7.3"}, edit: func(in *Input) { told(in, "3.6.0") },
		hops: "back to 3.6, m3 3.6.16, m1 3.6.16, at 3.6"},
	{name: "nobody was told", want: "3.6", runs: []string{"3.7.3", "3.6.16", "3.7.3"}, refused: CodeDowngradePath, says: "not told to go back"},
	{name: "called off", want: "3.7", runs: all3("3.7.3"), edit: func(in *Input) { told(in, "3.6.0") }, hops: "not back, at 3.7"},
	{name: "called off half-way", want: "3.7", runs: []string{"3.7.3", "3.6.16", "3.7.3"}, edit: func(in *Input) { told(in, "3.6.0") },
		hops: "not back, m2 3.7.3, at 3.7"},

	{name: "a setting that the end has", want: "3.7", runs: all3("3.5.35"), edit: config("max-learners", "2"),
		hops: "m2 3.6.16, m3 3.6.16, m1 3.6.16, at 3.6, trim, m1 3.7.3, m3 3.7.3, m2 3.7.3, at 3.7"},
	{name: "a setting that the end has no more", want: "3.7", runs: all3("3.6.16"), edit: config("experimental-corrupt-check-time", "5m"),
		refused: CodeSettingGone, says: "called corrupt-check-time by then"},
	{name: "one that goes on the way", want: "3.6", runs: all3("3.4.45"), edit: config("enable-v2", "true"), refused: CodeSettingGone, says: "enable-v2"},
	{name: "one that came along", want: "3.7", runs: all3("3.6.16"), edit: carries("--experimental-initial-corrupt-check=true"), refused: CodeSettingGone, says: "experimental-initial-corrupt-check"},
	{name: "kept running by another", want: "3.7", runs: all3("3.6.16"), edit: func(in *Input) {
		edit(in, "m2", func(o *MemberObservation) {
			o.Service.Value.Foreign = &Foreign{PID: 4711, Keeper: "the systemd unit etcd.service", Settings: map[string]string{}}
		})
	}, refused: CodeForeignKeeper, says: "m2"},
	{name: "its place can't be read", want: "3.7", runs: all3("3.6.16"), edit: func(in *Input) {
		edit(in, "m2", func(o *MemberObservation) { o.Data = Unknown[DataDir]("permission denied") })
	}, refused: CodeDataUnknown, says: "m2"},
	{name: "no room for the next etcd", want: "3.7", runs: all3("3.6.16"), edit: func(in *Input) {
		edit(in, "m2", func(o *MemberObservation) { o.FreeBytes = Known(int64(60 << 20)) })
	}, refused: CodeNoRoom, says: "m2"},
	{name: "the leader flaps", want: "3.7", runs: all3("3.6.16"), edit: flapping, refused: CodeFlapping},
	{name: "the leader flaps half-way", want: "3.7", runs: []string{"3.7.3", "3.6.16", "3.7.3"}, edit: flapping, hops: "m2 3.7.3, at 3.7"},
}

func all3(v string) []string { return []string{v, v, v} }

func flapping(in *Input) { metrics(in, "m1", Metrics{UpSeconds: 60, LeaderChanges: 50}) }

func has(minor, version string) func(*Input) {
	return func(in *Input) {
		for n, o := range in.Observation.Members {
			o.Binaries[minor] = Known(Binary{Path: in.Cluster.Etcd.BinaryFor(minor), Version: version})
			in.Observation.Members[n] = o
		}
	}
}

func hasNot(minor string) func(*Input) {
	return func(in *Input) { // one host is enough
		in.Observation.Members["m2"].Binaries[minor] = Unknown[Binary]("exec format error")
	}
}

func config(name, value string) func(*Input) {
	return func(in *Input) { in.Cluster.Etcd.Config = map[string]string{name: value} }
}

func carries(flag string) func(*Input) {
	return func(in *Input) {
		edit(in, "m3", func(o *MemberObservation) {
			o.Service.Value.Carried = []string{flag}
			o.Service.Value.Args = append(slices.Clone(o.Service.Value.Args), flag)
		})
	}
}

func cluster(in *Input, version string) {
	for _, m := range in.Cluster.Members {
		edit(in, m.Name, func(o *MemberObservation) { o.Client.ClusterVersion = version })
	}
}

// TestWays: the way from what runs to what the file wants, step by step; each can be
// carried out on paper, and is at its end then.
func TestWays(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			in := input(threeMembers(), serving, serving, serving)
			RunsVersions(&in, w.want, w.runs...)
			in.Observation.KV = Known(KVComparison{Revision: 7, Equal: true})
			if w.edit != nil {
				w.edit(&in)
			}
			p := New(in)
			if w.refused != "" {
				if p.Refusal == nil || p.Refusal.Code != w.refused || !strings.Contains(p.Refusal.Title+p.Refusal.Detail+strings.Join(p.Refusal.Remedy, " "), w.says) {
					t.Fatalf("%+v, want %s with %q", p.Refusal, w.refused, w.says)
				}
				return
			}
			if p.Refusal != nil {
				t.Fatalf("refused: %+v", p.Refusal)
			}
			if got := hopsOf(t, &in, p); got != w.hops {
				t.Errorf("it goes\n%s, want\n%s", got, w.hops)
			}
			in.Observation.KV = Known(KVComparison{Revision: 7, Equal: true})
			if again := New(in); again.Changes() || again.Refusal != nil {
				t.Errorf("it is not at its end: %s %+v", again.Headline, again.Refusal)
			}
		})
	}
}

// hopsOf carries a plan out on paper, and tells of its versions.
func hopsOf(t *testing.T, in *Input, p *Plan) string {
	t.Helper()
	var out []string
	for _, s := range p.Steps {
		switch a := s.Action.(type) {
		case Start:
			o := in.Observation.Members[a.Members[0].Name]
			out = append(out, a.Members[0].Name+" "+o.etcd(a.Members[0].Binary).Value.Version)
		case Verify:
			out = append(out, "at "+a.Version)
		case Downgrade:
			out = append(out, "back to "+a.Version)
		case TrimLog:
			out = append(out, "trim")
		case CancelDowngrade:
			out = append(out, "not back")
		}
		next, err := Predict(in.Observation, s.Action)
		if err != nil {
			t.Fatalf("step %d %s %v: %v", s.ID, s.Kind, s.Target, err)
		}
		if ok, missing := Holds(s.Action, next); !ok {
			t.Fatalf("step %d %s %v does not hold: %s", s.ID, s.Kind, s.Target, missing)
		}
		in.Observation = next
	}
	return strings.Join(out, ", ")
}

// TestUpgradeKilledAnywhere: from each of its steps the next plans lead to the same end,
// and no member is ever more than one minor beside another.
func TestUpgradeKilledAnywhere(t *testing.T) {
	for _, w := range ways {
		if w.refused != "" || w.edit != nil {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			in := input(threeMembers(), serving, serving, serving)
			RunsVersions(&in, w.want, w.runs...)
			first := New(in)
			for cut := 1; cut < len(first.Steps); cut++ {
				now := in
				walkUpgrade(t, &now, first.Steps[:cut])
				for range 4 {
					p := New(now)
					if p.Refusal != nil {
						t.Fatalf("killed after %d steps: %+v", cut, p.Refusal)
					}
					if !p.Changes() {
						break
					}
					walkUpgrade(t, &now, p.Steps)
				}
				for name, o := range now.Observation.Members {
					if !satisfies(o.Client.Version, w.want) {
						t.Errorf("killed after %d steps: %s ends at %s", cut, name, o.Client.Version)
					}
				}
			}
		})
	}
}

func walkUpgrade(t *testing.T, in *Input, steps []Step) {
	t.Helper()
	for _, s := range steps {
		if ok, _ := Holds(s.Action, in.Observation); ok && !Traceless(s.Action) {
			continue
		}
		next, err := Predict(in.Observation, s.Action)
		if err != nil {
			t.Fatalf("step %d %s %v: %v", s.ID, s.Kind, s.Target, err)
		}
		in.Observation = next
		low, high, serve := 99, 0, 0
		for _, o := range next.Members {
			if o.Client.Reach != ReachServing {
				continue
			}
			serve++
			low, high = min(low, minor(o.Client.Version)), max(high, minor(o.Client.Version))
			if n := minor(o.Client.ClusterVersion); n < minor(o.Client.Version)-1 {
				t.Fatalf("after step %d: %s in a cluster at %s", s.ID, o.Client.Version, o.Client.ClusterVersion)
			}
		}
		if high-low > 1 || serve < 2 {
			t.Fatalf("after step %d: %d serve, from 3.%d to 3.%d", s.ID, serve, low, high)
		}
	}
}

// TestUpgradeAmongOtherChanges: what has to come before the roll, and what after it.
func TestUpgradeAmongOtherChanges(t *testing.T) {
	tests := []struct {
		name  string
		kinds []kind
		runs  []string
		edit  func(*Input)
		steps string
		notes string
	}{
		{"a member is added after it", []kind{serving, serving, serving, newcomer}, all3("3.6.16"), nil,
			"stop start stop start move-leader stop start verify add-learner join promote verify", ""},
		{"half-way too", []kind{serving, serving, serving, newcomer}, []string{"3.6.16", "3.7.3", "3.6.16"}, nil,
			"stop start move-leader stop start verify add-learner join promote verify", ""},
		{"peer URLs change before it", []kind{serving, serving, serving}, all3("3.6.16"), func(in *Input) {
			m := &in.Cluster.Members[1]
			m.PeerURLs, m.ListenPeerURLs = []string{"http://127.0.0.1:2481"}, []string{"http://127.0.0.1:2481"}
			edit(in, "m2", func(o *MemberObservation) { o.Peer = PeerEndpoint{URL: m.PeerURLs[0], Reach: ReachRefused} })
		}, "update-member stop start stop start stop start move-leader stop start verify", ""},
		{"a lost member is replaced before it", []kind{serving, serving, missing}, []string{"3.6.16", "3.6.16"}, nil,
			"remove-member add-learner join promote verify", "planning again will deal with: m1 3.6.16, m2 3.6.16, in the file 3.7"},
		{"half-way it is finished first", []kind{serving, serving, serving, serving, missing}, []string{"3.7.3", "3.6.16", "3.6.16", "3.6.16"}, nil,
			"stop start stop start stop start verify", "planning again will deal with: m5 can't go on"},
		{"other settings come with it", []kind{serving, serving, serving}, all3("3.6.16"), config("snapshot-count", "5000"),
			"stop start stop start move-leader stop start verify", ""},
		{"one that is down is started first, as it was", []kind{serving, serving, down}, []string{"3.6.16", "3.6.16"}, nil,
			"start", "planning again will deal with: m1 3.6.16, m2 3.6.16, in the file 3.7"},
		{"a snapshot is saved first", []kind{serving, serving, serving}, all3("3.6.16"), func(in *Input) { in.Cluster.Policy.SnapshotBefore = "always" },
			"save-snapshot stop start stop start move-leader stop start verify", ""},
		{"none is asked for", []kind{serving, serving, serving}, all3("3.6.16"), func(in *Input) { in.Cluster.Policy.SnapshotBefore = "membership" },
			"stop start stop start move-leader stop start verify", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := input(members(len(tt.kinds)), tt.kinds...)
			RunsVersions(&in, "3.7", tt.runs...)
			if tt.edit != nil {
				tt.edit(&in)
			}
			p := New(in)
			if p.Refusal != nil || stepKinds(p) != tt.steps {
				t.Fatalf("%+v\n%s, want\n%s", p.Refusal, stepKinds(p), tt.steps)
			}
			if text := fmt.Sprint(p.Notices); !strings.Contains(text, tt.notes) {
				t.Errorf("%s, want %q", text, tt.notes)
			}
			walkSteps(t, &in, p)
		})
	}
}

// TestNextEtcdIsThere: no member is stopped for an etcd that is not there any more.
func TestNextEtcdIsThere(t *testing.T) {
	in := input(threeMembers(), serving, serving, serving)
	RunsVersions(&in, "3.7", all3("3.6.16")...)
	p := planOf(t, in)
	has("3.7", "3.7.2")(&in) // somebody has put another one there
	if _, err := Predict(in.Observation, p.Steps[0].Action); err == nil || !strings.Contains(err.Error(), "next etcd") {
		t.Errorf("it would be stopped: %v", err)
	}
}

func walkSteps(t *testing.T, in *Input, p *Plan) {
	t.Helper()
	for _, s := range p.Steps {
		next, err := Predict(in.Observation, s.Action)
		if err != nil {
			t.Fatalf("step %d %s %v: %v", s.ID, s.Kind, s.Target, err)
		}
		in.Observation = next
	}
}

// TestSingleMemberUpgrade: without another that serves meanwhile, it needs a consent for
// each restart, and says so.
func TestSingleMemberUpgrade(t *testing.T) {
	in := input(members(1), serving)
	RunsVersions(&in, "3.7", "3.6.16")
	p := New(in)
	if p.Refusal != nil || len(p.Needs) != 1 || p.Needs[0].Consent != ConsentDowntime {
		t.Fatalf("%+v, needs %v", p.Refusal, p.Needs)
	}
}

// TestRenamedSettings: what a member came with is called by its new name where only the
// name is another.
func TestRenamedSettings(t *testing.T) {
	in := input(threeMembers(), serving, serving, serving)
	RunsVersions(&in, "3.7", all3("3.6.16")...)
	carries("--experimental-corrupt-check-time=5m")(&in)
	p := New(in)
	if p.Refusal != nil {
		t.Fatal(p.Refusal)
	}
	for _, s := range p.Steps {
		if a, ok := s.Action.(Start); ok && a.Members[0].Name == "m3" && !slices.Equal(a.Members[0].Carried, []string{"--corrupt-check-time=5m"}) {
			t.Errorf("m3 keeps %v", a.Members[0].Carried)
		}
	}
}

// TestUpgradeUnderUnits: each round writes what the units are to run next, over what the
// round before has left there.
func TestUpgradeUnderUnits(t *testing.T) {
	in := underUnits(threeMembers(), nil, serving, serving, serving)
	RunsVersions(&in, "3.7", all3("3.5.35")...)
	for _, m := range in.Cluster.Members {
		edit(&in, m.Name, func(o *MemberObservation) { o.Service.Value.Binary = "/usr/bin/etcd" })
	}
	p := planOf(t, in)
	text, rounds := "", 0
	for _, s := range p.Steps {
		a, ok := s.Action.(Start)
		if !ok || a.Members[0].Name != "m2" {
			continue
		}
		m := a.Members[0]
		rounds++
		if len(m.Files) != 1 || len(s.Files) != 1 {
			t.Fatalf("step %d changes %d files", s.ID, len(m.Files))
		}
		want := "ExecStart=/opt/etcd/" + []string{"3.6", "3.7"}[rounds-1] + "/etcd "
		if f := m.Files[0]; !strings.Contains(f.Text, want) || m.Program[0] != m.Binary {
			t.Errorf("step %d: the unit would run %v:\n%s", s.ID, m.Program, f.Text)
		}
		if sum := sha256.Sum256([]byte(text)); text != "" && m.Files[0].Was != hex.EncodeToString(sum[:]) {
			t.Errorf("step %d writes over something else than the round before left", s.ID)
		}
		text = m.Files[0].Text
	}
	if rounds != 2 {
		t.Errorf("m2 is started %d times", rounds)
	}
	walkSteps(t, &in, p)
}

// TestUpgradeOnPaper: what a changed version would do can be told without a cluster.
func TestUpgradeOnPaper(t *testing.T) {
	was, next := threeMembers(), threeMembers()
	was.Etcd = spec.Etcd{Version: "3.5", Binary: "/opt/etcd/{minor}/etcd"}
	next.Etcd = spec.Etcd{Version: "3.7", Binary: "/opt/etcd/{minor}/etcd"}
	obs, err := InSync(was)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Input{Cluster: next, Observation: SeenThrough(was, next, obs), Token: token})
	if p.Refusal != nil || !strings.Contains(p.Headline, "upgrade to etcd 3.6, then 3.7") {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
}

// TestOldEntriesOnDisk: a directory whose log 3.7 can't read is not started with it, though
// it is of the minor before.
func TestOldEntriesOnDisk(t *testing.T) {
	in := input(threeMembers(), down, down, down)
	for _, m := range in.Cluster.Members {
		edit(&in, m.Name, func(o *MemberObservation) {
			o.Data.Value.StorageVersion, o.Data.Value.ClusterVersion, o.Data.Value.OldEntry = "3.6.0", "3.6.0", 1100
		})
	}
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeDirOlder || !strings.Contains(p.Refusal.Detail, "format of etcd 3.5") {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
	for _, m := range in.Cluster.Members {
		edit(&in, m.Name, func(o *MemberObservation) { o.Data.Value.OldEntry = 0 })
	}
	if p := New(in); p.Refusal != nil || p.Route != RouteStart {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
}

// TestUpgradeWithoutUser: where the members want a user and none is at hand, none is
// stopped for another version, a single one neither.
func TestUpgradeWithoutUser(t *testing.T) {
	in := input(members(1), serving)
	RunsVersions(&in, "3.7", "3.6.16")
	edit(&in, "m1", func(o *MemberObservation) { o.Client.Sealed = true })
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeAuthRequired {
		t.Errorf("%s: %+v", p.Headline, p.Refusal)
	}
}
