package survivor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/throwaway"
	"github.com/requorum/requorum/planner"
)

// finish gives the copy's db back what was changed in it, and makes of it what
// was asked for.
func (j *job) finish(ctx context.Context, e ending) (Record, error) {
	self := j.src.self("")
	if j.r.Out == "" && len(self.PeerURLs) == 0 {
		return Record{}, fmt.Errorf("member %s is not in its own member list, so that no peer URL is known for it: "+
			"it can't be started in place; make a snapshot of it", j.src.member)
	}
	err := editDB(j.dbPath(), func(tx *tx) error {
		return errors.Join(tx.onlyMember(self), tx.leases(j.originalLeases(e.db)))
	})
	if err != nil {
		return Record{}, err
	}
	rec := Record{
		Path: j.r.target(), WALDir: j.r.OutWALDir, InPlace: j.r.Out == "",
		ClusterID: j.r.ClusterID, MemberID: j.r.MemberID, LastTerm: j.r.LastTerm, LastIndex: j.r.LastIndex,
		Upto: j.r.Upto, Applied: j.db.consistentIndex, When: time.Now().UTC().Format(time.RFC3339),
	}
	if rec.InPlace {
		return j.finishDir(ctx, e, rec)
	}
	return j.finishSnapshot(ctx, rec)
}

func (r *Record) take(obs planner.SnapshotObservation) {
	r.SHA256, r.Size, r.Revision, r.Keys = obs.SHA256, obs.Size, obs.Revision, obs.Keys
	r.Leases, r.Alarms, r.Version = obs.Leases, obs.Alarms, obs.Version
}

// finishSnapshot makes the snapshot file: first under a name of its own, then
// the intent, then its name, then the record.
func (j *job) finishSnapshot(ctx context.Context, rec Record) (Record, error) {
	part := rec.Path + ".part"
	j.tell("writing the snapshot", 0, j.src.dbSize)
	sum, err := j.writeSnapshot(ctx, part)
	if err != nil {
		return rec, err
	}
	obs, err := prove(ctx, part, snapshot.Want{SHA256: sum}, j.tell)
	if err != nil {
		return rec, err
	}
	if err := j.checkValues(ctx, part, obs.Size, j.src.entries); err != nil {
		return rec, read(err)
	}
	rec.take(obs)
	if err := writeIntent(rec.Path, rec); err != nil {
		return rec, err
	}
	if err := renameNew(part, rec.Path); err != nil {
		return rec, err
	}
	return rec, publishRecord(rec.Path)
}

// writeSnapshot writes the db's pages and their sha256, as etcd's maintenance
// service does (etcdserver/api/v3rpc/maintenance.go Snapshot). What lies under
// the name from a recovery that was killed is written over: the name is ours.
func (j *job) writeSnapshot(ctx context.Context, path string) (sum string, err error) {
	db, err := bolt.Open(j.dbPath(), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h := sha256.New()
	err = db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(&ctxWriter{ctx, io.MultiWriter(out, h)})
		return err
	})
	if err != nil {
		return "", errors.Join(ctx.Err(), err) // bbolt does not wrap it
	}
	if _, err := out.Write(h.Sum(nil)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), out.Sync()
}

type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (w *ctxWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(b)
}

// finishDir makes a directory that starts by itself: the db with a log that
// begins where the db ends.
func (j *job) finishDir(ctx context.Context, e ending, rec Record) (Record, error) {
	if err := j.freshLog(e); err != nil {
		return rec, err
	}
	j.tell("making it durable", 0, j.src.dbSize)
	if err := throwaway.SyncTree(ctx, j.dir); err != nil {
		return rec, err
	}
	obs, err := prove(ctx, j.dbPath(), snapshot.Want{SkipHashCheck: true}, j.tell)
	if err != nil {
		return rec, err
	}
	if err := j.checkValues(ctx, j.dbPath(), obs.Size, j.src.entries); err != nil {
		return rec, read(err)
	}
	if err := j.checkDir(); err != nil {
		return rec, err
	}
	rec.take(obs)
	if err := writeIntent(rec.Path, rec); err != nil {
		return rec, err
	}
	// The data directory last: without it there is nothing to be started.
	if j.r.OutWALDir != "" {
		if err := move(ctx, filepath.Join(j.dir, "member", "wal"), filepath.Clean(j.r.OutWALDir)); err != nil {
			return rec, err
		}
	}
	if err := move(ctx, j.dir, rec.Path); err != nil {
		return rec, err
	}
	return rec, publishRecord(rec.Path)
}

// freshLog replaces the log that the copy ran on, in which there is another peer
// URL and what etcd added by itself.
func (j *job) freshLog(e ending) error {
	member := filepath.Join(j.dir, "member")
	snaps, err := filepath.Glob(filepath.Join(member, "snap", "*.snap"))
	if err != nil {
		return err
	}
	// All of it was made by prepare, and by the copy's etcd after it.
	for _, path := range append(snaps, filepath.Join(member, "wal")) {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return writeLog(j.dir, j.src.identity, j.src.self(""), j.src.others(j.db), e.base, e.log.hardState(e.base.index), nil)
}

// checkDir looks at the directory as a plan would.
func (j *job) checkDir() error {
	fact := etcd.ReadDataDir(j.dir, "")
	d := fact.Value
	switch {
	case !fact.Known():
		return errors.New(fact.Why)
	case d.Problem != "":
		return errors.New(d.Problem)
	case d.ClusterID != j.r.ClusterID || d.MemberID != j.r.MemberID || len(d.Members) != 1:
		return fmt.Errorf("it came out as member %s of cluster %s, with %d members", d.MemberID, d.ClusterID, len(d.Members))
	}
	return nil
}

// move gives a folder its place, by way of a copy where that is on another file
// system.
func move(ctx context.Context, from, to string) error {
	err := renameNew(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	part := to + ".part"
	// What lies there is the copy of a recovery that was killed: the name is ours.
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := throwaway.CopyTree(ctx, from, part); err != nil {
		return err
	}
	if err := throwaway.SyncTree(ctx, part); err != nil {
		return err
	}
	return renameNew(part, to)
}
