package planner

import "github.com/requorum/requorum/spec"

// Code names a refusal or a notice. Codes are part of the interface: they stay
// as they are, and docs/refusals.md has a heading for each.
type Code string

// The codes of refusals.
const (
	// Identity.
	CodeClusterIDChanged Code = "cluster-id-changed" // not the ID that the file or the journal has
	CodeForeignCluster   Code = "foreign-cluster"    // another cluster answers at the file's endpoints
	CodeForeignData      Code = "foreign-data"       // a data directory of another cluster or member
	CodeSplitCluster     Code = "split-cluster"      // more than one identity among the members
	CodeDiverged         Code = "diverged"           // unequal HashKV at one revision

	CodeClusterIDMismatch Code = "cluster-id-mismatch" // two clusters answer
	CodePartlyRestored    Code = "partly-restored"     // the members did not begin with the same data

	// Data.
	CodeDataMissing       Code = "data-missing"        // absent data where a cluster was (S6)
	CodeDataDamaged       Code = "data-damaged"        // a data directory that can't be started
	CodeDataUnknown       Code = "data-unknown"        // a data directory that could not be read
	CodeServesElsewhere   Code = "serves-elsewhere"    // a member serves, and not from its directory
	CodeMembershipInDoubt Code = "membership-in-doubt" // S1: an uncommitted change
	CodeVoterOutside      Code = "voter-outside"       // S1: the disk of a voter that the file does not have
	CodeDataHeld          Code = "data-held"           // a stray process has the directory open
	CodeNotADirectory     Code = "not-a-directory"     // something else lies at the path
	CodeNoRoom            Code = "no-room"             // the file system is too full
	CodePortTaken         Code = "port-taken"          // somebody else listens there
	CodeRestoreUnfinished Code = "restore-unfinished"  // a half restore that the file no longer matches
	CodeDiskFull          Code = "disk-full"           // etcd said that it can't write

	// Snapshots.
	CodeSnapshotMissing     Code = "snapshot-missing"      // no such file
	CodeSnapshotUnreadable  Code = "snapshot-unreadable"   // permissions, an I/O error, or it changes
	CodeSnapshotDamaged     Code = "snapshot-damaged"      // hash, pages or records are wrong
	CodeSnapshotNoHash      Code = "snapshot-no-hash"      // no sha256, and skip_hash_check is not set
	CodeSnapshotNotEtcd     Code = "snapshot-not-etcd"     // not a bbolt file of etcd
	CodeSnapshotWrongSHA    Code = "snapshot-wrong-sha256" // not the file that was expected
	CodeSnapshotVersion     Code = "snapshot-version"      // the etcd can't start from it
	CodeRevisionOverflow    Code = "revision-overflow"     // the bump leaves no room in int64
	CodeSnapshotUnsupported Code = "snapshot-source-unsupported"

	// Binaries.
	CodeBinaryMissing Code = "binary-missing"
	CodeBinaryVersion Code = "binary-version" // not the version that the file wants
	CodeDirOlder      Code = "dir-older-than-binary"
	CodeLearnerBlocks Code = "learner-blocks-upgrade" // etcd does not start beside so many learners

	// What can't be told from here.
	CodeUnreachable   Code = "unreachable"      // may be alive where we can't look (S2)
	CodeAuthRequired  Code = "auth-required"    // rights are missing
	CodeTLSFailed     Code = "tls-failed"       // the handshake fails
	CodeWrongService  Code = "wrong-service"    // not an etcd
	CodeNoLeader      Code = "no-leader"        // members run without a leader, and it isn't known why
	CodeDeadWithAlive Code = "process-no-reply" // a process that runs and does not answer
	CodePeerTLS       Code = "peer-tls-failure" // members refuse each other's certificates
	CodeAuthLockedOut Code = "auth-locked-out"  // a password, and no quorum to check it

	// Certificates.
	CodeCertificateMissing    Code = "certificate-missing"    // no such file
	CodeCertificateUnreadable Code = "certificate-unreadable" // not for whom the member runs as
	CodeCertificateInvalid    Code = "certificate-invalid"    // no PEM, or nothing that can be used
	CodeCertificateKey        Code = "certificate-key"        // another certificate's key
	CodeCertificateExpired    Code = "certificate-expired"    // or not valid yet
	CodeCertificateName       Code = "certificate-name"       // for other addresses than the member's
	CodeCertificateUntrusted  Code = "certificate-untrusted"  // no chain to the CA that it is held to
	CodeCertificateUsage      Code = "certificate-usage"      // not for what etcd shows it for
	CodeCertificateRequorum   Code = "certificate-requorum"   // requorum's own would be refused
	CodeCertificateUnknown    Code = "certificate-unknown"    // could not be looked at

	// Carried out by later versions: the file is understood, the plan is refused.
	CodeRouteReconfigure   Code = "route-reconfigure"
	CodeHostUnsupported    Code = "host-unsupported"    // ssh and manual hosts
	CodeServiceUnsupported Code = "service-unsupported" // command
	CodeFeatureUnsupported Code = "feature-unsupported"

	// Changes.
	CodeLearnerSlot   Code = "learner-slot"   // etcd takes no further learner
	CodeForeignKeeper Code = "foreign-keeper" // somebody else keeps the process running

	// Services.
	CodeUnitUnusable  Code = "unit-unusable"  // the systemd unit is another's, masked, or can't be told
	CodeUnitContested Code = "unit-contested" // somebody starts or unmasks it again

	// Not calm enough to be changed, or not by this version.
	CodeFlapping       Code = "leader-flapping"
	CodeOverloaded     Code = "overloaded"
	CodeDowngrade      Code = "downgrade-stuck"
	CodeMixedMinors    Code = "mixed-minors"
	CodeSpaceExhausted Code = "space-exhausted" // NOSPACE
	CodeCorruptAlarm   Code = "corrupt-alarm"   // CORRUPT, and no comparison that says whose

	// Survivors.
	CodeHostAlive     Code = "host-alive"     // named as destroyed, or gone, and it answers
	CodeSurvivorWrong Code = "survivor-unfit" // the one that the file names can't be recovered from

	// Policy.
	CodePrevented      Code = "policy-prevented"
	CodeTolerance      Code = "min-fault-tolerance"
	CodeSnapshotBefore Code = "snapshot-before"
)

// Refusal is the reason why there is no safe plan: what was seen, where the
// file asks for it, and what a person can do.
type Refusal struct {
	Code   Code          `json:"code"`
	Title  string        `json:"title"`  // one line
	Detail string        `json:"detail"` // what was seen
	Remedy []string      `json:"remedy"` // what to do, in order
	Pos    spec.Position `json:"pos"`
}

// Notice is something to know that stops nothing.
type Notice struct {
	Code Code          `json:"code"`
	Text string        `json:"text"`
	Pos  spec.Position `json:"pos"`
}

// The codes of notices.
const (
	NoteNotSupervised Code = "not-supervised"  // runs, but not under requorum
	NoteNoBootStart   Code = "no-boot-start"   // S21: does not come back after a reboot
	NoteNotCompared   Code = "kv-not-compared" // S4
	NoteAlarm         Code = "alarm"
	NoteNotProvable   Code = "contents-not-provable" // S14
	NoteLeasesRestart Code = "leases-restart"        // S16
	NoteEvenVoters    Code = "even-voters"
	NoteWatchers      Code = "watchers-list-again"
	NoteOldAlarms     Code = "snapshot-alarms"
	NoteRemaining     Code = "remaining" // what planning again will deal with
	NoteRestarts      Code = "restarts"  // the member dies again and again
	NoteDip           Code = "tolerance-dip"
	NoteForeignKeeper Code = "kept-by-another" // runs under somebody else's supervisor
	NoteUnfenced      Code = "unfenced"        // S2: may serve stale reads
	NoteInDoubt       Code = "entries-in-doubt"
	NoteClockSkew     Code = "clock-skew"
	NoteClientsStale  Code = "clients-stale" // restored without a revision bump
	NoteWithoutUser   Code = "without-user"  // auth is on, and nobody here has a user

	NoteCertificateEnds Code = "certificate-ends" // in less than thirty days
)
