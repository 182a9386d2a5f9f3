package process

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

func putFence(t *testing.T, l host.Layout) {
	t.Helper()
	_, err := host.MkdirAll(l.Base())
	must(t, err)
	must(t, os.WriteFile(l.FencePath(), []byte(host.NewFenceText("/x", "today")), 0o600))
}

type died struct{}

// dieAt has do die at its nth rename, before or after it happened.
func dieAt(n int, after bool, do func()) (dead bool) {
	real := renameat2
	defer func() {
		renameat2 = real
		if r := recover(); r != nil {
			if r != (died{}) {
				panic(r)
			}
			dead = true
		}
	}()
	renameat2 = func(a int, from string, b int, to string, flags uint) error {
		if n--; n > 0 {
			return real(a, from, b, to, flags)
		}
		if after {
			_ = real(a, from, b, to, flags)
		}
		panic(died{})
	}
	do()
	return false
}

// A first start on a fence that dies anywhere is finished by the next one, and the
// data directory is there all the time.
func TestFirstStartOnFenceCrashes(t *testing.T) {
	for _, inside := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			dir := t.TempDir() + "/m1"
			l := host.Layout{DataDir: dir, Inside: inside}
			if inside {
				must(t, os.Mkdir(dir, 0o700))
			}
			putFence(t, l)
			s := &supervisor{layout: l, cfg: Config{Name: "m1", DataDir: dir, Token: "t", Bootstrap: true}}
			if !dieAt(1, after, func() { _ = s.bootstrap() }) {
				t.Fatal("it did not die")
			}
			if _, err := os.Lstat(dir); err != nil || (l.FenceText() == "") != after || !s.nothingYet() {
				t.Fatalf("inside: %t, after: %t: %v, %q", inside, after, err, l.FenceText())
			}
			for range 2 {
				must(t, s.bootstrap())
				if ran, err := ReadRan(l); err != nil || !ran.Untouched(dir) || l.FenceText() != "" {
					t.Errorf("inside: %t, after: %t: %+v, %v", inside, after, ran, err)
				}
				if _, err := os.Lstat(l.Fresh()); !absent(err) {
					t.Error("the plain file is left")
				}
			}
		}
	}
}

// A fence comes back where somebody else is about to use the directory, but never
// over what they wrote.
func TestFenceComesBack(t *testing.T) {
	for _, inside := range []bool{false, true} {
		for _, used := range []bool{false, true} {
			dir := t.TempDir() + "/m1"
			l := host.Layout{DataDir: dir, Inside: inside}
			if inside {
				must(t, os.Mkdir(dir, 0o700))
			}
			putFence(t, l)
			text := l.FenceText()
			opened, err := openFence(l)
			must(t, err)
			if !opened || l.FenceText() != "" || !Vacant(dir) {
				t.Fatalf("opened: %t", opened)
			}
			if used {
				must(t, os.MkdirAll(l.MemberDir()+"/wal", 0o700))
			}
			must(t, closeFence(l))
			if _, err := os.Stat(l.MemberDir() + "/wal"); (l.FenceText() == text) == used || (err == nil) != used {
				t.Errorf("inside: %t, used: %t: %q, %v", inside, used, l.FenceText(), err)
			}
		}
	}
}

func TestBootstrapOnFence(t *testing.T) {
	cfg, l, client := newEtcd(t)
	putFence(t, l)
	late := cfg
	late.Bootstrap = false
	if _, err := Start(deadline(t), "", late, l); err == nil || !strings.Contains(err.Error(), "fenced: ") {
		t.Errorf("got %v", err)
	}
	mustStart(t, cfg, l, Started)
	eventually(t, "serves", serves(client))
	if _, err := os.Lstat(l.Fresh()); !absent(err) {
		t.Error("the plain file is left")
	}
	must(t, Stop(deadline(t), l))
	// It ran: on another fence it is not started.
	must(t, os.Rename(l.DataDir, l.DataDir+".kept"))
	putFence(t, l)
	if _, err := Start(deadline(t), "", cfg, l); err == nil || !strings.Contains(err.Error(), "fenced: ") || l.FenceText() == "" {
		t.Errorf("got %v", err)
	}
	wantService(t, l, planner.ServiceFailed)
}

// With somebody else at it all the time there is no second etcd, and the fence stays.
func TestBootstrapOnFenceWithOthers(t *testing.T) {
	cfg, l, _ := newEtcd(t)
	putFence(t, l)
	cmd := other(t, fmt.Sprintf("--data-dir=%s", l.DataDir))
	mustStart(t, cfg, l, Started)
	if s := wantService(t, l, planner.ServiceBackoff); !strings.Contains(s.LastError, fmt.Sprintf("process %d, which requorum did not start", cmd)) || l.FenceText() == "" {
		t.Errorf("%+v", s)
	}
}

// other is a process of somebody else's with that argument; it is ended with the
// test.
func other(t *testing.T, arg string) (pid int) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, arg)
	must(t, cmd.Start())
	t.Cleanup(func() {
		kill9(t, cmd.Process.Pid)
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}
