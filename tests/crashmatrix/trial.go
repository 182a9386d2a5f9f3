package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// line is what is kept of an attempt.
type line struct {
	attempt
	// Landed is the journal's last record when the victim died.
	Landed string `json:"landed,omitempty"`
	// Hit is whether that was where it should be. Victim says who died.
	Hit     bool     `json:"hit"`
	Victim  string   `json:"victim,omitempty"`
	Exit    int      `json:"exit"`    // of the apply that was interrupted
	Applies int      `json:"applies"` // after it, until it was in sync
	Waits   int      `json:"waits"`   // plans that were refused for the time being
	Kinds   []string `json:"kinds,omitempty"`
	// Steps are the seconds that each took, of a scenario that nobody interrupted.
	Steps        []float64 `json:"steps,omitempty"`
	Acknowledged int       `json:"acknowledged"`
	Failed       int       `json:"failed_writes"`
	GapMS        int64     `json:"gap_ms"`
	Seconds      float64   `json:"seconds"`
	Error        string    `json:"error,omitempty"`
}

// trial is an attempt at work.
type trial struct {
	line
	scenario
	t   testing.TB
	e   *harness.Env
	c   *harness.Cluster
	all harness.Cluster // with the members that the file had before, too

	hands harness.Hands
	base  harness.Keys
	ws    []*harness.Writers
	dirs  harness.Dirs
	steps []float64 // of the scenario's whole run
	begun bool      // the setup is done, and the plan is the table's
}

// tries is how often an attempt is made whose kill came too late.
const tries = 3

// run makes an attempt. steps are the seconds of the scenario's steps.
func run(a attempt, steps []float64, folder string) line {
	for try := 1; ; try++ {
		x := &trial{line: line{attempt: a}, scenario: find(a.Scenario), steps: steps}
		began := time.Now()
		log, err := harness.Outside(context.Background(), "crashmatrix", func(t testing.TB) {
			x.t = t
			x.run()
		}, func(dir string) { keep(folder, a, dir) })
		x.Seconds = time.Since(began).Seconds()
		if err != nil && !x.begun && try < tries { // an election at the wrong moment: another plan
			fmt.Printf("%s: again, the setup failed: %.300v\n", a, err)
			continue
		}
		if err != nil {
			x.Error = err.Error()
			_ = os.WriteFile(filepath.Join(folder, failedName(a)+".log"), []byte(log+x.Error), 0o600)
		}
		if err != nil || x.Hit || try == tries {
			return x.line
		}
	}
}

func failedName(a attempt) string {
	return "failed-" + strings.NewReplacer(" ", "-", "|", "", ",", "", "'", "", "%", "", "+", "").Replace(a.String())
}

// keep leaves what a failed attempt worked on, for whoever looks for the cause.
func keep(folder string, a attempt, dir string) {
	to := filepath.Join(folder, failedName(a))
	if out, err := exec.Command("cp", "-a", "--sparse=always", dir, to).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "crashmatrix: keeping %s: %v: %s\n", dir, err, out)
	}
}

func (x *trial) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *trial) run() {
	x.e = harness.New(x.t)
	x.setup(x)
	x.c.Write()
	x.whole()
	ids := harness.WatchIdentities(x.t, nil, x.all.Endpoints())
	x.dirs = harness.DataDirs(x.t, x.c.Dir)

	p := x.e.Plan(x.c.Path())
	planned := func() bool {
		return p.Refusal == nil && strings.HasPrefix(x.scenario.steps, p.Kinds()) && p.Kinds() != ""
	}
	// On a busy machine one that answers late is for a moment taken for dead.
	for end := time.Now().Add(10 * time.Second); !planned() && time.Now().Before(end); p = x.e.Plan(x.c.Path()) {
		time.Sleep(500 * time.Millisecond)
	}
	if !planned() {
		x.t.Fatalf("planned: %s, and should be: %s; refusal %+v: %s", p.Kinds(), x.scenario.steps, p.Refusal, p.Headline)
	}
	x.Kinds, x.begun = strings.Fields(p.Kinds()), true
	x.interrupt(p)
	later := harness.DataDirs(x.t, x.c.Dir)
	x.heal(p)

	x.check()
	ids.Stop()
	ids.OneAtATime(x.t, x.identities)
	x.dirs.Kept(x.t, x.c.Dir)
	later.Kept(x.t, x.c.Dir)
}

// whole remembers all members, those that the file does not have any more too.
func (x *trial) whole() {
	have := x.all.Members
	x.all = *x.c
	for _, m := range have {
		if !slices.ContainsFunc(x.all.Members, func(o harness.Member) bool { return o.DataDir == m.DataDir }) {
			x.all.Members = append(slices.Clone(x.all.Members), m)
		}
	}
}

// interrupt applies, and kills the victim at its place. A scenario of more applies
// than one goes on to the one that has the place.
func (x *trial) interrupt(p harness.Plan) {
	before := 0
	for {
		a := x.e.StartApply(nil, append([]string{x.c.Path()}, p.Accept()...)...)
		if !a.Until(func(j *harness.Journal) bool { return j.Place() >= 0 }) {
			if r := a.Wait(); r.Exit != 6 || x.Waits == mostWaits {
				r.Want(x.t, 0)
			}
			x.Waits++ // refused for the time being, on a busy machine: nothing was begun
			time.Sleep(time.Second)
			p = x.e.Plan(x.c.Path())
			continue
		}
		if x.Place == whole {
			a.Until(func(*harness.Journal) bool { return false })
			x.Exit = a.Wait().Want(x.t, 0).Exit
			x.Landed, x.Hit = a.Journal.Last(), true
			x.Steps = append(x.Steps, seconds(a.Journal)...)
		} else if there := a.Until(func(j *harness.Journal) bool { return j.Place() >= 0 && j.Place() >= x.Place-before }); there {
			x.strike(a, before)
			return
		} else {
			a.Wait().Want(x.t, 0)
		}
		before += 2 * len(p.Steps)
		if p = x.e.Plan(x.c.Path()); p.Route == "in-sync" || p.Refusal != nil {
			break
		}
		x.Kinds = append(x.Kinds, strings.Fields(p.Kinds())...)
	}
	if got := strings.Join(x.Kinds, " "); x.Place == whole && got != x.scenario.steps {
		x.t.Errorf("the steps were %s; the table says %s", got, x.scenario.steps)
	}
}

// strike kills the victim, and waits for the end of apply.
func (x *trial) strike(a *harness.Applying, before int) {
	if x.Percent > 0 {
		end := time.Now().Add(x.pause())
		a.Until(func(*harness.Journal) bool { return time.Now().After(end) })
	}
	if x.Who == requorum {
		r := a.Kill()
		x.Exit, x.Victim = r.Exit, requorum
		x.Landed = a.Journal.Last()
		x.Hit = r.Exit == -1 && a.Journal.Place() == x.Place-before
		time.Sleep(50 * time.Millisecond) // what dies with its parent
		for _, p := range harness.Processes(x.e.Dir) {
			if dir := p.DataDir(); strings.Contains(dir, "/trial") || strings.Contains(dir, "/recovered") {
				x.t.Errorf("it outlives its apply: %s", p)
			}
		}
		return
	}
	// Requorum is held where it is until the member is dead: to find out who has the role
	// takes longer than most steps.
	_ = a.Signal(syscall.SIGSTOP)
	m, ok := x.role()
	for end := time.Now().Add(10 * time.Second); !ok && time.Now().Before(end) && !a.Ended(); { // it is about to be started
		_ = a.Signal(syscall.SIGCONT)
		time.Sleep(20 * time.Millisecond)
		_ = a.Signal(syscall.SIGSTOP)
		m, ok = x.role()
	}
	if ok && x.kill(m, strings.HasSuffix(x.Who, host)) {
		x.Victim = m.Name
	}
	a.Journal.Poll()
	x.Landed = a.Journal.Last()
	x.Hit = x.Victim != "" && a.Journal.Place() == x.Place-before
	_ = a.Signal(syscall.SIGCONT)
	r := a.Wait()
	x.Exit = r.Exit
	if r.Exit != 0 && r.Exit != 7 {
		x.t.Errorf("a member died, and apply ended otherwise than done or part-way\n%s", r)
	}
	x.t.Logf("%s", r)
}

func (x *trial) pause() time.Duration {
	i := x.Place / 2
	if i >= len(x.steps) {
		return 0
	}
	return time.Duration(x.steps[i] * float64(x.Percent) / 100 * float64(time.Second))
}

// seconds are those that each step of a run took.
func seconds(j *harness.Journal) []float64 {
	var out []float64
	var began time.Time
	for _, r := range j.Records {
		switch r.Event {
		case "intent":
			began = r.Time
		case "done":
			out = append(out, r.Time.Sub(began).Seconds())
		case "skipped":
			out = append(out, 0)
		}
	}
	return out
}

// role finds the member that has the victim's role now.
func (x *trial) role() (harness.Member, bool) {
	want := strings.TrimSuffix(x.Who, host)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for _, m := range x.all.Members {
		if x.all.Etcd(m).PID == 0 {
			continue
		}
		if want == closed {
			return m, true
		}
		cli, err := harness.Dial(m.Client)
		if err != nil {
			continue
		}
		one, stop := context.WithTimeout(ctx, time.Second)
		st, err := cli.Status(one, m.Client)
		stop()
		cli.Close()
		switch {
		case want == learner:
			if err != nil || st.IsLearner { // one that does not answer yet is the one that joins
				return m, true
			}
		case err != nil || st.IsLearner:
		case (want == leader) == (st.Leader == st.Header.MemberId):
			return m, true
		}
	}
	return harness.Member{}, false
}

const (
	healLimit  = 2 * time.Minute
	mostApplys = 5
	mostWaits  = 20
)

// heal plans and applies until it is in sync, without consents that were not needed
// at first.
func (x *trial) heal(first harness.Plan) {
	end := time.Now().Add(healLimit)
	for {
		p := x.e.Plan(x.c.Path())
		switch {
		case p.Refusal != nil: // members that are just about to come back, perhaps
			x.Waits++
			if time.Now().After(end) {
				x.t.Fatalf("refused for good: %s: %s\n%s", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
			}
			time.Sleep(500 * time.Millisecond)
			continue
		case p.Route == "in-sync" && len(p.Steps) == 0:
			// It takes the lock's file of the killed one away. On a machine that is busy
			// enough a member may not answer in time, and is then not called in sync.
			if r := x.e.Run("apply", "--auto-approve", x.c.Path()); r.Exit != 0 && time.Now().Before(end) {
				x.Waits++
				continue
			} else {
				r.Want(x.t, 0)
			}
			return
		case x.Applies == mostApplys:
			x.t.Fatalf("after %d applies: route %s, steps %s: %s", x.Applies, p.Route, p.Steplist(), p.Headline)
		}
		for _, n := range p.Needs {
			if !strings.Contains(","+first.Consents()+",", ","+n.Consent+",") {
				x.t.Errorf("planned again it needs %s, and needed %q at first: %s", n.Consent, first.Consents(), p.Headline)
			}
		}
		x.t.Logf("again: route %s: %s: %s", p.Route, p.Headline, p.Steplist())
		r := x.e.Run(append([]string{"apply", "--auto-approve", x.c.Path()}, p.Accept()...)...)
		if r.Exit == 6 && time.Now().Before(end) {
			x.Waits++
			continue
		}
		x.Applies++
		if r.Exit != 0 && (x.Who == requorum || x.Applies > 1) {
			x.t.Fatalf("applied again\n%s", r)
		}
	}
}

// check reads all members back.
func (x *trial) check() {
	voters := &harness.Cluster{}
	for _, m := range x.c.Members {
		if !m.Learner {
			voters.Members = append(voters.Members, m)
		}
	}
	eps := voters.Endpoints()
	if x.base == nil { // bootstrapped just now
		x.base = harness.Fill(x.t, eps, keys)
	}
	after := harness.StartWriters(x.t, 1, eps)
	after.Await(x.t, 20)
	if len(x.ws) > 0 {
		w := x.ws[len(x.ws)-1]
		w.Stop()
		x.GapMS, x.Failed = w.Gap().Milliseconds(), len(w.Failed())
	}
	for _, w := range append(x.ws, after) {
		x.Acknowledged += w.Acked()
	}
	harness.CheckAll(x.t, x.base, eps, append(slices.Clone(x.ws), after)...)
	list, err := harness.Client(x.t, eps...).MemberList(harness.Context(x.t))
	x.must(err)
	var got, want []string
	for _, m := range list.Members {
		got = append(got, fmt.Sprint(m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner))
	}
	for _, m := range x.c.Members {
		want = append(want, fmt.Sprint(m.Name, []string{m.Peer}, []string{m.Client}, m.Learner))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		x.t.Errorf("the cluster's members are %q, the file's %q", got, want)
	}
}

// The parts that setups are made of.

const largeMB = 64

func (x *trial) bootstrap(n int) {
	x.c = x.e.Cluster(n).Write()
	x.e.Apply(x.c.Path())
	x.whole()
}

// living is a bootstrapped cluster of n under writers that the i-th leads.
func (x *trial) living(n, i int) {
	x.bootstrap(n)
	x.fill()
	x.lead(i)
	x.write()
}

func (x *trial) fill() {
	if x.base == nil {
		x.base = harness.Keys{}
	}
	maps.Copy(x.base, harness.Fill(x.t, x.c.Endpoints()[:1], keys))
}

// bulk adds mb megabytes.
func (x *trial) bulk(mb int) {
	if x.base == nil {
		x.base = harness.Keys{}
	}
	x.must(bulk(harness.Context(x.t), x.c.Members[0].Client, mb, x.base))
}

func bulk(ctx context.Context, endpoint string, mb int, into harness.Keys) error {
	cli, err := harness.Dial(endpoint)
	if err != nil {
		return err
	}
	defer cli.Close()
	value := strings.Repeat("0123456789abcdef", 64<<10/16)
	for i := range mb {
		var ops []clientv3.Op
		for j := range 16 {
			k := fmt.Sprintf("/bulk/%d/%d", i, j)
			into[k] = value
			ops = append(ops, clientv3.OpPut(k, value))
		}
		if _, err := cli.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// write starts writers on all members that were ever there.
func (x *trial) write() {
	w := harness.StartWriters(x.t, 2, x.c.Endpoints())
	w.Await(x.t, 50)
	x.ws = append(x.ws, w)
}

// more are n further members of the file.
func (x *trial) more(n int) {
	ports := x.e.Ports(2 * n)
	for i := range n {
		name := fmt.Sprintf("m%d", len(x.c.Members)+1)
		m := harness.Member{Name: name, Client: ports.URL(2 * i), Peer: ports.URL(2*i + 1), DataDir: filepath.Join(x.c.Dir, "data", name)}
		x.e.Expect(m.DataDir)
		x.c.Members = append(x.c.Members, m)
	}
}

// lead makes the i-th member the leader.
func (x *trial) lead(i int) {
	x.t.Helper()
	ctx := harness.Context(x.t)
	for range 20 {
		now, err := harness.Leader(ctx, x.c.Endpoints())
		if err == nil && now == i {
			return
		}
		if err == nil {
			to := harness.Status(x.t, x.c.Members[i].Client).Header.MemberId
			_, err = harness.Client(x.t, x.c.Members[now].Client).MoveLeader(ctx, to)
		}
		if err != nil {
			x.t.Logf("move leader: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	x.t.Fatalf("%s does not become the leader", x.c.Members[i].Name)
}

// crash is a cluster that somebody started by hand, led by the first member, killed
// at once under writers.
func (x *trial) crash(mb int) {
	x.serve(mb)
	x.hands.Kill9()
	x.ws[0].Stop()
}

// serve is the cluster of crash before that.
func (x *trial) serve(mb int) {
	if x.c == nil {
		x.c = x.e.Cluster(3)
	}
	x.c.Write()
	x.hands = x.e.ByHand(x.c.Members)
	x.lead(0)
	if mb > 0 {
		x.bulk(mb)
	}
	x.fill()
	x.lead(0)
	x.write()
	x.ws[0].Await(x.t, 100)
}

// only keeps the disk of the i-th member.
func (x *trial) only(i int) {
	for j, m := range x.c.Members {
		if j != i {
			x.c.DropData(m)
		}
	}
}

// restore is a file that restores a snapshot.
func (x *trial) restore(s source) {
	x.c = x.e.Cluster(3)
	x.c.Snapshot = s.path
	x.base = maps.Clone(s.keys)
}

// source is a snapshot and what it holds.
type source struct {
	path string
	keys harness.Keys
}

var sources struct {
	sync.Mutex
	dir  string // outlives the attempts
	made map[bool]source
}

// source makes a snapshot once, and gives it.
func (x *trial) source(large bool) source {
	sources.Lock()
	defer sources.Unlock()
	if s, ok := sources.made[large]; ok {
		return s
	}
	server := x.e.Server("source")
	s := source{path: filepath.Join(sources.dir, fmt.Sprintf("source-%t.db", large)), keys: harness.Keys{}}
	if large {
		x.must(bulk(harness.Context(x.t), server.Client, largeMB, s.keys))
	}
	maps.Copy(s.keys, harness.Fill(x.t, []string{server.Client}, keys))
	harness.Snapshot(x.t, server.Client, s.path)
	x.e.StopServer(server)
	if sources.made == nil {
		sources.made = map[bool]source{}
	}
	sources.made[large] = s
	return s
}

// atLocalhost are flags of a member that the cluster knows by another peer URL than
// the file does.
func atLocalhost(m harness.Member) []string {
	local := strings.Replace(m.Peer, "127.0.0.1", "localhost", 1)
	return []string{"--initial-advertise-peer-urls=" + local, "--initial-cluster=" + m.Name + "=" + local}
}
