// Package boltfile reads bbolt files without bbolt: with plain reads at
// offsets, every bound checked before it is used.
//
// bbolt itself can't be let near a file that nobody has proven yet. It maps the
// file (a file cut short is then a SIGBUS), follows page numbers unchecked, and
// checks itself in a goroutine of its own, where a panic can't be recovered. It
// also takes a shared lock, which makes an etcd that is just starting wait; and
// it waits for the lock of one that runs.
//
// This reader takes no lock, maps nothing, writes nothing and does not panic on
// any bytes. It knows what etcd's files have: buckets at the top level only.
// The format is that of go.etcd.io/bbolt internal/common (meta.go, page.go,
// inode.go, bucket.go), little endian.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// ErrNotBolt says that neither meta page carries bbolt's magic number.
var ErrNotBolt = errors.New("not a bbolt file: neither meta page has its magic number")

// DamageError says where a file's structure is wrong.
type DamageError struct {
	Page   uint64
	Offset int64 // in the file, bytes
	What   string
}

// Error implements error.
func (e *DamageError) Error() string {
	return fmt.Sprintf("page %d (offset %d): %s", e.Page, e.Offset, e.What)
}

const (
	magic         = 0xED0CDAED
	formatVersion = 2
	noFreelist    = ^uint64(0)

	pageHeaderSize = 16
	elementSize    = 16 // of leaf and branch elements alike
	metaSize       = 64
	bucketHeader   = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	minPageSize = 1024
	maxPageSize = minPageSize << 14
	// maxNode bounds what one page with its overflow may take in memory. etcd
	// refuses requests over a few MiB by default.
	maxNode  = 512 << 20
	maxDepth = 64
)

// File is an open bbolt file, as one of its meta pages has it.
type File struct {
	r    io.ReaderAt
	size int64 // of the file

	pageSize  int64
	root      uint64
	freelist  uint64
	highWater uint64 // first page number that was never used
	txid      uint64
	metaErr   [2]error
}

// Open reads the meta pages of the first size bytes of r and follows the newest
// valid one, as bbolt's Open does. The error is ErrNotBolt, a *DamageError, or
// one of reading. A file shorter than its meta page says is damaged.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	if err := f.findPageSize(); err != nil {
		return nil, err
	}
	best := -1
	var metas [2]meta
	for i := range metas {
		metas[i], f.metaErr[i] = f.readMeta(int64(i) * f.pageSize)
		if f.metaErr[i] == nil && (best < 0 || metas[i].txid > metas[best].txid) {
			best = i
		}
	}
	if best < 0 {
		return nil, &DamageError{0, 0, fmt.Sprintf("invalid database: no valid meta page (%v)", f.metaErr[0])}
	}
	m := metas[best]
	f.root, f.freelist, f.highWater, f.txid = m.root, m.freelist, m.highWater, m.txid
	if m.highWater < 3 || m.highWater > uint64(size/f.pageSize) {
		return nil, &DamageError{uint64(best), int64(best) * f.pageSize, fmt.Sprintf(
			"the database has %d pages of %d bytes, the file has room for %d: it is cut short",
			m.highWater, f.pageSize, size/f.pageSize)}
	}
	return f, nil
}

// PageSize is the size of a page in bytes.
func (f *File) PageSize() int64 { return f.pageSize }

// UsedSize is the number of bytes up to the last page that was ever used. A
// snapshot that etcd saved has exactly these (bbolt Tx.WriteTo).
func (f *File) UsedSize() int64 { return int64(f.highWater) * f.pageSize }

// Transaction is the number of the last one that was committed.
func (f *File) Transaction() uint64 { return f.txid }

// MetaError tells what is wrong with one of the two meta pages, nil for two
// good ones. bbolt then falls back to the transaction before the last.
func (f *File) MetaError() error {
	for i, err := range f.metaErr {
		if err != nil {
			return &DamageError{uint64(i), int64(i) * f.pageSize, err.Error()}
		}
	}
	return nil
}

type meta struct {
	pageSize                        uint32
	root, freelist, highWater, txid uint64
}

var (
	errNoMagic  = errors.New("invalid database: no magic number")
	errVersion  = errors.New("version mismatch: another version of bbolt's format")
	errChecksum = errors.New("checksum error in the meta page")
	errHeader   = errors.New("the meta page's header is not one of a meta page")
)

// readMeta follows bbolt's Meta.Validate.
func (f *File) readMeta(off int64) (meta, error) {
	var b [pageHeaderSize + metaSize]byte
	if off < 0 || off+int64(len(b)) > f.size {
		return meta{}, io.ErrUnexpectedEOF
	}
	if _, err := f.r.ReadAt(b[:], off); err != nil {
		return meta{}, err
	}
	d := b[pageHeaderSize:]
	le := binary.LittleEndian
	if le.Uint32(d) != magic {
		return meta{}, errNoMagic
	}
	if le.Uint32(d[4:]) != formatVersion {
		return meta{}, errVersion
	}
	h := fnv.New64a()
	h.Write(d[:metaSize-8])
	if h.Sum64() != le.Uint64(d[metaSize-8:]) {
		return meta{}, errChecksum
	}
	// bbolt does not look at the header; it never writes another.
	if id := le.Uint64(b[:]); id > 1 || (id == 0) != (off == 0) || le.Uint64(b[8:]) != flagMeta {
		return meta{}, errHeader
	}
	m := meta{pageSize: le.Uint32(d[8:]), root: le.Uint64(d[16:]), freelist: le.Uint64(d[32:]),
		highWater: le.Uint64(d[40:]), txid: le.Uint64(d[48:])}
	if ps := int64(m.pageSize); ps < minPageSize || ps > maxPageSize || ps&(ps-1) != 0 {
		return meta{}, fmt.Errorf("page size %d", ps)
	}
	return m, nil
}

// wrongMeta is whether a meta page is there, but a damaged one.
func wrongMeta(err error) bool {
	return errors.Is(err, errVersion) || errors.Is(err, errChecksum) || errors.Is(err, errHeader)
}

// findPageSize takes it from the first meta page, or, where that is damaged,
// from the second, which may lie at any power of two (bbolt db.go
// getPageSizeFromSecondMeta).
func (f *File) findPageSize() error {
	m, err := f.readMeta(0)
	if err == nil {
		f.pageSize = int64(m.pageSize)
		return nil
	}
	var pathErr error
	seen := wrongMeta(err)
	if !seen && !errors.Is(err, errNoMagic) && !errors.Is(err, io.ErrUnexpectedEOF) {
		pathErr = err
	}
	for ps := int64(minPageSize); ps <= maxPageSize && ps+pageHeaderSize+metaSize <= f.size; ps <<= 1 {
		m, err2 := f.readMeta(ps)
		if err2 == nil && int64(m.pageSize) == ps {
			f.pageSize = ps
			return nil
		}
		seen = seen || wrongMeta(err2)
	}
	if pathErr != nil {
		return pathErr
	}
	if !seen {
		return ErrNotBolt
	}
	return &DamageError{0, 0, fmt.Sprintf("invalid database: no valid meta page (%v)", err)}
}
