package process

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// The lock is another's at once, though a child that is just being started somewhere in
// this program has the file open as well.
func TestLockIsGivenUp(t *testing.T) {
	t.Parallel()
	l := host.LayoutOf(filepath.Join(t.TempDir(), "data"), "")
	must(t, os.MkdirAll(l.Base(), 0o700))
	lock, err := lockSupervisor(l)
	must(t, err)
	child, err := unix.Dup(int(lock.Fd()))
	must(t, err)
	defer unix.Close(child)
	giveUpLock(lock)
	again, err := lockSupervisor(l)
	if err != nil || again == nil {
		t.Fatalf("%v, %v: it is still held", again, err)
	}
	again.Close()
}
