package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/e2e/table"
	"github.com/requorum/requorum/tests/harness"
)

// minor is the etcd that scenarios run where they don't say another one.
const minor = "3.6"

// stage is one scenario at work: hosts, a cluster on some of them that somebody set up
// by hand, and writers that never stop.
type stage struct {
	t    *testing.T
	b    *bed.Bed
	c    *bed.Cluster
	base harness.Keys
	w    *harness.Writers
	file bed.File

	began   time.Time
	checked bool // finish was called for all that there is
	stopped bool // the writers were, by quiet
	row     table.Row
}

// set makes hosts, sets a cluster up on the first of them, and has writers at work;
// without members it leaves that to the scenario.
func set(t *testing.T, hosts, members int) *stage {
	t.Helper()
	s := &stage{t: t, b: bed.New(t, bed.Options{Hosts: hosts, Etcds: []string{minor}})}
	if members > 0 {
		s.install(members)
		s.begin()
	}
	return s
}

// install sets a cluster up on the first hosts.
func (s *stage) install(members int) {
	s.t.Helper()
	s.b.RemovePackage()
	in := bed.Install{Style: bed.Flags, Minor: minor}
	for _, h := range s.b.Hosts()[:members] {
		in.Hosts = append(in.Hosts, h.Name)
	}
	s.c = s.b.ByHand(in)
}

// again makes all hosts new machines and begins anew; what was measured stays.
func (s *stage) again(members int) {
	s.t.Helper()
	s.b.PowerOff()
	for _, h := range s.b.Hosts() {
		h.Reinstall()
	}
	s.b.PowerOn()
	if err := os.RemoveAll(s.b.State()); err != nil {
		s.t.Fatal(err)
	}
	s.stopped = false
	s.install(members)
	s.begin()
}

// begin has writers at work, and time go on.
func (s *stage) begin() {
	s.t.Helper()
	s.base = harness.Fill(s.t, s.c.Endpoints(), 1000)
	// All hosts that will ever be members: a client of etcd's takes those that answer.
	var all []string
	for _, h := range s.b.Hosts() {
		all = append(all, "http://"+h.Address+":2379")
	}
	s.w = harness.StartWriters(s.t, 4, all)
	s.w.Await(s.t, 100)
	s.began = time.Now()
}

// plan is what requorum would do now.
func (s *stage) plan() harness.Plan {
	s.t.Helper()
	return s.b.Plan(s.c.Write(s.file))
}

// adopt takes the cluster as it is: there has to be nothing that restarts a member.
func (s *stage) adopt() {
	s.t.Helper()
	before := s.c.Started()
	s.settle()
	for name, now := range s.c.Started() {
		if now != before[name] {
			s.t.Errorf("adoption restarted %s: %q, then %q", name, before[name], now)
		}
	}
}

// settleLimit is how many applies it may take after a fault.
const settleLimit = 5

// lately is longer than requorum takes a silent etcd for one that has only just been
// started: on a host that has just booted a plan has to wait for that.
const lately = 90 * time.Second

// settled is a plan that is not refused only because an etcd has just been started, or
// an election is going on.
func (s *stage) settled(path string) harness.Plan {
	s.t.Helper()
	for end := time.Now().Add(lately); ; time.Sleep(2 * time.Second) {
		p := s.b.Plan(path)
		if p.Refusal == nil {
			return p
		}
		if !slices.Contains([]string{"process-no-reply", "no-leader"}, p.Refusal.Code) || time.Now().After(end) {
			s.t.Fatalf("refused: %s: %s\n%s", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
		}
	}
}

// unlocked runs requorum until the lock of a run that was cut off has ended: its key in
// etcd outlives its holder by 20 s.
func (s *stage) unlocked(args ...string) harness.Result {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Second) {
		if r := s.b.Requorum(args...); r.Exit != 5 || time.Now().After(end) {
			return r
		}
	}
}

// settle applies the file, with all that its plans need, until there is nothing left.
func (s *stage) settle() {
	s.t.Helper()
	path := s.c.Write(s.file)
	for range settleLimit {
		p := s.settled(path)
		if len(p.Steps) == 0 {
			s.b.Requorum("status", path).Want(s.t, 0)
			return
		}
		s.t.Logf("route %s: %s: steps %s; needs %s", p.Route, p.Headline, p.Steplist(), p.Consents())
		r := s.unlocked(append([]string{"apply", "--auto-approve", path}, p.Accept()...)...)
		switch r.Exit {
		case 0:
		case 6, 7: // 6: between plan and apply more was found, which needs another consent
			s.t.Logf("%s", r)
		default:
			r.Want(s.t, 0)
		}
	}
	s.t.Fatalf("not done after %d applies", settleLimit)
}

// applying is an apply at work.
type applying struct {
	s      *stage
	cmd    *exec.Cmd
	runs   int // that were there before
	output bytes.Buffer
	ended  chan struct{}
}

// apply starts an apply of the file, with all that its plan needs, and gives how many
// steps it has.
func (s *stage) apply() (a *applying, steps int) {
	s.t.Helper()
	p := s.plan()
	if p.Refusal != nil || len(p.Steps) == 0 {
		s.t.Fatalf("nothing to apply: %s: %+v", p.Headline, p.Refusal)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	s.t.Cleanup(cancel)
	a = &applying{s: s, runs: len(s.runs()), ended: make(chan struct{})}
	a.cmd = s.b.Command(ctx, append([]string{harness.Binary(), "apply", "--auto-approve", s.c.Path()}, p.Accept()...)...)
	a.cmd.Stdout, a.cmd.Stderr = &a.output, &a.output
	s.b.Start(a.cmd)
	go func() {
		defer close(a.ended)
		_ = a.cmd.Wait()
	}()
	return a, len(p.Steps)
}

// runs are the journals of all applies so far.
func (s *stage) runs() []string {
	files, _ := filepath.Glob(filepath.Join(s.b.State(), "requorum", "runs", "*", "journal.jsonl"))
	return files
}

// records are the events of a journal, as EVENT of STEP.
func records(file string) (events []string, steps []int) {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		var r struct {
			Event string `json:"event"`
			Step  int    `json:"step"`
		}
		if json.Unmarshal([]byte(line), &r) == nil {
			events, steps = append(events, r.Event), append(steps, r.Step)
		}
	}
	return events, steps
}

// awaitStep waits until the apply is about to do its n-th step, or has ended.
func (a *applying) awaitStep(n int) {
	a.s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		select {
		case <-a.ended:
			return
		default:
		}
		runs := a.s.runs()
		if len(runs) <= a.runs {
			continue
		}
		events, steps := records(runs[len(runs)-1])
		for i := range events {
			if events[i] == "intent" && steps[i] >= n {
				return
			}
		}
	}
	a.s.t.Fatalf("step %d did not begin\n%s", n, a.output.String())
}

// end waits for the apply's end, which has to come by itself, and gives its exit code.
func (a *applying) end() int {
	a.s.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(4 * time.Minute):
		a.s.t.Fatalf("apply does not end\n%s", a.output.String())
	}
	code := a.cmd.ProcessState.ExitCode()
	a.s.t.Logf("apply ended with %d\n%s", code, lastOf(a.output.String(), 6))
	return code
}

func lastOf(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// quiet stops the writers, and waits until m1 has all that was acknowledged.
func (s *stage) quiet() {
	s.t.Helper()
	s.w.Stop()
	s.stopped = true
	harness.AwaitServing(s.t, s.c.Endpoints()[0])
}

// finish checks what the members hold and fills in the row.
func (s *stage) finish() table.Row {
	s.t.Helper()
	s.row.Took += time.Since(s.began)
	s.c.AwaitServing()
	writers := []*harness.Writers{s.w}
	if s.stopped { // it has to take writes again
		writers = append(writers, harness.StartWriters(s.t, 4, s.c.Endpoints()))
	}
	last := writers[len(writers)-1]
	last.Await(s.t, 50)
	last.Stop()
	for _, w := range writers {
		lost := 0 // on the member that lacks the most
		for _, ep := range s.c.Endpoints() {
			missing, err := w.Missing(context.Background(), ep)
			if err != nil {
				s.t.Fatal(err)
			}
			lost = max(lost, len(missing))
		}
		s.row.Lost += lost
		s.row.Acked += w.Acked()
		s.row.Failed += len(w.Failed())
		s.row.Gap = max(s.row.Gap, w.Gap())
	}
	for _, file := range s.runs() {
		events, _ := records(file)
		for _, e := range events {
			if e == "done" {
				s.row.Steps++
			}
		}
	}
	harness.CheckAll(s.t, s.base, s.c.Endpoints(), writers...)
	return s.row
}
