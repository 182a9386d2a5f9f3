package audit

import (
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// Kind is what findings of one code have in common.
type Kind struct {
	Code     Code
	Severity Severity
	Title    string // what it is, in a few words
	Remedy   string // what helps, a sentence
	// Own is whether no plan has the code: it is explained as a finding.
	Own bool
}

// Kinds lists what an audit can find: what only an audit finds first, then the states
// by number, then the planner's notes and etcd's bugs.
func Kinds() []Kind { return slices.Clone(kindList) }

var (
	kindList = slices.Concat(own, states(), notes, bugs())
	kinds    = func() map[Code]Kind {
		out := map[Code]Kind{}
		for _, k := range kindList {
			out[k.Code] = k
		}
		return out
	}()
)

// What only an audit finds.
const (
	DriftSettings   Code = "drift-settings"
	DriftURLs       Code = "drift-urls"
	DriftMembership Code = "drift-membership"
	DriftVersion    Code = "drift-version"
	LearnerLeft     Code = "learner-left"
	NotInSync       Code = "not-in-sync"
	NoSafePlan      Code = "no-safe-plan"
	NoCluster       Code = "no-cluster"
	ClusterDown     Code = "cluster-down"

	HostUnreachable   Code = "host-unreachable"
	MemberUnreachable Code = "member-unreachable"

	NoFaultTolerance Code = "no-fault-tolerance"
	SharedHost       Code = "shared-host"
	SharedDisk       Code = "shared-disk"
	MaxLearners      Code = "max-learners"
	QuotaNear        Code = "quota-near"
	DBFragmented     Code = "db-fragmented"
	SlowDisk         Code = "slow-disk"

	BackupMissing    Code = "backup-missing"
	BackupOld        Code = "backup-old"
	BackupNotDrilled Code = "backup-not-drilled"
	BackupUnreadable Code = "backup-unreadable"
)

var own = []Kind{
	{DriftSettings, Warning, "a member runs, or would be started, with other settings than the file's", "Apply the file, which restarts members one at a time, or write the setting into it.", true},
	{DriftURLs, Warning, "a member's addresses are not the file's", "Apply the file, or correct the addresses in it.", true},
	{DriftMembership, Warning, "the cluster's members are not the file's", "Apply the file, or write the member into it, or out of it.", true},
	{DriftVersion, Warning, "a member runs another etcd than the file says", "Upgrade it, or correct version in the file.", true},
	{LearnerLeft, Warning, "a learner was left that is to vote", "Apply the file: it promotes the learner once it has caught up.", true},
	{NotInSync, Warning, "requorum has something to do here", "See requorum plan.", true},
	{NoSafePlan, Error, "requorum refuses to plan for it", "See requorum plan, which says what stands in the way.", true},
	{NoCluster, Error, "nothing of the cluster is there", "Apply the file if the cluster is yet to be begun; otherwise correct its addresses and directories.", true},

	{ClusterDown, Critical, "the members are down, and their data is there", "Apply the file: it starts them, and nothing is lost.", true},

	{HostUnreachable, Error, "a member's host can't be looked at", "See that ssh reaches the host; whether its member lives is not known from there.", true},
	{MemberUnreachable, Error, "a member's address can't be asked", "Look at the network, at what listens there and at the URL in the file.", true},

	{NoFaultTolerance, Warning, "the loss of one voter stops the cluster", "Have three voters, on three machines.", true},
	{SharedHost, Warning, "the loss of one machine stops the cluster", "Spread the voters, so that no machine has a majority of them.", true},
	{SharedDisk, Info, "members have their data on one file system", "Give each a disk of its own: one that is full or slow harms all on it.", true},
	{MaxLearners, Info, "more learners are allowed than one at a time", "Take max-learners out, or name it in etcd { config } if it is meant.", true},
	{QuotaNear, Warning, "the database nears its quota", "Compact and defragment; then find out what grows, or raise quota-backend-bytes.", true},
	{DBFragmented, Info, "less than half of the database file is in use", "Defragment the members one at a time, the leader last.", true},
	{SlowDisk, Warning, "a member's disk is slow", "Find out what else uses the disk; etcd wants 99 of 100 syncs within 10 ms.", true},

	{BackupMissing, Warning, "there is no backup", "Run requorum snapshot save from a timer, and name its folder in policy { backups }.", true},
	{BackupOld, Warning, "the newest backup is too old", "See why the last requorum snapshot save did not run, or allow for it with policy { max_backup_age }.", true},
	{BackupNotDrilled, Warning, "no backup was tried out of late", "Run requorum snapshot drill on the newest one, from a timer once a month.", true},
	{BackupUnreadable, Warning, "the backups can't be looked at", "Correct the place in the file, or give requorum access to it.", true},
}

// stateKinds has how bad each of the planner's states is, and what helps where nothing
// of a plan's says so.
var stateKinds = map[planner.StateCode]struct {
	severity Severity
	remedy   string
}{
	planner.StateMinorityDown:        {Error, "Apply the file: it starts the member."},
	planner.StateMinorityLost:        {Error, "Mount the disk if it is only not mounted; otherwise apply the file, which replaces the member."},
	planner.StateQuorumLostRunning:   {Critical, "Don't restart what runs. Save it with requorum snapshot save --all, then see requorum plan."},
	planner.StateQuorumLostRestarted: {Critical, "Keep every disk as it is, and see requorum plan."},
	planner.StateQuorumLost:          {Critical, "Keep every disk as it is, and see requorum plan."},
	planner.StateAllLost:             {Critical, "Mount the disks if they are only not mounted; otherwise name a snapshot and see requorum plan."},
	planner.StateSecondUnstarted:     {Critical, "See requorum plan: the second voter is started, or the first recovered without it."},
	planner.StateUnstartedVoters:     {Error, "Apply the file, which starts them; or remove them before anything else fails."},
	planner.StateOneOfTwoDead:        {Critical, "Bring the other one back; see requorum plan."},
	planner.StateAllAddressesChanged: {Error, "See requorum plan: the members' addresses are updated one by one."},
	planner.StatePeerURLStale:        {Warning, "Apply the file, or correct peer_urls in it."},
	planner.StateMemberIsolated:      {Error, "Mend the network between this member and the others; leave the membership as it is."},
	planner.StateSplitBrain:          {Critical, "Save a snapshot of each half before anything else; a person decides which one counts."},
	planner.StateLeaderFlapping:      {Error, "Look at the disks and at the network between the members; change nothing in the membership."},
	planner.StateClockSkew:           {Warning, "Let all hosts keep the same time; leases and certificates depend on it."},
	planner.StatePeerTLSFailure:      {Error, "Look at the certificates that members have for their peers: CA, dates, names."},
	planner.StateClientTLSFailure:    {Error, "Correct the scheme of client_urls, or the certificates."},

	planner.StateClusterIDMismatch:    {Critical, "Find out which cluster is the file's; stop the stray member, or correct the address."},
	planner.StateOldMemberSameID:      {Critical, "Stop that member and keep its data; see requorum plan."},
	planner.StatePartlyRestored:       {Critical, "Save a snapshot from each member, and decide which data counts; no vote says it."},
	planner.StateRemovedMemberExits:   {Error, "Apply the file: it sets the old data aside and adds the member anew."},
	planner.StateRemovedMemberRuns:    {Error, "Stop it: it takes no part. Apply the file, which adds the member anew."},
	planner.StateEmptyDirNew:          {Error, "Apply the file: it replaces the member."},
	planner.StateEmptyDirExisting:     {Error, "Don't start it again. Apply the file, which replaces the member."},
	planner.StateDiskRolledBack:       {Error, "Don't start it again. Apply the file, which replaces the member."},
	planner.StateInitialClusterWrong:  {Error, "Apply the file: it makes --initial-cluster from the cluster's own list."},
	planner.StateNameNotInInitial:     {Error, "Apply the file: it makes --initial-cluster from the cluster's own list."},
	planner.StateForceNewLeftOn:       {Critical, "Take the flag away before the next restart, which would expel all others; apply the file does."},
	planner.StateForceNewSpoilt:       {Error, "Don't start it again; see requorum plan."},
	planner.StateLearnerUnstarted:     {Warning, "Apply the file: it starts the learner, or takes it off the list."},
	planner.StateLearnerBehind:        {Warning, "Look at its disk and network; it can't be promoted before it has caught up."},
	planner.StateLearnerSlotTaken:     {Warning, "Promote the learner that is there, or remove it, before another is added."},
	planner.StatePromotedByUpdate:     {Error, "Remove the member and add it again as a learner; upgrade etcd within its minor."},
	planner.StateLearnerBlocksUpgrade: {Error, "Start it with the etcd of before; promote or remove the learners first."},
	planner.StateZombieMember:         {Warning, "Remove it from the list once more, after the upgrade to a fixed version."},

	planner.StateWALLost:            {Error, "Bring the right WAL directory back, or apply the file, which replaces the member."},
	planner.StateDBLost:             {Error, "Apply the file: it replaces the member."},
	planner.StateSnapDirLost:        {Error, "Apply the file: it replaces the member."},
	planner.StateSnapFilesLost:      {Info, "Nothing: they are not needed."},
	planner.StateDBCorrupt:          {Error, "Look at the disk; apply the file, which replaces the member."},
	planner.StateWALCRC:             {Error, "Look at the disk; apply the file, which replaces the member."},
	planner.StateWALTorn:            {Error, "Look at the disk; apply the file, which replaces the member."},
	planner.StateDBOlderThanLog:     {Error, "Bring the right database back, or apply the file, which replaces the member."},
	planner.StateDirNewerThanBinary: {Error, "Name a binary in etcd { binary } that is of the directory's minor, or the next."},
	planner.StateDirOlderThanBinary: {Error, "Go up one minor at a time, or restore a snapshot with the new etcd."},
	planner.StateDirHeldTwice:       {Error, "End the second process; it waits for the directory, and would take it over."},
	planner.StateDiskFull:           {Error, "Make room there, but not by removing anything of etcd's."},

	planner.StateSpaceExhausted:   {Critical, "Compact, defragment one member at a time, raise the quota if the data needs it, then disarm."},
	planner.StateAlarmInherited:   {Warning, "Apply the file: it disarms alarms that are nobody's."},
	planner.StateCorruptAlarm:     {Critical, "Save a snapshot of each member; see requorum plan."},
	planner.StateSilentDivergence: {Critical, "Save a snapshot of each member; see requorum plan, which replaces whom a majority outvotes."},
	planner.StateAuthLockedOut:    {Critical, "Start the members that are down: with a quorum the password counts again."},
	planner.StateDowngradeStuck:   {Warning, "Finish the downgrade, or cancel it with etcdctl downgrade cancel."},
	planner.StateMixedMinors:      {Warning, "Finish the upgrade: one member at a time, the leader last."},
	planner.StateOverloaded:       {Error, "Find out who asks for so much, and slow it."},
	planner.StateClientsStale:     {Warning, "Restart the clients that watched before; restore with a bump the next time."},
	planner.StateRestoreHalfDone:  {Error, "Apply the file to the end: it goes on with what was begun."},
	planner.StateChangeUnknown:    {Warning, "See requorum plan, which looks at the list again."},
}

func states() []Kind {
	var out []Kind
	for _, s := range planner.States() {
		k, ok := stateKinds[s.Code]
		if !ok {
			continue // no audit reads a snapshot
		}
		out = append(out, Kind{Code: Code(s.Code), Severity: k.severity, Title: s.Title, Remedy: k.remedy})
	}
	return out
}

// notes are the planner's codes of refusals and notices that are findings by themselves.
var notes = []Kind{
	{Code(planner.CodeClusterIDChanged), Critical, "this is not the cluster that it was", "Check the addresses in the file; if it is the right cluster, pin its ID with id.", false},
	{Code(planner.CodeDataUnknown), Warning, "a data directory could not be read", "Run requorum as root there, or as the user that etcd runs as.", false},
	{Code(planner.NoteNotSupervised), Warning, "nothing starts a member again after a crash", "Apply the file, which adopts it as it runs, or put it under a unit.", false},
	{Code(planner.NoteNoBootStart), Warning, "members do not come back after a reboot", "Enable the unit; under requorum's own supervisor, run requorum apply at boot.", false},
	{Code(planner.NoteRestarts), Warning, "a member died and was started again", "Read its log; what ended it may end it again.", false},
	{Code(planner.NoteEvenVoters), Info, "an even number of voters", "Add one or take one away: the last one adds no tolerance.", false},
	{Code(planner.NoteNotCompared), Info, "the members' data was not compared", "Audit again when writes are few and all voters serve.", false},
	{Code(planner.NoteWithoutUser), Info, "auth is on, and no user is at hand", "What a user is needed for was not looked at.", false},
}

func bugs() []Kind {
	var out []Kind
	for _, b := range planner.Bugs() {
		out = append(out, Kind{Code: Code(b.Code), Severity: Warning, Title: b.Title, Remedy: sentence(b.Remedy)})
	}
	return out
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
