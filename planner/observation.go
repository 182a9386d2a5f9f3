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
	// Others are the members of the cluster's own list (of the newest disk's, where
	// none serves) that neither an address nor a directory of the file leads to.
	Others []OtherMember `json:"others,omitempty"`
	// Etcds are those that run on the machines of the file that could be asked, whoever
	// started them and in whatever network, as far as they can be looked into.
	Etcds []Foreign `json:"etcds,omitempty"`
	// JournalMembers are the members of the file that was last applied to these
	// data directories from here; nil where the journal does not say.
	JournalMembers []string `json:"journal_members,omitempty"`
	// JournalPlaces is where they were, on the machines that the file has.
	JournalPlaces []Place `json:"journal_places,omitempty"`
	// JournalClusterID is the last cluster ID that this machine's journal has
	// for these data directories, in hex; "" where it has none.
	JournalClusterID string `json:"journal_cluster_id,omitempty"`
}

// OtherMember is a member that the cluster has and the file does not, as it is
// listed, and as it answers at its listed addresses.
type OtherMember struct {
	ListedMember
	Client Endpoint     `json:"client"`
	Peer   PeerEndpoint `json:"peer"`
	// Disk is what lies where the journal has the member, on a machine of the file; nil
	// where the journal does not have it.
	Disk *OtherDisk `json:"disk,omitempty"`
}

// OtherDisk is a place that is no member's of the file, and what lies there.
type OtherDisk struct {
	Place Place         `json:"place"`
	Data  Fact[DataDir] `json:"data"`
}

// MemberObservation is what was seen of one member of the file.
type MemberObservation struct {
	// Host is the machine that its facts are of: the name of a host that is reached by
	// ssh, "" for this one.
	Host    string        `json:"host,omitempty"`
	Client  Endpoint      `json:"client"`
	Peer    PeerEndpoint  `json:"peer"`
	Data    Fact[DataDir] `json:"data"`
	Service Fact[Service] `json:"service"`
	// Binary is the etcd that would be started.
	Binary Fact[Binary] `json:"binary"`
	// Ports are listeners of the file's addresses that belong to somebody else
	// while this member does not run.
	PortsTaken []string `json:"ports_taken,omitempty"`
	// Certificates are those that the file has for what the member serves, by
	// CertificateClient and CertificatePeer, as they lie on its host.
	Certificates map[string]Fact[Certificate] `json:"certificates,omitempty"`
	// FreeBytes is the room on the data directory's file system.
	FreeBytes Fact[int64] `json:"free_bytes"`
	// FileSystem tells file systems apart; "" if unknown.
	FileSystem string `json:"file_system,omitempty"`
	// Base is the folder of what requorum keeps about the member, absolute.
	Base string `json:"base,omitempty"`
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

// Mute reports whether something is at the address, though no etcd that could be
// asked.
func (r Reach) Mute() bool {
	switch r {
	case ReachHangs, ReachTLSFailed, ReachWrongService, ReachAuth:
		return true
	}
	return false
}

// Endpoint is the answer of a member's client URL. The fields after Detail are
// set only when Reach is ReachServing.
type Endpoint struct {
	URL    string `json:"url"`
	Reach  Reach  `json:"reach"`
	Detail string `json:"detail,omitempty"` // the error as it was
	// Advertised is true where the file's addresses do not answer and URL is one
	// that the cluster's list has for this member.
	Advertised bool `json:"advertised,omitempty"`
	// Sealed is true where the member wants a user and was asked without one: the rest
	// is what it tells everybody. Its key space can be compared, and nothing of its
	// cluster be changed.
	Sealed bool `json:"sealed,omitempty"`

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
	Alarms  []string             `json:"alarms,omitempty"` // "NOSPACE on a1", with the ID of whose it is
	// Downgrade is the version that a downgrade which was enabled leads to; "" for
	// none (3.6 and later tell).
	Downgrade string `json:"downgrade,omitempty"`
	// Metrics are the process's own counters; unknown where they are not served.
	Metrics Fact[Metrics] `json:"metrics"`
}

// Metrics are those of a member's counters that say whether its cluster is calm
// enough to be changed.
type Metrics struct {
	UpSeconds     int     `json:"up_seconds"`
	LeaderChanges int     `json:"leader_changes"` // seen since it started
	FsyncSeconds  float64 `json:"fsync_seconds"`  // the WAL's, which 99 of 100 do not exceed
	Pending       int     `json:"pending"`        // proposals that wait
	FailedTotal   int     `json:"failed"`         // proposals that failed since it started
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
	URL    string `json:"url"`
	Reach  Reach  `json:"reach"`
	Detail string `json:"detail,omitempty"`
	// Refused is true where it is requorum's own certificate that it does not take, or
	// misses: that says nothing of how the members get on with each other.
	Refused   bool                 `json:"refused,omitempty"`
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
	DirFenced  DirState = "fenced" // requorum put a plain file there and keeps the data aside (S18)
)

// DataDir is a data directory as read offline and read-only.
type DataDir struct {
	Path string `json:"path"`
	// WALDir is where its log lies, "" for inside.
	WALDir string   `json:"wal_dir,omitempty"`
	State  DirState `json:"state"`

	// Leftovers is whether an empty directory has files of an etcd in it that ended
	// before it had a log: nothing can begin there as long as they are.
	Leftovers bool `json:"leftovers,omitempty"`

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
	// Removed are the IDs, in hex, that its db has as removed for good.
	Removed []string `json:"removed,omitempty"`
	// Log tells how the log compares with others (S7); nil where it was not read.
	Log *Log `json:"log,omitempty"`
	// Tail is what the log holds after both Commit and ConsistentIndex: entries
	// that this disk alone does not prove to be agreed on (S9). TailMore counts
	// those that were left out of it: at its end, the risky ones last.
	Tail     []TailEntry `json:"tail,omitempty"`
	TailMore int         `json:"tail_more,omitempty"`
	// Fenced is what lies behind the fence where State is DirFenced: the data as
	// it was when the member was stopped.
	Fenced *DataDir `json:"fenced,omitempty"`
	// UncommittedMembership is true where the log's tail after the commit has a
	// change of who votes.
	UncommittedMembership bool `json:"uncommitted_membership,omitempty"`

	// HeldBy is the pid that has the directory's files locked, 0 for none, -1
	// for one that can't be named.
	HeldBy int `json:"held_by,omitempty"`
	// Waiting are the pids of further etcds on the directory, which wait until
	// HeldBy lets go of it.
	Waiting []int `json:"waiting,omitempty"`
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

// Log is the course of a raft log, as far as its files reach back.
type Log struct {
	First uint64    `json:"first"` // index of the oldest entry
	Terms []TermRun `json:"terms"` // ascending
	// Sums has a checksum of each entry's term, type and data from SumsFirst on,
	// without gaps, up to the log's end: logs of one history have equal ones where
	// both are committed. Old entries of a long log are left out.
	SumsFirst uint64   `json:"sums_first"`
	Sums      []uint32 `json:"-"`
	// Forced is the index of the last entry by which --force-new-cluster removed a
	// member, 0 where the log has none: a history of its own begins there.
	Forced uint64 `json:"forced,omitempty"`
}

// TermRun says from which index on the entries are of a term.
type TermRun struct {
	Term  uint64 `json:"term"`
	First uint64 `json:"first"`
}

// The kinds of a log's entries. Those with TailEntry.Risky undo or change what was
// there before; keeping them after all may do harm, and so may dropping them.
const (
	EntryPut        = "put"
	EntryDelete     = "delete"
	EntryTxn        = "txn"
	EntryCompact    = "compact"
	EntryLease      = "lease-grant"
	EntryRevoke     = "lease-revoke"
	EntryAuth       = "auth"
	EntryAlarm      = "alarm"
	EntryMembership = "membership"
	EntryInternal   = "internal" // checkpoints, attributes, empty ones of a new leader
)

// TailEntry is one entry of a log that is not proven to be agreed on.
type TailEntry struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Kind  string `json:"kind"`
	Key   string `json:"key,omitempty"` // quoted where it is not printable; "a..b" for a range
	Text  string `json:"text,omitempty"`
	Risky bool   `json:"risky,omitempty"`
}

// Provenance is the record beside a data directory of where its data came from.
// It is written, with its token, before the first byte is staged.
type Provenance struct {
	Kind           string `json:"kind"` // one of the kinds below
	Token          string `json:"token"`
	InitialCluster string `json:"initial_cluster"`
	Name           string `json:"name"`
	ClusterID      string `json:"cluster_id"` // that Token and InitialCluster lead to
	MemberID       string `json:"member_id"`
	Source         string `json:"source,omitempty"` // without credentials
	SHA256         string `json:"sha256,omitempty"` // of the bbolt bytes
	Revision       int64  `json:"revision,omitempty"`
	Keys           int    `json:"keys,omitempty"` // live ones at Revision; 0 for not recorded
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
	ProvenanceRecover   = "recover"   // restored from a survivor's disk; Source is the snapshot made of it
	ProvenanceForceNew  = "force-new" // a survivor's own directory, made a cluster of one
	ProvenanceJoin      = "join"      // added to a living cluster; Token is JoinToken
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
	// Carried are the flags, as --name=value, that came along when a running
	// member was adopted and that requorum goes on giving it.
	Carried []string `json:"carried,omitempty"`
	// Foreign is a process on the data directory that requorum did not start; nil
	// for none.
	Foreign *Foreign `json:"foreign,omitempty"`
	// Signs are what the end of its log tells of trouble, each once, the last one of
	// its kind.
	Signs []LogSign `json:"signs,omitempty"`
	// Unit is the systemd unit that keeps the member; nil for another kind of service.
	Unit *Unit `json:"unit,omitempty"`
}

// Unit is a member's systemd unit as its host has it.
type Unit struct {
	Name string `json:"name"`
	Load string `json:"load"` // systemd's word: loaded, not-found, masked, error, …
	// Problem says why it can't be loaded, or used; "" where it can.
	Problem string `json:"problem,omitempty"`
	// Enabled is systemd's word for whether it comes back after a boot: enabled,
	// disabled, static, …; Wanted is whether another unit wants, or requires, it.
	Enabled string `json:"enabled,omitempty"`
	Wanted  bool   `json:"wanted,omitempty"`
	// Barred is true where requorum keeps it from being started, until it starts it
	// itself; Undone is what of that somebody else has taken back.
	Barred bool   `json:"barred,omitempty"`
	Undone string `json:"undone,omitempty"`
	// Fragment is the unit's own file, "" for none; Ours is whether requorum has
	// written what it runs.
	Fragment string `json:"fragment,omitempty"`
	Ours     bool   `json:"ours,omitempty"`
	// Stale is true where its files changed since systemd read them: what is said here
	// of it is not what it would start after systemctl daemon-reload.
	Stale bool `json:"stale,omitempty"`
	// Program is what it runs, before the flags; nil where that can't be told.
	Program []string `json:"program,omitempty"`
	// Next are the settings with which it would start etcd, as flags, where a process
	// runs whose own are known; nil where they can't be told.
	Next []string `json:"next,omitempty"`
	// Environment are its variables that mean something to the Go runtime.
	Environment []string `json:"environment,omitempty"`
	// Unborn is true where it does not run, and where the directory on which it would
	// start etcd is not the member's and has no data: it never ran, as a package leaves it.
	Unborn bool `json:"unborn,omitempty"`
	// Acts are its settings, beside ExecStart, that do something of their own when it
	// starts or ends, by their names: ExecStartPre, Type (one for another kind of
	// program), …
	Acts []string `json:"acts,omitempty"`
	// Files are those that requorum writes, as they are now, by path.
	Files map[string]string `json:"files,omitempty"`
	// Own is how the etcd inside requorum is run there.
	Own []string `json:"own,omitempty"`
	// Nearest is, where there is no unit of that name, one that runs an etcd.
	Nearest string `json:"nearest,omitempty"`
}

// LogSign is a line of etcd's log that means something.
type LogSign struct {
	Kind string `json:"kind"` // one of the kinds below
	Text string `json:"text"` // etcd's words, without the time
}

// The kinds of signs in etcd's log.
const (
	SignClockDrift     = "clock-drift"      // prober found high clock drift
	SignPeerTLS        = "peer-tls"         // rejected connection on peer endpoint
	SignIDMismatch     = "id-mismatch"      // request cluster ID mismatch
	SignSlowDisk       = "slow-disk"        // slow fdatasync; leader failed to send out heartbeat on time
	SignOverloaded     = "overloaded"       // too many requests
	SignDiskFull       = "disk-full"        // no space left on device
	SignTooManyLearner = "too-many-learner" // too many learner members in cluster
	SignRemoved        = "removed"          // the member has been permanently removed
	SignForced         = "forced"           // forcing restart member
)

// Foreign is an etcd that somebody else started on a member's data directory.
type Foreign struct {
	PID   int      `json:"pid"`
	Start uint64   `json:"start"`          // since boot, in clock ticks: tells it from another of that pid
	Host  string   `json:"host,omitempty"` // that it runs on, as in Place; among Observation.Etcds only
	Exe   string   `json:"exe"`
	Args  []string `json:"args"` // without the program
	// Settings are its flags by name, wherever they come from (command line,
	// environment, configuration file), relative paths made absolute, and etcd's
	// defaults for the flags that requorum owns. Problem says why it can't be
	// adopted with them; they are nil where none can be told. Hidden are the names of
	// those that have a secret in them, which is Untold there.
	Settings map[string]string `json:"settings,omitempty"`
	Hidden   []string          `json:"hidden,omitempty"`
	Problem  string            `json:"problem,omitempty"`
	// Keeper is who would start it again if it ended ("the systemd unit
	// etcd.service", "supervisord (pid 7)"); "" for nobody that could be found.
	Keeper string `json:"keeper,omitempty"`
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

	Path     string `json:"path,omitempty"` // of the file on this machine
	Size     int64  `json:"size,omitempty"` // of the bbolt bytes
	SHA256   string `json:"sha256,omitempty"`
	HasHash  bool   `json:"has_hash,omitempty"` // etcd's sha256 is appended, and right
	Revision int64  `json:"revision,omitempty"`
	Keys     int    `json:"keys,omitempty"` // live ones
	Leases   int    `json:"leases,omitempty"`
	Version  string `json:"version,omitempty"` // storage version, "" before 3.6
	Members  int    `json:"members,omitempty"`
	Alarms   int    `json:"alarms,omitempty"`
	// AlarmList names them, the first ones: "NOSPACE on 8e9e05c52164694d".
	AlarmList  []string `json:"alarm_list,omitempty"`
	ModifiedAt string   `json:"modified_at,omitempty"` // of the file; its content may be older
	Weeks      int      `json:"weeks,omitempty"`       // full ones since then, when it was looked at

	// Live is the member that it was saved from, for the plan; nil for a file that
	// was there.
	Live *LiveSource `json:"live,omitempty"`
	// Dir is a stopped member's directory that a snapshot is yet to be made of, in a
	// copy; nil for a snapshot. Path, SHA256 and Keys are then not known, and Revision
	// is the db's, without the log's tail.
	Dir *SourceDir `json:"dir,omitempty"`
}

// LiveSource is the member that a snapshot was saved from, as it answered then.
type LiveSource struct {
	Name      string         `json:"name,omitempty"` // of a member of the file; "" for another cluster's
	URL       string         `json:"url"`
	ClusterID string         `json:"cluster_id"`
	MemberID  string         `json:"member_id"`
	Members   []ListedMember `json:"members,omitempty"`
	// Quorum is false where it gave no linearizable answer: others may have
	// acknowledged more than it holds.
	Quorum bool   `json:"quorum"`
	At     string `json:"at"` // RFC 3339, when it was saved
	// Replaces is why this is the cluster that the file would replace, "" where it is
	// not. Who looked says so, for a sensitive source's members are not shown.
	Replaces string `json:"replaces,omitempty"`
}

// SourceDir is a data directory that is at no member's place.
type SourceDir struct {
	DataDir
	// Others are its members, as they answer at the addresses that it has for them.
	Others []OtherMember `json:"others,omitempty"`
}

// KVComparison is HashKV of all members at one revision.
type KVComparison struct {
	Revision int64             `json:"revision"`
	Equal    bool              `json:"equal"`
	Hashes   map[string]uint32 `json:"hashes"` // by the file's member name
}
