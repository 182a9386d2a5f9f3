package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Hand is an etcd that somebody started by hand, with flags, as a member of some
// cluster. Its parent is nobody: the shell that started it has ended.
type Hand struct {
	Member
	// Net is the network that it lives in; nil for this machine's.
	Net *Net

	env    *Env
	prefix []string // what the flags stand behind: the binary and its verb
	flags  []string
	pid    int
}

// Hand describes an etcd on member m's places and URLs, of a cluster that is
// begun with the members of initial (m itself where it is empty). Flags are
// added; one that is there already is replaced, and one without a value
// ("--name=") taken out.
func (e *Env) Hand(m Member, initial []Member, flags ...string) *Hand {
	if len(initial) == 0 {
		initial = []Member{m}
	}
	e.Expect(m.DataDir)
	h := &Hand{Member: m, env: e, prefix: []string{Binary(), "etcd"}, flags: []string{
		"--name=" + m.Name, "--data-dir=" + m.DataDir,
		"--listen-client-urls=" + m.Client, "--advertise-client-urls=" + m.Client,
		"--listen-peer-urls=" + m.Peer, "--initial-advertise-peer-urls=" + m.Peer,
		"--initial-cluster=" + InitialCluster(initial), "--initial-cluster-token=by-hand",
	}}
	if m.WALDir != "" {
		h.flags = append(h.flags, "--wal-dir="+m.WALDir)
	}
	h.Set(flags...)
	return h
}

// Of has it run another etcd from the next start on.
func (h *Hand) Of(r Release) *Hand {
	h.prefix = r.Command()
	return h
}

// Environ gives it variables in its environment.
func (h *Hand) Environ(vars ...string) *Hand {
	h.prefix = slices.Concat([]string{"env"}, vars, h.prefix)
	return h
}

// InitialCluster is the members as --initial-cluster says them.
func InitialCluster(ms []Member) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.Name+"="+m.Peer)
	}
	return strings.Join(out, ",")
}

// Set changes flags for the next start.
func (h *Hand) Set(flags ...string) {
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		h.flags = slices.DeleteFunc(h.flags, func(old string) bool {
			n, _, _ := strings.Cut(old, "=")
			return n == name
		})
		if value != "" || !strings.Contains(f, "=") {
			h.flags = append(h.flags, f)
		}
	}
}

// Command is the command line.
func (h *Hand) Command() []string { return append(slices.Clone(h.prefix), h.flags...) }

// Log is where its output goes.
func (h *Hand) Log() string { return h.env.Path(h.Name + "-by-hand.log") }

// Start starts it, again perhaps, and does not wait for anything.
func (h *Hand) Start() {
	h.env.t.Helper()
	if err := h.TryStart(); err != nil {
		h.env.t.Fatal(err)
	}
}

// TryStart is Start for those who go on without it.
func (h *Hand) TryStart() error {
	if err := os.MkdirAll(filepath.Dir(h.DataDir), 0o700); err != nil {
		return err
	}
	var pid int
	err := h.Net.Do(func() (err error) {
		pid, err = orphan(h.env.Dir, h.Log(), h.Command())
		return err
	})
	if err != nil {
		return err
	}
	h.pid = pid
	return nil
}

// orphan runs a command in the background of a shell that ends at once.
func orphan(dir, log string, command []string) (pid int, err error) {
	sh := exec.Command("/bin/sh", append([]string{"-c", `log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!`, "sh", log}, command...)...)
	sh.Dir = dir
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := sh.Output()
	if err != nil {
		return 0, fmt.Errorf("start %v: %w", command, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// Serve starts it and waits until it serves.
func (h *Hand) Serve() {
	h.env.t.Helper()
	h.Start()
	h.Await()
}

// Await waits until it answers linearizable reads, and fails the test as soon as
// its process has ended.
func (h *Hand) Await() {
	h.env.t.Helper()
	ctx, cancel := context.WithCancelCause(Context(h.env.t))
	defer cancel(nil)
	go func() {
		for ctx.Err() == nil {
			if !h.Runs() {
				cancel(fmt.Errorf("%s (pid %d) ended; its log is %s", h.Name, h.pid, h.Log()))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	cli, err := h.Net.Dial(h.Client)
	if err == nil {
		defer cli.Close()
		err = awaitServing(ctx, cli)
	}
	if err != nil {
		h.env.t.Fatal(err)
	}
}

// PID is the process of the last start.
func (h *Hand) PID() int { return h.pid }

// Runs reports whether that process is still there.
func (h *Hand) Runs() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.pid))
	if h.pid == 0 || err != nil {
		return false
	}
	if len(b) == 0 { // about to begin, or waiting to be reaped
		return !defunct(h.pid)
	}
	return strings.Contains(string(b), "--data-dir="+h.DataDir)
}

// Signal sends sig to its process.
func (h *Hand) Signal(sig syscall.Signal) {
	h.env.t.Helper()
	if err := syscall.Kill(h.pid, sig); err != nil {
		h.env.t.Fatalf("%s to %s (pid %d): %v", sig, h.Name, h.pid, err)
	}
}

// Freeze stops its process where it stands and waits until every thread does.
func (h *Hand) Freeze() {
	h.env.t.Helper()
	h.Signal(syscall.SIGSTOP)
	for end := time.Now().Add(10 * time.Second); !h.frozen(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.env.t.Fatalf("%s (pid %d) does not stop", h.Name, h.pid)
		}
	}
}

func (h *Hand) frozen() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/stat", h.pid))
	for _, file := range threads {
		b, err := os.ReadFile(file)
		_, after, _ := strings.Cut(string(b), ") ")
		if err == nil && !strings.HasPrefix(after, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// AwaitEnd waits until its process has ended.
func (h *Hand) AwaitEnd() {
	h.env.t.Helper()
	for end := time.Now().Add(30 * time.Second); h.Runs(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.env.t.Fatalf("%s (pid %d) does not end", h.Name, h.pid)
		}
	}
}

// Term ends it with SIGTERM.
func (h *Hand) Term() {
	h.env.t.Helper()
	h.Signal(syscall.SIGTERM)
	h.AwaitEnd()
}

// Hands are the members of one cluster.
type Hands []*Hand

// ByHand starts a cluster of the members by hand and waits until all serve.
func (e *Env) ByHand(ms []Member, flags ...string) Hands { return e.ByHandIn(nil, ms, flags...) }

// ByHandIn is ByHand in another network.
func (e *Env) ByHandIn(n *Net, ms []Member, flags ...string) Hands {
	e.t.Helper()
	return e.byHandOf(Release{}, n, ms, flags...)
}

// ByHandOf is ByHand with the etcd of a release.
func (e *Env) ByHandOf(r Release, ms []Member, flags ...string) Hands {
	e.t.Helper()
	return e.byHandOf(r, nil, ms, flags...)
}

func (e *Env) byHandOf(r Release, n *Net, ms []Member, flags ...string) Hands {
	e.t.Helper()
	var hs Hands
	for _, m := range ms {
		h := e.Hand(m, ms, flags...).Of(r)
		h.Net = n
		h.Start()
		hs = append(hs, h)
	}
	hs.Await()
	return hs
}

// Await waits until all serve.
func (hs Hands) Await() {
	for _, h := range hs {
		h.env.t.Helper()
		h.Await()
	}
}

// Kill9 kills all, as nearly at once as it goes, and waits for their ends.
func (hs Hands) Kill9() {
	errs := make([]error, len(hs))
	for i, h := range hs {
		errs[i] = syscall.Kill(h.pid, syscall.SIGKILL)
	}
	for _, h := range hs {
		h.env.t.Helper()
		if err := errors.Join(errs...); err != nil {
			h.env.t.Fatal(err)
		}
		h.AwaitEnd()
	}
}

// Term ends all with SIGTERM, at the same time.
func (hs Hands) Term() {
	for _, h := range hs {
		h.env.t.Helper()
		h.Signal(syscall.SIGTERM)
	}
	for _, h := range hs {
		h.AwaitEnd()
	}
}

// Members are theirs.
func (hs Hands) Members() []Member {
	var out []Member
	for _, h := range hs {
		out = append(out, h.Member)
	}
	return out
}

// Endpoints are their client URLs.
func (hs Hands) Endpoints() []string {
	var out []string
	for _, h := range hs {
		out = append(out, h.Client)
	}
	return out
}

// Leader is the place of the one that leads, as all of them say.
func (hs Hands) Leader() int {
	e := hs[0].env
	e.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		leads, agree := -1, true
		var first uint64
		for i, h := range hs {
			st, err := h.status()
			switch {
			case err != nil || st.Leader == 0 || (first != 0 && st.Leader != first):
				agree = false
			case st.Leader == st.Header.MemberId:
				leads = i
			}
			if err == nil {
				first = st.Leader
			}
		}
		if agree && leads >= 0 {
			return leads
		}
	}
	e.t.Fatal("no leader that all agree on")
	return -1
}

func (h *Hand) status() (*clientv3.StatusResponse, error) {
	cli, err := h.Net.Dial(h.Client)
	if err != nil {
		return nil, err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return cli.Status(ctx, h.Client)
}
