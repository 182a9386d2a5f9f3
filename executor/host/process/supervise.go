package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// The pauses before etcd is started again after a crash.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
	healthy    = 60 * time.Second // after a run this long the pauses begin anew
)

// supervisor watches over one member.
type supervisor struct {
	layout   host.Layout
	cfg      Config
	state    state
	log      *os.File
	stop     chan os.Signal
	crashes  int // in a row, for the pause
	identity func(dataDir, walDir string) (clusterID, memberID string, err error)
	own      func() error // gives an empty directory to whom it is for; nil for nobody else
}

// Supervise runs etcd for the member whose files lie in base (Layout.Base),
// until SIGTERM or SIGINT; then it stops etcd and returns nil. It is the whole
// of "requorum agent supervise BASE". Where another supervisor holds the lock it
// returns nil at once. A start that would do harm ends it with an error, after
// the state "failed" and the reason were written down.
func Supervise(base string) error { return supervise(base, etcd.Identity) }

func supervise(base string, identity func(string, string) (string, string, error)) error {
	// Signals first: Stop may come at any time.
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGHUP)
	unix.Umask(0o077)
	_, _ = unix.Setsid() // fails where it leads its session already

	base = filepath.Clean(base)
	cfg, l, err := readConfigAt(base)
	if err != nil {
		return err
	}
	lock, err := lockSupervisor(l)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	log, err := openLog(l.Log())
	if err != nil {
		return err
	}
	defer log.Close()
	me, _, err := lookup(os.Getpid())
	if err != nil {
		return err
	}
	s := &supervisor{layout: l, cfg: cfg, log: log, stop: stop, identity: identity}
	s.state, _ = readState(l)
	s.state.Supervisor = me
	return s.run()
}

// lockSupervisor takes the lock that one supervisor holds; nil where another
// one has it. The file stays: only its lock means something.
func lockSupervisor(l host.Layout) (*os.File, error) {
	f, err := os.OpenFile(l.SupervisorLock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, fmt.Errorf("lock %s: %w", l.SupervisorLock(), err)
}

// giveUpLock lets another one have the lock at once. Closed only, it stays as long as any
// child does that this program is just starting elsewhere: until it runs its own program
// such a one has all files open that its parent had.
func giveUpLock(lock *os.File) {
	_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
	lock.Close()
}

func (s *supervisor) run() error {
	for first := true; ; first = false {
		c, err := s.next(first)
		var harm *refusal
		switch {
		case errors.As(err, &harm):
			return s.fail(err)
		case err != nil:
			s.crashed("not started: "+err.Error(), err.Error())
		case s.watch(c):
			s.set(planner.ServiceStopped)
			return nil
		default:
			if words := finalWords(s.layout.Log()); words != "" && !s.hearsay(words) {
				return s.fail(refuse("etcd is not started again, for that can't help: %s", words))
			}
		}
		if s.pause() {
			s.set(planner.ServiceStopped)
			return nil
		}
	}
}

// hearsay reports whether etcd ended because another member told it that it was
// removed, while its own data knows nothing of that. The other may be a stray that
// was started with --force-new-cluster: once that is gone this one must come back.
func (s *supervisor) hearsay(words string) bool {
	if !strings.Contains(words, "permanently removed") {
		return false
	}
	d := etcd.ReadDataDir(s.cfg.DataDir, s.cfg.WALDir)
	return d.Known() && !slices.Contains(d.Value.Removed, s.cfg.MemberID) &&
		slices.ContainsFunc(d.Value.Members, func(m planner.ListedMember) bool { return m.ID == s.cfg.MemberID })
}

// next gives the running etcd of this member where there is one, and starts one
// otherwise.
func (s *supervisor) next(first bool) (*child, error) {
	if c, ok := s.adopt(); ok {
		return c, nil
	}
	if first {
		s.state.Restarts, s.state.LastExit, s.state.LastError = 0, "", ""
		s.set(starting)
	} else {
		s.state.Restarts++
	}
	if cfg, _, err := readConfigAt(s.layout.Base()); err == nil {
		s.cfg = cfg // settings written for the next start
	}
	if err := s.mayStart(); err != nil {
		return nil, err
	}
	say(s.log, "info", startMsg+" "+s.cfg.Name)
	c, err := startChild(s.cfg, s.layout, s.log)
	if err != nil {
		return nil, err
	}
	s.state.Child, s.state.Adopted = c.id, false
	s.state.Args, s.state.Private = s.cfg.Args, s.cfg.Private
	s.set(planner.ServiceRunning)
	return c, nil
}

func (s *supervisor) adopt() (*child, bool) {
	id, ok := runningChild(s.layout, s.state)
	if !ok {
		return nil, false
	}
	s.state = s.state.with(id)
	msg := "supervising the running etcd"
	if s.state.Adopted {
		msg = adoptMsg // its words are elsewhere: those before are not its own
	}
	say(s.log, "info", fmt.Sprintf("%s, pid %d", msg, id.PID))
	s.set(planner.ServiceRunning)
	return watchChild(id), true
}

// watch returns true when etcd was stopped by request, false when it ended by
// itself.
func (s *supervisor) watch(c *child) bool {
	began := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			if time.Since(began) >= healthy {
				s.crashes = 0
			}
			s.crashed(c.exit, dyingWords(s.layout.Log()))
			return false
		case <-s.stop:
			s.state.LastError = ""
			s.state.LastExit = c.end(s.cfg.stopTimeout())
			say(s.log, "info", "stopped by request: "+s.state.LastExit)
			return true
		case <-tick.C:
			if err := rotate(s.layout.Log(), s.cfg.logBytes()); err != nil {
				say(s.log, "warn", "log rotation: "+err.Error())
			}
		}
	}
}

func (s *supervisor) crashed(exit, words string) {
	s.state.LastExit, s.state.LastError = exit, words
	if words == "" {
		s.state.LastError = exit
	}
	s.crashes++
	s.set(planner.ServiceBackoff)
	say(s.log, "warn", "etcd: "+exit)
}

// pause waits before the next start; true when it was told to stop meanwhile.
func (s *supervisor) pause() bool {
	select {
	case <-s.stop:
		return true
	case <-time.After(pauseAfter(s.crashes)):
		return false
	}
}

// pauseAfter grows from 100 ms to 10 s, less up to a quarter at random so that
// members which fell together do not come back together.
func pauseAfter(crashes int) time.Duration {
	d := firstPause
	for i := 1; i < crashes && d < mostPause; i++ {
		d *= 2
	}
	d = min(d, mostPause)
	return d - time.Duration(rand.Int64N(int64(d)/4))
}

func (s *supervisor) fail(err error) error {
	s.state.LastError = err.Error()
	s.set(planner.ServiceFailed)
	say(s.log, "error", "not started: "+err.Error())
	return err
}

// set writes the state down. That it could not (a full disk) does not end the
// supervision: the running etcd is found by its command line then.
func (s *supervisor) set(st planner.ServiceState) {
	s.state.State, s.state.Since = st, timestamp()
	if err := writeJSON(s.layout.SupervisorState(), s.state); err != nil {
		say(s.log, "error", "write state: "+err.Error())
	}
}
