package etcd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// position is a place in the raft log.
type position struct{ term, index uint64 }

// change is a membership entry of the log.
type change struct {
	index uint64
	// raftpb.ConfChange: etcd writes no other kind, and dies of one.
	data []byte
}

// walSnapshot is the log's note of a snapshot. Its voters are nil where it does
// not say (before 3.5).
type walSnapshot struct {
	position
	conf *raftpb.ConfState
}

// walLog is what one pass over the WAL tells.
type walLog struct {
	exists  bool
	problem string
	// tornOnly marks a problem at the log's moving end, which is none while
	// etcd writes it.
	tornOnly bool

	course
	clusterID, memberID string
	term, vote, commit  uint64 // raftpb.HardState
	snapshots           []walSnapshot
	changes             []change
	metadata            []byte
	old                 uint64 // the last entry in the format of 3.5 and before, or one after it
}

// lastSnapshot is the newest one that is committed (wal.ValidSnapshotEntries).
func (l *walLog) lastSnapshot() walSnapshot {
	var best walSnapshot
	for _, s := range l.snapshots {
		if s.index <= l.commit && s.index >= best.index {
			best = s
		}
	}
	return best
}

// end is where the log ends: its last entry, or a snapshot that came after it.
func (l *walLog) end() position {
	if s := l.lastSnapshot(); s.index > l.last.index {
		return s.position
	}
	return l.last
}

func (l *walLog) endIndex() uint64 { return l.end().index }
func (l *walLog) endTerm() uint64  { return l.end().term }

// uncommittedVoters is whether the log changes who votes after floor. A learner that is
// added and a new address change no majority.
func (l *walLog) uncommittedVoters(floor uint64) bool {
	for _, c := range slices.Backward(l.changes) {
		if c.index <= floor {
			return false
		}
		var cc raftpb.ConfChange
		if proto.Unmarshal(c.data, &cc) != nil {
			return true
		}
		if t := cc.GetType(); t != raftpb.ConfChangeAddLearnerNode && t != raftpb.ConfChangeUpdateNode {
			return true
		}
	}
	return false
}

// snapFiles returns the names in member/snap that contain part, oldest first.
func snapFiles(p dirPaths, part string) []string {
	entries, _ := os.ReadDir(p.snap)
	var names []string
	for _, e := range entries {
		if strings.Contains(e.Name(), part) {
			names = append(names, filepath.Join(p.snap, e.Name()))
		}
	}
	return names
}

// walFiles returns the paths of the log's files in order, or ErrNoWAL. Names that
// etcd does not know are left out, as it does (wal/util.go checkWALNames).
func walFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoWAL)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, _, ok := parseWALName(e.Name()); ok {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoWAL)
	}
	return names, nil
}

func parseWALName(name string) (seq, index uint64, ok bool) {
	if !strings.HasSuffix(name, ".wal") {
		return 0, 0, false
	}
	_, err := fmt.Sscanf(name, "%016x-%016x.wal", &seq, &index)
	return seq, index, err == nil
}

// readWAL reads the whole log. The error is one of reading; everything that is
// wrong with the bytes is the log's problem. A file that etcd removes or renames
// meanwhile is a reason to begin again.
func readWAL(dir string) (walLog, error) {
	var l walLog
	var err error
	for range 3 {
		l = walLog{}
		var names []string
		names, err = walFiles(dir)
		if errors.Is(err, ErrNoWAL) {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		l.exists = true
		if err = l.readFiles(dir, names); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return l, err
}

func (l *walLog) readFiles(dir string, names []string) error {
	part, _ := readBefore(dir, names)
	began := len(part.files)
	if began > 0 {
		*l = part.log
	}
	var lastSeq uint64
	for i, name := range names {
		seq, _, _ := parseWALName(filepath.Base(name))
		if i > 0 && seq != lastSeq+1 {
			l.problem = fmt.Sprintf("wal: file sequence numbers do not increase continuously before %s", filepath.Base(name))
			return nil
		}
		lastSeq = seq
		if i < began {
			continue
		}
		last := i == len(names)-1
		if last && len(part.files) > began {
			part.log = *l
			part.keep(dir)
		}
		mark, err := markOf(name)
		if err != nil {
			return err
		}
		if part.crc, err = l.readFile(name, part.crc, last); err != nil || l.problem != "" {
			return err
		}
		part.files = append(part.files, mark)
	}
	return l.identify()
}

// identify decodes the metadata.
func (l *walLog) identify() error {
	var m etcdserverpb.Metadata
	if l.metadata == nil || proto.Unmarshal(l.metadata, &m) != nil {
		l.problem = "wal: no metadata found"
		return nil
	}
	l.clusterID, l.memberID = hexID(m.GetClusterID()), hexID(m.GetNodeID())
	return nil
}

// readFile reads one file of the log; crc is that of the files before it.
func (l *walLog) readFile(name string, crc uint32, last bool) (uint32, error) {
	end, err := scanWAL(name, crc, l.record)
	switch {
	case err != nil:
		return 0, err
	case end.err == nil, errors.Is(end.err, io.ErrUnexpectedEOF) && last:
		return end.crc, nil // torn: etcd cuts it off when it starts
	}
	words := strings.ReplaceAll(end.err.Error(), "\u00a0", " ") // protobuf's
	if !strings.HasPrefix(words, "wal") {
		words = "wal: " + words
	}
	l.problem, l.tornOnly = fmt.Sprintf("%s (in %s at offset %d)", words, filepath.Base(name), end.offset), last
	if l.metadata != nil {
		problem := l.problem
		if err := l.identify(); err != nil {
			return 0, err
		}
		l.problem = problem
	}
	return 0, nil
}

// walEnd is where the records of a file end, and why before the file does.
type walEnd struct {
	offset int64
	crc    uint32
	err    error
}

// scanWAL shows the records of one file; the error is one of reading. Each file
// gets a decoder of its own, for only in the last one is a torn record what etcd
// repairs by itself (wal/repair.go).
func scanWAL(name string, crc uint32, each func(wal.Decoder, *walpb.Record) error) (walEnd, error) {
	f, err := os.Open(name)
	if err != nil {
		return walEnd{}, err
	}
	defer f.Close()
	var failed readError
	d := wal.NewDecoder(&faultReader{FileReader: fileutil.NewFileReader(f), err: &failed})
	d.UpdateCRC(crc)
	rec := &walpb.Record{}
	for err = d.Decode(rec); err == nil; err = d.Decode(rec) {
		if err = each(d, rec); err != nil {
			break
		}
	}
	if failed.err != nil {
		return walEnd{}, fmt.Errorf("%s: %w", name, failed.err)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return walEnd{d.LastOffset(), d.LastCRC(), err}, nil
}

type readError struct{ err error }

// faultReader tells an I/O error from wrong bytes.
type faultReader struct {
	fileutil.FileReader
	err *readError
}

func (r *faultReader) Read(b []byte) (int, error) {
	n, err := r.FileReader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err.err = err
	}
	return n, err
}

// record follows wal.ReadAll.
func (l *walLog) record(d wal.Decoder, rec *walpb.Record) error {
	switch rec.GetType() {
	case wal.MetadataType:
		if l.metadata != nil && string(l.metadata) != string(rec.Data) {
			return wal.ErrMetadataConflict
		}
		l.metadata = append([]byte{}, rec.Data...)
	case wal.EntryType:
		return l.entry(rec.Data)
	case wal.StateType:
		return l.hardState(rec.Data)
	case wal.CrcType:
		if crc := d.LastCRC(); crc != 0 && rec.Validate(crc) != nil {
			return wal.ErrCRCMismatch
		}
		d.UpdateCRC(rec.GetCrc())
	case wal.SnapshotType:
		var s walpb.Snapshot
		if err := proto.Unmarshal(rec.Data, &s); err != nil {
			return err
		}
		l.snapshots = append(l.snapshots, walSnapshot{position{s.GetTerm(), s.GetIndex()}, s.GetConfState()})
	default:
		return fmt.Errorf("unexpected block type %d", rec.GetType())
	}
	return nil
}

// maxTerm is more elections than there can have been.
const maxTerm = 1 << 48

// hardState takes a vote and a commit. What raft rules out is a damaged record:
// the checksum does not cover its type, and entries pass for states.
func (l *walLog) hardState(data []byte) error {
	var s raftpb.HardState
	if err := proto.Unmarshal(data, &s); err != nil {
		return err
	}
	term, vote := s.GetTerm(), s.GetVote()
	if term < l.term || term >= maxTerm || term == l.term && l.vote != 0 && vote != l.vote {
		return fmt.Errorf("wal: a hard state of term %d follows one of term %d: one of them is none", term, l.term)
	}
	l.term, l.vote = term, vote
	l.commit = s.GetCommit()
	return nil
}

// entry takes the log's next entry.
func (l *walLog) entry(data []byte) error {
	var e raftpb.Entry
	if err := proto.Unmarshal(data, &e); err != nil {
		return err
	}
	index := e.GetIndex()
	if l.last.index != 0 && index > l.last.index+1 && !l.snapshotCovers(index-1) {
		return fmt.Errorf("%w: entry %d follows entry %d", wal.ErrSliceOutOfRange, index, l.last.index)
	}
	// As with hardState.
	if raftpb.EntryType_name[int32(e.GetType())] == "" || e.GetTerm() >= maxTerm || e.GetTerm() < l.termAt(index-1) {
		return fmt.Errorf("wal: entry %d of term %d and type %d is none", index, e.GetTerm(), e.GetType())
	}
	for len(l.changes) > 0 && l.changes[len(l.changes)-1].index >= index {
		l.changes = l.changes[:len(l.changes)-1]
	}
	if e.GetType() == raftpb.EntryConfChange {
		l.changes = append(l.changes, change{index: index, data: e.Data})
	}
	l.old = min(l.old, index-1) // what is replaced is gone; an older one may be left
	if oldFormat(&e) {
		l.old = index
	}
	l.add(&e)
	return nil
}

func (l *walLog) snapshotCovers(index uint64) bool {
	for _, s := range l.snapshots {
		if s.index >= index {
			return true
		}
	}
	return false
}

// walIdentity reads the metadata at the head of one file.
func walIdentity(name string) (clusterID, memberID string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	d := wal.NewDecoder(fileutil.NewFileReader(f))
	rec := &walpb.Record{}
	for {
		if err := d.Decode(rec); err != nil {
			return "", "", fmt.Errorf("no metadata: %w", err)
		}
		switch rec.GetType() {
		case wal.CrcType:
			d.UpdateCRC(rec.GetCrc())
		case wal.MetadataType:
			var m etcdserverpb.Metadata
			if err := proto.Unmarshal(rec.Data, &m); err != nil {
				return "", "", err
			}
			return hexID(m.GetClusterID()), hexID(m.GetNodeID()), nil
		}
	}
}
