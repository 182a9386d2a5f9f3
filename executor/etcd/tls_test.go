package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	ca   string // path
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	tmpl := &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(t, "ca", tmpl, time.Hour)
	a.ca = filepath.Join(a.dir, "ca.crt")
	return a
}

// sign writes name.crt and name.key; for is how long it is valid from now on.
func (a *authority) sign(t testing.TB, name string, tmpl *x509.Certificate, valid time.Duration) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(valid)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name+".crt", "CERTIFICATE", der)
	a.write(t, name+".key", "EC PRIVATE KEY", raw)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// leaf gives the paths of a certificate for host.
func (a *authority) leaf(t testing.TB, name, host string, valid time.Duration) *spec.KeyPair {
	t.Helper()
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	a.sign(t, name, tmpl, valid)
	return &spec.KeyPair{CA: a.ca, Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key")}
}

// access is what NewAccess makes of a file with pair as tls.requorum.
func access(t testing.TB, pair *spec.KeyPair) Access {
	t.Helper()
	a, err := NewAccess(&spec.Cluster{
		Members: []spec.Member{{ClientURLs: []string{"https://127.0.0.1:1"}}},
		TLS:     &spec.TLS{Requorum: pair},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) etcd(t testing.TB, pair *spec.KeyPair, clientAuth bool) *live {
	t.Helper()
	info := &transport.TLSInfo{CertFile: pair.Cert, KeyFile: pair.Key, ClientCertAuth: clientAuth}
	if clientAuth { // naming a CA alone makes etcd want a certificate
		info.TrustedCAFile = a.ca
	}
	return startOne(t, filepath.Base(t.Name()), info)
}

func TestProbeTLS(t *testing.T) {
	t.Parallel()
	const limit = 3 * time.Second
	ca, other := newAuthority(t), newAuthority(t)
	server := ca.leaf(t, "server", "127.0.0.1", time.Hour)
	mine := access(t, ca.leaf(t, "requorum", "localhost", time.Hour))
	noCert := access(t, &spec.KeyPair{CA: ca.ca})
	foreign := other.leaf(t, "foreign", "localhost", time.Hour)
	foreign.CA = ca.ca

	open := ca.etcd(t, server, false)
	mutual := ca.etcd(t, server, true)
	expired := tlsServer(t, ca.leaf(t, "expired", "127.0.0.1", -time.Hour), nil)
	named := tlsServer(t, ca.leaf(t, "named", "etcd.example.com", time.Hour), nil)
	old := tlsServer(t, server, func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.ClientAuth = tls.RequireAnyClientCert
	})
	web := tlsServer(t, server, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
	plainEtcd := startOne(t, "plain", nil)

	for _, tt := range []struct {
		name, url string
		a         Access
		reach     planner.Reach
		text      string
	}{
		{"right CA", open.client, mine, planner.ReachServing, ""},
		{"no certificate needed", open.client, noCert, planner.ReachServing, ""},
		{"mutual", mutual.client, mine, planner.ReachServing, ""},
		{"mutual, none shown", mutual.client, noCert, planner.ReachTLSFailed, "wants a client certificate"},
		{"mutual, foreign shown", mutual.client, access(t, foreign), planner.ReachTLSFailed, "refuses requorum's client certificate"},
		{"TLS 1.2, none shown", "https://" + old, noCert, planner.ReachTLSFailed, "wants a client certificate"},
		{"unknown CA", open.client, access(t, &spec.KeyPair{CA: other.ca}), planner.ReachTLSFailed, "authority that is not trusted"},
		{"system CAs", open.client, Access{}, planner.ReachTLSFailed, "authority that is not trusted"},
		{"expired", "https://" + expired, mine, planner.ReachTLSFailed, "expired"},
		{"other name", "https://" + named, mine, planner.ReachTLSFailed, "another name"},
		{"http asked of TLS", strings.Replace(open.client, "https", "http", 1), mine, planner.ReachTLSFailed, "the URL is http"},
		{"https asked of plain", strings.Replace(plainEtcd.client, "http", "https", 1), mine, planner.ReachTLSFailed, "the URL is https"},
		{"https asked of gRPC", "https://" + grpcServer(t), mine, planner.ReachTLSFailed, "the URL is https"},
		{"https asked of ssh", "https://" + listen(t, says("SSH-2.0-x\r\n")), mine, planner.ReachWrongService, "SSH-2.0"},
		{"a web server", "https://" + web, mine, planner.ReachWrongService, "not the protocol asked for"},
		{"silent", "https://" + listen(t, silent), mine, planner.ReachHangs, "handshake gets no answer"},
		{"slow", "https://" + listen(t, dribble("\x16\x03\x03\x00\x50")), mine, planner.ReachTLSFailed, "stopped after"},
		{"resets", "https://" + listen(t, resets), mine, planner.ReachWrongService, "without a word"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			within(t, limit, func() {
				e := Probe(context.Background(), []string{tt.url}, tt.a, limit)
				if e.Reach != tt.reach || !strings.Contains(e.Detail, tt.text) {
					t.Errorf("%s: %s", e.Reach, e.Detail)
				}
				if e.Reach != planner.ReachServing {
					checkDetail(t, e.Detail)
				}
				if e.Metrics.Known() != (e.Reach == planner.ReachServing) {
					t.Errorf("metrics: %+v", e.Metrics)
				}
			})
		})
	}
	t.Run("peer", func(t *testing.T) {
		t.Parallel()
		url := "https://" + tlsServer(t, server, func(c *tls.Config) {
			c.ClientAuth = tls.RequireAndVerifyClientCert
			c.ClientCAs = mine.TLS.RootCAs
		})
		for _, tt := range []struct {
			url   string
			a     Access
			reach planner.Reach
			text  string
		}{
			{url, mine, planner.ReachServing, ""},
			{url, noCert, planner.ReachTLSFailed, "wants a client certificate"},
			{url, Access{}, planner.ReachTLSFailed, "authority"},
			{strings.Replace(url, "https", "http", 1), mine, planner.ReachTLSFailed, "the URL is http"},
			{strings.Replace(plainEtcd.peer, "http", "https", 1), mine, planner.ReachTLSFailed, "the URL is https"},
			{"https://" + listen(t, silent), mine, planner.ReachHangs, ""},
		} {
			within(t, limit, func() {
				p := ProbePeer(context.Background(), []string{tt.url}, tt.a, limit)
				if p.Reach != tt.reach || !strings.Contains(p.Detail, tt.text) {
					t.Errorf("%s: %s: %s", tt.url, p.Reach, p.Detail)
				}
			})
		}
	})
}

// tlsServer answers like a peer port over TLS.
func tlsServer(t testing.TB, pair *spec.KeyPair, change func(*tls.Config)) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	if change != nil {
		change(cfg)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Etcd-Cluster-ID", "abc")
		_, _ = w.Write([]byte(`[{"id":255,"peerURLs":["https://127.0.0.1:1"],"name":"m1"}]`))
	}), ErrorLog: quietLog()}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func TestNewAccess(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good := ca.leaf(t, "a", "localhost", time.Hour)
	second := ca.leaf(t, "b", "localhost", time.Hour)
	text := filepath.Join(ca.dir, "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	pos := spec.Position{File: "c.hcl", Line: 7}
	missing := filepath.Join(ca.dir, "none")
	for _, tt := range []struct {
		pair spec.KeyPair
		want []string
	}{
		{spec.KeyPair{CA: missing}, []string{"c.hcl:7", "tls.requorum ca", missing, "no such file"}},
		{spec.KeyPair{CA: text}, []string{"tls.requorum ca", text, "no PEM certificate"}},
		{spec.KeyPair{CA: good.CA, Cert: good.Cert}, []string{"tls.requorum key", "without its key"}},
		{spec.KeyPair{CA: good.CA, Key: good.Key}, []string{"tls.requorum cert", "without its certificate"}},
		{spec.KeyPair{Cert: missing, Key: good.Key}, []string{"tls.requorum cert", missing}},
		{spec.KeyPair{Cert: good.Cert, Key: missing}, []string{"tls.requorum key", missing}},
		{spec.KeyPair{Cert: good.Cert, Key: second.Key}, []string{"cert and key", "does not match"}},
		{spec.KeyPair{Cert: text, Key: good.Key}, []string{"cert and key", text}},
	} {
		tt.pair.Pos = pos
		c := &spec.Cluster{
			Members: []spec.Member{{ClientURLs: []string{"https://h:1"}, PeerURLs: []string{"http://h:2"}}},
			TLS:     &spec.TLS{Requorum: &tt.pair},
			Auth:    &spec.Auth{Username: "u", Password: spec.NewSecret("p")},
		}
		_, err := NewAccess(c)
		for _, w := range tt.want {
			if err == nil || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v: want %q", err, w)
			}
		}
		// The peers are plain: nothing is read for them, and no user goes along.
		if a, err := NewPeerAccess(c); err != nil || a.TLS != nil || a.Username != "" {
			t.Errorf("peer: %v %v", a, err)
		}
		c.Members[0].ClientURLs[0] = "http://h:1"
		if a, err := NewAccess(c); err != nil || a.TLS != nil || a.Username != "u" || a.Password.Reveal() != "p" {
			t.Errorf("plain: %v %v", a, err)
		}
	}
	if a := access(t, nil); a.TLS == nil || a.TLS.RootCAs != nil {
		t.Error("https without tls.requorum: the system's CAs")
	}
}

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
