package bed

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/requorum/requorum/tests/harness"
)

// File says what a file about a Cluster has beside its hosts and members.
type File struct {
	// User is ssh's; ops where empty.
	User string
	// Process has requorum supervise the members itself; else they are Unit.
	Process bool
	// Host and Cluster are further lines of each host block and of the cluster block.
	Host, Cluster string
}

// Path is the file that Write writes.
func (c *Cluster) Path() string { return c.b.Path("home", "requorum.hcl") }

// Write writes the cluster down as a user would, with its hosts over ssh, and gives
// Path.
func (c *Cluster) Write(f File) string {
	c.b.t.Helper()
	if f.User == "" {
		f.User = "ops"
	}
	var out strings.Builder
	for _, m := range c.Members {
		fmt.Fprintf(&out, "host %q {\n  address = %q\n  ssh { user = %q }\n", m.Name, c.b.Host(m.Name).Address, f.User)
		if !f.Process {
			fmt.Fprintf(&out, "  service \"systemd\" { unit = %q }\n", Unit)
		}
		out.WriteString(f.Host + "}\n\n")
	}
	fmt.Fprintf(&out, "cluster \"bed\" {\n  etcd {\n    version = %q\n    binary  = %q\n  }\n%s", c.Minor, c.Binary(), f.Cluster)
	for _, m := range c.Members {
		fmt.Fprintf(&out, "  member %q {\n    host        = %q\n    peer_urls   = [%q]\n    client_urls = [%q]\n    listen_client_urls = [%q, \"http://127.0.0.1:2379\"]\n    data_dir    = %q\n  }\n",
			m.Name, m.Name, m.Peer, m.Client, m.Client, m.DataDir)
	}
	out.WriteString("}\n")
	c.b.must(os.WriteFile(c.Path(), []byte(out.String()), 0o600))
	return c.Path()
}

// Binary is the path of its etcd on the hosts.
func (c *Cluster) Binary() string {
	if c.Style == Packaged {
		return "/usr/bin/etcd"
	}
	return Opt(c.Minor) + "/etcd"
}

// Add has further hosts be members of the cluster from now on: in what Write writes,
// and in Endpoints. Nothing is done on the hosts.
func (c *Cluster) Add(names ...string) {
	c.b.t.Helper()
	for _, n := range names {
		c.Members = append(c.Members, c.member(c.b.Host(n)))
	}
}

// Remove has hosts be no members any more, as Add adds them.
func (c *Cluster) Remove(names ...string) {
	c.Members = slices.DeleteFunc(c.Members, func(m harness.Member) bool { return slices.Contains(names, m.Name) })
}

func (c *Cluster) member(h *Host) harness.Member {
	return harness.Member{
		Name: h.Name, DataDir: c.DataDir,
		Peer: "http://" + h.Address + ":2380", Client: "http://" + h.Address + ":2379",
	}
}
