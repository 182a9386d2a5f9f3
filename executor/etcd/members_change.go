package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"google.golang.org/grpc"

	"github.com/requorum/requorum/planner"
)

const (
	changeLimit = 7 * time.Second  // for one change; under load it waits for raft
	settleLimit = 10 * time.Second // to list again after one whose outcome is open
)

// edit is one membership change. Each is safe to send again once the list shows
// that it is not made, even if the first one still comes: etcd refuses a second
// member with the same peer URLs as it applies the entry, and the others name an
// ID, which is never given twice (server/etcdserver/api/membership/cluster.go
// ValidateConfigurationChange).
type edit struct {
	what string
	// done reports whether the list shows what the change is for.
	done func(*listing) bool
	// bar says why the list rules the change out; nil where it does not.
	bar  func(*listing) error
	call func(context.Context, *client, grpc.CallOption) error
	// toLeader is where only the leader can do it, preferLeader where others
	// forward it, badly.
	toLeader, preferLeader bool
	// passing are refusals that are final for other changes.
	passing []error
}

// AddLearner lists a new member as a learner, and gives its entry with the ID
// that the cluster chose. A member that is listed with exactly these peer URLs,
// in any order, is taken for it, also a voter: the caller looks at Learner and
// Name.
func (cl Cluster) AddLearner(ctx context.Context, peerURLs []string) (planner.ListedMember, error) {
	var added planner.ListedMember
	err := cl.change(ctx, edit{
		what: "add a learner at " + strings.Join(peerURLs, ", "),
		done: func(l *listing) bool {
			m := l.at(peerURLs)
			if m != nil {
				added = *m
			}
			return m != nil
		},
		bar: func(l *listing) error { return badURLs(l, peerURLs, "") },
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			resp, err := etcdserverpb.NewClusterClient(c.ActiveConnection()).
				MemberAdd(ctx, &etcdserverpb.MemberAddRequest{PeerURLs: peerURLs, IsLearner: true}, once)
			if err == nil {
				added = fromProto(resp.Member)
			}
			return err
		},
		// The ID is a hash of the URLs and of the second: soon after a removal it
		// can be the removed one's.
		passing: []error{rpctypes.ErrMemberNotFound, rpctypes.ErrMemberExist},
	})
	if err != nil {
		return planner.ListedMember{}, err
	}
	return added, nil
}

// UpdatePeerURLs changes the peer URLs that the cluster has for a member. A
// learner is refused: servers before 3.5.7 promote it by that.
func (cl Cluster) UpdatePeerURLs(ctx context.Context, id string, peerURLs []string) error {
	n, err := parseID(id)
	if err != nil {
		return err
	}
	id = hexID(n)
	return cl.change(ctx, edit{
		what: fmt.Sprintf("change the peer URLs of %s to %s", id, strings.Join(peerURLs, ", ")),
		done: func(l *listing) bool {
			m := l.find(id)
			return m != nil && sameSet(m.PeerURLs, peerURLs)
		},
		bar: func(l *listing) error {
			switch m := l.find(id); {
			case m == nil:
				return errors.New("the cluster has no such member")
			case m.Learner:
				return errors.New("it is a learner, and older servers would promote it; remove it and add it anew")
			}
			return badURLs(l, peerURLs, id)
		},
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			_, err := etcdserverpb.NewClusterClient(c.ActiveConnection()).
				MemberUpdate(ctx, &etcdserverpb.MemberUpdateRequest{ID: n, PeerURLs: peerURLs}, once)
			return err
		},
	})
}

// Promote makes a learner a voter; a voter stays one. etcd does it for a learner
// that has 90 % of the leader's log: see LagOf.
func (cl Cluster) Promote(ctx context.Context, id string) error {
	n, err := parseID(id)
	if err != nil {
		return err
	}
	id = hexID(n)
	return cl.change(ctx, edit{
		what: "promote " + id,
		done: func(l *listing) bool {
			m := l.find(id)
			return m != nil && !m.Learner
		},
		bar: func(l *listing) error {
			switch m := l.find(id); {
			case m == nil:
				return errors.New("the cluster has no such member")
			case m.Name == "": // a voter that does not run counts against quorum at once
				return &sortedError{errNotYet, "the learner has not started", nil}
			}
			return nil
		},
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			_, err := etcdserverpb.NewClusterClient(c.ActiveConnection()).
				MemberPromote(ctx, &etcdserverpb.MemberPromoteRequest{ID: n}, once)
			return err
		},
		// A follower forwards it over HTTP, where some refusals become a time-out.
		preferLeader: true,
	})
}

// Remove takes a member off the list, for good; one that is not listed is done.
// That a majority has it so is Listed's to tell.
func (cl Cluster) Remove(ctx context.Context, id string) error {
	return cl.remove(ctx, id, func(l *listing, id string) error {
		voters := slices.DeleteFunc(slices.Clone(l.members), func(m planner.ListedMember) bool { return m.Learner })
		if len(voters) == 1 && voters[0].ID == id {
			return errors.New("it is the only voter")
		}
		return nil
	})
}

// RemoveLearner is Remove for a member that is given up as a learner: one that somebody
// has promoted meanwhile stays, and the error is an ErrIsVoter.
func (cl Cluster) RemoveLearner(ctx context.Context, id string) error {
	return cl.remove(ctx, id, func(l *listing, id string) error {
		if m := l.find(id); m != nil && !m.Learner {
			return &sortedError{ErrIsVoter, ErrIsVoter.Error(), nil}
		}
		return nil
	})
}

func (cl Cluster) remove(ctx context.Context, id string, bar func(l *listing, id string) error) error {
	n, err := parseID(id)
	if err != nil {
		return err
	}
	id = hexID(n)
	return cl.change(ctx, edit{
		what: "remove " + id,
		done: func(l *listing) bool { return l.find(id) == nil },
		bar:  func(l *listing) error { return bar(l, id) },
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			_, err := etcdserverpb.NewClusterClient(c.ActiveConnection()).
				MemberRemove(ctx, &etcdserverpb.MemberRemoveRequest{ID: n}, once)
			return err
		},
	})
}

// MoveLeader hands the lead from one voter to another; nothing where fromID does
// not lead, whoever does. The leader is looked for at the endpoints and at its
// listed client URLs.
func (cl Cluster) MoveLeader(ctx context.Context, fromID, toID string) error {
	from, err := parseID(fromID)
	if err != nil {
		return err
	}
	to, err := parseID(toID)
	if err != nil {
		return err
	}
	return cl.change(ctx, edit{
		what: fmt.Sprintf("move the lead from %s to %s", hexID(from), hexID(to)),
		done: func(l *listing) bool { return l.leader != "" && l.leader != hexID(from) },
		bar: func(l *listing) error {
			m := l.find(hexID(to))
			switch {
			case l.leader == "":
				return &sortedError{errNotYet, "there is no leader just now", nil}
			case m == nil:
				return errors.New("the cluster has no member " + hexID(to))
			case m.Learner:
				return errors.New(memberText(m) + " is a learner and can't lead")
			}
			return nil
		},
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			_, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).
				MoveLeader(ctx, &etcdserverpb.MoveLeaderRequest{TargetID: to}, once)
			return err
		},
		toLeader: true,
	})
}

// change lists the members, sends e at most once if it is still to be made, and
// where the answer leaves it open, lists again.
func (cl Cluster) change(ctx context.Context, e edit) error {
	l, err := cl.list(ctx)
	if err != nil {
		return e.fail(kindOf(err), "not sent: "+err.Error(), err)
	}
	if e.done(l) {
		return nil
	}
	if err := e.bar(l); err != nil {
		return e.fail(kindOf(err), oneLine(err), err)
	}
	cl.ID = l.cluster
	url, err := cl.place(ctx, e, l)
	if err != nil {
		return e.fail(errNotYet, oneLine(err), err)
	}
	if cl.MayChange != nil {
		if err := cl.MayChange(ctx); err != nil {
			return e.fail(nil, "not sent: "+oneLine(err), err)
		}
	}
	sent, err := cl.send(ctx, url, e.call)
	switch {
	case err == nil:
		return nil
	case !sent && ctx.Err() != nil:
		return e.fail(nil, "not sent: "+oneLine(ctx.Err()), ctx.Err())
	case !sent && passes(err):
		return e.fail(errNotYet, "not sent: "+url+": "+oneLine(err), err)
	case !sent:
		return e.fail(nil, "not sent: "+url+": "+oneLine(err), err)
	case isDefinite(err) && waitsFor(err) != "":
		return e.fail(errNotYet, oneLine(err)+": "+waitsFor(err), err)
	}
	return cl.settle(ctx, e, url, err)
}

// settle finds out what became of a change that was sent and got err.
func (cl Cluster) settle(ctx context.Context, e edit, url string, err error) error {
	// The operator's Ctrl-C ends the call, not the knowing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	// Last the member that gave no answer: it may hang.
	cl.Endpoints = append(slices.DeleteFunc(slices.Clone(cl.Endpoints), func(u string) bool { return u == url }), url)
	l, listErr := cl.list(ctx)
	said := url + ": " + oneLine(err)
	switch {
	case listErr == nil && e.done(l):
		return nil
	case listErr != nil && !isDefinite(err):
		return e.fail(ErrUnknownOutcome, "outcome unknown: "+said+"; "+listErr.Error()+
			"; list the members before another try", err)
	case !isDefinite(err):
		return e.fail(errNotYet, said+"; it is not done by now", err)
	case slices.ContainsFunc(e.passing, func(p error) bool { return errors.Is(err, p) }):
		return e.fail(errNotYet, oneLine(err), err)
	}
	return e.fail(nil, oneLine(err)+advice(err, l), err)
}

// advice is what to do about a final refusal; l may be nil.
func advice(err error, l *listing) string {
	switch {
	case isAuth(err):
		return "; membership is changed by a user with the role root"
	case !errors.Is(err, rpctypes.ErrTooManyLearners) || l == nil:
		return ""
	}
	var have []string
	for _, m := range l.members {
		if m.Learner {
			have = append(have, memberText(&m))
		}
	}
	return ": the place is taken by " + strings.Join(have, ", ") + "; promote or remove it first"
}

// fail is an error of the change; kind nil is final.
func (e edit) fail(kind error, text string, cause error) error {
	return &sortedError{kind, e.what + ": " + text, cause}
}

// kindOf carries on what kind of error err is.
func kindOf(err error) error {
	switch {
	case IsNotYet(err):
		return errNotYet
	case errors.Is(err, ErrIsVoter):
		return ErrIsVoter
	}
	return nil
}

// place gives where to send the change: to the member that listed, or to the
// leader.
func (cl Cluster) place(ctx context.Context, e edit, l *listing) (string, error) {
	if !e.toLeader && !e.preferLeader || l.member == l.leader {
		return l.url, nil
	}
	urls := slices.Clone(cl.Endpoints)
	if m := l.find(l.leader); m != nil {
		urls = append(urls, m.ClientURLs...) // these may be good on its network only
	}
	found, reasons := cl.statuses(ctx, urls)
	for _, url := range urls {
		if st := found[url]; st != nil && hexID(st.Header.MemberId) == l.leader {
			return url, nil
		}
	}
	if e.preferLeader {
		return l.url, nil
	}
	return "", fmt.Errorf("the leader %s answers at none of %s; %s", l.leader, strings.Join(urls, ", "), strings.Join(reasons, "; "))
}

// send makes the call at one member; sent is false where it certainly did not
// leave.
func (cl Cluster) send(ctx context.Context, url string, call func(context.Context, *client, grpc.CallOption) error,
) (sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	c, _, err := cl.dial(ctx, url)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	return true, once(ctx, func(ctx context.Context, opt grpc.CallOption) error { return call(ctx, c, opt) })
}

// once keeps the client from sending a call twice. Its interceptor does so, for a
// change too, after a Canceled or DeadlineExceeded that comes from the other side
// (client/v3/retry_interceptor.go): so the context ends with the first attempt.
func once(ctx context.Context, call func(context.Context, grpc.CallOption) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(chan error, 1)
	err := call(ctx, grpc.OnFinish(func(err error) {
		select {
		case first <- err:
		default:
		}
		cancel()
	}))
	if err == nil {
		return nil
	}
	select { // the attempt's own error, not that of our cancelling
	case f := <-first:
		if f != nil {
			err = f
		}
	default:
	}
	return rpctypes.Error(err)
}

// badURLs says what is wrong with peer URLs that member id is to get ("" for a
// new one). etcd itself takes anything in an update, and panics over it later.
func badURLs(l *listing, peerURLs []string, id string) error {
	if _, err := types.NewURLs(peerURLs); err != nil {
		return err
	}
	if m := l.holder(peerURLs, id); m != nil {
		return fmt.Errorf("one of the URLs belongs to %s", memberText(m))
	}
	return nil
}

func parseID(id string) (uint64, error) {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no member ID", id)
	}
	return n, nil
}
