// Package journal is the record of what applies did, for people to read
// afterwards and for a later run to know which cluster was here. It explains; it
// never drives: what is to be done next is always read from the cluster and the
// disks.
//
// A run is a file of JSON lines below runs/, each line synced before the action
// that it announces. seen.jsonl has a line for each cluster that an apply left
// in order.
package journal

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
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

// Record is one line of a run.
type Record struct {
	Time string `json:"time"` // RFC 3339 with nanoseconds, UTC
	// Event is "begin", "intent", "done", "failed" or "end".
	Event   string   `json:"event"`
	Cluster string   `json:"cluster,omitempty"`
	Plan    string   `json:"plan,omitempty"` // digest
	By      string   `json:"by,omitempty"`
	Version string   `json:"version,omitempty"` // of requorum
	Step    int      `json:"step,omitempty"`
	Kind    string   `json:"kind,omitempty"`
	Target  []string `json:"target,omitempty"`
	Action  any      `json:"action,omitempty"`
	Error   string   `json:"error,omitempty"`
	Result  string   `json:"result,omitempty"`
}

// Run is one open run.
type Run struct {
	f    *os.File
	path string
}

// Open begins the journal of a run; the file is private to the user. Times are
// taken from now.
func Open(dir, cluster string, now time.Time) (*Run, error) {
	runs := filepath.Join(dir, "runs")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return nil, fmt.Errorf("the journal can't be written: %w", err)
	}
	name := fmt.Sprintf("%s-%s-*.jsonl", now.UTC().Format("20060102T150405Z"), fileName(cluster))
	f, err := os.CreateTemp(runs, name)
	if err != nil {
		return nil, fmt.Errorf("the journal can't be written: %w", err)
	}
	return &Run{f: f, path: f.Name()}, syncDir(runs)
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

// Path is the file of the run.
func (r *Run) Path() string { return r.path }

// Write appends a record and returns when it is on the disk.
func (r *Run) Write(rec Record) error {
	rec.Time = time.Now().UTC().Format(time.RFC3339Nano)
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if _, err := r.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("the journal can't be written: %w", err)
	}
	if err := r.f.Sync(); err != nil {
		return fmt.Errorf("the journal can't be synced: %w", err)
	}
	return nil
}

// Close ends the run's file.
func (r *Run) Close() error { return r.f.Close() }

// Seen is a cluster as an apply left it in order.
type Seen struct {
	Time      string   `json:"time"`
	Cluster   string   `json:"cluster"`
	ClusterID string   `json:"cluster_id"`
	DataDirs  []string `json:"data_dirs"` // on this machine, absolute
	Members   []string `json:"members,omitempty"`
}

// AppendSeen records s, on a line of its own even after one that a crash cut
// short.
func AppendSeen(dir string, s Seen) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(seenPath(dir), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if torn, err := endsTorn(f); err != nil {
		return err
	} else if torn {
		line = append([]byte("\n"), line...)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// endsTorn reports whether the file's last line has no end.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}

// LastSeen gives the last cluster that was seen with the data directory; nil
// where there was none. A line that is no record, such as one that a crash cut
// short, is passed over; a file that can't be read is an error, never "none".
func LastSeen(dir, dataDir string) (*Seen, error) {
	f, err := os.Open(seenPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var last *Seen
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var s Seen
		if json.Unmarshal(line, &s) == nil && slices.Contains(s.DataDirs, dataDir) {
			last = &s
		}
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func seenPath(dir string) string { return filepath.Join(dir, "seen.jsonl") }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
