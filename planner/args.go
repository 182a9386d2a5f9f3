package planner

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// etcdArgs is the command line of a member. Everything that requorum owns is
// said there, so that no environment or default decides it. state is "new" only
// for the one start that bootstraps; afterwards an absent directory must fail
// to join instead of becoming an empty twin.
func etcdArgs(c *spec.Cluster, m spec.Member, token, state string) []string {
	args := []string{
		"--name=" + m.Name,
		"--data-dir=" + m.DataDir,
	}
	if m.WALDir != "" {
		args = append(args, "--wal-dir="+m.WALDir)
	}
	args = append(args,
		"--listen-peer-urls="+strings.Join(m.ListenPeerURLs, ","),
		"--listen-client-urls="+strings.Join(m.ListenClientURLs, ","),
		"--initial-advertise-peer-urls="+strings.Join(m.PeerURLs, ","),
		"--advertise-client-urls="+strings.Join(m.ClientURLs, ","),
		"--initial-cluster="+c.InitialCluster(),
		"--initial-cluster-token="+token,
		"--initial-cluster-state="+state,
	)
	args = append(args, tlsArgs(m.TLS)...)
	names := make([]string, 0, len(c.Etcd.Config))
	for name := range c.Etcd.Config {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		args = append(args, "--"+name+"="+c.Etcd.Config[name])
	}
	return args
}

// tlsArgs are the flags of what a member serves with. They go by the file's block, not
// by the scheme of its URLs: etcd needs them to dial others by https before it serves so
// itself. With a CA a listener wants a certificate of whoever connects.
func tlsArgs(t *spec.TLS) []string {
	if t == nil {
		return nil
	}
	var args []string
	for _, x := range []struct {
		prefix string
		pair   *spec.KeyPair
	}{{"--", t.Client}, {"--peer-", t.Peer}} {
		if x.pair == nil {
			continue
		}
		args = append(args, x.prefix+"cert-file="+x.pair.Cert, x.prefix+"key-file="+x.pair.Key)
		if x.pair.CA != "" {
			args = append(args, x.prefix+"trusted-ca-file="+x.pair.CA, x.prefix+"client-cert-auth=true")
		}
	}
	return args
}

// ownedTLS reports whether the file's tls block decides a flag of the member's.
func ownedTLS(t *spec.TLS, name string) bool {
	pair := (*spec.KeyPair)(nil)
	if rest, peer := strings.CutPrefix(name, "peer-"); t != nil && peer {
		name, pair = rest, t.Peer
	} else if t != nil {
		pair = t.Client
	}
	switch name {
	case "cert-file", "key-file", "trusted-ca-file", "client-cert-auth", "auto-tls":
		return pair != nil
	}
	return false
}
