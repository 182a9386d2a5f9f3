package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/spec"
)

// backupsLimit is how long a list of backups may take: it is asked for while the cluster
// is looked at.
const backupsLimit = 10 * time.Second

// heldBackups is what lies where a cluster's backups are.
type heldBackups struct {
	place   audit.Backups
	objects []source.Object
	// one: the file names a snapshot, not a folder, so that its name need not say what it is.
	one bool
}

// listBackups looks where the file says that backups are, beside whatever else is done:
// what it gives has one value, after backupsLimit at the latest.
func listBackups(ctx context.Context, c *spec.Cluster) <-chan heldBackups {
	k, at := backupsOf(c)
	if at == "" {
		out := make(chan heldBackups, 1)
		out <- k
		return out
	}
	return within(ctx, backupsLimit, k, func(ctx context.Context) heldBackups {
		k := k
		k.look(ctx, at)
		return k
	})
}

// within has look's answer, or otherwise with its problem once the time is up. A call to
// a file system that hangs, a mount whose server is gone, heeds no context and may never
// come back: it is left behind.
func within(ctx context.Context, limit time.Duration, otherwise heldBackups, look func(context.Context) heldBackups) <-chan heldBackups {
	out, done := make(chan heldBackups, 1), make(chan heldBackups, 1)
	ctx, cancel := context.WithTimeout(ctx, limit)
	go func() { done <- look(ctx) }()
	go func() {
		defer cancel()
		select {
		case k := <-done:
			out <- k
		case <-ctx.Done():
			otherwise.place.Problem = fmt.Sprintf("%s gave no list of its files within %s", otherwise.place.Place, limit)
			out <- otherwise
		}
	}()
	return out
}

// backupsOf is where the file says that backups are: in its policy, otherwise where it
// would restore from. The path or URL is "" where there is nothing to look at.
func backupsOf(c *spec.Cluster) (k heldBackups, at string) {
	k.place = audit.Backups{Pos: c.Policy.BackupsPos, MaxAge: allowed(c.Policy.MaxBackupAge, spec.DefaultMaxBackupAge), MaxDrillAge: allowed(c.Policy.MaxDrillAge, spec.DefaultMaxDrillAge)}
	at = c.Policy.Backups
	if at == "" && c.Snapshot != nil {
		at, k.place.Pos = c.Snapshot.Source, c.Snapshot.SourcePos
		scheme, _, isURL := strings.Cut(at, "://")
		switch {
		case at == "" || scheme == "etcd" || scheme == "datadir": // no place of backups
			at = ""
		case c.Snapshot.Sensitive:
			k.place.Place, k.place.Problem = "(sensitive)", "the snapshot's source is not shown to anybody: name the folder in policy { backups }"
			return k, ""
		case isURL && scheme != "s3":
			k.place.Place, k.place.Problem = at, "a web server has no list of its files: name the folder in policy { backups }"
			return k, ""
		}
	}
	if at == "" {
		return k, ""
	}
	k.place.Place = shownObject(at)
	if k.place.MaxAge == 0 && k.place.MaxDrillAge == 0 {
		return k, "" // nobody asks
	}
	return k, at
}

// look lists what lies there.
func (k *heldBackups) look(ctx context.Context, at string) {
	var err error
	if strings.HasPrefix(at, "s3://") {
		k.objects, err = source.List(ctx, folderOf(at))
	} else {
		switch info, serr := os.Stat(at); {
		case errors.Is(serr, fs.ErrNotExist): // there is none, then
		case serr == nil && info.Mode().IsRegular():
			k.objects, k.one = []source.Object{{Name: at, Size: info.Size(), ModifiedAt: info.ModTime()}}, true
		default:
			k.objects, err = source.List(ctx, at)
		}
	}
	if err != nil {
		k.place.Problem = err.Error()
	}
	if folderOf(at) != at {
		k.objects, k.one = only(k.objects, baseOf(at)), true
	}
}

// allowed is an age of the policy's in seconds, 0 for any.
func allowed(age, otherwise int64) int64 {
	switch age {
	case 0:
		return otherwise
	case spec.AnyAge:
		return 0
	}
	return age
}

// folderOf is what a list can be had of: of an object in s3 the prefix above it.
func folderOf(at string) string {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "s3" || strings.HasSuffix(u.Path, "/") {
		return at
	}
	u.Path, u.RawPath = u.Path[:strings.LastIndex(u.Path, "/")+1], ""
	return u.String()
}

func only(list []source.Object, base string) []source.Object {
	for _, o := range list {
		if baseOf(o.Name) == base {
			return []source.Object{o}
		}
	}
	return nil
}

// shownObject is a path or a URL without what says how it is reached.
func shownObject(name string) string {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "s3" {
		return name
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// savedName is a name that snapshot save gives: whose it is, and when.
var savedName = regexp.MustCompile(`^(.+)-[0-9]{1,19}-([0-9]{8}T[0-9]{6}Z)\.db(?:\.zst|\.gz)?(?:\.age)?$`)

// whose reports whether an object is the cluster's, and when it was saved by its name. A
// name that requorum did not give is nobody else's, and says nothing of the time.
func whose(object, cluster, id string) (ours bool, at time.Time) {
	m := savedName.FindStringSubmatch(baseOf(object))
	if m == nil {
		return true, time.Time{}
	}
	owner, _, _ := strings.Cut(m[1], "@")
	name, of, named := strings.Cut(owner, "~")
	at, err := time.Parse(nameTime, m[2])
	switch {
	case err != nil:
		return true, time.Time{}
	case named && id != "":
		return name == fileName(cluster) && of == id[:min(8, len(id))], at
	case named:
		return name == fileName(cluster), at
	}
	return owner == fileName(cluster) || owner == id, at
}

// clocksDiffer is how far another machine's clock may be ahead of ours. A later time was
// not the time of a save, and is not believed: it would be the newest for ever.
const clocksDiffer = 5 * time.Minute

// smallestDB is the smallest database that there is: bbolt begins with four pages.
const smallestDB = 4 * 4096

// snapshotEnding is how the name of a snapshot ends, one of snapshot save's or another's.
var snapshotEnding = regexp.MustCompile(`(?i)\.(?:db|snap|snapshot)(\.zst|\.gz)?(?:\.age)?$`)

// noBackup is why an object can be no snapshot, by its name and size; "" where it can.
// How small a packed one gets depends on what is in it; only an empty one is none.
func (k heldBackups) noBackup(o source.Object) string {
	base := baseOf(o.Name)
	m := snapshotEnding.FindStringSubmatch(base)
	packed := m != nil && m[1] != "" || strings.HasSuffix(base, ".zst") || strings.HasSuffix(base, ".gz")
	switch {
	case m == nil && !k.one:
		return "has not the name of a snapshot, which ends in .db, .snap or .snapshot"
	case o.Size == 0:
		return "is empty"
	case !packed && o.Size < smallestDB:
		return fmt.Sprintf("has %d bytes, and no database is that small", o.Size)
	}
	return ""
}

// of picks the newest of the cluster's, and the last that was tried out.
func (k heldBackups) of(s *session, id string) (audit.Backups, error) {
	b, now := k.place, time.Now()
	if b.Place == "" || b.Problem != "" {
		return b, nil
	}
	var newest time.Time
	for _, o := range k.objects {
		ours, at := whose(o.Name, s.cluster.Name, id)
		if !ours {
			continue
		}
		if at.IsZero() || at.After(now.Add(clocksDiffer)) {
			at = o.ModifiedAt
		}
		why := k.noBackup(o)
		if why == "" && at.After(now.Add(clocksDiffer)) {
			why = "is of a time that is still to come: " + at.UTC().Format(time.RFC3339)
		}
		switch {
		case why != "" && b.Passed == "":
			b.Passed = shownObject(o.Name) + " " + why
		case why == "" && at.After(newest):
			newest, b.Newest = at, audit.Backup{Name: shownObject(o.Name), Seconds: int64(max(0, now.Sub(at)).Seconds())}
		}
	}
	last, err := journal.LastDrill(s.stateDir, func(d journal.Drill) bool {
		ours, _ := whose(d.Source, s.cluster.Name, id)
		return ours && (d.Source == b.Place || dirOf(d.Source) == strings.TrimSuffix(b.Place, "/"))
	})
	if err != nil {
		return b, err
	}
	if last != nil {
		at, err := time.Parse(time.RFC3339, last.Time)
		if err == nil {
			b.Drilled = audit.Backup{Name: last.Source, Seconds: int64(max(0, now.Sub(at)).Seconds())}
		}
	}
	return b, nil
}

func dirOf(name string) string {
	if strings.Contains(name, "://") {
		return name[:strings.LastIndex(name, "/")]
	}
	return filepath.Dir(name)
}
