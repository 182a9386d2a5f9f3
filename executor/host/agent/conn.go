package agent

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipe is a net.Conn of two streams. Its Read ends with Close, whatever the
// stream below does: a read of a process's stdin can't be interrupted.
type pipe struct {
	read   *io.PipeReader
	out    io.Writer
	once   sync.Once
	closed chan struct{}
	after  func()
}

// newPipe pumps in until it ends; after runs once, when the pipe is closed.
func newPipe(in io.Reader, out io.Writer, after func()) *pipe {
	r, w := io.Pipe()
	p := &pipe{read: r, out: out, closed: make(chan struct{}), after: after}
	go func() {
		_, err := io.CopyBuffer(onlyWriter{w}, onlyReader{in}, make([]byte, 256<<10))
		w.CloseWithError(orEOF(err))
	}()
	return p
}

// The two hide every method but one, so that the copy uses its buffer.
type onlyWriter struct{ io.Writer }

type onlyReader struct{ io.Reader }

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

func (p *pipe) Read(b []byte) (int, error)  { return p.read.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.Write(b) }

func (p *pipe) Close() error {
	p.once.Do(func() {
		_ = p.read.CloseWithError(os.ErrClosed)
		close(p.closed)
		if p.after != nil {
			p.after()
		}
	})
	return nil
}

// Addresses and deadlines mean nothing to a pipe; gRPC's own keep-alive finds out
// when nobody answers.
func (p *pipe) LocalAddr() net.Addr              { return addr{} }
func (p *pipe) RemoteAddr() net.Addr             { return addr{} }
func (p *pipe) SetDeadline(time.Time) error      { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

type addr struct{}

func (addr) Network() string { return "streams" }
func (addr) String() string  { return "streams" }

// one is a listener for a single connection; it ends with that.
type one struct {
	conn  *pipe
	taken bool
}

func (l *one) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return l.conn, nil
	}
	<-l.conn.closed
	return nil, net.ErrClosed
}

func (l *one) Close() error   { return nil }
func (l *one) Addr() net.Addr { return addr{} }
