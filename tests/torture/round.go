package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// line is what is kept of a round.
type line struct {
	Seed   uint64   `json:"seed"`
	Target string   `json:"target"`
	Faults []struck `json:"faults"`
	// During is how many of the faults came while a step was at work.
	During  int     `json:"during"`
	Exit    int     `json:"exit"`    // of the apply that they came in
	Applies int     `json:"applies"` // after it
	Waits   int     `json:"waits"`   // plans that were refused for the time being
	Writes  int     `json:"writes"`  // acknowledged
	Reads   int     `json:"reads"`
	GapMS   int64   `json:"gap_ms"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// struck is a fault that came.
type struck struct {
	Fault string  `json:"fault"`
	Who   string  `json:"who"`
	At    string  `json:"at"` // the journal's last record
	For   float64 `json:"for"`
	Step  bool    `json:"step"` // a step was at work
}

const leastWrites = 500

// counts reports whether the round shows anything.
func (l line) counts() bool { return l.During > 0 && l.Writes >= leastWrites }

func (l line) String() string {
	var all []string
	for _, f := range l.Faults {
		all = append(all, fmt.Sprintf("%s (%s) at %s for %.1f s", f.Fault, f.Who, f.At, f.For))
	}
	s := fmt.Sprintf("seed %-5d %-14s %s; during a step: %d; exit %d, then %d applies; %d writes, %d reads, gap %d ms; %.1f s",
		l.Seed, l.Target, strings.Join(all, ", "), l.During, l.Exit, l.Applies, l.Writes, l.Reads, l.GapMS, l.Seconds)
	switch {
	case l.Error != "":
		s += "\n  FAILED: " + l.Error
	case !l.counts():
		s += " (does not count)"
	}
	return s
}

// trial is a round at work.
type trial struct {
	line
	t   testing.TB
	e   *harness.Env
	net *harness.Net
	c   *harness.Cluster
	all harness.Cluster // with members that the file had before
	rng *rand.Rand

	disks []string
	cuts  int
	apply *harness.Applying
	h     *history
	begun bool
}

// setups is how often a round is begun anew that did not get as far as its target.
const setups = 2

// round runs one. All that chance decides comes from the seed; when things happen
// does not, for real servers have their own time.
func round(seed uint64, folder string) line {
	for try := 1; ; try++ {
		x := &trial{line: line{Seed: seed}, rng: rand.New(rand.NewPCG(seed, 1))}
		began := time.Now()
		log, err := harness.Outside(context.Background(), fmt.Sprintf("torture-%d", seed), func(t testing.TB) {
			x.t = t
			x.run()
		}, func(dir string) { keep(folder, seed, dir) })
		x.Seconds = time.Since(began).Seconds()
		if err != nil && !x.begun && try < setups {
			fmt.Printf("seed %d: again, no cluster to torture: %.300v\n", seed, err)
			continue
		}
		if err != nil {
			x.Error = err.Error()
			_ = os.WriteFile(filepath.Join(folder, fmt.Sprintf("failed-%d.log", seed)), []byte(log+x.Error), 0o600)
		}
		return x.line
	}
}

// keep leaves what a failed round worked on; the disks are gone by then, so that
// it is the journals and logs.
func keep(folder string, seed uint64, dir string) {
	to := filepath.Join(folder, fmt.Sprintf("failed-%d", seed))
	if out, err := exec.Command("cp", "-a", "--sparse=always", dir, to).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "torture: keeping %s: %v: %s\n", dir, err, out)
	}
}

func (x *trial) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *trial) run() {
	x.t.Cleanup(x.unmount) // the last thing: after the harness has ended all processes
	x.e = harness.New(x.t)
	x.net = x.e.Net()
	to := targets[x.rng.IntN(len(targets))]
	x.Target = to.name
	x.c = x.e.Cluster(to.begin)
	for i := range x.c.Members {
		x.c.Members[i] = x.onDisk(x.c.Members[i])
	}
	x.t.Cleanup(func() { x.keepLogs() })
	x.c.Write()
	x.e.RunIn(x.net, "apply", "--auto-approve", x.c.Path()).Want(x.t, 0)
	before := x.c.Members
	x.all = *x.c

	// The clients know all members that will be.
	grown := strings.HasPrefix(to.name, "grow")
	if grown {
		to.set(x)
	}
	h, err := begin(x.net, x.c.Endpoints(), x.Seed)
	x.must(err)
	x.h = h
	x.t.Cleanup(h.end)
	x.await("the first writes", 30*time.Second, func() bool { n, _, _ := h.counts(); return n >= 100 })
	if !grown {
		to.set(x)
	}
	x.c.Write()
	x.all = *x.c
	if len(before) > len(x.c.Members) {
		x.all.Members = before
	}
	ids := harness.WatchIdentities(x.t, x.net, x.all.Endpoints())
	dirs := harness.DataDirs(x.t, x.c.Dir)
	first := x.e.PlanIn(x.net, x.c.Path())
	if first.Refusal != nil || len(first.Steps) == 0 {
		x.t.Fatalf("nothing to do: route %s, refusal %+v", first.Route, first.Refusal)
	}
	x.begun = true
	x.torture(first)
	later := harness.DataDirs(x.t, x.c.Dir)
	x.heal(first)

	x.await("enough writes", 60*time.Second, func() bool { n, _, _ := h.counts(); return n >= leastWrites })
	h.end()
	x.check()
	ids.Stop()
	most := 1
	if to.name == "recover" {
		most = 2
	}
	ids.OneAtATime(x.t, most)
	dirs.Kept(x.t, x.c.Dir)
	later.Kept(x.t, x.c.Dir)
}

// keepLogs copies the members' logs from their disks, where the round failed.
func (x *trial) keepLogs() {
	if !x.t.Failed() {
		return
	}
	for _, d := range x.disks {
		logs, _ := filepath.Glob(filepath.Join(d, "*.requorum", "*.log"))
		more, _ := filepath.Glob(filepath.Join(d, "*.requorum", "*.json"))
		for _, f := range append(logs, more...) {
			if b, err := os.ReadFile(f); err == nil {
				_ = os.WriteFile(x.e.Path(filepath.Base(d)+"-"+filepath.Base(f)+".kept"), b, 0o600)
			}
		}
	}
}

// torture applies, and strikes at moments that chance chooses.
func (x *trial) torture(p harness.Plan) {
	for { // on a busy machine it may be refused for the time being: nothing is begun then
		x.apply = x.e.StartApply(x.net, append([]string{x.c.Path()}, p.Accept()...)...)
		if x.apply.Until(func(j *harness.Journal) bool { return j.Place() >= 0 }) || x.Waits == mostWaits {
			break
		}
		x.Waits++
		time.Sleep(time.Second)
		if again := x.e.PlanIn(x.net, x.c.Path()); again.Refusal == nil && len(again.Steps) > 0 {
			p = again
		}
	}
	n := 1 + x.rng.IntN(2)
	for range n {
		step := 1 + x.rng.IntN(len(p.Steps))
		pause := time.Duration(x.rng.IntN(800)) * time.Millisecond
		if x.rng.IntN(2) == 0 { // short steps are over soon
			pause = time.Duration(x.rng.IntN(30)) * time.Millisecond
		}
		f := faults[x.rng.IntN(len(faults))]
		lasts := time.Duration(200+x.rng.IntN(6000)) * time.Millisecond
		if !x.apply.Until(func(j *harness.Journal) bool { return j.Place() >= 2*step-1 }) {
			break
		}
		end := time.Now().Add(pause)
		if !x.apply.Until(func(*harness.Journal) bool { return time.Now().After(end) }) {
			break
		}
		s := struck{Fault: f.name, At: x.apply.Journal.Last(), Step: x.apply.Journal.Place()%2 == 1}
		var heal func()
		began := time.Now()
		if s.Who, heal = f.strike(x); s.Who == "" {
			continue
		}
		if heal != nil {
			time.Sleep(lasts)
			heal()
		}
		s.For = time.Since(began).Seconds()
		x.Faults = append(x.Faults, s)
		if s.Step {
			x.During++
		}
	}
	r := x.apply.Wait()
	x.Exit = r.Exit
	x.t.Logf("%s", r)
	synced := r.Exit != 0 || x.comesInSync()
	if why := x.breaks(synced); why != "" {
		x.t.Errorf("%s\n%s", why, r)
	}
}

// settleLimit is how long a member that was struck last may take to be back.
const settleLimit = 45 * time.Second

// comesInSync reports whether nothing is left to be done, without anybody doing it.
func (x *trial) comesInSync() bool {
	for end := time.Now().Add(settleLimit); ; time.Sleep(time.Second) {
		if p := x.e.PlanIn(x.net, x.c.Path()); p.Route == "in-sync" && len(p.Steps) == 0 && p.Refusal == nil {
			return true
		} else if time.Now().After(end) {
			x.t.Logf("after exit 0: route %s, refusal %+v, steps %s", p.Route, p.Refusal, p.Steplist())
			return false
		}
	}
}

// breaks says how the exit code of the apply breaks its contract; "" where it does not.
// Synced is whether nothing was left to be done after a 0.
func (l line) breaks(synced bool) string {
	struck := func(names ...string) bool {
		return slices.ContainsFunc(l.Faults, func(s struck) bool { return slices.Contains(names, s.Fault) })
	}
	switch l.Exit {
	case 0:
		// Who is left without a supervisor is nobody's to bring back but the next apply's.
		if !synced && !struck(killBoth) {
			return "apply exits with 0, and it is not in sync"
		}
	case 1, 4, 5, 6, 7: // it stopped, before or part-way, and heal finds what is left
	case -1:
		if !struck(killRequorum) {
			return "apply was ended by a signal that nobody sent"
		}
	default: // 2 is a panic's
		return fmt.Sprintf("apply exits with %d, which can't be here", l.Exit)
	}
	return ""
}

const (
	healLimit   = 150 * time.Second
	mostApplies = 8
	mostWaits   = 20
)

// heal plans and applies until it is in sync.
func (x *trial) heal(first harness.Plan) {
	end := time.Now().Add(healLimit)
	for {
		p := x.e.PlanIn(x.net, x.c.Path())
		switch {
		case p.Refusal != nil:
			x.Waits++
			if time.Now().After(end) {
				x.t.Fatalf("nothing is broken any more, and it is refused for good: %s: %s\n%s", p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
			}
			time.Sleep(time.Second)
			continue
		case p.Route == "in-sync" && len(p.Steps) == 0:
			r := x.e.RunIn(x.net, "apply", "--auto-approve", x.c.Path()) // takes a lock's file away
			if r.Exit != 0 && time.Now().Before(end) {
				x.Waits++
				continue
			}
			r.Want(x.t, 0)
			return
		case x.Applies == mostApplies || time.Now().After(end):
			x.t.Fatalf("after %d applies: route %s, steps %s: %s", x.Applies, p.Route, p.Steplist(), p.Headline)
		}
		for _, n := range p.Needs {
			if !strings.Contains(","+first.Consents()+",", ","+n.Consent+",") {
				x.t.Fatalf("planned again it needs %s, and needed %q at first: %s", n.Consent, first.Consents(), p.Headline)
			}
		}
		x.t.Logf("again: route %s: %s: %s", p.Route, p.Headline, p.Steplist())
		r := x.e.RunIn(x.net, append([]string{"apply", "--auto-approve", x.c.Path()}, p.Accept()...)...)
		x.Applies++
		x.t.Logf("%s", r)
	}
}

// check reads every member once more, compares them, and checks the history.
func (x *trial) check() {
	ctx := harness.Context(x.t)
	for _, m := range x.c.Members {
		cli, err := x.net.Dial(m.Client)
		x.must(err)
		err = x.h.readAll(ctx, cli)
		cli.Close()
		if err != nil {
			x.t.Fatalf("%s: %v", m.Name, err)
		}
	}
	var gap time.Duration
	x.Writes, x.Reads, gap = x.h.counts()
	x.GapMS = gap.Milliseconds()
	if err := check(x.h.ops); err != nil {
		x.t.Error(err)
	}
}
