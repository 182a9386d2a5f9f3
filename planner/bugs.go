package planner

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bug is a fault of etcd's own that some of its versions have. A plan that it
// matters to has a Notice with its code.
type Bug struct {
	Code  Code
	Title string // what goes wrong, in a sentence without its full stop
	// Affected are the versions that have it, one range for each minor.
	Affected []VersionRange
	// Matters says to which plans; docs/bugs.md says the same in words.
	Matters []Occasion
	Source  string // where etcd says so
	Remedy  string // what to do, in a sentence without its full stop
}

// VersionRange is versions of one minor, etcd 3.Minor: from patch From on, and
// before patch Fixed; 0 where no later version of that minor is without the fault.
type VersionRange struct{ Minor, From, Fixed int }

// String gives the range as a person writes it, "3.5.1 to 3.5.19".
func (r VersionRange) String() string {
	switch {
	case r.Fixed == 0 && r.From == 0:
		return fmt.Sprintf("all of 3.%d", r.Minor)
	case r.Fixed == 0:
		return fmt.Sprintf("3.%d.%d and later", r.Minor, r.From)
	case r.Fixed == r.From+1:
		return fmt.Sprintf("3.%d.%d", r.Minor, r.From)
	}
	return fmt.Sprintf("3.%d.%d to 3.%d.%d", r.Minor, r.From, r.Minor, r.Fixed-1)
}

// Occasion is what a plan, or the cluster that it is for, has to do with a bug.
type Occasion string

// The occasions on which bugs matter.
const (
	OccasionAlways   Occasion = "always"
	OccasionStart    Occasion = "start"     // a member is started on its data, or dies again and again
	OccasionGrow     Occasion = "grow"      // a member is added and promoted
	OccasionLearner  Occasion = "learner"   // a learner is listed or added
	OccasionUpgrade  Occasion = "upgrade"   // a later minor is to run
	OccasionSingle   Occasion = "single"    // one voter only
	OccasionAuth     Occasion = "auth"      // the file has an auth block
	OccasionForceNew Occasion = "force-new" // --force-new-cluster in place
	OccasionDiverged Occasion = "diverged"  // the members' data was found to differ
)

// Bugs lists the bugs that a plan warns of.
func Bugs() []Bug { return slices.Clone(bugs) }

// bugs is made once: a plan is made in microseconds, and looks all of it through.
var bugs = bugTable()

func bugTable() []Bug {
	pull := func(n int) string { return fmt.Sprintf("https://github.com/etcd-io/etcd/pull/%d", n) }
	return []Bug{
		{"etcd-end-of-life", "no more fixes are made for this minor", []VersionRange{{4, 0, 0}},
			[]Occasion{OccasionAlways}, "https://github.com/etcd-io/etcd/blob/main/CHANGELOG/CHANGELOG-3.4.md",
			"go to 3.4.45, its last, then to 3.5 and on, one minor at a time"},
		{"etcd-security", "this version misses security fixes", []VersionRange{{4, 0, 44}, {5, 0, 33}, {6, 0, 14}, {7, 0, 1}},
			[]Occasion{OccasionAlways}, "https://github.com/etcd-io/etcd/security/advisories",
			"upgrade within the minor"},
		{"etcd-13908", "a member that crashes under load may come back with other data than the rest, unnoticed", []VersionRange{{5, 0, 3}},
			[]Occasion{OccasionAlways}, pull(13908),
			"don't kill members; compare the members' data (HashKV), then upgrade within 3.5"},
		{"etcd-14400", "a single member answers a write before it is on its disk: a crash loses acknowledged writes", []VersionRange{{4, 0, 21}, {5, 0, 5}},
			[]Occasion{OccasionSingle}, pull(14400),
			"stop the member cleanly, and start a version with the fix"},
		{"etcd-14648", "with auth on, a member that took its data from a snapshot may apply what the others refuse", []VersionRange{{4, 0, 22}, {5, 0, 6}},
			[]Occasion{OccasionAuth}, pull(14648),
			"upgrade before a member is added or replaced"},
		{"etcd-14733", "a crash during a defragmentation may leave a member at another revision than the rest", []VersionRange{{5, 0, 6}},
			[]Occasion{OccasionAlways}, pull(14733),
			"don't defragment before the upgrade within 3.5"},
		{"etcd-15096", "a learner that was never started can be promoted, and counts for the quorum then", []VersionRange{{4, 0, 24}, {5, 0, 7}},
			[]Occasion{OccasionGrow, OccasionLearner}, pull(15096),
			"promote nobody by hand; requorum promotes a learner only after it has caught up"},
		{"etcd-17780", "a crash during a compaction may take the revision back", []VersionRange{{4, 0, 32}, {5, 0, 14}},
			[]Occasion{OccasionAlways}, "https://github.com/etcd-io/etcd/issues/17780",
			"upgrade within the minor"},
		{"etcd-18799", "a transaction may be applied in part where it is interrupted", []VersionRange{{5, 0, 17}},
			[]Occasion{OccasionAlways}, pull(18799),
			"upgrade within 3.5"},
		{"etcd-19557", "the promotion of a learner is not written to the database: 3.6 takes the voter for a learner again", []VersionRange{{5, 1, 20}},
			[]Occasion{OccasionGrow, OccasionLearner, OccasionUpgrade}, "https://github.com/etcd-io/etcd/issues/19557",
			"upgrade within 3.5 before members are promoted, and before 3.6"},
		{"etcd-20793", "a lost promotion of an earlier version is handed on to members that take their data from others", []VersionRange{{5, 20, 24}},
			[]Occasion{OccasionGrow, OccasionUpgrade}, "https://github.com/etcd-io/etcd/issues/20793",
			"upgrade within 3.5 before members are promoted, and before 3.6"},
		{"etcd-20995", "members that were removed, or that a restore on an old version left behind, may be listed again after the upgrade to 3.6", []VersionRange{{4, 0, 0}, {5, 0, 26}},
			[]Occasion{OccasionUpgrade}, pull(20995),
			"run 3.5.26 or later on all members first: it repairs the list"},
		{"etcd-20387", "a member may not start again after a learner was promoted", []VersionRange{{6, 0, 4}},
			[]Occasion{OccasionStart, OccasionGrow}, pull(20387),
			"upgrade within 3.6 before members are promoted or restarted"},
		{"etcd-20071", "--force-new-cluster may leave the other members in the list where the crash came before the hard state was on disk", []VersionRange{{4, 0, 0}, {5, 0, 22}, {6, 0, 1}},
			[]Occasion{OccasionForceNew}, pull(20071),
			"recover without in_place, or with a version that has the fix"},
		{"etcd-20896", "--force-new-cluster leaves learners in the list once a snapshot was made", []VersionRange{{4, 0, 0}, {5, 0, 25}, {6, 0, 6}},
			[]Occasion{OccasionForceNew}, pull(20896),
			"recover without in_place, or with a version that has the fix"},
		{"etcd-20653", "a defragmentation while a member takes a snapshot from its leader may corrupt its data", []VersionRange{{4, 0, 38}, {5, 0, 23}, {6, 0, 5}},
			[]Occasion{OccasionGrow, OccasionStart}, pull(20653),
			"let nothing defragment members while this runs"},
		{"etcd-21378", "a linearizable read may be answered with old data around a change of leader, or by a process that was paused", []VersionRange{{4, 0, 42}, {5, 0, 28}, {6, 0, 9}},
			[]Occasion{OccasionAlways}, pull(21378),
			"upgrade within the minor"},
		{"etcd-18667", "a transaction that reads at a given revision may be applied on some members and refused on others", []VersionRange{{4, 0, 0}, {5, 0, 0}, {6, 0, 0}},
			[]Occasion{OccasionDiverged}, "https://github.com/etcd-io/etcd/issues/18667",
			"where clients do this, it may be why the data differs; 3.7 does it right"},
		{"etcd-21694", "an update of a learner's URLs makes it a voter", []VersionRange{{4, 0, 0}, {5, 0, 31}, {6, 0, 12}},
			[]Occasion{OccasionLearner}, "https://github.com/etcd-io/etcd/issues/21694",
			"run no `etcdctl member update` on a learner; requorum does not"},
		{"etcd-22401", "a power failure just after a member took a snapshot from its leader may cost it that snapshot, and it does not start then", []VersionRange{{6, 0, 15}, {7, 0, 2}},
			[]Occasion{OccasionGrow}, pull(22401),
			"replace a member to which this happened; upgrade within the minor"},
		{"etcd-upgrade-path", "this version is too old to go to the next minor", []VersionRange{{5, 0, 32}, {6, 0, 11}},
			[]Occasion{OccasionUpgrade}, "https://etcd.io/docs/latest/upgrades/",
			"upgrade all members within the minor first"},
	}
}

// Affects reports whether an etcd of this version ("3.6.4") has the bug. One of
// which only the minor is known ("3.5") counts as affected where any of it is.
func (b Bug) Affects(version string) bool {
	_, ok := b.fixFor(minor(version), patchNumber(version))
	return ok
}

// Fixed gives the versions that are without it, the oldest of each minor.
func (b Bug) Fixed() []string {
	var out []string
	for _, r := range b.Affected {
		if r.Fixed > 0 {
			out = append(out, fmt.Sprintf("3.%d.%d", r.Minor, r.Fixed))
		}
	}
	return out
}

// fixFor gives the patch of the same minor that is without the bug, 0 for none, and
// whether the version has it.
func (b Bug) fixFor(minor, patch int) (int, bool) {
	for _, r := range b.Affected {
		if r.Minor == minor && (patch < 0 || patch >= r.From && (r.Fixed == 0 || patch < r.Fixed)) {
			return r.Fixed, true
		}
	}
	return 0, false
}

// patchNumber reads the last number of "3.6.16"; -1 where there is none. What comes
// before a release ("3.6.0-rc.1") has no fix that the release has not.
func patchNumber(version string) int {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return -1
	}
	digits, _, _ := strings.Cut(parts[2], "-")
	digits, _, _ = strings.Cut(digits, "+")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return -1
	}
	return n
}
