package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/requorum/requorum/executor/host"
)

// errLost says that the connection ended before the answer came.
var errLost = errors.New("the connection was lost")

// giveUpLimit is how long a request that was given up may take to its safe point.
const giveUpLimit = time.Minute

// Client is one connection to an agent.
type Client struct {
	hello Hello
	conn  *grpc.ClientConn
	pipe  *pipe
}

// Dial makes the acquaintance of the agent at the other end of the two streams.
// Ending ctx gives it up, by closing, which has to end reads from in. The
// connection lives until Close, or until a stream ends; close is called then.
func Dial(ctx context.Context, version string, in io.Reader, out io.Writer, closing func()) (*Client, error) {
	stop := context.AfterFunc(ctx, closing)
	r := bufio.NewReaderSize(in, 64<<10)
	h, err := meet(r, out, version)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		closing()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	c := &Client{hello: h, pipe: newPipe(r, out, closing)}
	taken := false
	c.conn, err = grpc.NewClient("passthrough:///agent",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if taken {
				return nil, errLost
			}
			taken = true
			return c.pipe, nil
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(messageLimit), grpc.MaxCallSendMsgSize(messageLimit)),
		grpc.WithInitialWindowSize(windowSize), grpc.WithInitialConnWindowSize(4*windowSize),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: aliveEvery, Timeout: aliveWait, PermitWithoutStream: true}),
		grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		closing()
		return nil, err
	}
	return c, nil
}

func meet(r *bufio.Reader, out io.Writer, version string) (Hello, error) {
	h, err := hear(r)
	if err != nil {
		return h, err
	}
	// Said also where it does not fit: the far side then ends with the same reason.
	err = sayLine(out, greetMagic, greeting{Protocol: Protocol, Version: version})
	if why := fits(h.Protocol, h.Version, version); why != "" {
		return h, &MisfitError{Hello: h, Why: why}
	}
	return h, err
}

// MisfitError says that requorum is there, but not one that can be spoken with.
type MisfitError struct {
	Hello Hello
	Why   string
}

// Error implements error.
func (e *MisfitError) Error() string { return "requorum there does not fit: " + e.Why }

// Hello is who the far side is.
func (c *Client) Hello() Hello { return c.hello }

// Close ends the connection. What is at work there is brought to its safe point.
func (c *Client) Close() error {
	err := c.conn.Close()
	return errors.Join(err, c.pipe.Close())
}

// Alive reports whether the connection has not ended yet, as far as is known.
func (c *Client) Alive() bool {
	select {
	case <-c.pipe.closed:
		return false
	default:
		return true
	}
}

// stream begins a request that ends when the far side says so.
func (c *Client) stream(ctx context.Context, name string) (grpc.ClientStream, error) {
	if !c.Alive() {
		return nil, errLost
	}
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: name, ServerStreams: true, ClientStreams: true}, "/"+service+"/"+name)
	if err != nil {
		return nil, c.orLost(err)
	}
	return s, nil
}

// orLost turns gRPC's errors into errLost: the far side's own come in a reply. What
// it did not understand is its error all the same.
func (c *Client) orLost(err error) error {
	if errors.Is(err, errLost) {
		return err
	}
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.Unimplemented, codes.Internal:
		return err // the answer itself is wrong, and would be so again
	}
	_ = c.pipe.Close()
	return fmt.Errorf("%w (%v)", errLost, err)
}

// lostOn is orLost for a stream that ends with its caller's ctx: what the caller gave
// up says nothing of the connection.
func (c *Client) lostOn(s grpc.ClientStream, err error) error {
	if errors.Is(err, io.EOF) { // the reason is with the receiving half
		err = s.RecvMsg(&reply{})
	}
	if code := status.Code(err); s.Context().Err() != nil && (code == codes.Canceled || code == codes.DeadlineExceeded) {
		return context.Cause(s.Context())
	}
	return c.orLost(err)
}

func (c *Client) lostBy(stream grpc.ClientStream, err error) error {
	if errors.Is(err, io.EOF) { // the reason is with the receiving half
		err = stream.RecvMsg(&reply{})
	}
	return c.orLost(err)
}

// call makes one request and waits for its end. Ending ctx asks the far side to
// give it up, and waits for that too: what it says then is what holds.
func (c *Client) call(ctx context.Context, name string, locks []uint64, in, out any, tell host.Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	s, err := c.stream(alive, name)
	if err != nil {
		return err
	}
	req := request{Body: body, Locks: locks}
	if deadline, ok := ctx.Deadline(); ok {
		req.Left = max(time.Until(deadline), time.Nanosecond)
	}
	if err := s.SendMsg(&req); err != nil {
		return c.lostBy(s, err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = s.SendMsg(&request{Cancel: true})
		select {
		case <-alive.Done():
		case <-time.After(giveUpLimit):
			end()
		}
	})
	defer stop()
	err = c.await(s, out, tell)
	var f *failure
	if errors.As(err, &f) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.Deadline = f.Deadline || f.Canceled // our word that the time is up was there first
	}
	return err
}

func (c *Client) await(s grpc.ClientStream, out any, tell host.Progress) error {
	for {
		var r reply
		if err := s.RecvMsg(&r); err != nil {
			return c.orLost(err)
		}
		if p := r.Progress; p != nil && tell != nil {
			tell(p.What, p.Done, p.Total)
		}
		if !r.Done {
			continue
		}
		if out != nil && len(r.Body) > 0 {
			if err := strictly(r.Body, out); err != nil {
				return err
			}
		}
		if r.Error != nil {
			return r.Error
		}
		return nil
	}
}
