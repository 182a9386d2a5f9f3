package planner

// Observation is what is known of the live cluster and its hosts, and what
// could not be learned. It is data: executor/observe makes it, the planner only
// reads it.
type Observation struct {
	// Members is what was seen of each member of the file, by its name.
	Members map[string]MemberObservation `json:"members"`
	// Snapshot is the source that the file names; nil where it names none or
	// where nothing asked for it.
	Snapshot *SnapshotObservation `json:"snapshot,omitempty"`
	// KV is the comparison of the members' key spaces; unknown where it was not
	// made, with the reason.
	KV Fact[KVComparison] `json:"kv"`
	// JournalClusterID is the last cluster ID that this machine's journal has
	// for these data directories, in hex; "" where it has none.
	JournalClusterID string `json:"journal_cluster_id,omitempty"`
}

// MemberObservation is what was seen of one member of the file.
type MemberObservation struct {
	Client  Endpoint      `json:"client"`
	Peer    PeerEndpoint  `json:"peer"`
	Data    Fact[DataDir] `json:"data"`
	Service Fact[Service] `json:"service"`
	// Binary is the etcd that would be started.
	Binary Fact[Binary] `json:"binary"`
	// Ports are listeners of the file's addresses that belong to somebody else
	// while this member does not run.
	PortsTaken []string `json:"ports_taken,omitempty"`
	// FreeBytes is the room on the data directory's file system.
	FreeBytes Fact[int64] `json:"free_bytes"`
	// FileSystem tells file systems apart; "" if unknown.
	FileSystem string `json:"file_system,omitempty"`
}

// Reach is the outcome of asking an address, as finely as it can be told.
type Reach string

// The ways an address answers, or does not.
const (
	ReachServing      Reach = "serving"       // an etcd answered
	ReachRefused      Reach = "refused"       // nothing listens: the host itself answers
	ReachNoRoute      Reach = "no route"      // the network says it can't get there
	ReachTimeout      Reach = "no answer"     // not even a TCP connection in time
	ReachTLSFailed    Reach = "TLS failed"    // TCP accepts, the handshake fails
	ReachHangs        Reach = "hangs"         // TCP accepts, no reply: an etcd restarted without quorum does this
	ReachWrongService Reach = "wrong service" // something else answers
	ReachAuth         Reach = "auth"          // an etcd that wants another user or password
	ReachBadName      Reach = "unknown host"  // the name does not resolve
	ReachUnasked      Reach = "not asked"
)

// Endpoint is the answer of a member's client URL. The fields after Detail are
// set only when Reach is ReachServing.
type Endpoint struct {
	URL    string `json:"url"`
	Reach  Reach  `json:"reach"`
	Detail string `json:"detail,omitempty"` // the error as it was

	ClusterID string `json:"cluster_id,omitempty"` // hex, unpadded
	MemberID  string `json:"member_id,omitempty"`
	LeaderID  string `json:"leader_id,omitempty"` // "" for none
	Version   string `json:"version,omitempty"`
	Learner   bool   `json:"learner,omitempty"`
	Revision  int64  `json:"revision,omitempty"`
	Applied   uint64 `json:"applied,omitempty"` // raft applied index
	Term      uint64 `json:"term,omitempty"`
	DBSize    int64  `json:"db_size,omitempty"` // bytes
	// Linearizable is whether a linearizable read was answered: the one proof of
	// quorum that a client can have.
	Linearizable Fact[bool] `json:"linearizable"`
	// Members is the member list as this member has it (serializable).
	Members Fact[[]ListedMember] `json:"members"`
	Alarms  []string             `json:"alarms,omitempty"`
}

// ListedMember is an entry of etcd's member list.
type ListedMember struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"` // "" for one that never started
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls,omitempty"`
	Learner    bool     `json:"learner,omitempty"`
}

// PeerEndpoint is the answer of a member's peer URL at /members, which works
// without quorum and without auth.
type PeerEndpoint struct {
	URL       string               `json:"url"`
	Reach     Reach                `json:"reach"`
	Detail    string               `json:"detail,omitempty"`
	ClusterID string               `json:"cluster_id,omitempty"`
	Members   Fact[[]ListedMember] `json:"members"`
}

// DirState says what lies at a data directory's path.
type DirState string

// The states of a data directory.
const (
	DirAbsent  DirState = "absent"  // the path does not exist
	DirEmpty   DirState = "empty"   // it exists without a member in it
	DirPresent DirState = "present" // it has a member/ folder
	DirNotDir  DirState = "no directory"
)

// DataDir is a data directory as read offline and read-only.
type DataDir struct {
	Path  string   `json:"path"`
	State DirState `json:"state"`

	// Problem says why the directory can't be started, in etcd's words where it
	// has some; "" for an intact one.
	Problem string `json:"problem,omitempty"`

	ClusterID       string `json:"cluster_id,omitempty"` // from the WAL's metadata
	MemberID        string `json:"member_id,omitempty"`
	LastTerm        uint64 `json:"last_term,omitempty"` // of the log's last entry
	LastIndex       uint64 `json:"last_index,omitempty"`
	Commit          uint64 `json:"commit,omitempty"` // HardState.Commit
	ConsistentIndex uint64 `json:"consistent_index,omitempty"`
	Revision        int64  `json:"revision,omitempty"`
	// StorageVersion is "" before 3.6, and for some seconds after a first start.
	StorageVersion string `json:"storage_version,omitempty"`
	// ClusterVersion is the minor that all members had; "" or "3.0.0" until a
	// leader has found it out.
	ClusterVersion string         `json:"cluster_version,omitempty"`
	DBSize         int64          `json:"db_size,omitempty"`
	Members        []ListedMember `json:"members,omitempty"` // as applied to the db
	// UncommittedMembership is true where the log's tail after the commit has a
	// membership change.
	UncommittedMembership bool `json:"uncommitted_membership,omitempty"`

	// HeldBy is the pid that has the directory's files locked, 0 for none, -1
	// for one that can't be named.
	HeldBy int `json:"held_by,omitempty"`
	// EverRan is whether requorum ever started etcd on this path since the
	// provenance was written.
	EverRan    bool        `json:"ever_ran,omitempty"`
	Provenance *Provenance `json:"provenance,omitempty"`
	// ProvenanceAgrees is whether the directory's IDs are those that Provenance
	// leads to (S18: believed only then).
	ProvenanceAgrees bool `json:"provenance_agrees,omitempty"`
	// Staged is the token that a complete staged restore waits under; "" for
	// none.
	Staged string `json:"staged,omitempty"`
	// Evidence is what says that a cluster was here although the directory is
	// absent or empty (S6), each as a phrase.
	Evidence []string `json:"evidence,omitempty"`
}

// Provenance is the record beside a data directory of where its data came from.
// It is written, with its token, before the first byte is staged.
type Provenance struct {
	Kind           string `json:"kind"` // "restore" or "bootstrap"
	Token          string `json:"token"`
	InitialCluster string `json:"initial_cluster"`
	Name           string `json:"name"`
	ClusterID      string `json:"cluster_id"` // that Token and InitialCluster lead to
	MemberID       string `json:"member_id"`
	Source         string `json:"source,omitempty"` // without credentials
	SHA256         string `json:"sha256,omitempty"` // of the bbolt bytes
	Revision       int64  `json:"revision,omitempty"`
	RevisionBump   int64  `json:"revision_bump,omitempty"`
	When           string `json:"when"` // RFC 3339, UTC
	By             string `json:"by"`   // user@host and requorum's version
	// Replaces is the cluster ID that the file pinned when this identity was
	// made, so that the same file still fits the restored cluster.
	Replaces string `json:"replaces,omitempty"`
}

// The kinds of provenance.
const (
	ProvenanceRestore   = "restore"
	ProvenanceBootstrap = "bootstrap"
)

// ServiceState is how a member's service stands.
type ServiceState string

// The states of a service.
const (
	ServiceNone    ServiceState = "none"    // never installed
	ServiceRunning ServiceState = "running" // the member's process is up
	ServiceBackoff ServiceState = "backoff" // it died and will be started again
	ServiceStopped ServiceState = "stopped" // installed, not running
	ServiceFailed  ServiceState = "failed"  // given up: starting it again would do harm
)

// Service is a member's service as its host reports it.
type Service struct {
	State         ServiceState `json:"state"`
	PID           int          `json:"pid,omitempty"`
	SupervisorPID int          `json:"supervisor_pid,omitempty"` // 0 where none lives
	Restarts      int          `json:"restarts,omitempty"`
	Since         string       `json:"since,omitempty"` // RFC 3339
	// UpSeconds is how long the process has been up, as observed.
	UpSeconds int      `json:"up_seconds,omitempty"`
	LastError string   `json:"last_error,omitempty"` // etcd's last words
	Binary    string   `json:"binary,omitempty"`     // the user's path or "requorum"
	Args      []string `json:"args,omitempty"`
	Log       string   `json:"log,omitempty"`
	// Cluster is the name of the cluster whose file installed the service.
	Cluster string `json:"cluster,omitempty"`
}

// Binary is an etcd executable.
type Binary struct {
	Path    string `json:"path"`    // "" for the one inside requorum
	Version string `json:"version"` // "3.6.16"
}

// SnapshotObservation is a snapshot file as verified.
type SnapshotObservation struct {
	Source string `json:"source"`
	// Problem is a refusal's code where the file can't be used, with Detail in
	// words; "" for a proven one.
	Problem Code   `json:"problem,omitempty"`
	Detail  string `json:"detail,omitempty"`

	Path       string `json:"path,omitempty"` // of the file on this machine
	Size       int64  `json:"size,omitempty"` // of the bbolt bytes
	SHA256     string `json:"sha256,omitempty"`
	HasHash    bool   `json:"has_hash,omitempty"` // etcd's sha256 is appended, and right
	Revision   int64  `json:"revision,omitempty"`
	Keys       int    `json:"keys,omitempty"` // live ones
	Leases     int    `json:"leases,omitempty"`
	Version    string `json:"version,omitempty"` // storage version, "" before 3.6
	Members    int    `json:"members,omitempty"`
	Alarms     int    `json:"alarms,omitempty"`
	ModifiedAt string `json:"modified_at,omitempty"` // of the file; says nothing of its content's age
}

// KVComparison is HashKV of all members at one revision.
type KVComparison struct {
	Revision int64             `json:"revision"`
	Equal    bool              `json:"equal"`
	Hashes   map[string]uint32 `json:"hashes"` // by the file's member name
}
