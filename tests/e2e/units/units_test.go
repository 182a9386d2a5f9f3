// Package units shows what requorum does with members under systemd, on hosts that
// really have it: requorum runs on the host itself, as its agent does.
package units

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

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
	if os.Getenv("REQUORUM_E2E") != "full" {
		t.Skip("a part of make e2e (REQUORUM_E2E=full)")
	}
}

// give puts a program of this machine's on the host.
func give(t *testing.T, h *bed.Host, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	h.WriteFile(to, string(b), 0o755)
}

// requorum runs there, on a file at /root/requorum.hcl.
func requorum(t *testing.T, h *bed.Host, args string) harness.Result {
	t.Helper()
	return h.Run("cd /root && exec /usr/local/bin/requorum " + args)
}

// member is a member on the host h, under a unit.
type member struct {
	name, unit, dataDir string
	peer, client        int // ports
}

// write writes the host's file. more are lines of the cluster block.
func write(h *bed.Host, more string, ms ...member) {
	var out strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&out, "host \"at-%s\" {\n  address = \"localhost\"\n  service \"systemd\" { unit = %q }\n}\n\n", m.name, m.unit)
	}
	fmt.Fprintf(&out, "cluster \"units\" {\n%s", more)
	for _, m := range ms {
		fmt.Fprintf(&out, "  member %q {\n    host        = \"at-%s\"\n    peer_urls   = [\"http://%s:%d\"]\n    client_urls = [\"http://%s:%d\"]\n    listen_client_urls = [\"http://%s:%d\", \"http://127.0.0.1:%d\"]\n    data_dir    = %q\n  }\n",
			m.name, m.name, h.Address, m.peer, h.Address, m.client, h.Address, m.client, m.client, m.dataDir)
	}
	out.WriteString("}\n")
	h.WriteFile("/root/requorum.hcl", out.String(), 0o600)
}

func etcdBlock(minor, binary, config string) string {
	return fmt.Sprintf("  etcd {\n    version = %q\n    binary  = %q\n%s  }\n", minor, binary, config)
}

// Every way in which people set up an etcd under systemd is adopted as it is: there is
// nothing to do, and nothing is restarted. A setting that the file then has otherwise
// is changed by a drop-in, which the plan shows; what the file does not name stays.
func TestAdopted(t *testing.T) {
	wanted(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 4, Etcds: []string{"3.6"}})
	for i, style := range bed.Styles {
		h := b.Hosts()[i]
		in := bed.Install{Style: style, Hosts: []string{h.Name}, Settings: map[string]string{"auto-compaction-retention": "17h"}}
		if style != bed.Packaged {
			in.Minor = "3.6"
		}
		c := b.ByHand(in)
		give(t, h, harness.Binary(), "/usr/local/bin/requorum")
		m := member{h.Name, bed.Unit, c.Members[0].DataDir, 2380, 2379}
		write(h, etcdBlock(c.Minor, c.Binary(), ""), m)
		before := c.Started()

		requorum(t, h, "plan --detailed-exitcode").Want(t, 0).Says(t, "in sync: nothing to do")
		requorum(t, h, "apply --auto-approve").Want(t, 0)
		if after := c.Started(); after[h.Name] != before[h.Name] {
			t.Errorf("%s: it was restarted: %s, %s", style, before, after)
		}
		if s := h.Run("ls /etc/systemd/system/etcd.service.d"); s.Exit == 0 {
			t.Errorf("%s: %s", style, s)
		}

		write(h, etcdBlock(c.Minor, c.Binary(), ""), member{h.Name, "etcd3.service", m.dataDir, 2380, 2379})
		r := requorum(t, h, "plan").Want(t, 6)
		if !strings.Contains(flat(r.Stdout), `Did you mean "etcd.service"?`) {
			t.Errorf("%s: %s", style, r)
		}

		// The binary may be left to the unit.
		write(h, "  etcd {\n    config = { quota-backend-bytes = 3000000000 }\n  }\n", m)
		r = requorum(t, h, "plan").Want(t, 0)
		for _, want := range []string{"/etc/systemd/system/etcd.service.d/zz-requorum.conf (new)", "+    --quota-backend-bytes=3000000000", "+    --auto-compaction-retention=17h", "Needs: --accept=downtime"} {
			if !strings.Contains(r.Stdout, want) {
				t.Errorf("%s: %q is not in %s", style, want, r)
			}
		}
		requorum(t, h, "apply --auto-approve --accept=downtime").Want(t, 0)
		c.AwaitServing()
		line := h.MustRun("tr '\\0' '\\n' </proc/$(systemctl show --value -p MainPID etcd)/cmdline; systemctl show --value -p User etcd; systemctl is-enabled etcd")
		for _, want := range []string{c.Binary() + "\n", "--quota-backend-bytes=3000000000\n", "--auto-compaction-retention=17h\n", "\netcd\n", "\nenabled\n"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s: %q is not in %s", style, want, line)
			}
		}
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
	}
}

// flat is text without the breaks of its lines.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// three are members of one host, each with a unit of its own that is not there yet.
func three() []member {
	var out []member
	for i := 1; i <= 3; i++ {
		out = append(out, member{fmt.Sprintf("m%d", i), fmt.Sprintf("etcd-m%d.service", i), fmt.Sprintf("/var/lib/members/m%d", i), 2380 + 100*i, 2379 + 100*i})
	}
	return out
}

func endpoints(h *bed.Host, ms []member) []string {
	var out []string
	for _, m := range ms {
		out = append(out, fmt.Sprintf("http://%s:%d", h.Address, m.client))
	}
	return out
}

// On a bare host requorum writes the units itself; they come back after a reboot, are
// stopped and started, and what is lost of one member is not begun anew behind its
// back.
func TestUnitsOfItsOwn(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1})
	h := b.Hosts()[0]
	give(t, h, harness.Binary(), "/usr/local/bin/requorum")
	ms := three()
	write(h, "", ms...)
	requorum(t, h, "plan").Want(t, 0).Says(t, "/etc/systemd/system/etcd-m1.service (new)", "+Type=notify")
	requorum(t, h, "apply --auto-approve").Want(t, 0)
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	if s := h.MustRun("ls /run/systemd/system/ /etc/systemd/system"); strings.Contains(s, "requorum-first") || !strings.Contains(s, "etcd-m3.service") {
		t.Errorf("%s", s)
	}

	h.Reboot()
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)

	requorum(t, h, "stop --member m3 --auto-approve").Want(t, 0)
	if s := h.Run("systemctl is-active etcd-m3.service"); strings.TrimSpace(s.Stdout) != "inactive" {
		t.Errorf("%s", s)
	}
	requorum(t, h, "apply --auto-approve").Want(t, 0)
	harness.AwaitServing(t, endpoints(h, ms)[2])

	// Its data is gone: systemd does not begin it anew, whoever asks.
	h.MustRun("systemctl stop etcd-m2; mv /var/lib/members/m2 /var/lib/members/gone")
	h.Run("systemctl start etcd-m2")
	if s := h.Run("ls /var/lib/members/m2; systemctl is-active etcd-m2"); strings.TrimSpace(s.Stdout) != "inactive" && strings.TrimSpace(s.Stdout) != "failed" {
		t.Errorf("an empty twin: %s", s)
	}
	requorum(t, h, "plan").Want(t, 0).Says(t, "replace m2")
	requorum(t, h, "apply --auto-approve --accept=data-loss").Want(t, 0)
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
}

// What keeps a member from starting is said in its own words, and at once.
func TestUnitsThatFail(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	give(t, h, harness.Binary(), "/usr/local/bin/requorum")
	c := b.ByHand(bed.Install{Style: bed.Flags, Minor: "3.6"})
	m := member{h.Name, bed.Unit, c.Members[0].DataDir, 2380, 2379}
	write(h, etcdBlock(c.Minor, c.Binary(), ""), m)

	// Masked by somebody.
	h.MustRun("systemctl stop etcd; mv /etc/systemd/system/etcd.service /usr/lib/systemd/system/; systemctl daemon-reload; systemctl mask etcd")
	requorum(t, h, "plan").Want(t, 6).Says(t, "unit-unusable", "systemctl unmask etcd.service")
	h.MustRun("systemctl unmask etcd")

	// It exits at once: a flag that it does not know.
	h.MustRun("sed -i 's/--name=/--no-such-flag=1 --name=/' /usr/lib/systemd/system/etcd.service; systemctl daemon-reload")
	r := requorum(t, h, "apply --auto-approve").Want(t, 7)
	if !strings.Contains(flat(r.Stdout+r.Stderr), "no-such-flag") {
		t.Errorf("%s", r)
	}
	h.MustRun("systemctl stop etcd; sed -i 's/--no-such-flag=1 //' /usr/lib/systemd/system/etcd.service; systemctl daemon-reload; rm -rf /etc/systemd/system/etcd.service.d; systemctl daemon-reload")

	// Its program is gone, as far as the unit goes.
	h.MustRun("mkdir -p /etc/systemd/system/etcd.service.d; printf '[Service]\\nUser=nobody-here\\n' >/etc/systemd/system/etcd.service.d/user.conf; systemctl daemon-reload")
	r = requorum(t, h, "apply --auto-approve").Want(t, 7)
	if !strings.Contains(flat(r.Stdout+r.Stderr), "nobody-here") {
		t.Errorf("%s", r)
	}
	h.MustRun("rm -r /etc/systemd/system/etcd.service.d; systemctl daemon-reload")

	// It hangs at its start: it never reports.
	h.MustRun("mkdir -p /etc/systemd/system/etcd.service.d; printf '[Service]\\nExecStartPre=/bin/sleep 1000\\n' >/etc/systemd/system/etcd.service.d/slow.conf; systemctl daemon-reload")
	began := time.Now()
	r = requorum(t, h, "apply --auto-approve").Want(t, 7)
	if took := time.Since(began); took > 60*time.Second || !strings.Contains(flat(r.Stdout+r.Stderr), "systemd has no process of it") {
		t.Errorf("after %s: %s", took, r)
	}
	h.MustRun("systemctl stop etcd; rm -r /etc/systemd/system/etcd.service.d; systemctl daemon-reload")
	requorum(t, h, "apply --auto-approve").Want(t, 0)

	// systemd itself hangs.
	h.MustRun("systemctl stop etcd")
	h.MustRun("printf '#!/bin/sh\\nexec sleep 1000\\n' >/usr/local/sbin/systemctl; chmod 755 /usr/local/sbin/systemctl")
	began = time.Now()
	requorum(t, h, "plan").Want(t, 6).Says(t, "does systemd hang?")
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("a plan took %s", took)
	}
	h.MustRun("rm /usr/local/sbin/systemctl")
	requorum(t, h, "apply --auto-approve").Want(t, 0)
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
}

// A restored directory belongs to the unit's user.
func TestRestored(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	give(t, h, harness.Binary(), "/usr/local/bin/requorum")
	c := b.ByHand(bed.Install{})
	m := member{h.Name, bed.Unit, c.Members[0].DataDir, 2380, 2379}
	h.MustRun("etcdctl put /a/key value; etcdctl snapshot save /root/snapshot.db; systemctl stop etcd; mv /var/lib/etcd/default /var/lib/etcd/old")
	write(h, etcdBlock("3.4", c.Binary(), "")+"  snapshot { source = \"/root/snapshot.db\" }\n", m)
	requorum(t, h, "apply --auto-approve --accept=data-loss").Want(t, 0)
	c.AwaitServing()
	if s := h.MustRun("etcdctl get /a/key --print-value-only; stat -c %U:%a /var/lib/etcd/default /var/lib/etcd/default/member/snap/db; systemctl is-enabled etcd"); s != "value\netcd:700\netcd:600\nenabled\n" {
		t.Errorf("%q", s)
	}
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)

}

// packagedUnit is one whose file a mask can take the place of.
const packagedUnit = `[Unit]
Description=etcd %[1]s

[Service]
Type=notify
User=etcd
ExecStart=/opt/etcd-3.6/etcd --name=%[1]s --data-dir=%[2]s --listen-peer-urls=http://%[3]s:%[4]d --initial-advertise-peer-urls=http://%[3]s:%[4]d \
  --listen-client-urls=http://%[3]s:%[5]d,http://127.0.0.1:%[5]d --advertise-client-urls=http://%[3]s:%[5]d --initial-cluster=%[6]s --initial-cluster-token=by-hand --initial-cluster-state=new
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
`

// A configuration manager starts and unmasks what a recovery has fenced: it is named,
// nothing is harmed by it, and when it has stopped the recovery goes on.
func TestContested(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	give(t, h, harness.Binary(), "/usr/local/bin/requorum")
	ms := three()
	var initial []string
	for _, m := range ms {
		initial = append(initial, fmt.Sprintf("%s=http://%s:%d", m.name, h.Address, m.peer))
	}
	for _, m := range ms {
		h.WriteFile("/usr/lib/systemd/system/"+m.unit, fmt.Sprintf(packagedUnit, m.name, m.dataDir, h.Address, m.peer, m.client, strings.Join(initial, ",")), 0o644)
	}
	h.MustRun("mkdir -p /var/lib/members; chown etcd /var/lib/members; systemctl daemon-reload; for i in 1 2 3; do systemctl enable --quiet etcd-m$i; systemctl start --no-block etcd-m$i; done")
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	write(h, etcdBlock("3.6", "/opt/etcd-3.6/etcd", ""), ms...)
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0).Says(t, "in sync")
	h.MustRun("/opt/etcd-3.6/etcdctl --endpoints=" + endpoints(h, ms)[0] + " put /a/key value")
	h.MustRun("for i in 2 3; do systemctl stop etcd-m$i; rm -r /var/lib/members/m$i; done")
	time.Sleep(5 * time.Second)

	h.WriteFile("/etc/systemd/system/manager.service", "[Service]\nType=oneshot\nExecStart=-/bin/systemctl unmask etcd-m1.service\nExecStart=-/bin/systemctl start --no-block etcd-m1.service\n", 0o644)
	h.WriteFile("/etc/systemd/system/manager.timer", "[Timer]\nOnActiveSec=1\nOnUnitInactiveSec=500ms\nAccuracySec=50ms\n", 0o644)
	h.MustRun("systemctl daemon-reload; systemctl start manager.timer")
	r := requorum(t, h, "apply --auto-approve --accept=data-loss").Want(t, 7)
	for _, want := range []string{"somebody fights over the unit", "the unit manager.service"} {
		if !strings.Contains(flat(r.Stdout+r.Stderr), want) {
			t.Errorf("%q is not in %s", want, r)
		}
	}
	requorum(t, h, "plan").Want(t, 6).Says(t, "unit-contested", "manager.service")
	if s := h.Run("systemctl start etcd-m1.service; pgrep -c -x etcd"); strings.TrimSpace(s.Stdout) != "0" {
		t.Errorf("an etcd runs on a fence: %s", s)
	}
	h.MustRun("systemctl stop manager.timer")
	requorum(t, h, "apply --auto-approve --accept=data-loss").Want(t, 0)
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	if s := h.MustRun("/opt/etcd-3.6/etcdctl --endpoints=" + endpoints(h, ms)[1] + " get /a/key --print-value-only; systemctl is-enabled etcd-m1 etcd-m2 etcd-m3; stat -c %U /var/lib/members/m*/member"); s != "value\nenabled\nenabled\nenabled\netcd\netcd\netcd\n" {
		t.Errorf("%q", s)
	}
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
}

// TestSuite runs the suite that every driver passes, with a unit for each member.
func TestSuite(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "suite"), "./executor/host/local")
	cmd.Dir, cmd.Env = harness.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := bed.New(t, bed.Options{Hosts: 1, DiskMB: 2048})
	h := b.Hosts()[0]
	give(t, h, filepath.Join(dir, "suite"), "/root/suite")
	h.MustRun("cd /root && (setsid ./suite -test.run 'TestSuiteUnderSystemd' -test.v -test.timeout 9m >log 2>&1; echo ended >>log) >/dev/null 2>&1 &")
	log := ""
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end) && !strings.HasSuffix(log, "ended\n"); time.Sleep(time.Second) {
		log = h.ReadFile("/root/log")
	}
	if !strings.Contains(log, "\nPASS\n") || strings.Contains(log, "SKIP: TestSuiteUnderSystemd") {
		t.Error(log)
	}
}
