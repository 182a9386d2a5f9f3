package etcd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/requorum/requorum/planner"
)

const (
	// overrun is how far past its limit a probe may return at the very most.
	overrun = 100 * time.Millisecond
	// grace is how long a member's other URLs may still answer after the first
	// has, so that two that lead to different members are seen.
	grace = 100 * time.Millisecond
)

// Probe asks one member at its client URLs, all at once, and returns within
// limit (the default is 5 s) plus 0.2 s whatever the other side does.
//
// The first URL that serves is reported. Where none does, it is the one that
// came nearest, with the others' outcome in Detail. Where two of the URLs lead to
// different members the Reach is ReachWrongService: one of them is somebody
// else's. The fields after Detail are set only for ReachServing; ID fields are
// hex without padding, sizes are bytes.
//
// Alarms come from Status.Errors, as "NOSPACE on 8e9e05c52164694d"; etcd's own
// alarm list is not asked, since that goes through raft and needs quorum
// (server/etcdserver/apply), whereas Status lists the same ones without.
//
// A password log-in that gets no answer, in a cluster where even Status wants a
// user (3.7), is ReachHangs: the etcd runs, but without quorum it can't check a
// password.
func Probe(ctx context.Context, urls []string, a Access, limit time.Duration) planner.Endpoint {
	answers := race(ctx, urls, limit,
		func(ctx context.Context, url string) planner.Endpoint { return probeOne(ctx, url, a) },
		func(e planner.Endpoint) planner.Reach { return e.Reach })
	if len(answers) == 0 {
		return planner.Endpoint{
			Reach: planner.ReachUnasked, Detail: "the member has no client URL",
			Linearizable: planner.Unknown[bool]("not asked"), Members: planner.Unknown[[]planner.ListedMember]("not asked"),
			Metrics: planner.Unknown[planner.Metrics]("not asked"),
		}
	}
	reaches := make([]planner.Reach, len(answers))
	for i, e := range answers {
		e.URL = urls[i]
		if e.Reach == "" {
			e.Reach, e.Detail = planner.ReachUnasked, "given up before it answered"
		}
		answers[i], reaches[i] = e, e.Reach
	}
	best := answers[nearest(reaches)]
	if best.Reach == planner.ReachServing {
		return contradiction(best, answers)
	}
	best.Detail += others(best.URL, urls, reaches)
	best.Linearizable = planner.Unknown[bool](string(best.Reach))
	best.Members = planner.Unknown[[]planner.ListedMember](string(best.Reach))
	best.Metrics = planner.Unknown[planner.Metrics](string(best.Reach))
	return best
}

// contradiction is best, unless another URL of the same member serves as
// somebody else.
func contradiction(best planner.Endpoint, answers []planner.Endpoint) planner.Endpoint {
	for _, e := range answers {
		if e.Reach != planner.ReachServing || e.MemberID == best.MemberID && e.ClusterID == best.ClusterID {
			continue
		}
		why := fmt.Sprintf("the member's URLs lead to different members: %s is %s of cluster %s, %s is %s of cluster %s",
			best.URL, best.MemberID, best.ClusterID, e.URL, e.MemberID, e.ClusterID)
		return planner.Endpoint{
			URL: best.URL, Reach: planner.ReachWrongService, Detail: why,
			Linearizable: planner.Contradicted[bool](why), Members: planner.Contradicted[[]planner.ListedMember](why),
			Metrics: planner.Contradicted[planner.Metrics](why),
		}
	}
	return best
}

// nearness orders outcomes, nearest to serving first. A refusal is last: it alone
// says that nobody is there, and only where all of the member's URLs say so (S2).
var nearness = []planner.Reach{
	planner.ReachServing, planner.ReachAuth, planner.ReachHangs, planner.ReachTLSFailed, planner.ReachWrongService,
	planner.ReachTimeout, planner.ReachNoRoute, planner.ReachBadName, planner.ReachUnasked, planner.ReachRefused,
}

// nearest is the index of the outcome nearest to serving, the first of equals.
func nearest(reaches []planner.Reach) int {
	for _, want := range nearness {
		for i, r := range reaches {
			if r == want {
				return i
			}
		}
	}
	return 0
}

// others lists how the URLs beside chosen fared: "; URL: outcome" for each.
func others(chosen string, urls []string, reaches []planner.Reach) string {
	var b strings.Builder
	for i, u := range urls {
		if u != chosen {
			fmt.Fprintf(&b, "; %s: %s", u, reaches[i])
		}
	}
	return b.String()
}

// race asks every URL at once and gives the answers in the URLs' order. It ends
// when all have answered, shortly after one serves, or when the limit is over: a
// URL that has not answered by then has T's zero value. It does not wait for an
// ask that ignores its context.
func race[T any](ctx context.Context, urls []string, limit time.Duration,
	ask func(context.Context, string) T, reach func(T) planner.Reach,
) []T {
	if limit <= 0 {
		limit = defaultLimit
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type numbered struct {
		i int
		v T
	}
	in := make(chan numbered, len(urls))
	for i, u := range urls {
		go func() { in <- numbered{i, ask(ctx, u)} }()
	}
	out := make([]T, len(urls))
	last := time.Now().Add(limit + overrun)
	end := time.NewTimer(limit + overrun)
	defer end.Stop()
	cancelled, served := parent.Done(), false
	for i := 0; i < len(urls); i++ {
		select {
		case n := <-in:
			out[n.i] = n.v
			if reach(n.v) == planner.ReachServing && !served {
				served = true
				end.Reset(min(grace, time.Until(last)))
			}
		case <-cancelled: // the asks see it too, and say what they had
			cancelled = nil
			i--
			end.Reset(min(overrun, time.Until(last)))
		case <-end.C:
			return out
		}
	}
	return out
}
