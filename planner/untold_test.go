package planner

import (
	"slices"
	"strings"
	"testing"
)

const untoldCORS = "--cors=http://" + Untold + "@h"

// says holds that a plan is refused for a setting that it may not have, by its name.
func saysUntold(t *testing.T, p *Plan, code Code) {
	t.Helper()
	if refusedAs(t, p, code); p.Refusal != nil && !strings.Contains(p.Refusal.Title+p.Refusal.Detail, "--cors, which has a secret in it") {
		t.Errorf("%+v", p.Refusal)
	}
}

// A setting that is not told hides no other one: what differs beside it is seen, and
// nobody is restarted without it.
func TestUntoldSettingsOfAProcess(t *testing.T) {
	process := func(more map[string]string, config map[string]string) Input {
		in := input(threeMembers(), serving, byHand, serving)
		edit(&in, "m2", func(o *MemberObservation) {
			f := *o.Service.Value.Foreign
			f.Hidden, f.Problem = []string{"cors"}, "--cors has a secret in it"
			f.Settings["cors"] = "http://" + Untold + "@h"
			for name, value := range more {
				f.Settings[name] = value
			}
			o.Service.Value.Foreign = &f
		})
		if config != nil {
			in.Cluster.Etcd.Config = config
			for _, m := range []string{"m1", "m3"} {
				spec, _ := in.Cluster.Member(m)
				edit(&in, m, func(o *MemberObservation) { o.Service.Value.Args = etcdArgs(in.Cluster, spec, "", "existing") })
			}
		}
		return in
	}
	p := planOf(t, process(nil, nil))
	if _, ok := actionOf[Adopt](p); ok || p.Changes() {
		t.Errorf("as it is, it is left to run: %s", stepKinds(p))
	}
	saysUntold(t, New(process(nil, map[string]string{"quota-backend-bytes": "9"})), CodeFeatureUnsupported)
	saysUntold(t, New(process(map[string]string{"force-new-cluster": "true"}, nil)), CodeFeatureUnsupported)
	p = planOf(t, process(map[string]string{"force-new-cluster": "true"}, map[string]string{"cors": "http://h"}))
	a, ok := actionOf[Start](p)
	if !ok || !slices.Contains(a.Members[0].Args, "--cors=http://h") || len(UntoldFlags(a.Members[0].Args)) > 0 {
		t.Errorf("the file's takes its place: %s %+v", stepKinds(p), a)
	}
}

// Of a process of which nothing else can be told its command line still says that it
// would expel the others.
func TestForceNewIsSeenOnTheCommandLine(t *testing.T) {
	for _, arg := range []string{"--force-new-cluster", "-force-new-cluster=true", "--force-new-cluster=1"} {
		in := input(threeMembers(), serving, byHand, serving)
		edit(&in, "m2", func(o *MemberObservation) {
			f := *o.Service.Value.Foreign
			f.Settings, f.Problem, f.Args = nil, "its configuration file can't be read", []string{"--config-file=x", arg}
			o.Service.Value.Foreign = &f
		})
		if p := New(in); p.Refusal == nil && !p.Changes() {
			t.Errorf("%s: %s", arg, p.Headline)
		}
	}
}

// A unit that has such a setting is started as it is; nothing is written to it that
// leaves the setting out, nor once requorum has barred it.
func TestUntoldSettingsOfAUnit(t *testing.T) {
	under := func(edit func(string, *Unit), ks ...kind) Input {
		in := underUnits(threeMembers(), edit, ks...)
		for name, o := range in.Observation.Members {
			o.Service.Value.Args = append(o.Service.Value.Args, untoldCORS)
			in.Observation.Members[name] = o
		}
		return in
	}
	if p := planOf(t, under(nil, serving, serving, serving)); p.Changes() {
		t.Errorf("%s: %s", p.Headline, stepKinds(p))
	}
	p := planOf(t, under(nil, serving, down, serving))
	if a, ok := actionOf[Start](p); !ok || len(a.Members[0].Files) > 0 || !slices.Contains(a.Members[0].Args, untoldCORS) {
		t.Errorf("%s: %s %+v", p.Headline, stepKinds(p), a)
	}
	in := under(nil, serving, serving, serving)
	in.Cluster.Etcd.Config = map[string]string{"quota-backend-bytes": "9"}
	saysUntold(t, New(in), CodeUnitUnusable)
	in.Cluster.Etcd.Config["cors"] = "http://h"
	for _, s := range planOf(t, in).Steps {
		for _, f := range s.Files {
			if text := strings.Join(f.Lines, "\n"); !strings.Contains(text, "--cors=http://h") {
				t.Errorf("%s", text)
			}
		}
	}
	barred := under(func(name string, u *Unit) {
		if name == "m2" {
			u.Barred, u.Load = true, "masked"
		}
	}, serving, down, serving)
	saysUntold(t, New(barred), CodeUnitUnusable)
}
