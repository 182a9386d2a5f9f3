package harness

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Authority is a test's own, which signs certificates.
type Authority struct {
	Name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// Leaf is a certificate to be. Its zero value is good for a day, for server and client,
// and for no address.
type Leaf struct {
	Name   string   // common name
	Hosts  []string // addresses and names
	From   time.Time
	Until  time.Time
	Usages []x509.ExtKeyUsage
}

// trusted is what the tests' own clients hold servers to, and show them: all authorities
// of the process.
var trusted struct {
	sync.Mutex
	pool  *x509.CertPool
	shown []tls.Certificate
}

// NewAuthority makes one that the tests' clients trust from then on.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number := serial(t) // clients choose by an authority's name
	a := &Authority{Name: name, key: key, cert: &x509.Certificate{
		Subject: pkix.Name{CommonName: name, SerialNumber: number.String()}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(400 * 24 * time.Hour), SerialNumber: number,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	cert, keyPEM := a.Issue(t, Leaf{Name: "tests"})
	pair, err := tls.X509KeyPair(cert, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	trusted.Lock()
	defer trusted.Unlock()
	if trusted.pool == nil {
		trusted.pool = x509.NewCertPool()
	}
	trusted.pool.AddCert(a.cert)
	trusted.shown = append(trusted.shown, pair)
	return a
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Issue signs one, and gives it and its key as PEM.
func (a *Authority) Issue(t testing.TB, l Leaf) (cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if l.From.IsZero() {
		l.From = time.Now().Add(-time.Hour)
	}
	if l.Until.IsZero() {
		l.Until = time.Now().Add(300 * 24 * time.Hour)
	}
	if l.Usages == nil {
		l.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: l.Name}, SerialNumber: serial(t), NotBefore: l.From, NotAfter: l.Until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: l.Usages,
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// IssueTo is Issue into DIR/NAME.crt and DIR/NAME.key, in the place of what is there.
func (a *Authority) IssueTo(t testing.TB, dir, name string, l Leaf) {
	t.Helper()
	cert, key := a.Issue(t, l)
	Replace(t, filepath.Join(dir, name+".key"), key)
	Replace(t, filepath.Join(dir, name+".crt"), cert)
}

// Replace puts a file in its place at once, as tools that renew certificates do.
func Replace(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// clientTLS is what the tests' own clients use, for every authority.
func clientTLS() *tls.Config {
	trusted.Lock()
	defer trusted.Unlock()
	shown := append([]tls.Certificate(nil), trusted.shown...)
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := len(shown) - 1; i >= 0; i-- {
			if r.SupportsCertificate(&shown[i]) == nil {
				return &shown[i], nil
			}
		}
		return nil, errors.New("no certificate of the tests' is taken there")
	}}
	if trusted.pool != nil {
		cfg.RootCAs = trusted.pool.Clone()
	}
	return cfg
}

// Secure gives the cluster's members certificates of their own, below DIR/tls (TLSName), and has
// them serve clients and peers by https; requorum gets one too.
func (c *Cluster) Secure(a *Authority) *Cluster {
	c.env.t.Helper()
	c.TLS = c.TLSDir()
	Replace(c.env.t, filepath.Join(c.TLS, "ca.crt"), a.PEM())
	for i, m := range c.Members {
		c.Members[i].Client = strings.Replace(m.Client, "http://", "https://", 1)
		c.Members[i].Peer = strings.Replace(m.Peer, "http://", "https://", 1)
		c.Certify(a, m)
	}
	a.IssueTo(c.env.t, c.TLS, "requorum", Leaf{Name: "requorum"})
	return c
}

// TLSDir is where Secure puts certificates.
func (c *Cluster) TLSDir() string { return filepath.Join(c.Dir, c.tlsName()) }

func (c *Cluster) tlsName() string { return cmp.Or(c.TLSName, "tls") }

// Certify gives a member new certificates, in the place of those it has.
func (c *Cluster) Certify(a *Authority, m Member) {
	for _, kind := range []string{"client", "peer"} {
		a.IssueTo(c.env.t, c.TLSDir(), m.Name+"-"+kind, Leaf{Name: m.Name, Hosts: []string{"127.0.0.1"}})
	}
}

// tlsText is the cluster's block.
func (c *Cluster) tlsText() string {
	at := c.TLSDir() // absolute: members may be on other hosts
	return "  tls {\n    client { ca = \"" + at + "/ca.crt\" }\n    peer { ca = \"" + at + "/" + c.peerCA() + "\" }\n" +
		"    requorum {\n      ca   = \"" + at + "/ca.crt\"\n      cert = \"" + at + "/requorum.crt\"\n      key  = \"" + at + "/requorum.key\"\n" + c.RequorumPeer + "    }\n  }\n"
}

// tlsText is the member's block.
func (m Member) tlsText(dir string) string {
	text := "    tls {\n"
	for _, kind := range []string{"client", "peer"} {
		text += "      " + kind + " {\n        cert = \"" + filepath.Join(dir, m.Name+"-"+kind+".crt") + "\"\n        key  = \"" + filepath.Join(dir, m.Name+"-"+kind+".key") + "\"\n      }\n"
	}
	return text + "    }\n"
}

// TLSFlags are what the member is started with by hand.
func (c *Cluster) TLSFlags(m Member) []string {
	at := func(name string) string { return filepath.Join(c.TLSDir(), name) }
	return []string{
		"--cert-file=" + at(m.Name+"-client.crt"), "--key-file=" + at(m.Name+"-client.key"), "--trusted-ca-file=" + at("ca.crt"), "--client-cert-auth",
		"--peer-cert-file=" + at(m.Name+"-peer.crt"), "--peer-key-file=" + at(m.Name+"-peer.key"), "--peer-trusted-ca-file=" + at("ca.crt"), "--peer-client-cert-auth",
	}
}

// AsEnvironment writes flags as etcd reads them from its environment.
func AsEnvironment(flags []string) []string {
	var out []string
	for _, f := range flags {
		name, value, given := strings.Cut(strings.TrimPrefix(f, "--"), "=")
		if !given {
			value = "true"
		}
		out = append(out, "ETCD_"+strings.ReplaceAll(strings.ToUpper(name), "-", "_")+"="+value)
	}
	return out
}

// AsConfigFile has all of its settings, and those of TLS in their sections, in a file of
// etcd's own form. The data directory on the command line means nothing to it then: the tests know
// the process by it.
func (h *Hand) AsConfigFile(tls []string) {
	var text strings.Builder
	line := func(indent, flag string) {
		name, value, given := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		if !given {
			value = "true"
		}
		text.WriteString(indent + name + ": " + value + "\n")
	}
	for _, f := range h.flags {
		line("", f)
	}
	for _, section := range []string{"client", "peer"} {
		text.WriteString(section + "-transport-security:\n")
		for _, f := range tls {
			if rest, peer := strings.CutPrefix(f, "--peer-"); peer == (section == "peer") {
				line("  ", "--"+strings.TrimPrefix(rest, "--"))
			}
		}
	}
	path := h.env.Path(h.Name + ".yaml")
	Replace(h.env.t, path, []byte(text.String()))
	h.flags = []string{"--config-file=" + path, "--data-dir=" + h.DataDir}
}

// SecurePeers gives the peers certificates of another authority, and requorum one for
// them.
func (c *Cluster) SecurePeers(a *Authority) *Cluster {
	c.env.t.Helper()
	Replace(c.env.t, filepath.Join(c.TLSDir(), "peers-ca.crt"), a.PEM())
	for _, m := range c.Members {
		a.IssueTo(c.env.t, c.TLSDir(), m.Name+"-peer", Leaf{Name: m.Name, Hosts: []string{"127.0.0.1"}})
	}
	a.IssueTo(c.env.t, c.TLSDir(), "requorum-peer", Leaf{Name: "requorum"})
	c.RequorumPeer = "      peer {\n        ca   = \"tls/peers-ca.crt\"\n        cert = \"tls/requorum-peer.crt\"\n        key  = \"tls/requorum-peer.key\"\n      }\n"
	return c
}

func (c *Cluster) peerCA() string {
	if exists(filepath.Join(c.TLSDir(), "peers-ca.crt")) {
		return "peers-ca.crt"
	}
	return "ca.crt"
}

// ShownBy is the certificate that the listener at a URL shows now.
func ShownBy(t testing.TB, url string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// ReadCertificate is the first one in a file.
func ReadCertificate(t testing.TB, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
