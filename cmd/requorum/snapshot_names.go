package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
)

// destination is where a snapshot goes.
type destination struct {
	remote bool
	folder bool     // the name is made here
	dir    string   // of a local one
	prefix *url.URL // of a remote one: to its last slash, and what says how it is reached
	name   string   // where it is one file
}

// newDestination looks at the place before anything is read from a member.
func newDestination(ctx context.Context, to string) (destination, error) {
	if scheme, _, ok := strings.Cut(to, "://"); ok {
		if scheme != "s3" {
			return destination{}, fmt.Errorf("--to: a snapshot is saved to a path or to s3://BUCKET/KEY, not to %s://", scheme)
		}
		u, err := url.Parse(to)
		if err != nil || u.Host == "" || u.Path == "" { // the text may hold a secret
			return destination{}, errors.New("--to: s3://BUCKET/KEY, or s3://BUCKET/ for a name that is made")
		}
		d := destination{remote: true, prefix: u}
		u.Path, d.name = path.Split(u.Path)
		u.RawPath, d.folder = "", d.name == ""
		return d, d.taken(ctx)
	}
	info, err := os.Stat(to)
	switch {
	case err == nil && info.IsDir():
		return destination{folder: true, dir: to}, nil
	case err == nil:
		return destination{}, fmt.Errorf("--to: %s is there already, and is never written over", to)
	case !errors.Is(err, fs.ErrNotExist):
		return destination{}, fmt.Errorf("--to: %w", err)
	case strings.HasSuffix(to, "/"):
		return destination{}, fmt.Errorf("--to: there is no folder %s; it is not made, for an unmounted disk looks the same", to)
	}
	d := destination{dir: filepath.Dir(to), name: filepath.Base(to)}
	if info, err := os.Stat(d.dir); err != nil || !info.IsDir() {
		return d, fmt.Errorf("--to: there is no folder %s; it is not made, for an unmounted disk looks the same", d.dir)
	}
	return d, nil
}

// taken refuses an object that is there already.
func (d destination) taken(ctx context.Context) error {
	if d.folder {
		return nil
	}
	list, err := source.List(ctx, d.list())
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(o source.Object) bool { return baseOf(o.Name) == d.name }) {
		return fmt.Errorf("--to: %s is there already, and is never written over", d.join(d.name))
	}
	return nil
}

func (d destination) join(name string) string {
	if d.remote {
		u := *d.prefix
		u.Path += name
		return u.String()
	}
	return filepath.Join(d.dir, name)
}

// list is what to give source.List.
func (d destination) list() string {
	if d.remote {
		return d.prefix.String()
	}
	return d.dir
}

// baseOf is an object's last name.
func baseOf(object string) string {
	if u, err := url.Parse(object); err == nil && u.Scheme == "s3" {
		object = u.Path
	}
	return path.Base(object)
}

// diskMark is in the name of what was made of a data directory.
const diskMark = "~disk"

// owner is whose snapshots stand beside each other: those of one cluster by name and
// ID, with --all of one of its members, and of directories apart from those that a
// member sent. No name that fileName gives has an @ or a ~.
func (v *saver) owner(a origin) string {
	name := fileName(v.cluster)
	if v.dataDir == "" { // else it is the ID
		id := a.clusterID()
		name += "~" + id[:min(8, len(id))]
	}
	if v.all || a.from != nil {
		name += "@" + fileName(a.name())
	}
	if a.from != nil {
		name += diskMark
	}
	return name
}

// namedOfDir tells by its name that requorum made a snapshot of a data directory.
func namedOfDir(object string) bool { return strings.Contains(baseOf(object), diskMark+"-") }

var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// fileName is a name as it can stand in a file's; names that differ stay
// different.
func fileName(name string) string {
	fit := strings.TrimLeft(unfit.ReplaceAllString(name, "_"), ".")
	if fit == name && fit != "" {
		return fit
	}
	return fmt.Sprintf("%s.%x", fit, sha256.Sum256([]byte(name)))[:len(fit)+9]
}

const nameTime = "20060102T150405Z"

// snapshotName is OWNER-REVISION-TIME.db, with what was done to the file behind.
func snapshotName(owner string, revision int64, at time.Time, compress string, encrypted bool) string {
	name := fmt.Sprintf("%s-%d-%s.db", owner, revision, at.UTC().Format(nameTime))
	switch compress {
	case "zstd":
		name += ".zst"
	case "gzip":
		name += ".gz"
	}
	if encrypted {
		name += ".age"
	}
	return name
}

// ownName is a file that this verb wrote.
type ownName struct {
	object   string
	base     string
	at       string // sorts by time
	revision int64
}

// parseOwn reads a name as snapshotName writes it for this owner.
func parseOwn(owner, object string) (ownName, bool) {
	base := baseOf(object)
	m := regexp.MustCompile(`^` + regexp.QuoteMeta(owner) + `-([0-9]{1,19})-([0-9]{8}T[0-9]{6}Z)\.db(?:\.zst|\.gz)?(?:\.age)?$`).FindStringSubmatch(base)
	if m == nil {
		return ownName{}, false
	}
	revision, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return ownName{}, false
	}
	if _, err := time.Parse(nameTime, m[2]); err != nil {
		return ownName{}, false
	}
	return ownName{object, base, m[2], revision}, true
}

// tooMany are those of the list that keep leaves no place for, the oldest first.
// What is newer than the one just written is another save's, which counts ours and
// may remove it.
func tooMany(list []source.Object, owner, written string, keep int) []ownName {
	var own []ownName
	for _, o := range list {
		if n, ok := parseOwn(owner, o.Name); ok {
			own = append(own, n)
		}
	}
	slices.SortFunc(own, func(a, b ownName) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.revision, b.revision), cmp.Compare(a.base, b.base))
	})
	ours := slices.IndexFunc(own, func(n ownName) bool { return n.base == written })
	return own[:max(0, min(ours, len(own)-keep))]
}

// removeOld removes this owner's oldest snapshots beyond --keep.
func (v *saver) removeOld(ctx context.Context, owner, written string) ([]string, error) {
	removed := []string{}
	list, err := source.List(ctx, v.dest.list())
	if err != nil {
		return removed, err
	}
	if !slices.ContainsFunc(list, func(o source.Object) bool { return baseOf(o.Name) == written }) {
		return removed, &refused{planner.RefuseFile(planner.CodeSnapshotMissing, written+" is not listed there")}
	}
	for _, n := range tooMany(list, owner, written, v.keep) {
		var p *source.Problem
		err := source.Remove(ctx, n.object)
		switch {
		case errors.As(err, &p) && p.Code == planner.CodeSnapshotMissing:
			continue // another save was faster
		case err != nil:
			return removed, err
		}
		removed = append(removed, n.object)
	}
	return removed, nil
}
