package observe

import (
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

func dir(held int, last, commit uint64) host.Facts {
	return host.Facts{Data: planner.Known(planner.DataDir{State: planner.DirPresent, HeldBy: held, LastIndex: last, Commit: commit, ConsistentIndex: commit})}
}

// Members that run write while they are read, one after the other: no log is held to
// what was agreed on after it was read.
func TestLogsReadOneAfterTheOther(t *testing.T) {
	first := map[string]host.Facts{"m1": dir(1, 1547, 1547), "m2": dir(2, 1547, 1547), "m3": dir(3, 1557, 1555)}
	if !skewed(first) {
		t.Fatal("two logs that end before an agreed entry are not looked at again")
	}
	got := since(first, map[string]host.Facts{"m1": dir(1, 1590, 1588), "m2": dir(2, 1591, 1588), "m3": dir(3, 1620, 1619)})
	if skewed(got) || got["m3"].Data.Value.Commit != 1555 || got["m1"].Data.Value.LastIndex != 1590 {
		t.Errorf("%+v", got)
	}
	// A disk that was put back ends before it the second time too.
	if got = since(first, map[string]host.Facts{"m1": dir(1, 1547, 1547), "m2": dir(2, 1547, 1547), "m3": dir(3, 1557, 1555)}); !skewed(got) {
		t.Errorf("%+v", got)
	}
	// Where nobody writes, once is enough, and all of it counts.
	still := map[string]host.Facts{"m1": dir(0, 1547, 1547), "m3": dir(0, 1557, 1555)}
	if skewed(still) {
		t.Error("disks at rest are looked at twice")
	}
	if got = since(map[string]host.Facts{"m3": dir(1, 9, 9)}, map[string]host.Facts{"m3": dir(0, 12, 11)}); got["m3"].Data.Value.Commit != 11 {
		t.Errorf("%+v", got)
	}
}
