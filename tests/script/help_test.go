package script

import (
	"regexp"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Every line of `requorum --help` works.
func TestEveryVerbHasHelp(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	top := e.Run("--help").Want(t, 0)
	verbs := regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`).FindAllStringSubmatch(top.Stdout, -1)
	seen := map[string]bool{}
	for _, v := range verbs {
		seen[v[1]] = true
		if v[1] == "etcd" { // etcd's own help
			e.Run("etcd", "--help").Want(t, 0).Says(t, "--data-dir")
			continue
		}
		r := e.Run(v[1], "--help").Want(t, 0).Says(t, "Usage:", "requorum "+v[1])
		if r.Stderr != "" {
			t.Errorf("help on stderr: %s", r)
		}
		e.Run("help", v[1]).Want(t, 0).Says(t, "Usage:")
	}
	for _, v := range []string{"validate", "fmt", "plan", "apply", "status", "audit", "stop", "import", "rescue", "snapshot", "explain", "etcd", "version", "completion", "help", "log", "lock"} {
		if !seen[v] {
			t.Errorf("%s is not in the help", v)
		}
	}
	if seen["agent"] {
		t.Error("agent is not hidden")
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		e.Run("completion", shell).Want(t, 0).Says(t, "requorum")
	}
	e.Run("etcd", "--version").Want(t, 0).Says(t, "etcd Version: 3.7.3")
	e.Run("version").Want(t, 0).Says(t, "3.7.3")
	e.Run().Want(t, 0).Says(t, "Usage:")
}

// Colour is for terminals, and for those who did not say no.
func TestColour(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	if r := e.Run("plan", c.Path()); strings.Contains(r.Stdout+r.Stderr, "\x1b") {
		t.Errorf("colour without a terminal:\n%s", r)
	}
	show := func(args ...string) string { return e.Terminal(args...).End().Want(t, 0).Stdout }
	if s := show("plan", c.Path()); !strings.Contains(s, "\x1b[") {
		t.Errorf("no colour on a terminal:\n%s", s)
	}
	if s := show("plan", "--no-color", c.Path()); strings.Contains(s, "\x1b") {
		t.Errorf("colour with --no-color:\n%q", s)
	}
	cmd := e.Command("plan", c.Path())
	cmd.Env = append(cmd.Env, "NO_COLOR=1")
	if s := e.TerminalOf(cmd).End().Want(t, 0).Stdout; strings.Contains(s, "\x1b") {
		t.Errorf("colour with NO_COLOR:\n%q", s)
	}
}

// What is shown on 80 columns stays within them, paths and URLs apart.
func TestEightyColumns(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(5).Write()
	for _, verb := range []string{"plan", "status"} {
		for _, line := range strings.Split(e.Run(verb, c.Path()).Stdout, "\n") {
			if len([]rune(line)) > 80 && !strings.Contains(line, "/") {
				t.Errorf("%s: %d columns: %s", verb, len([]rune(line)), line)
			}
		}
	}
}
