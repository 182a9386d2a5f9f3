package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/requorum/requorum/planner"
)

// live is what a running etcd says of itself when its snapshot is saved.
type live struct {
	path   string
	status *clientv3.StatusResponse
	hash   *clientv3.HashKVResponse
	keys   *clientv3.GetResponse
}

// makeRich runs an etcd with leases, users, an alarm and a history, and saves it.
func makeRich(t *testing.T, compact bool) live {
	t.Helper()
	ctx := context.Background()
	u := freeURL(t)
	e := start(t, config(filepath.Join(t.TempDir(), "rich"), "rich", u, freeURL(t)))
	ready(t, e)
	c := client(t, u.String())
	var s origin
	s.kv = map[string]string{}
	fill(t, c, &s, 300)
	for i := range 40 {
		must(c.Put(ctx, fmt.Sprintf("/other/%d", i%8), strings.Repeat("v", 100*i)))(t)
	}
	for i := range 5 {
		must(c.Put(ctx, fmt.Sprintf("plain%d", i), "no separator"))(t)
	}
	must(c.Put(ctx, "\x00\xff/bin/x", "binary"))(t)
	must(c.Grant(ctx, 77))(t)
	must(c.RoleAdd(ctx, "root"))(t)
	must(c.RoleAdd(ctx, "reader"))(t)
	must(c.UserAdd(ctx, "root", "pw"))(t)
	must(c.UserGrantRole(ctx, "root", "root"))(t)
	d := must(c.Delete(ctx, "plain4"))(t)
	if compact { // at a deletion: etcd keeps its record, and leaves it out of HashKV
		must(c.Compact(ctx, d.Header.Revision, clientv3.WithCompactPhysical()))(t)
	}
	must(c.Put(ctx, "/after", "compaction"))(t)
	must(c.Put(ctx, "/k/0001", "compacted before, and written again"))(t)
	must(c.Delete(ctx, "/k/0002"))(t)
	l := live{path: filepath.Join(t.TempDir(), "rich.db")}
	l.keys = must(c.Get(ctx, "\x00", clientv3.WithFromKey()))(t)
	l.hash = must(c.HashKV(ctx, u.String(), 0))(t)
	must(c.AuthEnable(ctx))(t)
	c = must(clientv3.New(clientv3.Config{Endpoints: []string{u.String()}, Username: "root", Password: "pw", Logger: zap.NewNop()}))(t)
	defer c.Close()
	r := must(c.Snapshot(ctx))(t)
	defer r.Close()
	f := must(os.Create(l.path))(t)
	must(f.ReadFrom(r))(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l.status = must(c.Status(ctx, u.String()))(t) // no log-in comes after the last one that is in the snapshot
	return l
}

// TestInspectAgreesWithEtcd holds every figure to what etcd, etcdutl or bbolt says.
func TestInspectAgreesWithEtcd(t *testing.T) {
	for _, compact := range []bool{false, true} {
		t.Run(fmt.Sprintf("compact=%v", compact), func(t *testing.T) {
			l := makeRich(t, compact)
			before := tree(t, filepath.Dir(l.path))
			in, err := Inspect(context.Background(), l.path, InspectOptions{Prefixes: 10, Separator: "/"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if after := tree(t, filepath.Dir(l.path)); after != before {
				t.Errorf("the file was changed:\n%s\n%s", before, after)
			}
			st := must(snapshot.NewV3(zap.NewNop()).Status(l.path))(t)
			liveBytes, keyBytes := int64(0), int64(0)
			for _, kv := range l.keys.Kvs {
				liveBytes += int64(len(kv.Key) + len(kv.Value))
				if strings.HasPrefix(string(kv.Key), "/other/") {
					keyBytes += int64(len(kv.Key) + len(kv.Value))
				}
			}
			inUse, size := inUseByBolt(t, l.path, in.Size)
			for _, c := range []struct {
				what      string
				got, want any
			}{
				{"revision", in.Revision, l.keys.Header.Revision},
				{"revision, etcdutl", in.Revision, st.Revision},
				{"size, etcdutl", in.Size, st.TotalSize},
				{"size, bbolt", in.Size, size},
				{"version, etcdutl", in.Version, st.Version},
				{"keys", in.Keys, len(l.keys.Kvs)},
				{"keys, etcdutl", in.Keys, st.TotalKey},
				{"live bytes", in.LiveBytes, liveBytes},
				{"in use, bbolt", in.InUse, inUse},
				{"index", in.Index, l.status.RaftAppliedIndex},
				{"term", in.Term, l.status.RaftTerm},
				{"compacted", in.Compacted > 0, compact},
				{"auth", in.Auth, true},
				{"users", in.Users, 1},
				{"roles", in.Roles, 2},
				{"leases", in.Leases, 2},
				{"shortest", in.ShortestTTL, int64(77)},
				{"longest", in.LongestTTL, int64(3600)},
				{"members", len(in.MemberList), 1},
				{"member", in.MemberList[0].Name, "rich"},
				{"alarms", len(in.AlarmList), 0},
				{"starts", strings.Join(in.Starts, " "), "3.5 3.7"},
			} {
				if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
					t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
				}
			}
			i := slices.IndexFunc(in.BySize, func(p Prefix) bool { return p.Prefix == "/other/" })
			if i < 0 || in.BySize[i].Keys != 8 || in.BySize[i].Bytes != keyBytes {
				t.Errorf("/other/ is not 8 keys of %d bytes: %+v", keyBytes, in.BySize)
			}
			total := 0
			for _, p := range in.ByCount {
				total += p.Keys
			}
			if total != in.Keys {
				t.Errorf("the prefixes have %d of %d keys: %+v", total, in.Keys, in.ByCount)
			}
			if b, err := json.Marshal(in); err != nil || !json.Valid(b) {
				t.Error(err)
			}
			e, err := expectationOf(context.Background(), l.path, in.Size, nil)
			if err != nil || !e.hashable || e.hashKV != l.hash.Hash {
				t.Errorf("HashKV from the file %d (%v), etcd says %d", e.hashKV, err, l.hash.Hash)
			}
		})
	}
}

// inUseByBolt opens a copy with bbolt, which then finds the free pages itself.
func inUseByBolt(t *testing.T, path string, size int64) (inUse, total int64) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, must(os.ReadFile(path))(t)[:size], 0o600); err != nil {
		t.Fatal(err)
	}
	db := must(bolt.Open(copied, 0o600, &bolt.Options{NoFreelistSync: true}))(t)
	defer db.Close()
	err := db.View(func(tx *bolt.Tx) error {
		total = tx.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total - int64(db.Stats().FreePageN*db.Info().PageSize), total
}

func TestInspectRefuses(t *testing.T) {
	s := makeSource(t, 20, false)
	whole := must(os.ReadFile(s.snapshot))(t)
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for path, code := range map[string]planner.Code{
		filepath.Join(dir, "none"):                planner.CodeSnapshotMissing,
		dir:                                       planner.CodeSnapshotNotEtcd,
		file("empty", nil):                        planner.CodeSnapshotDamaged,
		file("text", []byte("no snapshot")):       planner.CodeSnapshotNotEtcd,
		file("cut", whole[:len(whole)-5000]):      planner.CodeSnapshotDamaged,
		file("flipped", flipped):                  planner.CodeSnapshotDamaged,
		file("nohash", whole[:len(whole)-32]):     planner.CodeSnapshotNoHash,
		file("garbage", make([]byte, len(whole))): planner.CodeSnapshotNotEtcd,
	} {
		for what, do := range map[string]func() error{
			"inspect": func() error { _, err := Inspect(context.Background(), path, InspectOptions{}, nil); return err },
			"drill": func() error {
				_, err := Drill(context.Background(), DrillRequest{Snapshot: path, Members: 1, Command: []string{"/nowhere/etcd"}, Scratch: filepath.Join(dir, "scratch")}, nil)
				return err
			},
		} {
			r := Refusal(do())
			if r == nil || r.Code != code {
				t.Errorf("%s %s: %+v, want %s", what, filepath.Base(path), r, code)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "scratch")); err == nil {
		t.Error("the scratch folder is still there")
	}
}

// TestPrefixesAreBounded: however many prefixes there are, what is kept is not
// more, and no key is counted twice or lost.
func TestPrefixesAreBounded(t *testing.T) {
	p := newPrefixes("/")
	p.most = 100
	add := func(n, sign int) {
		for i := range n {
			p.add(fmt.Appendf(nil, "/u/%d/x", i), sign, int64(sign)*10)
			p.add(fmt.Appendf(nil, "/w/%d", i), sign, int64(sign)*10)
		}
	}
	add(5000, 1)
	if len(p.all) > 100 || !p.cut {
		t.Errorf("%d prefixes are kept, cut %v", len(p.all), p.cut)
	}
	total := 0
	for _, g := range p.groups() {
		total += g.Keys
	}
	if total != 10000 || p.root.bytes != 100000 {
		t.Errorf("%d keys, %d bytes", total, p.root.bytes)
	}
	add(5000, -1)
	for name, n := range p.all {
		if n.keys != 0 || n.bytes != 0 {
			t.Errorf("%s has %d keys left", name, n.keys)
		}
	}
	// Nearly all below one prefix: that is divided, and the others still show.
	q := newPrefixes("/")
	for i := range 1000 {
		q.add(fmt.Appendf(nil, "/registry/%s/%d", []string{"pods", "leases", "events"}[i%3], i), 1, 10)
	}
	q.add([]byte("other/x"), 1, 10)
	var names []string
	for _, g := range q.groups() {
		names = append(names, g.Prefix)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "/registry/events/ /registry/leases/ /registry/pods/ other/" {
		t.Errorf("groups %s", got)
	}
}
