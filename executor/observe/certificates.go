package observe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// soon is how long before its end a certificate is spoken of.
const soon = 30 * 24 * time.Hour

// served is what lies at a host for one listener of a member, as it is looked into here.
type served struct {
	member spec.Member
	kind   string
	pair   *spec.KeyPair
	urls   []string
	chain  []*x509.Certificate // the leaf first
	ca     *x509.CertPool      // nil where the file names none
}

// addCertificates looks at the certificates that the file has for its members. All that
// they are held to later is held to them now: by etcd when it starts, by the peers, by
// clients, and by the members when requorum itself connects.
func (o *Observer) addCertificates(ctx context.Context, obs *planner.Observation) {
	var asks []host.KeyAsk
	sets := map[string]*served{}
	for _, m := range o.Cluster.Members {
		if m.TLS == nil {
			continue
		}
		for _, s := range []*served{
			{member: m, kind: planner.CertificateClient, pair: m.TLS.Client, urls: m.ClientURLs},
			{member: m, kind: planner.CertificatePeer, pair: m.TLS.Peer, urls: m.PeerURLs},
		} {
			if s.pair == nil {
				continue
			}
			a := host.KeyAsk{Place: planner.PlaceOf(o.Cluster, m), Kind: s.kind, CA: s.pair.CA, Cert: s.pair.Cert, Key: s.pair.Key, PID: runningPID(obs.Members[m.Name])}
			asks, sets[a.ID()] = append(asks, a), s
		}
	}
	if len(asks) == 0 {
		return
	}
	keys := o.Host.Keys(ctx, asks)
	seen := map[string]planner.Fact[planner.Certificate]{}
	for _, a := range asks {
		k, s := keys[a.ID()], sets[a.ID()]
		if !k.Known() {
			seen[a.ID()] = planner.Unknown[planner.Certificate](k.Why)
			continue
		}
		c := planner.Certificate{Problem: k.Value.Problem, Detail: k.Value.Detail, OldCA: k.Value.OldCA}
		if c.Problem == "" {
			c.Problem, c.Detail = s.parse(k.Value)
		}
		if c.Problem == "" {
			o.judge(s, &c, time.Now())
		}
		seen[a.ID()] = planner.Known(c)
	}
	o.judgePeers(asks, sets, seen)
	o.judgeRunning(ctx, asks, sets, seen)
	for _, a := range asks {
		m := obs.Members[a.Name]
		if m.Certificates == nil {
			m.Certificates = map[string]planner.Fact[planner.Certificate]{}
		}
		m.Certificates[a.Kind] = seen[a.ID()]
		obs.Members[a.Name] = m
	}
}

// runningPID is the member's process; 0 for none.
func runningPID(m planner.MemberObservation) int {
	if s := m.Service; s.Known() && s.Value.State == planner.ServiceRunning && s.Value.PID > 0 {
		return s.Value.PID
	}
	if d := m.Data; d.Known() && d.Value.HeldBy > 0 {
		return d.Value.HeldBy
	}
	return 0
}

func (s *served) parse(k host.Keys) (planner.Code, string) {
	read := func(path string, text []byte) ([]*x509.Certificate, string) {
		var out []*x509.Certificate
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Sprintf("%s has a certificate that can't be read: %v", path, err)
			}
			out = append(out, c)
		}
		return out, ""
	}
	var why string
	if s.chain, why = read(s.pair.Cert, k.Cert); why != "" {
		return planner.CodeCertificateInvalid, why
	}
	if s.pair.CA == "" {
		return "", ""
	}
	cas, why := read(s.pair.CA, k.CA)
	if why != "" {
		return planner.CodeCertificateInvalid, why
	}
	s.ca = x509.NewCertPool()
	for _, c := range cas {
		s.ca.AddCert(c)
	}
	return "", ""
}

// secure reports whether the listener is one of TLS.
func (s *served) secure() bool {
	return len(s.urls) > 0 && strings.HasPrefix(s.urls[0], "https://")
}

// judge holds a certificate to what it is for.
func (o *Observer) judge(s *served, c *planner.Certificate, now time.Time) {
	leaf := s.chain[0]
	c.Until, c.EndsSoon = leaf.NotAfter.UTC().Format(time.RFC3339), leaf.NotAfter.Before(now.Add(soon))
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		c.Problem, c.Detail = planner.CodeCertificateExpired, fmt.Sprintf("%s is valid from %s to %s, and it is %s", s.pair.Cert, stamp(leaf.NotBefore), stamp(leaf.NotAfter), stamp(now))
		return
	}
	for _, raw := range s.urls {
		u, err := url.Parse(raw)
		if err == nil {
			err = leaf.VerifyHostname(u.Hostname())
		}
		if err != nil {
			c.Problem, c.Detail = planner.CodeCertificateName, fmt.Sprintf("%s does not cover %s: it is for %s", s.pair.Cert, raw, names(leaf))
			return
		}
	}
	access := o.Client
	if s.kind == planner.CertificatePeer {
		access = o.Peer
	}
	if s.kind == planner.CertificatePeer && s.ca != nil {
		// What the peers ask of each other: both ends show the same certificate.
		if c.Problem, c.Detail = s.held(s.chain, s.pair.Cert, s.ca, s.pair.CA, x509.ExtKeyUsageServerAuth, now, c); c.Problem != "" {
			return
		}
	}
	if s.ca != nil {
		c.NoClient = s.asClient(now)
	}
	if !s.secure() {
		return
	}
	roots, ca := (*x509.CertPool)(nil), "the CAs of this machine's system"
	if access.TLS != nil && access.TLS.RootCAs != nil {
		roots, ca = access.TLS.RootCAs, "requorum's own CA "+o.ownCA(s.kind)
	}
	if c.Problem, c.Detail = s.held(s.chain, s.pair.Cert, roots, ca, x509.ExtKeyUsageServerAuth, now, c); c.Problem != "" {
		return
	}
	if s.ca != nil {
		c.Problem, c.Detail = s.takes(access, now)
	}
}

// ownCA is the path of the CA that requorum holds members to.
func (o *Observer) ownCA(kind string) string {
	t := o.Cluster.TLS
	switch pair := t.AtPeers(); {
	case kind == planner.CertificatePeer && pair != nil:
		return pair.CA
	case kind == planner.CertificateClient && t != nil && t.Requorum != nil:
		return t.Requorum.CA
	}
	return ""
}

// held says what is wrong with a chain for one usage, under the given CAs. It lowers
// Until to the end of the chain that does.
func (s *served) held(chain []*x509.Certificate, path string, roots *x509.CertPool, ca string, usage x509.ExtKeyUsage, now time.Time, c *planner.Certificate) (planner.Code, string) {
	chains, err := verify(chain, roots, usage, now)
	if err != nil {
		return why(err, path, ca, usage)
	}
	if c == nil {
		return "", ""
	}
	// Of several chains the one that lasts longest counts.
	var until time.Time
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, x := range chain {
			if x.NotAfter.Before(end) {
				end = x.NotAfter
			}
		}
		if end.After(until) {
			until = end
		}
	}
	if have, err := time.Parse(time.RFC3339, c.Until); err != nil || until.Before(have) {
		c.Until = stamp(until)
	}
	c.EndsSoon = c.EndsSoon || until.Before(now.Add(soon))
	return "", ""
}

func verify(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	return chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
}

// why sorts an error of verify.
func why(err error, path, ca string, usage x509.ExtKeyUsage) (planner.Code, string) {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return planner.CodeCertificateUsage, fmt.Sprintf("%s may not be used by a %s (its extended key usage)", path, map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "server", x509.ExtKeyUsageClientAuth: "client"}[usage])
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return planner.CodeCertificateExpired, fmt.Sprintf("what %s rests on in %s is not valid now: %v", path, ca, err)
	}
	return planner.CodeCertificateUntrusted, fmt.Sprintf("%s is not vouched for by %s: %v", path, ca, err)
}

// asClient says why etcd can't show the certificate as a client to its own listener, or
// to a peer's; "" where it can.
func (s *served) asClient(now time.Time) string {
	_, detail := s.held(s.chain, s.pair.Cert, s.ca, s.pair.CA, x509.ExtKeyUsageClientAuth, now, nil)
	if detail == "" {
		return ""
	}
	if s.kind == planner.CertificatePeer {
		return detail + "; each member shows it to its peers as a client too"
	}
	return detail + "; etcd's JSON gateway shows it to the member itself as a client"
}

// takes says why the member would refuse requorum.
func (s *served) takes(access etcd.Access, now time.Time) (planner.Code, string) {
	var own *tls.Certificate
	if access.TLS != nil && len(access.TLS.Certificates) > 0 {
		own = &access.TLS.Certificates[0]
	}
	if own == nil {
		return planner.CodeCertificateRequorum, fmt.Sprintf("%s wants a certificate of all who connect, by its CA %s, and requorum has none", s.member.Name, s.pair.CA)
	}
	var chain []*x509.Certificate
	for _, der := range own.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return planner.CodeCertificateRequorum, fmt.Sprintf("requorum's own certificate can't be read: %v", err)
		}
		chain = append(chain, c)
	}
	if code, detail := s.held(chain, "requorum's own certificate ("+chain[0].Subject.String()+")", s.ca, s.member.Name+"'s CA "+s.pair.CA, x509.ExtKeyUsageClientAuth, now, nil); code != "" {
		return planner.CodeCertificateRequorum, detail
	}
	return "", ""
}

// judgePeers holds the members to each other: every one has to take the others'
// certificates.
func (o *Observer) judgePeers(asks []host.KeyAsk, sets map[string]*served, seen map[string]planner.Fact[planner.Certificate]) {
	now := time.Now()
	var peers []*served
	for _, a := range asks {
		if s := sets[a.ID()]; a.Kind == planner.CertificatePeer && seen[a.ID()].Known() && len(s.chain) > 0 && s.ca != nil {
			peers = append(peers, s)
		}
	}
	note := func(s *served, code planner.Code, detail string) {
		id := (host.KeyAsk{Place: planner.Place{Name: s.member.Name}, Kind: s.kind}).ID()
		if f := seen[id]; f.Value.Problem == "" {
			f.Value.Problem, f.Value.Detail = code, detail
			seen[id] = f
		}
	}
	for _, s := range peers {
		for _, other := range peers {
			if s == other {
				continue
			}
			if code, detail := s.held(other.chain, fmt.Sprintf("%s of %s", other.pair.Cert, other.member.Name), s.ca, fmt.Sprintf("%s's CA %s", s.member.Name, s.pair.CA), x509.ExtKeyUsageServerAuth, now, nil); code == planner.CodeCertificateUntrusted {
				note(s, code, detail)
				note(other, code, detail)
			}
		}
	}
}

// judgeRunning holds what lies on the hosts to the members as they run. One that is
// restarted comes back with the certificate and the CA that lie there now; the others go on
// with the CA that they read when they started, and, where the file has other paths, with
// other certificates. It and they have to take each other all the same.
func (o *Observer) judgeRunning(ctx context.Context, asks []host.KeyAsk, sets map[string]*served, seen map[string]planner.Fact[planner.Certificate]) {
	for _, a := range asks {
		s := sets[a.ID()]
		if a.Kind != planner.CertificatePeer || a.PID == 0 || !s.secure() || s.pair.CA == "" {
			continue
		}
		runs, err := etcd.AskShown(ctx, s.urls[0], o.Limit)
		old := seen[a.ID()].Value.OldCA
		for _, b := range asks {
			f, other := seen[b.ID()], sets[b.ID()]
			if b.Kind != planner.CertificatePeer || b.Name == a.Name || !f.Known() || f.Value.Problem != "" || len(other.chain) == 0 {
				continue
			}
			switch {
			case err != nil && old.Known() && old.Value != "":
				f = planner.Unknown[planner.Certificate](fmt.Sprintf("%s goes on with an older CA, and which authorities it takes could not be asked: %v", a.Name, err))
			case err != nil:
			case len(runs.Takes) > 0 && !other.signedBy(runs.Takes):
				f.Value.Problem = planner.CodeCertificateUntrusted
				f.Value.Detail = fmt.Sprintf("%s of %s is signed by an authority that %s does not take as it runs now: %s would not be let in after a restart. %s", other.pair.Cert, b.Name, a.Name, b.Name, oneAfterTheOther)
			case other.ca != nil:
				if _, detail := s.held(runs.Chain, "the certificate that "+a.Name+" runs with", other.ca, b.Name+"'s CA "+other.pair.CA, x509.ExtKeyUsageServerAuth, time.Now(), nil); detail != "" {
					f.Value.Problem, f.Value.Detail = planner.CodeCertificateUntrusted, detail+". "+oneAfterTheOther
				}
			}
			seen[b.ID()] = f
		}
	}
}

const oneAfterTheOther = "Change one thing at a time, and apply after each: first a CA file with the old and the new authority in it, then the certificates, then the new authority alone"

// signedBy reports whether the chain leads to one of the authorities with these names.
func (s *served) signedBy(names [][]byte) bool {
	for _, c := range s.chain {
		for _, n := range names {
			if bytes.Equal(c.RawIssuer, n) {
				return true
			}
		}
	}
	return false
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// names are what a certificate is for, in words.
func names(c *x509.Certificate) string {
	out := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	if len(out) == 0 {
		return "no address at all (it has no subject alternative names)"
	}
	return strings.Join(out, ", ")
}
