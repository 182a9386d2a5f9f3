package agent

import (
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/requorum/requorum/executor/host"
)

// give sends a file of this machine.
func (s *server) give(stream grpc.ServerStream) error {
	var in request
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	var what pathArgs
	p, err := newPacker(func(b *block) error { return stream.SendMsg(b) })
	if err != nil {
		return err
	}
	var sum string
	if err = strictly(in.Body, &what); err == nil {
		sum, err = s.files.Give(stream.Context(), what.Path, what.From, p)
	}
	return p.end(ending{Sum: sum, Error: failureOf(err)})
}

// fromArgs says from which byte on a file is wanted.
type fromArgs struct {
	From int64 `json:"from"`
}

// take receives a file: what for, where it begins, its blocks, where it lies.
func (s *server) take(stream grpc.ServerStream) error {
	var in request
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	var what host.Incoming
	err := strictly(in.Body, &what)
	if err == nil {
		err = s.current(stream.Context(), in.Locks)
	}
	path := ""
	if err == nil {
		path, err = s.files.Take(stream.Context(), what, func(from int64, w io.Writer) (string, error) {
			b, err := json.Marshal(fromArgs{from})
			if err != nil {
				return "", err
			}
			if err := stream.SendMsg(&reply{Body: b}); err != nil {
				return "", err
			}
			return unpack(func(b *block) error { return stream.RecvMsg(b) }, w)
		})
	}
	b, merr := json.Marshal(pathArgs{Path: path})
	if merr != nil {
		return merr
	}
	return stream.SendMsg(&reply{Done: true, Body: b, Error: failureOf(err)})
}

// give asks the far side for a file.
func (c *Client) give(stream grpc.ClientStream, what pathArgs, w io.Writer) (string, error) {
	b, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	if err := stream.SendMsg(&request{Body: b}); err != nil {
		return "", c.lostOn(stream, err)
	}
	counted := &failsHere{w: w}
	sum, err := unpack(func(b *block) error { return stream.RecvMsg(b) }, counted)
	if err != nil && counted.err == nil {
		err = c.lostOn(stream, err)
	}
	return sum, err
}

// failsHere remembers that it was this side that could not write.
type failsHere struct {
	w   io.Writer
	err error
}

func (f *failsHere) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil {
		f.err = err
	}
	return n, err
}

// take has the far side take a file.
func (c *Client) take(stream grpc.ClientStream, in request, fill host.Fill) (string, error) {
	if err := stream.SendMsg(&in); err != nil {
		return "", c.lostOn(stream, err)
	}
	for {
		var r reply
		if err := stream.RecvMsg(&r); err != nil {
			return "", c.lostOn(stream, err)
		}
		if r.Done {
			return takenAt(r)
		}
		var at fromArgs
		if err := strictly(r.Body, &at); err != nil {
			return "", err
		}
		if err := c.fill(stream, at.From, fill); err != nil {
			return "", err
		}
	}
}

func takenAt(r reply) (string, error) {
	if r.Error != nil {
		return "", r.Error
	}
	var at pathArgs
	if err := strictly(r.Body, &at); err != nil {
		return "", err
	}
	return at.Path, nil
}

// fill sends the blocks. The far side may have ended it by then, and says why: so
// an error of sending is not looked at here.
func (c *Client) fill(stream grpc.ClientStream, from int64, fill host.Fill) error {
	sent := true
	p, err := newPacker(func(b *block) error {
		err := stream.SendMsg(b)
		if err != nil {
			sent = false
		}
		return err
	})
	if err != nil {
		return err
	}
	sum, err := fill(from, p)
	if err != nil && sent {
		_ = p.end(ending{Error: failureOf(err)})
		return fmt.Errorf("read the file that is sent: %w", err)
	}
	_ = p.end(ending{Sum: sum})
	return nil
}
