package survivor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner"
)

// ending is the copy after etcd has stopped.
type ending struct {
	log  *raftLog
	base position // of its db
	db   dbState
	obs  planner.SnapshotObservation
}

var errNotApplied = errors.New("its db has not applied everything")

// checkReplay holds what came out to what went in.
func (j *job) checkReplay(ctx context.Context) (e ending, err error) {
	if e.log, err = readLog(filepath.Join(j.dir, "member", "wal")); err != nil {
		return e, err
	}
	if e.db, err = readDBState(j.dbPath()); err != nil {
		return e, err
	}
	var ok bool
	if e.base, ok = e.log.at(e.db.consistentIndex); !ok || e.base.index < j.r.Upto {
		return e, fmt.Errorf("%w: entry %d, and the log has %d to %d", errNotApplied, e.db.consistentIndex, e.log.snapshot.index, e.log.end().index)
	}
	if err := ownEntries(e.log.entries, j.r.Upto); err != nil {
		return e, err
	}
	if e.obs, err = prove(ctx, j.dbPath(), snapshot.Want{SkipHashCheck: true}, j.tell); err != nil {
		return e, err
	}
	if e.obs.Revision < j.before.Revision {
		return e, fmt.Errorf("it is at revision %d, and the copy was at %d", e.obs.Revision, j.before.Revision)
	}
	if err := sameVersion(j.db, e.db, j.src.tail.version); err != nil {
		return e, err
	}
	return e, j.checkLeases(e.db)
}

// ownEntries refuses what the copy's etcd may have done of its own accord: to
// revoke a lease, for one.
func ownEntries(entries []*raftpb.Entry, upto uint64) error {
	for _, e := range entries {
		if e.GetIndex() <= upto {
			continue
		}
		r, err := request(e)
		switch {
		case err != nil:
			return err
		case e.GetType() != raftpb.EntryNormal:
			return fmt.Errorf("etcd changed the membership by itself (entry %d)", e.GetIndex())
		case r == nil, r.ClusterMemberAttrSet != nil, r.ClusterVersionSet != nil, r.DowngradeInfoSet != nil:
		case r.LeaseRevoke != nil:
			return fmt.Errorf("lease %x ran out while etcd ran on the copy; its keys would be missing", r.LeaseRevoke.ID)
		default:
			return fmt.Errorf("etcd added an entry by itself that is not its own business (%d)", e.GetIndex())
		}
	}
	return nil
}

// sameVersion refuses a db that another minor's etcd has moved to its format
// (S12). "" and 3.0.0 are what there is until a leader has found it out.
func sameVersion(before, after dbState, inTail string) error {
	if before.storageVersion != "" && after.storageVersion != before.storageVersion {
		return fmt.Errorf("etcd moved it from storage version %s to %s: use the minor version that wrote it", before.storageVersion, after.storageVersion)
	}
	was := before.clusterVersion
	if inTail != "" {
		was = inTail
	}
	if was != "" && was != "3.0.0" && minor(after.clusterVersion) != minor(was) {
		return fmt.Errorf("etcd moved it from cluster version %s to %s: use the minor version that wrote it", was, after.clusterVersion)
	}
	return nil
}

func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// checkLeases compares the leases with those of the db and of the log. With auth
// an entry that revokes one may have been refused, under an alarm one that grants
// it, so that some may be there or not.
func (j *job) checkLeases(after dbState) error {
	want, refusable := j.leases()
	for id, l := range after.lease {
		if _, ok := want[id]; !ok && !refusable[id] {
			return fmt.Errorf("it has a lease %x (%d s) that neither the db nor the log lead to", id, l.TTL)
		}
	}
	for id := range want {
		if after.lease[id] == nil && !refusable[id] {
			return fmt.Errorf("lease %x is missing, and its keys with it", id)
		}
	}
	return nil
}

// leases are those that db and log lead to, and the IDs of which it can't be
// told.
func (j *job) leases() (want map[int64]*leasepb.Lease, refusable map[int64]bool) {
	want, refusable = map[int64]*leasepb.Lease{}, map[int64]bool{}
	for id, l := range j.db.lease {
		want[id] = l
	}
	auth, alarm := j.db.auth || j.src.tail.auth, j.db.alarms > 0 || j.src.tail.alarm
	for _, e := range j.src.tail.leases {
		switch {
		case !e.grant:
			delete(want, e.id)
			refusable[e.id] = refusable[e.id] || auth || alarm
		case want[e.id] == nil && e.ttl <= maxTTL && e.id != 0:
			want[e.id] = &leasepb.Lease{ID: e.id, TTL: e.ttl}
			refusable[e.id] = refusable[e.id] || alarm
		}
	}
	return want, refusable
}

// maxTTL is lease.MaxLeaseTTL; etcd refuses to grant a longer one.
const maxTTL = 9000000000

// originalLeases are the leases of the result as they were granted.
func (j *job) originalLeases(after dbState) map[int64]*leasepb.Lease {
	granted, _ := j.leases()
	for _, e := range j.src.tail.leases { // one whose revocation was refused
		if e.grant && granted[e.id] == nil {
			granted[e.id] = &leasepb.Lease{ID: e.id, TTL: e.ttl}
		}
	}
	back := map[int64]*leasepb.Lease{}
	for id := range after.lease {
		back[id] = granted[id]
		if back[id] == nil {
			back[id] = j.db.lease[id]
		}
	}
	return back
}
