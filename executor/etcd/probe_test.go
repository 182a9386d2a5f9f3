package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// listen serves each connection with f, until the test ends.
func listen(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { c.Close() })
			go func() { defer c.Close(); f(c) }()
		}
	}()
	return l.Addr().String()
}

func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func dribble(line string) func(net.Conn) {
	return func(c net.Conn) {
		go silent(c)
		for _, b := range []byte(line) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
}

func says(s string) func(net.Conn) {
	return func(c net.Conn) { _, _ = c.Write([]byte(s)); silent(c) }
}

func resets(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

// settingsThen is a server that speaks HTTP/2's first frame and nothing else.
func settingsThen(c net.Conn) {
	_, _ = c.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	silent(c)
}

func httpServer(t testing.TB, status int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: &p, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, "<html>hello</html>")
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func grpcServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// within runs f and fails if it takes longer than limit + 200 ms.
func within(t testing.TB, limit time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d > limit+200*time.Millisecond {
		t.Errorf("took %v with a limit of %v", d, limit)
	}
}

func TestProbeHostile(t *testing.T) {
	t.Parallel()
	const limit = 1500 * time.Millisecond
	user := Access{Username: "root", Password: spec.NewSecret("secret-word")}
	for _, tt := range []struct {
		name   string
		addr   string
		client planner.Reach
		peer   planner.Reach
		detail string // in the client's
	}{
		{"refused", freeAddr(t), planner.ReachRefused, planner.ReachRefused, "connection refused"},
		{"bad name", "nonexistent.invalid:2379", planner.ReachBadName, planner.ReachBadName, "nonexistent.invalid"},
		{"silent", listen(t, silent), planner.ReachHangs, planner.ReachHangs, "TCP accepts"},
		{"one byte a second", listen(t, dribble("HTTP/1.1 200 OK\r\n")), planner.ReachWrongService, planner.ReachHangs, "not HTTP/2"},
		{"one byte of a frame a second", listen(t, dribble("\x00\x00\x00\x04\x00\x00\x00\x00\x00")), planner.ReachHangs, planner.ReachWrongService, "stopped after"},
		{"reset", listen(t, resets), planner.ReachWrongService, planner.ReachWrongService, "without a word"},
		{"closed", listen(t, func(net.Conn) {}), planner.ReachWrongService, planner.ReachWrongService, "without a word"},
		{"ssh", listen(t, says("SSH-2.0-OpenSSH_9.9\r\n")), planner.ReachWrongService, planner.ReachWrongService, `"SSH-2.0-OpenSSH_9.9"`},
		{"garbage", listen(t, says("\xff\xfe\x00\x01\x02\x03\x04\x05\x06\x07")), planner.ReachWrongService, planner.ReachWrongService, "not HTTP/2"},
		{"http/2 and no more", listen(t, settingsThen), planner.ReachHangs, planner.ReachWrongService, "no answer in time"},
		{"http server", httpServer(t, 200), planner.ReachWrongService, planner.ReachWrongService, "not etcd"},
		{"http server, 404", httpServer(t, 404), planner.ReachWrongService, planner.ReachWrongService, "not etcd"},
		{"http server, 503", httpServer(t, 503), planner.ReachWrongService, planner.ReachWrongService, "not etcd"},
		{"http server, 403", httpServer(t, 403), planner.ReachWrongService, planner.ReachWrongService, "not etcd"},
		{"another grpc service", grpcServer(t), planner.ReachWrongService, planner.ReachWrongService, "unknown service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			within(t, limit, func() {
				e := Probe(context.Background(), []string{"http://" + tt.addr}, user, limit)
				if e.Reach != tt.client || !strings.Contains(e.Detail, tt.detail) {
					t.Errorf("client: %s: %s", e.Reach, e.Detail)
				}
				checkDetail(t, e.Detail)
				if e.Linearizable.Known() || e.Members.Known() || e.Linearizable.Why == "" {
					t.Errorf("facts of nothing: %+v", e)
				}
			})
			within(t, limit, func() {
				p := ProbePeer(context.Background(), []string{"http://" + tt.addr}, Access{}, limit)
				if p.Reach != tt.peer {
					t.Errorf("peer: %s: %s", p.Reach, p.Detail)
				}
				checkDetail(t, p.Detail)
			})
		})
	}
}

func checkDetail(t testing.TB, d string) {
	t.Helper()
	if d == "" || strings.ContainsAny(d, "\n\r") || strings.Contains(d, "rpc error") || strings.Contains(d, "secret-word") {
		t.Errorf("detail: %q", d)
	}
}

func TestProbeURLs(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "::", "127.0.0.1:2379", "unix://x", "http://127.0.0.1", "ftp://127.0.0.1:21"} {
		if e := Probe(context.Background(), []string{u}, Access{}, time.Second); e.Reach != planner.ReachUnasked || e.Detail == "" {
			t.Errorf("%q: %s: %s", u, e.Reach, e.Detail)
		}
	}
	if e := Probe(context.Background(), nil, Access{}, time.Second); e.Reach != planner.ReachUnasked {
		t.Errorf("no URL: %+v", e)
	}
	// The nearest to serving is reported, the rest is named.
	dead, hung := "http://"+freeAddr(t), "http://"+listen(t, silent)
	within(t, 500*time.Millisecond, func() {
		e := Probe(context.Background(), []string{dead, hung}, Access{}, 500*time.Millisecond)
		if e.URL != hung || e.Reach != planner.ReachHangs || !strings.Contains(e.Detail, dead+": refused") {
			t.Errorf("%+v", e)
		}
	})
}

func TestProbeCancelled(t *testing.T) {
	t.Parallel()
	url := []string{"http://" + listen(t, silent)}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	within(t, 100*time.Millisecond, func() {
		if e := Probe(ctx, url, Access{}, time.Minute); e.Reach != planner.ReachUnasked {
			t.Errorf("cancelled: %s: %s", e.Reach, e.Detail)
		}
	})
	// A deadline of the caller is a time-out like the limit's.
	ctx, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	within(t, 200*time.Millisecond, func() {
		if e := Probe(ctx, url, Access{}, time.Minute); e.Reach != planner.ReachHangs {
			t.Errorf("deadline: %s: %s", e.Reach, e.Detail)
		}
	})
}

func TestClassifyDial(t *testing.T) {
	t.Parallel()
	op := func(e error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
	}
	for _, tt := range []struct {
		err  error
		want planner.Reach
	}{
		{op(syscall.ECONNREFUSED), planner.ReachRefused},
		{op(syscall.EHOSTUNREACH), planner.ReachNoRoute},
		{op(syscall.ENETUNREACH), planner.ReachNoRoute},
		{op(syscall.EACCES), planner.ReachNoRoute},
		{op(syscall.ETIMEDOUT), planner.ReachTimeout},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, planner.ReachTimeout},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, planner.ReachTimeout},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}, planner.ReachBadName},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}}, planner.ReachBadName},
		{op(syscall.EMFILE), planner.ReachUnasked},
		{fmt.Errorf("x: %w", context.Canceled), planner.ReachUnasked},
		{errors.New("else"), planner.ReachUnasked},
	} {
		if got := classifyDial(tt.err); got.reach != tt.want || got.detail == "" {
			t.Errorf("%v: %s: %s", tt.err, got.reach, got.detail)
		}
	}
}

// One URL that refuses proves nothing where another can't be asked: only where all
// refuse, nobody is there.
func TestRefusedOnlyWhereAllRefuse(t *testing.T) {
	t.Parallel()
	for _, other := range nearness {
		want := other
		for _, list := range [][]planner.Reach{{planner.ReachRefused, other}, {other, planner.ReachRefused}} {
			if got := list[nearest(list)]; got != want {
				t.Errorf("%v: %s", list, got)
			}
		}
	}
}
