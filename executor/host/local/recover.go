package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/executor/survivor"
	"github.com/requorum/requorum/planner"
)

// recoverWork is where the copy of a survivor lies while a recovery is at work.
func recoverWork(l host.Layout) string { return filepath.Join(l.Recovered(), "work") }

// Prove implements host.Host.
func (d *Driver) Prove(ctx context.Context, places []planner.Place, progress host.Progress) (map[string]string, error) {
	out := map[string]string{}
	var whole []survivor.Dir
	for _, p := range places { // one after the other: they may share a disk
		l, err := layout(p)
		if err != nil {
			continue
		}
		dataDir, walDir := l.DataDir, l.WALDir
		if s, ok := fenced(l); ok {
			dataDir, walDir = s.dataDir(), s.walDir(l)
		}
		if data := etcd.ReadDataDir(dataDir, walDir); !data.Known() || data.Value.State != planner.DirPresent || data.Value.HeldBy != 0 {
			continue
		}
		err = survivor.Prove(ctx, dataDir, walDir, progress)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out[p.Name] = ""
		if err != nil {
			out[p.Name] = err.Error()
			continue
		}
		whole = append(whole, survivor.Dir{Name: p.Name, DataDir: dataDir, WALDir: walDir})
	}
	if len(whole) < 2 {
		return out, nil
	}
	differ, err := survivor.Compare(ctx, whole, progress)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, differ)
	return out, nil
}

// Recover implements host.Host.
func (d *Driver) Recover(ctx context.Context, a planner.Recover, progress host.Progress) (err error) {
	ctx, end, err := d.under(ctx, a.Place)
	if err != nil {
		return err
	}
	defer end(&err)
	l, err := layout(a.Place)
	if err == nil {
		err = d.recover(ctx, l, a, progress)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	return nil
}

func (d *Driver) recover(ctx context.Context, l host.Layout, a planner.Recover, progress host.Progress) error {
	if a.InPlace != nil && recovered(l, a.InPlace) || a.InPlace == nil && made(a) {
		return nil
	}
	dataDir, walDir, err := recoverSource(l, a)
	if err != nil {
		return err
	}
	if err := isOver(dataDir, walDir, planner.Identity{ClusterID: a.ClusterID, MemberID: a.MemberID}); err != nil {
		return err
	}
	if err := settle(l); err != nil {
		return err
	}
	if err := removeOwn(l, recoverWork(l)); err != nil { // of an interrupted one
		return err
	}
	r, err := d.recoverRequest(ctx, l, a)
	r.DataDir, r.WALDir = dataDir, walDir
	if err != nil {
		return err
	}
	if _, err := survivor.Recover(ctx, r, progress); err != nil || a.InPlace == nil {
		return err
	}
	if err := goOn(ctx); err != nil {
		return err
	}
	return complete(pending{l, a.Name, *a.InPlace})
}

// recoverSource is what is copied: the member's data behind its fence, or the
// directory that the file names, which nobody may have open.
func recoverSource(l host.Layout, a planner.Recover) (dataDir, walDir string, err error) {
	if a.From != nil {
		from, err := layout(planner.Place{Name: "the source", DataDir: a.From.DataDir, WALDir: a.From.WALDir})
		if err == nil && a.InPlace != nil {
			err = errors.New("a directory that is at no member's place can't go on in place")
		}
		return from.DataDir, from.WALDir, err
	}
	s, ok := fenced(l)
	if !ok {
		return "", "", fmt.Errorf("%s is not fenced: a survivor is copied only when nothing can write to it any more", l.DataDir)
	}
	return s.dataDir(), s.walDir(l), nil
}

// recovered reports whether a recovery in place is staged, or in place already.
func recovered(l host.Layout, p *planner.Provenance) bool {
	now, err := readProvenance(l)
	return err == nil && now.Token == p.Token && (stagedToken(l) == p.Token || installed(l, p))
}

// made reports whether the snapshot of this very request is there: the survivor's
// own place may have got other data by now.
func made(a planner.Recover) bool {
	r, err := survivor.ReadRecord(a.Out)
	return err == nil && !r.InPlace && r.ClusterID == a.ClusterID && r.MemberID == a.MemberID &&
		r.LastTerm == a.LastTerm && r.LastIndex == a.LastIndex && r.Upto == a.Upto
}

// recoverRequest makes the folders that the recovery needs; whether there is room
// for what it makes (S20) it finds out itself.
func (d *Driver) recoverRequest(ctx context.Context, l host.Layout, a planner.Recover) (survivor.Request, error) {
	r := survivor.Request{
		Work:      recoverWork(l),
		ClusterID: a.ClusterID, MemberID: a.MemberID, LastTerm: a.LastTerm, LastIndex: a.LastIndex, Upto: a.Upto,
		Out: a.Out,
	}
	var err error
	if r.Command, err = process.Command(d.self, a.Binary, l); err != nil {
		return r, err
	}
	if _, err := host.MkdirAll(l.Recovered()); err != nil {
		return r, err
	}
	if a.InPlace != nil {
		return r, stageInPlace(ctx, &r, l, *a.InPlace)
	}
	_, err = host.MkdirAll(filepath.Dir(a.Out))
	return r, err
}

// stageInPlace has the result staged as a restore's is, its origin recorded first.
func stageInPlace(ctx context.Context, r *survivor.Request, l host.Layout, p planner.Provenance) error {
	if p.Token == "" {
		return errors.New("the recovery in place has no token")
	}
	if err := clearStaging(l, p.Token); err != nil {
		return err
	}
	if err := record(ctx, l, p); err != nil {
		return fmt.Errorf("record the data's origin: %w", err)
	}
	r.OutDataDir = l.StagingData()
	if _, err := host.MkdirAll(l.Staging()); err != nil || l.WALDir == "" {
		return err
	}
	r.OutWALDir = l.StagingWAL()
	_, err := host.MkdirAll(filepath.Dir(r.OutWALDir))
	return err
}

// withRecord enters what a Recover before this restore has written down about the
// snapshot that it made, which no plan can know.
func withRecord(a planner.Restore) (planner.Restore, error) {
	rec, err := survivor.ReadRecord(a.Snapshot)
	if err != nil {
		return a, fmt.Errorf("the record of the recovered snapshot: %w", err)
	}
	a.SHA256 = rec.SHA256
	a.Members = slices.Clone(a.Members)
	for i := range a.Members {
		a.Members[i].Provenance.SHA256, a.Members[i].Provenance.Revision = rec.SHA256, rec.Revision
	}
	return a, nil
}
