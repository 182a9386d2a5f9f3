package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// A binary whose path has a place for the minor version is one for each: members are
// started with the etcd of the minor that their cluster is at, and brought to the
// file's afterwards, one minor at a time.

// minorName is "3.6".
func minorName(n int) string { return fmt.Sprintf("3.%d", n) }

// BinaryForDir is the path of the etcd that a directory may be opened with: where the
// file has one for each minor version, that of the directory's own.
func BinaryForDir(e spec.Etcd, d DataDir) string {
	if n := d.minor(); e.EachMinor() && n > 0 {
		return e.BinaryFor(minorName(n))
	}
	return e.BinaryFor(lesser(e.Version))
}

// lesser is the minor version of "3.6.16", as "3.6".
func lesser(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// takeMinors finds out with which minor version each member would be started now.
func (b *builder) takeMinors() {
	if !b.cluster.Etcd.EachMinor() {
		return
	}
	at := b.clusterMinor()
	for _, m := range b.members {
		m.use(b.cluster.Etcd, m.minorBeside(b.cluster.Etcd, at, b.quorum.Has()))
	}
}

// use has the members started with etcd 3.n from here on.
func (b *builder) use(ms []*member, n int) {
	if !b.cluster.Etcd.EachMinor() {
		return
	}
	for _, m := range ms {
		m.use(b.cluster.Etcd, n)
	}
}

func (m *member) use(e spec.Etcd, n int) {
	if n < 0 {
		n = minor(e.Version)
	}
	m.minor, m.seen.Binary = n, m.etcd(e, n)
}

// etcd is the etcd 3.n on the member's host, as far as the file leads to one.
func (m *member) etcd(e spec.Etcd, n int) Fact[Binary] {
	if !e.EachMinor() {
		return m.seen.Binary
	}
	if bin, ok := m.seen.Binaries[minorName(n)]; ok {
		return bin
	}
	return Unknown[Binary](e.BinaryFor(minorName(n)) + " was not looked at")
}

// clusterMinor is the lowest that serves; where nobody does, the highest that ran or
// wrote what lies here; -1 where there is nothing.
func (b *builder) clusterMinor() int {
	if low, _ := b.minors(); low > 0 && b.quorum.Has() {
		return low
	}
	n := -1
	for _, m := range b.members {
		if m.cond == condServing {
			n = max(n, minor(m.seen.Client.Version))
		}
		if d := m.survivor(); d.ClusterID == "" || m.neverStarted() {
			continue
		}
		n = max(n, m.wroteMinor(), m.lastMinor(b.cluster.Etcd))
	}
	return n
}

// wroteMinor is the minor that the member's data is of; -1 where the disk does not say.
func (m *member) wroteMinor() int {
	if v := m.dataMinor(); v != "" {
		return minor(v)
	}
	return -1
}

// lastMinor is that of the etcd which the member's service ran last; -1 where it is none
// of the file's.
func (m *member) lastMinor(e spec.Etcd) int {
	s := m.seen.Service
	if !e.EachMinor() || !s.Known() || s.Value.Binary == "" {
		return -1
	}
	for _, v := range spec.Minors() {
		if s.Value.Binary == e.BinaryFor(v) {
			return minor(v)
		}
	}
	return -1
}

// minorBeside is what the member is started with beside a cluster at etcd 3.at: the same,
// but for one with data whom a roll has brought a minor further already. Without a quorum
// each that has data goes on with what it ran last.
func (m *member) minorBeside(e spec.Etcd, at int, quorum bool) int {
	has := (m.cond == condDown || m.cond == condFenced || m.cond == condRunning) && m.survivor().ClusterID != ""
	switch last, wrote := m.lastMinor(e), m.wroteMinor(); {
	case m.cond == condServing && minor(m.seen.Client.Version) >= 0:
		return minor(m.seen.Client.Version)
	case has && at >= 7 && m.survivor().OldEntry > 0 && wrote >= 0:
		return wrote // its log is trimmed when it serves
	case !has, quorum && at == minor(e.Version) && wrote <= at:
		return at // where the file wants to be, on the way back too
	case last == at+1 || last >= 0 && !quorum && last >= wrote:
		return last
	case wrote == at+1 || wrote >= 0 && !quorum:
		return wrote
	}
	return at
}

// wants is the version that an etcd of the member has to be: the file's, or on the way
// there any of its minor.
func (b *builder) wants(m *member) string {
	if want := b.cluster.Etcd.Version; !b.cluster.Etcd.EachMinor() || m.minor == minor(want) {
		return want
	}
	return minorName(m.minor)
}

// versionsDiffer says whose version is not the file's; nil where all are.
func (b *builder) versionsDiffer() []*member {
	var out []*member
	for _, m := range with(b.members, condServing) {
		if b.seatOf(m) != nil && !satisfies(m.seen.Client.Version, b.cluster.Etcd.Version) {
			out = append(out, m)
		}
	}
	return out
}

// versionsText is "m1 3.5.35, m2 3.6.16".
func versionsText(ms []*member) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.spec.Name+" "+orWord(m.seen.Client.Version, "(not known)"))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
