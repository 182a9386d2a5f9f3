package planner

// StateCode names one of the states that a cluster can be in. `requorum explain`
// knows each, and docs/states.md has a row for it.
type StateCode string

// State is one of the states that a cluster can be in. The numbers stay.
type State struct {
	Number int
	Code   StateCode
	Title  string // what it is, in a few words
	// Alike are the numbers of states that look the same to whoever can only look:
	// where one of them is found, it may be any of these.
	Alike []int
}

// Finding is a state that was found, and what shows it.
type Finding struct {
	State StateCode `json:"state"`
	// Member is whose it is; "" for the cluster's.
	Member string `json:"member,omitempty"`
	// Fact is what was seen, in etcd's words where it has some.
	Fact string `json:"fact"`
}

// The states. What etcd does in each, and what helps, is in docs/states.md.
const (
	StateMinorityDown        StateCode = "minority-down"
	StateMinorityLost        StateCode = "minority-lost"
	StateQuorumLostRunning   StateCode = "quorum-lost-running"
	StateQuorumLostRestarted StateCode = "quorum-lost-restarted"
	StateQuorumLost          StateCode = "quorum-lost"
	StateAllLost             StateCode = "all-lost"
	StateSecondUnstarted     StateCode = "second-voter-unstarted"
	StateUnstartedVoters     StateCode = "unstarted-voters"
	StateOneOfTwoDead        StateCode = "one-of-two-dead"
	StateAllAddressesChanged StateCode = "all-addresses-changed"
	StatePeerURLStale        StateCode = "peer-url-stale"
	StateMemberIsolated      StateCode = "member-isolated"
	StateSplitBrain          StateCode = "split-brain"
	StateLeaderFlapping      StateCode = "leader-flapping"
	StateClockSkew           StateCode = "clock-skew"
	StatePeerTLSFailure      StateCode = "peer-tls-failure"
	StateClientTLSFailure    StateCode = "client-tls-failure"

	StateClusterIDMismatch    StateCode = "cluster-id-mismatch"
	StateOldMemberSameID      StateCode = "old-member-same-id"
	StatePartlyRestored       StateCode = "partly-restored"
	StateRemovedMemberExits   StateCode = "removed-member-exits"
	StateRemovedMemberRuns    StateCode = "removed-member-runs"
	StateEmptyDirNew          StateCode = "empty-dir-new"
	StateEmptyDirExisting     StateCode = "empty-dir-existing"
	StateDiskRolledBack       StateCode = "disk-rolled-back"
	StateInitialClusterWrong  StateCode = "initial-cluster-wrong"
	StateNameNotInInitial     StateCode = "name-not-in-initial-cluster"
	StateForceNewLeftOn       StateCode = "force-new-left-on"
	StateForceNewSpoilt       StateCode = "force-new-spoilt"
	StateLearnerUnstarted     StateCode = "learner-unstarted"
	StateLearnerBehind        StateCode = "learner-behind"
	StateLearnerSlotTaken     StateCode = "learner-slot-taken"
	StatePromotedByUpdate     StateCode = "promoted-by-update"
	StateLearnerBlocksUpgrade StateCode = "learner-blocks-upgrade"
	StateZombieMember         StateCode = "zombie-member"

	StateWALLost            StateCode = "wal-lost"
	StateDBLost             StateCode = "db-lost"
	StateSnapDirLost        StateCode = "snap-dir-lost"
	StateSnapFilesLost      StateCode = "snap-files-lost"
	StateDBCorrupt          StateCode = "db-corrupt"
	StateWALCRC             StateCode = "wal-crc"
	StateWALTorn            StateCode = "wal-torn"
	StateDBOlderThanLog     StateCode = "db-older-than-log"
	StateDirNewerThanBinary StateCode = "dir-newer-than-binary"
	StateDirOlderThanBinary StateCode = "dir-older-than-binary"
	StateDirHeldTwice       StateCode = "dir-held-twice"
	StateDiskFull           StateCode = "disk-full"
	StateSnapshotBad        StateCode = "snapshot-bad"

	StateSpaceExhausted   StateCode = "space-exhausted"
	StateAlarmInherited   StateCode = "alarm-inherited"
	StateCorruptAlarm     StateCode = "corrupt-alarm"
	StateSilentDivergence StateCode = "silent-divergence"
	StateAuthLockedOut    StateCode = "auth-locked-out"
	StateDowngradeStuck   StateCode = "downgrade-stuck"
	StateMixedMinors      StateCode = "mixed-minors"
	StateOverloaded       StateCode = "overloaded"
	StateClientsStale     StateCode = "clients-stale"
	StateRestoreHalfDone  StateCode = "restore-half-done"
	StateChangeUnknown    StateCode = "change-outcome-unknown"
)

// States lists them by number.
func States() []State {
	return []State{
		{1, StateMinorityDown, "some are down, fewer than half, with their data", []int{35, 39}},
		{2, StateMinorityLost, "the data of fewer than half is gone", []int{23}},
		{3, StateQuorumLostRunning, "most are lost, a survivor still runs", []int{12}},
		{4, StateQuorumLostRestarted, "most are lost, and the survivor was restarted", nil},
		{5, StateQuorumLost, "most are lost, a survivor's disk is left", nil},
		{6, StateAllLost, "all data is lost", nil},
		{7, StateSecondUnstarted, "a second voter was added to one and never started", nil},
		{8, StateUnstartedVoters, "several voters were added and never started", nil},
		{9, StateOneOfTwoDead, "one of two is dead", nil},
		{10, StateAllAddressesChanged, "all peer addresses are others", nil},
		{11, StatePeerURLStale, "the list has a stale peer URL for one", nil},
		{12, StateMemberIsolated, "one is cut off from the others", []int{3}},
		{13, StateSplitBrain, "two halves of one ID, after force-new-cluster", nil},
		{14, StateLeaderFlapping, "the leader changes again and again", nil},
		{15, StateClockSkew, "the members' clocks differ", nil},
		{16, StatePeerTLSFailure, "members refuse each other's certificates", nil},
		{17, StateClientTLSFailure, "clients and a member can't agree on TLS", nil},
		{18, StateClusterIDMismatch, "a member of another cluster at one of the addresses", nil},
		{19, StateOldMemberSameID, "an old member that came back under a reused token", []int{52}},
		{20, StatePartlyRestored, "restored from different snapshots, or some not at all", nil},
		{21, StateRemovedMemberExits, "a removed member was started, and exits", nil},
		{22, StateRemovedMemberRuns, "a removed member runs, alone", nil},
		{23, StateEmptyDirNew, "a member was started as new on an empty directory", []int{2}},
		{24, StateEmptyDirExisting, "a member was started as existing on an empty directory, under its old ID", nil},
		{25, StateDiskRolledBack, "a disk was rolled back", nil},
		{26, StateInitialClusterWrong, "a wrong --initial-cluster", nil},
		{27, StateNameNotInInitial, "the name is not in --initial-cluster", nil},
		{28, StateForceNewLeftOn, "--force-new-cluster was left on", nil},
		{29, StateForceNewSpoilt, "--force-new-cluster was used on a learner or a removed member", nil},
		{30, StateLearnerUnstarted, "a learner never started", []int{59}},
		{31, StateLearnerBehind, "a learner does not catch up", nil},
		{32, StateLearnerSlotTaken, "the learner's place is taken", nil},
		{33, StatePromotedByUpdate, "a learner was made a voter by an update of its URLs", nil},
		{34, StateLearnerBlocksUpgrade, "etcd 3.6 refuses to start beside so many learners", nil},
		{35, StateZombieMember, "a member that was removed is listed again", []int{1}},
		{36, StateWALLost, "the WAL is gone, or another's", nil},
		{37, StateDBLost, "the database is gone", []int{38}},
		{38, StateSnapDirLost, "the snap folder is gone", []int{37}},
		{39, StateSnapFilesLost, "old .snap files are gone", []int{1}},
		{40, StateDBCorrupt, "damaged pages in the database", nil},
		{41, StateWALCRC, "a damaged record in the WAL", nil},
		{42, StateWALTorn, "a WAL whose middle is torn", nil},
		{43, StateDBOlderThanLog, "a database older than the log's snapshot", nil},
		{44, StateDirNewerThanBinary, "a directory newer than the binary", nil},
		{45, StateDirOlderThanBinary, "a directory too old for the binary", nil},
		{46, StateDirHeldTwice, "a second process on a directory", nil},
		{47, StateDiskFull, "a disk is full", nil},
		{48, StateSnapshotBad, "the snapshot can't be used", nil},
		{49, StateSpaceExhausted, "the database has reached its quota", nil},
		{50, StateAlarmInherited, "an alarm of a member that is no more", nil},
		{51, StateCorruptAlarm, "etcd found that a member's data differs", nil},
		{52, StateSilentDivergence, "the members' data differs, and etcd did not notice", []int{19}},
		{53, StateAuthLockedOut, "access needs a password that can't be checked without quorum", nil},
		{54, StateDowngradeStuck, "a downgrade was begun and not finished", nil},
		{55, StateMixedMinors, "members run different minor versions", nil},
		{56, StateOverloaded, "the cluster has more to do than it can", nil},
		{57, StateClientsStale, "restored without a revision bump: clients may show what is no more", nil},
		{58, StateRestoreHalfDone, "a restore was begun and not finished", nil},
		{59, StateChangeUnknown, "a change of membership whose outcome is not known", []int{30}},
	}
}
