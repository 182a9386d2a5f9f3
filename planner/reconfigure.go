package planner

import (
	"fmt"
	"slices"
	"strings"
)

// reconfigure is the plan of a cluster with quorum that is not as the file says.
// Its order keeps the quorum and needs the fewest moves: what is dead goes first,
// for etcd adds nobody beside it; what somebody left half done is finished; then
// addresses, replacements, growth, restarts; living members go last, when their
// successors vote.
func (b *builder) reconfigure(c *changes) *Plan {
	if r := b.checkReconfigure(c); r != nil {
		return b.refuse(r)
	}
	b.plan.Route = RouteReconfigure
	b.plan.Headline = "differs from the file: " + c.headline()
	b.pass(RouteInSync, "%s", few(c.words))
	b.pass(RouteStart, "nothing to start")
	b.plan.Loss.Text = "Lost: nothing. The cluster keeps its quorum and its data, and every new member copies them from it."
	if c.way != nil && !c.membership() {
		b.plan.Loss.Text = "Lost: nothing. The cluster keeps its quorum, and every member goes on with its data."
	}
	if len(c.lost) > 0 {
		b.plan.Loss.Text = "Lost: nothing that the cluster has; only the copies of members that are replaced. The new ones copy all of it."
	}
	for _, s := range c.lost {
		if s.m.vacant() && hasRun(b.listed(s.id)) {
			b.need(ConsentDataLoss, "%s's data directory is taken for lost for good; a disk that is not mounted looks the same (the cluster keeps all it has)", s.name)
		}
	}
	b.tellDiffer(c)
	b.noteNeverStarts(c)
	if r := b.saveBefore(c); r != nil {
		return b.refuse(r)
	}
	b.reconfigureSteps(c)
	if len(b.plan.Steps) == 0 {
		return b.refuse(refusal(CodeRouteReconfigure, b.cluster.Pos, "the cluster differs from the file in a way that this version can't change",
			strings.Join(c.words, "; ")+".", "Correct the file, or change it by hand."))
	}
	if r := b.checkPeerURLs(); r != nil {
		return b.refuse(r)
	}
	if last, ok := b.plan.Steps[len(b.plan.Steps)-1].Action.(Verify); !ok || last.Disarm != b.disarms() {
		b.verifyAll()
	}
	b.lines(c.todo)
	b.noteLive(c.adopt...)
	b.noteSupervisors(slices.Concat(c.add, seated(c.join), seated(c.lost), seated(c.demote), seated(c.differ)))
	if r := b.checkTolerance(); r != nil {
		return b.refuse(r)
	}
	return b.plan
}

// seated are the members of the file that have these seats.
func seated(ss []*seat) []*member {
	var out []*member
	for _, s := range ss {
		if s.m != nil {
			out = append(out, s.m)
		}
	}
	return out
}

// noteNeverStarts says of members that were added, and whose etcd does not come up,
// that going back is as good as going on: a learner has no vote, and nothing rests on
// it.
func (b *builder) noteNeverStarts(c *changes) {
	for _, s := range c.join {
		v := s.m.seen.Service
		if !s.learner || !v.Known() || v.Value.LastError == "" || v.Value.State != ServiceFailed && v.Value.State != ServiceBackoff && v.Value.State != ServiceStopped {
			continue
		}
		b.note(NoteRestarts, s.m.spec.Pos, "%s was added as a learner, and its etcd does not come up: %s. It has no vote, so the cluster does without it: mend the cause and apply, or go back: take %s out of the file, and apply removes it",
			s.name, v.Value.LastError, s.name)
	}
}

// checkPeerURLs refuses steps that would give a member a peer URL which another is
// listed with by then: etcd refuses it, and the plan would stop half-way.
func (b *builder) checkPeerURLs() *Refusal {
	list := slices.Clone(b.list)
	for _, s := range b.plan.Steps {
		next := ListedMember{}
		switch a := s.Action.(type) {
		case Remove:
			list = slices.DeleteFunc(list, func(l ListedMember) bool { return l.ID == a.MemberID })
			continue
		case Update:
			next = ListedMember{ID: a.MemberID, Name: a.Name, PeerURLs: a.PeerURLs}
		case Add:
			next = ListedMember{Name: a.Name, PeerURLs: a.PeerURLs}
		default:
			continue
		}
		for _, l := range list {
			if l.ID != next.ID && slices.ContainsFunc(l.PeerURLs, func(u string) bool { return slices.Contains(next.PeerURLs, u) }) {
				return refusal(CodeRouteReconfigure, s.Reason.Pos, fmt.Sprintf("%s is to get a peer URL that %s has", next.Name, nameOf(l)),
					fmt.Sprintf("%s is listed with %s, and %s is to have %s. etcd takes no peer URL twice.", nameOf(l), strings.Join(l.PeerURLs, ","), next.Name, strings.Join(next.PeerURLs, ",")),
					fmt.Sprintf("First give %s other peer URLs, or leave %s out, and apply; then the file as it is.", nameOf(l), next.Name))
			}
		}
		list = append(slices.DeleteFunc(list, func(l ListedMember) bool { return next.ID != "" && l.ID == next.ID }), next)
	}
	return nil
}
