package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Limits of the commands: how long each may take, and how much it may print. A start
// may wait until the member serves, a stop until it has handed over.
var (
	statusLimit = planner.CommandStatusSeconds * time.Second
	startLimit  = planner.CommandStartSeconds * time.Second
	stopLimit   = planner.CommandStopSeconds * time.Second
)

const mostOutput = 16 << 20

// result is how a command ended.
type result struct {
	argv  []string
	code  int   // -1 where it did not end by itself
	err   error // why it did not; nil where it ended
	words string
}

// text is the result in words, for people.
func (r result) text() string {
	out := masked(strings.Join(r.argv, " "))
	if n := []rune(out); len(n) > 80 {
		out = string(n[:79]) + "…"
	}
	if r.err != nil {
		out += ": " + r.err.Error()
	} else {
		out += fmt.Sprintf(" ended with status %d", r.code)
	}
	if r.words != "" {
		out += "; it printed: " + r.words
	}
	return out
}

// environment is what the commands get: where things are found, and who it is about.
func (s Service) environment() []string {
	out := []string{
		"PATH=" + searchPath(), "REQUORUM_MEMBER=" + s.Name, "REQUORUM_DATA_DIR=" + s.Layout.DataDir,
		"REQUORUM_ETCD_CONFIG=" + s.configPath(),
	}
	for _, name := range []string{"HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

func searchPath() string {
	const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if p := os.Getenv("PATH"); p != "" {
		return p + ":" + system
	}
	return system
}

// program finds a command's program as its own environment would.
func program(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range filepath.SplitList(searchPath()) {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); filepath.IsAbs(path) && err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %q in PATH", name)
}

// run runs a command to its end. What it starts may outlive it: log is then where that
// goes on to print; nil for a command that leaves nothing behind.
func (s Service) run(ctx context.Context, argv []string, limit time.Duration, log *os.File) result {
	r := result{argv: argv, code: -1}
	path, err := program(argv[0])
	if err != nil {
		r.err = err
		return r
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", s.environment(), time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) } // with what it waits for
	end := &tail{over: cancel}
	cmd.Stdout, cmd.Stderr = end, end
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	tooMuch := false
	if err = cmd.Start(); err == nil {
		ended, watched := make(chan struct{}), make(chan bool, 1)
		go func() { watched <- log != nil && watchSize(log, cancel, ended) }()
		err = cmd.Wait()
		close(ended)
		tooMuch = <-watched
	}
	if log != nil {
		end = endOf(log)
	}
	r.words = end.words()
	var exit *exec.ExitError
	switch {
	case tooMuch || end.n > mostOutput:
		r.err = fmt.Errorf("it printed more than %d MiB, and was ended", mostOutput>>20)
	case ctx.Err() != nil:
		r.err = context.Cause(ctx)
	case limited.Err() != nil:
		r.err = fmt.Errorf("it did not end within %s, and was ended", limit)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		r.code = cmd.ProcessState.ExitCode()
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		r.code = exit.ExitCode()
	default:
		r.err = err
	}
	return r
}

// watchSize ends a command that fills the disk with what it prints.
func watchSize(log *os.File, cancel func(), ended chan struct{}) bool {
	for {
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
			if fi, err := log.Stat(); err == nil && fi.Size() > mostOutput {
				cancel()
				return true
			}
		}
	}
}

// tail keeps the end of what is written to it, and calls over where that is too much.
type tail struct {
	over func()
	mu   sync.Mutex
	n    int64
	last []byte
}

const kept = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n += int64(len(p)); t.n > mostOutput && t.over != nil {
		t.over()
	}
	t.last = append(t.last, p[max(0, len(p)-kept):]...)
	if extra := len(t.last) - kept; extra > 0 {
		t.last = append([]byte(nil), t.last[extra:]...)
	}
	return len(p), nil
}

func endOf(log *os.File) *tail {
	t := &tail{}
	fi, err := log.Stat()
	if err != nil {
		return t
	}
	buf := make([]byte, min(fi.Size(), kept))
	if n, err := log.ReadAt(buf, fi.Size()-int64(len(buf))); err == nil {
		_, _ = t.Write(buf[:n])
	}
	t.n = fi.Size() // of which these are the end
	return t
}

// secrets are what looks like a password in what a command prints, beside what
// process.Scrub finds in the words of etcd: keys, and users of tools with theirs.
var secrets = []struct {
	is *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [^-\n]*-----.*?(?:-----END [^-\n]*-----|$)`), planner.Untold},
	{regexp.MustCompile(`(?s)^.*-----END [^-\n]*-----`), planner.Untold}, // it began before what was kept
	{regexp.MustCompile(`(?i)(\bETCDCTL_USER["']?\s*[=:]\s*|(?:^|\s)--?user(?:\s+|=)["']?[^\s"':]+:|(?:^|\s)-u\s+["']?[^\s"':]+:)(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;&]+)`), "${1}" + planner.Untold},
	{regexp.MustCompile(`(?i)((?:[\w-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w-]*)["']?\s*[=:]\s*)(?:"[^"\n]*"|'[^'\n]*'|["']?[^\s"',;&]+)`), "${1}" + planner.Untold},
	{regexp.MustCompile(`(?i)((?:^|\s)--?[\w-]*(?:passw(?:or)?d|passphrase|secret|token|credential)[\w-]*\s+)(?:"[^"\n]*"|'[^'\n]*'|[^\s"',;&-][^\s"',;&]*)`), "${1}" + planner.Untold},
	{regexp.MustCompile(`(?i)((?:authorization["']?\s*[=:]\s*["']?)?(?:bearer|basic)\s+)[^\s"',;]+`), "${1}" + planner.Untold},
	{regexp.MustCompile(`(://[^\s/:@]*:)[^\s/@]+@`), "${1}" + planner.Untold + "@"},
}

// masked is text without what looks like a secret.
func masked(text string) string {
	for _, s := range secrets {
		text = s.is.ReplaceAllString(text, s.by)
	}
	return process.Scrub(text)
}

// words are the last lines, as one line of plain text.
func (t *tail) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ToValidUTF8(string(t.last), "")
	if int64(len(t.last)) < t.n { // its first line is the end of one
		if _, rest, ok := strings.Cut(text, "\n"); ok {
			text = rest
		} else {
			text = "" // the name of a secret may stand before
		}
	}
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || !unicode.IsPrint(r)) {
			return -1
		}
		return r
	}, text)
	text = masked(text)
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	const most = 300
	out := strings.Join(lines[max(0, len(lines)-3):], " / ")
	if r := []rune(out); len(r) > most {
		out = "…" + string(r[len(r)-most+1:])
	}
	return out
}
