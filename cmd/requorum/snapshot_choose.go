package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// catchUp is how long a follower may take to come to where the leader was when
// the save began.
const catchUp = 2 * time.Second

// candidate is what a member of the file said.
type candidate struct {
	name string
	planner.Endpoint
}

func (a candidate) leads() bool { return a.LeaderID != "" && a.LeaderID == a.MemberID }

// choose asks every member and picks whom to save from. Those that did not answer
// are failed; the error is a *refused where there is nobody to save from.
func (v *saver) choose(ctx context.Context) (from []candidate, failed []notSaved, err error) {
	failed = []notSaved{}
	asked := v.ask(ctx, v.session.cluster.Members)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if v.member != "" {
		asked = slices.DeleteFunc(asked, func(a candidate) bool { return a.name != v.member })
	}
	var serving []candidate
	for _, a := range asked {
		if a.Reach != planner.ReachServing {
			failed = append(failed, notSaved{a.name, reachText(a.Endpoint)})
			continue
		}
		serving = append(serving, a)
	}
	if len(serving) == 0 {
		return nil, nil, &refused{planner.RefuseSave(reachCode(asked), whyNobody(failed))}
	}
	if id := v.session.cluster.ID; id != "" {
		for _, a := range serving {
			if a.ClusterID != id {
				return nil, nil, &refused{planner.RefuseSave(planner.CodeClusterIDChanged, fmt.Sprintf(
					"%s answers as a member of cluster %s at %s, and the file says %s.", a.name, a.ClusterID, a.URL, id))}
			}
		}
	}
	clusters := map[string]bool{}
	for _, a := range serving {
		clusters[a.ClusterID] = true
	}
	one := len(clusters) == 1
	if !one && !v.all {
		return nil, nil, &refused{planner.RefuseSave(planner.CodeSplitCluster,
			"The members answer as "+strings.Join(slices.Sorted(maps.Keys(clusters)), " and ")+".")}
	}
	if !one {
		v.notes = append(v.notes, "the members are of different clusters: "+strings.Join(slices.Sorted(maps.Keys(clusters)), ", "))
	}
	v.noteDoubts(ctx, serving, one)
	if v.all || v.member != "" {
		return serving, failed, nil
	}
	best, why := v.best(ctx, serving)
	if why != nil {
		return nil, nil, &refused{why}
	}
	return []candidate{best}, failed, nil
}

// noteDoubts says what one snapshot may not show.
func (v *saver) noteDoubts(ctx context.Context, serving []candidate, one bool) {
	for _, a := range serving {
		if a.Linearizable.Known() && !a.Linearizable.Value {
			v.notes = append(v.notes, "there is no quorum: what other members acknowledged may not be in it")
			break
		}
	}
	// One look may catch an entry between two readings; a difference that stays
	// is one.
	if text := differ(serving); one && text != "" {
		if text = differ(v.ask(ctx, membersOf(v.session, serving))); text != "" && !v.all {
			v.notes = append(v.notes, text+": save each member's own with --all, and see requorum status")
		}
	}
}

func membersOf(s *session, list []candidate) []spec.Member {
	var out []spec.Member
	for _, a := range list {
		if m, ok := s.cluster.Member(a.name); ok {
			out = append(out, m)
		}
	}
	return out
}

// differ finds members that have applied as much of the log, and are at different
// revisions.
func differ(list []candidate) string {
	for i, a := range list {
		for _, b := range list[i+1:] {
			if a.Reach == planner.ReachServing && b.Reach == planner.ReachServing && a.Applied == b.Applied && a.Revision != b.Revision {
				return fmt.Sprintf("%s and %s have applied the log to #%d both, and are at revisions %d and %d", a.name, b.name, a.Applied, a.Revision, b.Revision)
			}
		}
	}
	return ""
}

// best is the voter that has applied as much as any had when it was asked, and not
// the leader where another gets there soon.
func (v *saver) best(ctx context.Context, serving []candidate) (candidate, *planner.Refusal) {
	var ahead *candidate
	var followers []candidate
	for i, a := range serving {
		if a.Learner {
			continue
		}
		if ahead == nil || a.Applied > ahead.Applied || a.Applied == ahead.Applied && ahead.leads() {
			ahead = &serving[i]
		}
		if !a.leads() {
			followers = append(followers, a)
		}
	}
	if ahead == nil {
		return candidate{}, planner.RefuseSave(planner.CodeUnreachable, "Only learners answer: they may lack what voters have. Name one with --member to save from it all the same.")
	}
	if !ahead.leads() || len(followers) == 0 {
		return *ahead, nil
	}
	for end := time.Now().Add(catchUp); time.Now().Before(end); {
		for _, a := range v.ask(ctx, membersOf(v.session, followers)) {
			if a.Reach == planner.ReachServing && a.ClusterID == ahead.ClusterID && a.Applied >= ahead.Applied {
				return a, nil
			}
		}
		select {
		case <-ctx.Done():
			return *ahead, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
	return *ahead, nil
}

// ask asks members at the same time; the answers are in their order.
func (v *saver) ask(ctx context.Context, members []spec.Member) []candidate {
	out := make([]candidate, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			out[i] = candidate{m.Name, etcd.Probe(ctx, m.ClientURLs, v.session.observer.Client, endpointLimit)}
		})
	}
	wg.Wait()
	return out
}

// reachText says how far an address could be reached.
func reachText(e planner.Endpoint) string {
	text := string(e.Reach)
	if e.URL != "" {
		text = e.URL + ": " + text
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

func whyNobody(failed []notSaved) string {
	var parts []string
	for _, f := range failed {
		parts = append(parts, f.Member+" at "+f.Why)
	}
	return strings.Join(parts, "; ") + "."
}

// reachCode is the reason that says most about what to do.
func reachCode(asked []candidate) planner.Code {
	for _, c := range []struct {
		reach planner.Reach
		code  planner.Code
	}{
		{planner.ReachAuth, planner.CodeAuthRequired}, {planner.ReachTLSFailed, planner.CodeTLSFailed},
		{planner.ReachWrongService, planner.CodeWrongService},
	} {
		if slices.ContainsFunc(asked, func(a candidate) bool { return a.Reach == c.reach }) {
			return c.code
		}
	}
	return planner.CodeUnreachable
}
