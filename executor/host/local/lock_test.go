package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// Who lost a lock and has it again learns whether another one acted in between, or
// broke it, whether he himself had acted or not.
func TestUntouched(t *testing.T) {
	for name, c := range map[string]struct {
		noted   bool
		between func(t *testing.T, d *Driver, p planner.Place, epoch int64)
		want    string
	}{
		"nobody":                {noted: true},
		"nobody, nothing noted": {},
		"one who only looked": {noted: true, between: func(t *testing.T, d *Driver, p planner.Place, _ int64) {
			k, err := d.Lock(t.Context(), []planner.Place{p}, host.Holder{Who: "b", PID: 2, Since: "later"})
			must(t, err)
			must(t, k.Release())
		}},
		"one who acted":                {noted: true, between: acts, want: "b (pid 2)"},
		"one who acted, before we did": {between: acts, want: "b (pid 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			d, p := New(Options{}), planner.Place{Name: "m1", DataDir: filepath.Join(t.TempDir(), "m1")}
			_, err := host.MkdirAll(host.LayoutOf(p.DataDir, "").Runs()) // a member lives there
			must(t, err)
			before, err := d.Lock(t.Context(), []planner.Place{p}, host.Holder{Who: "x", PID: 9, Since: "long ago"})
			must(t, err)
			must(t, before.Note("plan0"))
			must(t, before.Release())
			holder := host.Holder{Who: "a", PID: 1, Since: "now"}
			k, err := d.Lock(t.Context(), []planner.Place{p}, holder)
			must(t, err)
			first := k.Epochs()
			if c.noted {
				must(t, k.Note("plan1"))
			}
			must(t, k.Release())
			if c.between != nil {
				c.between(t, d, p, first["m1"])
			}
			k, err = d.Lock(t.Context(), []planner.Place{p}, holder)
			must(t, err)
			defer k.Release()
			err = k.(host.Regained).Untouched(first)
			var lost *host.LostError
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &lost) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func acts(t *testing.T, d *Driver, p planner.Place, _ int64) {
	k, err := d.Lock(t.Context(), []planner.Place{p}, host.Holder{Who: "b", PID: 2, Since: "later"})
	must(t, err)
	must(t, k.Note("plan2"))
	must(t, k.Release())
}
