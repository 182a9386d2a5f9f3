package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/requorum/requorum/tests/ports"
)

// freeAddr is a loopback address that is this test's until it ends.
func freeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", ports.Free(t))
}

// live is an etcd in this process.
type live struct {
	name, client, peer string // the URLs
	cfg                *embed.Config
	stop               sync.Once
	*embed.Etcd
}

// Close ends the etcd, once: embed's own panics the second time.
func (l *live) Close() { l.stop.Do(l.Etcd.Close) }

// liveConfig makes the configuration of a quiet, quick etcd.
func liveConfig(t testing.TB, name, token string, tlsInfo *transport.TLSInfo) *live {
	t.Helper()
	scheme := "http"
	if tlsInfo != nil {
		scheme = "https"
	}
	l := &live{name: name, client: scheme + "://" + freeAddr(t), peer: "http://" + freeAddr(t)}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = name, t.TempDir()
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cu, pu := mustURL(t, l.client), mustURL(t, l.peer)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{cu}, []url.URL{cu}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{pu}, []url.URL{pu}
	cfg.InitialCluster = name + "=" + l.peer
	cfg.InitialClusterToken = token
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = true
	if tlsInfo != nil {
		cfg.ClientTLSInfo = *tlsInfo
	}
	l.cfg = cfg
	return l
}

func mustURL(t testing.TB, raw string) url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return *u
}

// begin starts the etcd, again too, without waiting for it to serve.
func (l *live) begin(t testing.TB) {
	t.Helper()
	e, err := embed.StartEtcd(l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Etcd, l.stop = e, sync.Once{}
	t.Cleanup(l.Close)
}

func (l *live) wait(t testing.TB) {
	t.Helper()
	select {
	case <-l.Server.ReadyNotify():
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not become ready", l.name)
	}
}

func startOne(t testing.TB, name string, tlsInfo *transport.TLSInfo) *live {
	t.Helper()
	l := liveConfig(t, name, "token-"+name, tlsInfo)
	l.begin(t)
	l.wait(t)
	return l
}

// configThree is three members that know each other, none started.
func configThree(t testing.TB) []*live {
	t.Helper()
	var all []*live
	var pairs []string
	for i := range 3 {
		l := liveConfig(t, fmt.Sprintf("m%d", i+1), "three", nil)
		all, pairs = append(all, l), append(pairs, l.cfg.InitialCluster)
	}
	for _, l := range all {
		l.cfg.InitialCluster = strings.Join(pairs, ",")
	}
	return all
}

func startThree(t testing.TB) []*live {
	t.Helper()
	all := configThree(t)
	for _, l := range all {
		l.begin(t)
	}
	for _, l := range all {
		l.wait(t)
	}
	return all
}

func endpointsOf(all []*live) map[string]string {
	m := map[string]string{}
	for _, l := range all {
		m[l.name] = l.client
	}
	return m
}

// cli is a plain client of l.
func (l *live) cli(t testing.TB, cfg *tls.Config) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{l.client}, TLS: cfg, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t testing.TB, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(bounded(t), key, value); err != nil {
		t.Fatal(err)
	}
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}
