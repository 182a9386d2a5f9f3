package planner

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/requorum/requorum/spec"
)

// minor reads the minor of "3.6", "3.6.16" or "3.6.0-alpha.0"; -1 where it is
// none of etcd 3.
func minor(version string) int {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 || parts[0] != "3" {
		return -1
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return -1
	}
	return n
}

// patch reads the 16 of "3.6.16" and of "3.6.16-rc.1"; 0 where there is none.
func patch(version string) int {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 3 {
		return 0
	}
	digits, _, _ := strings.Cut(parts[2], "-")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// satisfies reports whether the version that is there is the one wanted: "3.6"
// is satisfied by any 3.6.x, "3.6.16" by itself alone, "" by everything.
func satisfies(have, want string) bool {
	if want == "" || have == want {
		return true
	}
	return strings.Count(want, ".") == 1 && minor(have) == minor(want)
}

// lastTaker34 is the last patch of 3.4 that was seen to start from snapshots of
// 3.6 and 3.7.
const lastTaker34 = 23

// startsFromSnapshot reports whether a server of version server starts from
// data restored from a snapshot of the storage version snapshot ("" is 3.5 or
// older, which wrote none), and otherwise why not. As tried on real servers
// (tests/matrix): a newer server takes an older snapshot; 3.5 knows no storage
// version and takes any; 3.6 knows them, and stops at one of 3.7. 3.4.23 takes
// any, 3.4.45 panics on what is newer than 3.5, and between them none was tried.
func startsFromSnapshot(snapshot, server string) (bool, string) {
	srv := minor(server)
	snap := minor(snapshot)
	switch {
	case srv < 0:
		return false, fmt.Sprintf("%q is no version of etcd 3", server)
	case snapshot == "" || snap <= srv:
		return true, ""
	case srv == 5, srv == 4 && patch(server) <= lastTaker34:
		return true, ""
	case srv == 4:
		return false, fmt.Sprintf("the snapshot was taken on etcd 3.%d; etcd 3.4.45 can't start from one, and of %s it is not known (3.4.%d and before can, but could not be brought up to 3.4.45 afterwards)", snap, server, lastTaker34)
	}
	return false, fmt.Sprintf("the snapshot was taken on etcd 3.%d, and etcd %s can't start from it", snap, server)
}

// forgetVersion reports whether members are to run an etcd that knows no storage
// version.
func forgetVersion(ms []*member) bool {
	return slices.ContainsFunc(ms, func(m *member) bool {
		n := minor(m.seen.Binary.Value.Version)
		return m.seen.Binary.Known() && n >= 0 && n < 6
	})
}

// startsFromDir reports whether a server of version server starts on a data
// directory, and otherwise why not. A live directory moves one minor up at a time
// and never down. Only what is known counts: a directory is called one of 3.5 or
// older where its cluster version says so, not where a storage version is merely
// not written yet (etcd writes it some seconds after a first start).
func startsFromDir(d DataDir, server string) (bool, string) {
	srv, have := minor(server), minor(d.StorageVersion)
	if d.StorageVersion == "" {
		have = minor(d.ClusterVersion)
	}
	switch {
	case srv < 0:
		return false, fmt.Sprintf("%q is no version of etcd 3", server)
	case srv >= 7 && d.OldEntry > 0:
		return false, fmt.Sprintf("entry #%d of its log, which etcd would read again, is in the format of etcd 3.5, and etcd %s ends at it", d.OldEntry, server)
	case d.StorageVersion == "" && have <= 0, have == srv, have+1 == srv:
		return true, ""
	case have < srv:
		return false, fmt.Sprintf("the directory was written by etcd 3.%d, and etcd %s can't start on it: it moves up one minor at a time", have, server)
	}
	return false, fmt.Sprintf("the directory was written by etcd 3.%d, and the older etcd %s can't start on it", have, server)
}

// refuseVersion is for a directory that the etcd at hand can't start on.
func refuseVersion(m *member, pos spec.Position, why string) *Refusal {
	have, want := m.survivor().minor(), minor(m.seen.Binary.Value.Version)
	if m.survivor().OldEntry > 0 && have == want-1 {
		return refusal(CodeDirOlder, pos, m.spec.Name+"'s log is too old for this etcd", why+".",
			fmt.Sprintf("Start the members with etcd 3.%d: etcd { version = \"3.%d\"  binary = … }.", have, have),
			fmt.Sprintf("When they serve, upgrade them: version = \"3.%d\", with {minor} in binary, or the new etcd at its path.", want))
	}
	if have >= want {
		return refusal(CodeBinaryVersion, pos, m.spec.Name+" would not start", why+".", "Name a binary that fits in etcd { binary = … }.")
	}
	return refusal(CodeDirOlder, pos, m.spec.Name+"'s directory is too old for this etcd", why+".",
		fmt.Sprintf("Start the members with an etcd 3.%d or 3.%d: etcd { binary = … }. Then go up one minor at a time, all members in turn.", have, have+1),
		"Or take the shorter way: with the old etcd running, save a snapshot, and restore that with the new one. A snapshot may be several minors old.")
}
