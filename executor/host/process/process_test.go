package process

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/planner"
)

func TestStartIsRepeatable(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	one := wantService(t, l, planner.ServiceRunning)
	mustStart(t, cfg, l, Already)
	other := cfg
	other.Args = append(other.Args, "--other")
	mustStart(t, other, l, Pending)
	mustStart(t, other, l, Pending)
	two := wantService(t, l, planner.ServiceRunning)
	if one.PID != two.PID || one.SupervisorPID != two.SupervisorPID {
		t.Errorf("a second start changed the processes: %+v, %+v", one, two)
	}
	if len(two.Args) != 1 {
		t.Errorf("the running process's own arguments are not shown: %q", two.Args)
	}
	kill9(t, two.PID)
	eventually(t, "the new arguments are used at the next start", func() bool { return len(Status(l).Args) == 2 && Status(l).State == planner.ServiceRunning })
}

func TestStartTwiceAtOnce(t *testing.T) {
	cfg, l := newStandIn(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Start(deadline(t), "", cfg, l); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := wantService(t, l, planner.ServiceRunning)
	eventually(t, "only the supervisor and its child are left", func() bool { return naming(l.DataDir) == 2 })
	if now := wantService(t, l, planner.ServiceRunning); now.PID != s.PID {
		t.Errorf("started more than once: %+v, %+v", s, now)
	}
}

// naming counts the processes that have dir in their command line.
func naming(dir string) (n int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range paths {
		if b, _ := os.ReadFile(p); strings.Contains(string(b), dir) {
			n++
		}
	}
	return n
}

func TestCrashIsRestartedAndStopStays(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	before := wantService(t, l, planner.ServiceRunning)
	kill9(t, before.PID)
	eventually(t, "restarted", func() bool {
		s := Status(l)
		return s.State == planner.ServiceRunning && s.PID != before.PID && s.Restarts == 1
	})
	must(t, Stop(deadline(t), l))
	s := wantService(t, l, planner.ServiceStopped)
	if s.PID != 0 || s.SupervisorPID != 0 || s.LastError != "" {
		t.Errorf("stopped by request: %+v", s)
	}
	must(t, Stop(deadline(t), l)) // again
}

func TestSupervisorDies(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	before := wantService(t, l, planner.ServiceRunning)
	kill9(t, before.SupervisorPID)
	eventually(t, "seen as unsupervised", func() bool { return Status(l).SupervisorPID == 0 })
	if s := wantService(t, l, planner.ServiceRunning); s.PID != before.PID {
		t.Fatalf("etcd did not run on: %+v", s)
	}
	must(t, Adopt(deadline(t), "", l))
	must(t, Adopt(deadline(t), "", l))
	s := wantService(t, l, planner.ServiceRunning)
	if s.PID != before.PID || s.SupervisorPID == 0 || s.SupervisorPID == before.SupervisorPID {
		t.Fatalf("adoption: before %+v, after %+v", before, s)
	}
	kill9(t, s.PID)
	eventually(t, "the adopted one is restarted", func() bool { s := Status(l); return s.State == planner.ServiceRunning && s.Restarts == 1 })
	must(t, Stop(deadline(t), l))
	if err := Adopt(deadline(t), "", l); err == nil {
		t.Error("adopted nothing")
	}
	wantService(t, l, planner.ServiceStopped)
}

// A supervisor killed between starting etcd and writing its pid down.
func TestChildThatWasNotWrittenDown(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	before := wantService(t, l, planner.ServiceRunning)
	kill9(t, before.SupervisorPID)
	must(t, os.Remove(l.SupervisorState()))
	if s := wantService(t, l, planner.ServiceRunning); s.PID != before.PID {
		t.Fatalf("not found: %+v", s)
	}
	mustStart(t, cfg, l, Already)
	if s := wantService(t, l, planner.ServiceRunning); s.PID != before.PID {
		t.Fatalf("started a second one: %+v", s)
	}
}

// A record that is older than the process, or of another one, says nothing of what runs:
// etcd with closed client listeners is never taken for one that serves, nor the other
// way round.
func TestArgumentsAreTheProcessesOwn(t *testing.T) {
	const closed, open = "--listen-client-urls=unix://closed:1", "--listen-client-urls=http://127.0.0.1:1"
	for runs, lie := range map[string]string{closed: open, open: closed} {
		cfg, l := newStandIn(t, runs)
		mustStart(t, cfg, l, Started)
		s := wantService(t, l, planner.ServiceRunning)
		kill9(t, s.SupervisorPID)
		eventually(t, "supervisor gone", func() bool { return Status(l).SupervisorPID == 0 })
		st, err := readState(l)
		must(t, err)
		st.Args = []string{cfg.Args[0], lie}
		older := st
		older.Child, older.Adopted = procID{PID: 1, Start: 1, Boot: bootID()}, true
		for _, record := range []state{st, older} {
			must(t, writeJSON(l.SupervisorState(), record))
			if got := Status(l); got.PID != s.PID || !slices.Equal(got.Args, cfg.Args) {
				t.Errorf("process %d is said to run with %q, and runs with %q", got.PID, got.Args, cfg.Args)
			}
		}
		lying := cfg
		lying.Args = st.Args
		mustStart(t, lying, l, Pending) // what it would be started with is not what runs
		eventually(t, "the new supervisor has it right", func() bool {
			st, err := readState(l)
			return err == nil && slices.Equal(st.Args, cfg.Args) && st.Child.PID == s.PID && !st.Adopted
		})
	}
}

func TestStopWithoutSupervisor(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	s := wantService(t, l, planner.ServiceRunning)
	kill9(t, s.SupervisorPID)
	eventually(t, "supervisor gone", func() bool { return Status(l).SupervisorPID == 0 })
	must(t, Stop(deadline(t), l))
	wantService(t, l, planner.ServiceStopped)
}

func TestStopKillsTheStubborn(t *testing.T) {
	for _, supervised := range []bool{true, false} {
		cfg, l := newStandIn(t, "--stubborn")
		cfg.StopSeconds = 1
		mustStart(t, cfg, l, Started)
		eventually(t, "up", func() bool { _, err := os.Stat(filepath.Join(cfg.DataDir, "environment")); return err == nil })
		time.Sleep(50 * time.Millisecond)
		s := wantService(t, l, planner.ServiceRunning)
		if !supervised {
			kill9(t, s.SupervisorPID)
			eventually(t, "supervisor gone", func() bool { return Status(l).SupervisorPID == 0 })
		}
		short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := Stop(short, l); err == nil || !strings.Contains(err.Error(), "not ended yet") {
			t.Errorf("a cancelled stop: %v", err)
		}
		must(t, Stop(deadline(t), l))
		if st, _ := readState(l); !strings.Contains(st.LastExit, "killed") {
			t.Errorf("it is not said that it was killed: %+v", st)
		}
	}
}

func TestNothingInstalled(t *testing.T) {
	_, l := newStandIn(t)
	must(t, Stop(deadline(t), l))
	wantService(t, l, planner.ServiceNone)
	if l.Exists() {
		t.Error("stop and status made a folder")
	}
}

func TestAbsentDirectoryIsNotStarted(t *testing.T) {
	cfg, l := newStandIn(t)
	must(t, os.RemoveAll(cfg.DataDir))
	_, err := Start(deadline(t), "", cfg, l)
	if err == nil || !strings.Contains(err.Error(), "is absent") {
		t.Fatalf("got %v", err)
	}
	if s := wantService(t, l, planner.ServiceFailed); !strings.Contains(s.LastError, "is absent") || s.SupervisorPID != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(cfg.DataDir); !absent(err) {
		t.Errorf("the data directory was made: %v", err)
	}
	if _, err := ReadRan(l); !absent(err) {
		t.Errorf("marked as run: %v", err)
	}
}

func TestWrongIdentityIsNotStarted(t *testing.T) {
	cfg, l := newStandIn(t)
	cfg.MemberID = "m2"
	if _, err := Start(deadline(t), "", cfg, l); err == nil || !strings.Contains(err.Error(), "holds member m1 of cluster c1, not member m2") {
		t.Fatalf("got %v", err)
	}
	cfg.MemberID = "m1" // and after the cause is gone it starts
	mustStart(t, cfg, l, Started)
}

func TestDataDeletedWhileItRuns(t *testing.T) {
	cfg, l := newStandIn(t)
	cfg.Bootstrap = true // must not matter
	mustStart(t, cfg, l, Started)
	must(t, os.RemoveAll(cfg.DataDir))
	kill9(t, Status(l).PID)
	eventually(t, "given up", func() bool { return Status(l).State == planner.ServiceFailed })
	if _, err := os.Stat(cfg.DataDir); !absent(err) {
		t.Errorf("bootstrapped again: %v", err)
	}
	if _, err := Start(deadline(t), "", cfg, l); err == nil || !strings.Contains(err.Error(), "requorum started etcd on it before") {
		t.Errorf("got %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("ETCD_NAME", "other")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	var env string
	eventually(t, "environment", func() bool {
		b, _ := os.ReadFile(filepath.Join(cfg.DataDir, "environment"))
		env = string(b)
		return strings.Contains(env, "PATH=")
	})
	if strings.Contains(env, "ETCD_") || strings.Contains(env, "PROXY") {
		t.Errorf("environment of etcd: %s", env)
	}
}

func TestDetached(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	s := wantService(t, l, planner.ServiceRunning)
	for _, pid := range []int{s.PID, s.SupervisorPID} {
		if sid, err := unix.Getsid(pid); err != nil || sid != pid {
			t.Errorf("process %d is in session %d, %v", pid, sid, err)
		}
		if in, _ := os.Readlink("/proc/" + itoa(pid) + "/fd/0"); in != "/dev/null" {
			t.Errorf("stdin of %d is %s", pid, in)
		}
		if out, _ := os.Readlink("/proc/" + itoa(pid) + "/fd/2"); out != l.Log() {
			t.Errorf("stderr of %d is %s", pid, out)
		}
		if exe, _ := os.Readlink("/proc/" + itoa(pid) + "/exe"); filepath.Dir(exe) != l.Bin() {
			t.Errorf("%d runs from %s", pid, exe)
		}
		if !strings.Contains(strings.Join(cmdline(pid), " "), cfg.DataDir) {
			t.Errorf("%d does not show its data directory: %q", pid, cmdline(pid))
		}
	}
	must(t, unix.Kill(s.SupervisorPID, unix.SIGHUP))
	time.Sleep(50 * time.Millisecond)
	if wantService(t, l, planner.ServiceRunning).SupervisorPID == 0 {
		t.Error("the supervisor died of SIGHUP")
	}
}

func TestMachineRestarted(t *testing.T) {
	cfg, l := newStandIn(t)
	mustStart(t, cfg, l, Started)
	s := wantService(t, l, planner.ServiceRunning)
	kill9(t, s.SupervisorPID)
	kill9(t, s.PID)
	eventually(t, "both gone", func() bool { return Status(l).State == planner.ServiceStopped })
	if s := Status(l); !strings.Contains(s.LastError, "have died") {
		t.Errorf("%+v", s)
	}
	st, err := readState(l)
	must(t, err)
	st.Supervisor, st.Child = procID{PID: os.Getpid(), Start: 1, Boot: "earlier"}, procID{PID: os.Getpid(), Start: 1, Boot: "earlier"}
	must(t, writeJSON(l.SupervisorState(), st))
	if s := wantService(t, l, planner.ServiceStopped); !strings.Contains(s.LastError, "the machine was restarted") || s.PID != 0 || s.SupervisorPID != 0 {
		t.Errorf("%+v", s)
	}
	must(t, Stop(deadline(t), l)) // must not signal this test
}
