package scenario

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// A member that somebody starts with --force-new-cluster knows itself alone: on
// its next start it serves as a second cluster of the same ID. It is never
// started, neither beside the others' quorum nor with all stopped.
func TestForcedMemberIsNotStarted(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	m1 := c.Members[0]
	e.Run("stop", "--auto-approve", "--member", m1.Name, c.Path()).Want(t, 0)
	force(t, m1)

	codes := []string{"removed-member", "split-cluster"}
	if p := e.Plan(c.Path()); !oneOf(p.Code(), codes) {
		t.Errorf("refusal %q, want one of %q: route %s: %s", p.Code(), codes, p.Route, p.Headline)
	}
	e.Run("apply", "--auto-approve", "--accept=data-loss", c.Path()).Want(t, 6)
	harness.CompareAll(t, want, c.Endpoints()[1:])

	c.Stop()
	refused(t, e, c.Path(), codes...)
}

// Neither is it where the others run and give no answer: that they are slow says
// nothing of who they are.
func TestForcedMemberBesideSilentOnes(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	m1 := c.Members[0]
	e.Run("stop", "--auto-approve", "--member", m1.Name, c.Path()).Want(t, 0)
	force(t, m1)
	for range 5 { // while they may be on their way back
		if p := e.Plan(c.Path()); p.Refusal == nil {
			t.Errorf("route %s: %s", p.Route, p.Headline)
		}
	}
	for n := 2; n > 0; n-- { // both, then one
		for _, url := range c.Endpoints()[1:] {
			harness.AwaitServing(t, url)
		}
		var silent []int
		for _, m := range c.Members[1 : 1+n] {
			pid := c.Etcd(m).PID
			if pid == 0 {
				t.Fatalf("%s does not run", m.Name)
			}
			silent = append(silent, pid)
			noErr(t, syscall.Kill(pid, syscall.SIGSTOP))
		}
		e.Run("plan", c.Path()).Want(t, 6)
		e.Run("apply", "--auto-approve", "--accept=data-loss", c.Path()).Want(t, 6)
		for _, pid := range silent {
			noErr(t, syscall.Kill(pid, syscall.SIGCONT))
		}
		harness.CompareAll(t, want, c.Endpoints()[1:])
	}
}

// force starts the member alone with --force-new-cluster, lets it serve, and ends
// it.
func force(t *testing.T, m harness.Member) {
	t.Helper()
	cmd := exec.Command(harness.Binary(), "etcd", "--name="+m.Name, "--data-dir="+m.DataDir, "--force-new-cluster",
		"--listen-client-urls="+m.Client, "--advertise-client-urls="+m.Client,
		"--listen-peer-urls="+m.Peer, "--initial-advertise-peer-urls="+m.Peer)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	harness.AwaitServing(t, m.Client)
	cli := harness.Client(t, m.Client)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := cli.Put(ctx, "/forced", "a write that nobody else has"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // ended by the signal
}
