package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/planner"
)

// Env is the world of one test: a folder with everything in it.
type Env struct {
	t   testing.TB
	Dir string // absolute

	dataDirs map[string]bool // where members may run
	byHand   map[int]bool    // pids of etcds that the test started itself
	more     []string        // further environment of requorum
}

// runLimit ends a requorum that hangs.
const runLimit = 150 * time.Second

// New makes the world of t, which ends with it.
func New(t testing.TB) *Env {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{t: t, Dir: dir, dataDirs: map[string]bool{}, byHand: map[int]bool{}}
	for _, d := range []string{e.tmp(), e.home()} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(e.end)
	return e
}

func (e *Env) tmp() string  { return filepath.Join(e.Dir, "tmp") }
func (e *Env) home() string { return filepath.Join(e.Dir, "home") }

// State is the folder that the journal goes to.
func (e *Env) State() string { return filepath.Join(e.Dir, "state") }

// Path is a path in the test's folder.
func (e *Env) Path(elem ...string) string {
	return filepath.Join(append([]string{e.Dir}, elem...)...)
}

// environ is what requorum sees: nothing of the tester's own settings.
func (e *Env) environ() []string {
	env := []string{
		"HOME=" + e.home(), "XDG_STATE_HOME=" + e.State(), "TMPDIR=" + e.tmp(),
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm-256color",
	}
	env = append(env, e.more...)
	if d := os.Getenv("GOCOVERDIR"); d != "" {
		env = append(env, "GOCOVERDIR="+d)
	}
	return env
}

// Setenv gives requorum a further variable in its environment.
func (e *Env) Setenv(name, value string) { e.more = append(e.more, name+"="+value) }

// Ports reserves n ports until the test ends.
func (e *Env) Ports(n int) *Ports {
	e.t.Helper()
	p, err := ReservePorts(n)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(p.Release)
	return p
}

// Result is how a requorum ended.
type Result struct {
	Args           []string
	Exit           int // -1 where a signal ended it
	Stdout, Stderr string
	Took           time.Duration
}

// Command is requorum with args, in the test's world, not started yet.
func (e *Env) Command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	e.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, Binary(), args...)
	cmd.Dir, cmd.Env = e.Dir, e.environ()
	// A process that is left running must not hold on to requorum's streams.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs requorum to its end, with nothing on stdin.
func (e *Env) Run(args ...string) Result {
	e.t.Helper()
	return e.Finish(e.Command(args...), "")
}

// Finish runs cmd to its end with stdin.
func (e *Env) Finish(cmd *exec.Cmd, stdin string) Result {
	e.t.Helper()
	return e.finish(nil, cmd, stdin)
}

func (e *Env) finish(n *Net, cmd *exec.Cmd, stdin string) Result {
	e.t.Helper()
	return Finish(e.t, cmd, stdin, func() error { return n.start(cmd) })
}

// Finish runs cmd, which start starts, to its end with stdin.
func Finish(t testing.TB, cmd *exec.Cmd, stdin string, start func() error) Result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &errs, strings.NewReader(stdin)
	began := time.Now()
	err := start()
	if err == nil {
		err = cmd.Wait()
	}
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	r := Result{cmd.Args[1:], cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(began)}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%v\n%s", err, r)
	}
	return r
}

// String shows what a person would have seen.
func (r Result) String() string {
	return fmt.Sprintf("$ requorum %s   (%.1f s)\n%s%sexit %d", strings.Join(r.Args, " "), r.Took.Seconds(), r.Stdout, r.Stderr, r.Exit)
}

// Want fails the test where the exit code is another one.
func (r Result) Want(t testing.TB, exit int) Result {
	t.Helper()
	if r.Exit != exit {
		t.Fatalf("exit %d, want %d\n%s", r.Exit, exit, r)
	}
	return r
}

// Says fails the test where one of the words is on neither stream. Line breaks
// count as spaces.
func (r Result) Says(t testing.TB, words ...string) Result {
	t.Helper()
	text := strings.Join(strings.Fields(r.Stdout+" "+r.Stderr), " ")
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, r)
		}
	}
	return r
}

// Plan is what tests look at in a plan's JSON form.
type Plan struct {
	Format    string `json:"requorum_plan"`
	ClusterID string `json:"cluster_id"`
	Route     string `json:"route"`
	Headline  string `json:"headline"`
	Steps     []struct {
		Kind   string   `json:"kind"`
		Target []string `json:"target"`
		Action struct {
			Members []json.RawMessage `json:"members"`
		} `json:"action"`
	} `json:"steps"`
	Needs []struct {
		Consent string `json:"consent"`
	} `json:"needs"`
	Notices []struct {
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"notices"`
	States    []planner.Finding `json:"states"`
	Survivors []struct {
		Name    string `json:"name"`
		Last    string `json:"last"`
		Proven  string `json:"proven"`
		Verdict string `json:"verdict"`
		Chosen  bool   `json:"chosen"`
	} `json:"survivors"`
	Loss struct {
		Kind string `json:"kind"`
		Text string `json:"text"`
	} `json:"loss"`
	Refusal *struct {
		Code   string `json:"code"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	} `json:"refusal"`
}

// Code is the refusal's code, or "".
func (p Plan) Code() string {
	if p.Refusal == nil {
		return ""
	}
	return p.Refusal.Code
}

// Kinds are the kinds of the steps' actions, joined with a space.
func (p Plan) Kinds() string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.Kind)
	}
	return strings.Join(out, " ")
}

// Consents are the consents that it needs, joined with a comma.
func (p Plan) Consents() string {
	var out []string
	for _, n := range p.Needs {
		out = append(out, n.Consent)
	}
	return strings.Join(out, ",")
}

// Plan runs `plan --json --detailed-exitcode` on path, with args, and decodes
// it. The exit code has to fit what the plan says.
func (e *Env) Plan(path string, args ...string) Plan {
	e.t.Helper()
	return e.PlanIn(nil, path, args...)
}

// PlanIn is Plan in a network.
func (e *Env) PlanIn(n *Net, path string, args ...string) Plan {
	e.t.Helper()
	return DecodePlan(e.t, e.RunIn(n, append([]string{"plan", "--json", "--detailed-exitcode", path}, args...)...))
}

// DecodePlan decodes what `plan --json --detailed-exitcode` gave. The exit code has
// to fit what the plan says.
func DecodePlan(t testing.TB, r Result) Plan {
	t.Helper()
	var p Plan
	if err := json.Unmarshal([]byte(r.Stdout), &p); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, r)
	}
	want := 0
	switch {
	case p.Refusal != nil:
		want = 6
	case len(p.Steps) > 0:
		want = 2
	}
	r.Want(t, want)
	return p
}

// InSync fails the test where a plan for path finds anything to do.
func (e *Env) InSync(path string, args ...string) {
	e.t.Helper()
	if p := e.Plan(path, args...); p.Route != "in-sync" || len(p.Steps) != 0 || p.Refusal != nil {
		e.t.Fatalf("not in sync: route %s, refusal %+v, steps %s: %s", p.Route, p.Refusal, p.Kinds(), p.Headline)
	}
}

// Apply applies path with --auto-approve and args; it has to succeed.
func (e *Env) Apply(path string, args ...string) Result {
	e.t.Helper()
	return e.Run(append([]string{"apply", "--auto-approve", path}, args...)...).Want(e.t, 0)
}
