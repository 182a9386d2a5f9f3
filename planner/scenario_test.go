package planner_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
)

// TestScenarios plays the files in testdata/states and testdata/pains: a file of the
// user's, what is observed, what the planner says to it, and the steps carried out on
// paper by Predict. docs/testing.md says how to write one.
//
// Beside what a file asks for, each of its plans is also walked with a crash after
// every step and planned anew; all these ways have to lead to the end that the file
// states.
func TestScenarios(t *testing.T) {
	for _, dir := range []string{"states", "pains", "faults", "rules"} {
		t.Run(dir, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no scenarios: %v", err)
			}
			for _, file := range files {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
			}
		})
	}
}

func playFile(t *testing.T, file string) {
	s := &scenario{}
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		out, err := s.do(t, d)
		if err != nil {
			d.Fatalf(t, "%s: %v", d.Cmd, err)
		}
		return out
	})
	if s.plans == 0 {
		t.Error("no plan in it")
	}
	if s.open != "" {
		t.Errorf("the %s is followed by no `end` that says where it leads", s.open)
	}
}

// scenario is how far a file has come.
type scenario struct {
	cluster *spec.Cluster
	obs     planner.Observation
	plan    *planner.Plan
	given   map[planner.Consent]bool
	done    int    // steps of plan that are carried out
	token   int    // of the plan; each walk uses one up
	plans   int    // so far
	open    string // what an `end` has still to say something of
	starts  []start
	view    *view
	newIDs  []string // that etcd gave to members, in the order of their showing
}

// start is where a plan was made, for walking it again in all ways.
type start struct {
	cluster *spec.Cluster
	obs     planner.Observation
	given   map[planner.Consent]bool
}

func (s *scenario) do(t *testing.T, d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "cluster":
		return "", s.setCluster(t, d)
	case "observe":
		if s.cluster == nil {
			return "", fmt.Errorf("there is no cluster yet")
		}
		var err error
		s.view = newView(s.cluster)
		if s.obs, err = s.view.observe(d.Input); err != nil {
			return "", err
		}
		s.plan, s.token, s.newIDs = nil, 1, nil
		return s.seen(s.obs), nil
	case "fault", "settle":
		before := s.obs
		s.obs = cloneObservation(s.obs)
		if err := s.view.change(&s.obs, d.Input); err != nil {
			return "", err
		}
		s.plan = nil
		return s.changed(before, s.obs), nil
	case "plan":
		accept, err := s.consents(d)
		if err != nil {
			return "", err
		}
		s.given = accept
		s.makePlan()
		if err := s.derived(); err != nil {
			return "", err
		}
		if s.plan.Changes() && len(planner.Missing(s.plan.Needs, s.given)) == 0 {
			s.starts = append(s.starts, start{s.cluster, s.obs, s.given})
			s.open = "plan at " + d.Pos
		}
		return s.planText(s.plan), nil
	case "walk":
		return s.walk(d)
	case "end":
		s.open = ""
		return s.end(d)
	}
	return "", fmt.Errorf("there is no such command")
}

func inputOf(c *spec.Cluster, obs planner.Observation, given map[planner.Consent]bool, token int) planner.Input {
	return planner.Input{
		Cluster: c, Observation: obs, Token: fmt.Sprintf("token-%d", token),
		Now: "2026-01-02T03:04:05Z", By: "ops@here", Accept: given,
	}
}

func (s *scenario) makePlan() {
	s.plan = planner.New(inputOf(s.cluster, s.obs, s.given, s.token))
	s.done = 0
	s.plans++
}

// derived makes sure that the plan, saved, is known for what its own inputs lead to.
func (s *scenario) derived() error {
	b, err := saved.Encode(inputOf(s.cluster, s.obs, s.given, s.token), s.plan, saved.About{Version: "v1", Basis: saved.BasisObserved})
	if err != nil {
		return err
	}
	f, err := saved.Parse(b)
	if err != nil {
		return err
	}
	return f.Derive("v1")
}

// consents are those after accept=, where a4 stands for m4's ID, and x1 for
// one that etcd gave, as in the output.
func (s *scenario) consents(d *datadriven.TestData) (map[planner.Consent]bool, error) {
	var values []string
	for _, a := range d.CmdArgs {
		if a.Key != "accept" {
			continue
		}
		for _, v := range a.Vals {
			kind, name, _ := strings.Cut(v, ":")
			if n, ok := strings.CutPrefix(name, "a"); ok {
				v = kind + ":" + s.view.listed("m"+n).ID
			}
			if n, err := strconv.Atoi(strings.TrimPrefix(name, "x")); err == nil && n > 0 && n <= len(s.newIDs) {
				v = kind + ":" + s.newIDs[n-1]
			}
			values = append(values, v)
		}
	}
	return planner.ParseConsents(values)
}

// setCluster reads the file of the user: the input as it stands, or, with members=N,
// the input within a cluster of N members m1… at 10.0.0.1…. without= leaves some of
// them out, learner= makes learners of some, moved= gives some other peer URLs,
// and with secure peers are at https.
func (s *scenario) setCluster(t *testing.T, d *datadriven.TestData) error {
	text, args := d.Input, map[string][]string{}
	for _, a := range d.CmdArgs {
		args[a.Key] = a.Vals
	}
	if n := args["members"]; len(n) == 1 {
		var b strings.Builder
		b.WriteString("cluster \"demo\" {\n")
		for i := 1; i <= int(n[0][0]-'0'); i++ {
			name, peer := fmt.Sprintf("m%d", i), fmt.Sprintf("http://10.0.0.%d:2380", i)
			if slices.Contains(args["without"], name) {
				continue
			}
			if slices.Contains(args["moved"], name) {
				peer = fmt.Sprintf("http://10.0.1.%d:2380", i)
			}
			if _, secure := args["secure"]; secure {
				peer = strings.Replace(peer, "http:", "https:", 1)
			}
			fmt.Fprintf(&b, "  member %q {\n    peer_urls   = [%q]\n    client_urls = [%q]\n    data_dir    = %q\n    learner     = %t\n  }\n",
				name, peer, fmt.Sprintf("http://10.0.0.%d:2379", i), "/data/"+name, slices.Contains(args["learner"], name))
		}
		text = b.String() + text + "\n}\n"
	}
	path := filepath.Join(t.TempDir(), "demo.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	r := load.Load(path, load.Options{})
	if r.Cluster == nil {
		return r.Diags
	}
	s.cluster = r.Cluster
	return nil
}

// walk carries the plan out on paper, from where it stands.
func (s *scenario) walk(d *datadriven.TestData) (string, error) {
	upto, all := -1, false
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "crash":
			if _, err := fmt.Sscan(a.Vals[0], &upto); err != nil {
				return "", err
			}
		case "all":
			all = true
		}
	}
	if s.plan == nil || !s.plan.Changes() {
		return "", fmt.Errorf("there is no plan to carry out")
	}
	var out strings.Builder
	for range 10 {
		if upto < 0 {
			upto = len(s.plan.Steps)
		}
		if err := s.carryOut(&out, upto); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out.String())
		}
		upto = -1
		if !all {
			return out.String(), nil
		}
		s.makePlan()
		out.WriteString(s.planText(s.plan))
		if !s.plan.Changes() {
			return out.String(), nil
		}
	}
	return "", fmt.Errorf("planning comes to no end\n%s", out.String())
}

// carryOut does the steps up to number upto and writes what each changed.
func (s *scenario) carryOut(out *strings.Builder, upto int) error {
	if missing := planner.Missing(s.plan.Needs, s.given); len(missing) > 0 {
		return fmt.Errorf("the plan needs accept=%s", missing[0].Consent)
	}
	for s.done < upto && s.done < len(s.plan.Steps) {
		step := s.plan.Steps[s.done]
		after, err := carry(s.obs, step, s.given)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d %s\n%s", step.ID, s.label(stepText(step)), s.changed(s.obs, after))
		s.obs = after
		s.done++
	}
	s.token++
	if s.done < len(s.plan.Steps) {
		fmt.Fprintf(out, "crash\n")
	}
	return nil
}

// carry is what is observed after a step: nothing else happens meanwhile. That a
// quorum is lost by it without consent is an error.
func carry(obs planner.Observation, step planner.Step, given map[planner.Consent]bool) (planner.Observation, error) {
	after, err := planner.Predict(obs, step.Action)
	if err != nil {
		return obs, fmt.Errorf("step %d, %s %v, can't be carried out: %w", step.ID, step.Kind, step.Target, err)
	}
	if ok, missing := planner.Holds(step.Action, after); !ok {
		return obs, fmt.Errorf("step %d, %s %v, does not lead to what it waits for: %s", step.ID, step.Kind, step.Target, missing)
	}
	if hasQuorum(obs) && !hasQuorum(after) && !given[planner.ConsentDowntime] {
		return obs, fmt.Errorf("step %d, %s %v, loses the quorum", step.ID, step.Kind, step.Target)
	}
	return after, nil
}

// hasQuorum reports whether some member proves a quorum.
func hasQuorum(obs planner.Observation) bool {
	for _, m := range obs.Members {
		if e := m.Client; e.Reach == planner.ReachServing && e.Linearizable.Known() && e.Linearizable.Value {
			return true
		}
	}
	return false
}

// end holds every plan so far to where the file says that it leads: "in-sync", or
// "refused=CODE". It is walked whole, and with a crash after each of its steps; what
// is left is planned and walked as often as it takes. accept= adds what an operator
// says to the plans that come after a crash.
func (s *scenario) end(d *datadriven.TestData) (string, error) {
	also, err := s.consents(d)
	if err != nil {
		return "", err
	}
	want := ""
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "in-sync":
			want = "in-sync"
		case "refused":
			want = "refused " + a.Vals[0]
		}
	}
	if want == "" {
		return "", fmt.Errorf("say end in-sync, or end refused=CODE")
	}
	ways := 0
	for _, from := range s.starts {
		given := maps.Clone(from.given)
		maps.Copy(given, also)
		first := planner.New(inputOf(from.cluster, from.obs, given, 1))
		for crash := range max(1, len(first.Steps)) {
			got, err := leads(first, from, given, crash)
			if err == nil && got != want {
				err = fmt.Errorf("it ends %s, not %s", got, want)
			}
			if err != nil {
				return "", fmt.Errorf("with a crash after step %d of %q: %w", crash, first.Headline, err)
			}
			ways++
		}
	}
	s.starts = nil
	if ways == 0 {
		return "", fmt.Errorf("no plan before it has all the consents that it needs")
	}
	if ways == 1 {
		return "its one step leads there\n", nil
	}
	return fmt.Sprintf("all %d ways of carrying it out lead there\n", ways), nil
}

// leads tells where a plan ends that is interrupted after so many steps (0: not at
// all), and planned anew.
func leads(p *planner.Plan, from start, given map[planner.Consent]bool, crash int) (string, error) {
	obs := from.obs
	for round := range 10 {
		switch {
		case p.Refusal != nil:
			return "refused " + string(p.Refusal.Code), nil
		case !p.Changes():
			return string(p.Route), nil
		}
		if missing := planner.Missing(p.Needs, given); len(missing) > 0 {
			return "", fmt.Errorf("%q needs accept=%s", p.Headline, missing[0].Consent)
		}
		for i, step := range p.Steps {
			if round == 0 && crash > 0 && i == crash {
				break
			}
			after, err := carry(obs, step, given)
			if err != nil {
				return "", fmt.Errorf("%q: %w", p.Headline, err)
			}
			obs = after
		}
		p = planner.New(inputOf(from.cluster, obs, given, round+2))
	}
	return "", fmt.Errorf("it comes to no end: %q", p.Headline)
}
