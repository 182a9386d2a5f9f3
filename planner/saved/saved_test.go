package saved

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

func cluster(n int) *spec.Cluster {
	c := &spec.Cluster{Name: "demo", Dir: "/w", Pos: spec.Position{File: "/w/c.hcl", Line: 1}}
	for i := range n {
		m := string(rune('1' + i))
		urls := func(base string) []string { return []string{"http://127.0.0.1:" + base + m} }
		c.Members = append(c.Members, spec.Member{Name: "m" + m, DataDir: "/w/data/m" + m, PeerURLs: urls("238"), ListenPeerURLs: urls("238"), ClientURLs: urls("237"), ListenClientURLs: urls("237"), Pos: spec.Position{File: "/w/c.hcl", Line: 3 + i}})
	}
	return c
}

// grow is the plan that takes a cluster from n to to members.
func grow(t *testing.T, n, to int) (planner.Input, *planner.Plan) {
	t.Helper()
	obs, err := planner.InSync(cluster(n))
	if err != nil {
		t.Fatal(err)
	}
	next := cluster(to)
	in := planner.Input{Cluster: next, Observation: planner.SeenThrough(cluster(n), next, obs), Token: "t", Now: "2026-01-02T03:04:05Z", By: "ops@here"}
	return in, planner.New(in)
}

func encode(t *testing.T, in planner.Input, p *planner.Plan) []byte {
	t.Helper()
	b, err := Encode(in, p, About{Version: "v1", Machine: "here", Source: "/w", Basis: BasisObserved})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is written is read back whole, and planning from it gives the same plan.
func TestReadBack(t *testing.T) {
	in, p := grow(t, 3, 4)
	b := encode(t, in, p)
	if !bytes.HasPrefix(b, []byte("{\n  \"requorum_plan\": \"1.")) || !Is(b) {
		t.Errorf("it begins with %.40s", b)
	}
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.Plan, p) {
		t.Errorf("the plan is read back as\n%+v, was\n%+v", f.Plan, p)
	}
	again := planner.New(f.Input(f.Inputs.Observation, nil))
	if again.Digest() != p.Digest() {
		t.Errorf("planning again gives %s", again.Headline)
	}
	if moved, err := f.Compare(in.Observation, planner.New(f.Input(in.Observation, nil))); err != nil || len(moved) > 0 {
		t.Errorf("nothing changed, and it says %v %v", moved, err)
	}
	if !bytes.Equal(b, encode(t, in, p)) {
		t.Error("the same plan gives two files")
	}
}

// Every byte that is not white space counts; whoever lays it out anew changes nothing.
func TestEdited(t *testing.T) {
	in, p := grow(t, 1, 2)
	b := encode(t, in, p)
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(compact.Bytes()); err != nil {
		t.Errorf("laid out anew: %v", err)
	}
	text := string(b)
	for name, s := range map[string]string{
		"a value":         strings.Replace(text, "/w/data/m2", "/w/data/m1", 1),
		"a further key":   strings.Replace(text, `"by":`, `"headline": "all well", "by":`, 1),
		"the digest":      strings.Replace(text, `"digest": "`, `"digest": "0`, 1),
		"cut":             text[:len(text)/2],
		"no digest":       `{"requorum_plan":"1.1","cluster":"x"}`,
		"a second value":  text + "{}",
		"a digest's form": strings.Replace(text, `"digest": "`, `"digest":  "zzzz`, 1),
	} {
		var edited *EditedError
		if _, err := Parse([]byte(s)); !errors.As(err, &edited) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var foreign *ForeignError
	if _, err := Parse([]byte(strings.Replace(text, `"requorum_plan": "1.`, `"requorum_plan": "2.`, 1))); !errors.As(err, &foreign) {
		t.Errorf("another format: %v", err)
	}
}

// Nothing that a person or a program reads in a plan can be another thing than what
// its inputs lead to, whoever wrote the digest anew.
func TestDisplayedIsDerived(t *testing.T) {
	for _, tc := range []struct{ from, to int }{{3, 4}, {3, 2}} {
		in, p := grow(t, tc.from, tc.to)
		b := encode(t, in, p)
		f, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Derive("v1"); err != nil {
			t.Fatalf("as it was written: %v", err)
		}
		lines, top, tried := strings.Split(string(b), "\n"), "", map[string]int{}
		for i, line := range lines {
			if m := topKey.FindStringSubmatch(line); m != nil {
				top = m[1]
			}
			m := leaf.FindStringSubmatch(line)
			if m == nil || tried[top+" "+strings.TrimSpace(m[1])] >= 2 || slices.Contains([]string{"requorum_plan", "digest", "requorum_version", "timestamp", "by", "machine", "basis", "inputs"}, top) {
				continue
			}
			value := m[2] + "1"
			switch {
			case strings.HasSuffix(m[2], `"`):
				value = strings.TrimSuffix(m[2], `"`) + `x"`
			case m[2] == "true":
				value = "false"
			case m[2] == "false":
				value = "true"
			}
			tried[top+" "+strings.TrimSpace(m[1])]++
			edited := slices.Clone(lines)
			edited[i] = m[1] + value + m[3]
			f, err := read([]byte(strings.Join(edited, "\n")))
			if err == nil {
				err = f.Derive("v1")
			}
			if err == nil {
				t.Errorf("nobody notices %s", edited[i])
			}
		}
		for _, want := range []string{`headline "headline":`, `steps "title":`, `steps "fact":`, `steps "text":`, `loss "text":`, `members "todo":`, `risk "text":`, `resource_changes "member_id":`} {
			if tried[want] == 0 {
				t.Errorf("%d to %d: %s was not tried: %v", tc.from, tc.to, want, tried)
			}
		}
	}
}

var (
	topKey = regexp.MustCompile(`^  "(\w+)":`)
	leaf   = regexp.MustCompile(`^( +(?:"[^"]*": )?)("(?:[^"\\]|\\.)*"|-?[0-9.]+|true|false)(,?)$`)
)

// An edit by somebody who knows how a digest is made.
func TestEditedWithItsDigest(t *testing.T) {
	in, p := grow(t, 3, 2)
	edit := func(old, new string) *File {
		t.Helper()
		b := []byte(strings.Replace(string(encode(t, in, p)), old, new, 1))
		digest, err := digestOf(b)
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Digest string }
		if err := json.Unmarshal(b, &head); err != nil {
			t.Fatal(err)
		}
		f, err := Parse([]byte(strings.Replace(string(b), head.Digest, digest, 1)))
		if err != nil {
			t.Fatalf("its digest is right: %v", err)
		}
		return f
	}
	var edited *EditedError
	if err := edit(p.Steps[0].Title, "look at").Derive("v1"); !errors.As(err, &edited) {
		t.Errorf("another title: %v", err)
	}
	// Who says that another version made it does not get away with it either.
	var derived *DerivedError
	if err := edit(`"requorum_version": "v1"`, `"requorum_version": "v2"`).Derive("v1"); err != nil {
		t.Errorf("made by another version, in the same way: %v", err)
	}
	f := edit(p.Steps[0].Title, "look at")
	if err := f.Derive("v2"); !errors.As(err, &derived) {
		t.Errorf("made by another version, in another way: %v", err)
	}
}

func TestDigest(t *testing.T) {
	in, p := grow(t, 1, 2)
	f, err := Parse(encode(t, in, p))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Digest) != 24 || strings.Count(f.Digest, "-") != 4 || strings.ContainsAny(f.Digest, "ilou") {
		t.Errorf("digest %q", f.Digest)
	}
	for _, said := range []string{strings.ToUpper(f.Digest), strings.ReplaceAll(f.Digest, "-", " "), strings.ReplaceAll(strings.ReplaceAll(f.Digest, "0", "O"), "1", "l")} {
		if !SameDigest(said, f.Digest) {
			t.Errorf("%q is not taken for %q", said, f.Digest)
		}
	}
	for _, said := range []string{"", f.Digest[:20], f.Digest + "0", "0000-0000-0000-0000-0000"} {
		if SameDigest(said, f.Digest) {
			t.Errorf("%q is taken for %q", said, f.Digest)
		}
	}
	in.Token = "another"
	if other, err := Parse(encode(t, in, p)); err != nil || other.Digest == f.Digest {
		t.Errorf("another token gives the same digest: %v", err)
	}
}

func TestStale(t *testing.T) {
	see := func(o *planner.Observation, edit func(name string, m *planner.MemberObservation)) {
		next := map[string]planner.MemberObservation{}
		for n, m := range o.Members {
			edit(n, &m)
			next[n] = m
		}
		o.Members = next
	}
	for _, tc := range []struct {
		name  string
		edit  func(o *planner.Observation)
		says  []string
		stale bool
	}{
		{"written to, the leader moved", func(o *planner.Observation) {
			see(o, func(n string, m *planner.MemberObservation) {
				m.Client.Revision += 100
				if m.Client.LeaderID != "" {
					m.Client.LeaderID = o.Members["m2"].Client.MemberID
				}
			})
		}, []string{"the leader moved from m1 to m2: harmless"}, false},
		{"restarted", func(o *planner.Observation) {
			see(o, func(n string, m *planner.MemberObservation) {
				if n == "m2" {
					m.Service.Value.PID++
					m.Service.Value.Args = append([]string{"--initial-cluster-state=existing"}, m.Service.Value.Args...)
				}
			})
		}, []string{"m2 was restarted: harmless"}, false},
		{"a member was removed", func(o *planner.Observation) {
			see(o, func(n string, m *planner.MemberObservation) {
				l := m.Client.Members.Value
				if len(l) == 0 {
					return
				}
				m.Client.Members.Value = append(append([]planner.ListedMember{}, l[:1]...), l[2:]...)
				if n == "m2" {
					m.Client = planner.Endpoint{URL: m.Client.URL, Reach: planner.ReachRefused}
					m.Peer.Reach = planner.ReachRefused
				}
			})
		}, []string{"m2 was removed by someone else", "m2: refused (serving before)"}, true},
		{"a member died", func(o *planner.Observation) {
			see(o, func(n string, m *planner.MemberObservation) {
				if n == "m3" {
					m.Client = planner.Endpoint{URL: m.Client.URL, Reach: planner.ReachRefused}
					m.Peer = planner.PeerEndpoint{URL: m.Peer.URL, Reach: planner.ReachRefused}
					m.Service.Value.State, m.Data.Value.HeldBy = planner.ServiceStopped, 0
				}
			})
		}, []string{"m3: refused", "m3's service: stopped"}, true},
	} {
		in, p := grow(t, 3, 4)
		f, err := Parse(encode(t, in, p))
		if err != nil {
			t.Fatal(err)
		}
		now := in.Observation
		tc.edit(&now)
		moved, err := f.Compare(now, planner.New(f.Input(now, nil)))
		var stale *StaleError
		if errors.As(err, &stale) != tc.stale {
			t.Errorf("%s: %v", tc.name, err)
		}
		var texts []string
		for _, m := range moved {
			texts = append(texts, m.String())
			if m.Harmless && strings.Contains(m.Text, "removed") {
				t.Errorf("%s: %s", tc.name, m)
			}
		}
		all := strings.Join(texts, "; ")
		for _, want := range tc.says {
			if !strings.Contains(all, want) {
				t.Errorf("%s: %q lacks %q", tc.name, all, want)
			}
		}
		t.Logf("%s: %v", tc.name, err)
	}
	// Another cluster.
	in, p := grow(t, 3, 4)
	f, err := Parse(encode(t, in, p))
	if err != nil {
		t.Fatal(err)
	}
	other := *p
	other.ClusterID = "beef"
	var foreign *ForeignError
	if _, err := f.Compare(in.Observation, &other); !errors.As(err, &foreign) {
		t.Errorf("another cluster: %v", err)
	}
}

// Whatever does harm makes a plan stale, also where its steps are the same.
func TestHarmMakesStale(t *testing.T) {
	harmful := regexp.MustCompile(`say\((?:y > x|false), "([^"]*)"`)
	source, err := os.ReadFile("stale.go")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, m := range harmful.FindAllStringSubmatch(string(source), -1) {
		texts[m[1]] = false
	}
	if len(texts) < 25 {
		t.Fatalf("%d texts found", len(texts))
	}
	in, p := grow(t, 3, 4)
	f, err := Parse(encode(t, in, p))
	if err != nil {
		t.Fatal(err)
	}
	n := -1
	run := func(before, after func(o *planner.Observation, m *planner.MemberObservation)) string {
		t.Helper()
		at := func(edit func(o *planner.Observation, m *planner.MemberObservation)) planner.Observation {
			o := in.Observation
			o.Members = maps.Clone(o.Members)
			for n, m := range o.Members { // lists and logs are shared: made one's own
				m.Client.Members.Value = slices.Clone(m.Client.Members.Value)
				o.Members[n] = m
			}
			m := o.Members["m1"]
			if edit != nil {
				edit(&o, &m)
				o.Members["m1"] = m
			}
			return o
		}
		n++
		f.Inputs.Observation = at(before)
		_, err := f.Compare(at(after), p)
		var stale *StaleError
		if !errors.As(err, &stale) || stale.First != "" || !strings.Contains(err.Error(), "the steps are the same, but") {
			t.Errorf("case %d: %v", n, err)
			return ""
		}
		return err.Error()
	}
	type obs = planner.Observation
	type member = planner.MemberObservation
	unknown := planner.Unknown[planner.DataDir]("no route")
	foreign := func(edit func(*planner.Foreign)) func(*obs, *member) {
		return func(_ *obs, m *member) {
			x := &planner.Foreign{PID: 7, Args: []string{"--name=m1"}}
			if edit != nil {
				edit(x)
			}
			m.Service.Value.Foreign = x
		}
	}
	for _, tc := range []struct{ before, after func(o *obs, m *member) }{
		{nil, func(o *obs, m *member) { m.Client.Members.Value = m.Client.Members.Value[:2] }},
		{func(o *obs, m *member) { m.Client.Members.Value = m.Client.Members.Value[:2] }, nil},
		{nil, func(o *obs, m *member) { m.Client.Members.Value[1].PeerURLs = []string{"http://127.0.0.1:9"} }},
		{nil, func(o *obs, m *member) { m.Client.Members.Value[1].ClientURLs = []string{"http://127.0.0.1:9"} }},
		{nil, func(o *obs, m *member) { m.Client.Members.Value[1].Name = "other" }},
		{func(o *obs, m *member) { m.Client.Members.Value[1].Learner = true }, nil},
		{nil, func(o *obs, m *member) { noQuorum(o, m) }},
		{func(o *obs, m *member) { noQuorum(o, m) }, nil},
		{nil, noLeader},
		{noLeader, nil},
		{func(o *obs, m *member) { m.Client.Revision = 900 }, func(o *obs, m *member) { m.Client.Revision = 800 }},
		{func(o *obs, m *member) { o.KV = planner.Known(planner.KVComparison{Equal: true}) }, func(o *obs, m *member) { o.KV = planner.Known(planner.KVComparison{}) }},
		{func(o *obs, m *member) { o.JournalClusterID = "1" }, func(o *obs, m *member) { o.JournalClusterID = "2" }},
		{func(o *obs, m *member) { o.Snapshot = &planner.SnapshotObservation{SHA256: "11"} }, func(o *obs, m *member) { o.Snapshot = &planner.SnapshotObservation{SHA256: "22"} }},
		{func(o *obs, m *member) { o.Snapshot = &planner.SnapshotObservation{SHA256: "11"} }, func(o *obs, m *member) { o.Snapshot = &planner.SnapshotObservation{SHA256: "11", Problem: "gone"} }},
		{func(o *obs, m *member) { m.Client.Reach = planner.ReachHangs }, nil},
		{nil, func(o *obs, m *member) { m.Client.Reach = planner.ReachHangs }},
		{nil, func(o *obs, m *member) { m.Client.MemberID = "77" }},
		{nil, func(o *obs, m *member) { m.Client.Version = "3.5.1" }},
		{nil, func(o *obs, m *member) { m.Client.Alarms = []string{"NOSPACE on 77"} }},
		{nil, func(o *obs, m *member) { m.Service.Value.State = planner.ServiceBackoff }},
		{nil, func(o *obs, m *member) {
			m.Service.Value.Args = append(slices.Clone(m.Service.Value.Args), "--quota-backend-bytes=1")
		}},
		{nil, foreign(nil)},
		{foreign(nil), nil},
		{foreign(nil), foreign(func(x *planner.Foreign) { x.Args = nil })},
		{foreign(nil), foreign(func(x *planner.Foreign) { x.Keeper = "cron" })},
		{nil, func(o *obs, m *member) { m.Service.Value.Unit = &planner.Unit{Name: "etcd.service"} }},
		{nil, func(o *obs, m *member) { m.Binary.Value.Version = "3.4.1" }},
		{nil, func(o *obs, m *member) { m.PortsTaken = []string{"http://127.0.0.1:2371"} }},
		{nil, func(o *obs, m *member) { m.Data = unknown }},
		{func(o *obs, m *member) { m.Data = unknown }, nil},
		{nil, func(o *obs, m *member) { m.Data.Value.State = planner.DirEmpty }},
		{nil, func(o *obs, m *member) { m.Data.Value.MemberID = "77" }},
		{nil, func(o *obs, m *member) { m.Data.Value.Problem = "walpb: crc mismatch" }},
		{nil, func(o *obs, m *member) { m.Data.Value.HeldBy, m.Data.Value.LastIndex = 0, 999 }},
		{nil, func(o *obs, m *member) { m.Data.Value.Staged = "t" }},
	} {
		text := run(tc.before, tc.after)
		for format := range texts {
			parts := strings.FieldsFunc(regexp.MustCompile(`%[#.0-9]*[a-z]`).ReplaceAllString(format, "\x00"), func(r rune) bool { return r == 0 })
			all := true
			for _, part := range parts {
				all = all && strings.Contains(text, part)
			}
			texts[format] = texts[format] || all
		}
	}
	for format, said := range texts {
		if !said {
			t.Errorf("no case has a plan go stale by %q", format)
		}
	}
}

// noLeader has nobody name one.
func noLeader(o *planner.Observation, m *planner.MemberObservation) {
	m.Client.LeaderID = ""
	for n, x := range o.Members {
		x.Client.LeaderID = ""
		o.Members[n] = x
	}
}

// noQuorum has nobody prove one.
func noQuorum(o *planner.Observation, m *planner.MemberObservation) {
	m.Client.Linearizable.Value = false
	for n, x := range o.Members {
		x.Client.Linearizable.Value = false
		o.Members[n] = x
	}
}

// A leader that moves changes who is restarted last, and nothing that was approved.
func TestLeaderMoves(t *testing.T) {
	obs, err := planner.InSync(cluster(3))
	if err != nil {
		t.Fatal(err)
	}
	next := cluster(3)
	next.Etcd.Config = map[string]string{"heartbeat-interval": "200"}
	in := planner.Input{Cluster: next, Observation: obs, Token: "t", Now: "2026-01-02T03:04:05Z", By: "ops@here"}
	p := planner.New(in)
	b := encode(t, in, p)
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	now := obs
	now.Members = maps.Clone(obs.Members)
	for n, m := range now.Members {
		m.Client.LeaderID = obs.Members["m2"].Client.MemberID
		m.Service.Value.PID += 100
		now.Members[n] = m
	}
	p2 := planner.New(f.Input(now, nil))
	kinds := func(p *planner.Plan) string {
		var all []string
		for _, s := range p.Steps {
			all = append(all, s.Kind+" "+strings.Join(s.Target, ","))
		}
		return strings.Join(all, "; ")
	}
	if kinds(p) == kinds(p2) || len(p.Steps) < 7 {
		t.Fatalf("the plans are the same, or too short: %s", kinds(p2))
	}
	moved, err := f.Compare(now, p2)
	if err != nil || len(moved) != 4 || f.SameOrder(p2) || !f.SameOrder(p) {
		t.Errorf("%v %v\n%s\n%s", moved, err, kinds(p), kinds(p2))
	}
	// What else is another is seen all the same.
	for name, edit := range map[string]func(p *planner.Plan){
		"a quorum":   func(p *planner.Plan) { p.Steps[1].After.Healthy-- },
		"a target":   func(p *planner.Plan) { p.Steps[0].Target = []string{"m9"} },
		"one less":   func(p *planner.Plan) { p.Steps = p.Steps[:len(p.Steps)-1] },
		"one missed": func(p *planner.Plan) { p.Steps = slices.Delete(p.Steps, 1, 2) },
		"flags": func(p *planner.Plan) {
			for i, s := range p.Steps {
				if a, ok := s.Action.(planner.Start); ok {
					a.Members = slices.Clone(a.Members)
					a.Members[0].Args = append(slices.Clone(a.Members[0].Args), "--x")
					p.Steps[i].Action = a
					return
				}
			}
		},
	} {
		other := *p2
		other.Steps = slices.Clone(p2.Steps)
		edit(&other)
		var stale *StaleError
		if _, err := f.Compare(now, &other); !errors.As(err, &stale) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the journal of the machine that planned knew is in the plan: another machine
// that applies it needs no journal, and one that knows another cluster is refused.
func TestAppliedElsewhere(t *testing.T) {
	in, p := grow(t, 3, 2)
	f, err := Parse(encode(t, in, p))
	if err != nil {
		t.Fatal(err)
	}
	now := in.Observation
	now.JournalMembers, now.JournalPlaces, now.JournalClusterID = nil, nil, ""
	if moved, err := f.Compare(now, planner.New(f.Input(now, nil))); err != nil || len(moved) > 0 {
		t.Errorf("%v %v", moved, err)
	}
	if bare := planner.New(planner.Input{Cluster: in.Cluster, Observation: now, Token: in.Token, Now: in.Now, By: in.By}); bare.Digest() == p.Digest() {
		t.Error("the plan does not rest on the journal: nothing is shown")
	}
	now.JournalMembers = []string{"m1"}
	if moved, err := f.Compare(now, planner.New(f.Input(now, nil))); err != nil || len(moved) != 1 || !moved[0].Harmless {
		t.Errorf("%v %v", moved, err)
	}
	now.JournalClusterID = "beef"
	if _, err := f.Compare(now, planner.New(f.Input(now, nil))); err == nil {
		t.Error("the journal here knows another cluster")
	}
}

// Terraform's own types read it.
func TestTerraformReadsIt(t *testing.T) {
	for _, tc := range []struct {
		from, to int
		want     map[string]string
	}{
		{3, 4, map[string]string{"etcd_cluster.demo": "update", "etcd_member.m1": "no-op", "etcd_member.m4": "create"}},
		{3, 2, map[string]string{"etcd_cluster.demo": "update", "etcd_member.m2": "no-op", "etcd_member.m3": "delete"}},
		{3, 3, map[string]string{"etcd_cluster.demo": "no-op", "etcd_member.m3": "no-op"}},
	} {
		in, p := grow(t, tc.from, tc.to)
		var tf tfjson.Plan
		if err := json.Unmarshal(encode(t, in, p), &tf); err != nil {
			t.Fatal(err)
		}
		if err := tf.Validate(); err != nil {
			t.Error(err)
		}
		got := map[string]string{}
		for _, r := range tf.ResourceChanges {
			var words []string
			for _, a := range r.Change.Actions {
				words = append(words, string(a))
			}
			got[r.Address] = strings.Join(words, " ")
			if r.Mode != tfjson.ManagedResourceMode || r.Type == "" || r.Name == "" || r.Change.AfterUnknown == nil {
				t.Errorf("%+v", r)
			}
			if r.Change.Actions.NoOp() && !reflect.DeepEqual(r.Change.Before, r.Change.After) {
				t.Errorf("%s: a no-op with %v and %v", r.Address, r.Change.Before, r.Change.After)
			}
		}
		for a, want := range tc.want {
			if got[a] != want {
				t.Errorf("%d to %d: %s: %q, want %q", tc.from, tc.to, a, got[a], want)
			}
		}
	}
}

// A change of settings is in the resources, on both sides; and members that never
// started have addresses of their own.
func TestResourcesTellSettings(t *testing.T) {
	obs, err := planner.InSync(cluster(3))
	if err != nil {
		t.Fatal(err)
	}
	next := cluster(3)
	next.Etcd.Config = map[string]string{"heartbeat-interval": "200"}
	in := planner.Input{Cluster: next, Observation: obs, Token: "t", Now: "2026-01-02T03:04:05Z", By: "ops@here"}
	c := memberChange(in, planner.New(in), next.Members[0]).Change
	was, is := c.Before["config"].(map[string]any), c.After["config"].(map[string]any)
	if was["heartbeat-interval"] != nil || is["heartbeat-interval"] != "200" || c.Before["version"] == nil || c.After["version"] != c.Before["version"] ||
		!reflect.DeepEqual(c.After["listen_peer_urls"], next.Members[0].ListenPeerURLs) || !reflect.DeepEqual(c.Before["listen_client_urls"], next.Members[0].ListenClientURLs) {
		t.Errorf("%v\n%v", c.Before, c.After)
	}
	if c.Before["member_id"] != c.After["member_id"] {
		t.Errorf("another member: %v", c)
	}
	p := &planner.Plan{}
	for _, id := range []string{"a4", "a5"} {
		p.Steps = append(p.Steps, planner.Step{Kind: "remove-member", Action: planner.Remove{MemberID: id}, Target: []string{""}})
	}
	addresses := map[string]bool{}
	for _, r := range resourceChanges(in, p) {
		if addresses[r.Address] || strings.HasSuffix(r.Address, ".") {
			t.Errorf("address %q", r.Address)
		}
		addresses[r.Address] = true
	}
}

func TestDiff(t *testing.T) {
	a, b := cluster(3), cluster(3)
	b.Dir, b.Pos.Line = "/elsewhere", 9
	b.Members[0], b.Members[2] = b.Members[2], b.Members[0]
	b.Members[1].Pos.Line = 77
	if d, err := Diff(a, b); err != nil || len(d) > 0 {
		t.Errorf("other order, other lines: %v %v", d, err)
	}
	b = cluster(4)
	b.Etcd.Version = "3.6"
	b.Members[0].ClientURLs = []string{"http://127.0.0.1:9"}
	a.Snapshot = &spec.Snapshot{Source: "https://u:hidden@h/x", Sensitive: true}
	b.Snapshot = &spec.Snapshot{Source: "https://u:secret@h/x", Sensitive: true}
	a.Auth = &spec.Auth{Username: "root", Password: spec.NewSecret("hidden")}
	b.Auth = &spec.Auth{Username: "root", Password: spec.NewSecret("secret")}
	d, err := Diff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, c := range d {
		paths = append(paths, c.Path)
	}
	if got := strings.Join(paths, " "); got != "auth.password etcd member.m1.client_urls member.m4 snapshot.source" {
		t.Errorf("changed: %s", got)
	}
	if text, _ := json.Marshal(d); bytes.Contains(text, []byte("secret@")) || bytes.Contains(text, []byte("hidden")) {
		t.Errorf("a secret: %s", text)
	}
	all := cluster(2)
	all.Auth, all.Snapshot = a.Auth, a.Snapshot
	all.Etcd.Config, all.Etcd.ConfigPos = map[string]string{"x": "/w/y"}, map[string]spec.Position{"x": {File: "/w/c.hcl", Line: 2, Column: 3}}
	all.Hosts = []spec.Host{{Name: "pos", Address: "/w/z", Pos: spec.Position{File: "/w/c.hcl", Line: 8}}}
	moved, err := NameFiles(all, "/w", "git:main:x")
	if err != nil || moved.Auth.Password.Reveal() != "hidden" || moved.Snapshot.Source != a.Snapshot.Source || moved.Members[0].Pos.File != "git:main:x/c.hcl" ||
		moved.Etcd.ConfigPos["x"].File != "git:main:x/c.hcl" || moved.Hosts[0].Pos.File != "git:main:x/c.hcl" ||
		moved.Members[0].DataDir != "/w/data/m1" || moved.Etcd.Config["x"] != "/w/y" || moved.Hosts[0].Address != "/w/z" {
		t.Errorf("%+v %v", moved, err)
	}
}

// Whatever members and hosts are called, what they are is compared.
func TestDiffOfAwkwardNames(t *testing.T) {
	for _, name := range []string{"pos", "my_pos", "file", "line", "config_pos"} {
		named := func() *spec.Cluster {
			c := cluster(2)
			c.Members[0].Name, c.Members[0].Host = name, name
			c.Hosts = []spec.Host{{Name: name, Address: "10.0.0.1", Pos: spec.Position{File: "/w/c.hcl", Line: 8, Column: 1}}}
			c.Etcd.ConfigPos = map[string]spec.Position{"pos": {File: "/w/c.hcl", Line: 2, Column: 3}}
			c.Etcd.Config = map[string]string{"pos": "1"}
			return c
		}
		for what, edit := range map[string]func(c *spec.Cluster){
			"member." + name + ".data_dir": func(c *spec.Cluster) { c.Members[0].DataDir = "/else" },
			"host." + name + ".address":    func(c *spec.Cluster) { c.Hosts[0].Address = "10.0.0.2" },
			"etcd.config.pos":              func(c *spec.Cluster) { c.Etcd.Config["pos"] = "2" },
			"": func(c *spec.Cluster) {
				c.Hosts[0].Pos.Line, c.Members[0].Pos.Line = 99, 98
				c.Etcd.ConfigPos = nil
			},
		} {
			next := named()
			edit(next)
			d, err := Diff(named(), next)
			got := ""
			for _, c := range d {
				got += c.Path
			}
			if err != nil || got != what {
				t.Errorf("%s: changed %q, want %q (%v)", name, got, what, err)
			}
			x, _ := ConfigurationSum(named())
			y, _ := ConfigurationSum(next)
			if (x == y) != (what == "") {
				t.Errorf("%s: the sums tell %q badly", name, what)
			}
		}
	}
}

// What is written out, and would be so anyway, is no change.
func TestDiffOfTheSame(t *testing.T) {
	a, b := cluster(2), cluster(2)
	a.Policy.Prevent = []string{"downtime", "data-loss"}
	b.Policy.Prevent = []string{"data-loss", "downtime"}
	b.Policy.SnapshotBefore = "never"
	b.Hosts = []spec.Host{{Name: "spare", Address: "10.0.0.9"}}
	if d, err := Diff(a, b); err != nil || len(d) > 0 {
		t.Errorf("%v %v", d, err)
	}
	b.Policy = spec.Policy{SnapshotBefore: "never"}
	if d, err := Diff(cluster(2), b); err != nil || len(d) > 0 {
		t.Errorf("%v %v", d, err)
	}
	b.Policy.SnapshotBefore = "always"
	b.Members[0].Host = "spare"
	if d, err := Diff(a, b); err != nil || len(d) != 4 {
		t.Errorf("%v %v", d, err)
	}
}
