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

// Each example is here, so that none is without a test; those of ci and timers are in tests/ci, policy's in
// tests/review.
func TestEveryExampleIsTested(t *testing.T) {
	t.Parallel()
	tested := " minimal restore migrate recover replace commands ci policy timers "
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
	c, vars := threeOfExample(e)
	vars = append(vars, "--var=snapshot="+write(t, e.Path("saved.db"), src.snapshot))
	lifeOfExample(t, e, "restore", vars, func() harness.Keys { return src.keys }, c.Endpoints())
}

// threeOfExample are the members of an example that has three, and the variables
// that put them where the test wants them. Nothing reads c's own file.
func threeOfExample(e *harness.Env) (c *harness.Cluster, vars []string) {
	c = e.Cluster(3)
	var ports []string
	for _, m := range c.Members {
		ports = append(ports, fmt.Sprintf("%s = { client = %s, peer = %s }", m.Name, port(m.Client), port(m.Peer)))
	}
	return c, []string{"--var=data=" + filepath.Join(c.Dir, "data"), "--var=ports={ " + strings.Join(ports, ", ") + " }"}
}

func port(url string) string { return url[strings.LastIndex(url, ":")+1:] }

func TestExampleMigrate(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, vars := threeOfExample(e)
	m := c.Members[0]
	byHand := e.Hand(m, nil, atLocalhost(m)...)
	byHand.Serve()
	keys := harness.Fill(t, []string{m.Client}, keysPerTest)
	lifeOfExample(t, e, "migrate", vars, func() harness.Keys {
		if now := c.Etcd(m).PID; now != byHand.PID() {
			t.Errorf("m1 was pid %d and is %d", byHand.PID(), now)
		}
		return keys
	}, c.Endpoints())
}

func TestExampleRecover(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, vars := threeOfExample(e)
	hs := e.ByHand(c.Members)
	lead(t, hs, 0)
	keys := harness.Fill(t, hs.Endpoints(), keysPerTest)
	hs.Kill9()
	c.DropData(c.Members[1:]...)
	lifeOfExample(t, e, "recover", vars, func() harness.Keys { return keys }, c.Endpoints(), "--accept=data-loss")
}

func TestExampleReplace(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, vars := threeOfExample(e)
	path := example("replace")
	run := func(args ...string) { e.Run(append(append(args, path), vars...)...).Want(t, 0) }
	run("apply", "--auto-approve")
	keys := harness.Fill(t, c.Endpoints(), keysPerTest)
	run("stop", "--auto-approve", "--member=m3")
	c.DropData(c.Members[2])
	lifeOfExample(t, e, "replace", vars, func() harness.Keys { return keys }, c.Endpoints(), "--accept=data-loss")
}

func TestExampleCommands(t *testing.T) {
	t.Parallel()
	r := harness.Etcd(t, "3.6")
	e := harness.New(t)
	c, vars := threeOfExample(e)
	vars = append(vars, "--var=etcd="+r.Etcd, "--var=keeper="+filepath.Join(example("commands"), "keeper"))
	lifeOfExample(t, e, "commands", vars, func() harness.Keys {
		for _, m := range c.Members {
			if c.Etcd(m).PID == 0 || c.Supervisor(m).PID != 0 {
				t.Errorf("%s is not the script's: %v", m.Name, c.Processes())
			}
		}
		return harness.Fill(t, c.Endpoints(), keysPerTest)
	}, c.Endpoints())
}

// lifeOfExample does with an example what its README says, with the consents it
// names, in place, and finds the example's folder as it was.
func lifeOfExample(t *testing.T, e *harness.Env, name string, vars []string, fill func() harness.Keys, urls []string, accept ...string) {
	t.Helper()
	path := example(name)
	before := harness.Tree(t, path)
	run := func(args ...string) harness.Result { return e.Run(append(append(args, path), vars...)...) }
	run("validate").Want(t, 0)
	run("plan", "--detailed-exitcode").Want(t, 2)
	run(append([]string{"apply", "--auto-approve"}, accept...)...).Want(t, 0)
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
