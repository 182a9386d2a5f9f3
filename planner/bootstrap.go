package planner

import "fmt"

// bootstrap is the plan of a cluster that never was.
func (b *builder) bootstrap() *Plan {
	token := b.in.Token
	b.plan.Route = RouteBootstrap
	b.plan.Headline = "nothing here yet: bootstrap a new, empty cluster"
	b.pass(RouteInSync, "no member runs")
	b.pass(RouteStart, "no member has a data directory")
	b.pass(RouteRecover, "there is no survivor to recover from")
	b.pass(RouteRestore, "the file names no snapshot")
	b.plan.Loss.Text = "Lost: nothing. Nothing says that a cluster was ever here."
	if r := b.checkPlaces(b.members); r != nil {
		return b.refuse(r)
	}
	if r := b.checkLearners(); r != nil {
		return b.refuse(r)
	}
	b.bootstrapSteps(token, initial(b.members), true)
	return b.plan
}

// initial are the members that a new identity begins with: learners are added
// later.
func initial(ms []*member) []*member {
	var out []*member
	for _, m := range ms {
		if !m.spec.Learner {
			out = append(out, m)
		}
	}
	return out
}

func (b *builder) bootstrapSteps(token string, ms []*member, claim bool) {
	ms = initial(ms)
	if claim {
		b.claimStep(token, ms)
	}
	id := ClusterID(b.cluster.Members, token)
	b.plan.NewClusterID = id
	a := Start{Voters: b.cluster.Voters()}
	for _, m := range ms {
		state := "new"
		if m.hasData() {
			state = "existing"
		}
		a.Members = append(a.Members, StartMember{
			Place: m.place(), Binary: b.binaryOf(m), Cluster: b.cluster.Name,
			Args:      b.args(m, token, state),
			ClusterID: id, MemberID: MemberID(m.spec.PeerURLs, token),
			Bootstrap: !m.hasData(), ClientURL: m.spec.ClientURLs[0],
		})
	}
	part := b.participants(token, ms)
	after := Quorum{Voters: a.Voters, Healthy: min(a.Voters, len(part))}
	b.appendStart(a, after, Reason{Fact: fmt.Sprintf("%s never started", haveHas(ms)), Pos: b.cluster.Pos}, "requorum stop")
	b.verifyStep(part, id, 0, false)
	b.lines(func(m *member) string {
		if contains(ms, m) {
			return "bootstrap"
		}
		return ""
	})
	b.noteReboot()
}

func (b *builder) claimStep(token string, ms []*member) {
	a := Claim{Members: b.claims(token, ProvenanceBootstrap, ms)}
	b.step(Step{
		Action: a, Title: "record identity",
		Reason: Reason{Fact: "a new cluster gets a token of its own, written down before it starts", Pos: b.cluster.Pos},
		Undo:   "nothing to undo: no data yet",
		Wait:   "written and synced", TimeoutSeconds: 30,
		Equivalent: []string{"# no equivalent: etcd keeps no record of its token"},
	}, b.quorum)
}

// claims gives the provenance of each of ms, for a bootstrap or a restore.
func (b *builder) claims(token, kind string, ms []*member) []ClaimMember {
	p := Provenance{Kind: kind}
	if kind == ProvenanceRestore {
		s := b.obs.Snapshot
		p.Source, p.SHA256, p.Revision, p.Keys, p.RevisionBump = s.Source, s.SHA256, s.Revision, max(0, s.Keys), b.bump()
	}
	return b.claimsFor(token, ms, p)
}

// claimsFor gives the provenance of each of ms, of p's origin, under a new identity.
func (b *builder) claimsFor(token string, ms []*member, p Provenance) []ClaimMember {
	p.Token, p.InitialCluster, p.ClusterID = token, b.cluster.InitialCluster(), ClusterID(b.cluster.Members, token)
	p.When, p.By, p.Replaces = b.in.Now, b.in.By, b.cluster.ID
	out := make([]ClaimMember, len(ms))
	for i, m := range ms {
		p.Name, p.MemberID = m.spec.Name, MemberID(m.spec.PeerURLs, token)
		out[i] = ClaimMember{Place: m.place(), Provenance: p}
	}
	return out
}

func contains(ms []*member, m *member) bool {
	for _, x := range ms {
		if x == m {
			return true
		}
	}
	return false
}

func haveHas(ms []*member) string { return verb(ms, "has", "have") }
