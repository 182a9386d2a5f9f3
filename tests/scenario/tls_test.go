package scenario

import (
	"crypto/x509"
	"fmt"
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
