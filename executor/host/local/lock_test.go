package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// holdLock is the other process of TestLockOfAKilledHolder.
func holdLock(dir string) {
	_, err := New(Options{}).Lock(context.Background(), []planner.Place{{Name: "m1", DataDir: dir}},
		host.Holder{Who: "other", PID: os.Getpid(), Operation: "apply"})
	fmt.Println(err)
	select {}
}

func TestLockOfAKilledHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m1")
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "hold-lock", dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "<nil>\n" {
		t.Fatal(line)
	}
	d, places := New(Options{}), []planner.Place{{Name: "m1", DataDir: dir}}
	_, err = d.Lock(t.Context(), places, host.Holder{})
	var locked *host.LockedError
	if !errors.As(err, &locked) || locked.Holder.PID != cmd.Process.Pid || locked.Holder.Who != "other" {
		t.Errorf("got %v", err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	k, err := d.Lock(t.Context(), places, host.Holder{})
	must(t, err)
	must(t, k.Release())
	if _, err := os.Stat(dir + ".requorum"); !notExist(err) {
		t.Errorf("the folder of the lock is left: %v", err)
	}
}

// One that has just taken the lock, and is yet to write who it is.
func TestLockOfASlowHolder(t *testing.T) {
	p := planner.Place{Name: "m1", DataDir: filepath.Join(t.TempDir(), "m1")}
	l := host.LayoutOf(p.DataDir, "")
	_, err := host.MkdirAll(l.Base())
	must(t, err)
	f, err := os.Create(l.Lock())
	must(t, err)
	defer f.Close()
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	want := func(who string) {
		t.Helper()
		_, err := New(Options{}).Lock(t.Context(), []planner.Place{p}, host.Holder{})
		var locked *host.LockedError
		if !errors.As(err, &locked) || locked.Holder.Who != who {
			t.Errorf("%q: got %v", who, err)
		}
	}
	want("somebody")
	written := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		written <- (&placeLock{file: f}).write(host.Holder{Who: "other", PID: os.Getpid()})
	}()
	want("other")
	must(t, <-written)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
