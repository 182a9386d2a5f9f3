package scenario

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/tests/harness"
)

// A minute is three times what the cluster's own lock outlives its holder.
const frozenFor = time.Minute

// An executor with the cluster's own lock is frozen for a minute, while
// it starts a new member. Where nobody came it goes on to the end; where somebody with
// other places has the lock by then, or had it, it does nothing more and says who.
func TestFrozenExecutorWithKey(t *testing.T) {
	t.Parallel()
	bob := etcd.KeyHolder{Who: "bob@elsewhere", PID: 42, Operation: "apply", Cluster: "demo", Since: "2026-01-02T03:04:05Z", Places: []string{"elsewhere:/var/lib/etcd"}}
	for name, who := range map[string]string{"nobody came": "", "somebody has it": "bob@elsewhere (pid 42) has it", "somebody had it": "bob@elsewhere (pid 42) had it meanwhile"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, want := bootstrapped(t, e, 1)
			before := c.Members
			c.Members = append(c.Members[:1:1], e.ClusterIn("more", 2).Members[1])
			c.Write()
			runs := len(e.Runs())
			cmd := e.Command("apply", "--auto-approve", c.Path())
			ended := make(chan harness.Result, 1)
			go func() { ended <- e.Finish(cmd, "") }()
			e.AwaitRecord(runs, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "join" })
			// Frozen too, the new member is waited for: no call is on its way that would
			// be out of time afterwards.
			m2 := 0
			for end := time.Now().Add(30 * time.Second); m2 == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
				m2 = c.Etcd(c.Members[1]).PID
			}
			noErr(t, syscall.Kill(m2, syscall.SIGSTOP))
			defer func() { _ = syscall.Kill(m2, syscall.SIGCONT) }()
			time.Sleep(time.Second)
			noErr(t, syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP))
			thaw := time.Now().Add(frozenFor)
			e.Run("lock", "status", c.Path()).Want(t, 5).Says(t, "m1 held", "(in etcd) held", fmt.Sprintf("pid %d", cmd.Process.Pid))
			members := listOf(t, before[0].Client)
			for end := time.Now().Add(40 * time.Second); ; time.Sleep(200 * time.Millisecond) {
				s, err := etcd.LookKey(harness.Context(t), []string{before[0].Client}, etcd.Access{})
				if err == nil && !s.Held {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the lock has not ended with its holder: %+v %v", s, err)
				}
			}
			var bobs *etcd.Key
			if who != "" {
				k, err := etcd.TakeKey(harness.Context(t), []string{before[0].Client}, etcd.Access{}, bob)
				noErr(t, err)
				if strings.Contains(who, " had ") {
					noErr(t, k.Release())
				} else {
					bobs = k
				}
			}
			time.Sleep(time.Until(thaw))
			noErr(t, syscall.Kill(cmd.Process.Pid, syscall.SIGCONT))
			if who == "" {
				noErr(t, syscall.Kill(m2, syscall.SIGCONT))
			}
			r := <-ended
			if who == "" {
				r.Want(t, 0)
				e.InSync(c.Path())
				harness.CompareAll(t, want, c.Endpoints())
				return
			}
			r.Want(t, 7).Says(t, "the lock in the cluster itself was lost: "+who)
			if bobs != nil {
				noErr(t, bobs.Held(t.Context()))
				noErr(t, bobs.Release())
			}
			for i, m := range listOf(t, before[0].Client) {
				if len(members) != 2 || i > 1 || m.ID != members[i].ID || m.IsLearner != members[i].IsLearner {
					t.Errorf("the members were %v, and %v is there", members, m)
				}
			}
			harness.CompareAll(t, want, []string{before[0].Client})
		})
	}
}

// Where no lock in the cluster can be had the places' locks decide: the run goes on, and
// its journal says why there is none. A file with a user is refused so far; who looks
// has one all the same.
func TestLockKeyCantBeHad(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, c *harness.Cluster)
		status  string
		exit    int
		note    string // of the run; "" where there is a lock
		says    string
	}{
		"all is well": {prepare: func(*testing.T, *harness.Cluster) {}, status: "(in etcd) free"},
		"no space":    {prepare: func(t *testing.T, c *harness.Cluster) { alarmed(t, c.Members[0].Client) }, status: "(in etcd) free", note: "database space exceeded"},
		"auth, and no user": {prepare: func(t *testing.T, c *harness.Cluster) {
			enableAuth(t, harness.Context(t), harness.Client(t, c.Members[0].Client))
		}, status: "(in etcd) unknown", note: "no lock in the cluster itself"},
		"auth, and root": {prepare: func(t *testing.T, c *harness.Cluster) {
			enableAuth(t, harness.Context(t), harness.Client(t, c.Members[0].Client))
			c.More = "  auth {\n    username = \"root\"\n    password = \"root\"\n  }\n"
			c.Write()
		}, status: "(in etcd) free", exit: 6, says: "the auth block is not carried out yet"},
		"auth, and a user without rights": {prepare: func(t *testing.T, c *harness.Cluster) {
			enableAuth(t, harness.Context(t), harness.Client(t, c.Members[0].Client))
			c.More = "  auth {\n    username = \"reader\"\n    password = \"reader\"\n  }\n"
			c.Write()
		}, status: "(in etcd) unknown", exit: 6, says: "the auth block is not carried out yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, _ := bootstrapped(t, e, 3)
			e.Run("stop", "--auto-approve", "--member", "m3", c.Path()).Want(t, 0)
			tc.prepare(t, c)
			e.Run("lock", "status", c.Path()).Want(t, 0).Says(t, tc.status)
			runs := len(e.Runs())
			r := e.Run("apply", "--auto-approve", c.Path()).Want(t, tc.exit)
			if r.Exit != 0 {
				r.Says(t, tc.says, "Nothing was changed")
				return
			}
			begin := e.AwaitRecord(runs, func(r journal.Record) bool { return r.Event == journal.Began })
			if tc.note == "" && begin.Note != "" || !strings.Contains(begin.Note, tc.note) {
				t.Errorf("the journal's note is %q", begin.Note)
			}
			if c.Etcd(c.Members[2]).PID == 0 {
				t.Error("m3 does not run")
			}
		})
	}
}

func listOf(t *testing.T, endpoint string) []*etcdserverpb.Member {
	t.Helper()
	l, err := harness.Client(t, endpoint).MemberList(harness.Context(t))
	noErr(t, err)
	return l.Members
}
