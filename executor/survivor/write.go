package survivor

import (
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v2store"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// writeLog writes the log and the .snap file of a cluster of one beside its db:
// a snapshot at base whose one voter is self, then entries. It is what etcdutl's
// restore does (etcdutl/v3/snapshot/v3_snapshot.go saveWALAndSnap), with the IDs
// and the place in the log kept.
//
// From 3.7 on etcd takes the voters from the log's snapshot record, before that
// from the .snap file, and up to 3.5 its members too.
func writeLog(dataDir string, id identity, self *membership.Member, removed []types.ID, base position, state *raftpb.HardState, entries []*raftpb.Entry) error {
	lg := zap.NewNop()
	snapDir := filepath.Join(dataDir, "member", "snap")
	if err := os.MkdirAll(snapDir, 0o700); err != nil {
		return err
	}
	voters := &raftpb.ConfState{Voters: []uint64{uint64(self.ID)}}
	data, err := v2Members(lg, id, self, removed)
	if err != nil {
		return err
	}
	err = snap.New(lg, snapDir).SaveSnap(&raftpb.Snapshot{Data: data, Metadata: &raftpb.SnapshotMetadata{
		ConfState: voters, Index: new(base.index), Term: new(base.term)}})
	if err != nil {
		return err
	}
	w, err := wal.Create(lg, filepath.Join(dataDir, "member", "wal"), id.metadata)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.SaveSnapshot(&walpb.Snapshot{Index: new(base.index), Term: new(base.term), ConfState: voters}); err != nil {
		return err
	}
	return w.Save(state, entries)
}

// v2Members is the membership as a .snap file has it.
func v2Members(lg *zap.Logger, id identity, self *membership.Member, removed []types.ID) ([]byte, error) {
	st := v2store.New(etcdserver.StoreClusterPrefix, etcdserver.StoreKeysPrefix)
	membership.NewClusterFromMembers(lg, id.cluster, []*membership.Member{self}).Store(st)
	for _, r := range removed {
		if _, err := st.Create(membership.RemovedMemberStoreKey(r), false, "", false, v2store.TTLOptionSet{ExpireTime: v2store.Permanent}); err != nil {
			return nil, err
		}
	}
	return st.SaveNoCopy()
}
