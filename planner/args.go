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
