package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// underCommands is a cluster of n that scripts of its own keep, with keys in it.
func underCommands(t *testing.T, n int) (*harness.Env, *harness.Cluster, harness.Keys) {
	t.Helper()
	r := harness.Etcd(t, "3.6")
	e := harness.New(t)
	c := e.Cluster(n).UnderCommands(r, nil)
	p := e.Plan(c.Path())
	if p.Route != "bootstrap" || p.Refusal != nil {
		t.Fatalf("%+v", p)
	}
	e.Apply(c.Path())
	e.InSync(c.Path())
	for _, m := range c.Members {
		if c.Etcd(m).PID == 0 || c.Supervisor(m).PID != 0 {
			t.Errorf("%s: %v", m.Name, c.Processes())
		}
	}
	return e, c, harness.Fill(t, c.Endpoints(), keysPerTest)
}

// Both procedures, growth and a change of settings, with members that scripts of the
// user's keep.
func TestCommandsLife(t *testing.T) {
	t.Parallel()
	e, c, keys := underCommands(t, 3)
	saved := e.Path("saved.db")
	e.Run("snapshot", "save", "--to", saved, c.Path()).Want(t, 0)

	// A setting: the file changes, and each is restarted by its script.
	c.More = strings.NewReplacer("{ binary", "{\n    binary", " }\n", "\n    config = { quota-backend-bytes = 1073741824 }\n  }\n").Replace(c.More)
	c.Write()
	r := e.Run("plan", c.Path()).Want(t, 0)
	r.Says(t, "etcd.yaml", "quota-backend-bytes: 1073741824")
	e.Apply(c.Path())
	e.InSync(c.Path())
	harness.CompareAll(t, keys, c.Endpoints())

	// Stopped, started.
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 0)
	if left := c.Processes(); len(left) > 0 {
		t.Fatalf("left: %v", left)
	}
	if p := e.Plan(c.Path()); p.Route != "start" {
		t.Fatalf("%s: %s", p.Route, p.Headline)
	}
	e.Apply(c.Path())
	e.InSync(c.Path())

	// A disk is lost: the member is replaced.
	m := c.Members[2]
	e.Run("stop", "--auto-approve", "--member=m3", c.Path()).Want(t, 0)
	c.DropData(m)
	p := e.Plan(c.Path())
	if p.Route != "reconfigure" {
		t.Fatalf("%s: %s", p.Route, p.Headline)
	}
	e.Apply(c.Path(), "--accept="+p.Consents())
	e.InSync(c.Path())
	harness.CompareAll(t, keys, c.Endpoints())

	// Two disks are lost at once: recovery from the third.
	c.PowerCut()
	c.DropData(c.Members[0], c.Members[1])
	p = e.Plan(c.Path())
	if p.Route != "recover" {
		t.Fatalf("%s: %s", p.Route, p.Headline)
	}
	e.Run("plan", c.Path()).Want(t, 0).Says(t, "not-barred", "nothing can keep m3's commands", "nothing can keep m1, m2's commands")
	e.Apply(c.Path(), "--accept="+p.Consents())
	e.InSync(c.Path())
	harness.CompareAll(t, keys, c.Endpoints())

	// All are: restore.
	c.PowerCut()
	c.DropData(c.Members...)
	c.Snapshot = saved
	c.Write()
	p = e.Plan(c.Path())
	if p.Route != "restore" {
		t.Fatalf("%s: %s", p.Route, p.Headline)
	}
	e.Apply(c.Path(), "--accept="+p.Consents())
	e.InSync(c.Path())
	harness.CompareAll(t, keys, c.Endpoints())
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 0)
}

// A status command that hangs, fails or lies makes the member's standing unknown: what
// serves is left alone, and nothing is planned on its word.
func TestCommandsThatDoNotTell(t *testing.T) {
	t.Parallel()
	e, c, keys := underCommands(t, 3)
	m := c.Members[2]
	pid := c.Etcd(m).PID
	for _, lie := range []string{"exit 1", "sleep 100", "exit 3"} {
		c.Spoil(m, "status", lie)
		// It serves: there is nothing to do, and that something is wrong is said.
		e.Run("plan", c.Path()).Want(t, 0).Says(t, "in sync", "m3", "its status command")
		// A change that would stop it is refused.
		if r := e.Run("stop", "--auto-approve", "--member=m3", c.Path()); c.Etcd(m).PID != pid {
			t.Fatalf("it was stopped on its word\n%s", r)
		}
		c.Spoil(m, "status", "")
	}
	// Dead, and its status is unknown: it is not taken for stopped.
	if err := harness.Kill9([]harness.Proc{c.Etcd(m)}); err != nil {
		t.Fatal(err)
	}
	c.Spoil(m, "status", "echo cannot reach the service manager; exit 1")
	e.Run("plan", c.Path()).Want(t, 6).Says(t, "commands-unfit", "cannot reach the service manager", "member status")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6)
	c.Spoil(m, "status", "")
	e.Apply(c.Path())
	e.InSync(c.Path())
	harness.CompareAll(t, keys, c.Endpoints())
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 0)
}

// Commands that fail half-way stop the apply in words, and planning again goes on.
func TestCommandsThatFail(t *testing.T) {
	t.Parallel()
	e, c, keys := underCommands(t, 3)
	m := c.Members[0]
	c.PowerCut()
	c.DropData(c.Members[1], c.Members[2])
	p := e.Plan(c.Path())
	accept := "--accept=" + p.Consents()

	// What keeps the survivor says that it runs, and can't be stopped: no fence.
	c.Spoil(m, "status", "exit 0")
	c.Spoil(m, "stop", "echo refusing to stop; exit 1")
	r := e.Run("apply", "--auto-approve", accept, c.Path())
	if r.Exit == 0 {
		t.Fatalf("it was recovered beside a member that may run\n%s", r)
	}
	if b, _ := os.ReadFile(filepath.Join(m.DataDir, "member", "snap", "db")); len(b) == 0 {
		t.Fatal("the survivor's data is not where it was")
	}
	c.Spoil(m, "status", "")
	c.Spoil(m, "stop", "")

	// A new member does not start: the others are a majority, and go on without it.
	c.Spoil(c.Members[1], "start", "echo no license; exit 4")
	e.Run("apply", "--auto-approve", accept, c.Path()).Want(t, 0).Says(t, "without m2", "no license", "status 4")
	if c.Etcd(c.Members[1]).PID != 0 {
		t.Fatal("it runs")
	}
	// Alone it is what is to be done, and that fails.
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 7).Says(t, "no license", "status 4")
	c.Spoil(c.Members[1], "start", "")
	p = e.Plan(c.Path())
	if p.Route != "reconfigure" && p.Route != "start" {
		t.Fatalf("%s: %s", p.Route, p.Headline)
	}
	e.Run("apply", "--auto-approve", "--accept="+p.Consents(), c.Path()).Want(t, 0)
	e.InSync(c.Path())
	harness.CompareAll(t, keys, c.Endpoints())

	// It is stopped by request, and goes on: that is said, and nothing is ended.
	c.Spoil(m, "stop", "exit 0")
	pid := c.Etcd(m).PID
	e.Run("stop", "--auto-approve", "--member=m1", c.Path()).Want(t, 7).Says(t, "does not stop")
	if now := c.Etcd(m).PID; now != pid {
		t.Errorf("pid %d became %d", pid, now)
	}
	c.Spoil(m, "stop", "")
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 0)
}
