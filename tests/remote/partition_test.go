package remote

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/tests/harness"
)

// other is a second operator: another home, another file for the same members, and a
// network of his own, out of which ssh gets to some of the hosts only.
func (b *bed) other(t *testing.T, file string, reach ...int) func(args ...string) harness.Result {
	t.Helper()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close() })
	dir := b.e.Path("other")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.Path())
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for i, s := range b.sshd {
		config := filepath.Join(dir, fmt.Sprintf("ssh_config_%d", i+1))
		way := "ProxyCommand false\n" // no packet gets there
		for _, r := range reach {
			if r == i {
				way = fmt.Sprintf("ProxyCommand nsenter --net=/proc/%d/fd/%d ssh -F %s -W 127.0.0.1:%d host\n", os.Getpid(), home.Fd(), s.Config, s.Port)
			}
		}
		was, err := os.ReadFile(s.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(config, []byte("Host *\n  "+way+string(was)), 0o600); err != nil {
			t.Fatal(err)
		}
		out = strings.ReplaceAll(out, fmt.Sprintf("%q", s.Config), fmt.Sprintf("%q", config))
	}
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	net := b.e.Net()
	return func(args ...string) harness.Result { return b.e.RunIn(net, append(args, path)...) }
}

// A partition in which one operator sees a quorum and the other does not: the first one
// does his work, on what he sees; the second one, who sees a member and its host only,
// can do nothing, whether the first one is at work or was cut off in the midst of it.
func TestPartitionedOperators(t *testing.T) {
	b := newBed(t, 3)
	e := b.e
	e.Apply(b.Path())
	keys := harness.Fill(t, b.Endpoints(), 2000)
	// m2 is stopped: it is to be started again, and both want to.
	e.Run("stop", "--auto-approve", "--member", "m2", b.Path()).Want(t, 0)
	minority := b.other(t, "requorum.hcl", 2)
	b.off(2) // for the first one n3 is out of reach

	runs := len(e.Runs())
	cmd := e.Command("apply", "--auto-approve", b.Path())
	ended := make(chan harness.Result, 1)
	go func() { ended <- e.Finish(cmd, "") }()
	e.AwaitRecord(runs, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "start" })
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.sshd[2].Start()         // the second one has a way there
	harness.Settled(t, b.Dir) // the agent on n2 goes on with the start
	// What etcd itself writes meanwhile, the log file that it gets ready too.
	theirs := []string{".log", ".wal", "wal/0.tmp", "wal/1.tmp", "db", "supervisor.json"}
	before := harness.Tree(t, b.Dir, theirs...)
	refused := func(when string) {
		t.Helper()
		r := minority("apply", "--auto-approve", "--accept=data-loss,downtime,stale-watchers,tail-keep")
		t.Logf("%s: %s", when, r)
		r.Want(t, 6).Says(t, "Nothing was changed")
		harness.Unchanged(t, before, harness.Tree(t, b.Dir, theirs...))
	}
	refused("while the other one is at work")
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	(<-ended).Want(t, 0)
	before = harness.Tree(t, b.Dir, theirs...)
	refused("afterwards")
	e.InSync(b.Path())
	harness.CompareAll(t, keys, b.Endpoints())
}
