// Package journal is the record of what applies did, for people to read
// afterwards and for a later run to know which cluster was here. It explains; it
// never drives: what is to be done next is always read from the cluster and the
// disks.
//
// A run is a folder below runs/, named by when it began and whose cluster it is
// of: journal.jsonl has a JSON line for each thing that happened, each on the disk
// before what it announces is done; plan.json is the plan that was carried out.
// Whoever watches journal.jsonl sees every boundary at which the run can be
// interrupted. The file is locked (flock) as long as its run lives. Earlier
// versions left single files in runs/; they are read as well.
//
// seen.jsonl has a line for each cluster that an apply left in order.
package journal

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Dir is the user's state folder for requorum: $XDG_STATE_HOME/requorum, or
// ~/.local/state/requorum.
func Dir() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" || !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("the journal has no place: set XDG_STATE_HOME or HOME: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "requorum"), nil
}

// The names of a run's files.
const (
	runsName    = "runs"
	journalName = "journal.jsonl"
	planName    = "plan.json"
)

// spare is the room, in bytes, without which no run begins: a journal takes some
// kilobytes, and one that fills up stops its run half-way.
const spare = 1 << 20

// Check says why a run could not be recorded below dir; nil where it could, as far
// as that shows without writing anything.
func Check(dir string) error {
	at := filepath.Join(dir, runsName)
	for {
		fi, err := os.Stat(at)
		if err == nil && !fi.IsDir() {
			return unwritable(dir, fmt.Errorf("%s is not a directory", at))
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(at) == at {
			return unwritable(dir, err)
		}
		at = filepath.Dir(at)
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return unwritable(dir, &fs.PathError{Op: "write to", Path: at, Err: err})
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return unwritable(dir, &fs.PathError{Op: "statfs", Path: at, Err: err})
	}
	if free := int64(st.Bavail) * st.Bsize; free < spare {
		return unwritable(dir, fmt.Errorf("the file system of %s has %d KiB free; %d are needed", at, free>>10, spare>>10))
	}
	return nil
}

// unwritable says what is wrong, where, and what to do.
func unwritable(dir string, err error) error {
	return fmt.Errorf("the journal can't be written below %s: %w; make room or give access there, or set XDG_STATE_HOME to another folder", dir, err)
}

// Run is one open run.
type Run struct {
	id, dir string

	mu   sync.Mutex
	f    *os.File
	torn bool // the last write left half a line
	copy func(line []byte)
}

// Open begins the journal of a run; it is private to the user. Times are taken
// from now.
func Open(dir, cluster string, now time.Time) (*Run, error) {
	r, err := open(filepath.Join(dir, runsName), cluster, now)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	return r, nil
}

func open(runs, cluster string, now time.Time) (*Run, error) {
	if err := mkdirAll(runs); err != nil {
		return nil, err
	}
	dir, err := newFolder(filepath.Join(runs, now.UTC().Format("20060102T150405Z")+"-"+fileName(cluster)))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), syncDir(dir), syncDir(runs)); err != nil {
		f.Close()
		return nil, err
	}
	return &Run{id: filepath.Base(dir), dir: dir, f: f}, nil
}

// newFolder makes a folder of this name, and some letters that are nobody else's.
func newFolder(name string) (string, error) {
	for tries := 100; ; tries-- {
		b := make([]byte, 2)
		if _, err := rand.Read(b); err != nil {
			return "", err
		}
		dir := name + "-" + hex.EncodeToString(b)
		if err := os.Mkdir(dir, 0o700); tries == 0 || !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

// fileName is a cluster's name as part of a file's.
func fileName(cluster string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, cluster)
}

// ID names the run.
func (r *Run) ID() string { return r.id }

// Path is the file that the run's records go to.
func (r *Run) Path() string { return filepath.Join(r.dir, journalName) }

// SavePlan keeps the plan that is carried out, as JSON, beside the records.
func (r *Run) SavePlan(plan []byte) error {
	err := writeSynced(filepath.Join(r.dir, planName), plan)
	if err == nil {
		err = syncDir(r.dir)
	}
	if err != nil {
		return unwritable(filepath.Dir(filepath.Dir(r.dir)), err)
	}
	return nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// Copy gives every line that is on the disk to copy, in order; it must not wait.
func (r *Run) Copy(copy func(line []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copy = copy
}

// Write appends a record and returns when it is on the disk.
func (r *Run) Write(rec Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Time = time.Now().UTC().Format(time.RFC3339Nano)
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	whole := line
	if r.torn {
		whole = append([]byte("\n"), line...)
	}
	if n, err := r.f.Write(whole); err != nil {
		r.torn = r.torn || n > 0
		return fmt.Errorf("the journal can't be written: %w", err)
	}
	r.torn = false
	if err := r.f.Sync(); err != nil {
		return fmt.Errorf("the journal can't be synced: %w", err)
	}
	// A file that was removed, or a disk that was unmounted, takes writes all the same.
	if err := r.inPlace(); err != nil {
		return fmt.Errorf("the journal can't be written: %w", err)
	}
	if r.copy != nil {
		r.copy(line)
	}
	return nil
}

// inPlace makes sure that the open file is the one at its path.
func (r *Run) inPlace() error {
	mine, err := r.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(r.Path())
	if err != nil {
		return err
	}
	if !os.SameFile(mine, there) {
		return fmt.Errorf("another file is at %s now", r.Path())
	}
	return nil
}

// Close ends the run's file.
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.f.Close()
}

// mkdirAll makes dir (absolute) and what is missing above it, and each durable: a
// power cut must not take the folder that a run's records are in.
func mkdirAll(dir string) error {
	if fi, err := os.Stat(dir); err == nil && fi.IsDir() || filepath.Dir(dir) == dir {
		return err
	}
	if err := mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return os.MkdirAll(dir, 0o700) // somebody else was faster, or it says why
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a folder durable; tests watch it.
var syncDir = func(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
