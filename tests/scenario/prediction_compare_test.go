package scenario

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/executor/observe"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
	"github.com/requorum/requorum/tests/harness"
)

// told is a cluster that a story is about.
type told struct {
	t        *testing.T
	e        *harness.Env
	c        *harness.Cluster
	host     host.Host
	compared *tally
}

func tell(t *testing.T, compared *tally, members int) *told {
	e := harness.New(t)
	return &told{t: t, e: e, c: e.Cluster(members), host: local.New(local.Options{Self: harness.Binary()}), compared: compared}
}

// look observes the cluster as the file has it now.
func (s *told) look() planner.Input {
	s.t.Helper()
	r := load.Load(s.c.Write().Path(), load.Options{})
	if r.Cluster == nil {
		s.t.Fatal(r.Diags)
	}
	in := planner.Input{Cluster: r.Cluster, Token: fmt.Sprintf("requorum-%x", time.Now().UnixNano()), Now: time.Now().UTC().Format(time.RFC3339), By: "prediction"}
	var err error
	if in.Observation, err = s.observer(r.Cluster).Observe(harness.Context(s.t)); err != nil {
		s.t.Fatal(err)
	}
	return in
}

func (s *told) observer(c *spec.Cluster) *observe.Observer {
	client, err := etcd.NewAccess(c)
	if err != nil {
		s.t.Fatal(err)
	}
	peer, err := etcd.NewPeerAccess(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return &observe.Observer{
		Cluster: c, Host: s.host, Client: client, Peer: peer,
		Limit: 1500 * time.Millisecond, KVLimit: 20 * time.Second, StateDir: s.e.State(),
	}
}

// plan makes a plan for the file, whose steps have to be these.
func (s *told) plan(kinds string) (planner.Input, *planner.Plan) {
	s.t.Helper()
	in := s.look()
	p := planner.New(in)
	if p.Refusal != nil {
		s.t.Fatalf("refused: %s: %s %s", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
	}
	s.are(p, kinds)
	return in, p
}

func (s *told) are(p *planner.Plan, kinds string) {
	s.t.Helper()
	var have []string
	for _, x := range p.Steps {
		have = append(have, x.Kind)
	}
	if got := strings.Join(have, " "); got != kinds {
		s.t.Fatalf("the story is another one: %s: %s: %s, want %s", p.Route, p.Headline, got, kinds)
	}
}

// comesTrue plans, and carries the plan out.
func (s *told) comesTrue(kinds string) {
	s.t.Helper()
	in, p := s.plan(kinds)
	s.carryOut(in, p, len(p.Steps))
}

// carryOut takes the first n steps of a plan, one by one, and compares after each.
func (s *told) carryOut(in planner.Input, p *planner.Plan, n int) {
	s.t.Helper()
	ctx := harness.Context(s.t)
	var places []planner.Place
	for _, m := range in.Cluster.Members {
		places = append(places, planner.PlaceOf(in.Cluster, m))
	}
	lock, err := s.host.Lock(ctx, places, host.Holder{Who: "prediction", PID: os.Getpid(), Operation: "apply", Cluster: in.Cluster.Name})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := lock.Release(); err != nil {
			s.t.Error(err)
		}
	}()
	run, err := journal.Open(s.e.State(), in.Cluster.Name, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	defer run.Close()
	r := executor.Runner{Cluster: in.Cluster, Host: s.host, Lock: lock, Client: s.observer(in.Cluster).Client, Journal: run}
	obs := in.Observation
	for _, step := range p.Steps[:n] {
		predicted, err := planner.Predict(obs, step.Action)
		if err != nil {
			s.t.Fatalf("%s %v can't be, says the prediction: %v", step.Kind, step.Target, err)
		}
		if ok, _ := planner.Holds(step.Action, obs); ok && !planner.Traceless(step.Action) && !ended(in.Cluster, step) {
			s.t.Errorf("%s %v holds before it is done", step.Kind, step.Target)
		}
		one := *p
		one.Steps = []planner.Step{step}
		if err := r.Run(ctx, &one); err != nil {
			s.t.Fatal(err)
		}
		obs = s.compare(ctx, in.Cluster, step, obs, predicted)
	}
	if n == len(p.Steps) {
		s.remember(in.Cluster, p.ID())
	}
}

// ended reports whether a step stops members that were removed: they may have ended
// by themselves.
func ended(c *spec.Cluster, step planner.Step) bool {
	return step.Kind == "stop" && !slices.ContainsFunc(step.Target, func(name string) bool { _, ok := c.Member(name); return ok })
}

// remember is what apply keeps of a cluster for the next plan.
func (s *told) remember(c *spec.Cluster, id string) {
	seen := journal.Seen{Time: time.Now().UTC().Format(time.RFC3339), Cluster: c.Name, ClusterID: id}
	for _, m := range c.Members {
		seen.DataDirs, seen.Members = append(seen.DataDirs, m.DataDir), append(seen.Members, m.Name)
	}
	if err := journal.AppendSeen(s.e.State(), seen); err != nil {
		s.t.Fatal(err)
	}
}

// compare looks until what is seen is what was predicted; some things take a moment
// to be known everywhere. It gives what is really there.
func (s *told) compare(ctx context.Context, c *spec.Cluster, step planner.Step, before, predicted planner.Observation) planner.Observation {
	s.t.Helper()
	began := time.Now()
	for {
		real, err := s.observer(c).Observe(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		diff := differences(step.Action, before, predicted, real)
		if len(diff) == 0 {
			promised, _ := planner.Holds(step.Action, predicted)
			if ok, missing := planner.Holds(step.Action, real); ok != promised {
				s.t.Errorf("%s %v was done, and it holds: %v (%s), but predicted: %v", step.Kind, step.Target, ok, missing, promised)
			}
			s.compared.Lock()
			s.compared.times[step.Kind]++
			s.compared.Unlock()
			return real
		}
		if time.Since(began) > 6*time.Second {
			s.t.Errorf("%s %v came out otherwise than predicted:\n  %s", step.Kind, step.Target, strings.Join(diff, "\n  "))
			return real
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// differences are the lines that two observations do not have in common, once IDs
// that are new since the one before are called by whose they are.
func differences(a planner.Action, before, predicted, real planner.Observation) []string {
	known := map[string]bool{}
	for _, l := range lists(before) {
		known[l.ID] = true
	}
	x, y := described(a, predicted, known), described(a, real, known)
	var out []string
	for _, line := range x {
		if !slices.Contains(y, line) {
			out = append(out, "predicted  "+line)
		}
	}
	for _, line := range y {
		if !slices.Contains(x, line) {
			out = append(out, "observed   "+line)
		}
	}
	return out
}

func lists(obs planner.Observation) []planner.ListedMember {
	var out []planner.ListedMember
	for _, m := range obs.Members {
		out = slices.Concat(out, m.Client.Members.Value, m.Peer.Members.Value, m.Data.Value.Members)
		if f := m.Data.Value.Fenced; f != nil {
			out = append(out, f.Members...)
		}
	}
	for _, o := range obs.Others {
		out = append(out, o.ListedMember)
	}
	return out
}

// described is an observation in lines, as far as plans follow from it: no times, no
// process IDs, no ends of logs, and no leader by name unless the action is about him.
func described(a planner.Action, obs planner.Observation, known map[string]bool) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for name, m := range obs.Members {
		describeEndpoint(name+" client", a, m.Client, say)
		say("%s peer %s %s %s", name, m.Peer.Reach, m.Peer.ClusterID, listText(m.Peer.Members))
		if d := m.Data; d.Known() {
			describeDir(name+" dir", d.Value, say)
		} else {
			say("%s dir %s: %s", name, d.State, d.Why)
		}
		v := m.Service.Value
		say("%s service %s of %q, known %v, supervised %v, foreign %v, binary %s, restarts %v", name, v.State, v.Cluster, m.Service.Known(), v.SupervisorPID != 0, v.Foreign != nil, v.Binary, v.Restarts > 0)
		if v.State == planner.ServiceRunning {
			say("%s runs with %q, carried %q", name, v.Args, v.Carried)
		}
		if v.State == planner.ServiceFailed {
			say("%s failed by removal: %v", name, strings.Contains(v.LastError, "permanently removed"))
		}
		say("%s ports taken %v", name, m.PortsTaken)
	}
	for _, o := range obs.Others {
		say("other %s %s", listed(o.ListedMember), o.Peer.Reach)
		describeEndpoint("other "+o.ID, a, o.Client, say)
	}
	names := map[string]string{}
	for _, l := range lists(obs) {
		if !known[l.ID] {
			names[l.ID] = "new(" + strings.Join(l.PeerURLs, ",") + ")"
		}
	}
	for i, line := range lines {
		for id, name := range names {
			line = strings.ReplaceAll(line, id, name)
		}
		lines[i] = line
	}
	return lines
}

func describeEndpoint(who string, a planner.Action, e planner.Endpoint, say func(string, ...any)) {
	if e.Reach != planner.ReachServing {
		say("%s %s", who, e.Reach)
		return
	}
	say("%s serves as %s of %s, leader %v, learner %v, linearizable %v %v, version %s", who, e.MemberID, e.ClusterID, e.LeaderID != "", e.Learner, e.Linearizable.Known(), e.Linearizable.Value, e.Version)
	say("%s lists %s", who, listText(e.Members))
	switch a := a.(type) {
	case planner.MoveLeader:
		say("%s follows another than before: %v", who, e.LeaderID != a.FromID)
	case planner.Verify: // which alarms come with a snapshot nobody can see before
		say("%s alarms %v", who, e.Alarms)
	}
}

func describeDir(who string, d planner.DataDir, say func(string, ...any)) {
	say("%s %s, member %s of %s, problem %v, held %v, ever ran %v, staged %q", who, d.State, d.MemberID, d.ClusterID, d.Problem != "", d.HeldBy != 0, d.EverRan, d.Staged)
	say("%s lists %s", who, listText(planner.Known(d.Members)))
	if p := d.Provenance; p != nil {
		say("%s is from %s under %s, as %s of %s of %s, agrees %v", who, p.Kind, p.Token, p.MemberID, p.ClusterID, sorted(p.InitialCluster), d.ProvenanceAgrees)
	} else {
		say("%s has no record", who)
	}
	if d.State == planner.DirAbsent || d.State == planner.DirEmpty {
		say("%s has evidence: %v", who, len(d.Evidence) > 0)
	}
	say("%s never started: %v", who, !d.EverRan && d.LastTerm <= 1 && d.LastIndex == uint64(len(d.Members)))
	if d.Fenced != nil {
		describeDir(who+", behind the fence,", *d.Fenced, say)
	}
}

func sorted(initialCluster string) string {
	parts := strings.Split(initialCluster, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func listed(l planner.ListedMember) string {
	return fmt.Sprintf("%v %q %v learner %v is %s", l.PeerURLs, l.Name, l.ClientURLs, l.Learner, l.ID)
}

func listText(list planner.Fact[[]planner.ListedMember]) string {
	if !list.Known() {
		return "unknown"
	}
	var out []string
	for _, l := range list.Value {
		out = append(out, listed(l))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
