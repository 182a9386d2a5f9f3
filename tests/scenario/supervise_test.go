package scenario

import (
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// A member whose etcd is killed comes back by itself.
func TestSupervisorRestartsEtcd(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	m := c.Members[0]
	for range 2 {
		dead := c.Etcd(m)
		if err := harness.Kill9([]harness.Proc{dead}); err != nil {
			t.Fatal(err)
		}
		harness.AwaitServing(t, m.Client)
		if now := c.Etcd(m); now.PID == dead.PID || now.PID == 0 {
			t.Fatalf("was %d, is %v", dead.PID, now)
		}
	}
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// A supervisor that is killed leaves its etcd running; plan says adopt, apply
// does it, and the member is never restarted.
func TestAdopt(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	pids := map[string]int{}
	for _, m := range c.Members {
		pids[m.Name] = c.Etcd(m).PID
	}
	for _, m := range c.Members[:2] {
		if err := harness.Kill9([]harness.Proc{c.Supervisor(m)}); err != nil {
			t.Fatal(err)
		}
	}
	p := e.Plan(c.Path())
	if p.Route != "start" || p.Kinds() != "adopt" || len(p.Steps[0].Target) != 2 {
		t.Fatalf("route %s, steps %+v: %s", p.Route, p.Steps, p.Headline)
	}
	e.Apply(c.Path())
	e.InSync(c.Path())
	for _, m := range c.Members {
		if now := c.Etcd(m).PID; now != pids[m.Name] {
			t.Errorf("%s: pid %d became %d", m.Name, pids[m.Name], now)
		}
		if c.Supervisor(m).PID == 0 {
			t.Errorf("%s has no supervisor", m.Name)
		}
	}
	harness.CompareAll(t, want, c.Endpoints())

	// The new supervisor does its work.
	m := c.Members[0]
	if err := harness.Kill9([]harness.Proc{c.Etcd(m)}); err != nil {
		t.Fatal(err)
	}
	harness.AwaitServing(t, m.Client)
	e.InSync(c.Path())
}

// stop --member stops that one alone; apply starts it again.
func TestStopOneMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	e.Run("stop", "--auto-approve", "--member=m2", c.Path()).Want(t, 0)
	if c.Etcd(c.Members[1]).PID != 0 || c.Supervisor(c.Members[1]).PID != 0 {
		t.Error("m2 still runs")
	}
	if len(c.Processes()) != 4 {
		t.Errorf("running: %v", c.Processes())
	}
	p := e.Plan(c.Path())
	if p.Route != "start" || len(p.Steps) == 0 || len(p.Steps[0].Target) != 1 {
		t.Fatalf("route %s, steps %+v: %s", p.Route, p.Steps, p.Headline)
	}
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
	e.Run("stop", "--auto-approve", "--member=m9", c.Path()).Want(t, 1)
}

// A frozen member is not taken for a dead one: it is neither started twice nor
// restored over.
func TestFrozenMember(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	frozen := c.Etcd(c.Members[2])
	if err := syscall.Kill(frozen.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p := e.Plan(c.Path())
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("plan took %s with one member frozen", took)
	}
	if p.Route == "in-sync" || p.Route == "restore" || p.Route == "bootstrap" {
		t.Errorf("route %s, steps %s: %s", p.Route, p.Kinds(), p.Headline)
	}
	for _, s := range p.Steps {
		if s.Kind == "start" {
			t.Errorf("starts %v although it runs", s.Target)
		}
	}
	if err := syscall.Kill(frozen.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	harness.AwaitServing(t, c.Members[2].Client)
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}
