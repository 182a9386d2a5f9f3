package snapshot

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/requorum/requorum/executor/snapshot/source"
)

// sortMemory is what a sorter holds before it writes a run, in bytes of keys and
// records. Tests make it small.
var sortMemory int64 = 32 << 20

// entryCost is what a key costs in memory beside its bytes.
const entryCost = 96

// sorter keeps the last record that it was given of each key, and gives them in the
// order of the keys. What is too much for memory goes, sorted, to a file without a
// name.
type sorter struct {
	scratch string
	held    map[string][]byte // nil: deleted
	size    int64
	file    *os.File
	room    io.Writer // to its end
	end     int64
	runs    []sortedRun // in the file, the oldest first
}

type sortedRun struct{ from, size int64 }

// add replaces what was given of the key before; a nil record deletes it.
func (s *sorter) add(key, record []byte) error {
	if s.held == nil {
		s.held = map[string][]byte{}
	}
	if old, ok := s.held[string(key)]; ok {
		s.size -= int64(len(old))
	} else {
		s.size += int64(len(key)) + entryCost
	}
	s.size += int64(len(record))
	s.held[string(key)] = bytes.Clone(record)
	if s.size < sortMemory {
		return nil
	}
	return s.spill()
}

// spill writes what is held as one run.
func (s *sorter) spill() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.scratch, "requorum-sorting-") // 0600
		if err != nil {
			return err
		}
		s.file, s.room = f, source.RoomWriter(f, "sort elsewhere (--scratch)")
		// Its name only: nobody else reads it, and it is gone when we are.
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(s.room, 1<<20)
	var n int64
	for _, key := range slices.Sorted(maps.Keys(s.held)) {
		record := s.held[key]
		head := make([]byte, 0, 3*binary.MaxVarintLen64)
		head = binary.AppendUvarint(head, uint64(len(key)))
		head = binary.AppendUvarint(head, uint64(len(record)))
		for _, b := range [][]byte{head, []byte(key), record} {
			m, err := w.Write(b)
			if n += int64(m); err != nil {
				return s.full(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return s.full(err)
	}
	s.runs = append(s.runs, sortedRun{s.end, n})
	s.end += n
	s.held, s.size = nil, 0
	return nil
}

func (s *sorter) full(err error) error {
	return fmt.Errorf("sorting keys in %s: %w", s.file.Name(), err)
}

func (s *sorter) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// merge gives the records of all keys that are not deleted.
func (s *sorter) merge(ctx context.Context, emit func(record []byte) error) error {
	if len(s.runs) == 0 {
		for _, key := range slices.Sorted(maps.Keys(s.held)) {
			if record := s.held[key]; record != nil {
				if err := errors.Join(ctx.Err(), emit(record)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	var h runHeap
	for i, run := range s.runs {
		r := &runReader{age: i, in: bufio.NewReaderSize(io.NewSectionReader(s.file, run.from, run.size), 64<<10)}
		if err := r.next(); err != nil {
			return err
		}
		if !r.ended {
			h = append(h, r)
		}
	}
	heap.Init(&h)
	var last []byte
	seen := false
	for len(h) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := h[0]
		if !seen || !bytes.Equal(r.key, last) { // the newest run's comes first
			last, seen = append(last[:0], r.key...), true
			if len(r.record) > 0 {
				if err := emit(r.record); err != nil {
					return err
				}
			}
		}
		if err := r.next(); err != nil {
			return err
		}
		if r.ended {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// runReader reads one run.
type runReader struct {
	age         int // higher is newer
	in          *bufio.Reader
	key, record []byte
	ended       bool
}

func (r *runReader) next() error {
	k, err := binary.ReadUvarint(r.in)
	if errors.Is(err, io.EOF) {
		r.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	v, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	r.key, r.record = slices.Grow(r.key[:0], int(k))[:k], slices.Grow(r.record[:0], int(v))[:v]
	if _, err := io.ReadFull(r.in, r.key); err != nil {
		return err
	}
	_, err = io.ReadFull(r.in, r.record)
	return err
}

// runHeap has the lowest key first, and of equal ones the newest.
type runHeap []*runReader

func (h runHeap) Len() int { return len(h) }
func (h runHeap) Less(i, j int) bool {
	if c := bytes.Compare(h[i].key, h[j].key); c != 0 {
		return c < 0
	}
	return h[i].age > h[j].age
}
func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)   { *h = append(*h, x.(*runReader)) }
func (h *runHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
