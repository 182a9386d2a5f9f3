// Package damage names what every byte of an etcd db is for, so that a test can
// change one and say what has to come of it. It reads bbolt's layout by itself,
// from go.etcd.io/bbolt internal/common, and shares no code with the verifier that
// it is to try.
package damage

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Class says what a change has to lead to.
type Class string

// The classes of bytes.
const (
	// Structure has to be found, whatever the change.
	Structure Class = "structure"
	// Content is what somebody stored, or what etcd counts: without a hash nothing
	// in the db itself need contradict it. Where it is not found, no other record
	// may have changed.
	Content Class = "content"
	// Unused is read by nobody: free pages, and what is left of a page.
	Unused Class = "unused"
)

// Place is a run of bytes with one purpose.
type Place struct {
	Off, Len int
	Class    Class
	What     string
}

// Places divides a db, without an appended hash, into places; every byte is in
// exactly one of them.
func Places(db []byte) ([]Place, error) {
	w := &walk{db: db, size: int(binary.LittleEndian.Uint32(db[24:]))}
	if w.size < 1024 || len(db)%w.size != 0 {
		return nil, fmt.Errorf("pages of %d bytes in %d bytes", w.size, len(db))
	}
	newest := 0
	for i := range 2 {
		at := i * w.size
		w.add(at, 16, Structure, "meta page header")
		w.add(at+16, 64, Structure, "meta page")
		if w.u64(at+64) > w.u64(newest*w.size+64) { // txid
			newest = i
		}
	}
	meta := newest*w.size + 16
	w.compacted = compacted(w, int(w.u64(meta+16)))
	w.page(int(w.u64(meta+16)), "")
	if free := w.u64(meta + 32); free != ^uint64(0) {
		w.freelist(int(free))
	}
	slices.SortFunc(w.places, func(a, b Place) int { return a.Off - b.Off })
	return w.fill()
}

// Change is one changed place of a db.
type Change struct {
	Place
	At   int // of the byte
	Mask byte
}

// Random changes one byte of a random place of a class. All kinds of place are as
// likely as each other, however many bytes they have.
func Random(rnd *rand.Rand, places []Place, class Class) Change {
	byWhat := map[string][]Place{}
	for _, p := range places {
		if p.Class == class {
			byWhat[p.What] = append(byWhat[p.What], p)
		}
	}
	var kinds []string
	for k := range byWhat {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	list := byWhat[kinds[rnd.IntN(len(kinds))]]
	p := list[rnd.IntN(len(list))]
	return Change{Place: p, At: p.Off + rnd.IntN(p.Len), Mask: byte(1 + rnd.IntN(255))}
}

type walk struct {
	db        []byte
	size      int
	compacted uint64
	places    []Place
}

func (w *walk) u16(at int) int    { return int(binary.LittleEndian.Uint16(w.db[at:])) }
func (w *walk) u32(at int) int    { return int(binary.LittleEndian.Uint32(w.db[at:])) }
func (w *walk) u64(at int) uint64 { return binary.LittleEndian.Uint64(w.db[at:]) }

func (w *walk) add(off, n int, class Class, what string) {
	if n > 0 {
		w.places = append(w.places, Place{off, n, class, what})
	}
}

// fill adds what nobody spoke for, and refuses what two did.
func (w *walk) fill() ([]Place, error) {
	var out []Place
	at := 0
	for _, p := range append(w.places, Place{Off: len(w.db)}) {
		if p.Off < at {
			return nil, fmt.Errorf("%s at %d overlaps what is before it", p.What, p.Off)
		}
		if p.Off > at {
			out = append(out, Place{at, p.Off - at, Unused, "unused"})
		}
		if p.Len > 0 {
			out = append(out, p)
		}
		at = p.Off + p.Len
	}
	return out, nil
}

// page adds a page of a tree; bucket is "" for the top level.
func (w *walk) page(id int, bucket string) {
	w.node(id*w.size, bucket)
}

func (w *walk) node(at int, bucket string) {
	w.add(at, 8, Structure, "page number")
	w.add(at+8, 2, Structure, "page flags")
	w.add(at+10, 2, Structure, "page count")
	w.add(at+12, 4, Structure, "page overflow")
	branch := w.u16(at+8) == 1
	for i := range w.u16(at + 10) {
		e := at + 16 + 16*i
		if branch {
			w.add(e, 4, Structure, "branch element position")
			w.add(e+4, 4, Structure, "branch element key length")
			w.add(e+8, 8, Structure, "branch element child")
			// A key that still lies between its neighbours' finds the same records.
			w.add(e+w.u32(e), w.u32(e+4), Content, "branch key")
			w.page(int(w.u64(e+8)), bucket)
			continue
		}
		w.add(e, 4, Structure, "leaf element flags")
		w.add(e+4, 4, Structure, "leaf element position")
		w.add(e+8, 4, Structure, "leaf element key length")
		w.add(e+12, 4, Structure, "leaf element value length")
		k, klen, vlen := e+w.u32(e+4), w.u32(e+8), w.u32(e+12)
		if bucket == "" {
			w.bucket(k, klen, vlen)
		} else {
			w.record(bucket, k, klen, k+klen, vlen)
		}
	}
}

func (w *walk) bucket(k, klen, vlen int) {
	name, v := string(w.db[k:k+klen]), k+klen
	w.add(k, klen, Structure, "bucket name")
	w.add(v, 8, Structure, "bucket root")
	w.add(v+8, 8, Structure, "bucket sequence")
	if root := w.u64(v); root != 0 {
		w.page(int(root), name)
		return
	}
	w.node(v+16, name)
}

func (w *walk) record(bucket string, k, klen, v, vlen int) {
	switch bucket {
	case "key":
		w.revision(k, klen)
		w.keyValue(v, vlen, klen)
	case "lease":
		w.add(k, klen, Structure, "lease ID")
		w.add(v, vlen, Content, "lease")
	case "auth", "meta", "cluster":
		w.add(k, klen, Structure, bucket+" record name")
		w.add(v, vlen, Content, bucket+" record")
	default:
		w.add(k, klen, Content, bucket+" record name")
		w.add(v, vlen, Content, bucket+" record")
	}
}

// revision: without a gap after what was compacted; before that, only a put's own
// record has its main revision a second time.
func (w *walk) revision(k, klen int) {
	main, sub := Structure, Structure
	if binary.BigEndian.Uint64(w.db[k:]) <= w.compacted {
		sub = Content
		if klen == 18 {
			main = Content
		}
	}
	w.add(k, 8, main, "revision ("+string(main)+")")
	w.add(k+8, 1, Structure, "revision mark")
	w.add(k+9, 8, sub, "sub-revision ("+string(sub)+")")
	w.add(k+17, klen-17, Structure, "deletion mark")
}

var kvFields = map[protowire.Number]struct {
	what  string
	class Class
}{
	1: {"key name", Content}, 2: {"create revision", Content}, 3: {"mod revision", Structure},
	4: {"version", Content}, 5: {"value", Content}, 6: {"key's lease", Content},
}

func (w *walk) keyValue(v, vlen, klen int) {
	for end := v + vlen; v < end; {
		num, _, n := protowire.ConsumeTag(w.db[v:end])
		w.add(v, n, Structure, "record tag")
		v += n
		f := kvFields[num]
		x, n := protowire.ConsumeVarint(w.db[v:end])
		if num != 1 && num != 5 {
			w.add(v, n, f.class, f.what)
			v += n
			continue
		}
		w.add(v, n, Structure, "record length of the "+f.what)
		w.add(v+n, int(x), f.class, f.what)
		v += n + int(x)
	}
}

func (w *walk) freelist(id int) {
	at := id * w.size
	w.add(at, 8, Structure, "freelist page number")
	w.add(at+8, 2, Structure, "freelist page flags")
	w.add(at+10, 2, Structure, "freelist page count")
	w.add(at+12, 4, Structure, "freelist page overflow")
	w.add(at+16, 8*w.u16(at+10), Structure, "freelist entry")
}

// compacted finds the revision up to which the db was compacted, or is to be.
func compacted(w *walk, root int) uint64 {
	var rev uint64
	inner := &walk{db: w.db, size: w.size}
	inner.page(root, "")
	for i, p := range inner.places {
		name := string(w.db[p.Off : p.Off+p.Len])
		if p.What == "meta record name" && (name == "scheduledCompactRev" || name == "finishedCompactRev") {
			rev = max(rev, binary.BigEndian.Uint64(w.db[inner.places[i+1].Off:]))
		}
	}
	return rev
}
