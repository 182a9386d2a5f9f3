package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
)

// A cluster with auth comes back with it, and nobody here has a user there. What a
// restore has to be held to is asked where no user is needed.

// sealedServes says why a member with auth does not serve as one of its cluster
// yet; an error where another one serves in its place. Which member it is was
// proven from its directory: what answers without a user names the cluster only.
func (r *Runner) sealedServes(ctx context.Context, m planner.StartMember) (string, error) {
	s, err := r.sealed(ctx, m.Name, m.ClientURL)
	switch {
	case err != nil:
		return err.Error(), nil
	case s.ClusterID != m.ClusterID:
		return "", fmt.Errorf("%s: a member of cluster %s answers, not of cluster %s", m.Name, s.ClusterID, m.ClusterID)
	case !s.Healthy:
		return s.Why, nil
	}
	return "", nil
}

func (r *Runner) sealed(ctx context.Context, name, clientURL string) (etcd.Sealed, error) {
	m, _ := r.Cluster.Member(name)
	return etcd.ProbeSealed(ctx, clientURL, r.Client, m.PeerURLs, r.Peer, probeLimit)
}

// verifySealed is verify for members that all want a user: one cluster, which answers
// linearizable reads, at the revision that was restored, with equal data. Where the data
// was compared before they served, a lease is tried. An alarm for want of space is left
// as it is, and told.
func (r *Runner) verifySealed(ctx context.Context, a planner.Verify) (waiting string, err error) {
	var least int64
	noSpace := false
	ask := map[string]etcd.SealedMember{}
	for i, name := range a.Members {
		url := r.at(a, i)[0]
		s, err := r.sealed(ctx, name, url)
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", name, err), nil
		case a.ClusterID != "" && s.ClusterID != a.ClusterID:
			return "", fmt.Errorf("%s serves cluster %s, not %s", name, s.ClusterID, a.ClusterID)
		case !s.Healthy:
			return name + ": " + s.Why, nil
		}
		noSpace = noSpace || s.NoSpace
		revision, ended, err := etcd.SealedRevision(ctx, url, r.Client, probeLimit)
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", name, err), nil
		case revision < a.Revision:
			return fmt.Sprintf("%s is at revision %d, not yet at %d", name, revision, a.Revision), nil
		case counted(a) && revision > a.Revision+ended:
			// A lease that ends takes its keys along in one revision. How many ended before
			// its etcd was last started is not known, so that this can't be an error.
			r.say(fmt.Sprintf("%s is at revision %d, and what was restored ends at %d: leases ran out meanwhile, for nobody can have written", name, revision, a.Revision))
		}
		if least == 0 || revision < least {
			least = revision
		}
		m, _ := r.Cluster.Member(name)
		ask[name] = etcd.SealedMember{ClientURL: url, PeerURLs: m.PeerURLs}
	}
	switch {
	case a.Lease && noSpace: // 3.7 would only answer that it wants a user
		r.say(saidNoSpace)
		return "", nil
	case a.Lease:
		return r.tryLease(ctx, map[string]string{a.Members[0]: r.at(a, 0)[0]})
	}
	return r.equalSealed(ctx, a, ask, least)
}

// counted is whether a is of members that nobody can have written to, and the number of
// whose keys is known.
func counted(a planner.Verify) bool { return a.Closed != nil && a.Closed.Keys >= 0 }

// equalSealed is equal without a user.
func (r *Runner) equalSealed(ctx context.Context, a planner.Verify, ask map[string]etcd.SealedMember, at int64) (waiting string, err error) {
	if a.Closed == nil && len(ask) < 2 {
		return "", nil
	}
	kv, err := etcd.HashSealed(ctx, ask, r.Peer, at)
	switch {
	case errors.Is(err, etcd.ErrNoHash):
		r.say(fmt.Sprintf("the members' data was not compared, which takes a user here: %v", err))
	case err != nil && ctx.Err() != nil:
		return "", timeUp(ctx, fmt.Sprintf("compare data: %v", err))
	case err != nil:
		return fmt.Sprintf("compare data: %v", err), nil
	case !kv.Equal:
		return "", unequal(kv)
	}
	if counted(a) {
		r.say(fmt.Sprintf("revision %d was read back; keys were not counted, for etcd wants a user", a.Revision))
	}
	return "", nil
}

// wantUser is whether all of the members answer, and want a user.
func (r *Runner) wantUser(ctx context.Context, a planner.Verify) bool {
	for i := range a.Members {
		if etcd.Probe(ctx, r.at(a, i), r.Client, probeLimit).Reach != planner.ReachAuth {
			return false
		}
	}
	return len(a.Members) > 0
}
