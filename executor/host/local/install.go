package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// Install implements host.Host.
func (d *Driver) Install(ctx context.Context, a planner.Install) (err error) {
	ctx, end, err := d.under(ctx, placesOf(a.Members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	for _, p := range a.Members {
		if err := goOn(ctx); err != nil {
			return fmt.Errorf("%s: not installed: %w", p.Name, err)
		}
		if err := d.install(ctx, p, a.Token); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

func (d *Driver) install(ctx context.Context, m planner.InstallMember, token string) error {
	l, err := layout(m.Place)
	if err != nil {
		return err
	}
	prov, err := readProvenance(l)
	if err != nil {
		return err
	}
	if prov.Token != token {
		return fmt.Errorf("its record is of token %s, not of %s", prov.Token, token)
	}
	if stagedToken(l) != token {
		if installed(l, prov) {
			return tidy(l) // done before
		}
		return fmt.Errorf("nothing is staged under token %s", token)
	}
	switch s := d.keeper(m.Place, l).status(ctx, 0); {
	case !s.Known():
		return fmt.Errorf("whether its service runs is not known: %s", s.Why)
	case s.Value.State == planner.ServiceRunning || s.Value.State == planner.ServiceBackoff:
		return fmt.Errorf("its service is %s (pid %d, supervisor %d): stop it first", s.Value.State, s.Value.PID, s.Value.SupervisorPID)
	}
	if err := free(l, prov, m.Over); err != nil {
		return err
	}
	if err := d.keeper(m.Place, l).bar(ctx); err != nil {
		return err
	}
	if err := settle(l); err != nil {
		return err
	}
	for _, u := range units(l) {
		if err := goOn(ctx); err != nil {
			return err
		}
		if err := u.putInPlace(ctx, l, prov); err != nil {
			return err
		}
	}
	if !installed(l, prov) {
		return fmt.Errorf("%s does not hold what was put there", l.DataDir)
	}
	return tidy(l)
}

// free refuses a place where etcd runs, or that holds other data than the plan saw there: over, or what an interrupted Install left (S5).
func free(l host.Layout, prov *planner.Provenance, over planner.Identity) error {
	behind, isFenced := fenced(l)
	data := etcd.ReadDataDir(l.DataDir, l.WALDir)
	if isFenced {
		data = etcd.ReadDataDir(behind.dataDir(), behind.walDir(l))
	}
	if !data.Known() {
		return fmt.Errorf("%s can't be read, so it is not moved: %s", l.DataDir, data.Why)
	}
	d := data.Value
	there := planner.Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}
	ours := planner.Identity{ClusterID: prov.ClusterID, MemberID: prov.MemberID}
	switch {
	case d.HeldBy > 0:
		return fmt.Errorf("%s is in use by process %d: stop it first", l.DataDir, d.HeldBy)
	case d.HeldBy < 0:
		return fmt.Errorf("%s is in use by a process that can't be named: stop it first", l.DataDir)
	case isFenced: // what is behind the fence stays there
	case d.State == planner.DirPresent && there != ours && (there != over || over == planner.Identity{}):
		return fmt.Errorf("%s holds data that the plan did not see there (cluster %q, member %q): plan again", l.DataDir, there.ClusterID, there.MemberID)
	}
	return nil
}

// putInPlace moves the staged unit to its target; what is there goes aside.
func (u unit) putInPlace(ctx context.Context, l host.Layout, prov *planner.Provenance) error {
	if _, err := os.Lstat(u.staged); notExist(err) {
		return nil // it went before a crash
	}
	if u.target != l.WALDir {
		if err := checkStaged(l, prov); err != nil {
			return err
		}
	}
	if _, err := host.MkdirAll(filepath.Dir(u.target)); err != nil {
		return err
	}
	if err := goOn(ctx); err != nil {
		return err
	}
	err := rename(u.staged, u.target, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	// An empty directory is replaced at once; rename(2) refuses any other.
	err = rename(u.staged, u.target, 0)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) {
		return u.exchange(ctx, prov.Token)
	}
	return err
}

// checkStaged makes sure, before the data goes, that its log belongs to it: the
// one still staged beside it, or the one already in place.
func checkStaged(l host.Layout, prov *planner.Provenance) error {
	if l.WALDir == "" {
		return stagedIs(l, prov)
	}
	if !is(l.DataDir, l.WALDir, prov) {
		return fmt.Errorf("the log at %s is not the one that was restored", l.WALDir)
	}
	return nil
}

// exchange swaps the staged unit with what is at its target in one step, so that
// the path is never absent (S18). It goes to the slot first, and so the old one
// comes to lie where it stays.
func (u unit) exchange(ctx context.Context, token string) error {
	s, err := newSlot(u)
	if err != nil {
		return err
	}
	ino, err := inode(u.staged)
	if err != nil {
		return err
	}
	b, err := json.Marshal(swapMark{Token: token, Inode: ino})
	if err != nil {
		return err
	}
	if err := host.WriteFile(s.mark(), b); err != nil {
		return err
	}
	inSlot := filepath.Join(s.dir, u.name)
	if err := rename(u.staged, inSlot, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	if err := goOn(ctx); err != nil {
		return err
	}
	return rename(inSlot, u.target, unix.RENAME_EXCHANGE)
}

func newSlot(u unit) (slot, error) {
	s := slot{dir: filepath.Join(u.aside, stamp()), name: u.name}
	_, err := host.MkdirAll(s.dir)
	return s, err
}

// tidy removes what is left of the staging once everything is in place: empty
// folders and the mark "complete".
func tidy(l host.Layout) error {
	for _, u := range units(l) {
		if _, err := os.Lstat(u.staged); err == nil {
			return nil // a newer staging waits there
		}
	}
	for _, dir := range []string{l.Staging(), l.Trial()} { // the latter of an apply that was killed at it
		if err := removeOwn(l, dir); err != nil {
			return err
		}
	}
	for _, u := range units(l) {
		removeEmptySlots(u)
	}
	dropFences(l)
	if l.WALDir != "" {
		removeEmpty([]string{filepath.Dir(l.StagingWAL())})
	}
	return nil
}

func removeEmptySlots(u unit) {
	dirs := []string{u.aside}
	for _, s := range slots(u.aside) {
		dirs = append(dirs, s.dir)
	}
	removeEmpty(dirs)
}
