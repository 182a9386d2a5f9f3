package planner

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// maxRevision leaves room for a thousand bumps and a century of writes before
// an int64 overflows.
const maxRevision = math.MaxInt64 / 2

// restore is the plan of a cluster of which nothing is left but a snapshot.
func (b *builder) restore() *Plan {
	if r := b.checkSnapshot(); r != nil {
		return b.refuse(r)
	}
	if d := b.obs.Snapshot.Dir; d != nil {
		return b.restoreDir(d)
	}
	if r := b.checkPlaces(b.members); r != nil {
		return b.refuse(r)
	}
	if r := b.checkLearners(); r != nil {
		return b.refuse(r)
	}
	b.plan.Route = RouteRestore
	missing := with(b.members, condMissing, condFenced)
	b.plan.Headline = "no data here, but a snapshot: restore it to all members"
	if len(missing) > 0 {
		b.plan.Headline = "all data is gone: restore the snapshot to all members"
		b.need(ConsentDataLoss, "%s: %s; what was written after the snapshot is given up (a disk that is not mounted looks the same)", missing[0].spec.Name, missing[0].evidence())
	}
	if b.bump() == 0 {
		b.need(ConsentStaleWatchers, "without a revision bump, clients that watch keep showing what is no more")
	}
	b.pass(RouteInSync, "no member runs")
	b.pass(RouteStart, "no member has a data directory that was in use")
	b.pass(RouteReconfigure, "there is no quorum to ask")
	b.pass(RouteRecover, "there is no survivor to recover from")
	b.plan.Loss = Loss{Kind: LossUnknown, Text: "Lost: " + b.restoreLoss(b.in.Token)}
	if s := b.obs.Snapshot; s.Live != nil && len(missing) == 0 {
		b.plan.Headline = fmt.Sprintf("no data here: copy cluster %s, which goes on, to all members", s.Live.ClusterID)
		b.plan.Loss.Text = "Lost: " + liveLoss(s)
	}
	b.restoreSteps(b.in.Token, initial(b.members), initial(b.members))
	return b.plan
}

// restoreLoss says what a restore under token gives up.
func (b *builder) restoreLoss(token string) string {
	revision := int64(0)
	if s := b.obs.Snapshot; s != nil {
		revision = s.Revision
	}
	for _, m := range b.members {
		if p := m.provenance(); p != nil && p.Token == token {
			revision = p.Revision
		}
	}
	return fmt.Sprintf("every write after the snapshot was taken; no upper bound is known. The last write that it holds is revision %d.", revision)
}

// bump is the revision bump that the plan applies: what was begun with, the file's,
// or the default for each week that the snapshot's age has begun (S16: every new
// identity bumps), beyond what an identity of before went on from: clients saw its
// revisions.
func (b *builder) bump() int64 {
	if b.begun != nil {
		return b.begun.RevisionBump
	}
	if s := b.cluster.Snapshot; s != nil && s.RevisionBump != nil {
		return *s.RevisionBump
	}
	from, weeks := b.seenRevision(), int64(0)
	if s := b.obs.Snapshot; s != nil {
		from, weeks = s.Revision, int64(s.Weeks)
	}
	return weeks*spec.DefaultRevisionBump + b.bumpFrom(from)
}

// bumpFrom is the bump for what is at revision from.
func (b *builder) bumpFrom(from int64) int64 {
	if s := b.cluster.Snapshot; s != nil && s.RevisionBump != nil {
		return *s.RevisionBump
	}
	return spec.DefaultRevisionBump + max(0, b.seenRevision()-from)
}

// seenRevision is the highest revision that an identity of before is known to have
// gone on from.
func (b *builder) seenRevision() int64 {
	var n int64
	for _, m := range b.members {
		if p := m.data().Provenance; p != nil {
			n = max(n, p.Revision+p.RevisionBump)
		}
	}
	return n
}

// restoreSteps stages, tries, installs, starts and verifies. stage and install
// are all initial members for a new restore and the missing ones for one that
// is finished.
func (b *builder) restoreSteps(token string, stage, install []*member) {
	id := ClusterID(b.cluster.Members, token)
	b.plan.NewClusterID = id
	revision, keys := b.restored(token)
	if len(stage) > 0 {
		b.stageStep(token, stage)
	}
	if len(install) > 0 {
		if movesAside(install) {
			b.trialStep(token, install[0], revision, keys)
		}
		b.installStep(token, install)
	}
	part := b.participants(token, install)
	b.openSteps(b.newIdentity(token, part, revision, keys))
	b.lines(func(m *member) string {
		switch {
		case contains(stage, m):
			return "restore, start"
		case contains(install, m):
			return "put in place, start"
		case m.cond == condPristine || m.cond == condDown:
			return "start"
		}
		return ""
	})
	b.noteRestore(revision)
	b.noteReboot()
}

// restored is what the members hold after the restore under token: the revision
// and the live keys, -1 where the snapshot is no longer at hand to say.
func (b *builder) restored(token string) (revision int64, keys int) {
	keys = -1
	if s := b.obs.Snapshot; s != nil && s.Problem == "" {
		revision, keys = s.Revision+b.bump(), s.Keys
	}
	for _, m := range b.members {
		p := m.provenance()
		if p != nil && p.Token == token {
			revision = p.Revision + p.RevisionBump
			switch s := b.obs.Snapshot; {
			case p.Keys > 0:
				keys = p.Keys
			case s == nil || s.SHA256 != p.SHA256:
				keys = -1
			}
		}
	}
	return revision, keys
}

func (b *builder) stageStep(token string, ms []*member) {
	s := b.obs.Snapshot
	a := Restore{
		Snapshot: s.Path, SHA256: s.SHA256, SkipHashCheck: b.cluster.Snapshot.SkipHashCheck,
		RevisionBump: b.bump(), Members: b.claims(token, ProvenanceRestore, ms), ForgetVersion: forgetVersion(ms),
	}
	var by []string
	if save := s.shownSave(); save != "" {
		by = append(by, save)
	}
	for _, m := range ms {
		by = append(by, b.restoreCommand(m, token))
	}
	b.step(Step{
		Action: a, Title: "stage",
		Reason: Reason{Fact: fmt.Sprintf("%s no data; the snapshot holds revision %d", haveHas(ms), s.Revision), Pos: b.cluster.Snapshot.Pos},
		Undo:   "yes: nothing is in place yet",
		Wait:   "restored beside the data directory, synced and read back", TimeoutSeconds: copySeconds(s.Size, len(ms)),
		Equivalent: by,
	}, b.quorum)
}

func (b *builder) restoreCommand(m *member, token string) string {
	from := b.obs.Snapshot.Source
	if b.obs.Snapshot.Live != nil {
		from = b.obs.Snapshot.Path
	}
	cmd := []string{"etcdutl snapshot restore", from,
		"--name=" + m.spec.Name, "--data-dir=" + m.spec.DataDir,
		"--initial-advertise-peer-urls=" + strings.Join(m.spec.PeerURLs, ","),
		"--initial-cluster=" + b.cluster.InitialCluster(),
		"--initial-cluster-token=" + token}
	if m.spec.WALDir != "" {
		cmd = append(cmd, "--wal-dir="+m.spec.WALDir)
	}
	if n := b.bump(); n > 0 {
		cmd = append(cmd, fmt.Sprintf("--bump-revision=%d --mark-compacted", n))
	}
	if b.cluster.Snapshot.SkipHashCheck {
		cmd = append(cmd, "--skip-hash-check")
	}
	return strings.Join(cmd, " ")
}

// copySeconds allows 10 MB/s for each copy, and a minute.
func copySeconds(size int64, copies int) int {
	return 60 + int(size*int64(copies)/(10<<20))
}

// sizeSeconds is what reading or sending the largest database that was seen adds to a
// step's time, at 10 MB/s: nothing for a small one.
func (b *builder) sizeSeconds() int {
	var n int64
	for _, m := range b.members {
		n = max(n, m.seen.Client.DBSize)
		if d := m.seen.Data; d.Known() {
			n = max(n, d.Value.DBSize)
			if d.Value.Fenced != nil {
				n = max(n, d.Value.Fenced.DBSize)
			}
		}
	}
	if s := b.obs.Snapshot; s != nil {
		n = max(n, s.Size)
	}
	return int(n / (10 << 20))
}

func (b *builder) trialStep(token string, m *member, revision int64, keys int) {
	var size int64
	if s := b.obs.Snapshot; s != nil {
		size = s.Size
	}
	b.step(Step{
		Action: Trial{Place: m.place(), Token: token, Binary: b.binaryOf(m), Revision: revision, Keys: keys},
		Title:  "trial start",
		Reason: Reason{Fact: fmt.Sprintf("etcd %s has to start from it, alone and on loopback, before it goes in place", m.seen.Binary.Value.Version), Pos: b.cluster.Etcd.Pos},
		Undo:   "yes: a throwaway copy",
		Wait:   "it serves what was restored", TimeoutSeconds: copySeconds(size, 1) + 60,
		Equivalent: []string{fmt.Sprintf("cp -r STAGED TRIAL && etcd --data-dir TRIAL --force-new-cluster && etcdctl get --prefix '' --count-only  # on loopback, for %s", m.spec.Name)},
	}, b.quorum)
}

func (b *builder) installStep(token string, ms []*member) {
	var by []string
	a := Install{Token: token}
	for _, m := range ms {
		a.Members = append(a.Members, InstallMember{Place: m.place()})
		by = append(by, "mv STAGED "+m.spec.DataDir)
	}
	b.step(Step{
		Action: a, Title: "put in place",
		Reason: Reason{Fact: "the staged directories are proven", Pos: ms[0].spec.Pos},
		Undo:   "yes: what was there is kept aside",
		Wait:   "the directories hold the new identity", TimeoutSeconds: 30,
		Equivalent: by,
	}, b.quorum)
}

// movesAside reports whether any of the places has, or had, a directory that what is
// put there takes the place of. Nothing of it goes before a trial has shown that etcd
// starts from what comes instead (promise 5).
func movesAside(ms []*member) bool {
	return slices.ContainsFunc(ms, func(m *member) bool {
		d := m.data()
		return d.State != DirAbsent && d.State != DirEmpty
	})
}

// newIdentity is how part, members of a new identity under token, come to serve.
func (b *builder) newIdentity(token string, part []*member, revision int64, keys int) opening {
	id := ClusterID(b.cluster.Members, token)
	return opening{
		clusterID: id, voters: b.cluster.Voters(), members: part, revision: revision, keys: keys, why: "everything is in place",
		start: func(m *member) StartMember {
			return StartMember{
				Place: m.place(), Binary: b.binaryOf(m), Cluster: b.cluster.Name,
				Args:      b.args(m, token, "existing"),
				ClusterID: id, MemberID: MemberID(m.spec.PeerURLs, token),
				ClientURL: m.spec.ClientURLs[0],
			}
		},
	}
}
