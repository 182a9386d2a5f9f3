package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/requorum/requorum/executor/host"
)

// A connection on which nobody answers for this long is given up, so that the
// lock behind it comes free.
const (
	aliveEvery = 10 * time.Second
	aliveWait  = 15 * time.Second
)

// greetLimit is how long the other side may take to say who it is.
const greetLimit = 30 * time.Second

// finishLimit ends an act that came without a limit of its own.
const finishLimit = 10 * time.Minute

// tellEvery is how often progress is told.
const tellEvery = 100 * time.Millisecond

// Machine is a driver of the machine that it runs on.
type Machine interface {
	host.Host
	host.Files
}

// Serve answers the other side's requests from h until in ends or ctx does. Acts
// that have begun are finished then, and every lock is given up: when it returns
// nothing is at work any more.
func Serve(ctx context.Context, h Machine, version string, in io.Reader, out io.Writer) error {
	if err := sayLine(out, Magic, newHello(version)); err != nil {
		return err
	}
	r := bufio.NewReader(in)
	if err := awaitGreeting(ctx, r, version); err != nil {
		return err
	}
	conn := newPipe(r, out, nil)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := &server{host: h, files: h, locks: map[uint64]host.Lock{}}
	g := grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}), grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(messageLimit), grpc.MaxSendMsgSize(messageLimit),
		grpc.InitialWindowSize(windowSize), grpc.InitialConnWindowSize(4*windowSize),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: aliveEvery, Timeout: aliveWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: aliveEvery / 2, PermitWithoutStream: true}),
	)
	g.RegisterService(desc(), s)
	err := g.Serve(&one{conn: conn})
	g.Stop() // waits for what is at work
	return errors.Join(s.releaseAll(), hidden(err))
}

// hidden leaves out that the connection ended: that is how it always ends.
func hidden(err error) error {
	if err == nil || errors.Is(err, grpc.ErrServerStopped) || err.Error() == "use of closed network connection" {
		return nil
	}
	return err
}

func awaitGreeting(ctx context.Context, r *bufio.Reader, version string) error {
	ctx, cancel := context.WithTimeout(ctx, greetLimit)
	defer cancel()
	got := make(chan error, 1)
	go func() { got <- hearGreeting(r, version) }()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return fmt.Errorf("nobody said who is there: %w", ctx.Err())
	}
}

func hearGreeting(r *bufio.Reader, version string) error {
	line, _, err := FindLine(r, greetMagic)
	if err != nil {
		return err
	}
	var g greeting
	if err := json.Unmarshal(line, &g); err != nil {
		return fmt.Errorf("not a greeting: %w", err)
	}
	if why := fits(g.Protocol, g.Version, version); why != "" {
		return errors.New("the other side doesn't fit: " + why)
	}
	return nil
}

// server is the far side of one connection.
type server struct {
	host  host.Host
	files host.Files

	mu    sync.Mutex
	last  uint64
	locks map[uint64]host.Lock
}

func (s *server) lock(ctx context.Context, in lockArgs) (lockNumber, error) {
	l, err := s.host.Lock(ctx, in.Places, in.Holder)
	if err != nil {
		return lockNumber{}, err
	}
	if regained, ok := l.(host.Regained); ok && in.Again != nil {
		if err := regained.Untouched(in.Again); err != nil {
			return lockNumber{}, errors.Join(err, l.Release())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.locks[s.last] = l
	return lockNumber{s.last, l.Epochs()}, nil
}

func (s *server) held(ctx context.Context, number uint64) error {
	s.mu.Lock()
	l, ok := s.locks[number]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("lock %d is not held here", number)
	}
	return l.Held(ctx)
}

func (s *server) note(in noteArgs) error {
	s.mu.Lock()
	l, ok := s.locks[in.Lock]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("lock %d is not held here", in.Lock)
	}
	return l.Note(in.Plan)
}

func (s *server) release(number uint64) error {
	s.mu.Lock()
	l, ok := s.locks[number]
	delete(s.locks, number)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return l.Release()
}

func (s *server) releaseAll() error {
	var errs []error
	for number := range s.locks { // nobody else is left
		errs = append(errs, s.release(number))
	}
	return errors.Join(errs...)
}

// current refuses what is asked for under a lock that is not held any more (S23).
func (s *server) current(ctx context.Context, locks []uint64) error {
	for _, n := range locks {
		if err := s.held(ctx, n); err != nil {
			return fmt.Errorf("not done: %w", err)
		}
	}
	return nil
}

// serve answers one request.
func (s *server) serve(m method, stream grpc.ServerStream) error {
	var in request
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	ctx, cancel := s.context(stream, m.finish, in)
	defer cancel()
	go cancelled(stream, cancel)
	t := &teller{stream: stream}
	var body any
	err := s.current(ctx, in.Locks)
	if err == nil {
		body, err = m.do(ctx, s, in.Body, t.tell)
	}
	out := reply{Done: true, Error: failureOf(err)}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		out.Body = b
	}
	return t.send(&out)
}

// context is what a request is done under: the connection, for one that may be left
// half done; otherwise only its own time.
func (s *server) context(stream grpc.ServerStream, finish bool, in request) (context.Context, context.CancelFunc) {
	ctx := stream.Context()
	if finish {
		ctx = context.WithoutCancel(ctx)
		if in.Left <= 0 {
			in.Left = finishLimit
		}
	}
	if in.Left > 0 {
		return context.WithTimeout(ctx, in.Left)
	}
	return context.WithCancel(ctx)
}

// cancelled waits until the other side gives the request up.
func cancelled(stream grpc.ServerStream, cancel context.CancelFunc) {
	for {
		var more request
		if err := stream.RecvMsg(&more); err != nil {
			return
		}
		if more.Cancel {
			cancel()
		}
	}
}

// teller sends on one stream from any goroutine, and progress not too often.
type teller struct {
	mu     sync.Mutex
	stream grpc.ServerStream
	last   time.Time
	what   string
}

func (t *teller) send(r *reply) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stream.SendMsg(r)
}

func (t *teller) tell(what string, done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if what == t.what && time.Since(t.last) < tellEvery && (total == 0 || done != total) {
		return
	}
	t.what, t.last = what, time.Now()
	_ = t.stream.SendMsg(&reply{Progress: &progress{what, done, total}}) // of a lost connection the end tells
}
