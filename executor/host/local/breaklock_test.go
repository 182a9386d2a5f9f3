package local

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// On a disk that is full up to its last byte a lock can be released all the same, and
// who had it notices.
func TestBreakLockOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("mounting a tmpfs needs root: run the tests as root")
	}
	disk := t.TempDir()
	must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	p := planner.Place{Name: "m1", DataDir: filepath.Join(disk, "m1")}
	_, err := host.MkdirAll(host.LayoutOf(p.DataDir, "").Runs()) // a member lives there
	must(t, err)
	first := New(Options{})
	k, err := first.Lock(t.Context(), []planner.Place{p}, host.Holder{Who: "ann@here", PID: os.Getpid()})
	must(t, err)
	f, err := os.Create(filepath.Join(disk, "filler"))
	must(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	must(t, f.Close())
	if err := host.WriteFile(filepath.Join(disk, "more"), []byte("x")); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	must(t, New(Options{}).BreakLock(t.Context(), p, 1))
	var lost *host.LostError
	if err := k.Held(t.Context()); !errors.As(err, &lost) {
		t.Errorf("held: %v", err)
	}
	next, err := New(Options{}).Lock(t.Context(), []planner.Place{p}, host.Holder{Who: "bob@here"})
	must(t, err)
	must(t, next.Release())
}

// A folder that goes takes the lock with it: whoever had it is told that, not what could
// not be written there.
func TestLockGoesWithItsFolder(t *testing.T) {
	p := planner.Place{Name: "m1", DataDir: filepath.Join(t.TempDir(), "m1")}
	l := host.LayoutOf(p.DataDir, "")
	_, err := host.MkdirAll(l.Runs()) // a member lives there
	must(t, err)
	k, err := New(Options{}).Lock(t.Context(), []planner.Place{p}, host.Holder{Who: "ann@here", PID: os.Getpid()})
	must(t, err)
	must(t, os.Rename(l.Base(), l.Base()+".away"))
	var lost *host.LostError
	if err := k.(*lock).held[0].record(); !errors.As(err, &lost) {
		t.Errorf("recorded: %v", err)
	}
	if err := k.Note("plan"); !errors.As(err, &lost) {
		t.Errorf("noted: %v", err)
	}
}
