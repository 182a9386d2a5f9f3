package scenario

import (
	"fmt"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 5: a cluster that never was, of one, three and five members.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(n).Write()
			if p := e.Plan(c.Path()); p.Route != "bootstrap" || p.Consents() != "" {
				t.Fatalf("route %s, consents %q: %s", p.Route, p.Consents(), p.Headline)
			}
			e.Apply(c.Path())
			id := harness.ClusterID(t, c.Endpoints())
			e.InSync(c.Path())
			want := harness.Fill(t, c.Endpoints(), keysPerTest)
			harness.CompareAll(t, want, c.Endpoints())
			list, err := harness.Client(t, c.Endpoints()...).MemberList(harness.Context(t))
			if err != nil || len(list.Members) != n {
				t.Fatalf("member list: %v, %v", list, err)
			}

			// It comes back as itself.
			c.Stop()
			e.Apply(c.Path())
			harness.CompareAll(t, want, c.Endpoints())
			if now := harness.ClusterID(t, c.Endpoints()); now != id {
				t.Errorf("cluster ID %s, before the stop %s", now, id)
			}
			e.InSync(c.Path())
		})
	}
}
