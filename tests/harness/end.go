package harness

import (
	"os"
	"path/filepath"
	"strings"
)

// end asserts what must hold at the end of every test, and leaves nothing
// behind.
func (e *Env) end() {
	e.noStrays(Processes(e.Dir))
	e.noLeftovers()
	if err := EndAll(e.Dir); err != nil {
		e.t.Error(err)
	}
	if e.t.Failed() {
		e.showLogs()
	}
}

// noStrays reports processes that nobody asked for, and more than one of those
// that there may be one of.
func (e *Env) noStrays(ps []Proc) {
	seen := map[string]Proc{}
	for _, p := range ps {
		what, known := "", false
		switch base, dir := p.Supervises(), p.DataDir(); {
		case base != "":
			what, known = "supervisor of "+base, e.dataDirs[filepath.Clean(strings.TrimSuffix(base, ".requorum"))]
		case e.byHand[p.PID]:
			continue
		case dir != "":
			what, known = "etcd on "+dir, e.dataDirs[dir]
		}
		if !known {
			e.t.Errorf("a stray process: %s", p)
		}
		if other, again := seen[what]; again && what != "" {
			e.t.Errorf("two of one kind:\n%s\n%s", other, p)
		}
		seen[what] = p
	}
}

// noLeftovers reports what a finished requorum must not leave on the disk.
func (e *Env) noLeftovers() {
	for d := range e.dataDirs {
		for _, name := range []string{"trial", "staging", "lock", "incoming"} {
			for _, base := range []string{d + ".requorum", filepath.Join(d, ".requorum")} {
				if path := filepath.Join(base, name); exists(path) {
					e.t.Errorf("left behind: %s", e.short(path))
				}
			}
		}
	}
	left, _ := os.ReadDir(e.tmp())
	for _, f := range left {
		e.t.Errorf("left in TMPDIR: %s", f.Name())
	}
}

func (e *Env) short(path string) string { return strings.TrimPrefix(path, e.Dir+"/") }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// showLogs prints the ends of the members' logs: what is worse than info, and
// the last lines.
func (e *Env) showLogs() {
	for d := range e.dataDirs {
		e.showLog(filepath.Join(d+".requorum", "etcd.log"))
	}
	logs, _ := filepath.Glob(e.Path("*.log"))
	for _, log := range logs {
		e.showLog(log)
	}
}

func (e *Env) showLog(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	var keep []string
	for i, l := range lines {
		if i >= len(lines)-3 || !strings.Contains(l, `"level":"info"`) {
			keep = append(keep, l[:min(len(l), 200)])
		}
	}
	e.t.Logf("%s:\n%s", e.short(path), strings.Join(keep[max(0, len(keep)-6):], "\n"))
}
