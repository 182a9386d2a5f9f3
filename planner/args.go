package planner

import (
	"maps"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// args is etcdArgs for the etcd that the member is started with next: the settings that
// this one has.
func (b *builder) args(m *member, token, state string) []string {
	return b.argsOf(m, m.nextMinor(), token, state)
}

// argsOf is the same for etcd 3.n.
func (b *builder) argsOf(m *member, n int, token, state string) []string {
	if len(b.leftOut(n)) == 0 {
		return etcdArgs(b.cluster, m.spec, token, state)
	}
	c := *b.cluster
	c.Etcd.Config = maps.Clone(c.Etcd.Config)
	maps.DeleteFunc(c.Etcd.Config, func(name, _ string) bool { return !HasSetting(n, name) })
	return etcdArgs(&c, m.spec, token, state)
}

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
