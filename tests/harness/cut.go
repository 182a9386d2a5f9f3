package harness

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Cut is a way to a server that breaks off: it counts what the server sends, and
// ends the connection after so many bytes, once.
type Cut struct {
	URL string // http://127.0.0.1:PORT

	mu    sync.Mutex
	sent  int64
	after int64 // -1: never
	cuts  int
}

// CutIn stands between a client and the server at addr (HOST:PORT).
func CutIn(t testing.TB, addr string) *Cut {
	t.Helper()
	ports, err := ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	l, err := net.Listen("tcp", ports.URL(0)[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &Cut{URL: ports.URL(0), after: -1}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go c.pass(client, addr)
		}
	}()
	return c
}

// After cuts the connection when n more bytes came from the server.
func (c *Cut) After(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.after = 0, n
}

// Count gives the bytes that went to clients since After, and how many
// connections were cut in all.
func (c *Cut) Count() (bytes int64, cuts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.cuts
}

func (c *Cut) pass(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := server.Read(buf)
		n, cut := c.take(n)
		if _, werr := client.Write(buf[:n]); werr != nil || err != nil || cut {
			return
		}
	}
}

// take counts n bytes, and says how many of them may pass.
func (c *Cut) take(n int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := c.after >= 0 && c.sent+int64(n) >= c.after
	if cut {
		n = int(c.after - c.sent)
		c.after = -1
		c.cuts++
	}
	c.sent += int64(n)
	return n, cut
}
