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

	"golang.org/x/sys/unix"
)

// Summary is a run as a list of runs shows it.
type Summary struct {
	ID       string `json:"run"`
	Path     string `json:"journal"`        // of its records
	PlanPath string `json:"plan,omitempty"` // "" where none was kept
	Cluster  string `json:"cluster"`
	Verb     string `json:"verb,omitempty"`
	Headline string `json:"headline,omitempty"`
	By       string `json:"by"`
	PID      int    `json:"pid,omitempty"`
	Version  string `json:"version"`
	Binary   string `json:"binary,omitempty"`
	Plan     string `json:"plan_digest"`
	Saved    string `json:"saved_plan,omitempty"` // the digest of the file that was applied
	Acted    bool   `json:"acted,omitempty"`      // whether any step was begun that changes something
	Began    string `json:"began"`                // RFC 3339
	Ended    string `json:"ended,omitempty"`      // "" for one that did not end by itself
	// Result is ResultDone, ResultStopped, ResultInterrupted, "running", or "cut off"
	// for one that was killed.
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
	// Steps is how many the plan had, 0 where an old record does not say; of them so
	// many were done, skipped as done, or failed.
	Steps   int `json:"steps,omitempty"`
	Done    int `json:"done"`
	Skipped int `json:"skipped,omitempty"`
	Failed  int `json:"failed,omitempty"`
	// Now is how the cluster stood after the run.
	Now string `json:"now,omitempty"`
	// At is the step that a run which did not end was at, "" for none.
	At string `json:"at,omitempty"`
}

// The results of runs without an end.
const (
	ResultRunning = "running"
	ResultCutOff  = "cut off"
)

// Folder is where the runs below a state folder are.
func Folder(dir string) string { return filepath.Join(dir, runsName) }

// Runs lists the runs in folder, the newest first. A journal that can't be read is
// listed with its error; only the folder itself gives one.
func Runs(folder string) ([]Summary, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Summary
	for _, e := range entries {
		if path, ok := pathOf(folder, e); ok {
			out = append(out, summaryOf(path))
		}
	}
	slices.SortStableFunc(out, func(a, b Summary) int { return strings.Compare(b.order(), a.order()) })
	return out, nil
}

// order sorts runs by their beginning; the ID begins with it, to the second.
func (s Summary) order() string {
	if s.Began != "" {
		return s.Began
	}
	return s.ID
}

// pathOf is the file that has the records of a run in the folder: in a folder of
// its own, or, from earlier versions and in a host's copy, the entry itself.
func pathOf(folder string, e fs.DirEntry) (string, bool) {
	switch {
	case e.IsDir():
		path := filepath.Join(folder, e.Name(), journalName)
		return path, exists(path)
	case strings.HasPrefix(e.Name(), "plan-"): // the mark of a saved plan, whose run is beside it
	case strings.HasSuffix(e.Name(), ".jsonl"):
		return filepath.Join(folder, e.Name()), true
	}
	return "", false
}

func idOf(path string) string {
	if filepath.Base(path) == journalName {
		return filepath.Base(filepath.Dir(path))
	}
	return strings.TrimSuffix(filepath.Base(path), ".jsonl")
}

// Find gives the run in folder that name stands for: its ID, or a part of one that
// no other has; "" is the newest.
func Find(folder, name string) (Summary, error) {
	runs, err := Runs(folder)
	if err != nil {
		return Summary{}, err
	}
	if len(runs) == 0 {
		return Summary{}, fmt.Errorf("there are no runs in %s", folder)
	}
	if name == "" {
		return runs[0], nil
	}
	var found []Summary
	for _, s := range runs {
		if s.ID == name {
			return s, nil
		}
		if strings.Contains(s.ID, name) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return Summary{}, fmt.Errorf("no run %q in %s; requorum log lists them", name, folder)
	case 1:
		return found[0], nil
	}
	return Summary{}, fmt.Errorf("%q fits %d runs, %s and %s among them: name more of it", name, len(found), found[0].ID, found[1].ID)
}

// Read gives the records at path. Lines that are none, such as one that a crash cut
// short, are counted.
func Read(path string) (records []Record, unreadable int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var rec Record
		switch {
		case len(line) <= 1:
		case json.Unmarshal(line, &rec) == nil && rec.Event != "":
			records = append(records, rec)
		default:
			unreadable++
		}
		if errors.Is(err, io.EOF) {
			return records, unreadable, nil
		}
		if err != nil {
			return records, unreadable, err
		}
	}
}

// summaryOf reads a run from its records.
func summaryOf(path string) Summary {
	s := Summary{ID: idOf(path), Path: path}
	if plan := filepath.Join(filepath.Dir(path), planName); filepath.Base(path) == journalName && exists(plan) {
		s.PlanPath = plan
	}
	records, _, err := Read(path)
	if err != nil {
		s.Error = err.Error()
	}
	for _, r := range records {
		s.add(r)
	}
	switch {
	case s.Result != "" || err != nil:
	case isOpen(path):
		s.Result = ResultRunning
	default:
		s.Result = ResultCutOff
	}
	if s.Result != ResultRunning && s.Result != ResultCutOff {
		s.At = ""
	}
	return s
}

func (s *Summary) add(r Record) {
	switch r.Event {
	case Began:
		s.Cluster, s.Verb, s.By, s.PID, s.Version, s.Binary = r.Cluster, r.Verb, r.By, r.PID, r.Version, r.Binary
		s.Plan, s.Saved, s.Began, s.Steps, s.Headline = r.Plan, r.Saved, r.Time, r.Steps, r.Headline
	case Intent:
		s.Acted = s.Acted || !r.Reads
		s.At = fmt.Sprintf("step %d, %s", r.Step, r.title())
	case Done:
		s.Done++
		s.At = ""
	case Skipped:
		s.Skipped++
	case Failed:
		s.Failed++
		s.At = ""
	case Ended:
		s.Ended, s.Result, s.Error = r.Time, r.Result, r.Error
	case State:
		s.Now = r.Headline
	}
}

// title is the step's, or its kind where an old record has none.
func (r Record) title() string {
	if r.Title != "" {
		return r.Title
	}
	return r.Kind
}

// isOpen reports whether the run's process lives: it has the file locked. The lock
// that is tried for it is shared, and given back at once.
func isOpen(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
