package bed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// numbers is how many beds there may be at a time; a number is the third part of
// the bed's addresses.
const numbers = 200

// claim makes a bed's number its own. It is an abstract Unix socket: the kernel
// keeps it for as long as the process lives and not a moment longer, so that a
// number that can be claimed is nobody's, and what is left of it may be taken away.
type claim struct {
	number int
	hold   net.Listener
}

func claimNumber(number int) (*claim, bool) {
	hold, err := net.Listen("unix", fmt.Sprintf("@requorum-bed-%d", number))
	if err != nil {
		return nil, false
	}
	return &claim{number, hold}, true
}

func (c *claim) release() { c.hold.Close() }

// record says to people whose a bed is.
type record struct {
	PID   int    `json:"pid"`
	Began string `json:"began"` // of the process, in clock ticks since the boot
	Boot  string `json:"boot"`
	Test  string `json:"test"`
}

func writeRecord(dir, test string) error {
	r := record{PID: os.Getpid(), Test: test}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		_, after, _ := strings.Cut(string(stat), ") ") // the name is in brackets
		if f := strings.Fields(after); len(f) > 19 {
			r.Began = f[19]
		}
	}
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		r.Boot = strings.TrimSpace(string(boot))
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bed.json"), append(b, '\n'), 0o600)
}

// place claims a number and makes its folder. Whatever dead runs left is taken away
// first.
func place(ctx context.Context, test string) (*claim, string, error) {
	runs, err := runsDir()
	if err != nil {
		return nil, "", err
	}
	if err := Sweep(ctx); err != nil {
		return nil, "", err
	}
	for number := 1; number <= numbers; number++ {
		c, ok := claimNumber(number)
		if !ok {
			continue
		}
		dir := filepath.Join(runs, strconv.Itoa(number))
		// Also of a dead run that had another cache folder.
		err := tearDown(ctx, number, dir)
		if err == nil {
			err = os.Mkdir(dir, 0o711)
		}
		if err == nil {
			err = writeRecord(dir, test)
		}
		if err != nil {
			c.release()
			return nil, "", err
		}
		return c, dir, nil
	}
	return nil, "", fmt.Errorf("%d beds are in use", numbers)
}

func runsDir() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	runs := filepath.Join(cache, "run")
	return runs, os.MkdirAll(runs, 0o700)
}

// Sweep takes away all that dead runs left of their beds.
func Sweep(ctx context.Context) error {
	runs, err := runsDir()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(runs)
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		c, ok := claimNumber(number)
		if !ok {
			continue // its owner lives
		}
		err = tearDown(ctx, number, filepath.Join(runs, e.Name()))
		c.release()
		if err != nil {
			return fmt.Errorf("what a dead run left of bed %d: %w", number, err)
		}
	}
	return nil
}

// tearDownLimit is long enough for a machine that is busy with others.
const tearDownLimit = time.Minute

// tearDown takes a bed away: its processes (and with them their mounts and loop
// devices), its networks, its files. It needs nothing but the number and the folder,
// and whose number it is has to be the caller's.
func tearDown(ctx context.Context, number int, dir string) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), tearDownLimit, fmt.Errorf("bed %d is still there after %s", number, tearDownLimit))
	defer cancel()
	group, err := cgroupOf(number)
	if err != nil {
		return err
	}
	if err := group.kill(ctx); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(string(group))) // where it was the last bed
	if err := removeNetworks(ctx, number); err != nil {
		return err
	}
	if err := awaitLoops(ctx, dir); err != nil {
		return err
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// loops are the loop devices whose file is below dir.
func loops(dir string) []string {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.HasPrefix(string(b), dir+"/") {
			out = append(out, strings.Split(f, "/")[3])
		}
	}
	return out
}

// awaitLoops waits until the kernel has let go of the files below dir: it does a
// moment after the mount namespace of the last process in it has ended. A file that
// is mounted twice is spoilt.
func awaitLoops(ctx context.Context, dir string) error {
	for {
		left := loops(dir)
		if len(left) == 0 {
			return nil
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("%v still have files below %s: %w", left, dir, err)
		}
	}
}

// unmountBelow takes away mounts below dir in this process's own namespace, where
// nobody makes any: RemoveAll must not descend into one.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			if err := unix.Unmount(f[4], unix.MNT_DETACH); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
				errs = append(errs, fmt.Errorf("unmount %s: %w", f[4], err))
			}
		}
	}
	return errors.Join(errs...)
}
