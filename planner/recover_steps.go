package planner

import (
	"fmt"
	"slices"
	"strings"
)

// recoverSteps is the recovery into a new identity.
func (b *builder) recoverSteps(chosen survivor, upto uint64) {
	token, ms := b.in.Token, initial(b.members)
	id := ClusterID(b.cluster.Members, token)
	b.plan.NewClusterID = id
	out := chosen.m.seen.Base + "/recovered/" + chosen.d.MemberID + "-" + fmt.Sprint(upto) + ".db"
	b.fenceSteps()
	b.recoverStep(chosen, upto, out, nil)
	bump := b.recoverBump(chosen)
	b.stageRecovered(token, out, bump, chosen, ms)
	b.trialRecovered(token, ms[0], chosen, bump)
	b.installStep(token, ms)
	o := b.newIdentity(token, ms, chosen.d.Revision+bump, -1)
	o.vacated = true
	b.openSteps(o)
	for _, l := range b.list {
		if f := b.ofFile(l); f == nil && !l.Learner {
			b.note(NoteRemaining, b.cluster.Pos, "%s is not in the file at that address: the new cluster has %d voters, without it", listText([]ListedMember{l}), len(ms))
		}
	}
	b.growLearners()
	b.lines(func(m *member) string {
		switch {
		case m == chosen.m:
			return "recover from it"
		case contains(ms, m):
			return "restore, start"
		}
		return ""
	})
	b.noteRecovered(chosen, bump)
}

// recoverBump is S16: a new identity goes on far beyond the old revision, unless
// nothing can have been lost.
func (b *builder) recoverBump(chosen survivor) int64 {
	if b.plan.Loss.Kind == LossNone {
		return 0
	}
	n := b.bumpFrom(chosen.d.Revision)
	if n == 0 {
		b.needOnce(ConsentStaleWatchers, "without a revision bump, clients that watch keep showing what is no more")
	}
	return n
}

// checkRecoverBump refuses a bump that leaves no room for revisions to go on.
func (b *builder) checkRecoverBump(chosen survivor) *Refusal {
	n := b.bumpFrom(chosen.d.Revision)
	if b.inPlace() || chosen.d.Revision <= maxRevision-n {
		return nil
	}
	return refusal(CodeRevisionOverflow, b.cluster.Pos, "the revision bump leaves no room",
		fmt.Sprintf("%s is at revision %d; %d more is too near the end of int64.", chosen.m.spec.Name, chosen.d.Revision, n),
		"Give a smaller revision_bump.")
}

// fenceSteps saves what still runs, then stops and fences every member that is
// there (S3).
func (b *builder) fenceSteps() {
	for _, m := range with(b.members, condServing) {
		if m.seen.Base != "" {
			b.saveStep(m, Reason{Fact: "it still runs: what it holds now is safe whatever comes", Pos: m.spec.Pos})
		}
	}
	a := Fence{Cluster: b.cluster.Name}
	var by []string
	for _, m := range b.members {
		if !m.hasData() {
			if m.mayBegin() {
				a.Vacant = append(a.Vacant, m.place())
				by = append(by, fmt.Sprintf("systemctl mask --now %s  # on %s", m.at.Unit, m.spec.Name))
			}
			continue
		}
		d := m.data()
		a.Members = append(a.Members, FenceMember{Place: m.place(), Over: Identity{ClusterID: d.ClusterID, MemberID: d.MemberID}})
		by = append(by, fmt.Sprintf("systemctl mask --now %s; mv %s ELSEWHERE; touch %s  # on %s", orWord(m.at.Unit, "etcd"), m.spec.DataDir, m.spec.DataDir, m.spec.Name))
	}
	if len(a.Members) == 0 && len(a.Vacant) == 0 {
		return
	}
	b.step(Step{
		Action: a, Title: "stop and fence",
		Reason: Reason{Fact: "no member of the old cluster may run, or start, beside the new one", Pos: b.cluster.Pos},
		Undo:   "yes: move the directories back", Wait: "nobody has the data open, and a plain file stands in its place",
		TimeoutSeconds: 90, Equivalent: by,
	}, Quorum{Voters: b.quorum.Voters})
}

// mayBegin reports whether nothing lies at the member's place, and its unit is there to
// begin something after a reboot: one that nobody has barred yet, as where a run was
// killed half-way through its fence.
func (m *member) mayBegin() bool {
	d, s := m.data(), m.seen.Service
	if m.at.Unit == "" || !m.seen.Data.Known() || (d.State != DirAbsent && d.State != DirEmpty) || !s.Known() {
		return false
	}
	u := s.Value.Unit
	return u != nil && u.Load != "not-found" && !u.Barred
}

func (b *builder) recoverStep(chosen survivor, upto uint64, out string, inPlace *Provenance) {
	m, d := chosen.m, chosen.d
	b.step(Step{
		Action: Recover{
			Place: m.place(), Binary: b.binaryOf(m), ClusterID: d.ClusterID, MemberID: d.MemberID,
			LastTerm: d.LastTerm, LastIndex: d.LastIndex, Upto: upto, Out: out, InPlace: inPlace,
		},
		Title:  "copy, recover",
		Reason: Reason{Fact: fmt.Sprintf("its log goes furthest: term %d #%d", d.LastTerm, d.LastIndex), Pos: m.spec.Pos},
		Undo:   "yes: it works on a copy", Wait: "the copy serves all of the log, alone and on loopback, and was read back",
		TimeoutSeconds: 2*copySeconds(d.DBSize+walSize, 2) + 60,
		Equivalent: []string{
			fmt.Sprintf("cp -a %s COPY  # then set HardState.Commit in COPY to %d: no tool of etcd's does that", d.Path, upto),
			"etcd --data-dir COPY --force-new-cluster --listen-client-urls http://127.0.0.1:0 …",
			"etcdctl snapshot save RECOVERED",
		},
	}, b.quorum)
}

func (b *builder) stageRecovered(token, out string, bump int64, chosen survivor, ms []*member) {
	a := Restore{Snapshot: out, SnapshotHost: chosen.m.spec.Host, Recovered: true, RevisionBump: bump, ForgetVersion: forgetVersion(ms), Members: b.claimsFor(token, ms, Provenance{Kind: ProvenanceRecover, Source: sourceOn(chosen.m, out), RevisionBump: bump})}
	var by []string
	for _, m := range ms {
		by = append(by, fmt.Sprintf("etcdutl snapshot restore RECOVERED --name=%s --data-dir=%s --initial-cluster=%s --initial-cluster-token=%s --initial-advertise-peer-urls=%s --bump-revision=%d --mark-compacted",
			m.spec.Name, m.spec.DataDir, b.cluster.InitialCluster(), token, strings.Join(m.spec.PeerURLs, ","), bump))
	}
	b.step(Step{
		Action: a, Title: "stage",
		Reason: Reason{Fact: "a new identity, so that no stray member of the old one can join", Pos: b.cluster.Pos},
		Undo:   "yes: nothing is in place yet", Wait: "restored beside the data directory, synced and read back",
		TimeoutSeconds: copySeconds(chosen.d.DBSize+walSize, len(ms)), Equivalent: by,
	}, b.quorum)
}

func (b *builder) trialRecovered(token string, m *member, chosen survivor, bump int64) {
	b.step(Step{
		Action: Trial{Place: m.place(), Token: token, Binary: b.binaryOf(m), Revision: chosen.d.Revision + bump, Keys: -1},
		Title:  "trial start",
		Reason: Reason{Fact: fmt.Sprintf("etcd %s has to start from it, alone and on loopback, before it goes in place", m.seen.Binary.Value.Version), Pos: b.cluster.Etcd.Pos},
		Undo:   "yes: a throwaway copy", Wait: "it serves what was recovered", TimeoutSeconds: copySeconds(chosen.d.DBSize, 1) + 60,
		Equivalent: []string{fmt.Sprintf("cp -r STAGED TRIAL && etcd --data-dir TRIAL --force-new-cluster && etcdctl get --prefix '' --count-only  # on loopback, for %s", m.spec.Name)},
	}, b.quorum)
}

// recoverInPlace keeps the identity: the survivor becomes a cluster of one, in a
// copy that takes the directory's place, and the others are added to it anew.
func (b *builder) recoverInPlace(chosen survivor, upto uint64) {
	m, d := chosen.m, chosen.d
	b.needOnce(ConsentStaleWatchers, "in place the revision can't be bumped: where writes were lost, clients that watch may keep showing what is no more")
	token := "force-new-" + strings.TrimPrefix(b.in.Token, "requorum-")
	p := Provenance{
		Kind: ProvenanceForceNew, Token: token, Name: m.spec.Name, InitialCluster: m.spec.Name + "=" + strings.Join(m.spec.PeerURLs, ","),
		ClusterID: d.ClusterID, MemberID: d.MemberID, Source: d.Path, Revision: d.Revision, When: b.in.Now, By: b.in.By,
	}
	b.fenceSteps()
	b.recoverStep(chosen, upto, "", &p)
	b.trialRecovered(token, m, chosen, 0)
	b.installStep(token, []*member{m})
	b.quorum = Quorum{Voters: 1}
	o := b.inPlaceIdentity(m, d)
	o.vacated = true
	b.openSteps(o)
	b.growFrom(chosen)
	b.lines(func(x *member) string {
		if x == m {
			return "recover in place"
		}
		return "add"
	})
	b.noteRecovered(chosen, 0)
}

// inPlaceIdentity is how a survivor that was recovered in place comes to serve: a
// cluster of one, without any force-new-cluster left on.
func (b *builder) inPlaceIdentity(m *member, d DataDir) opening {
	return opening{
		clusterID: d.ClusterID, voters: 1, members: []*member{m}, revision: d.Revision, keys: -1, why: "a cluster of one, without any force-new-cluster left on",
		start: func(m *member) StartMember {
			s := b.startMember(m)
			s.ClusterID, s.MemberID, s.Carried = d.ClusterID, d.MemberID, nil
			s.Args = b.args(m, d.ClusterID, "existing")
			return s
		},
	}
}

// growFrom adds all other members to the cluster of one.
func (b *builder) growFrom(chosen survivor) {
	m := chosen.m
	one := &seat{id: chosen.d.MemberID, name: m.spec.Name, url: m.spec.ClientURLs[0], m: m, healthy: true, started: true, leads: true}
	b.seats = []*seat{one}
	for _, l := range b.list {
		if l.ID == one.id && !SameURLs(l.PeerURLs, m.spec.PeerURLs) {
			b.updateStep(one)
		}
	}
	for _, voters := range []bool{true, false} {
		for _, x := range b.members {
			if x != m && x.spec.Learner != voters {
				b.vacateFenced(x)
				b.addSteps(x)
			}
		}
	}
	b.verifyAll()
}

// vacateFenced makes a place free whose data will be behind the fence by then.
func (b *builder) vacateFenced(m *member) {
	if m.hasData() || m.cond == condFenced || m.data().ClusterID != "" {
		b.setAsideStep(m)
	}
}

// growLearners adds the file's learners to a cluster that has just begun.
func (b *builder) growLearners() {
	learners := slices.DeleteFunc(slices.Clone(b.members), func(m *member) bool { return !m.spec.Learner })
	if len(learners) > 0 {
		b.note(NoteRemaining, learners[0].spec.Pos, "%s to be added as a learner; planning again will deal with it", isAre(learners))
	}
}

func (b *builder) noteRecovered(chosen survivor, bump int64) {
	if bump > 0 {
		b.note(NoteWatchers, b.cluster.Pos, "the revision goes on %s higher and all before it counts as compacted, so that clients list again instead of showing what is no more", grouped(bump))
	}
	b.note(NoteLeasesRestart, b.cluster.Pos, "leases begin anew; who held a lock on one may believe that it still does")
	b.note(NoteNotProvable, chosen.m.spec.Pos, "a data directory has no checksums of its values: its log, pages and records are checked, the values can't all be proven")
	if b.cluster.ID != "" && b.plan.NewClusterID != "" {
		b.note(NoteRemaining, b.cluster.Pos, "the recovered cluster has a new ID; write it into the file afterwards (requorum status shows it)")
	}
	b.noteReboot()
}
