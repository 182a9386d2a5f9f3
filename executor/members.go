package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

func (r *Runner) members(endpoints []string) etcd.Cluster {
	return etcd.Cluster{Endpoints: endpoints, Access: r.Client, ID: r.clusterID, MayChange: r.Lock.Held}
}

// change makes a change again as long as etcd's "no" is one that passes, each time
// at another endpoint: every member has its own view of who is connected. When the
// time is up, the last "no" is the reason.
func (r *Runner) change(ctx context.Context, endpoints []string, do func(etcd.Cluster) error) error {
	endpoints = slices.Clone(endpoints)
	said := ""
	err := r.pollWhileRunning(ctx, func() (string, error) {
		err := do(r.members(endpoints))
		if len(endpoints) > 1 {
			endpoints = append(endpoints[1:], endpoints[0])
		}
		if etcd.IsNotYet(err) {
			said = err.Error()
			return said, nil
		}
		return "", err
	})
	if said != "" && ctx.Err() != nil && isEnd(err) {
		return fmt.Errorf("it was refused to the end: %w", timeUp(ctx, said))
	}
	return err
}

// isEnd reports whether err says no more than that the time is up, or that the operator
// stopped it.
func isEnd(err error) bool {
	return errors.Is(err, errInterrupted) || errors.Is(err, errTimeout) ||
		!errors.Is(err, etcd.ErrUnknownOutcome) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// listedBy is who has to have a list, beside a majority of those that are asked.
type listedBy struct {
	answering bool   // all that answer: who does not may have died, and is not waited for
	one       string // this URL's member
}

// listed waits until enough of the voters at endpoints have a list that satisfies
// pred.
func (r *Runner) listed(ctx context.Context, endpoints []string, by listedBy, pred func([]planner.ListedMember) bool) error {
	urls := map[string]string{}
	for _, u := range endpoints {
		urls[u] = u
	}
	return r.pollWhileRunning(ctx, func() (string, error) {
		yes, no := r.members(endpoints).Listed(ctx, urls, pred)
		if by.enough(yes, no) {
			return "", nil
		}
		var waiting []string
		for name, why := range no {
			waiting = append(waiting, name+": "+why)
		}
		slices.Sort(waiting)
		return strings.Join(waiting, "; "), nil
	})
}

func (by listedBy) enough(yes []string, no map[string]string) bool {
	if !majority(len(yes), len(yes)+len(no)) || by.one != "" && !slices.Contains(yes, by.one) {
		return false
	}
	for _, why := range no {
		if by.answering && why == etcd.OtherList {
			return false
		}
	}
	return true
}

func (r *Runner) update(ctx context.Context, a planner.Update) error {
	if err := r.change(ctx, a.Endpoints, func(c etcd.Cluster) error { return c.UpdatePeerURLs(ctx, a.MemberID, a.PeerURLs) }); err != nil {
		return err
	}
	return r.listed(ctx, a.Endpoints, listedBy{answering: true}, func(list []planner.ListedMember) bool {
		return slices.ContainsFunc(list, func(m planner.ListedMember) bool {
			return m.ID == a.MemberID && planner.SameURLs(m.PeerURLs, a.PeerURLs)
		})
	})
}

func (r *Runner) add(ctx context.Context, a planner.Add) error {
	return r.change(ctx, a.Endpoints, func(c etcd.Cluster) error {
		m, err := c.AddLearner(ctx, a.PeerURLs)
		if err == nil && (!m.Learner || m.Name != "") {
			return fmt.Errorf("%s: a member with these peer URLs is there already (%s); the cluster changed: plan again", a.Name, m.ID)
		}
		return err
	})
}

// join starts a listed member on its empty place. What the cluster decides, its ID
// and who its fellows are, is asked for now.
func (r *Runner) join(ctx, act context.Context, a planner.Join, progress host.Progress) error {
	_, list, err := r.members(a.Endpoints).ListMembers(ctx)
	if err != nil {
		return err
	}
	var self *planner.ListedMember
	for i, m := range list {
		if planner.SameURLs(m.PeerURLs, a.PeerURLs) {
			self = &list[i]
		}
	}
	switch {
	case self == nil:
		return fmt.Errorf("%s is not in the member list: the cluster changed, plan again", a.Name)
	case self.Name != "" && self.Name != a.Name:
		return fmt.Errorf("the member at %s has run, as %s: the cluster changed, plan again", strings.Join(a.PeerURLs, ","), self.Name)
	}
	start := a.StartMember
	start.MemberID = self.ID
	fellows := planner.Fellows(list, self.ID, a.Name)
	start.Args = append(slices.Clone(start.Args), "--initial-cluster="+fellows)
	claim := planner.ClaimMember{Place: a.Place, Provenance: planner.Provenance{
		Kind: planner.ProvenanceJoin, Token: planner.JoinToken(a.ClusterID, self.ID), Name: a.Name,
		InitialCluster: fellows, ClusterID: a.ClusterID, MemberID: self.ID, When: a.When, By: a.By,
	}}
	if err := r.Host.Claim(act, planner.Claim{Members: []planner.ClaimMember{claim}}); err != nil {
		return err
	}
	if err := r.Host.Start(act, []planner.StartMember{start}); err != nil {
		return err
	}
	// What it copies is about as large as what the others have.
	size := int64(0)
	for i := 0; i < len(a.Endpoints) && size == 0; i++ {
		size = etcd.Probe(ctx, a.Endpoints[i:i+1], r.Client, probeLimit).DBSize
	}
	return r.awaitCopied(ctx, planner.Start{Members: []planner.StartMember{start}}, a.Endpoints, size, progress)
}

func (r *Runner) findMember(ctx context.Context, endpoints, peerURLs []string) (id string, voter bool, err error) {
	_, list, err := r.members(endpoints).ListMembers(ctx)
	if err != nil {
		return "", false, err
	}
	for _, m := range list {
		if planner.SameURLs(m.PeerURLs, peerURLs) {
			return m.ID, !m.Learner, nil
		}
	}
	return "", false, errors.New("it is not in the member list: the cluster changed, plan again")
}

func (r *Runner) moveLeader(ctx context.Context, a planner.MoveLeader) error {
	return r.change(ctx, a.Endpoints, func(c etcd.Cluster) error {
		to := etcd.Probe(ctx, []string{a.ToURL}, r.Client, probeLimit)
		if to.Reach != planner.ReachServing {
			return fmt.Errorf("%s, which is to lead, does not serve: %s", a.To, to.Reach)
		}
		return c.MoveLeader(ctx, a.FromID, to.MemberID)
	})
}

// remove takes a member off the list, and waits until a quorum of those that stay
// has it so (S19).
func (r *Runner) remove(ctx context.Context, a planner.Remove) error {
	if err := r.change(ctx, a.Endpoints, func(c etcd.Cluster) error { return c.Remove(ctx, a.MemberID) }); err != nil {
		return err
	}
	return r.gone(ctx, a.Endpoints, a.MemberID)
}

// removeLearner is remove for one that is given up; an etcd.ErrIsVoter where it votes
// by now.
func (r *Runner) removeLearner(ctx context.Context, endpoints []string, id string) error {
	if err := r.change(ctx, endpoints, func(c etcd.Cluster) error { return c.RemoveLearner(ctx, id) }); err != nil {
		return err
	}
	return r.gone(ctx, endpoints, id)
}

func (r *Runner) gone(ctx context.Context, endpoints []string, id string) error {
	return r.listed(ctx, endpoints, listedBy{}, func(list []planner.ListedMember) bool {
		return !slices.ContainsFunc(list, func(m planner.ListedMember) bool { return m.ID == id })
	})
}

// save writes a running member's snapshot, to a path that has the plan's time in it:
// a second try is another plan and another file.
func (r *Runner) save(ctx context.Context, a planner.Save, progress host.Progress) error {
	if h, ok := r.Cluster.Host(a.Host); ok && h.Access == spec.AccessSSH {
		return r.saveThere(ctx, a, progress)
	}
	if _, err := host.MkdirAll(filepath.Dir(a.Path)); err != nil {
		return err
	}
	return r.saveTo(ctx, a, progress)
}

// saveThere saves here first: requorum's own certificates are here. The copy goes to
// the member's machine, where all that is kept of it lies.
func (r *Runner) saveThere(ctx context.Context, a planner.Save, progress host.Progress) (err error) {
	several, ok := r.Host.(host.Several)
	m, known := r.Cluster.Member(a.Name)
	if !ok || !known {
		return fmt.Errorf("%s is not on this machine", a.Name)
	}
	dir, err := os.MkdirTemp("", "requorum-save-")
	if err != nil {
		return err
	}
	// The folder that was made above, with the copy that is on the member's machine by then.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	here, path := a, a.Path
	here.Path = filepath.Join(dir, filepath.Base(path))
	if err := r.saveTo(ctx, here, progress); err != nil {
		return err
	}
	place := planner.PlaceOf(r.Cluster, m)
	at, err := several.Deliver(ctx, here.Path, host.Incoming{Places: []planner.Place{place}, Key: filepath.Base(path), Keep: true}, progress)
	if err == nil && at != path {
		err = fmt.Errorf("the snapshot lies at %s, and should be at %s", at, path)
	}
	return err
}

func (r *Runner) saveTo(ctx context.Context, a planner.Save, progress host.Progress) error {
	saved, err := etcd.SaveSnapshot(ctx, a.ClientURL, r.Client, a.Path, func(done, total int64) {
		if progress != nil {
			progress("snapshot", done, total)
		}
	})
	if err == nil && (saved.ClusterID != a.ClusterID || saved.MemberID != a.MemberID) {
		return fmt.Errorf("%s is a snapshot of member %s of cluster %s, and should be of %s of %s: somebody else answers at %s", a.Path, saved.MemberID, saved.ClusterID, a.MemberID, a.ClusterID, a.ClientURL)
	}
	return err
}
