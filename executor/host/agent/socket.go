package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/requorum/requorum/planner"
)

// socket joins a stream with the socket at which a member with closed client listeners
// answers: there is no other way to it. Bytes go as blocks, both ways.
func (s *server) socket(stream grpc.ServerStream) error {
	var in request
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	var at pathArgs
	err := strictly(in.Body, &at)
	var conn net.Conn
	if err == nil {
		conn, err = DialSocket(stream.Context(), at.Path)
	}
	if serr := stream.SendMsg(&reply{Done: true, Error: failureOf(err)}); err != nil || serr != nil {
		return serr
	}
	defer conn.Close()
	go func() {
		defer conn.Close()
		for {
			var b block
			if stream.RecvMsg(&b) != nil {
				return
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	return ignoreEnd(sendBlocks(conn, func(b *block) error { return stream.SendMsg(b) }))
}

// DialSocket connects to a member's socket on this machine. It takes only what requorum itself has a member listen at. The path may be
// longer than an address of a socket can be: its folder is named by a descriptor then.
func DialSocket(ctx context.Context, path string) (net.Conn, error) {
	if filepath.Base(path) != planner.ClosedSocket || !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%s is not the socket of a member", path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// sendBlocks sends what comes from r, as it comes.
func sendBlocks(r io.Reader, send func(*block) error) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			b := block(append([]byte(nil), buf[:n]...))
			if err := send(&b); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Socket connects to a socket on that machine. Ending ctx gives up the attempt, not the
// connection.
func (r *Remote) Socket(ctx context.Context, path string) (net.Conn, error) {
	c, err := r.client(ctx)
	if err != nil {
		return nil, err
	}
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	near, err := c.socket(alive, path, end)
	if !stop() && err == nil {
		near.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
		return nil, err
	}
	return near, nil
}

func (c *Client) socket(ctx context.Context, path string, end func()) (net.Conn, error) {
	stream, err := c.stream(ctx, "Socket")
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(pathArgs{Path: path})
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&request{Body: body}); err != nil {
		return nil, c.lostOn(stream, err)
	}
	var r reply
	if err := stream.RecvMsg(&r); err != nil {
		return nil, c.lostOn(stream, err)
	}
	if r.Error != nil {
		return nil, r.Error
	}
	near, far := net.Pipe()
	go func() {
		_ = sendBlocks(far, func(b *block) error { return stream.SendMsg(b) })
		end()
	}()
	go func() {
		defer far.Close()
		for {
			var b block
			if stream.RecvMsg(&b) != nil {
				return
			}
			if _, err := far.Write(b); err != nil {
				return
			}
		}
	}()
	return near, nil
}
