package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/command"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/executor/host/systemd"
	"github.com/requorum/requorum/planner"
)

// keeper is what keeps one member running: requorum's own supervisor, a systemd unit, or
// commands of the user's. All that is done to data directories is the same under each.
type keeper interface {
	// status only reads. held is the process that has the member's files open.
	status(ctx context.Context, held int) planner.Fact[planner.Service]
	// idle returns an error where something is at work that may start the member.
	idle(ctx context.Context) error
	// start is host.Host's Start for a member that has no fence, or may open it.
	start(ctx context.Context, m planner.StartMember, cfg process.Config) error
	// adopt takes over what runs without it.
	adopt(ctx context.Context, m planner.AdoptMember, cfg process.Config) error
	// stop returns when the service's process has ended.
	stop(ctx context.Context) error
	// bar stops it, and keeps everybody from starting it until start. The fence that
	// stands then at the data's place is not its own.
	bar(ctx context.Context) error
	// watch returns an error where somebody takes that back.
	watch(ctx context.Context, dataDir, walDir string) error
}

// keeper gives the service of the place's kind.
func (d *Driver) keeper(p planner.Place, l host.Layout) keeper {
	if p.Unit != "" {
		return systemdUnit{systemd.Unit{Name: p.Unit, Layout: l, Self: d.self}}
	}
	if p.Commands != nil {
		return commands{command.Service{Commands: *p.Commands, Name: p.Name, Layout: l, Self: d.self}}
	}
	return supervisor{l, d.self}
}

// keeperOnRecord is keeper for a place of which only the directory is known, as where
// the file has the member no longer.
//
// Commands on record are run only where nobody but this user, or root, can have written
// them: who has the data directory could have a root's requorum run anything.
func (d *Driver) keeperOnRecord(p planner.Place, l host.Layout) (keeper, error) {
	if cfg, err := process.ReadConfig(l); err == nil && p.Unit == "" && p.Commands == nil {
		if cfg.Commands != nil {
			if err := onlyOurs(l.Base(), l.Service()); err != nil {
				return nil, fmt.Errorf("the commands that keep it are not run: %w. Stop it by hand", err)
			}
		}
		p.Unit, p.Commands = cfg.Unit, cfg.Commands
	}
	return d.keeper(p, l), nil
}

// onlyOurs refuses files that others than this user and root own, or may write to.
func onlyOurs(paths ...string) error {
	for _, path := range paths {
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		switch {
		case fi.Mode()&os.ModeSymlink != 0:
			return fmt.Errorf("%s is a symbolic link", path)
		case !ok || int(st.Uid) != os.Geteuid() && st.Uid != 0:
			return fmt.Errorf("%s belongs to user %d, and requorum runs as user %d", path, st.Uid, os.Geteuid())
		case fi.Mode().Perm()&0o022 != 0:
			return fmt.Errorf("%s can be written to by others (%s)", path, fi.Mode().Perm())
		}
	}
	return nil
}

// supervisor is requorum's own.
type supervisor struct {
	layout host.Layout
	self   string
}

// status is unknown, not absent, where its records can't be read: somebody else
// runs it.
func (s supervisor) status(context.Context, int) planner.Fact[planner.Service] {
	for _, path := range []string{s.layout.Service(), s.layout.SupervisorState()} {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrPermission) {
			return planner.Unknown[planner.Service](err.Error())
		}
		if err == nil {
			f.Close()
		}
	}
	return planner.Known(process.Status(s.layout))
}

func (s supervisor) idle(context.Context) error {
	if pid := process.Supervisor(s.layout); pid != 0 {
		return fmt.Errorf("a supervisor (pid %d) is at work on %s", pid, s.layout.DataDir)
	}
	return nil
}

func (s supervisor) start(ctx context.Context, _ planner.StartMember, cfg process.Config) error {
	_, err := process.Start(ctx, s.self, cfg, s.layout)
	return err
}

func (s supervisor) adopt(ctx context.Context, m planner.AdoptMember, cfg process.Config) error {
	if m.PID == 0 {
		return process.Adopt(ctx, s.self, s.layout)
	}
	return process.AdoptForeign(ctx, s.self, cfg, m.PID, m.Start, s.layout)
}

func (s supervisor) stop(ctx context.Context) error { return process.Stop(ctx, s.layout) }

// bar: no supervisor of requorum's starts anything on a fence.
func (s supervisor) bar(ctx context.Context) error { return s.stop(ctx) }

func (s supervisor) watch(context.Context, string, string) error { return nil }

// systemdUnit is the user's, or one of requorum's own.
type systemdUnit struct{ systemd.Unit }

func (u systemdUnit) status(ctx context.Context, held int) planner.Fact[planner.Service] {
	return u.Status(ctx, held)
}

func (u systemdUnit) idle(ctx context.Context) error { return u.Idle(ctx) }

func (u systemdUnit) start(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	if err := u.Start(ctx, m, cfg); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// adopt writes what the unit starts the next time; its process goes on.
func (u systemdUnit) adopt(ctx context.Context, m planner.AdoptMember, cfg process.Config) error {
	if m.PID != 0 {
		return fmt.Errorf("a process can't be given to %s, which starts its own: plan again", u.Name)
	}
	return u.Write(ctx, m.StartMember, cfg)
}

func (u systemdUnit) stop(ctx context.Context) error               { return u.Stop(ctx) }
func (u systemdUnit) bar(ctx context.Context) error                { return u.Bar(ctx) }
func (u systemdUnit) watch(ctx context.Context, _, _ string) error { return u.Watch(ctx) }

// commands are the user's own.
type commands struct{ command.Service }

func (c commands) status(ctx context.Context, held int) planner.Fact[planner.Service] {
	return c.Service.Status(ctx, held)
}

func (c commands) idle(ctx context.Context) error { return c.Idle(ctx) }

func (c commands) start(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	if err := c.Service.Start(ctx, m, cfg); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// adopt: what runs is theirs, or is started by them.
func (c commands) adopt(context.Context, planner.AdoptMember, process.Config) error {
	return errors.New("a process can't be given to commands, which start their own: plan again")
}

func (c commands) stop(ctx context.Context) error { return c.Service.Stop(ctx) }

// bar stops it: nothing keeps the commands from being run, and the fence keeps etcd from
// the data.
func (c commands) bar(ctx context.Context) error { return c.Bar(ctx) }

func (c commands) watch(ctx context.Context, dataDir, walDir string) error {
	return c.Watch(ctx, dataDir, walDir)
}
