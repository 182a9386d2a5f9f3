package process

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// reportTime is how long a new supervisor may take to report, generously.
const reportTime = 5 * time.Second

// Stop ends the supervisor and its etcd, and returns when both have ended. Data
// stays as it is. It is nil where nothing runs. Where the supervisor is dead, it
// stops etcd itself. When ctx ends first, what was begun goes on: the error says
// so.
func Stop(ctx context.Context, l host.Layout) error {
	if !l.Exists() {
		return nil
	}
	for began := time.Now(); ; {
		st, err := readState(l)
		if err != nil && !absent(err) {
			return err
		}
		if st.supervised(l) {
			if err := stopSupervisor(ctx, st.Supervisor); err != nil {
				return err
			}
			continue // and look again: it may have been killed instead
		}
		lock, held, err := lockIfThere(l)
		if err != nil {
			return err
		}
		if !held {
			defer lock.Close() // of nil, it is an error that means nothing
			return stopOrphan(ctx, l, st)
		}
		// A supervisor that has not reported yet, or one of another path.
		if time.Since(began) > reportTime && st.Supervisor.alive() {
			return fmt.Errorf("a supervisor holds %s, and it is not one of this path (process %d, %q, is on record): was the folder moved while its member ran? Stop it under the path that it was started for", l.SupervisorLock(), st.Supervisor.PID, cmdline(st.Supervisor.PID)[0])
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a supervisor of %s is just starting: %w", l.DataDir, ctx.Err())
		case <-time.After(poll):
		}
	}
}

// lockIfThere is lockSupervisor that makes nothing for a member that never had a
// supervisor; held is true where another process has the lock.
func lockIfThere(l host.Layout) (lock *os.File, held bool, err error) {
	if _, err := os.Stat(l.SupervisorLock()); absent(err) {
		return nil, false, nil
	}
	lock, err = lockSupervisor(l)
	return lock, err == nil && lock == nil, err
}

func stopSupervisor(ctx context.Context, p procID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.signal(unix.SIGTERM); err != nil {
		return fmt.Errorf("stop the supervisor (pid %d): %w", p.PID, err)
	}
	if err := p.wait(ctx); err != nil {
		return fmt.Errorf("the supervisor (pid %d) was told to stop and has not ended yet: %w", p.PID, err)
	}
	return nil
}

// stopOrphan stops an etcd that has no supervisor, under the supervisor's lock.
func stopOrphan(ctx context.Context, l host.Layout, st state) error {
	id, ok := runningChild(l, st)
	if !ok {
		return markStopped(l, st, "")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	cfg, _ := ReadConfig(l)
	exit, err := id.end(ctx, cfg.stopTimeout())
	if err != nil {
		return err
	}
	return markStopped(l, st, exit)
}

// end stops that very process: SIGTERM, and SIGKILL when that took longer than
// patience. It says how that went.
func (p procID) end(ctx context.Context, patience time.Duration) (string, error) {
	if err := p.signal(unix.SIGTERM); err != nil {
		return "", fmt.Errorf("stop etcd (pid %d): %w", p.PID, err)
	}
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.wait(limit) == nil {
		return "ended after SIGTERM", nil
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("etcd (pid %d) was told to stop and has not ended yet: %w", p.PID, err)
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return "", fmt.Errorf("kill etcd (pid %d): %w", p.PID, err)
	}
	return fmt.Sprintf("killed: it did not end within %s of SIGTERM", patience), p.wait(ctx)
}

// StopForeign ends a process that somebody else started, where it still is the
// one that the plan named and has the member's files open.
func StopForeign(ctx context.Context, pid int, start uint64, l host.Layout) error {
	id, gone, err := named(pid, start, l.DataDir, l.WALDir)
	if err != nil || gone {
		return err
	}
	_, err = id.end(ctx, Config{}.stopTimeout())
	return err
}

// EndUsers ends whatever has files of the member in these directories open for
// writing, whoever started it, until nobody has, or ctx ends. It gives back how
// many there were.
func EndUsers(ctx context.Context, dataDir, walDir string) (ended int, err error) {
	for {
		all, err := users(dataDir, walDir)
		if err != nil || len(all) == 0 {
			return ended, err
		}
		for _, id := range all {
			if err := ctx.Err(); err != nil {
				return ended, fmt.Errorf("process %d still has %s open: %w", id.PID, dataDir, err)
			}
			if _, err := id.end(ctx, endPatience); err != nil {
				return ended, err
			}
			ended++
		}
	}
}

// endPatience is how long one that is ended for a fence may take.
const endPatience = 15 * time.Second

// markStopped records that it was requorum's doing. A failed service stays
// failed, and one that was never started gets no record.
func markStopped(l host.Layout, st state, exit string) error {
	if st.State == "" || st.State == planner.ServiceStopped || st.State == planner.ServiceFailed {
		return nil
	}
	st.State, st.Since, st.LastExit, st.LastError = planner.ServiceStopped, timestamp(), exit, ""
	return writeJSON(l.SupervisorState(), st)
}
