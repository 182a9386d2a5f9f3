package main

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
)

// TestSmall walks the small bound: no promise and no rule is broken there.
func TestSmall(t *testing.T) {
	var out bytes.Buffer
	if code := run([]string{"-bound", "small"}, &out, os.Stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	t.Log(lines[len(lines)-1])
}

// TestCanonical: names mean nothing, and all else does. Any order of the same kinds has
// one key, and kinds that are planned for otherwise have others.
func TestCanonical(t *testing.T) {
	c := &circumstances()[0]
	var k canon
	key := func(ks ...kind) uint64 {
		in := build(ks, c).in
		return k.key(&in, fileKey(&in))
	}
	all := kinds()
	seen, merged := map[uint64]kind{}, 0
	a := kind{file: voter, list: voter, cond: up}
	b := kind{file: voter, list: voter, cond: down}
	for _, x := range all {
		if !consistent([]kind{a, a, x}) || x.cond == twin || x.cond == proxied || x.cond == oldList {
			continue // these are told by who is first, or last
		}
		if key(a, a, b, x) != key(x, b, a, a) || key(a, x, b, a) != key(b, a, a, x) {
			// Who leads is the first that serves, and so another one.
			if !x.follows() {
				t.Errorf("%v: another order has another key", x)
			}
		}
		one := key(a, a, x)
		if y, ok := seen[one]; ok {
			merged++
			t.Logf("%v and %v are one", x, y)
		}
		seen[one] = x
	}
	if merged > 4 {
		t.Errorf("%d kinds can't be told from others", merged)
	}
}

// TestRulesCanFail plants a fault into plans and steps, one for each of some rules: each
// is found. The mutants of the planner itself are tried by `make mutants`.
func TestRulesCanFail(t *testing.T) {
	lost2 := []kind{{file: voter, list: voter, cond: down}, {file: voter, list: voter, cond: lost}, {file: voter, list: voter, cond: lost}}
	serving := []kind{{file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: lost}}
	later := []kind{{file: voter, list: voter, cond: newTerm}, {file: voter, list: voter, cond: ahead}, {file: voter, list: voter, cond: lost}, {file: voter, list: voter, cond: lost}}
	leftover := []kind{{file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: up}, {file: voter, list: none, cond: wasRemoved}}
	for _, tc := range []struct {
		rule  string
		ks    []kind
		spoil func(*planner.Plan)
	}{
		{p7, lost2, func(p *planner.Plan) { p.Needs = nil }},
		{s8, lost2, func(p *planner.Plan) { p.Loss.Text = "Lost: perhaps something." }},
		{s8, lost2, func(p *planner.Plan) { p.Loss = planner.Loss{Kind: planner.LossNone, Text: "none"} }},
		{s18, lost2, func(p *planner.Plan) { p.Steps = p.Steps[1:] }},
		{s3, []kind{{file: voter, list: voter, cond: stuck}, lost2[1], lost2[2]}, func(p *planner.Plan) { p.Steps = p.Steps[1:] }},
		{p5, lost2, func(p *planner.Plan) { p.Steps = append(p.Steps[:3:3], p.Steps[4:]...) }},
		{s17, lost2, func(p *planner.Plan) {
			p.Steps = slices.DeleteFunc(p.Steps, func(s planner.Step) bool { v, ok := s.Action.(planner.Verify); return ok && v.Closed != nil })
		}},
		{s17, lost2, func(p *planner.Plan) {
			for i, s := range p.Steps {
				if a, ok := s.Action.(planner.Start); ok && a.Closed {
					a.Closed = false
					p.Steps[i].Action = a
				}
			}
		}},
		{p6, serving, func(p *planner.Plan) { p.Steps[1], p.Steps[2] = p.Steps[2], p.Steps[1] }},
		{p3, leftover, without(planner.SetAside{})},
		{p6, leftover, without(planner.Add{})},
		{s7, later, func(p *planner.Plan) {
			for i := range p.Steps {
				if a, ok := p.Steps[i].Action.(planner.Recover); ok {
					a.Name, a.MemberID, a.LastTerm, a.LastIndex, a.Upto = slots[1].name, slots[1].id, 3, 22, 22
					p.Steps[i].Action = a
				}
			}
		}},
		{s4, serving, func(p *planner.Plan) { p.Route = planner.RouteInSync }},
		{repeats, serving, func(p *planner.Plan) { p.Steps = append(p.Steps, p.Steps...) }},
		{refused, serving, func(p *planner.Plan) { p.Refusal = &planner.Refusal{Code: "x"} }},
		{s1, serving, func(p *planner.Plan) { p.Steps[0].Action = planner.Recover{}; p.Route = planner.RouteRecover }},
	} {
		w := build(tc.ks, &circumstances()[0])
		p := planner.New(w.in)
		tc.spoil(p)
		found := map[string]bool{}
		v := newVisit(&w.in, p, func(rule, _ string) { found[rule] = true })
		v.plan()
		obs := w.in.Observation
		for i := range p.Steps {
			v.before(&p.Steps[i], &obs)
			if next, err := planner.Predict(obs, p.Steps[i].Action); err == nil {
				v.after(&p.Steps[i], &obs, &next)
				obs = next
			}
		}
		if !found[tc.rule] {
			t.Errorf("%s: the fault is not found; found %v", tc.rule, found)
		}
	}
}

// The same for members under commands of the user's.
func TestRulesOfCommandsCanFail(t *testing.T) {
	cs := circumstances()
	lost2 := []kind{{file: voter, list: voter, cond: down}, {file: voter, list: voter, cond: lost}, {file: voter, list: voter, cond: lost}}
	for _, tc := range []struct {
		rule  string
		spoil func(*planner.Input, *planner.Plan)
	}{
		{s2, func(in *planner.Input, _ *planner.Plan) {
			for n, o := range in.Observation.Members {
				o.Service = planner.Unknown[planner.Service]("it hangs")
				in.Observation.Members[n] = o
			}
		}},
		{s18, func(_ *planner.Input, p *planner.Plan) { p.Notices = nil }},
		{s22, func(_ *planner.Input, p *planner.Plan) {
			for i := range p.Steps {
				if a, ok := p.Steps[i].Action.(planner.Start); ok && !a.Closed {
					a.Members[0].Files[0].Text = strings.Replace(a.Members[0].Files[0].Text, "\ndata-dir:", "\ndata-dri:", 1)
				}
			}
		}},
		{s22, func(in *planner.Input, _ *planner.Plan) {
			o := in.Observation.Members["m1"]
			o.Service.Value.Args = append(slices.Clone(o.Service.Value.Args), "--force-new-cluster=true")
			in.Observation.Members["m1"] = o
		}},
		{s18, func(_ *planner.Input, p *planner.Plan) {
			for i := range p.Steps {
				if a, ok := p.Steps[i].Action.(planner.Recover); ok {
					a.InPlace = &planner.Provenance{}
					p.Steps[i].Action = a
				}
			}
		}},
		{s18, func(_ *planner.Input, p *planner.Plan) {
			for i := range p.Steps {
				if a, ok := p.Steps[i].Action.(planner.Start); ok {
					for j := range a.Members {
						a.Members[j].Files = nil
					}
				}
			}
		}},
	} {
		w := build(lost2, &cs[slices.IndexFunc(cs, func(c circumstance) bool { return c.name == "under commands" })])
		p := planner.New(w.in)
		if len(p.Steps) == 0 {
			t.Fatalf("nothing to spoil: %s", p.Headline)
		}
		tc.spoil(&w.in, p)
		found := map[string]bool{}
		v := newVisit(&w.in, p, func(rule, _ string) { found[rule] = true })
		for i := range p.Steps {
			v.commanded(&p.Steps[i], &w.in.Observation)
		}
		if !found[tc.rule] {
			t.Errorf("%s: the fault is not found; found %v", tc.rule, found)
		}
	}
}

// without takes the steps of this kind out of a plan.
func without(a planner.Action) func(*planner.Plan) {
	return func(p *planner.Plan) {
		p.Steps = slices.DeleteFunc(p.Steps, func(s planner.Step) bool { return s.Kind == a.Kind() })
	}
}

// A voter that the file does not have goes on serving: a new identity beside it is two
// clusters.
func TestAliveElsewhere(t *testing.T) {
	w := build([]kind{{file: voter, list: voter, cond: down}, {file: voter, list: voter, cond: lost}, {file: none, list: voter, cond: lost}}, &circumstances()[0])
	p := planner.New(w.in)
	obs := w.in.Observation
	o := &obs.Others[0]
	o.Client.Reach, o.Client.ClusterID = planner.ReachServing, w.cid
	found := map[string]bool{}
	v := newVisit(&w.in, p, func(rule, _ string) { found[rule] = true })
	for i := range p.Steps {
		v.before(&p.Steps[i], &obs)
		next, err := planner.Predict(obs, p.Steps[i].Action)
		if err != nil {
			t.Fatal(err)
		}
		obs = next
	}
	if p.Route != planner.RouteRecover || !found[p2] {
		t.Errorf("route %s, found %v", p.Route, found)
	}
}

// TestUntil: one finding of the rule is enough, and a rule that is none is an error.
func TestUntil(t *testing.T) {
	s := newSearch(bounds["small"])
	s.findings.until = p6
	at := &trace{seed: &seed{c: &circumstances()[0]}}
	if s.findings.add(p1, "another", at); s.findings.enough.Load() {
		t.Error("another rule's finding is enough")
	}
	s.findings.add(p6, "this one", at)
	if n := s.run(2); n != 0 || !s.findings.enough.Load() {
		t.Errorf("went on for %d transitions", n)
	}
	if code := run([]string{"-until", "P99"}, io.Discard, io.Discard); code != 1 {
		t.Errorf("exit %d", code)
	}
}
