package executor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// inSync is how many log entries a learner may be behind the leader, seen twice in
// a row, to be promoted: what is left then is caught up with in a moment, while
// etcd's own measure, a tenth of the log, can be minutes.
const inSync = 200

// giveUpTime is what a promotion keeps of its time for taking the learner off the
// list again.
const giveUpTime = 60 * time.Second

// promote waits until the learner has what the leader has, and makes it a voter. One
// that does not get there in time is removed: it would hold the one place for
// learners, and the voters never needed it.
func (r *Runner) promote(ctx context.Context, a planner.Promote, progress host.Progress) error {
	id, voter, err := r.findMember(ctx, a.Endpoints, a.PeerURLs)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	if !voter {
		if err := r.catchUpOrGiveUp(ctx, a, id, progress); err != nil {
			return err
		}
	}
	if err := r.change(ctx, a.Endpoints, func(c etcd.Cluster) error { return c.Promote(ctx, id) }); err != nil {
		return err
	}
	return r.listed(ctx, append(slices.Clone(a.Endpoints), a.ClientURL), true, func(list []planner.ListedMember) bool {
		return slices.ContainsFunc(list, func(m planner.ListedMember) bool { return m.ID == id && !m.Learner })
	})
}

// catchUpOrGiveUp leaves a learner that the operator does not wait for as it is.
func (r *Runner) catchUpOrGiveUp(ctx context.Context, a planner.Promote, id string, progress host.Progress) error {
	end, ok := ctx.Deadline()
	if !ok {
		return r.catchUp(ctx, a, progress)
	}
	began := time.Now()
	limit := max(time.Until(end)-giveUpTime, time.Until(end)/2)
	wait, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not catch up within %s", limit.Round(time.Second)))
	defer cancel()
	err := r.catchUp(wait, a, progress)
	if err == nil || ctx.Err() != nil || wait.Err() == nil {
		return err
	}
	err = fmt.Errorf("%s: given up after %s: %w", a.Name, time.Since(began).Round(time.Second), err)
	if r.phase != nil {
		if jerr := r.phase("give up: remove the learner " + a.Name); jerr != nil {
			return fmt.Errorf("%w; it stays in the member list as a learner: %w", err, jerr)
		}
	}
	removal := planner.Remove{Name: a.Name, MemberID: id, Endpoints: a.Endpoints}
	if rerr := r.remove(ctx, removal); rerr != nil {
		return fmt.Errorf("%w; it stays in the member list as a learner, for it could not be removed: %w", err, rerr)
	}
	return fmt.Errorf("%w; it was taken off the member list again, and no voter was touched", err)
}

// catchUp waits until the learner is close behind the leader, twice in a row.
func (r *Runner) catchUp(ctx context.Context, a planner.Promote, progress host.Progress) error {
	close, first := 0, uint64(0)
	return r.poll(ctx, func() (string, error) {
		n, err := r.members(a.Endpoints).Behind(ctx, a.ClientURL)
		switch {
		case err != nil:
			close = 0
			return err.Error(), nil
		case n > inSync:
			close = 0
		default:
			close++
		}
		first = max(first, n)
		if progress != nil {
			progress("entries caught up", int64(first-n), int64(first))
		}
		if close >= 2 {
			return "", nil
		}
		return fmt.Sprintf("it is %d entries behind the leader", n), nil
	})
}
