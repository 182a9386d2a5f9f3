package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	serverconfig "go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/etcdserver/cindex"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// What follows makes a member of proven bytes, with etcd's own packages and in
// the order of etcdutl's Restore (etcdutl/v3/snapshot/v3_snapshot.go), which can't
// be asked to do it for several members at once, nor without copying and hashing
// again for each. TestAsEtcdutl compares the results, byte for byte.

// shaped is what a member's directory is made from.
type shaped struct {
	member  RestoreMember
	cluster *membership.RaftCluster
}

// newShaped checks what etcdutl checks of a member before it writes.
func newShaped(m RestoreMember) (shaped, error) {
	lg := zap.NewNop()
	urls, err := types.NewURLs(m.PeerURLs)
	if err != nil {
		return shaped{}, err
	}
	initial, err := types.NewURLsMap(m.InitialCluster)
	if err != nil {
		return shaped{}, err
	}
	srv := serverconfig.ServerConfig{Logger: lg, Name: m.Name, PeerURLs: urls, InitialPeerURLsMap: initial, InitialClusterToken: m.Token}
	if err := srv.VerifyBootstrap(); err != nil {
		return shaped{}, err
	}
	cl, err := membership.NewClusterFromURLsMap(lg, m.Token, initial)
	return shaped{m, cl}, err
}

func dbPath(m RestoreMember) string { return filepath.Join(m.OutDataDir, "member", "snap", "db") }

func (s shaped) db() string { return dbPath(s.member) }

func (s shaped) snapDir() string { return filepath.Dir(s.db()) }

func (s shaped) walDir() string {
	if s.member.OutWALDir != "" {
		return s.member.OutWALDir
	}
	return filepath.Join(s.member.OutDataDir, "member", "wal")
}

// withBackend opens the db as etcd does, but for its syncs: the whole tree is
// made durable once, at the end.
func (s shaped) withBackend(mmap uint64, do func(backend.Backend) error) error {
	cfg := backend.DefaultBackendConfig(zap.NewNop())
	cfg.Path, cfg.MmapSize, cfg.UnsafeNoFsync = s.db(), mmap, true
	be := backend.New(cfg)
	err := do(be)
	if cerr := be.Close(); err == nil {
		err = cerr
	}
	return err
}

// shapeDB makes the db that all members start from: without the members and
// the alarms of the source and with those of the new cluster, at the log position of its WAL. With
// bumpTo, an empty revision of that number is added and marked compacted.
func (s shaped) shapeDB(bumpTo int64) error {
	err := s.withBackend(0, func(be backend.Backend) error {
		if err := dropAlarms(be); err != nil {
			return err
		}
		return schema.NewMembershipBackend(zap.NewNop(), be).TrimMembershipFromBackend()
	})
	if err != nil {
		return err
	}
	if bumpTo > 0 {
		err := s.withBackend(backend.InitialMmapSize, func(be backend.Backend) error {
			tx := be.BatchTx()
			tx.LockOutsideApply()
			tx.UnsafePut(schema.Key, mvcc.RevToBytes(mvcc.Revision{Main: bumpTo}, mvcc.NewRevBytes()), []byte{})
			mvcc.UnsafeSetScheduledCompact(tx, bumpTo)
			tx.Unlock()
			be.ForceCommit()
			return nil
		})
		if err != nil {
			return err
		}
	}
	err = s.withBackend(0, func(be backend.Backend) error {
		s.cluster.SetBackend(schema.NewMembershipBackend(zap.NewNop(), be))
		for _, m := range s.cluster.Members() {
			s.cluster.AddMember(m, true)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.withBackend(0, func(be backend.Backend) error {
		cindex.UpdateConsistentIndexForce(be.BatchTx(), uint64(len(s.cluster.MemberIDs())), logTerm)
		return nil
	})
}

// dropAlarms takes out the alarms that came with the snapshot: they name members that
// are no more. NOSPACE would keep the new cluster from taking writes, and disarming
// them later takes a user where auth is on, whom nobody here has.
func dropAlarms(be backend.Backend) error {
	tx := be.BatchTx()
	tx.LockOutsideApply()
	defer tx.Unlock()
	var old [][]byte
	err := tx.UnsafeForEach(schema.Alarm, func(k, _ []byte) error {
		old = append(old, bytes.Clone(k))
		return nil
	})
	for _, k := range old {
		tx.UnsafeDelete(schema.Alarm, k)
	}
	return err
}

const logTerm = 1 // of everything in a restored log

// writeLog makes the member's WAL, in which the new cluster's members are added,
// and the .snap file of the same position (etcdutl's saveWALAndSnap).
func (s shaped) writeLog() error {
	lg := zap.NewNop()
	if err := fileutil.CreateDirAll(lg, s.walDir()); err != nil {
		return err
	}
	self := s.cluster.MemberByName(s.member.Name)
	metadata, err := proto.Marshal(&etcdserverpb.Metadata{NodeID: new(uint64(self.ID)), ClusterID: new(uint64(s.cluster.ID()))})
	if err != nil {
		return err
	}
	w, err := wal.Create(lg, s.walDir(), metadata)
	if err != nil {
		return fmt.Errorf("creating the WAL in %s: %w", s.walDir(), err)
	}
	defer w.Close()
	entries, voters, err := s.log()
	if err != nil {
		return err
	}
	commit, term := uint64(len(entries)), uint64(logTerm)
	if err := w.Save(&raftpb.HardState{Term: &term, Vote: new(voters[0]), Commit: &commit}, entries); err != nil {
		return err
	}
	state := &raftpb.ConfState{Voters: voters}
	err = snap.New(lg, s.snapDir()).SaveSnap(&raftpb.Snapshot{
		Data:     etcdserver.GetMembershipInfoInV2Format(lg, s.cluster),
		Metadata: &raftpb.SnapshotMetadata{Index: &commit, Term: &term, ConfState: state},
	})
	if err != nil {
		return err
	}
	return w.SaveSnapshot(&walpb.Snapshot{Index: &commit, Term: &term, ConfState: state})
}

// log has one entry for each member, in the order of their IDs.
func (s shaped) log() (entries []*raftpb.Entry, voters []uint64, err error) {
	for i, id := range s.cluster.MemberIDs() {
		member, err := json.Marshal(s.cluster.Member(id))
		if err != nil {
			return nil, nil, err
		}
		add, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(uint64(id)), Context: member})
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, &raftpb.Entry{
			Type: raftpb.EntryConfChange.Enum(), Term: new(uint64(logTerm)), Index: new(uint64(i + 1)), Data: add,
		})
		voters = append(voters, uint64(id))
	}
	return entries, voters, nil
}
