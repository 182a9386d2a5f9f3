package host

import (
	"context"
	"io"

	"github.com/requorum/requorum/planner"
)

// Files is what brings snapshots from one machine to another. A driver of one
// machine has it beside Host.
type Files interface {
	// Describe says what lies at path.
	Describe(ctx context.Context, path string) (File, error)
	// Give writes the file at path to w, from a byte on, and gives the sha256, in
	// hex, of the whole of it.
	Give(ctx context.Context, path string, from int64, w io.Writer) (sum string, err error)
	// Take makes a file of what fill writes and gives its path: beside the member
	// that it is for, on the same file system, readable for nobody else. What an
	// interrupted Take left is gone on with: fill is told from which byte on. It is
	// refused before anything is written where there is no room, for it and for what
	// is to be made of it, and whatever arrives otherwise than the sum that fill
	// gives is dropped.
	Take(ctx context.Context, in Incoming, fill Fill) (path string, err error)
	// Drop removes what Take made; nothing where there is nothing.
	Drop(ctx context.Context, in Incoming) error
}

// Fill writes a file's bytes, from one on, and gives the sha256 of the whole.
type Fill func(from int64, w io.Writer) (sum string, err error)

// File is what is known of a snapshot's file before it is read.
type File struct {
	Size int64 `json:"size"`
	// Record is what a recovery wrote down about its snapshot, beside it; nil for
	// other files.
	Record []byte `json:"record,omitempty"`
}

// Incoming is a file that comes from elsewhere.
type Incoming struct {
	// Places are those that it is for; it lies beside the first.
	Places []planner.Place `json:"places"`
	// Key tells it from other files, and is its name.
	Key  string `json:"key"`
	Size int64  `json:"size"`
	// Keep has it stay for good, with the snapshots that were saved of the member;
	// otherwise it is used and dropped.
	Keep bool `json:"keep,omitempty"`
}

// Several is a Host of several machines.
type Several interface {
	Host
	// On is the machine that members with this Place.Host live on.
	On(name string) Host
	// Deliver brings a file of this machine to another one, to be kept there, and
	// gives its path there.
	Deliver(ctx context.Context, path string, in Incoming, progress Progress) (string, error)
}

// On is the machine that members with this Place.Host live on: h itself, where it
// is only one.
func On(h Host, name string) Host {
	if s, ok := h.(Several); ok {
		return s.On(name)
	}
	return h
}

// UnknownError says that a request was made of a machine and that it is not known
// what became of it.
type UnknownError struct {
	Host string // as it is called
	Err  error
}

// Error implements error.
func (e *UnknownError) Error() string {
	return e.Host + ": the connection was lost, and whether it was done is unknown: plan again (" + e.Err.Error() + ")"
}

// Unwrap gives the cause.
func (e *UnknownError) Unwrap() error { return e.Err }
