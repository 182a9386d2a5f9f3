package scenario

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// secured is bootstrapped with TLS for clients and peers.
func secured(t *testing.T, e *harness.Env, n int) (*harness.Cluster, harness.Keys, *harness.Authority) {
	t.Helper()
	a := harness.NewAuthority(t, "the CA")
	c := e.Cluster(n).Secure(a).Write()
	e.Apply(c.Path())
	return c, harness.Fill(t, c.Endpoints(), keysPerTest), a
}

// A cluster that has TLS from its first start on, for clients and for peers.
func TestTLSBootstrap(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(n).Secure(harness.NewAuthority(t, "the CA")).Write()
			if p := e.Plan(c.Path()); p.Route != "bootstrap" || p.Consents() != "" {
				t.Fatalf("route %s, consents %q: %s %+v", p.Route, p.Consents(), p.Headline, p.Refusal)
			}
			e.Apply(c.Path())
			e.InSync(c.Path())
			want := harness.Fill(t, c.Endpoints(), keysPerTest)
			harness.CompareAll(t, want, c.Endpoints())

			// It comes back as itself.
			c.Stop()
			e.Apply(c.Path())
			harness.CompareAll(t, want, c.Endpoints())
			e.InSync(c.Path())
		})
	}
}

// Growth, a replacement, changed settings and a removal, with TLS, under writers.
func TestTLSReconfigure(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want, a := secured(t, e, 3)
	all := c.Members
	w := harness.StartWriters(t, 2, c.Endpoints())
	w.Await(t, 50)

	// m3 leaves, and a new m3 comes onto an empty place.
	c.Members = all[:2]
	c.Write()
	e.Apply(c.Path())
	e.InSync(c.Path())
	c.Members = all
	c.Members[2].DataDir += "-anew"
	e.Expect(c.Members[2].DataDir)
	c.Certify(a, c.Members[2])
	c.Write()
	if p := e.Plan(c.Path()); p.Kinds() != "add-learner join promote verify" {
		t.Errorf("steps %s: %s %+v", p.Kinds(), p.Headline, p.Refusal)
	}
	e.Apply(c.Path())
	e.InSync(c.Path())

	// Its disk is lost.
	lost := c.Members[2]
	if err := harness.Kill9([]harness.Proc{c.Supervisor(lost), c.Etcd(lost)}); err != nil {
		t.Fatal(err)
	}
	c.DropData(lost)
	e.Apply(c.Path(), "--accept=data-loss")
	e.InSync(c.Path())

	// One setting changes: each is restarted in turn.
	c.More = "  etcd { config = { snapshot-count = 5000 } }\n"
	c.Write()
	e.Apply(c.Path())
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
}

// All data is lost but a snapshot; and the other way round.
func TestTLSRestoreAndRecover(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want, _ := secured(t, e, 3)
	saved := harness.Snapshot(t, c.Members[0].Client, filepath.Join(c.Dir, "saved.db"))
	c.PowerCut()
	c.DropData(c.Members[1:]...)
	p := e.Plan(c.Path())
	if p.Route != "recover" {
		t.Fatalf("route %s: %s %+v", p.Route, p.Headline, p.Refusal)
	}
	e.Apply(c.Path(), "--accept=data-loss")
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
	serves(t, c)

	c.PowerCut()
	c.DropData(c.Members...)
	c.Snapshot = filepath.Base(saved)
	c.Write()
	if p := e.Plan(c.Path()); p.Route != "restore" {
		t.Fatalf("route %s: %s %+v", p.Route, p.Headline, p.Refusal)
	}
	e.Apply(c.Path(), "--accept=data-loss")
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
	serves(t, c)
	noKeys(t, e, c)
}

// noKeys: a private key stays in its file, whatever is written beside it.
func noKeys(t *testing.T, e *harness.Env, c *harness.Cluster) {
	t.Helper()
	keys, _ := filepath.Glob(filepath.Join(c.TLSDir(), "*.key"))
	if len(keys) != 2*len(c.Members)+1 {
		t.Fatalf("keys: %v", keys)
	}
	var marks [][]byte
	for _, k := range keys {
		text, err := os.ReadFile(k)
		noErr(t, err)
		marks = append(marks, bytes.Split(text, []byte("\n"))[1])
	}
	noErr(t, filepath.WalkDir(e.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Dir(path) == c.TLSDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for i, m := range marks {
			if bytes.Contains(text, m) {
				t.Errorf("%s has %s", path, keys[i])
			}
		}
		return err
	}))
}

// Somebody else's cluster, by flags, in the environment and in a configuration file, is
// adopted as it runs.
func TestTLSAdopt(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Secure(harness.NewAuthority(t, "the CA"))
	var hands []*harness.Hand
	for i, m := range c.Members {
		h := e.Hand(m, c.Members)
		switch i {
		case 0:
			h.Set(c.TLSFlags(m)...)
		case 1:
			h.Environ(harness.AsEnvironment(c.TLSFlags(m))...)
		case 2:
			h.AsConfigFile(c.TLSFlags(m))
		}
		h.Start()
		hands = append(hands, h)
	}
	for _, h := range hands {
		h.Await()
	}
	want := harness.Fill(t, c.Endpoints(), keysPerTest)
	c.Write()
	p := e.Plan(c.Path())
	if p.Kinds() != "adopt" {
		t.Fatalf("steps %s: %s %+v", p.Kinds(), p.Headline, p.Refusal)
	}
	e.Apply(c.Path())
	for _, h := range hands {
		if !h.Runs() {
			t.Errorf("%s was restarted", h.Name)
		}
	}
	e.InSync(c.Path())
	// Started again after a crash they are the same.
	c.PowerCut()
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// What is wrong with a certificate is found before anything is done.
func TestTLSCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	a, other := harness.NewAuthority(t, "the CA"), harness.NewAuthority(t, "another")
	c := e.Cluster(3).Secure(a).Write()
	m := c.Members[1]
	leaf := harness.Leaf{Name: "m2", Hosts: []string{"127.0.0.1"}}
	at := func(kind, ext string) string { return filepath.Join(c.TLSDir(), m.Name+"-"+kind+ext) }
	for _, tc := range []struct {
		name, code string
		spoil      func(kind string)
	}{
		{"no certificate", "certificate-missing", func(k string) { remove(t, at(k, ".crt")) }},
		{"no key", "certificate-missing", func(k string) { remove(t, at(k, ".key")) }},
		{"no PEM", "certificate-invalid", func(k string) { write(t, at(k, ".crt"), []byte("none\n")) }},
		{"another key", "certificate-key", func(k string) {
			_, key := a.Issue(t, leaf)
			write(t, at(k, ".key"), key)
		}},
		{"expired", "certificate-expired", func(k string) {
			l := leaf
			l.From, l.Until = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
			a.IssueTo(t, c.TLSDir(), m.Name+"-"+k, l)
		}},
		{"not valid yet", "certificate-expired", func(k string) {
			l := leaf
			l.From = time.Now().Add(time.Hour)
			a.IssueTo(t, c.TLSDir(), m.Name+"-"+k, l)
		}},
		{"another host", "certificate-name", func(k string) {
			l := leaf
			l.Hosts = []string{"10.0.0.1", "m2.example.com"}
			a.IssueTo(t, c.TLSDir(), m.Name+"-"+k, l)
		}},
		{"another CA", "certificate-untrusted", func(k string) { other.IssueTo(t, c.TLSDir(), m.Name+"-"+k, leaf) }},
		{"for servers only", "certificate-usage", func(k string) {
			l := leaf
			l.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			a.IssueTo(t, c.TLSDir(), m.Name+"-"+k, l)
		}},
		{"for clients only", "certificate-usage", func(k string) {
			l := leaf
			l.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			a.IssueTo(t, c.TLSDir(), m.Name+"-"+k, l)
		}},
		{"requorum's own of another CA", "certificate-requorum", func(string) { other.IssueTo(t, c.TLSDir(), "requorum", harness.Leaf{Name: "requorum"}) }},
		{"requorum's own for servers only", "certificate-requorum", func(string) {
			a.IssueTo(t, c.TLSDir(), "requorum", harness.Leaf{Name: "requorum", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		}},
	} {
		for _, kind := range []string{"client", "peer"} {
			tc.spoil(kind)
			p := e.Plan(c.Path())
			if p.Code() != tc.code {
				t.Errorf("%s, %s: %q: %+v", tc.name, kind, p.Code(), p.Refusal)
			} else if !strings.Contains(p.Refusal.Detail, c.TLSDir()) && tc.code != "certificate-requorum" {
				t.Errorf("%s, %s: no path in %q", tc.name, kind, p.Refusal.Detail)
			}
			c.Secure(a)
		}
	}
	if p := e.Plan(c.Path()); p.Route != "bootstrap" {
		t.Errorf("with all certificates good: %+v", p.Refusal)
	}
}

// Certificates that are renewed at their paths need nothing: etcd shows them at the next
// handshake. A CA does: members go on with the one that they read.
func TestTLSRenewedInPlace(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want, a := secured(t, e, 3)
	pids := map[string]int{}
	for _, m := range c.Members {
		c.Certify(a, m)
		pids[m.Name] = c.Etcd(m).PID
		if got := harness.ShownBy(t, m.Client); !got.Equal(harness.ReadCertificate(t, filepath.Join(c.TLSDir(), m.Name+"-client.crt"))) {
			t.Errorf("%s still shows the certificate of before", m.Name)
		}
	}
	e.InSync(c.Path())

	// Another authority alone: who is restarted first would not be let in by the others.
	next := harness.NewAuthority(t, "the next CA")
	ca, old := filepath.Join(c.TLSDir(), "ca.crt"), a.PEM()
	put := func(text []byte) { harness.Replace(t, ca, text) }
	put(next.PEM())
	if p := e.Plan(c.Path()); p.Code() == "" {
		t.Errorf("another CA, and certificates of the old one: %s", p.Kinds())
	}
	for _, m := range c.Members {
		c.Certify(next, m)
	}
	next.IssueTo(t, c.TLSDir(), "requorum", harness.Leaf{Name: "requorum"})
	if p := e.Plan(c.Path()); p.Code() == "" {
		t.Errorf("all exchanged at once: %s", p.Kinds())
	}
	for _, m := range c.Members {
		c.Certify(a, m)
	}
	a.IssueTo(t, c.TLSDir(), "requorum", harness.Leaf{Name: "requorum"})

	// Both, then the new certificates, then the new one alone; each is one apply.
	w := harness.StartWriters(t, 2, c.Endpoints())
	w.Await(t, 20)
	put(append(append([]byte{}, old...), next.PEM()...))
	if p := e.Plan(c.Path()); p.Route != "reconfigure" || p.Consents() != "" {
		t.Fatalf("both CAs: %s %s %+v", p.Route, p.Kinds(), p.Refusal)
	}
	e.Apply(c.Path())
	e.InSync(c.Path())
	for _, m := range c.Members {
		if c.Etcd(m).PID == pids[m.Name] {
			t.Errorf("%s was not restarted", m.Name)
		}
		c.Certify(next, m)
	}
	next.IssueTo(t, c.TLSDir(), "requorum", harness.Leaf{Name: "requorum"})
	e.InSync(c.Path())
	put(next.PEM())
	e.Apply(c.Path())
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
	t.Logf("%d writes acknowledged, %d failed, longest gap %d ms", w.Acked(), len(w.Failed()), w.Gap().Milliseconds())
}

// A cluster that runs without TLS, and a file that has it at once: nobody would reach the
// others, or its clients. It is refused, by each scheme and both ways; with the
// certificates beside the URLs of before they are rolled out.
func TestTLSAtOnceIsRefused(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	plain := append([]harness.Member{}, c.Members...)
	c.Secure(harness.NewAuthority(t, "the CA"))
	secure := append([]harness.Member{}, c.Members...)
	for _, kind := range []string{"both", "peers", "clients"} {
		for i := range c.Members {
			c.Members[i] = secure[i]
			switch kind {
			case "peers":
				c.Members[i].Client = plain[i].Client
			case "clients":
				c.Members[i].Peer = plain[i].Peer
			}
		}
		c.Write()
		if p := e.Plan(c.Path()); p.Code() != "feature-unsupported" {
			t.Errorf("%s: %q %s %+v", kind, p.Code(), p.Kinds(), p.Refusal)
		}
	}
	copy(c.Members, plain)
	c.Write()
	if p := e.Plan(c.Path()); p.Route != "reconfigure" || p.Consents() != "" {
		t.Fatalf("the certificates alone: %s %+v", p.Headline, p.Refusal)
	}
	w := harness.StartWriters(t, 2, c.Endpoints())
	w.Await(t, 20)
	e.Apply(c.Path())
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
}

// Peers have a CA of their own, and requorum a certificate for each; without the second
// one it says so, and does not take the peers for quarrelling.
func TestTLSPeersOfAnotherCA(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	a, peers := harness.NewAuthority(t, "clients' CA"), harness.NewAuthority(t, "peers' CA")
	c := e.Cluster(3).Secure(a).SecurePeers(peers)
	own := c.RequorumPeer
	c.RequorumPeer = ""
	c.Write()
	if p := e.Plan(c.Path()); p.Code() != "certificate-untrusted" && p.Code() != "certificate-requorum" {
		t.Errorf("nothing for the peers: %q %+v", p.Code(), p.Refusal)
	}
	c.RequorumPeer = own
	c.Write()
	e.Apply(c.Path())
	e.InSync(c.Path())
	want := harness.Fill(t, c.Endpoints(), keysPerTest)

	// Its own for the peers is taken away while they run.
	c.RequorumPeer = "      peer { ca = \"tls/peers-ca.crt\" }\n"
	c.Write()
	p := e.Plan(c.Path())
	for _, s := range p.States {
		if s.State == "peer-tls-failure" {
			t.Errorf("the peers get on well: %+v", s)
		}
	}
	c.More = "  etcd { config = { snapshot-count = 5000 } }\n"
	c.Write()
	if p := e.Plan(c.Path()); p.Code() != "certificate-requorum" {
		t.Errorf("a change that could not be seen through: %q %+v", p.Code(), p.Refusal)
	}
	c.RequorumPeer, c.More = own, ""
	c.Write()
	e.InSync(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// The same with the etcds of before: bootstrapped, restarted, recovered from one disk.
func TestTLSOfOlderEtcds(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{"3.4", "3.5"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			r := harness.Etcd(t, minor)
			c := e.Cluster(3).Secure(harness.NewAuthority(t, "the CA"))
			etcd := fmt.Sprintf("    version = %q\n    binary  = %q\n", minor, r.Etcd)
			c.More = "  etcd {\n" + etcd + "  }\n"
			c.Write()
			e.Apply(c.Path())
			e.InSync(c.Path())
			want := harness.Fill(t, c.Endpoints(), keysPerTest)
			c.More = "  etcd {\n" + etcd + "    config  = { snapshot-count = 5000 }\n  }\n"
			c.Write()
			e.Apply(c.Path())
			e.InSync(c.Path())
			c.PowerCut()
			c.DropData(c.Members[1:]...)
			e.Apply(c.Path(), "--accept=data-loss")
			harness.CompareAll(t, want, c.Endpoints())
			e.InSync(c.Path())
		})
	}
}

// New paths: with certificates of the same CA each member is restarted for them; of
// another one alone they are refused, for who is restarted first would be alone.
func TestTLSNewPaths(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want, a := secured(t, e, 3)
	old := c.TLSDir()
	next := harness.NewAuthority(t, "the next CA")
	c.TLSName = "tls-next"
	c.Secure(next)
	harness.Replace(t, filepath.Join(c.TLSDir(), "requorum.crt"), read(t, filepath.Join(old, "requorum.crt")))
	harness.Replace(t, filepath.Join(c.TLSDir(), "requorum.key"), read(t, filepath.Join(old, "requorum.key")))
	c.Write()
	if p := e.Plan(c.Path()); p.Code() == "" {
		t.Errorf("another CA: %s", p.Kinds())
	}
	// requorum is let in by both, and trusts both.
	both := append(append([]byte{}, a.PEM()...), next.PEM()...)
	harness.Replace(t, filepath.Join(c.TLSDir(), "ca.crt"), both)
	if p := e.Plan(c.Path()); p.Code() != "certificate-untrusted" || !strings.Contains(p.Refusal.Detail, "first a CA file") {
		t.Errorf("both CAs, and certificates of the new one: %q %s %+v", p.Code(), p.Kinds(), p.Refusal)
	}
	for _, m := range c.Members {
		c.Certify(a, m)
	}
	w := harness.StartWriters(t, 2, c.Endpoints())
	w.Await(t, 20)
	e.Apply(c.Path())
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
}
