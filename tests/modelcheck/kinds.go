package main

// condition is what runs and lies at a member's place, and how its address answers.
// Each is a whole observation of one member.
type condition string

// Those that run.
const (
	up         condition = "up"              // serves, as the file wants, under requorum's supervisor
	orphan     condition = "orphan"          // the same, and its supervisor died
	byHand     condition = "by hand"         // the same, started by somebody else
	kept       condition = "kept by another" // the same, and somebody would start it again
	forced     condition = "forced"          // the same without a keeper, with --force-new-cluster
	otherFlags condition = "other flags"     // serves, with settings that are not the file's
	elsewhere  condition = "elsewhere"       // serves, and its directory is not where the file says
	blind      condition = "blind"           // serves, and its directory can't be looked at
	unled      condition = "unled"           // serves, and follows nobody, whatever the others do
	alone      condition = "alone"           // serves as a cluster of one after a force-new
	mismatched condition = "another cluster" // serves, as a member of another cluster
	proxied    condition = "proxied"         // another member answers at its address
	stuck      condition = "stuck"           // runs for long and does not answer
	young      condition = "young"           // was started a moment ago
	dying      condition = "dying"           // dies and is started again and again
	hollow     condition = "hollow"          // runs, does not answer, and its directory is gone
	badTLS     condition = "bad TLS"         // runs, the handshake fails
	badAuth    condition = "bad auth"        // runs, and wants another user
	notEtcd    condition = "not etcd"        // runs, and something else answers
	held       condition = "held"            // its directory is open in a process that nobody knows
)

// Those that have a directory and do not run.
const (
	down         condition = "down"           // whole
	behind       condition = "behind"         // whole, and ends before what was agreed on
	ahead        condition = "ahead"          // whole, ends with writes that may not be agreed on
	risky        condition = "risky tail"     // the same, and one of them deletes
	inDoubt      condition = "in doubt"       // the same, and one of them changes the membership
	newTerm      condition = "new term"       // ends in a later term
	parted       condition = "parted"         // another history, from before what was agreed on
	forcedDisk   condition = "forced disk"    // a force-new made it a cluster of one
	oldList      condition = "old list"       // does not know the last change of membership
	damaged      condition = "damaged"        // its log fails its checksum
	unreadable   condition = "unreadable"     // whose it is can't be read
	spoilt       condition = "spoilt"         // reads well; etcd's last words say that it lost entries
	emptied      condition = "emptied"        // reads well; its log is empty, though it is listed as one that ran
	foreignDir   condition = "foreign"        // of another cluster
	twin         condition = "twin"           // a copy of the first member's
	wasRemoved   condition = "was removed"    // of an ID that the membership does not have
	fenced       condition = "fenced"         // whole, behind requorum's fence
	otherService condition = "other's file"   // whole; another file's service is installed there
	newer        condition = "newer on disk"  // whole, written by a later minor
	byItself     condition = "restored alone" // restored by hand, never started
	disagreeing  condition = "not as claimed" // whole; the provenance beside it says other IDs
)

// Those without a directory, and those that can't be looked at.
const (
	fresh    condition = "fresh"       // nothing, and nothing says there ever was
	emptyDir condition = "empty"       // an empty directory, as fresh
	lost     condition = "lost"        // nothing where a member was (S6)
	lostMute condition = "lost, hangs" // the same, and something is at its address
	lostFar  condition = "lost, far"   // the same, and its address leads nowhere
	reborn   condition = "lost, tried" // the same, and its unit starts an etcd there again and again, which the others refuse
	notADir  condition = "not a dir"
	taken    condition = "port taken" // nothing here, and its address belongs to somebody else
	unread   condition = "unread"     // its directory can't be looked at, nothing answers
	away     condition = "away"       // its host does not answer at all
	claimed  condition = "claimed"    // a restore's token is written, nothing else
	staged   condition = "staged"     // and its directory restored beside the place
	ready    condition = "installed"  // and put in place, never started
)

// role is how the file, or the cluster's list, has a member.
type role byte

const (
	none    role = '-'
	voter   role = 'v'
	learner role = 'l'
	// In the list only: added, and never started.
	newVoter   role = 'V'
	newLearner role = 'L'
)

// kind is what a member is, all of it but its name: a state has so many of each.
type kind struct {
	file, list role
	cond       condition
	moved      bool // the file has other peer URLs than the list
	plain      bool // an everyday one; the bounds allow many of these and few others
}

func (k kind) String() string {
	s := string(k.cond) + " " + string(k.file) + string(k.list)
	if k.moved {
		s += " moved"
	}
	return s
}

// kinds are all kinds within bounds: each condition in each role in which it is
// consistent.
func kinds() []kind {
	var out []kind
	add := func(file, list role, conds ...condition) {
		for _, c := range conds {
			out = append(out, kind{file: file, list: list, cond: c})
		}
	}
	add(voter, voter, up, orphan, byHand, kept, forced, otherFlags, elsewhere, blind, unled, alone, proxied, mismatched,
		stuck, young, dying, hollow, badTLS, badAuth, notEtcd, held,
		down, behind, ahead, risky, inDoubt, newTerm, parted, forcedDisk, oldList, damaged, unreadable, spoilt, emptied, foreignDir,
		twin, wasRemoved, fenced, otherService, newer, disagreeing,
		fresh, emptyDir, lost, lostMute, lostFar, reborn, notADir, taken, unread, away, claimed, staged, ready)
	few := []condition{up, orphan, forced, stuck, down, behind, damaged, fenced, lost, away}
	add(voter, learner, few...)   // to be promoted
	add(learner, voter, few...)   // to be a learner again
	add(learner, learner, few...) // stays one
	empty := []condition{fresh, lost, young}
	add(voter, newVoter, empty...)
	add(voter, newLearner, empty...)
	add(learner, newLearner, fresh, lost)
	add(learner, newVoter, fresh, lost)
	add(voter, none, fresh, lost, wasRemoved, foreignDir, damaged, fenced, ready, taken, lostFar, unread)
	add(learner, none, fresh, lost, wasRemoved)
	add(none, voter, up, lost, lostMute, away)
	add(none, learner, up, lost)
	add(none, newVoter, fresh)
	add(none, newLearner, fresh)
	for _, c := range []condition{up, byHand, otherFlags, down, fenced, lost, stuck, damaged} {
		out = append(out, kind{file: voter, list: voter, cond: c, moved: true})
	}
	for _, c := range []condition{up, down} {
		out = append(out, kind{file: voter, list: learner, cond: c, moved: true}, kind{file: learner, list: voter, cond: c, moved: true})
	}
	for i := range out {
		out[i].plain = everyday[kind{file: out[i].file, list: out[i].list, cond: out[i].cond, moved: out[i].moved}]
	}
	return out
}

// everyday are the kinds of which the bounds allow any number.
var everyday = map[kind]bool{
	{file: voter, list: voter, cond: up}:              true,
	{file: voter, list: voter, cond: down}:            true,
	{file: voter, list: voter, cond: stuck}:           true,
	{file: voter, list: voter, cond: lost}:            true,
	{file: voter, list: voter, cond: damaged}:         true,
	{file: voter, list: voter, cond: fenced}:          true,
	{file: voter, list: learner, cond: up}:            true,
	{file: voter, list: newVoter, cond: fresh}:        true,
	{file: voter, list: none, cond: fresh}:            true,
	{file: none, list: voter, cond: up}:               true,
	{file: none, list: voter, cond: away}:             true,
	{file: voter, list: voter, cond: fresh}:           true,
	{file: voter, list: voter, cond: up, moved: true}: true,
}

// runs reports whether a process of the member's is up.
func (k kind) runs() bool {
	switch k.cond {
	case up, orphan, byHand, kept, forced, otherFlags, elsewhere, blind, unled, alone, proxied, mismatched, stuck, young, dying, hollow, badTLS, badAuth, notEtcd, held:
		return true
	}
	return false
}

// serves reports whether an etcd answers clients at the member's address.
func (k kind) serves() bool {
	switch k.cond {
	case up, orphan, byHand, kept, forced, otherFlags, elsewhere, blind, unled, alone, mismatched:
		return true
	}
	return false
}

// follows reports whether the member takes part in a quorum, where there is one.
func (k kind) follows() bool {
	return k.serves() && k.cond != unled && k.cond != alone && k.cond != mismatched
}

// listed reports whether the cluster's own list has the member.
func (k kind) listed() bool { return k.list != none }

// votes reports whether it has it as a voter.
func (k kind) votes() bool { return k.list == voter || k.list == newVoter }

// hasList reports whether the member's disk has a member list that can be read.
func (k kind) hasList() bool {
	switch k.cond {
	case down, behind, ahead, risky, inDoubt, newTerm, parted, damaged, spoilt, twin, fenced, otherService, newer, disagreeing, stuck, dying, badTLS, badAuth, notEtcd, held:
		return k.listed()
	case wasRemoved:
		return true
	}
	return false
}
