package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// The sources of a restore that are no files: a member that runs, and a stopped
// member's directory.

// replaces says why the cluster that a source is of would be the one that this
// file's members take the place of; "" where it is another one, which is copied.
func (b *builder) replaces(clusterID string, list []ListedMember) string {
	switch clusterID {
	case "":
		return "it is not known which cluster it is of"
	case b.cluster.ID:
		return "the file pins its ID"
	case b.obs.JournalClusterID:
		return "this machine's journal saw it in these directories"
	}
	for _, m := range b.members {
		if p := m.data().Provenance; m.survivor().ClusterID == clusterID || p != nil && p.ClusterID == clusterID {
			return m.spec.Name + "'s directory was of it"
		}
		for _, l := range list {
			for _, url := range slices.Concat(m.spec.PeerURLs, m.spec.ClientURLs) {
				if slices.Contains(l.PeerURLs, url) || slices.Contains(l.ClientURLs, url) {
					return fmt.Sprintf("its member %s has %s, which is %s's address in the file", nameOf(l), url, m.spec.Name)
				}
			}
		}
	}
	return ""
}

// Replaces is replaces for a live source, asked before anything is saved from it.
func Replaces(c *spec.Cluster, obs Observation, l *LiveSource) string {
	b := &builder{cluster: c, obs: &obs, members: classify(c, &obs)}
	return b.replaces(l.ClusterID, l.Members)
}

// checkLive refuses to replace a cluster by a snapshot of what it held a while ago:
// it serves, and what is written there from now on would be lost (S15).
func (b *builder) checkLive(s *SnapshotObservation) *Refusal {
	why := orWord(s.Live.Replaces, b.replaces(s.Live.ClusterID, s.Live.Members))
	if why == "" {
		return nil
	}
	return refusal(CodeHostAlive, b.cluster.Snapshot.SourcePos, "the source serves, and is of the cluster that would be replaced",
		fmt.Sprintf("%s is member %s of cluster %s, and %s. What clients write there after the snapshot would be lost.", s.Live.URL, s.Live.MemberID, s.Live.ClusterID, why),
		"To change that cluster, name its members in the file: plan then leads there without a restore.",
		"To bring it back from what its disks hold: stop its members and keep their directories; plan then recovers from them.",
		"To copy it: give the new members addresses of their own, and leave id out of the file.")
}

// liveLoss is what a copy of a cluster that goes on does not have.
func liveLoss(s *SnapshotObservation) string {
	text := fmt.Sprintf("nothing of cluster %s, which goes on at %s. What is written there after revision %d is not in this copy; of how much that is no upper bound is known.", s.Live.ClusterID, s.Live.URL, s.Revision)
	if !s.Live.Quorum {
		text += " It had no quorum when it was saved: what its other members acknowledged may be missing too."
	}
	return text
}

// sourceDir is the directory as a survivor. It has no place of its own: the work is
// done beside the first member's.
func (b *builder) sourceDir(d *SourceDir) survivor {
	first := initial(b.members)[0]
	m := &member{spec: first.spec, seen: first.seen}
	m.spec.Name, m.spec.DataDir, m.spec.WALDir, m.spec.Pos = d.Path, d.Path, d.WALDir, b.cluster.Snapshot.SourcePos
	m.seen.Data, m.seen.Client = Known(d.DataDir), Endpoint{}
	return survivor{m: m, d: d.DataDir}
}

// restoreDir is the plan of a cluster of which nothing is left at its places, but a
// member's directory elsewhere: it is copied, the copy made readable to the end of
// its log, and that restored to all members.
func (b *builder) restoreDir(d *SourceDir) *Plan {
	for _, check := range []func() *Refusal{b.checkLearners, func() *Refusal { return b.checkPlaces(b.members) }, func() *Refusal { return b.checkSourceGone(d) }} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	chosen := b.sourceDir(d)
	for _, check := range []func(survivor) *Refusal{b.checkRecoverBinary, b.checkRecoverRoom} {
		if r := check(chosen); r != nil {
			return b.refuse(r)
		}
	}
	b.plan.Route = RouteRestore
	b.plan.Headline = "no data here, but a stopped member's directory: recover from it, and restore that to all members"
	if missing := with(b.members, condMissing, condFenced); len(missing) > 0 {
		b.plan.Headline = "all data is gone but a stopped member's directory: recover from it, and restore that to all members"
		b.need(ConsentDataLoss, "%s: %s; what that directory does not hold is given up (a disk that is not mounted looks the same)", missing[0].spec.Name, missing[0].evidence())
	} else if b.list != nil {
		b.need(ConsentDataLoss, "what only other disks of cluster %s hold is given up", d.ClusterID)
	}
	bump := b.bump()
	if bump == 0 {
		b.need(ConsentStaleWatchers, "without a revision bump, clients that watch keep showing what is no more")
	}
	b.pass(RouteInSync, "no member runs")
	b.pass(RouteStart, "no member has a data directory that was in use")
	b.pass(RouteReconfigure, "there is no quorum to ask")
	b.pass(RouteRecover, "no member has a disk at its own place: %s is used as a snapshot is", d.Path)
	upto := b.decideTail(chosen, []survivor{chosen})
	b.plan.Survivors = []SurvivorLine{{
		Name: d.Path, Last: fmt.Sprintf("term %d #%d", d.LastTerm, d.LastIndex), Proven: fmt.Sprintf("to #%d", d.agreed()),
		Verdict: "intact, the file's source", Chosen: true,
	}}
	b.plan.Loss = Loss{Kind: LossUnknown, Text: "Lost: " + dirLoss(d, upto)}
	b.restoreDirSteps(chosen, upto, bump)
	return b.plan
}

func dirLoss(d *SourceDir, upto uint64) string {
	text := fmt.Sprintf("every write that %s does not hold; no upper bound is known. The last write that its database proves is revision %d; its log is kept to ", d.Path, d.Revision)
	if upto == d.LastIndex {
		return text + fmt.Sprintf("its end, term %d #%d.", d.LastTerm, upto)
	}
	return text + fmt.Sprintf("#%d, and the %d entries after it are dropped.", upto, d.LastIndex-upto)
}

// checkSourceGone is S2 for a directory of the cluster that these members replace:
// its other members may be alive. Another cluster's are nobody's concern here.
func (b *builder) checkSourceGone(d *SourceDir) *Refusal {
	why := b.replaces(d.ClusterID, d.Members)
	if why == "" {
		return nil
	}
	if len(d.Members) == 0 {
		return refusal(CodeDataUnknown, b.cluster.Snapshot.SourcePos, "it is not known who is in the cluster",
			fmt.Sprintf("%s is of cluster %s (%s), and its member list can't be read.", d.Path, d.ClusterID, why),
			"Make a snapshot of it: requorum snapshot save --data-dir; see that no other member lives, and name the snapshot as the source.")
	}
	b.list, b.obs.Others, b.plan.ClusterID = d.Members, d.Others, d.ClusterID
	return b.checkGone()
}

func (b *builder) restoreDirSteps(chosen survivor, upto uint64, bump int64) {
	token, ms, d := b.in.Token, initial(b.members), chosen.d
	id := ClusterID(b.cluster.Members, token)
	b.plan.NewClusterID = id
	out := ms[0].seen.Base + "/recovered/" + d.MemberID + "-" + fmt.Sprint(upto) + ".db"
	b.step(Step{
		Action: Recover{
			Place: ms[0].place(), From: &RecoverFrom{DataDir: d.Path, WALDir: chosen.m.spec.WALDir},
			Binary: BinaryForDir(b.cluster.Etcd, d), ClusterID: d.ClusterID, MemberID: d.MemberID,
			LastTerm: d.LastTerm, LastIndex: d.LastIndex, Upto: upto, Out: out,
		},
		Title:  "copy, recover",
		Reason: Reason{Fact: fmt.Sprintf("the file's source is a directory: its log ends at term %d #%d", d.LastTerm, d.LastIndex), Pos: b.cluster.Snapshot.SourcePos},
		Undo:   "yes: it works on a copy", Wait: "the copy serves all of the log, alone and on loopback, and was read back",
		TimeoutSeconds: 2*copySeconds(d.DBSize+walSize, 2) + 60,
		Equivalent: []string{
			fmt.Sprintf("cp -a %s COPY  # then set HardState.Commit in COPY to %d: no tool of etcd's does that", d.Path, upto),
			"etcd --data-dir COPY --force-new-cluster --listen-client-urls http://127.0.0.1:0 …",
			"etcdctl snapshot save RECOVERED",
		},
	}, b.quorum)
	b.stageRecovered(token, out, bump, chosen, ms)
	b.trialRecovered(token, ms[0], chosen, bump)
	b.installStep(token, ms)
	b.openSteps(b.newIdentity(token, ms, d.Revision+bump, -1))
	b.lines(func(m *member) string {
		if contains(ms, m) {
			return "restore, start"
		}
		return ""
	})
	b.noteRecovered(chosen, bump)
}

// sourceRemedy is what to do about a source that is no file; nil where it is one.
func (b *builder) sourceRemedy(code Code) []string {
	elsewhere := "Or name another source: a snapshot that was saved, or a stopped member's directory."
	_, live := b.cluster.Snapshot.Live()
	dir := b.cluster.Snapshot.IsDataDir() || b.cluster.Snapshot.Survivor() != ""
	switch {
	case code == CodeNoRoom:
		return nil
	case live && code == CodeAuthRequired:
		return []string{"Give a user with the root role in auth { username, password }.", elsewhere}
	case live:
		return []string{"A member is a source only while it answers: bring it up, correct its address, and plan again.", elsewhere}
	case dir && code == CodeDataHeld:
		return []string{"Stop the etcd that has it open, and plan again; or save a snapshot from it while it runs."}
	case dir && code == CodeSnapshotMissing:
		return []string{"Correct the directory's name; if a disk is not mounted, mount it.", elsewhere}
	case dir:
		return []string{"Keep the directory as it is: it may hold what no other disk has.", elsewhere}
	}
	return nil
}

// shownSave is the command that saved a live source's snapshot; "" for a file.
func (s *SnapshotObservation) shownSave() string {
	if s.Live == nil {
		return ""
	}
	return strings.Join([]string{"etcdctl --endpoints=" + s.Live.URL, "snapshot save", s.Path, " # done while planning"}, " ")
}
