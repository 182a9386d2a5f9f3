package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// A member's life: its first start is requorum's, and from then on it is the commands'.
func TestLife(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if s := r.status(); s.Value.State != planner.ServiceNone {
		t.Fatalf("%+v", s)
	}
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
	s := r.status().Value
	if s.State != planner.ServiceRunning || s.PID == 0 || s.Commands.Config != r.start.Files[0].Text || process.Supervisor(r.s.Layout) != 0 {
		t.Fatalf("%+v", s)
	}
	if diff := planner.SettingsDiff(s.Args, r.start.Args); !strings.HasPrefix(diff, "- ") && diff != "" {
		t.Errorf("it runs with %s", diff)
	}
	must(t, r.s.Start(t.Context(), r.start, r.cfg)) // left alone
	if now := r.status().Value.PID; now != s.PID {
		t.Errorf("pid %d became %d", s.PID, now)
	}
	before, err := os.Stat(r.s.configPath())
	must(t, err)
	must(t, r.s.Stop(t.Context()))
	must(t, r.s.Stop(t.Context()))
	must(t, r.watch())
	must(t, r.s.Idle(t.Context()))
	if s := r.status(); s.Value.State != planner.ServiceStopped {
		t.Fatalf("%+v", s)
	}
	r.again()
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
	after, err := os.Stat(r.s.configPath())
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("a file that did not change was written anew")
	}
	if r.s.Idle(t.Context()) == nil {
		t.Error("it runs, and is called idle")
	}
}

// A start that is closed to clients is requorum's own; the commands get the member when
// it is opened.
func TestClosedStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.spoil("start", "echo the command was run; exit 7")
	closed := r.start
	closed.Args = append([]string{}, r.start.Args...)
	for i, a := range closed.Args {
		if strings.HasPrefix(a, "--listen-client-urls=") {
			closed.Args[i] = "--listen-client-urls=unix://" + planner.ClosedSocket
		}
	}
	cfg := r.cfg
	cfg.Args = closed.Args
	must(t, r.s.Start(t.Context(), closed, cfg))
	for end := time.Now().Add(20 * time.Second); !r.s.begun(); time.Sleep(look50) {
		if time.Now().After(end) {
			t.Fatal("it has not begun")
		}
	}
	s := r.status()
	if s.Value.State != planner.ServiceRunning || !s.Value.Commands.Closed || !planner.Closed(s.Value.Args) {
		t.Fatalf("%+v", s)
	}
	// Who dies meanwhile is not taken for one that clients have seen.
	must(t, syscall.Kill(s.Value.SupervisorPID, syscall.SIGKILL))
	must(t, syscall.Kill(s.Value.PID, syscall.SIGKILL))
	for end := time.Now().Add(10 * time.Second); r.status().Value.State == planner.ServiceRunning; time.Sleep(look50) {
		if time.Now().After(end) {
			t.Fatal("it goes on")
		}
	}
	for range 2 {
		if s := r.status().Value; s.State != planner.ServiceStopped || !planner.Closed(s.Args) || !s.Commands.Closed {
			t.Fatalf("%+v", s)
		}
		must(t, r.s.Stop(t.Context()))
	}
	r.again()
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "ended with status 7", "the command was run")
	if s := r.status().Value; planner.Closed(s.Args) || s.Commands.Closed {
		t.Fatalf("%+v", s)
	}
	r.spoil("start", "")
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
}

const look50 = 50 * time.Millisecond

// What a status command says counts only with what runs.
func TestStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	unknown := func(what string, words ...string) {
		t.Helper()
		s := r.status()
		if s.Known() {
			t.Fatalf("%s: %+v", what, s.Value)
		}
		r.wants(errors.New(s.Why), words...)
	}
	for _, running := range []bool{false, true} {
		if running {
			must(t, r.s.Start(t.Context(), r.start, r.cfg))
		}
		r.spoil("status", "echo no such service >&2; exit 1")
		unknown("it fails", "ended with status 1", "no such service")
		r.spoil("status", "exit 4")
		unknown("it does not know", "ended with status 4")
		r.spoil("status", "sleep 60")
		began := time.Now()
		unknown("it hangs", "did not end within 3s")
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %s", took)
		}
		r.spoil("status", "kill -9 $$")
		unknown("it dies", "killed")
		r.spoil("status", "sleep 10 & exit 3") // what it leaves behind holds its output open
		if running {
			unknown("it says stopped", "says that it is stopped", "has "+r.s.Layout.DataDir+" open")
			r.wants(r.s.Stop(t.Context()), "says that it is stopped", "open")
			r.wants(r.s.Idle(t.Context()), "says that it is stopped")
		} else if s := r.status(); s.Value.State != planner.ServiceNone {
			t.Errorf("%+v", s)
		}
		r.spoil("status", "exit 0")
		if s := r.status(); running && s.Value.State != planner.ServiceRunning || !running && (s.Value.State != planner.ServiceBackoff || !strings.Contains(s.Value.LastError, "says that it runs")) {
			t.Errorf("running %v: %+v", running, s)
		}
		if !running {
			r.wants(r.s.Start(t.Context(), r.start, r.cfg), "says that it runs")
			r.wants(r.s.Stop(t.Context()), "says that it runs")
		}
		r.spoil("status", "")
	}
	bad := r.s
	bad.Commands.Status = []string{"no-such-program-of-anybody"}
	if s := bad.Status(t.Context(), 0); s.Known() || !strings.Contains(s.Why, "no program") {
		t.Errorf("%+v", s)
	}
}

// A start is believed by what runs.
func TestStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	must(t, r.s.Stop(t.Context()))
	r.again()
	for _, tc := range []struct {
		name, start, status string
		words               []string
	}{
		{"starts nothing", "exit 0", "", []string{"nothing runs on", "ended with status 3"}},
		{"starts nothing, and status agrees with it", "touch $here/lie; exit 0", "test -e $here/lie && exit 0; exit 3", []string{"says that it runs", "no process has"}},
		{"fails", "echo disk is on fire; exit 9", "", []string{"ended with status 9", "disk is on fire"}},
		{"hangs", "sleep 60", "", []string{"did not end within 3s"}},
		{"is killed", "kill -9 $$", "", []string{"killed"}},
		{"prints megabytes", "while :; do head -c 1000000 /dev/zero | tr '\\0' x; done", "", []string{"printed more than 16 MiB"}},
		{"ends at once", `"$here/requorum" etcd --no-such-flag >/dev/null 2>&1 & exit 0`, "", []string{"nothing runs on"}},
	} {
		r.spoil("start", tc.start)
		if tc.status != "" {
			r.spoil("status", tc.status)
		}
		t.Log(tc.name)
		r.wants(r.s.Start(t.Context(), r.start, r.cfg), tc.words...)
		if tc.status != "" {
			r.spoil("status", "")
			_ = os.Remove(filepath.Join(r.dir, "lie")) // the test's own
		}
		if s := r.status(); s.Value.State != planner.ServiceStopped {
			t.Errorf("%s: %+v", tc.name, s)
		}
	}
	if fi, err := os.Stat(r.s.logPath()); err != nil || fi.Size() > 64<<20 {
		t.Errorf("%v %v", fi, err)
	}
	// It starts etcd, with settings of its own.
	r.spoil("start", `"$here/requorum" etcd `+strings.Join(r.start.Args, " ")+` --quota-backend-bytes=123456789 </dev/null >>"$here/log" 2>&1 & echo $! >"$here/pid"; exit 0`)
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "with other settings than the plan says", "quota-backend-bytes", r.s.configPath())
	must(t, r.s.Stop(t.Context()))
	// It starts etcd, and the status command does not know of it.
	r.spoil("start", "")
	r.spoil("status", "exit 3")
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "the status command does not say that it runs")
	r.spoil("status", "")
	must(t, r.s.Stop(t.Context()))
	// Nothing of it counts against the next one.
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
}

// What comes up with --force-new-cluster is ended at once, also while the start command
// waits for it; one that runs like that already is left alone, and the start fails.
func TestForceNewCluster(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
	must(t, r.s.Stop(t.Context()))
	r.again()
	forced := `ETCD_FORCE_NEW_CLUSTER=true "$here/requorum" etcd ` + strings.Join(r.start.Args, " ") + ` </dev/null >>"$here/log" 2>&1 & echo $! >"$here/pid"; `
	for _, then := range []string{"exit 0", "sleep 2; exit 0"} {
		r.spoil("start", forced+then)
		began := time.Now()
		r.wants(r.s.Start(t.Context(), r.start, r.cfg), "with --force-new-cluster", "was stopped at once", "ETCD_FORCE_NEW_CLUSTER")
		if pid, err := r.s.holder(); pid != 0 || err != nil {
			t.Fatalf("%d %v after %s", pid, err, time.Since(began))
		}
		if s := r.status(); s.Value.State != planner.ServiceStopped {
			t.Errorf("%+v", s)
		}
	}
	// By hand, with the same script.
	must(t, r.s.run(t.Context(), r.s.Commands.Start, startLimit, nil).err)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(look50) {
		if pid, _ := r.s.holder(); forces(pid) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not run")
		}
	}
	pid := r.status().Value.PID
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "it runs (process", "with --force-new-cluster")
	if s := r.status(); s.Value.PID != pid || !strings.Contains(strings.Join(s.Value.Args, " "), "--force-new-cluster=true") {
		t.Errorf("%+v", s)
	}
	r.spoil("start", "")
	must(t, r.s.Stop(t.Context()))
}

// A member that joins is waited for as long as something of what it is sent arrives.
func TestFirstStartThatTakesLong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := func(hex string) uint64 {
		n, err := strconv.ParseUint(hex, 16, 64)
		must(t, err)
		return n
	}
	peer := ""
	var list string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Etcd-Cluster-ID", r.start.ClusterID)
		switch q.URL.Path {
		case "/members": // and nothing more: its log does not come
			fmt.Fprint(w, list)
		case "/version":
			fmt.Fprint(w, `{"etcdserver":"3.7.0","etcdcluster":"3.7.0"}`)
		default:
			http.NotFound(w, q)
		}
	}))
	defer other.Close()
	for i, a := range r.start.Args {
		if peers, ok := strings.CutPrefix(a, "--initial-cluster=m1="); ok {
			peer = peers
			r.start.Args[i] = a + ",m2=" + other.URL
		} else if a == "--initial-cluster-state=new" {
			r.start.Args[i] = "--initial-cluster-state=existing"
		}
	}
	list = fmt.Sprintf(`[{"id":%d,"peerURLs":[%q],"name":""},{"id":%d,"peerURLs":[%q],"name":"m2"}]`, id(r.start.MemberID), peer, 77, other.URL)
	r.cfg.Args = r.start.Args
	const arrives = 5 * time.Second
	go func() {
		for end := time.Now().Add(arrives); time.Now().Before(end); time.Sleep(firstLog / 4) {
			f, err := os.OpenFile(filepath.Join(r.s.Layout.DataDir, "member", "snap", "tmp1"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err == nil {
				_, _ = f.WriteString("part")
				f.Close()
			}
		}
	}()
	began := time.Now()
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "has not begun its log", "nothing was written")
	if took := time.Since(began); took < arrives || took > arrives+firstLog+10*time.Second {
		t.Errorf("it was given up after %s", took)
	}
	// It is seen to run, whoever looks next, also where its supervisor dies.
	s := r.status()
	if s.Value.State != planner.ServiceRunning || !s.Value.Commands.Interim || s.Value.Commands.Closed {
		t.Errorf("%+v", s)
	}
	r.wants(r.s.Idle(t.Context()), "supervisor")
	limited, cancel := context.WithTimeout(t.Context(), 2*firstLog/3)
	defer cancel()
	r.wants(r.s.Start(limited, r.start, r.cfg), "has not begun its log yet", "deadline")
}

// A first start that is cut short before the commands got the member is seen to run,
// also where its supervisor dies; the next start hands it over.
func TestFirstStartCutShort(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.s.first(t.Context(), r.cfg))
	s := r.status()
	if s.Value.State != planner.ServiceRunning || !s.Value.Commands.Interim || s.Value.Commands.Closed || s.Value.PID == 0 {
		t.Errorf("%+v", s)
	}
	r.wants(r.s.Idle(t.Context()), "supervisor")
	must(t, syscall.Kill(s.Value.SupervisorPID, syscall.SIGKILL))
	for process.Supervisor(r.s.Layout) != 0 {
		time.Sleep(look50)
	}
	if s := r.status(); s.Value.State != planner.ServiceRunning || !s.Value.Commands.Interim {
		t.Errorf("%+v", s)
	}
	r.wants(r.s.Idle(t.Context()), "stop it first")
	r.again()
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
	if s := r.status(); s.Value.State != planner.ServiceRunning || s.Value.Commands.Interim || process.Supervisor(r.s.Layout) != 0 {
		t.Errorf("%+v", s)
	}
}

// A command never gets a directory that is empty, or another member's.
func TestStartOnNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.spoil("start", "touch $here/was-run; exit 0")
	r.again()
	if r.s.Start(t.Context(), r.start, r.cfg) == nil {
		t.Error("it was started on nothing")
	}
	must(t, os.Mkdir(r.s.Layout.DataDir, 0o700))
	if r.s.Start(t.Context(), r.start, r.cfg) == nil {
		t.Error("it was started on an empty directory")
	}
	must(t, os.Remove(r.s.Layout.DataDir)) // empty, and the test's own
	r.start.Bootstrap, r.cfg.Bootstrap = true, true
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "nothing runs on")
	if !r.s.begun() {
		t.Error("the command was run before there was a log")
	}
	must(t, os.Remove(filepath.Join(r.dir, "was-run"))) // the test's own
	r.again()
	other := r.cfg
	other.MemberID = "beef"
	if r.s.Start(t.Context(), r.start, other) == nil {
		t.Error("it was started on another member's directory")
	}
	if _, err := os.Stat(filepath.Join(r.dir, "was-run")); err == nil {
		t.Error("the command was run on another member's directory")
	}
}

// A stop is believed by what runs.
func TestStop(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	for _, tc := range []struct {
		stop, status string
		words        []string
	}{
		{"exit 0", "", []string{"does not stop", "open"}},
		{"echo not now; exit 5", "", []string{"ended with status 5", "not now"}},
		{"sleep 60", "", []string{"did not end within 5s"}},
		{"exit 0", "test -e $here/down && exit 3; exit 0", []string{"does not stop"}},
	} {
		r.spoil("stop", tc.stop)
		if tc.status != "" {
			r.spoil("status", tc.status)
		}
		r.wants(r.s.Stop(t.Context()), tc.words...)
		r.wants(r.s.Bar(t.Context()), tc.words...)
		if tc.status != "" {
			r.spoil("status", "")
		}
		if s := r.status(); s.Value.State != planner.ServiceRunning {
			t.Fatalf("%q: %+v", tc.stop, s)
		}
	}
	r.spoil("stop", "")
	// It ends etcd, and its service comes again.
	r.spoil("status", "exit 0")
	r.wants(r.s.Stop(t.Context()), "says that it runs", "may start etcd again")
	r.wants(r.watch(), "somebody starts it again")
	r.spoil("status", "echo who knows; exit 1")
	r.wants(r.watch(), "not known whether it stays stopped", "who knows")
	r.spoil("status", "")
	must(t, r.watch())
	// One that stood in the directory as it moved.
	moved := r.s.Layout.DataDir + "-moved"
	must(t, os.Rename(r.s.Layout.DataDir, moved))
	f, err := os.OpenFile(filepath.Join(moved, "member", "snap", "db"), os.O_RDWR, 0)
	must(t, err)
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	r.wants(r.s.Watch(t.Context(), moved, ""), "somebody starts it again", moved+" open")
	must(t, f.Close())
	must(t, os.Rename(moved, r.s.Layout.DataDir))
	must(t, r.s.Stop(t.Context()))
}

// A command gets nothing of requorum's environment, and of what it prints no secret is
// shown.
func TestSecrets(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "from-the-environment")
	t.Setenv("REQUORUM_VAR_password", "sesame")
	r := newRig(t)
	r.spoil("status", `env >$here/env; cat <<'END'; exit 1
password = hunter2
ETCD_TOKEN: 'abc123'
Authorization: Bearer eyJhbGciOi
END`)
	why := r.status().Why
	for _, secret := range []string{"hunter2", "abc123", "eyJhbGciOi"} {
		if strings.Contains(why, secret) {
			t.Errorf("%s is shown: %s", secret, why)
		}
	}
	if !strings.Contains(why, planner.Untold) {
		t.Error(why)
	}
	r.spoil("status", "printf 'fetching https://ann:pa55@example.org/x \\033[31mred\\n'; exit 1")
	if why := r.status().Why; strings.Contains(why, "pa55") || strings.Contains(why, "\x1b") || !strings.Contains(why, "example.org") {
		t.Error(why)
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "env"))
	must(t, err)
	env := string(b)
	for _, secret := range []string{"from-the-environment", "sesame"} {
		if strings.Contains(env, secret) {
			t.Errorf("it was given %s:\n%s", secret, env)
		}
	}
	for _, want := range []string{"REQUORUM_MEMBER=m1\n", "REQUORUM_DATA_DIR=" + r.s.Layout.DataDir + "\n", "REQUORUM_ETCD_CONFIG=" + r.s.configPath() + "\n", "PATH="} {
		if !strings.Contains("\n"+env, "\n"+want) {
			t.Errorf("%q is not in\n%s", want, env)
		}
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"etcdctl --user root:hunter2 get x", "etcdctl --user=root:hunter2", `--user "root:hunter2"`, "ETCDCTL_USER=root:hunter2", `ETCDCTL_USER="root:hunter2 x"`,
		"curl -u ann:hunter2 x", "etcdctl --password hunter2 get", "--password=hunter2", `password = "my hunter2 word"`, "PASSWORD: 'my hunter2 word'",
		"-----BEGIN RSA PRIVATE KEY-----\nhunter2\nxx\n-----END RSA PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----\nhunter2", "hunter2\n-----END EC PRIVATE KEY-----\nend",
		`{"token": "hunter2"}`, "http://ann:hunter2@x/",
	} {
		if got := masked(text); strings.Contains(got, "hunter2") || strings.Contains(got, "word") && !strings.Contains(strings.ToLower(got), "password") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	for _, text := range []string{"the password is wrong", "user root not found", "start --user etcd", "token expired", "m1 stopped"} {
		if got := masked(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	r := result{argv: []string{"etcdctl", "--user", "root:hunter2", "status"}}
	if strings.Contains(r.text(), "hunter2") {
		t.Error(r.text())
	}
	path := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(path, []byte("token="+strings.Repeat("s", 2*kept)), 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if x := endOf(f); x.n != int64(2*kept+6) || x.words() != "" {
		t.Errorf("%d %q", x.n, x.words())
	}
}

// A setting of what runs that is a secret is not told, neither of a process nor of the
// file that somebody has edited, and nothing is started that would have to be told.
func TestSettingsWithSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
	must(t, r.s.Stop(t.Context()))
	r.again()
	r.spoil("start", `"$here/requorum" etcd `+strings.Join(r.start.Args, " ")+` --cors=http://ann:hunter2@127.0.0.1:9 </dev/null >>"$here/log" 2>&1 & echo $! >"$here/pid"; exit 0`)
	err := r.s.Start(t.Context(), r.start, r.cfg)
	r.wants(err, "with other settings than the plan says", "cors", planner.Untold)
	must(t, os.WriteFile(r.s.configPath(), []byte("name: m1\ncors: \"http://ann:hunter2@x\"\ndiscovery-token: \"hunter2\"\npre-vote: true\n"), 0o600))
	s := r.status().Value
	if said := fmt.Sprint(err, s); strings.Contains(said, "hunter2") || !slices.Contains(s.Args, "--cors=http://"+planner.Untold+"@127.0.0.1:9") {
		t.Error(said)
	}
	if want := "name: m1\ncors: \"http://" + planner.Untold + "@x\"\ndiscovery-token: " + planner.Untold + "\npre-vote: true\n"; s.Commands.Config != want {
		t.Error(s.Commands.Config)
	}
	must(t, r.s.Stop(t.Context()))
	untold := r.start
	untold.Args = append(slices.Clone(r.start.Args), "--cors=http://"+planner.Untold+"@x")
	r.wants(r.s.Start(t.Context(), untold, r.cfg), "--cors", "secret")
	r.start.Files[0].Text += "cors: " + planner.Untold + "\n"
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "secret", "plan again")
	r.spoil("start", "")
}

// A status or stop command that prints without end is ended.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const endless = "while :; do head -c 1000000 /dev/zero | tr '\\0' x; done"
	r.spoil("status", endless)
	if s := r.status(); s.Known() || !strings.Contains(s.Why, "printed more than 16 MiB, and was ended") {
		t.Errorf("%+v", s)
	}
	r.spoil("status", "")
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.spoil("stop", endless)
	r.wants(r.s.Stop(t.Context()), "printed more than 16 MiB, and was ended")
	r.spoil("stop", "")
}

// What a start command left running prints to its log does not fill the disk.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.spoil("start", `(sleep 2; head -c 50000000 /dev/zero | tr '\0' x; echo; echo the end; touch "$here/printed") & up || { "$here/requorum" etcd --config-file="$REQUORUM_ETCD_CONFIG" </dev/null >>"$here/log" 2>&1 & echo $! >"$here/pid"; }; exit 0`)
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(look50) {
		if _, err := os.Stat(filepath.Join(r.dir, "printed")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not print")
		}
	}
	var before, st syscall.Stat_t
	must(t, syscall.Stat(r.s.logPath(), &before))
	r.status() // a look changes nothing
	must(t, syscall.Stat(r.s.logPath(), &st))
	if st.Blocks != before.Blocks || st.Blocks*512 < mostLog {
		t.Errorf("it took up %d blocks, and %d after a look", before.Blocks, st.Blocks)
	}
	must(t, r.s.Stop(t.Context()))
	must(t, syscall.Stat(r.s.logPath(), &st))
	if st.Blocks*512 > 2*keptLog || st.Size < 50000000 {
		t.Errorf("it takes up %d of %d bytes", st.Blocks*512, st.Size)
	}
	f, err := os.Open(r.s.logPath())
	must(t, err)
	defer f.Close()
	if words := endOf(f).words(); !strings.HasSuffix(words, "the end") {
		t.Errorf("its end is %q", words)
	}
	r.spoil("start", "")
}

// The end of what is printed is kept, whole lines of it.
func TestWords(t *testing.T) {
	t.Parallel()
	x := &tail{}
	for range 3000 {
		_, _ = x.Write([]byte("password=" + strings.Repeat("s", 20) + "\n"))
	}
	_, _ = x.Write([]byte("\x00the   end\xff\n"))
	got := x.words()
	if strings.Contains(got, "sss") || !strings.HasSuffix(got, "/ the end") || len(x.last) > kept {
		t.Errorf("%q", got)
	}
	// The name of a secret may stand before what was kept.
	y := &tail{}
	_, _ = y.Write([]byte("token=" + strings.Repeat("s", 2*kept)))
	if got := y.words(); got != "" {
		t.Errorf("%q", got)
	}
}

// Data that requorum has put in place is given to whom the command runs etcd as, who may
// read its configuration, and nothing else that is kept beside it.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("gives files away: needs root")
	}
	t.Parallel()
	r := newRig(t)
	r.s.User = "no-such-user-of-anybody"
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "no-such-user-of-anybody is not known")
	r.s.User = "nobody"
	r.wants(r.s.Start(t.Context(), r.start, r.cfg), "nobody, as whom etcd runs, can't get to", "chmod o+x")
	for dir := r.dir; dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	r.spoil("start", `touch "$here/log" "$here/pid"; cat "$REQUORUM_DATA_DIR/../data.requorum/service.json" >"$here/as-root"
setpriv --reuid=nobody --regid=nogroup --clear-groups cat "$REQUORUM_DATA_DIR.requorum/service.json" >"$here/as-nobody"
setpriv --reuid=nobody --regid=nogroup --clear-groups "$here/requorum" etcd --config-file="$REQUORUM_ETCD_CONFIG" </dev/null >>"$here/log" 2>&1 & echo $! >"$here/pid"; exit 0`)
	self, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(self)
	must(t, err)
	must(t, os.Remove(filepath.Join(r.dir, "requorum"))) // a link of the test's own
	must(t, os.WriteFile(filepath.Join(r.dir, "requorum"), program, 0o755))
	if s := r.status().Value; s.State != planner.ServiceNone || r.s.begun() {
		t.Fatalf("something was begun: %+v", s)
	}
	must(t, r.s.Start(t.Context(), r.start, r.cfg))
	r.serves()
	fi, err := os.Stat(r.s.configPath())
	must(t, err)
	if fi.Mode().Perm() != 0o640 {
		t.Errorf("%s", fi.Mode())
	}
	if b, _ := os.ReadFile(filepath.Join(r.dir, "as-root")); len(b) == 0 {
		t.Error("there is nothing to be kept from it")
	}
	if b, _ := os.ReadFile(filepath.Join(r.dir, "as-nobody")); len(b) != 0 {
		t.Errorf("nobody could read %s", b)
	}
	if s := r.status(); s.Value.State != planner.ServiceRunning || len(s.Value.Args) == 0 {
		t.Errorf("%+v", s)
	}
}
