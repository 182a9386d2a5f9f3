package process

import (
	"context"
	"fmt"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
)

// Adopt gives a running etcd, whose supervisor is gone, a supervisor again. It
// does not touch the process, and starts nothing where there is none to adopt.
func Adopt(ctx context.Context, self string, l host.Layout) error {
	st, err := readState(l)
	if err != nil && !absent(err) {
		return err
	}
	if st.supervised(l) {
		return nil
	}
	if _, ok := runningChild(l, st); !ok {
		return fmt.Errorf("nothing to adopt: no etcd that requorum started runs on %s", l.DataDir)
	}
	agent, err := privateSelf(self, l)
	if err != nil {
		return err
	}
	return spawn(ctx, agent, l)
}

// AdoptForeign gives an etcd that somebody else started a supervisor, which
// watches it and, once it has ended, starts what cfg says. The process is not
// touched: start, in clock ticks, tells it from another of that pid.
func AdoptForeign(ctx context.Context, self string, cfg Config, pid int, start uint64, l host.Layout) error {
	if err := cfg.check(l); err != nil {
		return err
	}
	if err := ClaimedBy(l, cfg.Cluster); err != nil {
		return err
	}
	id, gone, err := named(pid, start, l.DataDir, l.WALDir)
	switch {
	case err != nil:
		return err
	case gone:
		return fmt.Errorf("nothing to adopt: process %d has ended: plan again", pid)
	}
	st, err := readState(l)
	if err != nil && !absent(err) {
		return err
	}
	if st.supervised(l) {
		if st.Child == id {
			return nil // done before
		}
		if _, runs := runningChild(l, st); runs {
			return fmt.Errorf("a supervisor (pid %d) is at work on %s: plan again", st.Supervisor.PID, l.DataDir)
		}
		// Its etcd can't start, for this one has the directory.
		if err := stopSupervisor(ctx, st.Supervisor); err != nil {
			return err
		}
	}
	settings, err := adoptable(pid, cfg, l)
	if err != nil {
		return err
	}
	return takeOver(ctx, self, cfg, id, settings, l)
}

// adoptable refuses what would not be the same member, or not be ours alone,
// afterwards (S22). It gives the settings that the process has.
func adoptable(pid int, cfg Config, l host.Layout) (map[string]string, error) {
	f := Foreign(pid)
	switch {
	case f == nil:
		return nil, fmt.Errorf("nothing to adopt: process %d has ended: plan again", pid)
	case f.Problem != "":
		return nil, fmt.Errorf("not adopted: %s", f.Problem)
	case f.Keeper != "":
		return nil, fmt.Errorf("not adopted: process %d is kept by %s, which would start it again beside requorum", pid, f.Keeper)
	case f.Settings["force-new-cluster"] == "true":
		return nil, fmt.Errorf("not adopted: process %d runs with --force-new-cluster", pid)
	}
	cluster, member, err := etcd.Identity(l.DataDir, l.WALDir)
	if err != nil {
		return nil, err
	}
	if cluster != cfg.ClusterID || member != cfg.MemberID {
		return nil, fmt.Errorf("not adopted: %s holds member %s of cluster %s, not member %s of cluster %s", l.DataDir, member, cluster, cfg.MemberID, cfg.ClusterID)
	}
	return f.Settings, nil
}

// takeOver writes down what is to be watched before what runs is anybody's: a
// crash in between leaves a member of ours without a supervisor, which Adopt
// finds by this record.
func takeOver(ctx context.Context, self string, cfg Config, id procID, settings map[string]string, l host.Layout) error {
	if _, err := host.MkdirAll(l.Base()); err != nil {
		return err
	}
	cfg.Bootstrap = false
	agent, err := install(self, &cfg, l)
	if err != nil {
		return err
	}
	lock, err := lockSupervisor(l)
	if err != nil {
		return err
	}
	if lock == nil {
		return fmt.Errorf("a supervisor is just starting on %s: plan again", l.DataDir)
	}
	defer lock.Close()
	if err := writeJSONIf(l.Service(), cfg, goOn(ctx)); err != nil {
		return err
	}
	st := state{Child: id, Adopted: true, State: starting, Since: timestamp(), Args: asArgs(settings), Private: exeOf(id.PID)}
	if err := writeJSON(l.SupervisorState(), st); err != nil {
		return err
	}
	giveUpLock(lock) // for the supervisor
	return spawn(ctx, agent, l)
}
