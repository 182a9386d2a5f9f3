package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// New gives the plan that leads from the observation to the cluster, or one
// whose Refusal says why there is no safe one.
func New(in Input) *Plan {
	b := newBuilder(in)
	p := b.decide()
	b.noteRecoverUnused(p)
	p.Doubts = b.doubts()
	b.noteBugs(p)
	p.Origin = b.origin()
	return p
}

func (b *builder) decide() *Plan {
	for _, check := range []func() *Refusal{
		b.checkSupported, b.checkIdentity, b.checkUnits, b.checkData, b.checkSchemes, b.checkSettings, b.checkDisagreement,
	} {
		if r := check(); r != nil {
			return b.refuse(r).findRefused()
		}
	}
	return b.prevented(b.withoutUser(b.route())).findRefused()
}

// withoutUser refuses a plan that asks members for what they do for a user only, where
// none is at hand; and says what is not known of a cluster that was looked at so.
func (b *builder) withoutUser(p *Plan) *Plan {
	var sealed []*member
	for _, m := range with(b.members, condServing) {
		if m.seen.Client.Sealed {
			sealed = append(sealed, m)
		}
	}
	if len(sealed) == 0 || p.Refusal != nil {
		return p
	}
	for _, s := range p.Steps {
		switch s.Action.(type) {
		case Update, Add, Join, Promote, MoveLeader, Remove, Save:
			return b.refuse(refusal(CodeAuthRequired, sealed[0].spec.Pos, "the cluster wants a user for what is to be changed",
				fmt.Sprintf("%s; step %d of the plan would be %q on %s, for which etcd wants the role root. What a user is not needed for was seen: the members, their health, who leads, and their data's hashes.", sealed[0].seen.Client.Detail, s.ID, s.Title, strings.Join(s.Target, ", ")),
				"Make this change with etcdctl --user root, and plan again: what is left is planned from there."))
		}
	}
	b.note(NoteWithoutUser, sealed[0].spec.Pos, "the cluster has auth, and was looked at without a user: leases, a learner's progress and a downgrade under way can't be known")
	return p
}

// prevented refuses a plan that needs a consent which the policy never grants.
func (b *builder) prevented(p *Plan) *Plan {
	if b.unitRefusal != nil && p.Refusal == nil {
		return b.refuse(b.unitRefusal)
	}
	if p.Refusal == nil {
		for _, check := range []func(*Plan) *Refusal{b.refuseUntold, b.checkCertificates} {
			if r := check(p); r != nil {
				return b.refuse(r)
			}
		}
	}
	for i, n := range p.Needs {
		p.Needs[i].Given = b.in.Accept[n.Consent]
	}
	for _, n := range p.Needs {
		kind, _, _ := strings.Cut(string(n.Consent), ":")
		if p.Refusal == nil && slices.Contains(b.cluster.Policy.Prevent, kind) {
			r := refusal(CodePrevented, b.cluster.Policy.Pos, "the policy forbids what the plan needs",
				fmt.Sprintf("It needs %s (%s), which policy { prevent } never grants.", n.Consent, n.Why),
				"Take it out of prevent, in the file, if this is the exception.")
			switch n.Consent { // of two outcomes the policy forbids one
			case ConsentTailKeep:
				r.Remedy = append(r.Remedy, "Or take the other way: plan with --accept=tail-drop.")
			case ConsentTailDrop:
				r.Remedy = append(r.Remedy, "Or take the other way: plan without --accept=tail-drop.")
			}
			return b.refuse(r)
		}
	}
	return p
}

// builder carries a plan while it is made.
type builder struct {
	in      Input
	cluster *spec.Cluster
	obs     *Observation
	members []*member
	plan    *Plan
	list    []ListedMember // the membership that counts; nil if unknown
	quorum  Quorum         // as the last step leaves it
	begun   *Provenance    // of a restore that is finished
	seats   []*seat        // of a cluster with quorum, as the last step leaves them
	// unitRefusal says why a step's unit can't be had to run what it should.
	unitRefusal *Refusal
	// unitFiles are the texts that the steps so far leave for the members' units.
	unitFiles map[string]*string
}

func newBuilder(in Input) *builder {
	b := &builder{in: in, cluster: in.Cluster, obs: &in.Observation}
	b.members = classify(in.Cluster, b.obs)
	b.list = b.membership()
	b.markRemoved()
	b.markEmptied()
	b.plan = &Plan{Format: FormatVersion, Cluster: in.Cluster.Name, Steps: []Step{}, Snapshot: b.obs.Snapshot}
	b.quorum = b.liveQuorum()
	b.plan.Before = b.quorum
	b.plan.Loss = Loss{Kind: LossNone}
	if seen := b.sightings(); len(seen) > 0 {
		b.plan.ClusterID = seen[0].id
	} else if newest := b.newest(); newest != nil {
		b.plan.ClusterID = newest.survivor().ClusterID
	}
	b.plan.States = b.findings()
	return b
}

// route takes the least destructive way that is open.
func (b *builder) route() *Plan {
	if b.quorum.Has() {
		return b.routeWithQuorum()
	}
	return b.routeWithoutQuorum()
}

func (b *builder) routeWithQuorum() *Plan {
	for _, check := range []func() *Refusal{b.checkEqual, b.checkRemoved} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	c := b.changes()
	switch {
	case b.unfinished() != "":
		return b.finish(b.unfinished())
	case len(b.startable()) > 0:
		return b.start(c)
	case b.starting():
		p := b.await()
		for _, w := range c.words {
			b.note(NoteRemaining, spec.Position{}, "planning again will deal with: %s", w)
		}
		return p
	case count(b.members, condRunning) > 0 && !b.soughtElsewhere(c):
		return b.refuse(b.refuseNoReply())
	case c.only(c.adopt):
		return b.adopt()
	case c.any():
		return b.reconfigure(c)
	}
	for _, check := range []func() *Refusal{b.checkAllServe, b.checkSpace, b.checkCorrupt} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	if len(b.inherited()) > 0 {
		return b.disarm()
	}
	return b.inSync()
}

func (b *builder) routeWithoutQuorum() *Plan {
	for _, check := range []func() *Refusal{b.checkRemoved, b.checkAsked} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	if token := b.unfinished(); token != "" {
		return b.finish(token)
	}
	survivors := len(b.holders()) > 0
	switch {
	case survivors && b.canStart():
		return b.startFromDisks()
	case survivors && b.list == nil && count(b.members, condRunning) > 0,
		survivors && b.cantMeet() == "" && b.wentBack() == "" && len(union(b.intact(), with(b.members, condRunning))) >= majority(b.listedVoters()):
		// What runs and says nothing may be just starting, or frozen: no quorum
		// is known to be gone.
		return b.awaitOrRefuse()
	case !survivors && count(b.members, condRunning, condServing) > 0:
		return b.startFromDisks()
	case survivors && !b.onlyClosedRun() && slices.ContainsFunc(b.members, (*member).unheard):
		return b.refuse(b.refuseNoReply())
	case survivors && !b.onlyClosedRun() && b.starting() && !b.startedInVain():
		return b.refuse(b.refuseTooEarly())
	case survivors && b.led() != nil:
		return b.refuse(b.refuseLed(b.led()))
	case survivors:
		return b.recover("no member serves under a leader")
	}
	return b.routeWithoutSurvivor()
}

func (b *builder) routeWithoutSurvivor() *Plan {
	for _, check := range []func() *Refusal{func() *Refusal { return b.checkSilent(b.members) }, b.checkJournalRuns, b.checkBehindFences} {
		if r := check(); r != nil {
			return b.refuse(r)
		}
	}
	switch {
	case count(b.members, condPristine) > 0:
		return b.refuse(b.refuseUnfinished(b.whyNotFinished()))
	case b.cluster.Snapshot != nil && b.cluster.Snapshot.Source != "":
		return b.restore()
	case b.anyStaged():
		return b.refuse(b.refuseUnfinished("the file no longer names a snapshot"))
	case count(b.members, condMissing, condFenced) > 0:
		return b.refuse(b.refuseMissing())
	}
	return b.bootstrap()
}

// anyStaged reports whether a restored directory waits to be put in place.
func (b *builder) anyStaged() bool {
	return slices.ContainsFunc(b.members, func(m *member) bool { return m.data().Staged != "" })
}

// liveQuorum counts the voters of the membership, and those of them that run under a
// leader, as the steps count them: what a plan is made over and what is seen right
// before one of its steps must not differ by who counted.
func (b *builder) liveQuorum() Quorum {
	if b.liveMembers() == nil {
		// Without a linearizable answer a leader's name is an old memory.
		return Quorum{Voters: b.listedVoters()}
	}
	now := b.seats
	b.takeSeats()
	q := b.seated()
	b.seats = now
	// A linearizable answer is a majority's, also of those that can't be asked.
	q.Healthy = max(q.Healthy, q.Size())
	return q
}

// liveMembers is the member list of a member that proved quorum; nil if none
// did.
func (b *builder) liveMembers() []ListedMember {
	if e := b.prover(); e != nil {
		return e.Members.Value
	}
	return nil
}

// prover is the answer of a member that proved quorum; nil for none.
func (b *builder) prover() *Endpoint {
	for _, m := range b.members {
		e := &m.seen.Client
		if m.cond == condServing && e.Linearizable.Known() && e.Linearizable.Value && e.Members.Known() {
			return e
		}
	}
	return nil
}

func majority(n int) int { return Quorum{Voters: n}.Size() }

func (b *builder) refuse(r *Refusal) *Plan {
	b.plan.Refusal = r
	b.plan.Headline = r.Title
	b.plan.Steps = []Step{}
	b.lines(func(*member) string { return "" })
	return b.plan
}

func (b *builder) lines(todo func(*member) string) {
	b.plan.Members = nil
	for _, m := range b.members {
		b.plan.Members = append(b.plan.Members, m.line(todo(m)))
	}
	for _, o := range b.obs.Others {
		if l := b.listed(o.ID); l.ID != "" {
			b.plan.Members = append(b.plan.Members, b.otherLine(o))
		}
	}
}

func (b *builder) pass(r Route, why string, args ...any) {
	b.plan.Passed = append(b.plan.Passed, PassedRoute{Route: r, Why: fmt.Sprintf(why, args...)})
}

func (b *builder) need(c Consent, why string, args ...any) {
	b.plan.Needs = append(b.plan.Needs, Need{Consent: c, Why: fmt.Sprintf(why, args...)})
}

func (b *builder) note(code Code, pos spec.Position, text string, args ...any) {
	b.plan.Notices = append(b.plan.Notices, Notice{Code: code, Pos: pos, Text: fmt.Sprintf(text, args...)})
}

// step appends s, with the quorum that it finds and leaves.
func (b *builder) step(s Step, after Quorum) {
	b.useUnits(&s)
	s.ID = len(b.plan.Steps) + 1
	s.Kind = s.Action.Kind()
	s.Target = s.Action.Targets()
	s.Equivalent = b.secured(s.Equivalent)
	s.Before = b.quorum
	s.After = after
	b.quorum = after
	b.plan.Steps = append(b.plan.Steps, s)
}
