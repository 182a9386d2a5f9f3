package scenario

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// moment is an instant of a restore, told from what lies on the disk and what
// runs.
type moment struct {
	name  string
	there func(*harness.Cluster) bool
}

// moments are spread over the whole of a restore, in their order.
var moments = []moment{
	{"locked", anyMember(func(m harness.Member) bool { return exists(m.Base(), "lock") })},
	{"first identity recorded", anyMember(func(m harness.Member) bool { return exists(m.Base(), "provenance.json") })},
	{"first byte staged", anyMember(func(m harness.Member) bool { return exists(m.Base(), "staging", "data") })},
	{"first member staged", anyMember(func(m harness.Member) bool { return exists(m.Base(), "staging", "complete") })},
	{"all members staged", everyMember(func(m harness.Member) bool { return exists(m.Base(), "staging", "complete") })},
	{"first directory in place", anyMember(func(m harness.Member) bool { return exists(m.DataDir) })},
	{"first service written", anyMember(func(m harness.Member) bool { return exists(m.Base(), "service.json") })},
	{"first etcd marked as run", anyMember(func(m harness.Member) bool { return exists(m.Base(), "ran") })},
	{"every etcd marked as run", everyMember(func(m harness.Member) bool { return exists(m.Base(), "ran") })},
	{"first answers requorum alone", anyMember(func(m harness.Member) bool { return exists(m.Base(), "closed:1") })},
	{"first has its clients' settings", anyMember(func(m harness.Member) bool {
		b, err := os.ReadFile(filepath.Join(m.Base(), "service.json"))
		return err == nil && strings.Contains(string(b), "--listen-client-urls=http")
	})},
}

func exists(elem ...string) bool {
	_, err := os.Lstat(filepath.Join(elem...))
	return err == nil
}

func anyMember(is func(harness.Member) bool) func(*harness.Cluster) bool {
	return func(c *harness.Cluster) bool { return slices.ContainsFunc(c.Members, is) }
}

func everyMember(is func(harness.Member) bool) func(*harness.Cluster) bool {
	return func(c *harness.Cluster) bool {
		return !slices.ContainsFunc(c.Members, func(m harness.Member) bool { return !is(m) })
	}
}

// Scenario 8: apply is killed at eleven moments of a restore; plan and apply again
// end in sync, with one identity and every key, and without asking for more.
func TestKilledApply(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	var hits sync.Map
	t.Run("moments", func(t *testing.T) {
		for _, m := range moments {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				if killAt(t, src, m) {
					hits.Store(m.name, true)
				}
			})
		}
	})
	n := 0
	hits.Range(func(any, any) bool { n++; return true })
	if n < 8 {
		t.Errorf("only %d of %d kills came before the end of apply", n, len(moments))
	}
}

// killAt kills an apply at a moment, or finds it ended before, and heals.
func killAt(t *testing.T, src source, m moment) (hit bool) {
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	hit = killedWith(t, e, c, m.there)
	time.Sleep(50 * time.Millisecond) // what dies with its parent
	for _, p := range harness.Processes(e.Dir) {
		if strings.Contains(p.DataDir(), "trial") {
			t.Errorf("the trial outlives its apply: %s", p)
		}
	}
	t.Logf("killed: %v; on the disk: %s", hit, strings.Join(dataDirs(c), " "))
	before := inodes(t, c)
	begun := anyMember(func(m harness.Member) bool { return exists(m.DataDir) || exists(m.Base(), "staging", "complete") })(c)
	claimed := claimedIDs(t, c)

	p := e.Plan(c.Path())
	if p.Refusal != nil || p.Consents() != "" {
		t.Fatalf("planned again: refusal %+v, consents %q", p.Refusal, p.Consents())
	}
	e.Apply(c.Path())
	e.InSync(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
	bumped(t, c, src.revision+1_000_000_000)
	id := harness.ClusterID(t, c.Endpoints())
	if begun && !slices.Contains(claimed, id) {
		t.Errorf("cluster ID %s; the killed apply had begun under %v", id, claimed)
	}
	for dir, ino := range before {
		if now := inodes(t, c)[dir]; now != ino {
			t.Errorf("%s was there (inode %d) and is another one now (%d)", dir, ino, now)
		}
	}
	return hit
}

func dataDirs(c *harness.Cluster) []string {
	var out []string
	for _, m := range c.Members {
		if exists(m.DataDir) {
			out = append(out, m.Name)
		}
	}
	return out
}

// inodes are those of the data directories that are there.
func inodes(t *testing.T, c *harness.Cluster) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	for _, m := range c.Members {
		if fi, err := os.Stat(m.DataDir); err == nil {
			out[m.DataDir] = fi.Sys().(*syscall.Stat_t).Ino
		}
	}
	return out
}

// claimedIDs are the cluster IDs in the members' provenance, each once per
// member.
func claimedIDs(t *testing.T, c *harness.Cluster) []string {
	t.Helper()
	var out []string
	for _, m := range c.Members {
		if path := filepath.Join(m.Base(), "provenance.json"); exists(path) {
			out = append(out, jsonField(t, read(t, path), "cluster_id"))
		}
	}
	return out
}

// A restore over a lost cluster is killed as well: the consent was given, and
// what was begun is finished, with all that the lost cluster left kept.
func TestKilledApplyOverMissingData(t *testing.T) {
	t.Parallel()
	for _, m := range []moment{moments[4], moments[5], moments[7], moments[9]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, want := bootstrapped(t, e, 3)
			harness.Snapshot(t, c.Members[0].Client, filepath.Join(c.Dir, "saved.db"))
			c.Stop()
			c.DropData(c.Members...)
			c.Snapshot = "saved.db"
			c.Write()
			before := harness.Tree(t, c.Members[0].Base(), ".log", "supervisor.json")
			ran := newMoment(t, c, m)
			hit := killedWith(t, e, c, ran, "--accept=data-loss")
			t.Logf("killed: %v, from\n%s", hit, before)
			e.Apply(c.Path(), "--accept=data-loss")
			e.InSync(c.Path())
			harness.CompareAll(t, want, c.Endpoints())
			harness.ClusterID(t, c.Endpoints())
		})
	}
}

// newMoment is the moment m where the files that are there already don't count.
func newMoment(t *testing.T, c *harness.Cluster, m moment) func(*harness.Cluster) bool {
	t.Helper()
	if m.name != "first etcd marked as run" {
		return m.there
	}
	old := map[string]string{}
	for _, mm := range c.Members {
		old[mm.Name] = string(read(t, filepath.Join(mm.Base(), "ran")))
	}
	return anyMember(func(mm harness.Member) bool {
		b, err := os.ReadFile(filepath.Join(mm.Base(), "ran"))
		return err == nil && string(b) != old[mm.Name]
	})
}

func killedWith(t *testing.T, e *harness.Env, c *harness.Cluster, now func(*harness.Cluster) bool, args ...string) bool {
	t.Helper()
	cmd := e.Command(append([]string{"apply", "--auto-approve", c.Path()}, args...)...)
	return runAndKill(t, cmd, func() bool { return now(c) })
}

// runAndKill kills cmd as soon as now says so; false where it ended before.
func runAndKill(t *testing.T, cmd *exec.Cmd, now func() bool) bool {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for !now() {
		select {
		case <-ended:
			return false
		default:
			time.Sleep(200 * time.Microsecond)
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	return cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
}

// A bootstrap is killed too: it is finished under the token that it began with.
func TestKilledBootstrap(t *testing.T) {
	t.Parallel()
	for _, m := range []moment{moments[0], moments[1], moments[6], moments[7], moments[8]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(3).Write()
			hit := killedWith(t, e, c, m.there)
			ran := anyMember(func(m harness.Member) bool { return exists(m.Base(), "ran") })(c)
			claimed := claimedIDs(t, c)
			t.Logf("killed: %v; an etcd ran: %v; identities %v", hit, ran, claimed)
			e.Apply(c.Path())
			e.InSync(c.Path())
			id := harness.ClusterID(t, c.Endpoints())
			if ran && !slices.Contains(claimed, id) {
				t.Errorf("cluster ID %s, begun under %v", id, claimed)
			}
			want := harness.Fill(t, c.Endpoints(), keysPerTest)
			harness.CompareAll(t, want, c.Endpoints())
		})
	}
}

// A member is killed during the restore instead of apply: apply gets over it.
func TestEtcdKilledWhileStarting(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	cmd := e.Command("apply", "--auto-approve", c.Path())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	victim := c.Members[1]
	for end := time.Now().Add(60 * time.Second); c.Etcd(victim).PID == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("m2 does not start")
		}
	}
	if err := harness.Kill9([]harness.Proc{c.Etcd(victim)}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("apply: %v", err)
	}
	e.InSync(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
}

// Killed again and again at moments that chance chooses, while a restore is
// begun, finished and served, apply ends in sync in the end, under one identity
// from the first member that ran on.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for lot := range 3 {
		t.Run(fmt.Sprint(lot), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 3, src.snapshot)
			kept := ""
			for range 8 {
				until := time.Now().Add(time.Duration(rand.IntN(2500)) * time.Millisecond)
				killedWith(t, e, c, func(*harness.Cluster) bool { return time.Now().After(until) })
				if p := e.Plan(c.Path()); p.Refusal != nil || p.Consents() != "" {
					t.Fatalf("refusal %+v, consents %q", p.Refusal, p.Consents())
				}
				kept = sameIdentity(t, c, kept)
			}
			e.Apply(c.Path())
			e.InSync(c.Path())
			sameIdentity(t, c, kept)
			harness.CompareAll(t, src.keys, c.Endpoints())
			harness.ClusterID(t, c.Endpoints())
		})
	}
}

// sameIdentity gives the cluster ID under which a member ran, which must stay
// what it was; "" while none has run.
func sameIdentity(t *testing.T, c *harness.Cluster, before string) string {
	t.Helper()
	for _, m := range c.Members {
		if !exists(m.Base(), "ran") {
			continue
		}
		id := jsonField(t, read(t, filepath.Join(m.Base(), "provenance.json")), "cluster_id")
		if before != "" && id != before {
			t.Fatalf("%s is of cluster %s now, after one ran under %s", m.Name, id, before)
		}
		before = id
	}
	return before
}
