package etcd_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
)

// Logs of several files, and quick copies.
func init() { wal.SegmentSizeBytes = 256 << 10 }

// newDirCluster starts n voters and returns them with what stops each.
func newDirCluster(t testing.TB, n int) ([]*dirMember, []func()) {
	t.Helper()
	members, stops := make([]*dirMember, n), make([]func(), n)
	var initial []string
	for i := range members {
		members[i] = newDirMember(t, "")
		cfg := members[i].cfg
		// Long enough for a leader to be written to when it is alone.
		cfg.Name, cfg.TickMs, cfg.ElectionMs = fmt.Sprintf("m%d", i+1), 50, 1000
		cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 10_000, 5000
		initial = append(initial, cfg.Name+"="+cfg.AdvertisePeerUrls[0].String())
	}
	var wg sync.WaitGroup
	for i, m := range members {
		m.cfg.InitialCluster = strings.Join(initial, ",")
		wg.Go(func() { stops[i] = m.start(t) })
	}
	wg.Wait()
	return members, stops
}

func leaderOf(t testing.TB, members []*dirMember) int {
	t.Helper()
	for range 100 {
		for i, m := range members {
			if m.e.Server.MemberID() == m.e.Server.Leader() {
				return i
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no leader")
	return 0
}

// checkLog asserts what holds of every log.
func checkLog(t testing.TB, d planner.DataDir) {
	t.Helper()
	l := d.Log
	if l == nil || l.SumsFirst+uint64(len(l.Sums)) != d.LastIndex+1 || l.First > l.SumsFirst {
		t.Fatalf("%+v ends at %d", l, d.LastIndex)
	}
	if n := len(l.Terms); len(l.Sums) > 0 && (n == 0 || l.Terms[0].First != l.First || l.Terms[n-1].Term != d.LastTerm) {
		t.Errorf("%+v, last term %d", l.Terms, d.LastTerm)
	}
	if floor := max(d.Commit, d.ConsistentIndex); len(d.Tail)+d.TailMore != int(d.LastIndex-floor) {
		t.Errorf("%d listed and %d more, of %d after %d", len(d.Tail), d.TailMore, d.LastIndex, floor)
	}
}

// sumAt returns the sum of an entry.
func sumAt(d planner.DataDir, index uint64) (uint32, bool) {
	if index < d.Log.SumsFirst || index > d.LastIndex {
		return 0, false
	}
	return d.Log.Sums[index-d.Log.SumsFirst], true
}

// fork is the first index at which two logs differ, 0 for none, and how many
// were equal.
func fork(a, b planner.DataDir, from, to uint64) (at uint64, equal int) {
	for i := from; i <= to; i++ {
		x, okx := sumAt(a, i)
		y, oky := sumAt(b, i)
		if okx && oky && x != y {
			return i, equal
		}
		if okx && oky {
			equal++
		}
	}
	return 0, equal
}

// A leader that lost its followers while it was written to has a tail. Its disk
// and a follower's are of one history; a member forced to be a cluster of its
// own begins another one.
func TestReadDataDirTail(t *testing.T) {
	t.Parallel()
	members, stops := newDirCluster(t, 3)
	lead := leaderOf(t, members)
	m, follower := members[lead], members[(lead+1)%3]
	ctx := context.Background()
	m.put(t, 50)
	u := dirFreeURL(t)
	time.Sleep(100 * time.Millisecond)
	for i, other := range members {
		if i != lead {
			m.e.Server.CutPeer(other.e.Server.MemberID())
		}
	}
	send := func(do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, 60*time.Millisecond)
		defer cancel()
		do(ctx)
	}
	for _, do := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := m.cli.Put(ctx, "tail/a", "hunter2"); return err },
		func(ctx context.Context) error {
			_, err := m.cli.Delete(ctx, "tail/", clientv3.WithPrefix())
			return err
		},
		func(ctx context.Context) error {
			_, err := m.cli.Txn(ctx).Then(clientv3.OpPut("q", "1")).Else(clientv3.OpDelete("q")).Commit()
			return err
		},
		func(ctx context.Context) error { _, err := m.cli.Compact(ctx, 3); return err },
		func(ctx context.Context) error { _, err := m.cli.Grant(ctx, 100); return err },
		func(ctx context.Context) error { _, err := m.cli.Revoke(ctx, 0x77); return err },
	} {
		send(do)
	}
	held := read0(t, m.cfg.Dir)
	dir := copyDir(t, m.cfg.Dir) // what a kill leaves
	d := read(t, dir, "")
	var wg sync.WaitGroup
	for i := range stops {
		wg.Go(stops[i])
	}
	wg.Wait()
	checkLog(t, d)
	checkLog(t, held)
	var kinds []string
	for _, e := range d.Tail {
		kinds = append(kinds, fmt.Sprintf("%s %t", e.Kind, e.Risky))
		if strings.Contains(e.Key+e.Text, "hunter2") {
			t.Error(e)
		}
	}
	if got := strings.Join(kinds, ", "); got != "put false, delete true, txn true, compact true, lease-grant false, lease-revoke true" {
		t.Errorf("%s: %+v", got, d.Tail)
	}
	if len(held.Tail) < len(d.Tail) || held.HeldBy == 0 {
		t.Errorf("%+v", held)
	}

	f := read(t, follower.cfg.Dir, "")
	checkLog(t, f)
	end := min(max(d.Commit, d.ConsistentIndex), max(f.Commit, f.ConsistentIndex))
	if at, n := fork(d, f, 1, end); at != 0 || n < 50 {
		t.Errorf("differ at %d, %d equal", at, n)
	}
	if d.Log.Forced != 0 || f.Log.Forced != 0 {
		t.Error("forced?")
	}

	// The tail's place is taken by the follower's removals, in the same term.
	follower.cfg.ForceNewCluster = true
	stop := follower.start(t)
	must2(follower.cli.MemberUpdate(ctx, uint64(follower.e.Server.MemberID()), []string{u.String()}))(t)
	stop()
	forced := read(t, follower.cfg.Dir, "")
	checkLog(t, forced)
	at, _ := fork(d, forced, 1, d.LastIndex)
	if forced.Log.Forced == 0 || at == 0 || at <= end || at > end+2 || len(forced.Members) != 1 || len(forced.Removed) != 2 || forced.Problem != "" {
		t.Errorf("forced %d, fork at %d after %d: %+v", forced.Log.Forced, at, end, forced)
	}
	if a, b := termAt(d, at), termAt(forced, at); a != b {
		t.Errorf("terms %d and %d at the fork: only the sums should tell", a, b)
	}
}

func termAt(d planner.DataDir, index uint64) (term uint64) {
	for _, r := range d.Log.Terms {
		if r.First <= index {
			term = r.Term
		}
	}
	return term
}

// read0 reads a directory that moves.
func read0(t testing.TB, dir string) planner.DataDir {
	t.Helper()
	f := etcd.ReadDataDir(dir, "")
	if !f.Known() {
		t.Fatal(f.Why)
	}
	return f.Value
}

// Copies that are taken under four writers have a whole log, and one history.
func TestReadDataDirHistory(t *testing.T) {
	t.Parallel()
	members, stops := newDirCluster(t, 3)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				members[w%3].cli.Put(ctx, fmt.Sprintf("w%d/%d", w, i), strings.Repeat("x", 2000))
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	var copies []planner.DataDir
	for range 2 {
		for _, m := range members {
			copies = append(copies, read(t, copyDir(t, m.cfg.Dir), ""))
		}
	}
	cancel()
	wg.Wait()
	for i := range stops {
		wg.Go(stops[i])
	}
	wg.Wait()
	for i := range stops {
		copies = append(copies, read(t, members[i].cfg.Dir, ""))
	}
	for i, a := range copies {
		checkLog(t, a)
		b := copies[len(copies)-1]
		end := min(max(a.Commit, a.ConsistentIndex), max(b.Commit, b.ConsistentIndex))
		if at, n := fork(a, b, 1, end); at != 0 || n < 20 || a.Problem != "" {
			t.Errorf("copy %d: differs at %d, %d equal, %q", i, at, n, a.Problem)
		}
	}
	names := must2(filepath.Glob(filepath.Join(members[0].cfg.Dir, "member/wal/*.wal")))(t)
	t.Logf("%d entries in %d files", copies[len(copies)-1].LastIndex, len(names))
}

// The WAL of a learner or of a removed member after --force-new-cluster, as
// etcd itself writes it.
func TestReadDataDirForcedLearner(t *testing.T) {
	t.Parallel()
	members, stops := newDirCluster(t, 1)
	m := members[0]
	l := newDirMember(t, "")
	l.cfg.Name = "l1"
	l.cfg.InitialCluster = "l1=" + l.cfg.AdvertisePeerUrls[0].String() + "," + m.cfg.InitialCluster
	l.cfg.ClusterState = embed.ClusterStateFlagExisting
	must2(m.cli.MemberAddAsLearner(context.Background(), []string{l.cfg.AdvertisePeerUrls[0].String()}))(t)
	stop := l.start(t)
	m.put(t, 5)
	time.Sleep(200 * time.Millisecond)
	stop()
	stops[0]()
	before := read(t, l.cfg.Dir, "")
	checkLog(t, before)
	if before.Problem != "" || before.Log.Forced != 0 || len(before.Members) != 2 {
		t.Fatalf("%+v", before)
	}
	self := must2(strconv.ParseUint(before.MemberID, 16, 64))(t)
	var ids []uint64
	for _, b := range before.Members {
		ids = append(ids, must2(strconv.ParseUint(b.ID, 16, 64))(t))
	}
	force(t, l.cfg.Dir, ids, self)
	d := read(t, l.cfg.Dir, "")
	if !strings.Contains(d.Problem, "removed all voters") || d.Log.Forced != d.LastIndex || !d.UncommittedMembership || len(d.Members) != 2 {
		t.Errorf("%+v", d)
	}
	// On the voter it is what it is for.
	force(t, m.cfg.Dir, ids, ids[1-slices.Index(ids, self)])
	if d := read(t, m.cfg.Dir, ""); d.Problem != "" || d.Log.Forced != d.LastIndex {
		t.Errorf("%+v", d)
	}
}

// force writes what etcd writes when it is forced to be a new cluster.
func force(t testing.TB, dir string, ids []uint64, self uint64) {
	t.Helper()
	w := must2(wal.Open(zap.NewNop(), filepath.Join(dir, "member", "wal"), &walpb.Snapshot{}))(t)
	defer w.Close()
	_, state, ents, err := w.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	last := ents[len(ents)-1].GetIndex()
	err = w.Save(&raftpb.HardState{}, storage.CreateConfigChangeEnts(zap.NewNop(), ids, self, state.GetTerm(), last))
	if err != nil {
		t.Fatal(err)
	}
}

// A WAL and a db that are not of one member, and a db that is gone where the
// log has everything.
func TestReadDataDirMixed(t *testing.T) {
	t.Parallel()
	a, b := newDirMember(t, ""), newDirMember(t, "")
	for _, m := range []*dirMember{a, b} {
		m.cfg.SnapshotCount, m.cfg.SnapshotCatchUpEntries = 10_000, 5000
		stop := m.start(t)
		m.put(t, 10)
		if m == b {
			m.put(t, 10)
		}
		stop()
	}
	whole := read(t, a.cfg.Dir, "")
	mixed := copyDir(t, a.cfg.Dir)
	os.RemoveAll(filepath.Join(mixed, "member", "wal"))
	if err := os.CopyFS(filepath.Join(mixed, "member", "wal"), os.DirFS(filepath.Join(b.cfg.Dir, "member", "wal"))); err != nil {
		t.Fatal(err)
	}
	if d := read(t, mixed, ""); !strings.Contains(d.Problem, "not the WAL of this db") {
		t.Errorf("%q", d.Problem)
	}
	lost := copyDir(t, a.cfg.Dir)
	os.Remove(filepath.Join(lost, "member", "snap", "db"))
	d := read(t, lost, "")
	if d.Problem != "" || len(d.Members) != 1 || d.Members[0].ID != whole.MemberID {
		t.Errorf("%+v", d)
	}
	a.cfg.Dir = lost // etcd agrees
	stop := a.start(t)
	if n := must2(a.cli.Get(context.Background(), "k", clientv3.WithPrefix()))(t).Count; n != 10 {
		t.Error(n)
	}
	stop()
	if d := read(t, lost, ""); d.Problem != "" || d.Revision != whole.Revision {
		t.Errorf("%+v", d)
	}

	// A db from before the WAL's snapshot.
	a.cfg.SnapshotCount, a.cfg.SnapshotCatchUpEntries = 10, 5
	stop = a.start(t)
	a.put(t, 50)
	stop()
	old := must2(os.ReadFile(filepath.Join(b.cfg.Dir, "member", "snap", "db")))(t)
	early := copyDir(t, a.cfg.Dir)
	os.WriteFile(filepath.Join(early, "member", "snap", "db"), old, 0o600)
	if d := read(t, early, ""); !strings.Contains(d.Problem, "older than the WAL's snapshot") {
		t.Errorf("%q", d.Problem)
	}
}

// A flipped bit is a problem, or changes nothing.
func TestReadDataDirFlippedLog(t *testing.T) {
	t.Parallel()
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 30)
	stop()
	whole := read(t, m.cfg.Dir, "")
	if whole.ConsistentIndex != whole.LastIndex {
		t.Fatalf("%+v", whole)
	}
	dir := copyDir(t, m.cfg.Dir)
	name := must2(filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")))(t)[0]
	raw := must2(os.ReadFile(name))(t)
	end := len(strings.TrimRight(string(raw), "\x00"))
	f := must2(os.OpenFile(name, os.O_RDWR, 0))(t)
	defer f.Close()
	os.Truncate(name, int64(end+4096))
	intact := 0
	for i := range end {
		for bit := range 8 {
			if (i+bit)%8 != 0 {
				continue
			}
			must2(f.WriteAt([]byte{raw[i] ^ 1<<bit}, int64(i)))(t)
			fact := etcd.ReadDataDir(dir, "")
			must2(f.WriteAt(raw[i:i+1], int64(i)))(t)
			d := fact.Value
			if !fact.Known() || d.State != planner.DirPresent {
				t.Fatalf("byte %d bit %d: %s %+v", i, bit, fact.Why, d)
			}
			if d.Problem != "" {
				continue
			}
			intact++
			if d.LastIndex != whole.LastIndex || d.LastTerm != whole.LastTerm || d.MemberID != whole.MemberID ||
				len(d.Members) != 1 || !slices.Equal(d.Log.Sums, whole.Log.Sums) || !slices.Equal(d.Log.Terms, whole.Log.Terms) {
				t.Errorf("byte %d of %d, bit %d: called intact: %+v", i, end, bit, d)
			}
		}
	}
	t.Logf("%d bytes, %d flips without a problem", end, intact)
}

// Directories that real servers of older minors left: three members, m3 removed,
// a learner added, the others killed, and then m1, which had been written to.
func TestReadDataDirOlder(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]struct {
		storage, removed string
		members          int
		tail             []string
	}{
		"3.5": {"", "631924289110e629", 3, []string{`put "tail b", 1 byte`, "delete tail/*",
			"grant lease 6fb3a1fd37392532, 100 s", "put tail/a, 6 bytes", "compact at revision 5"}},
		"3.6": {"3.6.0", "26fe0ef1529ce978", 3, []string{"grant lease a3aa1fd2c8e8630, 100 s", "delete tail/*",
			"compact at revision 5", `put "tail b", 1 byte`, "put tail/a, 6 bytes"}},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		untar(t, filepath.Join("testdata", "datadir-"+version+".tar.gz"), dir)
		d := read(t, dir, "")
		checkLog(t, d)
		var tail []string
		for _, e := range d.Tail {
			tail = append(tail, e.Text)
		}
		if d.Problem != "" || d.StorageVersion != want.storage || !slices.Equal(d.Removed, []string{want.removed}) ||
			len(d.Members) != want.members || d.Revision != 42 || !slices.Equal(tail, want.tail) || d.UncommittedMembership {
			t.Errorf("%s: %+v", version, d)
		}
	}
}

func untar(t testing.TB, name, dir string) {
	t.Helper()
	f := must2(os.Open(name))(t)
	defer f.Close()
	r := tar.NewReader(must2(gzip.NewReader(f))(t))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, must2(io.ReadAll(r))(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
