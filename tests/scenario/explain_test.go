package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/planner/explain"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/tests/harness"
)

// Every command that `requorum explain` shows works: each is run by a shell, as it
// is shown, in the situation that it is shown for, and ends as the text says.
// There are none that can't be run here.
//
// Commands that only look share a sandbox for each situation. Those of a topic
// that change something run in their order, in a sandbox of their own.
func TestCommandsOfExplain(t *testing.T) {
	t.Parallel()
	bin := etcdTools(t)
	looks, seen := map[string][]explain.Command{}, map[string]bool{}
	n := 0
	for _, topic := range explain.All() {
		for where, commands := range bySituation(topic) {
			changes, text := false, where
			for _, c := range commands {
				changes = changes || c.Changes
				text += "\n" + c.Line
			}
			if !changes {
				for _, c := range commands {
					if key := where + "\n" + c.Line; !seen[key] {
						seen[key] = true
						looks[where] = append(looks[where], c)
					}
				}
				continue
			}
			if seen[text] {
				continue // the same as another topic's
			}
			seen[text] = true
			n += len(commands)
			t.Run(topic.Name+"/"+where, func(t *testing.T) {
				t.Parallel()
				s := newSandbox(t, bin, where, commands)
				for _, c := range commands {
					s.run(t, c)
				}
			})
		}
	}
	for where, commands := range looks {
		n += len(commands)
		t.Run("looks/"+where, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t, bin, where, commands)
			for _, c := range commands {
				s.run(t, c)
			}
		})
	}
	t.Logf("%d commands", n)
	if n < 100 {
		t.Errorf("only %d commands to run", n)
	}
}

func bySituation(topic explain.Topic) map[string][]explain.Command {
	out := map[string][]explain.Command{}
	for _, c := range topic.Equivalent {
		out[c.Situation] = append(out[c.Situation], c)
	}
	return out
}

var tools struct {
	sync.Once
	dir string
	err error
}

// etcdTools is a folder with etcdctl and etcdutl of the pinned version, built once
// from .ci/tools, and with etcd and requorum.
func etcdTools(t *testing.T) string {
	t.Helper()
	tools.Do(func() { tools.dir, tools.err = buildTools(t.TempDir()) })
	if tools.err != nil {
		t.Fatal(tools.err)
	}
	return tools.dir
}

func buildTools(dir string) (string, error) {
	cmd := exec.Command("go", "build", "-modfile=.ci/tools/go.mod", "-o", dir+"/", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3")
	cmd.Dir = harness.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build etcdctl and etcdutl: %w\n%s", err, out)
	}
	etcd := fmt.Sprintf("#!/bin/sh\nexec '%s' etcd \"$@\"\n", harness.Binary())
	if err := os.WriteFile(filepath.Join(dir, "etcd"), []byte(etcd), 0o700); err != nil {
		return "", err
	}
	return dir, os.Symlink(harness.Binary(), filepath.Join(dir, "requorum"))
}

// sandbox is a situation, and what the placeholders stand for in it.
type sandbox struct {
	e   *harness.Env
	env map[string]string
	bin string
	// changesMembers says that a change of the member list is among the commands.
	changesMembers bool
}

// commandLimit ends a command that hangs.
const commandLimit = 60 * time.Second

// run runs the line, and compares its end with what the topic says.
func (s *sandbox) run(t *testing.T, c explain.Command) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	// As it is shown on a terminal, line ends and all.
	shown := strings.Join(render.CommandLines(c.Line, 76), "\n")
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "set -u; "+shown)
	cmd.Dir, cmd.WaitDelay = s.e.Dir, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = []string{"PATH=" + s.bin + ":" + os.Getenv("PATH"), "HOME=" + s.e.Path("home"), "TMPDIR=" + s.e.Path("tmp"),
		"XDG_STATE_HOME=" + s.e.State(), "LANG=C.UTF-8"}
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%s\n%v\n%s", c.Line, err, out.String())
	}
	if got := cmd.ProcessState.ExitCode(); got != c.Exit || !strings.Contains(out.String(), c.Says) {
		t.Fatalf("$ %s\nexit %d, want %d and %q; the output:\n%.3000s", shown, got, c.Exit, c.Says, out.String())
	}
}
