package observe

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// snapshot brings the file's snapshot here and proves it. What the plan carries
// is the path of what was proven.
func (o *Observer) snapshot(ctx context.Context, obs *planner.Observation) planner.SnapshotObservation {
	want := o.Cluster.Snapshot
	shown := ShownSource(want)
	if from, ok := want.Live(); ok {
		return o.live(ctx, obs, from)
	}
	if name := want.Survivor(); name != "" {
		s := failed(planner.CodeSnapshotMissing, "%s's data directory, the file's source, holds nothing: %s is %s", name, obs.Members[name].Data.Value.Path, obs.Members[name].Data.Value.State)
		s.Source = shown
		return s
	}
	if want.IsDataDir() {
		s := o.dir(ctx, want)
		s.Source = shown
		return s
	}
	f, err := source.Fetch(ctx, want.Source, source.Options{
		Cache: o.CacheDir, Identity: want.Identity, Progress: o.Progress, Hidden: want.Sensitive,
	})
	if err != nil {
		s := planner.SnapshotObservation{Source: shown, Problem: planner.CodeSnapshotUnreadable, Detail: err.Error()}
		var p *source.Problem
		if errors.As(err, &p) {
			s.Problem = p.Code
		}
		return s
	}
	s := snapshot.Verify(ctx, f.Path, snapshot.Want{SHA256: want.SHA256, SkipHashCheck: want.SkipHashCheck}, o.Progress)
	s.Source = f.Origin
	if f.ModifiedAt != "" {
		s.ModifiedAt = f.ModifiedAt
	}
	if t, err := time.Parse(time.RFC3339, s.ModifiedAt); err == nil {
		s.Weeks = max(0, int(time.Since(t)/(7*24*time.Hour)))
	}
	own := f.Path == want.Source
	if s.Problem != "" && f.Path != f.Origin && !own {
		s.Detail = strings.ReplaceAll(s.Detail, f.Path, f.Origin) + "; it was read from " + f.Path + ": remove that to fetch it anew"
	}
	if want.Sensitive && own {
		// Whatever is observed may be shown; the executor takes the path from
		// the file. What lies in the cache has a name that may be shown.
		s.Path = shown
		s.Detail = strings.ReplaceAll(s.Detail, want.Source, shown)
	}
	return s
}

// ShownSource is a snapshot's source as it may be shown: without credentials,
// and without anything where it came from a sensitive variable.
func ShownSource(s *spec.Snapshot) string {
	if s.Sensitive {
		return "(sensitive)"
	}
	if _, live := s.Live(); live || strings.HasPrefix(s.Source, "datadir://") {
		return s.Source
	}
	if !strings.Contains(s.Source, "://") {
		return filepath.Clean(s.Source)
	}
	u, err := url.Parse(s.Source)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}
