package executor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// An opening is a new identity's way to its clients: started closed, verified, stopped,
// started for clients, verified once more. It is for a cluster that is down as a whole,
// and one bad disk is not to keep it down: a member that never comes up is left behind,
// by name, as long as the others are a majority. What was not verified is not shown to
// clients either (S17); the next plan deals with it.

// opens reports whether a is a start of an opening.
func (r *Runner) opens(a planner.Start) bool { return a.Closed || r.opening > 0 }

func majority(n, voters int) bool { return 2*n > voters }

// anyOf is the error of the first of the lost, by name.
func anyOf(lost map[string]error) error { return lost[slices.Sorted(maps.Keys(lost))[0]] }

// goOnWithout says, once, who is left behind.
func (r *Runner) goOnWithout(lost map[string]error) {
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		if !slices.Contains(r.behind, name) {
			r.behind = append(r.behind, name)
			r.say(fmt.Sprintf("%v. The other members are a majority, and go on without it", lost[name]))
		}
	}
}

// start starts members and waits until they serve.
func (r *Runner) start(ctx, act context.Context, a planner.Start, progress host.Progress) error {
	if !a.Closed && r.opening > 0 {
		a.Members = slices.DeleteFunc(slices.Clone(a.Members), func(m planner.StartMember) bool { return slices.Contains(r.unverified, m.Name) })
		if len(r.unverified) > 0 {
			r.say(strings.Join(r.unverified, ", ") + ": not verified, and so not started for clients: see its log, and plan again")
		}
	}
	if err := r.Host.Start(act, a.Members); err != nil {
		if !r.othersRun(ctx, a) {
			return err
		}
		if slices.ContainsFunc(a.Members, func(m planner.StartMember) bool { return m.Commands != nil }) {
			r.say(err.Error()) // nobody else keeps what a start command said
		}
	}
	return r.awaitServing(ctx, a, progress)
}

// opensWithout reports whether a is a start of an opening that, as things are seen, does
// for a majority of the voters: who is left behind is decided when it was tried.
func (r *Runner) opensWithout(obs planner.Observation, a planner.Action) bool {
	start, ok := a.(planner.Start)
	if !ok || !r.opens(start) {
		return false
	}
	can := 0
	for _, m := range start.Members {
		one := start
		one.Members = []planner.StartMember{m}
		if _, err := planner.Predict(obs, one); err == nil {
			can++
		}
	}
	return majority(can, start.Voters)
}

// othersRun reports whether a start that failed did so by members alone without which an
// opening can go on.
func (r *Runner) othersRun(ctx context.Context, a planner.Start) bool {
	var places []planner.Place
	for _, m := range a.Members {
		places = append(places, m.Place)
	}
	facts, err := r.Host.Observe(ctx, places)
	if err != nil || !r.opens(a) {
		return false
	}
	run := 0
	for _, p := range places {
		s := facts[p.Name].Service
		switch {
		case !s.Known():
			return false
		case s.Value.State == planner.ServiceRunning, s.Value.State == planner.ServiceBackoff:
			run++
		case s.Value.State == planner.ServiceStopped && s.Value.Commands != nil:
			// What their start command could not start they call stopped.
		case s.Value.State != planner.ServiceFailed:
			return false
		}
	}
	return majority(run, a.Voters)
}

// verifyMost looks at the members again and again until look is content. Those that
// never come up are left out of what it looks at, as long as the others are a majority
// of the voters. It gives what was verified.
func (r *Runner) verifyMost(ctx context.Context, a planner.Verify, voters int, look func(planner.Verify) (string, error)) (planner.Verify, error) {
	a = without(a, r.unverified) // they were not started
	most := func() planner.Verify {
		if part := without(a, r.behind); majority(len(part.Members), voters) {
			return part
		}
		return a
	}
	part, first := most(), map[string]int{}
	err := r.poll(ctx, func() (string, error) {
		waiting, err := look(part)
		if err != nil || waiting == "" {
			return waiting, err
		}
		_, lost := r.hopeless(ctx, r.silent(ctx, part), first)
		if len(lost) == 0 {
			return waiting, nil
		}
		if !majority(len(part.Members)-len(lost), voters) {
			return "", anyOf(lost)
		}
		r.goOnWithout(lost)
		part = most()
		return waiting, nil
	})
	return part, err
}

// LeftBehind are the members without which an opening went on.
func (r *Runner) LeftBehind() []string { return r.behind }

// silent are the places of a's members that do not answer at all.
func (r *Runner) silent(ctx context.Context, a planner.Verify) []planner.Place {
	var out []planner.Place
	for i, name := range a.Members {
		m, ok := r.Cluster.Member(name)
		reach := etcd.Probe(ctx, r.at(a, i), r.Client, probeLimit).Reach
		if ok && reach != planner.ReachServing && reach != planner.ReachAuth {
			out = append(out, planner.PlaceOf(r.Cluster, m))
		}
	}
	return out
}

// without is a for fewer members.
func without(a planner.Verify, names []string) planner.Verify {
	if len(names) == 0 {
		return a
	}
	out := a
	out.Members = nil
	if a.Closed != nil {
		c := *a.Closed
		c.URLs, out.Closed = nil, &c
	}
	for i, name := range a.Members {
		if slices.Contains(names, name) {
			continue
		}
		out.Members = append(out.Members, name)
		if a.Closed != nil {
			out.Closed.URLs = append(out.Closed.URLs, a.Closed.URLs[i])
		}
	}
	return out
}
