package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	Exit    int      `json:"exit"`           // of the apply that was interrupted
	Applies int      `json:"applies"`        // after it, until it was in sync
	Waits   int      `json:"waits"`          // plans that were refused for the time being
	Back    bool     `json:"back,omitempty"` // the file had to name a voter again that it had no more
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
	try   int       // from 1
	begun bool      // the setup is done, and the plan is the table's
}

// tries is how often an attempt is made whose kill came too late.
const tries = 3

// run makes an attempt. steps are the seconds of the scenario's steps.
func run(a attempt, steps []float64, folder string) line {
	for try := 1; ; try++ {
		x := &trial{line: line{attempt: a}, scenario: find(a.Scenario), steps: steps, try: try}
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

const (
	healLimit  = 2 * time.Minute
	mostApplys = 5
	mostWaits  = 20
)

// putBack does what the refusal says: a voter whose disk is here, and that the file does
// not have any more, is named in it again, and when the cluster serves it is taken out.
func (x *trial) putBack() {
	x.Back = true
	left := x.c.Members
	x.c.Members = x.all.Members
	x.c.Write()
	p := x.e.Plan(x.c.Path())
	for end := time.Now().Add(30 * time.Second); p.Refusal != nil && time.Now().Before(end); p = x.e.Plan(x.c.Path()) {
		time.Sleep(500 * time.Millisecond)
	}
	if p.Refusal != nil || len(p.Needs) > 0 || p.Route != "start" {
		x.t.Fatalf("with the voter in the file again: route %s, needs %v, refusal %+v: %s", p.Route, p.Needs, p.Refusal, p.Headline)
	}
	x.e.Apply(x.c.Path())
	x.Applies++
	x.c.Members = left
	x.c.Write()
}

// heal plans and applies until it is in sync, without consents that were not needed
// at first.
func (x *trial) heal(first harness.Plan) {
	end := time.Now().Add(healLimit)
	for {
		p := x.e.Plan(x.c.Path())
		switch {
		case p.Refusal != nil && p.Refusal.Code == "voter-outside" && !x.Back:
			x.putBack()
			continue
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
