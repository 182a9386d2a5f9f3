package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Service is one member's, of the user's own commands.
type Service struct {
	planner.Commands
	Name   string // the member's
	Layout host.Layout
	Self   string // the path of requorum; "" for this program
}

func (s Service) configPath() string { return planner.ConfigPath(s.Layout.Base()) }

// logPath is what a start command prints, and what it leaves running.
func (s Service) logPath() string { return s.Layout.Base() + "/start.log" }

// standing is how the status command says that the member stands.
type standing int

const (
	unclear standing = iota
	running
	stopped
)

// What status commands end with, as those of init scripts do (LSB): other numbers are
// of failures, and of programs that never heard of it.
const (
	exitRunning = 0
	exitStopped = 3
)

// ask runs the status command.
func (s Service) ask(ctx context.Context) (standing, result) {
	r := s.run(ctx, s.Commands.Status, statusLimit, nil)
	switch {
	case r.err != nil:
		return unclear, r
	case r.code == exitRunning:
		return running, r
	case r.code == exitStopped:
		return stopped, r
	}
	return unclear, r
}

// holder is who has the member's data open: 0 for nobody, -1 for one that can't be
// named. Behind a fence nobody can.
func (s Service) holder() (int, error) {
	l := s.Layout
	if fi, err := os.Stat(l.DataDir); l.FenceText() != "" || err == nil && !fi.IsDir() {
		return 0, nil
	}
	return openedBy(l.DataDir, l.WALDir)
}

// openedBy is who has a member's files in these directories open: 0 for nobody, -1 for
// one that can't be named.
func openedBy(dataDir, walDir string) (int, error) {
	pid, err := process.HeldBy(dataDir, walDir)
	if err != nil || pid != 0 {
		return pid, err
	}
	users, err := process.Users(dataDir, walDir)
	if err != nil || len(users) == 0 {
		return 0, err
	}
	return users[0], nil
}

// again is how long a contradiction between the status command and what runs may last
// before it is believed to be one: a member may just be coming, or going.
const again = 700 * time.Millisecond

// Status says how the member stands; it changes nothing. held is the process that has
// the data open, or what lies behind the fence; 0 for none.
func (s Service) Status(ctx context.Context, held int) planner.Fact[planner.Service] {
	out := planner.Service{Commands: &planner.CommandService{Config: s.config()}}
	if _, err := os.Stat(s.logPath()); err == nil {
		out.Log = s.logPath()
	}
	cfg, cfgErr := process.ReadConfig(s.Layout)
	if cfgErr == nil {
		out.Cluster = cfg.Cluster
		out.Carried = process.TellFlags(cfg.Carried)
	}
	own := process.Status(s.Layout)
	if up(own) {
		own.Commands = out.Commands
		own.Commands.Closed = planner.Closed(own.Args)
		own.Commands.Interim = !own.Commands.Closed
		return planner.Known(own)
	}
	for end := time.Now().Add(again); ; time.Sleep(again / 3) {
		at, r := s.ask(ctx)
		if at == unclear {
			return planner.Unknown[planner.Service]("its status command says neither that it runs (0) nor that it is stopped (3): " + r.text())
		}
		if held == 0 || s.Layout.FenceText() == "" {
			var err error
			if held, err = s.holder(); err != nil {
				return planner.Unknown[planner.Service](err.Error())
			}
		}
		agree := (at == running) == (held != 0)
		switch {
		case !agree && time.Now().Before(end) && ctx.Err() == nil:
			continue
		case at == stopped && held != 0:
			return planner.Unknown[planner.Service](fmt.Sprintf("its status command says that it is stopped (%s), and %s has %s open", r.text(), named(held), s.Layout.DataDir))
		case at == stopped:
			s.describeStopped(&out, own, cfg, cfgErr)
		case held == 0:
			out.State, out.Restarts = planner.ServiceBackoff, 1
			out.LastError = fmt.Sprintf("its status command says that it runs, and no process has %s open", s.Layout.DataDir)
		default:
			s.describe(&out, held)
		}
		return planner.Known(out)
	}
}

// describeStopped is what is known of a member that its commands have stopped, or never
// had. Where the last start was that of requorum's own supervisor it matters with what it
// ran: what was closed to clients was not shown to anybody (S17).
func (s Service) describeStopped(out *planner.Service, own planner.Service, cfg process.Config, cfgErr error) {
	out.State = planner.ServiceStopped
	switch {
	case errors.Is(cfgErr, fs.ErrNotExist):
		out.State = planner.ServiceNone
	case cfgErr != nil:
		out.State, out.LastError = planner.ServiceFailed, cfgErr.Error()
	case cfg.Private == "": // its commands' own
	default:
		out.LastError, out.Log = own.LastError, own.Log
		if own.State == planner.ServiceFailed { // it gave up
			out.State, out.Signs = own.State, own.Signs
		}
		if planner.Closed(own.Args) {
			out.Args, out.Commands.Closed = own.Args, true
		}
	}
}

// up reports whether requorum's own supervisor has the member, or did when it died: a
// start that is closed to clients, a first one, or one of a former service.
func up(own planner.Service) bool {
	return own.State == planner.ServiceRunning || own.State == planner.ServiceBackoff
}

func named(pid int) string {
	if pid < 0 {
		return "a process that can't be named"
	}
	return fmt.Sprintf("process %d", pid)
}

// describe is what is known of the process that runs.
func (s Service) describe(out *planner.Service, pid int) {
	out.State, out.SupervisorPID = planner.ServiceRunning, 1 // whatever the commands talk to
	if pid < 0 {
		return
	}
	out.PID = pid
	out.UpSeconds = process.UpSeconds(pid)
	out.Since = time.Now().Add(-time.Duration(out.UpSeconds) * time.Second).UTC().Format(time.RFC3339)
	out.Binary, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	settings, err := process.Settings(pid)
	if err != nil {
		out.LastError = err.Error()
		return
	}
	told, _ := process.Tell(settings)
	out.Args = args(told)
}

// args are settings as flags, without those that say where settings come from.
func args(settings map[string]string) []string {
	var out []string
	for _, a := range process.AsArgs(settings) {
		if !strings.HasPrefix(a, "--config-file=") && !strings.HasPrefix(a, "--discovery") {
			out = append(out, a)
		}
	}
	return out
}

// config is etcd's configuration file as it is, without secrets that somebody wrote there;
// "" for none.
func (s Service) config() string {
	fi, err := os.Lstat(s.configPath())
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > 1<<20 {
		return ""
	}
	b, _ := os.ReadFile(s.configPath())
	return process.TellConfig(string(b))
}
