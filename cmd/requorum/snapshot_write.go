package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

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
	defer func() { err = v.cleared(f.File, err, work) }()
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
	final, err := v.publish(ctx, path, a, f.Revision)
	if err != nil {
		return f, err
	}
	f.File = final
	f.Source, f.Path = f.File, ""
	if v.keep > 0 {
		if f.Removed, err = v.removeOld(ctx, v.owner(a), baseOf(f.File)); err != nil {
			v.notes = append(v.notes, fmt.Sprintf("%s is saved, but older ones could not be removed: %v", f.File, err))
			err = nil
		}
	}
	return f, nil
}

// cleared removes the work folder. Where a file was published, what is in the way is
// but a note.
func (v *saver) cleared(saved string, err error, work *workFolder) error {
	left := work.remove()
	if left == nil || saved == "" || err != nil {
		return errors.Join(err, left)
	}
	v.notes = append(v.notes, fmt.Sprintf("%s is saved, but %s could not be removed: %v", saved, work.dir, left))
	return nil
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
		defer func() { err = v.cleared(final, err, work) }()
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

// dropStrays removes what saves that were killed left half done, and names what it
// can't: a folder of ours whose lock nobody holds, and uploads that never ended.
func (v *saver) dropStrays(ctx context.Context, from []origin) {
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
	for _, o := range v.unfinished(begun, from, time.Now()) {
		v.notes = append(v.notes, fmt.Sprintf("an upload of %s, begun %s, was not finished, or is still running: if not, it takes room there until it is aborted (aws s3api abort-multipart-upload, or a lifecycle rule)", o.Name, o.ModifiedAt.UTC().Format(time.RFC3339)))
	}
}

// longUpload is for a large file on a slow line.
const longUpload = 6 * time.Hour

// unfinished are those of the uploads that saves to this destination began, and that
// take too long.
func (v *saver) unfinished(begun []source.Object, from []origin, now time.Time) (list []source.Object) {
	for _, o := range begun {
		base := baseOf(o.Name)
		own := base == v.dest.name || v.dest.folder && slices.ContainsFunc(from, func(a origin) bool {
			_, ok := parseOwn(v.owner(a), base)
			return ok
		})
		if own && o.Name == v.dest.join(base) && now.Sub(o.ModifiedAt) > longUpload {
			list = append(list, o)
		}
	}
	return list
}
