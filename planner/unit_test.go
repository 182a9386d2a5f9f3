package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// packaged is a unit as Debian's package has it, one for each member of c.
func packaged(c *spec.Cluster, edit func(name string, u *Unit)) (*spec.Cluster, func(*Input)) {
	for i := range c.Members {
		m := &c.Members[i]
		m.Host = "host-" + m.Name
		c.Hosts = append(c.Hosts, spec.Host{Name: m.Host, Access: spec.AccessLocal, Service: spec.Service{
			Kind: spec.ServiceSystemd, Unit: "etcd.service", Pos: spec.Position{File: "demo.hcl", Line: 40 + i},
		}})
	}
	return c, func(in *Input) {
		for name, o := range in.Observation.Members {
			if !o.Service.Known() {
				continue
			}
			u := &Unit{
				Name: "etcd.service", Load: "loaded", Enabled: "enabled", Fragment: "/lib/systemd/system/etcd.service",
				Program: []string{"/usr/bin/etcd"}, Own: []string{"/usr/local/lib/requorum/requorum-1", "etcd"},
			}
			if edit != nil {
				edit(name, u)
			}
			s := &o.Service.Value
			s.Unit = u
			if s.State == ServiceRunning {
				s.SupervisorPID, s.Binary = 1, "/usr/bin/etcd"
			}
			m, _ := c.Member(name)
			s.Args = append(slices.DeleteFunc(etcdArgs(c, m, oldToken, "new"), func(a string) bool { return strings.HasPrefix(a, "--quota") }), "--snapshot-count=5000")
			in.Observation.Members[name] = o
		}
	}
}

func underUnits(c *spec.Cluster, edit func(string, *Unit), ks ...kind) Input {
	c, apply := packaged(c, edit)
	in := input(c, ks...)
	apply(&in)
	return in
}

func planOf(t *testing.T, in Input) *Plan {
	t.Helper()
	p := New(in)
	if p.Refusal != nil {
		t.Fatalf("refused: %+v", p.Refusal)
	}
	return p
}

// A cluster that a package's units keep, as the file says: nothing is done, and what
// only the units set stays theirs.
func TestPackagedUnitsAreInSync(t *testing.T) {
	p := planOf(t, underUnits(threeMembers(), nil, serving, serving, serving))
	if p.Route != RouteInSync || p.Changes() {
		t.Errorf("%s: %s, %d steps", p.Route, p.Headline, len(p.Steps))
	}
	for _, n := range p.Notices {
		if n.Code == NoteNoBootStart || n.Code == NoteNotSupervised {
			t.Errorf("%s: %s", n.Code, n.Text)
		}
	}
	p = planOf(t, underUnits(threeMembers(), func(_ string, u *Unit) { u.Enabled = "disabled" }, serving, serving, serving))
	if !slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.Code == NoteNoBootStart }) {
		t.Errorf("nothing says that the units are not enabled: %+v", p.Notices)
	}
}

// A setting that the file has otherwise restarts the members, one after the other, each
// with a drop-in that has the unit's other settings too.
func TestDropInForAnotherSetting(t *testing.T) {
	c := threeMembers()
	c.Etcd.Config = map[string]string{"quota-backend-bytes": "8589934592"}
	p := planOf(t, underUnits(c, func(_ string, u *Unit) { u.Environment = []string{"GOMAXPROCS=2"} }, serving, serving, serving))
	starts := 0
	for _, s := range p.Steps {
		a, ok := s.Action.(Start)
		if !ok {
			continue
		}
		starts++
		m := a.Members[0]
		if len(a.Members) != 1 || len(m.Files) != 1 || len(s.Files) != 1 || !s.Files[0].New {
			t.Fatalf("%+v", s)
		}
		text := m.Files[0].Text
		for _, want := range []string{
			"\nExecStart=\nExecStart=/usr/bin/etcd \\\n    --name=" + m.Name + " \\\n", "--quota-backend-bytes=8589934592", "--snapshot-count=5000",
			"\nEnvironment=\nEnvironmentFile=\nEnvironment=GOMAXPROCS=2\n", "AssertPathIsDirectory=" + m.DataDir + "/member/wal\n", "--initial-cluster-state=existing\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		if strings.Contains(text, "--initial-cluster=") || strings.Contains(text, "--initial-cluster-token") {
			t.Errorf("it would begin anew on an empty directory:\n%s", text)
		}
		if m.Files[0].Path != "/etc/systemd/system/etcd.service.d/zz-requorum.conf" || m.Files[0].Was != "" {
			t.Errorf("%+v", m.Files[0])
		}
		for _, line := range s.Files[0].Lines {
			if !strings.HasPrefix(line, "+") {
				t.Errorf("of a new file: %q", line)
			}
		}
	}
	if starts != 3 || p.Route != RouteReconfigure {
		t.Errorf("%s, %d starts", p.Route, starts)
	}
}

// A unit that is down, and as the file wants it, is only started.
func TestUnitThatIsDownIsOnlyStarted(t *testing.T) {
	p := planOf(t, underUnits(threeMembers(), nil, serving, serving, down))
	for _, s := range p.Steps {
		if a, ok := s.Action.(Start); ok && (len(a.Members[0].Files) > 0 || !slices.Equal(a.Members[0].Program, []string{"/usr/bin/etcd"})) {
			t.Errorf("%+v", a)
		}
	}
	if p.Route != RouteStart {
		t.Errorf("%s", p.Route)
	}
}

// Data of a new identity, or none yet: the unit must not begin on its own settings.
func TestNewIdentityGetsItsFile(t *testing.T) {
	p := planOf(t, underUnits(withSnapshot(threeMembers()), nil, missing, missing, missing))
	files := 0
	left := map[string]string{}
	for _, s := range p.Steps {
		files += len(s.Files)
		a, ok := s.Action.(Start)
		if !ok {
			continue
		}
		for _, m := range a.Members { // what the one step writes, the other finds
			for _, f := range m.Files {
				if f.Was != left[m.Name] {
					t.Errorf("%s %s: %s was to be %q, and is %q", s.Title, m.Name, f.Path, f.Was, left[m.Name])
				}
				sum := sha256.Sum256([]byte(f.Text))
				left[m.Name] = hex.EncodeToString(sum[:])
			}
		}
	}
	if p.Route != RouteRestore || files != 6 { // closed first, then for clients
		t.Errorf("%s, %d files", p.Route, files)
	}

	in := underUnits(threeMembers(), func(_ string, u *Unit) {
		*u = Unit{Name: u.Name, Load: "not-found", Own: u.Own}
	}, fresh, fresh, fresh)
	for name, o := range in.Observation.Members {
		o.Service.Value.Args = nil
		in.Observation.Members[name] = o
	}
	p = planOf(t, in)
	for _, s := range p.Steps {
		a, ok := s.Action.(Start)
		if !ok {
			continue
		}
		for _, m := range a.Members {
			if !m.Bootstrap || len(m.Files) != 1 || m.Files[0].Path != "/etc/systemd/system/etcd.service" || !slices.Equal(m.Program, []string{"/usr/local/lib/requorum/requorum-1", "etcd"}) {
				t.Fatalf("%+v", m)
			}
			for _, want := range []string{"Type=notify\nExecStart=/usr/local/lib/requorum/requorum-1 \\\n    etcd \\\n", "WantedBy=multi-user.target", "TimeoutStartSec=infinity"} {
				if !strings.Contains(m.Files[0].Text, want) {
					t.Errorf("%q is not in\n%s", want, m.Files[0].Text)
				}
			}
		}
	}
	if p.Route != RouteBootstrap {
		t.Errorf("%s", p.Route)
	}
}

func TestUnitsThatCantBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		in   Input
		want Code
		says string
	}{
		"another name": {func() Input {
			in := underUnits(threeMembers(), func(name string, u *Unit) {
				if name == "m2" {
					u.Load, u.Nearest = "not-found", "etcd-server.service"
				}
			}, serving, kept, serving)
			return in
		}(), CodeUnitUnusable, `Did you mean "etcd-server.service"?`},
		"masked":    {underUnits(threeMembers(), func(_ string, u *Unit) { u.Load = "masked" }, serving, serving, down), CodeUnitUnusable, "systemctl unmask etcd.service"},
		"contested": {underUnits(threeMembers(), func(_ string, u *Unit) { u.Barred, u.Undone = true, "etcd.service was unmasked" }, fenced, missing, missing), CodeUnitContested, "etcd.service was unmasked"},
		"no systemd": {underUnits(threeMembers(), func(_ string, u *Unit) { u.Load, u.Problem = "not-found", "systemd does not run on this host" }, down, down, down),
			CodeUnitUnusable, "systemd does not run"},
		"a script": {func() Input {
			c := threeMembers()
			c.Etcd.Config = map[string]string{"quota-backend-bytes": "1"}
			return underUnits(c, func(_ string, u *Unit) { u.Program = nil }, serving, serving, serving)
		}(), CodeUnitUnusable, "can't be told"},
		"hangs": {func() Input {
			in := underUnits(threeMembers(), nil, serving, serving, down)
			o := in.Observation.Members["m3"]
			o.Service = Unknown[Service]("systemctl show did not end within 5s")
			in.Observation.Members["m3"] = o
			return in
		}(), CodeUnitUnusable, "did not end within 5s"},
	} {
		p := New(c.in)
		if p.Refusal == nil || p.Refusal.Code != c.want {
			t.Errorf("%s: %s %+v", name, p.Headline, p.Refusal)
			continue
		}
		if text := p.Refusal.Title + p.Refusal.Detail + strings.Join(p.Refusal.Remedy, " "); !strings.Contains(text, c.says) {
			t.Errorf("%s: %q is not in %q", name, c.says, text)
		}
	}
}

// After a fence the unit is barred, after a start it is not.
func TestUnitPrediction(t *testing.T) {
	in := underUnits(withSnapshot(threeMembers()), nil, down, missing, missing)
	in.Accept = map[Consent]bool{ConsentDataLoss: true}
	p := planOf(t, in)
	barred := false
	for _, s := range p.Steps {
		next, err := Predict(in.Observation, s.Action)
		if err != nil {
			t.Fatal(s.Title, err)
		}
		in.Observation = next
		u := next.Members["m1"].Service.Value.Unit
		switch s.Action.(type) {
		case Fence:
			barred = u.Barred
		case Start:
			if u.Barred || !u.Ours || u.Enabled != "enabled" {
				t.Errorf("after %s: %+v", s.Title, u)
			}
		}
	}
	if !barred {
		t.Error("the fence does not bar the unit")
	}
}

func TestDiffLines(t *testing.T) {
	got := diffLines("a\nb\nc\n", "a\nx\nc\nd\n")
	if want := []string{" a", "-b", "+x", " c", "+d"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := diffLines("", "a\n"); !slices.Equal(got, []string{"+a"}) {
		t.Errorf("%q", got)
	}
}

func TestExecStart(t *testing.T) {
	for want, argv := range map[string][]string{
		"/usr/bin/etcd \\\n    --name=m1":        {"/usr/bin/etcd", "--name=m1"},
		"/usr/bin/etcd \\\n    \"--name=a b\"":   {"/usr/bin/etcd", "--name=a b"},
		"/usr/bin/etcd \\\n    --x=%%h$$HOME":    {"/usr/bin/etcd", "--x=%h$HOME"},
		"/usr/bin/etcd \\\n    \"--x=\\\"\\\\\"": {"/usr/bin/etcd", `--x="\`},
	} {
		if got := ExecStart(argv); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

// A process that runs as the file says is left alone; what its unit would start the next
// time is made to be so too.
func TestUnitThatWouldStartSomethingElse(t *testing.T) {
	for name, edit := range map[string]func(*Unit, *Service){
		"another data directory": func(u *Unit, s *Service) { u.Next = replaceFlag(s.Args, "--data-dir=/elsewhere") },
		"force-new-cluster":      func(u *Unit, s *Service) { u.Next = append(slices.Clone(s.Args), "--force-new-cluster=true") },
		"a lost setting":         func(u *Unit, s *Service) { u.Next = s.Args[:len(s.Args)-1] },
		"another binary":         func(u *Unit, s *Service) { u.Next, u.Program = s.Args, []string{"/opt/etcd-3.5/etcd"} },
	} {
		c := threeMembers()
		c.Etcd.Binary = "/usr/bin/etcd"
		in := underUnits(c, nil, serving, serving, serving)
		for _, o := range in.Observation.Members {
			o.Service.Value.Unit.Next = o.Service.Value.Args
		}
		if p := planOf(t, in); p.Changes() {
			t.Fatalf("%s: %s", name, p.Headline)
		}
		o := in.Observation.Members["m2"]
		edit(o.Service.Value.Unit, &o.Service.Value)
		p := planOf(t, in)
		if len(p.Steps) != 1 || len(p.Needs) > 0 {
			t.Fatalf("%s: %s: %+v", name, p.Headline, p.Steps)
		}
		a, ok := p.Steps[0].Action.(Adopt)
		if !ok || len(a.Members) != 1 || a.Members[0].Name != "m2" || len(a.Members[0].Files) != 1 || len(p.Steps[0].Files) != 1 {
			t.Fatalf("%s: %+v", name, p.Steps[0])
		}
		text := a.Members[0].Files[0].Text
		if !strings.Contains(text, "ExecStart=\nExecStart=/usr/bin/etcd \\\n") || !strings.Contains(text, "--snapshot-count=5000") || strings.Contains(text, "force-new") || strings.Contains(text, "elsewhere") {
			t.Errorf("%s: %s", name, text)
		}
		if ok, _ := Holds(a, in.Observation); ok {
			t.Errorf("%s: it is said to be done", name)
		}
		next, err := Predict(in.Observation, a)
		if err != nil {
			t.Fatal(err)
		}
		if ok, missing := Holds(a, next); !ok {
			t.Errorf("%s: %s", name, missing)
		}
		in.Observation = next
		if p := planOf(t, in); p.Changes() {
			t.Errorf("%s: then %s", name, p.Headline)
		}
	}
}

func replaceFlag(args []string, flag string) []string {
	name, _, _ := strings.Cut(flag, "=")
	out := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, name+"=") })
	return append(out, flag)
}

// Of a unit whose files changed since systemd read them nothing is believed, and a name
// from Alias= would go away with a fence.
func TestUnitThatIsNotAsShown(t *testing.T) {
	p := New(underUnits(threeMembers(), func(_ string, u *Unit) { u.Stale = true }, serving, serving, down))
	if p.Refusal == nil || p.Refusal.Code != CodeUnitUnusable || !strings.Contains(p.Refusal.Title, "changed since systemd read") {
		t.Errorf("%s %+v", p.Headline, p.Refusal)
	}
	p = planOf(t, underUnits(threeMembers(), func(_ string, u *Unit) { u.Stale = true }, serving, serving, serving))
	if p.Changes() || !slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Text, "changed since systemd read") }) {
		t.Errorf("%s %+v", p.Headline, p.Notices)
	}
	c := threeMembers()
	c.Etcd.Config = map[string]string{"quota-backend-bytes": "8589934592"}
	for _, s := range planOf(t, underUnits(c, func(_ string, u *Unit) { u.Stale = true }, serving, serving, serving)).Steps {
		if a, ok := s.Action.(Start); ok && len(a.Members[0].Files) != 1 {
			t.Errorf("%+v", a)
		}
	}
	p = New(underUnits(threeMembers(), func(_ string, u *Unit) { u.Name = "etcd-server.service" }, serving, serving, serving))
	if p.Refusal == nil || p.Refusal.Code != CodeUnitUnusable || !strings.Contains(strings.Join(p.Refusal.Remedy, ""), `unit = "etcd-server.service"`) {
		t.Errorf("%s %+v", p.Headline, p.Refusal)
	}
}

// What a unit does beside running etcd is taken back in the drop-in, and stays so.
func TestDropInTakesBackWhatTheUnitDoes(t *testing.T) {
	c := threeMembers()
	c.Etcd.Config = map[string]string{"quota-backend-bytes": "8589934592"}
	in := underUnits(c, func(_ string, u *Unit) { u.Acts = []string{"Type", "PIDFile", "ExecStartPre"} }, serving, serving, serving)
	text := ""
	for _, s := range planOf(t, in).Steps {
		if a, ok := s.Action.(Start); ok {
			text = a.Members[0].Files[0].Text
		}
	}
	if !strings.Contains(text, "\nType=notify\nPIDFile=\nExecStartPre=\nExecStart=\n") || strings.Contains(text, "ExecStop") {
		t.Errorf("%s", text)
	}
	x := &StartMember{Place: Place{Name: "m1", DataDir: "/d"}, Program: []string{"/usr/bin/etcd"}}
	u := &Unit{Name: "etcd.service", Load: "loaded", Fragment: "/lib/systemd/system/etcd.service", Acts: []string{"ExecStop"}}
	_, first := UnitFile(u, x)
	u.Acts, u.Files = nil, map[string]string{DropInPath(u.Name): first}
	if _, again := UnitFile(u, x); again != first || !strings.Contains(first, "\nExecStop=\n") {
		t.Errorf("%s\n%s", first, again)
	}
}

// A unit that nobody starts at a boot is told of; one that only systemd-run has made is
// not started again.
func TestUnitsAfterABoot(t *testing.T) {
	for _, x := range []struct {
		state  string
		wanted bool
		back   bool
	}{{"enabled", true, true}, {"static", false, false}, {"static", true, true}, {"indirect", false, false}, {"transient", false, false}, {"disabled", true, false}, {"generated", false, true}, {"", false, false}} {
		p := planOf(t, underUnits(threeMembers(), func(_ string, u *Unit) { u.Enabled, u.Wanted = x.state, x.wanted }, serving, serving, serving))
		if told := slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.Code == NoteNoBootStart }); told == x.back {
			t.Errorf("%+v: %+v", x, p.Notices)
		}
	}
	p := New(underUnits(threeMembers(), func(_ string, u *Unit) { u.Enabled = "transient" }, serving, serving, down))
	if p.Refusal == nil || p.Refusal.Code != CodeUnitUnusable || !strings.Contains(p.Refusal.Title, "transient") {
		t.Errorf("%s %+v", p.Headline, p.Refusal)
	}
}

// A member that is removed is stopped for good where it ran, and not where another one of
// the file is by now; where that is not known, it is said.
func TestRemovedMemberIsStoppedForGood(t *testing.T) {
	for name, x := range map[string]struct {
		place *Place
		stops bool
	}{
		"elsewhere":            {&Place{Name: "m3", Host: "h2", DataDir: "/data/m1", Unit: "etcd.service"}, true},
		"the same place":       {&Place{Name: "m3", Host: "h1", DataDir: "/data/m1", Unit: "other.service"}, false},
		"the same unit":        {&Place{Name: "m3", Host: "h1", DataDir: "/elsewhere", Unit: "etcd.service"}, false},
		"by another host name": {&Place{Name: "m3", Host: "h1-again", DataDir: "/elsewhere", Unit: "etcd.service"}, false},
		"not known":            {nil, false},
	} {
		c := threeMembers()
		in := underUnits(c, nil, serving, serving, serving)
		two := *c
		two.Members = slices.Clone(c.Members[:2])
		two.Hosts = []spec.Host{
			{Name: "h1", Address: "10.0.0.1", Access: spec.AccessSSH, Service: c.Hosts[0].Service}, {Name: "h1-again", Address: "10.0.0.1", Access: spec.AccessSSH},
			{Name: "h2", Address: "10.0.0.2", Access: spec.AccessSSH}, c.Hosts[1],
		}
		two.Members[0].Host, two.Members[0].DataDir = "h1", "/data/m1"
		in.Cluster = &two
		seen := in.Observation.Members["m3"]
		delete(in.Observation.Members, "m3")
		list := in.Observation.Members["m1"].Client.Members.Value
		in.Observation.Others = []OtherMember{{ListedMember: list[2], Client: seen.Client, Peer: seen.Peer}}
		in.Observation.JournalMembers = []string{"m1", "m2", "m3"}
		if x.place != nil {
			in.Observation.JournalPlaces = []Place{*x.place}
		}
		p := New(in)
		stops := false
		for _, s := range p.Steps {
			if a, ok := s.Action.(Stop); ok && a.Members[0].Name == "m3" {
				stops = a.Members[0].Removed
			}
		}
		told := slices.ContainsFunc(p.Notices, func(n Notice) bool { return strings.Contains(n.Text, "neither stopped nor disabled") })
		if stops != x.stops || told == x.stops || p.Refusal != nil {
			t.Errorf("%s: %s: %+v %+v", name, p.Headline, p.Refusal, p.Notices)
		}
	}
}

// A survivor that was just started may yet find a quorum; one whose unit was started over
// and over, for systemd ends what does not report, has not found any.
func TestSurvivorUnderNotify(t *testing.T) {
	for _, x := range []struct {
		up, restarts int
		route        Route
	}{{6, 0, ""}, {61, 0, RouteRecover}, {6, 2, RouteRecover}} {
		in := underUnits(threeMembers(), nil, stuck, missing, missing)
		in.Accept = map[Consent]bool{ConsentDataLoss: true}
		o := in.Observation.Members["m1"]
		o.Service.Value.UpSeconds, o.Service.Value.Restarts = x.up, x.restarts
		in.Observation.Members["m1"] = o
		p := New(in)
		if x.route == "" {
			if p.Refusal == nil || !strings.Contains(p.Refusal.Title, "just now") || p.Refusal.Remedy[0] != "Plan again in 55 s." {
				t.Errorf("%+v: %s %+v", x, p.Headline, p.Refusal)
			}
		} else if p.Refusal != nil || p.Route != x.route {
			t.Errorf("%+v: %s %+v", x, p.Headline, p.Refusal)
		}
	}
}

// A package's unit that never ran has settings of nobody's: it gets the file's.
func TestUnitThatNeverRan(t *testing.T) {
	for _, unborn := range []bool{true, false} {
		in := underUnits(threeMembers(), func(_ string, u *Unit) { u.Unborn = unborn }, fresh, fresh, fresh)
		for name, o := range in.Observation.Members {
			o.Service.Value.Args = []string{"--data-dir=/var/lib/etcd/default", "--name=default"}
			in.Observation.Members[name] = o
		}
		p := New(in)
		if unborn && (p.Refusal != nil || p.Route != RouteBootstrap) {
			t.Errorf("%s %+v", p.Headline, p.Refusal)
		}
		if !unborn && (p.Refusal == nil || p.Refusal.Code != CodeServesElsewhere) {
			t.Errorf("%s %+v", p.Headline, p.Refusal)
		}
	}
}
