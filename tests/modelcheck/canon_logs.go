package main

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/requorum/requorum/planner"
)

// rankDisks puts the numbers of the logs into the members' colours, each by its place
// among all, and how the logs compare.
func (c *canon) rankDisks() {
	for _, x := range c.disks {
		c.ranks = append(c.ranks, x.d.LastIndex, x.d.Commit, x.d.ConsistentIndex)
		if x.d.Log != nil && x.d.Log.Forced > 0 {
			c.ranks = append(c.ranks, x.d.Log.Forced)
		}
	}
	slices.Sort(c.ranks)
	c.ranks = slices.Compact(c.ranks)
	c.terms = c.terms[:0]
	for _, x := range c.disks {
		c.terms = append(c.terms, x.d.LastTerm)
	}
	slices.Sort(c.terms)
	c.terms = slices.Compact(c.terms)
	for _, x := range c.disks {
		d := x.d
		h := mix(c.rank(d.LastIndex), c.rank(d.Commit))
		h = mix(h, c.rank(d.ConsistentIndex))
		term, _ := slices.BinarySearch(c.terms, d.LastTerm)
		h = bits(mix(h, uint64(term)), d.LastTerm == 0, d.LastTerm <= 1) // a restore's own log is in term 1
		if d.Log != nil && d.Log.Forced > 0 {
			h = mix(h, c.rank(d.Log.Forced))
		}
		first := 0 // the members that a restore writes into the log
		if d.Provenance != nil {
			first = strings.Count(d.Provenance.InitialCluster, "=")
		}
		h = bits(h, d.LastIndex == uint64(first), d.LastIndex == uint64(len(d.Members)), d.Revision > int64(d.LastIndex)+1, d.Revision > 1, d.Revision <= int64(d.ConsistentIndex)+1)
		for _, e := range d.Tail {
			h = bits(text(h, e.Kind), e.Risky, e.Index > d.Commit)
		}
		c.add(x.node, h)
	}
	for i, x := range c.disks {
		for _, y := range c.disks[:i] {
			if v := c.compare(x.d, y.d); v != 0 {
				c.edges = append(c.edges, edge{x.node, y.node, v})
			}
		}
	}
}

// rankRecords does so with the revisions that identities went on from.
func (c *canon) rankRecords(s *planner.SnapshotObservation) {
	if len(c.records) == 0 {
		return
	}
	c.ranks = c.ranks[:0]
	for _, x := range c.records {
		c.ranks = append(c.ranks, uint64(x.p.Revision+x.p.RevisionBump))
	}
	if s != nil {
		c.ranks = append(c.ranks, uint64(s.Revision))
	}
	slices.Sort(c.ranks)
	c.ranks = slices.Compact(c.ranks)
	for _, x := range c.records {
		c.add(x.node, mix(17, c.rank(uint64(x.p.Revision+x.p.RevisionBump))))
	}
	c.ranks = c.ranks[:0]
}

func (c *canon) rank(v uint64) uint64 {
	i, _ := slices.BinarySearch(c.ranks, v)
	return uint64(i)
}

// compare says how two logs differ; 0 where one goes on from the other.
func (c *canon) compare(x, y *planner.DataDir) uint64 {
	if x.Log == nil || y.Log == nil {
		return 0
	}
	a, b := x.Log.Sums, y.Log.Sums
	if unsafe.SliceData(a) == unsafe.SliceData(b) && x.Log.SumsFirst == y.Log.SumsFirst && len(a) > 0 {
		return 0
	}
	shared := false
	for i := max(x.Log.SumsFirst, y.Log.SumsFirst); i-x.Log.SumsFirst < uint64(len(a)) && i-y.Log.SumsFirst < uint64(len(b)); i++ {
		if a[i-x.Log.SumsFirst] != b[i-y.Log.SumsFirst] {
			return 2 + 2*c.rank(i) + map[bool]uint64{true: 1}[shared]
		}
		shared = true
	}
	if !shared {
		return 1
	}
	return 0
}

// refine gives each node the colour of what it is and of what it is connected with,
// three times over, and sums up the first nodes.
func (c *canon) refine(members int) uint64 {
	c.color = append(c.color[:0], c.local...)
	c.next = slices.Grow(c.next[:0], len(c.local))[:len(c.local)]
	c.atom = slices.Grow(c.atom[:0], len(c.atoms))[:len(c.atoms)]
	for range 3 {
		clear(c.atom)
		for _, o := range c.occs {
			c.atom[o.atom] += mix(c.color[o.node], o.tag)
		}
		copy(c.next, c.local)
		for _, o := range c.occs {
			c.next[o.node] += mix(c.atom[o.atom], o.tag)
		}
		for i := range c.lists {
			x := &c.lists[i]
			x.color = 7
			for j := range x.count {
				x.color += mix(c.color[x.first+j], 8)
			}
		}
		for _, r := range c.refs {
			c.next[r.node] += mix(c.lists[r.list].color, r.tag)
		}
		for _, e := range c.edges {
			c.next[e.a] += mix(c.color[e.b], e.value)
			c.next[e.b] += mix(c.color[e.a], e.value)
		}
		c.color, c.next = c.next, c.color
	}
	sum := uint64(0)
	for i := range members {
		sum += mix(c.color[i], 9)
	}
	return mix(sum, uint64(members))
}
