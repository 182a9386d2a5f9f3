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

// hashFile reads the first size bytes once, in order.
func hashFile(ctx context.Context, f *os.File, size int64, progress Progress) (sums, error) {
	s := sums{slot: size%512 == sha256.Size}
	body := size
	if s.slot {
		body -= sha256.Size
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	in := io.NewSectionReader(f, 0, size)
	for done := int64(0); done < body; {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		n, err := io.ReadFull(in, buf[:min(int64(len(buf)), body-done)])
		if err != nil {
			return s, fmt.Errorf("at offset %d: %w", done+int64(n), err)
		}
		h.Write(buf[:n])
		done += int64(n)
		progress.tell("reading the snapshot", done, size)
	}
	h.Sum(s.body[:0])
	if s.slot {
		if _, err := io.ReadFull(in, s.appended[:]); err != nil {
			return s, fmt.Errorf("at offset %d: %w", body, err)
		}
		h.Write(s.appended[:])
	}
	h.Sum(s.whole[:0])
	return s, nil
}
