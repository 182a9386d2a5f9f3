package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// SetAside implements host.Host. The data goes before a log of its own, for the
// log alone still tells whose it was, and so the rest can be finished.
func (d *Driver) SetAside(ctx context.Context, a planner.SetAside) error {
	l, err := layout(a.Place)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = aside(l, a)
	}
	if err != nil {
		return fmt.Errorf("%s: not moved aside: %w", a.Name, err)
	}
	return nil
}

func aside(l host.Layout, a planner.SetAside) error {
	if l.WALDir != "" && host.Pinned(l.WALDir) {
		return fmt.Errorf("the WAL directory %s is a mount point or a link, so it can't be moved; use a folder in it as wal_dir", l.WALDir)
	}
	if pid := process.Supervisor(l); pid != 0 {
		return fmt.Errorf("a supervisor (pid %d) is at work on %s: stop it first", pid, l.DataDir)
	}
	if s, ok := fenced(l); ok {
		if err := isOver(s.dataDir(), l.WALDir, a.Over); err != nil {
			return err
		}
		if err := openFence(l); err != nil {
			return err
		}
	}
	done, err := movable(l, a)
	if err != nil || done {
		return err
	}
	for _, u := range slices.Backward(units(l)) {
		if err := u.moveAside(l); err != nil {
			return err
		}
	}
	for _, u := range units(l) {
		removeEmptySlots(u)
	}
	return nil
}

// movable refuses what is in use and what is not whose the plan says; done is
// true where nothing is left to move.
func movable(l host.Layout, a planner.SetAside) (done bool, err error) {
	data := etcd.ReadDataDir(l.DataDir, l.WALDir)
	if !data.Known() {
		return false, fmt.Errorf("%s can't be read: %s", l.DataDir, data.Why)
	}
	d := data.Value
	there := planner.Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
	unreadable := there == planner.Identity{} && a.Over == planner.Identity{} && a.Problem != ""
	switch {
	case d.HeldBy != 0:
		return false, fmt.Errorf("%s is in use by process %d: stop it first", l.DataDir, d.HeldBy)
	case vacant(l):
		return true, nil
	case unreadable, there == a.Over && a.Over != planner.Identity{}:
		return false, nil
	}
	return false, fmt.Errorf("%s holds data that the plan did not see there (cluster %q, member %q): plan again", l.DataDir, there.ClusterID, there.MemberID)
}

// moveAside moves what is at the target to a slot. An etcd that was started on it
// at the same moment keeps it: then all is as it was.
func (u unit) moveAside(l host.Layout) error {
	if _, err := os.Lstat(u.target); notExist(err) || u.target == l.WALDir && process.Vacant(u.target) {
		return nil
	}
	s, err := newSlot(u)
	if err != nil {
		return err
	}
	to := filepath.Join(s.dir, u.name)
	if err := rename(u.target, to, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	dataDir, walDir := s.dataDir(), l.WALDir
	if u.target == l.WALDir {
		dataDir, walDir = l.DataDir, to
	}
	pid, err := heldBy(dataDir, walDir)
	if err == nil && pid == 0 {
		return nil
	}
	err = errors.Join(err, fmt.Errorf("%s came into use by process %d just now", u.target, pid))
	return errors.Join(err, rename(to, u.target, unix.RENAME_NOREPLACE))
}
