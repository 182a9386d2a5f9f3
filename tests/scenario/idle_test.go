package scenario

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// entries writes until n more entries are in the log, many at a time.
func entries(t *testing.T, endpoint string, n int) {
	t.Helper()
	cli, err := harness.Dial(endpoint)
	noErr(t, err)
	defer cli.Close()
	const at = 64
	var wg sync.WaitGroup
	errs := make([]error, at)
	for i := range at {
		wg.Go(func() {
			for k := 0; k < n/at+1 && errs[i] == nil; k++ {
				_, errs[i] = cli.Put(harness.Context(t), fmt.Sprintf("/idle/%d", i), fmt.Sprint(k))
			}
		})
	}
	wg.Wait()
	noErr(t, errors.Join(errs...))
}

// A member that gets a snapshot in a cluster that nobody writes to: etcd counts only
// what it applied after it, and keeps its own name back while the gap is over 5000
// entries, until somebody writes. So requorum makes it an entry that changes nothing.
func TestJoinsAnIdleCluster(t *testing.T) {
	t.Parallel()
	for _, minor := range []string{"3.5", "3.6", "3.7"} {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			r := harness.Inside()
			if minor != r.Minor {
				r = harness.Etcd(t, minor)
			}
			e := harness.New(t)
			c := e.Cluster(1)
			c.More = idle(r)
			c.Write()
			e.Apply(c.Path())
			entries(t, c.Members[0].Client, 9000)
			c.Members = append(c.Members, e.ClusterIn("more", 2).Members[1])
			c.Write()
			soon(t, e.Apply(c.Path()))
			e.InSync(c.Path())
		})
	}
}

// soon fails where a run took so long that it waited for something that came by chance.
func soon(t *testing.T, r harness.Result) {
	t.Helper()
	if r.Took > 40*time.Second {
		t.Errorf("it took %s\n%s", r.Took, r)
	}
}

// idle is the etcd block for members that soon need a snapshot to follow.
func idle(r harness.Release) string {
	binary := ""
	if r.Etcd != "" {
		binary = fmt.Sprintf("    binary = %q\n", r.Etcd)
	}
	return "  etcd {\n" + binary + "    config = { snapshot-count = 1000 }\n  }\n"
}
