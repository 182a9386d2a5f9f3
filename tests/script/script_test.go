// Package script holds what requorum's command line says and how it exits, as
// text: one script in testdata for each behaviour, in the language of testscript.
package script

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

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
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "forge": forge, "moveleader": moveLeader, "schema": schema},
		Condition:           condition,
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

// forge is `forge FILE OLD NEW`: replaces the first OLD in a saved plan by NEW, and
// gives it the digest that it then has, as docs/plan.md says it is made.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: forge FILE OLD NEW")
	}
	old := ts.ReadFile(args[0])
	text := strings.Replace(old, args[1], args[2], 1)
	if text == old {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	var c bytes.Buffer
	ts.Check(json.Compact(&c, []byte(text)))
	was := regexp.MustCompile(`"digest":"([^"]*)"`).FindStringSubmatch(c.String())[1]
	sum := sha256.Sum256([]byte(strings.Replace(c.String(), was, "", 1)))
	key, err := pbkdf2.Key(sha256.New, string(sum[:]), []byte("requorum plan 1"), 65536, 13)
	ts.Check(err)
	letters := base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").EncodeToString(key)[:20]
	digest := strings.Join([]string{letters[:4], letters[4:8], letters[8:12], letters[12:16], letters[16:]}, "-")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, was, digest, 1)), 0o600))
}

// moveLeader is `moveleader PORT…`: of the members that serve clients there, another
// one leads.
func moveLeader(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: moveleader PORT PORT…")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	leader, other := "", uint64(0)
	for _, port := range args {
		url := "http://127.0.0.1:" + port
		cli, err := harness.Dial(url)
		ts.Check(err)
		st, err := cli.Status(ctx, url)
		ts.Check(errors.Join(err, cli.Close()))
		if st.Header.MemberId == st.Leader {
			leader = url
		} else {
			other = st.Header.MemberId
		}
	}
	cli, err := harness.Dial(leader)
	ts.Check(err)
	_, err = cli.MoveLeader(ctx, other)
	ts.Check(errors.Join(err, cli.Close()))
}

// condition is [netns]: a program can be given a network namespace of its own. Where
// CI is set it has to be.
func condition(name string) (bool, error) {
	if name != "netns" {
		return false, fmt.Errorf("there is no condition %q", name)
	}
	out, err := exec.Command("unshare", "-rn", "true").CombinedOutput()
	if err != nil && os.Getenv("CI") != "" {
		return false, fmt.Errorf("unshare -rn: %w: %s", err, out)
	}
	return err == nil, nil
}

// schema is `[!] schema FILE`: the file is as the published schema has it, and others'
// types for Terraform's plans read it.
func schema(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: schema FILE")
	}
	text := ts.ReadFile(args[0])
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	published, err := c.Compile(filepath.Join(harness.Root(), "docs", "plan.schema.json"))
	ts.Check(err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	ts.Check(err)
	err = published.Validate(v)
	if err == nil {
		var tf tfjson.Plan
		err = errors.Join(json.Unmarshal([]byte(text), &tf), tf.Validate())
	}
	if (err != nil) != neg {
		ts.Fatalf("%s: %v", args[0], err)
	}
}
