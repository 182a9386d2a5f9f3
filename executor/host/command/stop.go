package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host/process"
)

// Stop ends what the commands keep, and any supervisor of requorum's, and returns when
// no process has the data open and the status command says that it is stopped. Whatever
// runs without the commands gets no signal from here.
func (s Service) Stop(ctx context.Context) error { return s.stop(ctx, false) }

// Bar is Stop for a member that is being fenced: what runs without the commands is not
// waited for, for the fence ends it.
func (s Service) Bar(ctx context.Context) error { return s.stop(ctx, true) }

func (s Service) stop(ctx context.Context, others bool) error {
	defer s.boundLog()
	if err := process.Stop(ctx, s.Layout); err != nil {
		return err
	}
	pid, at, _, err := s.look(ctx)
	if err != nil {
		return err
	}
	switch {
	case at == stopped && (pid == 0 || others):
		return nil
	case at == stopped:
		return fmt.Errorf("its status command says that it is stopped, and %s has %s open: end that the way it was started, then plan again", named(pid), s.Layout.DataDir)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	r, said := s.run(ctx, s.Commands.Stop, stopLimit, nil), result{}
	for end := time.Now().Add(goDown); ; {
		if pid, at, said, err = s.look(ctx); err != nil || at == stopped && (pid == 0 || others) {
			return err
		}
		if time.Now().After(end) || r.err != nil || r.code != 0 {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it was told to stop, and is not seen to have: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
	}
	switch {
	case pid != 0:
		return fmt.Errorf("it does not stop: %s, and %s has %s open", r.text(), named(pid), s.Layout.DataDir)
	case at == running:
		return fmt.Errorf("nothing has %s open, and its status command says that it runs: what it keeps may start etcd again. Correct the stop or the status command, then plan again (%s)", s.Layout.DataDir, r.text())
	}
	return fmt.Errorf("it is not known whether it is stopped: %s; %s", said.text(), r.text())
}

// look is who has the data open, and what the status command says then.
func (s Service) look(ctx context.Context) (pid int, at standing, said result, err error) {
	at, said = s.ask(ctx)
	pid, err = s.holder()
	return pid, at, said, err
}

// watchTime is how long a member that was stopped is looked at: what keeps it may have
// it running again within some seconds.
const watchTime = 3 * time.Second

// Watch returns an error where somebody starts it again. Its data lies in dataDir and
// walDir by now: behind a fence, perhaps, where one that stood in the directory as it
// moved can still get at it.
func (s Service) Watch(ctx context.Context, dataDir, walDir string) error {
	fight := func(what string) error {
		return fmt.Errorf("somebody starts it again: %s. The data is where it was put, and safe; stop who does it, then plan again", what)
	}
	for end := time.Now().Add(watchTime); ; {
		pid, err := s.holder()
		where := s.Layout.DataDir
		if err == nil && pid == 0 {
			where = dataDir
			pid, err = openedBy(dataDir, walDir)
		}
		if err != nil {
			return err
		}
		if pid != 0 {
			return fight(fmt.Sprintf("%s has %s open", named(pid), where))
		}
		at, said := s.ask(ctx)
		over := time.Now().After(end)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case at == running:
			return fight("its status command says that it runs")
		case at == unclear && over:
			return errors.New("it is not known whether it stays stopped: " + said.text())
		case over:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Idle returns an error where something is at work that may start the member.
func (s Service) Idle(ctx context.Context) error {
	if pid := process.Supervisor(s.Layout); pid != 0 {
		return fmt.Errorf("a supervisor (pid %d) is at work on %s", pid, s.Layout.DataDir)
	}
	if up(process.Status(s.Layout)) {
		return fmt.Errorf("an etcd that requorum's supervisor started runs on %s: stop it first", s.Layout.DataDir)
	}
	up, err := s.runs(ctx)
	if err == nil && up {
		err = errors.New("it runs under its commands: stop it first")
	}
	return err
}

// Who leaves something running that prints to the start command's log fills the disk that
// the member's data is on: of a log that takes up more than mostLog only the end is kept.
const (
	mostLog = mostOutput
	keptLog = 1 << 20
)

// boundLog makes a hole of the log's older part. Nothing is lost of what is printed
// meanwhile, and nobody's place in the file moves; where the file system can't do that
// the next start empties it.
func (s Service) boundLog() {
	f, err := os.OpenFile(s.logPath(), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Blocks*512 <= mostLog || st.Size <= keptLog {
		return
	}
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, (st.Size-keptLog)&^4095)
}
