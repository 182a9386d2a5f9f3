package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/ports"
)

// The test binary is also requorum.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent":
			if err := process.Supervise(os.Args[3]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "etcd":
			etcdmain.Main(os.Args[1:])
			os.Exit(0)
		}
	}
	// Whoever runs commands for an hour has other limits than a test.
	statusLimit, startLimit, stopLimit, comeUp, goDown, firstLog = 3*time.Second, 3*time.Second, 5*time.Second, 4*time.Second, 2*time.Second, 3*time.Second
	os.Exit(m.Run())
}

// script keeps one etcd, whose pid it writes down; each of its verbs can be spoilt by a
// file of that name beside it, which is run instead.
const script = `#!/bin/sh
here=$(dirname "$0")
# A pid that was written down may be another process's by now; a zombie has no command line.
up() { test -s "$here/pid" && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$here/pid")/cmdline" | grep -qF -- "$REQUORUM_DATA_DIR"; }
if test -e "$here/$1"; then . "$here/$1"; fi
case $1 in
start)
	up && exit 0
	"$here/requorum" etcd --config-file="$REQUORUM_ETCD_CONFIG" </dev/null >>"$here/log" 2>&1 &
	echo $! >"$here/pid" ;;
stop)
	up || exit 0
	kill "$(cat "$here/pid")"
	while up; do sleep 0.05; done ;;
status)
	up || exit 3 ;;
esac
`

// rig is a member under the script.
type rig struct {
	t     *testing.T
	dir   string
	s     Service
	start planner.StartMember
	cfg   process.Config
}

// newRig is a member that never ran.
func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(dir, "requorum")))
	path := filepath.Join(dir, "member")
	must(t, os.WriteFile(path, []byte(script), 0o755))
	at := planner.Place{Name: "m1", DataDir: filepath.Join(dir, "data"), Commands: &planner.Commands{
		Start: []string{path, "start"}, Stop: []string{path, "stop"}, Status: []string{path, "status"},
	}}
	r := &rig{t: t, dir: dir, s: Service{Commands: *at.Commands, Name: "m1", Layout: host.LayoutOf(at.DataDir, "")}}
	peer, client := url(t), url(t)
	c := &spec.Cluster{Name: "test", Members: []spec.Member{{Name: "m1", PeerURLs: []string{peer}, ClientURLs: []string{client}}}}
	r.start = planner.StartMember{
		Place: at, Cluster: "test", Bootstrap: true, ClientURL: client,
		ClusterID: planner.ClusterID(c.Members, "token"), MemberID: planner.MemberID([]string{peer}, "token"),
		Args: []string{
			"--name=m1", "--data-dir=" + at.DataDir, "--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--initial-cluster=m1=" + peer, "--initial-cluster-token=token", "--initial-cluster-state=new",
		},
	}
	r.write()
	r.cfg = process.Config{
		Name: "m1", Cluster: "test", DataDir: at.DataDir, Args: r.start.Args, Token: "token", Bootstrap: true,
		ClusterID: r.start.ClusterID, MemberID: r.start.MemberID,
	}
	t.Cleanup(r.end)
	return r
}

// write has the step's file be of its arguments.
func (r *rig) write() {
	r.t.Helper()
	text, err := planner.ConfigText(&r.start, "3.7.0")
	must(r.t, err)
	r.start.Files = []planner.FileChange{{Path: planner.ConfigPath(r.s.Layout.Base()), Text: text}}
}

// again has the member be one that has data.
func (r *rig) again() {
	r.start.Bootstrap, r.cfg.Bootstrap = false, false
}

// spoil has a verb of the script do something else; "" takes that back.
func (r *rig) spoil(verb, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, verb)
	if text == "" {
		must(r.t, os.Remove(path)) // the test's own
		return
	}
	must(r.t, os.WriteFile(path, []byte(text), 0o600))
}

func (r *rig) end() {
	for _, verb := range []string{"start", "stop", "status"} {
		_ = os.Remove(filepath.Join(r.dir, verb)) // the test's own
	}
	if err := r.s.Stop(context.Background()); err != nil {
		r.t.Error(err)
	}
	if pid, err := r.s.holder(); pid != 0 || err != nil {
		r.t.Errorf("left behind: %d %v", pid, err)
	}
}

func (r *rig) watch() error { return r.s.Watch(r.t.Context(), r.s.Layout.DataDir, "") }

func (r *rig) status() planner.Fact[planner.Service] {
	r.t.Helper()
	pid, err := r.s.holder()
	must(r.t, err)
	return r.s.Status(r.t.Context(), pid)
}

// serves waits until the member answers a client.
func (r *rig) serves() {
	r.t.Helper()
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{r.start.ClientURL}, Logger: zap.NewNop()})
	must(r.t, err)
	defer cli.Close()
	for end := time.Now().Add(30 * time.Second); ; {
		one, cancel := context.WithTimeout(r.t.Context(), time.Second)
		_, err := cli.Get(one, "x")
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(r.dir, "log"))
			r.t.Fatalf("it does not serve: %v\n%s", err, log)
		}
	}
}

// wants fails the test where err does not say all of it.
func (r *rig) wants(err error, words ...string) {
	r.t.Helper()
	if err == nil {
		r.t.Fatalf("no error, want %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("%q is not in: %v", w, err)
		}
	}
}

func url(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("http://127.0.0.1:%d", ports.Free(t))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
