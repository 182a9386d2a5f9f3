package planner

import (
	"fmt"
	"strings"
)

// checkClaims refuses a place that another cluster's file has its service on
// (S5).
func (b *builder) checkClaims() *Refusal {
	for _, m := range b.members {
		s := m.seen.Service
		if s.Known() && s.Value.Cluster != "" && s.Value.Cluster != b.cluster.Name {
			return refusal(CodeForeignData, m.spec.Pos, m.spec.Name+"'s data directory belongs to another file",
				fmt.Sprintf("The service on %s was installed for cluster %s, this file is of cluster %s.", m.spec.DataDir, s.Value.Cluster, b.cluster.Name),
				"Correct data_dir in the file.",
				"If you renamed the cluster: put its old name back, run requorum stop, and move DATA_DIR.requorum/service.json away before you apply the new one.")
		}
	}
	return nil
}

// checkElsewhere refuses a member that serves, but not from the directory that
// the file names, and one process that answers for two members.
func (b *builder) checkElsewhere() *Refusal {
	byID := map[string]*member{}
	for _, m := range with(b.members, condServing) {
		e, d := m.seen.Client, m.seen.Data
		if other := byID[e.MemberID]; other != nil {
			return refusal(CodeWrongService, m.spec.Pos, fmt.Sprintf("one etcd answers for %s and for %s", other.spec.Name, m.spec.Name),
				fmt.Sprintf("Member %s answers at %s and at %s.", e.MemberID, other.seen.Client.URL, e.URL),
				"Give each member's own address in client_urls, not that of a load balancer or proxy.")
		}
		byID[e.MemberID] = m
		if d.Known() && (d.Value.State != DirPresent || d.Value.HeldBy == 0) {
			return refusal(CodeServesElsewhere, m.spec.Pos, m.spec.Name+" serves, but not from the file's data directory",
				fmt.Sprintf("%s answers, and %s: %s. It may be the only copy of its data.", e.URL, m.spec.DataDir, m.elsewhereText()),
				"Before anything else save a snapshot from it: etcdctl --endpoints="+e.URL+" snapshot save FILE.",
				"Then correct data_dir in the file; if the directory was deleted under it, don't stop it before the snapshot is proven.")
		}
	}
	return nil
}

// checkDirs refuses a member whose service has its log or data in another
// directory than the file says: started with the file's it would be empty, or
// would not come up, and what it has would be left behind.
func (b *builder) checkDirs() *Refusal {
	for _, m := range b.members {
		have := m.runsWith()
		if u := m.unit(); have == nil || u != nil && u.Unborn && m.foreign() == nil {
			continue // a unit that never ran gets the file's settings
		}
		for _, dir := range []struct{ flag, attr, want string }{{"--data-dir=", "data_dir", m.spec.DataDir}, {"--wal-dir=", "wal_dir", m.spec.WALDir}} {
			is := ""
			for _, a := range have {
				if v, ok := strings.CutPrefix(a, dir.flag); ok {
					is = v
				}
			}
			if is == dir.want {
				continue
			}
			return refusal(CodeServesElsewhere, m.spec.Pos, fmt.Sprintf("%s has its %s elsewhere", m.spec.Name, strings.TrimSuffix(strings.TrimPrefix(dir.flag, "--"), "=")),
				fmt.Sprintf("It runs, or ran last, with %s; in the file it is %s.", orWord(is, "none of its own"), orWord(dir.want, "none of its own")),
				fmt.Sprintf("Put %s in the file back as it was: moving a directory of a member comes with a later version.", dir.attr),
				"Or replace the member: take it out of the file, apply, then add it with the new directories.")
		}
	}
	return nil
}

func (m *member) elsewhereText() string {
	switch m.data().State {
	case DirAbsent:
		return "there is no such directory"
	case DirEmpty:
		return "the directory is empty"
	case DirNotDir:
		return "that is no directory"
	}
	return "no process has that directory open"
}

// checkAllServe is the positive proof that "in sync" needs (S4): every member of
// the file serves under a leader, is listed, and answers linearizably.
func (b *builder) checkAllServe() *Refusal {
	for _, m := range b.members {
		if r := b.checkServes(m); r != nil {
			return r
		}
	}
	return nil
}

// checkServes is that proof for one member.
func (b *builder) checkServes(m *member) *Refusal {
	e := m.seen.Client
	why := ""
	switch {
	case m.cond == condServing && e.LeaderID == "" && b.peerTLS() != "":
		return b.refusePeerTLS(m)
	case m.cond != condServing:
		why = fmt.Sprintf("it does not serve: %s", m.dataText())
	case e.LeaderID == "":
		why = "it has no leader: it can't reach the others, perhaps"
	case b.entry(m) == nil:
		why = fmt.Sprintf("it serves as member %s, which is not in the member list", e.MemberID)
	case !e.Learner && !(e.Linearizable.Known() && e.Linearizable.Value):
		why = "it does not answer linearizable reads: " + e.Linearizable.Why
	default:
		return nil
	}
	return refusal(CodeNoLeader, m.spec.Pos, m.spec.Name+" has no part in the quorum", fmt.Sprintf("%s: %s.", m.spec.Name, why),
		"An election may be going on: plan again in a few seconds.",
		"If it stays so, look at its log and at the network between the members. Its membership needs no change for that.")
}

// checkSilent refuses to begin a new identity while an address of the file might
// lead to a cluster that can't be seen: only "nothing listens there", from the
// host itself, is an absence (S2).
func (b *builder) checkSilent(ms []*member) *Refusal {
	for _, m := range ms {
		if f := b.runsUnseen(m.spec.Name, m.spec.PeerURLs); f != nil {
			return b.refuseUnseen(m.spec.Name, f)
		}
		for _, seen := range []struct {
			url    string
			reach  Reach
			detail string
		}{
			{m.seen.Client.URL, m.seen.Client.Reach, m.seen.Client.Detail},
			{m.seen.Peer.URL, m.seen.Peer.Reach, m.seen.Peer.Detail},
		} {
			if seen.reach == ReachRefused {
				continue
			}
			return refusal(CodeUnreachable, m.spec.Pos, "it is not known whether "+m.spec.Name+" is alive elsewhere",
				fmt.Sprintf("%s: %s (%s). No data is here, but the address may lead to where the cluster runs.", seen.url, seen.reach, seen.detail),
				"Correct the address if it is not this machine's, or bring it up if it is.")
		}
	}
	return nil
}

// checkLearners refuses to begin a new identity without a voter; learners are added
// once it lives.
func (b *builder) checkLearners() *Refusal {
	if r := b.checkVoters(); r != nil {
		return r
	}
	b.growLearners()
	return nil
}

func (b *builder) checkVoters() *Refusal {
	if b.cluster.Voters() > 0 {
		return nil
	}
	return refusal(CodeFeatureUnsupported, b.cluster.Pos, "a cluster can't be of learners alone",
		"Every member of the file is a learner.", "Make at least one of them a voter.")
}
