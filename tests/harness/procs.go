package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Proc is a running process.
type Proc struct {
	PID  int
	Args []string
}

// Processes are those with a path below dir on their command line. The caller
// itself is never among them.
func Processes(dir string) []Proc {
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var out []Proc
	for _, file := range entries {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		b, err := os.ReadFile(file)
		if err != nil || pid == os.Getpid() || !bytes.Contains(b, []byte(dir+"/")) {
			continue
		}
		out = append(out, Proc{pid, strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")})
	}
	slices.SortFunc(out, func(a, b Proc) int { return a.PID - b.PID })
	return out
}

// Supervises is the folder that the process is requorum's supervisor of, or "".
func (p Proc) Supervises() string {
	if len(p.Args) == 4 && p.Args[1] == "agent" && p.Args[2] == "supervise" {
		return p.Args[3]
	}
	return ""
}

// DataDir is the data directory that the process is an etcd on, or "".
func (p Proc) DataDir() string {
	for i, a := range p.Args {
		if d, ok := strings.CutPrefix(a, "--data-dir="); ok {
			return d
		}
		if a == "--data-dir" && i+1 < len(p.Args) {
			return p.Args[i+1]
		}
	}
	return ""
}

// String shows the process in one line.
func (p Proc) String() string {
	s := strings.Join(p.Args, " ")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return fmt.Sprintf("%d %s", p.PID, s)
}

// Kill9 kills them in the order given and waits until they are gone.
func Kill9(ps []Proc) error {
	for _, p := range ps {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s: %w", p, err)
		}
	}
	for _, p := range ps {
		if err := awaitGone(p, 10*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// awaitGone waits until the process has let go of its files. Its command line is
// empty before that, and one of its threads may still hold them when the first one
// waits to be reaped.
func awaitGone(p Proc, limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		if err != nil {
			return nil
		}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.PID))
		_, after, _ := strings.Cut(string(stat), ") ") // the name is in brackets
		if len(threads) <= 1 && strings.HasPrefix(after, "Z") {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("still there %s after SIGKILL: %s", limit, p)
		}
	}
}

// EndAll kills every process below dir, supervisors first so that none brings
// its etcd back, and waits until all are gone.
func EndAll(dir string) error {
	for range 20 {
		ps := Processes(dir)
		if len(ps) == 0 {
			return nil
		}
		if err := Kill9(supervisorsFirst(ps)); err != nil {
			return err
		}
	}
	return fmt.Errorf("processes keep coming back: %v", Processes(dir))
}

func supervisorsFirst(ps []Proc) []Proc {
	slices.SortStableFunc(ps, func(a, b Proc) int {
		return rank(a) - rank(b)
	})
	return ps
}

func rank(p Proc) int {
	if p.Supervises() != "" {
		return 0
	}
	return 1
}
