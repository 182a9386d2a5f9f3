package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// What an organisation forbids no file allows: neither by saying otherwise, nor in a plan
// that was saved where the policy was not in force.
func TestOrganisationsPolicy(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, _ := bootstrapped(t, e, 1)
	dir := e.Path("policies")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "all.hcl"), []byte("policy {\n  prevent       = [\"downtime\"]\n  max_drill_age = \"1d\"\n}\n"))
	c.More = "  etcd { config = { heartbeat-interval = 150 } }\n  policy { prevent = [] }\n"
	c.Write()
	plan := e.Path("plan.json")
	e.Run("plan", "--accept=downtime", "--out", plan, c.Path()).Want(t, 0)
	pid := c.Etcd(c.Members[0]).PID

	for _, args := range [][]string{{"plan"}, {"plan", "--accept=downtime"}, {"apply", "--auto-approve", "--accept=downtime"}} {
		e.Run(append(args, "--policy-dir", dir, c.Path())...).Want(t, 6).Says(t, "policy-prevented", "policies/all.hcl:1")
	}
	e.Run("validate", c.Path()).Want(t, 0)
	e.Setenv("REQUORUM_POLICY", dir)
	e.Run("plan", c.Path()).Want(t, 6).Says(t, "policy-prevented")
	e.Run("apply", plan).Want(t, 6).Says(t, "the policy here forbids this plan", "downtime")
	// A flag adds to what the machine says, and takes nothing back.
	empty := e.Path("empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	e.Run("plan", "--policy-dir", empty, c.Path()).Want(t, 1).Says(t, "No policy")
	write(t, filepath.Join(empty, "x.hcl"), []byte("policy {}\n"))
	e.Run("plan", "--policy-dir", empty, c.Path()).Want(t, 6).Says(t, "policy-prevented")
	found := ""
	for _, f := range e.Audit(c.Path()).Findings {
		found += string(f.Code) + " "
	}
	if !strings.Contains(found, "no-safe-plan") {
		t.Errorf("an audit finds %s", found)
	}
	if c.Etcd(c.Members[0]).PID != pid {
		t.Error("it was restarted")
	}
	// A folder that is gone is no policy that is fulfilled.
	e.Setenv("REQUORUM_POLICY", e.Path("nowhere"))
	e.Run("plan", c.Path()).Want(t, 1).Says(t, "No folder of policies")
	e.Run("validate", "--json", c.Path()).Want(t, 1).Says(t, "No folder of policies", `"valid": false`)
	e.Setenv("REQUORUM_POLICY", "")
	e.Run("apply", plan).Want(t, 0)
	now := c.Etcd(c.Members[0]).PID
	if now == pid {
		t.Error("it was not restarted")
	}
	// A plan that was made under a policy is carried out under it, and where it is not in
	// force; that its secrets come from the file is no change of the configuration.
	write(t, filepath.Join(empty, "x.hcl"), []byte("policy { max_drill_age = \"2d\" }\n"))
	for i, policy := range []string{empty, ""} {
		c.More = strings.Replace(c.More, fmt.Sprint("= ", 150+10*i), fmt.Sprint("= ", 160+10*i), 1)
		c.Snapshot = "http://u:hush@127.0.0.1:1/x.db"
		c.Write()
		e.Setenv("REQUORUM_POLICY", empty)
		under := e.Path(fmt.Sprintf("under-%d.json", i))
		e.Run("plan", "--accept=downtime", "--out", under, c.Path()).Want(t, 0)
		e.Setenv("REQUORUM_POLICY", policy)
		r := e.Run("apply", under)
		if policy != "" {
			r.Want(t, 0)
		} else if r.Exit != 1 && r.Exit != 0 {
			t.Errorf("where the policy is not in force: %s", r)
		}
	}
	if c.Etcd(c.Members[0]).PID == now {
		t.Error("it was not restarted under the policy")
	}
}
