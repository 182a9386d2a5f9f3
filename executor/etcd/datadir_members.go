package etcd

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"sort"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v2store"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/planner"
)

// listMembers is the membership at the log's commit: what was stored, with the
// committed changes that came after. The db is the truth from 3.6 on; before,
// it is the newest .snap file's v2 store, and the db only lends it names and
// client URLs (etcdserver/api/membership).
func listMembers(p dirPaths, log walLog, db dbContent) []planner.ListedMember {
	stored, since := db.members, db.consistentIndex
	if db.storageVersion == "" {
		if v2, index, ok := v2Members(p, log); ok {
			stored, since = v2, index
		} else if log.first == 1 {
			stored, since = nil, 0
		}
	}
	set := map[uint64]*membership.Member{}
	for _, m := range stored {
		set[uint64(m.ID)] = m
	}
	for _, c := range log.changes {
		if c.index > since && c.index <= log.commit {
			applyChange(set, c.data)
		}
	}
	for _, m := range db.members {
		if s := set[uint64(m.ID)]; s != nil && m.Name != "" {
			s.Name, s.ClientURLs = m.Name, m.ClientURLs
		}
	}
	return sortedMembers(set)
}

func sortedMembers(set map[uint64]*membership.Member) []planner.ListedMember {
	var list []planner.ListedMember
	for id, m := range set {
		list = append(list, planner.ListedMember{
			ID: hexID(id), Name: m.Name, PeerURLs: slices.Clone(m.PeerURLs),
			ClientURLs: slices.Clone(m.ClientURLs), Learner: m.IsLearner,
		})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}

// applyChange follows etcdserver/server.go applyConfChange, and ignores what
// etcd refuses when it applies it.
func applyChange(set map[uint64]*membership.Member, data []byte) {
	var cc raftpb.ConfChange
	if proto.Unmarshal(data, &cc) != nil {
		return
	}
	var c membership.ConfigChangeContext
	known := set[cc.GetNodeId()]
	if len(cc.Context) > 0 && json.Unmarshal(cc.Context, &c) != nil {
		return
	}
	switch cc.GetType() {
	case raftpb.ConfChangeRemoveNode:
		delete(set, cc.GetNodeId())
	case raftpb.ConfChangeUpdateNode:
		if known != nil {
			known.PeerURLs = c.PeerURLs
		}
	case raftpb.ConfChangeAddNode, raftpb.ConfChangeAddLearnerNode:
		if c.IsPromote {
			if known != nil {
				known.IsLearner = false
			}
		} else if known == nil {
			m := c.Member
			m.IsLearner = cc.GetType() == raftpb.ConfChangeAddLearnerNode
			set[cc.GetNodeId()] = &m
		}
	}
}

// v2Members reads the newest .snap file that the log knows, with its index. It
// uses snap.Read: snap.Snapshotter renames files that it can't read.
func v2Members(p dirPaths, log walLog) (list []*membership.Member, index uint64, ok bool) {
	defer func() {
		if recover() != nil { // MembersFromStore panics on what it does not know
			list, index, ok = nil, 0, false
		}
	}()
	names := snapFiles(p, ".snap")
	slices.Reverse(names)
	lg := zap.NewNop()
	for _, name := range names {
		if filepath.Ext(name) != ".snap" {
			continue
		}
		s, err := snap.Read(lg, name)
		if err != nil || !slices.Contains(log.snapshots, position{s.GetMetadata().GetTerm(), s.GetMetadata().GetIndex()}) {
			continue
		}
		st := v2store.New("/0", "/1")
		if st.Recovery(s.Data) != nil {
			continue
		}
		members, _ := membership.MembersFromStore(lg, st)
		for _, m := range members {
			list = append(list, m)
		}
		return list, s.GetMetadata().GetIndex(), true
	}
	return nil, 0, false
}
