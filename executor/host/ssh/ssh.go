package ssh

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/spec"
)

// Options say which machine, and how.
type Options struct {
	Address string
	SSH     spec.SSH
	// Version is requorum's.
	Version string
	Program *Program
	// NoInstall forbids to put the program there.
	NoInstall bool
	// Limit is how long the host may say nothing.
	Limit time.Duration
	// Placed is told once the program was put on the host, and where; it may be nil.
	Placed func(path string)
	// Dir is where the agent lies; "" is AgentDir.
	Dir string
}

// Connect gives a connection to the agent on the machine. Its error is an *Error
// where it is known what stands in the way.
func Connect(ctx context.Context, o Options) (*agent.Client, error) {
	if o.Dir == "" {
		o.Dir = AgentDir
	}
	s, err := start(ctx, o)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.cancel(context.Cause(ctx)) })
	defer stop()
	c, err := s.connect()
	if err != nil {
		s.end()
		return nil, s.explain(err)
	}
	s.quiet.stop()
	return c, nil
}

// session is one ssh command.
type session struct {
	o      Options
	ctx    context.Context
	cancel context.CancelCauseFunc
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	quiet  *watchdog
	stray  string
	once   sync.Once
}

// argv is the command line: the user's command, then what must not be otherwise.
// Forwarding and commands of the configuration have no place on it.
func (o Options) argv() []string {
	argv := slices.Clone(o.SSH.Command)
	if len(argv) == 0 {
		argv = []string{"ssh"}
	}
	// ssh takes the first value that an option is given: ours come before the user's.
	var rest []string
	if i := slices.IndexFunc(argv, isSSH); i >= 0 {
		argv, rest = argv[:i+1:i+1], argv[i+1:]
	}
	for _, opt := range []string{
		"BatchMode=yes", "StrictHostKeyChecking=yes", "NoHostAuthenticationForLocalhost=no", "NumberOfPasswordPrompts=0",
		"ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no", "RequestTTY=no", "RemoteCommand=none", "PermitLocalCommand=no",
	} {
		argv = append(argv, "-o", opt)
	}
	argv = append(argv, rest...)
	if o.SSH.Port != 0 {
		argv = append(argv, "-p", strconv.Itoa(o.SSH.Port))
	}
	if o.SSH.User != "" {
		argv = append(argv, "-l", o.SSH.User)
	}
	return append(argv, "--", o.Address, command())
}

func isSSH(arg string) bool { return filepath.Base(arg) == "ssh" }

// lax reports whether an argument of a command that is not ssh by its name, before which
// nothing can be put, sets how host keys are checked.
func lax(arg string) bool {
	arg = strings.ToLower(arg)
	return strings.Contains(arg, "stricthostkeychecking") || strings.Contains(arg, "nohostauthentication")
}

func start(ctx context.Context, o Options) (*session, error) {
	argv := o.argv()
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, trouble(NoCommand, "install OpenSSH's client, or name another in ssh { command }", "there is no %s here (%v)", argv[0], err)
	}
	if i := slices.IndexFunc(argv[:len(o.SSH.Command)], lax); i >= 0 && !slices.ContainsFunc(o.SSH.Command, isSSH) {
		return nil, trouble(NoCommand, "leave "+argv[i]+" out: the hosts' keys belong into known_hosts", "%s switches the check of host keys off, and they are always checked", argv[i])
	}
	s := &session{o: o, stderr: &tail{}}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) // the connection outlives ctx
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Stderr = s.stderr
	// Not of our terminal: nothing can ask there, and Ctrl-C is requorum's alone.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	s.cmd.WaitDelay = time.Second
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReaderSize(out, 64<<10)
	if err := s.cmd.Start(); err != nil {
		return nil, trouble(NoCommand, "", "%s can't be started: %v", argv[0], err)
	}
	s.quiet = newWatchdog(o.Limit, func() { s.cancel(fmt.Errorf("no answer within %s", o.Limit)) })
	context.AfterFunc(s.ctx, s.kill)
	return s, nil
}

// kill ends ssh and what it started, such as a proxy.
func (s *session) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
}

// end closes the connection and waits for ssh.
func (s *session) end() {
	s.once.Do(func() {
		s.quiet.stop()
		_ = s.in.Close()
		timer := time.AfterFunc(endLimit, s.kill)
		defer timer.Stop()
		_ = s.cmd.Wait()
	})
}

// endLimit is how long the agent may take to let go of everything and end, before
// ssh is not waited for any more; it goes on there all the same.
const endLimit = 2 * time.Second

// explain finds the reason behind err, which may be only that the stream ended.
func (s *session) explain(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if cause := context.Cause(s.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return trouble(Unreachable, "see whether the host is up and its sshd answers", "%v%s", cause, inBrackets(lastWords(s.stderr.String())))
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return ofSSH(s.cmd.ProcessState.ExitCode(), s.stderr.String(), s.stray)
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// hear waits for the script's next line and gives its word and the rest.
func (s *session) hear() (word, rest string, err error) {
	line, stray, err := agent.FindLine(s.out, placeMagic)
	s.stray += stray
	s.quiet.kick()
	if err != nil {
		return "", "", err
	}
	word, rest, _ = strings.Cut(string(line), " ")
	return word, strings.TrimSpace(rest), nil
}

func (s *session) say(text string) {
	_, _ = io.WriteString(s.in, text) // whoever does not read says why on the other stream
}

func (s *session) connect() (*agent.Client, error) {
	s.say(loginScript())
	word, rest, err := s.hear()
	if err != nil {
		return nil, err
	}
	system := strings.Fields(rest)
	if word != "system" || len(system) != 3 {
		return nil, trouble(NotReady, "", "the host said %q %q, which is not understood", word, rest)
	}
	s.say(rootScript)
	switch word, rest, err = s.hear(); {
	case err != nil:
		return nil, err
	case word == "no-sudo":
		user, why, _ := strings.Cut(rest, " ")
		return nil, trouble(NoSudo, "log in as root, or let "+user+" use sudo without a password", "%s is not root, and sudo -n does not work: %s", user, why)
	case word != "ready":
		return nil, trouble(NotReady, "", "the host said %q %q, which is not understood", word, rest)
	}
	if err := s.program(system[0], system[1]); err != nil {
		return nil, err
	}
	return s.greet()
}

// program has the right requorum started.
func (s *session) program(system, machine string) error {
	if goarch(machine) != runtime.GOARCH || strings.ToLower(system) != runtime.GOOS {
		return s.otherSystem(system, machine)
	}
	// It answers: from here on a slow host, or a slow line, has more time. The files
	// that are read through are large.
	s.quiet.slow()
	sum, err := s.o.Program.Sum()
	if err != nil {
		return trouble(Died, "", "this program can't read itself: %v", err)
	}
	s.say("same " + s.o.Dir + " " + sum + "\n")
	for {
		word, rest, err := s.hear()
		switch {
		case err != nil:
			return err
		case word == "found":
			return nil
		case word == "placed":
			if s.o.Placed != nil {
				s.o.Placed(rest)
			}
			return nil
		case word == "failed":
			return ofPlacing(s.o.Address, rest)
		case word != "wanted":
			return trouble(NotReady, "", "the host said %q %q, which is not understood", word, rest)
		case s.o.NoInstall:
			return trouble(NotPlaced, fmt.Sprintf("leave it out, or put this requorum there yourself, as %s/%s or in root's PATH", s.o.Dir, sum), "requorum is not there, and --no-install forbids to place it")
		}
		if err := s.place(); err != nil {
			return err
		}
	}
}

func (s *session) otherSystem(system, machine string) error {
	s.say("other - -\n")
	switch word, _, err := s.hear(); {
	case err != nil:
		return err
	case word == "found":
		return nil // its greeting tells whether it is of this version
	}
	return trouble(OtherSystem, fmt.Sprintf("install requorum %s for %s/%s there, in root's PATH", s.o.Version, strings.ToLower(system), goarch(machine)),
		"the host is %s on %s, and this requorum is for %s/%s", system, machine, runtime.GOOS, runtime.GOARCH)
}

// goarch is Go's name for what uname -m says.
func goarch(machine string) string {
	switch machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	case "i386", "i686":
		return "386"
	}
	return machine
}

// place sends the program, on a goroutine of its own: the host may have said by
// then that it won't have it.
func (s *session) place() error {
	b, err := s.o.Program.packed()
	s.quiet.kick()
	if err != nil {
		return trouble(Died, "", "this program can't read itself: %v", err)
	}
	go func() {
		s.say(strconv.Itoa(len(b)) + "\n")
		for part := range slices.Chunk(b, 64<<10) {
			if _, err := s.in.Write(part); err != nil {
				return
			}
			s.quiet.kick()
		}
	}()
	return nil
}

func (s *session) greet() (*agent.Client, error) {
	c, err := agent.Dial(s.ctx, s.o.Version, s.out, s.in, s.end)
	var misfit *agent.MisfitError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &misfit):
		h := misfit.Hello
		return nil, trouble(OtherSystem, fmt.Sprintf("install requorum %s for %s/%s there", s.o.Version, h.OS, h.Arch), "%v", misfit)
	case s.ctx.Err() != nil:
		return nil, err
	}
	s.end()
	words := lastWords(s.stderr.String())
	if code := s.cmd.ProcessState.ExitCode(); code == 126 || strings.Contains(words, "Permission denied") {
		return nil, trouble(NoExec, "remount it without noexec, or install requorum in root's PATH there", "requorum is at %s, and can't be run there: is the file system mounted noexec? (%s)", s.o.Dir, words)
	}
	return nil, trouble(Died, "", "requorum's agent did not come up there: %v%s", err, inBrackets(words))
}

// tail keeps the last of what was written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - 32<<10; n > 0 {
		t.b = slices.Delete(t.b, 0, n)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// watchdog barks when it was not kicked for a while.
type watchdog struct {
	limit time.Duration // changed before anybody else kicks
	timer *time.Timer
}

func newWatchdog(limit time.Duration, bark func()) *watchdog {
	if limit <= 0 {
		return &watchdog{}
	}
	return &watchdog{limit, time.AfterFunc(limit, bark)}
}

func (w *watchdog) kick() {
	if w.timer != nil && w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
}

// slow is patient from now on.
func (w *watchdog) slow() {
	w.limit *= slowFactor
	w.kick()
}

const slowFactor = 6

func (w *watchdog) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
