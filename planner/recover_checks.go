package planner

import (
	"fmt"
	"slices"
	"strings"
)

// refuseNoSurvivor is for directories none of which can be used.
func (b *builder) refuseNoSurvivor() *Refusal {
	m := b.members[0]
	var texts []string
	for _, x := range b.members {
		if x.survivor().Problem != "" {
			m = x
			texts = append(texts, fmt.Sprintf("%s: %s", x.spec.DataDir, x.survivor().Problem))
		}
	}
	remedy := []string{"Keep the directories as they are: they may hold what no other disk has."}
	if b.cluster.Snapshot != nil && b.cluster.Snapshot.Source != "" {
		remedy = append(remedy, "To restore the snapshot instead, move them away by hand; then plan again.")
	} else {
		remedy = append(remedy, "If there is a snapshot, name it in the file and move the directories away by hand; then plan again.")
	}
	return refusal(CodeDataDamaged, m.spec.Pos, "no data directory that is left can be started", strings.Join(texts, "; ")+".", remedy...)
}

// checkListKnown: without the member list nobody knows who else there may be.
func (b *builder) checkListKnown() *Refusal {
	if b.list != nil {
		return nil
	}
	m := b.members[0]
	if h := b.newest(); h != nil {
		m = h
	}
	return refusal(CodeDataUnknown, m.spec.Pos, "it is not known who is in the cluster",
		fmt.Sprintf("%s has the newest log, and its member list can't be read: %s.", m.spec.Name, orWord(m.seenText(), "no answer")),
		"If its process hangs: stop it (keep its directory as it is), then plan again; a stopped member's list is read from its disk.")
}

// checkFenceable: what runs and can't be told from its directory can't be stopped
// for sure either, and a directory without a readable identity is nobody's to move.
func (b *builder) checkFenceable() *Refusal {
	for _, m := range b.members {
		runs := m.cond == condServing || m.processRuns()
		switch {
		case m.hasData():
		case runs:
			return refusal(CodeDataUnknown, m.spec.Pos, m.spec.Name+" runs, and its directory can't be told",
				fmt.Sprintf("%s; %s: %s. It has to be stopped before a new cluster begins.", m.seenText(), m.spec.DataDir, m.dataText()),
				"Save a snapshot from it if it answers, stop it, and plan again.")
		case m.seen.Data.Known() && m.data().State == DirPresent:
			return refusal(CodeDataDamaged, m.spec.Pos, m.spec.Name+"'s directory has no readable log, so that it is not known whose it is",
				fmt.Sprintf("%s: %s.", m.spec.DataDir, m.dataText()),
				"Keep it: move it away by hand, to a place of its own, then plan again.")
		}
	}
	return nil
}

// checkKeepers: a process that somebody else keeps running is fenced from its
// data, but its keeper goes on trying, and the new member could never start there.
func (b *builder) checkKeepers() *Refusal {
	for _, m := range b.members {
		if f := m.foreign(); f != nil && f.Keeper != "" {
			return refusal(CodeForeignKeeper, m.spec.Pos, m.spec.Name+" is kept running by somebody else",
				fmt.Sprintf("Process %d is kept running by %s.", f.PID, f.Keeper),
				"If it still answers, save a snapshot from it first: etcdctl snapshot save.",
				"Then stop it there, so that it is not started again, and plan again.")
		}
	}
	return nil
}

// checkGone is S2: a new identity begins only once too few of the old voters can be
// alive elsewhere, unless each was named as destroyed; whoever answers is not.
func (b *builder) checkGone() *Refusal {
	for _, check := range []func() *Refusal{b.checkOthersAlive, b.checkOthersDisks} {
		if r := check(); r != nil {
			return r
		}
	}
	var elsewhere []ListedMember
	for _, l := range b.list {
		if f := b.runsUnseen(l.Name, l.PeerURLs); f != nil {
			return b.refuseUnseen(nameOf(l), f)
		}
		if o := b.other(l.ID); l.Learner && o != nil && (o.Client.Reach == ReachServing || o.Peer.Reach == ReachServing) {
			b.note(NoteUnfenced, b.cluster.Pos, "%s, a learner, runs where it can't be stopped: it has no vote, but may go on serving stale reads", nameOf(l))
		}
		if l.Learner || b.ofFile(l) != nil && b.within(l) {
			continue
		}
		elsewhere = append(elsewhere, l)
	}
	if len(elsewhere) == 0 {
		return nil
	}
	doubt := slices.ContainsFunc(b.holders(), (*member).membershipInDoubt)
	if len(elsewhere) < majority(b.listedVoters()) && !doubt {
		alone, be := "alone it", "it"
		if len(elsewhere) > 1 {
			alone, be = "by themselves they", "any of them"
		}
		b.note(NoteUnfenced, b.cluster.Pos, "%s can't be looked at: %s can't form a quorum of the members that the newest disk here has, but should %s be alive it may still serve stale serializable reads", listText(elsewhere), alone, be)
		return nil
	}
	for _, l := range elsewhere {
		name := nameOf(l)
		if slices.ContainsFunc(b.list, func(o ListedMember) bool { return o.ID != l.ID && o.Name == l.Name }) {
			name = l.ID // two hosts, two consents
		}
		b.need(Consent(string(ConsentHostDestroyed)+":"+name), "%s can't be looked at, and with others like it might serve as a quorum of its own: say so only if its host is gone for good", listText([]ListedMember{l}))
	}
	return nil
}

// checkOthersAlive refuses to begin a new identity, or to go on with one that has not
// run yet, beside a voter that answers where nobody could stop it: one of any list that
// was seen, for the newest disk's may be from before it came.
func (b *builder) checkOthersAlive() *Refusal {
	for _, o := range b.obs.Others {
		l := o.ListedMember
		if l.Learner && !o.votes() || !alive(o.Client.Reach) && !alive(o.Peer.Reach) || o.replacedAt(b.plan.ClusterID) || b.ofFile(l) != nil && b.within(l) {
			continue
		}
		return refusal(CodeHostAlive, b.cluster.Pos, nameOf(l)+" is alive, and not where it could be stopped",
			fmt.Sprintf("%s answers at %s. A second cluster beside it would split the data.", nameOf(l), orWord(firstServing(o), "its address")),
			fmt.Sprintf("If %d of the %d voters still run somewhere, the cluster is not lost: bring the network back, plan again.", majority(b.listedVoters()), b.listedVoters()),
			"If it is to go: stop it where it runs and keep its disk, or put it into the file so that requorum can.")
	}
	return nil
}

// checkOthersDisks refuses to begin a new identity while the disk of a voter that the
// file does not have any more lies where the journal has it, as where it was about to be
// removed: with it there may be a majority yet (S1), or a newer survivor.
func (b *builder) checkOthersDisks() *Refusal {
	for _, o := range b.obs.Others {
		l := b.listed(o.ID)
		if o.Disk == nil || !o.Disk.Data.Known() || l.ID == "" || l.Learner {
			continue
		}
		d := o.Disk.Data.Value
		if d.State != DirPresent || d.MemberID != o.ID || d.Problem != "" {
			continue
		}
		name := nameOf(o.ListedMember)
		return refusal(CodeVoterOutside, b.cluster.Pos, name+" is a voter, and its disk is here, but the file does not have it",
			fmt.Sprintf("The cluster lists %s as a voter, and its data is whole, at %s%s. With it a start may be all that is needed; a new cluster without it could lose what it alone has.", name, o.Disk.Place.DataDir, onHost(o.Disk.Place.Host)),
			fmt.Sprintf("Put it into the file again, as it was (data_dir = %q, peer_urls = %s), and plan: it is started, and counts. Take it out again when the cluster serves: it is removed in order then.", o.Disk.Place.DataDir, urlList(o.PeerURLs)),
			"If it is to be given up with what it has: move its directory to another place, and plan again.")
	}
	return nil
}

func onHost(host string) string {
	if host == "" {
		return ""
	}
	return " on " + host
}

// urlList is a list of URLs as the file has one.
func urlList(urls []string) string {
	quoted := make([]string, 0, len(urls))
	for _, u := range urls {
		quoted = append(quoted, fmt.Sprintf("%q", u))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// votes reports whether a member says itself that it is a voter: the list that has it as
// a learner is from before it was promoted.
func (o OtherMember) votes() bool {
	return o.Client.Reach == ReachServing && o.Client.MemberID == o.ID && !o.Client.Learner
}

// replacedAt reports whether everything that answers at the member's addresses proves to
// be of another cluster and not to know the member: the address was given to somebody
// else, and says as little of the member as one that does not answer.
func (o OtherMember) replacedAt(clusterID string) bool {
	c, p := o.Client, o.Peer
	foreign := func(id string) bool { return id != "" && clusterID != "" && id != clusterID }
	client := c.Reach == ReachServing && foreign(c.ClusterID) && c.MemberID != o.ID
	peer := p.Reach == ReachServing && foreign(p.ClusterID) && p.Members.Known() &&
		!slices.ContainsFunc(p.Members.Value, func(l ListedMember) bool { return l.ID == o.ID })
	return (client || !alive(c.Reach)) && (peer || !alive(p.Reach))
}

// runsUnseen is an etcd on a machine of the file that runs by that name and with one of
// these peer URLs, and that is at no place of the file: in a network of its own,
// perhaps; nil for none.
func (b *builder) runsUnseen(name string, urls []string) *Foreign {
	for i, f := range b.obs.Etcds {
		known := slices.ContainsFunc(b.members, func(m *member) bool {
			return m.seen.Host == f.Host && (m.seen.Service.Value.PID == f.PID || m.data().HeldBy == f.PID || m.foreign() != nil && m.foreign().PID == f.PID)
		})
		own := strings.Split(f.Settings["initial-advertise-peer-urls"], ",")
		if !known && name != "" && f.Settings["name"] == name && listensAt(own, urls) {
			return &b.obs.Etcds[i]
		}
	}
	return nil
}

// checkJournalRuns refuses to begin a cluster beside members of the one that was here:
// the journal knows them and they run on a machine of the file, though the file has them no more.
func (b *builder) checkJournalRuns() *Refusal {
	for _, p := range b.obs.JournalPlaces {
		if slices.ContainsFunc(b.members, func(m *member) bool {
			return m.spec.DataDir == p.DataDir && m.seen.Host == p.Host
		}) {
			continue
		}
		for _, f := range b.obs.Etcds {
			if f.Settings["data-dir"] == p.DataDir && f.Host == p.Host {
				return refusal(CodeHostAlive, b.cluster.Pos, p.Name+" of the cluster that was here still runs",
					fmt.Sprintf("Process %d runs on %s, which the file that was last applied here had as %s; this file does not have it. A new cluster beside it would split the data.", f.PID, p.DataDir, p.Name),
					"If its cluster is the one you want back: name it in the file again, and plan.",
					"If it is to go: save a snapshot from it, stop it and keep its directory; then plan again.")
			}
		}
	}
	return nil
}

func (b *builder) refuseUnseen(name string, f *Foreign) *Refusal {
	return refusal(CodeHostAlive, b.cluster.Pos, name+" is alive, and not where it could be stopped",
		fmt.Sprintf("Process %d on %s runs as %s, with its peer URL, on %s; its address leads nowhere from here.", f.PID, orWord(f.Host, "this machine"), name, orWord(f.Settings["data-dir"], "another directory")),
		"If it and others still serve, the cluster is not lost: bring the network back, or run requorum where they can be reached.",
		"If it is to go: stop it and keep its disk, then plan again.")
}

// within reports whether the listed member can't be alive but where the plan stops
// it: its disk is at a place of the file, or its address is one and nothing
// listens there.
func (b *builder) within(l ListedMember) bool {
	m := b.ofFile(l)
	if m.survivor().MemberID == l.ID {
		return true
	}
	return m.seen.Peer.Reach == ReachRefused && SameURLs(l.PeerURLs, m.spec.PeerURLs) && m.seen.Data.Known()
}

func (b *builder) other(id string) *OtherMember {
	for i, o := range b.obs.Others {
		if o.ID == id {
			return &b.obs.Others[i]
		}
	}
	return nil
}

func nameOf(l ListedMember) string { return orWord(l.Name, l.ID) }

// alive reports whether something is at an address, though it may only hang.
func alive(r Reach) bool { return r == ReachServing || r.Mute() }

func firstServing(o OtherMember) string {
	if alive(o.Client.Reach) {
		return fmt.Sprintf("%s (%s)", o.Client.URL, o.Client.Reach)
	}
	return fmt.Sprintf("%s (%s)", o.Peer.URL, o.Peer.Reach)
}

// checkRecoverBinary is S12: the copy is opened by the survivor's own minor.
func (b *builder) checkRecoverBinary(chosen survivor) *Refusal {
	if r := b.checkBinary(chosen.m); r != nil {
		return r
	}
	d := chosen.d
	have := minor(orWord(d.StorageVersion, d.ClusterVersion))
	if e := chosen.m.seen.Client; e.Reach == ReachServing {
		have = minor(e.Version)
	}
	if want := minor(chosen.m.seen.Binary.Value.Version); have > 0 && have != want && want != chosen.m.lastMinor(b.cluster.Etcd) {
		return refusal(CodeBinaryVersion, b.cluster.Etcd.Pos, "the survivor has to be opened by an etcd of its own minor version",
			fmt.Sprintf("%s was written by etcd 3.%d; %s is etcd %s, and what it makes of it might not be readable by the members.", d.Path, have, binaryName(b.binaryOf(chosen.m)), chosen.m.seen.Binary.Value.Version),
			fmt.Sprintf("Name an etcd 3.%d in etcd { binary = … }; upgrade afterwards.", have))
	}
	return nil
}

// checkRecoverRoom is S20: filling the last survivor's disk would be fatal. The
// copy, the snapshot made of it, and each member's new directory need room.
func (b *builder) checkRecoverRoom(chosen survivor) *Refusal {
	if chosen.m.seen.Base == "" {
		return refusal(CodeDataUnknown, chosen.m.spec.Pos, "it is not known where the recovery of "+chosen.m.spec.Name+" could keep its copy",
			"Nothing says where requorum keeps what belongs to "+chosen.m.spec.DataDir+".", "Plan again, on the host itself.")
	}
	size := chosen.d.DBSize + walSize
	need := map[string]int64{chosen.m.fileSystem(): 2*size + binarySize}
	for _, m := range initial(b.members) {
		need[m.fileSystem()] += size
		if m.seen.Host != chosen.m.seen.Host { // a copy of the snapshot comes there first
			need[m.fileSystem()] += size
		}
	}
	for _, m := range b.members {
		n := need[m.fileSystem()] + need[m.fileSystem()]/10
		if free := m.seen.FreeBytes; free.Known() && free.Value < n {
			return refusal(CodeNoRoom, m.spec.Pos, "there is no room to recover",
				fmt.Sprintf("The file system of %s has %d MiB free; %d MiB are needed there: a copy of %s's data, the snapshot made of it, and new directories, a tenth to spare. Nothing was written.", m.spec.DataDir, free.Value>>20, n>>20, chosen.m.spec.Name),
				"Make room there, but not by removing anything of etcd's, or choose another data_dir for the other members.")
		}
	}
	return nil
}

// checkInPlace: the survivor goes on as what it is, and the others join it.
func (b *builder) checkInPlace(chosen survivor) *Refusal {
	if chosen.m.spec.Learner {
		return refusal(CodeSurvivorWrong, chosen.m.spec.Pos, chosen.m.spec.Name+" can't go on in place",
			"The file has it as a learner, and in place it would be the only voter.",
			"Make it a voter in the file, or leave in_place out.")
	}
	if chosen.role != "" {
		return refusal(CodeSurvivorWrong, b.cluster.Recover.Pos, chosen.m.spec.Name+" can't go on in place",
			fmt.Sprintf("It is a %s of its cluster, and would go on as one.", chosen.role),
			"Leave in_place out: its data is then restored to all members under a new identity.")
	}
	return b.checkSlot(&changes{})
}
