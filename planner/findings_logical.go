package planner

import (
	"fmt"
	"strings"
)

// When a leader is called one that flaps: so many changes of it since the member
// started, and more than one a minute; or a disk that takes so many seconds to
// sync, with any change of leader but the first.
const (
	flapChanges = 5
	slowFsync   = 1.0
)

// flaps says that the leader changes again and again; "" where it doesn't, or where
// no member's counters are known.
func (b *builder) flaps() string {
	for _, m := range with(b.members, condServing) {
		x := m.seen.Client.Metrics
		if !x.Known() {
			continue
		}
		v := x.Value
		switch {
		case v.LeaderChanges >= flapChanges && v.LeaderChanges*60 > v.UpSeconds:
			return fmt.Sprintf("%s saw %d changes of the leader in %d s", m.spec.Name, v.LeaderChanges, v.UpSeconds)
		case v.LeaderChanges > 1 && v.FsyncSeconds > slowFsync:
			return fmt.Sprintf("%s takes %.1f s to sync its log, and saw %d changes of the leader", m.spec.Name, v.FsyncSeconds, v.LeaderChanges)
		}
	}
	return ""
}

// alarm is one of etcd's alarms, and whose.
type alarm struct {
	kind, id string
	text     string
}

// alarms are those that members report, each once.
func (b *builder) alarms() []alarm {
	var out []alarm
	seen := map[string]bool{}
	for _, m := range with(b.members, condServing) {
		for _, text := range m.seen.Client.Alarms {
			kind, id, ok := strings.Cut(text, " on ")
			if ok && !seen[text] {
				seen[text] = true
				out = append(out, alarm{kind, id, text})
			}
		}
	}
	return out
}

// inherited are the alarms of IDs that the cluster does not list: they came with a
// snapshot, or their member was removed.
func (b *builder) inherited() []alarm {
	var out []alarm
	for _, a := range b.alarms() {
		if b.liveMembers() != nil && b.listed(a.id).ID == "" {
			out = append(out, a)
		}
	}
	return out
}

// alarmed are the alarms of this kind of members that the cluster lists.
func (b *builder) alarmed(kind string) []alarm {
	var out []alarm
	for _, a := range b.alarms() {
		if a.kind == kind && b.listed(a.id).ID != "" {
			out = append(out, a)
		}
	}
	return out
}

// alarmName is the name of the member whose alarm it is.
func (b *builder) alarmName(a alarm) string {
	l := b.listed(a.id)
	if m := b.ofFile(l); m != nil {
		return m.spec.Name
	}
	return nameOf(l)
}

// findLogical: what a cluster that runs has to bear.
func (b *builder) findLogical(f *finder) {
	for _, a := range b.alarmed("NOSPACE") {
		f.add(StateSpaceExhausted, b.alarmName(a), "%s", a.text)
	}
	for _, a := range b.inherited() {
		f.add(StateAlarmInherited, "", "%s, and no member has that ID", a.text)
	}
	for _, a := range b.alarmed("CORRUPT") {
		f.add(StateCorruptAlarm, b.alarmName(a), "%s", a.text)
	}
	b.findDiverged(f)
	low, high := b.minors()
	if low != high {
		f.add(StateMixedMinors, "", "the members run etcd 3.%d to 3.%d", low, high)
	}
	for _, m := range b.members {
		e := m.seen.Client
		switch {
		case e.Reach == ReachAuth && b.lacksQuorum():
			f.add(StateAuthLockedOut, m.spec.Name, "%s wants a user and password, and without a quorum it can check none", e.URL)
		case m.cond == condServing && e.Downgrade != "":
			f.add(StateDowngradeStuck, "", "a downgrade to %s is on (%s)", e.Downgrade, m.spec.Name)
		}
		if text := m.overloaded(); text != "" {
			f.add(StateOverloaded, m.spec.Name, "%s", text)
		}
	}
}

// lacksQuorum reports whether fewer voters than a majority can be running. That none
// could be asked proves nothing: a cluster that wants a password looks the same, whole.
func (b *builder) lacksQuorum() bool {
	if b.quorum.Has() || b.list == nil {
		return false
	}
	may := 0
	for _, l := range b.list {
		if l.Learner {
			continue
		}
		m := b.ofFile(l)
		switch o := b.other(l.ID); {
		case m != nil && (m.cond == condRunning || m.cond == condServing || m.cond == condUnknown):
			may++
		case m == nil && (o == nil || o.Client.Reach != ReachRefused || o.Peer.Reach != ReachRefused):
			may++
		}
	}
	return may < majority(b.listedVoters())
}

// minors are the lowest and the highest minor version that members run; both 0
// where none is known.
func (b *builder) minors() (low, high int) {
	for _, m := range with(b.members, condServing) {
		n := minor(m.seen.Client.Version)
		if n < 0 {
			continue
		}
		if high == 0 {
			low, high = n, n
		}
		low, high = min(low, n), max(high, n)
	}
	return low, high
}

// mostPending is how many proposals may wait at a member: etcd itself refuses
// further ones at 5000 (server/etcdserver/v3_server.go).
const mostPending = 1000

// overloaded says that a member has more to do than it can; "" where it doesn't.
func (m *member) overloaded() string {
	e := m.seen.Client
	switch {
	case m.cond != condServing:
		return ""
	case !e.Linearizable.Known() && strings.Contains(e.Linearizable.Why, "too many requests"):
		return e.Linearizable.Why
	case e.Metrics.Known() && e.Metrics.Value.Pending >= mostPending:
		return fmt.Sprintf("%d proposals wait", e.Metrics.Value.Pending)
	}
	if e.Metrics.Known() && e.Metrics.Value.Pending == 0 {
		return "" // it was, once
	}
	return m.sign(SignOverloaded)
}
