package planner

import (
	"fmt"
	"slices"
	"strings"
)

// running is an etcd of the cluster: whose, and its version.
type running struct {
	name, version string
	minor, patch  int
	// before is true for the minor that data was written by, where a later one
	// is to start on it: what it did is there, it won't run again.
	before bool
}

// noteBugs adds a notice for each bug of the versions at hand that matters to the
// plan, once, whoever has it.
func (b *builder) noteBugs(p *Plan) {
	etcds := b.etcds()
	var on map[Occasion]bool
	for i := range bugs {
		bug := &bugs[i]
		var who, versions, fixes []string
		for _, e := range etcds {
			fix, has := bug.fixFor(e.minor, e.patch)
			if !has || e.before && !slices.Contains(bug.Matters, OccasionUpgrade) {
				continue
			}
			who = append(who, e.name)
			if e.patch < 0 {
				versions = append(versions, e.version+" (its patch release is not known)")
			} else {
				versions = append(versions, e.version)
			}
			if fix > 0 {
				fixes = append(fixes, fmt.Sprintf("3.%d.%d", e.minor, fix))
			}
		}
		if len(who) == 0 {
			continue
		}
		if on == nil {
			on = b.occasions(p)
		}
		if bug.Code == "etcd-upgrade-path" && p.rolls() {
			continue // it begins with that
		}
		if !slices.ContainsFunc(bug.Matters, func(o Occasion) bool { return on[o] }) {
			continue
		}
		text := fmt.Sprintf("etcd %s on %s: %s", distinct(versions), distinct(who), bug.Title)
		if len(fixes) > 0 {
			text += "; fixed in " + distinct(fixes)
		}
		b.note(bug.Code, b.cluster.Etcd.Pos, "%s. %s. See %s", text, strings.ToUpper(bug.Remedy[:1])+bug.Remedy[1:], bug.Source)
	}
}

func distinct(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

// etcds are the versions that the cluster runs, will run, and ran last, as far as
// they are known.
func (b *builder) etcds() []running {
	var out []running
	add := func(name, version string, before bool) {
		if n := minor(version); n >= 0 {
			out = append(out, running{name: name, version: version, minor: n, patch: patchNumber(version), before: before})
		}
	}
	for _, m := range b.members {
		e := m.seen.Client
		if e.Reach == ReachServing && e.Version != "" {
			add(m.spec.Name, e.Version, false)
			continue
		}
		if m.seen.Binary.Known() {
			add(m.spec.Name, m.seen.Binary.Value.Version, false)
		}
		if b.upgrades(m) {
			add(m.spec.Name, m.dataMinor(), true)
		}
	}
	for _, o := range b.obs.Others {
		if o.Client.Reach == ReachServing {
			add(nameOf(o.ListedMember), o.Client.Version, false)
		}
	}
	return out
}

// dataMinor is the minor that the member's data was last written by: "3.5"; "" where
// the disk does not say.
func (m *member) dataMinor() string {
	d := m.survivor()
	for _, v := range []string{d.StorageVersion, d.ClusterVersion} {
		if n := minor(v); n > 0 { // "3.0.0" stands for one that is not found out yet
			return fmt.Sprintf("3.%d", n)
		}
	}
	return ""
}

// upgrades reports whether the member is to run a later minor than it does, or than
// its data is of: by the file, or by the binary that would be started.
func (b *builder) upgrades(m *member) bool {
	have := minor(m.dataMinor())
	if e := m.seen.Client; e.Reach == ReachServing && e.Version != "" {
		have = minor(e.Version)
	}
	if have < 0 {
		return false
	}
	if want := b.cluster.Etcd.Version; want != "" && (m.cond == condServing || !b.cluster.Etcd.EachMinor()) {
		return minor(want) > have // another binary is refused
	}
	return m.seen.Binary.Known() && minor(m.seen.Binary.Value.Version) > have
}

// occasions says what there is about the cluster, and in the plan, that a bug may
// matter to.
func (b *builder) occasions(p *Plan) map[Occasion]bool {
	on := map[Occasion]bool{
		OccasionAlways:   true,
		OccasionSingle:   b.cluster.Voters() == 1,
		OccasionAuth:     b.cluster.Auth != nil,
		OccasionDiverged: b.obs.KV.Known() && !b.obs.KV.Value.Equal,
		OccasionLearner:  slices.ContainsFunc(b.list, func(l ListedMember) bool { return l.Learner }),
		OccasionUpgrade:  slices.ContainsFunc(b.members, b.upgrades),
	}
	for _, m := range b.members {
		if s := m.seen.Service; s.Known() && (s.Value.State == ServiceBackoff || s.Value.Restarts > 0) {
			on[OccasionStart] = true
		}
	}
	for _, s := range p.Steps {
		switch a := s.Action.(type) {
		case Start:
			on[OccasionStart] = true
		case Add:
			on[OccasionGrow], on[OccasionLearner] = true, true
		case Promote:
			on[OccasionGrow] = true
		case Recover:
			on[OccasionForceNew] = on[OccasionForceNew] || a.InPlace != nil
		}
	}
	return on
}
