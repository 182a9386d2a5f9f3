package load

import "github.com/requorum/requorum/spec"

// checkSchemes holds that the members agree on TLS, for peers and for clients.
func (l *loader) checkSchemes(members []member, tls *spec.TLS) {
	var peers, clients, peerListeners, clientListeners []endpoint
	for _, m := range members {
		peers, clients = append(peers, m.peers...), append(clients, m.clients...)
		peerListeners = append(peerListeners, m.listenPeers...)
		clientListeners = append(clientListeners, m.listenClients...)
	}
	if tls == nil {
		tls = &spec.TLS{}
	}
	l.checkMixed("peer", peers)
	l.checkMixed("client", clients)
	l.checkCertificates("peer", append(peers, peerListeners...), tls.Peer)
	l.checkCertificates("client", append(clients, clientListeners...), tls.Client)
}

func (l *loader) checkMixed(kind string, list []endpoint) {
	for _, e := range list {
		if e.scheme != list[0].scheme {
			l.errorAt(e.at, "Mixed schemes", "%s is %s, but the %s URL at %s is %s. All %s URLs of a cluster need one scheme.", e.url, e.scheme, kind, list[0].at.rng, list[0].scheme, kind)
			return
		}
	}
}

func (l *loader) checkCertificates(kind string, list []endpoint, pair *spec.KeyPair) {
	if pair != nil {
		return
	}
	for _, e := range list {
		if e.scheme == "https" {
			l.errorAt(e.at, "No certificate", "%s is https, but the file names no certificate to serve it. Add tls { %s { ca = … cert = … key = … } } to the cluster, with paths on the hosts and each on a line of its own.", e.url, kind)
			return
		}
	}
}
