package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

const (
	// comeUp is how long systemd may take to have a process after it was told to.
	comeUp = 20 * time.Second
	// settle is how long that process has to stay before the start is believed: bad
	// flags and taken ports end etcd sooner.
	settle = 700 * time.Millisecond
	// firstLog is how long an etcd without data may take to begin its log: a member
	// that joins asks the others first.
	firstLog = 45 * time.Second
	look     = 100 * time.Millisecond
)

// Start has the unit run what m says, starts it, and has it started at each boot. It
// returns when systemd has a process, before that serves. A unit that runs is left
// alone: what is new takes effect when it is next started.
func (u Unit) Start(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	p, err := show(ctx, actLimit, u.Name)
	if err != nil {
		return err
	}
	if err := u.named(p); err != nil {
		return err
	}
	if p["LoadState"] == "masked" {
		if b, err := u.readBar(); err != nil || b.Unit != u.Name {
			return fmt.Errorf("%s is masked, and not by requorum: systemctl unmask %s, if it may be started, then plan again", u.Name, u.Name)
		}
	}
	if len(m.Program) == 0 {
		return fmt.Errorf("%s: the plan does not say what is to be run: plan again", u.Name)
	}
	cfg.Unit = u.Name
	if err := u.write(ctx, m, cfg); err != nil {
		return err
	}
	if p, err = show(ctx, actLimit, u.Name); err != nil {
		return err
	}
	name := orElse(p["Id"], u.Name)
	if p["LoadState"] != "loaded" && p["LoadState"] != "masked" {
		return fmt.Errorf("systemd can't load %s: %s %s", u.Name, p["LoadState"], p["LoadError"])
	}
	if !p.up() {
		if err := u.begin(ctx, m, cfg, p, name); err != nil {
			return err
		}
	} else if err := u.dropFirst(ctx, m, name); err != nil { // of a start that was cut short
		return err
	}
	if err := systemctl(ctx, "enable", name); err != nil {
		return fmt.Errorf("%s runs, and is not started at the next boot: %w", name, err)
	}
	if p, err = show(ctx, actLimit, u.Name); err != nil {
		return err
	}
	switch p["UnitFileState"] { // a static one, and its like, can't be enabled: the plan tells of it
	case "disabled", "masked", "linked", "enabled-runtime", "linked-runtime", "masked-runtime", "bad":
		return fmt.Errorf("%s runs, was enabled, and is %s: it is not started at the next boot", name, p["UnitFileState"])
	}
	return syncLinks(planner.UnitDir)
}

// Write has a unit that runs start what m says the next time. Its process goes on.
func (u Unit) Write(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	p, err := show(ctx, actLimit, u.Name)
	if err != nil {
		return err
	}
	if !p.up() {
		return fmt.Errorf("%s has ended (%s): plan again", u.Name, p["ActiveState"])
	}
	if err := u.named(p); err != nil {
		return err
	}
	cfg.Unit = u.Name
	if err := u.write(ctx, m, cfg); err != nil {
		return err
	}
	return u.wouldRun(ctx, m)
}

func (u Unit) write(ctx context.Context, m planner.StartMember, cfg process.Config) error {
	if err := u.install(m.Program); err != nil {
		return err
	}
	if err := process.Record(cfg, u.Layout); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := writeFile(f); err != nil {
			return err
		}
	}
	return systemctl(ctx, "daemon-reload")
}

// begin starts a unit that does not run.
func (u Unit) begin(ctx context.Context, m planner.StartMember, cfg process.Config, p properties, name string) error {
	o, err := u.owner(p)
	if err != nil {
		return err
	}
	if err := process.MayStart(cfg, func() error { return give(o, u.Layout, true) }, u.Layout); err != nil {
		return err
	}
	if err := give(o, u.Layout, false); err != nil {
		return err
	}
	if err := u.prepareFirst(m, name); err != nil {
		return err
	}
	if err := u.lift(ctx); err != nil {
		return err
	}
	if err := u.wouldRun(ctx, m); err != nil {
		return err
	}
	if err := systemctl(ctx, "reset-failed", name); err != nil && !strings.Contains(err.Error(), "not loaded") {
		return err
	}
	before := p["AssertTimestampMonotonic"]
	if _, err := command(ctx, actLimit, "systemctl", "--quiet", "--no-pager", "--no-block", "start", "--", name); err != nil {
		return u.failed(ctx, name, err)
	}
	if err := u.await(ctx, name, before); err != nil {
		return err
	}
	return u.dropFirst(ctx, m, name)
}

// wouldRun returns an error where the unit, as systemd now has it, would start something
// else than the plan says: its files may have changed since systemd read them, or since
// the plan was made.
func (u Unit) wouldRun(ctx context.Context, m planner.StartMember) error {
	p, err := show(ctx, actLimit, u.Name)
	if err != nil {
		return err
	}
	program, next, err := p.next()
	var planned map[string]string
	if err == nil {
		planned, err = process.SettingsFrom(m.Args, nil, "/")
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: with what it would start etcd can't be told: %w", u.Name, err)
	case !slices.Equal(program, m.Program):
		return fmt.Errorf("%s would start %s, the plan says %s: its files have changed, plan again", u.Name, orElse(strings.Join(program, " "), "no etcd that is known"), strings.Join(m.Program, " "))
	}
	if diff := planner.SettingsDiff(next, args(planned)); diff != "" {
		return fmt.Errorf("%s would start with other settings than the plan says (%s): its files have changed, plan again", u.Name, diff)
	}
	return nil
}

// await returns when a process of the unit has stayed for a moment. asserted is when
// its assertions were last looked at before it was told to start.
func (u Unit) await(ctx context.Context, name, asserted string) error {
	var since time.Time
	seen := ""
	for end := time.Now().Add(comeUp); ; {
		p, err := show(ctx, actLimit, name)
		if err != nil {
			return err
		}
		pid := p["MainPID"]
		switch {
		case p["ActiveState"] == "active" && pid != "0":
			return nil
		case p["SubState"] == "auto-restart", p["ActiveState"] == "failed",
			assertFailed(p) && p["AssertTimestampMonotonic"] != asserted && !p.up():
			return u.failed(ctx, name, nil)
		case pid == "0" || pid == "":
			since = time.Time{}
		case seen != pid:
			seen, since = pid, time.Now()
		case !since.IsZero() && time.Since(since) > settle:
			return nil
		}
		if time.Now().After(end) {
			return u.failed(ctx, name, fmt.Errorf("systemd has no process of it after %s (%s)", comeUp, p["SubState"]))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was told to start, and has not yet: %w", name, ctx.Err())
		case <-time.After(look):
		}
	}
}

// assertFailed reports whether one of the unit's assertions did not hold when they
// were last looked at: of a unit that was just loaded they never were.
func assertFailed(p properties) bool {
	return p["AssertResult"] == "no" && p.number("AssertTimestampMonotonic") != 0
}

// failed is a start that failed, with what the journal has to say.
func (u Unit) failed(ctx context.Context, name string, cause error) error {
	p, err := show(ctx, actLimit, name)
	if err != nil {
		return errors.Join(cause, err)
	}
	s := readJournal(ctx, name, p["InvocationID"])
	why := orElse(explain(p, s.words()), p["SubState"])
	if assertFailed(p) && !p.up() {
		why = "one of its assertions does not hold (systemctl status " + name + ")"
	}
	if cause != nil {
		why = cause.Error() + "; " + why
	}
	return fmt.Errorf("%s does not start: %s (journalctl --unit=%s)", name, why, name)
}

// prepareFirst writes what only a first start needs: it may begin on an empty
// directory. It lies below /run, so that it does not outlive a boot.
func (u Unit) prepareFirst(m planner.StartMember, name string) error {
	if !m.Bootstrap {
		return dropFile(firstPath(name))
	}
	if slices.ContainsFunc(m.Args, planner.IsUntold) {
		return fmt.Errorf("%s: the plan does not have --%s, which has a secret in it: plan again", name, strings.Join(planner.UntoldFlags(m.Args), ", --"))
	}
	text := "# Written by requorum: for the first start of member " + m.Name + " only.\n[Unit]\nAssertPathIsDirectory=\n\n[Service]\nExecStart=\nExecStart=" +
		planner.ExecStart(slices.Concat(m.Program, m.Args)) + "\n"
	return put(firstPath(name), text, 0o644, os.Geteuid(), os.Getegid())
}

// dropFirst takes that away once there is a log: from then on the directory must be
// there.
func (u Unit) dropFirst(ctx context.Context, m planner.StartMember, name string) error {
	if _, err := os.Lstat(firstPath(name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for end := time.Now().Add(firstLog); ; {
		if _, _, err := etcd.Identity(u.Layout.DataDir, u.Layout.WALDir); err == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s runs, and has not begun its log within %s: is a quorum of the others there? Plan again, which takes away %s", name, firstLog, firstPath(name))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s runs, and has not begun its log yet: %w", name, ctx.Err())
		case <-time.After(look):
		}
	}
	if err := dropFile(firstPath(name)); err != nil {
		return err
	}
	return systemctl(ctx, "daemon-reload")
}

// owner is whom the unit's process runs as.
func (u Unit) owner(p properties) (host.Owner, error) {
	name, group := p["User"], p["Group"]
	if b, err := u.readBar(); err == nil && p["LoadState"] == "masked" {
		name, group = b.User, b.Group
	}
	if name == "" {
		return host.Owner{Name: "root"}, nil
	}
	o, err := host.OwnerOf(name, group)
	if err != nil {
		err = fmt.Errorf("as whom %s runs: %w", u.Name, err)
	}
	return o, err
}

// give makes the member's directories the owner's, with all that is in them, but for
// what requorum keeps there. With fresh, an absent data directory is made first.
func give(o host.Owner, l host.Layout, fresh bool) error {
	if fresh {
		if err := makeDir(l.DataDir); err != nil {
			return err
		}
	}
	if err := o.Give(l.DataDir, l.WALDir); err != nil {
		return err
	}
	return o.Reaches(l.DataDir)
}

// makeDir makes a data directory, and what is missing above it so that the owner can
// get there.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := host.MakeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	_, err := host.MkdirAll(dir)
	return err
}
