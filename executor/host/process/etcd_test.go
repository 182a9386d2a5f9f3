package process

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// newEtcd is a single etcd, the one inside requorum, yet to be bootstrapped.
func newEtcd(t *testing.T) (Config, host.Layout, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deep", "m1")
	client := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	urls, err := types.NewURLsMap("m1=" + peer)
	must(t, err)
	cl, err := membership.NewClusterFromURLsMap(zap.NewNop(), "tok", urls)
	must(t, err)
	l := host.LayoutOf(dir, "")
	cleanUp(t, l)
	return Config{
		Name: "m1", DataDir: dir, Token: "tok", Bootstrap: true,
		ClusterID: cl.ID().String(), MemberID: cl.MemberByName("m1").ID.String(),
		Args: []string{
			"--name=m1", "--data-dir=" + dir, "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=m1=" + peer, "--initial-cluster-token=tok", "--initial-cluster-state=new",
		},
	}, l, client
}

func serves(client string) func() bool {
	return func() bool {
		r, err := http.Get(client + "/health")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
}

func TestRealEtcd(t *testing.T) {
	cfg, l, client := newEtcd(t)
	self := filepath.Join(t.TempDir(), "requorum")
	exe, err := os.Executable()
	must(t, err)
	copyFile(t, exe, self)
	if out, err := Start(deadline(t), self, cfg, l); err != nil || out != Started {
		t.Fatal(out, err)
	}
	must(t, os.Remove(self)) // the private copy is enough
	eventually(t, "serves", serves(client))
	before := wantService(t, l, planner.ServiceRunning)
	kill9(t, before.PID)
	eventually(t, "restarted", func() bool { s := Status(l); return s.State == planner.ServiceRunning && s.Restarts == 1 })
	eventually(t, "serves again", serves(client))
	must(t, Stop(deadline(t), l))

	// The directory is lost: it must not come up as an empty twin.
	must(t, os.Rename(cfg.DataDir, cfg.DataDir+".lost"))
	if _, err := Start(deadline(t), exe, cfg, l); err == nil || !strings.Contains(err.Error(), "is absent") {
		t.Errorf("bootstrapped again: %v", err)
	}
	must(t, os.Mkdir(cfg.DataDir, 0o700))
	if _, err := Start(deadline(t), exe, cfg, l); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("bootstrapped again: %v", err)
	}
	must(t, os.Remove(cfg.DataDir))
	must(t, os.Rename(cfg.DataDir+".lost", cfg.DataDir))
	if _, err := Start(deadline(t), exe, cfg, l); err != nil {
		t.Fatal(err)
	}
	eventually(t, "serves the old data", serves(client))
}

// A taken port ends etcd before it writes anything: the bootstrap goes on when
// the port is free, and the words say what was wrong.
func TestBootstrapOnTakenPort(t *testing.T) {
	cfg, l, client := newEtcd(t)
	u, err := url.Parse(client)
	must(t, err)
	ln, err := net.Listen("tcp", u.Host)
	must(t, err)
	mustStart(t, cfg, l, Started)
	eventually(t, "tried several times", func() bool { return Status(l).Restarts >= 2 })
	s := Status(l)
	if s.State == planner.ServiceFailed || !strings.Contains(s.LastError, "address already in use") {
		t.Errorf("%+v", s)
	}
	ran, err := ReadRan(l)
	must(t, err)
	if !ran.Untouched(cfg.DataDir) {
		t.Error("etcd wrote to its directory")
	}
	must(t, ln.Close())
	eventually(t, "serves", serves(client))
	if ran.Untouched(cfg.DataDir) {
		t.Error("the seal holds although etcd ran")
	}
}

// What etcd says of trouble is seen while it runs, of its last start only, and not
// of one that was stopped.
func TestSignsOfRealEtcd(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		cfg, l, client := newEtcd(t)
		cfg.Args = append(cfg.Args, "--force-new-cluster", "--log-format="+format)
		mustStart(t, cfg, l, Started)
		eventually(t, "serves", serves(client))
		first := wantService(t, l, planner.ServiceRunning)
		forced := planner.LogSign{Kind: planner.SignForced, Text: "forcing restart member"}
		if slices.Contains(first.Signs, forced) { // a first start has no log to force
			t.Errorf("%s: at first: %+v", format, first.Signs)
		}
		kill9(t, first.PID)
		eventually(t, "was forced", func() bool { return slices.Contains(Status(l).Signs, forced) })
		eventually(t, "serves again", serves(client))
		must(t, Stop(deadline(t), l))
		if s := wantService(t, l, planner.ServiceStopped); len(s.Signs) != 0 {
			t.Errorf("%s: stopped: %+v", format, s.Signs)
		}
	}
}
