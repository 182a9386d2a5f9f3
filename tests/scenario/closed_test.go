package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// hammer connects to the client URLs without a pause, as clients of a dead cluster do,
// and keeps when somebody accepted for the first time.
type hammer struct {
	mu    sync.Mutex
	first time.Time
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

func hammerAt(t *testing.T, c *harness.Cluster) *hammer {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	h := &hammer{stop: stop}
	for _, ep := range c.Endpoints() {
		addr := strings.TrimPrefix(ep, "http://")
		h.wg.Go(func() {
			for ctx.Err() == nil {
				conn, err := net.DialTimeout("tcp", addr, time.Second)
				if err == nil {
					conn.Close()
					h.mu.Lock()
					if h.first.IsZero() {
						h.first = time.Now()
					}
					h.mu.Unlock()
				}
				time.Sleep(500 * time.Microsecond)
			}
		})
	}
	t.Cleanup(h.end)
	return h
}

func (h *hammer) end() { h.stop(); h.wg.Wait() }

// accepted is when a client listener first accepted; zero for never.
func (h *hammer) accepted() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first
}

// journalLine is what the tests read of an apply's journal.
type journalLine struct {
	Time   time.Time
	Event  string
	Step   int
	Kind   string
	Action struct {
		Closed json.RawMessage `json:"closed"`
	}
}

// journalOf are the records of the newest apply.
func journalOf(t *testing.T, e *harness.Env) []journalLine {
	t.Helper()
	runs := e.Runs()
	if len(runs) == 0 {
		t.Fatal("no journal")
	}
	var out []journalLine
	for _, line := range bytes.Split(bytes.TrimSpace(read(t, runs[len(runs)-1].Path)), []byte("\n")) {
		var l journalLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// verifiedClosedAt is when the verification behind closed listeners ended well.
func verifiedClosedAt(t *testing.T, e *harness.Env) time.Time {
	t.Helper()
	step := 0
	for _, l := range journalOf(t, e) {
		if l.Event == "intent" && l.Kind == "verify" && len(l.Action.Closed) > 0 {
			step = l.Step
		}
		if l.Event == "done" && l.Step == step && step != 0 {
			return l.Time
		}
	}
	t.Fatal("no verification behind closed listeners ended well")
	return time.Time{}
}

// S17: clients that try all the while find no listener before what was restored has been
// verified; then they are served, at the addresses that the file has.
func TestNobodyIsServedBeforeItIsVerified(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for _, way := range []string{"restore", "recover", "in place"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			var c *harness.Cluster
			want, consents := src.keys, ""
			if way == "restore" {
				c = restoreOf(t, e, 3, src.snapshot)
			} else {
				c, want = bootstrapped(t, e, 3)
				c.Stop()
				c.DropData(c.Members[1:]...)
				consents = "data-loss,stale-watchers"
				if way == "in place" {
					c.More = "  recover {\n    from = \"m1\"\n    in_place = true\n  }\n"
				}
				c.Write()
			}
			h := hammerAt(t, c)
			e.Apply(c.Path(), "--accept="+consents)
			verified, first := verifiedClosedAt(t, e), h.accepted()
			switch {
			case first.IsZero():
				t.Error("nobody was ever served")
			case first.Before(verified):
				t.Errorf("a client listener accepted %s before the verification had passed", verified.Sub(first))
			}
			harness.CompareAll(t, want, c.Endpoints())
			e.InSync(c.Path())
			e.Run("status", c.Path()).Want(t, 0).Says(t, "Data: re", "revision")
			for _, l := range must(harness.Client(t, c.Endpoints()...).MemberList(harness.Context(t)))(t).Members {
				if !slices.ContainsFunc(c.Members, func(m harness.Member) bool { return slices.Equal(l.ClientURLs, []string{m.Client}) }) {
					t.Errorf("%s is listed with the client URLs %v", l.Name, l.ClientURLs)
				}
			}
			for _, m := range c.Members {
				if exists(m.Base(), "closed:1") {
					t.Errorf("%s's socket is left", m.Name)
				}
			}
		})
	}
}

// S17: a member whose data differs from the others' is found before any client listener
// opens, and nobody is served.
func TestDifferenceIsFoundBeforeAnybodyIsServed(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	h := hammerAt(t, c)
	installed := everyMember(func(m harness.Member) bool { return exists(m.DataDir, "member", "snap", "db") })
	if !killedWith(t, e, c, installed) {
		t.Fatal("apply ended before it could be killed")
	}
	e.Run("stop", "--auto-approve", c.Path())
	spoilValue(t, filepath.Join(c.Members[2].DataDir, "member", "snap", "db"))
	r := e.Run("apply", "--auto-approve", c.Path()).Want(t, 7).Says(t, "verify, closed", "different data")
	if !h.accepted().IsZero() {
		t.Error("a client listener has accepted")
	}
	if !regexp.MustCompile(`start for clients .*not started`).MatchString(r.Stderr) {
		t.Errorf("it went on: %s", r.Stderr)
	}
	if p := e.Plan(c.Path()); p.Route != "restore" || p.Refusal != nil || strings.Contains(p.Kinds(), "restore") {
		t.Errorf("planned again: %s, refusal %+v: %s", p.Kinds(), p.Refusal, p.Headline)
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 7).Says(t, "different data")
	if !h.accepted().IsZero() {
		t.Error("a client listener has accepted")
	}
	e.Run("stop", "--auto-approve", c.Path()).Want(t, 0)
}

// spoilValue changes one byte of one key's value, which nothing in a db has a checksum of.
func spoilValue(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		c := b.Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			if len(v) < 40 {
				continue
			}
			k, v = bytes.Clone(k), bytes.Clone(v)
			v[len(v)-3] ^= 1
			return b.Put(k, v)
		}
		t.Fatal("no value to spoil")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A cluster that was restored with auth is called in sync without a password, by what
// its members tell everybody; a member that is down is started; and what takes a user is
// refused by name.
func TestPlanAfterARestoreWithAuth(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	old := e.Server("old")
	ctx := harness.Context(t)
	cli := harness.Client(t, old.Client)
	must(cli.Put(ctx, "k", "v"))(t)
	raiseAlarm(t, old.Client)
	enableAuth(t, ctx, cli)
	root := must(clientv3.New(clientv3.Config{Endpoints: []string{old.Client}, Username: "root", Password: "root"}))(t)
	defer root.Close()
	snapshot := must(io.ReadAll(must(root.Snapshot(ctx))(t)))(t)
	e.StopServer(old)

	c := restoreOf(t, e, 3, snapshot)
	e.Run("plan", c.Path()).Want(t, 0).Says(t, "snapshot-alarms", "NOSPACE on 7")
	e.Apply(c.Path()).Says(t, "no lease was tried", "wants a user")
	e.InSync(c.Path())
	e.Run("plan", c.Path()).Want(t, 0).Says(t, "without-user")
	e.Run("status", c.Path()).Want(t, 0)
	again := must(clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Username: "root", Password: "root"}))(t)
	defer again.Close()
	if alarms := must(again.AlarmList(ctx))(t).Alarms; len(alarms) > 0 {
		t.Errorf("alarms came along: %v", alarms)
	}
	must(again.Put(ctx, "after", "the restore"))(t)

	e.Run("stop", "--auto-approve", "--member", "m3", c.Path()).Want(t, 0)
	e.Apply(c.Path())
	e.InSync(c.Path())

	e.Run("stop", "--auto-approve", "--member", "m3", c.Path()).Want(t, 0)
	c.DropData(c.Members[2])
	e.Run("plan", c.Path()).Want(t, 6).Says(t, "auth-required", "etcdctl --user root")
}

// A snapshot of a cluster with a learner restores, and the file's learner joins the new
// cluster, on an empty place, when its voters serve.
func TestRestoreWithALearner(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	old, want := bootstrapped(t, e, 1)
	extra := e.ClusterIn("extra", 1)
	cli := harness.Client(t, old.Endpoints()...)
	must(cli.MemberAddAsLearner(harness.Context(t), []string{extra.Members[0].Peer}))(t)
	path := harness.Snapshot(t, old.Members[0].Client, e.Path("learner.db"))
	old.Stop()

	c := e.ClusterIn("restored", 3)
	c.Snapshot = path
	c.Members[2].Learner = true
	c.Write()
	e.Run("plan", c.Path()).Want(t, 0).Says(t, "m3 is to be added as a learner")
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 0).Says(t, "Not yet as the file says")
	harness.CompareAll(t, want, c.Endpoints()[:2])
	e.Apply(c.Path())
	e.InSync(c.Path())
	list := must(harness.Client(t, c.Endpoints()[0]).MemberList(harness.Context(t)))(t).Members
	learners := 0
	for _, m := range list {
		if m.IsLearner {
			learners++
		}
	}
	if len(list) != 3 || learners != 1 {
		t.Errorf("%d members, %d learners: %v", len(list), learners, list)
	}
}
