package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Record is what tests look at in a line of requorum's journal.
type Record struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Step   int       `json:"step"`
	Kind   string    `json:"kind"`
	Target []string  `json:"target"`
	Phase  string    `json:"phase"`
	Error  string    `json:"error"`
}

// String is the record in a few words: "intent 3 join m2".
func (r Record) String() string {
	if r.Step == 0 {
		return r.Event
	}
	s := fmt.Sprintf("%s %d %s %s", r.Event, r.Step, r.Kind, strings.Join(r.Target, " "))
	if r.Phase != "" {
		s += ": " + r.Phase
	}
	return strings.TrimSpace(s)
}

// Place is where in the run the record stands: 0 at its beginning, 2n-1 where step
// n has begun, 2n where it has ended, however, and -1 for records that say nothing
// of that. The end of the run comes after its last step.
func (r Record) Place() int {
	switch r.Event {
	case "begin":
		return 0
	case "intent":
		return 2*r.Step - 1
	case "done", "failed", "skipped":
		return 2 * r.Step
	}
	return -1
}

// Journal follows the journal of one run while it is written.
type Journal struct {
	runs string
	old  map[string]bool // what was there before
	path string
	read int64
	part []byte // a line that is not whole yet
	// Records are those that were read so far.
	Records []Record
}

// Journal follows the next run that begins.
func (e *Env) Journal() *Journal {
	j := &Journal{runs: filepath.Join(e.State(), "requorum", "runs"), old: map[string]bool{}}
	entries, _ := os.ReadDir(j.runs)
	for _, f := range entries {
		j.old[f.Name()] = true
	}
	return j
}

// find looks for the run's file: one of its own below runs, or journal.jsonl in a
// folder there.
func (j *Journal) find() bool {
	if j.path != "" {
		return true
	}
	entries, _ := os.ReadDir(j.runs)
	for _, f := range entries {
		if j.old[f.Name()] {
			continue
		}
		path := filepath.Join(j.runs, f.Name())
		if f.IsDir() {
			path = filepath.Join(path, "journal.jsonl")
		}
		if exists(path) {
			j.path = path
			return true
		}
	}
	return false
}

// Poll reads what was written since the last time, and tells whether that was
// anything.
func (j *Journal) Poll() bool {
	if !j.find() {
		return false
	}
	f, err := os.Open(j.path)
	if err != nil {
		return false
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	n, _ := f.ReadAt(buf, j.read)
	if n == 0 {
		return false
	}
	j.read += int64(n)
	j.part = append(j.part, buf[:n]...)
	found := false
	for {
		line, rest, ok := bytes.Cut(j.part, []byte("\n"))
		if !ok {
			return found
		}
		j.part = rest
		var r Record
		if json.Unmarshal(line, &r) == nil {
			j.Records, found = append(j.Records, r), true
		}
	}
}

// Place is how far the run is (Record.Place); -1 before its beginning.
func (j *Journal) Place() int {
	place := -1
	for _, r := range j.Records {
		if r.Event == "end" {
			return place + 1
		}
		place = max(place, r.Place())
	}
	return place
}

// Last is the last record that was read, in words.
func (j *Journal) Last() string {
	if len(j.Records) == 0 {
		return "nothing"
	}
	return j.Records[len(j.Records)-1].String()
}

// Applying is an apply at work, in a process group of its own, and its journal.
type Applying struct {
	Journal *Journal

	env   *Env
	cmd   *exec.Cmd
	out   bytes.Buffer
	err   bytes.Buffer
	began time.Time
	ended chan struct{}
}

// StartApply starts apply --auto-approve in a network (nil for this machine's).
func (e *Env) StartApply(n *Net, args ...string) *Applying {
	e.t.Helper()
	a := &Applying{Journal: e.Journal(), env: e, cmd: e.Command(append([]string{"apply", "--auto-approve"}, args...)...), ended: make(chan struct{})}
	a.cmd.Stdout, a.cmd.Stderr = &a.out, &a.err
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	a.began = time.Now()
	if err := n.start(a.cmd); err != nil {
		e.t.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait()
		close(a.ended)
	}()
	return a
}

// Ended reports whether it has ended.
func (a *Applying) Ended() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// Until follows the journal until there says so, and tells whether that was before
// the end. It looks so often that what it sees is the last thing that was written.
func (a *Applying) Until(there func(*Journal) bool) bool {
	for {
		ended := a.Ended()
		for a.Journal.Poll() {
			continue
		}
		switch {
		case there(a.Journal):
			return true
		case ended:
			return false
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// Kill kills its process group, and nothing else: the members' supervisors have
// sessions of their own.
func (a *Applying) Kill() Result {
	_ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL)
	return a.Wait()
}

// Signal sends sig to the one process.
func (a *Applying) Signal(sig syscall.Signal) error { return a.cmd.Process.Signal(sig) }

// Wait waits for its end, and reads the rest of the journal.
func (a *Applying) Wait() Result {
	<-a.ended
	for a.Journal.Poll() {
		continue
	}
	return Result{a.cmd.Args[1:], a.cmd.ProcessState.ExitCode(), a.out.String(), a.err.String(), time.Since(a.began)}
}

// LastRun are the records of the newest run below a state folder.
func LastRun(state string) []Record {
	j := &Journal{runs: filepath.Join(state, "requorum", "runs"), old: map[string]bool{}}
	entries, _ := os.ReadDir(j.runs)
	for i, f := range entries { // the names begin with the time
		j.old[f.Name()] = i < len(entries)-1
	}
	for j.Poll() {
		continue
	}
	return j.Records
}
