package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/ports"
)

// The test binary is also requorum (agent supervise, etcd) and a stand-in for a
// user's etcd that does nothing but live.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 3 && os.Args[1] == "agent":
		if err := supervise(os.Args[3], testIdentity); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case len(os.Args) > 1 && os.Args[1] == "etcd":
		etcdmain.Main(os.Args[1:])
		os.Exit(0)
	case len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--data-dir="):
		standIn(strings.TrimPrefix(os.Args[1], "--data-dir="), os.Args[2:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standIn lives on a data directory until it is told to end.
func standIn(dir string, args []string) {
	_ = os.WriteFile(filepath.Join(dir, "environment"), []byte(strings.Join(os.Environ(), "\n")), 0o600)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	for _, a := range args {
		switch a {
		case "--stubborn":
			signal.Ignore(syscall.SIGTERM)
		case "--ruined":
			time.Sleep(200 * time.Millisecond)
			panic("removed all voters")
		case "--chatty":
			go func() {
				for i := 0; ; i++ {
					fmt.Fprintf(os.Stderr, "{\"level\":\"info\",\"msg\":\"line %09d\"}\n", i)
					time.Sleep(time.Millisecond)
				}
			}()
		}
	}
	<-term
}

// testIdentity reads the stand-in's identity; other directories are etcd's.
func testIdentity(dataDir, walDir string) (string, string, error) {
	b, err := os.ReadFile(filepath.Join(dataDir, "identity"))
	if err != nil {
		return etcd.Identity(dataDir, walDir)
	}
	c, m, _ := strings.Cut(string(b), " ")
	return c, m, nil
}

// newStandIn gives a place with data, and a service that runs the stand-in on
// it. Whatever it leaves running is stopped, and must leave no process behind.
func newStandIn(t *testing.T, flags ...string) (Config, host.Layout) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m1")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "identity"), []byte("c1 m1"), 0o600))
	exe, err := os.Executable()
	must(t, err)
	l := host.LayoutOf(dir, "")
	cleanUp(t, l)
	return Config{
		Name: "m1", DataDir: dir, Binary: exe, Args: append([]string{"--data-dir=" + dir}, flags...),
		ClusterID: "c1", MemberID: "m1", Token: "t1", StopSeconds: 5,
	}, l
}

func cleanUp(t *testing.T, l host.Layout) {
	t.Cleanup(func() {
		if err := Stop(deadline(t), l); err != nil {
			t.Errorf("stop: %v", err)
		}
		if p, _, found := find(l); found {
			t.Errorf("process %d is left on %s", p.PID, l.DataDir)
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
		eventually(t, "no zombie", func() bool { return len(zombies()) == 0 })
	})
}

// zombies are the ended children of this process that nobody waited for.
func zombies() []string {
	var out []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) > 1 && f[0] == "Z" && f[1] == fmt.Sprint(os.Getpid()) {
			out = append(out, path)
		}
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

func mustStart(t *testing.T, cfg Config, l host.Layout, want Outcome) {
	t.Helper()
	got, err := Start(deadline(t), "", cfg, l)
	if err != nil || got != want {
		t.Fatalf("Start: %q, %v; want %q\n%s", got, err, want, tail(l.Log(), 4096))
	}
}

func wantService(t *testing.T, l host.Layout, want planner.ServiceState) planner.Service {
	t.Helper()
	s := Status(l)
	if s.State != want {
		t.Fatalf("service is %q, want %q: %+v\n%s", s.State, want, s, tail(l.Log(), 4096))
	}
	return s
}

func kill9(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatal("no pid")
	}
	must(t, unix.Kill(pid, unix.SIGKILL))
}

func freePort(t *testing.T) int {
	t.Helper()
	return ports.Free(t)
}

func copyFile(t *testing.T, src, dst string) {
	t.Helper()
	in, err := os.Open(src)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, errors.Join(err, out.Close()))
}
