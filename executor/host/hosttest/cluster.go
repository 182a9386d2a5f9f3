package hosttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// clusterName is what the file of every cluster here would call it.
const clusterName = "test"

// cluster is a set of members in one folder, on ports of this test's own.
type cluster struct {
	places        []planner.Place
	peer, client  []string
	initialMember string // etcd's initial-cluster
}

func newCluster(t *testing.T, dir string, n int) *cluster {
	t.Helper()
	c := &cluster{}
	var parts []string
	for i := range n {
		name := fmt.Sprintf("m%d", i+1)
		c.places = append(c.places, planner.Place{Name: name, DataDir: filepath.Join(dir, name)})
		c.peer, c.client = append(c.peer, freeURL(t)), append(c.client, freeURL(t))
		parts = append(parts, name+"="+c.peer[i])
	}
	c.initialMember = strings.Join(parts, ",")
	return c
}

func freeURL(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return "http://" + ln.Addr().String()
}

// claims gives the provenance that token leads to.
func (c *cluster) claims(kind, token string) []planner.ClaimMember {
	urls, err := types.NewURLsMap(c.initialMember)
	if err != nil {
		panic(err)
	}
	cl, err := membership.NewClusterFromURLsMap(zap.NewNop(), token, urls)
	if err != nil {
		panic(err)
	}
	var out []planner.ClaimMember
	for _, p := range c.places {
		out = append(out, planner.ClaimMember{Place: p, Provenance: planner.Provenance{
			Kind: kind, Token: token, InitialCluster: c.initialMember, Name: p.Name,
			ClusterID: cl.ID().String(), MemberID: cl.MemberByName(p.Name).ID.String(),
			When: "2026-01-02T03:04:05Z", By: "test",
		}})
	}
	return out
}

func (c *cluster) start(token string, bootstrap bool) []planner.StartMember {
	var out []planner.StartMember
	for i, m := range c.claims("", token) {
		args := []string{
			"--name=" + m.Name, "--data-dir=" + m.DataDir,
			"--listen-client-urls=" + c.client[i], "--advertise-client-urls=" + c.client[i],
			"--listen-peer-urls=" + c.peer[i], "--initial-advertise-peer-urls=" + c.peer[i],
			"--initial-cluster=" + c.initialMember, "--initial-cluster-token=" + token, "--initial-cluster-state=new",
		}
		if m.WALDir != "" {
			args = append(args, "--wal-dir="+m.WALDir)
		}
		out = append(out, planner.StartMember{
			Place: m.Place, Cluster: clusterName, Args: args, ClusterID: m.Provenance.ClusterID, MemberID: m.Provenance.MemberID,
			Bootstrap: bootstrap, ClientURL: c.client[i],
		})
	}
	return out
}

func (c *cluster) observe(t *testing.T, h host.Host) map[string]host.Facts {
	t.Helper()
	f, err := h.Observe(ctx(t), c.places)
	must(t, err)
	return f
}

func (c *cluster) connect(t *testing.T) *clientv3.Client {
	t.Helper()
	cli, err := clientv3.New(clientv3.Config{Endpoints: c.client[:1], Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	must(t, err)
	t.Cleanup(func() { cli.Close() })
	return cli
}

// serves waits until every member answers a linearizable read.
func (c *cluster) serves(t *testing.T) {
	t.Helper()
	for _, url := range c.client {
		cli, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, Logger: zap.NewNop()})
		must(t, err)
		eventually(t, url+" serves", func() bool {
			limit, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := cli.Get(limit, "x", clientv3.WithCountOnly())
			return err == nil
		})
		must(t, cli.Close())
	}
}

// count is how many keys the first member has.
func (c *cluster) count(t *testing.T) int {
	t.Helper()
	r, err := c.connect(t).Get(ctx(t), "\x00", clientv3.WithFromKey(), clientv3.WithCountOnly())
	must(t, err)
	return int(r.Count)
}

// saved is a snapshot file.
type saved struct {
	path, sha256 string
	revision     int64
	keys         int
}

// makeSnapshot has the driver bootstrap a single etcd, puts keys in it, saves a
// snapshot and stops it.
func makeSnapshot(t *testing.T, h host.Host, keys int) saved {
	t.Helper()
	dir := t.TempDir()
	c := newCluster(t, dir, 1)
	must(t, h.Claim(ctx(t), planner.Claim{Members: c.claims(planner.ProvenanceBootstrap, "token-source")}))
	must(t, h.Start(ctx(t), c.start("token-source", true)))
	stopAtEnd(t, h, c)
	c.serves(t)
	cli := c.connect(t)
	var revision int64
	for i := range keys {
		r, err := cli.Put(ctx(t), fmt.Sprintf("key-%d", i), "value")
		must(t, err)
		revision = r.Header.Revision
	}
	in, err := cli.Snapshot(ctx(t))
	must(t, err)
	b, err := io.ReadAll(in)
	must(t, err)
	path := filepath.Join(dir, "snapshot.db")
	must(t, os.WriteFile(path, b, 0o600))
	must(t, h.Stop(ctx(t), clusterName, c.stops()))
	sum := sha256.Sum256(b[:len(b)-sha256.Size])
	return saved{path, hex.EncodeToString(sum[:]), revision, keys}
}

func (c *cluster) restore(s saved, token string) planner.Restore {
	return planner.Restore{Snapshot: s.path, SHA256: s.sha256, Members: c.claims(planner.ProvenanceRestore, token)}
}

func stopAtEnd(t *testing.T, h host.Host, c *cluster) {
	t.Cleanup(func() {
		if err := h.Stop(ctx(t), clusterName, c.stops()); err != nil {
			t.Error(err)
		}
	})
}

// tree lists all paths under dir with their kind, size and time of change.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = fmt.Sprintf("%v", fi.Mode())
		if !d.IsDir() {
			out[path] += fmt.Sprintf(" %d %v", fi.Size(), fi.ModTime())
		}
		return nil
	}))
	return out
}

func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] != after[path] {
			t.Errorf("changed or new: %s (%q, %q)", path, before[path], after[path])
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			t.Errorf("gone: %s", path)
		}
	}
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

// install puts what is staged under token in place, over nobody's data.
func (c *cluster) install(token string) planner.Install {
	a := planner.Install{Token: token}
	for _, p := range c.places {
		a.Members = append(a.Members, planner.InstallMember{Place: p})
	}
	return a
}

// stops names the members with nothing foreign on them.
func (c *cluster) stops() []planner.StopMember {
	var out []planner.StopMember
	for _, p := range c.places {
		out = append(out, planner.StopMember{Place: p})
	}
	return out
}

// adopts names the members as requorum's own.
func (c *cluster) adopts() []planner.AdoptMember {
	var out []planner.AdoptMember
	for _, p := range c.places {
		out = append(out, planner.AdoptMember{StartMember: planner.StartMember{Place: p, Cluster: clusterName}})
	}
	return out
}
