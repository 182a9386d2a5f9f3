package planner

import (
	"fmt"
	"slices"
	"strings"
)

// What a certificate of a member is for. etcd shows both also as a client: a peer's to
// the other peers, a client listener's to itself, by its own gateway.
const (
	CertificateClient = "client"
	CertificatePeer   = "peer"
)

// Certificate is what the file names for one listener of a member: a certificate, its
// key and the CA, as they lie on its host, held to all that they have to do.
type Certificate struct {
	// Problem is a refusal's code, with Detail in words, where etcd would not start with
	// them, or nobody could reach it; "" for none.
	Problem Code   `json:"problem,omitempty"`
	Detail  string `json:"detail,omitempty"`
	// NoClient says why etcd can't show it where it is a client itself; "" where it can.
	NoClient string `json:"no_client,omitempty"`
	// Until is when the first certificate of the chain ends, RFC 3339; EndsSoon whether
	// that is in less than thirty days.
	Until    string `json:"until,omitempty"`
	EndsSoon bool   `json:"ends_soon,omitempty"`
	// OldCA says why the process that runs has another CA than lies there now; "" where
	// it has that one, or none runs.
	OldCA Fact[string] `json:"old_ca"`
}

// kindsOfTLS are what the member has certificates for by the file.
func (m *member) kindsOfTLS() []string {
	var out []string
	if t := m.spec.TLS; t != nil && t.Client != nil {
		out = append(out, CertificateClient)
	}
	if t := m.spec.TLS; t != nil && t.Peer != nil {
		out = append(out, CertificatePeer)
	}
	return out
}

// badCertificate is why the member should not be started, or left to its next handshake,
// with what lies at the file's paths; nil where nothing speaks against it. What could not
// be looked at does so only where unknown says so.
func (b *builder) badCertificate(m *member, unknown bool) *Refusal {
	for _, kind := range m.kindsOfTLS() {
		f, ok := m.seen.Certificates[kind]
		switch {
		case !ok || !f.Known():
			if unknown {
				return b.refuseCertificate(m, kind, CodeCertificateUnknown, "It could not be looked at: "+orWord(f.Why, "nothing was asked")+".")
			}
		case f.Value.Problem != "":
			return b.refuseCertificate(m, kind, f.Value.Problem, f.Value.Detail+".")
		case f.Value.NoClient != "" && b.shownAsClient(m, kind):
			return b.refuseCertificate(m, kind, CodeCertificateUsage, f.Value.NoClient+".")
		}
	}
	return nil
}

// shownAsClient reports whether etcd itself would connect with the certificate: where it
// has no other one for that, and a gateway that uses it.
func (b *builder) shownAsClient(m *member, kind string) bool {
	args := append(etcdArgs(b.cluster, m.spec, "", ""), b.carried(m)...)
	if kind == CertificatePeer {
		return argValue(args, "peer-client-cert-file") == ""
	}
	return argValue(args, "client-cert-file") == "" && argValue(args, "enable-grpc-gateway") != "false" && m.spec.TLS.Client.CA != ""
}

// certificateTitles say in one line what is wrong with a member's certificate.
var certificateTitles = map[Code]string{
	CodeCertificateMissing:    "%s's %s certificate is not there",
	CodeCertificateUnreadable: "%s can't read its %s certificate",
	CodeCertificateInvalid:    "%s's %s certificate can't be used",
	CodeCertificateKey:        "%s's %s certificate and key don't belong together",
	CodeCertificateExpired:    "%s's %s certificate is not valid now",
	CodeCertificateName:       "%s's %s certificate is for other addresses",
	CodeCertificateUntrusted:  "%s's %s certificate is signed by an authority that is not trusted",
	CodeCertificateUsage:      "%s's %s certificate may not be used for what etcd needs it for",
	CodeCertificateRequorum:   "%s would refuse requorum at its %s URLs",
	CodeCertificateUnknown:    "it is not known whether %s's %s certificate is good",
}

func (b *builder) refuseCertificate(m *member, kind string, code Code, detail string) *Refusal {
	pair := m.spec.TLS.Client
	if kind == CertificatePeer {
		pair = m.spec.TLS.Peer
	}
	where := ""
	if m.seen.Host != "" {
		where = " on " + m.seen.Host
	}
	var remedy []string
	switch code {
	case CodeCertificateMissing:
		remedy = []string{"Put it there" + where + ", or correct the path in the file.", "Where members have files of their own, write tls { " + kind + " { … } } into the member's block."}
	case CodeCertificateUnreadable:
		remedy = []string{"Let that user read it" + where + ": the file itself, and every folder above it."}
	case CodeCertificateInvalid, CodeCertificateKey:
		remedy = []string{"Put the right files there" + where + "; openssl x509 -noout -text -in " + pair.Cert + " shows what it is."}
	case CodeCertificateExpired:
		remedy = []string{"Put a new one in its place" + where + ", then plan again: etcd reads certificate and key anew at each handshake, the CA only when it starts."}
	case CodeCertificateName:
		remedy = []string{"Have one signed with all hosts of " + kind + "_urls among its subject alternative names.", "Or correct the URLs in the file."}
	case CodeCertificateUntrusted:
		remedy = []string{"Add the authority that signed it to the CA that is named above (several may stand in one file), or have it signed by that one."}
	case CodeCertificateUsage:
		remedy = []string{"Have one signed with both extended key usages, serverAuth and clientAuth."}
		if kind == CertificateClient {
			remedy = append(remedy, "Or do without etcd's JSON gateway, which alone needs the second: etcd { config = { enable-grpc-gateway = false } }.")
		}
	case CodeCertificateRequorum:
		block := "tls { requorum { ca cert key } }"
		if kind == CertificatePeer {
			block = "tls { requorum { peer { ca cert key } } }"
		}
		remedy = []string{"Name a certificate that they take, here on this machine: " + block + "."}
	default:
		remedy = []string{m.accessRemedy()}
	}
	return refusal(code, pair.Pos, fmt.Sprintf(certificateTitles[code], m.spec.Name, kind), detail, remedy...)
}

// checkCertificates refuses a plan that starts a member with certificates that are not
// known to be good, or that takes a member away from others whose next handshake fails.
// And it says of a cluster that is in sync what is not known of its certificates, and
// which end soon.
func (b *builder) checkCertificates(p *Plan) *Refusal {
	starts, disturbs := map[string]bool{}, p.Route == RouteInSync
	for _, s := range p.Steps {
		for _, x := range startsOf(s.Action) {
			starts[x.Name] = true
		}
		switch s.Action.(type) {
		case Stop, Remove, Add, Promote, MoveLeader, Update:
			disturbs = true
		}
	}
	for _, m := range b.members {
		var r *Refusal
		switch e := m.seen.Peer; {
		case e.Refused && m.spec.TLS != nil && m.spec.TLS.Peer != nil && len(p.Steps) > 0:
			r = b.refuseCertificate(m, CertificatePeer, CodeCertificateRequorum, e.URL+": "+e.Detail+". What the members list can't be held to the plan without it.")
		case starts[m.spec.Name]:
			r = b.badCertificate(m, true)
		case disturbs && m.cond == condServing:
			r = b.badCertificate(m, false)
		}
		if r != nil {
			return r
		}
	}
	b.noteCertificates()
	return nil
}

func (b *builder) noteCertificates() {
	for _, m := range b.members {
		if e := m.seen.Peer; e.Refused {
			b.note(CodeCertificateRequorum, m.spec.Pos, "%s was not asked at %s: %s", m.spec.Name, e.URL, e.Detail)
		}
		for _, kind := range m.kindsOfTLS() {
			f, ok := m.seen.Certificates[kind]
			switch c := f.Value; {
			case !ok || !f.Known():
				b.note(CodeCertificateUnknown, m.spec.Pos, "%s's %s certificate was not looked at: %s", m.spec.Name, kind, orWord(f.Why, "nothing was asked"))
			case c.EndsSoon:
				b.note(NoteCertificateEnds, m.spec.Pos, "%s's %s certificate, or one that it rests on, ends at %s", m.spec.Name, kind, c.Until)
			case m.cond == condServing && !c.OldCA.Known():
				b.note(CodeCertificateUnknown, m.spec.Pos, "it is not known whether %s runs with the %s CA that lies there now: %s", m.spec.Name, kind, c.OldCA.Why)
			}
		}
	}
}

// checkSchemes refuses to have members that run go from http to https, or back: each
// would lose the others, or its clients, as it is restarted.
func (b *builder) checkSchemes() *Refusal {
	for _, m := range b.members {
		if !m.processRuns() {
			if r := b.checkStoredScheme(m); r != nil {
				return r
			}
			continue
		}
		args := m.runsWith()
		for _, x := range []struct{ flag, kind, want string }{
			{"listen-peer-urls", "peer", first(m.spec.ListenPeerURLs)}, {"listen-client-urls", "client", first(m.spec.ListenClientURLs)},
		} {
			have := first(strings.Split(argValue(args, x.flag), ","))
			if is, want := scheme(have), scheme(x.want); is != want && strings.HasPrefix(is, "http") {
				return refusal(CodeFeatureUnsupported, m.spec.Pos, fmt.Sprintf("%s listens at %s for its %ss, and the file has %s", m.spec.Name, have, x.kind, want),
					fmt.Sprintf("Restarted one by one, members that speak %s and others that speak %s would not reach each other. This version does not change that while they run.", is, want),
					"Write the URLs that they have now into the file, with tls { … } beside them already: the certificates are then rolled out, one member at a time.",
					"With every member on its certificates, change the scheme by hand, one member at a time: etcdctl member update for a peer URL, and a restart with the new listen URLs; then plan again.")
			}
		}
	}
	return nil
}

// checkStoredScheme refuses to take stopped members, whose disks are enough for a quorum,
// for some that can't meet: the others only have their URLs with the other scheme.
func (b *builder) checkStoredScheme(m *member) *Refusal {
	e := b.entry(m)
	if e == nil || b.quorum.Has() || len(b.intact()) < majority(b.listedVoters()) {
		return nil
	}
	for _, have := range e.PeerURLs {
		for _, want := range m.spec.PeerURLs {
			_, x, _ := strings.Cut(have, "://")
			_, y, _ := strings.Cut(want, "://")
			if x == y && scheme(have) != scheme(want) {
				return refusal(CodeFeatureUnsupported, m.spec.Pos, fmt.Sprintf("%s is stopped, and known to the others as %s; the file has %s", m.spec.Name, have, want),
					fmt.Sprintf("Started so, the members would look for each other by %s and not find each other. Nothing of their data is lost.", scheme(have)),
					"Write the peer URLs that they have into the file, with tls { … } beside them already, and apply: they start as they were.")
			}
		}
	}
	return nil
}

func scheme(url string) string {
	before, _, _ := strings.Cut(url, "://")
	return before
}

// oldCAs says which CAs the member's process goes on with though others lie at their
// paths: etcd reads a CA only when it starts.
func (m *member) oldCAs() []string {
	var out []string
	for _, kind := range m.kindsOfTLS() {
		if f := m.seen.Certificates[kind]; f.Known() && f.Value.OldCA.Known() && f.Value.OldCA.Value != "" {
			out = append(out, fmt.Sprintf("%s goes on with the %s CA that it read when it started: %s", m.spec.Name, kind, f.Value.OldCA.Value))
		}
	}
	return out
}

// etcdctlFlags are what etcdctl needs beside the endpoints, "" for nothing.
func (b *builder) etcdctlFlags() string {
	if b.cluster.TLS == nil || b.cluster.TLS.Requorum == nil {
		return ""
	}
	pair := b.cluster.TLS.Requorum
	var out []string
	for _, f := range []struct{ name, path string }{{"cacert", pair.CA}, {"cert", pair.Cert}, {"key", pair.Key}} {
		if f.path != "" {
			out = append(out, "--"+f.name+"="+f.path)
		}
	}
	return strings.Join(out, " ")
}

// secured are commands as they have to be where clients use TLS. A socket is asked
// without.
func (b *builder) secured(commands []string) []string {
	flags := b.etcdctlFlags()
	if flags == "" {
		return commands
	}
	out := slices.Clone(commands)
	for i, c := range out {
		if strings.Contains(c, "https://") {
			out[i] = strings.ReplaceAll(c, "etcdctl ", "etcdctl "+flags+" ")
		}
	}
	return out
}
