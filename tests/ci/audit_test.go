package ci

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/requorum/requorum/tests/harness"
)

// TestNightlyAudits plays the audits of both: fine while the cluster serves, though
// something is to be said of it, and failed when it does not.
func TestNightlyAudits(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.run(".", 0, nil, "requorum", "apply", "--auto-approve", "one.hcl")
	r.copy("one.hcl", "github/etcd/c.hcl")
	r.copy("one.hcl", "gitlab/etcd/c.hcl")
	// A cluster may be of several files: its folder is one cluster, for audits too.
	for _, of := range []string{"github", "gitlab"} {
		r.write(of+"/etcd/more.hcl", "locals { more = 1 }\n", 0o600)
	}
	b, err := os.ReadFile(example("gitlab/.gitlab-ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var jobs struct {
		Audit struct{ Script []string }
	}
	if err := yaml.Unmarshal(b, &jobs); err != nil || len(jobs.Audit.Script) == 0 {
		t.Fatal(err)
	}
	script := strings.Join(jobs.Audit.Script, "\n")

	if _, failed := r.job("github/audit.yml", "audit", "github"); failed != "" || r.read("github/audit.exit") != "0\n" {
		t.Fatalf("it serves: %s", failed)
	}
	r.run("gitlab", 0, nil, "bash", "-eo", "pipefail", "-c", script)
	for _, name := range []string{"summary", "gitlab/audit.md"} {
		if s := r.read(name); !strings.Contains(s, "| warning | backup-missing | demo |") {
			t.Errorf("%s:\n%s", name, s)
		}
	}
	var log struct {
		Runs []struct {
			Results []struct{ RuleID string }
		}
	}
	if err := json.Unmarshal([]byte(r.read("github/audit.sarif")), &log); err != nil || len(log.Runs) != 1 || len(log.Runs[0].Results) < 2 {
		t.Errorf("%v: %+v", err, log)
	}

	r.run(".", 0, nil, "requorum", "stop", "--auto-approve", "one.hcl")
	if _, failed := r.job("github/audit.yml", "audit", "github"); failed == "" || r.read("github/audit.exit") != "2\n" {
		t.Errorf("it is down, and the job ends well")
	}
	r.run("gitlab", 2, nil, "bash", "-eo", "pipefail", "-c", script)
	if s := r.read("gitlab/audit.json"); !strings.Contains(s, `"cluster-down"`) {
		t.Error(s)
	}
	// A file that can't be read is no night without findings.
	r.write("gitlab/etcd/d.hcl", "cluster {", 0o600)
	r.run("gitlab", 1, nil, "bash", "-eo", "pipefail", "-c", script)
}

var execStart = regexp.MustCompile(`(?m)^ExecStart=(.*)$`)

// TestTimers: systemd takes the units, and what they run does what they are for: after a
// backup and a drill an audit has nothing to say of backups.
func TestTimers(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	dir := filepath.Join(harness.Root(), "examples", "timers")
	units, err := filepath.Glob(filepath.Join(dir, "*.*r*")) // services and timers
	if err != nil || len(units) != 6 {
		t.Fatal(units, err)
	}
	backups, textfile := r.dir("backups"), r.dir("textfile")
	here := strings.NewReplacer("/usr/local/bin/requorum", harness.Binary(), "/var/backups/etcd", backups,
		"/var/lib/prometheus/node-exporter", textfile, "/etc/requorum/cluster.hcl", "kept.hcl", "--keep 14", "--keep 2")
	runs := map[string]string{}
	var files []string
	for _, u := range units {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		text := here.Replace(string(b))
		name := filepath.Base(u)
		r.write(name, text, 0o600)
		files = append(files, filepath.Join(r.work, name))
		if m := execStart.FindStringSubmatch(text); m != nil {
			runs[name] = m[1]
		}
	}
	if out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, files...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	r.write("kept.hcl", strings.Replace(r.read("one.hcl"), "{", "{\n  policy { backups = \""+backups+"\" }", 1), 0o600)
	r.run(".", 0, nil, "requorum", "apply", "--auto-approve", "kept.hcl")
	run := func(unit string, want int) {
		t.Helper()
		r.run(".", want, nil, "sh", "-c", runs[unit])
	}
	found := func() string { return r.read("textfile/requorum.prom") }
	run("etcd-audit.service", 2)
	if !strings.Contains(found(), `code="backup-missing"`) {
		t.Error(found())
	}
	run("etcd-backup.service", 0)
	run("etcd-audit.service", 2)
	if s := found(); !strings.Contains(s, `code="backup-not-drilled"`) || strings.Contains(s, "backup-missing") {
		t.Error(s)
	}
	run("etcd-drill.service", 0)
	run("etcd-audit.service", 2)
	if s := found(); strings.Contains(s, `code="backup-`) || !strings.Contains(s, "requorum_audit_up{") {
		t.Error(s)
	}
	for range 3 {
		time.Sleep(1100 * time.Millisecond) // a snapshot's name has the second in it
		run("etcd-backup.service", 0)
	}
	if left, err := filepath.Glob(filepath.Join(backups, "demo~*")); err != nil || len(left) != 2 {
		t.Errorf("%d are kept: %v", len(left), err)
	}
}
