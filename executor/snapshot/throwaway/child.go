package throwaway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Child is an etcd that can't outlive this process.
type Child struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, valid after done
}

// Start runs argv in dir, with its output in a file there and without etcd's own
// settings in its environment but those in env. The child dies with the thread that started it, so
// that one thread is kept until the child ends.
func Start(argv []string, dir string, env ...string) (*Child, error) {
	c := &Child{log: filepath.Join(dir, "etcd.log"), done: make(chan struct{})}
	out, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c.cmd = exec.Command(argv[0], argv[1:]...)
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.Dir = dir
	c.cmd.Env = append(environ(os.Environ()), env...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		defer out.Close()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	return c, nil
}

// environ leaves out etcd's own settings, which would change what it does or clash
// with its flags, and sends peer traffic that is not for loopback nowhere
// (client/pkg/transport takes the proxy from the environment).
func environ(of []string) []string {
	var env []string
	for _, e := range of {
		name, _, _ := strings.Cut(strings.ToUpper(e), "=")
		if strings.HasPrefix(name, "ETCD_") || strings.HasSuffix(name, "_PROXY") {
			continue
		}
		env = append(env, e)
	}
	const nowhere = "http://127.0.0.1:9" // the discard port
	return append(env, "HTTP_PROXY="+nowhere, "HTTPS_PROXY="+nowhere)
}

// Stop ends the child by its pid: SIGTERM, and SIGKILL after the grace. It
// returns when it has ended.
func (c *Child) Stop(grace time.Duration) {
	select {
	case <-c.done:
		return
	default:
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(grace):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// PID is the process it is.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Done is closed when it has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// How says how it ended.
func (c *Child) How() string {
	if c.err == nil {
		return "exit status 0"
	}
	return c.err.Error()
}

// LastWords returns what etcd logged last at level error or above, in words;
// where it logged none (it did not understand its flags), the first lines of its
// output.
func (c *Child) LastWords() string {
	f, err := os.Open(c.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	var grave, plain []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		words, level := logLine(line)
		switch level {
		case "error", "dpanic", "panic", "fatal":
			grave = keepLast(grave, words, 3)
		case "":
			if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
				grave = keepLast(grave, line, 3)
			}
			if line != "" && len(plain) < 2 {
				plain = append(plain, line)
			}
		}
	}
	if len(grave) > 0 {
		return strings.Join(grave, "; ")
	}
	return strings.Join(plain, "; ")
}

func keepLast(list []string, s string, n int) []string {
	if len(list) > 0 && list[len(list)-1] == s {
		return list
	}
	list = append(list, s)
	return list[max(0, len(list)-n):]
}

// logLine turns a line of etcd's JSON log into "message: error", with its level;
// "" for a line that is none.
func logLine(line string) (words, level string) {
	var l struct{ Level, Msg, Error string }
	if json.Unmarshal([]byte(line), &l) != nil || l.Level == "" {
		return "", ""
	}
	if l.Error != "" && !strings.Contains(l.Msg, l.Error) {
		return l.Msg + ": " + l.Error, l.Level
	}
	return l.Msg, l.Level
}
