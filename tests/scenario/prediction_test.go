package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// What a plan promises is what comes true: every action is really carried out, step
// by step along real plans, and what is then really observed is what Predict said of
// the observation before. An action that no story has is a failure: a later one comes
// with its own.
func TestPredictionsComeTrue(t *testing.T) {
	t.Parallel()
	compared := &tally{times: map[string]int{}}
	stories := []struct {
		name string
		tell func(*testing.T, *tally)
	}{
		{"grow, move, replace", growAndReplace},
		{"shrink, stop, adopt", shrinkAndAdopt},
		{"recover", recoverAsNew},
		{"recover in place", recoverOnTheSpot},
		{"restore", restoreAll},
		{"unfence", fenceAndBack},
		{"without a quorum", startTooFew},
	}
	t.Run("stories", func(t *testing.T) {
		for _, s := range stories {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.tell(t, compared)
				compared.Lock()
				compared.stories++
				compared.Unlock()
			})
		}
	})
	for _, a := range planner.Actions() {
		t.Logf("%-16s compared %d times", a.Kind(), compared.times[a.Kind()])
		if compared.times[a.Kind()] == 0 && compared.stories == len(stories) { // not where -run took some of them
			t.Errorf("%s was never compared with what really happens: give it a story here", a.Kind())
		}
	}
}

type tally struct {
	sync.Mutex
	times   map[string]int
	stories int // told to the end
}

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
		places = append(places, planner.Place{Name: m.Name, Host: m.Host, DataDir: m.DataDir, WALDir: m.WALDir})
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
	say("%s alarms %v", who, e.Alarms)
	if m, ok := a.(planner.MoveLeader); ok {
		say("%s follows another than before: %v", who, e.LeaderID != m.FromID)
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

// The stories.

func growAndReplace(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	all := s.c.Members
	s.c.Members = all[:1]
	s.comesTrue("claim start verify")
	s.c.Members = all[:3]
	s.comesTrue("add-learner join promote add-learner join promote verify")

	ports := s.e.Ports(1)
	s.c.Members = slices.Clone(all)
	s.c.Members[0].Peer = ports.URL(0)
	s.comesTrue("update-member move-leader stop start verify")

	s.comesTrueStop([]string{"m3"})
	s.damage(2)
	s.comesTrue("remove-member set-aside add-learner join promote verify")
}

// damage makes a stopped member's log unreadable.
func (s *told) damage(i int) {
	s.t.Helper()
	wals, err := filepath.Glob(filepath.Join(s.c.Members[i].DataDir, "member", "wal", "*.wal"))
	if err != nil || len(wals) == 0 {
		s.t.Fatal("no log to be damaged", err)
	}
	f, err := os.OpenFile(wals[0], os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("this is no log any more, from here on"), 600); err != nil {
		s.t.Fatal(err)
	}
}

// comesTrueStop carries out requorum stop.
func (s *told) comesTrueStop(only []string) {
	s.t.Helper()
	in := s.look()
	p := planner.NewStop(in, only)
	s.carryOut(in, p, len(p.Steps))
}

func shrinkAndAdopt(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	s.c.Write()
	s.e.ByHand(s.c.Members)
	s.comesTrue("adopt")
	if err := syscall.Kill(s.c.Supervisor(s.c.Members[1]).PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.comesTrue("adopt") // the orphan
	in, p := s.without(2, "remove-member")
	s.carryOut(in, p, len(p.Steps))
	s.comesTrueStop(nil)
	s.comesTrue("start verify")
}

// without takes a member out of the file: its plan begins with this step.
func (s *told) without(i int, first string) (planner.Input, *planner.Plan) {
	s.t.Helper()
	s.c.Members = slices.Delete(slices.Clone(s.c.Members), i, i+1)
	in := s.look()
	p := planner.New(in)
	if len(p.Steps) == 0 || !slices.ContainsFunc(p.Steps, func(x planner.Step) bool { return x.Kind == first }) {
		s.t.Fatalf("%+v: %s", p.Refusal, p.Headline)
	}
	return in, p
}

// oneLeft has a cluster of three of which one survives, still running.
func oneLeft(t *testing.T, compared *tally) *told {
	s := tell(t, compared, 3)
	s.c.Write()
	hs := s.e.ByHand(s.c.Members)
	harness.Fill(t, s.c.Endpoints(), 50)
	s.remember(s.look().Cluster, harness.ClusterID(t, s.c.Endpoints()))
	for _, h := range hs[1:] {
		h.Signal(syscall.SIGKILL)
		h.AwaitEnd()
	}
	return s
}

const recoverAll = "save-snapshot fence recover restore trial install start verify"

func recoverAsNew(t *testing.T, compared *tally) {
	s := oneLeft(t, compared)
	s.c.DropData(s.c.Members[1:]...)
	s.comesTrue(recoverAll)
}

func recoverOnTheSpot(t *testing.T, compared *tally) {
	s := oneLeft(t, compared)
	s.c.DropData(s.c.Members[1:]...)
	s.c.Members = s.c.Members[:2] // one to add is enough
	s.c.More = "  recover {\n    from = \"m1\"\n    in_place = true\n  }\n"
	s.comesTrue("save-snapshot fence recover trial install start add-learner join promote verify")
}

func restoreAll(t *testing.T, compared *tally) {
	src := oldCluster(t)
	s := tell(t, compared, 3)
	s.c.Snapshot = s.e.Path("snapshot.db")
	write(t, s.c.Snapshot, src.snapshot)
	s.comesTrue("restore trial install start verify")
}

// fenceAndBack: a recovery has fenced what was left when the others' disks turn up.
func fenceAndBack(t *testing.T, compared *tally) {
	s := oneLeft(t, compared)
	aside := func(back bool) {
		for _, m := range s.c.Members[1:] {
			from, to := m.DataDir, m.DataDir+".elsewhere"
			if back {
				from, to = to, from
			}
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	aside(false)
	in, p := s.plan(recoverAll)
	s.carryOut(in, p, 3)
	aside(true)
	s.comesTrue("unfence start verify")
}

// startTooFew: members that are started without a quorum are mute until there is one;
// one that was removed while it was down is told so, and ends again and again.
func startTooFew(t *testing.T, compared *tally) {
	s := tell(t, compared, 3)
	s.comesTrue("claim start verify")
	s.comesTrueStop([]string{"m3"})
	s.comesTrueStop([]string{"m2"}) // m1 serves on, without a leader
	s.comesTrueStop([]string{"m1"})
	_, p := s.plan("start verify")
	all := p.Steps[0].Action.(planner.Start)
	for i := range 2 {
		s.started(all.Members[i])
	}
	m3 := s.c.Members[2]
	in, p := s.without(2, "remove-member")
	s.carryOut(in, p, 1)
	s.c.Members = append(s.c.Members, m3)
	s.started(all.Members[2])
	s.comesTrue("stop set-aside add-learner join promote verify")
}

// started starts a member, and does not wait until it serves, as an apply would.
func (s *told) started(m planner.StartMember) {
	s.t.Helper()
	in := s.look()
	step := planner.Step{Kind: "start", Target: []string{m.Name}, Action: planner.Start{Members: []planner.StartMember{m}}}
	predicted, err := planner.Predict(in.Observation, step.Action)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.host.Start(harness.Context(s.t), []planner.StartMember{m}); err != nil {
		s.t.Fatal(err)
	}
	s.compare(harness.Context(s.t), in.Cluster, step, in.Observation, predicted)
}
