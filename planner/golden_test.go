package planner_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

type golden struct {
	name     string
	snapshot bool
	kinds    []string
	edit     func(*planner.Input)
	stop     bool
}

func goldens() []golden {
	return []golden{
		{name: "in-sync", kinds: []string{"serving", "serving", "serving"}, edit: func(in *planner.Input) {
			in.Observation.KV = planner.Known(planner.KVComparison{Revision: 1204, Equal: true})
		}},
		{name: "start", kinds: []string{"down", "down", "down"}},
		{name: "start-one", kinds: []string{"serving", "serving", "down"}},
		{name: "restore", snapshot: true, kinds: []string{"missing", "missing", "missing"}},
		{name: "restore-finish", snapshot: true, kinds: []string{"installed", "staged", "claimed"}},
		{name: "bootstrap", kinds: []string{"fresh", "fresh", "fresh"}},
		{name: "stop", kinds: []string{"serving", "serving", "serving"}, stop: true},
		{name: "start-unfence", kinds: []string{"fenced", "fenced", "missing"}},
		{name: "grow", kinds: []string{"by hand", "newcomer", "newcomer"}},
		{name: "replace", kinds: []string{"serving", "serving", "damaged"}},
		{name: "replace-missing", kinds: []string{"serving", "serving", "missing"}},
		{name: "scale-down", kinds: []string{"serving", "serving", "serving"}, edit: func(in *planner.Input) { leavesFile(in, "m1", planner.ReachServing) }},
		{name: "update", kinds: []string{"serving", "serving", "serving"}, edit: func(in *planner.Input) {
			m := &in.Cluster.Members[0]
			m.PeerURLs = []string{"http://127.0.0.1:2481"}
			m.ListenPeerURLs = m.PeerURLs
			see(in, "m1", func(o *planner.MemberObservation) {
				o.Peer = planner.PeerEndpoint{URL: m.PeerURLs[0], Reach: planner.ReachRefused}
			})
		}},
		{name: "recover", kinds: []string{"serving", "missing", "fenced"}, edit: func(in *planner.Input) {
			leavesFile(in, "m2", planner.ReachNoRoute)
			see(in, "m3", func(o *planner.MemberObservation) { o.Data.Value.Fenced.Problem = "walpb: crc mismatch" })
			see(in, "m1", func(o *planner.MemberObservation) { o.Data.Value.Revision = 20913 })
		}},
		{name: "recover-in-place", kinds: []string{"down", "missing", "damaged"}, edit: func(in *planner.Input) {
			in.Cluster.Recover = &spec.Recover{From: "m1", InPlace: true, Pos: spec.Position{File: "demo.hcl", Line: 30}}
		}},
		{name: "tail-in-doubt", snapshot: true, kinds: []string{"down", "missing", "missing"}, edit: doubt},
		{name: "tail-dropped", kinds: []string{"down", "missing", "missing"}, edit: func(in *planner.Input) {
			doubt(in)
			in.Accept = map[planner.Consent]bool{planner.ConsentTailDrop: true}
		}},
		{name: "nine-five-broken", kinds: nine("damaged", "missing", "damaged", "down"), edit: func(in *planner.Input) {
			in.Cluster.Members[4].PeerURLs = []string{"http://127.0.0.1:2485"} // m5
			see(in, "m6", func(o *planner.MemberObservation) {
				o.Data.Value.Problem = "wal directory lost: /data/m6/member/wal has no WAL files, while /data/m6/member/snap has data"
			})
			see(in, "m9", func(o *planner.MemberObservation) {
				o.Service = planner.Known(planner.Service{State: planner.ServiceFailed, LastError: "tocommit(1200) is out of range [lastIndex(1100)]", Log: "/data/m9.requorum/log"})
			})
		}},
		{name: "nine-five-lost", kinds: []string{"serving", "serving", "serving", "serving", "missing", "damaged", "missing", "removed", "damaged"}, edit: func(in *planner.Input) {
			see(in, "m9", func(o *planner.MemberObservation) { o.Data.Value.Problem = "invalid database" })
		}},
		{name: "refused-split", kinds: []string{"down", "down", "missing"}, edit: func(in *planner.Input) {
			twoMoreLost(in, "m1", "m2")
			see(in, "m2", func(o *planner.MemberObservation) {
				l := *o.Data.Value.Log
				l.Sums = append([]uint32{7}, l.Sums[1:]...)
				o.Data.Value.Log = &l
			})
		}},
		{name: "refused-host-alive", kinds: []string{"down", "down", "missing"}, edit: func(in *planner.Input) {
			twoMoreLost(in, "m1", "m2")
			leavesFile(in, "m2", planner.ReachServing)
		}},
		{name: "upgrade", kinds: []string{"serving", "serving", "serving"}, edit: func(in *planner.Input) {
			planner.RunsVersions(in, "3.7", "3.5.20", "3.5.20", "3.5.20")
		}},
		{name: "downgrade", kinds: []string{"serving", "serving", "serving"}, edit: func(in *planner.Input) {
			planner.RunsVersions(in, "3.6", "3.7.3", "3.7.3", "3.7.3")
		}},
		{name: "downgrade-cancel", kinds: []string{"serving", "serving", "serving"}, edit: func(in *planner.Input) {
			planner.RunsVersions(in, "3.7", "3.7.3", "3.7.3", "3.7.3")
			for _, m := range in.Cluster.Members {
				see(in, m.Name, func(o *planner.MemberObservation) {
					o.Client.Downgrade, o.Client.ClusterVersion, o.Client.StorageVersion = "3.6.0", "3.6.0", "3.6.0"
				})
			}
		}},
		{name: "refused-missing", kinds: []string{"missing", "missing", "missing"}},
	}
}

// nine are nine members, the last four of these kinds.
func nine(last ...string) []string {
	return append([]string{"serving", "serving", "serving", "serving", "serving"}, last...)
}

func see(in *planner.Input, name string, f func(*planner.MemberObservation)) {
	o := in.Observation.Members[name]
	f(&o)
	in.Observation.Members[name] = o
}

// twoMoreLost puts two members into the list on these disks of whom nothing is left.
func twoMoreLost(in *planner.Input, names ...string) {
	for _, n := range names {
		see(in, n, func(o *planner.MemberObservation) {
			o.Data.Value.Members = append(o.Data.Value.Members[:3:3],
				planner.ListedMember{ID: "d4", Name: "m4", PeerURLs: []string{"http://127.0.0.1:2384"}},
				planner.ListedMember{ID: "d5", Name: "m5", PeerURLs: []string{"http://127.0.0.1:2385"}})
		})
	}
}

// leavesFile takes a member out of the file; it answers, or not.
func leavesFile(in *planner.Input, name string, reach planner.Reach) {
	for i, m := range in.Cluster.Members {
		if m.Name != name {
			continue
		}
		var l planner.ListedMember
		for _, o := range in.Observation.Members {
			for _, x := range append(o.Client.Members.Value, o.Data.Value.Members...) {
				if x.Name == name {
					l = x
				}
			}
		}
		in.Observation.Others = []planner.OtherMember{{
			ListedMember: l,
			Client:       planner.Endpoint{URL: m.ClientURLs[0], Reach: reach, MemberID: l.ID, LeaderID: l.ID, Version: "3.7.3"},
			Peer:         planner.PeerEndpoint{URL: m.PeerURLs[0], Reach: reach},
		}}
		in.Cluster.Members = append(in.Cluster.Members[:i:i], in.Cluster.Members[i+1:]...)
		delete(in.Observation.Members, name)
		return
	}
}

// doubt has m1's log end in entries that nothing proves.
func doubt(in *planner.Input) {
	see(in, "m1", func(o *planner.MemberObservation) {
		d := &o.Data.Value
		d.Commit, d.Revision = 1197, 20913
		d.Tail = []planner.TailEntry{
			{Index: 1198, Term: 3, Kind: planner.EntryPut, Key: "/registry/pods/a", Text: "put /registry/pods/a"},
			{Index: 1199, Term: 3, Kind: planner.EntryDelete, Key: "/registry/leases/b", Text: "delete /registry/leases/b", Risky: true},
			{Index: 1200, Term: 3, Kind: planner.EntryPut, Key: "/registry/pods/c", Text: "put /registry/pods/c"},
		}
	})
}

func (g golden) input() planner.Input {
	in := planner.InputOf(g.snapshot, g.kinds...)
	if g.edit != nil {
		g.edit(&in)
	}
	return in
}

func (g golden) plan() *planner.Plan {
	if g.stop {
		return planner.NewStop(g.input(), nil)
	}
	return planner.New(g.input())
}

func TestGoldenText(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			p := g.plan()
			if strings.HasPrefix(g.name, "refused-") != (p.Refusal != nil) {
				t.Errorf("refusal %+v", p.Refusal)
			}
			compare(t, g.name+".txt", render.Text(p, render.Plain()))
		})
	}
}

func TestGoldenStatus(t *testing.T) {
	for _, g := range goldens()[:3] {
		t.Run(g.name, func(t *testing.T) {
			compare(t, "status-"+g.name+".txt", render.Status(g.input(), g.plan(), render.Plain()))
		})
	}
}

// compare holds the text to the file, and to what no rewrite of the file can
// excuse: 80 columns, no trailing blanks.
func compare(t *testing.T, name, got string) {
	t.Helper()
	for i, line := range strings.Split(got, "\n") {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("line %d is %d columns wide: %s", i+1, n, line)
		}
		if line != strings.TrimRight(line, " ") {
			t.Errorf("line %d ends in blanks: %q", i+1, line)
		}
	}
	compareFile(t, name, got)
}

// compareFile holds the text to the file alone.
func compareFile(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

// TestTextTellsTheTruth: whatever the wording, a plan's text names every step's
// target, every consent and the refusal's code.
func TestTextTellsTheTruth(t *testing.T) {
	for _, g := range goldens() {
		p := g.plan()
		text := render.Text(p, render.Plain())
		var must []string
		for _, n := range p.Needs {
			must = append(must, "--accept="+string(n.Consent))
		}
		for _, s := range p.Steps {
			must = append(append(must, s.Title), s.Target...)
		}
		if p.Refusal != nil {
			must = append(must, string(p.Refusal.Code), "Nothing was changed")
		}
		for _, m := range p.Members {
			must = append(must, m.Name)
		}
		for _, s := range must {
			if !strings.Contains(text, s) {
				t.Errorf("%s does not say %q:\n%s", g.name, s, text)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	for _, g := range goldens() {
		b, err := render.JSON(g.plan())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), "{\n  \"requorum_plan\": \"1.1\"") {
			t.Errorf("%s: the first key is not requorum_plan", g.name)
		}
		var back struct {
			Steps []struct {
				Kind   string          `json:"kind"`
				Action json.RawMessage `json:"action"`
			} `json:"steps"`
		}
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		for i, s := range back.Steps {
			want := g.plan().Steps[i].Action
			got := reflect.New(reflect.TypeOf(want))
			if err := json.Unmarshal(s.Action, got.Interface()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Elem().Interface(), want) {
				t.Errorf("%s: step %d does not survive JSON: %+v", g.name, i+1, got.Elem().Interface())
			}
		}
	}
}

// TestEveryActionIsPlanned: no action can be added without a plan here that has
// it, and so a rendering.
func TestEveryActionIsPlanned(t *testing.T) {
	seen := map[string]bool{}
	plans := append(goldens(), golden{name: "adopt", kinds: []string{"orphaned", "serving", "serving"}})
	for _, g := range plans {
		for _, s := range g.plan().Steps {
			seen[s.Kind] = true
			if s.Title == "" || s.Wait == "" || s.TimeoutSeconds <= 0 || len(s.Equivalent) == 0 || s.Reason.Fact == "" || (s.Undo == "") == (s.NoUndo == "") {
				t.Errorf("%s: step %d says too little: %+v", g.name, s.ID, s)
			}
		}
	}
	for _, a := range planner.Actions() {
		if !seen[a.Kind()] {
			t.Errorf("no plan here has %q", a.Kind())
		}
	}
}
