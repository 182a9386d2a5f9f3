package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// How long what a command began may take to show, how long it has to stay before it is
// believed, and how long an etcd without data may take to begin its log: a member that
// joins asks the others first.
var (
	comeUp   = 20 * time.Second
	goDown   = 30 * time.Second
	settle   = 700 * time.Millisecond
	firstLog = 45 * time.Second
)

const pause = 100 * time.Millisecond

// Start starts the member, and returns when a process has its data open and the status
// command says that it runs; before that serves. One that runs is left alone. A start
// that is closed to clients, and the first one on an empty directory, is requorum's own
// supervisor's.
func (s Service) Start(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	cfg.Commands = &s.Commands
	closed := planner.Closed(m.Args)
	own := process.Supervisor(s.Layout) != 0
	if !own {
		up, err := s.runs(ctx)
		if err != nil {
			return err
		}
		if up && closed {
			return fmt.Errorf("it runs under its own commands already: stop it, then plan again")
		}
		if up {
			return nil
		}
	}
	if closed {
		_, err := process.Start(ctx, s.Self, cfg, s.Layout)
		return err
	}
	if m.Bootstrap {
		if err := s.first(ctx, cfg); err != nil {
			return err
		}
		cfg.Bootstrap = false
	}
	// A supervisor that is at work here has made the first start, or was here before.
	if err := process.Stop(ctx, s.Layout); err != nil {
		return err
	}
	give, err := s.owner()
	if err != nil {
		return err
	}
	if err := process.MayStart(cfg, give, s.Layout); err != nil {
		return err
	}
	if err := process.Record(cfg, s.Layout); err != nil {
		return err
	}
	if err := s.write(m.Files); err != nil {
		return err
	}
	if err := give(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.begin(ctx, m)
}

// runs reports whether the member runs under its commands; what is not clear is an
// error.
func (s Service) runs(ctx context.Context) (bool, error) {
	st := s.Status(ctx, 0)
	switch {
	case !st.Known():
		return false, errors.New(st.Why)
	case st.Value.State == planner.ServiceBackoff:
		return false, errors.New(st.Value.LastError + ": stop it, then plan again")
	}
	return st.Value.State == planner.ServiceRunning, nil
}

// first is a member's first start: its log begins under requorum's own supervisor.
func (s Service) first(ctx context.Context, cfg process.Config) error {
	if _, err := process.Start(ctx, s.Self, cfg, s.Layout); err != nil {
		return err
	}
	for end := time.Now().Add(firstLog); ; {
		if s.begun() {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("it runs under requorum's supervisor, and has not begun its log within %s: is a quorum of the others there? (log: %s)", firstLog, s.Layout.Log())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it runs under requorum's supervisor, and has not begun its log yet: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// begun reports whether its log has entries that are agreed on: an etcd that is ended
// before has no members in its log, and would wait for them for ever.
func (s Service) begun() bool {
	d := etcd.ReadDataDir(s.Layout.DataDir, s.Layout.WALDir)
	return d.Known() && d.Value.State == planner.DirPresent && d.Value.LastIndex > 0 && d.Value.Commit > 0
}

// owner gives what hands the member's files to whom its etcd runs as.
func (s Service) owner() (give func() error, err error) {
	if s.User == "" {
		return func() error { return nil }, nil
	}
	o, err := host.OwnerOf(s.User, "")
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := o.Give(s.Layout.DataDir, s.Layout.WALDir); err != nil {
			return err
		}
		// It has to get to its configuration, and to nothing else that is kept there.
		if err := os.Chmod(s.Layout.Base(), 0o711); err != nil {
			return err
		}
		if err := os.Chown(s.configPath(), os.Geteuid(), o.GID); err == nil {
			err = os.Chmod(s.configPath(), 0o640)
			if err != nil {
				return err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return o.Reaches(s.Layout.DataDir)
	}, nil
}

// write has etcd's configuration file be what the plan says.
func (s Service) write(files []planner.FileChange) error {
	for _, f := range files {
		if f.Path != s.configPath() {
			return fmt.Errorf("%s was planned, and the member's configuration file is %s: plan again", f.Path, s.configPath())
		}
		fi, err := os.Lstat(f.Path)
		if err == nil && !fi.Mode().IsRegular() {
			return fmt.Errorf("%s is no plain file (%s): it is not written over", f.Path, fi.Mode().Type())
		}
		if s.config() == f.Text {
			continue
		}
		if err := host.WriteFile(f.Path, []byte(f.Text)); err != nil {
			return err
		}
	}
	return nil
}

// begin runs the start command, and waits for what it leads to.
func (s Service) begin(ctx context.Context, m planner.StartMember) error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r := s.run(ctx, s.Commands.Start, startLimit, log)
	if r.err != nil || r.code != 0 {
		pid, err := s.holder()
		if err != nil || pid == 0 {
			return fmt.Errorf("it does not start: %s", r.text())
		}
		return fmt.Errorf("it was not started as it should: %s. All the same %s has %s open: plan again", r.text(), named(pid), s.Layout.DataDir)
	}
	return s.await(ctx, m, r)
}

// await returns when a process has had the data open for a moment, with the settings
// that it should, and the status command says so too.
func (s Service) await(ctx context.Context, m planner.StartMember, started result) error {
	var since time.Time
	seen, at, said := 0, unclear, result{}
	for end := time.Now().Add(comeUp); ; {
		pid, err := s.holder()
		if err != nil {
			return err
		}
		if pid != seen {
			seen, since = pid, time.Now()
		}
		if pid != 0 && time.Since(since) > settle {
			if at, said = s.ask(ctx); at == running {
				return s.settings(pid, m)
			}
		}
		if time.Now().After(end) {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it was told to start, and is not seen to run yet: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
	}
	end := log(started)
	if seen == 0 {
		if at, said = s.ask(ctx); at == running {
			return fmt.Errorf("the start command ended well and its status command says that it runs, and after %s no process has %s open: does it run etcd on another directory, or is it ended again and again?%s", comeUp, s.Layout.DataDir, end)
		}
		return fmt.Errorf("the start command ended well, and after %s nothing runs on %s (%s)%s", comeUp, s.Layout.DataDir, said.text(), end)
	}
	return fmt.Errorf("%s has %s open, and the status command does not say that it runs: %s. Correct it, then plan again", named(seen), s.Layout.DataDir, said.text())
}

func log(r result) string {
	if r.words == "" {
		return ""
	}
	return "; it printed: " + r.words
}

// settings refuses a process that runs otherwise than the plan says.
func (s Service) settings(pid int, m planner.StartMember) error {
	if pid < 0 {
		return nil
	}
	now, err := process.Settings(pid)
	if err != nil {
		return nil // nothing can be compared, which the next plan tells
	}
	planned, err := process.SettingsFrom(m.Args, nil, "/")
	if err != nil {
		return err
	}
	if diff := planner.SettingsDiff(args(now), args(planned)); diff != "" {
		return fmt.Errorf("it runs (process %d) with other settings than the plan says: %s. Have the start command run etcd --config-file=%s (REQUORUM_ETCD_CONFIG has that path), then plan again", pid, diff, s.configPath())
	}
	return nil
}
