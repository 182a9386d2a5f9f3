package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/planner"
)

// Want is what a snapshot is held to.
type Want struct {
	// SHA256 is expected, in hex: of the whole file or of its bbolt bytes.
	SHA256 string
	// SkipHashCheck accepts a file that has no hash. One with a wrong hash stays
	// damaged: etcd's flag of that name is laxer.
	SkipHashCheck bool
}

// Progress is told about long work, in bytes.
type Progress func(what string, done, total int64)

func (p Progress) tell(what string, done, total int64) {
	if p != nil {
		p(what, done, total)
	}
}

// oneByOne is for work that is done on several cores: its teller need not know.
func (p Progress) oneByOne() Progress {
	if p == nil {
		return nil
	}
	var mu sync.Mutex
	return func(what string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		p(what, done, total)
	}
}

// Verify proves the snapshot at path and describes it. It changes nothing and
// needs memory for one page, plus 16 bytes for each live key. progress may be
// nil. A file that can't be used has a Problem, and Detail says what is wrong,
// where, and what to do; cancelling ctx is one (CodeSnapshotUnreadable).
func Verify(ctx context.Context, path string, want Want, progress func(what string, done, total int64)) planner.SnapshotObservation {
	obs, _, err := prove(ctx, path, want, nil, progress)
	var bad *problem
	switch {
	case errors.As(err, &bad):
		obs.Problem, obs.Detail = bad.code, bad.detail
	case err != nil:
		obs.Problem, obs.Detail = planner.CodeSnapshotUnreadable, fmt.Sprintf("%s could not be read: %v", path, err)
	}
	return obs
}

// problem is a reason to refuse a file.
type problem struct {
	code   planner.Code
	detail string
}

func (p *problem) Error() string { return fmt.Sprintf("%s: %s", p.code, p.detail) }

func refuse(code planner.Code, format string, args ...any) error {
	return &problem{code, fmt.Sprintf(format, args...)}
}

const (
	takeAnother = "use another snapshot"
	copyAgain   = "fetch the file again from where it was saved, or use another snapshot"
)

// prove does Verify's work, and gives the bbolt bytes to the sinks while it reads
// them: what they got is proven only when prove returns without an error. What it
// returns beside an error is incomplete.
func prove(ctx context.Context, path string, want Want, sinks []sink, progress Progress) (obs planner.SnapshotObservation, c *contents, err error) {
	f, info, err := openRegular(path)
	if err != nil {
		return planner.SnapshotObservation{Source: path, Path: path}, nil, err
	}
	defer f.Close()
	return proveFile(ctx, f, info, want, sinks, progress)
}

// proveFile is prove of a file that is open: whoever reads more of it must not open it
// by its name again.
func proveFile(ctx context.Context, f *os.File, info os.FileInfo, want Want, sinks []sink, progress Progress) (obs planner.SnapshotObservation, c *contents, err error) {
	path := f.Name()
	obs = planner.SnapshotObservation{Source: path, Path: path}
	progress = progress.oneByOne()
	obs.Size, obs.ModifiedAt = info.Size(), info.ModTime().UTC().Format(time.RFC3339)
	if err := notInUse(path); err != nil {
		return obs, nil, err
	}
	if known := walkedBefore(bodySize(info.Size())); known != nil {
		return known.again(ctx, f, info, want, sinks, progress, obs)
	}
	// The records are read while the hash is made, on another core. The hash's
	// word comes first: it says more of a file that was cut or changed.
	walking, stop := context.WithCancel(ctx)
	defer stop()
	walked := make(chan error, 1)
	found := planner.SnapshotObservation{Path: path, Size: bodySize(info.Size())}
	go func() {
		walked <- guarded(path, func() (err error) {
			c, err = proveRecords(walking, f, &found)
			return err
		})
	}()
	err = guarded(path, func() error { return proveHash(ctx, f, info, want, sinks, progress, &obs) })
	if err != nil {
		stop()
		<-walked
		return obs, nil, err
	}
	progress.tell("checking pages and records", 0, obs.Size)
	if err := <-walked; err != nil {
		return obs, nil, err
	}
	describe(&obs, c)
	progress.tell("checking pages and records", obs.Size, obs.Size)
	if err := unchanged(f, info); err != nil {
		return obs, c, err
	}
	keepWalked(obs, c)
	return obs, c, nil
}

// guarded makes a panic a reason to refuse the file: bytes are never one to bring
// the process down. No mapping is used, so no fault should come.
func guarded(path string, do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = refuse(planner.CodeSnapshotDamaged, "%s: reading it failed: %v; %s", path, r, takeAnother)
		}
	}()
	return do()
}

// openRegular opens the file without waiting for a pipe's other end.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, refuse(planner.CodeSnapshotMissing, "%s does not exist", path)
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = refuse(planner.CodeSnapshotNotEtcd, "%s is a directory; name the snapshot file itself", path)
	case !info.Mode().IsRegular():
		err = refuse(planner.CodeSnapshotNotEtcd, "%s is no regular file (%s)", path, info.Mode().Type())
	case info.Size() == 0:
		err = refuse(planner.CodeSnapshotDamaged, "%s is empty (0 bytes): saving or copying it failed; %s", path, copyAgain)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// notInUse refuses the db of a member that runs: its bytes change.
func notInUse(path string) error {
	pid, err := etcd.HeldBy(path)
	if err != nil || pid == 0 {
		return nil // only a courtesy: unchanged looks again
	}
	who := fmt.Sprintf("process %d", pid)
	if pid < 0 {
		who = "a process"
	}
	return refuse(planner.CodeDataHeld, "%s is in use by %s: a copy of a running member's db is torn; "+
		"save a snapshot from the member instead (etcdctl snapshot save), or stop it first", path, who)
}

// unchanged refuses a file that was written while it was read.
func unchanged(f *os.File, before os.FileInfo) error {
	after, err := f.Stat()
	if err != nil {
		return err
	}
	if stamp(before) != stamp(after) {
		return fmt.Errorf("it changed while it was read: wait until nothing writes it, then try again")
	}
	return nil
}

type fileStamp struct {
	dev, ino    uint64
	size        int64
	mtim, ctime syscall.Timespec
}

func stamp(info os.FileInfo) fileStamp {
	s := info.Sys().(*syscall.Stat_t)
	return fileStamp{s.Dev, s.Ino, s.Size, s.Mtim, s.Ctim}
}

// proveHash reads the file once, decides whether it carries a hash
// (etcdutl/v3/snapshot/v3_snapshot.go hasChecksum, copyAndVerifyDB) and checks
// it, and looks at the meta pages.
func proveHash(ctx context.Context, f *os.File, info os.FileInfo, want Want, sinks []sink, progress Progress, obs *planner.SnapshotObservation) error {
	db, err := boltfile.Open(f, info.Size())
	if errors.Is(err, boltfile.ErrNotBolt) {
		return refuse(planner.CodeSnapshotNotEtcd, "%s is %v; name a file that etcdctl snapshot save wrote", obs.Path, err)
	}
	structure := err
	sums, err := hashFile(ctx, f, info.Size(), sinks, progress)
	if err != nil {
		return err
	}
	obs.HasHash = sums.slot && sums.appended == sums.body
	if sums.slot {
		obs.Size = info.Size() - int64(len(sums.body))
	}
	obs.SHA256 = sums.bolt()
	switch {
	case structure != nil:
		return damaged(obs.Path, structure)
	case sums.slot && !obs.HasHash:
		return refuse(planner.CodeSnapshotDamaged, "%s: its last 32 bytes are not the sha256 of the rest: expected %x, got %x; "+
			"the file was changed or cut short; %s", obs.Path, sums.appended, sums.body, copyAgain)
	case want.SHA256 != "" && !strings.EqualFold(want.SHA256, sums.bolt()) && !strings.EqualFold(want.SHA256, sums.file()):
		return refuse(planner.CodeSnapshotWrongSHA, "%s is not the file that was expected: its sha256 is %s (without the appended hash %s), not %s",
			obs.Path, sums.file(), sums.bolt(), want.SHA256)
	case obs.HasHash && db.UsedSize() != obs.Size:
		return refuse(planner.CodeSnapshotDamaged, "%s: its pages end at %d, its hash begins at %d; %s", obs.Path, db.UsedSize(), obs.Size, takeAnother)
	case obs.HasHash:
		return nil
	}
	return withoutHash(db, want, obs)
}

// withoutHash decides on a db that nothing vouches for.
func withoutHash(db *boltfile.File, want Want, obs *planner.SnapshotObservation) error {
	if rest := obs.Size % db.PageSize(); rest != 0 {
		return refuse(planner.CodeSnapshotDamaged, "%s: %d bytes follow the last whole page at %d: they are no sha256 (32 bytes), "+
			"so the file was cut short; %s", obs.Path, rest, obs.Size-rest, copyAgain)
	}
	if !want.SkipHashCheck {
		return refuse(planner.CodeSnapshotNoHash, "%s: snapshot missing hash: it was copied from a data directory, or its end is lost; "+
			"where it was copied on purpose from a stopped member, set skip_hash_check = true", obs.Path)
	}
	if err := db.MetaError(); err != nil {
		return refuse(planner.CodeSnapshotDamaged, "%s: %v; bbolt would fall back to the transaction before, and the last records "+
			"would be missing; start etcd on the directory it was copied from and save a snapshot", obs.Path, err)
	}
	return nil
}

func damaged(path string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the file ends too early")
	}
	return refuse(planner.CodeSnapshotDamaged, "%s: %v; %s", path, err, copyAgain)
}

// proveRecords walks every page and decodes every record.
func proveRecords(ctx context.Context, f *os.File, obs *planner.SnapshotObservation) (*contents, error) {
	db, err := boltfile.Open(f, obs.Size)
	if err != nil {
		return nil, damaged(obs.Path, err)
	}
	names, err := db.Buckets()
	if err != nil {
		return nil, damaged(obs.Path, err)
	}
	if have := bucketSet(names); !have["key"] || !have["meta"] {
		return nil, refuse(planner.CodeSnapshotNotEtcd, "%s is a bbolt file, but not etcd's: it has the buckets %q, not key and meta", obs.Path, names)
	}
	c, err := readContents(ctx, db, math.MaxInt64, !obs.HasHash)
	if err != nil {
		return nil, damaged(obs.Path, err)
	}
	return c, nil
}

func describe(obs *planner.SnapshotObservation, c *contents) {
	obs.Revision, obs.Keys, obs.Leases = c.revision(), c.keys, c.leases
	obs.Version, obs.Members, obs.Alarms, obs.AlarmList = c.version, c.members, c.alarms, c.alarmList
}

func bucketSet(names []string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}
