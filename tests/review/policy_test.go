package review

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// conftest runs the pinned conftest on a plan, under the policy of the example.
func conftest(t *testing.T, plan string) (out string, passed bool) {
	t.Helper()
	cmd := exec.Command("go", "tool", "-modfile=.ci/conftest/go.mod", "conftest", "test", "--no-color", "--policy", filepath.Join("examples", "policy"), plan)
	cmd.Dir, cmd.Env = harness.Root(), append(os.Environ(), "CGO_ENABLED=0")
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || !strings.Contains(string(b), "tests,") {
		t.Fatalf("conftest: %v\n%s", err, b)
	}
	return string(b), err == nil
}

// TestPolicy: conftest reads plans, and takes and refuses them as the example says.
func TestPolicy(t *testing.T) {
	t.Parallel()
	s := made(t)
	for name, want := range map[string]string{
		"grow":    "after step 1 no further voter may fail",
		"in-sync": "",
		"shrink":  "etcd_member.m3 goes away (delete_because_no_resource_config)",
		"refused": "there is no safe plan: snapshot-missing",
	} {
		out, passed := conftest(t, s.plans[name])
		if mayPass := name == "grow" || name == "in-sync"; passed != mayPass || !strings.Contains(out, want) {
			t.Errorf("%s: passed %t, and it should say %q:\n%s", name, passed, want, out)
		}
	}
}
