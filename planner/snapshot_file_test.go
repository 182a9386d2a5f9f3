package planner

import (
	"strings"
	"testing"
)

func TestSnapshotServers(t *testing.T) {
	for _, tc := range []struct{ storage, cluster, want string }{
		{"", "3.4.0", "3.4 3.5 3.6 3.7"},
		{"", "3.5.0", "3.4 3.5 3.6 3.7"},
		{"", "", "3.4 3.5 3.6 3.7"},
		{"3.6.0", "3.6.0", "3.5 3.6 3.7"},
		{"3.7.0", "3.7.0", "3.5 3.7"},
		{"", "3.6.0", "3.5 3.6 3.7"}, // not written yet
		{"", "3.7.0", "3.5 3.7"},
		{"3.6.0", "3.7.0", "3.5 3.6 3.7"}, // what is written counts
	} {
		if got := strings.Join(SnapshotServers(tc.storage, tc.cluster), " "); got != tc.want {
			t.Errorf("storage %q, cluster %q: %s, want %s", tc.storage, tc.cluster, got, tc.want)
		}
	}
	if r := RefuseServer("3.7.0", "3.6.4"); r == nil || r.Code != CodeSnapshotVersion {
		t.Errorf("3.6 on a snapshot of 3.7: %+v", r)
	}
	if r := RefuseServer("3.6.0", "3.7.3"); r != nil {
		t.Errorf("3.7 on a snapshot of 3.6: %+v", r)
	}
}
