package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Observe implements host.Host. A place that does not answer before ctx ends (a
// file system that hangs) is unknown.
func (d *Driver) Observe(ctx context.Context, places []planner.Place) (map[string]host.Facts, error) {
	type answer struct {
		name  string
		facts host.Facts
	}
	answers := make(chan answer, len(places))
	out := map[string]host.Facts{}
	for _, p := range places {
		out[p.Name] = unknownFacts("not read in time: does the file system of " + p.DataDir + " hang?")
		go func() { answers <- answer{p.Name, d.observe(ctx, p)} }()
	}
	for range places {
		select {
		case a := <-answers:
			out[a.name] = a.facts
		case <-ctx.Done():
			return out, nil
		}
	}
	return out, nil
}

// Etcds implements host.Host.
func (d *Driver) Etcds(context.Context) []planner.Foreign { return process.Etcds() }

// plansBegun are the saved plans of which there is a mark.
func plansBegun(l host.Layout) planner.Fact[[]string] {
	entries, err := os.ReadDir(l.Runs())
	if err != nil && !notExist(err) {
		return planner.Unknown[[]string](err.Error())
	}
	out := []string{}
	for _, e := range entries {
		if digest, ok := host.RunPlan(strings.TrimSuffix(e.Name(), ".jsonl")); ok {
			out = append(out, digest)
		}
	}
	return planner.Known(out)
}

func unknownFacts(why string) host.Facts {
	return host.Facts{
		Data:      planner.Unknown[planner.DataDir](why),
		Service:   planner.Unknown[planner.Service](why),
		FreeBytes: planner.Unknown[int64](why),
		Plans:     planner.Unknown[[]string](why),
	}
}

func (d *Driver) observe(ctx context.Context, p planner.Place) host.Facts {
	l, err := layout(p)
	if err != nil {
		return unknownFacts(err.Error())
	}
	f := host.Facts{Data: readSettled(l), FreeBytes: freeBytes(l.DataDir), FileSystem: fileSystem(l.DataDir), Base: l.Base(), Received: received(l)}
	if _, err := os.ReadDir(l.Base()); err != nil && !notExist(err) {
		f.Data = planner.Unknown[planner.DataDir](err.Error())
		f.Service = planner.Unknown[planner.Service](err.Error())
		return f
	}
	f.Plans = plansBegun(l)
	f.Service = d.keeper(p, l).status(ctx, f.Data.Value.HeldBy)
	f.Binary = d.unitBinary(ctx, f.Service)
	if f.Data.Known() {
		if err := d.addRecords(l, &f.Data.Value); err != nil {
			f.Data = planner.Unknown[planner.DataDir](err.Error())
		}
	}
	if pid := f.Data.Value.HeldBy; f.Data.Known() && f.Service.Known() && pid > 0 && pid != f.Service.Value.PID {
		f.Service.Value.Foreign = process.Foreign(pid)
	}
	if pid := f.Data.Value.HeldBy; f.Data.Known() && pid > 0 {
		f.Data.Value.Waiting = process.Waiting(l.DataDir, l.WALDir, pid)
	}
	return f
}

// endingTime is how long a process that is ending may hold on to its files.
const endingTime = 2 * time.Second

// readSettled is readPlace that does not take a process which is ending for one that
// runs: it waits until that has let go of its files.
func readSettled(l host.Layout) planner.Fact[planner.DataDir] {
	for end := time.Now().Add(endingTime); ; time.Sleep(10 * time.Millisecond) {
		d := readPlace(l)
		if !process.Ending(d.Value.HeldBy) || time.Now().After(end) {
			return d
		}
	}
}

// readPlace reads what lies at a place, or behind the fence that stands there.
func readPlace(l host.Layout) planner.Fact[planner.DataDir] {
	s, ok := fenced(l)
	if !ok {
		return etcd.ReadDataDir(l.DataDir, l.WALDir)
	}
	behind := etcd.ReadDataDir(s.dataDir(), s.walDir(l))
	if !behind.Known() {
		return behind
	}
	return planner.Known(planner.DataDir{
		Path: l.DataDir, State: planner.DirFenced, Fenced: &behind.Value, HeldBy: behind.Value.HeldBy,
	})
}

// unitBinary is the etcd that a member's unit has of its own, for a file that names
// none; unknown where there is no such unit.
func (d *Driver) unitBinary(ctx context.Context, s planner.Fact[planner.Service]) planner.Fact[planner.Binary] {
	if u := s.Value.Unit; s.Known() && u != nil && len(u.Program) == 1 {
		return d.Binary(ctx, u.Program[0])
	}
	return planner.Fact[planner.Binary]{}
}

// addRecords adds what requorum has written down about the place.
func (d *Driver) addRecords(l host.Layout, data *planner.DataDir) error {
	prov, provErr := readProvenance(l)
	if provErr != nil && !notExist(provErr) {
		prov = nil
	}
	ran, err := hasRun(l, prov)
	if err != nil {
		return err
	}
	data.Provenance, data.EverRan = prov, ran
	data.Staged = stagedToken(l)
	data.ProvenanceAgrees = prov != nil && data.ClusterID == prov.ClusterID && data.MemberID == prov.MemberID &&
		// With a WAL directory of its own the log is swapped before the data: it
		// alone proves nothing as long as the data waits.
		(l.WALDir == "" || data.Staged != prov.Token)
	if data.State == planner.DirAbsent || data.State == planner.DirEmpty || data.State == planner.DirFenced {
		data.Evidence = append(data.Evidence, d.evidence(l, prov, provErr, ran)...)
	}
	return nil
}

// hasRun reports whether etcd was started here since the provenance was
// written, and may have written something.
func hasRun(l host.Layout, prov *planner.Provenance) (bool, error) {
	ran, err := process.ReadRan(l)
	switch {
	case notExist(err):
		return false, nil
	case err != nil:
		// A marker is there, whatever it says.
		_, statErr := os.Stat(l.Ran())
		return statErr == nil, statErr
	case prov != nil && ran.Token != "" && ran.Token != prov.Token:
		return false, nil
	}
	return !ran.Untouched(l.DataDir), nil
}

// freeBytes is the room for an unprivileged user on the file system that path
// is, or would be, on.
func freeBytes(path string) planner.Fact[int64] {
	var st unix.Statfs_t
	err := unix.Statfs(nearest(path), &st)
	if err != nil {
		return planner.Unknown[int64](fmt.Sprintf("%s: %v", path, err))
	}
	return planner.Known(int64(st.Bavail) * st.Bsize)
}

// received is the size of the snap folder's files: the db, and what a leader is
// sending in its place.
func received(l host.Layout) (n int64) {
	entries, _ := os.ReadDir(filepath.Join(l.MemberDir(), "snap"))
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
	}
	return n
}

// fileSystem names the file system that path is, or would be, on.
func fileSystem(path string) string {
	var st unix.Stat_t
	if unix.Stat(nearest(path), &st) != nil {
		return ""
	}
	return fmt.Sprintf("dev %d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
}

// nearest is path, or the nearest folder above it that exists.
func nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
