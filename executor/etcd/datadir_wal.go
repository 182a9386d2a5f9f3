package etcd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	data  []byte // raftpb.ConfChange
}

// walLog is what one pass over the WAL tells.
type walLog struct {
	exists  bool
	problem string
	// tornOnly marks a problem at the log's moving end, which is none while
	// etcd writes it.
	tornOnly bool

	clusterID, memberID string
	first               uint64   // index of the first entry, 0 for none
	last                position // the last entry
	commit              uint64
	snapshots           []position
	changes             []change
	metadata            []byte
}

// lastSnapshot is the newest one that is committed (wal.ValidSnapshotEntries).
func (l *walLog) lastSnapshot() position {
	var best position
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
		return s
	}
	return l.last
}

func (l *walLog) endIndex() uint64 { return l.end().index }
func (l *walLog) endTerm() uint64  { return l.end().term }

func (l *walLog) uncommittedMembership() bool {
	return len(l.changes) > 0 && l.changes[len(l.changes)-1].index > l.commit
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
		if err = l.readFiles(names); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return l, err
}

func (l *walLog) readFiles(names []string) error {
	var crc uint32
	var lastSeq uint64
	for i, name := range names {
		seq, _, _ := parseWALName(filepath.Base(name))
		if i > 0 && seq != lastSeq+1 {
			l.problem = fmt.Sprintf("wal: file sequence numbers do not increase continuously before %s", filepath.Base(name))
			return nil
		}
		lastSeq = seq
		var err error
		if crc, err = l.readFile(name, crc, i == len(names)-1); err != nil || l.problem != "" {
			return err
		}
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

// readFile reads one file of the log; crc is that of the files before it. Each
// gets a decoder of its own, for only in the last one is a torn record what etcd
// repairs by itself (wal/repair.go).
func (l *walLog) readFile(name string, crc uint32, last bool) (uint32, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var failed readError
	d := wal.NewDecoder(&faultReader{FileReader: fileutil.NewFileReader(f), err: &failed})
	d.UpdateCRC(crc)
	rec := &walpb.Record{}
	for err = d.Decode(rec); err == nil; err = d.Decode(rec) {
		if err = l.record(d, rec); err != nil {
			break
		}
	}
	switch {
	case failed.err != nil:
		return 0, fmt.Errorf("%s: %w", name, failed.err)
	case errors.Is(err, io.EOF):
		return d.LastCRC(), nil
	case errors.Is(err, io.ErrUnexpectedEOF) && last:
		return d.LastCRC(), nil // torn: etcd cuts it off when it starts
	}
	words := strings.ReplaceAll(err.Error(), "\u00a0", " ") // protobuf's
	if !strings.HasPrefix(words, "wal") {
		words = "wal: " + words
	}
	l.problem, l.tornOnly = fmt.Sprintf("%s (in %s at offset %d)", words, filepath.Base(name), d.LastOffset()), last
	if l.metadata != nil {
		problem := l.problem
		if err := l.identify(); err != nil {
			return 0, err
		}
		l.problem = problem
	}
	return 0, nil
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
		var s raftpb.HardState
		if err := proto.Unmarshal(rec.Data, &s); err != nil {
			return err
		}
		l.commit = s.GetCommit()
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
		l.snapshots = append(l.snapshots, position{s.GetTerm(), s.GetIndex()})
	default:
		return fmt.Errorf("unexpected block type %d", rec.GetType())
	}
	return nil
}

// entry takes the log's next entry. One with an index that was there before
// replaces it and all after it (figure 7 of the raft paper).
func (l *walLog) entry(data []byte) error {
	var e raftpb.Entry
	if err := proto.Unmarshal(data, &e); err != nil {
		return err
	}
	index := e.GetIndex()
	if l.last.index != 0 && index > l.last.index+1 && !l.snapshotCovers(index-1) {
		return fmt.Errorf("%w: entry %d follows entry %d", wal.ErrSliceOutOfRange, index, l.last.index)
	}
	if l.first == 0 || index < l.first || index > l.last.index+1 {
		l.first = index
	}
	for len(l.changes) > 0 && l.changes[len(l.changes)-1].index >= index {
		l.changes = l.changes[:len(l.changes)-1]
	}
	if t := e.GetType(); t == raftpb.EntryConfChange || t == raftpb.EntryConfChangeV2 {
		l.changes = append(l.changes, change{index: index, data: e.Data})
	}
	l.last = position{e.GetTerm(), index}
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
