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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
