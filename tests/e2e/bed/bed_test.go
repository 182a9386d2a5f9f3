package bed

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// full reports whether all of the end-to-end tests are wanted, as `make e2e` does.
func full(t *testing.T) bool {
	t.Helper()
	return os.Getenv("REQUORUM_E2E") == "full"
}

// wanted leaves a test out where the user said so, and says it.
func wanted(t *testing.T) {
	t.Helper()
	if os.Getenv("REQUORUM_E2E") == "off" {
		t.Skip("REQUORUM_E2E=off: the bed of hosts was not tried")
	}
}

// onlyFull leaves a test to make e2e.
func onlyFull(t *testing.T) {
	t.Helper()
	wanted(t)
	if !full(t) {
		t.Skip("a part of make e2e (REQUORUM_E2E=full)")
	}
}

// The hosts of a bed are whole machines, and nothing leads out of them.
func TestBoot(t *testing.T) {
	wanted(t)
	t.Parallel()
	began := time.Now()
	b := New(t, Options{})
	t.Logf("three hosts are up after %s", time.Since(began).Round(time.Millisecond))
	for _, h := range b.Hosts() {
		if s := h.Run("systemctl is-system-running --wait"); strings.TrimSpace(s.Stdout) != "running" {
			t.Errorf("%s is %s%s", h.Name, s.Stdout, h.MustRun("systemctl --failed --no-pager"))
		}
		if s := h.MustRun("hostname; cat /proc/1/comm; findmnt --noheadings --output FSTYPE --mountpoint /var/lib/etcd"); s != h.Name+"\nsystemd\next4\n" {
			t.Errorf("%s is %q", h.Name, s)
		}
		if s := h.MustRun("ip -4 route show default; ip -6 route show default"); s != "" {
			t.Errorf("%s has a way out: %s", h.Name, s)
		}
	}
	m1 := b.Host("m1")
	m1.MustRun("ping -c 1 -W 2 m2; ping -c 1 -W 2 m3")
	for user, uid := range map[string]string{"root": "0", "ops": "1000", "guest": "1001"} {
		if r := m1.SSH(user, "id -u").Want(t, 0); r.Stdout != uid+"\n" {
			t.Errorf("%s", r)
		}
	}
	if r := m1.SSH("ops", "sudo -n id -u").Want(t, 0); r.Stdout != "0\n" {
		t.Errorf("%s", r)
	}
	if r := m1.SSH("guest", "sudo -n id -u"); r.Exit == 0 {
		t.Errorf("guest has sudo: %s", r)
	}
	m1.SSH("nobody-here", "true").Want(t, 255).Says(t, "Permission denied")
	b.KnowKeys("m1")
	m1.SSH("ops", "true").Want(t, 255).Says(t, "REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed")
	b.KnowKeys()
	m1.SSH("ops", "true").Want(t, 0)
	if r := b.Finish(b.Command(b.ctx, "ip", "-4", "route", "show", "default"), ""); r.Exit != 0 || r.Stdout != "" {
		t.Errorf("the controller has a way out: %s", r)
	}
}

// A power-off is silent, and takes with it what was not synced: on both disks.
func TestPowerOff(t *testing.T) {
	wanted(t)
	t.Parallel()
	fileSystems := []string{"ext4"}
	if full(t) {
		fileSystems = append(fileSystems, "xfs")
	}
	for _, fs := range fileSystems {
		t.Run(fs, func(t *testing.T) {
			t.Parallel()
			b := New(t, Options{Hosts: 2, FileSystem: fs})
			m1 := b.Host("m1")
			const write = `for d in /var/lib/etcd /etc; do
	echo kept >$d/synced; sync $d/synced $d; echo lost >$d/unsynced
done`
			m1.MustRun(write)
			old := m1.MustRun("cat /proc/sys/kernel/random/boot_id")
			began := time.Now()
			m1.PowerOff()
			t.Logf("off after %s", time.Since(began).Round(time.Millisecond))
			if err := dial(b, m1, 2379); err == nil || strings.Contains(err.Error(), "refused") {
				t.Errorf("a host without power answers: %v", err)
			}
			began = time.Now()
			m1.PowerOn()
			t.Logf("on after %s", time.Since(began).Round(time.Millisecond))
			for _, d := range []string{"/var/lib/etcd", "/etc"} {
				if s := m1.MustRun("cat " + d + "/synced"); s != "kept\n" {
					t.Errorf("%s/synced holds %q", d, s)
				}
				if s := m1.Run("cat " + d + "/unsynced"); s.Stdout == "lost\n" {
					t.Errorf("%s/unsynced was not lost", d)
				}
			}
			if now := m1.MustRun("cat /proc/sys/kernel/random/boot_id"); now == old {
				t.Error("it was no boot")
			}
			if fs == "xfs" && !strings.Contains(m1.MustRun("findmnt /var/lib/etcd"), "xfs") {
				t.Error("the data disk has no xfs")
			}
		})
	}
}

// dial connects to a port of the host's from the controller.
func dial(b *Bed, h *Host, port int) error {
	return b.net.Do(func() error {
		conn, err := net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", h.Address, port), time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
}
