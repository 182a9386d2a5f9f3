package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// child is a running etcd, started or adopted.
type child struct {
	id   procID
	done chan struct{} // closed when it has ended; exit may be read then
	exit string
}

// kept are the environment variables that etcd and the supervisor get from
// whoever starts them. ETCD_* would change settings behind the file's back, and
// a proxy would stand between peers.
var kept = map[string]bool{
	"PATH": true, "HOME": true, "USER": true, "LOGNAME": true, "LANG": true, "LC_ALL": true, "TZ": true,
	"TMPDIR": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true,
	"GOMAXPROCS": true, "GOMEMLIMIT": true, "GOGC": true, "GODEBUG": true, "GOTRACEBACK": true,
}

func environment() []string {
	var out []string
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); kept[name] {
			out = append(out, kv)
		}
	}
	return out
}

// command is a detached process: its own session, nothing of ours but the log.
func command(argv []string, l host.Layout, log *os.File) *exec.Cmd {
	return &exec.Cmd{
		Path: argv[0], Args: argv, Dir: l.Base(), Env: environment(),
		Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
}

// launch starts a command. A binary that was just written can be busy for a
// moment: a process forked meanwhile still has it open for writing.
func launch(argv []string, l host.Layout, log *os.File) (*exec.Cmd, error) {
	for try := 0; ; try++ {
		cmd := command(argv, l, log)
		err := cmd.Start()
		if try < 50 && errors.Is(err, unix.ETXTBSY) {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		return cmd, err
	}
}

// startChild runs etcd. A binary that can't be executed is a *refusal.
func startChild(cfg Config, l host.Layout, log *os.File) (*child, error) {
	cmd, err := launch(cfg.argv(), l, log)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOEXEC):
		return nil, refuse("etcd can't be executed: %v", err)
	case err != nil:
		return nil, err
	}
	c := &child{done: make(chan struct{})}
	c.id, _, _ = lookup(cmd.Process.Pid) // it is there until it is waited for
	go func() {
		_ = cmd.Wait()
		c.exit = cmd.ProcessState.String()
		close(c.done)
	}()
	return c, nil
}

// watchChild watches a process that is not ours to wait for.
func watchChild(id procID) *child {
	c := &child{id: id, done: make(chan struct{}), exit: "ended; how is not known, for it was adopted"}
	go func() {
		_ = id.wait(context.Background())
		close(c.done)
	}()
	return c
}

// end stops it: SIGTERM, and SIGKILL when that took longer than patience. It
// returns, when the process has ended, how that went.
func (c *child) end(patience time.Duration) string {
	_ = c.id.signal(unix.SIGTERM)
	select {
	case <-c.done:
		return c.exit
	case <-time.After(patience):
	}
	_ = c.id.signal(unix.SIGKILL)
	<-c.done
	return fmt.Sprintf("killed: it did not end within %s of SIGTERM", patience)
}
