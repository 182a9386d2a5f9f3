package scenario

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// applyTaking runs an apply whose plan is made, and then finds the addresses taken by
// somebody else: the etcds that need them die again and again.
func applyTaking(t *testing.T, e *harness.Env, c *harness.Cluster, urls ...string) (result string, code int, free func()) {
	t.Helper()
	var taken []net.Listener
	take := func() bool {
		if !exists(c.Members[0].Base(), "provenance.json") { // the plan may not be made yet
			return false
		}
		for _, u := range urls {
			l, err := net.Listen("tcp", strings.TrimPrefix(u, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, l)
		}
		return true
	}
	cmd := e.Command("apply", "--auto-approve", c.Path())
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for !take() {
		if cmd.ProcessState != nil {
			t.Fatal("it ended at once: ", out.String())
		}
	}
	err := cmd.Wait()
	if end, ok := err.(*exec.ExitError); ok {
		code = end.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), code, func() {
		for _, l := range taken {
			_ = l.Close()
		}
	}
}

// A cluster that is down as a whole is opened though one of its members does not come
// up, closed or for its clients: that is told, and the next plan has it back. Who was
// not verified is not shown to clients. Without a majority nobody is.
func TestOpeningGoesOnWithoutAMember(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for _, where := range []string{"peer", "client"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 3, src.snapshot)
			last := c.Members[2]
			url := last.Peer
			if where == "client" {
				url = last.Client
			}
			out, code, free := applyTaking(t, e, c, url)
			if !strings.Contains(out, "m3 does not come up") || !strings.Contains(out, "address already in use") || !strings.Contains(out, "etcd.log") {
				t.Errorf("exit %d: %s", code, out)
			}
			if code != 0 || !strings.Contains(out, "m1, m2 serve cluster") || !strings.Contains(out, "without m3: see above") {
				t.Errorf("exit %d: %s", code, out)
			}
			if where == "peer" && !strings.Contains(out, "m3: not verified, and so not started for clients") {
				t.Errorf("not said that m3 is not started: %s", out)
			}
			if where == "peer" && c.Etcd(last).PID != 0 {
				t.Error("it runs, and was not verified")
			}
			if t.Failed() {
				return
			}
			harness.CompareAll(t, src.keys, c.Endpoints()[:2])
			free()
			if where == "client" {
				harness.AwaitServing(t, last.Client) // its supervisor never gave it up
			} else {
				e.Apply(c.Path())
			}
			e.InSync(c.Path())
			harness.CompareAll(t, src.keys, c.Endpoints())
		})
	}
	t.Run("two of three", func(t *testing.T) {
		t.Parallel()
		e := harness.New(t)
		c := restoreOf(t, e, 3, src.snapshot)
		h := hammerAt(t, c)
		out, code, free := applyTaking(t, e, c, c.Members[1].Peer, c.Members[2].Peer)
		if code != 7 || !strings.Contains(out, "its address is in use") || strings.Contains(out, "go on without") || !h.accepted().IsZero() {
			t.Errorf("exit %d, accepted %t: %s", code, !h.accepted().IsZero(), out)
		}
		free()
		e.Apply(c.Path())
		e.InSync(c.Path())
		harness.CompareAll(t, src.keys, c.Endpoints())
	})
}

// A recovery in place leaves alarms in place: what comes back without space is opened
// all the same, with auth and without, and what to do is told.
func TestRecoverInPlaceWithoutSpace(t *testing.T) {
	t.Parallel()
	for _, auth := range []bool{false, true} {
		t.Run(fmt.Sprint("auth ", auth), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, want := bootstrapped(t, e, 3)
			alarmed(t, c.Members[0].Client)
			if auth {
				enableAuth(t, harness.Context(t), harness.Client(t, c.Endpoints()...))
			}
			c.Stop()
			c.DropData(c.Members[1:]...)
			c.More = "  recover {\n    from = \"m1\"\n    in_place = true\n  }\n"
			c.Write()
			r := e.Run("apply", "--auto-approve", "--accept=data-loss,stale-watchers", c.Path()).Says(t, "NOSPACE", "etcdctl alarm disarm")
			if !auth {
				r.Want(t, 0)
				harness.CompareAll(t, want, c.Endpoints()[:1])
				return
			}
			r.Want(t, 7).Says(t, "Stopped at step 10 (add as learner)", "wants another user") // it serves, and the rest takes a user
			root, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints()[:1], Username: "root", Password: "root"})
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if got := must(root.Get(context.Background(), "", clientv3.WithPrefix(), clientv3.WithCountOnly()))(t); got.Count == 0 {
				t.Error("nothing is there")
			}
		})
	}
}

// alarmed raises NOSPACE of the member at endpoint itself.
func alarmed(t *testing.T, endpoint string) {
	t.Helper()
	cli := harness.Client(t, endpoint)
	req := &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: harness.Status(t, endpoint).Header.MemberId, Alarm: etcdserverpb.AlarmType_NOSPACE,
	}
	if _, err := etcdserverpb.NewMaintenanceClient(cli.ActiveConnection()).Alarm(harness.Context(t), req); err != nil {
		t.Fatal(err)
	}
}
