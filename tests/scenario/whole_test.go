package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/tests/harness"
)

// wholeKeys is how many keys the snapshot has.
const wholeKeys = 100_000

// whole is a cluster of one with everything that etcd keeps, as it was when its
// snapshot was saved.
type whole struct {
	path      string // of the snapshot
	kvs       []*mvccpb.KeyValue
	revision  int64
	compacted int64
	history   map[int64][]*mvccpb.KeyValue // a few keys at revisions after that
	ttl       map[clientv3.LeaseID]int64
	users     map[string]string // name: roles
	roles     map[string]string // name: permissions
}

const historyPrefix = "/k/0/000"

// asUser is a client with a password: name and password are the same.
func asUser(t *testing.T, name string, endpoints ...string) *clientv3.Client {
	t.Helper()
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), Username: name, Password: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// makeWhole fills a server with 100,000 keys by several writers, overwrites and
// deletes some before and after a compaction, and turns auth on at the end.
func makeWhole(t *testing.T) whole {
	t.Helper()
	e := harness.New(t)
	s := e.Server("whole")
	w := whole{path: e.Path("whole.db"), ttl: map[clientv3.LeaseID]int64{}, history: map[int64][]*mvccpb.KeyValue{}}
	cli, ctx := harness.Client(t, s.Client), harness.Context(t)
	leases := w.lease(t, cli)
	var writers sync.WaitGroup
	const each = 4
	for n := range each {
		writers.Go(func() { fillWhole(t, ctx, cli, n, wholeKeys/each, leases) })
	}
	writers.Wait()
	for round := range 3 {
		for i := range 30 {
			must(cli.Put(ctx, fmt.Sprintf("%s%03d", historyPrefix, i), fmt.Sprintf("round %d", round)))(t)
		}
		must(cli.Delete(ctx, fmt.Sprintf("%s%03d", historyPrefix, 3+round)))(t)
		if round == 0 {
			w.compacted = must(cli.Get(ctx, "x"))(t).Header.Revision
			must(cli.Compact(ctx, w.compacted, clientv3.WithCompactPhysical()))(t)
		}
	}
	enableAuth(t, ctx, cli)
	root := asUser(t, "root", s.Client)
	w.look(t, root)
	r := must(root.Snapshot(ctx))(t) // with etcd's sha256 at its end
	defer r.Close()
	f := must(os.Create(w.path))(t)
	defer f.Close()
	must(io.Copy(f, r))(t)
	e.StopServer(s)
	return w
}

// lease grants leases; the short ones would run out before a restore is done, were
// they not to begin anew.
func (w *whole) lease(t *testing.T, cli *clientv3.Client) []clientv3.LeaseID {
	t.Helper()
	var ids []clientv3.LeaseID
	for i, ttl := range []int64{40, 40, 60, 3600, 7200, 86400} {
		id := must(cli.Grant(context.Background(), ttl))(t).ID
		ids, w.ttl[id] = append(ids, id), ttl
		if i >= 2 {
			continue
		}
		alive := must(cli.KeepAlive(context.Background(), id))(t) // as its holder does
		go func() {
			for range alive {
			}
		}()
	}
	return ids
}

func fillWhole(t *testing.T, ctx context.Context, cli *clientv3.Client, writer, n int, leases []clientv3.LeaseID) {
	const batch = 128
	for from := 0; from < n; from += batch {
		var ops []clientv3.Op
		for i := from; i < min(from+batch, n); i++ {
			var opts []clientv3.OpOption
			if i%50 == 7 {
				opts = append(opts, clientv3.WithLease(leases[i/50%len(leases)]))
			}
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/k/%d/%06d", writer, i), strings.Repeat(fmt.Sprint(i), i%20), opts...))
		}
		if _, err := cli.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Error(err)
			return
		}
	}
}

func enableAuth(t *testing.T, ctx context.Context, cli *clientv3.Client) {
	t.Helper()
	for _, name := range []string{"root", "reader", "writer"} {
		must(cli.UserAdd(ctx, name, name))(t)
		must(cli.RoleAdd(ctx, name))(t)
		must(cli.UserGrantRole(ctx, name, name))(t)
	}
	must(cli.UserGrantRole(ctx, "writer", "reader"))(t)
	must(cli.RoleGrantPermission(ctx, "reader", "/k/", "/k0", clientv3.PermissionType(clientv3.PermRead)))(t)
	must(cli.RoleGrantPermission(ctx, "writer", "/w/", "/w0", clientv3.PermissionType(clientv3.PermReadWrite)))(t)
	must(cli.AuthEnable(ctx))(t)
}

// look reads everything as root.
func (w *whole) look(t *testing.T, root *clientv3.Client) {
	t.Helper()
	ctx := harness.Context(t)
	all := must(root.Get(ctx, "/k/", clientv3.WithPrefix()))(t)
	w.kvs, w.revision = all.Kvs, all.Header.Revision
	for rev := w.compacted; rev <= w.revision; rev += 7 {
		w.history[rev] = must(root.Get(ctx, historyPrefix, clientv3.WithPrefix(), clientv3.WithRev(rev)))(t).Kvs
	}
	w.users, w.roles = authOf(t, root)
}

func authOf(t *testing.T, root *clientv3.Client) (users, roles map[string]string) {
	t.Helper()
	ctx := harness.Context(t)
	users, roles = map[string]string{}, map[string]string{}
	for _, u := range must(root.UserList(ctx))(t).Users {
		names := must(root.UserGet(ctx, u))(t).Roles
		slices.Sort(names)
		users[u] = fmt.Sprint(names)
	}
	for _, r := range must(root.RoleList(ctx))(t).Roles {
		for _, p := range must(root.RoleGet(ctx, r))(t).Perm {
			roles[r] += fmt.Sprintf("%s %q-%q;", p.PermType, p.Key, p.RangeEnd)
		}
	}
	return users, roles
}

// must takes the value of a call that has to succeed.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A snapshot of 100,000 keys with leases, history and auth comes back whole on
// three members: every key with its revisions, version and lease, every user, role
// and permission, passwords, and, where the revision is not bumped, every revision
// after the compaction.
func TestRestoreWhole(t *testing.T) {
	t.Parallel()
	w := makeWhole(t)
	for _, bump := range []int64{0, 1_000_000_000} {
		t.Run(fmt.Sprintf("bump=%d", bump), func(t *testing.T) {
			e := harness.New(t)
			c := restoreOf(t, e, 3, read(t, w.path))
			if bump == 0 {
				c.SnapshotMore = "    revision_bump = 0\n"
				c.Write()
			}
			e.Apply(c.Path(), "--accept=stale-watchers").Says(t, "serve cluster")
			for _, m := range c.Members {
				w.compare(t, m.Client, bump)
			}
		})
	}
}

// compare holds what a member serves to what there was.
func (w *whole) compare(t *testing.T, endpoint string, bump int64) {
	t.Helper()
	ctx, root := harness.Context(t), asUser(t, "root", endpoint)
	now := must(root.Get(ctx, "/k/", clientv3.WithPrefix()))(t)
	if len(now.Kvs) != len(w.kvs) || len(w.kvs) < wholeKeys-10 || now.Header.Revision < w.revision+bump {
		t.Fatalf("%d keys at revision %d, want %d at %d", len(now.Kvs), now.Header.Revision, len(w.kvs), w.revision+bump)
	}
	for i, kv := range now.Kvs {
		if !proto.Equal(kv, w.kvs[i]) {
			t.Fatalf("%v, want %v", kv, w.kvs[i])
		}
	}
	for rev, want := range w.history {
		got, err := root.Get(ctx, historyPrefix, clientv3.WithPrefix(), clientv3.WithRev(rev))
		if bump > 0 {
			if rev < w.revision && !errors.Is(err, rpctypes.ErrCompacted) {
				t.Errorf("revision %d is to count as compacted: %v", rev, err)
			}
			continue
		}
		if err != nil || !slices.EqualFunc(got.Kvs, want, func(a, b *mvccpb.KeyValue) bool { return proto.Equal(a, b) }) {
			t.Errorf("revision %d is not what it was (%v)", rev, err)
		}
	}
	if _, err := root.Get(ctx, "x", clientv3.WithRev(w.compacted-1)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("revision %d was compacted: %v", w.compacted-1, err)
	}
	for id, ttl := range w.ttl {
		l := must(root.TimeToLive(ctx, id, clientv3.WithAttachedKeys()))(t)
		if l.GrantedTTL != ttl || len(l.Keys) == 0 {
			t.Errorf("lease %x: granted %d s with %d keys, want %d s", id, l.GrantedTTL, len(l.Keys), ttl)
		}
	}
	w.compareAuth(t, endpoint, root)
}

func (w *whole) compareAuth(t *testing.T, endpoint string, root *clientv3.Client) {
	t.Helper()
	ctx := harness.Context(t)
	users, roles := authOf(t, root)
	if !maps.Equal(users, w.users) || !maps.Equal(roles, w.roles) || len(users) != 3 || len(roles) != 3 {
		t.Errorf("users %v, roles %v, want %v, %v", users, roles, w.users, w.roles)
	}
	if _, err := harness.Client(t, endpoint).Get(ctx, "/k/"); err == nil {
		t.Error("auth is off")
	}
	if _, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), Username: "root", Password: "x"}); err == nil {
		t.Error("any password is right")
	}
	writer := asUser(t, "writer", endpoint)
	if _, err := writer.Put(ctx, "/w/"+fmt.Sprint(time.Now().UnixNano()), "x"); err != nil {
		t.Error(err)
	}
	if _, err := writer.Put(ctx, "/k/x", "x"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("a put without permission: %v", err)
	}
	if _, err := asUser(t, "reader", endpoint).Get(ctx, "/k/", clientv3.WithPrefix(), clientv3.WithLimit(5)); err != nil {
		t.Error(err)
	}
}
