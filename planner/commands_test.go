package planner

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// commanded is a cluster whose members have commands of their own; edit changes how each
// one's service was seen.
func commanded(c *spec.Cluster, edit func(name string, s *Fact[Service]), ks ...kind) Input {
	c.Etcd.Binary = "/usr/bin/etcd"
	for i := range c.Members {
		m := &c.Members[i]
		m.Host = "host-" + m.Name
		c.Hosts = append(c.Hosts, spec.Host{Name: m.Host, Access: spec.AccessLocal, Service: spec.Service{
			Kind: spec.ServiceCommand, Start: []string{"sv", "start", "etcd " + m.Name}, Stop: []string{"sv", "stop", "etcd"}, Status: []string{"sv-status"},
			Pos: spec.Position{File: "demo.hcl", Line: 40 + i},
		}})
	}
	in := input(c, ks...)
	for name, o := range in.Observation.Members {
		if !o.Service.Known() {
			continue
		}
		s := &o.Service.Value
		s.Commands = &CommandService{}
		if s.State == ServiceRunning {
			s.SupervisorPID, s.Binary = 1, "/usr/bin/etcd"
		}
		if edit != nil {
			edit(name, &o.Service)
		}
		in.Observation.Members[name] = o
	}
	return in
}

func noticed(p *Plan, code Code, words string) bool {
	return slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.Code == code && strings.Contains(n.Text, words) })
}

func TestCommandsInSync(t *testing.T) {
	p := planOf(t, commanded(threeMembers(), nil, serving, serving, serving))
	if p.Route != RouteInSync || len(p.Steps) != 0 {
		t.Fatalf("%s: %+v", p.Headline, p.Steps)
	}
}

// What a member's own script gives it beside the file's settings stays, and is in the
// file that requorum writes.
func TestCommandsKeepSettings(t *testing.T) {
	c := threeMembers()
	own := func(name string, s *Fact[Service]) {
		s.Value.Args = append(slices.Clone(s.Value.Args), "--quota-backend-bytes=8589934592", "--grpc-keepalive-min-time=90s")
	}
	if p := planOf(t, commanded(c, own, serving, serving, serving)); p.Route != RouteInSync {
		t.Fatalf("%s", p.Headline)
	}
	c = threeMembers()
	in := commanded(c, own, serving, serving, serving)
	c.Etcd.Config = map[string]string{"snapshot-count": "5000"}
	p := planOf(t, in)
	started := 0
	for _, s := range p.Steps {
		a, ok := s.Action.(Start)
		if !ok {
			continue
		}
		started++
		text := a.Members[0].Files[0].Text
		for _, want := range []string{"\nquota-backend-bytes: 8589934592\n", "\nsnapshot-count: 5000\n", "\ngrpc-keepalive-min-time: 90000000000\n", "\ninitial-cluster-state: \"existing\"\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		if a.Members[0].Files[0].Path != a.Members[0].DataDir+".requorum/etcd.yaml" || len(s.Files) != 1 || !s.Files[0].New || len(s.Equivalent) != 1 || !strings.HasPrefix(s.Equivalent[0], "sv start 'etcd m") {
			t.Errorf("%+v", s)
		}
	}
	if started != 3 {
		t.Errorf("%d of 3 are restarted: %s", started, p.Headline)
	}
}

// A setting of theirs that is a secret is in no plan: one that would have to have it is
// refused.
func TestCommandsSettingsNotTold(t *testing.T) {
	own := func(name string, s *Fact[Service]) {
		s.Value.Args = append(slices.Clone(s.Value.Args), "--cors=http://"+Untold+"@127.0.0.1:9")
	}
	if p := planOf(t, commanded(threeMembers(), own, serving, serving, serving)); p.Route != RouteInSync {
		t.Fatalf("%s", p.Headline)
	}
	c := threeMembers()
	in := commanded(c, own, serving, serving, serving)
	c.Etcd.Config = map[string]string{"snapshot-count": "5000"}
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeFeatureUnsupported || !strings.Contains(p.Refusal.Title, "without --cors") {
		t.Errorf("%+v", p.Refusal)
	}
}

// What can't be compared is said.
func TestCommandsNotCompared(t *testing.T) {
	p := planOf(t, commanded(threeMembers(), func(name string, s *Fact[Service]) {
		if name == "m1" {
			s.Value.Args, s.Value.LastError = nil, "the settings of process 7 can't be told"
		}
	}, serving, serving, serving))
	if p.Route != RouteInSync || !noticed(p, NoteRemaining, "m1 runs was not compared with the file: the settings of process 7") {
		t.Errorf("%s: %+v", p.Headline, p.Notices)
	}
	in := commanded(threeMembers(), nil, serving, serving, serving)
	edit(&in, "m2", func(o *MemberObservation) { o.Client.Version = "3.7.1" })
	edit(&in, "m2", func(o *MemberObservation) { o.Binary = Known(Binary{Path: "/usr/bin/etcd", Version: "3.7.3"}) })
	if p := planOf(t, in); !noticed(p, NoteRemaining, "m2 serves etcd 3.7.1, and the one that the file names is 3.7.3") {
		t.Errorf("%s: %+v", p.Headline, p.Notices)
	}
}

// A first start shows no cluster's beginning to the commands; a closed one has no file.
func TestCommandsFiles(t *testing.T) {
	p := planOf(t, commanded(threeMembers(), nil, fresh, fresh, fresh))
	for _, s := range p.Steps {
		if a, ok := s.Action.(Start); ok {
			for _, m := range a.Members {
				if !m.Bootstrap || len(m.Files) != 1 || strings.Contains(m.Files[0].Text, "initial-cluster:") || strings.Contains(m.Files[0].Text, "\"new\"") {
					t.Errorf("%+v", m)
				}
			}
		}
	}
	p = planOf(t, commanded(threeMembers(), nil, down, missing, missing))
	closed, open := 0, 0
	for _, s := range p.Steps {
		if a, ok := s.Action.(Start); ok {
			for _, m := range a.Members {
				if Closed(m.Args) {
					closed += 1 + len(m.Files)
				} else {
					open += len(m.Files)
				}
			}
		}
	}
	if closed != 3 || open != 3 {
		t.Errorf("%d closed, %d files", closed, open)
	}
	if !noticed(p, NoteNotBarred, "m1's commands") || !noticed(p, NoteNotBarred, "m2, m3's commands") || !noticed(p, NoteNoBootStart, "up to what the commands start") {
		t.Errorf("%+v", p.Notices)
	}
}

// How a member stands is not known: it is neither started, nor fenced, nor stopped.
func TestCommandsUnknown(t *testing.T) {
	hangs := func(which ...string) func(string, *Fact[Service]) {
		return func(name string, s *Fact[Service]) {
			if slices.Contains(which, name) {
				*s = Unknown[Service]("its status command did not end")
			}
		}
	}
	for _, tc := range []struct {
		name string
		in   Input
	}{
		{"down", commanded(threeMembers(), hangs("m3"), serving, serving, down)},
		{"the only disk", commanded(threeMembers(), hangs("m1"), down, missing, missing)},
		{"nothing there", commanded(threeMembers(), hangs("m1"), fresh, fresh, fresh)},
	} {
		p := New(tc.in)
		if p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit || !strings.Contains(strings.Join(p.Refusal.Remedy, " "), "sv-status") {
			t.Errorf("%s: %+v, %s", tc.name, p.Refusal, p.Headline)
		}
	}
	// It serves: nothing is to be done, and that is not known is said.
	p := planOf(t, commanded(threeMembers(), hangs("m3"), serving, serving, serving))
	if p.Route != RouteInSync || !noticed(p, NoteNotSupervised, "did not end") {
		t.Errorf("%s: %+v", p.Headline, p.Notices)
	}
	// It serves without a quorum, the others' data is gone: it would be fenced.
	if p := New(commanded(threeMembers(), hangs("m1"), serving, missing, missing)); p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit {
		t.Errorf("%+v, %s", p.Refusal, p.Headline)
	}
}

// Nothing says which etcd the commands start, or a setting has no place in the file.
func TestCommandsUnfit(t *testing.T) {
	in := commanded(threeMembers(), nil, serving, serving, serving)
	in.Cluster.Etcd.Binary = ""
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit || p.Refusal.Pos.Line != 40 {
		t.Errorf("%+v", p.Refusal)
	}
	in = commanded(threeMembers(), nil, down, down, down)
	in.Cluster.Etcd.Config = map[string]string{"peer-crl-file": "/crl"}
	if p := New(in); p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit || !strings.Contains(p.Refusal.Detail, "peer-crl-file") {
		t.Errorf("%+v, %s", p.Refusal, p.Headline)
	}
}

// A member that runs under requorum's own supervisor, and that the file gives to
// commands, is restarted by them; it is not adopted.
func TestCommandsTakeOver(t *testing.T) {
	p := planOf(t, commanded(threeMembers(), func(name string, s *Fact[Service]) {
		if name == "m2" {
			s.Value.SupervisorPID, s.Value.Commands.Interim, s.Value.Carried = 76, true, []string{"--quota-backend-bytes=7"}
			s.Value.Args = append(slices.Clone(s.Value.Args), "--quota-backend-bytes=7")
		}
	}, serving, serving, serving))
	var kinds []string
	for _, s := range p.Steps {
		kinds = append(kinds, s.Kind)
	}
	if !slices.Contains(kinds, "stop") || !slices.Contains(kinds, "start") || slices.Contains(kinds, "adopt") {
		t.Errorf("%v: %s", kinds, p.Headline)
	}
	for _, s := range p.Steps {
		a, ok := s.Action.(Start)
		if !ok {
			continue
		}
		if !strings.Contains(a.Members[0].Files[0].Text, "quota-backend-bytes: 7\n") {
			t.Errorf("%s", a.Members[0].Files[0].Text)
		}
		in := commanded(threeMembers(), func(name string, s *Fact[Service]) { s.Value.Commands.Interim = name == "m2" }, serving, serving, serving)
		if ok, why := Holds(a, in.Observation); ok || !strings.Contains(why, "have not started it yet") {
			t.Errorf("the step is called done: %q", why)
		}
		in = commanded(threeMembers(), nil, serving, serving, serving)
		if _, why := Holds(a, in.Observation); why != "" {
			t.Error(why)
		}
	}
	// A first start that was cut short is seen by a stop.
	in := commanded(threeMembers(), func(_ string, s *Fact[Service]) { s.Value.Commands.Interim = true }, serving, serving, serving)
	if p := NewStop(in, nil); len(p.Steps) == 0 || !strings.HasPrefix(p.Steps[0].Equivalent[0], "kill ") {
		t.Errorf("%s", p.Headline)
	}
}

// No start command is run that gives --force-new-cluster.
func TestCommandsThatForceANewCluster(t *testing.T) {
	force := func(which string) func(string, *Fact[Service]) {
		return func(name string, s *Fact[Service]) {
			if name == which {
				s.Value.Args = append(slices.Clone(s.Value.Args), "--force-new-cluster=true")
			}
		}
	}
	for _, ks := range [][]kind{{serving, serving, serving}, {serving, serving, down}, {serving, missing, missing}, {serving, serving, fresh}} {
		p := New(commanded(threeMembers(), force("m1"), ks...))
		if p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit || !strings.Contains(p.Refusal.Title, "m1's commands run etcd with --force-new-cluster") || len(p.Steps) > 0 {
			t.Errorf("%v: %+v, %s", ks, p.Refusal, p.Headline)
		}
	}
}

// The service of a member that the file has no more is stopped by its own command.
func TestCommandsOfARemovedMember(t *testing.T) {
	in := commanded(threeMembers(), nil, serving, serving, serving)
	b := newBuilder(in)
	b.obs.JournalPlaces = []Place{{Name: "m9", Host: "h9", DataDir: "/data/m9", Commands: &Commands{Start: []string{"up"}, Stop: []string{"rc-service", "etcd", "stop"}, Status: []string{"st"}}}}
	b.stopRemoved(&seat{name: "m9", started: true})
	s := b.plan.Steps[0]
	if a := s.Action.(Stop); a.Members[0].Commands == nil || !a.Members[0].Removed || !strings.HasPrefix(s.Equivalent[0], "rc-service etcd stop") || !strings.Contains(s.Wait, "see to it") {
		t.Errorf("%+v", s)
	}
}

func TestShellLine(t *testing.T) {
	for want, argv := range map[string][]string{
		"sv start etcd":        {"sv", "start", "etcd"},
		`sh -c 'echo it'\''s'`: {"sh", "-c", "echo it's"},
	} {
		if shellLine(argv) != want {
			t.Errorf("%q, want %q", shellLine(argv), want)
		}
	}
	if got := shellLine([]string{"x", "", "$HOME"}); got != "x '' '$HOME'" {
		t.Error(got)
	}
}

func TestNanoseconds(t *testing.T) {
	for s, want := range map[string]int64{"1s": 1e9, "1h2m3s": 3723e9, "0.5s": 5e8, "100ms": 1e8, "10us": 1e4, "1.5h": 5400e9} {
		if got, ok := nanoseconds(s); !ok || got != want {
			t.Errorf("%s: %d %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "1", "5x", "s", "1h2", "-1s", "1..2s", "99999999999h"} {
		if got, ok := nanoseconds(s); ok {
			t.Errorf("%q: %d", s, got)
		}
	}
}

// What the commands gave a member that is down, beside the file's settings, is not known.
func TestCommandsSettingsNotSeen(t *testing.T) {
	gone := func(_ string, s *Fact[Service]) {
		if s.Value.State != ServiceRunning {
			s.Value.State, s.Value.Carried = ServiceNone, nil
		}
	}
	p := planOf(t, commanded(threeMembers(), gone, serving, serving, down))
	if !noticed(p, NoteRemaining, "with which settings m3 ran is not known") {
		t.Errorf("%s: %+v", p.Headline, p.Notices)
	}
	recorded := func(name string, s *Fact[Service]) {
		gone(name, s)
		if s.Value.State == ServiceNone {
			s.Value.State, s.Value.Carried = ServiceStopped, []string{"--quota-backend-bytes=7"}
		}
	}
	for _, edit := range []func(string, *Fact[Service]){recorded, func(name string, s *Fact[Service]) { gone(name, s); s.Value.Commands.Config = "# x" }} {
		if p := planOf(t, commanded(threeMembers(), edit, serving, serving, down)); noticed(p, NoteRemaining, "with which settings") {
			t.Errorf("%s: %+v", p.Headline, p.Notices)
		}
	}
	if p := planOf(t, commanded(threeMembers(), nil, fresh, fresh, fresh)); noticed(p, NoteRemaining, "with which settings") {
		t.Errorf("%+v", p.Notices)
	}
}

// What is not known is not taken for stopped by a stop either.
func TestCommandsStopUnknown(t *testing.T) {
	for _, k := range []kind{serving, down} {
		in := commanded(threeMembers(), func(name string, s *Fact[Service]) {
			if name == "m3" {
				*s = Unknown[Service]("it hangs")
			}
		}, serving, serving, k)
		if p := NewStop(in, nil); p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit {
			t.Errorf("%s", p.Headline)
		}
		if p := NewStop(in, []string{"m1"}); p.Refusal != nil {
			t.Errorf("%+v", p.Refusal)
		}
	}
}

// Each step has the time that its commands may take.
func TestCommandsTime(t *testing.T) {
	in := commanded(threeMembers(), nil, serving, serving, serving)
	for _, s := range NewStop(in, nil).Steps {
		if _, ok := s.Action.(Stop); ok && s.TimeoutSeconds < CommandStopSeconds+CommandGoDownSeconds+60 {
			t.Errorf("%s: %d s", s.Title, s.TimeoutSeconds)
		}
	}
	for _, s := range planOf(t, commanded(threeMembers(), nil, down, missing, missing)).Steps {
		switch s.Action.(type) {
		case Stop, Fence:
			if s.TimeoutSeconds < CommandStopSeconds+CommandGoDownSeconds+60 {
				t.Errorf("%s: %d s", s.Title, s.TimeoutSeconds)
			}
		case Start:
			if s.TimeoutSeconds < CommandStartSeconds+CommandComeUpSeconds+60 {
				t.Errorf("%s: %d s", s.Title, s.TimeoutSeconds)
			}
		}
	}
}

// A recovery that keeps the identity has to have a fence at every place.
func TestCommandsInPlaceBesideVacantPlaces(t *testing.T) {
	c := threeMembers()
	c.Recover = &spec.Recover{From: "m1", InPlace: true}
	p := New(commanded(c, nil, down, missing, missing))
	if p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit || !strings.Contains(p.Refusal.Title, "m2, m3's commands") {
		t.Errorf("%+v, %s", p.Refusal, p.Headline)
	}
	// Nor is one gone on with that was begun before, and lost a fence since.
	for _, ran := range []bool{false, true} {
		in := commanded(threeMembers(), nil, down, missing, missing)
		edit(&in, "m1", func(o *MemberObservation) {
			d := &o.Data.Value
			d.Members, d.EverRan, d.ProvenanceAgrees = d.Members[:1], ran, true
			d.Provenance = &Provenance{Kind: ProvenanceForceNew, Token: "force-new-x", ClusterID: d.ClusterID, MemberID: d.MemberID}
			if ran {
				o.Service.Value.Args = closedArgs([]string{"--name=m1", "--data-dir=" + in.Cluster.Members[0].DataDir, "--listen-client-urls=" + in.Cluster.Members[0].ClientURLs[0]})
			}
		})
		p = New(in)
		if p.Refusal == nil || p.Refusal.Code != CodeCommandsUnfit || len(p.Refusal.Remedy) != 1 || strings.Contains(p.Refusal.Remedy[0], "in_place") {
			t.Errorf("%+v, %s", p.Refusal, p.Headline)
		}
	}
}

// An audit tells of such a member what a plan would restart it for, and no more: which
// program its commands run is theirs.
func TestDifferencesUnderCommands(t *testing.T) {
	in := commanded(threeMembers(), func(name string, s *Fact[Service]) {
		if name == "m2" {
			s.Value.Commands.Interim, s.Value.Binary = true, "requorum"
		}
	}, serving, serving, serving)
	got := Differences(in)
	if len(got) != 1 || got[0].Kind != DiffersKeeper || got[0].Member != "m2" || !strings.Contains(got[0].Fact, "the file's commands are to keep it") {
		t.Errorf("%+v", got)
	}
}
