package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot/throwaway"
	"github.com/requorum/requorum/planner"
)

// cluster is three members to restore to.
type cluster struct {
	request       RestoreRequest
	client, peers []url.URL
}

func threeMembers(t testing.TB, snapshot string, want planner.SnapshotObservation, skip bool, bump int64, walDirs bool) cluster {
	t.Helper()
	c := cluster{request: RestoreRequest{Snapshot: snapshot, SHA256: want.SHA256, SkipHashCheck: skip, RevisionBump: bump}}
	var initial []string
	for i := range 3 {
		c.client, c.peers = append(c.client, freeURL(t)), append(c.peers, freeURL(t))
		initial = append(initial, fmt.Sprintf("m%d=%s", i+1, c.peers[i].String()))
	}
	ic := strings.Join(initial, ",")
	cl := must(membership.NewClusterFromURLsMap(zap.NewNop(), "fresh-token", must(types.NewURLsMap(ic))(t)))(t)
	root := t.TempDir()
	for i := range 3 {
		name := fmt.Sprintf("m%d", i+1)
		m := RestoreMember{Name: name, InitialCluster: ic, Token: "fresh-token", PeerURLs: []string{c.peers[i].String()},
			OutDataDir: filepath.Join(root, name, "staging", "data"),
			ClusterID:  strconv.FormatUint(uint64(cl.ID()), 16),
			MemberID:   strconv.FormatUint(uint64(cl.MemberByName(name).ID), 16)}
		if walDirs {
			m.OutWALDir = filepath.Join(root, name, "wal", "staging")
		}
		c.request.Members = append(c.request.Members, m)
	}
	return c
}

func (c cluster) start(t testing.TB) []*clientv3.Client {
	t.Helper()
	type started struct {
		e   *embed.Etcd
		err error
	}
	results := make(chan started)
	for i, m := range c.request.Members {
		cfg := config(m.OutDataDir, m.Name, c.client[i], c.peers[i])
		cfg.InitialCluster, cfg.InitialClusterToken, cfg.WalDir = m.InitialCluster, m.Token, m.OutWALDir
		go func() {
			e, err := embed.StartEtcd(cfg)
			results <- started{e, err}
		}()
	}
	for range c.request.Members {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		s := &server{Etcd: r.e}
		t.Cleanup(s.Close)
		defer ready(t, s)
	}
	var list []*clientv3.Client
	for _, u := range c.client {
		list = append(list, client(t, u.String()))
	}
	return list
}

func TestRestoreThreeMembers(t *testing.T) {
	plain, compacted := makeSource(t, 250, false), makeSource(t, 60, true)
	for name, c := range map[string]struct {
		origin
		copied, walDirs bool
		bump            int64
	}{
		"plain":            {origin: plain},
		"bumped":           {origin: plain, bump: 1_000_000_000},
		"copied db":        {origin: plain, copied: true, walDirs: true},
		"compacted":        {origin: compacted},
		"compacted bumped": {origin: compacted, bump: 500, copied: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.snapshot
			if c.copied {
				path = filepath.Join(c.dir, "member", "snap", "db")
			}
			obs := Verify(ctx, path, Want{SkipHashCheck: c.copied}, nil)
			if obs.Problem != "" {
				t.Fatal(obs.Detail)
			}
			cl := threeMembers(t, path, obs, c.copied, c.bump, c.walDirs)
			before := tree(t, filepath.Dir(path))
			if err := Restore(ctx, cl.request, nil); err != nil {
				t.Fatal(err)
			}
			if tree(t, filepath.Dir(path)) != before {
				t.Error("the source changed")
			}
			trialOf(t, cl, 0, obs.Revision+c.bump, obs.Keys)
			equalCluster(t, cl.start(t), c.origin, obs.Revision+c.bump)
		})
	}
}

func equalCluster(t *testing.T, clients []*clientv3.Client, s origin, revision int64) {
	t.Helper()
	var hash uint32
	for i, c := range clients {
		everyKey(t, c, s.kv)
		r := must(c.Get(ctx, "any"))(t)
		if r.Header.Revision != revision {
			t.Errorf("revision %d, want %d", r.Header.Revision, revision)
		}
		h := must(c.HashKV(ctx, c.Endpoints()[0], revision))(t)
		if i == 0 {
			hash = h.Hash
		}
		if h.Hash != hash {
			t.Errorf("member %d: HashKV %d, want %d", i, h.Hash, hash)
		}
	}
}

func trialOf(t *testing.T, c cluster, member int, revision int64, keys int) {
	t.Helper()
	m := c.request.Members[member]
	req := TrialRequest{Command: []string{must(os.Executable())(t), "etcd"}, StagedDataDir: m.OutDataDir, StagedWALDir: m.OutWALDir,
		Scratch: filepath.Join(t.TempDir(), "trial"), Revision: revision, Keys: keys}
	before := tree(t, filepath.Dir(m.OutDataDir))
	res, err := Trial(ctx, req, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Keys != keys || res.Revision < revision || !strings.HasPrefix(res.Version, "3.") {
		t.Errorf("%+v", res)
	}
	t.Logf("trial took %v", res.Took)
	if tree(t, filepath.Dir(m.OutDataDir)) != before {
		t.Error("the staged directory changed")
	}
	if _, err := os.Lstat(req.Scratch); err == nil {
		t.Error("the scratch directory stayed")
	}
}

// rootPage is the page that everything is reached from: of the two meta pages, the one
// with the later transaction names it (bbolt's internal/common/meta.go).
func rootPage(raw []byte) uint64 {
	le := binary.LittleEndian
	meta := raw[16:]
	if other := raw[4096+16:]; le.Uint64(other[48:]) > le.Uint64(meta[48:]) {
		meta = other
	}
	return le.Uint64(meta[16:])
}

func TestRestoreRefuses(t *testing.T) {
	s := makeSource(t, 20, false)
	obs := Verify(ctx, s.snapshot, Want{}, nil)
	for name, change := range map[string]func(*cluster){
		"another sha256": func(c *cluster) { c.request.SHA256 = sum(nil) },
		"no sha256":      func(c *cluster) { c.request.SHA256 = "" },
		"overflow":       func(c *cluster) { c.request.RevisionBump = math.MaxInt64 - 3 },
		"negative bump":  func(c *cluster) { c.request.RevisionBump = -1 },
		"missing":        func(c *cluster) { c.request.Snapshot += ".gone" },
		"damaged": func(c *cluster) {
			raw := must(os.ReadFile(c.request.Snapshot))(t)
			raw[len(raw)/2] ^= 4
			c.request.Snapshot = write(t, raw)
		},
		"damaged, no hash": func(c *cluster) { // a page says that it is another
			raw := must(os.ReadFile(c.request.Snapshot))(t)
			raw = raw[:len(raw)-32]
			raw[rootPage(raw)*4096] ^= 1
			c.request.Snapshot, c.request.SkipHashCheck, c.request.SHA256 = write(t, raw), true, sum(raw)
		},
		"wrong name": func(c *cluster) { c.request.Members[2].Name = "m9" },
		"in the way": func(c *cluster) { os.MkdirAll(filepath.Join(c.request.Members[2].OutDataDir, "x"), 0o700) },
		"wal in the way": func(c *cluster) {
			p := &c.request.Members[1]
			p.OutWALDir = p.OutDataDir + ".w"
			os.MkdirAll(p.OutWALDir, 0o700)
		},
		"wal.tmp there": func(c *cluster) {
			p := &c.request.Members[1]
			p.OutWALDir = p.OutDataDir + ".w"
			os.MkdirAll(p.OutWALDir+".tmp", 0o700)
		},
		"file in the way": func(c *cluster) {
			os.MkdirAll(filepath.Dir(c.request.Members[1].OutDataDir), 0o700)
			os.WriteFile(c.request.Members[1].OutDataDir, []byte("mine"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := threeMembers(t, s.snapshot, obs, false, 0, false)
			change(&c)
			root := filepath.Dir(filepath.Dir(filepath.Dir(c.request.Members[0].OutDataDir)))
			before := tree(t, root)
			if err := Restore(ctx, c.request, nil); err == nil {
				t.Error("accepted")
			} else {
				t.Log(err)
			}
			if tree(t, root) != before {
				t.Error("something was made")
			}
		})
	}
}

func TestRestoreChecksIdentityAndCancel(t *testing.T) {
	s := makeSource(t, 20, false)
	obs := Verify(ctx, s.snapshot, Want{}, nil)
	c := threeMembers(t, s.snapshot, obs, false, 0, false)
	c.request.Members[0].MemberID = "1"
	if err := Restore(ctx, c.request, nil); err == nil || !strings.Contains(err.Error(), "should be member 1") {
		t.Error(err)
	}
	c = threeMembers(t, s.snapshot, obs, false, 0, false)
	stop, cancel := context.WithCancel(ctx)
	err := Restore(stop, c.request, func(what string, _, _ int64) {
		if strings.HasPrefix(what, "m2") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTrialTellsWhatIsWrong(t *testing.T) {
	s := makeSource(t, 30, false)
	obs := Verify(ctx, s.snapshot, Want{}, nil)
	c := threeMembers(t, s.snapshot, obs, false, 0, false)
	if err := Restore(ctx, c.request, nil); err != nil {
		t.Fatal(err)
	}
	self := must(os.Executable())(t)
	req := TrialRequest{Command: []string{self, "etcd"}, StagedDataDir: c.request.Members[0].OutDataDir,
		Scratch: filepath.Join(t.TempDir(), "trial"), Revision: obs.Revision, Keys: obs.Keys + 1}
	_, err := Trial(ctx, req, nil)
	expect(t, err, fmt.Sprintf("%d keys", obs.Keys))

	req.Keys, req.Revision = obs.Keys, obs.Revision+1
	_, err = Trial(ctx, req, nil)
	expect(t, err, "revision")

	req.Revision = obs.Revision
	req.Command = []string{self, "etcd", "--no-such-flag"}
	_, err = Trial(ctx, req, nil)
	expect(t, err, "ended by itself", "no-such-flag")

	req.Command = []string{"/nonexistent/etcd"}
	_, err = Trial(ctx, req, nil)
	expect(t, err, "no such file")

	// A WAL of another member: etcd's own words come back.
	req.Command = []string{self, "etcd"}
	wal := filepath.Join(req.StagedDataDir, "member", "wal")
	names := must(os.ReadDir(wal))(t)
	f := must(os.OpenFile(filepath.Join(wal, names[0].Name()), os.O_RDWR, 0))(t)
	must(f.WriteAt([]byte{0xff}, 130))(t)
	f.Close()
	_, err = Trial(ctx, req, nil)
	expect(t, err, "crc")

	stop, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = Trial(stop, req, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Lstat(req.Scratch); err == nil {
		t.Error("the scratch directory stayed")
	}
}

func expect(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error, want", words)
		return
	}
	t.Log(err)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v does not say %q", err, w)
		}
	}
}

// Short leases, auth and alarms of the snapshot do not stand in a trial's way,
// and the trial leaves them where they are.
func TestTrialWithAuthAlarmAndShortLeases(t *testing.T) {
	s := origin{dir: filepath.Join(t.TempDir(), "src"), kv: map[string]string{}}
	u := freeURL(t)
	cfg := config(s.dir, "src", u, freeURL(t))
	e := start(t, cfg)
	ready(t, e)
	c := client(t, u.String())
	fill(t, c, &s, 30)
	lease := must(c.Grant(ctx, 2))(t)
	must(c.Put(ctx, "short", "lived", clientv3.WithLease(lease.ID)))(t)
	must(c.UserAdd(ctx, "root", "secret"))(t)
	must(c.UserGrantRole(ctx, "root", "root"))(t)
	must(c.AuthEnable(ctx))(t)
	e.Close() // the lease is in the db
	db := filepath.Join(s.dir, "member", "snap", "db")
	obs := Verify(ctx, db, Want{SkipHashCheck: true}, nil)
	if obs.Problem != "" || obs.Keys != len(s.kv)+1 {
		t.Fatalf("%+v", obs)
	}
	cl := threeMembers(t, db, obs, true, 7, false)
	if err := Restore(ctx, cl.request, nil); err != nil {
		t.Fatal(err)
	}
	trialOf(t, cl, 1, obs.Revision+7, obs.Keys)
}

// A directory that another process runs on is told with its pid, and a child
// dies of its pid alone.
func TestHeldByChild(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	c, p := freeURL(t), freeURL(t)
	args := trialArgs(dir, "", c.String(), p.String())
	args = slices.DeleteFunc(args, func(a string) bool { return a == "--force-new-cluster" })
	etcdChild := must(throwaway.Start(append([]string{must(os.Executable())(t), "etcd"}, args...), t.TempDir()))(t)
	defer etcdChild.Stop(trialStop)
	if err := waitReadable(ctx, client(t, c.String())); err != nil {
		t.Fatal(err)
	}
	f := etcd.ReadDataDir(dir, "")
	if !f.Known() || f.Value.HeldBy != etcdChild.PID() || f.Value.Problem != "" || f.Value.MemberID == "" {
		t.Errorf("%s %+v, want pid %d", f.Why, f.Value, etcdChild.PID())
	}
	etcdChild.Stop(trialStop)
	if f := etcd.ReadDataDir(dir, ""); f.Value.HeldBy != 0 || f.Value.Problem != "" || f.Value.Revision != 0 && f.Value.Revision != 1 {
		t.Errorf("%s %+v", f.Why, f.Value)
	}
}
