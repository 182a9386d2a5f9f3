package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

const (
	pollEvery  = 50 * time.Millisecond // a look costs a few milliseconds; nobody is served meanwhile
	probeLimit = 2 * time.Second
	// tooManyRestarts is when a member that dies again and again is given up.
	tooManyRestarts = 5
)

// errInterrupted is the operator's stop, at a point where nothing is half done.
var errInterrupted = errors.New("interrupted while waiting")

// poll calls check until it is content, until it gives a final error, or until
// ctx ends; then the last reason for waiting is part of the error. Each new reason is
// told to whoever watches.
func (r *Runner) poll(ctx context.Context, check func() (waitingFor string, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := ""
	for {
		waiting, err := check()
		if err != nil || waiting == "" {
			return err
		}
		if ctx.Err() != nil && last != "" {
			waiting = last // that one was cut short, and would say so of a member that answers
		}
		if waiting != last && r.waits != nil {
			r.waits(waiting)
		}
		last = waiting
		select {
		case <-ctx.Done():
			return timeUp(ctx, waiting)
		case <-tick.C:
		}
	}
}

// pollWhileRunning is poll for what the cluster has to bring about. It ends early where
// a member that ran when the step began is gone, nobody starts it again, and what is
// waited for does not come without it: planning again starts it.
func (r *Runner) pollWhileRunning(ctx context.Context, check func() (waitingFor string, err error)) error {
	var places []planner.Place
	for _, m := range r.Cluster.Members {
		if s := r.Seen.Members[m.Name].Service; s.Known() && s.Value.State == planner.ServiceRunning {
			places = append(places, planner.PlaceOf(r.Cluster, m))
		}
	}
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	look := r.newGlances(beside)
	look.every, look.work, look.first = glanceAtRunning, newBeside(beside, glanceAtRunning), map[string]int{}
	var since time.Time // when one was first seen to be gone
	return r.poll(ctx, func() (string, error) {
		waiting, err := check()
		if err != nil || waiting == "" || len(places) == 0 {
			return waiting, err
		}
		switch seen, fresh := look.at(places); {
		case !fresh:
		case len(seen.lost) == 0:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= goneGrace:
			return "", fmt.Errorf("%w (%s)", anyOf(seen.lost), waiting)
		}
		return waiting, nil
	})
}

var (
	// glanceAtRunning is how often members that run are looked at while something else is
	// waited for: they may have much in their logs, and others copy from them.
	glanceAtRunning = 10 * time.Second
	// goneGrace is how long a cluster may take to do without a member.
	goneGrace = 8 * time.Second
)

// timeUp is the error of a wait that ctx ended.
func timeUp(ctx context.Context, waiting string) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return fmt.Errorf("%w (%s)", cause, waiting)
	}
	return fmt.Errorf("%w: %s", errInterrupted, waiting)
}

// awaitServing waits until the started members serve clients under a leader, and gives
// up early where a member's service says that it never will; in an opening only where
// too few are left.
func (r *Runner) awaitServing(ctx context.Context, a planner.Start, progress host.Progress) error {
	return r.awaitCopied(ctx, a, r.others(a), 0, progress)
}

// awaitCopied is awaitServing for members that first copy so many bytes. Others are
// the client URLs of members that serve already.
func (r *Runner) awaitCopied(ctx context.Context, a planner.Start, others []string, size int64, progress host.Progress) error {
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	served, look, back := map[string]bool{}, r.newGlances(beside), r.newHeldBack(beside, others)
	return r.pollWhileRunning(ctx, func() (string, error) {
		var silent []string
		var mute []planner.StartMember
		var places []planner.Place
		for i, got := range r.serving(ctx, a.Members) {
			m := a.Members[i]
			switch {
			case got.err != nil:
				return "", got.err
			case got.why != "":
				silent, places = append(silent, m.Name+": "+got.why), append(places, m.Place)
				if got.mute {
					mute = append(mute, m)
				}
			case !served[m.Name] && r.phase != nil:
				served[m.Name] = true
				_ = r.phase(m.Name + " serves") // the outcome's record would fail as well
			}
		}
		if progress != nil && size == 0 {
			progress("members serve", int64(len(a.Members)-len(silent)), int64(len(a.Members)))
		}
		if len(silent) == 0 {
			return "", nil
		}
		back.look(mute)
		seen, fresh := look.at(places)
		if !fresh {
			return strings.Join(silent, "; "), nil
		}
		if progress != nil && size > 0 {
			progress("copying the database", min(seen.received, size), size)
		}
		lost := seen.lost
		maps.DeleteFunc(lost, func(name string, _ error) bool { // who serves by now
			return !slices.ContainsFunc(places, func(p planner.Place) bool { return p.Name == name })
		})
		switch {
		case len(lost) == 0:
			return strings.Join(silent, "; "), nil
		case !r.opens(a) || !majority(len(a.Members)-len(lost), a.Voters):
			return "", anyOf(lost)
		case len(lost) < len(silent):
			return strings.Join(silent, "; "), nil // the others may only be slow
		}
		r.goOnWithout(lost)
		return "", nil
	})
}

// answer is what a started member says when it is asked as a client.
type answer struct {
	why  string // it does not serve as itself yet; "" where it does
	mute bool   // no client gets an answer
	err  error  // somebody else serves in its place
}

// serving asks the members, all at once.
func (r *Runner) serving(ctx context.Context, members []planner.StartMember) []answer {
	out := make([]answer, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { out[i] = r.servesAs(ctx, m) })
	}
	wg.Wait()
	return out
}

func (r *Runner) servesAs(ctx context.Context, m planner.StartMember) answer {
	e := etcd.Probe(ctx, []string{m.ClientURL}, r.Client, probeLimit)
	switch {
	case e.Reach == planner.ReachAuth:
		why, err := r.sealedServes(ctx, m)
		return answer{why: why, err: err}
	case e.Reach != planner.ReachServing:
		return answer{why: string(e.Reach), mute: e.Reach == planner.ReachHangs || e.Reach == planner.ReachRefused}
	case e.ClusterID != m.ClusterID || e.MemberID != m.MemberID:
		return answer{err: fmt.Errorf("%s: member %s of cluster %s answers at %s, not member %s of cluster %s",
			m.Name, e.MemberID, e.ClusterID, m.ClientURL, m.MemberID, m.ClusterID)}
	case e.LeaderID == "":
		return answer{why: "no leader"}
	case !e.Learner && !(e.Linearizable.Known() && e.Linearizable.Value):
		return answer{why: "no quorum yet"} // a learner answers no such read, ever
	}
	return answer{}
}

// hopeless gives those members whose service has given up, dies again and again, or is
// gone, etcd and all, so that nobody starts it any more; with an error that says so, and
// how much data all of them have by now. Where seen is not nil it keeps how often a
// member had been started again when it was looked at first: one that died before that,
// of something that may be gone, has to die again.
func (r *Runner) hopeless(ctx context.Context, places []planner.Place, seen map[string]int) (received int64, lost map[string]error) {
	facts, err := r.Host.Observe(ctx, places)
	if err != nil {
		return 0, nil // asked again at the next poll
	}
	lost = map[string]error{}
	for _, p := range places {
		received += facts[p.Name].Received
		s := facts[p.Name].Service
		if !s.Known() {
			continue
		}
		again := s.Value.Restarts >= tooManyRestarts
		if before, ok := seen[p.Name]; seen != nil && !ok {
			seen[p.Name], again = s.Value.Restarts, false
		} else if seen != nil {
			again = again && s.Value.Restarts > before && s.Value.State == planner.ServiceBackoff
		}
		switch {
		case s.Value.State == planner.ServiceStopped && s.Value.Foreign == nil:
			lost[p.Name] = fmt.Errorf("%s was started, and does not run any more: %s; its log is %s", p.Name, cmp.Or(s.Value.LastError, "it was stopped"), s.Value.Log)
		case s.Value.State == planner.ServiceFailed || again:
			lost[p.Name] = fmt.Errorf("%s does not come up: %s; its log is %s", p.Name, s.Value.LastError, s.Value.Log)
		}
	}
	return received, lost
}

// verify waits until the members are one cluster with one leader and the same
// data. Unequal data ends the wait at once.
func (r *Runner) verify(ctx context.Context, a planner.Verify, progress host.Progress) error {
	if a.Closed != nil {
		return r.verifyClosed(ctx, a, progress)
	}
	disarmed := !a.Disarm
	look := func(a planner.Verify) (string, error) {
		if r.wantUser(ctx, a) {
			return r.verifySealed(ctx, a)
		}
		endpoints, waiting, err := r.oneCluster(ctx, a)
		if err != nil || waiting != "" {
			return waiting, err
		}
		if !disarmed {
			if err := r.disarm(ctx, endpoints); err != nil {
				return "disarm old alarms: " + err.Error(), nil
			}
			disarmed = true
		}
		if a.Lease { // its data was compared before anybody could write
			return r.tryLease(ctx, endpoints)
		}
		return r.equal(ctx, endpoints, 2, progress)
	}
	if a.Lease && r.opening > 0 {
		_, err := r.verifyMost(ctx, a, r.opening, look)
		return err
	}
	first := map[string]int{}
	return r.poll(ctx, func() (string, error) {
		waiting, err := look(a)
		if err != nil || waiting == "" {
			return waiting, err
		}
		if _, lost := r.hopeless(ctx, r.silent(ctx, a), first); len(lost) > 0 {
			return "", anyOf(lost)
		}
		return waiting, nil
	})
}

// equal compares the data of the members, where they are least or more. A difference is
// an error, what can't be compared yet is waited for. There is no limit but the step's:
// etcd goes on hashing when nobody waits for it any more, and another hash beside that
// one would take longer still.
func (r *Runner) equal(ctx context.Context, endpoints map[string]string, least int, progress host.Progress) (string, error) {
	if progress != nil {
		progress("compare data", 0, 0)
	}
	if len(endpoints) < least {
		return "", nil
	}
	kv := etcd.CompareKV(ctx, endpoints, r.Client, 0)
	r.Compared = kv
	switch {
	case !kv.Known() && ctx.Err() != nil:
		return "", timeUp(ctx, "compare data: "+kv.Why)
	case !kv.Known():
		return "compare data: " + kv.Why, nil
	case !kv.Value.Equal:
		return "", unequal(kv.Value)
	}
	return "", nil
}

func unequal(kv planner.KVComparison) error {
	return fmt.Errorf("the members hold different data at revision %d: %v", kv.Revision, kv.Hashes)
}

// at is where the i-th member of a is asked.
func (r *Runner) at(a planner.Verify, i int) []string {
	if a.Closed != nil {
		return a.Closed.URLs[i : i+1]
	}
	m, _ := r.Cluster.Member(a.Members[i])
	return m.ClientURLs
}

// oneCluster probes the members and gives the voters' URLs, what is still
// waited for, or what can't become right by waiting.
func (r *Runner) oneCluster(ctx context.Context, a planner.Verify) (endpoints map[string]string, waiting string, err error) {
	endpoints = map[string]string{}
	leader := ""
	seen := make([]planner.Endpoint, len(a.Members))
	var wg sync.WaitGroup
	for i := range a.Members {
		wg.Go(func() { seen[i] = etcd.Probe(ctx, r.at(a, i), r.Client, probeLimit) })
	}
	wg.Wait()
	for i, name := range a.Members {
		e := seen[i]
		if e.Reach == planner.ReachServing && a.Version != "" {
			if why := r.notAt(ctx, a.Version, name, e); why != "" {
				return nil, why, nil
			}
		}
		switch {
		case e.Reach != planner.ReachServing:
			return nil, fmt.Sprintf("%s: %s", name, e.Reach), nil
		case a.ClusterID != "" && e.ClusterID != a.ClusterID:
			return nil, "", fmt.Errorf("%s serves cluster %s, not %s", name, e.ClusterID, a.ClusterID)
		case e.LeaderID == "" || leader != "" && e.LeaderID != leader:
			return nil, name + ": no common leader", nil
		case !e.Learner && !(e.Linearizable.Known() && e.Linearizable.Value):
			return nil, name + ": no quorum yet", nil
		case e.Revision < a.Revision:
			return nil, fmt.Sprintf("%s is at revision %d, not yet at %d", name, e.Revision, a.Revision), nil
		}
		leader = e.LeaderID
		if !e.Learner {
			endpoints[name] = e.URL
		}
	}
	return endpoints, "", nil
}

// disarm ends the alarms of members that are not in the member list: they came
// with a snapshot.
func (r *Runner) disarm(ctx context.Context, endpoints map[string]string) error {
	var urls []string
	ids := map[string]bool{}
	for _, u := range endpoints {
		urls = append(urls, u)
		e := etcd.Probe(ctx, []string{u}, r.Client, probeLimit)
		if !e.Members.Known() {
			// Without the list every alarm would look like an old one.
			return fmt.Errorf("the member list is unknown: %s", e.Members.Why)
		}
		for _, m := range e.Members.Value {
			ids[m.ID] = true
		}
	}
	_, err := etcd.Disarm(ctx, urls, r.Client, func(id string) bool { return ids[id] })
	return err
}
