// Package bench measures requorum beside what one would do by hand, both in one
// run on one machine, and reports the ratio. Run it with make bench; the size of
// the snapshot is REQUORUM_BENCH_MB, 128 by default.
package bench

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdutl "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

const token = "bench"

// BenchmarkRestoreThree restores a snapshot for three members: by requorum, with
// its proof of every page and record before and after, and by etcdutl three
// times, which proves the hash.
func BenchmarkRestoreThree(b *testing.B) {
	db := makeSnapshot(b)
	proof := snapshot.Verify(context.Background(), db, snapshot.Want{}, nil)
	if proof.Problem != "" {
		b.Fatal(proof.Detail)
	}
	compare(b, "etcdutl", func(dir string) error { return byEtcdutl(dir, db) },
		func(dir string) error { return byRequorum(dir, db, proof.SHA256) })
}

// BenchmarkVerify proves a snapshot: every page and record and the hash by
// requorum; etcdutl snapshot status, which reads the pages and records.
func BenchmarkVerify(b *testing.B) {
	db := makeSnapshot(b)
	compare(b, "etcdutl", func(string) error {
		_, err := etcdutl.NewV3(zap.NewNop()).Status(db)
		return err
	}, func(string) error {
		if s := snapshot.Verify(context.Background(), db, snapshot.Want{}, nil); s.Problem != "" {
			return fmt.Errorf("%s", s.Detail)
		}
		return nil
	})
}

// compare runs the other way and ours in turn, in folders of their own on one
// file system, and reports the medians in seconds and their ratio.
func compare(b *testing.B, other string, theirs, ours func(dir string) error) {
	var a, c []time.Duration
	for b.Loop() {
		a = append(a, timed(b, theirs))
		c = append(c, timed(b, ours))
	}
	b.ReportMetric(median(a).Seconds(), other+"-s")
	b.ReportMetric(median(c).Seconds(), "requorum-s")
	b.ReportMetric(median(c).Seconds()/median(a).Seconds(), "ratio")
	b.ReportMetric(0, "ns/op") // both together mean nothing
}

func timed(b *testing.B, do func(dir string) error) time.Duration {
	dir, err := os.MkdirTemp(b.TempDir(), "run-")
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := do(dir); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	if err := os.RemoveAll(dir); err != nil { // this run's own output
		b.Fatal(err)
	}
	return took
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func members() []spec.Member {
	var out []spec.Member
	for i := range 3 {
		out = append(out, spec.Member{Name: fmt.Sprintf("m%d", i+1), PeerURLs: []string{fmt.Sprintf("http://127.0.0.1:%d", 1001+i)}})
	}
	return out
}

func byEtcdutl(dir, db string) error {
	c := spec.Cluster{Members: members()}
	for _, m := range c.Members {
		err := etcdutl.NewV3(zap.NewNop()).Restore(etcdutl.RestoreConfig{
			SnapshotPath: db, Name: m.Name, OutputDataDir: filepath.Join(dir, m.Name), PeerURLs: m.PeerURLs,
			InitialCluster: c.InitialCluster(), InitialClusterToken: token,
			RevisionBump: uint64(spec.DefaultRevisionBump), MarkCompacted: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func byRequorum(dir, db, sum string) error {
	c := spec.Cluster{Members: members()}
	r := snapshot.RestoreRequest{Snapshot: db, SHA256: sum, RevisionBump: spec.DefaultRevisionBump}
	for _, m := range c.Members {
		r.Members = append(r.Members, snapshot.RestoreMember{
			Name: m.Name, InitialCluster: c.InitialCluster(), Token: token, PeerURLs: m.PeerURLs,
			OutDataDir: filepath.Join(dir, m.Name),
			ClusterID:  planner.ClusterID(c.Members, token), MemberID: planner.MemberID(m.PeerURLs, token),
		})
	}
	return snapshot.Restore(context.Background(), r, nil)
}

// makeSnapshot fills a real etcd and saves a snapshot from it.
func makeSnapshot(b *testing.B) string {
	dir := b.TempDir()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.Logger = filepath.Join(dir, "etcd"), "fatal", "zap"
	cfg.QuotaBackendBytes = 8 << 30
	peer, client := freeURL(b), freeURL(b)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	<-e.Server.ReadyNotify()
	c := clientv3.Config{Endpoints: []string{client.String()}, Logger: zap.NewNop()}
	fill(b, c)
	path := filepath.Join(dir, "snapshot.db")
	if _, err := etcdutl.NewV3(zap.NewNop()).Save(context.Background(), c, path); err != nil {
		b.Fatal(err)
	}
	return path
}

func fill(b *testing.B, cfg clientv3.Config) {
	c, err := clientv3.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	value := make([]byte, 16<<10)
	rnd := rand.New(rand.NewSource(1))
	for i := range megabytes(b) << 20 / len(value) {
		rnd.Read(value)
		if _, err := c.Put(context.Background(), fmt.Sprintf("/bench/%08d", i), string(value)); err != nil {
			b.Fatal(err)
		}
	}
}

func megabytes(b *testing.B) int {
	s := os.Getenv("REQUORUM_BENCH_MB")
	if s == "" {
		return 128
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("REQUORUM_BENCH_MB=%q is no number of megabytes", s)
	}
	return n
}

// freeURL is an address on loopback that was free a moment ago.
func freeURL(b *testing.B) url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}
