package planner

import (
	"fmt"
	"slices"
	"strings"
)

// A change of the version. etcd goes up one minor at a time: every member is restarted
// with the next one, the leader last, and only when all of them run it, and the cluster
// has noticed, begins the minor after it. Down it goes by one minor, from 3.6 on, after
// the cluster was told so.

// way is how the cluster gets from the versions that it runs to the file's.
type way struct {
	hops []hop
	// down is the minor that the cluster is told first that it is to go back to, 0 for
	// none; cancel is where it is told that it is not to go back any more.
	down   int
	cancel bool
	// from is the minor that the whole cluster has to be known to be at before the
	// first hop; 0 where it is not to be asked.
	from int
	// ends is false where a member that can't be reached keeps the cluster from coming
	// along: the roll is finished, and no more is begun.
	ends bool
}

// hop is a round of restarts with one minor.
type hop struct {
	minor   int
	members []*member
	why     string
	patch   bool // it is another patch of the minor that they run
	part    bool // others run another minor by then
}

// patchBefore is the patch that all members need before the next minor, by etcd's own
// guides to upgrading.
var patchBefore = map[int]int{5: 32, 6: 11}

// avoided are faults of a version that no roll leads to, nor over: a member that is
// restarted with it may differ from the others, or not come back.
var avoided = []Code{"etcd-13908", "etcd-20387"}

// wayTo finds the way to the file's version; nil where all run it.
func (b *builder) wayTo(c *changes) (*way, *Refusal) {
	e := b.cluster.Etcd
	if !c.rolls() {
		return nil, nil
	}
	for _, m := range with(b.members, condServing) {
		if b.seatOf(m) != nil && minor(m.seen.Client.Version) < 0 {
			return nil, refusal(CodeUpgradePath, e.VersionPos, "it is not known which etcd "+m.spec.Name+" runs",
				fmt.Sprintf("It says that its version is %q, and the file wants %s.", m.seen.Client.Version, e.Version),
				"Look at it by hand: etcdctl --endpoints="+m.seen.Client.URL+" endpoint status.")
		}
	}
	low, high := b.minors()
	switch want := minor(e.Version); {
	case high-low > 1:
		return nil, refusal(CodeMixedMinors, e.VersionPos, "the members run minor versions that don't go together", versionsText(with(b.members, condServing))+".",
			"Bring them to two that follow each other, by hand, and plan again.")
	case want >= high:
		return b.wayUp(c, low, high, want)
	default:
		return b.wayDown(c, low, high, want)
	}
}

// at are the members that run etcd 3.n, as far as restarts go.
func (b *builder) at(n int) []*member {
	var out []*member
	for _, m := range with(b.members, condServing) {
		if b.seatOf(m) != nil && minor(m.seen.Client.Version) == n {
			out = append(out, m)
		}
	}
	return out
}

// wayUp goes from etcd 3.low to 3.want, where some may be at 3.high, a minor further.
func (b *builder) wayUp(c *changes, low, high, want int) (*way, *Refusal) {
	e := b.cluster.Etcd
	w := &way{from: low, cancel: c.cancel, ends: true}
	add := func(n int, ms []*member, why string) {
		if len(ms) > 0 {
			w.hops = append(w.hops, hop{minor: n, members: ms, why: why})
		}
	}
	here := b.at(low)
	if need := patchBefore[low]; want > low && slices.ContainsFunc(here, func(m *member) bool { return patch(m.seen.Client.Version) < need }) {
		var old []*member
		for _, m := range here {
			if patch(m.seen.Client.Version) < need {
				old = append(old, m)
			}
		}
		if r := b.checkPatch(old, low, need); r != nil {
			return nil, r
		}
		add(low, old, fmt.Sprintf("etcd wants 3.%d.%d before 3.%d", low, need, low+1))
		w.hops[0].patch, w.hops[0].part = true, low < high
	}
	if low < high {
		w.from = 0 // some are ahead: the cluster was seen to be at low, or they would not run
		rest := here
		if want > high {
			var old []*member
			for _, m := range b.at(high) {
				if patch(m.seen.Client.Version) < patchBefore[high] {
					old = append(old, m)
				}
			}
			if r := b.checkPatch(old, high, patchBefore[high]); r != nil {
				return nil, r
			}
			rest = union(here, old)
		}
		add(high, rest, fmt.Sprintf("the others run etcd 3.%d", high))
	}
	if b.missed(c) {
		w.ends = false
		return w, b.checkHops(w, true)
	}
	if want == low && !w.cancel {
		w.from = 0
	}
	all := slices.Concat(b.at(low), b.at(high))
	if low == high {
		all = b.at(low)
	}
	for n := high + 1; n <= want; n++ {
		why := fmt.Sprintf("the file wants etcd %s", e.Version)
		if n < want {
			why += ", and etcd goes up one minor at a time"
		}
		add(n, all, why)
	}
	if low == want || high == want { // of that minor, and another patch of it
		var other []*member
		for _, m := range b.at(want) {
			if !satisfies(m.seen.Client.Version, e.Version) {
				other = append(other, m)
			}
		}
		if add(want, other, fmt.Sprintf("the file wants etcd %s", e.Version)); len(other) > 0 {
			w.hops[len(w.hops)-1].patch = true
		}
	}
	if r := b.checkHops(w, false); r != nil {
		return nil, r
	}
	return w, nil
}

// wayDown is for a minor that is older than what some members run.
func (b *builder) wayDown(c *changes, low, high, want int) (*way, *Refusal) {
	e := b.cluster.Etcd
	told := b.downgradeTo()
	switch {
	case high <= 5:
		return nil, refusal(CodeDowngradePath, e.VersionPos, fmt.Sprintf("etcd 3.%d can't be brought back to 3.%d", high, want),
			fmt.Sprintf("%s run, and the file wants %s. etcd goes back by one minor, and only from 3.6 on.", versionsText(with(b.members, condServing)), e.Version),
			"Write the version that runs into the file.",
			fmt.Sprintf("Or save a snapshot and restore it into a new cluster of etcd 3.%d: another identity, and what is written meanwhile is not in it.", want))
	case want < high-1:
		return nil, refusal(CodeDowngradePath, e.VersionPos, "etcd goes back one minor at a time",
			fmt.Sprintf("%s run, and the file wants %s.", versionsText(with(b.members, condServing)), e.Version),
			fmt.Sprintf("Write version = \"3.%d\" first, and apply; whether the one before it can be had, the next plan says.", high-1))
	case low < high && told != want:
		return nil, refusal(CodeDowngradePath, e.VersionPos, "the members run two minor versions, and the cluster was not told to go back",
			fmt.Sprintf("%s run, and no downgrade is on: whoever began the upgrade may have changed what an older etcd reads.", versionsText(with(b.members, condServing))),
			fmt.Sprintf("Finish the upgrade first: version = \"3.%d\". Then the way back is open.", high))
	}
	w := &way{down: want, ends: !b.missed(c)}
	w.hops = append(w.hops, hop{minor: want, members: b.at(high), why: fmt.Sprintf("the file wants etcd %s", e.Version)})
	return w, b.checkHops(w, false)
}

// downgradeTo is the minor that the cluster was told to go back to; -1 for none.
func (b *builder) downgradeTo() int {
	for _, m := range with(b.members, condServing) {
		if to := m.seen.Client.Downgrade; to != "" {
			return minor(to)
		}
	}
	return -1
}

// calledOff reports whether the cluster was told to go back to a version, and the file
// wants another.
func (b *builder) calledOff() bool {
	told, want := b.downgradeTo(), b.cluster.Etcd.Version
	return told >= 0 && want != "" && told != minor(want)
}

// missed reports whether the cluster lists members that can't be brought along.
func (b *builder) missed(c *changes) bool {
	return len(c.dead)+len(c.lost)+len(c.extra)+len(c.join)+len(c.differ) > 0 || slices.ContainsFunc(b.seats, func(s *seat) bool { return !s.healthy })
}

// checkPatch refuses to go on from a patch release that is too old, where there is no
// later one of its minor.
func (b *builder) checkPatch(old []*member, n, need int) *Refusal {
	e := b.cluster.Etcd
	for _, m := range old {
		bin := m.etcd(e, n)
		if bin.Known() && minor(bin.Value.Version) == n && patch(bin.Value.Version) >= need {
			continue
		}
		have := "the file names no etcd of that minor: its binary has no {minor}"
		switch path := e.BinaryFor(minorName(n)); {
		case e.EachMinor() && bin.Known():
			have = fmt.Sprintf("%s is etcd %s", path, bin.Value.Version)
		case e.EachMinor():
			have = path + ": " + bin.Why
		}
		return refusal(CodeUpgradePath, e.VersionPos, fmt.Sprintf("etcd %s is too old to go to 3.%d", m.seen.Client.Version, n+1),
			fmt.Sprintf("etcd wants 3.%d.%d on all members before 3.%d; %s run, and on %s's host %s.", n, need, n+1, versionsText(b.at(n)), m.spec.Name, have),
			fmt.Sprintf("Install a later etcd 3.%d there, 3.%d.%d at least, and plan again: the roll begins with it.", n, n, need),
			fmt.Sprintf("Or upgrade within 3.%d first: version = \"3.%d\" and the binary of it, apply, and then on.", n, n))
	}
	return nil
}

// checkHops holds every etcd that the way needs, on each host, to what it has to be,
// before the first member is stopped.
func (b *builder) checkHops(w *way, passing bool) *Refusal {
	e := b.cluster.Etcd
	last := -1
	if n := len(w.hops); n > 0 && !passing {
		last = w.hops[n-1].minor
	}
	for _, h := range w.hops {
		want := minorName(h.minor)
		if h.minor == minor(e.Version) {
			want = e.Version
		}
		for _, m := range h.members {
			bin, path := m.etcd(e, h.minor), b.pathFor(m, h.minor)
			switch {
			case !bin.Known():
				return refusal(CodeBinaryMissing, e.BinaryPos, fmt.Sprintf("there is no etcd %s for %s", want, m.spec.Name),
					fmt.Sprintf("%s: %s. The way to %s leads over it, and nothing is begun that can't be finished.", path, bin.Why, e.Version),
					fmt.Sprintf("Install etcd %s there, and plan again.", want))
			case !satisfies(bin.Value.Version, want):
				remedy := "Put the right one there, or correct version in the file."
				if !e.EachMinor() {
					remedy = "etcd goes up one minor at a time: give each its own, binary = \"/opt/etcd/{minor}/etcd\", and all of them are used in turn; or go to the next minor first."
				}
				return refusal(CodeBinaryVersion, e.BinaryPos, fmt.Sprintf("the way leads over etcd %s, and %s's host has another", want, m.spec.Name),
					fmt.Sprintf("%s is etcd %s; %s runs %s, and the file wants %s.", binaryName(path), bin.Value.Version, m.spec.Name, m.seen.Client.Version, e.Version), remedy)
			case last > h.minor && patch(bin.Value.Version) < patchBefore[h.minor]:
				return refusal(CodeUpgradePath, e.BinaryPos, fmt.Sprintf("etcd %s is too old to go to 3.%d", bin.Value.Version, h.minor+1),
					fmt.Sprintf("%s on %s's host is %s; etcd wants 3.%d.%d on all members before 3.%d.", path, m.spec.Name, bin.Value.Version, h.minor, patchBefore[h.minor], h.minor+1),
					"Install a later one there, and plan again.")
			}
			if r := b.checkAvoided(m, path, bin.Value.Version); r != nil {
				return r
			}
			if r := b.checkGoneSettings(m, h.minor); r != nil {
				return r
			}
		}
	}
	return nil
}

// pathFor is where the member's etcd 3.n is, "" for the one inside requorum.
func (b *builder) pathFor(m *member, n int) string {
	if e := b.cluster.Etcd; e.EachMinor() {
		return e.BinaryFor(minorName(n))
	}
	return b.binaryOf(m)
}

// checkAvoided refuses a version that may harm a member which is restarted with it.
func (b *builder) checkAvoided(m *member, path, version string) *Refusal {
	for _, bug := range bugs {
		if slices.Contains(avoided, bug.Code) && bug.Affects(version) {
			return refusal(CodeUpgradePath, b.cluster.Etcd.BinaryPos, fmt.Sprintf("etcd %s is none to go to", version),
				fmt.Sprintf("%s on %s's host is %s: %s (%s).", binaryName(path), m.spec.Name, version, bug.Title, bug.Code),
				"Install "+strings.Join(bug.Fixed(), " or ")+" or later there, and plan again. See "+bug.Source+".")
		}
	}
	return nil
}

// checkGoneSettings refuses an etcd that would end at once, for it has a setting no more
// that the file, or what the member came with, still gives it.
func (b *builder) checkGoneSettings(m *member, n int) *Refusal {
	e := b.cluster.Etcd
	for _, flag := range b.argsOf(m, -1, "", "") {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		if _, named := e.Config[name]; !named || !settingRemoved(n, name) {
			continue
		}
		remedy := "Take it out of the file, and apply that first, with the version that runs."
		if now := successor(n, name); now != "" {
			remedy = fmt.Sprintf("It is called %s by then: write that instead, and the way begins without it.", now)
		}
		return refusal(CodeSettingGone, e.ConfigPos[name], fmt.Sprintf("etcd 3.%d has no setting %s any more", n, name),
			fmt.Sprintf("The file gives it in etcd { config }; with it, etcd 3.%d ends at once.", n), remedy)
	}
	for _, flag := range b.carried(m, n) {
		name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		if settingRemoved(n, name) {
			return refusal(CodeSettingGone, m.spec.Pos, fmt.Sprintf("etcd 3.%d has no setting %s any more", n, name),
				fmt.Sprintf("%s runs with %s, which the file does not name and which it keeps; with it, etcd 3.%d ends at once.", m.spec.Name, flag, n),
				"Restart it by hand without that setting (in its unit, its configuration file, or wherever it comes from), and plan again.")
		}
	}
	return nil
}
