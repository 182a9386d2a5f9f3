package main

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// finding is a rule that was broken, and the shortest way there that was met.
type finding struct {
	rule, why string
	times     int
	at        *trace
	length    int
}

// findings are kept by rule and by what is wrong, whatever the names.
type findings struct {
	sync.Mutex
	all    map[string]*finding
	until  string      // a finding of this rule is enough
	enough atomic.Bool // and was made
}

func newFindings() *findings { return &findings{all: map[string]*finding{}} }

var named = regexp.MustCompile(`m[1-9]|[0-9a-f]{6,}|[0-9]+|\[[^]]*\]`)

func (f *findings) add(rule, why string, at *trace) {
	kind := rule + ": " + named.ReplaceAllString(why, "#")
	length := 100*len(at.root().seed.ks) + at.length()
	if !at.root().seed.c.plain {
		length += 50
	}
	for _, k := range at.root().seed.ks {
		if !k.plain {
			length += 10
		}
	}
	if rule == f.until {
		f.enough.Store(true)
	}
	f.Lock()
	defer f.Unlock()
	x := f.all[kind]
	if x == nil {
		x = &finding{rule: rule, why: why, at: at, length: length}
		f.all[kind] = x
	}
	if x.times++; length < x.length {
		x.why, x.at, x.length = why, at, length
	}
}

// print shows at most so many for each rule, the shortest first.
func (f *findings) print(out io.Writer, most int) {
	for _, rule := range rules {
		var of []*finding
		for _, x := range f.all {
			if x.rule == rule {
				of = append(of, x)
			}
		}
		slices.SortFunc(of, func(a, b *finding) int {
			if a.length != b.length {
				return a.length - b.length
			}
			return strings.Compare(a.why, b.why)
		})
		for i, x := range of {
			if i == most {
				fmt.Fprintf(out, "%s: %d more kinds\n", rule, len(of)-i)
				break
			}
			fmt.Fprintf(out, "BROKEN %s: %s (%d times)\n", rule, x.why, x.times)
			for _, l := range x.at.lines() {
				fmt.Fprintf(out, "    %s\n", l)
			}
		}
	}
}
