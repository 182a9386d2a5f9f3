package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/executor/snapshot/throwaway"
	"github.com/requorum/requorum/planner"
)

// RestoreRequest is one restore onto all members of a new logical cluster.
type RestoreRequest struct {
	Snapshot      string
	SHA256        string // of the bbolt bytes, in hex, as the plan saw it; it must match
	SkipHashCheck bool
	// RevisionBump is added to the revision that etcd would have from the
	// snapshot, and all before is marked compacted; 0 for neither.
	RevisionBump int64
	Members      []RestoreMember
}

// RestoreMember is where one member's directory is written.
type RestoreMember struct {
	Name, InitialCluster, Token string
	PeerURLs                    []string
	OutDataDir                  string // must not exist, or be empty
	OutWALDir                   string // must not exist; "" for the one inside OutDataDir
	ClusterID, MemberID         string // that must come out, in hex
}

// Restore writes a data directory for each member. It is not atomic: after an
// error or a cancelled ctx what was written stays, and blocks another Restore to
// the same place; the caller stages and moves it aside. Nothing is ever removed
// or written over.
//
// The source is proven as Verify does, and must have the plan's SHA256. It is
// read once: while it is hashed, its bytes go to a file without a name for each
// member, which gets its name when all of the source is proven. Members of one
// cluster have the same db: it is made once, and what that changed is written to
// the others.
//
// What comes out is proven too: the IDs, the revision, every record of keys,
// leases and users, and every page; the others' dbs, byte for byte, with the one
// that was so read. All of it is on the disk when Restore returns.
//
// A revision bump counts from where etcd would start, which after a compaction
// may be further than the last key.
func Restore(ctx context.Context, r RestoreRequest, progress func(what string, done, total int64)) error {
	if r.SHA256 == "" {
		return errors.New("restore: the plan has no sha256 for the snapshot")
	}
	job := restoring{RestoreRequest: r, progress: Progress(progress).oneByOne()}
	defer job.close()
	before, err := job.prove(ctx)
	if err != nil {
		return err
	}
	if err := job.write(ctx); err != nil {
		return err
	}
	after, err := os.Stat(r.Snapshot)
	if err != nil {
		return err
	}
	if stamp(before) != stamp(after) {
		return fmt.Errorf("%s changed while it was restored: what was written is not to be used", r.Snapshot)
	}
	return nil
}

// restoring is a Restore at work.
type restoring struct {
	RestoreRequest
	progress Progress
	source   *contents
	body     int64 // bytes of the db
	places   []*placing
}

func (j *restoring) close() {
	for _, p := range j.places {
		p.close()
	}
}

// tell says what is done for one member.
func (j *restoring) tell(i int, what string, done int64) {
	j.progress.tell(fmt.Sprintf("%s (%d of %d): %s", j.Members[i].Name, i+1, len(j.Members), what), done, j.body)
}

// prove reads the snapshot, proves it and holds it to the plan. Its bytes are
// then on their way, but nothing has a name yet.
func (j *restoring) prove(ctx context.Context) (os.FileInfo, error) {
	before, serr := os.Stat(j.Snapshot) // its error is prove's too
	for _, m := range j.Members {
		if err := free(m); err != nil {
			return nil, err
		}
	}
	var sinks []sink
	if serr == nil && before.Mode().IsRegular() {
		var paths []string
		for _, m := range j.Members {
			paths = append(paths, dbPath(m))
		}
		var err error
		if j.places, err = openPlacings(j.Snapshot, bodySize(before.Size()), paths); err != nil {
			return nil, err
		}
		for _, p := range j.places {
			if s := p.sink(); s != nil {
				sinks = append(sinks, s)
			}
		}
	}
	obs, source, err := prove(ctx, j.Snapshot, Want{SHA256: j.SHA256, SkipHashCheck: j.SkipHashCheck}, sinks, j.progress)
	switch {
	case err != nil:
		return nil, err
	case serr != nil:
		return nil, serr
	case !strings.EqualFold(obs.SHA256, j.SHA256):
		return nil, refuse(planner.CodeSnapshotWrongSHA, "%s changed since the plan: its sha256 is %s, not %s", j.Snapshot, obs.SHA256, j.SHA256)
	case j.RevisionBump < 0 || source.revision() > math.MaxInt64-j.RevisionBump:
		return nil, refuse(planner.CodeRevisionOverflow, "revision %d can't be bumped by %d", source.revision(), j.RevisionBump)
	}
	j.source, j.body = source, obs.Size
	return before, nil
}

// write makes the directories, the log of each member, and one db for those of
// one cluster, and proves and keeps them.
func (j *restoring) write(ctx context.Context) error {
	list := make([]shaped, len(j.Members))
	for i, m := range j.Members {
		var err error
		if list[i], err = newShaped(m); err != nil {
			return fmt.Errorf("restoring %s: %w", m.Name, err)
		}
	}
	for i, s := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		j.tell(i, "writing", 0)
		if err := j.place(i, s); err != nil {
			return fmt.Errorf("restoring %s to %s: %w", s.member.Name, s.member.OutDataDir, err)
		}
	}
	for _, group := range sameDB(list) {
		if err := j.writeGroup(ctx, list, group); err != nil {
			return err
		}
	}
	return nil
}

// place makes a member's directories and puts the proven bytes there as its db.
func (j *restoring) place(i int, s shaped) error {
	if err := free(s.member); err != nil {
		return err
	}
	if err := makeDirs(s.member); err != nil {
		return err
	}
	if err := os.MkdirAll(s.snapDir(), 0o700); err != nil {
		return err
	}
	return j.places[i].link(j.Snapshot, j.body)
}

// bumpTo is the revision that is added; 0 for none.
func (j *restoring) bumpTo() int64 {
	if j.RevisionBump == 0 {
		return 0
	}
	return j.source.revision() + j.RevisionBump
}

// free refuses a place that has anything in it, and one that etcd would clear
// by itself: wal.Create removes WALDIR.tmp.
func free(m RestoreMember) error {
	if names, err := os.ReadDir(m.OutDataDir); err == nil && len(names) > 0 {
		return fmt.Errorf("%s is not empty: it has %s in it", m.OutDataDir, names[0].Name())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if m.OutWALDir == "" {
		return nil
	}
	for _, p := range []string{m.OutWALDir, filepath.Clean(m.OutWALDir) + ".tmp"} {
		if _, err := os.Lstat(p); err == nil {
			return fmt.Errorf("%s exists", p)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// makeDirs makes the directories that etcdutl would make, each durable.
func makeDirs(m RestoreMember) error {
	if err := throwaway.MkdirSynced(m.OutDataDir); err != nil {
		return err
	}
	if err := os.Chmod(m.OutDataDir, 0o700); err != nil { // it may have been there, empty
		return err
	}
	if m.OutWALDir != "" {
		return throwaway.MkdirSynced(filepath.Dir(filepath.Clean(m.OutWALDir)))
	}
	return nil
}

// identity compares a directory's IDs with those that the plan expects.
func identity(m RestoreMember) error {
	cluster, member, err := etcd.Identity(m.OutDataDir, m.OutWALDir)
	if err != nil {
		return err
	}
	if cluster != m.ClusterID || member != m.MemberID {
		return fmt.Errorf("it is member %s of cluster %s, and should be member %s of cluster %s", member, cluster, m.MemberID, m.ClusterID)
	}
	return nil
}

// readBack compares a db with its source, record by record.
func (j *restoring) readBack(ctx context.Context, s shaped) error {
	source := j.source
	c, err := readBackDB(ctx, s.db(), source.keyRevision)
	if err != nil {
		return fmt.Errorf("the restored db: %w", err)
	}
	want := source.revision()
	if j.RevisionBump > 0 {
		want += j.RevisionBump
	}
	switch {
	case c.revision() != want:
		return fmt.Errorf("its revision is %d, and should be %d", c.revision(), want)
	case j.RevisionBump > 0 && c.compacted != want:
		return fmt.Errorf("it is marked compacted at %d, and should be at %d", c.compacted, want)
	case c.keys != source.keys || c.leases != source.leases:
		return fmt.Errorf("it has %d keys and %d leases, the snapshot has %d and %d", c.keys, c.leases, source.keys, source.leases)
	case c.digest != source.digest:
		return fmt.Errorf("its records are not those of the snapshot")
	case c.members != members(s.member.InitialCluster):
		return fmt.Errorf("it has %d members, and should have %d", c.members, members(s.member.InitialCluster))
	}
	return nil
}

// members counts the names of an initial cluster; a name comes once for each of
// its URLs.
func members(initialCluster string) int {
	names := map[string]bool{}
	for part := range strings.SplitSeq(initialCluster, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		names[name] = true
	}
	return len(names)
}

func readBackDB(ctx context.Context, path string, upTo int64) (*contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	db, err := boltfile.Open(f, info.Size())
	if err != nil {
		return nil, err
	}
	if err := db.MetaError(); err != nil {
		return nil, err
	}
	return readContents(ctx, db, upTo, false)
}
