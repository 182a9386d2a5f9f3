package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/planner"
)

// lines writes a verb's events as JSON lines, for programs: to stdout with --json, to
// a file with --json-into. The first is the plan, the last the result with the exit
// code.
type lines struct {
	mu         sync.Mutex
	writers    []io.Writer
	file       *os.File
	stdout     bool
	told       bool // that one can't be written
	progressed time.Time
}

// everyLine is how often progress is written at most.
const everyLine = 250 * time.Millisecond

func newLines(stdout bool, into string) (*lines, error) {
	l := &lines{stdout: stdout}
	if stdout {
		l.writers = append(l.writers, os.Stdout)
	}
	if into != "" {
		f, err := os.OpenFile(into, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, fmt.Errorf("--json-into: %w; nothing was changed", err)
		}
		l.file = f
		l.writers = append(l.writers, f)
	}
	return l, nil
}

func (l *lines) close() {
	if l.file != nil {
		_ = l.file.Close() // what could not be written was told
	}
}

func (l *lines) event(e executor.Event) {
	if p, ok := e.(executor.StepProgress); ok {
		if time.Since(l.progressed) < everyLine && p.Done < p.Total {
			return
		}
		l.progressed = time.Now()
	}
	r := e.Record()
	r.Time = time.Now().UTC().Format(time.RFC3339Nano)
	l.write(r)
}

func (l *lines) plan(p *planner.Plan) {
	l.write(struct {
		Time  string        `json:"time"`
		Event string        `json:"event"`
		Plan  *planner.Plan `json:"plan"`
	}{time.Now().UTC().Format(time.RFC3339Nano), "plan", p})
}

// result is the last line, whatever came before it.
func (l *lines) result(code int, err error, now *planner.Plan) {
	r := struct {
		Time     string `json:"time"`
		Event    string `json:"event"`
		Exit     int    `json:"exit"`
		Error    string `json:"error,omitempty"`
		Headline string `json:"headline,omitempty"`
		Quorum   any    `json:"quorum,omitempty"`
	}{Time: time.Now().UTC().Format(time.RFC3339Nano), Event: "result", Exit: code}
	if err != nil {
		r.Error = err.Error()
	}
	if now != nil {
		r.Headline, r.Quorum = now.Headline, now.Before
	}
	l.write(r)
}

// write goes on where a reader has gone: the run is worth more than its output.
func (l *lines) write(v any) {
	if l == nil || len(l.writers) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := json.Marshal(v)
	for _, w := range l.writers {
		if err == nil {
			_, err = w.Write(append(b, '\n'))
		}
	}
	if err != nil && !l.told {
		l.told = true
		fmt.Fprintf(os.Stderr, "requorum: the JSON lines are incomplete: %v\n", err)
	}
}
