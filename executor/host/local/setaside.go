package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// SetAside implements host.Host. The data goes before a log of its own, for the
// log alone still tells whose it was, and so the rest can be finished. In its place
// a fence stays: a path that is absent, if only until the new member's first start,
// is one where whoever starts the old command again gets an empty twin (S18).
func (d *Driver) SetAside(ctx context.Context, a planner.SetAside) (err error) {
	ctx, end, err := d.under(ctx, a.Place)
	if err != nil {
		return err
	}
	defer end(&err)
	l, err := layout(a.Place)
	if err == nil {
		err = d.aside(ctx, l, a)
	}
	if err != nil {
		return fmt.Errorf("%s: not moved aside: %w", a.Name, err)
	}
	return nil
}

func (d *Driver) aside(ctx context.Context, l host.Layout, a planner.SetAside) error {
	if l.WALDir != "" && host.Pinned(l.WALDir) {
		return fmt.Errorf("the WAL directory %s is a mount point or a link, so it can't be moved; use a folder in it as wal_dir", l.WALDir)
	}
	k := d.keeper(a.Place, l)
	if err := k.idle(ctx); err != nil {
		return err
	}
	s, isFenced := fenced(l)
	dataDir, walDir := l.DataDir, l.WALDir
	if isFenced {
		dataDir, walDir = s.dataDir(), s.walDir(l)
	} else if vacant(l) {
		return nil
	}
	if err := movable(dataDir, walDir, a); err != nil {
		return err
	}
	if err := goOn(ctx); err != nil {
		return err
	}
	if err := k.bar(ctx); err != nil {
		return err
	}
	dropFences(l)
	if !isFenced && !process.Vacant(l.DataDir) {
		var err error
		if s, err = fenceFree(ctx, l); err != nil {
			return err
		}
		dataDir = s.dataDir()
	}
	if l.WALDir == "" || process.Vacant(l.WALDir) {
		return nil
	}
	return walAside(l, s, dataDir)
}

// movable refuses what is in use and what is not whose the plan says.
func movable(dataDir, walDir string, a planner.SetAside) error {
	data := etcd.ReadDataDir(dataDir, walDir)
	if !data.Known() {
		return fmt.Errorf("%s can't be read: %s", dataDir, data.Why)
	}
	d := data.Value
	there := planner.Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
	unreadable := there == planner.Identity{} && a.Over == planner.Identity{} && a.Problem != ""
	held, err := heldBy(dataDir, walDir) // of a log without its data, too
	switch {
	case err != nil:
		return err
	case d.HeldBy != 0 || held != 0:
		return inUse(dataDir, max(d.HeldBy, held))
	case unreadable, there == a.Over && a.Over != planner.Identity{}:
		return nil
	}
	return fmt.Errorf("%s holds data that the plan did not see there (cluster %q, member %q): plan again", dataDir, there.ClusterID, there.MemberID)
}

func inUse(dir string, pid int) error {
	if pid <= 0 {
		return fmt.Errorf("%s is in use by a process that can't be named: stop it first", dir)
	}
	return fmt.Errorf("%s is in use by process %d: stop it first", dir, pid)
}

// fenceFree puts a fence where data is that nobody has open. An etcd that was
// started on it at the same moment keeps it: then all is as it was.
func fenceFree(ctx context.Context, l host.Layout) (slot, error) {
	s, err := putFence(ctx, l)
	if err != nil {
		dropFences(l)
		return s, err
	}
	pid, err := heldBy(s.dataDir(), l.WALDir)
	if err == nil && pid == 0 {
		return s, nil
	}
	if err == nil {
		err = inUse(l.DataDir, pid)
	}
	err = errors.Join(err, rename(filepath.Join(s.dir, s.name), l.FencePath(), unix.RENAME_EXCHANGE))
	dropFences(l)
	return s, err
}

// walAside moves a log of its own to a slot; the mark of the data's fence, where
// there is one, says first where it goes. No etcd can come to it through a fence;
// one that did without takes it back.
func walAside(l host.Layout, behind slot, dataDir string) error {
	u := units(l)[0]
	to, err := newSlot(u)
	if err != nil {
		return err
	}
	defer removeEmptySlots(u)
	moved := filepath.Join(to.dir, u.name)
	if mark, ok := behind.fence(); ok && behind.dir != "" {
		mark.WAL = moved
		if err := behind.writeFence(mark); err != nil {
			return err
		}
	}
	if err := rename(u.target, moved, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	pid, err := heldBy(dataDir, moved)
	if err == nil && pid == 0 {
		return nil
	}
	if err == nil {
		err = inUse(l.WALDir, pid)
	}
	return errors.Join(err, rename(moved, u.target, unix.RENAME_NOREPLACE))
}
