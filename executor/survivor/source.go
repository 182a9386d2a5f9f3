package survivor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
)

// position is a place in the raft log.
type position struct{ term, index uint64 }

// identity is what the WAL's metadata says, as it is stored.
type identity struct {
	cluster, member types.ID
	metadata        []byte
}

// raftLog is a log as it is on the disk, after its newest snapshot.
type raftLog struct {
	identity
	snapshot position
	state    *raftpb.HardState
	entries  []*raftpb.Entry
}

// at tells the term of an index; false where the log does not reach there.
func (l *raftLog) at(index uint64) (position, bool) {
	if index == l.snapshot.index {
		return l.snapshot, true
	}
	if index < l.snapshot.index || index-l.snapshot.index > uint64(len(l.entries)) {
		return position{}, false
	}
	return position{l.entries[index-l.snapshot.index-1].GetTerm(), index}, true
}

func (l *raftLog) end() position {
	p, _ := l.at(l.snapshot.index + uint64(len(l.entries)))
	return p
}

// after returns the entries after index.
func (l *raftLog) after(index uint64) []*raftpb.Entry { return l.entries[index-l.snapshot.index:] }

// readLog reads a WAL as etcd would at its start, but changes nothing: what is
// torn at its end is not cut off.
func readLog(dir string) (*raftLog, error) {
	lg := zap.NewNop()
	snaps, err := wal.ValidSnapshotEntries(lg, dir)
	if err != nil {
		return nil, err
	}
	newest := &walpb.Snapshot{}
	if len(snaps) > 0 {
		newest = snaps[len(snaps)-1]
	}
	w, err := wal.OpenForRead(lg, dir, newest)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	metadata, state, entries, err := w.ReadAll()
	if err != nil {
		return nil, err
	}
	var m etcdserverpb.Metadata
	if err := proto.Unmarshal(metadata, &m); err != nil {
		return nil, err
	}
	return &raftLog{
		identity: identity{types.ID(m.GetClusterID()), types.ID(m.GetNodeID()), metadata},
		snapshot: position{newest.GetTerm(), newest.GetIndex()}, state: state, entries: entries,
	}, nil
}

// source is the survivor as read.
type source struct {
	*raftLog
	db     string // the file that etcd would start from
	dbSize int64
	files  []string // all that etcd locks

	seen   planner.DataDir
	base   position        // the db's: what it has applied
	replay []*raftpb.Entry // what is still to be applied, made harmless
	tail   tail            // what is in there
}

// readSource reads the survivor and holds it to what the plan saw.
func readSource(r Request) (*source, error) {
	fact := etcd.ReadDataDir(r.DataDir, r.WALDir)
	if !fact.Known() {
		return nil, errors.New(fact.Why)
	}
	s := &source{seen: fact.Value}
	if err := asPlanned(r, s.seen); err != nil {
		return nil, err
	}
	walDir := r.WALDir
	if walDir == "" {
		walDir = filepath.Join(r.DataDir, "member", "wal")
	}
	var err error
	if s.raftLog, err = readLog(walDir); err != nil {
		return nil, read(fmt.Errorf("%s: %w", walDir, err))
	}
	// The same again from what is really used.
	if s.cluster.String() != r.ClusterID || s.member.String() != r.MemberID || s.end() != (position{r.LastTerm, r.LastIndex}) {
		return nil, fmt.Errorf("the log of member %s of cluster %s ends at entry %d of term %d: it is not what the plan saw",
			s.member, s.cluster, s.end().index, s.end().term)
	}
	if err := s.findDB(r.DataDir); err != nil {
		return nil, read(err)
	}
	if s.files, err = filepath.Glob(filepath.Join(walDir, "*.wal")); err != nil {
		return nil, err
	}
	s.files = append(s.files, filepath.Join(r.DataDir, "member", "snap", "db"))
	if err := s.unheld(); err != nil {
		return nil, err
	}
	return s, read(s.cut(r.Upto))
}

// asPlanned refuses a directory that is not what the plan was made for.
func asPlanned(r Request, d planner.DataDir) error {
	switch {
	case d.State != planner.DirPresent:
		return fmt.Errorf("its data directory is %s", d.State)
	case d.HeldBy != 0:
		return fmt.Errorf("process %d has its files open: stop the member first", d.HeldBy)
	case d.Problem != "":
		return read(errors.New(d.Problem))
	case d.ClusterID != r.ClusterID || d.MemberID != r.MemberID:
		return fmt.Errorf("it is of member %s of cluster %s, and the plan saw member %s of cluster %s",
			d.MemberID, d.ClusterID, r.MemberID, r.ClusterID)
	case d.LastTerm != r.LastTerm || d.LastIndex != r.LastIndex:
		return fmt.Errorf("its log ends at entry %d of term %d, and the plan saw entry %d of term %d: it was started since, or its end is damaged",
			d.LastIndex, d.LastTerm, r.LastIndex, r.LastTerm)
	case r.Upto < max(d.Commit, d.ConsistentIndex):
		return fmt.Errorf("entries up to %d are wanted, and those up to %d are known to be agreed on",
			r.Upto, max(d.Commit, d.ConsistentIndex))
	}
	return nil
}

// findDB finds the db that the log goes on from: the member's own, or the one
// that a leader sent and that etcd had no time to put in its place
// (storage/backend.go RecoverSnapshotBackend).
func (s *source) findDB(dataDir string) error {
	dir := filepath.Join(dataDir, "member", "snap")
	for _, name := range []string{"db", fmt.Sprintf("%016x.snap.db", s.snapshot.index)} {
		db, err := readDBState(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if db.consistentIndex < s.snapshot.index {
			continue
		}
		base, ok := s.at(db.consistentIndex)
		if !ok {
			return fmt.Errorf("the db has applied entry %d, and the log does not reach it", db.consistentIndex)
		}
		s.db, s.dbSize, s.base = filepath.Join(dir, name), db.size, base
		return nil
	}
	return fmt.Errorf("no db in %s is as new as the log's snapshot at entry %d", dir, s.snapshot.index)
}

// unheld refuses a directory that somebody has open.
func (s *source) unheld() error {
	pid, err := etcd.HeldBy(s.files...)
	if err != nil {
		return err
	}
	if pid != 0 {
		return fmt.Errorf("process %d has its files open: stop the member first", pid)
	}
	return nil
}

// cut keeps the entries up to upto, and makes those that are to be replayed
// harmless.
func (s *source) cut(upto uint64) error {
	if _, ok := s.at(upto); !ok || upto < s.base.index {
		return fmt.Errorf("the log has no entry %d, or the db is beyond it (%d)", upto, s.base.index)
	}
	s.entries = s.entries[:upto-s.snapshot.index]
	rest := s.after(s.base.index)
	// raft takes no snapshot at index 0. The first entry of every cluster is about
	// membership, so that nothing is left out.
	if s.base.index == 0 {
		if len(rest) == 0 || rest[0].GetType() == raftpb.EntryNormal {
			return errors.New("the db has applied nothing, and the log does not begin with the first member")
		}
		s.base, rest = position{rest[0].GetTerm(), rest[0].GetIndex()}, rest[1:]
	}
	var err error
	s.replay, err = s.tail.harmless(rest)
	return err
}

// self is this member as its own membership has it, a voter; with another peer
// URL where url is not "".
func (s *source) self(url string) *membership.Member {
	m := &membership.Member{ID: s.member}
	for _, l := range s.seen.Members {
		if l.ID == s.member.String() {
			m.Name, m.ClientURLs = l.Name, l.ClientURLs
			for _, u := range l.PeerURLs { // a user in one is not told, and has no part in what is dialed
				m.PeerURLs = append(m.PeerURLs, strings.ReplaceAll(u, planner.Untold+"@", ""))
			}
		}
	}
	for _, e := range s.entries {
		if e.GetIndex() > s.seen.Commit {
			moved(m, e)
		}
	}
	if url != "" {
		m.PeerURLs = []string{url}
	}
	return m
}

// moved takes a change of the member's peer URLs from an entry that the list did
// not know yet.
func moved(m *membership.Member, e *raftpb.Entry) {
	cc, ok := confChange(e)
	var c membership.ConfigChangeContext
	if !ok || cc.GetType() != raftpb.ConfChangeUpdateNode || cc.GetNodeId() != uint64(m.ID) {
		return
	}
	if json.Unmarshal(cc.Context, &c) == nil && len(c.PeerURLs) > 0 {
		m.PeerURLs = c.PeerURLs
	}
}

func confChange(e *raftpb.Entry) (*raftpb.ConfChange, bool) {
	var cc raftpb.ConfChange
	if e.GetType() != raftpb.EntryConfChange || proto.Unmarshal(e.Data, &cc) != nil {
		return nil, false
	}
	return &cc, true
}

// others are all IDs that were ever members besides this one, as far as db and
// log tell. They count as removed: one of them that comes back is told so.
func (s *source) others(db dbState) []types.ID {
	set := map[types.ID]bool{}
	for _, id := range db.ids {
		set[id] = true
	}
	for _, l := range s.seen.Members {
		if id, err := strconv.ParseUint(l.ID, 16, 64); err == nil {
			set[types.ID(id)] = true
		}
	}
	for _, e := range s.entries {
		if cc, ok := confChange(e); ok {
			set[types.ID(cc.GetNodeId())] = true
		}
	}
	delete(set, s.member)
	var list []types.ID
	for id := range set {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// hardState is as it was, but for what is agreed on.
func (l *raftLog) hardState(commit uint64) *raftpb.HardState {
	term := max(l.state.GetTerm(), l.end().term)
	return &raftpb.HardState{Term: new(term), Vote: new(l.state.GetVote()), Commit: new(commit)}
}

func (s *source) judge(db dbState) error {
	if db.consistentIndex != s.base.index && db.consistentIndex != 0 {
		return fmt.Errorf("the copy's db has applied entry %d, and the survivor's %d: it was changed meanwhile", db.consistentIndex, s.base.index)
	}
	if info, err := os.Stat(s.db); err != nil || info.Size() != db.size {
		return fmt.Errorf("the survivor's db has another size than its copy (%v)", err)
	}
	return nil
}
