package local

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
)

// lockAndEnd locks a file and ends, but for one thread that lingers: so an etcd does
// that is killed while it waits for its disk.
func lockAndEnd(path string) {
	runtime.LockOSThread() // TestMain runs on the first thread
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		os.Exit(1)
	}
	go func() {
		time.Sleep(time.Second)
		os.Exit(0)
	}()
	os.Stdout.WriteString("locked\n")
	unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0) // this thread's end alone
}

// A process that is ending still has the directory locked, and nobody runs there.
func TestEndingProcessIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "m1")
	db := filepath.Join(dir, "member", "snap", "db")
	for _, d := range []string{"wal", "snap"} {
		if err := os.MkdirAll(filepath.Join(dir, "member", d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(db, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "lock-and-end", db)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	if said, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(said) != "locked" {
		t.Fatal(said, err)
	}
	for end := time.Now().Add(10 * time.Second); !process.Ending(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its first thread does not end")
		}
	}
	l := host.LayoutOf(dir, "")
	if d := readPlace(l); d.Value.HeldBy != cmd.Process.Pid {
		t.Fatalf("it does not linger: held by %d", d.Value.HeldBy)
	}
	if d := readSettled(l); !d.Known() || d.Value.HeldBy != 0 {
		t.Errorf("held by %d, which is ending (%d)", d.Value.HeldBy, cmd.Process.Pid)
	}
}
