// Package source brings snapshots to this machine and takes them elsewhere.
//
// What Fetch gives is a file of plain bbolt bytes with etcd's sha256 behind
// them, whatever it was before: a path, http://, https:// or s3://BUCKET/KEY; the
// newest file below a folder or prefix; compressed with gzip or zstd, encrypted
// with age, in any order, told by the bytes and never by the name. It proves
// nothing about the snapshot in it: that is snapshot.Verify's.
//
// A file is there whole or not at all. What is being fetched or unpacked lies
// under a name that ends in .part until its end has been seen and synced. What
// was fetched is kept, encrypted still where it was, in Options.Cache under a
// name that holds no secret, so that a plan made again downloads nothing and a
// download that broke off goes on where it stopped, unless the file has another
// ETag or time by then.
//
// Memory is bounded by a few buffers and zstd's window, which may not be above
// 128 MB, however large a file is or says that it would become; the disk is
// asked for room while it is written.
//
// The S3 client is minio-go: gocloud.dev/blob and AWS's own SDK make the binary
// 8.7 to 8.9 MB larger (of 30), it only 1.8, and a download is then a request
// signed by it and made as every other one here: one way to resume, not two. It
// does not read single sign-on profiles.
package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/requorum/requorum/planner"
)

// Options say how Fetch works.
type Options struct {
	// Cache is the folder for what was fetched and what was begun. It is made,
	// 0700, where it is missing. Plain local files need none.
	Cache string
	// Identity is the path of an age identity file; "" for the identities in
	// REQUORUM_AGE_IDENTITY in the environment.
	Identity string
	// Progress is told about long work, in bytes; total is 0 where it is not
	// known. It may be nil.
	Progress func(what string, done, total int64)
	// Hidden says that the source is shown nowhere: errors, progress and
	// File.Origin then have "(sensitive)" in its place.
	Hidden bool
}

func (o Options) tell(what string, done, total int64) {
	if o.Progress != nil {
		o.Progress(what, done, total)
	}
}

// File is a snapshot on this machine.
type File struct {
	// Path has plain bbolt bytes and etcd's appended sha256, if there is one. It
	// is the user's own file where that was plain: never write to it.
	Path string
	// Origin is what to show to people: no password, no query.
	Origin string
	// ModifiedAt is when the source was last changed, RFC 3339, "" if unknown.
	ModifiedAt string
}

// PutOptions say what Put makes of a file on its way.
type PutOptions struct {
	// Recipients are age's, as age-keygen prints them; none leaves it readable.
	Recipients []string
	// Compress is "", "gzip" or "zstd".
	Compress string
	// Progress is told about long work, in bytes. It may be nil.
	Progress func(what string, done, total int64)
}

// Object is one file below a prefix.
type Object struct {
	// Name is what Fetch and Remove take.
	Name       string
	Size       int64
	ModifiedAt time.Time
}

// Problem is why a source can't be used.
type Problem struct {
	Code planner.Code
	// Detail says what was wrong, where, and what to do. No secret is in it.
	Detail string
	// Err is the error behind it, or nil.
	Err error
}

func (p *Problem) Error() string { return p.Detail }

// Unwrap gives the error behind it.
func (p *Problem) Unwrap() error { return p.Err }

func refuse(code planner.Code, err error, format string, args ...any) error {
	return &Problem{Code: code, Detail: fmt.Sprintf(format, args...), Err: err}
}

// asProblem makes every error one with a code.
func asProblem(err error, p place) error {
	var is *Problem
	if err == nil || errors.As(err, &is) {
		return err
	}
	return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be read: %s", p.shown(), p.scrub(err.Error()))
}

// hide is the error of a source that could not even be taken apart.
func hide(err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return refuse(p.Code, nil, "the source, which is sensitive and not shown, can't be used: name a path, http(s):// or s3://BUCKET/KEY")
	}
	return err
}

// Fetch brings what source names to a file on this machine, whole or not at all.
// A folder, or an s3 prefix that ends in "/", stands for the newest file below
// it; File.Origin says which that was. Its errors are *Problem.
func Fetch(ctx context.Context, source string, o Options) (File, error) {
	p, err := parse(source)
	if p.hidden = o.Hidden; err != nil {
		if o.Hidden {
			err = hide(err)
		}
		return File{}, err
	}
	var f File
	switch p.scheme {
	case "":
		f, err = fetchLocal(ctx, p, o)
	case "s3":
		f, err = fetchS3(ctx, p, o)
	default:
		f, err = fetchWeb(ctx, p, o)
	}
	if err != nil {
		return File{}, asProblem(err, p)
	}
	return f, nil
}

// List gives the files right below a prefix (a folder, or s3://BUCKET/PREFIX/),
// the newest first, and by name, the last first, where times are equal. Names
// that begin with "." or are those of half files, hashes, signatures and notes
// (".part", ".sha256", ".json" and others) are none.
func List(ctx context.Context, prefix string) ([]Object, error) {
	p, err := parse(prefix)
	if err != nil {
		return nil, err
	}
	var list []Object
	switch p.scheme {
	case "":
		list, err = listLocal(p)
	case "s3":
		list, err = listS3(ctx, p)
	default:
		err = refuse(planner.CodeSnapshotUnsupported, nil, "%s: a web server has no list of its files: name a folder or s3://BUCKET/PREFIX/", p.shown())
	}
	return list, asProblem(err, p)
}

// Unfinished gives the uploads below an s3 prefix that were begun and neither ended
// nor aborted, by a Put that was killed, say: no list shows them, and they take room.
// Anywhere else there are none.
func Unfinished(ctx context.Context, prefix string) ([]Object, error) {
	p, err := parse(prefix)
	if err != nil || p.scheme != "s3" {
		return nil, err
	}
	list, err := unfinishedS3(ctx, p)
	return list, asProblem(err, p)
}

// Remove removes one file that List named. One that is not there is an error.
func Remove(ctx context.Context, name string) error {
	p, err := parse(name)
	if err != nil {
		return err
	}
	switch p.scheme {
	case "":
		err = removeLocal(p)
	case "s3":
		err = removeS3(ctx, p)
	default:
		err = refuse(planner.CodeSnapshotUnsupported, nil, "%s: nothing is removed from a web server", p.shown())
	}
	return asProblem(err, p)
}

// fetchWeb is Fetch over http and https.
func fetchWeb(ctx context.Context, p place, o Options) (File, error) {
	if p.folder || p.url.Path == "" {
		return File{}, refuse(planner.CodeSnapshotUnsupported, nil, "%s names no file, and a web server has no list to take the newest from: name the file", p.shown())
	}
	return download(ctx, p, o, &transfer{request: func(ctx context.Context) (*http.Request, error) {
		u := *p.url
		u.Scheme = p.scheme
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}})
}

// fetchLocal is Fetch of a path: the file itself where it is plain.
func fetchLocal(ctx context.Context, p place, o Options) (File, error) {
	path, info, err := localFile(p)
	if err != nil {
		return File{}, err
	}
	one := place{path: path, hidden: p.hidden}
	f := File{Path: path, Origin: one.shown(), ModifiedAt: info.ModTime().UTC().Format(time.RFC3339)}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return f, nil // Verify says what is wrong with it
	}
	kind, err := packed(path)
	if err != nil {
		return File{}, unreadable(one, err)
	}
	if kind == "" && (!p.hidden || path == p.path) {
		return f, nil
	}
	// A copy where it is packed; and where its name may not be shown, but is not
	// in the file either, because that names a folder.
	s, err := openStore(ctx, o.Cache, one)
	if err != nil {
		return File{}, err
	}
	defer s.close()
	st := info.Sys().(*syscall.Stat_t)
	id := version{ETag: fmt.Sprint(st.Dev, st.Ino, st.Mtim, st.Ctim), Size: info.Size()}.id()
	f.Path, err = s.plain(ctx, path, id, one, o)
	if err != nil {
		return File{}, err
	}
	s.dropOthers(id)
	return f, nil
}

// download is Fetch of what t transfers.
func download(ctx context.Context, p place, o Options, t *transfer) (File, error) {
	s, err := openStore(ctx, o.Cache, p)
	if err != nil {
		return File{}, err
	}
	defer s.close()
	t.place, t.store, t.o, t.client = p, s, o, webClient(p)
	got, err := t.run(ctx)
	if err != nil {
		return File{}, err
	}
	f := File{Origin: p.shown(), ModifiedAt: got.modifiedAt()}
	f.Path, err = s.settle(ctx, got, p, o)
	return f, err
}

// settle makes a download plain and holds it against its own hash before it is
// trusted: a server that ended early under a length of its own, or a damaged
// disk on the way, must not be believed at the next try too.
func (s *store) settle(ctx context.Context, got fetched, p place, o Options) (path string, err error) {
	kind, err := packed(got.path)
	if err != nil {
		return "", err
	}
	switch {
	case kind != "":
		path, err = s.plain(ctx, got.path, got.id(), p, o)
	case got.fresh:
		path, err = got.path, endsRight(got.path, p)
	default:
		path = got.path
	}
	if problem := (*Problem)(nil); errors.As(err, &problem) && (problem.Code == planner.CodeSnapshotDamaged || problem.Code == planner.CodeSnapshotNotEtcd) {
		s.distrust(got.version)
		return "", err
	}
	if got.fresh { // a missing identity is no reason to fetch it twice
		if trusted := s.trust(got.version); err == nil {
			err = trusted
		}
	}
	return path, err
}

// plain gives the unpacked form of the file at path.
func (s *store) plain(ctx context.Context, path, id string, p place, o Options) (string, error) {
	to := s.path("snapshot-" + id)
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	return to, unpack(ctx, path, to, p, o)
}
