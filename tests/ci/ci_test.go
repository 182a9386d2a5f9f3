package ci

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
		"PATH="+bin+":"+os.Getenv("PATH"), "HUB="+filepath.Join(work, "hub"),
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
*issues/7/comments*".updated_at, .body") if [ "$(head -n 1 "$HUB/comment")" = "$marker" ]; then cat "$HUB/updated" "$HUB/comment"; fi ;;
*pulls/7/reviews*) if [ "$head" = def ]; then cat "$HUB/reviews"; fi ;;
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

// stage is the environment of what runs in a folder: each has a home of its own, as if
// it were another machine every time.
func (r *runner) stage(dir string) []string {
	home := r.dir(filepath.Join("homes", strings.NewReplacer("/", "-", ".", "here").Replace(dir)))
	return append(slices.Clone(r.env), "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"))
}

// run runs a program in a folder, and wants an exit code.
func (r *runner) run(dir string, want int, env []string, name string, args ...string) string {
	r.t.Helper()
	if name == "requorum" {
		name = harness.Binary()
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = r.dir(dir), append(r.stage(dir), env...)
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
		cmd.Env = append(r.stage(dir), "GITHUB_OUTPUT="+filepath.Join(r.work, "output"), "GITHUB_STEP_SUMMARY="+filepath.Join(r.work, "summary"), "DIGEST="+outputs["digest"])
		out, err := cmd.CombinedOutput()
		r.t.Logf("%s, %s: %v\n%s", file, s.Name, err, out)
		if err != nil {
			return outputs, fmt.Sprintf("%s%v", out, err)
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
	r.write("hub/updated", "2026-01-02T10:00:00Z\n", 0o600)
	for name, reviews := range map[string]string{"no": "", "an older": "2026-01-02T09:00:00Z\n2026-01-01T11:00:00Z\n", "a simultaneous": "2026-01-02T10:00:00Z\n"} {
		r.write("hub/reviews", reviews, 0o600)
		if _, failed := r.job("github/apply.yml", "apply", "too-early"); !strings.Contains(failed, "Nobody approved what the comment shows") {
			t.Errorf("%s approval: %s", name, failed)
		}
	}
	r.write("hub/reviews", "2026-01-02T09:00:00Z\n2026-01-02T11:00:00Z\n", 0o600)
	comment := r.read("hub/comment")
	r.write("hub/comment", strings.Replace(comment, "plan demo", "plan demo2", 1), 0o600)
	if _, failed := r.job("github/apply.yml", "apply", "another-cluster"); !strings.Contains(failed, "Nobody approved") {
		t.Errorf("another cluster's comment: %s", failed)
	}
	r.write("hub/comment", comment, 0o600)
	if out, failed := r.job("github/apply.yml", "apply", "merged"); failed != "" {
		t.Fatalf("%v %s", out, failed)
	}
	r.run(".", 0, nil, "requorum", "status", "two.hcl")
	if _, failed := r.job("github/apply.yml", "apply", "merged-again"); !strings.Contains(failed, "was used") {
		t.Errorf("a plan used twice: %s", failed)
	}
	// The plan of another commit than the comment shows.
	r.write("slow.hcl", strings.Replace(r.read("two.hcl"), "{", "{\n  etcd { config = { heartbeat-interval = 200 } }", 1), 0o600)
	r.run("other", 0, nil, "requorum", "plan", "--out", "plan.json", "../slow.hcl")
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

// TestShell goes all the way, each stage in a folder and with a state of its own; and
// what may not be applied is not, each for its own reason.
func TestShell(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	apply := example("shell/apply.sh")
	refused := func(stage, digest, why string) {
		t.Helper()
		r.copy("plan/plan.json", stage+"/plan.json")
		if out := strings.Join(strings.Fields(r.run(stage, 4, nil, apply, digest)), " "); !strings.Contains(out, why) {
			t.Errorf("%s: not for %q:\n%s", stage, why, out)
		}
	}
	r.run("plan", 2, nil, example("shell/plan.sh"), "../one.hcl")
	approved := digest(t, r.read("plan/plan.md"))
	r.run("apply", 2, nil, apply)

	// The plan of another commit.
	r.run("other", 2, nil, example("shell/plan.sh"), "../two.hcl")
	plan := r.read("plan/plan.json")
	r.copy("other/plan.json", "plan/plan.json")
	refused("another-commit", approved, "this is not the plan that was approved")
	// An edited one.
	r.write("plan/plan.json", strings.Replace(plan, `"headline": "`, `"headline": "harmless: `, 1), 0o600)
	refused("edited", approved, "this plan was edited")
	r.write("plan/plan.json", plan, 0o600)
	r.copy("plan/plan.json", "apply/plan.json")
	r.run("apply", 0, nil, apply, approved)
	// A used one.
	refused("again", approved, "this plan was used")
	r.run("plan", 0, nil, example("shell/plan.sh"), "../one.hcl")

	// One that a removed member made stale.
	r.run("grow", 2, nil, example("shell/plan.sh"), "../two.hcl")
	r.run("grow", 0, nil, apply, digest(t, r.read("grow/plan.md")))
	r.write("slow.hcl", strings.Replace(r.read("two.hcl"), "{", "{\n  etcd { config = { heartbeat-interval = 200 } }", 1), 0o600)
	r.run("plan", 2, nil, example("shell/plan.sh"), "../slow.hcl")
	r.run("grow", 0, nil, "requorum", "apply", "--auto-approve", "--accept=remove-member:m2", "../one.hcl")
	refused("stale", digest(t, r.read("plan/plan.md")), "m2 was removed by someone else")
}

// TestActionlint: the workflows are what GitHub takes.
func TestActionlint(t *testing.T) {
	t.Parallel()
	lint := func(files ...string) ([]byte, error) {
		cmd := exec.Command("go", append([]string{"tool", "-modfile=.ci/tools/go.mod", "actionlint", "-no-color", "-shellcheck=", "-pyflakes="}, files...)...)
		cmd.Dir = harness.Root()
		return cmd.CombinedOutput()
	}
	if out, err := lint(example("github/plan.yml"), example("github/apply.yml"), example("github/audit.yml")); err != nil {
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
