package ci

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func example(name string) string { return filepath.Join(harness.Root(), "examples", "ci", name) }

// runner is a machine on which stages run.
type runner struct {
	t    *testing.T
	work string
	env  []string
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	work := t.TempDir()
	t.Cleanup(func() { _ = harness.EndAll(work) })
	ports, err := harness.ReservePorts(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	r := &runner{t: t, work: work}
	bin := r.dir("bin")
	if err := os.Symlink(harness.Binary(), filepath.Join(bin, "requorum")); err != nil {
		t.Fatal(err)
	}
	r.write("bin/gh", fakeGitHub, 0o700)
	r.dir("hub")
	// Data stays where it is, whatever folder a stage runs in.
	member := func(name string, peer, client int) string {
		return `
  member "` + name + `" {
    peer_urls   = ["` + ports.URL(peer) + `"]
    client_urls = ["` + ports.URL(client) + `"]
    data_dir    = "` + filepath.Join(work, "data", name) + `"
  }`
	}
	r.write("one.hcl", "cluster \"demo\" {"+member("m1", 0, 1)+"\n}\n", 0o600)
	r.write("two.hcl", "cluster \"demo\" {"+member("m1", 0, 1)+member("m2", 2, 3)+"\n}\n", 0o600)
	r.env = append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH"), "HOME="+work, "XDG_STATE_HOME="+filepath.Join(work, "state"), "HUB="+filepath.Join(work, "hub"),
		"GITHUB_REPOSITORY=o/r", "GITHUB_SHA=abc", "PR=7")
	return r
}

// fakeGitHub stands for GitHub's own command: comments and artifacts are files.
const fakeGitHub = `#!/bin/sh
set -eu
echo "$*" >> "$HUB/calls"
case "$*" in
*"--method POST "*issues/7/comments*body=@plan.md) cp plan.md "$HUB/comment" ;;
*"--method PATCH "*issues/comments/99*body=@plan.md) cp plan.md "$HUB/comment" ;;
*issues/7/comments*".id") if [ -e "$HUB/comment" ]; then [ "$(head -n 1 "$HUB/comment")" = "$marker" ] && echo 99; fi ;;
*issues/7/comments*".body") cat "$HUB/comment" ;;
*commits/abc/pulls*) echo 7 ;;
*pulls/7*) echo def ;;
*"workflows/plan.yml/runs?"*head_sha=def*) echo 55 ;;
"run download 55 "*) cp "$HUB/plan.json" plan.json ;;
*) echo "gh: not played here: $*" >&2; exit 1 ;;
esac
`

func (r *runner) dir(name string) string {
	r.t.Helper()
	d := filepath.Join(r.work, name)
	if err := os.MkdirAll(d, 0o700); err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *runner) write(name, text string, mode os.FileMode) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.work, name), []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *runner) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.work, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

func (r *runner) copy(from, to string) {
	r.t.Helper()
	r.dir(filepath.Dir(to))
	r.write(to, r.read(from), 0o600)
}

// run runs a program in a folder, and wants an exit code.
func (r *runner) run(dir string, want int, env []string, name string, args ...string) string {
	r.t.Helper()
	if name == "requorum" {
		name = harness.Binary()
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = r.dir(dir), append(r.env, env...)
	out, err := cmd.CombinedOutput()
	got := 0
	if err != nil {
		got = cmd.ProcessState.ExitCode()
	}
	if got != want {
		r.t.Fatalf("%s %s in %s: exit %d (%v), want %d:\n%s", name, strings.Join(args, " "), dir, got, err, want, out)
	}
	return string(out)
}

// step is a step of a GitHub workflow.
type step struct {
	Name string            `json:"name"`
	If   string            `json:"if"`
	Run  string            `json:"run"`
	Env  map[string]string `json:"env"`
}

// job runs the shell parts of a workflow's job as GitHub does, and gives the outputs;
// it stops at a step that fails.
func (r *runner) job(file, job, dir string) (outputs map[string]string, failed string) {
	r.t.Helper()
	var w struct {
		Jobs map[string]struct {
			Steps []step `json:"steps"`
		} `json:"jobs"`
	}
	b, err := os.ReadFile(example(file))
	if err != nil {
		r.t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &w); err != nil {
		r.t.Fatal(err)
	}
	outputs = map[string]string{}
	ran := 0
	for _, s := range w.Jobs[job].Steps {
		if s.Run == "" || s.If != "" && outputs["exit"] != "6" {
			continue
		}
		ran++
		r.write("output", "", 0o600)
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = r.dir(dir)
		cmd.Env = append(r.env, "GITHUB_OUTPUT="+filepath.Join(r.work, "output"), "GITHUB_STEP_SUMMARY="+filepath.Join(r.work, "summary"), "DIGEST="+outputs["digest"])
		out, err := cmd.CombinedOutput()
		r.t.Logf("%s, %s: %v\n%s", file, s.Name, err, out)
		if err != nil {
			return outputs, string(out)
		}
		for _, l := range strings.Split(r.read("output"), "\n") {
			if k, v, ok := strings.Cut(l, "="); ok {
				outputs[k] = v
			}
		}
	}
	if ran == 0 {
		r.t.Fatalf("%s has no job %s with a shell part", file, job)
	}
	return outputs, ""
}

// TestGitHub: a change goes from pull request to cluster, and the comment is brought
// up to date in its place.
func TestGitHub(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.run(".", 0, nil, "requorum", "apply", "--auto-approve", "one.hcl")

	r.copy("one.hcl", "pr/etcd/c.hcl")
	if out, failed := r.job("github/plan.yml", "plan", "pr"); failed != "" || out["exit"] != "0" {
		t.Fatalf("no change: %v %s", out, failed)
	}
	if !strings.Contains(r.read("hub/comment"), "Nothing to do") {
		t.Errorf("comment:\n%s", r.read("hub/comment"))
	}
	r.copy("two.hcl", "pr/etcd/c.hcl")
	if out, failed := r.job("github/plan.yml", "plan", "pr"); failed != "" || out["exit"] != "2" {
		t.Fatalf("a change: %v %s", out, failed)
	}
	if c := r.read("hub/comment"); !strings.Contains(c, "add m2") || !strings.Contains(r.read("summary"), "add m2") {
		t.Errorf("comment:\n%s", c)
	}
	if calls := r.read("hub/calls"); strings.Count(calls, "--method POST") != 1 || strings.Count(calls, "--method PATCH") != 1 {
		t.Errorf("calls:\n%s", calls)
	}
	r.copy("pr/plan.json", "hub/plan.json")
	if out, failed := r.job("github/apply.yml", "apply", "merged"); failed != "" {
		t.Fatalf("%v %s", out, failed)
	}
	r.run(".", 0, nil, "requorum", "status", "two.hcl")
	if _, failed := r.job("github/apply.yml", "apply", "merged-again"); !strings.Contains(failed, "was used") {
		t.Errorf("a plan used twice: %s", failed)
	}
	// The plan of another commit than the comment shows.
	r.run("other", 0, nil, "requorum", "plan", "--out", "plan.json", "../one.hcl")
	r.copy("other/plan.json", "hub/plan.json")
	if _, failed := r.job("github/apply.yml", "apply", "other-commit"); !strings.Contains(failed, "is not the plan that was approved") {
		t.Errorf("another plan: %s", failed)
	}
}

// TestGitHubRefused: a refusal is shown, and fails the check.
func TestGitHubRefused(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.copy("one.hcl", "pr/etcd/c.hcl")
	r.write("pr/etcd/c.hcl", strings.Replace(r.read("one.hcl"), "\n}\n", "\n  snapshot { source = \"nosuch.db\" }\n}\n", 1), 0o600)
	out, failed := r.job("github/plan.yml", "plan", "pr")
	if failed == "" || out["exit"] != "6" || !strings.Contains(r.read("hub/comment"), "snapshot-missing") {
		t.Errorf("%v %s\n%s", out, failed, r.read("hub/comment"))
	}
}

// TestGitLab plays the script lines as GitLab's runner does: all of a job in one shell.
func TestGitLab(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	b, err := os.ReadFile(example("gitlab/.gitlab-ci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var jobs map[string]json.RawMessage
	if b, err = yaml.YAMLToJSON(b); err == nil {
		err = json.Unmarshal(b, &jobs)
	}
	if err != nil {
		t.Fatal(err)
	}
	script := func(job string) string {
		var j struct {
			Script []string `json:"script"`
		}
		if err := json.Unmarshal(jobs[job], &j); err != nil || len(j.Script) == 0 {
			t.Fatalf("job %s: %v", job, err)
		}
		return strings.Join(j.Script, "\n")
	}
	r.copy("one.hcl", "plan/etcd/c.hcl")
	r.run("plan", 0, nil, "bash", "-eo", "pipefail", "-c", script("plan"))
	if !strings.Contains(r.read("plan/plan.html"), "<!doctype html>") {
		t.Error("no page")
	}
	r.copy("plan/plan.json", "apply/plan.json")
	r.run("apply", 1, nil, "bash", "-eo", "pipefail", "-c", script("apply")) // no digest
	r.run("apply", 4, []string{"DIGEST=aaaa"}, "bash", "-eo", "pipefail", "-c", script("apply"))
	r.run("apply", 0, []string{"DIGEST=" + digest(t, r.read("plan/plan.md"))}, "bash", "-eo", "pipefail", "-c", script("apply"))
	r.write("plan/etcd/c.hcl", strings.Replace(r.read("one.hcl"), "demo", "other", 1), 0o600)
	r.run("plan", 6, nil, "bash", "-eo", "pipefail", "-c", script("plan"))
}

func digest(t *testing.T, markdown string) string {
	t.Helper()
	m := regexp.MustCompile("`([0-9a-z]{4}(-[0-9a-z]{4}){4})`").FindStringSubmatch(markdown)
	if m == nil {
		t.Fatalf("no digest in\n%s", markdown)
	}
	return m[1]
}

func TestShell(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.run("plan", 2, nil, example("shell/plan.sh"), "../one.hcl")
	r.copy("plan/plan.json", "apply/plan.json")
	r.run("apply", 4, nil, example("shell/apply.sh"), "0000-0000-0000-0000-0000")
	r.run("apply", 0, nil, example("shell/apply.sh"), digest(t, r.read("plan/plan.md")))
	r.run("plan", 0, nil, example("shell/plan.sh"), "../one.hcl")
}

// TestActionlint: the workflows are what GitHub takes.
func TestActionlint(t *testing.T) {
	t.Parallel()
	lint := func(files ...string) ([]byte, error) {
		cmd := exec.Command("go", append([]string{"tool", "-modfile=.ci/tools/go.mod", "actionlint", "-no-color", "-shellcheck=", "-pyflakes="}, files...)...)
		cmd.Dir = harness.Root()
		return cmd.CombinedOutput()
	}
	if out, err := lint(example("github/plan.yml"), example("github/apply.yml")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(example("github/plan.yml"))
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte(strings.Replace(string(b), "steps.plan.outputs", "steps.plam.outputs", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lint(bad); err == nil {
		t.Error("actionlint takes a workflow with a mistake")
	}
}
