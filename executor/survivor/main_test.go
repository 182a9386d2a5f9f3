package survivor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// TestMain lets the test binary be an etcd, as requorum's own is, and be a
// recovery that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "etcd" {
		etcdmain.Main(os.Args[1:])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "recover" {
		var r Request
		err := json.Unmarshal([]byte(os.Args[2]), &r)
		if err == nil {
			_, err = Recover(context.Background(), r, func(what string, _, _ int64) { fmt.Println(what) })
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// command is this binary, or another etcd where a person says so by hand.
func command(t testing.TB) []string {
	t.Helper()
	if path := os.Getenv("REQUORUM_TEST_ETCD"); path != "" {
		return []string{path}
	}
	return []string{must(os.Executable())(t), "etcd"}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// node is a member in a process of its own, so that it can be killed.
type node struct {
	name, dir, wal, client, peer string
	cmd                          *exec.Cmd
}

func newNode(t testing.TB, name string) *node {
	t.Helper()
	ports := must(harness.ReservePorts(2))(t)
	t.Cleanup(ports.Release)
	return &node{name: name, dir: filepath.Join(t.TempDir(), name), client: ports.URL(0), peer: ports.URL(1)}
}

// allInTail makes etcd write nothing to its db until it is stopped cleanly.
var allInTail = []string{"--backend-batch-interval", "1h", "--backend-batch-limit", "1000000"}

func (n *node) start(t testing.TB, cluster string, flags ...string) {
	t.Helper()
	argv := append(command(t), "--name", n.name, "--data-dir", n.dir,
		"--listen-client-urls", n.client, "--advertise-client-urls", n.client,
		"--listen-peer-urls", n.peer, "--initial-advertise-peer-urls", n.peer,
		"--initial-cluster", cluster, "--unsafe-no-fsync", "--log-level", "error", "--strict-reconfig-check=false",
		"--heartbeat-interval", "50", "--election-timeout", "500")
	if n.wal != "" {
		argv = append(argv, "--wal-dir", n.wal)
	}
	argv = append(argv, flags...)
	n.cmd = exec.Command(argv[0], argv[1:]...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n.cmd.Stderr = must(os.Create(filepath.Join(t.TempDir(), "log")))(t)
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
}

func (n *node) kill() { n.end(syscall.SIGKILL) }
func (n *node) stop() { n.end(syscall.SIGTERM) }

func (n *node) end(s syscall.Signal) {
	if n.cmd != nil && n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Signal(s)
		_ = n.cmd.Wait()
	}
}

// members are started together; nobody waits for them.
func members(t testing.TB, count int, flags ...string) (nodes []*node, cluster string) {
	t.Helper()
	var list []string
	for i := range count {
		nodes = append(nodes, newNode(t, fmt.Sprintf("m%d", i+1)))
		list = append(list, nodes[i].name+"="+nodes[i].peer)
	}
	cluster = strings.Join(list, ",")
	for _, n := range nodes {
		n.start(t, cluster, flags...)
	}
	return nodes, cluster
}

func dial(t testing.TB, n *node, user string) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: []string{n.client}, Logger: zap.NewNop(), Username: user, Password: user}
	c := must(clientv3.New(cfg))(t)
	t.Cleanup(func() { c.Close() })
	if user == "" {
		waitFor(t, n.name+" serves", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := c.Get(ctx, "ready")
			return err == nil
		})
	}
	return c
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func put(t testing.TB, c *clientv3.Client, k, v string, opts ...clientv3.OpOption) {
	t.Helper()
	must(c.Put(context.Background(), k, v, opts...))(t)
}

// seen is the directory as the plan would see it.
func seen(t testing.TB, n *node) planner.DataDir {
	t.Helper()
	f := etcd.ReadDataDir(n.dir, n.wal)
	if !f.Known() || f.Value.Problem != "" {
		t.Fatalf("%s: %s%s", n.name, f.Why, f.Value.Problem)
	}
	return f.Value
}

func requestFor(t testing.TB, n *node) Request {
	t.Helper()
	d, out := seen(t, n), t.TempDir()
	return Request{
		Command: command(t), DataDir: n.dir, WALDir: n.wal, Work: filepath.Join(out, "work"), Out: filepath.Join(out, "out.db"),
		ClusterID: d.ClusterID, MemberID: d.MemberID, LastTerm: d.LastTerm, LastIndex: d.LastIndex, Upto: d.LastIndex,
	}
}

// recovered runs the recovery and holds the survivor's directory to what it was.
func recovered(t testing.TB, r Request) (Record, map[string]string) {
	t.Helper()
	before := tree(t, r.DataDir, r.WALDir)
	rec, err := Recover(context.Background(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tree(t, r.DataDir, r.WALDir) != before {
		t.Error("the survivor's directory was changed")
	}
	if _, err := os.Lstat(r.Work); err == nil {
		t.Error("the scratch folder is still there")
	}
	if again := must(ReadRecord(r.target()))(t); again != rec {
		t.Errorf("the record says %+v, not %+v", again, rec)
	}
	kv := keys(t, rec.db(rec.Path))
	if len(kv) != rec.Keys {
		t.Errorf("%d keys, the record says %d", len(kv), rec.Keys)
	}
	return rec, kv
}

// keys are the live ones of a db.
func keys(t testing.TB, path string) map[string]string {
	t.Helper()
	f := must(os.Open(path))(t)
	defer f.Close()
	db := must(boltfile.Open(f, must(f.Stat())(t).Size()))(t)
	kvs := map[string]string{}
	err := db.ForEach(context.Background(), "key", func(_ string, k, v []byte) error {
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(v, &kv); err != nil {
			return err
		}
		kvs[string(kv.Key)] = string(kv.Value)
		if len(k) == 18 {
			delete(kvs, string(kv.Key))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return kvs
}

// has checks that every key is there with its value.
func has(t testing.TB, got, want map[string]string) {
	t.Helper()
	missing := 0
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			missing++
			if missing < 4 {
				t.Errorf("key %s: %q, want %q", k, g, v)
			}
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d keys are wrong or missing", missing, len(want))
	}
}

// tree is everything that is to stay as it is.
func tree(t testing.TB, roots ...string) string {
	t.Helper()
	var b strings.Builder
	for _, root := range roots {
		if root == "" {
			continue
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %s %d %d\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
			if d.Type().IsRegular() {
				fmt.Fprintf(&b, "%x\n", sha256.Sum256(must(os.ReadFile(path))(t)))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
