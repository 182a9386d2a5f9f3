package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// verifyClosed reads back members whose client listeners are closed (S17). What a
// member still has to do (elect, publish itself, catch up) is waited for; what no
// waiting puts right is an error, and nobody has been served.
func (r *Runner) verifyClosed(ctx context.Context, a planner.Verify, progress host.Progress) error {
	voters := len(a.Closed.MemberIDs)
	r.opening, r.unverified = 0, nil
	verified, err := r.verifyMost(ctx, a, voters, func(a planner.Verify) (string, error) {
		if waiting, err := r.asPlanned(ctx, a); err != nil || waiting != "" {
			return waiting, err
		}
		if r.wantUser(ctx, a) {
			return r.verifySealed(ctx, a)
		}
		endpoints, waiting, err := r.oneCluster(ctx, a)
		if err != nil || waiting != "" {
			return waiting, err
		}
		if err := r.asRestored(ctx, a); err != nil {
			return "", err
		}
		// One member alone is hashed too: all of its data is read by that.
		return r.equal(ctx, endpoints, 1, progress)
	})
	if err != nil {
		return err
	}
	r.opening = voters
	for _, name := range a.Members {
		if !slices.Contains(verified.Members, name) {
			r.unverified = append(r.unverified, name)
		}
	}
	return nil
}

// asPlanned holds every member's own list to the planned one, at the peer listeners,
// which need no user. Each has published its client URLs by then: a leader has had
// it agreed on.
func (r *Runner) asPlanned(ctx context.Context, a planner.Verify) (waiting string, err error) {
	for _, name := range a.Members {
		m, _ := r.Cluster.Member(name)
		p := etcd.ProbePeer(ctx, m.PeerURLs, r.Peer, probeLimit)
		switch {
		case p.Reach != planner.ReachServing || !p.Members.Known():
			return fmt.Sprintf("%s: its peer URL: %s", name, p.Reach), nil
		case p.ClusterID != a.ClusterID:
			return "", fmt.Errorf("%s is a member of cluster %s, not of %s", name, p.ClusterID, a.ClusterID)
		}
		var ids, silent []string
		for _, l := range p.Members.Value {
			ids = append(ids, l.ID)
			if slices.Contains(a.Members, l.Name) && len(l.ClientURLs) == 0 {
				silent = append(silent, l.Name)
			}
		}
		want := slices.Clone(a.Closed.MemberIDs)
		slices.Sort(ids)
		slices.Sort(want)
		switch {
		case !slices.Equal(ids, want):
			return "", fmt.Errorf("%s lists the members %s, and planned are %s", name, strings.Join(ids, ", "), strings.Join(want, ", "))
		case len(silent) > 0:
			return strings.Join(silent, ", ") + " not published yet", nil
		}
	}
	return "", nil
}

// asRestored holds revision and keys to the source: nobody can have written since. Only
// a lease that ran out takes its keys along, and raises the revision by that.
func (r *Runner) asRestored(ctx context.Context, a planner.Verify) error {
	if a.Closed.Keys < 0 {
		return nil
	}
	for i, name := range a.Members {
		revision, keys, err := etcd.Count(ctx, a.Closed.URLs[i], r.Client)
		want := int64(a.Closed.Keys)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case revision == a.Revision && keys != want:
			return fmt.Errorf("%s has %d keys at revision %d, and %d were restored", name, keys, revision, want)
		case revision != a.Revision && keys >= want:
			return fmt.Errorf("%s is at revision %d with %d keys, and %d keys at %d were restored: somebody wrote to it", name, revision, keys, want, a.Revision)
		}
	}
	return nil
}

const saidNoSpace = "no lease could be granted: the alarm NOSPACE is raised, so that clients can read and delete, and not write. " +
	"Compact (etcdctl compact), defragment (etcdctl defrag), then disarm it (etcdctl alarm disarm)"

// tryLease grants a lease and revokes it, which takes the way of every write, and
// leaves nothing in the key space. What a user is wanted for is said, and no failure;
// so is a cluster that came with too little space, for it reads as it did before.
func (r *Runner) tryLease(ctx context.Context, endpoints map[string]string) (waiting string, err error) {
	for name, url := range endpoints {
		why, err := etcd.TryLease(ctx, url, r.Client)
		switch {
		case errors.Is(err, etcd.ErrNoSpace):
			r.say(saidNoSpace)
		case etcd.IsNotYet(err):
			return fmt.Sprintf("%s: reads are served, and a lease is not granted yet: %v", name, err), nil
		case err != nil:
			return "", fmt.Errorf("%s: reads are served, and a lease can't be granted: %w", name, err)
		case why != "":
			r.say("no lease was tried: " + why)
		}
		return "", nil
	}
	return "", nil
}
