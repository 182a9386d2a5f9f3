package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/harness"
)

// real is an etcd of its own process, asked at its peer URL through front.
type real struct {
	front           *front
	client          string
	clusterID, id   string
	revision        int64 // before a lease ended
	revisionByLease int64 // after
}

// serve starts an etcd of one member with a few keys, compacted at the end of them, one
// lease ended after them.
func serve(t *testing.T, minor string, auth bool, flags ...string) *real {
	t.Helper()
	release := harness.Etcd(t, minor)
	ports, err := harness.ReservePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	dir := t.TempDir()
	words, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	r := &real{client: ports.URL(0)}
	cmd := exec.Command(release.Etcd, append([]string{
		"--name=m1", "--data-dir=" + filepath.Join(dir, "m1"), "--listen-client-urls=" + r.client, "--advertise-client-urls=" + r.client,
		"--listen-peer-urls=" + ports.URL(1), "--initial-advertise-peer-urls=" + ports.URL(1), "--initial-cluster=m1=" + ports.URL(1),
	}, flags...)...)
	cmd.Stdout, cmd.Stderr = words, words
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	harness.AwaitServing(t, r.client)
	r.front = newFront(t, ports.URL(1))
	ctx, c := harness.Context(t), harness.Client(t, r.client)
	for i := range 5 {
		try(t)(c.Put(ctx, fmt.Sprint(i), "v"))
	}
	l, err := c.Grant(ctx, 100)
	if err != nil {
		t.Fatal(err)
	}
	try(t)(c.Put(ctx, "leased", "v", clientv3.WithLease(l.ID)))
	st := harness.Status(t, r.client)
	r.clusterID, r.id, r.revision = fmt.Sprintf("%x", st.Header.ClusterId), fmt.Sprintf("%x", st.Header.MemberId), st.Header.Revision
	try(t)(c.Revoke(ctx, l.ID))
	r.revisionByLease = harness.Status(t, r.client).Header.Revision
	try(t)(c.Compact(ctx, r.revisionByLease, clientv3.WithCompactPhysical()))
	if len(flags) > 0 { // with a small quota
		for i := 0; i < 100 && err == nil; i++ {
			_, err = c.Put(ctx, "large", strings.Repeat("x", 100_000))
		}
		if err == nil || !strings.Contains(err.Error(), "space exceeded") {
			t.Fatal("no alarm: ", err)
		}
		r.revision = harness.Status(t, r.client).Header.Revision
	}
	if auth {
		try(t)(c.UserAdd(ctx, "root", "root"))
		try(t)(c.UserGrantRole(ctx, "root", "root"))
		try(t)(c.AuthEnable(ctx))
	}
	return r
}

func try(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// front stands before a peer URL and holds up hashes. As etcd, it goes on with one that
// nobody waits for any more.
type front struct {
	url                 string
	delay               time.Duration
	none                bool // no hash is known here
	mu                  sync.Mutex
	hashes, now, atOnce int
}

func newFront(t *testing.T, peer string) *front {
	to, _ := url.Parse(peer)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // as the etcd did
	f := &front{}
	ports, err := harness.ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	s := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", ports.Numbers[0]), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/members/hashkv" {
			if f.none {
				http.NotFound(w, r)
				return
			}
			f.count(1)
			time.Sleep(f.delay)
			f.count(-1)
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = s.ListenAndServe() }()
	t.Cleanup(func() { _ = s.Close() })
	f.url = ports.URL(0)
	return f
}

func (f *front) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hashes, f.now = f.hashes+max(n, 0), f.now+n
	f.atOnce = max(f.atOnce, f.now)
}

// asked is how many hashes were asked for, and how many of them ran at once.
func (f *front) asked() (all, atOnce int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hashes, f.atOnce
}

// words are what a runner has said.
type words struct{ of *Runner }

func (w words) String() string { return strings.Join(w.of.said, "\n") }

// runner asks e as m1.
func (e *real) runner(t *testing.T) (r *Runner, said words) {
	r = runner(t, &stub{}, &lock{})
	r.Cluster = &spec.Cluster{Members: []spec.Member{{Name: "m1", PeerURLs: []string{e.front.url}, ClientURLs: []string{e.client}}}}
	return r, words{r}
}

// closed is the verification of e behind closed listeners.
func (e *real) closed(revision int64, keys int) planner.Verify {
	return planner.Verify{
		Members: []string{"m1"}, ClusterID: e.clusterID, Revision: revision,
		Closed: &planner.ClosedCheck{URLs: []string{e.client}, MemberIDs: []string{e.id}, Keys: keys},
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errors.New("time is up"))
	t.Cleanup(cancel)
	return ctx
}

// A member with auth is hashed once, where hashes are compared, however long that
// takes: an etcd never stops a hash, and one beside it makes both slower. Its revision is
// held to the restored one all the same.
func TestSealedIsHashedOnce(t *testing.T) {
	for _, minor := range harness.Minors[:3] {
		t.Run(minor, func(t *testing.T) {
			t.Parallel()
			e := serve(t, minor, true)
			e.front.delay = probeLimit + time.Second
			r, said := e.runner(t)
			m := planner.StartMember{Place: planner.Place{Name: "m1"}, ClusterID: e.clusterID, MemberID: e.id, ClientURL: e.client}
			if got := r.servesAs(t.Context(), m); got.why != "" || got.err != nil {
				t.Errorf("it serves, and is said not to: %q, %v", got.why, got.err)
			}
			if all, _ := e.front.asked(); all != 0 {
				t.Errorf("%d hashes to see whether it serves", all)
			}
			if err := r.verify(within(t, time.Minute), e.closed(e.revision, 5), nil); err != nil {
				t.Error(err)
			}
			// 3.4 refuses the revision that it is compacted at, and is asked for its latest.
			if all, atOnce := e.front.asked(); all > 1 && minor != "3.4" || all > 2 || atOnce != 1 {
				t.Errorf("%d hashes, %d at once", all, atOnce)
			}
			if !strings.Contains(said.String(), "keys were not counted") {
				t.Errorf("said %q", said)
			}
			e.front.delay = 0
			if err := r.verify(within(t, time.Minute), e.closed(e.revision-1, 5), nil); err != nil || !strings.Contains(said.String(), "what was restored ends at") {
				t.Errorf("at a later revision than restored: %v, said %q", err, said)
			}
			if err := r.verify(within(t, time.Minute), e.closed(e.revision-1, -1), nil); err != nil {
				t.Errorf("with nothing to hold it to: %v", err)
			}
			if err := r.verify(within(t, 4*time.Second), e.closed(e.revisionByLease+1, 5), nil); err == nil || !strings.Contains(err.Error(), "time is up (m1 is at revision") {
				t.Errorf("at an earlier revision than restored: %v", err)
			}
		})
	}
}

// Where the peer URL knows no hash, as before 3.4, that is told, and no reason to keep
// the cluster closed.
func TestSealedWithoutHash(t *testing.T) {
	t.Parallel()
	e := serve(t, "3.4", true)
	e.front.none = true
	r, said := e.runner(t)
	if err := r.verify(within(t, time.Minute), e.closed(e.revision, -1), nil); err != nil || !strings.Contains(said.String(), "data was not compared") {
		t.Errorf("%v, said %q", err, said)
	}
}

// A cluster that came without space is opened as it is, with auth and without, and what
// to do is told.
func TestNoSpaceIsTold(t *testing.T) {
	for _, minor := range harness.Minors[:3] {
		for _, auth := range []bool{true, false} {
			t.Run(fmt.Sprint(minor, ", auth ", auth), func(t *testing.T) {
				t.Parallel()
				e := serve(t, minor, auth, "--quota-backend-bytes=500000")
				r, said := e.runner(t)
				if err := r.verify(within(t, time.Minute), e.closed(e.revision, -1), nil); err != nil {
					t.Errorf("closed: %v", err)
				}
				serving := planner.Verify{Members: []string{"m1"}, ClusterID: e.clusterID, Lease: true}
				if err := r.verify(within(t, time.Minute), serving, nil); err != nil || !strings.Contains(said.String(), "NOSPACE") || !strings.Contains(said.String(), "etcdctl alarm disarm") {
					t.Errorf("serving: %v, said %q", err, said)
				}
			})
		}
	}
}

// What is no answer is waited for.
func TestLeaseIsTriedAgain(t *testing.T) {
	t.Parallel()
	r, _ := (&real{front: &front{}}).runner(t)
	ports, err := harness.ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	if waiting, err := r.tryLease(t.Context(), map[string]string{"m1": ports.URL(0)}); waiting == "" || err != nil {
		t.Errorf("%q, %v", waiting, err)
	}
}
