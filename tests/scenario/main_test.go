package scenario

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// keysPerTest is how many keys a scenario has at least.
const keysPerTest = 1000

// source is a cluster that once was: what it held, a snapshot of it, and its db
// as it lay in the stopped member's directory.
type source struct {
	keys      harness.Keys
	snapshot  []byte
	db        []byte
	clusterID string
	revision  int64
}

var theSource struct {
	sync.Once
	source
}

// oldCluster gives the one source that many tests restore from. It is made once.
func oldCluster(t *testing.T) source {
	t.Helper()
	theSource.Do(func() { theSource.source = makeSource(t) })
	if theSource.snapshot == nil || theSource.db == nil {
		t.Fatal("the source cluster could not be made")
	}
	return theSource.source
}

func makeSource(t *testing.T) source {
	e := harness.New(t)
	s := e.Server("old")
	src := source{keys: harness.Fill(t, []string{s.Client}, keysPerTest)}
	src.clusterID = harness.ClusterID(t, []string{s.Client})
	src.revision = harness.Status(t, s.Client).Header.Revision
	src.snapshot = read(t, harness.Snapshot(t, s.Client, e.Path("snapshot.db")))
	e.StopServer(s)
	src.db = read(t, filepath.Join(s.DataDir, "member", "snap", "db"))
	return src
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// restoreOf is a cluster of n members whose file restores the bytes of a
// snapshot; nothing of it exists yet.
func restoreOf(t *testing.T, e *harness.Env, n int, snapshot []byte) *harness.Cluster {
	t.Helper()
	c := e.Cluster(n)
	c.Snapshot = "snapshot.db"
	write(t, filepath.Join(c.Dir, "snapshot.db"), snapshot)
	return c.Write()
}

// bootstrapped is a cluster of n members that requorum bootstrapped, with keys.
func bootstrapped(t *testing.T, e *harness.Env, n int) (*harness.Cluster, harness.Keys) {
	t.Helper()
	c := e.Cluster(n).Write()
	e.Apply(c.Path())
	return c, harness.Fill(t, c.Endpoints(), keysPerTest)
}

// refused runs plan and apply on path: both refuse with exit 6 and one of the
// codes, as text and as JSON, and nothing in the test's folder changes.
func refused(t *testing.T, e *harness.Env, path string, codes ...string) {
	t.Helper()
	before := harness.Tree(t, e.Dir, ".log")
	p := e.Plan(path)
	if !oneOf(p.Code(), codes) {
		t.Errorf("refusal %q, want one of %q: %+v (route %s: %s)", p.Code(), codes, p.Refusal, p.Route, p.Headline)
		return
	}
	e.Run("plan", path).Want(t, 6).Says(t, p.Code()+":", "No safe plan.", "Nothing was changed.")
	e.Run("apply", "--auto-approve", "--accept=data-loss,stale-watchers", path).Want(t, 6).Says(t, p.Code()+":")
	harness.Unchanged(t, before, harness.Tree(t, e.Dir, ".log"))
}

func oneOf(s string, list []string) bool {
	return strings.Contains(" "+strings.Join(list, " ")+" ", " "+s+" ") && s != ""
}
