package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/planner"
)

// ExportOptions say which keys Export gives.
type ExportOptions struct {
	Want Want
	// Prefix is what the keys begin with; "" for all.
	Prefix string
	// Revision is as of when; 0 for the newest.
	Revision int64
	// Scratch is the folder for what does not fit in memory; "" for TMPDIR.
	Scratch string
}

// Exported says what was exported.
type Exported struct {
	planner.SnapshotObservation
	At   int64 // the revision as of which
	Keys int
}

// RevisionError says that a store has nothing to show as of a revision, as etcd
// does (mvcc: required revision has been compacted; is a future revision).
type RevisionError struct{ Asked, Compacted, Newest int64 }

// Error implements error.
func (e *RevisionError) Error() string {
	if e.Asked > e.Newest {
		return fmt.Sprintf("revision %d is a future one: the newest is %d", e.Asked, e.Newest)
	}
	return fmt.Sprintf("revision %d has been compacted: there is history from %d to %d", e.Asked, e.Compacted, e.Newest)
}

// Export proves the snapshot at path as Verify does and gives its keys to emit, in
// their order, as etcd would serve them at the revision: the newest version of each
// that is not deleted. What emit is given is its own until it returns. Memory is
// bounded; histories that are larger are sorted in an unnamed file in Scratch.
// progress may be nil. Refusal tells why a file is not taken.
func Export(ctx context.Context, path string, o ExportOptions, emit func(*mvccpb.KeyValue) error, progress func(what string, done, total int64)) (Exported, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return Exported{}, err
	}
	defer f.Close()
	obs, c, err := proveFile(ctx, f, info, o.Want, nil, progress)
	out := Exported{SnapshotObservation: obs, At: o.Revision}
	if err != nil {
		return out, err
	}
	newest := c.revision()
	if out.At == 0 {
		out.At = newest
	}
	// At the compacted revision itself etcd still answers (mvcc/kvstore_txn.go rangeKeys).
	if out.At < c.compacted || out.At < 0 || out.At > newest {
		return out, &RevisionError{o.Revision, c.compacted, newest}
	}
	db, err := boltfile.Open(f, obs.Size)
	if err != nil {
		return out, damaged(path, err)
	}
	s := &sorter{scratch: o.Scratch}
	defer s.close()
	Progress(progress).tell("sorting keys", 0, obs.Size)
	if err := sortKeys(ctx, db, out.At, []byte(o.Prefix), s); err != nil {
		return out, err
	}
	if err := unchanged(f, info); err != nil {
		return out, err
	}
	var kv mvccpb.KeyValue
	return out, s.merge(ctx, func(record []byte) error {
		proto.Reset(&kv)
		if err := proto.Unmarshal(record, &kv); err != nil {
			return err
		}
		out.Keys++
		return emit(&kv)
	})
}

// sortKeys gives every change up to a revision to the sorter.
func sortKeys(ctx context.Context, db *boltfile.File, at int64, prefix []byte, s *sorter) error {
	var kv keyValue
	return db.ForEach(ctx, "key", func(_ string, k, v []byte) error {
		if main := int64(binary.BigEndian.Uint64(k)); main > at || len(v) == 0 {
			return nil // an empty one is what a revision bump leaves
		}
		if err := kv.decode(v); err != nil {
			return fmt.Errorf("record %x of the key bucket: %w", k, err)
		}
		if len(kv.key) < len(prefix) || string(kv.key[:len(prefix)]) != string(prefix) {
			return nil
		}
		if len(k) == tombstoneLen {
			v = nil
		}
		return s.add(kv.key, v)
	})
}
