package planner

import (
	"fmt"
	"slices"
	"strings"
)

// DifferenceKind says in what a cluster is otherwise than its file.
type DifferenceKind string

// The kinds of differences.
const (
	DiffersMembership DifferenceKind = "membership" // who is a member, or votes
	DiffersLearner    DifferenceKind = "learner"    // a learner that is to vote
	DiffersURLs       DifferenceKind = "urls"
	DiffersSettings   DifferenceKind = "settings"
	DiffersVersion    DifferenceKind = "version"
	DiffersKeeper     DifferenceKind = "keeper" // nobody starts it again, or not as the file says
)

// Difference is one way in which a cluster with a quorum is not as its file says.
type Difference struct {
	Kind   DifferenceKind
	Member string // by its name in the file, or in the cluster's list
	Fact   string
}

// Differences gives what a cluster with a quorum has otherwise than the file, as plans
// count it; none where it has no quorum. A member whose data is gone, or differs from
// the others', is not among them: a plan's States say so.
func Differences(in Input) []Difference {
	b := newBuilder(in)
	if !b.quorum.Has() {
		return nil
	}
	c := b.changes()
	var out []Difference
	say := func(k DifferenceKind, member, fact string, args ...any) {
		out = append(out, Difference{k, member, fmt.Sprintf(fact, args...)})
	}
	for _, s := range c.update {
		say(DiffersURLs, s.name, "%s", b.movedWords(s))
	}
	for _, s := range c.promote {
		say(DiffersLearner, s.name, "%s is a learner, in the file a voter", s.name)
	}
	for _, s := range c.demote {
		is := voterOrLearner(b.listed(s.id).Learner)
		say(DiffersMembership, s.name, "%s is %s with the peer URLs %s, in the file a learner with %s", s.name, is,
			strings.Join(b.listed(s.id).PeerURLs, ","), strings.Join(s.m.spec.PeerURLs, ","))
	}
	for _, m := range c.add {
		say(DiffersMembership, m.spec.Name, "%s", b.addWords(m))
	}
	for _, s := range slices.Concat(c.extra, c.dead) {
		say(DiffersMembership, s.name, "%s is a member, and not in the file", s.name)
	}
	for _, m := range c.restart {
		b.sayRestart(say, m)
	}
	for _, m := range c.adopt {
		if diff := b.unitDiffers(m); diff != "" {
			say(DiffersSettings, m.spec.Name, "%s would be started with other settings the next time (%s: %s)", m.spec.Name, m.at.Unit, diff)
			continue
		}
		say(DiffersKeeper, m.spec.Name, "nothing would start %s again after a crash", m.spec.Name)
	}
	for _, m := range with(b.members, condServing) {
		if v, want := m.seen.Client.Version, b.cluster.Etcd.Version; !satisfies(v, want) {
			say(DiffersVersion, m.spec.Name, "%s runs etcd %s, the file says %s", m.spec.Name, orWord(v, "(version not known)"), want)
		}
	}
	return out
}

// sayRestart says why a process would be started anew, what is about its addresses
// apart. --force-new-cluster is a state of its own.
func (b *builder) sayRestart(say func(DifferenceKind, string, string, ...any), m *member) {
	name := m.spec.Name
	have, want := m.runsWith(), settled(append(etcdArgs(b.cluster, m.spec, "", ""), b.carried(m)...))
	for _, k := range []DifferenceKind{DiffersURLs, DiffersSettings} {
		other := func(a string) bool {
			return strings.HasPrefix(a, "--force-new-cluster") || aboutURLs(a) != (k == DiffersURLs)
		}
		h, w := slices.DeleteFunc(slices.Clone(have), other), slices.DeleteFunc(slices.Clone(want), other)
		if len(have) > 0 && !slices.Equal(h, w) {
			say(k, name, "%s runs with other settings than the file's (%s)", name, argDiff(h, w))
		}
	}
	for _, why := range b.keeperWhy(m) {
		say(DiffersKeeper, name, "%s", why)
	}
	if diff := b.binaryDiffers(m); diff != "" {
		say(DiffersSettings, name, "%s", diff)
	}
}

func aboutURLs(arg string) bool {
	return strings.HasPrefix(arg, "--listen-peer-") || strings.HasPrefix(arg, "--listen-client-") || strings.HasPrefix(arg, "--advertise-")
}
