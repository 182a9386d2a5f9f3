package etcd

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner"
)

const (
	hashAttempts = 6                      // at new revisions, while compaction is on its way
	settlePoll   = 50 * time.Millisecond  // between looks at a member that lags
	settleMost   = 5 * time.Second        // to wait for one, at most half the limit
	hashPause    = 150 * time.Millisecond // before another attempt
)

// CompareKV hashes the key space of every member at one revision. endpoints maps
// a member's name to its client URL; learners can't be hashed and should not be
// in it. limit (default 5 s) is for everything; HashKV scans a whole database.
//
// The hashes are compared only where hash revision and compact revision are the
// same on all (server/storage/mvcc/hash.go); a difference is looked at twice
// where time allows, and is contradicted where the second look finds none. The revision is the lowest of the members', after each has
// reached the highest that any had at first: otherwise a member that started
// empty would be "equal" at revision 1. A member that has applied as much of the
// log and still is at a lower revision has diverged: the result is then unequal,
// Revision is the highest, and each hash is of its member's own latest revision.
//
// All else (no answer, no permission, a member that lags) is unknown, with the
// member named. Under authentication HashKV needs the root role.
func CompareKV(ctx context.Context, endpoints map[string]string, a Access, limit time.Duration,
) planner.Fact[planner.KVComparison] {
	ctx, cancel := withLimit(ctx, limit)
	defer cancel()
	if len(endpoints) == 0 {
		return planner.Unknown[planner.KVComparison]("no member to compare")
	}
	g, err := openAll(ctx, endpoints, a)
	defer g.close()
	if err != nil {
		return planner.Unknown[planner.KVComparison](oneLine(err))
	}
	behind, err := g.settle(ctx)
	switch {
	case err != nil:
		return planner.Unknown[planner.KVComparison](oneLine(err))
	case behind != nil && behind.diverged:
		return g.diverged(ctx, behind)
	case behind != nil:
		return planner.Unknown[planner.KVComparison](behind.String())
	}
	return g.compare(ctx)
}

// group is one client for each member, by name.
type group struct {
	names   []string // sorted
	clients map[string]*client
}

// openAll opens all at once; the group is to be closed also on error.
func openAll(ctx context.Context, endpoints map[string]string, a Access) (*group, error) {
	g := &group{clients: map[string]*client{}}
	for name := range endpoints {
		g.names = append(g.names, name)
	}
	sort.Strings(g.names)
	var mu sync.Mutex
	return g, g.each(func(name string) error {
		c, err := open(ctx, endpoints[name], a)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		g.clients[name] = c
		return nil
	})
}

func (g *group) close() {
	for _, c := range g.clients {
		_ = c.Close()
	}
}

// each runs f for every name at once and gives the first error in the names'
// order, with the name before it.
func (g *group) each(f func(name string) error) error {
	errs := make([]error, len(g.names))
	var wg sync.WaitGroup
	for i, name := range g.names {
		wg.Go(func() { errs[i] = f(name) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", g.names[i], err)
		}
	}
	return nil
}

// place is how far a member is.
type place struct {
	cluster  uint64
	revision int64
	applied  uint64 // raft index
}

// places asks every member for its place.
func (g *group) places(ctx context.Context) (map[string]place, error) {
	out := make(map[string]place, len(g.names))
	var mu sync.Mutex
	err := g.each(func(name string) error {
		st, err := g.clients[name].status(ctx)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		out[name] = place{st.Header.ClusterId, st.Header.Revision, st.RaftAppliedIndex}
		return nil
	})
	return out, err
}

// lag is a member that does not reach the revision another one had.
type lag struct {
	name, ahead           string
	at, want              int64
	diverged              bool // it has applied the log as far, and still is not there
	otherCluster          bool
	applied, aheadApplied uint64
}

func (l *lag) String() string {
	text := fmt.Sprintf("%s stays at revision %d while %s is at %d", l.name, l.at, l.ahead, l.want)
	switch {
	case l.otherCluster:
		return text + ", in another cluster"
	case l.diverged:
		return text + fmt.Sprintf(", though it has applied the log to %d (%s then had %d)", l.applied, l.ahead, l.aheadApplied)
	}
	return text
}

// settle waits until every member is where the foremost was at first. It gives
// the member that does not get there in time, nil for none.
func (g *group) settle(ctx context.Context) (*lag, error) {
	now, err := g.places(ctx)
	if err != nil {
		return nil, err
	}
	ahead := g.names[0]
	for _, n := range g.names {
		if now[n].revision > now[ahead].revision {
			ahead = n
		}
	}
	first := now[ahead]
	until := time.Now().Add(settleMost)
	if deadline, ok := ctx.Deadline(); ok {
		until = time.Now().Add(min(settleMost, time.Until(deadline)/2))
	}
	again := false
	for {
		l := g.behind(now, ahead, first)
		late := time.Now().After(until)
		// Status reads the revision before the applied index, so one look may
		// catch an entry in between: divergence is what two looks show.
		if l == nil || late && (!l.diverged || again) {
			return l, nil
		}
		again = late && l.diverged
		if err := pause(ctx, settlePoll); err != nil {
			return nil, err
		}
		if now, err = g.places(ctx); err != nil {
			return nil, err
		}
	}
}

// behind finds a member below first, where the member called ahead was.
func (g *group) behind(now map[string]place, ahead string, first place) *lag {
	for _, n := range g.names {
		p := now[n]
		if p.revision >= first.revision {
			continue
		}
		same := p.cluster == first.cluster
		return &lag{
			name: n, ahead: ahead, at: p.revision, want: first.revision,
			// The revision follows from the log alone, so as much log with less
			// revision is another history. The caller has waited long enough for
			// an entry that was being applied.
			diverged: same && p.applied >= first.applied, otherCluster: !same,
			applied: p.applied, aheadApplied: first.applied,
		}
	}
	return nil
}

// diverged is the result for a member that has the log but not the keys.
func (g *group) diverged(ctx context.Context, l *lag) planner.Fact[planner.KVComparison] {
	all, err := g.hashes(ctx, 0)
	if err != nil {
		return planner.Unknown[planner.KVComparison](l.String() + "; hashes: " + oneLine(err))
	}
	f := planner.Known(planner.KVComparison{Revision: l.want, Hashes: values(all)})
	f.Why = l.String()
	return f
}

// compare hashes until the hashes can be compared.
func (g *group) compare(ctx context.Context) planner.Fact[planner.KVComparison] {
	var unequal *planner.KVComparison
	var why string
	for i := range hashAttempts {
		if i > 0 {
			if err := pause(ctx, hashPause); err != nil {
				break
			}
		}
		c, reason, err := g.compareOnce(ctx)
		switch {
		case err != nil && unequal != nil:
			return planner.Known(*unequal)
		case err != nil:
			return planner.Unknown[planner.KVComparison](oneLine(err))
		case reason != "":
			why = reason
		case unequal == nil && c.Equal:
			return planner.Known(c)
		case unequal == nil:
			unequal = &c
		case !c.Equal:
			return planner.Known(c)
		default:
			return planner.Contradicted[planner.KVComparison](fmt.Sprintf(
				"hashes differed at revision %d and agree at %d", unequal.Revision, c.Revision))
		}
	}
	if unequal != nil {
		return planner.Known(*unequal)
	}
	return planner.Unknown[planner.KVComparison]("the hashes could not be compared: " + why)
}

// compareOnce hashes all at the lowest current revision. A reason says why the
// hashes are not comparable this time.
func (g *group) compareOnce(ctx context.Context) (planner.KVComparison, string, error) {
	at, err := g.places(ctx)
	if err != nil {
		return planner.KVComparison{}, "", err
	}
	rev := at[g.names[0]].revision
	for _, p := range at {
		rev = min(rev, p.revision)
	}
	asked := rev
	all, err := g.hashes(ctx, asked)
	if errors.Is(err, rpctypes.ErrCompacted) {
		// 3.4 refuses the very revision of the last compaction, which is the latest
		// one right after a restore that marked all as compacted; asked for the
		// latest, it hashes it (mvcc/kvstore.go HashByRev).
		asked = 0
		all, err = g.hashes(ctx, asked)
	}
	switch {
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		return planner.KVComparison{}, oneLine(err), nil
	case err != nil:
		return planner.KVComparison{}, "", err
	}
	first := all[g.names[0]]
	rev = hashRevision(first, asked)
	c := planner.KVComparison{Revision: rev, Equal: true, Hashes: values(all)}
	for _, n := range g.names {
		h := all[n]
		if h.CompactRevision != first.CompactRevision || hashRevision(h, asked) != rev {
			return c, fmt.Sprintf("%s, at revision %d, is compacted at %d, and %s, at %d, at %d",
				g.names[0], rev, first.CompactRevision, n, hashRevision(h, asked), h.CompactRevision), nil
		}
		c.Equal = c.Equal && h.Hash == first.Hash
	}
	return c, "", nil
}

// hashRevision is the revision that was hashed; before 3.6 it is not told: it is
// the one asked for, and where that is the latest (0) it stands in the header.
func hashRevision(h *clientv3.HashKVResponse, asked int64) int64 {
	switch {
	case h.HashRevision != 0:
		return h.HashRevision
	case asked != 0:
		return asked
	}
	return h.Header.GetRevision()
}

// hashes asks all members at once; rev 0 is each one's latest.
func (g *group) hashes(ctx context.Context, rev int64) (map[string]*clientv3.HashKVResponse, error) {
	out := make(map[string]*clientv3.HashKVResponse, len(g.names))
	var mu sync.Mutex
	err := g.each(func(name string) error {
		c := g.clients[name]
		h, err := c.maintenance.HashKV(ctx, c.url, rev)
		if err != nil {
			return fmt.Errorf("HashKV: %w", err)
		}
		mu.Lock()
		defer mu.Unlock()
		out[name] = h
		return nil
	})
	return out, err
}

func values(all map[string]*clientv3.HashKVResponse) map[string]uint32 {
	out := make(map[string]uint32, len(all))
	for n, h := range all {
		out[n] = h.Hash
	}
	return out
}
