package etcd

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v2store"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/planner"
)

// roster is a membership: who is in, and who was removed for good.
type roster struct {
	in   map[uint64]*membership.Member
	gone map[uint64]bool
}

func newRoster(members []*membership.Member, removed []uint64) roster {
	r := roster{map[uint64]*membership.Member{}, map[uint64]bool{}}
	for _, m := range members {
		r.in[uint64(m.ID)] = m
	}
	for _, id := range removed {
		r.gone[id] = true
	}
	return r
}

// listMembers is the membership at the log's commit: what was stored, with the
// committed changes that came after. The db is the truth from 3.6 on; before,
// it is the newest .snap file's v2 store, and the db only lends it names and
// client URLs (etcdserver/api/membership), and IDs that were removed.
func listMembers(p dirPaths, log walLog, db dbContent) (members []planner.ListedMember, removed []string) {
	r, since := newRoster(db.members, db.removed), db.consistentIndex
	if db.storageVersion == "" {
		if v2, gone, index, ok := v2Members(p, log); ok {
			r, since = newRoster(v2, gone), index
		} else if log.first == 1 {
			r, since = newRoster(nil, nil), 0
		}
	}
	for _, c := range log.changes {
		if c.index > since && c.index <= max(log.commit, db.consistentIndex) {
			r.apply(c.data)
		}
	}
	for _, m := range db.members {
		if s := r.in[uint64(m.ID)]; s != nil && m.Name != "" {
			s.Name, s.ClientURLs = m.Name, m.ClientURLs
		}
	}
	for _, id := range db.removed {
		r.gone[id] = r.gone[id] || r.in[id] == nil
	}
	for id, gone := range r.gone {
		if !gone {
			continue
		}
		removed = append(removed, hexID(id))
	}
	slices.Sort(removed)
	return sortedMembers(r.in), removed
}

func sortedMembers(set map[uint64]*membership.Member) []planner.ListedMember {
	var list []planner.ListedMember
	for id, m := range set {
		list = append(list, planner.ListedMember{
			ID: hexID(id), Name: m.Name, PeerURLs: UntoldUser(m.PeerURLs),
			ClientURLs: withoutUser(m.ClientURLs), Learner: m.IsLearner,
		})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list
}

// apply follows etcdserver/server.go applyConfChange, and ignores what etcd
// refuses when it applies it.
func (r roster) apply(data []byte) {
	var cc raftpb.ConfChange
	if proto.Unmarshal(data, &cc) != nil {
		return
	}
	var c membership.ConfigChangeContext
	known := r.in[cc.GetNodeId()]
	if r.gone[cc.GetNodeId()] || len(cc.Context) > 0 && json.Unmarshal(cc.Context, &c) != nil {
		return
	}
	switch cc.GetType() {
	case raftpb.ConfChangeRemoveNode:
		if known != nil {
			delete(r.in, cc.GetNodeId())
			r.gone[cc.GetNodeId()] = true
		}
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
			r.in[cc.GetNodeId()] = &m
		}
	}
}

// v2Members reads the newest .snap file that the log knows: its members, the
// removed ones and its index. It uses snap.Read: snap.Snapshotter renames files that it can't read.
func v2Members(p dirPaths, log walLog) (list []*membership.Member, gone []uint64, index uint64, ok bool) {
	defer func() {
		if recover() != nil { // MembersFromStore panics on what it does not know
			list, gone, index, ok = nil, nil, 0, false
		}
	}()
	s := newestSnap(p, log)
	if s == nil {
		return nil, nil, 0, false
	}
	st := v2store.New("/0", "/1")
	if st.Recovery(s.Data) != nil {
		return nil, nil, 0, false
	}
	members, removed := membership.MembersFromStore(zap.NewNop(), st)
	for _, m := range members {
		list = append(list, m)
	}
	for id := range removed {
		gone = append(gone, uint64(id))
	}
	return list, gone, s.GetMetadata().GetIndex(), true
}

// newestSnap is the newest .snap file that can be read and that the log knows;
// nil for none.
func newestSnap(p dirPaths, log walLog) *raftpb.Snapshot {
	names := snapFiles(p, ".snap")
	slices.Reverse(names)
	for _, name := range names {
		if filepath.Ext(name) != ".snap" {
			continue
		}
		s, err := snap.Read(zap.NewNop(), name)
		if err != nil {
			continue
		}
		at := position{s.GetMetadata().GetTerm(), s.GetMetadata().GetIndex()}
		if slices.ContainsFunc(log.snapshots, func(w walSnapshot) bool { return w.position == at }) {
			return s
		}
	}
	return nil
}

// forced returns the index of the last entry by which --force-new-cluster removed
// a member, 0 for none: it gives its changes no ID, while a removal that was
// asked for has one (storage/util.go CreateConfigChangeEnts).
func (l *walLog) forced() uint64 {
	for _, c := range slices.Backward(l.changes) {
		var cc raftpb.ConfChange
		if proto.Unmarshal(c.data, &cc) == nil && cc.GetType() == raftpb.ConfChangeRemoveNode && cc.GetId() == 0 {
			return c.index
		}
	}
	return 0
}

// votersGone finds a log that --force-new-cluster left on a member that was no
// voter: it removes everybody. With the flag etcd dies of it at every start;
// without, it may come up (3.6 on), as one that others disagree with: its
// removals have the term and indexes of entries that were agreed on elsewhere.
func votersGone(p dirPaths, log walLog, db dbContent) string {
	at := log.forced()
	if at == 0 {
		return ""
	}
	from := log.lastSnapshot()
	if from.conf == nil && from.index > 0 {
		s := newestSnap(p, log)
		if s == nil || s.GetMetadata().GetIndex() != from.index {
			return ""
		}
		from.conf = s.GetMetadata().GetConfState()
	}
	r := newRoster(nil, db.removed)
	voters := from.conf.GetVoters()
	for _, id := range slices.Concat(voters, from.conf.GetLearners()) {
		r.in[id] = &membership.Member{}
		r.in[id].IsLearner = !slices.Contains(voters, id)
		delete(r.gone, id)
	}
	for _, c := range log.changes {
		if c.index > from.index {
			r.apply(c.data)
		}
	}
	for _, m := range r.in {
		if !m.IsLearner {
			return ""
		}
	}
	return fmt.Sprintf("removed all voters: --force-new-cluster was tried here, on a member that had no vote, "+
		"and removed the others up to index %d of its log", at)
}

// otherMember is whether the WAL is of a member that the db never heard of. A
// joiner that is still catching up has its own addition ahead of it.
func otherMember(log walLog, db dbContent) bool {
	if db.storageVersion == "" || len(db.members) == 0 { // before 3.6 the v2 store decides
		return false
	}
	r := newRoster(db.members, db.removed)
	id, err := strconv.ParseUint(log.memberID, 16, 64)
	if err != nil || r.in[id] != nil || r.gone[id] {
		return false
	}
	return !slices.ContainsFunc(log.changes, func(c change) bool {
		var cc raftpb.ConfChange
		return c.index > db.consistentIndex && proto.Unmarshal(c.data, &cc) == nil && cc.GetNodeId() == id
	})
}

// UntoldUser are URLs without the user that is in one: not told, but not as if there
// was none, for members compare them whole when they join.
func UntoldUser(urls []string) []string {
	out := slices.Clone(urls)
	for i, text := range out {
		if at := strings.LastIndexByte(text, '@'); at >= 0 {
			scheme, _, _ := strings.Cut(text, "://")
			out[i] = scheme + "://" + planner.Untold + text[at:]
		}
	}
	return out
}

// withoutUser are client URLs as they are dialed: a user and a password in one have no
// part in that, and no plan may have them.
func withoutUser(urls []string) []string {
	out := slices.Clone(urls)
	for i, text := range out {
		if u, err := url.Parse(text); err == nil && u.User != nil {
			u.User = nil
			out[i] = u.String()
		}
	}
	return out
}
