package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"os"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/planner"
)

// Refusal gives the reason why a file was refused, nil where err is something
// else.
func Refusal(err error) *planner.Refusal {
	var bad *problem
	if !errors.As(err, &bad) {
		return nil
	}
	return planner.RefuseFile(bad.code, bad.detail)
}

// openProven opens the bbolt part of a file that Verify has proven.
func openProven(path string, size int64) (*boltfile.File, *os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	db, err := boltfile.Open(f, size)
	if err != nil {
		f.Close()
		return nil, nil, damaged(path, err)
	}
	return db, f, nil
}

// change is one revision of one key.
type change struct {
	key, value []byte // of the record in the db
	main       int64
	tombstone  bool
	kv         *mvccpb.KeyValue // nil for what a revision bump leaves: no key's
}

// at is the revision, main and sub, as it stands in the record's key.
func (c change) at() (rev [16]byte) {
	copy(rev[:8], c.key[:8])
	copy(rev[8:], c.key[9:revisionLen])
	return rev
}

// forEachChange shows every record of the key bucket, in the order of the
// revisions. What it shows is valid until fn returns.
func forEachChange(ctx context.Context, db *boltfile.File, fn func(change) error) error {
	var kv mvccpb.KeyValue
	return db.ForEach(ctx, "key", func(_ string, k, v []byte) error {
		if len(k) != revisionLen && len(k) != tombstoneLen {
			return fmt.Errorf("record %x of the key bucket is no revision", k)
		}
		c := change{key: k, value: v, main: int64(binary.BigEndian.Uint64(k)), tombstone: len(k) == tombstoneLen}
		if len(v) > 0 || c.tombstone {
			proto.Reset(&kv)
			if err := proto.Unmarshal(v, &kv); err != nil {
				return fmt.Errorf("record %x of the key bucket: %w", k, err)
			}
			c.kv = &kv
		}
		return fn(c)
	})
}

// keyNames gives each key a number of 128 bits, so that what is known of a key
// takes the same room however long its name is.
type keyNames [2]maphash.Seed

func newKeyNames() keyNames { return keyNames{maphash.MakeSeed(), maphash.MakeSeed()} }

func (n keyNames) of(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(n[0], key), maphash.Bytes(n[1], key)}
}

// keySum is a digest of a set of live keys that does not depend on their order: the
// sum of each key's own digest, modulo 2^128. It tells a changed, lost or added
// key; it is no protection against somebody who chooses them.
type keySum [2]uint64

func (s *keySum) add(d keySum) {
	var carry uint64
	s[1], carry = bits.Add64(s[1], d[1], 0)
	s[0], _ = bits.Add64(s[0], d[0], carry)
}

func (s *keySum) remove(d keySum) {
	var borrow uint64
	s[1], borrow = bits.Sub64(s[1], d[1], 0)
	s[0], _ = bits.Sub64(s[0], d[0], borrow)
}

func (s keySum) String() string { return fmt.Sprintf("%016x%016x", s[0], s[1]) }

// digestOf is the digest of a live key with all that etcd says of it.
func digestOf(kv *mvccpb.KeyValue) keySum {
	var n [8]byte
	h := sha256.New()
	for _, b := range [][]byte{kv.Key, kv.Value} {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, i := range []int64{kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease} {
		binary.BigEndian.PutUint64(n[:], uint64(i))
		h.Write(n[:])
	}
	d := h.Sum(nil)
	return keySum{binary.BigEndian.Uint64(d), binary.BigEndian.Uint64(d[8:])}
}
