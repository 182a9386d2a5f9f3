package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// checkSupported refuses what the file may say and this version does not carry
// out: nothing of a file is ever ignored.
func (b *builder) checkSupported() *Refusal {
	c := b.cluster
	for _, m := range c.Members {
		h, _ := c.Host(m.Host)
		switch {
		case h.Access == spec.AccessManual:
			return refusal(CodeHostUnsupported, h.Pos, fmt.Sprintf("member %s is on host %s, which requorum has no access to", m.Name, h.Name),
				"The host has an address and no way in: this version does not plan for members that a person has to touch.",
				"Add ssh {} to the host, with the user to log in as; host keys and logins are those of your own ssh.",
				"Or run requorum on the host itself, with the members there as local ones.")
		case h.Service.Kind == spec.ServiceCommand:
			return refusal(CodeServiceUnsupported, h.Service.Pos, fmt.Sprintf("member %s is to run under %s", m.Name, h.Service.Kind),
				"This version runs members under systemd or its own supervisor only.",
				`Write service "systemd" { unit = … }, or leave the service block out.`)
		}
	}
	for _, f := range []struct {
		used bool
		pos  func() spec.Position
		name string
	}{
		{c.Auth != nil, func() spec.Position { return c.Auth.Pos }, "the auth block"},
		{strings.Contains(c.Etcd.Binary, "{minor}"), func() spec.Position { return c.Etcd.BinaryPos }, "{minor} in a binary's path"},
	} {
		if f.used {
			return refusal(CodeFeatureUnsupported, f.pos(), f.name+" is not carried out yet",
				"The file is valid, but this version can't do what it asks for here.", "Take it out of the file, or use a later version.")
		}
	}
	return nil
}

// checkIdentity refuses a cluster, or a directory, that is not the file's (S5).
func (b *builder) checkIdentity() *Refusal {
	for _, check := range []func() *Refusal{b.checkClaims, b.checkOneID, b.checkPinnedID, b.checkForeignList, b.checkForeignData, b.checkElsewhere, b.checkDirs} {
		if r := check(); r != nil {
			return r
		}
	}
	return nil
}

// sighting is one place where a cluster ID was seen.
type sighting struct {
	id, name, where string
	onDisk          bool
}

func (b *builder) sightings() []sighting {
	var out []sighting
	for _, m := range b.members {
		if e := m.seen.Client; e.Reach == ReachServing && e.ClusterID != "" {
			out = append(out, sighting{e.ClusterID, m.spec.Name, m.spec.Name + " at " + e.URL, false})
		}
		if e := m.seen.Peer; e.Reach == ReachServing && e.ClusterID != "" {
			out = append(out, sighting{e.ClusterID, m.spec.Name, m.spec.Name + " at " + e.URL, false})
		}
		if m.hasData() && m.cond != condPristine {
			out = append(out, sighting{m.data().ClusterID, m.spec.Name, m.spec.Name + "'s directory " + m.spec.DataDir, true})
		}
	}
	return out
}

// checkOneID refuses more than one cluster ID among what runs and lies here.
func (b *builder) checkOneID() *Refusal {
	seen := b.sightings()
	for _, m := range with(b.members, condFenced) {
		if d := m.survivor(); !b.quorum.Has() && len(seen) > 0 && d.ClusterID != "" && !d.bare() && !b.succeeded(d.ClusterID, seen[0].id) {
			seen = append(seen, sighting{d.ClusterID, m.spec.Name, m.spec.Name + "'s directory behind the fence", true})
		}
	}
	for _, s := range seen {
		if s.id == seen[0].id {
			continue
		}
		code, title := CodeClusterIDMismatch, "more than one cluster among the members of this file"
		switch {
		case s.onDisk && b.isStray(s, seen[0]):
			code, title = CodeForeignData, s.name+"'s data directory belongs to another cluster than the one that runs"
		case seen[0].onDisk && b.isStray(seen[0], s):
			code, title = CodeForeignData, seen[0].name+"'s data directory belongs to another cluster than the one that runs"
		case s.onDisk != seen[0].onDisk:
			code, title = CodeForeignCluster, "another cluster answers at an address of this file"
		case s.onDisk:
			code, title = CodeForeignData, "the data directories belong to different clusters"
		}
		return refusal(code, b.cluster.Pos, title,
			fmt.Sprintf("%s has cluster ID %s, %s has %s.", seen[0].where, seen[0].id, s.where, s.id),
			"Find out which one is right: etcdctl member list at each address; nothing was changed.",
			"Correct the address or the data directory in the file, or stop the stray process.")
	}
	return nil
}

// isStray reports whether a directory is the odd one beside what another member serves:
// most of the file's members serve that cluster.
func (b *builder) isStray(dir, served sighting) bool {
	n := 0
	for _, m := range with(b.members, condServing) {
		if m.seen.Client.ClusterID == served.id {
			n++
		}
	}
	return !served.onDisk && dir.name != served.name && n >= majority(len(b.members))
}

// succeeded reports whether what is of the old cluster may lie behind a fence beside
// the one with the ID next: they are one, or a record says that requorum began next.
func (b *builder) succeeded(old, next string) bool {
	return old == next || slices.ContainsFunc(b.members, func(m *member) bool {
		p := m.provenance()
		return p != nil && p.ClusterID == next
	})
}

// checkPinnedID compares the ID that was seen with the file's, and without one
// there, with the last that this machine's journal has.
func (b *builder) checkPinnedID() *Refusal {
	seen := b.sightings()
	want, from := b.cluster.ID, "the file pins"
	if want == "" {
		want, from = b.obs.JournalClusterID, "last time it was"
	}
	for _, m := range b.holders() { // what a start would put back, where all of it is fenced
		if d := m.survivor(); len(seen) == 0 && m.cond == condFenced && !d.bare() {
			seen = append(seen, sighting{d.ClusterID, m.spec.Name, "behind the fence " + m.spec.Name, true})
		}
	}
	if want == "" || len(seen) == 0 || seen[0].id == want {
		return nil
	}
	for _, m := range b.members {
		if p := m.provenance(); p != nil && p.ClusterID == seen[0].id && (p.Replaces == want || b.cluster.ID == "") {
			if b.cluster.ID != "" {
				b.note(NoteRemaining, b.cluster.Pos, "the cluster was restored and has a new ID: write id = %q in the file", seen[0].id)
			}
			return nil
		}
	}
	return refusal(CodeClusterIDChanged, b.cluster.Pos, "this is not the cluster that it was",
		fmt.Sprintf("%s has cluster ID %s; %s %s.", seen[0].where, seen[0].id, from, want),
		"Check that the addresses and directories in the file are the ones you mean.",
		fmt.Sprintf("If this is the right cluster, say so in the file: id = %q.", seen[0].id))
}

// checkForeignList refuses a live cluster whose members are not the file's: a
// name that resolves to somebody else's cluster.
func (b *builder) checkForeignList() *Refusal {
	for _, m := range b.members {
		for _, list := range []Fact[[]ListedMember]{m.seen.Client.Members, m.seen.Peer.Members} {
			if !list.Known() || len(list.Value) == 0 {
				continue
			}
			listed, shared := 0, 0
			for _, l := range list.Value {
				if l.Learner || !hasRun(l) {
					continue
				}
				listed++
				if b.fileHas(l) || slices.Contains(b.obs.JournalMembers, l.Name) {
					shared++
				}
			}
			if shared < majority(listed) && (b.cluster.ID == "" || b.cluster.ID != m.servedID()) {
				return refusal(CodeForeignCluster, m.spec.Pos, "another cluster answers at "+m.spec.Name+"'s address",
					fmt.Sprintf("Its members are %s; %d of its %d voters are in the file, a majority has to be.", listText(list.Value), shared, listed),
					"Check the addresses in the file; nothing was changed.",
					fmt.Sprintf("If it is this cluster, and the others are to be removed, say so in the file: id = %q.", m.servedID()))
			}
		}
	}
	return nil
}

// fileHas reports whether an entry is a member of the file by what does not follow
// from the address that it was seen at: its peer URLs, or the ID on the disk.
func (b *builder) fileHas(l ListedMember) bool {
	for _, m := range b.members {
		if SameURLs(l.PeerURLs, m.spec.PeerURLs) || m.survivor().MemberID == l.ID {
			return true
		}
	}
	return false
}

// servedID is the cluster ID that the member's addresses give; "" for none.
func (m *member) servedID() string { return orWord(m.seen.Client.ClusterID, m.seen.Peer.ClusterID) }

// ofFile finds the member of the file that an entry of a member list is: by the ID
// that it serves as or that its disk has, otherwise by the peer URLs.
func (b *builder) ofFile(l ListedMember) *member {
	for _, m := range b.members {
		if m.id() == l.ID {
			return m
		}
	}
	for _, m := range b.members {
		if SameURLs(l.PeerURLs, m.spec.PeerURLs) && b.entry(m) == nil {
			return m
		}
	}
	return nil
}

func listText(ms []ListedMember) string {
	var out []string
	for _, m := range ms {
		name := m.Name
		if name == "" {
			name = "(unstarted)"
		}
		out = append(out, name+" "+strings.Join(m.PeerURLs, ","))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// checkForeignData refuses two directories of one member, and a directory of
// one member under another's name.
func (b *builder) checkForeignData() *Refusal {
	byID := map[string]*member{}
	for _, m := range b.members {
		if !m.hasData() || m.cond == condPristine {
			continue
		}
		d := m.data()
		if other := byID[d.MemberID]; other != nil {
			return refusal(CodeForeignData, m.spec.Pos, fmt.Sprintf("%s and %s have the same member's data", other.spec.Name, m.spec.Name),
				fmt.Sprintf("Both directories hold member ID %s: one is a copy of the other.", d.MemberID),
				"Find the copy and move it away; never start both.")
		}
		byID[d.MemberID] = m
		if e := m.seen.Client; e.Reach == ReachServing && e.MemberID != d.MemberID {
			return refusal(CodeForeignData, m.spec.Pos, m.spec.Name+"'s address and directory are different members",
				fmt.Sprintf("At %s serves member %s; %s holds member %s.", e.URL, e.MemberID, m.spec.DataDir, d.MemberID),
				"Correct client_urls or data_dir in the file.")
		}
		for _, l := range d.Members {
			if l.ID == d.MemberID && l.Name != "" && l.Name != m.spec.Name {
				if other, ok := b.cluster.Member(l.Name); ok {
					return refusal(CodeForeignData, m.spec.Pos, fmt.Sprintf("%s has %s's data directory", m.spec.Name, other.Name),
						fmt.Sprintf("%s holds member %s, whose name is %s.", m.spec.DataDir, d.MemberID, l.Name),
						"Exchange the data_dir lines in the file, or the directories.")
				}
			}
		}
	}
	return nil
}

// checkData refuses to plan over what could not be read.
func (b *builder) checkData() *Refusal {
	for _, m := range b.members {
		if m.cond == condServing {
			continue
		}
		d := m.seen.Data
		switch {
		case !d.Known():
			return refusal(CodeDataUnknown, m.spec.Pos, m.spec.Name+"'s data directory can't be read",
				fmt.Sprintf("%s: %s. It may hold acknowledged writes.", m.spec.DataDir, d.Why),
				m.accessRemedy())
		case d.Value.State == DirNotDir:
			return refusal(CodeNotADirectory, m.spec.Pos, m.spec.Name+"'s data_dir is not a directory",
				m.spec.DataDir+" is something else.", "Correct data_dir in the file, or move what lies there away.")
		}
	}
	// A directory whose log can't be read has no survivor's place either.
	if damaged := with(b.members, condDamaged); len(damaged) > 0 && len(b.holders()) == 0 && !b.quorum.Has() {
		return b.refuseNoSurvivor()
	}
	return nil
}

// accessRemedy is what makes an unknown directory a known one.
func (m *member) accessRemedy() string {
	if m.seen.Host != "" {
		return "See to it that ssh reaches the host and that its disk can be read there, then plan again."
	}
	return "Give requorum access to it (run as root, or as the user etcd runs as), then plan again."
}

// checkBehindFences: what a fence keeps and can't be read may be the last of a cluster,
// which nothing else may take the place of unasked.
func (b *builder) checkBehindFences() *Refusal {
	for _, m := range with(b.members, condFenced) {
		if d := m.survivor(); d.ClusterID == "" {
			return refusal(CodeDataDamaged, m.spec.Pos, "what is behind "+m.spec.Name+"'s fence can't be read",
				fmt.Sprintf("%s: %s. It may hold acknowledged writes.", orWord(m.behindFence(), m.spec.DataDir), orWord(d.Problem, "nothing is known of it")),
				"Keep it. If a disk is not mounted, mount it, and plan again.",
				"If it is lost for good: move "+m.spec.DataDir+" away, the plain file that stands in the directory's place; then plan again, without that data.")
		}
	}
	return nil
}

// behindFence is where what the member's fence keeps lies; "" where that is not known.
func (m *member) behindFence() string {
	if f := m.data().Fenced; f != nil {
		return f.Path
	}
	return ""
}

// checkDisagreement refuses addresses that do not answer as the file's members
// would.
func (b *builder) checkDisagreement() *Refusal {
	for _, m := range b.members {
		if m.cond == condServing {
			continue
		}
		e := m.seen.Client
		switch {
		case m.cond == condRunning && e.Reach == ReachTLSFailed:
			return refusal(CodeTLSFailed, m.spec.Pos, "TLS with "+m.spec.Name+" fails", e.URL+": "+e.Detail+".",
				"Correct the scheme of client_urls, or the certificates.")
		case m.cond == condRunning && e.Reach == ReachAuth && b.lacksQuorum():
			return refusal(CodeAuthLockedOut, m.spec.Pos, "nobody can log in while there is no quorum", e.URL+": "+e.Detail+". A password is checked by a read that a quorum has to agree to.",
				"Start the members that are down by hand, as they were: with a quorum the password counts again.",
				"Where clients have certificates, etcdctl with one for the user root (its CN) saves a snapshot without a quorum.",
				"Otherwise stop "+m.spec.Name+", keep its directory, and plan again: what is left is then read from the disks.")
		case m.cond == condRunning && e.Reach == ReachAuth:
			return refusal(CodeAuthRequired, m.spec.Pos, m.spec.Name+" wants another user or password", e.URL+": "+e.Detail+".",
				"Clusters with auth come with a later version.")
		case m.cond == condRunning && e.Reach == ReachWrongService:
			return refusal(CodeWrongService, m.spec.Pos, "no etcd answers at "+m.spec.Name+"'s address", e.URL+": "+e.Detail+".",
				"Correct client_urls in the file.")
		case len(m.seen.PortsTaken) > 0:
			return refusal(CodePortTaken, m.spec.Pos, m.spec.Name+"'s address is in use by something else",
				fmt.Sprintf("%s answers, though %s does not run here (%s).", strings.Join(m.seen.PortsTaken, ", "), m.spec.Name, m.portDetail()),
				"Stop what listens there, or change the URL in the file.")
		}
	}
	return nil
}

func (m *member) portDetail() string {
	if m.seen.Client.Detail != "" {
		return string(m.seen.Client.Reach) + ": " + m.seen.Client.Detail
	}
	return string(m.seen.Client.Reach)
}

// checkEqual refuses to call a cluster one that isn't (S4).
func (b *builder) checkEqual() *Refusal {
	if why := b.partlyRestored(); why != "" {
		return b.refusePartlyRestored(why)
	}
	if kv := b.obs.KV; kv.Known() && !kv.Value.Equal && len(b.outvoted()) == 0 {
		return refusal(CodeDiverged, b.cluster.Pos, "the members hold different data",
			fmt.Sprintf("HashKV at revision %d: %s.", kv.Value.Revision, b.hashText()),
			"Save a snapshot from each member before anything else: etcdctl --endpoints=EACH snapshot save FILE.",
			"No majority of the voters has the same, so that a person has to decide which data is right: stop the members that have the other, move their directories away, and plan again; they are added anew, empty.")
	}
	var leader *member
	for _, m := range with(b.members, condServing) {
		if m.seen.Client.LeaderID == "" {
			continue
		}
		if leader != nil && leader.seen.Client.LeaderID != m.seen.Client.LeaderID && leader.seen.Client.Members.Known() && m.seen.Client.Members.Known() &&
			differing(leader.seen.Client.Members.Value, m.seen.Client.Members.Value) > 0 {
			return refusal(CodeSplitCluster, m.spec.Pos, "two halves of one cluster run, each with a leader and a member list of its own",
				fmt.Sprintf("%s follows %s and has the members %s; %s follows %s and has %s.", leader.spec.Name, leader.seen.Client.LeaderID, listText(leader.seen.Client.Members.Value), m.spec.Name, m.seen.Client.LeaderID, listText(m.seen.Client.Members.Value)),
				"Save a snapshot from each half before anything else: etcdctl --endpoints=EACH snapshot save FILE.",
				"Decide which half has the data that counts; stop the other one's members and move their directories away. Planning again adds them anew, empty.")
		}
		if leader != nil && leader.seen.Client.LeaderID != m.seen.Client.LeaderID {
			return refusal(CodeNoLeader, b.cluster.Pos, "the members disagree on who leads",
				fmt.Sprintf("%s follows %s, %s follows %s.", leader.spec.Name, leader.seen.Client.LeaderID, m.spec.Name, m.seen.Client.LeaderID),
				"An election may be going on: plan again in a few seconds.")
		}
		leader = m
	}
	return nil
}

// checkSnapshot refuses a snapshot that is not proven, or does not fit.
func (b *builder) checkSnapshot() *Refusal {
	s, pos := b.obs.Snapshot, b.cluster.Snapshot.SourcePos
	if s == nil {
		return refusal(CodeSnapshotMissing, pos, "the snapshot was not looked at", "No observation of it was made.", "Plan again.")
	}
	if s.Problem != "" {
		return refusal(s.Problem, pos, "the snapshot can't be used", s.Detail, b.snapshotRemedy(s.Problem)...)
	}
	if s.Live != nil {
		if r := b.checkLive(s); r != nil {
			return r
		}
	}
	for _, m := range b.members {
		if s.Dir != nil {
			break // a directory is opened by an etcd of its own minor: checkRecoverBinary
		}
		if ok, why := startsFromSnapshot(s.Version, m.seen.Binary.Value.Version); m.seen.Binary.Known() && !ok {
			return refusal(CodeSnapshotVersion, pos, "the etcd that would run does not start from this snapshot", why+".",
				"Name a binary of that version or later in etcd { binary = … }.")
		}
	}
	if s.Revision > maxRevision-b.bump() {
		return refusal(CodeRevisionOverflow, b.cluster.Snapshot.Pos, "the revision bump leaves no room",
			fmt.Sprintf("The snapshot is at revision %d; %d more is too near the end of int64.", s.Revision, b.bump()),
			"Give a smaller revision_bump.")
	}
	if !s.HasHash && s.Dir == nil {
		b.note(NoteNotProvable, pos, "the file has no sha256 of its own (a copied member/snap/db): its pages and records were checked, its values can't be proven")
	}
	return nil
}

func (b *builder) snapshotRemedy(code Code) []string {
	if remedy := b.sourceRemedy(code); remedy != nil {
		return remedy
	}
	switch code {
	case CodeSnapshotMissing:
		return []string{"Correct snapshot { source = … } in the file."}
	case CodeSnapshotUnreadable:
		return []string{"Put that right and plan again: what was fetched so far is kept.", "Or fetch it by hand and name its path as the source."}
	case CodeNoRoom:
		return []string{"Make room there and plan again."}
	case CodeSnapshotNoHash:
		return []string{"If it is a member/snap/db copied from a stopped member, say so: skip_hash_check = true.", "A file from `etcdctl snapshot save` has a hash; without one it was cut short."}
	case CodeSnapshotWrongSHA:
		return []string{"Fetch the snapshot again, or correct sha256 in the file."}
	case CodeSnapshotUnsupported:
		return []string{"Fetch it to this machine and name its path as the source."}
	}
	return []string{"Use another snapshot: this one is not what etcd wrote.", "Nothing was changed."}
}

// checkPlaces refuses places that a new identity can't begin at.
func (b *builder) checkPlaces(ms []*member) *Refusal {
	for _, m := range ms {
		if r := b.checkBinary(m); r != nil {
			return r
		}
	}
	return b.checkRoom(ms)
}

// What a member takes beside its database, in bytes: the log that etcd
// preallocates, and the private copy of the binary that members on one file
// system share.
const (
	walSize    = 64 << 20
	binarySize = 64 << 20
)

// checkRoom refuses file systems that can't hold what is to be put there (S20),
// with a tenth to spare: a member whose disk fills at its first start has written
// something, and can't simply be begun again.
func (b *builder) checkRoom(ms []*member) *Refusal {
	need, arrives := map[string]int64{}, map[string]bool{}
	for _, m := range ms {
		at := m.fileSystem()
		if need[at] == 0 {
			need[at] = binarySize
		}
		need[at] += walSize
		if s := b.obs.Snapshot; s != nil {
			need[at] += s.Size
			if m.seen.Host != "" && !arrives[at] { // a copy of it comes there first
				arrives[at] = true
				need[at] += s.Size
			}
		}
	}
	for _, m := range ms {
		n := need[m.fileSystem()]
		n += n / 10
		if free := m.seen.FreeBytes; free.Known() && free.Value < n {
			return refusal(CodeNoRoom, m.spec.Pos, "there is no room for "+m.spec.Name,
				fmt.Sprintf("The file system of %s has %d MiB free; %d MiB are needed for all that goes there (databases, 64 MiB of log for each member, a copy of the binary, and a tenth).", m.spec.DataDir, free.Value>>20, n>>20),
				"Make room there, or choose another data_dir.")
		}
	}
	return nil
}

// fileSystem tells file systems apart, those of other machines too.
func (m *member) fileSystem() string {
	return m.seen.Host + " " + orWord(m.seen.FileSystem, m.spec.DataDir)
}

func (b *builder) checkBinary(m *member) *Refusal {
	bin, e := m.seen.Binary, b.cluster.Etcd
	if !bin.Known() {
		return refusal(CodeBinaryMissing, e.BinaryPos, "there is no etcd to start for "+m.spec.Name, e.Binary+": "+bin.Why+".",
			"Install it there, or leave binary out to run the etcd inside requorum.")
	}
	if !satisfies(bin.Value.Version, e.Version) {
		return refusal(CodeBinaryVersion, e.VersionPos, fmt.Sprintf("the file wants etcd %s", e.Version),
			fmt.Sprintf("%s is etcd %s.", binaryName(e.Binary), bin.Value.Version),
			"Name a binary of that version in etcd { binary = … }, or correct version.")
	}
	return nil
}

func binaryName(path string) string {
	if path == "" {
		return "the etcd inside requorum"
	}
	return path
}

// checkStartable refuses to start ms where it is known that they would not come
// up.
func (b *builder) checkStartable(ms []*member) *Refusal {
	for _, m := range ms {
		if r := b.checkBinary(m); r != nil {
			return r
		}
		if ok, why := startsFromDir(m.survivor(), m.seen.Binary.Value.Version); !ok {
			return refuseVersion(m, b.cluster.Etcd.Pos, why)
		}
		if s := m.seen.Service; s.Known() && s.Value.State == ServiceFailed {
			// Whether the reason still holds its supervisor finds out before it starts.
			if m.at.Unit != "" {
				b.note(NoteRestarts, m.spec.Pos, "%s failed last time: %s (log: %s)", m.at.Unit, s.Value.LastError, s.Value.Log)
				continue
			}
			b.note(NoteRestarts, m.spec.Pos, "%s's supervisor gave up last time: %s (log: %s)", m.spec.Name, s.Value.LastError, s.Value.Log)
		}
	}
	return nil
}
