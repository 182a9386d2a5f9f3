package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/requorum/requorum/planner"
)

// rounds is how many plans a walk without a fault may take until nothing is left to do.
const rounds = 6

// deepest is how many steps and faults may lead from a state within bounds to another.
const deepest = 100

// state is one to be planned for.
type state struct {
	in     planner.Input
	file   uint64 // fileKey
	key    uint64
	faults int8    // that may still happen
	cut    *uint64 // where the walk led that was cut here; nil where a fault came before
	from   *trace
}

// trace leads back to where a state came from.
type trace struct {
	parent  *trace
	seed    *seed // of the first
	what    string
	targets []string
	p       planner.Route // of the plan that what is a step of
	depth   int16
}

type seed struct {
	ks   []kind
	c    *circumstance
	size int
}

func (t *trace) root() *trace {
	for t.parent != nil {
		t = t.parent
	}
	return t
}

func (t *trace) length() int {
	n := 0
	for ; t.parent != nil; t = t.parent {
		n++
	}
	return n
}

// lines tell the way from the first state, for people.
func (t *trace) lines() []string {
	if t.parent == nil {
		out := []string{"circumstance: " + t.seed.c.name}
		for i, k := range t.seed.ks {
			out = append(out, slots[i].name+": "+k.String())
		}
		return out
	}
	return append(t.parent.lines(), strings.TrimSpace(string(t.p)+": "+t.what+" "+strings.Join(t.targets, " ")))
}

// known is what is remembered of a state.
type known struct {
	next   uint64 // where the whole plan leads, 0 for nowhere
	faults int8
	verdict
	from *seed
}

// cut is a state in the middle of a walk without faults, which is refused there.
type cut struct {
	end     *uint64 // where the whole of the plan leads
	refusal *planner.Refusal
	from    *trace
}

// verdict numbers the routes, then the refusals.
type verdict uint8

const shards = 64

// search walks the graph of states.
type search struct {
	bound  bound
	shards [shards]struct {
		sync.Mutex
		states map[uint64]known
	}
	findings *findings
	cover    *coverage
}

func newSearch(b bound) *search {
	s := &search{bound: b, findings: newFindings(), cover: newCoverage()}
	for i := range s.shards {
		s.shards[i].states = map[uint64]known{}
	}
	return s
}

// enter reports whether the state is new, or was only seen where no fault was left.
func (s *search) enter(key uint64, faults int8, from *seed) bool {
	x := &s.shards[key%shards]
	x.Lock()
	defer x.Unlock()
	k, ok := x.states[key]
	if ok && k.faults >= faults {
		return false
	}
	k.faults, k.from = faults, from
	x.states[key] = k
	return true
}

func (s *search) note(key uint64, v verdict, next uint64) {
	x := &s.shards[key%shards]
	x.Lock()
	k := x.states[key]
	k.verdict, k.next = v, next
	x.states[key] = k
	x.Unlock()
}

// run explores with so many workers.
func (s *search) run(workers int) (transitions int) {
	var wg sync.WaitGroup
	counts, cuts := make([]int, workers), make([][]cut, workers)
	for i := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := &worker{search: s}
			s.bound.each(i, workers, w.begin)
			counts[i] = w.transitions
			s.cover.merge(&w.cover)
			cuts[i] = w.cuts
		}()
	}
	wg.Wait()
	for _, n := range counts {
		transitions += n
	}
	if s.findings.enough.Load() {
		return transitions // half of a graph proves nothing more
	}
	s.followAll()
	s.judge(slices.Concat(cuts...))
	return transitions
}

// worker explores from the states that the bounds give it.
type worker struct {
	*search
	canon       canon
	stack       []state
	transitions int
	cover       coverage
	cuts        []cut
}

// begin explores from one state within bounds until nothing is left.
func (w *worker) begin(ks []kind, c *circumstance) {
	if w.findings.enough.Load() {
		return
	}
	x := build(ks, c)
	file := fileKey(&x.in)
	key := w.canon.key(&x.in, file)
	faults := int8(0)
	if len(ks) <= w.bound.faults && (c.plain || w.bound.faults > 2 && len(ks) <= 2) {
		faults = 1
	}
	sd := &seed{ks: x.ks, c: c, size: len(ks)}
	if !w.enter(key, faults, sd) {
		return
	}
	sd.ks = slices.Clone(ks) // the enumeration goes on with its own
	w.stack = append(w.stack[:0], state{in: x.in, file: file, key: key, faults: faults, cut: new(uint64), from: &trace{seed: sd}})
	for len(w.stack) > 0 && !w.findings.enough.Load() {
		st := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		w.expand(&st)
	}
}

// expand plans for a state, holds the plan to the rules, and walks it.
func (w *worker) expand(st *state) {
	in := &st.in
	in.Token = freshToken(&in.Observation)
	say := func(rule, why string) { w.findings.add(rule, why, st.from) }
	defer func() {
		if r := recover(); r != nil {
			say(panics, fmt.Sprint(r))
		}
	}()
	p := planner.New(*in)
	v := newVisit(in, p, say)
	v.plan()
	if st.key%61 == 0 {
		if planner.New(*in).Digest() != p.Digest() {
			say(same, "two plans for one input")
		}
	}
	verdict := w.cover.plan(p)
	if p.Refusal != nil || p.Route == planner.RouteInSync {
		if p.Refusal != nil && st.cut != nil && st.from.parent != nil && !v.young() {
			w.cuts = append(w.cuts, cut{st.cut, p.Refusal, st.from})
		}
		w.note(st.key, verdict, 0)
		return
	}
	w.note(st.key, verdict, w.walk(st, v))
}

// walk carries the plan out step by step. At every cut, between steps and within those
// that touch several members, the rest is a state of its own; and so is what a fault
// makes of where it begins.
func (w *worker) walk(st *state, v *visit) (last uint64) {
	p, obs := v.p, st.in.Observation
	before := st.from
	if st.faults > 0 {
		for _, f := range faultsOf(&obs) {
			w.push(st, f.obs, &trace{parent: st.from, what: "FAULT " + f.what, p: p.Route, targets: []string{f.name}}, 0, nil)
		}
	}
	var end *uint64
	if st.cut != nil {
		end = new(uint64)
		defer func() { *end = last }()
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		w.cover.action(s.Kind)
		v.before(s, &obs)
		for _, part := range partsOf(s.Action) {
			if o, err := planner.Predict(obs, part); err == nil {
				w.push(st, o, &trace{parent: before, what: s.Kind + ", in part", p: p.Route, targets: part.Targets()}, st.faults, end)
			}
		}
		next, err := planner.Predict(obs, s.Action)
		if err != nil {
			if s.Kind == (planner.Verify{}).Kind() && v.mute() { // who did not answer goes on so
				return w.push(st, aged(&obs), &trace{parent: before, what: "time passes", p: p.Route}, st.faults, end)
			}
			v.sayf(carried, "%s %v: %v", s.Kind, s.Target, err)
			return 0
		}
		v.after(s, &obs, &next)
		if ok, missing := planner.Holds(s.Action, next); !ok && !v.mute() {
			v.sayf(carried, "%s %v does not hold once it is done: %s", s.Kind, s.Target, missing)
		}
		before = &trace{parent: before, what: s.Kind, p: p.Route, targets: s.Target}
		last = w.push(st, next, before, st.faults, end)
		obs = next
	}
	if last == st.key {
		v.sayf(ends, "the plan (%s) leads back to where it began", p.Route)
		return 0
	}
	return last
}

// push enters what a step or a fault led to.
func (w *worker) push(st *state, obs planner.Observation, from *trace, faults int8, cut *uint64) uint64 {
	w.transitions++
	if from.depth = from.parent.depth + 1; from.depth > deepest {
		w.findings.add(ends, "a walk goes on and on", from)
		return 0
	}
	in := st.in
	in.Observation = obs
	key := w.canon.key(&in, st.file)
	if w.enter(key, faults, from.root().seed) {
		w.stack = append(w.stack, state{in: in, file: st.file, key: key, faults: faults, cut: cut, from: from})
	}
	return key
}

// freshToken is one that the observation does not have yet.
func freshToken(o *planner.Observation) string {
	for _, t := range tokens {
		used := false
		for _, m := range o.Members {
			d := &m.Data.Value
			used = used || strings.HasSuffix(d.Staged, t) || d.Provenance != nil && strings.HasSuffix(d.Provenance.Token, t)
		}
		if !used {
			return t
		}
	}
	panic("a walk has used all tokens")
}

// partsOf are the ways in which a step that touches several members can be cut.
func partsOf(a planner.Action) (out []planner.Action) {
	add := func(n int, first func(int) planner.Action) {
		for i := 1; i < n; i++ {
			out = append(out, first(i))
		}
	}
	switch x := a.(type) {
	case planner.Claim:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Restore:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Install:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Start:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Stop:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Adopt:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Fence:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	case planner.Unfence:
		add(len(x.Members), func(n int) planner.Action { y := x; y.Members = x.Members[:n]; return y })
	}
	return out
}

// followAll follows the whole plans from every state: each walk without a fault ends
// within so many rounds.
func (s *search) followAll() {
	length := map[uint64]int{}
	for i := range s.shards {
		for key := range s.shards[i].states {
			var way []uint64
			n := 0
			for at := key; at != 0; at = s.shards[at%shards].states[at].next {
				if l, ok := length[at]; ok {
					n = l
					break
				}
				length[at] = 1000 // on the way: met again, it is a circle
				way = append(way, at)
			}
			slices.Reverse(way)
			for _, at := range way {
				n++
				length[at] = n
			}
			if n > rounds {
				why := "a walk takes more than six plans"
				if n >= 1000 {
					why = "plans lead in a circle"
				}
				s.findings.add(ends, why, &trace{seed: s.shards[key%shards].states[key].from})
			}
		}
	}
}

// judge holds promise 8 to every cut that is refused: the whole of the plan has to end in
// the same refusal, or the crash is what stands in the way.
func (s *search) judge(cuts []cut) {
	for _, c := range cuts {
		switch c.refusal.Code {
		case planner.CodeTolerance: // its floor is where the plan began, which is higher by then
			continue
		case planner.CodeSnapshotBefore, planner.CodeForeignCluster, planner.CodeDiskFull: // policy and S5 look at what there is at the moment
			continue
		}
		at := *c.end
		for n := 0; at != 0 && n < 2*rounds; n++ {
			next := s.shards[at%shards].states[at].next
			if next == 0 {
				break
			}
			at = next
		}
		if at == 0 || s.shards[at%shards].states[at].verdict != refusalOf(c.refusal.Code) {
			s.findings.add(p8, fmt.Sprintf("cut there, the rest of the way is refused: %s: %s", c.refusal.Code, c.refusal.Detail), c.from)
		}
	}
}
