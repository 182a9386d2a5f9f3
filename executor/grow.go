package executor

import (
	"context"
	"errors"
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

// inSyncTime is the same for one that follows many writes, or from far away, where more
// entries than that come in while the two are asked: how long after the leader it may
// have what that had. Its clients wait for no longer where its vote is needed.
const inSyncTime = 250 * time.Millisecond

// giveUpTime is what a promotion keeps of its time for taking the learner off the
// list again.
const giveUpTime = 60 * time.Second

// silentTime is how long a learner that served, or its whole cluster, may not answer
// while it catches up, and how long one that has caught up may take to vote: longer than
// an election and a restart. Then it is not known how far it is, which is no reason to
// take it off the list.
var silentTime = 60 * time.Second

// promote waits until the learner has what the leader has, and makes it a voter. One
// that does not get there in time is removed: it would hold the one place for
// learners, and the voters never needed it. One that somebody else promotes meanwhile
// is done.
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
	// What is left of the step's time is for catching up, which is over.
	ctx, cancel := context.WithTimeoutCause(ctx, silentTime, fmt.Errorf("for %s %s was not seen to be a voter", silentTime, a.Name))
	defer cancel()
	if err := r.change(ctx, a.Endpoints, func(c etcd.Cluster) error { return c.Promote(ctx, id) }); err != nil {
		return err
	}
	at := append(slices.Clone(a.Endpoints), a.ClientURL)
	return r.listed(ctx, at, listedBy{answering: true, one: a.ClientURL}, func(list []planner.ListedMember) bool {
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
	switch rerr := r.removeLearner(ctx, a.Endpoints, id); {
	case errors.Is(rerr, etcd.ErrIsVoter):
		r.say(a.Name + " was promoted by somebody else meanwhile")
		return nil
	case rerr != nil:
		return fmt.Errorf("%w; it stays in the member list as a learner, for it could not be removed: %w", err, rerr)
	}
	return fmt.Errorf("%w; it was taken off the member list again, and no voter was touched", err)
}

// catchUp waits until the learner is close behind the leader, twice in a row, or no
// learner any more. It ends where one of the two stays silent.
func (r *Runner) catchUp(ctx context.Context, a planner.Promote, progress host.Progress) error {
	var f following
	first := uint64(0)
	heard := time.Now()
	return r.pollWhileRunning(ctx, func() (string, error) {
		lag, err := r.members(a.Endpoints).LagOf(ctx, a.ClientURL)
		if err != nil {
			f = following{}
			if silent := time.Since(heard); silent > silentTime {
				return "", fmt.Errorf("%s: for %s nobody said how far it is, and it stays a learner: %w",
					a.Name, silent.Round(time.Second), err)
			}
			return err.Error(), nil
		}
		heard = time.Now()
		n := lag.Behind()
		first = max(first, n)
		if progress != nil {
			progress("entries caught up", int64(first-n), int64(first))
		}
		if f.saw(lag, time.Now()) || !lag.Learner {
			return "", nil
		}
		return fmt.Sprintf("it is %d entries behind the leader", n), nil
	})
}

// following tells from one look after the other whether a learner follows its leader.
type following struct {
	looks []look // of the last inSyncTime, the last one at least
	close int    // how many of the last looks found it close
}

type look struct {
	at        time.Time
	committed uint64
}

// saw reports whether the learner was close twice in a row: by entries, or as it has
// now what the leader had a moment ago.
func (f *following) saw(l etcd.Lag, now time.Time) bool {
	for len(f.looks) > 1 && now.Sub(f.looks[0].at) > inSyncTime {
		f.looks = f.looks[1:]
	}
	if l.Behind() <= inSync || len(f.looks) > 0 && l.Applied >= f.looks[0].committed {
		f.close++
	} else {
		f.close = 0
	}
	f.looks = append(f.looks, look{now, l.Committed})
	return f.close >= 2
}
