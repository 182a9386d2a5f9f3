package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// save brings one member's snapshot to its place: saved and hashed, proven, then
// published.
func (v *saver) save(ctx context.Context, a origin) (f savedFile, err error) {
	work, err := v.workDir()
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, work.remove()) }()
	path := filepath.Join(work.dir, "snapshot.db")
	if a.from != nil {
		f, err = v.takeStopped(ctx, a, work.dir, path)
	} else {
		f, err = v.takeLive(ctx, a.live, path)
	}
	if err != nil {
		return f, err
	}
	f.Encrypted, f.Removed = len(v.recipients) > 0, []string{}
	if f.File, err = v.publish(ctx, path, a, f.Revision); err != nil {
		return f, err
	}
	f.Source, f.Path = f.File, ""
	if v.keep > 0 {
		if f.Removed, err = v.removeOld(ctx, v.owner(a), baseOf(f.File)); err != nil {
			v.notes = append(v.notes, fmt.Sprintf("%s is saved, but older ones could not be removed: %v", f.File, err))
			err = nil
		}
	}
	return f, nil
}

// takeLive saves from a member that runs.
func (v *saver) takeLive(ctx context.Context, a candidate, path string) (f savedFile, err error) {
	got, err := etcd.SaveSnapshot(ctx, a.URL, v.session.observer.Client, path, func(done, total int64) {
		v.progress.show("saving from "+a.Name, done, total)
	})
	if err != nil {
		if etcd.SaveCode(err) == planner.CodeNoRoom {
			err = &refused{planner.RefuseFile(planner.CodeNoRoom, err.Error())}
		}
		return f, err
	}
	if got.MemberID != a.MemberID || got.ClusterID != a.ClusterID {
		return f, fmt.Errorf("%s answered as member %s of cluster %s before, and as %s of %s when it was saved from", a.URL, a.MemberID, a.ClusterID, got.MemberID, got.ClusterID)
	}
	o := snapshot.Verify(ctx, path, snapshot.Want{SHA256: got.SHA256}, v.progress.show)
	if o.Problem != "" {
		return f, &refused{planner.RefuseFile(o.Problem, "what "+a.Name+" sent is not a snapshot that can be restored: "+o.Detail)}
	}
	if o.Revision < got.Revision {
		return f, fmt.Errorf("%s was at revision %d, and what it sent is at %d", a.Name, got.Revision, o.Revision)
	}
	return savedFile{
		Member: a.Name, MemberID: a.MemberID, ClusterID: a.ClusterID, Role: render.Role(a.Endpoint), Etcd: got.Version,
		ValuesProven: true, SnapshotObservation: o,
	}, nil
}

// takeStopped makes a snapshot of a directory that nobody runs on.
func (v *saver) takeStopped(ctx context.Context, a origin, work, path string) (f savedFile, err error) {
	rec, err := a.from.snapshot(ctx, a.data, work, path, func(what string, done, total int64) {
		v.progress.show(a.name()+": "+what, done, total)
	})
	if err != nil {
		return f, err
	}
	o := snapshot.Verify(ctx, path, snapshot.Want{SHA256: rec.SHA256}, v.progress.show)
	if o.Problem != "" {
		return f, &refused{planner.RefuseFile(o.Problem, "what was made of "+a.from.dataDir+" is not a snapshot that can be restored: "+o.Detail)}
	}
	v.notes = append(v.notes, unprovable(a.from.dataDir))
	if text := a.from.doubtText(a.data); text != "" {
		v.notes = append(v.notes, text)
	}
	log := fmt.Sprintf("to #%d, term %d, its end", rec.Upto, rec.LastTerm)
	if rec.Upto < rec.LastIndex {
		log = fmt.Sprintf("to #%d; it ends at #%d, term %d", rec.Upto, rec.LastIndex, rec.LastTerm)
	}
	return savedFile{
		Member: a.name(), MemberID: a.data.MemberID, ClusterID: a.data.ClusterID, Role: "stopped, from " + a.from.dataDir,
		Etcd: a.etcd, DataDir: a.from.dataDir, Log: log, SnapshotObservation: o,
	}, nil
}

// publish gives the proven snapshot its name, through compression, encryption and
// the network where these are wanted.
func (v *saver) publish(ctx context.Context, path string, a origin, revision int64) (final string, err error) {
	name := v.dest.name
	if v.dest.folder {
		name = snapshotName(v.owner(a), revision, time.Now(), v.compress, len(v.recipients) > 0)
	}
	pack := source.PutOptions{Recipients: v.recipients, Compress: v.compress, Progress: v.progress.show}
	if v.dest.remote {
		return source.Put(ctx, path, v.dest.join(name), pack)
	}
	final = filepath.Join(v.dest.dir, name)
	if !v.plain() {
		// What it becomes lies beside its later name, where a kill leaves nothing that
		// the next save does not find.
		work, err := newWork(v.dest.dir, savingPrefix)
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, work.remove()) }()
		if path, err = source.Put(ctx, path, filepath.Join(work.dir, name), pack); err != nil {
			return "", err
		}
	}
	err = etcd.Publish(path, final)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s is there already, and is never written over", final)
	}
	return final, err
}

func (v *saver) plain() bool {
	return !v.dest.remote && len(v.recipients) == 0 && v.compress == ""
}

// workDir is a folder for the plain snapshot. Where that is what is wanted it lies
// beside its later name; an encrypted one's plain bytes never touch the place it
// goes to.
func (v *saver) workDir() (*workFolder, error) {
	if v.plain() {
		return newWork(v.dest.dir, savingPrefix)
	}
	return newWork(os.TempDir(), scratchPrefix)
}

// The names of folders for what is not finished: beside its later name, and below
// TMPDIR.
const (
	savingPrefix  = ".requorum-saving-"
	scratchPrefix = "requorum-saving-"
)

// workFolder is a folder of our own, for what is not finished. As long as its maker
// lives it holds the lock in it.
type workFolder struct {
	dir  string
	lock *os.File
}

func newWork(parent, prefix string) (*workFolder, error) {
	parent, err := filepath.Abs(parent) // an etcd that runs in it has another working folder
	if err != nil {
		return nil, err
	}
	for {
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return nil, err
		}
		lock, err := lockWork(dir, os.O_CREATE)
		switch {
		case err == nil:
			return &workFolder{dir, lock}, nil
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EWOULDBLOCK):
			// Another save took it for what a kill left behind, before it had its lock.
		default:
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
}

// lockWork takes the lock in dir. It is fs.ErrNotExist where there is none, or where it
// was taken away before it was ours.
func lockWork(dir string, flag int) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, flag|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = sameFile(f, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func sameFile(f *os.File, path string) error {
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(path)
	if err == nil && !os.SameFile(ours, there) {
		err = fs.ErrNotExist
	}
	return err
}

// remove takes the folder away: it was made by newWork, and nothing is in it but
// what came from a member, or was made of a directory's copy. The lock goes last:
// what a kill leaves of it is still known for ours.
func (w *workFolder) remove() error {
	entries, err := os.ReadDir(w.dir)
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(w.dir, e.Name())))
		}
	}
	if err == nil {
		err = os.RemoveAll(w.dir)
	}
	w.lock.Close()
	return err
}

const lockName = "lock"

// dropStrays removes what saves that were killed left half done, and names what it
// can't: a folder of ours whose lock nobody holds, and uploads that never ended.
func (v *saver) dropStrays(ctx context.Context) {
	if v.dest.dir != "" {
		v.notes = append(v.notes, dropWork(v.dest.dir, savingPrefix)...)
	}
	v.notes = append(v.notes, dropWork(os.TempDir(), scratchPrefix)...)
	if !v.dest.remote {
		return
	}
	begun, err := source.Unfinished(ctx, v.dest.list())
	if err != nil {
		return // the save itself says what is wrong with the place
	}
	for _, o := range begun {
		v.notes = append(v.notes, fmt.Sprintf("an upload of %s, begun %s, was not finished: it takes room there until it is aborted (aws s3api abort-multipart-upload, or a lifecycle rule)", o.Name, o.ModifiedAt.UTC().Format(time.RFC3339)))
	}
}

// dropWork removes folders of ours that nobody works in any more, and says so.
func dropWork(parent, prefix string) (notes []string) {
	found, err := filepath.Glob(filepath.Join(escapeGlob(parent), prefix+"*"))
	if err != nil {
		return nil
	}
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		lock, err := lockWork(dir, 0)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK): // another save is at work
		case errors.Is(err, fs.ErrNotExist):
			// A kill came between folder and lock: it is empty. Who is only about to lock
			// it makes another one.
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				notes = append(notes, fmt.Sprintf("%s looks like what an interrupted run left, and has no lock in it: it is left alone", dir))
			}
		case err == nil:
			if err = (&workFolder{dir, lock}).remove(); err == nil {
				notes = append(notes, "removed what an interrupted run had left: "+dir)
			}
			fallthrough
		default:
			if err != nil {
				notes = append(notes, fmt.Sprintf("%s is of a run that was interrupted, and can't be removed: %v", dir, err))
			}
		}
	}
	return notes
}

// escapeGlob makes a path stand for itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
