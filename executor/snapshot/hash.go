package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// sums are a file's hashes.
type sums struct {
	// slot is whether the length says that a hash is appended
	// (etcdutl/v3/snapshot/v3_snapshot.go hasChecksum).
	slot     bool
	appended [sha256.Size]byte // what stands there
	body     [sha256.Size]byte // of what comes before it
	whole    [sha256.Size]byte
}

// bolt is the hash of the bbolt bytes, in hex.
func (s sums) bolt() string {
	if s.slot {
		return hex.EncodeToString(s.body[:])
	}
	return s.file()
}

// file is the hash of the whole file, in hex.
func (s sums) file() string { return hex.EncodeToString(s.whole[:]) }

// appendedHash is whether a file of this length has a hash at its end.
func appendedHash(size int64) bool { return size%512 == sha256.Size }

// bodySize is the length of the bbolt bytes.
func bodySize(size int64) int64 {
	if appendedHash(size) {
		return size - sha256.Size
	}
	return size
}

// hashFile reads the first size bytes once, in order, and gives the bbolt bytes
// to the sinks on the way.
func hashFile(ctx context.Context, f *os.File, size int64, sinks []sink, progress Progress) (sums, error) {
	s := sums{slot: appendedHash(size)}
	body := bodySize(size)
	h := sha256.New()
	sinks = append([]sink{func(b []byte) error {
		h.Write(b)
		return nil
	}}, sinks...)
	err := fanOut(ctx, f, body, sinks, func(done int64) { progress.tell("reading the snapshot", done, size) })
	if err != nil {
		return s, err
	}
	h.Sum(s.body[:0])
	if s.slot {
		if _, err := io.ReadFull(io.NewSectionReader(f, body, sha256.Size), s.appended[:]); err != nil {
			return s, fmt.Errorf("at offset %d: %w", body, err)
		}
		h.Write(s.appended[:])
	}
	h.Sum(s.whole[:0])
	return s, nil
}
