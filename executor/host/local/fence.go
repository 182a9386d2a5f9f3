package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// fenceMark is written, as fence.json, into a slot before what lies at the place
// is exchanged with the plain file that waits in it. Its text is that file's: by
// where the file is found, it can be told after a crash whether the exchange
// happened. A WAL directory of its own stays where it is: no etcd touches it once
// its data directory is no directory.
type fenceMark struct {
	Text  string `json:"text"`
	Inode uint64 `json:"inode"` // of the plain file
	When  string `json:"when"`
	// WAL is where a log of its own went, or was about to go, when the data was set
	// aside for good.
	WAL string `json:"wal,omitempty"`
	// Provenance is the record as it was then; Unfence brings it back.
	Provenance *planner.Provenance `json:"provenance,omitempty"`
}

func (s slot) fenceFile() string { return filepath.Join(s.dir, "fence.json") }

func (s slot) fence() (fenceMark, bool) {
	var m fenceMark
	b, err := os.ReadFile(s.fenceFile())
	return m, err == nil && json.Unmarshal(b, &m) == nil
}

// fenced gives the slot with the data behind the fence that stands at the place.
func fenced(l host.Layout) (slot, bool) {
	text := l.FenceText()
	if text == "" {
		return slot{}, false
	}
	for _, s := range slots(l.Aside()) {
		if m, ok := s.fence(); ok && m.Text == text && s.name != "" {
			return s, true
		}
	}
	return slot{}, false
}

// dataDir is where in the slot what passes for the member's data directory lies.
func (s slot) dataDir() string {
	if s.name == "member" {
		return s.dir
	}
	return filepath.Join(s.dir, s.name)
}

// walDir is where the log of the data behind a fence lies: in a slot of its own, or
// still where it always was.
func (s slot) walDir(l host.Layout) string {
	if m, ok := s.fence(); ok && l.WALDir != "" && m.WAL != "" {
		if _, err := os.Lstat(m.WAL); err == nil {
			return m.WAL
		}
	}
	return l.WALDir
}

// vacant reports whether a new identity may come to a place: nothing is there,
// or a fence with the old data behind it.
func vacant(l host.Layout) bool {
	if _, ok := fenced(l); ok {
		return true
	}
	return process.Vacant(l.DataDir) && (l.WALDir == "" || process.Vacant(l.WALDir))
}

// fencePatience is how long a fence may fight for a directory that somebody keeps
// starting etcd on.
const (
	fencePatience = 30 * time.Second
	fenceLook     = 300 * time.Millisecond
)

// Fence implements host.Host. Nothing is stopped where one of the members is not
// the one that the plan saw (S5).
func (d *Driver) Fence(ctx context.Context, a planner.Fence) (err error) {
	ctx, end, err := d.under(ctx, append(placesOf(a.Members), a.Vacant...)...)
	if err != nil {
		return err
	}
	defer end(&err)
	for _, m := range a.Members {
		if err := fenceable(m, a.Cluster); err != nil {
			return fmt.Errorf("%s: not fenced: %w", m.Name, err)
		}
	}
	for _, p := range a.Vacant {
		if err := d.barVacant(ctx, p, a.Cluster); err != nil {
			return fmt.Errorf("%s: its unit is not barred: %w", p.Name, err)
		}
	}
	return staggered(len(a.Members), func(i int) error {
		if err := d.fence(ctx, a.Members[i]); err != nil {
			return fmt.Errorf("%s: %w", a.Members[i].Name, err)
		}
		return nil
	})
}

// barVacant keeps a unit from beginning a cluster of its own where its data was.
func (d *Driver) barVacant(ctx context.Context, p planner.Place, cluster string) error {
	if err := claimedBy(p, cluster); err != nil {
		return err
	}
	l, err := layout(p)
	if err != nil {
		return err
	}
	if !vacant(l) {
		return fmt.Errorf("%s holds data that the plan did not see there: plan again", l.DataDir)
	}
	if err := goOn(ctx); err != nil {
		return err
	}
	k := d.keeper(p, l)
	if err := k.bar(ctx); err != nil {
		return err
	}
	return k.watch(ctx, l.DataDir, l.WALDir)
}

func fenceable(m planner.FenceMember, cluster string) error {
	if err := claimedBy(m.Place, cluster); err != nil {
		return err
	}
	l, err := layout(m.Place)
	if err != nil {
		return err
	}
	if s, ok := fenced(l); ok {
		return isOver(s.dataDir(), s.walDir(l), m.Over)
	}
	return isOver(l.DataDir, l.WALDir, m.Over)
}

// isOver refuses data that is not whose the plan says.
func isOver(dataDir, walDir string, over planner.Identity) error {
	cluster, member, err := etcd.Identity(dataDir, walDir)
	if err != nil {
		return fmt.Errorf("the identity of %s can't be read: %w", dataDir, err)
	}
	if over == (planner.Identity{}) || cluster != over.ClusterID || member != over.MemberID {
		return fmt.Errorf("%s holds member %s of cluster %s, not member %q of cluster %q: plan again", dataDir, member, cluster, over.MemberID, over.ClusterID)
	}
	return nil
}

// fence stops the member, exchanges its data with a plain file, and then looks
// again: whoever starts the old command over and over may have been faster than
// the exchange, and then runs on what was moved.
func (d *Driver) fence(ctx context.Context, m planner.FenceMember) error {
	l, err := layout(m.Place)
	if err != nil {
		return err
	}
	if err := goOn(ctx); err != nil {
		return err
	}
	k := d.keeper(m.Place, l)
	if err := k.bar(ctx); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, fencePatience) // from here on: a stop takes its own time
	defer cancel()
	dropFences(l)
	s, ok := fenced(l)
	if !ok {
		if _, err := process.EndUsers(limit, l.DataDir, l.WALDir); err != nil {
			return err
		}
		if pid, err := heldBy(l.DataDir, l.WALDir); err != nil || pid < 0 {
			return errors.Join(err, fmt.Errorf("%s is in use by a process that can't be named", l.DataDir))
		}
		if err := goOn(ctx); err != nil {
			return err
		}
		if s, err = putFence(ctx, l); err != nil {
			return err
		}
	}
	if err := clearUsers(limit, s.dataDir(), s.walDir(l)); err != nil {
		return err
	}
	if _, ok := fenced(l); !ok {
		return fmt.Errorf("the fence at %s was taken away while it was put there", l.FencePath())
	}
	if err := isOver(s.dataDir(), s.walDir(l), m.Over); err != nil {
		return err
	}
	return k.watch(ctx, s.dataDir(), s.walDir(l))
}

// putFence makes the exchange, and is done when it is durable.
func putFence(ctx context.Context, l host.Layout) (slot, error) {
	u := dataUnit(l)
	if fi, err := os.Lstat(u.target); err != nil || !fi.IsDir() {
		return slot{}, fmt.Errorf("%s is no directory that could be fenced (%v)", u.target, err)
	}
	s, err := newSlot(u)
	if err != nil {
		return s, err
	}
	mark := fenceMark{When: time.Now().UTC().Format(time.RFC3339)}
	mark.Provenance, _ = readProvenance(l)
	inSlot := filepath.Join(s.dir, u.name)
	mark.Text = host.NewFenceText(inSlot, mark.When)
	if err := host.WriteFile(inSlot, []byte(mark.Text)); err != nil {
		return s, err
	}
	if mark.Inode, err = inode(inSlot); err != nil {
		return s, err
	}
	if err := s.writeFence(mark); err != nil {
		return s, err
	}
	if err := goOn(ctx); err != nil {
		return s, err
	}
	return s, rename(inSlot, u.target, unix.RENAME_EXCHANGE)
}

func (s slot) writeFence(m fenceMark) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(s.fenceFile(), append(b, '\n'))
}

// clearUsers ends who has the moved data open. Where there was somebody, it looks
// again a moment later: a shell that stands in the moved directory can start
// another one on it.
func clearUsers(ctx context.Context, dataDir, walDir string) error {
	for {
		ended, err := process.EndUsers(ctx, dataDir, walDir)
		if err != nil {
			return err
		}
		if ended == 0 {
			break
		}
		time.Sleep(fenceLook)
	}
	pid, err := heldBy(dataDir, walDir)
	if err == nil && pid != 0 {
		err = fmt.Errorf("%s is in use by a process that requorum can't end (%d): end it, and apply again", dataDir, pid)
	}
	return err
}

// heldBy is who has a member's files locked: 0 for nobody, -1 for one that can't be
// named.
func heldBy(dataDir, walDir string) (int, error) { return process.HeldBy(dataDir, walDir) }

// Unfence implements host.Host.
func (d *Driver) Unfence(ctx context.Context, a planner.Unfence) (err error) {
	ctx, end, err := d.under(ctx, placesOf(a.Members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	return each(len(a.Members), func(i int) error {
		if err := goOn(ctx); err != nil {
			return fmt.Errorf("%s: not unfenced: %w", a.Members[i].Name, err)
		}
		if err := unfence(ctx, a.Members[i]); err != nil {
			return fmt.Errorf("%s: not unfenced: %w", a.Members[i].Name, err)
		}
		return nil
	})
}

func unfence(ctx context.Context, m planner.FenceMember) error {
	l, err := layout(m.Place)
	if err != nil {
		return err
	}
	s, ok := fenced(l)
	if !ok {
		if err := isOver(l.DataDir, l.WALDir, m.Over); err != nil {
			return err
		}
		dropFences(l) // done before, but perhaps for this
		return process.Unfenced(l)
	}
	if err := isOver(s.dataDir(), s.walDir(l), m.Over); err != nil {
		return err
	}
	mark, _ := s.fence()
	if err := restoreRecord(ctx, l, mark.Provenance); err != nil {
		return err
	}
	if wal := s.walDir(l); wal != l.WALDir { // an empty directory is replaced, any other stays
		if err := rename(wal, l.WALDir, 0); err != nil {
			return err
		}
		removeEmpty([]string{filepath.Dir(wal), l.AsideWAL(), filepath.Dir(l.AsideWAL())})
	}
	if err := rename(filepath.Join(s.dir, s.name), l.FencePath(), unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	dropFences(l)
	return process.Unfenced(l)
}

// restoreRecord makes the record of before the fence the present one again: what
// was to come in its place did not. It comes before the data, so that these never
// lie beside a record that, as after a recovery in place, has their own IDs.
func restoreRecord(ctx context.Context, l host.Layout, old *planner.Provenance) error {
	now, err := readProvenance(l)
	switch {
	case notExist(err) || err == nil && old != nil && *now == *old:
		return nil
	case err != nil:
		return err
	}
	if err := keepRecord(l); err != nil {
		return err
	}
	if old == nil {
		return removeRecord(l)
	}
	if err := writeProvenance(ctx, l, *old); err != nil {
		return err
	}
	return moveRanBack(l, old.Token)
}

// moveRanBack undoes moveRan.
func moveRanBack(l host.Layout, token string) error {
	if _, err := os.Lstat(l.Ran()); err == nil {
		return nil
	}
	markers, err := process.Markers(l)
	if err != nil {
		return err
	}
	for _, m := range markers {
		if m.Err == nil && m.Token == token {
			if err := os.Rename(m.Path, l.Ran()); err != nil {
				return err
			}
			return host.SyncDir(l.Base())
		}
	}
	return nil
}

// dropFences removes plain files of fences that stand nowhere: of an exchange
// that did not happen, or that was undone. A mark whose data stays in its slot,
// for something else is at the place now, gets another name.
func dropFences(l host.Layout) {
	if _, ok := fenced(l); ok {
		return
	}
	for _, s := range slots(l.Aside()) {
		if s.fenceIn != "" {
			removeFence(s)
		} else if _, ok := s.fence(); ok && s.name != "" {
			_ = os.Rename(s.fenceFile(), filepath.Join(s.dir, "was-fenced.json"))
		}
	}
}
