package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner"
)

// askLimit bounds a look at one member where others are asked at the same time.
const askLimit = 3 * time.Second

// Cluster is a running cluster, as reached at client URLs of some of its members.
type Cluster struct {
	// Endpoints are asked in turn, each for at most 5 s: those that are known to
	// serve first. A learner gives no list and is passed over.
	Endpoints []string
	Access    Access
	// ID is whose members they have to be, in hex: what answers as another
	// cluster is passed over. Without it a name that now resolves elsewhere is
	// not noticed, and a member that is not listed there counts as removed (S5).
	ID string
	// MayChange is asked right before a change is sent, after the list was read; its
	// error keeps it from being sent. Nil for always. What is left between it and the
	// member's answer can't be fenced off (S23).
	MayChange func(ctx context.Context) error
}

// listing is the cluster's member list, and who gave it.
type listing struct {
	url, cluster, member string
	leader               string // as that member saw it just after; "" for none
	members              []planner.ListedMember
}

// find gives the member with this ID, nil for none.
func (l *listing) find(id string) *planner.ListedMember {
	i := slices.IndexFunc(l.members, func(m planner.ListedMember) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return &l.members[i]
}

// at gives the member with exactly these peer URLs, nil for none.
func (l *listing) at(peerURLs []string) *planner.ListedMember {
	i := slices.IndexFunc(l.members, func(m planner.ListedMember) bool { return sameSet(m.PeerURLs, peerURLs) })
	if i < 0 {
		return nil
	}
	return &l.members[i]
}

// holder gives a member other than id that has one of these peer URLs.
func (l *listing) holder(peerURLs []string, id string) *planner.ListedMember {
	for i, m := range l.members {
		if m.ID != id && slices.ContainsFunc(m.PeerURLs, func(u string) bool { return slices.Contains(peerURLs, u) }) {
			return &l.members[i]
		}
	}
	return nil
}

// ListMembers gives the member list that a majority agrees on (a linearizable
// read) and the cluster's ID in hex, from the first endpoint that has it. The
// error has every endpoint's reason; IsNotYet tells whether one of them may pass.
func (cl Cluster) ListMembers(ctx context.Context) (clusterID string, list []planner.ListedMember, err error) {
	l, err := cl.list(ctx)
	if err != nil {
		return "", nil, err
	}
	return l.cluster, l.members, nil
}

func (cl Cluster) list(ctx context.Context) (*listing, error) {
	var reasons []string
	final := true
	for _, url := range cl.Endpoints {
		l, err := cl.listAt(ctx, url)
		if err == nil {
			return l, nil
		}
		final = final && !passes(err)
		reasons = append(reasons, url+": "+oneLine(err))
		if ctx.Err() != nil {
			return nil, &sortedError{nil, "given up: " + strings.Join(reasons, "; "), ctx.Err()}
		}
	}
	text := "no endpoint gives the member list: " + strings.Join(reasons, "; ")
	switch {
	case len(reasons) == 0:
		return nil, errors.New("no endpoint to ask for the member list")
	case final:
		return nil, errors.New(text)
	}
	return nil, &sortedError{errNotYet, text, nil}
}

// listAt is list at one endpoint.
func (cl Cluster) listAt(ctx context.Context, url string) (*listing, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultLimit)
	defer cancel()
	c, _, err := cl.dial(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	resp, err := c.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the members: %w", err)
	}
	// After the list, whose read the leader has confirmed: not what the member
	// took for the leader before.
	st, err := c.status(ctx)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	e := fromStatus(st)
	l := &listing{url: url, cluster: e.ClusterID, member: e.MemberID, leader: e.LeaderID}
	for _, m := range resp.Members {
		l.members = append(l.members, fromProto(m))
	}
	return l, nil
}

// dial opens a client and makes sure that it leads to the cluster.
func (cl Cluster) dial(ctx context.Context, url string) (*client, *clientv3.StatusResponse, error) {
	c, err := open(ctx, url, cl.Access)
	if err != nil {
		return nil, nil, err
	}
	st, err := c.status(ctx)
	if err == nil && cl.ID != "" && hexID(st.Header.ClusterId) != cl.ID {
		err = &unreached{planner.ReachWrongService, fmt.Sprintf("member %s of cluster %s answers, not one of cluster %s",
			hexID(st.Header.MemberId), hexID(st.Header.ClusterId), cl.ID)}
	}
	if err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return c, st, nil
}

// OtherList is Listed's reason for a member that answered, with another list.
const OtherList = "its list is another"

// Listed asks every member of urls (name to client URL), all at once, whether
// its own list satisfies pred: a serializable read, so that one sees how far a
// change has got. It gives the names that do, sorted, and for the others why
// not: OtherList where one answered. A learner gives no list; ProbePeer does. Each is
// asked for at most 3 s.
func (cl Cluster) Listed(ctx context.Context, urls map[string]string, pred func([]planner.ListedMember) bool,
) (yes []string, no map[string]string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	no = map[string]string{}
	for name, url := range urls {
		wg.Go(func() {
			list, err := cl.ownList(ctx, url)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				no[name] = oneLine(err)
			case pred(list):
				yes = append(yes, name)
			default:
				no[name] = OtherList
			}
		})
	}
	wg.Wait()
	slices.Sort(yes)
	return yes, no
}

func (cl Cluster) ownList(ctx context.Context, url string) ([]planner.ListedMember, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	c, _, err := cl.dial(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	f := c.memberList(ctx)
	if !f.Known() {
		return nil, errors.New(f.Why)
	}
	return f.Value, nil
}

// Lag is how far a member was, and how far its cluster was right after.
type Lag struct {
	Applied   uint64 // the last raft entry that the member has applied
	Committed uint64 // the last one that the leader has committed
	// Learner is what the member takes itself for.
	Learner bool
}

// Behind is how many entries the member has still to apply. The two numbers are not
// of one instant: under writes it hardly ever is 0, and the farther away the members
// are, the larger it is for one that follows at once.
func (l Lag) Behind() uint64 { return l.Committed - min(l.Committed, l.Applied) }

// LagOf asks the member at url, a learner say, how far it is, and then the leader.
// Without the leader's answer the foremost of the endpoints' stands for it.
func (cl Cluster) LagOf(ctx context.Context, url string) (Lag, error) {
	st, err := cl.statusAt(ctx, url)
	if err != nil {
		return Lag{}, plain{fmt.Errorf("%s: %w", url, err)}
	}
	cl.ID = hexID(st.Header.ClusterId)
	var index uint64
	leads := false
	found, reasons := cl.statuses(ctx, cl.Endpoints)
	for _, s := range found {
		switch isLeader := s.Leader == s.Header.MemberId; {
		case isLeader && !leads:
			index, leads = s.RaftIndex, true
		case isLeader == leads:
			index = max(index, s.RaftIndex)
		}
	}
	if len(found) == 0 {
		return Lag{}, errors.New("no endpoint says how far the cluster is: " + strings.Join(reasons, "; "))
	}
	return Lag{Applied: st.RaftAppliedIndex, Committed: index, Learner: st.IsLearner}, nil
}

func (cl Cluster) statusAt(ctx context.Context, url string) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	c, st, err := cl.dial(ctx, url)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return st, nil
}

// statuses asks all urls at once; reasons are those of the ones that failed.
func (cl Cluster) statuses(ctx context.Context, urls []string) (found map[string]*clientv3.StatusResponse, reasons []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	found = map[string]*clientv3.StatusResponse{}
	for _, url := range urls {
		wg.Go(func() {
			st, err := cl.statusAt(ctx, url)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				reasons = append(reasons, url+": "+oneLine(err))
				return
			}
			found[url] = st
		})
	}
	wg.Wait()
	slices.Sort(reasons)
	return found, reasons
}

// sameSet compares URLs as etcd does: as they are written, in any order.
func sameSet(a, b []string) bool {
	sorted := func(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }
	return slices.Equal(sorted(a), sorted(b))
}

// memberText names a member for people.
func memberText(m *planner.ListedMember) string {
	name := m.Name
	if name == "" {
		name = "an unstarted member"
	}
	return fmt.Sprintf("%s (%s, %s)", name, m.ID, strings.Join(m.PeerURLs, ", "))
}
