package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/requorum/requorum/planner"
)

// preface is what an HTTP/2 client says first (RFC 9113, section 3.4), with an
// empty SETTINGS frame. It asks for nothing.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// frameHeader is the length of an HTTP/2 frame's header.
const frameHeader = 9

// patience is how long a TLS server may take, on a second try, to say by itself
// that it wants a certificate.
const patience = 200 * time.Millisecond

// greet finds out whether something speaks HTTP/2, as gRPC does, at t. nil means
// yes; any other result is an *unreached.
//
// A server that accepts and at once closes is asked twice: an etcd that is just
// stopping does so once, a proxy without a backend each time.
func greet(ctx context.Context, t target, a Access) error {
	err := greetOnce(ctx, t, a, false)
	if errors.Is(err, errClosed) {
		if err = pause(ctx, patience/2); err == nil {
			err = greetOnce(ctx, t, a, true)
		}
	}
	var u *unreached
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errClosed):
		u = &unreached{planner.ReachWrongService, "the connection is accepted and closed without a word: " +
			"not etcd, or a proxy that has no backend"}
	case !errors.As(err, &u):
		reach, detail := reachOf(err)
		u = &unreached{reach, detail}
	}
	if u.reach == planner.ReachWrongService {
		return crossCheck(ctx, t, u)
	}
	return u
}

// crossCheck asks whether what looks like another service is one that speaks TLS
// where the URL says http, or the other way round.
func crossCheck(ctx context.Context, t target, u *unreached) *unreached {
	switch {
	case !t.secure && speaksTLS(ctx, t):
		return &unreached{planner.ReachTLSFailed, "the server speaks TLS, but the URL is http"}
	case t.secure && speaksHTTP2(ctx, t):
		return &unreached{planner.ReachTLSFailed, "the server speaks plain HTTP/2, but the URL is https"}
	}
	return u
}

// greetOnce is one connection's worth of greet.
func greetOnce(ctx context.Context, t target, a Access, patient bool) error {
	h, err := dialTCP(ctx, t)
	if err != nil {
		return err
	}
	defer h.Close()
	if !t.secure {
		return exchange(ctx, h, a, false)
	}
	c, err := handshake(ctx, h, t, a, "h2")
	if err != nil {
		return err
	}
	return exchange(ctx, c, a, patient)
}

// speaksHTTP2 reports whether t's address answers an HTTP/2 greeting in the
// clear.
func speaksHTTP2(ctx context.Context, t target) bool {
	t.secure = false
	return greetOnce(ctx, t, Access{}, false) == nil
}

// exchange sends the preface and reads until it is clear what answers. A patient
// exchange listens first, since a TLS 1.3 server's refusal can be lost when the
// connection is reset under data that it did not read.
func exchange(ctx context.Context, c net.Conn, a Access, patient bool) error {
	var got []byte
	var err error
	if patient {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		got, err = readStart(c)
		if len(got) == 0 && isDeadline(err) && ctx.Err() == nil {
			err = nil
		}
		if deadline, ok := ctx.Deadline(); ok {
			_ = c.SetReadDeadline(deadline)
		}
	}
	if len(got) == 0 && err == nil {
		if _, err = c.Write([]byte(preface)); err == nil {
			got, err = readStart(c)
		}
	}
	return judge(ctx, got, err, a)
}

// readStart reads until a SETTINGS frame's header is complete or can no longer
// be one.
func readStart(c net.Conn) ([]byte, error) {
	var got []byte
	buf := make([]byte, 64)
	for len(got) < frameHeader && maybeSettings(got) {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

// maybeSettings reports whether p begins a SETTINGS frame: what an HTTP/2 server
// says first.
func maybeSettings(p []byte) bool {
	for i, b := range p[:min(len(p), frameHeader)] {
		switch {
		case i == 1 || i == 2: // the rest of the length
		case i == 3 && b != 4, i != 3 && b != 0:
			return false
		}
	}
	return true
}

// judge says what the first bytes and the error after them mean.
func judge(ctx context.Context, got []byte, err error, a Access) error {
	switch {
	case len(got) >= frameHeader && maybeSettings(got):
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return &unreached{planner.ReachUnasked, "cancelled"}
	case !maybeSettings(got):
		return &unreached{planner.ReachWrongService, "the answer is not HTTP/2: " + quoted(got)}
	case isTLS(err):
		return &unreached{planner.ReachTLSFailed, describeTLS(err, a.hasCertificate())}
	case isDeadline(err) && len(got) == 0:
		return &unreached{planner.ReachHangs, "TCP accepts, but no answer came in time"}
	case isDeadline(err):
		return &unreached{planner.ReachHangs, fmt.Sprintf("the answer stopped after %d bytes", len(got))}
	}
	return errClosed
}

// isHTTP1 reports whether p begins an HTTP/1 answer.
func isHTTP1(p []byte) bool { return bytes.HasPrefix(p, []byte("HTTP/")) }

// quoted is the first line of what came, for a message.
func quoted(p []byte) string {
	line, _, _ := bytes.Cut(p, []byte("\r\n"))
	return strconv.QuoteToASCII(string(line[:min(len(line), 40)]))
}

// pause waits for d or for ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
