package process

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "etcd.yaml"), []byte(`
name: f1
data-dir: data
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
quota-backend-bytes: 8589934592
pre-vote: false
grpc-keepalive-min-time: 5000000000
log-outputs: [stderr, logs/etcd.log]
initial-cluster:
client-transport-security:
  cert-file: pki/a.crt
  client-cert-auth: true
peer-transport-security: { auto-tls: true, allowed-cn: [a, b] }
`), 0o600))
	defaults := map[string]string{
		"name": "default", "data-dir": "/srv/default.etcd",
		"listen-peer-urls": "http://localhost:2380", "listen-client-urls": "http://localhost:2379",
		"initial-advertise-peer-urls": "http://localhost:2380", "advertise-client-urls": "http://localhost:2379",
	}
	for name, c := range map[string]struct {
		args, env string
		cwd       string
		want      map[string]string
	}{
		"nothing": {"", "", "/srv", nil},
		"one dash, a space, a boolean": {"-name n1 --pre-vote -strict-reconfig-check=0 --quota-backend-bytes 5", "", "/srv",
			map[string]string{"name": "n1", "data-dir": "/srv/n1.etcd", "pre-vote": "true", "strict-reconfig-check": "false", "quota-backend-bytes": "5"}},
		"of older servers": {"--experimental-initial-corrupt-check --experimental-compaction-batch-limit 100 --enable-v2=true --data-dir=../d", "ETCD_EXPERIMENTAL_PEER_SKIP_CLIENT_SAN_VERIFICATION=true", "/srv",
			map[string]string{"experimental-initial-corrupt-check": "true", "experimental-compaction-batch-limit": "100", "enable-v2": "true", "data-dir": "/d", "experimental-peer-skip-client-san-verification": "true"}},
		"environment": {"--name=n1", "ETCD_NAME=n2 ETCD_DATA_DIR=d ETCD_PRE_VOTE=1 ETCD_SERVICE_HOST=1.2.3.4 ETCD_VERSION=3 ETCD_CERT_FILE= PATH=/bin", "/srv",
			map[string]string{"name": "n1", "data-dir": "/srv/d", "pre-vote": "true"}},
		"the log where etcd has it anyway": {"--name=n1 --data-dir=d --wal-dir ./d/member/wal/", "", "/srv", map[string]string{"name": "n1", "data-dir": "/srv/d"}},
		"a log elsewhere":                  {"--name=n1 --data-dir=d --wal-dir=w", "", "/srv", map[string]string{"name": "n1", "data-dir": "/srv/d", "wal-dir": "/srv/w"}},
		"the last one counts": {"--name=n1 --name=n2 --trusted-ca-file ca.crt", "", "/srv",
			map[string]string{"name": "n2", "data-dir": "/srv/n2.etcd", "trusted-ca-file": "/srv/ca.crt"}},
	} {
		check(t, name, origin{args: strings.Fields(c.args), env: strings.Fields(c.env), cwd: c.cwd}, defaults, c.want)
	}
	file := map[string]string{
		"name": "f1", "data-dir": dir + "/data", "listen-client-urls": "http://127.0.0.1:1,http://127.0.0.1:2",
		"quota-backend-bytes": "8589934592", "pre-vote": "false", "grpc-keepalive-min-time": "5s",
		"log-outputs": "stderr," + dir + "/logs/etcd.log", "cert-file": dir + "/pki/a.crt",
		"client-cert-auth": "true", "peer-auto-tls": "true", "peer-cert-allowed-cn": "a,b",
	}
	check(t, "file", origin{args: []string{"--config-file=etcd.yaml", "--name=n1"}, env: []string{"ETCD_PRE_VOTE=true"}, cwd: dir, root: "/proc/self/root"}, defaults, file)
	check(t, "file of the environment", origin{args: []string{"--name=n1"}, env: []string{"ETCD_CONFIG_FILE=etcd.yaml"}, cwd: dir}, defaults, file)
	must(t, os.WriteFile(filepath.Join(dir, "odd.yaml"), []byte("peer-transport-security: { colour: red }"), 0o600))
	for _, name := range []string{"none", "odd.yaml"} {
		if s, err := (origin{args: []string{"--config-file=" + name}, cwd: dir}).settings(); err == nil {
			t.Errorf("%s: %v", name, s)
		}
	}
}

func check(t *testing.T, name string, o origin, defaults, want map[string]string) {
	t.Helper()
	all := maps.Clone(defaults)
	maps.Copy(all, want)
	got, err := o.settings()
	if err != nil || !maps.Equal(got, all) {
		t.Errorf("%s: %v\n got %v\nwant %v", name, err, got, all)
	}
}

func TestKeeperOfCgroup(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for path, want := range map[string]string{
		"/":                          "",
		"/system.slice/etcd.service": "the systemd unit etcd.service",
		"/system.slice/system-etcd.slice/etcd@m1.service":                           "the systemd unit etcd@m1.service",
		"/system.slice/ssh.service":                                                 "",
		"/system.slice/cron.service":                                                "",
		"/user.slice/user-0.slice/session-3.scope":                                  "",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/vte-1.scope":       "",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/etcd.service":      "the systemd unit etcd.service",
		"/system.slice/docker-" + id + ".scope":                                     "the container 0a0a0a0a0a0a",
		"/docker/" + id:                                                             "the container 0a0a0a0a0a0a",
		"/kubepods.slice/kubepods-besteffort.slice/cri-containerd-" + id + ".scope": "the container 0a0a0a0a0a0a",
		"/machine.slice/systemd-nspawn@m1.service/init.scope":                       "",
		"/process_api/9496a705872fa5a5b408f839db6cae6d":                             "",
	} {
		if got := keeperOfCgroup(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// This test keeps nothing; a living script does, and so does a supervisor, through
// its wrapper too.
func TestKeeperOfParents(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]bool{"sh": false, "runsv": true, "nohup": false, "supervise": true} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\nsh -c 'sleep 60 & echo $!; wait'\nexit 0\n"), 0o755))
		cmd := exec.Command(path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var pid int
		_, err = fmt.Fscan(out, &pid)
		must(t, err)
		if k := keeper(pid); strings.HasPrefix(k, name+" (pid") != want || !want && !strings.HasPrefix(k, "the script that started it (pid ") {
			t.Errorf("%s: %q", name, k)
		}
		kill9(t, pid)
		must(t, cmd.Wait())
	}
}

// Who waits in a living script has a keeper; in one that has ended, or at a prompt,
// none.
func TestKeeperIsAScript(t *testing.T) {
	loop := "while :; do sleep 60 & echo $!; wait; done"
	path := filepath.Join(t.TempDir(), "run.sh")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+loop), 0o755))
	for _, c := range []struct {
		argv  []string
		stdin string
		want  string
	}{
		{[]string{"/bin/sh", "-c", loop}, "", "sh -c …)"},
		{[]string{path}, "", "run.sh)"},
		{[]string{"/bin/sh", "-e", path}, "", "run.sh)"},
		{[]string{"/bin/sh"}, loop + "\n", ""},
		{[]string{"/bin/sh", "-c", "sleep 60 >/dev/null & echo $!"}, "", ""},
	} {
		cmd := exec.Command(c.argv[0], c.argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Stdin = strings.NewReader(c.stdin)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var pid int
		_, err = fmt.Fscan(out, &pid)
		must(t, err)
		if strings.HasPrefix(c.argv[len(c.argv)-1], "sleep") {
			must(t, cmd.Wait())
		}
		k := keeper(pid)
		if want := fmt.Sprintf("the script that started it (pid %d: ", cmd.Process.Pid); (k == "") != (c.want == "") || c.want != "" && !(strings.HasPrefix(k, want) && strings.Contains(k, c.want)) {
			t.Errorf("%q: %q", c.argv, k)
		}
		must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)) // this test's own group
		_ = cmd.Wait()
	}
}

func TestScriptArguments(t *testing.T) {
	for line, want := range map[string]bool{
		"bash": false, "-bash": false, "bash -i": false, "bash -l": false, "bash --login": false, "bash -s x": false,
		"bash --init-file /x/y.sh -i": false, "bash -o pipefail": false, "-sh -c x": false,
		"bash -c x": true, "bash -lc x": true, "sh ./run.sh": true, "bash -eu -o pipefail run.sh": true, "bash -- run.sh": true,
		"busybox sh -c x": true, "busybox sh": false, "busybox timeout 5 etcd": false,
	} {
		if shellScript(strings.Fields(line)) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
	for line, want := range map[string]bool{
		"python3": false, "python3 -i": false, "python3 -u": false, "node": false,
		"python3 -c x": true, "python3 -u -W ignore run.py": true, "python3 -m keep": true, "perl -e x": true, "node keep.js": true,
	} {
		if programScript(strings.Fields(line)) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
}

func TestFinalWords(t *testing.T) {
	for name, c := range map[string]struct {
		log  string
		want string
	}{
		"removed":               {`{"level":"warn","msg":"server error","error":"the member has been permanently removed from the cluster"}` + "\n" + `{"level":"warn","msg":"data-dir used by this member must be removed"}`, "server error: the member has been permanently removed from the cluster"},
		"robbed":                {"panic: tocommit(48) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?\n\ngoroutine 1", "panic: tocommit(48) is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?"},
		"no voters":             {"panic: removed all voters\n", "panic: removed all voters"},
		"earlier run":           {"panic: removed all voters\n" + `{"logger":"requorum","msg":"starting etcd m1"}` + "\nelse", ""},
		"before it was adopted": {"panic: removed all voters\n" + `{"logger":"requorum","msg":"` + adoptMsg + `, pid 7"}`, ""},
		"our own":               {`{"logger":"requorum","msg":"not started: removed all voters"}`, ""},
		"another end":           {`{"level":"fatal","msg":"listen tcp: bind: address already in use"}`, ""},
	} {
		path := filepath.Join(t.TempDir(), "log")
		must(t, os.WriteFile(path, []byte(c.log), 0o600))
		if got := finalWords(path); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestEndedForGood(t *testing.T) {
	cfg, l := newStandIn(t, "--ruined")
	mustStart(t, cfg, l, Started)
	eventually(t, "given up", func() bool { return Status(l).State == planner.ServiceFailed })
	if s := Status(l); !strings.Contains(s.LastError, "removed all voters") || s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

// A fence stops what is to be started, and is forgotten with it.
func TestFencedPlace(t *testing.T) {
	cfg, l := newStandIn(t)
	must(t, os.Rename(l.DataDir, l.DataDir+".kept"))
	must(t, os.WriteFile(l.DataDir, []byte(host.NewFenceText("/x", "today")), 0o600))
	if _, err := Start(deadline(t), "", cfg, l); err == nil || !strings.HasPrefix(err.Error(), "m1: fenced: requorum fenced this member on today") {
		t.Errorf("got %v", err)
	}
	wantService(t, l, planner.ServiceFailed)
	must(t, Unfenced(l))
	wantService(t, l, planner.ServiceFailed)
	must(t, os.Remove(l.DataDir))
	must(t, os.Rename(l.DataDir+".kept", l.DataDir))
	must(t, Unfenced(l))
	wantService(t, l, planner.ServiceStopped)
	mustStart(t, cfg, l, Started)
}
