package survivor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/throwaway"
	"github.com/requorum/requorum/planner"
)

// Request is one recovery. The survivor is stopped, and nobody starts it
// meanwhile.
type Request struct {
	// Command is the beginning of etcd's command line: {"/usr/bin/etcd"}, or
	// {"/path/requorum", "etcd"}. It is of the minor version that wrote the
	// directory (S12).
	Command         []string
	DataDir, WALDir string // of the survivor, only read; WALDir is "" for the one inside
	// Work is a scratch folder to make, and to remove with all in it. It must not
	// exist. It should lie on the file system of what comes out.
	Work                string
	ClusterID, MemberID string // in hex, as the plan saw them
	LastTerm, LastIndex uint64 // the log's end as the plan saw it
	// Upto is the last entry to take: LastIndex, or a lower one that is not below
	// what this member knows to be agreed on.
	Upto uint64
	// Out is the snapshot file to make, with a sha256 appended as etcd does: ours, of
	// what was read. "" for a directory in place.
	Out string
	// OutDataDir and OutWALDir are where a directory of a cluster of one is left
	// that keeps cluster ID, member ID and peer URLs; OutWALDir is "" for the one
	// inside. Neither may exist.
	OutDataDir, OutWALDir string
}

// target is what says, with a record beside it, that the work is done.
func (r Request) target() string {
	if r.Out != "" {
		return filepath.Clean(r.Out)
	}
	return filepath.Clean(r.OutDataDir)
}

func (r Request) check() error {
	switch {
	case len(r.Command) == 0:
		return errors.New("no etcd to run")
	case r.DataDir == "" || r.Work == "":
		return errors.New("no survivor or no scratch folder")
	case !filepath.IsAbs(r.Work): // etcd runs in it
		return errors.New("the scratch folder's path is not absolute")
	case (r.Out == "") == (r.OutDataDir == ""):
		return errors.New("either a snapshot file or a directory is to be made")
	case r.OutDataDir == "" && r.OutWALDir != "":
		return errors.New("a WAL directory without a data directory")
	case r.Upto == 0 || r.Upto > r.LastIndex:
		return fmt.Errorf("entries up to %d are wanted, and the log ends at %d", r.Upto, r.LastIndex)
	}
	return nil
}

// Progress is told about long work, in bytes or, while etcd applies, in entries.
type Progress func(what string, done, total int64)

func (p Progress) tell(what string, done, total int64) {
	if p != nil {
		p(what, done, total)
	}
}

// Recover makes a snapshot file, or a directory of a cluster of one, from the
// survivor's directory; how, and what can't be proven, says the package's
// comment. Where it is there already with a record that fits, that is returned.
//
// After an error, a cancelled ctx or a kill the same Request can be tried again
// once Work is removed. Nothing is ever written over.
func Recover(ctx context.Context, r Request, progress func(what string, done, total int64)) (rec Record, err error) {
	defer func() {
		if p := recover(); p != nil { // of etcd's own packages, on bytes that they don't expect
			err = read(fmt.Errorf("%v", p))
		}
		if err != nil {
			rec, err = Record{}, fmt.Errorf("recovering from %s: %w", r.DataDir, err)
		}
	}()
	if err := r.check(); err != nil {
		return rec, err
	}
	if rec, done, err := finished(ctx, r); done || err != nil {
		return rec, err
	}
	src, err := readSource(r)
	if err != nil {
		return rec, err
	}
	if err := room(r, src); err != nil {
		return rec, err
	}
	if err := os.Mkdir(r.Work, 0o700); err != nil {
		return rec, err
	}
	// It is our own copy, made above: nothing in it was ever anybody's data.
	defer func() { err = errors.Join(err, os.RemoveAll(r.Work)) }()
	j := &job{r: r, src: src, dir: filepath.Join(r.Work, "data"), tell: Progress(progress).tell}
	return j.do(ctx)
}

// job is a recovery at work.
type job struct {
	r    Request
	src  *source
	dir  string // the copy's data directory
	tell func(what string, done, total int64)

	before planner.SnapshotObservation // the copy's db as it came
	db     dbState                     // the same, in what matters here
}

func (j *job) dbPath() string { return filepath.Join(j.dir, "member", "snap", "db") }

func (j *job) do(ctx context.Context) (Record, error) {
	if err := j.copy(ctx); err != nil {
		return Record{}, fmt.Errorf("copying: %w", err)
	}
	if err := j.prepare(ctx); err != nil {
		return Record{}, fmt.Errorf("preparing the copy: %w", err)
	}
	end, err := j.replayed(ctx)
	if err != nil {
		return Record{}, err
	}
	return j.finish(ctx, end)
}

// replayed runs etcd until its db has everything. It answers before it handles
// SIGTERM (etcdmain/etcd.go startEtcdOrProxy): a signal that comes in between ends
// it with nothing written to the db, and it has to apply the same once more.
func (j *job) replayed(ctx context.Context) (ending, error) {
	for attempt := 1; ; attempt++ {
		if err := j.replay(ctx); err != nil {
			return ending{}, fmt.Errorf("applying the log in the copy: %w", err)
		}
		end, err := j.checkReplay(ctx)
		if errors.Is(err, errNotApplied) && attempt < 5 {
			continue
		}
		if err != nil {
			return end, read(fmt.Errorf("what came out of the copy is not to be used: %w", err))
		}
		return end, nil
	}
}

// copy copies the db and proves the copy, as far as a db without a hash can be.
func (j *job) copy(ctx context.Context) error {
	j.tell("copying the db", 0, j.src.dbSize)
	if err := throwaway.MkdirSynced(filepath.Dir(j.dbPath())); err != nil {
		return err
	}
	if err := throwaway.CopyFile(j.src.db, j.dbPath()); err != nil {
		return err
	}
	// Somebody may have started it meanwhile.
	if err := j.src.unheld(); err != nil {
		return err
	}
	var err error
	j.before, err = prove(ctx, j.dbPath(), snapshot.Want{SkipHashCheck: true}, j.tell)
	return err
}

// prepare makes the copy a cluster of one that has still to apply the tail.
func (j *job) prepare(ctx context.Context) error {
	var err error
	if j.db, err = readDBState(j.dbPath()); err != nil {
		return read(err)
	}
	if err := j.src.judge(j.db); err != nil {
		return err
	}
	if err := j.checkValues(ctx, j.dbPath(), j.db.size, j.appliedEntries()); err != nil {
		return read(err)
	}
	err = editDB(j.dbPath(), func(tx *tx) error {
		return errors.Join(tx.onlyMember(j.src.self(nowhere)), tx.remove(j.src.others(j.db)),
			tx.consistentIndex(j.src.base), tx.leases(j.db.longLeases()))
	})
	if err != nil {
		return err
	}
	state := j.src.hardState(j.r.Upto)
	return writeLog(j.dir, j.src.identity, j.src.self(nowhere), j.src.others(j.db), j.src.base, state, j.src.replay)
}

// appliedEntries are the log's entries that the db has applied.
func (j *job) appliedEntries() []*raftpb.Entry {
	if j.db.consistentIndex == 0 {
		return nil
	}
	return j.src.entries[:j.src.base.index-j.src.snapshot.index]
}

// prove turns snapshot.Verify's findings into an error.
func prove(ctx context.Context, path string, want snapshot.Want, tell func(string, int64, int64)) (planner.SnapshotObservation, error) {
	obs := snapshot.Verify(ctx, path, want, tell)
	if err := ctx.Err(); err != nil {
		return obs, err
	}
	switch obs.Problem {
	case "":
		return obs, nil
	case planner.CodeSnapshotUnreadable, planner.CodeDataHeld:
		return obs, errors.New(obs.Detail)
	}
	return obs, read(errors.New(obs.Detail))
}

// unsound is an error of what was read.
type unsound struct{ error }

func (d unsound) Unwrap() error { return d.error }

func read(err error) error {
	if err == nil {
		return nil
	}
	return unsound{err}
}

// IsDamage reports whether Recover failed over what it read. A time-out, or too few
// open files, says nothing of the data.
func IsDamage(err error) bool {
	var d unsound
	var no syscall.Errno
	return errors.As(err, &d) && (!errors.As(err, &no) || no == syscall.EIO) &&
		!errors.Is(err, context.DeadlineExceeded)
}
