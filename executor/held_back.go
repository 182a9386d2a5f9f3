package executor

import (
	"context"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
)

const (
	// heldBackAfter is how long a member's peers may be answered before its clients
	// are, until it is taken for one that etcd holds back; see etcd.Cluster.Nudge.
	heldBackAfter = time.Second
	nudgeEvery    = 5 * time.Second
	// glanceEvery is how often a member's place is looked at while it is waited for: a
	// look reads the whole of its log.
	glanceEvery = 500 * time.Millisecond
)

// beside runs something beside a wait, one at a time: the wait itself goes on asking
// its members.
type beside struct {
	ctx  context.Context
	busy chan struct{} // full while something is at work
	next time.Time
}

func newBeside(ctx context.Context, first time.Duration) beside {
	return beside{ctx: ctx, busy: make(chan struct{}, 1), next: time.Now().Add(first)}
}

// do begins f where its time has come, and not again before every has gone by.
func (b *beside) do(every time.Duration, f func(context.Context)) {
	if time.Now().Before(b.next) {
		return
	}
	select {
	case b.busy <- struct{}{}:
	default:
		return
	}
	b.next = time.Now().Add(every)
	go func() {
		defer func() { <-b.busy }()
		f(b.ctx)
	}()
}

// heldBack makes a raft entry through the cluster's other members, again and again,
// while a started member answers its peers and no client.
type heldBack struct {
	r      *Runner
	others []string
	work   beside
	since  map[string]time.Time // when a member was first seen so
	nudged time.Time
}

func (r *Runner) newHeldBack(ctx context.Context, others []string) *heldBack {
	return &heldBack{r: r, others: others, work: newBeside(ctx, 0), since: map[string]time.Time{}}
}

// others are where the members that a starts may be helped from: those that served
// when they were last seen, in the same cluster.
func (r *Runner) others(a planner.Start) []string {
	mine, cluster := map[string]bool{}, ""
	for _, m := range a.Members {
		mine[m.Name], cluster = true, m.ClusterID
	}
	var out []string
	for _, m := range r.Cluster.Members {
		e := r.Seen.Members[m.Name].Client
		if !mine[m.Name] && !a.Closed && e.Reach == planner.ReachServing && !e.Learner && e.ClusterID == cluster {
			out = append(out, e.URL)
		}
	}
	return out
}

// look is told at each poll who gives clients no answer.
func (h *heldBack) look(mute []planner.StartMember) {
	if len(h.others) == 0 || len(mute) == 0 {
		return
	}
	h.work.do(heldBackAfter/2, func(ctx context.Context) {
		for _, m := range mute {
			member, _ := h.r.Cluster.Member(m.Name)
			peer := etcd.ProbePeer(ctx, member.PeerURLs, h.r.Peer, probeLimit)
			first, seen := h.since[m.Name]
			switch {
			case peer.Reach != planner.ReachServing || peer.ClusterID != m.ClusterID:
				delete(h.since, m.Name)
			case !seen:
				h.since[m.Name] = time.Now()
			case time.Since(first) >= heldBackAfter && time.Since(h.nudged) >= nudgeEvery:
				// Where nobody takes it the member is waited for all the same.
				_ = h.r.members(h.others).Nudge(ctx)
				h.nudged = time.Now()
			}
		}
	})
}

// glance is what was seen of members' places.
type glance struct {
	received int64
	lost     map[string]error
}

// glances looks at places beside a wait.
type glances struct {
	r     *Runner
	every time.Duration
	first map[string]int // see hopeless
	work  beside
	seen  chan glance // of one: the next look begins when it is taken
}

func (r *Runner) newGlances(ctx context.Context) *glances {
	return &glances{r: r, every: glanceEvery, work: newBeside(ctx, glanceEvery), seen: make(chan glance, 1)}
}

// at gives what was seen of the places, once; false where there is nothing new.
func (g *glances) at(places []planner.Place) (glance, bool) {
	g.work.do(g.every, func(ctx context.Context) {
		if received, lost := g.r.hopeless(ctx, places, g.first); lost != nil {
			g.seen <- glance{received, lost}
		}
	})
	select {
	case s := <-g.seen:
		return s, true
	default:
		return glance{}, false
	}
}
