package scenario

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 3: member/snap/db copied from a stopped member has no hash. It is
// refused unless the file says skip_hash_check, and restored where it does.
func TestCopiedDB(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.db)
	refused(t, e, c.Path(), "snapshot-no-hash")

	c.SnapshotMore = "    skip_hash_check = true\n"
	c.Write()
	p := e.Plan(c.Path())
	if p.Route != "restore" || !hasNotice(p, "contents-not-provable") {
		t.Fatalf("route %s, notices %+v: %s", p.Route, p.Notices, p.Headline)
	}
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
	bumped(t, c, src.revision+1_000_000_000)
	serves(t, c)
	e.InSync(c.Path())
}

func hasNotice(p harness.Plan, code string) bool {
	for _, n := range p.Notices {
		if n.Code == code {
			return true
		}
	}
	return false
}

// With skip_hash_check a snapshot that has a hash is held to it all the same.
func TestSkipHashCheckDoesNotSkipAHash(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, flip(src.snapshot, len(src.snapshot)/2, 4))
	c.SnapshotMore = "    skip_hash_check = true\n"
	c.Write()
	refused(t, e, c.Path(), "snapshot-damaged")
}

// The db of a member that runs is not copied from under it.
func TestLiveDB(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	s := e.Server("live")
	harness.Fill(t, []string{s.Client}, keysPerTest)
	c := e.Cluster(1)
	c.Snapshot, c.SnapshotMore = filepath.Join(s.DataDir, "member", "snap", "db"), "    skip_hash_check = true\n"
	c.Write()
	p := e.Plan(c.Path())
	if p.Code() != "data-held" || !strings.Contains(p.Refusal.Detail, fmt.Sprint(s.PID())) {
		t.Errorf("refusal %+v, route %s", p.Refusal, p.Route)
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6)
}
