package bed

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// systemMB is the size of a system disk, which is sparse.
const systemMB = 4096

//go:embed host.sh
var hostScript string

// Host is one machine of a bed.
type Host struct {
	Name    string
	Address string

	b      *Bed
	etcds  []shared
	mu     sync.Mutex
	runner *exec.Cmd // of the last boot
}

func newHost(b *Bed, name, address string, etcds []shared) *Host {
	return &Host{Name: name, Address: address, b: b, etcds: etcds}
}

// path is a path in the host's folder on the machine.
func (h *Host) path(elem ...string) string {
	return filepath.Join(append([]string{h.b.Dir, h.Name}, elem...)...)
}

func (h *Host) group() cgroup { return h.b.group.sub(h.Name) }

// make makes what the host has before its first boot.
func (h *Host) make(ctx context.Context) error {
	for _, d := range []string{"seed", "system", "root", "data"} {
		if err := os.MkdirAll(h.path(d), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(h.writeSeed(ctx), h.newDisk(ctx, "system", "ext4", systemMB), h.newDisk(ctx, "data", h.b.o.FileSystem, h.b.o.DiskMB))
}

// boot powers the host on and waits until it lets users in over ssh.
func (h *Host) boot(ctx context.Context) error {
	if err := h.launch(); err != nil {
		return err
	}
	return h.awaitUp(ctx, 0)
}

func (h *Host) launch() error {
	console, err := os.OpenFile(h.path("console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	args := []string{
		"--mount", "--propagation", "private", "sh", "-c", hostScript, "host",
		h.path(), h.Name, filepath.Join(netnsDir, namespace(h.b.claim.number, h.Name)), h.b.base,
	}
	for _, s := range h.etcds {
		args = append(args, "--bind-ro="+s.from+":"+s.to)
	}
	cmd := command(context.WithoutCancel(h.b.ctx), "unshare", args...)
	cmd.Stdout, cmd.Stderr = console, console
	if err := startIn(h.group().sub("run"), cmd); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runner = cmd
	return nil
}

// reap asks for the end of a runner that was killed or has ended.
func (h *Host) reap() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runner != nil {
		_ = h.runner.Wait()
		h.runner = nil
	}
}

// initPID is the machine's pid of the host's init, 0 where it is off.
func (h *Host) initPID() int {
	for _, pid := range h.group().sub("run").pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(b), "\nNSpid:")
		line, _, _ := strings.Cut(after, "\n")
		if f := strings.Fields(line); len(f) == 2 && f[1] == "1" {
			return pid
		}
	}
	return 0
}

// awaitUp waits until sshd greets and users are let in, with another init than old.
func (h *Host) awaitUp(ctx context.Context, old int) error {
	for {
		err := h.isUp(old)
		if err == nil {
			return nil
		}
		if h.runnerEnded() {
			console, _ := os.ReadFile(h.path("console.log"))
			return fmt.Errorf("it does not boot; the end of its console:\n%s", lastLines(string(console), 20))
		}
		if late := pause(ctx, 15*time.Millisecond); late != nil {
			console, _ := os.ReadFile(h.path("console.log"))
			return fmt.Errorf("it is not up: %w (%w); the end of its console:\n%s", err, late, lastLines(string(console), 20))
		}
	}
}

func (h *Host) isUp(old int) error {
	pid := h.initPID()
	if pid == 0 || pid == old {
		return errors.New("its init does not run yet")
	}
	if _, err := os.Lstat(fmt.Sprintf("/proc/%d/root/run/systemd/system", pid)); err != nil {
		return errors.New("systemd is not at work yet")
	}
	if err := h.sshGreets(); err != nil {
		return err
	}
	if exists(fmt.Sprintf("/proc/%d/root/run/nologin", pid)) {
		return errors.New("users are not let in yet")
	}
	return nil
}

func (h *Host) runnerEnded() bool {
	on, err := h.group().sub("run").event("populated")
	return err == nil && !on
}

// PID is the machine's pid of the host's init, 0 where it is off: a test's own way in.
func (h *Host) PID() int { return h.initPID() }

// machineID is like no other host's, of no bed.
func (h *Host) machineID() string {
	last, _ := strconv.Atoi(h.Address[strings.LastIndex(h.Address, ".")+1:])
	return fmt.Sprintf("%032x", h.b.claim.number<<8|last)
}
