package scenario

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// killedAtRandom kills applies at moments that chance chooses within limit, and
// asserts that each leaves something that plan knows how to go on from.
func killedAtRandom(t *testing.T, e *harness.Env, c *harness.Cluster, times int, limit time.Duration) {
	t.Helper()
	for range times {
		p := e.Plan(c.Path())
		if p.Refusal != nil {
			t.Fatalf("refused: %+v", p.Refusal)
		}
		until := time.Now().Add(time.Duration(rand.Int64N(int64(limit))))
		hit := killedWith(t, e, c, func(*harness.Cluster) bool { return time.Now().After(until) }, p.Accept()...)
		t.Logf("killed %v: route %s, steps %s, needs %s", hit, p.Route, p.Steplist(), p.Consents())
		time.Sleep(50 * time.Millisecond) // what dies with its parent
		for _, q := range harness.Processes(e.Dir) {
			if dir := q.DataDir(); strings.Contains(dir, "/trial") || strings.Contains(dir, "/recovered") {
				t.Errorf("it outlives its apply: %s", q)
			}
		}
	}
}

// A recovery is killed, again and again: in the end every acknowledged write is
// there, in one cluster, and every directory is still somewhere.
func TestKilledRecovery(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{"a new identity": "", "in place": "in place"} {
		for lot := range 2 {
			t.Run(fmt.Sprintf("%s %d", name, lot+1), func(t *testing.T) {
				t.Parallel()
				x := crashed(t, 4)
				x.only(x.leader)
				if more != "" {
					x.c.More = recoverInPlace(x.c.Members[x.leader].Name)
					x.c.Write()
				}
				dirs := harness.DataDirs(t, x.c.Dir)
				killedAtRandom(t, x.e, x.c, 3, 5*time.Second)
				x.e.Settle(x.c.Path(), harness.Granted)
				x.e.Apply(x.c.Path()) // takes away the lock of the last one that was killed
				if gone := x.served(t); len(gone) > 0 {
					t.Errorf("of %d acknowledged writes %d are lost: %q", x.w.Acked(), len(gone), gone)
				}
				harness.ClusterID(t, x.c.Endpoints())
				membersAreTheFiles(t, x.c)
				dirs.Kept(t, x.c.Dir)
			})
		}
	}
}

// The growth of a cluster that clients write to is killed as well: no write
// fails, and it grows to its end.
func TestKilledGrowth(t *testing.T) {
	t.Parallel()
	for lot := range 2 {
		t.Run(fmt.Sprint(lot+1), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(3).Write()
			m := c.Members[0]
			byHand := e.Hand(m, nil, atLocalhost(m)...)
			byHand.Serve()
			base := harness.Fill(t, []string{m.Client}, keysPerTest)
			w := harness.StartWriters(t, 2, []string{m.Client})
			w.Await(t, 100)
			killedAtRandom(t, e, c, 3, 5*time.Second)
			e.Settle(c.Path(), harness.Granted)
			e.Apply(c.Path())
			w.Await(t, 100)
			w.Stop()
			// A learner may be added and its apply killed before it starts; no voter is.
			w.Unhindered(t, "a writer", 2*time.Second)
			w.Check(t, base, c.Endpoints())
			membersAreTheFiles(t, c)
			if now := c.Etcd(m).PID; now != byHand.PID() {
				t.Errorf("m1 was pid %d and is %d", byHand.PID(), now)
			}
		})
	}
}

// So is a replacement.
func TestKilledReplacement(t *testing.T) {
	t.Parallel()
	for lot := range 2 {
		t.Run(fmt.Sprint(lot+1), func(t *testing.T) {
			t.Parallel()
			l := living(t, 3)
			m := l.c.Members[2]
			l.e.Run("stop", "--auto-approve", "--member", m.Name, l.c.Path()).Want(t, 0)
			l.c.DropData(m)
			l.dirs = l.dirs.Without(m.DataDir)
			killedAtRandom(t, l.e, l.c, 3, 4*time.Second)
			l.becomes(t, harness.Granted)
			l.e.Apply(l.c.Path())
		})
	}
}
