package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// Run runs a shell script as the host's root. It gets there through the machine, not
// over the network: it works behind a partition and without sshd.
func (h *Host) Run(script string) harness.Result {
	h.b.t.Helper()
	return h.RunWith("", script)
}

// RunWith is Run with a text on stdin.
func (h *Host) RunWith(stdin, script string) harness.Result {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	r, err := h.run(ctx, stdin, script)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		h.b.t.Fatalf("host %s: %v", h.Name, err)
	}
	return r
}

// MustRun is Run where the script has to succeed; it gives what it wrote to stdout.
func (h *Host) MustRun(script string) string {
	h.b.t.Helper()
	r := h.Run(script)
	if r.Exit != 0 {
		h.b.t.Fatalf("host %s: %s", h.Name, r)
	}
	return r.Stdout
}

// run has a host's process do the work: one of its namespaces, and of its cgroup, so
// that a power-off ends it.
func (h *Host) run(ctx context.Context, stdin, script string) (harness.Result, error) {
	pid := h.initPID()
	if pid == 0 {
		return harness.Result{}, fmt.Errorf("host %s is off", h.Name)
	}
	group := h.group().sub("run/test")
	if err := group.make(); err != nil {
		return harness.Result{}, err
	}
	nsenter, err := look("nsenter")
	if err != nil {
		return harness.Result{}, err
	}
	// It joins the host's cgroup by itself: were it started there, a frozen host would
	// hold it between fork and exec, and this process with it.
	cmd := command(ctx, "sh", "-e", "-c", `echo $$ >"$1/cgroup.procs"; shift; exec "$@"`, "sh", string(group),
		nsenter, "--target", fmt.Sprint(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--", "/bin/sh", "-c", "cd /root\n"+script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "ETCDCTL_API=3"}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.WaitDelay = time.Second
	began := time.Now()
	err = cmd.Run()
	r := harness.Result{Args: []string{h.Name, script}, Exit: -1, Stdout: out.String(), Stderr: errs.String(), Took: time.Since(began)}
	if cmd.ProcessState != nil {
		r.Exit = cmd.ProcessState.ExitCode()
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, lastLines(r.Stderr, 20))
	}
	return r, err
}

// WriteFile writes a file of the host's as its root, and the folders that it is in.
func (h *Host) WriteFile(path, text string, mode uint32) {
	h.b.t.Helper()
	r := h.RunWith(text, fmt.Sprintf(`set -e; mkdir -p "$(dirname %[1]s)"; cat >%[1]s; chmod %[2]o %[1]s`, quote(path), mode))
	if r.Exit != 0 {
		h.b.t.Fatalf("host %s: %s", h.Name, r)
	}
}

// ReadFile reads a file of the host's.
func (h *Host) ReadFile(path string) string {
	h.b.t.Helper()
	return h.MustRun("cat " + quote(path))
}

// quote makes one word of a shell's out of a text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
