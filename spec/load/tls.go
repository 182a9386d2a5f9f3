package load

import "github.com/requorum/requorum/spec"

var (
	tlsSchema       = schema("client{ peer{ requorum{")
	memberTLSSchema = schema("client{ peer{")
	pairSchema      = schema("ca cert key")
	requorumSchema  = schema("ca cert key peer{")
)

// ownTLS is a member's own tls block: what it says otherwise than the cluster's.
type ownTLS struct {
	client, peer *spec.KeyPair // nil for none
}

// tls reads the cluster's block. Its paths are on every member's host.
func (l *loader) tls(b block, members []member) *spec.TLS {
	defer l.noteTLS(len(l.diags))
	t := &spec.TLS{Pos: position(b.rng)}
	here := elsewhere(members) == ""
	if cb := b.only("client"); cb != nil {
		t.Client = l.keyPair("tls.client", l.read(cb, pairSchema, b.ctx), here)
	}
	if pb := b.only("peer"); pb != nil {
		t.Peer = l.keyPair("tls.peer", l.read(pb, pairSchema, b.ctx), here)
	}
	if rb := b.only("requorum"); rb != nil {
		own := l.read(rb, requorumSchema, b.ctx)
		t.Requorum = l.shown("tls.requorum", own)
		if pb := own.only("peer"); pb != nil {
			t.RequorumPeer = l.shown("tls.requorum.peer", l.read(pb, pairSchema, b.ctx))
		}
	}
	return t
}

// shown is a pair that requorum itself has: the CA alone is one too.
func (l *loader) shown(name string, b block) *spec.KeyPair {
	if b.has("cert") != b.has("key") {
		l.errorAt(b.at(""), "Half a key pair", "%s needs cert and key together, or neither.", name)
	}
	return l.keyPair(name, b, true)
}

func (l *loader) keyPair(name string, b block, here bool) *spec.KeyPair {
	return &spec.KeyPair{
		CA:   l.path(name+".ca", b.text("ca"), here),
		Cert: l.path(name+".cert", b.text("cert"), here),
		Key:  l.path(name+".key", b.text("key"), here),
		Pos:  position(b.rng),
	}
}

// ownTLS reads a member's block; nil for none.
func (l *loader) ownTLS(in block, m member) *ownTLS {
	tb := in.only("tls")
	if tb == nil {
		return nil
	}
	defer l.noteTLS(len(l.diags))
	b := l.read(tb, memberTLSSchema, in.ctx)
	here := m.here() || m.where.Access == ""
	var own ownTLS
	if cb := b.only("client"); cb != nil {
		own.client = l.keyPair("tls.client", l.read(cb, pairSchema, b.ctx), here)
	}
	if pb := b.only("peer"); pb != nil {
		own.peer = l.keyPair("tls.peer", l.read(pb, pairSchema, b.ctx), here)
	}
	return &own
}

// memberTLS is what the member serves with; nil for nothing. A certificate is nothing
// without its key.
func (l *loader) memberTLS(cluster *spec.TLS, m member) *spec.TLS {
	var all spec.TLS
	if cluster != nil {
		all = *cluster
	}
	var own ownTLS
	if m.ownTLS != nil {
		own = *m.ownTLS
	}
	t := &spec.TLS{Client: over(all.Client, own.client), Peer: over(all.Peer, own.peer)}
	for _, x := range []struct {
		kind string
		pair *spec.KeyPair
	}{{"client", t.Client}, {"peer", t.Peer}} {
		if x.pair == nil || x.pair.Cert != "" && x.pair.Key != "" || l.tlsBroken {
			continue
		}
		l.errorAt(m.block, "Half a key pair", "%s has tls { %s } without %s. Write both, in the cluster's block or in the member's own.", m.Name, x.kind, missingOf(x.pair))
	}
	if t.Client == nil && t.Peer == nil {
		return nil
	}
	return t
}

// noteTLS remembers that a tls block has a mistake, so that what is missing by it is not
// told as another one; n is how many diagnostics there were before.
func (l *loader) noteTLS(n int) { l.tlsBroken = l.tlsBroken || len(l.diags) > n }

func missingOf(p *spec.KeyPair) string {
	switch {
	case p.Cert == "" && p.Key == "":
		return "cert and key"
	case p.Cert == "":
		return "cert"
	}
	return "key"
}

// over is pair with what own says otherwise.
func over(pair, own *spec.KeyPair) *spec.KeyPair {
	switch {
	case own == nil:
		return pair
	case pair == nil:
		return own
	}
	out := *pair
	out.Pos = own.Pos
	for _, x := range []struct{ have, want *string }{{&out.CA, &own.CA}, {&out.Cert, &own.Cert}, {&out.Key, &own.Key}} {
		if *x.want != "" {
			*x.have = *x.want
		}
	}
	return &out
}
