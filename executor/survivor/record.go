package survivor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
)

// Record says what a recovery made, and of what. It lies beside it, under the
// same name with ".json" appended.
type Record struct {
	Path     string `json:"path"`              // the snapshot file, or the data directory
	WALDir   string `json:"wal_dir,omitempty"` // of a directory, where it is not inside
	InPlace  bool   `json:"in_place,omitempty"`
	SHA256   string `json:"sha256"` // of the bbolt bytes, in hex
	Size     int64  `json:"size"`   // the same, without the appended hash
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"` // live ones
	Leases   int    `json:"leases"`
	Alarms   int    `json:"alarms"`            // they are the old members'
	Version  string `json:"version,omitempty"` // storage version; "" before 3.6

	ClusterID string `json:"cluster_id"` // of the survivor
	MemberID  string `json:"member_id"`
	LastTerm  uint64 `json:"last_term"` // its log's end
	LastIndex uint64 `json:"last_index"`
	Upto      uint64 `json:"upto"`    // the last entry of it that is in
	Applied   uint64 `json:"applied"` // what its db had applied by itself
	When      string `json:"when"`    // RFC 3339, UTC
}

func (r Record) fits(q Request) bool {
	return r.InPlace == (q.Out == "") && r.WALDir == q.OutWALDir && r.ClusterID == q.ClusterID && r.MemberID == q.MemberID &&
		r.LastTerm == q.LastTerm && r.LastIndex == q.LastIndex && r.Upto == q.Upto
}

// db is the path of the bbolt bytes.
func (r Record) db(target string) string {
	if r.InPlace {
		return filepath.Join(target, "member", "snap", "db")
	}
	return target
}

func recordPath(target string) string { return filepath.Clean(target) + ".json" }

// intentPath is where the record lies before what it is about has its name.
func intentPath(target string) string { return filepath.Clean(target) + ".json.part" }

// ReadRecord returns the record of a recovery's snapshot file or directory, once
// that is complete: the error is fs.ErrNotExist before. It compares sizes; the
// hash of a snapshot file is checked by whoever restores it.
func ReadRecord(out string) (Record, error) {
	rec, err := readRecord(recordPath(out))
	if err != nil {
		return Record{}, err
	}
	size, err := os.Stat(rec.db(out))
	if err != nil {
		return Record{}, fmt.Errorf("%s has a record, but is not there: %v", out, err)
	}
	want := rec.Size
	if !rec.InPlace {
		want += sha256.Size
	}
	if size.Size() != want {
		return Record{}, fmt.Errorf("%s has %d bytes, and its record says %d", rec.db(out), size.Size(), want)
	}
	return rec, nil
}

func readRecord(path string) (rec Record, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return Record{}, fmt.Errorf("%s: %w", path, err)
	}
	if rec.SHA256 == "" || rec.Size <= 0 {
		return Record{}, fmt.Errorf("%s is no record of a recovery", path)
	}
	return rec, nil
}

// finished returns the record of a recovery that is complete. One that was
// killed between its last two names is completed here: the intent says what lies
// there, and the hash proves it.
func finished(ctx context.Context, q Request) (Record, bool, error) {
	target := q.target()
	rec, err := ReadRecord(target)
	if err == nil {
		if !rec.fits(q) {
			return rec, false, fmt.Errorf("%s is of another recovery (member %s, entries up to %d)", target, rec.MemberID, rec.Upto)
		}
		return rec, true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return rec, false, err
	}
	rec, err = readRecord(intentPath(target))
	known := err == nil && rec.fits(q)
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		return rec, false, strayWAL(q, known)
	}
	if !known {
		return rec, false, fmt.Errorf("%s: %w", target, errNotOurs)
	}
	if sum, _, err := hashBolt(ctx, rec.db(target), rec.Size); err != nil || sum != rec.SHA256 {
		return rec, false, fmt.Errorf("%s: %w (%v)", target, errNotOurs, err)
	}
	return rec, true, publishRecord(target)
}

// strayWAL moves a WAL directory aside that a killed recovery left before it came
// to the data directory.
func strayWAL(q Request, known bool) error {
	if q.OutWALDir == "" {
		return nil
	}
	if _, err := os.Lstat(q.OutWALDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !known {
		return fmt.Errorf("%s: %w", q.OutWALDir, errNotOurs)
	}
	for i := 1; ; i++ {
		err := renameNew(q.OutWALDir, fmt.Sprintf("%s.unfinished-%d", filepath.Clean(q.OutWALDir), i))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// writeIntent makes the record durable under the intent's name.
func writeIntent(target string, rec Record) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(intentPath(target), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return throwaway.SyncPath(filepath.Dir(target))
}

// publishRecord gives the record its name: the last thing that is done.
func publishRecord(target string) error {
	return renameNew(intentPath(target), recordPath(target))
}

// renameNew renames, durably, and never over anything. Where the file system
// knows no such rename, looking first has to do.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if _, serr := os.Lstat(to); errors.Is(serr, fs.ErrNotExist) {
			err = unix.Rename(from, to)
		} else {
			err = unix.EEXIST
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return throwaway.SyncPath(filepath.Dir(filepath.Clean(to)))
}

// hashBolt hashes the first size bytes, all for -1.
func hashBolt(ctx context.Context, path string, size int64) (sum string, n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	var in io.Reader = f
	if size >= 0 {
		in = io.LimitReader(f, size)
	}
	h := sha256.New()
	n, err = io.Copy(h, &ctxReader{ctx, in})
	return hex.EncodeToString(h.Sum(nil)), n, err
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// spareRoom stays free on each disk: it may be a member's too.
const spareRoom = 64 << 20

// room refuses to fill a disk (S20): the copy and the log that etcd
// preallocates, twice, and what comes out.
func room(q Request, s *source) error {
	var tail int64
	for _, e := range s.replay {
		tail += int64(len(e.Data)) + 64
	}
	db := s.dbSize + s.dbSize/10 + tail
	need := map[string]int64{}
	need[filepath.Dir(filepath.Clean(q.Work))] = db + 2*64<<20 + tail
	need[filepath.Dir(q.target())] += db
	if q.OutWALDir != "" {
		need[filepath.Dir(filepath.Clean(q.OutWALDir))] += 64 << 20
	}
	total := map[uint64]int64{}
	for dir, bytes := range need {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return &os.PathError{Op: "stat", Path: dir, Err: err}
		}
		total[st.Dev] += bytes
		var fsys unix.Statfs_t
		if err := unix.Statfs(dir, &fsys); err != nil {
			return &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
		if free := int64(fsys.Bavail) * fsys.Bsize; free < total[st.Dev]+spareRoom {
			return noRoom{fmt.Errorf("%s has %d MiB free; %d MiB may be needed, and %d are to stay free", strings.TrimSuffix(dir, "/"), free>>20, total[st.Dev]>>20, spareRoom>>20)}
		}
	}
	return nil
}

type noRoom struct{ error }

// IsNoRoom reports whether Recover failed because a disk has too little room, or
// was filled meanwhile.
func IsNoRoom(err error) bool {
	var full noRoom
	return errors.As(err, &full) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) ||
		err != nil && strings.Contains(err.Error(), unix.ENOSPC.Error()) // the copy's etcd said so
}
