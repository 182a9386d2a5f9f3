package units

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

// What a unit would start next counts beside what runs: where they differ, the unit is
// written, and nothing is restarted.
func TestWhatStartsNext(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 2, Etcds: []string{"3.6"}})
	for i, style := range []bed.Style{bed.Flags, bed.Packaged} {
		h := b.Hosts()[i]
		in := bed.Install{Style: style, Hosts: []string{h.Name}}
		if style == bed.Flags {
			in.Minor = "3.6"
		}
		c := b.ByHand(in)
		give(t, h, harness.Binary(), "/usr/local/bin/requorum")
		write(h, etcdBlock(c.Minor, c.Binary(), ""), member{h.Name, bed.Unit, c.Members[0].DataDir, 2380, 2379})
		before := c.Started()
		if style == bed.Flags {
			h.MustRun("cp /etc/systemd/system/etcd.service /root/unit; sed -i 's/--name=/--force-new-cluster --name=/' /etc/systemd/system/etcd.service")
			requorum(t, h, "plan --detailed-exitcode").Want(t, 0).Says(t, "changed since systemd read them")
			h.MustRun("systemctl daemon-reload")
		} else {
			h.MustRun("cp /etc/default/etcd /root/unit; sed -i 's,/var/lib/etcd/default,/var/lib/etcd/twin,' /etc/default/etcd; echo ETCD_QUOTA_BACKEND_BYTES=1000000 >>/etc/default/etcd")
		}
		requorum(t, h, "plan --detailed-exitcode").Want(t, 2).Says(t, "write units", "zz-requorum.conf (new)")
		requorum(t, h, "apply --auto-approve").Want(t, 0)
		if after := c.Started(); after[h.Name] != before[h.Name] {
			t.Errorf("%s: it was restarted: %s, %s", style, before, after)
		}
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0).Says(t, "in sync")
		h.MustRun("systemctl restart etcd")
		c.AwaitServing()
		line := h.MustRun("tr '\\0' '\\n' </proc/$(systemctl show --value -p MainPID etcd)/cmdline")
		if strings.Contains(line, "force-new") || strings.Contains(line, "1000000") || !strings.Contains(line, "--data-dir="+c.Members[0].DataDir+"\n") {
			t.Errorf("%s: %s", style, line)
		}
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0)

		// A configuration manager takes the drop-in away.
		h.MustRun("rm -r /etc/systemd/system/etcd.service.d; systemctl daemon-reload")
		requorum(t, h, "plan --detailed-exitcode").Want(t, 2).Says(t, "write units")
		requorum(t, h, "apply --auto-approve").Want(t, 0)
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
		if style != bed.Flags {
			continue
		}
		h.MustRun("cp /root/unit /etc/systemd/system/etcd.service; rm -r /etc/systemd/system/etcd.service.d; systemctl daemon-reload")
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0)

		// The process runs another etcd than its unit has by now.
		h.MustRun("cp -r /opt/etcd-3.6 /opt/etcd-new; sed -i s,/opt/etcd-3.6/,/opt/etcd-new/, /etc/systemd/system/etcd.service; systemctl daemon-reload")
		if r := requorum(t, h, "plan --detailed-exitcode").Want(t, 2); !strings.Contains(flat(r.Stdout), "/opt/etcd-new/etcd -> /opt/etcd-3.6/etcd") {
			t.Errorf("%s", r)
		}
		h.MustRun("cp /root/unit /etc/systemd/system/etcd.service; systemctl daemon-reload")

		// Down, and edited: not before systemd has read it; and not behind the plan's back.
		h.MustRun("systemctl stop etcd; sed -i 's/--name=/--snapshot-count=7 --name=/' /etc/systemd/system/etcd.service")
		requorum(t, h, "plan").Want(t, 6).Says(t, "unit-unusable", "systemctl daemon-reload")
		h.MustRun("cp /root/unit /etc/systemd/system/etcd.service; systemctl daemon-reload")
		h.WriteFile("/usr/local/sbin/systemctl", `#!/bin/sh
case "$*" in *daemon-reload*) sed -i 's/--name=/--snapshot-count=7 --name=/' /etc/systemd/system/etcd.service ;; esac
exec /usr/bin/systemctl "$@"
`, 0o755)
		r := requorum(t, h, "apply --auto-approve").Want(t, 7)
		if !strings.Contains(flat(r.Stdout+r.Stderr), "would start with other settings than the plan says (- --snapshot-count=7)") {
			t.Errorf("%s", r)
		}
		h.MustRun("rm /usr/local/sbin/systemctl; cp /root/unit /etc/systemd/system/etcd.service; systemctl daemon-reload")
		requorum(t, h, "apply --auto-approve").Want(t, 0)
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
	}
}

// recovered applies a recovery, which may take longer on a busy machine than a command on
// a host is given.
func recovered(t *testing.T, h *bed.Host) {
	t.Helper()
	h.MustRun("cd /root; rm -f exit; setsid sh -c '/usr/local/bin/requorum apply --auto-approve --accept=data-loss >out 2>&1; echo $? >exit' </dev/null >/dev/null 2>&1 &")
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		switch code := h.Run("cat /root/exit").Stdout; code {
		case "":
		case "0\n":
			return
		default:
			t.Fatalf("exit %s: %s", code, h.MustRun("cat /root/out"))
		}
	}
	t.Fatalf("no end: %s", h.MustRun("cat /root/out"))
}

// variously has three members on the host whose units come to systemd in three ways:
// from a package, by a link, and as a file of the administrator's.
func variously(t *testing.T, h *bed.Host) []member {
	t.Helper()
	give(t, h, harness.Binary(), "/usr/local/bin/requorum")
	ms := three()
	var initial []string
	for i := range ms {
		ms[i].dataDir = "/var/lib/etcd/" + ms[i].name // on the other disk than the units
		initial = append(initial, fmt.Sprintf("%s=http://%s:%d", ms[i].name, h.Address, ms[i].peer))
	}
	h.MustRun("mkdir -p /opt/units; chown etcd /var/lib/etcd")
	for i, dir := range []string{"/usr/lib/systemd/system", "/opt/units", "/etc/systemd/system"} {
		m := ms[i]
		h.WriteFile(dir+"/"+m.unit, fmt.Sprintf(packagedUnit, m.name, m.dataDir, h.Address, m.peer, m.client, strings.Join(initial, ",")), 0o644)
	}
	h.MustRun("systemctl daemon-reload; systemctl enable --quiet etcd-m1 /opt/units/etcd-m2.service etcd-m3; systemctl start --no-block etcd-m1 etcd-m2 etcd-m3")
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	write(h, etcdBlock("3.6", "/opt/etcd-3.6/etcd", ""), ms...)
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0).Says(t, "in sync")
	h.MustRun("/opt/etcd-3.6/etcdctl --endpoints=" + endpoints(h, ms)[0] + " put /a/key value; sync")
	return ms
}

const fences = "/etc/systemd/system/etcd-m*.service.d/zzz-requorum-fence.conf"

// A power cut takes back nothing of what keeps a unit from being started, nor of what
// lets it again: not with the fences just set, not with them just lifted, and not right
// after an apply. (Another's sync may well have kept it by chance: that each folder is
// synced when it has to be is tested in the package.) The link to a unit stays.
func TestPowerCutAndBars(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	ms := variously(t, h)
	const barred = `i=0; until [ "$(grep -ls '"stopped": true' /var/lib/etcd/m*.requorum/barred.json | wc -l)" = 3 ]; do sleep 0.01; i=$((i+1)); [ $i -lt 3000 ] || exit 1; done`
	for _, moment := range []struct{ name, wait string }{
		{"barred", barred},
		{"lifted", barred + "; while [ -e /var/lib/etcd/m1.requorum/barred.json ]; do sleep 0.01; done"},
		{"applied", ""},
	} {
		h.MustRun("systemctl stop etcd-m1 etcd-m2 etcd-m3; rm -r /var/lib/etcd/m2 /var/lib/etcd/m3; sync")
		if moment.wait == "" {
			recovered(t, h)
		} else {
			h.MustRun("cd /root; setsid /usr/local/bin/requorum apply --auto-approve --accept=data-loss </dev/null >/root/out 2>&1 & " + moment.wait)
		}
		h.PowerOff()
		h.PowerOn()
		if moment.name == "barred" {
			if s := h.MustRun("ls " + fences + " | wc -l; systemctl is-enabled etcd-m1; systemctl is-enabled etcd-m3; pgrep -c -x etcd; true"); s != "3\nmasked\ndisabled\n0\n" {
				t.Errorf("barred, and the power gone: %s", s)
			}
		}
		if moment.wait != "" {
			recovered(t, h)
		}
		for _, ep := range endpoints(h, ms) {
			harness.AwaitServing(t, ep)
		}
		if s := h.MustRun("ls " + fences + " 2>/dev/null; readlink /etc/systemd/system/etcd-m2.service; systemctl is-enabled etcd-m1 etcd-m2 etcd-m3; /opt/etcd-3.6/etcdctl --endpoints=" + endpoints(h, ms)[2] + " get /a/key --print-value-only"); s != "/opt/units/etcd-m2.service\nenabled\nenabled\nenabled\nvalue\n" {
			t.Errorf("%s: %s", moment.name, s)
		}
		requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
		time.Sleep(5 * time.Second) // the database takes its time to be compared
	}
}

// A fence whose record is gone is requorum's all the same. A unit's other name would go
// away with a fence; one that gave its place to another unit is let go with it.
func TestBarsAndNames(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	ms := variously(t, h)
	h.MustRun("sed -i '$aAlias=etcd-other.service' /etc/systemd/system/etcd-m3.service; systemctl daemon-reload; systemctl reenable --quiet etcd-m3")
	other := append([]member(nil), ms...)
	other[2].unit = "etcd-other.service"
	write(h, etcdBlock("3.6", "/opt/etcd-3.6/etcd", ""), other...)
	requorum(t, h, "plan").Want(t, 6).Says(t, "unit-unusable", `unit = "etcd-m3.service"`)
	write(h, etcdBlock("3.6", "/opt/etcd-3.6/etcd", ""), ms...)

	h.MustRun("systemctl stop etcd-m1 etcd-m2 etcd-m3; rm -r /var/lib/etcd/m2 /var/lib/etcd/m3")
	h.MustRun("cd /root; setsid /usr/local/bin/requorum apply --auto-approve --accept=data-loss </dev/null >/root/out 2>&1 & pid=$!; until grep -qs '\"stopped\": true' /var/lib/etcd/m1.requorum/barred.json; do sleep 0.01; done; kill -9 $pid")
	h.MustRun("sleep 1; rm /var/lib/etcd/m3.requorum/barred.json; cat /usr/lib/systemd/system/etcd-m1.service >/usr/lib/systemd/system/etcd-first.service; systemctl daemon-reload")
	ms[0].unit = "etcd-first.service"
	write(h, etcdBlock("3.6", "/opt/etcd-3.6/etcd", ""), ms...)
	recovered(t, h)
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	if s := h.MustRun("ls " + fences + " 2>/dev/null; systemctl is-enabled etcd-first etcd-m1 etcd-m2 etcd-m3; ls /var/lib/etcd/*/barred.json 2>/dev/null; true"); s != "enabled\ndisabled\nenabled\nenabled\n" {
		t.Errorf("%s", s)
	}
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
}

// A survivor that has rebooted has an etcd that waits for a quorum and says nothing. Where
// nobody is left who could be one with it, it is recovered from all the same.
func TestSurvivorThatRebooted(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	ms := variously(t, h)
	h.MustRun("systemctl disable --quiet etcd-m3; systemctl mask --runtime etcd-m2; systemctl stop etcd-m2 etcd-m3; rm -r /var/lib/etcd/m2 /var/lib/etcd/m3; rm /etc/systemd/system/multi-user.target.wants/etcd-m2.service; sync")
	h.Reboot()
	time.Sleep(3 * time.Second)
	requorum(t, h, "plan").Want(t, 6).Says(t, "was started just now", "Plan again in")
	time.Sleep(62 * time.Second)
	requorum(t, h, "plan").Want(t, 0).Says(t, "recover", "from m1")
	time.Sleep(40 * time.Second) // systemd has started it again by now
	if s := h.MustRun("systemctl show --value -p NRestarts etcd-m1"); strings.TrimSpace(s) == "0" {
		t.Fatalf("it was not started again: %s", s)
	}
	recovered(t, h)
	for _, ep := range endpoints(h, ms) {
		harness.AwaitServing(t, ep)
	}
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
}

// Debian's unit that never ran, on another directory than the file's, gets the file's
// settings; what it does beside running etcd is taken back; and one that dies over and
// over is told as that, at whatever moment it is looked at.
func TestUnitsThatNeverServed(t *testing.T) {
	onlyFull(t)
	t.Parallel()
	b := bed.New(t, bed.Options{Hosts: 1, Etcds: []string{"3.6"}})
	h := b.Hosts()[0]
	give(t, h, harness.Binary(), "/usr/local/bin/requorum")
	m := member{h.Name, bed.Unit, "/var/lib/etcd/mine", 2380, 2379}
	write(h, etcdBlock("3.4", "/usr/bin/etcd", ""), m)
	h.MustRun("mkdir -p /etc/systemd/system/etcd.service.d; printf '[Service]\nExecStartPre=/bin/false\nExecStopPost=/bin/touch /root/left\n' >/etc/systemd/system/etcd.service.d/more.conf; systemctl daemon-reload")
	requorum(t, h, "plan").Want(t, 0).Says(t, "+ExecStartPre=", "+ExecStopPost=")
	requorum(t, h, "apply --auto-approve").Want(t, 0)
	harness.AwaitServing(t, "http://"+h.Address+":2379")
	requorum(t, h, "plan --detailed-exitcode").Want(t, 0)
	h.MustRun("systemctl restart etcd; test ! -e /root/left; ls /var/lib/etcd/mine/member; test ! -e /var/lib/etcd/default")
	requorum(t, h, "stop --auto-approve").Want(t, 0)

	h.MustRun("systemctl stop etcd; printf '[Service]\nRestart=always\nRestartSec=50ms\n[Unit]\nStartLimitIntervalSec=0\n' >/etc/systemd/system/etcd.service.d/more.conf; sed -i s/--name=/--no-such-flag=1\\ --name=/ /etc/systemd/system/etcd.service.d/zz-requorum.conf; systemctl daemon-reload; systemctl start --no-block etcd; sleep 1")
	for range 15 {
		if r := requorum(t, h, "plan"); strings.Contains(r.Stdout, "unit-unusable") || strings.Contains(r.Stdout, "serves-elsewhere") {
			t.Errorf("%s", r)
		}
	}
}
