package executor

import (
	"context"
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
	s, err := r.sealed(ctx, m.Name, m.ClientURL, 0)
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

func (r *Runner) sealed(ctx context.Context, name, clientURL string, at int64) (etcd.Sealed, error) {
	m, _ := r.Cluster.Member(name)
	return etcd.ProbeSealed(ctx, clientURL, r.Client, m.PeerURLs, r.Peer, at, probeLimit)
}

// verifySealed is verify for members that all want a user: one cluster, which
// answers linearizable reads without an alarm, at the revision that was restored,
// with equal data. Where the lists were compared before they served, a lease is tried.
func (r *Runner) verifySealed(ctx context.Context, a planner.Verify) (waiting string, err error) {
	var least int64
	for i, name := range a.Members {
		s, err := r.sealed(ctx, name, r.at(a, i)[0], 0)
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", name, err), nil
		case a.ClusterID != "" && s.ClusterID != a.ClusterID:
			return "", fmt.Errorf("%s serves cluster %s, not %s", name, s.ClusterID, a.ClusterID)
		case !s.Healthy:
			return name + ": " + s.Why, nil
		case s.Revision < a.Revision:
			return fmt.Sprintf("%s is at revision %d, not yet at %d", name, s.Revision, a.Revision), nil
		}
		if least == 0 || s.Revision < least {
			least = s.Revision
		}
	}
	var first etcd.Sealed
	if a.Lease {
		return "", r.tryLease(ctx, map[string]string{a.Members[0]: r.at(a, 0)[0]})
	}
	for i, name := range a.Members {
		s, err := r.sealed(ctx, name, r.at(a, i)[0], least)
		switch {
		case err != nil:
			return fmt.Sprintf("compare data: %s: %v", name, err), nil
		case i == 0:
			first = s
		case s.HashedAt != first.HashedAt || s.Compacted != first.Compacted:
			return fmt.Sprintf("compare data: %s is hashed at %d, compacted at %d, and %s at %d and %d",
				name, s.HashedAt, s.Compacted, a.Members[0], first.HashedAt, first.Compacted), nil
		case s.Hash != first.Hash:
			return "", fmt.Errorf("%s and %s hold different data at revision %d", a.Members[0], name, s.HashedAt)
		}
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
