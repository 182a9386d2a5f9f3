package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/requorum/requorum/spec"
)

// Access is what requorum itself presents to etcd. The zero value is plain HTTP
// without a user.
type Access struct {
	// TLS is used for https URLs only; nil means the system's CAs and no client
	// certificate. It is cloned for each connection.
	TLS *tls.Config
	// Username and Password log in where etcd has authentication enabled. Without
	// a password no log-in is tried: a client certificate's common name may be
	// the user.
	Username string
	Password spec.Secret
	// Socket leads to the sockets of other machines; nil for none.
	Socket Socket
}

// NewAccess reads the file's tls.requorum and auth blocks for the client URLs.
// The certificates are read only where a client URL is https. An error names the
// block's attribute, its place in the file and the path.
func NewAccess(c *spec.Cluster) (Access, error) {
	var pair *spec.KeyPair
	if c.TLS != nil {
		pair = c.TLS.Requorum
	}
	a, err := newAccess(c, pair, func(m spec.Member) []string { return m.ClientURLs })
	if err == nil && c.Auth != nil {
		a.Username, a.Password = c.Auth.Username, c.Auth.Password
	}
	return a, err
}

// NewPeerAccess is NewAccess for the peer URLs: tls.requorum.peer, or else tls.requorum,
// where one of them is https, and never a user, since /members asks for none.
func NewPeerAccess(c *spec.Cluster) (Access, error) {
	return newAccess(c, c.TLS.AtPeers(), func(m spec.Member) []string { return m.PeerURLs })
}

func newAccess(c *spec.Cluster, pair *spec.KeyPair, urls func(spec.Member) []string) (Access, error) {
	secure := false
	for _, m := range c.Members {
		for _, u := range urls(m) {
			secure = secure || strings.HasPrefix(u, "https://")
		}
	}
	if !secure {
		return Access{}, nil
	}
	cfg, err := loadTLS(pair)
	return Access{TLS: cfg}, err
}

// loadTLS reads a key pair's files; nil gives the system's CAs.
func loadTLS(pair *spec.KeyPair) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if pair == nil {
		return cfg, nil
	}
	if pair.CA != "" {
		pool, err := loadCA(pair)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if pair.Cert == "" && pair.Key == "" {
		return cfg, nil
	}
	cert, err := loadCert(pair)
	if err != nil {
		return nil, err
	}
	cfg.Certificates = []tls.Certificate{cert}
	return cfg, nil
}

func loadCA(pair *spec.KeyPair) (*x509.CertPool, error) {
	pem, err := os.ReadFile(pair.CA)
	if err != nil {
		return nil, fileError(pair, "ca", pair.CA, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fileError(pair, "ca", pair.CA, errors.New("no PEM certificate in it"))
	}
	return pool, nil
}

func loadCert(pair *spec.KeyPair) (tls.Certificate, error) {
	if pair.Cert == "" {
		return tls.Certificate{}, fileError(pair, "cert", "", errors.New("a key without its certificate"))
	}
	if pair.Key == "" {
		return tls.Certificate{}, fileError(pair, "key", "", errors.New("a certificate without its key"))
	}
	cert, err := os.ReadFile(pair.Cert)
	if err != nil {
		return tls.Certificate{}, fileError(pair, "cert", pair.Cert, err)
	}
	key, err := os.ReadFile(pair.Key)
	if err != nil {
		return tls.Certificate{}, fileError(pair, "key", pair.Key, err)
	}
	kp, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fileError(pair, "cert and key", pair.Cert+", "+pair.Key, err)
	}
	return kp, nil
}

// fileError is one line: place, attribute, path, reason.
func fileError(pair *spec.KeyPair, attr, path string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err // the path is named already
	}
	where := "tls.requorum " + attr
	if p := pair.Pos.String(); p != "" {
		where = p + ": " + where
	}
	if path == "" {
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s: %s: %w", where, path, err)
}

// tlsFor gives the configuration for one connection to host, with ALPN protocols
// where some are named.
func (a Access) tlsFor(host string, protos ...string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.TLS != nil {
		cfg = a.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	cfg.NextProtos = protos
	return cfg
}

// hasCertificate reports whether a client certificate can be shown.
func (a Access) hasCertificate() bool {
	return a.TLS != nil && (len(a.TLS.Certificates) > 0 || a.TLS.GetClientCertificate != nil)
}

// isTLS reports whether err was TLS's own, not the connection's.
func isTLS(err error) bool {
	if err == nil {
		return false
	}
	var (
		record tls.RecordHeaderError
		verify *tls.CertificateVerificationError
	)
	return errors.As(err, &record) || errors.As(err, &verify) || strings.Contains(err.Error(), "tls: ")
}

// How describeTLS begins where it is requorum's own certificate that does not do.
const (
	wantsCertificate   = "the server wants a client certificate"
	refusesCertificate = "the server refuses requorum's client certificate"
)

// describeTLS says in one line why a handshake failed. withCert is whether a
// client certificate was at hand.
func describeTLS(err error, withCert bool) string {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
	)
	text := oneLine(err)
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that is not trusted here: " + text
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is expired or not yet valid: " + text
	case errors.As(err, &name):
		return "the server's certificate is for another name: " + text
	}
	alert, remote := strings.CutPrefix(text[max(0, strings.Index(text, "remote error: tls: ")):], "remote error: tls: ")
	switch {
	case !remote:
		return text
	case alert == "certificate required", !withCert && (alert == "bad certificate" || alert == "handshake failure"):
		return wantsCertificate + " (" + alert + ")"
	case strings.Contains(alert, "certificate"):
		return refusesCertificate + " (" + alert + ")"
	}
	return "the server ended the handshake: " + alert
}

// Shown is what a listener tells of itself in a handshake, whoever connects.
type Shown struct {
	// Chain are the certificates that it serves with, the leaf first.
	Chain []*x509.Certificate
	// Takes are the names (subjects, in DER) of the authorities whose certificates it takes
	// of clients: those that its process read when it started. None where it asks for no
	// certificate, or takes those of any authority that its system trusts.
	Takes [][]byte
}

// AskShown begins a handshake with the listener at a URL and ends it before anything of
// requorum's own is shown. What it is told there is for comparing, and trusted in nothing.
func AskShown(ctx context.Context, url string, limit time.Duration) (Shown, error) {
	ctx, cancel := withLimit(ctx, limit)
	defer cancel()
	t, err := parseTarget(url, Access{})
	if err != nil {
		return Shown{}, err
	}
	h, err := dialTCP(ctx, t)
	if err != nil {
		return Shown{}, err
	}
	defer h.Close()
	var out Shown
	enough := errors.New("that is all that was asked")
	err = tls.Client(h, &tls.Config{ //nolint:gosec
		MinVersion: tls.VersionTLS12, ServerName: t.host, InsecureSkipVerify: true,
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			out.Takes = r.AcceptableCAs
			return nil, enough
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			out.Chain = s.PeerCertificates
			return nil
		},
	}).HandshakeContext(ctx)
	if err != nil && !errors.Is(err, enough) || len(out.Chain) == 0 {
		return Shown{}, fmt.Errorf("%s: the handshake fails: %w", url, err)
	}
	return out, nil
}
