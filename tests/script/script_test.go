// Package script holds what requorum's command line says and how it exits, as
// text: one script in testdata for each behaviour, in the language of testscript.
package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestScripts runs testdata. In a script requorum is on the PATH, its journal in
// the script's folder, and the variable port is the first of six free ports,
// $P0 to $P5, by REQUORUM_VAR_port.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func setup(env *testscript.Env) error {
	bin := filepath.Join(env.WorkDir, ".bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(harness.Binary(), filepath.Join(bin, "requorum")); err != nil {
		return err
	}
	ports, err := harness.ReservePorts(6)
	if err != nil {
		return err
	}
	env.Defer(ports.Release)
	env.Defer(func() { _ = harness.EndAll(env.WorkDir) })
	for i, n := range ports.Numbers {
		env.Setenv(fmt.Sprintf("P%d", i), strconv.Itoa(n))
	}
	env.Setenv("REQUORUM_VAR_port", strconv.Itoa(ports.Numbers[0]))
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
	return nil
}

// exits is `exits CODE PROGRAM ARGS…`: exec that wants one exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		got = ended.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
}
