package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner"
)

// walRoom is what a new WAL takes on disk, in bytes: etcd preallocates it.
const walRoom = 64 << 20

// pending is a member that is yet to be staged.
type pending struct {
	at   host.Layout
	name string
	prov planner.Provenance
}

// Restore implements host.Host.
func (d *Driver) Restore(ctx context.Context, a planner.Restore, progress host.Progress) (err error) {
	ctx, end, err := d.under(ctx, placesOf(a.Members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	if a.Recovered {
		if a, err = withRecord(a); err != nil {
			return err
		}
	}
	todo, err := toStage(ctx, a)
	if err != nil || len(todo) == 0 {
		return err
	}
	for _, m := range a.Members { // until what is staged is in place, nothing else begins there
		if l, err := layout(m.Place); err == nil && vacant(l) {
			if k := d.keeper(m.Place, l); k.idle(ctx) == nil {
				if err := k.bar(ctx); err != nil {
					return fmt.Errorf("%s: %w", m.Name, err)
				}
			}
		}
	}
	for _, m := range todo {
		if err := goOn(ctx); err != nil {
			return err
		}
		if err := clearStaging(m.at, m.prov.Token); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if err := checkRoom(a.Snapshot, todo); err != nil {
		return err
	}
	for _, m := range todo {
		if err := goOn(ctx); err != nil {
			return err
		}
		if err := record(ctx, m.at, m.prov); err != nil {
			return fmt.Errorf("%s: record the data's origin: %w", m.name, err)
		}
	}
	r, err := restoreRequest(a, todo)
	if err != nil {
		return err
	}
	if err := snapshot.Restore(ctx, r, progress); err != nil {
		return err
	}
	return each(len(todo), func(i int) error {
		if a.ForgetVersion {
			if err := snapshot.ForgetVersion(filepath.Join(todo[i].at.StagingData(), "member", "snap", "db")); err != nil {
				return fmt.Errorf("%s: %w", todo[i].name, err)
			}
		}
		if err := goOn(ctx); err != nil {
			return err
		}
		return complete(todo[i])
	})
}

// toStage leaves out the members that are staged or installed already.
func toStage(ctx context.Context, a planner.Restore) ([]pending, error) {
	var todo []pending
	for _, m := range a.Members {
		l, err := layout(m.Place)
		if err != nil {
			return nil, err
		}
		if m.Provenance.Token == "" {
			return nil, fmt.Errorf("%s: the restore has no token", m.Name)
		}
		if l.WALDir != "" && host.Pinned(l.WALDir) {
			return nil, fmt.Errorf("%s: the WAL directory %s is a mount point or a link, so it can't be swapped; use a folder in it as wal_dir", m.Name, l.WALDir)
		}
		staged := stagedToken(l) == m.Provenance.Token
		if staged { // its record may have been superseded since, by an Unfence
			if err := record(ctx, l, m.Provenance); err != nil {
				return nil, fmt.Errorf("%s: record the data's origin: %w", m.Name, err)
			}
			continue
		}
		if installed(l, &m.Provenance) {
			continue
		}
		todo = append(todo, pending{l, m.Name, m.Provenance})
	}
	return todo, nil
}

// clearStaging makes room in the staging: a half-made copy is removed, a
// complete one of another restore is moved aside.
func clearStaging(l host.Layout, token string) error {
	if err := settle(l); err != nil {
		return err
	}
	old := stagedToken(l)
	if old != "" && old != token {
		for _, u := range units(l) {
			if err := setAside(u); err != nil {
				return err
			}
		}
	}
	if err := removeOwn(l, l.Staging()); err != nil {
		return err
	}
	if l.WALDir == "" {
		return nil
	}
	if err := removeOwn(l, l.StagingWAL()); err != nil {
		return err
	}
	if _, err := os.Lstat(l.StagingWAL() + ".tmp"); err == nil { // etcd's own half-made WAL
		return setAside(unit{staged: l.StagingWAL() + ".tmp", aside: l.AsideWAL(), name: "wal"})
	}
	return nil
}

// setAside moves what is staged to a slot of its own, under a name that does not
// pass for a member's former data.
func setAside(u unit) error {
	if _, err := os.Lstat(u.staged); notExist(err) {
		return nil
	}
	s, err := newSlot(u)
	if err != nil {
		return err
	}
	return rename(u.staged, filepath.Join(s.dir, "staged-"+u.name), unix.RENAME_NOREPLACE)
}

func restoreRequest(a planner.Restore, todo []pending) (snapshot.RestoreRequest, error) {
	r := snapshot.RestoreRequest{
		Snapshot: a.Snapshot, SHA256: a.SHA256, SkipHashCheck: a.SkipHashCheck, RevisionBump: a.RevisionBump,
	}
	for _, m := range todo {
		if _, err := host.MkdirAll(m.at.Staging()); err != nil {
			return r, err
		}
		out := snapshot.RestoreMember{
			Name: m.name, InitialCluster: m.prov.InitialCluster, Token: m.prov.Token,
			PeerURLs: peerURLs(m.prov), OutDataDir: m.at.StagingData(),
			ClusterID: m.prov.ClusterID, MemberID: m.prov.MemberID,
		}
		if m.at.WALDir != "" {
			out.OutWALDir = m.at.StagingWAL()
			if _, err := host.MkdirAll(filepath.Dir(out.OutWALDir)); err != nil {
				return r, err
			}
		}
		r.Members = append(r.Members, out)
	}
	return r, nil
}

// peerURLs are the member's own in the initial cluster.
func peerURLs(p planner.Provenance) []string {
	var out []string
	for _, part := range strings.Split(p.InitialCluster, ",") {
		if name, url, _ := strings.Cut(part, "="); name == p.Name {
			out = append(out, url)
		}
	}
	return out
}

// complete marks a staging as whole, after looking at it.
func complete(m pending) error {
	if err := stagedIs(m.at, &m.prov); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return host.WriteFile(m.at.StagingDone(), []byte(m.prov.Token+"\n"))
}

func stagedIs(l host.Layout, p *planner.Provenance) error {
	wal := ""
	if l.WALDir != "" {
		wal = l.StagingWAL()
	}
	cluster, member, err := etcd.Identity(l.StagingData(), wal)
	if err != nil {
		return err
	}
	if cluster != p.ClusterID || member != p.MemberID {
		return fmt.Errorf("what is staged is member %s of cluster %s, not member %s of cluster %s", member, cluster, p.MemberID, p.ClusterID)
	}
	return nil
}

// checkRoom is S20: for each file system, all copies that will lie on it, the
// db and 64 MB of WAL each, and a tenth more.
func checkRoom(snapshotFile string, todo []pending) error {
	fi, err := os.Stat(snapshotFile)
	if err != nil {
		return err
	}
	need := newRoom()
	for _, m := range todo {
		db := fi.Size()
		if m.at.WALDir == "" {
			db += walRoom
		} else {
			need.add(m.at.WALDir, m.name, walRoom)
		}
		need.add(m.at.DataDir, m.name, db)
	}
	return need.check()
}

// room sums up what is needed on each file system.
type room struct {
	bytes map[uint64]int64
	path  map[uint64]string
	names map[uint64][]string
	err   error
}

func newRoom() *room {
	return &room{bytes: map[uint64]int64{}, path: map[uint64]string{}, names: map[uint64][]string{}}
}

func (r *room) add(path, name string, bytes int64) {
	var st unix.Stat_t
	if err := unix.Stat(nearest(path), &st); err != nil {
		r.err = fmt.Errorf("%s: %w", path, err)
		return
	}
	r.bytes[st.Dev] += bytes
	r.path[st.Dev] = nearest(path)
	if !slices.Contains(r.names[st.Dev], name) {
		r.names[st.Dev] = append(r.names[st.Dev], name)
	}
}

func (r *room) check() error {
	if r.err != nil {
		return r.err
	}
	for dev, bytes := range r.bytes {
		need, free := bytes+bytes/10, freeBytes(r.path[dev])
		if !free.Known() {
			return fmt.Errorf("the room on the file system of %s is not known: %s", r.path[dev], free.Why)
		}
		if free.Value < need {
			return fmt.Errorf("not enough room on the file system of %s: %s need %d MB there, and %d MB are free; nothing was written",
				r.path[dev], strings.Join(r.names[dev], ", "), need>>20, free.Value>>20)
		}
	}
	return nil
}

// Trial implements host.Host. It runs the private copy that Start will run.
func (d *Driver) Trial(ctx context.Context, a planner.Trial, progress host.Progress) (err error) {
	ctx, end, err := d.under(ctx, a.Place)
	if err != nil {
		return err
	}
	defer end(&err)
	l, err := layout(a.Place)
	if err != nil {
		return err
	}
	if err := settle(l); err != nil {
		return err
	}
	if stagedToken(l) != a.Token {
		return fmt.Errorf("%s: nothing is staged under token %s to be tried", a.Name, a.Token)
	}
	if err := removeOwn(l, l.Trial()); err != nil { // of an interrupted trial
		return err
	}
	wal := ""
	if l.WALDir != "" {
		wal = l.StagingWAL()
	}
	need := newRoom()
	need.add(l.Base(), a.Name, dbSize(l)+walRoom)
	if err := need.check(); err != nil {
		return err
	}
	argv, err := process.Command(d.self, a.Binary, l)
	if err != nil {
		return err
	}
	_, err = snapshot.Trial(ctx, snapshot.TrialRequest{
		Command: argv, StagedDataDir: l.StagingData(), StagedWALDir: wal,
		Scratch: l.Trial(), Revision: a.Revision, Keys: a.Keys,
	}, progress)
	return err
}

func dbSize(l host.Layout) int64 {
	fi, err := os.Stat(filepath.Join(l.StagingData(), "member", "snap", "db"))
	if err != nil {
		return 0
	}
	return fi.Size()
}
