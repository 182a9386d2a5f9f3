package hosttest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// selfSigned is a certificate and its key, as PEM.
func selfSigned(t *testing.T, name string) (cert, key []byte) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &own.PublicKey, own)
	must(t, err)
	raw, err := x509.MarshalECPrivateKey(own)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// keyFiles: what the files are is told, each in its own words, and a key stays where it is.
func keyFiles(t *testing.T, newHost func(*testing.T) host.Host) {
	h, dir := newHost(t), t.TempDir()
	place := newCluster(t, dir, 1).places[0]
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, text, 0o600))
		return path
	}
	cert, key := selfSigned(t, "one")
	_, other := selfSigned(t, "two")
	good := host.KeyAsk{Place: place, Kind: planner.CertificatePeer, CA: file("ca", cert), Cert: file("cert", append(append([]byte{}, cert...), key...)), Key: file("key", key)}
	ask := func(edit func(*host.KeyAsk)) planner.Fact[host.Keys] {
		t.Helper()
		a := good
		edit(&a)
		out := h.Keys(ctx(t), []host.KeyAsk{a})
		if len(out) != 1 {
			t.Fatalf("%v", out)
		}
		return out[a.ID()]
	}
	k := ask(func(*host.KeyAsk) {})
	if !k.Known() || k.Value.Problem != "" || !bytes.Equal(k.Value.CA, cert) || !bytes.Equal(k.Value.Cert, cert) || !k.Value.OldCA.Known() || k.Value.OldCA.Value != "" {
		t.Errorf("good: %+v", k) // the key beside the certificate is left out
	}
	for want, edit := range map[planner.Code]func(*host.KeyAsk){
		planner.CodeCertificateMissing: func(a *host.KeyAsk) { a.Key = filepath.Join(dir, "none") },
		planner.CodeCertificateInvalid: func(a *host.KeyAsk) { a.CA = file("text", []byte("text\n")) },
		planner.CodeCertificateKey:     func(a *host.KeyAsk) { a.Key = file("other", other) },
	} {
		if k := ask(edit); !k.Known() || k.Value.Problem != want || k.Value.Detail == "" || bytes.Contains(k.Value.Cert, []byte("PRIVATE")) {
			t.Errorf("%s: %+v", want, k)
		}
	}
	if k := ask(func(a *host.KeyAsk) { a.Cert = dir }); k.Known() {
		t.Errorf("a folder: %+v", k)
	}

	// A process has the CA that lay there when it started.
	link := filepath.Join(dir, "link")
	must(t, os.Symlink("ca", link))
	child := exec.Command("sleep", "60")
	must(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	old := func() string {
		t.Helper()
		k := ask(func(a *host.KeyAsk) { a.CA, a.PID = link, child.Process.Pid })
		if !k.Value.OldCA.Known() {
			t.Fatalf("%+v", k)
		}
		return k.Value.OldCA.Value
	}
	if why := old(); why != "" {
		t.Errorf("nothing has changed: %s", why)
	}
	time.Sleep(100 * time.Millisecond)
	// Another file is put there, that is older than the process: by its link alone.
	must(t, os.Symlink("cert", link+".new"))
	must(t, os.Rename(link+".new", link))
	if old() == "" {
		t.Error("the link leads elsewhere, and it is not told")
	}
}
