package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

func example(name string) string { return filepath.Join(harness.Root(), "examples", name) }

// Each example is here, so that none is without a test.
func TestEveryExampleIsTested(t *testing.T) {
	t.Parallel()
	tested := " minimal restore "
	entries, err := os.ReadDir(example(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.Contains(tested, " "+e.Name()+" ") {
			t.Errorf("examples/%s has no test here", e.Name())
		}
	}
}

func TestExampleMinimal(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	ports, data := e.Ports(2), e.Path("data")
	url := ports.URL(0)
	e.Expect(filepath.Join(data, "m1"))
	vars := []string{
		fmt.Sprintf("--var=client_port=%d", ports.Numbers[0]), fmt.Sprintf("--var=peer_port=%d", ports.Numbers[1]),
		"--var=data=" + data,
	}
	lifeOfExample(t, e, "minimal", vars, func() harness.Keys {
		return harness.Fill(t, []string{url}, keysPerTest)
	}, []string{url})
}

func TestExampleRestore(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	ports, data := e.Ports(6), e.Path("data")
	var members, urls []string
	for i := range 3 {
		name := fmt.Sprintf("m%d", i+1)
		e.Expect(filepath.Join(data, name))
		urls = append(urls, ports.URL(2*i))
		members = append(members, fmt.Sprintf("%s = { client = %d, peer = %d }", name, ports.Numbers[2*i], ports.Numbers[2*i+1]))
	}
	vars := []string{
		"--var=snapshot=" + write(t, e.Path("saved.db"), src.snapshot), "--var=data=" + data,
		"--var=ports={ " + strings.Join(members, ", ") + " }",
	}
	lifeOfExample(t, e, "restore", vars, func() harness.Keys { return src.keys }, urls)
}

// lifeOfExample does with an example what its README says, in place, and finds
// the example's folder as it was.
func lifeOfExample(t *testing.T, e *harness.Env, name string, vars []string, fill func() harness.Keys, urls []string) {
	t.Helper()
	path := example(name)
	before := harness.Tree(t, path)
	run := func(args ...string) harness.Result { return e.Run(append(append(args, path), vars...)...) }
	run("validate").Want(t, 0)
	run("plan", "--detailed-exitcode").Want(t, 2)
	run("apply", "--auto-approve").Want(t, 0)
	run("plan", "--detailed-exitcode").Want(t, 0)
	run("status").Want(t, 0)
	want := fill()
	harness.CompareAll(t, want, urls)
	run("stop", "--auto-approve").Want(t, 0)
	run("apply", "--auto-approve").Want(t, 0)
	harness.CompareAll(t, want, urls)
	run("stop", "--auto-approve").Want(t, 0)
	harness.Unchanged(t, before, harness.Tree(t, path))
	readmeIsShort(t, path)
}

// readmeIsShort holds an example's README to what is read at three in the
// morning.
func readmeIsShort(t *testing.T, path string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(read(t, filepath.Join(path, "README.md")))), "\n")
	if len(lines) < 8 || len(lines) > 25 {
		t.Errorf("README.md has %d lines", len(lines))
	}
	for _, l := range lines {
		if len([]rune(l)) > 88 {
			t.Errorf("a long line: %s", l)
		}
	}
}
