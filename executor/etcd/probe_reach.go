package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/requorum/requorum/planner"
)

// target is one URL to ask.
type target struct {
	url    string // scheme and address only
	host   string // without port and brackets
	addr   string // host:port
	secure bool   // https
	socket string // the path of unix://MACHINE/PATH; "" for a TCP address
	// machine is the file's host that the socket is on, "" for this machine; via
	// leads there.
	machine string
	via     Socket
}

// Socket connects to a socket on another machine of the file.
type Socket func(ctx context.Context, machine, path string) (net.Conn, error)

// parseTarget takes http://host:port, https://host:port and unix://MACHINE/PATH, where
// a member with closed client listeners speaks HTTP; without a MACHINE on this one.
func parseTarget(raw string, a Access) (target, error) {
	if rest, ok := strings.CutPrefix(raw, "unix://"); ok && strings.Contains(rest, "/") {
		i := strings.Index(rest, "/")
		t := target{url: "http://localhost", host: "localhost", addr: rest, socket: rest[i:], machine: rest[:i], via: a.Socket}
		if t.machine != "" && t.via == nil {
			return target{}, &unreached{planner.ReachUnasked, "no way to the sockets of " + printable(t.machine, 200)}
		}
		return t, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return target{}, &unreached{planner.ReachUnasked, "not a URL with a host: " + printable(raw, 200)}
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return target{}, &unreached{planner.ReachUnasked, "only http and https URLs can be asked, not " + printable(raw, 200)}
	}
	if u.Port() == "" {
		return target{}, &unreached{planner.ReachUnasked, "the URL has no port: " + printable(raw, 200)}
	}
	addr := net.JoinHostPort(u.Hostname(), u.Port())
	return target{url: u.Scheme + "://" + addr, host: u.Hostname(), addr: addr, secure: u.Scheme == "https"}, nil
}

// unreached is why an address did not serve, as an error.
type unreached struct {
	reach  planner.Reach
	detail string
}

// refused reports whether the server wants another client certificate, or any.
func (u *unreached) refused() bool {
	return u.reach == planner.ReachTLSFailed && (strings.HasPrefix(u.detail, wantsCertificate) || strings.HasPrefix(u.detail, refusesCertificate))
}

func (u *unreached) Error() string { return string(u.reach) + ": " + u.detail }

// reachOf turns any error of this package into a Reach and a line.
func reachOf(err error) (planner.Reach, string) {
	var u *unreached
	switch {
	case errors.As(err, &u):
		return u.reach, u.detail
	case errors.Is(err, context.Canceled):
		return planner.ReachUnasked, "cancelled"
	case isTimeout(err):
		return planner.ReachHangs, "TCP accepts, but no answer came in time"
	}
	return planner.ReachUnasked, oneLine(err)
}

// classifyDial sorts the error of opening a TCP connection.
func classifyDial(err error) *unreached {
	var dns *net.DNSError
	detail := oneLine(err)
	switch {
	case errors.Is(err, context.Canceled):
		return &unreached{planner.ReachUnasked, "cancelled"}
	case errors.As(err, &dns):
		return &unreached{planner.ReachBadName, detail}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &unreached{planner.ReachRefused, detail}
	case isNoRoute(err):
		return &unreached{planner.ReachNoRoute, detail}
	case errors.Is(err, syscall.ETIMEDOUT), isDeadline(err):
		return &unreached{planner.ReachTimeout, "no TCP connection in time: " + detail}
	}
	// Our own trouble (no file descriptors, say) tells nothing of the address.
	return &unreached{planner.ReachUnasked, detail}
}

// isNoRoute covers what a network stack says when it can't get there: no route,
// a firewall's administrative rejection (EACCES, EPERM), no local address of that
// family.
func isNoRoute(err error) bool {
	for _, e := range []syscall.Errno{
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isDeadline reports a time-out of the network or of a context.
func isDeadline(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &ne) && ne.Timeout()
}

// heard is a connection that remembers how much came in, and how it began.
type heard struct {
	net.Conn
	mu sync.Mutex
	n  int
	// first is the first 64 bytes at most.
	first []byte
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n += n
	if room := 64 - len(h.first); room > 0 {
		h.first = append(h.first, p[:min(n, room)]...)
	}
	return n, err
}

// count is how many bytes came in.
func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// start is a copy of how they began.
func (h *heard) start() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]byte(nil), h.first...)
}

// dialTCP connects; every read and write on the connection ends with ctx. The
// error is an *unreached, or errClosed for a connection reset as it opened.
func dialTCP(ctx context.Context, t target) (*heard, error) {
	c, err := t.dial(ctx)
	switch {
	case t.socket != "" && errors.Is(err, fs.ErrNotExist):
		return nil, &unreached{planner.ReachRefused, oneLine(err)}
	case errors.Is(err, syscall.ECONNRESET):
		return nil, errClosed
	case err != nil:
		return nil, classifyDial(err)
	}
	context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return &heard{Conn: c}, nil
}

// dial opens a connection. The path of a socket may be longer than an address of one
// can be: its folder is named by a descriptor then.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	switch {
	case t.socket == "":
		return new(net.Dialer).DialContext(ctx, "tcp", t.addr)
	case t.machine != "":
		return t.via(ctx, t.machine, t.socket)
	}
	const longest = 100
	if len(t.socket) <= longest {
		return new(net.Dialer).DialContext(ctx, "unix", t.socket)
	}
	dir, err := os.Open(filepath.Dir(t.socket))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(t.socket)))
}

// errClosed says that the other side closed or reset the connection without a
// word.
var errClosed = errors.New("the connection was closed before any reply")

// handshake opens the TLS session; the error is an *unreached, or errClosed.
func handshake(ctx context.Context, h *heard, t target, a Access, protos ...string) (*tls.Conn, error) {
	c := tls.Client(h, a.tlsFor(t.host, protos...))
	err := c.HandshakeContext(ctx)
	if err == nil {
		return c, nil
	}
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, context.Canceled):
		return nil, &unreached{planner.ReachUnasked, "cancelled"}
	case errors.As(err, &record):
		return nil, notTLS(ctx, t, h)
	case isTLS(err) && strings.Contains(err.Error(), "no application protocol"):
		return nil, &unreached{planner.ReachWrongService, "the server speaks TLS, but not the protocol asked for: " + strings.Join(protos, ", ")}
	case isTLS(err):
		return nil, &unreached{planner.ReachTLSFailed, describeTLS(err, a.hasCertificate())}
	case isDeadline(err) && h.count() == 0:
		return nil, &unreached{planner.ReachHangs, "TCP accepts, but the TLS handshake gets no answer"}
	case isDeadline(err):
		return nil, &unreached{planner.ReachTLSFailed, fmt.Sprintf("the TLS handshake stopped after %d bytes", h.count())}
	case h.count() == 0:
		return nil, errClosed
	}
	return nil, &unreached{planner.ReachTLSFailed, "the TLS handshake broke off: " + oneLine(err)}
}

// notTLS sorts an https address that answers without TLS.
func notTLS(ctx context.Context, t target, h *heard) *unreached {
	first := h.start()
	said := quoted(first)
	if isHTTP1(first) || speaksHTTP2(ctx, t) {
		return &unreached{planner.ReachTLSFailed, "the server speaks plain HTTP, but the URL is https (it answered " + said + ")"}
	}
	return &unreached{planner.ReachWrongService, "the answer is not TLS: " + said}
}

// speaksTLS reports whether addr answers a TLS hello with a TLS record.
func speaksTLS(ctx context.Context, t target) bool {
	h, err := dialTCP(ctx, t)
	if err != nil {
		return false
	}
	defer h.Close()
	// Nothing is sent over this session: the question is only whether it is TLS.
	c := tls.Client(h, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec
	_ = c.HandshakeContext(ctx)
	// A handshake (22) or alert (21) record of version 3.x.
	first := h.start()
	return len(first) >= 2 && (first[0] == 21 || first[0] == 22) && first[1] == 3
}
