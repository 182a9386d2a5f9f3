package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/requorum/requorum/planner"
)

// catchUp is how long a follower may take to come to where the leader was when it
// was asked.
const catchUp = 2 * time.Second

// Member is whom to ask, and where.
type Member struct {
	Name string
	URLs []string // client URLs
}

// Candidate is a member to save from, as it answered.
type Candidate struct {
	Name string
	planner.Endpoint
}

func (a Candidate) leads() bool { return a.LeaderID != "" && a.LeaderID == a.MemberID }

// Ask asks members at the same time; the answers are in their order.
func Ask(ctx context.Context, members []Member, a Access, limit time.Duration) []Candidate {
	out := make([]Candidate, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { out[i] = Candidate{m.Name, Probe(ctx, m.URLs, a, limit)} })
	}
	wg.Wait()
	return out
}

// Freshest is the voter that has applied as much as any had when it was asked, and
// not the leader where another gets there within 2 s; ask asks some of them again,
// by name. False where no voter is among those that serve.
func Freshest(ctx context.Context, serving []Candidate, ask func(names []string) []Candidate) (Candidate, bool) {
	var ahead *Candidate
	var followers []string
	for i, a := range serving {
		if a.Reach != planner.ReachServing || a.Learner {
			continue
		}
		if ahead == nil || a.Applied > ahead.Applied || a.Applied == ahead.Applied && ahead.leads() {
			ahead = &serving[i]
		}
		if !a.leads() {
			followers = append(followers, a.Name)
		}
	}
	if ahead == nil {
		return Candidate{}, false
	}
	if !ahead.leads() || len(followers) == 0 {
		return *ahead, true
	}
	for end := time.Now().Add(catchUp); time.Now().Before(end); {
		for _, a := range ask(followers) {
			if a.Reach == planner.ReachServing && a.ClusterID == ahead.ClusterID && a.Applied >= ahead.Applied {
				return a, true
			}
		}
		select {
		case <-ctx.Done():
			return *ahead, true
		case <-time.After(50 * time.Millisecond):
		}
	}
	return *ahead, true
}

// ReachText says how far an address could be reached.
func ReachText(e planner.Endpoint) string {
	text := string(e.Reach)
	if e.URL != "" {
		text = e.URL + ": " + text
	}
	if e.Detail != "" {
		text += fmt.Sprintf(" (%s)", e.Detail)
	}
	return text
}

// ReachCode is the reason that says most about what to do where none of these
// could be used.
func ReachCode(asked []Candidate) planner.Code {
	for _, c := range []struct {
		reach planner.Reach
		code  planner.Code
	}{
		{planner.ReachAuth, planner.CodeAuthRequired}, {planner.ReachTLSFailed, planner.CodeTLSFailed},
		{planner.ReachWrongService, planner.CodeWrongService},
	} {
		for _, a := range asked {
			if a.Reach == c.reach {
				return c.code
			}
		}
	}
	return planner.CodeUnreachable
}
