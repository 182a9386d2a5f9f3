package snapshot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

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
// The source is proven as Verify does, and must have the plan's SHA256. What
// comes out is proven too: the IDs, the revision, every record of keys, leases
// and users, and every page. All of it is on the disk when Restore returns.
//
// The work is etcdutl's (etcdutl/v3/snapshot/v3_snapshot.go Restore), whose
// revision bump counts from the last key; where a compaction reached further,
// etcd starts from there, and so does the bump here.
func Restore(ctx context.Context, r RestoreRequest, progress func(what string, done, total int64)) error {
	if r.SHA256 == "" {
		return errors.New("restore: the plan has no sha256 for the snapshot")
	}
	before, serr := os.Stat(r.Snapshot) // its error is prove's too
	obs, source, err := prove(ctx, r.Snapshot, Want{SHA256: r.SHA256, SkipHashCheck: r.SkipHashCheck}, progress)
	if err != nil {
		return err
	}
	if serr != nil {
		return serr
	}
	if !strings.EqualFold(obs.SHA256, r.SHA256) {
		return refuse(planner.CodeSnapshotWrongSHA, "%s changed since the plan: its sha256 is %s, not %s", r.Snapshot, obs.SHA256, r.SHA256)
	}
	if r.RevisionBump < 0 || source.revision() > math.MaxInt64-r.RevisionBump {
		return refuse(planner.CodeRevisionOverflow, "revision %d can't be bumped by %d", source.revision(), r.RevisionBump)
	}
	for _, m := range r.Members {
		if err := free(m); err != nil {
			return err
		}
	}
	for i, m := range r.Members {
		progress := Progress(func(what string, done, total int64) {
			Progress(progress).tell(fmt.Sprintf("%s (%d of %d): %s", m.Name, i+1, len(r.Members), what), done, total)
		})
		if err := restoreMember(ctx, r, m, source, obs, progress); err != nil {
			return fmt.Errorf("restoring %s to %s: %w", m.Name, m.OutDataDir, err)
		}
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

func restoreMember(ctx context.Context, r RestoreRequest, m RestoreMember, source *contents, obs planner.SnapshotObservation, progress Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	progress.tell("writing", 0, obs.Size)
	if err := makeDirs(m); err != nil {
		return err
	}
	if err := runRestore(r, m, source); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	progress.tell("making it durable", 0, obs.Size)
	for _, dir := range []string{m.OutDataDir, m.OutWALDir} {
		if dir == "" {
			continue
		}
		if err := throwaway.SyncTree(ctx, dir); err != nil {
			return err
		}
	}
	progress.tell("reading it back", 0, obs.Size)
	if err := readBack(ctx, r, m, source); err != nil {
		return err
	}
	progress.tell("restored", obs.Size, obs.Size)
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

// runRestore calls etcdutl. It panics on what it does not expect.
func runRestore(r RestoreRequest, m RestoreMember, source *contents) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("etcdutl: %v", p)
		}
	}()
	cfg := snapshot.RestoreConfig{
		SnapshotPath: r.Snapshot, Name: m.Name, OutputDataDir: m.OutDataDir, OutputWALDir: m.OutWALDir,
		PeerURLs: m.PeerURLs, InitialCluster: m.InitialCluster, InitialClusterToken: m.Token,
		SkipHashCheck: r.SkipHashCheck,
	}
	if r.RevisionBump > 0 {
		cfg.RevisionBump, cfg.MarkCompacted = uint64(bumpFromLastKey(r, source)), true
	}
	return snapshot.NewV3(zap.NewNop()).Restore(cfg)
}

// bumpFromLastKey makes the revision come out as revision() + RevisionBump.
func bumpFromLastKey(r RestoreRequest, source *contents) int64 {
	return source.revision() - source.keyRevision + r.RevisionBump
}

// readBack compares the directory with what the plan expects and with its
// source.
func readBack(ctx context.Context, r RestoreRequest, m RestoreMember, source *contents) error {
	cluster, member, err := etcd.Identity(m.OutDataDir, m.OutWALDir)
	if err != nil {
		return err
	}
	if cluster != m.ClusterID || member != m.MemberID {
		return fmt.Errorf("it is member %s of cluster %s, and should be member %s of cluster %s", member, cluster, m.MemberID, m.ClusterID)
	}
	c, err := readBackDB(ctx, filepath.Join(m.OutDataDir, "member", "snap", "db"), source.keyRevision)
	if err != nil {
		return fmt.Errorf("the restored db: %w", err)
	}
	want := source.revision()
	if r.RevisionBump > 0 {
		want += r.RevisionBump
	}
	switch {
	case c.revision() != want:
		return fmt.Errorf("its revision is %d, and should be %d", c.revision(), want)
	case r.RevisionBump > 0 && c.compacted != want:
		return fmt.Errorf("it is marked compacted at %d, and should be at %d", c.compacted, want)
	case c.keys != source.keys || c.leases != source.leases:
		return fmt.Errorf("it has %d keys and %d leases, the snapshot has %d and %d", c.keys, c.leases, source.keys, source.leases)
	case c.digest != source.digest:
		return fmt.Errorf("its records are not those of the snapshot (%s, not %s)", hex.EncodeToString(c.digest[:4]), hex.EncodeToString(source.digest[:4]))
	case c.members != members(m.InitialCluster):
		return fmt.Errorf("it has %d members, and should have %d", c.members, members(m.InitialCluster))
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
