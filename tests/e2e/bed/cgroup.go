package bed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cgroupRoot is where the cgroup v2 hierarchy is mounted.
func cgroupRoot() (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup v2 hierarchy is mounted on this machine: mount -t cgroup2 none /sys/fs/cgroup")
}

// cgroup is a folder of the cgroup v2 hierarchy; all that runs in a bed is below
// one.
type cgroup string

// cgroupOf is that of a bed.
func cgroupOf(number int) (cgroup, error) {
	root, err := cgroupRoot()
	return cgroup(filepath.Join(root, "requorum-bed", strconv.Itoa(number))), err
}

func (c cgroup) sub(name string) cgroup { return cgroup(filepath.Join(string(c), name)) }

func (c cgroup) make() error { return os.MkdirAll(string(c), 0o755) }

func (c cgroup) write(file, value string) error {
	return os.WriteFile(filepath.Join(string(c), file), []byte(value), 0)
}

// event is a value of cgroup.events: "populated" or "frozen".
func (c cgroup) event(name string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(string(c), "cgroup.events"))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(b)) {
		if is, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return is == "1", nil
		}
	}
	return false, fmt.Errorf("%s tells nothing about %q", c, name)
}

func (c cgroup) await(ctx context.Context, name string, want bool) error {
	for {
		if is, err := c.event(name); err != nil || is == want {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("%s does not get %s=%t: %w", c, name, want, err)
		}
	}
}

// freeze stops all that runs in it where it stands, or lets it go on.
func (c cgroup) freeze(ctx context.Context, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	return errors.Join(c.write("cgroup.freeze", value), c.await(ctx, "frozen", on))
}

// kill ends all that runs in it, frozen or not, and takes the tree of folders away:
// what systemd left there would stop the next boot's services.
func (c cgroup) kill(ctx context.Context) error {
	if _, err := os.Stat(string(c)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := errors.Join(c.write("cgroup.kill", "1"), c.await(ctx, "populated", false)); err != nil {
		return err
	}
	for {
		err := c.removeTree()
		if err == nil {
			return nil
		}
		// A folder stays busy for a moment after its last process.
		if pause(ctx, 5*time.Millisecond) != nil {
			return err
		}
	}
}

func (c cgroup) removeTree() error {
	entries, err := os.ReadDir(string(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, c.sub(e.Name()).removeTree())
		}
	}
	if err != nil {
		return err
	}
	if err := os.Remove(string(c)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// pids are all processes in it and below.
func (c cgroup) pids() []int {
	var out []int
	_ = filepath.WalkDir(string(c), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it went while we looked
		}
		b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				out = append(out, pid)
			}
		}
		return nil
	})
	return out
}

// pause sleeps; the error says why ctx ended before.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
