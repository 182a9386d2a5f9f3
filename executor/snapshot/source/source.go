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
package source

import (
	"context"
	"errors"
	"fmt"
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
func asProblem(err error, origin string) error {
	var p *Problem
	if err == nil || errors.As(err, &p) {
		return err
	}
	return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be read: %v", origin, err)
}

// Fetch brings what source names to a file on this machine, whole or not at all.
// A folder, or an s3 prefix that ends in "/", stands for the newest file below
// it; File.Origin says which that was. Its errors are *Problem.
func Fetch(ctx context.Context, source string, o Options) (File, error) {
	return File{}, refuse(planner.CodeSnapshotUnsupported, nil, "not built yet")
}

// Put writes the file at path to dest, a path or s3://BUCKET/KEY, atomically: a
// reader sees all of it or nothing. A dest that ends in "/" gets the file's own
// name below it. written is the whole name of what was written, as List, Fetch
// and Remove take it. A local file that is there already is an error.
func Put(ctx context.Context, path, dest string, o PutOptions) (written string, err error) {
	return "", refuse(planner.CodeSnapshotUnsupported, nil, "not built yet")
}

// List gives the files right below a prefix (a folder, or s3://BUCKET/PREFIX/),
// the newest first, and by name, the last first, where times are equal.
func List(ctx context.Context, prefix string) ([]Object, error) {
	return nil, refuse(planner.CodeSnapshotUnsupported, nil, "not built yet")
}

// Remove removes one file that List named. One that is not there is an error.
func Remove(ctx context.Context, name string) error {
	return refuse(planner.CodeSnapshotUnsupported, nil, "not built yet")
}
