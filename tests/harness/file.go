package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Member is a member of a Cluster as the file says it.
type Member struct {
	Name, Peer, Client string // the URLs
	DataDir, WALDir    string // absolute; no WALDir for the one inside
	Learner            bool   // as the file wants it
	Host               string // of a host block in Head; "" for this machine
}

// Base is the folder where requorum keeps what belongs to the member.
func (m Member) Base() string { return m.DataDir + ".requorum" }

// Cluster is a file that a test writes, and the cluster that it describes.
type Cluster struct {
	env     *Env
	Dir     string // of the file
	Name    string
	ID      string
	Members []Member
	// Snapshot is the source; none where empty. SnapshotMore are further lines of
	// its block, More further lines of the cluster block.
	Snapshot, SnapshotMore, More string
	// TLS is the folder of the members' certificates; "" without TLS. Secure sets it.
	TLS string
	// TLSName is that folder's name, "" for "tls".
	TLSName string
	// RequorumPeer is requorum's block for the peers; SecurePeers sets it.
	RequorumPeer string
	// Head stands before the cluster block.
	Head string
}

// Cluster describes n members, m1 and so on, on free ports, below DIR/cluster.
func (e *Env) Cluster(n int) *Cluster { return e.ClusterIn("cluster", n) }

// ClusterIn is Cluster below another folder of the test's.
func (e *Env) ClusterIn(folder string, n int) *Cluster {
	e.t.Helper()
	c := &Cluster{env: e, Dir: e.Path(folder), Name: "demo"}
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		e.t.Fatal(err)
	}
	ports := e.Ports(2 * n)
	for i := range n {
		name := fmt.Sprintf("m%d", i+1)
		m := Member{Name: name, Client: ports.URL(2 * i), Peer: ports.URL(2*i + 1), DataDir: filepath.Join(c.Dir, "data", name)}
		c.Members = append(c.Members, m)
		e.Expect(m.DataDir)
	}
	return c
}

// Expect says that a member may run on the data directory.
func (e *Env) Expect(dataDir string) { e.dataDirs[dataDir] = true }

// Path is the argument for requorum's verbs.
func (c *Cluster) Path() string { return filepath.Join(c.Dir, "requorum.hcl") }

// Endpoints are the members' client URLs.
func (c *Cluster) Endpoints() []string {
	var out []string
	for _, m := range c.Members {
		out = append(out, m.Client)
	}
	return out
}

// Write writes the file.
func (c *Cluster) Write() *Cluster {
	c.env.t.Helper()
	if err := os.WriteFile(c.Path(), []byte(c.text()), 0o600); err != nil {
		c.env.t.Fatal(err)
	}
	return c
}

func (c *Cluster) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%scluster %q {\n", c.Head, c.Name)
	if c.ID != "" {
		fmt.Fprintf(&b, "  id = %q\n", c.ID)
	}
	b.WriteString(c.More)
	if c.TLS != "" {
		b.WriteString(c.tlsText())
	}
	for _, m := range c.Members {
		fmt.Fprintf(&b, "  member %q {\n    peer_urls   = [%q]\n    client_urls = [%q]\n    data_dir    = %q\n", m.Name, m.Peer, m.Client, c.pathOf(m, m.DataDir))
		if m.Host != "" {
			fmt.Fprintf(&b, "    host        = %q\n", m.Host)
		}
		if m.WALDir != "" {
			fmt.Fprintf(&b, "    wal_dir     = %q\n", c.pathOf(m, m.WALDir))
		}
		if m.Learner {
			b.WriteString("    learner     = true\n")
		}
		if c.TLS != "" {
			b.WriteString(m.tlsText(c.pathOf(m, c.TLS)))
		}
		b.WriteString("  }\n")
	}
	if c.Snapshot != "" {
		fmt.Fprintf(&b, "  snapshot {\n    source = %q\n%s  }\n", c.Snapshot, c.SnapshotMore)
	}
	b.WriteString("}\n")
	return b.String()
}

// pathOf is a path of the member's as its file has it: on another host an absolute
// one.
func (c *Cluster) pathOf(m Member, path string) string {
	if m.Host != "" {
		return path
	}
	return c.rel(path)
}

// rel gives paths as people write them: relative where that is short.
func (c *Cluster) rel(path string) string {
	if r, err := filepath.Rel(c.Dir, path); err == nil && !strings.HasPrefix(r, "..") {
		return r
	}
	return path
}

// Processes are the supervisors of the cluster and its etcds, in this order.
func (c *Cluster) Processes() []Proc {
	mine := map[string]bool{}
	for _, m := range c.Members {
		mine[m.DataDir], mine[m.Base()] = true, true
	}
	var out []Proc
	for _, p := range Processes(c.env.Dir) {
		if mine[p.Supervises()] || mine[p.DataDir()] {
			out = append(out, p)
		}
	}
	return supervisorsFirst(out)
}

// Etcd is the running etcd of member m; its PID is 0 where none runs.
func (c *Cluster) Etcd(m Member) Proc {
	for _, p := range c.Processes() {
		if p.DataDir() == m.DataDir {
			return p
		}
	}
	return Proc{}
}

// Supervisor is the supervisor of member m; its PID is 0 where none runs.
func (c *Cluster) Supervisor(m Member) Proc {
	for _, p := range c.Processes() {
		if p.Supervises() == m.Base() {
			return p
		}
	}
	return Proc{}
}

// PowerCut kills everything of the cluster at once: first the supervisors, so
// that none starts anything again, then every etcd.
func (c *Cluster) PowerCut() {
	c.env.t.Helper()
	ps := c.Processes()
	if len(ps) == 0 {
		c.env.t.Fatal("nothing runs whose power could be cut")
	}
	if err := Kill9(ps); err != nil {
		c.env.t.Fatal(err)
	}
	if left := c.Processes(); len(left) > 0 {
		c.env.t.Fatalf("after the power cut: %v", left)
	}
}

// Stop stops the cluster with requorum stop.
func (c *Cluster) Stop() {
	c.env.t.Helper()
	c.env.Run("stop", "--auto-approve", c.Path()).Want(c.env.t, 0)
	if left := c.Processes(); len(left) > 0 {
		c.env.t.Fatalf("after requorum stop: %v", left)
	}
}

// DropData removes the members' data directories (a test's own), as a dead disk
// would; what requorum keeps beside them stays.
func (c *Cluster) DropData(ms ...Member) {
	c.env.t.Helper()
	for _, m := range ms {
		for _, d := range []string{m.DataDir, m.WALDir} {
			if d != "" && strings.HasPrefix(d, c.env.Dir+"/") {
				if err := os.RemoveAll(d); err != nil {
					c.env.t.Fatal(err)
				}
			}
		}
	}
}
