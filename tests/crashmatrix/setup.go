package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// The parts that setups are made of.

const largeMB = 64

func (x *trial) bootstrap(n int) {
	if x.c == nil {
		x.c = x.e.Cluster(n)
	}
	x.e.Apply(x.c.Write().Path())
	x.whole()
}

// living is a bootstrapped cluster of n under writers that the i-th leads.
func (x *trial) living(n, i int) {
	x.bootstrap(n)
	x.fill()
	x.lead(i)
	x.write()
}

func (x *trial) fill() {
	if x.base == nil {
		x.base = harness.Keys{}
	}
	maps.Copy(x.base, harness.Fill(x.t, x.c.Endpoints()[:1], keys))
}

// bulk adds mb megabytes.
func (x *trial) bulk(mb int) {
	if x.base == nil {
		x.base = harness.Keys{}
	}
	x.must(bulk(harness.Context(x.t), x.c.Members[0].Client, mb, x.base))
}

func bulk(ctx context.Context, endpoint string, mb int, into harness.Keys) error {
	cli, err := harness.Dial(endpoint)
	if err != nil {
		return err
	}
	defer cli.Close()
	value := strings.Repeat("0123456789abcdef", 64<<10/16)
	for i := range mb {
		var ops []clientv3.Op
		for j := range 16 {
			k := fmt.Sprintf("/bulk/%d/%d", i, j)
			into[k] = value
			ops = append(ops, clientv3.OpPut(k, value))
		}
		if _, err := cli.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// write starts writers on all members that were ever there.
func (x *trial) write() {
	w := harness.StartWriters(x.t, 2, x.c.Endpoints())
	w.Pause(4 * time.Millisecond)
	w.Await(x.t, 50)
	x.ws = append(x.ws, w)
}

// more are n further members of the file.
func (x *trial) more(n int) {
	ports := x.e.Ports(2 * n)
	for i := range n {
		name := fmt.Sprintf("m%d", len(x.c.Members)+1)
		m := harness.Member{Name: name, Client: ports.URL(2 * i), Peer: ports.URL(2*i + 1), DataDir: filepath.Join(x.c.Dir, "data", name)}
		x.e.Expect(m.DataDir)
		x.c.Members = append(x.c.Members, m)
	}
}

// lead makes the i-th member the leader.
func (x *trial) lead(i int) {
	x.t.Helper()
	ctx := harness.Context(x.t)
	for range 20 {
		now, err := harness.Leader(ctx, x.c.Endpoints())
		if err == nil && now == i {
			return
		}
		if err == nil {
			to := harness.Status(x.t, x.c.Members[i].Client).Header.MemberId
			_, err = harness.Client(x.t, x.c.Members[now].Client).MoveLeader(ctx, to)
		}
		if err != nil {
			x.t.Logf("move leader: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	x.t.Fatalf("%s does not become the leader", x.c.Members[i].Name)
}

// crash is a cluster that somebody started by hand, led by the first member, killed
// at once under writers.
func (x *trial) crash(mb int) {
	x.serve(mb)
	x.hands.Kill9()
	x.ws[0].Stop()
}

// serve is the cluster of crash before that.
func (x *trial) serve(mb int) {
	if x.c == nil {
		x.c = x.e.Cluster(3)
	}
	x.c.Write()
	x.hands = x.e.ByHand(x.c.Members)
	x.lead(0)
	if mb > 0 {
		x.bulk(mb)
	}
	x.fill()
	x.lead(0)
	x.write()
	x.ws[0].Await(x.t, 100)
}

// only keeps the disk of the i-th member.
func (x *trial) only(i int) {
	for j, m := range x.c.Members {
		if j != i {
			x.c.DropData(m)
		}
	}
}

// restore is a file that restores a snapshot.
func (x *trial) restore(s source) {
	x.c = x.e.Cluster(3)
	x.c.Snapshot = s.path
	x.base = maps.Clone(s.keys)
}

// source is a snapshot and what it holds.
type source struct {
	path string
	keys harness.Keys
}

var sources struct {
	sync.Mutex
	dir  string // outlives the attempts
	made map[bool]source
}

// source makes a snapshot once, and gives it.
func (x *trial) source(large bool) source {
	sources.Lock()
	defer sources.Unlock()
	if s, ok := sources.made[large]; ok {
		return s
	}
	server := x.e.Server("source")
	s := source{path: filepath.Join(sources.dir, fmt.Sprintf("source-%t.db", large)), keys: harness.Keys{}}
	if large {
		x.must(bulk(harness.Context(x.t), server.Client, largeMB, s.keys))
	}
	maps.Copy(s.keys, harness.Fill(x.t, []string{server.Client}, keys))
	harness.Snapshot(x.t, server.Client, s.path)
	x.e.StopServer(server)
	if sources.made == nil {
		sources.made = map[bool]source{}
	}
	sources.made[large] = s
	return s
}

// atLocalhost are flags of a member that the cluster knows by another peer URL than
// the file does.
func atLocalhost(m harness.Member) []string {
	local := strings.Replace(m.Peer, "127.0.0.1", "localhost", 1)
	return []string{"--initial-advertise-peer-urls=" + local, "--initial-cluster=" + m.Name + "=" + local}
}

// lose stops the i-th member and takes its disk away.
func (x *trial) lose(i int) {
	m := x.c.Members[i]
	x.e.Run("stop", "--auto-approve", "--member", m.Name, x.c.Path()).Want(x.t, 0)
	x.c.DropData(m)
}

// awaitState waits until the plan's route is the one that will stay.
func (x *trial) awaitState(route string) {
	x.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		p := x.e.Plan(x.c.Path())
		if p.Route == route && p.Refusal == nil {
			return
		}
		if time.Now().After(end) {
			x.t.Fatalf("route %s, not %s; refusal %+v: %s", p.Route, route, p.Refusal, p.Headline)
		}
	}
}

// version is the etcd that the file wants, of which each minor lies in a folder of the
// trial's own.
func (x *trial) version(want string) {
	if x.c == nil {
		x.c = x.e.Cluster(3)
	}
	dir := x.e.Path("opt")
	for _, v := range harness.Minors {
		to := filepath.Join(dir, v, "etcd")
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		r, err := harness.FindWhole(x.t.Context(), v)
		x.must(err)
		x.must(os.MkdirAll(filepath.Dir(to), 0o755))
		x.must(os.Symlink(r.Etcd, to))
	}
	x.c.More = fmt.Sprintf("  etcd {\n    version = %q\n    binary  = %q\n  }\n", want, filepath.Join(dir, "{minor}", "etcd"))
}

// goBack has the cluster told to go back to a version.
func (x *trial) goBack(to string) {
	ctx := harness.Context(x.t)
	cli := harness.Client(x.t, x.c.Members[0].Client)
	req := &etcdserverpb.DowngradeRequest{Action: etcdserverpb.DowngradeRequest_ENABLE, Version: to}
	_, err := etcdserverpb.NewMaintenanceClient(cli.ActiveConnection()).Downgrade(ctx, req)
	x.must(err)
}
