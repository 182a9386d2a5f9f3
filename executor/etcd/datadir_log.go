package etcd

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sort"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/requorum/requorum/planner"
)

// maxSums bounds the entries that can be compared with another log's, at four
// bytes each. Members that are further apart share no entries anyway: a leader
// keeps 5,000 behind its snapshot, taken every 10,000 (etcd 3.6 on), and sends
// laggards the database instead.
const maxSums = 20_000

// course is the log as far as it is whole: entries without a gap between them.
type course struct {
	first uint64   // index of the first entry, 0 for none
	last  position // the last entry
	terms []planner.TermRun
	// sums are those of the entries up to the last, sumsFirst that of the first
	// of them.
	sumsFirst uint64
	sums      []uint32
}

// add takes the log's next entry. One with an index that was there before
// replaces it and all after it (figure 7 of the raft paper).
func (c *course) add(e *raftpb.Entry) {
	index, term := e.GetIndex(), e.GetTerm()
	if c.first == 0 || index < c.first || index > c.last.index+1 {
		*c = course{first: index, sumsFirst: index}
	}
	c.cut(index)
	if n := len(c.terms); n == 0 || c.terms[n-1].Term != term {
		c.terms = append(c.terms, planner.TermRun{Term: term, First: index})
	}
	if len(c.sums) >= 2*maxSums {
		c.trim()
	}
	c.sums = append(c.sums, entrySum(e))
	c.last = position{term, index}
}

// cut drops the entries from index on.
func (c *course) cut(index uint64) {
	if index > c.last.index {
		return
	}
	n := sort.Search(len(c.terms), func(i int) bool { return c.terms[i].First >= index })
	c.terms = c.terms[:n]
	if index <= c.sumsFirst {
		c.sums, c.sumsFirst = c.sums[:0], index
		return
	}
	c.sums = c.sums[:index-c.sumsFirst]
}

func (c *course) trim() {
	if n := len(c.sums) - maxSums; n > 0 {
		c.sums = append(c.sums[:0], c.sums[n:]...)
		c.sumsFirst += uint64(n)
	}
}

// termAt returns the term of an entry, 0 where the log does not have it.
func (c *course) termAt(index uint64) uint64 {
	if c.first == 0 || index < c.first || index > c.last.index {
		return 0
	}
	n := sort.Search(len(c.terms), func(i int) bool { return c.terms[i].First > index })
	return c.terms[n-1].Term
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// entrySum leaves the index out: it is where the sum stands.
func entrySum(e *raftpb.Entry) uint32 {
	var head [12]byte
	binary.BigEndian.PutUint32(head[:], uint32(e.GetType()))
	binary.BigEndian.PutUint64(head[4:], e.GetTerm())
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, e.Data)
}

// log reports the course for comparing it with others. Where a snapshot came
// after the last entry, the entries before it lead nowhere: there is a gap.
func (l *walLog) log() *planner.Log {
	forced := l.forced()
	if end := l.end(); l.first == 0 || end.index > l.last.index {
		return &planner.Log{First: end.index + 1, SumsFirst: end.index + 1, Forced: forced}
	}
	l.trim()
	return &planner.Log{
		First: l.first, Terms: slices.Clone(l.terms),
		SumsFirst: l.sumsFirst, Sums: slices.Clone(l.sums), Forced: forced,
	}
}
