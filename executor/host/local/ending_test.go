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
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
)

// Only what init locks to a thread stays on the first one.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "lock-and-end" {
		runtime.LockOSThread()
	}
}

// lockAndEnd locks a file and ends, but for one thread that lingers: so an etcd does
// that is killed while it waits for its disk.
func lockAndEnd(path string) {
	runtime.GOMAXPROCS(4)
	fd, err := unix.Open(path, unix.O_RDWR, 0) // an os.File that nobody uses any more is closed
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX)
	}
	if err != nil || unix.Gettid() != os.Getpid() {
		os.Exit(1)
	}
	// What Go's runtime gave the first thread to run with ends with that: what lingers
	// has its own, and asks the runtime for nothing more.
	lingers := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(lingers)
		left := unix.Timespec{Sec: 1}
		for errno := unix.EINTR; errno == unix.EINTR; {
			_, _, errno = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&left)), uintptr(unsafe.Pointer(&left)), 0)
		}
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}()
	<-lingers
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
