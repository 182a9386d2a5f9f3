package main

import (
	"context"
	"strings"
	"syscall"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

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
	if r.Exit != 0 && r.Exit != 7 && (r.Exit != 4 || x.Place > 0) { // before the first step the plan has become stale
		x.t.Errorf("a member died, and apply ended otherwise than done or part-way\n%s", r)
	}
	x.t.Logf("%s", r)
}

// pause is how much of the step goes by before the kill: by the run that nobody
// interrupted, and less where that was slower than the machine is now.
func (x *trial) pause() time.Duration {
	i := x.Place / 2
	if i >= len(x.steps) {
		return 0
	}
	return time.Duration(x.steps[i] * float64(x.Percent) / 100 * float64(time.Second) / float64(x.try*x.try))
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

// kill ends a member's process, and its supervisor first where one is to die too.
func (x *trial) kill(m harness.Member, supervisor bool) bool {
	etcd := x.all.Etcd(m)
	if etcd.PID == 0 {
		return false
	}
	if s := x.all.Supervisor(m); supervisor && s.PID != 0 {
		_ = syscall.Kill(s.PID, syscall.SIGKILL)
	}
	return syscall.Kill(etcd.PID, syscall.SIGKILL) == nil
}
