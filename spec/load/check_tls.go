package load

import "github.com/requorum/requorum/spec"

// checkSchemes holds that the members agree on TLS, for peers and for clients.
func (l *loader) checkSchemes(members []member) {
	var peers, clients []endpoint
	for _, m := range members {
		peers, clients = append(peers, m.peers...), append(clients, m.clients...)
	}
	l.checkMixed("peer", peers)
	l.checkMixed("client", clients)
	for _, m := range members {
		t := m.TLS
		if t == nil {
			t = &spec.TLS{}
		}
		if l.checkCertificate("peer", append(append([]endpoint{}, m.peers...), m.listenPeers...), t.Peer) ||
			l.checkCertificate("client", append(append([]endpoint{}, m.clients...), m.listenClients...), t.Client) {
			return
		}
	}
}

func (l *loader) checkMixed(kind string, list []endpoint) {
	for _, e := range list {
		if e.scheme != list[0].scheme {
			l.errorAt(e.at, "Mixed schemes", "%s is %s, but the %s URL at %s is %s. All %s URLs of a cluster need one scheme.", e.url, e.scheme, kind, list[0].at.rng, list[0].scheme, kind)
			return
		}
	}
}

func (l *loader) checkCertificate(kind string, list []endpoint, pair *spec.KeyPair) (wrong bool) {
	if pair != nil {
		return false
	}
	for _, e := range list {
		if e.scheme == "https" {
			l.errorAt(e.at, "No certificate", "%s is https, but the file names no certificate to serve it. Add tls { %s { ca = … cert = … key = … } } to the cluster, with paths on the hosts and each on a line of its own.", e.url, kind)
			return true
		}
	}
	return false
}
