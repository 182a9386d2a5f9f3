package snapshot

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/zap"

	"github.com/requorum/requorum/tests/ports"
)

// TestMain lets the test binary be an etcd, as requorum's own is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "etcd" {
		etcdmain.Main(os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

func freeURL(t testing.TB) url.URL {
	t.Helper()
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", ports.Free(t))}
}

func config(dir, name string, client, peer url.URL) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = name, dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = name + "=" + peer.String()
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.UnsafeNoFsync = true
	return cfg
}

// server is an etcd in this process; Close may be called again.
type server struct {
	*embed.Etcd
	once sync.Once
}

func (s *server) Close() { s.once.Do(s.Etcd.Close) }

func start(t testing.TB, cfg *embed.Config) *server {
	t.Helper()
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Etcd: e}
	t.Cleanup(s.Close)
	return s
}

func ready(t testing.TB, e *server) {
	t.Helper()
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		t.Fatal(err)
	case <-time.After(30 * time.Second):
		t.Fatal("etcd is not ready")
	}
}

func client(t testing.TB, u string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{u}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// origin is a cluster of one that was written to and stopped.
type origin struct {
	dir      string            // its data directory
	snapshot string            // saved from it while it ran
	kv       map[string]string // all live keys
	revision int64
}

// makeSource writes n keys, overwrites, deletes and leases, and saves a
// snapshot. With compact it deletes the last key and compacts there, so that the
// last revision is in no record.
func makeSource(t testing.TB, n int, compact bool) origin {
	t.Helper()
	s := origin{dir: filepath.Join(t.TempDir(), "src"), kv: map[string]string{}}
	u := freeURL(t)
	e := start(t, config(s.dir, "src", u, freeURL(t)))
	ready(t, e)
	c := client(t, u.String())
	fill(t, c, &s, n)
	if compact {
		must(c.Put(context.Background(), "last", "x"))(t)
		d := must(c.Delete(context.Background(), "last"))(t)
		must(c.Compact(context.Background(), d.Header.Revision, clientv3.WithCompactPhysical()))(t)
	}
	s.revision = must(c.Get(context.Background(), "any"))(t).Header.Revision
	s.snapshot = filepath.Join(t.TempDir(), "snap.db")
	r := must(c.Snapshot(context.Background()))(t)
	defer r.Close()
	f := must(os.Create(s.snapshot))(t)
	must(f.ReadFrom(r))(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e.Close()
	return s
}

func fill(t testing.TB, c *clientv3.Client, s *origin, n int) {
	t.Helper()
	ctx := context.Background()
	lease := must(c.Grant(ctx, 3600))(t)
	for i := range n {
		k, v := fmt.Sprintf("/k/%04d", i), fmt.Sprintf("value %d %s", i, strings.Repeat("x", i%50))
		var opts []clientv3.OpOption
		if i%10 == 0 {
			opts = append(opts, clientv3.WithLease(lease.ID))
		}
		must(c.Put(ctx, k, v, opts...))(t)
		s.kv[k] = v
		if i%5 == 0 {
			must(c.Put(ctx, k, v+" again"))(t)
			s.kv[k] = v + " again"
		}
		if i%7 == 3 {
			must(c.Delete(ctx, k))(t)
			delete(s.kv, k)
		}
		if i%21 == 3 { // and back again
			must(c.Put(ctx, k, "back"))(t)
			s.kv[k] = "back"
		}
	}
	must(c.Txn(ctx).Then(clientv3.OpPut("/t/a", "1"), clientv3.OpPut("/t/b", "2"), clientv3.OpPut("/t/c", "3")).Commit())(t)
	s.kv["/t/a"], s.kv["/t/b"], s.kv["/t/c"] = "1", "2", "3"
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

func everyKey(t testing.TB, c *clientv3.Client, want map[string]string) {
	t.Helper()
	r := must(c.Get(context.Background(), "", clientv3.WithPrefix()))(t)
	if len(r.Kvs) != len(want) {
		t.Errorf("%d keys, want %d", len(r.Kvs), len(want))
	}
	for _, kv := range r.Kvs {
		if want[string(kv.Key)] != string(kv.Value) {
			t.Errorf("key %s: %q, want %q", kv.Key, kv.Value, want[string(kv.Key)])
		}
	}
}

// tree is everything that is to stay as it is under root.
func tree(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s %d %d", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
