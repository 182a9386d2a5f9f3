package harness

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Terminal is a requorum that runs on a terminal of its own.
type Terminal struct {
	env *Env
	cmd *exec.Cmd
	tty *os.File

	mu     sync.Mutex
	seen   bytes.Buffer
	closed chan struct{}
}

// Terminal starts requorum on a pseudo terminal of 80 columns.
func (e *Env) Terminal(args ...string) *Terminal {
	e.t.Helper()
	return e.TerminalOf(e.Command(args...))
}

// TerminalOf is Terminal for a command that is made already.
func (e *Env) TerminalOf(cmd *exec.Cmd) *Terminal {
	e.t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		e.t.Fatal(err)
	}
	t := &Terminal{env: e, cmd: cmd, tty: tty, closed: make(chan struct{})}
	go t.read()
	e.t.Cleanup(func() { tty.Close() })
	return t
}

func (t *Terminal) read() {
	defer close(t.closed)
	b := make([]byte, 4096)
	for {
		n, err := t.tty.Read(b) // EIO once the other side is closed
		t.mu.Lock()
		t.seen.Write(b[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Text is what was shown so far.
func (t *Terminal) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.String()
}

// Await waits until words are on the screen.
func (t *Terminal) Await(words string) {
	t.env.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(t.Text(), words); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.env.t.Fatalf("%q does not show up in\n%s", words, t.Text())
		}
	}
}

// Type types keys.
func (t *Terminal) Type(keys string) {
	t.env.t.Helper()
	if _, err := t.tty.WriteString(keys); err != nil {
		t.env.t.Fatal(err)
	}
}

// End waits for the end.
func (t *Terminal) End() Result {
	t.env.t.Helper()
	err := t.cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.env.t.Fatal(err)
	}
	<-t.closed
	return Result{Args: t.cmd.Args[1:], Exit: t.cmd.ProcessState.ExitCode(), Stdout: t.Text()}
}

// PID is the process.
func (t *Terminal) PID() int { return t.cmd.Process.Pid }

// Modes are the terminal's, as stty shows them.
func (t *Terminal) Modes() (*unix.Termios, error) {
	var modes *unix.Termios
	conn, err := t.tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := conn.Control(func(fd uintptr) { modes, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
	return modes, errors.Join(cerr, err)
}
