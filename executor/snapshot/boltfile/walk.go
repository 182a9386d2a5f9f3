package boltfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// Record is told of every record of a bucket in the order of the keys, once for
// each. The slices are valid until it returns.
type Record func(bucket string, key, value []byte) error

// Walk proves the whole structure and shows every record on the way: each page
// reached once, in bounds, of the right kind; keys in order within pages and
// against their ancestors; no page both free and in use, none lost (bbolt
// tx_check.go). begin is told of each bucket, empty ones too; both functions may
// be nil. The error is a *DamageError, one of reading, ctx's, or a function's.
func (f *File) Walk(ctx context.Context, begin func(bucket string) error, fn Record) error {
	w := &walker{f: f, ctx: ctx, reached: newBitmap(f.highWater)}
	w.reached.set(0)
	w.reached.set(1)
	free, err := w.readFreelist()
	if err != nil {
		return err
	}
	buckets, err := w.buckets()
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if begin != nil {
			if err := begin(b.name); err != nil {
				return err
			}
		}
		if err := w.bucket(b, fn); err != nil {
			return err
		}
	}
	return w.account(free)
}

// Buckets names the buckets, in order.
func (f *File) Buckets() ([]string, error) {
	list, err := (&walker{f: f, ctx: context.Background()}).buckets()
	var names []string
	for _, b := range list {
		names = append(names, b.name)
	}
	return names, err
}

// ForEach shows the records of one bucket and checks only the pages on its way.
// A bucket that does not exist has no records.
func (f *File) ForEach(ctx context.Context, bucket string, fn Record) error {
	w := &walker{f: f, ctx: ctx}
	buckets, err := w.buckets()
	if err != nil {
		return err
	}
	for _, b := range buckets {
		if b.name == bucket {
			return w.bucket(b, fn)
		}
	}
	return nil
}

// Get returns a copy of one value, nil where there is none.
func (f *File) Get(bucket, key string) ([]byte, error) {
	var found []byte
	err := f.ForEach(context.Background(), bucket, func(_ string, k, v []byte) error {
		if string(k) == key {
			found = append([]byte{}, v...)
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return found, err
}

var errStop = errors.New("stop")

// Last returns a copy of a bucket's last record, nil where it has none. It reads
// one path through the tree.
func (f *File) Last(bucket string) (key, value []byte, err error) {
	w := &walker{f: f, ctx: context.Background()}
	buckets, err := w.buckets()
	if err != nil {
		return nil, nil, err
	}
	for _, b := range buckets {
		if b.name != bucket {
			continue
		}
		n, err := w.rootNode(b)
		for depth := 0; err == nil && n.branch; depth++ {
			if depth > maxDepth {
				return nil, nil, n.damage("the tree is deeper than %d pages", maxDepth)
			}
			n, _, err = f.readNode(n.child(n.count-1), nil)
		}
		if err != nil || n.count == 0 {
			return nil, nil, err
		}
		return bytes.Clone(n.key(n.count - 1)), bytes.Clone(n.value(n.count - 1)), nil
	}
	return nil, nil, nil
}

type walker struct {
	f       *File
	ctx     context.Context
	reached bitmap   // nil where it is not kept
	bufs    [][]byte // a page buffer for each depth
}

type bucketRef struct {
	name string
	root uint64 // 0 for an inline one
	at   node   // the leaf page that names it
	page []byte // of an inline one
}

// buckets reads the tree of the top level.
func (w *walker) buckets() ([]bucketRef, error) {
	var list []bucketRef
	err := w.tree(w.f.root, func(n node, i int) error {
		if n.flags(i) != flagBucket {
			return n.damage("element %d of the top level is no bucket (flags %#x)", i, n.flags(i))
		}
		v := n.value(i)
		if len(v) < bucketHeader {
			return n.damage("a bucket's header of %d bytes", len(v))
		}
		if binary.LittleEndian.Uint64(v[8:]) != 0 {
			return n.damage("bucket %q has a sequence; etcd uses none", n.key(i))
		}
		b := bucketRef{name: string(n.key(i)), root: binary.LittleEndian.Uint64(v), at: node{id: n.id, off: n.off}}
		if b.root == 0 {
			if len(v) < bucketHeader+pageHeaderSize {
				return n.damage("an inline bucket of %d bytes", len(v))
			}
			b.page = bytes.Clone(v[bucketHeader:])
		}
		list = append(list, b)
		return nil
	})
	return list, err
}

// bucket shows a bucket's records.
func (w *walker) bucket(b bucketRef, fn Record) error {
	show := func(n node, i int) error {
		if n.flags(i) != 0 {
			return n.damage("element %d of bucket %q has flags %#x; etcd has no nested buckets", i, b.name, n.flags(i))
		}
		if fn == nil {
			return nil
		}
		return fn(b.name, n.key(i), n.value(i))
	}
	if b.root != 0 {
		return w.tree(b.root, show)
	}
	n, err := w.rootNode(b)
	if err != nil {
		return err
	}
	return w.leaf(n, bounds{}, show)
}

func (w *walker) rootNode(b bucketRef) (node, error) {
	if b.root != 0 {
		n, _, err := w.f.readNode(b.root, nil)
		return n, err
	}
	n, err := parseNode(b.at.id, b.at.off, binary.LittleEndian.Uint16(b.page[8:]), b.page)
	le := binary.LittleEndian
	if err == nil && (n.branch || n.end(n.count-1) != int64(len(b.page)) || le.Uint64(b.page) != 0 || le.Uint32(b.page[12:]) != 0) {
		err = n.damage("inline bucket %q is no leaf of its own length", b.name)
	}
	return n, err
}

// bounds are what an ancestor says of a page's keys: min <= key < max.
type bounds struct{ min, max []byte }

func (w *walker) tree(root uint64, show func(node, int) error) error {
	return w.page(root, 0, bounds{}, show)
}

func (w *walker) page(id uint64, depth int, in bounds, show func(node, int) error) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return &DamageError{id, int64(id) * w.f.pageSize, fmt.Sprintf("the tree is deeper than %d pages", maxDepth)}
	}
	for len(w.bufs) <= depth {
		w.bufs = append(w.bufs, nil)
	}
	n, buf, err := w.f.readNode(id, w.bufs[depth])
	w.bufs[depth] = buf
	if err != nil {
		return err
	}
	if err := w.reach(n.id, n.pages(w.f.pageSize)); err != nil {
		return err
	}
	if n.count == 0 && depth > 0 {
		// It also bounds the walk: every page shows a new key.
		return n.damage("an empty page below the root")
	}
	if !n.branch {
		return w.leaf(n, in, show)
	}
	return w.branch(n, depth, in, show)
}

func (w *walker) branch(n node, depth int, in bounds, show func(node, int) error) error {
	for i := range n.count {
		if err := inOrder(n, i, in); err != nil {
			return err
		}
		child := bounds{min: n.key(i), max: in.max}
		if i+1 < n.count {
			child.max = n.key(i + 1)
			if bytes.Compare(child.min, child.max) >= 0 {
				return n.damage("keys %d and %d are not in order", i, i+1)
			}
		}
		if err := w.page(n.child(i), depth+1, child, show); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) leaf(n node, in bounds, show func(node, int) error) error {
	for i := range n.count {
		if err := inOrder(n, i, in); err != nil {
			return err
		}
		if err := show(n, i); err != nil {
			return err
		}
	}
	return nil
}

func inOrder(n node, i int, in bounds) error {
	k := n.key(i)
	switch {
	case i > 0 && bytes.Compare(n.key(i-1), k) >= 0:
		return n.damage("keys %d and %d are not in order", i-1, i)
	case i == 0 && in.min != nil && bytes.Compare(k, in.min) < 0:
		return n.damage("its first key is smaller than its ancestor says")
	case in.max != nil && bytes.Compare(k, in.max) >= 0:
		return n.damage("key %d is greater than its ancestor says", i)
	}
	return nil
}

// reach notes that pages are in use and refuses a second use.
func (w *walker) reach(id, count uint64) error {
	if w.reached == nil {
		return nil
	}
	for p := id; p < id+count; p++ {
		if w.reached.has(p) {
			return &DamageError{p, int64(p) * w.f.pageSize, "the page is used twice"}
		}
		w.reached.set(p)
	}
	return nil
}

// readFreelist returns the free pages, nil where the file keeps no list (etcd's
// do not on Linux: server/storage/backend/config_linux.go).
func (w *walker) readFreelist() (bitmap, error) {
	f := w.f
	if f.freelist == noFreelist {
		return nil, nil
	}
	buf, flags, err := f.readPage(f.freelist, nil)
	if err != nil {
		return nil, err
	}
	n := node{id: f.freelist, off: int64(f.freelist) * f.pageSize, data: buf}
	if flags != flagFreelist {
		return nil, n.damage("no freelist page (flags %#x)", flags)
	}
	if err := w.reach(n.id, n.pages(f.pageSize)); err != nil {
		return nil, err
	}
	ids := buf[pageHeaderSize:]
	count := uint64(binary.LittleEndian.Uint16(buf[10:]))
	if count == 0xFFFF {
		count, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return nil, n.damage("a freelist of %d pages does not fit on it", count)
	}
	free := newBitmap(f.highWater)
	for ; count > 0; count, ids = count-1, ids[8:] {
		p := binary.LittleEndian.Uint64(ids)
		if p < 2 || p >= f.highWater || free.has(p) {
			return nil, n.damage("the freelist names page %d wrongly", p)
		}
		free.set(p)
	}
	return free, nil
}

// account finds pages that are both free and in use, or neither.
func (w *walker) account(free bitmap) error {
	if free == nil {
		return nil
	}
	for p := range w.f.highWater {
		switch {
		case free.has(p) && w.reached.has(p):
			return &DamageError{p, int64(p) * w.f.pageSize, "the page is in use and free at once"}
		case !free.has(p) && !w.reached.has(p):
			return &DamageError{p, int64(p) * w.f.pageSize, "the page is neither in use nor free: records may be missing"}
		}
	}
	return nil
}

type bitmap []uint64

func newBitmap(n uint64) bitmap    { return make(bitmap, n/64+1) }
func (b bitmap) has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitmap) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
