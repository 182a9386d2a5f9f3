package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

func clusterOf(all ...*live) Cluster {
	c := Cluster{ID: hexID(uint64(all[0].Server.Cluster().ID()))}
	for _, l := range all {
		c.Endpoints = append(c.Endpoints, l.client)
	}
	return c
}

func (l *live) id() string { return hexID(uint64(l.Server.MemberID())) }

// ripen calls f until its error no longer passes with time, and tells how often
// it was "not yet".
func ripen(t testing.TB, f func() error) (notYet int) {
	t.Helper()
	until := time.Now().Add(12 * time.Second)
	for {
		err := f()
		if err == nil {
			return notYet
		}
		if !IsNotYet(err) || errors.Is(err, ErrUnknownOutcome) || time.Now().After(until) {
			t.Fatal(err)
		}
		notYet++
		time.Sleep(100 * time.Millisecond)
	}
}

// refused wants a final error that says text.
func refused(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || IsNotYet(err) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), text) {
		t.Errorf("not refused with %q: %v", text, err)
	}
}

func passing(t testing.TB, err error, text string) {
	t.Helper()
	if !IsNotYet(err) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), text) {
		t.Errorf("not \"not yet\" with %q: %v", text, err)
	}
}

func must1(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// join starts l as a member that is listed already.
func (l *live) join(t testing.TB, with ...*live) {
	t.Helper()
	for _, w := range with {
		l.cfg.InitialCluster += "," + w.name + "=" + w.peer
	}
	l.cfg.ClusterState = "existing"
	l.begin(t)
	l.wait(t)
}

func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m1 := startOne(t, "m1", nil)
	m2, m3 := liveConfig(t, "m2", "token-m1", nil), liveConfig(t, "m3", "token-m1", nil)
	c := clusterOf(m1)

	// A learner, listed once.
	added, err := c.AddLearner(ctx, []string{m2.peer})
	must1(t, err)
	if again, err := c.AddLearner(ctx, []string{m2.peer}); err != nil || again.ID != added.ID || !added.Learner || added.Name != "" {
		t.Errorf("added %+v, again %+v, %v", added, again, err)
	}
	_, err = c.AddLearner(ctx, []string{m3.peer})
	refused(t, err, "too many learner members in cluster: the place is taken by an unstarted member ("+added.ID)
	_, err = c.AddLearner(ctx, []string{m3.peer, m1.peer})
	refused(t, err, "one of the URLs belongs to m1 ("+m1.id())
	passing(t, c.Promote(ctx, added.ID), "the learner has not started")
	refused(t, c.UpdatePeerURLs(ctx, added.ID, []string{m3.peer}), "it is a learner")
	refused(t, c.MoveLeader(ctx, m1.id(), added.ID), "is a learner and can't lead")
	refused(t, c.Remove(ctx, m1.id()), "the only voter")

	m2.join(t, m1)
	m2.Close() // and misses most of the log
	kc := m1.cli(t, nil)
	for range 100 {
		put(t, kc, "k", "v")
	}
	passing(t, c.Promote(ctx, added.ID), "still catching up")
	m2.begin(t)
	m2.wait(t)
	// A learner gives no list, and is passed over.
	withLearner := Cluster{Endpoints: []string{m2.client, m1.client}, ID: c.ID}
	if _, list, err := withLearner.ListMembers(ctx); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
	ripen(t, func() error {
		if lag, err := c.LagOf(ctx, m2.client); err != nil || lag.Behind() > 0 || !lag.Learner {
			return &sortedError{errNotYet, fmt.Sprint(lag, err), nil}
		}
		return withLearner.Promote(ctx, added.ID)
	})
	must1(t, c.Promote(ctx, added.ID))
	if err := c.RemoveLearner(ctx, added.ID); !errors.Is(err, ErrIsVoter) {
		t.Errorf("a voter was to be removed as a learner: %v", err)
	}
	if lag, err := c.LagOf(ctx, m2.client); err != nil || lag.Learner {
		t.Errorf("%+v %v", lag, err)
	}

	// The third has to wait until the second was connected for 5 s.
	var third planner.ListedMember
	if n := ripen(t, func() (err error) { third, err = clusterOf(m2, m1).AddLearner(ctx, []string{m3.peer}); return err }); n == 0 {
		t.Error("the add right after a promotion was not refused")
	}
	m3.join(t, m1, m2)
	ripen(t, func() error { return clusterOf(m2).Promote(ctx, third.ID) }) // m2 does not lead

	all := clusterOf(m3, m2, m1)
	id, list, err := all.ListMembers(ctx)
	if err != nil || id != c.ID || len(list) != 3 {
		t.Fatalf("%s %+v %v", id, list, err)
	}
	voters := func(list []planner.ListedMember) bool {
		n := 0
		for _, m := range list {
			if !m.Learner {
				n++
			}
		}
		return n == 3
	}
	ripen(t, func() error {
		if yes, no := all.Listed(ctx, endpointsOf([]*live{m1, m2, m3}), voters); len(yes) != 3 || len(no) != 0 {
			return &sortedError{errNotYet, fmt.Sprint(yes, no), nil}
		}
		return nil
	})
	checkMoveLeader(t, m1, m2, m3)
	checkUpdate(t, all, m1, m3)
	checkRemove(t, m1, m2, m3)
}

func checkMoveLeader(t *testing.T, m1, m2, m3 *live) {
	ctx := context.Background()
	c := clusterOf(m3) // m1 is found by its listed client URL
	must1(t, c.MoveLeader(ctx, m1.id(), m2.id()))
	if lead := hexID(m2.Server.Lead()); lead != m2.id() {
		t.Errorf("%s leads", lead)
	}
	must1(t, c.MoveLeader(ctx, m1.id(), m3.id())) // leads no more
	refused(t, c.MoveLeader(ctx, m2.id(), "abc"), "the cluster has no member abc")
	refused(t, c.MoveLeader(ctx, m2.id(), "nonsense"), "no member ID")
	if lead := hexID(m2.Server.Lead()); lead != m2.id() {
		t.Errorf("%s leads", lead)
	}
	must1(t, c.MoveLeader(ctx, m2.id(), m1.id()))
}

func checkUpdate(t *testing.T, c Cluster, m1, m3 *live) {
	ctx := context.Background()
	more := []string{m3.peer, "http://" + freeAddr(t)}
	for range 2 {
		must1(t, c.UpdatePeerURLs(ctx, m3.id(), more))
	}
	must1(t, c.UpdatePeerURLs(ctx, m3.id(), []string{more[1], more[0]}))
	l, err := c.list(ctx)
	if err != nil || !sameSet(l.find(m3.id()).PeerURLs, more) {
		t.Errorf("%+v %v", l, err)
	}
	refused(t, c.UpdatePeerURLs(ctx, m3.id(), []string{m1.peer}), "belongs to m1")
	refused(t, c.UpdatePeerURLs(ctx, m3.id(), []string{"localhost:1"}), "URL")
	refused(t, c.UpdatePeerURLs(ctx, m3.id(), nil), "")
	refused(t, c.UpdatePeerURLs(ctx, "abc", more), "no such member")
	refused(t, c.Promote(ctx, "abc"), "no such member")
}

func checkRemove(t *testing.T, m1, m2, m3 *live) {
	ctx := context.Background()
	wrong := clusterOf(m1, m2)
	wrong.ID = "abc"
	refused(t, wrong.Remove(ctx, m3.id()), "not one of cluster abc")
	gone := m3.id()
	m3.Close() // one that runs may go only 5 s after it came
	c := clusterOf(m1, m2)
	ripen(t, func() error { return c.Remove(ctx, gone) })
	must1(t, c.Remove(ctx, gone))
	yes, no := c.Listed(ctx, endpointsOf([]*live{m1}), func(list []planner.ListedMember) bool {
		return (&listing{members: list}).find(gone) == nil
	})
	if len(yes) != 1 || len(no) != 0 {
		t.Errorf("%v %v", yes, no)
	}
	// The same place gets another ID.
	if m, err := c.AddLearner(ctx, []string{m3.peer}); err == nil && m.ID == gone {
		t.Errorf("%+v", m)
	} else if err != nil && !IsNotYet(err) {
		t.Error(err)
	}
}

func TestChangeWithoutAll(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	all := startThree(t)
	c := clusterOf(all...)
	gone := all[2].id()
	all[2].Close()
	_, err := c.AddLearner(ctx, []string{"http://" + freeAddr(t)})
	passing(t, err, "unhealthy cluster")
	ripen(t, func() error { return c.Remove(ctx, gone) })

	all[1].Close()
	// Two are left on the list, one runs.
	var wg sync.WaitGroup
	for _, f := range []func() error{
		func() error { _, _, err := c.ListMembers(ctx); return err },
		func() error { return c.Remove(ctx, all[1].id()) },
	} {
		wg.Go(func() { within(t, defaultLimit, func() { passing(t, f(), "refused") }) })
	}
	wg.Wait()
	yes, no := c.Listed(ctx, endpointsOf(all), func(list []planner.ListedMember) bool { return len(list) == 2 })
	if fmt.Sprint(yes) != "[m1]" || len(no) != 2 || !strings.HasPrefix(no["m2"], "refused") {
		t.Errorf("%v %v", yes, no)
	}
	dir := t.TempDir()
	if s, err := SaveSnapshot(ctx, all[0].client, Access{}, dir+"/x.db", nil); err != nil || s.MemberID != all[0].id() {
		t.Errorf("%+v %v", s, err)
	}
	onlyFiles(t, dir, "x.db")
}

// frame is a message as it comes, and frames its codec.
type frame struct{ b []byte }

type frames struct{}

func (frames) Marshal(v any) ([]byte, error) { return v.(*frame).b, nil }
func (frames) Unmarshal(data []byte, v any) error {
	v.(*frame).b = append([]byte(nil), data...)
	return nil
}
func (frames) Name() string { return "proto" }

// meddler sees each call; forward makes it at the real etcd, and hands the answer
// on if reply is not nil, each message as reply returns it.
type meddler func(ctx context.Context, method string, forward func(reply func([]byte) ([]byte, error)) error) error

func asIs(b []byte) ([]byte, error) { return b, nil }

func swallow([]byte) ([]byte, error) { return nil, nil }

// between stands between clients and an etcd.
type between struct {
	url  string
	mu   sync.Mutex
	do   meddler
	sent map[string]int // calls, by method
}

func (b *between) set(do meddler) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do, b.sent = do, map[string]int{}
}

func (b *between) count(method string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent[method]
}

func newBetween(t testing.TB, to string) *between {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must1(t, err)
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(to, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	must1(t, err)
	b := &between{url: "http://" + l.Addr().String(), sent: map[string]int{}}
	s := grpc.NewServer(grpc.ForceServerCodec(frames{}), grpc.UnknownServiceHandler(func(_ any, in grpc.ServerStream) error {
		full, _ := grpc.MethodFromServerStream(in)
		method := full[strings.LastIndex(full, "/")+1:]
		b.mu.Lock()
		do := b.do
		b.sent[method]++
		b.mu.Unlock()
		forward := func(reply func([]byte) ([]byte, error)) error { return relay(in, conn, full, reply) }
		if do == nil {
			return forward(asIs)
		}
		return do(in.Context(), method, forward)
	}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); _ = conn.Close() })
	return b
}

// relay makes the call at the real server.
func relay(in grpc.ServerStream, conn *grpc.ClientConn, method string, reply func([]byte) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if md, ok := metadata.FromIncomingContext(in.Context()); ok && len(md.Get("token")) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "token", md.Get("token")[0])
	}
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodec(frames{}))
	if err != nil {
		return err
	}
	var f frame
	if err := in.RecvMsg(&f); err != nil {
		return err
	}
	if err := errors.Join(out.SendMsg(&f), out.CloseSend()); err != nil {
		return err
	}
	for {
		if err := out.RecvMsg(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		b, err := reply(f.b)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if b != nil {
			if err := in.SendMsg(&frame{b}); err != nil {
				return err
			}
		}
	}
}

// isChange reports whether a method changes membership.
func isChange(method string) bool {
	return strings.HasPrefix(method, "Member") && method != "MemberList" || method == "MoveLeader"
}

// afterwards delivers changes, and then answers with err, or, without one, never.
func afterwards(err error) meddler {
	return func(ctx context.Context, method string, forward func(func([]byte) ([]byte, error)) error) error {
		if !isChange(method) {
			return forward(asIs)
		}
		if e := forward(swallow); e != nil {
			return e
		}
		if err == nil {
			<-ctx.Done()
		}
		return err
	}
}

// instead answers changes with err, and delivers none; then, where gone, nothing
// else either.
func instead(err error, gone bool) meddler {
	over := false
	var mu sync.Mutex
	return func(_ context.Context, method string, forward func(func([]byte) ([]byte, error)) error) error {
		mu.Lock()
		defer mu.Unlock()
		if isChange(method) {
			over = gone
			return err
		}
		if over {
			return status.Error(codes.Unavailable, "made up: gone")
		}
		return forward(asIs)
	}
}

// The change is made, and the reply to it gets lost: it is sent once, and the
// list shows that it was made.
func TestChangeReplyLost(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m1 := startOne(t, "m1", nil)
	b := newBetween(t, m1.client)
	c := clusterOf(m1)
	c.Endpoints = []string{b.url}
	peer := "http://" + freeAddr(t)
	var added planner.ListedMember
	for _, tt := range []struct {
		method string
		err    error
		call   func(context.Context) error
	}{
		// The client itself would send this one again.
		{"MemberAdd", status.Error(codes.Canceled, "made up"), func(ctx context.Context) (err error) {
			added, err = c.AddLearner(ctx, []string{peer})
			return err
		}},
		{"MemberRemove", nil, func(ctx context.Context) error { return c.Remove(ctx, added.ID) }},
		{"MemberUpdate", status.Error(codes.Unavailable, "etcdserver: request timed out"), func(ctx context.Context) error {
			return c.UpdatePeerURLs(ctx, m1.id(), []string{m1.peer, peer})
		}},
	} {
		b.set(afterwards(tt.err))
		short, cancel := context.WithTimeout(ctx, time.Second) // the caller gives up
		must1(t, tt.call(short))
		cancel()
		if n := b.count(tt.method); n != 1 {
			t.Errorf("%s was sent %d times", tt.method, n)
		}
	}
	if added.ID == "" || !added.Learner || !sameSet(added.PeerURLs, []string{peer}) {
		t.Errorf("%+v", added)
	}
}

// The leader hands over, and that is all that is known of it.
func TestMoveLeaderReplyLost(t *testing.T) {
	t.Parallel()
	all := startThree(t)
	c := clusterOf(all...)
	l, err := c.list(context.Background())
	must1(t, err)
	i := slices.IndexFunc(all, func(m *live) bool { return m.id() == l.leader })
	b := newBetween(t, all[i].client)
	b.set(afterwards(status.Error(codes.Unavailable, "made up")))
	c.Endpoints = []string{b.url}
	must1(t, c.MoveLeader(context.Background(), l.leader, all[(i+1)%3].id()))
	if n := b.count("MoveLeader"); n != 1 {
		t.Errorf("sent %d times", n)
	}
	if l, err := c.list(context.Background()); err != nil || l.leader != all[(i+1)%3].id() {
		t.Errorf("%+v %v", l, err)
	}
}

// The change itself gets lost.
func TestChangeLost(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m1 := startOne(t, "m1", nil)
	b := newBetween(t, m1.client)
	c := clusterOf(m1)
	c.Endpoints = []string{b.url}
	peers := []string{"http://" + freeAddr(t)}
	add := func() error { _, err := c.AddLearner(ctx, peers); return err }

	b.set(instead(status.Error(codes.Unavailable, "made up"), false))
	passing(t, add(), "made up; it is not done by now")
	b.set(instead(status.Error(codes.DeadlineExceeded, "made up"), true))
	if err := add(); !errors.Is(err, ErrUnknownOutcome) || IsNotYet(err) || !strings.Contains(err.Error(), "outcome unknown") {
		t.Error(err)
	}
	if n := b.count("MemberAdd"); n != 1 {
		t.Errorf("sent %d times", n)
	}
	b.set(instead(status.Error(codes.FailedPrecondition, "etcdserver: not leader"), false))
	passing(t, add(), "the lead has moved")
	b.set(instead(status.Error(codes.NotFound, "etcdserver: member not found"), false))
	passing(t, add(), "member not found")
	b.set(nil)
	must1(t, add())
	learner, err := c.AddLearner(ctx, peers)
	must1(t, err)
	b.set(instead(status.Error(codes.PermissionDenied, "etcdserver: permission denied"), false))
	refused(t, c.Remove(ctx, learner.ID), "a user with the role root")
	b.set(nil)
	c.Endpoints = []string{"http://" + freeAddr(t), b.url}
	must1(t, c.Remove(ctx, learner.ID))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.Remove(cancelled, m1.id()); !errors.Is(err, context.Canceled) || IsNotYet(err) {
		t.Error(err)
	}
	refused(t, Cluster{}.Remove(ctx, m1.id()), "no endpoint to ask")
}

func TestChangeAuth(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m1 := startOne(t, "m1", nil)
	kc := m1.cli(t, nil)
	for _, f := range []func() (any, error){
		func() (any, error) { return kc.UserAdd(bounded(t), "root", "right") },
		func() (any, error) { return kc.UserGrantRole(bounded(t), "root", "root") },
		func() (any, error) { return kc.UserAdd(bounded(t), "guest", "guest") },
		func() (any, error) { return kc.AuthEnable(bounded(t)) },
	} {
		_, err := f()
		must1(t, err)
	}
	c := clusterOf(m1)
	peers := []string{"http://" + freeAddr(t)}
	_, err := c.AddLearner(ctx, peers)
	refused(t, err, "not sent")
	dir := t.TempDir()
	if _, err := SaveSnapshot(ctx, m1.client, c.Access, dir+"/x.db", nil); err == nil || !strings.Contains(err.Error(), "user name is empty") {
		t.Error(err)
	}
	c.Access = Access{Username: "guest", Password: spec.NewSecret("guest")}
	_, err = c.AddLearner(ctx, peers)
	refused(t, err, "a user with the role root")
	if _, err := SaveSnapshot(ctx, m1.client, c.Access, dir+"/x.db", nil); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Error(err)
	}
	onlyFiles(t, dir)
	c.Access = Access{Username: "root", Password: spec.NewSecret("right")}
	m, err := c.AddLearner(ctx, peers)
	must1(t, err)
	must1(t, c.Remove(ctx, m.ID))
	if _, err := SaveSnapshot(ctx, m1.client, c.Access, dir+"/x.db", nil); err != nil {
		t.Error(err)
	}
	onlyFiles(t, dir, "x.db")
}

// TestMain is also the etcd that asProcess starts.
func TestMain(m *testing.M) {
	if args := os.Getenv("REQUORUM_TEST_ETCD"); args != "" {
		etcdmain.Main(append([]string{"etcd"}, strings.Split(args, "\n")...))
		return
	}
	os.Exit(m.Run())
}

// asProcess starts l as a process of its own, which a test can freeze.
func (l *live) asProcess(t testing.TB) *os.Process {
	t.Helper()
	exe, err := os.Executable()
	must1(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "REQUORUM_TEST_ETCD="+strings.Join([]string{
		"--name=" + l.name, "--data-dir=" + l.cfg.Dir, "--log-level=panic", "--unsafe-no-fsync",
		"--heartbeat-interval=50", "--election-timeout=500",
		"--listen-client-urls=" + l.client, "--advertise-client-urls=" + l.client,
		"--listen-peer-urls=" + l.peer, "--initial-advertise-peer-urls=" + l.peer,
		"--initial-cluster=" + l.cfg.InitialCluster, "--initial-cluster-token=" + l.cfg.InitialClusterToken,
	}, "\n"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must1(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process
}

// The leader freezes: its TCP port accepts, and nothing comes.
func TestChangeWithFrozenLeader(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	all := configThree(t)
	p := all[2].asProcess(t)
	all[0].begin(t)
	all[1].begin(t)
	all[0].wait(t)
	all[1].wait(t)
	c := clusterOf(all[0], all[1])
	var frozen string
	ripen(t, func() error {
		l, err := c.list(ctx)
		must1(t, err)
		m := l.at([]string{all[2].peer})
		if frozen = m.ID; m.Name == "" {
			return &sortedError{errNotYet, "m3 has not started", nil}
		}
		return c.MoveLeader(ctx, l.leader, frozen)
	})
	must1(t, p.Signal(syscall.SIGSTOP))
	c.Endpoints = append([]string{all[2].client}, c.Endpoints...)
	peers := []string{all[1].peer, "http://" + freeAddr(t)}
	within(t, defaultLimit+3*time.Second, func() { // its bound, and an election
		must1(t, c.UpdatePeerURLs(ctx, all[1].id(), peers))
	})
	c.Endpoints = c.Endpoints[1:]
	ripen(t, func() error { // a follower applies the change when it hears of it
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		yes, no := c.Listed(short, endpointsOf(all), func(list []planner.ListedMember) bool {
			return (&listing{members: list}).at(peers) != nil
		})
		if !strings.HasPrefix(no["m3"], "hangs") {
			t.Fatalf("%v %v", yes, no)
		}
		if fmt.Sprint(yes) != "[m1 m2]" {
			return &sortedError{errNotYet, fmt.Sprintf("%v %v", yes, no), nil}
		}
		return nil
	})
	l, err := c.list(ctx)
	must1(t, err)
	must1(t, c.MoveLeader(ctx, frozen, all[0].id())) // leads no more
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	passing(t, c.MoveLeader(short, l.leader, frozen), "not done by now")
	must1(t, p.Signal(syscall.SIGCONT))
}
