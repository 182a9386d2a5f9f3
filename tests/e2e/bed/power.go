package bed

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// PowerOff takes the power from the host: the network is silent at once, nothing
// runs any more, and what was not synced to its disks is lost.
func (h *Host) PowerOff() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.powerOff(ctx))
}

func (h *Host) powerOff(ctx context.Context) error {
	if err := h.b.plug(ctx, h.Name, false); err != nil {
		return err
	}
	if on, err := h.group().sub("run").event("populated"); err == nil && on {
		// Nothing may see the disks fail: it would be told of errors that a machine
		// without power has no time for.
		if err := h.group().freeze(ctx, true); err != nil {
			return err
		}
		if err := errors.Join(h.shutDisk("data"), h.shutDisk("system")); err != nil {
			return err
		}
	}
	if err := h.group().kill(ctx); err != nil {
		return err
	}
	h.reap()
	return awaitLoops(ctx, h.path())
}

// PowerOn boots the host and waits until it lets users in over ssh.
func (h *Host) PowerOn() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.powerOn(ctx))
}

func (h *Host) powerOn(ctx context.Context) error {
	if on, err := h.group().event("populated"); err == nil && on {
		return fmt.Errorf("host %s is on already", h.Name)
	}
	// A guest that powered itself off leaves its tree of cgroups.
	if err := h.group().kill(ctx); err != nil {
		return err
	}
	h.reap()
	if err := awaitLoops(ctx, h.path()); err != nil {
		return err
	}
	if err := h.b.plug(ctx, h.Name, true); err != nil {
		return err
	}
	return h.boot(ctx)
}

// PowerOff takes the power from some hosts at the same moment, or from all.
func (b *Bed) PowerOff(names ...string) {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	b.must(each(b.named(names), func(h *Host) error { return h.powerOff(ctx) }))
}

// PowerOn boots some hosts at the same time, or all.
func (b *Bed) PowerOn(names ...string) {
	b.t.Helper()
	ctx, cancel := b.limit()
	defer cancel()
	b.must(each(b.named(names), func(h *Host) error { return h.powerOn(ctx) }))
}

func (b *Bed) named(names []string) []*Host {
	b.t.Helper()
	if len(names) == 0 {
		return b.hosts
	}
	var out []*Host
	for _, n := range names {
		out = append(out, b.Host(n))
	}
	return out
}

// On reports whether the host has power.
func (h *Host) On() bool {
	on, err := h.group().sub("run").event("populated")
	return err == nil && on
}

// Freeze stops all that runs on the host where it stands: its kernel still answers
// for its sockets, its programs don't.
func (h *Host) Freeze() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.group().freeze(ctx, true))
}

// Thaw lets a frozen host go on.
func (h *Host) Thaw() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.group().freeze(ctx, false))
}

// Reboot has the host's systemd reboot it and waits until it lets users in again.
func (h *Host) Reboot() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	old := h.initPID()
	h.b.must(h.reboot(ctx))
	h.b.must(h.awaitUp(ctx, old))
}

// StartReboot has the host's systemd reboot it and waits for nothing.
func (h *Host) StartReboot() {
	h.b.t.Helper()
	ctx, cancel := h.b.limit()
	defer cancel()
	h.b.must(h.reboot(ctx))
}

func (h *Host) reboot(ctx context.Context) error {
	_, err := h.run(ctx, "", "systemctl reboot --no-block")
	return err
}

// RestartSSHD restarts the host's ssh service. Sessions that are open go on, as they
// do on Debian; DropSessions ends them.
func (h *Host) RestartSSHD() { h.b.t.Helper(); h.MustRun("systemctl restart ssh.service") }

// DropSessions ends every ssh session on the host, and what runs in them.
func (h *Host) DropSessions() {
	h.b.t.Helper()
	h.MustRun(`loginctl list-sessions --no-legend | while read -r id rest; do loginctl kill-session --signal=KILL "$id"; done
pkill -KILL -f '^sshd: .*@' || true`)
}

// shutDisk makes the file system of one of the host's disks fail at once, for good,
// without writing what is not on the disk yet.
func (h *Host) shutDisk(disk string) error {
	h.mu.Lock()
	runner := h.runner
	h.mu.Unlock()
	if runner == nil {
		return fmt.Errorf("host %s is off", h.Name)
	}
	// The disks are mounted in the runner's namespace only.
	f, err := os.Open(fmt.Sprintf("/proc/%d/root%s", runner.Process.Pid, h.path(disk)))
	if errors.Is(err, unix.EIO) {
		return nil // it failed before
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return shutdown(f)
}
