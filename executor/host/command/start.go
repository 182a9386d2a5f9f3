package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// How long what a command began may take to show, how long it has to stay before it is
// believed, and how long nothing may be written by an etcd without data that has not
// begun its log: a member that joins asks the others first.
var (
	comeUp   = planner.CommandComeUpSeconds * time.Second
	goDown   = planner.CommandGoDownSeconds * time.Second
	settle   = 700 * time.Millisecond
	firstLog = 45 * time.Second
)

const pause = 100 * time.Millisecond

// Start starts the member, and returns when a process has its data open and the status
// command says that it runs; before that serves. One that runs is left alone. A start
// that is closed to clients, and the first one on an empty directory, is requorum's own
// supervisor's.
func (s Service) Start(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	if names := planner.UntoldFlags(m.Args); len(names) > 0 {
		return fmt.Errorf("the plan does not have --%s, which has a secret in it: plan again", strings.Join(names, ", --"))
	}
	cfg.Commands = &s.Commands
	closed := planner.Closed(m.Args)
	own := process.Supervisor(s.Layout) != 0 || up(process.Status(s.Layout))
	if !own {
		up, err := s.runs(ctx)
		if err != nil {
			return err
		}
		if up && closed {
			return fmt.Errorf("it runs under its own commands already: stop it, then plan again")
		}
		if up {
			return s.unforced()
		}
	}
	o, err := s.owner(m.Bootstrap)
	if err != nil {
		return err
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
	if err := process.MayStart(cfg, func() error { return s.give(o) }, s.Layout); err != nil {
		return err
	}
	if err := process.Record(cfg, s.Layout); err != nil {
		return err
	}
	if err := s.write(m.Files, o); err != nil {
		return err
	}
	if err := s.give(o); err != nil {
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

// forces reports whether the process has --force-new-cluster: it, and each start after it,
// expels every other member from this disk.
func forces(pid int) bool {
	if pid <= 0 {
		return false
	}
	now, err := process.Settings(pid)
	return err == nil && now["force-new-cluster"] == "true"
}

const forcedWords = "Take --force-new-cluster (ETCD_FORCE_NEW_CLUSTER) out of what the start command runs before anything starts it again: each start with it expels all other members from this disk"

// unforced refuses a member that runs with --force-new-cluster. It was not started here,
// and goes on.
func (s Service) unforced() error {
	pid, err := s.holder()
	if err == nil && forces(pid) {
		err = fmt.Errorf("it runs (process %d) with --force-new-cluster. %s, then plan again", pid, forcedWords)
	}
	return err
}

// guard looks at what comes up while the start command is at work, which may go on until
// the member serves.
func (s Service) guard(began chan struct{}) error {
	for {
		if pid, err := s.holder(); err == nil && forces(pid) {
			return s.endForced(pid)
		}
		select {
		case <-began:
			return nil
		case <-time.After(pause):
		}
	}
}

// endForced stops at once what the start command has begun with --force-new-cluster, and
// says how that went. It is not left half done, whatever else is asked for meanwhile.
func (s Service) endForced(pid int) error {
	what := fmt.Sprintf("it was started (process %d) with --force-new-cluster", pid)
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit+goDown)
	defer cancel()
	_, err := process.EndUsers(ctx, s.Layout.DataDir, s.Layout.WALDir)
	if err == nil {
		err = s.Stop(ctx) // or what the command talks to starts it again
	}
	if err != nil {
		return fmt.Errorf("%s, and is not stopped yet: %w. Stop it at once. %s", what, err, forcedWords)
	}
	return fmt.Errorf("%s, and was stopped at once. %s. If the others serve, this member's data is to be replaced: its own list may have only itself by now", what, forcedWords)
}

// first is a member's first start: its log begins under requorum's own supervisor. One
// that joins is sent a copy of everything first, which takes what it takes: it is given
// up where nothing of it moves any more, or the step's time is over.
func (s Service) first(ctx context.Context, cfg process.Config) error {
	if _, err := process.Start(ctx, s.Self, cfg, s.Layout); err != nil {
		return err
	}
	was, moved := s.written(), time.Now()
	for {
		if s.begun() {
			return nil
		}
		if now := s.written(); now != was {
			was, moved = now, time.Now()
		}
		if own := process.Status(s.Layout); own.State == planner.ServiceFailed {
			return fmt.Errorf("its first start, by requorum's supervisor, failed: %s (log: %s)", own.LastError, s.Layout.Log())
		}
		if time.Since(moved) > firstLog {
			return fmt.Errorf("it runs under requorum's supervisor, has not begun its log, and for %s nothing was written to %s: is a quorum of the others there? (log: %s)", firstLog, s.Layout.DataDir, s.Layout.Log())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it runs under requorum's supervisor, and has not begun its log yet: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// written tells whether anything was written: the files' sizes, what they take up, and
// when they were last changed. A log is made at its full size at once.
func (s Service) written() (sum [3]int64) {
	dirs := []string{filepath.Join(s.Layout.DataDir, "member")}
	if s.Layout.WALDir != "" {
		dirs = append(dirs, s.Layout.WALDir)
	}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil && unix.Lstat(path, &st) == nil {
				sum[0] += st.Size
				sum[1] += st.Blocks
				sum[2] = max(sum[2], st.Mtim.Nano())
			}
			return nil // what goes while it is looked at is a change too
		})
	}
	return sum
}

// begun reports whether its log has entries that are agreed on: an etcd that is ended
// before has no members in its log, and would wait for them for ever.
func (s Service) begun() bool {
	d := etcd.ReadDataDir(s.Layout.DataDir, s.Layout.WALDir)
	return d.Known() && d.Value.State == planner.DirPresent && d.Value.LastIndex > 0 && d.Value.Commit > 0
}

// owner is whom its etcd runs as, where that is not requorum's user; nil for nobody else.
// It is looked for before anything is started: he has to be known, and to get to the
// member's directories. With fresh what is missing above them is made so that he does.
func (s Service) owner(fresh bool) (*host.Owner, error) {
	if s.User == "" {
		return nil, nil
	}
	o, err := host.OwnerOf(s.User, "")
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{s.Layout.DataDir, s.Layout.WALDir} {
		if dir == "" {
			continue
		}
		if fresh {
			if err := host.MakeFolder(filepath.Dir(dir)); err != nil {
				return nil, err
			}
		}
		if err := o.Reaches(dir); err != nil {
			return nil, err
		}
	}
	return &o, nil
}

// give hands the member's data to whom its etcd runs as, and lets him get to its
// configuration, and to nothing else that is kept there.
func (s Service) give(o *host.Owner) error {
	if o == nil {
		return nil
	}
	if err := o.Give(s.Layout.DataDir, s.Layout.WALDir); err != nil {
		return err
	}
	return os.Chmod(s.Layout.Base(), 0o711)
}

// write has etcd's configuration file be what the plan says, readable for whom its etcd
// runs as.
func (s Service) write(files []planner.FileChange, o *host.Owner) error {
	for _, f := range files {
		if f.Path != s.configPath() {
			return fmt.Errorf("%s was planned, and the member's configuration file is %s: plan again", f.Path, s.configPath())
		}
		if planner.IsUntold(f.Text) {
			return fmt.Errorf("%s: the plan does not have all that belongs there, for it is a secret: plan again", f.Path)
		}
		fi, err := os.Lstat(f.Path)
		if err == nil && !fi.Mode().IsRegular() {
			return fmt.Errorf("%s is no plain file (%s): it is not written over", f.Path, fi.Mode().Type())
		}
		if err == nil && s.config() == f.Text && readableFor(fi, o) {
			continue
		}
		if o == nil {
			err = host.WriteFile(f.Path, []byte(f.Text))
		} else {
			err = host.WriteFileFor(f.Path, []byte(f.Text), os.Geteuid(), o.GID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readableFor reports whether a file is as write makes it: for requorum's user alone, or
// for one group beside.
func readableFor(fi fs.FileInfo, o *host.Owner) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if o == nil {
		return ok && int(st.Uid) == os.Geteuid() && fi.Mode().Perm() == 0o600
	}
	return ok && int(st.Uid) == os.Geteuid() && int(st.Gid) == o.GID && fi.Mode().Perm() == 0o640
}

// begin runs the start command, and waits for what it leads to.
func (s Service) begin(ctx context.Context, m planner.StartMember) error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.guard(began) }()
	r := s.run(ctx, s.Commands.Start, startLimit, log)
	close(began)
	if err := <-ended; err != nil {
		return err
	}
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
		if forces(pid) {
			return s.endForced(pid)
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
	told, _ := process.Tell(now)
	if diff := planner.SettingsDiff(args(told), args(planned)); diff != "" {
		return fmt.Errorf("it runs (process %d) with other settings than the plan says: %s. Have the start command run etcd --config-file=%s (REQUORUM_ETCD_CONFIG has that path), then plan again", pid, diff, s.configPath())
	}
	return nil
}
