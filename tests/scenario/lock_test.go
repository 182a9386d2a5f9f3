package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host/hosts"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/harness"
)

// An executor is frozen in the midst of a step; another operator releases its lock and
// finishes the work. When it goes on it does nothing more, and says why.
func TestFrozenExecutor(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for name, at := range map[string]journal.Record{
		"begins to restore": {Event: journal.Intent, Kind: "restore"},
		"begins to start":   {Event: journal.Intent, Kind: "start"},
		"waits in a start":  {Event: journal.Phase, Kind: "start"},
		"verifies":          {Event: journal.Intent, Kind: "verify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 3, src.snapshot)
			e.Run("lock", "status", c.Path()).Want(t, 0).Says(t, "free")
			frozen := e.Command("apply", "--auto-approve", c.Path())
			ended := make(chan harness.Result, 1)
			go func() { ended <- e.Finish(frozen, "") }()
			e.AwaitRecord(0, func(r journal.Record) bool { return r.Event == at.Event && r.Kind == at.Kind })
			if err := syscall.Kill(frozen.Process.Pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			holder := fmt.Sprintf("pid %d", frozen.Process.Pid)
			e.Run("lock", "status", c.Path()).Want(t, 5).Says(t, "held", holder, "apply")
			e.Run("apply", "--auto-approve", c.Path()).Want(t, 5).Says(t, holder, "plan ")
			e.Run("lock", "release", c.Path()).Want(t, 6).Says(t, "--accept=lock-release")
			e.Run("lock", "release", "--accept=lock-release", c.Path()).Want(t, 0).Says(t, "Released: m1, m2, m3")
			e.Run("lock", "status", c.Path()).Want(t, 0).Says(t, "free")
			e.Apply(c.Path())
			e.InSync(c.Path())
			id := harness.ClusterID(t, c.Endpoints())
			// Its own half-written record of the epoch it may take away.
			skip := []string{".log", "supervisor.json", ".wal", "db", ".jsonl"}
			for _, m := range c.Members {
				half, _ := filepath.Glob(filepath.Join(m.Base(), ".epoch-*"))
				skip = append(skip, half...)
			}
			before := harness.Tree(t, c.Dir, skip...)
			if err := syscall.Kill(frozen.Process.Pid, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			r := <-ended
			r.Want(t, 7).Says(t, "the lock", "was lost")
			harness.Unchanged(t, before, harness.Tree(t, c.Dir, skip...))
			harness.CompareAll(t, src.keys, c.Endpoints())
			if now := harness.ClusterID(t, c.Endpoints()); now != id {
				t.Errorf("cluster %s became %s", id, now)
			}
			e.InSync(c.Path())
		})
	}
}

// Two applies that start in the same millisecond, again and again: one does the work,
// the other exits with 5 and names it, or comes when all is done; never both.
func TestTwoAppliesRace(t *testing.T) {
	t.Parallel()
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv("REQUORUM_RACES")); err == nil {
		rounds = n
	}
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	refused := 0
	for round := range rounds {
		c.PowerCut()
		gate := make(chan struct{})
		results := make([]harness.Result, 2)
		pids := make([]int, 2)
		var wg sync.WaitGroup
		for i := range results {
			cmd := e.Command("apply", "--auto-approve", c.Path())
			wg.Go(func() {
				<-gate
				results[i] = e.Finish(cmd, "")
				pids[i] = cmd.ProcessState.Pid()
			})
		}
		runs := len(e.Runs())
		close(gate)
		wg.Wait()
		if n := len(e.Runs()) - runs; n != 1 {
			t.Fatalf("round %d: %d runs carried something out\n%s\n%s", round, n, results[0], results[1])
		}
		win, lose := 0, 1
		if results[0].Exit == 5 {
			win, lose = 1, 0
		}
		results[win].Want(t, 0)
		if results[lose].Exit == 5 {
			refused++
			results[lose].Says(t, fmt.Sprintf("pid %d", pids[win]))
		} else {
			results[lose].Want(t, 0)
		}
	}
	t.Logf("%d rounds, %d with an exit 5; in the others the second came when all was done", rounds, refused)
	if refused < rounds*9/10 {
		t.Errorf("in %d of %d rounds the two did not meet", rounds-refused, rounds)
	}
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// The cluster's own lock: held by somebody with other places it keeps an apply out;
// left by one who had our places it does not; afterwards it is gone.
func TestLockKey(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	m := c.Members[0]
	take := func(places ...string) *etcd.Key {
		t.Helper()
		k, err := etcd.TakeKey(harness.Context(t), []string{m.Client}, etcd.Access{},
			etcd.KeyHolder{Who: "bob@elsewhere", PID: 42, Operation: "apply", Cluster: "demo", Since: "2026-01-02T03:04:05Z", Places: places})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	grown := e.ClusterIn("grown", 2)
	c.Members = append(c.Members, grown.Members[1])
	c.Write()
	other := take("elsewhere:/var/lib/etcd")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 5).Says(t, "bob@elsewhere", "pid 42")
	e.Run("lock", "status", c.Path()).Want(t, 5).Says(t, "m1 free", "(in etcd) held", "bob@elsewhere, pid 42", "2026-01-02T03:04:05Z")
	e.Run("lock", "release", c.Path()).Want(t, 6).Says(t, "--accept=lock-release")
	noErr(t, other.Held(t.Context()))
	if err := other.Release(); err != nil {
		t.Fatal(err)
	}
	e.Run("lock", "status", c.Path()).Want(t, 0).Says(t, "(in etcd) free")
	// One who goes on renewing it, and has nothing here, is out of our reach.
	other = take("elsewhere:/var/lib/etcd")
	e.Run("lock", "release", "--accept=lock-release", c.Path()).Want(t, 0).Says(t, "Released: (in etcd)")
	e.Run("lock", "status", c.Path()).Want(t, 0).Says(t, "(in etcd) free")
	var err error
	for end := time.Now().Add(15 * time.Second); err == nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		err = other.Held(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "released by ") {
		t.Errorf("its holder was told %v", err)
	}
	_ = other.Release()
	dead := take(placeOf(m.DataDir))
	e.Apply(c.Path())
	_ = dead.Release() // its lease; the key was another's by then
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// placeOf is a place of this machine, as the key has it.
func placeOf(dataDir string) string {
	return hosts.New(&spec.Cluster{}, hosts.Options{}).Where(planner.Place{DataDir: dataDir})
}
