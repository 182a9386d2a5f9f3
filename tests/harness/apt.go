package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// aptPatience is how long somebody else's apt is waited for.
const aptPatience = 2 * time.Minute

// Apt runs apt-get in a folder. Whoever comes second to one of apt's own locks gives up,
// and not at all of them it can be told to wait: so tests take turns, by a lock of their
// own, and come again where somebody else is at it.
func Apt(ctx context.Context, dir string, args ...string) error {
	unlock, err := CacheLock(ctx, "apt.lock")
	if err != nil {
		return err
	}
	defer unlock()
	for began := time.Now(); ; {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		err = fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		locked := bytes.Contains(out, []byte("Could not get lock")) || bytes.Contains(out, []byte("Unable to lock"))
		if !locked || time.Since(began) > aptPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Second):
		}
	}
}

// CacheLock takes a lock in the user's cache folder, which one holder has at a time, of
// this process or another one.
func CacheLock(ctx context.Context, name string) (unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "requorum")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(cache, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("%s is held by another test: %w", f.Name(), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
