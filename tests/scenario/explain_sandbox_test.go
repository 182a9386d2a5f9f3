package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner/explain"
	"github.com/requorum/requorum/tests/harness"
)

// settled is how long members have to be connected before etcd lets the list be
// changed (etcdserver.HealthInterval), and a little more.
const settled = 5500 * time.Millisecond

// newSandbox makes a situation in which commands of explain.Situations make sense.
func newSandbox(t *testing.T, bin, situation string, commands []explain.Command) *sandbox {
	t.Helper()
	begin, ok := map[string]func(*sandbox, *testing.T){
		"cluster": (*sandbox).cluster, "noquorum": (*sandbox).noquorum, "learner": (*sandbox).learner,
		"unstarted": (*sandbox).unstarted, "stopped": (*sandbox).stopped, "fenced": (*sandbox).fenced,
		"snapshot": (*sandbox).snapshot, "vacant": (*sandbox).snapshot, "space": (*sandbox).space, "downgrading": (*sandbox).downgrading,
		"auth": (*sandbox).auth, "tls": (*sandbox).tls, "file": (*sandbox).file,
	}[situation]
	if !ok {
		t.Fatalf("no sandbox for %q", situation)
	}
	s := &sandbox{e: harness.New(t), env: map[string]string{}, bin: bin}
	for _, c := range commands {
		s.changesMembers = s.changesMembers || strings.Contains(c.Line, " member add ") || strings.Contains(c.Line, " member remove ")
	}
	for _, name := range []string{"SNAPSHOT", "COPY", "ASIDE", "RESTORED"} {
		s.env[name] = s.e.Path(strings.ToLower(name))
	}
	for _, name := range []string{"COPY", "RESTORED"} { // where an etcd may be started
		s.e.Expect(s.env[name])
	}
	p := s.e.Ports(2)
	s.env["LOOPBACK"], s.env["LOOPBACK_PEER"] = p.URL(0), p.URL(1)
	s.env["TOKEN"] = "never-used-before"
	begin(s, t)
	return s
}

// No situation is forgotten here.
func TestEverySituationHasASandbox(t *testing.T) {
	t.Parallel()
	if n := len(explain.Situations()); n != 13 {
		t.Errorf("%d situations; newSandbox knows 13", n)
	}
}

// is says which member the commands are about.
func (s *sandbox) is(h *harness.Hand) {
	s.env["NAME"], s.env["DATA_DIR"], s.env["LOG"] = h.Name, h.DataDir, h.Log()
	s.env["PEER_URL"], s.env["CLIENT_URL"] = h.Peer, h.Client
	s.env["PID"] = fmt.Sprint(h.PID())
}

func (s *sandbox) cluster(t *testing.T) { s.three(t) }

// three is a cluster of three that serves; the commands are about a follower.
func (s *sandbox) three(t *testing.T) harness.Hands {
	t.Helper()
	hs := s.e.ByHand(s.e.Cluster(3).Members)
	leads := hs.Leader()
	follower := hs[(leads+1)%3]
	s.is(follower)
	s.env["ENDPOINTS"] = strings.Join(hs.Endpoints(), ",")
	s.env["LEADER"], s.env["ENDPOINT"] = hs[leads].Client, hs[leads].Client
	s.env["MEMBER_ID"] = fmt.Sprintf("%x", harness.Status(t, follower.Client).Header.MemberId)
	s.env["INITIAL_CLUSTER"], s.env["OLD_TOKEN"] = harness.InitialCluster(hs.Members()), "by-hand"
	s.env["REVISION"] = s.fill(t, hs[leads].Client)
	if s.changesMembers {
		time.Sleep(settled)
	}
	return hs
}

// fill puts some keys and gives the revision, which every member then has.
func (s *sandbox) fill(t *testing.T, endpoint string) string {
	t.Helper()
	cli, rev := harness.Client(t, endpoint), int64(0)
	for i := range 20 {
		r, err := cli.Put(harness.Context(t), fmt.Sprintf("key-%02d", i), "value")
		if err != nil {
			t.Fatal(err)
		}
		rev = r.Header.Revision
	}
	return fmt.Sprint(rev)
}

// noquorum leaves one of three.
func (s *sandbox) noquorum(t *testing.T) {
	hs := s.three(t)
	hs[1:].Kill9()
	s.is(hs[0])
	s.env["ENDPOINT"] = hs[0].Client
	cli := harness.Client(t, hs[0].Client)
	await(t, "no leader", func(ctx context.Context) bool {
		st, err := cli.Status(ctx, hs[0].Client)
		return err == nil && st.Leader == 0
	})
}

func (s *sandbox) one(t *testing.T, flags ...string) *harness.Hand {
	t.Helper()
	h := s.e.ByHand(s.e.Cluster(1).Members, flags...)[0]
	s.is(h)
	s.env["ENDPOINT"], s.env["ENDPOINTS"], s.env["INITIAL_CLUSTER"] = h.Client, h.Client, harness.InitialCluster([]harness.Member{h.Member})
	return h
}

// unstarted lists a learner that never started.
func (s *sandbox) unstarted(t *testing.T) { s.listLearner(t) }

func (s *sandbox) listLearner(t *testing.T) *harness.Hand {
	t.Helper()
	ms := s.e.Cluster(2).Members
	h := s.e.ByHand(ms[:1])[0]
	s.fill(t, h.Client)
	r, err := harness.Client(t, h.Client).MemberAddAsLearner(harness.Context(t), []string{ms[1].Peer})
	if err != nil {
		t.Fatal(err)
	}
	second := s.e.Hand(ms[1], ms, "--initial-cluster-state=existing")
	s.is(second)
	s.env["ENDPOINT"], s.env["ENDPOINTS"] = h.Client, h.Client+","+second.Client
	s.env["MEMBER_ID"], s.env["INITIAL_CLUSTER"] = fmt.Sprintf("%x", r.Member.ID), harness.InitialCluster(ms)
	return second
}

// learner runs it.
func (s *sandbox) learner(t *testing.T) {
	h := s.listLearner(t)
	h.Start()
	s.is(h)
	if s.changesMembers {
		time.Sleep(settled)
	}
	cli := harness.Client(t, h.Client)
	await(t, "the learner", func(ctx context.Context) bool {
		st, err := cli.Status(ctx, h.Client)
		return err == nil && st.IsLearner && st.Leader != 0
	})
}

func (s *sandbox) stopped(t *testing.T) {
	h := s.one(t)
	s.fill(t, h.Client)
	h.Term()
}

func (s *sandbox) fenced(t *testing.T) {
	s.stopped(t)
	if err := os.Rename(s.env["DATA_DIR"], s.env["ASIDE"]); err != nil {
		t.Fatal(err)
	}
	write(t, s.env["DATA_DIR"], []byte("fenced; the data is in "+s.env["ASIDE"]+"\n"))
}

// snapshot has the files, and a vacant place for a member.
func (s *sandbox) snapshot(t *testing.T) {
	old := oldCluster(t)
	m := s.e.Cluster(1).Members[0]
	s.is(s.e.Hand(m, nil))
	if err := os.MkdirAll(filepath.Dir(m.DataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env["INITIAL_CLUSTER"], s.env["DB"] = harness.InitialCluster([]harness.Member{m}), s.e.Path("db")
	write(t, s.env["SNAPSHOT"], old.snapshot)
	write(t, s.env["DB"], old.db)
}

// space fills a small quota.
func (s *sandbox) space(t *testing.T) {
	h := s.one(t, "--quota-backend-bytes=1000000")
	cli, value := harness.Client(t, h.Client), strings.Repeat("x", 50_000)
	for range 200 {
		r, err := cli.Put(harness.Context(t), "big", value)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		s.env["REVISION"] = fmt.Sprint(r.Header.Revision)
	}
	t.Fatal("the quota is not reached")
}

func (s *sandbox) downgrading(t *testing.T) {
	h := s.one(t)
	cli := harness.Client(t, h.Client)
	await(t, "the downgrade", func(ctx context.Context) bool {
		_, err := cli.Downgrade(ctx, clientv3.DowngradeEnable, "3.6")
		return err == nil
	})
}

func (s *sandbox) auth(t *testing.T) {
	h := s.one(t)
	s.env["PASSWORD"] = "sesame"
	cli, ctx := harness.Client(t, h.Client), harness.Context(t)
	_, err := cli.UserAdd(ctx, "root", s.env["PASSWORD"])
	if err == nil {
		_, err = cli.UserGrantRole(ctx, "root", "root")
	}
	if err == nil {
		_, err = cli.AuthEnable(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tls serves with a certificate that it made itself.
func (s *sandbox) tls(t *testing.T) {
	m := s.e.Cluster(1).Members[0]
	m.Client = strings.Replace(m.Client, "http://", "https://", 1)
	h := s.e.Hand(m, nil, "--auto-tls")
	h.Start()
	s.is(h)
	s.env["ENDPOINT"], s.env["CA"] = m.Client, filepath.Join(m.DataDir, "fixtures", "client", "cert.pem")
	await(t, "the certificate", func(ctx context.Context) bool {
		b, err := os.ReadFile(h.Log())
		return err == nil && strings.Contains(string(b), "ready to serve client requests")
	})
}

// file is a cluster of requorum's.
func (s *sandbox) file(t *testing.T) {
	c := s.e.Cluster(1).Write()
	s.e.Apply(c.Path())
	s.env["FILE"], s.env["NAME"] = c.Path(), c.Members[0].Name
}

// await asks again and again for 30 s.
func await(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		one, done := context.WithTimeout(ctx, 2*time.Second)
		ok := holds(one)
		done()
		if ok {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: not within 30 s", what)
}
