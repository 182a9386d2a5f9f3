package main

import "slices"

// bound says how far the enumeration goes. An everyday kind or a plain circumstance
// is free; each other one costs a point, and a state may cost so many.
type bound struct {
	name string
	// points is how much a state of so many members may cost, for plain
	// circumstances and for the others.
	points, rare [most + 1]int
	every        int // of so many multisets one is taken, for a quick look; 1 for all
	faults       int // of so many members a walk may meet a fault
}

var bounds = map[string]bound{
	"full":  {name: "full", points: [most + 1]int{0, 1, 2, 1, 0, 0}, rare: [most + 1]int{0, 1, 1, 0, 0, -1}, faults: 3, every: 1},
	"small": {name: "small", points: [most + 1]int{0, 1, 1, 0, -1, -1}, rare: [most + 1]int{0, 1, 0, -1, -1, -1}, faults: 2, every: 1},
}

var tokens = []string{"token-1", "token-2", "token-3", "token-4", "token-5", "token-6", "token-7", "token-8", "token-9"}

// each calls f with every multiset of kinds within bounds, the parts of the work
// shared out by number.
func (b bound) each(part, parts int, f func(ks []kind, c *circumstance)) {
	all, cs := kinds(), circumstances()
	for i, ks := range corners {
		for j := range cs {
			if i%parts == part && (cs[j].only == 0 || len(ks) <= cs[j].only) {
				f(ks, &cs[j])
			}
		}
	}
	n := 0
	for size := 1; size <= most; size++ {
		ks := make([]kind, size)
		var fill func(at, from, cost int)
		fill = func(at, from, cost int) {
			if cost > max(b.points[size], b.rare[size]) {
				return
			}
			if at == size {
				if n++; n%parts == part && n/parts%b.every == 0 && consistent(ks) {
					for i := range cs {
						c := &cs[i]
						limit := b.points[size]
						if !c.plain {
							limit = b.rare[size]
						}
						if cost <= limit && (c.only == 0 || size <= c.only) {
							f(ks, c)
						}
					}
				}
				return
			}
			for i := from; i < len(all); i++ {
				ks[at] = all[i]
				next := cost
				if !all[i].plain {
					next++
				}
				fill(at+1, i, next)
			}
		}
		fill(0, 0, 0)
	}
}

// corners go with every circumstance in every bound: some refusals come from nothing
// smaller.
var corners = [][]kind{
	{{file: voter, list: voter, cond: down}, {file: voter, list: voter, cond: parted}, {file: voter, list: voter, cond: lost}},
	// The one log is longer, the other's term is later: the deposed leader's entries were
	// never agreed on, or (with a tail that deletes) a person is asked for them.
	{{file: voter, list: voter, cond: ahead}, {file: voter, list: voter, cond: newTerm}, {file: voter, list: voter, cond: lost}, {file: voter, list: voter, cond: lost}},
	{{file: voter, list: voter, cond: risky}, {file: voter, list: voter, cond: newTerm}, {file: voter, list: voter, cond: lost}, {file: voter, list: voter, cond: lost}},
	{{file: voter, list: voter, cond: newTerm}, {file: voter, list: learner, cond: ahead}, {file: voter, list: voter, cond: lost}},
	{{file: voter, list: voter, cond: down}, {file: voter, list: voter, cond: down}, {file: voter, list: voter, cond: byItself}},
	{{file: voter, list: voter, cond: disagreeing}, {file: voter, list: voter, cond: staged}},
	{{file: voter, list: voter, cond: disagreeing}, {file: voter, list: none, cond: claimed}, {file: voter, list: none, cond: staged}},
	{{file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: unled}},
	{{file: voter, list: voter, cond: hollow}, {file: voter, list: voter, cond: ready}},
	{{file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: up}, {file: none, list: voter, cond: up}},
	{{file: voter, list: voter, cond: up}, {file: learner, list: learner, cond: up}, {file: voter, list: none, cond: fresh}},
	// One is to be restarted, beside two that have to let it in again.
	{{file: voter, list: voter, cond: up}, {file: voter, list: voter, cond: otherFlags}, {file: voter, list: voter, cond: up}},
	// One was forced to go on alone, and told the others that they were removed.
	{{file: voter, list: voter, cond: forcedDisk}, {file: voter, list: voter, cond: stuck}, {file: voter, list: voter, cond: dying}},
}

// consistent reports whether the kinds can be together: the file names somebody, and
// what refers to the first member finds one there.
func consistent(ks []kind) bool {
	file, others, knows := 0, false, false
	for i, k := range ks {
		if k.file != none {
			file++
			knows = knows || k.serves() && k.cond != elsewhere || k.hasList()
		}
		if k.cond == oldList && !slices.ContainsFunc(ks[i+1:], kind.listed) {
			return false
		}
		others = others || k.file == none
		if k.cond == twin && (i == 0 || ks[0].file == none || !ks[0].listed()) {
			return false
		}
		if k.cond == proxied && (i == 0 || !ks[0].serves()) {
			return false
		}
	}
	moved := 0
	for _, k := range ks {
		if k.moved {
			moved++
		}
	}
	if moved > 2 || moved > 0 && slices.ContainsFunc(ks, func(k kind) bool { return k.cond == held }) {
		return false // who finds whom is too much for one look
	}
	return file > 0 && (knows || !others) // those that the file does not have are known by a list only
}
