package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// withTLS gives every member of the file certificates for its peers, all of them good and
// in use but for what edit changes.
func withTLS(edit func(name string, o *planner.MemberObservation, c *planner.Fact[planner.Certificate])) func(*world) {
	return func(w *world) {
		w.in.Cluster.TLS = &spec.TLS{Peer: &spec.KeyPair{CA: "/pki/ca", Cert: "/pki/cert", Key: "/pki/key"}}
		for i := range w.in.Cluster.Members {
			m := &w.in.Cluster.Members[i]
			m.TLS = &spec.TLS{Peer: w.in.Cluster.TLS.Peer}
			flags := []string{"--peer-cert-file=/pki/cert", "--peer-key-file=/pki/key", "--peer-trusted-ca-file=/pki/ca", "--peer-client-cert-auth=true"}
			o := w.in.Observation.Members[m.Name]
			if s := &o.Service.Value; o.Service.Known() && len(s.Args) > 0 {
				s.Args = append(slices.Clone(s.Args), flags...)
			}
			if f := o.Service.Value.Foreign; f != nil && f.Settings != nil {
				other := *f
				other.Settings = maps.Clone(f.Settings)
				for _, flag := range flags {
					name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
					other.Settings[name] = value
				}
				o.Service.Value.Foreign = &other
			}
			c := planner.Known(planner.Certificate{OldCA: planner.Known("")})
			edit(m.Name, &o, &c)
			o.Certificates = map[string]planner.Fact[planner.Certificate]{planner.CertificatePeer: c}
			w.in.Observation.Members[m.Name] = o
		}
	}
}

// tlsCircumstances are those of certificates. Each code comes of the last member, so
// that the others are good.
func tlsCircumstances() []circumstance {
	good := func(string, *planner.MemberObservation, *planner.Fact[planner.Certificate]) {}
	last := func(f func(c *planner.Fact[planner.Certificate])) func(*world) {
		return func(w *world) {
			ms := w.in.Cluster.Members
			withTLS(func(name string, _ *planner.MemberObservation, c *planner.Fact[planner.Certificate]) {
				if name == ms[len(ms)-1].Name {
					f(c)
				}
			})(w)
		}
	}
	out := []circumstance{
		{name: "tls", only: 3, edit: withTLS(good)},
		{name: "tls, one certificate not looked at", only: 3, edit: last(func(c *planner.Fact[planner.Certificate]) {
			*c = planner.Unknown[planner.Certificate]("permission denied")
		})},
		{name: "tls, a CA that was exchanged", only: 3, edit: withTLS(func(_ string, o *planner.MemberObservation, c *planner.Fact[planner.Certificate]) {
			if processRuns(o) {
				c.Value.OldCA = planner.Known("it was exchanged")
			}
		})},
		{name: "tls, one for servers only", only: 2, edit: last(func(c *planner.Fact[planner.Certificate]) { c.Value.NoClient = "it may not be used by a client" })},
		{name: "tls, peers that refuse requorum", only: 2, edit: withTLS(func(_ string, o *planner.MemberObservation, _ *planner.Fact[planner.Certificate]) {
			if o.Peer.Reach == planner.ReachServing {
				o.Peer = planner.PeerEndpoint{URL: o.Peer.URL, Reach: planner.ReachTLSFailed, Refused: true, Members: planner.Unknown[[]planner.ListedMember]("TLS failed")}
			}
		})},
		{name: "tls, and members that listen with it", only: 2, edit: func(w *world) {
			withTLS(good)(w)
			for i := range w.in.Cluster.Members {
				m := &w.in.Cluster.Members[i]
				m.ListenPeerURLs = []string{strings.Replace(m.PeerURLs[0], "http:", "https:", 1)}
				m.PeerURLs = m.ListenPeerURLs
			}
		}},
	}
	for _, code := range []planner.Code{
		planner.CodeCertificateMissing, planner.CodeCertificateUnreadable, planner.CodeCertificateInvalid, planner.CodeCertificateKey,
		planner.CodeCertificateExpired, planner.CodeCertificateName, planner.CodeCertificateUntrusted, planner.CodeCertificateRequorum,
	} {
		only := 1
		if code == planner.CodeCertificateExpired {
			only = 3
		}
		out = append(out, circumstance{name: "tls: " + string(code), only: only, edit: last(func(c *planner.Fact[planner.Certificate]) {
			c.Value.Problem, c.Value.Detail = code, "it is not what it should be"
		})})
	}
	return out
}

// badCertificate says what speaks against starting a member with what lies there; "" for
// nothing.
func (v *visit) badCertificate(name string, before *planner.Observation) string {
	m, ok := v.in.Cluster.Member(name)
	if !ok || m.TLS == nil {
		return ""
	}
	f := before.Members[name].Certificates[planner.CertificatePeer]
	switch {
	case !f.Known():
		return "not known to be good"
	case f.Value.Problem != "":
		return string(f.Value.Problem)
	case f.Value.NoClient != "":
		return f.Value.NoClient
	}
	return ""
}

// Certificates are checked before the first step: no member is started with one that is
// not known to be good.
func (v *visit) certified(name string, before *planner.Observation) {
	if why := v.badCertificate(name, before); why != "" {
		v.sayf(certs, "starts %s, whose certificate is %s", name, why)
	}
}

// And none is taken away from others whose next handshake fails.
func (v *visit) leftAlone(stopped []string, before *planner.Observation) {
	if v.was == nil {
		return
	}
	for name, o := range before.Members {
		f := o.Certificates[planner.CertificatePeer]
		if !slices.Contains(stopped, name) && o.Client.Reach == planner.ReachServing && f.Known() && f.Value.Problem != "" {
			v.sayf(certs, "stops %s beside %s, whose certificate is %s", strings.Join(stopped, ", "), name, f.Value.Problem)
		}
	}
}

// Nothing is in sync that goes on with another CA than lies there, or would fail at the
// next handshake.
func (v *visit) certifiedInSync() {
	for name, o := range v.in.Observation.Members {
		f := o.Certificates[planner.CertificatePeer]
		if f.Known() && (f.Value.Problem != "" || f.Value.OldCA.Value != "") {
			v.sayf(certs, "in sync, and %s's certificate is not: %s%s", name, f.Value.Problem, f.Value.OldCA.Value)
		}
	}
}
