package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// Outcome is what Start found or did.
type Outcome string

// The outcomes of Start.
const (
	Started Outcome = "started"
	// Already: it runs, or is being restarted after a crash, with this
	// configuration.
	Already Outcome = "already running"
	// Pending: it runs with another binary or other flags; the new ones were
	// written down and take effect when it is next started.
	Pending Outcome = "runs with other settings until it is restarted"
)

// ownBinary is this program, also after its file was replaced or deleted.
const ownBinary = "/proc/self/exe"

// poll is how often the supervisor's state is looked at.
const poll = 10 * time.Millisecond

// Start installs the service and starts its supervisor, which starts etcd. It
// returns when the supervisor has taken over, which is before etcd serves. self
// is the path of requorum; "" is this program. A running etcd is never
// restarted. A supervisor that refuses to start etcd is an error with its words.
func Start(ctx context.Context, self string, cfg Config, l host.Layout) (Outcome, error) {
	if err := cfg.check(l); err != nil {
		return "", err
	}
	if err := ClaimedBy(l, cfg.Cluster); err != nil {
		return "", err
	}
	if _, err := host.MkdirAll(l.Base()); err != nil {
		return "", err
	}
	agent, err := install(self, &cfg, l)
	if err != nil {
		return "", err
	}
	if old, err := ReadConfig(l); err != nil || !old.equal(cfg) {
		if err := writeJSONIf(l.Service(), cfg, goOn(ctx)); err != nil {
			return "", err
		}
	}
	return ensure(ctx, agent, cfg, l)
}

// install makes the private copies and gives the path of requorum's own.
func install(self string, cfg *Config, l host.Layout) (agent string, err error) {
	if agent, err = privateSelf(self, l); err != nil {
		return "", err
	}
	cfg.Private = agent
	if cfg.Binary != "" {
		cfg.Private, err = privateCopy(l, cfg.Binary, "etcd")
	}
	return agent, err
}

// Command is the beginning of the command line that runs etcd, from private
// copies beside the member: what Start will run later can be tried with it. self
// is the path of requorum, "" for this program; binary is the user's etcd, "" for
// the one inside requorum.
func Command(self, binary string, l host.Layout) ([]string, error) {
	cfg := Config{Binary: binary}
	if _, err := install(self, &cfg, l); err != nil {
		return nil, err
	}
	return cfg.argv(), nil
}

func privateSelf(self string, l host.Layout) (string, error) {
	if self == "" {
		self = ownBinary
	}
	return privateCopy(l, self, "requorum")
}

// ensure has one supervisor running.
func ensure(ctx context.Context, agent string, cfg Config, l host.Layout) (Outcome, error) {
	st, _ := readState(l)
	supervised := st.supervised(l)
	if supervised && st.State != planner.ServiceFailed && st.State != planner.ServiceStopped {
		if child, ok := runningChild(l, st); ok {
			st = st.with(child)
		}
		return compare(st, cfg), nil
	}
	if supervised { // it is about to end
		if err := st.Supervisor.wait(ctx); err != nil {
			return "", fmt.Errorf("%s: the supervisor (pid %d) has not ended yet: %w", cfg.Name, st.Supervisor.PID, err)
		}
	}
	child, adopting := runningChild(l, st)
	if adopting {
		st = st.with(child)
	}
	if err := goOn(ctx)(); err != nil {
		return "", err
	}
	if err := spawn(ctx, agent, l); err != nil {
		return "", fmt.Errorf("%s: %w", cfg.Name, err)
	}
	if adopting {
		return compare(st, cfg), nil
	}
	return Started, nil
}

// goOn tells why it is not gone on: who was frozen in what takes a while, and lost the
// locks meanwhile, changes nothing more.
func goOn(ctx context.Context) func() error {
	return func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
}

func compare(st state, cfg Config) Outcome {
	running := cfg
	running.Args, running.Private = st.Args, st.Private
	if st.Args != nil && !running.equal(cfg) {
		return Pending
	}
	return Already
}

// spawn starts the supervisor, detached, and waits until it has taken over.
func spawn(ctx context.Context, agent string, l host.Layout) error {
	log, err := openLog(l.Log())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, err := launch(supervising(agent, l), l, log)
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	id, _, _ := lookup(cmd.Process.Pid) // it is there until it is waited for
	ended := make(chan error, 1)
	go func() { // reaped for as long as this program lives; afterwards by init
		ended <- cmd.Wait()
	}()
	return takeover(ctx, id, ended, l)
}

// takeover waits for the supervisor's report: its own, or that of another one
// that was faster: ours ends without an error then, maybe before the other one
// has reported.
func takeover(ctx context.Context, id procID, ended <-chan error, l host.Layout) error {
	var giveUp time.Time
	for {
		st, err := readState(l)
		if err != nil && !absent(err) && !errors.Is(err, os.ErrPermission) {
			return err
		}
		if done, err := tookOver(st, id, l); done {
			if st.State == planner.ServiceFailed {
				_ = st.Supervisor.wait(ctx) // it is ending
			}
			return err
		}
		if !giveUp.IsZero() && time.Now().After(giveUp) && !st.supervised(l) {
			return fmt.Errorf("the supervisor ended at once: %s (log: %s)", orElse(dyingWords(l.Log()), "without a word, as where another one holds "+l.SupervisorLock()), l.Log())
		}
		select {
		case err := <-ended:
			giveUp, ended = time.Now(), nil // its report may just have been written
			if err == nil {
				giveUp = giveUp.Add(reportTime)
			}
		case <-ctx.Done():
			return fmt.Errorf("the supervisor (pid %d) was started and has not reported yet: %w", id.PID, ctx.Err())
		case <-time.After(poll):
		}
	}
}

func tookOver(st state, id procID, l host.Layout) (bool, error) {
	if st.Supervisor != id && !st.supervised(l) {
		return false, nil
	}
	switch st.State {
	case planner.ServiceRunning, planner.ServiceBackoff:
		return true, nil
	case planner.ServiceStopped:
		return st.Supervisor == id, errors.New("the supervisor was told to stop while it was starting")
	case planner.ServiceFailed:
		return true, errors.New(st.LastError)
	}
	return false, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
