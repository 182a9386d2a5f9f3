package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/requorum/requorum/planner"
)

// ReadDataDir reads a member's data directory offline. walDir is "" for the WAL
// inside it.
//
// It changes nothing: no byte, no time stamp but those of access, no name. It
// takes no lock either: etcd takes its own without waiting when it starts, and
// would die of ours. So the db is read with boltfile, which needs none, and not
// with bbolt; .snap files with snap.Read, for a Snapshotter renames what it
// can't read. Who holds the directory is asked of the kernel (see holder).
//
// Of a directory that is held only the WAL is read: the db is being written, and
// a moving end of the WAL is not a problem. The fields that come from the db
// stay empty then, but for its size, and the Tail is what follows the Commit.
//
// What can't be read (permissions, I/O errors) gives an unknown fact, never an
// absent directory. A broken directory is a known fact with a Problem, in etcd's
// own words where etcd has some. Staged, Provenance and EverRan are not filled
// in; Evidence only where a WAL lies without the rest of its directory.
func ReadDataDir(dataDir, walDir string) (fact planner.Fact[planner.DataDir]) {
	defer func() {
		if r := recover(); r != nil {
			fact = planner.Unknown[planner.DataDir](fmt.Sprintf("reading %s: %v", dataDir, r))
		}
	}()
	d, err := readDataDir(dataDir, walDir)
	if err != nil {
		return planner.Unknown[planner.DataDir](err.Error())
	}
	return planner.Known(d)
}

// ErrNoWAL says that there is no log: nothing was ever started from here, or its
// WAL is lost.
var ErrNoWAL = errors.New("no WAL files")

// Identity returns the cluster and member ID, in hex, that the WAL's metadata
// has. It reads the head of the first and of the last file only. The error is
// ErrNoWAL (wrapped) where no WAL is there.
func Identity(dataDir, walDir string) (clusterID, memberID string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading the WAL's metadata of %s: %v", dataDir, r)
		}
	}()
	names, err := walFiles(paths(dataDir, walDir).wal)
	if err != nil {
		return "", "", err
	}
	var ids [2]string
	for i, name := range []string{names[0], names[len(names)-1]} {
		c, m, err := walIdentity(name)
		if err != nil {
			return "", "", fmt.Errorf("%s: %w", name, err)
		}
		if i == 1 && ids != [2]string{c, m} {
			return "", "", fmt.Errorf("%s: wal: conflicting metadata found", name)
		}
		ids = [2]string{c, m}
	}
	return ids[0], ids[1], nil
}

// LastWritten is when the log or the db of a data directory was last written to, by
// the times of its files: a copy may have later ones.
func LastWritten(dataDir, walDir string) (time.Time, error) {
	p := paths(dataDir, walDir)
	names, err := walFiles(p.wal)
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, name := range append(names, p.db) {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}

// dirPaths are where etcd keeps what (server/config ServerConfig).
type dirPaths struct{ data, member, snap, db, wal string }

func paths(dataDir, walDir string) dirPaths {
	p := dirPaths{data: dataDir, member: filepath.Join(dataDir, "member"), wal: walDir}
	p.snap = filepath.Join(p.member, "snap")
	p.db = filepath.Join(p.snap, "db")
	if walDir == "" {
		p.wal = filepath.Join(p.member, "wal")
	}
	return p
}

func readDataDir(dataDir, walDir string) (planner.DataDir, error) {
	p := paths(dataDir, walDir)
	d := planner.DataDir{Path: dataDir, WALDir: walDir}
	state, err := dirState(p)
	if err != nil {
		return d, err
	}
	d.State = state
	if state == planner.DirNotDir {
		return d, nil
	}
	log, err := readWAL(p.wal)
	if err != nil {
		return d, err
	}
	if state != planner.DirPresent {
		strayWAL(&d, p, log)
		return d, nil
	}
	return d, readMember(&d, p, log)
}

// dirState looks at the path without reading what is in member/.
func dirState(p dirPaths) (planner.DirState, error) {
	info, err := os.Stat(p.data)
	if errors.Is(err, fs.ErrNotExist) {
		if _, lerr := os.Lstat(p.data); lerr == nil {
			return "", fmt.Errorf("%s is a symbolic link to nothing: is something not mounted?", p.data)
		}
		return planner.DirAbsent, nil
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return planner.DirNotDir, nil
	}
	if _, err := os.ReadDir(p.data); err != nil {
		return "", err
	}
	info, err = os.Stat(p.member)
	if errors.Is(err, fs.ErrNotExist) {
		return planner.DirEmpty, nil
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is no directory", p.member)
	}
	return planner.DirPresent, nil
}

// strayWAL reports a log in a WAL directory of its own whose data directory is
// gone: etcd would take it for a member that lost its db.
func strayWAL(d *planner.DataDir, p dirPaths, log walLog) {
	if !log.exists {
		return
	}
	d.ClusterID, d.MemberID, d.Problem = log.clusterID, log.memberID, log.problem
	d.Evidence = append(d.Evidence, fmt.Sprintf("the WAL directory %s has the log of member %s of cluster %s",
		p.wal, orUnknown(log.memberID), orUnknown(log.clusterID)))
	if d.Problem == "" {
		d.Problem = fmt.Sprintf("failed to find database snapshot file: %s is %s, while %s has its log", p.data, d.State, p.wal)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// readMember reads a directory that has a member/ folder.
func readMember(d *planner.DataDir, p dirPaths, log walLog) error {
	var err error
	if d.HeldBy, err = heldBy(p); err != nil {
		return err
	}
	d.ClusterID, d.MemberID = log.clusterID, log.memberID
	if log.exists {
		d.LastTerm, d.LastIndex, d.Commit = log.endTerm(), log.endIndex(), log.commit
		d.Log = log.log()
		if log.old > log.lastSnapshot().index {
			d.OldEntry = log.old
		}
	}
	if info, err := os.Stat(p.db); err == nil {
		d.DBSize = info.Size()
	}
	if d.HeldBy != 0 {
		if !log.tornOnly {
			d.Problem = log.problem
		}
		return fillTail(d, p, log)
	}
	db, err := readDB(p, log)
	if err != nil {
		return err
	}
	// Somebody may have started etcd while we read: then it was moving.
	if d.HeldBy, err = heldBy(p); err != nil {
		return err
	}
	if d.HeldBy != 0 {
		return fillTail(d, p, log)
	}
	if !log.exists && log.problem == "" && db.untouched() && len(snapFiles(p, ".snap")) == 0 {
		d.State, d.DBSize, d.Leftovers = planner.DirEmpty, 0, true
		d.Evidence = append(d.Evidence, "an etcd ended there before it had a log")
		return nil
	}
	fillDB(d, p, log, db)
	return fillTail(d, p, log)
}

// fillTail enters what the log has beyond what is proven. What the db has
// applied was committed.
func fillTail(d *planner.DataDir, p dirPaths, log walLog) (err error) {
	if !log.exists {
		return nil
	}
	floor := max(d.Commit, d.ConsistentIndex)
	d.UncommittedMembership = log.uncommittedVoters(floor)
	d.Tail, d.TailMore, err = readTail(p.wal, &log, floor)
	return err
}

// fillDB enters what the db says, and what is wrong between it and the log.
func fillDB(d *planner.DataDir, p dirPaths, log walLog, db dbContent) {
	d.ConsistentIndex, d.Revision, d.StorageVersion = db.consistentIndex, db.revision, db.storageVersion
	d.ClusterVersion = db.clusterVersion
	if db.size > 0 {
		d.DBSize = db.size
	}
	if db.problem == "" && log.problem == "" {
		d.Members, d.Removed = listMembers(p, log, db)
	}
	d.Problem = firstOf(walMissing(p, log), log.problem, db.problem, mismatch(p, log, db), votersGone(p, log, db))
}

func firstOf(list ...string) string {
	if i := slices.IndexFunc(list, func(s string) bool { return s != "" }); i >= 0 {
		return list[i]
	}
	return ""
}

func walMissing(p dirPaths, log walLog) string {
	if log.exists || log.problem != "" {
		return ""
	}
	return fmt.Sprintf("wal directory lost: %s has no WAL files, while %s has data", p.wal, p.snap)
}

// mismatch finds what etcd stops at where both halves are readable by
// themselves (server/etcdserver bootstrap.go recoverSnapshot).
func mismatch(p dirPaths, log walLog, db dbContent) string {
	snapshot := log.lastSnapshot().index
	switch {
	case (!db.exists || db.size == 0) && snapshot == 0 && log.first == 1:
		return "" // etcd makes it anew from the log, which has everything
	case !db.exists:
		return fmt.Sprintf("failed to find database snapshot file (%s does not exist)", p.db)
	case db.consistentIndex == 0 && snapshot > 0 && db.untouched():
		return fmt.Sprintf("failed to find database snapshot file: %s is empty, as a start without a db leaves it", p.db)
	case db.consistentIndex < snapshot:
		return fmt.Sprintf("failed to find database snapshot file: the db (consistent_index %d) is older than the WAL's snapshot (index %d)",
			db.consistentIndex, snapshot)
	case db.consistentIndex > log.endIndex():
		return fmt.Sprintf("the log ends at index %d, before the db's consistent_index %d: this is not the WAL of this db, or its end is lost",
			log.endIndex(), db.consistentIndex)
	case log.commit > log.endIndex():
		return fmt.Sprintf("tocommit(%d) is out of range [lastIndex(%d)]: the log ends before what it says was agreed on", log.commit, log.endIndex())
	case otherMember(log, db):
		return fmt.Sprintf("the log is of member %s, of which the db knows nothing: this is not the WAL of this db", log.memberID)
	case otherTerm(log, db):
		return fmt.Sprintf("the log has term %d at index %d, the db term %d: this is not the WAL of this db",
			log.termAt(db.consistentIndex), db.consistentIndex, db.term)
	case log.first > snapshot+1:
		return fmt.Sprintf("wal: file not found which matches the snapshot index '%d': the log begins at %d", snapshot, log.first)
	}
	return ""
}

// otherTerm is whether the log has another entry than the one that the db
// applied last. Where etcd did not know a term, it left an older one in place.
func otherTerm(log walLog, db dbContent) bool {
	has := log.termAt(db.consistentIndex)
	return has != 0 && db.term > has
}
