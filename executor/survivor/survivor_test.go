package survivor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
)

// write puts keys from several clients until it is told to stop, and returns
// those that were acknowledged.
func write(t testing.TB, n *node, writers int) (stop func() map[string]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var wg sync.WaitGroup
	acked := map[string]string{}
	for w := range writers {
		c := dial(t, n, "")
		wg.Go(func() {
			for i := 0; ; i++ {
				k, v := fmt.Sprintf("w%d/%06d", w, i), fmt.Sprintf("value %d of %d", i, w)
				if _, err := c.Put(ctx, k, v); err != nil {
					return
				}
				mu.Lock()
				acked[k] = v
				mu.Unlock()
			}
		})
	}
	return func() map[string]string { cancel(); wg.Wait(); return acked }
}

// All members are killed at once, under writers. What the best of their logs
// holds is everything that was acknowledged.
func TestEveryAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	flags := [][]string{{"--snapshot-count", "300"}, allInTail, nil}
	nodes, _ := members(t, 3, flags[rand.IntN(len(flags))]...)
	stop := write(t, nodes[0], 4)
	time.Sleep(500*time.Millisecond + rand.N(400*time.Millisecond))
	for _, n := range nodes {
		if err := n.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	acked := stop()
	for _, n := range nodes {
		n.kill()
	}
	var best *node
	for _, n := range nodes {
		if d := seen(t, n); best == nil || d.LastTerm > seen(t, best).LastTerm || d.LastTerm == seen(t, best).LastTerm && d.LastIndex > seen(t, best).LastIndex {
			best = n
		}
	}
	for _, n := range nodes {
		r, d := requestFor(t, n), seen(t, n)
		began := time.Now()
		rec, kv := recovered(t, r)
		t.Logf("%s: log %d, commit %d, db %d: %d keys in %v, %d acknowledged", n.name, d.LastIndex, d.Commit, d.ConsistentIndex,
			len(kv), time.Since(began).Round(time.Millisecond), len(acked))
		if rec.LastIndex != d.LastIndex || rec.Upto != d.LastIndex {
			t.Errorf("%+v", rec)
		}
		if n == best {
			has(t, kv, acked)
		}
	}
	t.Logf("force-new-cluster leaves %d", forceNew(t, best))
}

// forceNew says what etcd's own way leaves, for comparison.
func forceNew(t testing.TB, n *node) int {
	t.Helper()
	c := newNode(t, n.name)
	if err := throwaway.CopyTree(context.Background(), n.dir, c.dir); err != nil {
		t.Fatal(err)
	}
	c.start(t, c.name+"="+c.peer, "--force-new-cluster")
	r := must(dial(t, c, "").Get(context.Background(), "w", clientv3.WithPrefix(), clientv3.WithCountOnly()))(t)
	return int(r.Count)
}

// A learner's directory serves, too; --force-new-cluster panics on it.
func TestLearner(t *testing.T) {
	t.Parallel()
	nodes, cluster := members(t, 1)
	c := dial(t, nodes[0], "")
	put(t, c, "a", "1")
	learner := newNode(t, "m2")
	must(c.MemberAddAsLearner(context.Background(), []string{learner.peer}))(t)
	learner.start(t, cluster+",m2="+learner.peer, "--initial-cluster-state", "existing")
	put(t, c, "b", "2")
	waitForKey(t, learner, "b")
	learner.kill()
	_, kv := recovered(t, requestFor(t, learner))
	has(t, kv, map[string]string{"a": "1", "b": "2"})
	r := requestFor(t, learner)
	r.OutDataDir, r.Out = r.Out, ""
	rec, _ := recovered(t, r) // as a voter
	startsAlone(t, learner, rec)
}

func waitForKey(t testing.TB, n *node, key string) {
	t.Helper()
	c := must(clientv3.New(clientv3.Config{Endpoints: []string{n.client}, Logger: zap.NewNop()}))(t)
	defer c.Close()
	waitFor(t, n.name+" has "+key, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r, err := c.Get(ctx, key, clientv3.WithSerializable())
		return err == nil && r.Count == 1
	})
}

// A member that was removed, and others after it, left a directory that ends with
// its own removal.
func TestRemovedMember(t *testing.T) {
	t.Parallel()
	nodes, _ := members(t, 3)
	c := dial(t, nodes[0], "")
	put(t, c, "a", "1")
	gone := nodes[2]
	waitForKey(t, gone, "a")
	d := must(c.MemberList(context.Background()))(t)
	for _, m := range d.Members {
		if m.Name == gone.name {
			must(c.MemberRemove(context.Background(), m.ID))(t)
		}
	}
	_ = gone.cmd.Wait() // etcd ends by itself
	r := requestFor(t, gone)
	_, kv := recovered(t, r)
	has(t, kv, map[string]string{"a": "1"})
}

// Short leases, in the db and in the tail, keep their keys although etcd runs on
// the copy for longer than they last, and come out as they were granted.
func TestShortLeases(t *testing.T) {
	t.Parallel()
	nodes, cluster := members(t, 1)
	c, ctx := dial(t, nodes[0], ""), context.Background()
	old := must(c.Grant(ctx, 2))(t).ID
	put(t, c, "old", "1", clientv3.WithLease(old))
	nodes[0].stop()
	nodes[0].start(t, cluster, allInTail...)
	c = dial(t, nodes[0], "")
	young, gone := must(c.Grant(ctx, 3))(t).ID, must(c.Grant(ctx, 5))(t).ID
	long := must(c.Grant(ctx, 7200))(t).ID
	put(t, c, "young", "2", clientv3.WithLease(young))
	put(t, c, "gone", "3", clientv3.WithLease(gone))
	must(c.Revoke(ctx, gone))(t)
	nodes[0].kill()

	r := requestFor(t, nodes[0])
	r.Command = slowly(t, 4)
	rec, kv := recovered(t, r)
	if len(kv) != 2 || kv["old"] != "1" || kv["young"] != "2" || rec.Leases != 3 {
		t.Errorf("%v, %d leases", kv, rec.Leases)
	}
	// Seconds as granted.
	db := must(readDBState(cutHash(t, rec)))(t)
	for id, ttl := range map[clientv3.LeaseID]int64{old: 2, young: 3, long: 7200} {
		if l := db.lease[int64(id)]; l == nil || l.TTL != ttl || l.RemainingTTL != 0 {
			t.Errorf("lease %x: %v, want %d s", id, l, ttl)
		}
	}
}

// slowly is an etcd that stops some seconds late.
func slowly(t testing.TB, seconds int) []string {
	t.Helper()
	script := `"$@" & pid=$!
trap "sleep %d; kill -TERM $pid" TERM
wait $pid; wait $pid; exit 0`
	return append([]string{"/bin/sh", "-c", fmt.Sprintf(script, seconds), "sh"}, command(t)...)
}

func cutHash(t testing.TB, rec Record) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	b := must(os.ReadFile(rec.Path))(t)
	if err := os.WriteFile(path, b[:rec.Size], 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// With auth on, what is in the tail is applied with its user's permissions.
func TestAuth(t *testing.T) {
	t.Parallel()
	nodes, cluster := members(t, 1)
	c, ctx := dial(t, nodes[0], ""), context.Background()
	must(c.UserAdd(ctx, "root", "root"))(t)
	must(c.UserGrantRole(ctx, "root", "root"))(t)
	must(c.UserAdd(ctx, "u", "u"))(t)
	must(c.RoleAdd(ctx, "r"))(t)
	must(c.RoleGrantPermission(ctx, "r", "a", "b", clientv3.PermissionType(clientv3.PermReadWrite)))(t)
	must(c.UserGrantRole(ctx, "u", "r"))(t)
	must(c.AuthEnable(ctx))(t)
	nodes[0].stop()
	nodes[0].start(t, cluster, allInTail...)
	u := dial(t, nodes[0], "u")
	put(t, u, "a/x", "1")
	if _, err := u.Put(ctx, "z", "1"); err == nil {
		t.Fatal("a put without permission was accepted")
	}
	nodes[0].kill()
	rec, kv := recovered(t, requestFor(t, nodes[0]))
	if len(kv) != 1 || kv["a/x"] != "1" {
		t.Errorf("%v", kv)
	}
	if db := must(readDBState(cutHash(t, rec)))(t); !db.auth {
		t.Error("auth is off")
	}
}

// Entries that no majority had are taken, or dropped where that is asked for.
func TestTail(t *testing.T) {
	t.Parallel()
	nodes, _ := members(t, 3, "--election-timeout", "3000")
	c := dial(t, nodes[0], "")
	put(t, c, "a", "1")
	leader := must(c.Status(context.Background(), nodes[0].client))(t).Leader
	var n *node
	for _, m := range nodes {
		if s := must(c.Status(context.Background(), m.client))(t); s.Header.MemberId == leader {
			n = m
		}
	}
	c = dial(t, n, "")
	for _, m := range nodes {
		if m != n {
			m.kill()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := c.Put(ctx, "unproven", "2"); err == nil {
		t.Fatal("a put without quorum was accepted")
	}
	n.kill()
	d, r := seen(t, n), requestFor(t, n)
	if d.Commit >= d.LastIndex {
		t.Fatalf("no tail: %+v", d)
	}
	if _, kv := recovered(t, r); kv["a"] != "1" || kv["unproven"] != "2" {
		t.Errorf("the tail is not there: %v", kv)
	}
	if _, err := Recover(context.Background(), r, nil); err != nil { // it is there already
		t.Error(err)
	}
	short := r
	short.Upto = d.Commit
	if _, err := Recover(context.Background(), short, nil); err == nil {
		t.Error("another recovery's file was taken")
	}
	short.Out += "2"
	if rec, kv := recovered(t, short); len(kv) != 1 || kv["a"] != "1" || rec.Upto != d.Commit {
		t.Errorf("the tail was not dropped: %v", kv)
	}
	short.Out, short.Upto = short.Out+"3", max(d.Commit, d.ConsistentIndex)-1
	if _, err := Recover(context.Background(), short, nil); err == nil || !strings.Contains(err.Error(), "agreed on") {
		t.Errorf("entries that are agreed on were dropped: %v", err)
	}
}

// In place the member goes on as a cluster of one under the same IDs.
func TestInPlace(t *testing.T) {
	t.Parallel()
	nodes := []*node{newNode(t, "m1"), newNode(t, "m2"), newNode(t, "m3")}
	nodes[0].wal = filepath.Join(t.TempDir(), "wal")
	cluster := fmt.Sprintf("m1=%s,m2=%s,m3=%s", nodes[0].peer, nodes[1].peer, nodes[2].peer)
	for _, n := range nodes {
		n.start(t, cluster, allInTail...)
	}
	c := dial(t, nodes[0], "")
	put(t, c, "a", "1")
	for _, n := range nodes {
		n.kill()
	}
	r := requestFor(t, nodes[0])
	r.OutDataDir, r.OutWALDir, r.Out = r.Out, r.Out+".wal", ""
	rec, kv := recovered(t, r)
	has(t, kv, map[string]string{"a": "1"})
	if db := must(readDBState(rec.db(rec.Path)))(t); len(db.ids) != 3 {
		t.Errorf("members and removed ones: %v", db.ids)
	}
	rec = betweenNames(t, r)
	startsAlone(t, nodes[0], rec, func() {
		nodes[1].start(t, cluster)
		gone := make(chan struct{})
		go func() { defer close(gone); _ = nodes[1].cmd.Wait() }()
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Error("an old member that comes back is not told that it was removed")
			_ = nodes[1].cmd.Process.Kill()
			<-gone
		}
	})
}

// betweenNames does the recovery again as if it had been killed after the WAL
// directory got its name, and before the data directory did.
func betweenNames(t testing.TB, r Request) Record {
	t.Helper()
	if err := os.Rename(r.OutDataDir, r.OutDataDir+".lost"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(recordPath(r.OutDataDir), intentPath(r.OutDataDir)); err != nil {
		t.Fatal(err)
	}
	rec, _ := recovered(t, r)
	must(os.Stat(r.OutWALDir + ".unfinished-1"))(t)
	return rec
}

// startsAlone starts what was recovered in place of n with the flags of a member.
func startsAlone(t testing.TB, n *node, rec Record, meanwhile ...func()) {
	t.Helper()
	urls := seen(t, n)
	alone := &node{name: n.name, dir: rec.Path, wal: rec.WALDir, client: n.client, peer: n.peer}
	if d := seen(t, alone); d.ClusterID != rec.ClusterID || d.MemberID != rec.MemberID || len(d.Members) != 1 ||
		d.Members[0].Name != n.name || d.Members[0].Learner {
		t.Errorf("%+v", d)
	}
	for _, m := range urls.Members {
		if got := seen(t, alone).Members[0].PeerURLs; m.ID == rec.MemberID && fmt.Sprint(got) != fmt.Sprint(m.PeerURLs) {
			t.Errorf("peer URLs %v, were %v", got, m.PeerURLs)
		}
	}
	alone.start(t, "m9=http://127.0.0.1:9")
	c := dial(t, alone, "")
	put(t, c, "after", "1")
	list := must(c.MemberList(context.Background()))(t)
	if m := list.Members; len(m) != 1 || fmt.Sprintf("%x", m[0].ID) != rec.MemberID || fmt.Sprint(m[0].PeerURLs) != fmt.Sprint([]string{n.peer}) ||
		fmt.Sprintf("%x", list.Header.ClusterId) != rec.ClusterID {
		t.Errorf("%v", list)
	}
	for _, f := range meanwhile {
		f()
	}
	alone.stop()
}

// Alarms are part of the log's course: what they refused stays refused.
func TestAlarms(t *testing.T) {
	t.Parallel()
	for _, alarm := range []etcdserverpb.AlarmType{etcdserverpb.AlarmType_NOSPACE, etcdserverpb.AlarmType_CORRUPT} {
		t.Run(alarm.String(), func(t *testing.T) {
			t.Parallel()
			nodes, cluster := members(t, 1)
			c, ctx := dial(t, nodes[0], ""), context.Background()
			put(t, c, "a", "1")
			raise := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: alarm, MemberID: 7}
			must(etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).Alarm(ctx, raise))(t)
			nodes[0].stop()
			nodes[0].start(t, cluster, allInTail...)
			c = must(clientv3.New(clientv3.Config{Endpoints: []string{nodes[0].client}, Logger: zap.NewNop()}))(t)
			defer c.Close()
			waitFor(t, "the put is refused", func() bool {
				_, err := c.Put(ctx, "refused", "2")
				return err != nil && (strings.Contains(err.Error(), "space") || strings.Contains(err.Error(), "corrupt"))
			})
			nodes[0].kill()
			if rec, kv := recovered(t, requestFor(t, nodes[0])); len(kv) != 1 || kv["a"] != "1" || rec.Alarms != 1 {
				t.Errorf("%v, %d alarms", kv, rec.Alarms)
			}
		})
	}
}

// one is a killed member with a db and a tail.
func one(t testing.TB) (*node, map[string]string) {
	t.Helper()
	nodes, cluster := members(t, 1)
	c, want := dial(t, nodes[0], ""), map[string]string{}
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			k, v := fmt.Sprintf("k%04d", i%150), fmt.Sprintf("%d %s", i, strings.Repeat("x", i%90))
			put(t, c, k, v)
			want[k] = v
		}
	}
	fill(0, 200)
	for _, k := range []string{"k0001", "k0060", "k0140"} { // one comes back
		must(c.Delete(context.Background(), k))(t)
		delete(want, k)
	}
	must(c.Compact(context.Background(), 120))(t)
	put(t, c, "k0001", "back")
	want["k0001"] = "back"
	nodes[0].stop()
	nodes[0].start(t, cluster, allInTail...)
	c = dial(t, nodes[0], "")
	fill(200, 230)
	nodes[0].kill()
	return nodes[0], want
}

// A recovery that was cancelled or killed leaves no etcd, and can be done again.
func TestAgain(t *testing.T) {
	t.Parallel()
	n, want := one(t)
	r := requestFor(t, n)
	for _, at := range []string{"copying the db", "applying the log", "stopping etcd", "writing the snapshot"} {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := Recover(ctx, r, func(what string, _, _ int64) {
			if what == at {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while %s: %v", at, err)
		}
		nothingRuns(t, r.Work)
	}
	arg := string(must(json.Marshal(r))(t))
	for _, after := range []time.Duration{100, 300, 500} {
		cmd := exec.Command(must(os.Executable())(t), "recover", arg)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		nothingRuns(t, r.Work)
		if err := os.RemoveAll(r.Work); err != nil {
			t.Fatal(err)
		}
	}
	_, kv := recovered(t, r)
	has(t, kv, want)
}

// A kill between the last two names is made good by what the intent says; a file
// that nobody knows is left alone.
func TestUnfinishedNames(t *testing.T) {
	t.Parallel()
	n, want := one(t)
	r := requestFor(t, n)
	if err := os.WriteFile(r.Out, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(context.Background(), r, nil); !errors.Is(err, errNotOurs) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(r.Out); err != nil {
		t.Fatal(err)
	}
	rec, kv := recovered(t, r)
	has(t, kv, want)
	if err := os.Rename(recordPath(r.Out), intentPath(r.Out)); err != nil {
		t.Fatal(err)
	}
	again, err := Recover(context.Background(), r, nil)
	if err != nil || again != rec || must(ReadRecord(r.Out))(t) != rec {
		t.Errorf("%+v: %v", again, err)
	}
}

// nothingRuns waits for the kernel to have ended what belonged to the folder.
func nothingRuns(t testing.TB, work string) {
	t.Helper()
	waitFor(t, "nothing runs in "+work, func() bool {
		list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range list {
			if b, _ := os.ReadFile(name); strings.Contains(string(b), work) {
				return false
			}
		}
		return true
	})
}

// A flipped byte is an error, or it changes nothing that is live.
func TestDamage(t *testing.T) {
	t.Parallel()
	n, want := one(t)
	r := requestFor(t, n)
	wals := must(filepath.Glob(filepath.Join(n.dir, "member", "wal", "*.wal")))(t)
	files := []string{filepath.Join(n.dir, "member", "snap", "db"), wals[len(wals)-1]}
	refused, damaged := 0, 0
	const rounds = 16
	for i := range rounds {
		restore := flip(t, files[i%2])
		try := r
		try.Out = fmt.Sprintf("%s-%d", r.Out, i)
		rec, err := Recover(context.Background(), try, nil)
		restore()
		if err != nil {
			refused++
			if IsDamage(err) {
				damaged++
			}
			continue
		}
		if kv := keys(t, rec.db(rec.Path)); len(kv) != len(want) {
			t.Errorf("%d keys, want %d", len(kv), len(want))
		} else {
			has(t, kv, want)
		}
	}
	t.Logf("%d of %d flips were refused", refused, rounds)
	if damaged == 0 {
		t.Error("none is called damage")
	}
	if refused < rounds/3 {
		t.Error("most flips went unnoticed")
	}
	_, kv := recovered(t, r)
	has(t, kv, want)
}

// flip changes a byte where something was written, and returns its undoing.
func flip(t testing.TB, path string) (undo func()) {
	t.Helper()
	b := must(os.ReadFile(path))(t)
	at := rand.IntN(len(b))
	for ; b[at] == 0; at = rand.IntN(min(len(b), 64<<10)) {
	}
	f := must(os.OpenFile(path, os.O_WRONLY, 0))(t)
	must(f.WriteAt([]byte{b[at] ^ byte(1+rand.IntN(255))}, int64(at)))(t)
	t.Logf("%s at %d", filepath.Base(path), at)
	return func() {
		must(f.WriteAt(b[at:at+1], int64(at)))(t)
		f.Close()
	}
}

// What the plan saw is held to.
func TestNotAsPlanned(t *testing.T) {
	t.Parallel()
	n, _ := one(t)
	for name, change := range map[string]func(*Request){
		"another end":    func(r *Request) { r.LastIndex++ },
		"another term":   func(r *Request) { r.LastTerm++ },
		"another member": func(r *Request) { r.MemberID = "1" },
		"no file":        func(r *Request) { r.Out = "" },
		"beyond the end": func(r *Request) { r.Upto++ },
	} {
		r := requestFor(t, n)
		change(&r)
		if _, err := Recover(context.Background(), r, nil); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	r := requestFor(t, n)
	r.Command = []string{"/bin/false"}
	if _, err := Recover(context.Background(), r, nil); err == nil || !strings.Contains(err.Error(), "ended by itself") || IsDamage(err) {
		t.Errorf("%v", err)
	}
	for err, want := range map[error]bool{
		read(errors.New("a page")):                            true,
		read(&os.PathError{Op: "read", Err: syscall.EIO}):     true,
		read(&os.PathError{Op: "open", Err: syscall.EMFILE}):  false,
		fmt.Errorf("copying: %w", read(errors.New("a page"))): true,
		errors.New("etcd had not applied all within 2m0s"):    false,
		read(fmt.Errorf("it: %w", context.DeadlineExceeded)):  false,
	} {
		if IsDamage(err) != want {
			t.Errorf("%v: damage %v", err, !want)
		}
	}
}

// Another minor's etcd would move the db to its format (S12).
func TestSameVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after dbState
		tail          string
		ok            bool
	}{
		{dbState{storageVersion: "3.6.0", clusterVersion: "3.6.0"}, dbState{storageVersion: "3.6.0", clusterVersion: "3.6.0"}, "", true},
		{dbState{storageVersion: "3.6.0", clusterVersion: "3.6.0"}, dbState{storageVersion: "3.7.0", clusterVersion: "3.7.0"}, "", false},
		{dbState{clusterVersion: "3.5.0"}, dbState{storageVersion: "3.6.0", clusterVersion: "3.6.0"}, "", false},
		{dbState{clusterVersion: "3.0.0"}, dbState{storageVersion: "3.7.0", clusterVersion: "3.7.0"}, "3.7.0", true},
		{dbState{}, dbState{storageVersion: "3.7.0", clusterVersion: "3.7.0"}, "", true},
		{dbState{clusterVersion: "3.0.0"}, dbState{storageVersion: "3.7.0", clusterVersion: "3.7.0"}, "3.6.0", false},
	} {
		if err := sameVersion(c.before, c.after, c.tail); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A v2 request, which etcd up to 3.6 has in its log, is told from a v3 one.
func TestV2Entry(t *testing.T) {
	t.Parallel()
	v3 := must(proto.Marshal(&etcdserverpb.InternalRaftRequest{ID: 1, Put: &etcdserverpb.PutRequest{Key: []byte("a")}}))(t)
	alone := append([]byte{0x08, 0x01, 0x12, 0x03}, "PUT\x1a\x02/0"...) // etcdserverpb.Request{ID, Method, Path}
	for data, want := range map[string]bool{string(v3): false, string(alone): true, "\x08\x01\x12\x05\x12\x03PUT": true} {
		if v2, err := isV2([]byte(data)); v2 != want || err != nil {
			t.Errorf("%q: %v %v", data, v2, err)
		}
	}
	if _, err := isV2([]byte("\x08")); err == nil {
		t.Error("a cut entry was accepted")
	}
}
