package planner

import "testing"

// TestQuorumAgainstCounting compares the arithmetic with a deliberately dumb
// one: count how many voters can be taken away while more than half are left.
func TestQuorumAgainstCounting(t *testing.T) {
	for voters := 0; voters <= 9; voters++ {
		for healthy := 0; healthy <= voters; healthy++ {
			q := Quorum{Voters: voters, Healthy: healthy}
			has := 2*healthy > voters
			if q.Has() != has {
				t.Errorf("%+v: Has is %v", q, q.Has())
			}
			tolerance := 0
			for has && 2*(healthy-tolerance-1) > voters {
				tolerance++
			}
			if has && q.Tolerance() != tolerance {
				t.Errorf("%+v: Tolerance is %d, counted %d", q, q.Tolerance(), tolerance)
			}
			if !has && q.Tolerance() >= 0 {
				t.Errorf("%+v: Tolerance is %d without quorum", q, q.Tolerance())
			}
		}
	}
}

func TestVersions(t *testing.T) {
	for _, tc := range []struct {
		snapshot, server string
		ok               bool
	}{
		{"", "3.4.45", true}, {"", "3.5.35", true}, {"", "3.6.16", true}, {"", "3.7.3", true},
		{"3.6.0", "3.4.45", false}, {"3.6.0", "3.5.35", true}, {"3.6.0", "3.6.16", true}, {"3.6.0", "3.7.3", true},
		{"3.7.0", "3.4.45", false}, {"3.7.0", "3.5.35", true}, {"3.7.0", "3.6.16", false}, {"3.7.0", "3.7.3", true},
		{"3.6.0", "3.4.23", true}, {"3.7.0", "3.4.23", true}, {"3.6.0", "3.4.24", false}, {"3.7.0", "3.4.24", false},
		{"", "4.0.0", false}, {"3.8.0", "3.7.3", false}, {"3.8.0", "3.6.16", false},
	} {
		if ok, why := startsFromSnapshot(tc.snapshot, tc.server); ok != tc.ok || ok != (why == "") {
			t.Errorf("snapshot %q on %s: %v %q", tc.snapshot, tc.server, ok, why)
		}
	}
	for _, tc := range []struct {
		storage, cluster, server string
		ok                       bool
	}{
		{"", "3.5.0", "3.5.35", true}, {"", "3.5.0", "3.6.16", true}, {"", "3.5.0", "3.7.3", false}, {"", "3.4.0", "3.6.16", false},
		{"", "", "3.7.3", true}, {"", "3.0.0", "3.7.3", true}, {"", "3.7.0", "3.7.3", true}, {"", "3.7.0", "3.6.16", false},
		{"3.6.0", "3.6.0", "3.7.3", true}, {"3.6.0", "", "3.6.1", true}, {"3.7.0", "", "3.6.16", false}, {"3.6.0", "", "3.5.9", false},
		{"3.6.0", "", "4.0", false},
	} {
		d := DataDir{StorageVersion: tc.storage, ClusterVersion: tc.cluster}
		if ok, why := startsFromDir(d, tc.server); ok != tc.ok || ok != (why == "") {
			t.Errorf("directory %q %q on %s: %v %q", tc.storage, tc.cluster, tc.server, ok, why)
		}
	}
	if !satisfies("3.6.16", "3.6") || satisfies("3.6.16", "3.6.1") || satisfies("3.5.1", "3.6") || !satisfies("3.7.3", "") {
		t.Error("satisfies")
	}
}
