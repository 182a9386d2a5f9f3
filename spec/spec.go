// Package spec holds the desired state of one etcd cluster as plain values.
//
// It has types and no behaviour that touches the world: reading HCL is
// spec/load's work, comparing with a live cluster is the planner's. Every value
// that came from a file carries the Position it stands at, so that a plan can
// point at the line it follows.
package spec

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Position is a place in a configuration file. The zero value means "no file":
// a default, or a value computed by requorum.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String gives "file:line", or "" for the zero Position.
func (p Position) String() string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Secret is a string that never shows itself: String, Go syntax and JSON all
// give a placeholder. Reveal is the one way to the value.
type Secret struct{ value string }

// NewSecret wraps v.
func NewSecret(v string) Secret { return Secret{value: v} }

// Reveal returns the value itself.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.value == "" }

// String implements fmt.Stringer without the value.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return hidden
}

// GoString implements fmt.GoStringer without the value.
func (s Secret) GoString() string { return s.String() }

// MarshalJSON implements json.Marshaler without the value.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// Cluster is the whole file: one etcd cluster as it should be.
type Cluster struct {
	Name string `json:"name"`
	// ID is the cluster ID in hex as etcd prints it (unpadded), or "" where the
	// file does not pin one.
	ID       string    `json:"id,omitempty"`
	Etcd     Etcd      `json:"etcd,omitzero"`
	Members  []Member  `json:"members"`         // in file order
	Hosts    []Host    `json:"hosts,omitempty"` // in file order
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	Recover  *Recover  `json:"recover,omitempty"`
	TLS      *TLS      `json:"tls,omitempty"`
	Auth     *Auth     `json:"auth,omitempty"`
	Policy   Policy    `json:"policy,omitzero"`
	// Dir is the absolute folder that relative paths of the file start at.
	Dir string   `json:"dir,omitempty"`
	Pos Position `json:"pos,omitzero"`
}

// Member returns the member called name.
func (c *Cluster) Member(name string) (Member, bool) {
	for _, m := range c.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Host returns the host called name; "" is this machine with its default
// service.
func (c *Cluster) Host(name string) (Host, bool) {
	if name == "" {
		return Host{Access: AccessLocal, Service: Service{Kind: ServiceProcess}}, true
	}
	for _, h := range c.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}

// Voters counts the members that are not to stay learners.
func (c *Cluster) Voters() int {
	n := 0
	for _, m := range c.Members {
		if !m.Learner {
			n++
		}
	}
	return n
}

// InitialCluster gives --initial-cluster for all voters, in file order:
// name=url pairs, a member with several peer URLs once for each.
func (c *Cluster) InitialCluster() string {
	var pairs []string
	for _, m := range c.Members {
		if m.Learner {
			continue
		}
		for _, u := range m.PeerURLs {
			pairs = append(pairs, m.Name+"="+u)
		}
	}
	return strings.Join(pairs, ",")
}

// Etcd is the etcd block: which etcd runs, with which settings.
type Etcd struct {
	// Version is the version that must run, "3.6" or "3.6.16", or "" for
	// whatever the binary is.
	Version    string   `json:"version,omitempty"`
	VersionPos Position `json:"version_pos,omitzero"`
	// Binary is the path of etcd on the member's host, may contain "{minor}",
	// and is "" for the etcd inside requorum.
	Binary    string   `json:"binary,omitempty"`
	BinaryPos Position `json:"binary_pos,omitzero"`
	// Config is etcd's own settings by flag name without dashes; the values are
	// written as on a command line ("true", "8589934592", "5m").
	Config    map[string]string   `json:"config,omitempty"`
	ConfigPos map[string]Position `json:"config_pos,omitempty"`
	Pos       Position            `json:"pos,omitzero"`
}

// Member is one member of the cluster as it should be.
type Member struct {
	Name string `json:"name"`
	// Host is the name of a host block, or "" for this machine.
	Host             string   `json:"host,omitempty"`
	PeerURLs         []string `json:"peer_urls"`
	ClientURLs       []string `json:"client_urls"`
	ListenPeerURLs   []string `json:"listen_peer_urls,omitempty"`   // PeerURLs where the file has none
	ListenClientURLs []string `json:"listen_client_urls,omitempty"` // ClientURLs where the file has none
	DataDir          string   `json:"data_dir"`                     // absolute
	WALDir           string   `json:"wal_dir,omitempty"`            // absolute, or "" for the one inside DataDir
	Learner          bool     `json:"learner,omitempty"`
	// TLS is what the member serves with, on its host: the cluster's, with what the
	// member's own block says otherwise. nil where there is none of either; Requorum is
	// always nil.
	TLS *TLS     `json:"tls,omitempty"`
	Pos Position `json:"pos,omitzero"`
}

// Access is how requorum reaches a host.
type Access string

// The ways to reach a host.
const (
	AccessLocal  Access = "local"  // this machine
	AccessSSH    Access = "ssh"    // through the user's OpenSSH
	AccessManual Access = "manual" // not at all: a person runs what the plan prints
)

// Host is a machine that members live on.
type Host struct {
	Name    string   `json:"name"`
	Address string   `json:"address,omitempty"`
	Access  Access   `json:"access,omitempty"`
	SSH     *SSH     `json:"ssh,omitempty"`
	Service Service  `json:"service,omitzero"`
	Pos     Position `json:"pos,omitzero"`
}

// SSH is what requorum adds to the user's own ssh configuration; every field
// may be empty.
type SSH struct {
	User    string   `json:"user,omitempty"`
	Port    int      `json:"port,omitempty"`
	Command []string `json:"command,omitempty"` // instead of "ssh"
	Pos     Position `json:"pos,omitzero"`
}

// ServiceKind says who keeps a member running.
type ServiceKind string

// The kinds of service.
const (
	ServiceProcess ServiceKind = "process" // requorum's own supervisor
	ServiceSystemd ServiceKind = "systemd"
	ServiceCommand ServiceKind = "command" // the user's start, stop and status commands
)

// Service is who keeps the members of a host running.
type Service struct {
	Kind   ServiceKind `json:"kind,omitempty"`
	Unit   string      `json:"unit,omitempty"`  // systemd
	Start  []string    `json:"start,omitempty"` // command: argv
	Stop   []string    `json:"stop,omitempty"`
	Status []string    `json:"status,omitempty"`
	Pos    Position    `json:"pos,omitzero"`
}

// Snapshot is where lost data comes back from.
type Snapshot struct {
	// Source is an absolute path or a URL (http, https, s3, etcd, datadir).
	Source string `json:"source,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // expected, hex, or ""
	// SkipHashCheck allows a file without etcd's appended sha256.
	SkipHashCheck bool `json:"skip_hash_check,omitempty"`
	// RevisionBump is nil where the file does not say; the planner then bumps by
	// DefaultRevisionBump.
	RevisionBump  *int64 `json:"revision_bump,omitempty"`
	MarkCompacted bool   `json:"mark_compacted,omitempty"`
	Identity      string `json:"identity,omitempty"` // path of an age identity
	// Sensitive is true where Source came from a sensitive variable: it is then
	// shown nowhere.
	Sensitive bool     `json:"sensitive,omitempty"`
	Pos       Position `json:"pos,omitzero"`
	SourcePos Position `json:"source_pos,omitzero"`
}

// hidden stands for what is not shown.
const hidden = "(sensitive)"

// MarshalJSON implements json.Marshaler; of a sensitive source only its kind is told.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	type plain Snapshot
	if s.Sensitive && s.Source != "" {
		kind, _, url := strings.Cut(s.Source, "://")
		s.Source = hidden
		switch kind {
		case "http", "https", "s3", "etcd", "datadir":
			if url {
				s.Source = kind + "://" + hidden
			}
		}
	}
	return json.Marshal(plain(s))
}

// NameHidden reports whether the source names a member, or a directory, that is not
// known here, since it was read from where it is not shown.
func (s *Snapshot) NameHidden() bool {
	return s != nil && s.Sensitive && (s.Source == "etcd://"+hidden || s.Source == "datadir://"+hidden)
}

// DefaultRevisionBump covers a week under 1,500 writes a second.
const DefaultRevisionBump int64 = 1_000_000_000

// Recover asks for recovery from a named survivor.
type Recover struct {
	From    string   `json:"from,omitempty"`
	InPlace bool     `json:"in_place,omitempty"`
	Pos     Position `json:"pos,omitzero"`
}

// TLS is the certificates of the cluster.
type TLS struct {
	Client   *KeyPair `json:"client,omitempty"`   // on the hosts
	Peer     *KeyPair `json:"peer,omitempty"`     // on the hosts
	Requorum *KeyPair `json:"requorum,omitempty"` // on this machine
	// RequorumPeer is what requorum asks the peer URLs with, on this machine; nil where
	// Requorum is for them too.
	RequorumPeer *KeyPair `json:"requorum_peer,omitempty"`
	Pos          Position `json:"pos,omitzero"`
}

// AtPeers is what requorum asks the peer URLs with; nil for none.
func (t *TLS) AtPeers() *KeyPair {
	switch {
	case t == nil:
		return nil
	case t.RequorumPeer != nil:
		return t.RequorumPeer
	}
	return t.Requorum
}

// KeyPair is a CA, a certificate and its key, each a path.
type KeyPair struct {
	CA   string   `json:"ca,omitempty"`
	Cert string   `json:"cert,omitempty"`
	Key  string   `json:"key,omitempty"`
	Pos  Position `json:"pos,omitzero"`
}

// Auth is the user requorum acts as in a cluster with auth enabled.
type Auth struct {
	Username string   `json:"username,omitempty"`
	Password Secret   `json:"-"`
	Pos      Position `json:"pos,omitzero"`
}

// Policy narrows what a plan may do.
type Policy struct {
	// MinFaultTolerance is healthy voters less quorum; no step may go below it
	// while the cluster has quorum.
	MinFaultTolerance int `json:"min_fault_tolerance,omitempty"`
	// SnapshotBefore is "", "membership" or "always".
	SnapshotBefore string `json:"snapshot_before,omitempty"`
	// Prevent are consents that are never granted.
	Prevent []string `json:"prevent,omitempty"`
	// Strict refuses even the dip of one member stopped or removed at a time.
	Strict bool     `json:"strict,omitempty"`
	Pos    Position `json:"pos,omitzero"`
}
