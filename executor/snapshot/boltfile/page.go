package boltfile

import (
	"encoding/binary"
	"fmt"
)

// node is a page with its overflow, its elements proven to lie inside.
type node struct {
	id     uint64
	off    int64 // of the page in the file
	branch bool
	count  int
	data   []byte
}

// readPage reads page id with its overflow into buf, which it may replace.
func (f *File) readPage(id uint64, buf []byte) ([]byte, uint16, error) {
	if id < 2 || id >= f.highWater {
		return buf, 0, &DamageError{id, 0, fmt.Sprintf("a page number outside of the database's %d pages", f.highWater)}
	}
	off := int64(id) * f.pageSize
	buf = grow(buf, f.pageSize)
	if _, err := f.r.ReadAt(buf, off); err != nil {
		return buf, 0, fmt.Errorf("page %d (offset %d): %w", id, off, err)
	}
	le := binary.LittleEndian
	if self := le.Uint64(buf); self != id {
		return buf, 0, &DamageError{id, off, fmt.Sprintf("the page says that it is page %d", self)}
	}
	flags, overflow := le.Uint16(buf[8:]), uint64(le.Uint32(buf[12:]))
	if overflow == 0 {
		return buf, flags, nil
	}
	size := int64(1+overflow) * f.pageSize
	if overflow >= f.highWater-id || size > maxNode {
		return buf, 0, &DamageError{id, off, fmt.Sprintf("%d overflow pages reach past the database's end", overflow)}
	}
	buf = grow(buf, size)
	if _, err := f.r.ReadAt(buf[f.pageSize:], off+f.pageSize); err != nil {
		return buf, 0, fmt.Errorf("page %d (offset %d): %w", id, off, err)
	}
	return buf, flags, nil
}

// grow keeps what is in buf.
func grow(buf []byte, n int64) []byte {
	if int64(cap(buf)) >= n {
		return buf[:n]
	}
	return append(make([]byte, 0, n), buf...)[:n]
}

// readNode reads a branch or leaf page of a tree.
func (f *File) readNode(id uint64, buf []byte) (node, []byte, error) {
	buf, flags, err := f.readPage(id, buf)
	if err != nil {
		return node{}, buf, err
	}
	n, err := parseNode(id, int64(id)*f.pageSize, flags, buf)
	if err != nil {
		return node{}, buf, err
	}
	// bbolt allocates what the elements need; old versions took a page more
	// where they filled the last one exactly.
	used, size := n.end(n.count-1), int64(len(buf))
	if size-used > f.pageSize {
		return node{}, buf, n.damage("%d bytes of elements in %d bytes of pages", used, size)
	}
	return n, buf, nil
}

// parseNode checks that the elements lie where bbolt's WriteInodeToPage puts
// them: one behind the other, without a gap.
func parseNode(id uint64, off int64, flags uint16, data []byte) (node, error) {
	n := node{id: id, off: off, data: data}
	switch flags {
	case flagBranch:
		n.branch = true
	case flagLeaf:
	default:
		return n, n.damage("neither a branch nor a leaf page (flags %#x)", flags)
	}
	n.count = int(binary.LittleEndian.Uint16(data[10:]))
	next := int64(pageHeaderSize + n.count*elementSize)
	if next > int64(len(data)) {
		return n, n.damage("%d elements do not fit on it", n.count)
	}
	for i := range n.count {
		pos, klen, vlen := n.extent(i)
		if pos != next {
			return n, n.damage("element %d begins at %d, not at %d", i, pos, next)
		}
		if next += klen + vlen; next > int64(len(data)) {
			return n, n.damage("element %d reaches past the page's end", i)
		}
		if klen == 0 {
			return n, n.damage("element %d has no key", i)
		}
	}
	if n.count == 0 && (n.branch || !blank(data)) {
		return n, n.damage("a page without elements, which should have some")
	}
	return n, nil
}

// blank tells an empty page from one whose count was lost: bbolt writes pages
// from cleared buffers (tx.go write), and an element has a key.
func blank(data []byte) bool {
	for _, b := range data[pageHeaderSize:min(len(data), pageHeaderSize+elementSize)] {
		if b != 0 {
			return false
		}
	}
	return true
}

// extent returns where element i lies from the page's beginning.
func (n node) extent(i int) (pos, klen, vlen int64) {
	le, at := binary.LittleEndian, pageHeaderSize+i*elementSize
	e := n.data[at : at+elementSize]
	if n.branch {
		return int64(at) + int64(le.Uint32(e)), int64(le.Uint32(e[4:])), 0
	}
	return int64(at) + int64(le.Uint32(e[4:])), int64(le.Uint32(e[8:])), int64(le.Uint32(e[12:]))
}

func (n node) end(i int) int64 {
	if i < 0 {
		return pageHeaderSize
	}
	pos, klen, vlen := n.extent(i)
	return pos + klen + vlen
}

func (n node) key(i int) []byte {
	pos, klen, _ := n.extent(i)
	return n.data[pos : pos+klen : pos+klen]
}

func (n node) value(i int) []byte {
	pos, klen, vlen := n.extent(i)
	return n.data[pos+klen : pos+klen+vlen : pos+klen+vlen]
}

func (n node) child(i int) uint64 {
	return binary.LittleEndian.Uint64(n.data[pageHeaderSize+i*elementSize+8:])
}

func (n node) flags(i int) uint32 {
	return binary.LittleEndian.Uint32(n.data[pageHeaderSize+i*elementSize:])
}

// pages is how many pages it takes.
func (n node) pages(pageSize int64) uint64 { return uint64(int64(len(n.data)) / pageSize) }

func (n node) damage(format string, args ...any) error {
	return &DamageError{n.id, n.off, fmt.Sprintf(format, args...)}
}
