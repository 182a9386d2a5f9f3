package snapshot

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The bounds of what is kept about prefixes, however many a key space has.
const (
	prefixDepth = 5
	prefixBytes = 256
	prefixMost  = 1 << 16
)

// Prefix is the live keys below a prefix.
type Prefix struct {
	// Prefix is as it stands in the keys, quoted as Go does where it is not
	// printable.
	Prefix string `json:"prefix"`
	// Others says that it is only those keys below Prefix that are in no longer
	// prefix of the list.
	Others bool  `json:"others,omitempty"`
	Keys   int   `json:"keys"`
	Bytes  int64 `json:"bytes"` // of keys and values
}

// prefixes counts live keys by what comes before each separator in them.
type prefixes struct {
	sep  []byte
	all  map[string]*tally
	root tally
	most int
	cut  bool // there were more than are kept
}

type tally struct {
	prefix   string
	keys     int
	bytes    int64
	children []*tally
}

func newPrefixes(sep string) *prefixes {
	return &prefixes{sep: []byte(sep), all: map[string]*tally{}, most: prefixMost}
}

// add enters a key, with 1 and its bytes, or takes it away again. A prefix that is
// not kept when its first key comes never is: what is taken away was added.
func (p *prefixes) add(key []byte, keys int, size int64) {
	at := &p.root
	at.keys, at.bytes = at.keys+keys, at.bytes+size
	for end, depth := 0, 0; depth < prefixDepth && len(p.sep) > 0; depth++ {
		i := bytes.Index(key[end:], p.sep)
		if i < 0 {
			return
		}
		if end += i + len(p.sep); end > prefixBytes {
			return
		}
		next := p.all[string(key[:end])]
		if next == nil {
			if len(p.all) >= p.most {
				p.cut = true
				return
			}
			next = &tally{prefix: string(key[:end])}
			p.all[next.prefix] = next
			at.children = append(at.children, next)
		}
		at = next
		at.keys, at.bytes = at.keys+keys, at.bytes+size
	}
}

// groups divides all keys into prefixes that say something: one that has nearly
// all keys, or is nothing but a separator, is divided further, as long as it has
// prefixes of its own and not only keys.
func (p *prefixes) groups() []Prefix {
	list := divide(&p.root)
	for range prefixDepth {
		i := slices.IndexFunc(list, func(g group) bool {
			bare := strings.Trim(g.at.prefix, string(p.sep)) == ""
			return !g.others && (bare || g.at.keys*10 >= p.root.keys*9) && divides(g.at)
		})
		if i < 0 {
			break
		}
		list = slices.Replace(list, i, i+1, divide(list[i].at)...)
	}
	var out []Prefix
	for _, g := range list {
		if g.keys > 0 {
			out = append(out, Prefix{Prefix: shownKey(g.at.prefix), Others: g.others, Keys: g.keys, Bytes: g.bytes})
		}
	}
	return out
}

type group struct {
	at     *tally
	keys   int
	bytes  int64
	others bool
}

func divide(t *tally) []group {
	rest := group{at: t, keys: t.keys, bytes: t.bytes, others: true}
	var out []group
	for _, c := range t.children {
		out = append(out, group{at: c, keys: c.keys, bytes: c.bytes})
		rest.keys, rest.bytes = rest.keys-c.keys, rest.bytes-c.bytes
	}
	return append(out, rest)
}

// divides reports whether dividing says more: most keys are in a prefix, and the
// prefixes are far fewer than the keys.
func divides(t *tally) bool {
	keys, n := 0, 0
	for _, c := range t.children {
		if c.keys > 0 {
			keys, n = keys+c.keys, n+1
		}
	}
	return n > 0 && keys*2 >= t.keys && n*2 <= keys
}

// topPrefixes are the first n by what of gives, then by name.
func topPrefixes(all []Prefix, n int, of func(Prefix) int64) []Prefix {
	list := slices.Clone(all)
	slices.SortFunc(list, func(a, b Prefix) int {
		return cmp.Or(cmp.Compare(of(b), of(a)), cmp.Compare(a.Prefix, b.Prefix))
	})
	return list[:min(n, len(list))]
}

// shownKey is a prefix for people.
func shownKey(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
