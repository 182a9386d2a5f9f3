package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/requorum/requorum/planner"
)

// endsRight holds plain bytes against the sha256 that etcd appended to them. It
// is no proof of a snapshot (snapshot.Verify is), but it tells a file that did
// not come whole from one that did, and a web page from a snapshot.
func endsRight(path string, p place) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if size == 0 {
		return refuse(planner.CodeSnapshotDamaged, nil, "%s is empty (0 bytes): saving or copying it failed; use another snapshot", p.shown())
	}
	// bbolt: 16 bytes of page header, then the magic number.
	head := make([]byte, 20)
	if n, _ := io.ReadFull(f, head); n < len(head) || binary.LittleEndian.Uint32(head[16:]) != 0xED0CDAED {
		return refuse(planner.CodeSnapshotNotEtcd, nil, "%s is no database of etcd: it begins with %q; name a file that etcdctl snapshot save wrote", p.shown(), p.scrub(string(head[:n])))
	}
	switch size % 512 {
	case 0:
		return nil // no hash: what its owner thinks of that is said in the file
	case sha256.Size:
	default:
		return refuse(planner.CodeSnapshotDamaged, nil, "%s was cut short: %d bytes are no whole number of pages, with or without a sha256; fetch it again from where it was saved", p.shown(), size)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.LimitReader(f, size-sha256.Size), make([]byte, 1<<20)); err != nil {
		return err
	}
	tail := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, tail); err != nil {
		return err
	}
	if got := h.Sum(nil); !bytes.Equal(got, tail) {
		return refuse(planner.CodeSnapshotDamaged, nil, "%s: its last 32 bytes are not the sha256 of the rest: expected %x, got %x; it was changed or cut short; fetch it again from where it was saved", p.shown(), tail, got)
	}
	return nil
}
