package bed

import (
	"bufio"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A partition drops what it says, and no more.
func TestPartition(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := New(t, Options{})
	m1, m2, m3 := b.Host("m1"), b.Host("m2"), b.Host("m3")
	want := func(from *Host, to string, reaches bool) {
		t.Helper()
		if r := from.Run("ping -q -c 2 -i 0.2 -W 1 " + to); (r.Exit == 0) != reaches {
			t.Errorf("%s reaches %s: want %t\n%s", from.Name, to, reaches, r)
		}
	}
	want(m1, "m2", true)
	b.Partition([]string{"m1"}, []string{"m2"})
	want(m1, "m2", false)
	want(m2, "m1", false)
	want(m1, "m3", true)
	want(m3, "m2", true)
	if err := m1.sshGreets(); err != nil {
		t.Errorf("the controller is cut off: %v", err)
	}
	b.Heal()
	want(m1, "m2", true)

	b.Cut("m1", "m2")
	before := echoes(t, m1)
	want(m2, "m1", false) // the answer is dropped, not the question
	if now := echoes(t, m1); now != before+2 {
		t.Errorf("m1 got %d questions of 2", now-before)
	}
	b.Heal()
	b.Cut("m2", "m1")
	before = echoes(t, m1)
	want(m2, "m1", false)
	if now := echoes(t, m1); now != before {
		t.Errorf("m1 got %d questions through a cut", now-before)
	}
	b.Heal()

	b.Cut(Controller, "m1")
	if err := m1.sshGreets(); err == nil {
		t.Error("the controller reaches m1 through a cut")
	}
	if err := m2.sshGreets(); err != nil {
		t.Errorf("m2: %v", err)
	}
	b.Heal()
	b.Isolate("m3")
	want(m3, "m1", false)
	want(m3, "m2", false)
	want(m1, "m2", true)
	if err := m3.sshGreets(); err == nil {
		t.Error("the controller reaches an isolated host")
	}
	b.Heal()
	if err := m3.sshGreets(); err != nil {
		t.Errorf("after Heal: %v", err)
	}
}

// echoes is how many pings the host got so far.
func echoes(t *testing.T, h *Host) int {
	t.Helper()
	lines := strings.Split(h.MustRun("grep ^Icmp: /proc/net/snmp"), "\n")
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, n := range names {
		if n == "InEchos" {
			v, err := strconv.Atoi(values[i])
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no InEchos in %v", names)
	return 0
}

// A slow link bounds both directions.
func TestSlowLink(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := New(t, Options{Hosts: 1})
	m1 := b.Host("m1")
	there := func() (up, down time.Duration) {
		t.Helper()
		cmd := b.Command(b.ctx, "ssh", "ops@m1", "wc -c")
		r := b.Finish(cmd, strings.Repeat("x", 1<<20)).Want(t, 0)
		if strings.TrimSpace(r.Stdout) != "1048576" {
			t.Errorf("%s", r)
		}
		return r.Took, m1.SSH("ops", "head -c 1048576 /dev/zero").Want(t, 0).Took
	}
	up, down := there()
	b.SlowLink("m1", "4mbit")
	slowUp, slowDown := there()
	b.SlowLink("m1", "")
	t.Logf("1 MiB: %s up, %s down; at 4 Mbit/s %s up, %s down", up, down, slowUp, slowDown)
	const least = 1700 * time.Millisecond // 1 MiB at 4 Mbit/s are 2.1 s, less the bucket
	if slowUp < least || slowDown < least || up > slowUp*3/4 || down > slowDown*3/4 {
		t.Error("the link is not what was asked for")
	}
	if again, _ := there(); again > slowUp*3/4 {
		t.Errorf("%s when it was fast again", again)
	}
}

// A frozen host accepts connections and says nothing, until it goes on.
func TestFreeze(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := New(t, Options{Hosts: 1})
	m1 := b.Host("m1")
	m1.Freeze()
	if err := dial(b, m1, 22); err != nil {
		t.Errorf("its kernel does not answer: %v", err)
	}
	if err := m1.sshGreets(); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("its sshd answers: %v", err)
	}
	m1.Thaw()
	if err := m1.awaitUp(b.ctx, 0); err != nil {
		t.Error(err)
	}
	m1.Freeze()
	m1.PowerOff() // frozen things can be killed
	m1.PowerOn()
}

// A reboot is one: what is on the disks stays, what is in memory does not.
func TestReboot(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := New(t, Options{Hosts: 1})
	m1 := b.Host("m1")
	m1.MustRun("echo disk >/var/lib/etcd/x; echo memory >/run/x")
	old := m1.MustRun("cat /proc/sys/kernel/random/boot_id")
	began := time.Now()
	m1.Reboot()
	t.Logf("up again after %s", time.Since(began).Round(time.Millisecond))
	if now := m1.MustRun("cat /proc/sys/kernel/random/boot_id"); now == old {
		t.Error("it was no boot")
	}
	if s := m1.MustRun("cat /var/lib/etcd/x; cat /run/x 2>&1 || true"); !strings.HasPrefix(s, "disk\n") || strings.Contains(s, "memory\n") {
		t.Errorf("%q", s)
	}
	if r := m1.SSH("ops", "sudo -n systemctl reboot"); r.Exit != 0 && r.Exit != 255 {
		t.Errorf("%s", r)
	}
}

// A full disk fails writes with ENOSPC and nothing else, until it is freed.
func TestFullDisk(t *testing.T) {
	onlyFull(t)
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			t.Parallel()
			b := New(t, Options{Hosts: 1, FileSystem: fs, DiskMB: 400})
			m1 := b.Host("m1")
			const write = "su -s /bin/sh etcd -c 'dd if=/dev/zero of=/var/lib/etcd/x bs=1M count=%d conv=fsync 2>&1; rm -f /var/lib/etcd/x'"
			m1.FillDisk(20 << 20)
			if s := m1.MustRun(fmt.Sprintf(write, 15)); strings.Contains(s, "No space") {
				t.Errorf("there should be 20 MB left: %s", s)
			}
			if s := m1.MustRun(fmt.Sprintf(write, 30)); !strings.Contains(s, "No space left on device") {
				t.Errorf("30 MB went in: %s", s)
			}
			m1.FillDisk(0)
			if s := m1.MustRun(fmt.Sprintf(write, 1)); !strings.Contains(s, "No space left on device") {
				t.Errorf("it is not full: %s", s)
			}
			m1.FreeDisk()
			if s := m1.MustRun(fmt.Sprintf(write, 100)); strings.Contains(s, "No space") {
				t.Errorf("it is not free again: %s", s)
			}
		})
	}
}

// A dead disk fails reads and writes with EIO. What was synced is there when it comes
// back, on a new disk it is not, and an image is as it was at its moment.
func TestDeadDisk(t *testing.T) {
	onlyFull(t)
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			t.Parallel()
			b := New(t, Options{Hosts: 1, FileSystem: fs})
			m1 := b.Host("m1")
			m1.MustRun("cd /var/lib/etcd; echo one >a; sync a .")
			image := m1.SnapshotDisk()
			m1.MustRun("cd /var/lib/etcd; echo two >a; sync a .; echo lost >b")
			m1.KillDisk()
			if s := m1.MustRun("cat /var/lib/etcd/a 2>&1; echo x 2>&1 >/var/lib/etcd/c; true"); strings.Count(s, "Input/output error") != 1 || strings.Contains(s, "two") {
				if r := m1.Run("cat /var/lib/etcd/a; touch /var/lib/etcd/c"); !strings.Contains(r.Stderr, "Input/output error") {
					t.Errorf("a dead disk works: %s%s", s, r)
				}
			}
			if r := m1.SSH("ops", "sudo -n touch /etc/alive"); r.Exit != 0 {
				t.Errorf("the system's disk is dead too: %s", r)
			}
			m1.PowerOff()
			m1.PowerOn()
			if s := m1.MustRun("cd /var/lib/etcd; cat a; cat b 2>/dev/null || true"); s != "two\n" {
				t.Errorf("after a power-off there is %q", s)
			}
			m1.PowerOff()
			m1.UseDisk(image)
			m1.PowerOn()
			if s := m1.MustRun("cd /var/lib/etcd; cat a"); s != "one\n" {
				t.Errorf("the image holds %q", s)
			}
			m1.PowerOff()
			m1.ReplaceDisk()
			m1.PowerOn()
			if s := m1.MustRun("ls -A /var/lib/etcd; stat -c %U /var/lib/etcd"); strings.TrimPrefix(s, "lost+found\n") != "etcd\n" {
				t.Errorf("a new disk has %q", s)
			}
			m1.MustRun("touch /etc/before")
			m1.PowerOff()
			m1.Reinstall()
			m1.PowerOn()
			m1.SSH("ops", "test ! -e /etc/before").Want(t, 0)
		})
	}
}

// Sessions outlive a restart of sshd, as on any Debian, and not DropSessions.
func TestSSHD(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := New(t, Options{Hosts: 1})
	m1 := b.Host("m1")
	for _, user := range []string{"root", "ops"} {
		cmd, lines := session(t, b, user)
		m1.RestartSSHD()
		if _, err := lines.in.Write([]byte("still here\n")); err != nil {
			t.Fatal(err)
		}
		if s, err := lines.out.ReadString('\n'); s != "still here\n" {
			t.Errorf("%s: the session ended with sshd: %q, %v", user, s, err)
		}
		m1.DropSessions()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if cmd.ProcessState.ExitCode() != 255 {
				t.Errorf("%s: the session ended with %v", user, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the session outlives DropSessions", user)
		}
		m1.SSH(user, "true").Want(t, 0)
	}
}

type stream struct {
	in  interface{ Write([]byte) (int, error) }
	out *bufio.Reader
}

// session is an ssh session that echoes lines, and has done so once.
func session(t *testing.T, b *Bed, user string) (*exec.Cmd, stream) {
	t.Helper()
	cmd := b.Command(b.ctx, "ssh", "-o", "BatchMode=yes", user+"@m1", "cat")
	in, err := cmd.StdinPipe()
	b.must(err)
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.Start(cmd)
	s := stream{in, bufio.NewReader(out)}
	if _, err := in.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := s.out.ReadString('\n'); line != "hello\n" {
		t.Fatalf("no session: %q, %v", line, err)
	}
	return cmd, s
}

// Memory: what a host costs the machine.
func TestMemory(t *testing.T) {
	onlyFull(t)
	b := New(t, Options{})
	b.ByHand(Install{})
	for _, h := range b.Hosts() {
		mb := 0
		for _, pid := range h.group().pids() {
			mb += pss(pid)
		}
		t.Logf("%s with etcd: %d MB", h.Name, mb>>10)
		if mb == 0 || mb > 300<<10 {
			t.Errorf("%s takes %d kB", h.Name, mb)
		}
	}
}

var pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// pss is a process's share of memory in kB.
func pss(pid int) int {
	out, err := exec.Command("cat", fmt.Sprintf("/proc/%d/smaps_rollup", pid)).Output()
	m := pssLine.FindSubmatch(out)
	if err != nil || m == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb
}
