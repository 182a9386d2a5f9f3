package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// bar is the record of what keeps a unit from being started, and of what the unit
// said before: of a masked one systemd tells nothing.
type bar struct {
	Unit   string `json:"unit"`
	When   string `json:"when"` // RFC 3339, UTC
	Masked bool   `json:"masked,omitempty"`
	// Linked is where the unit's own file lies, where /etc has only a link to it.
	Linked string `json:"linked,omitempty"`
	// Stopped is true once nothing of it runs any more.
	Stopped bool `json:"stopped,omitempty"`
	// Lifting is true from when requorum takes it back on.
	Lifting     bool     `json:"lifting,omitempty"`
	Fragment    string   `json:"fragment,omitempty"`
	Program     []string `json:"program,omitempty"`
	Args        []string `json:"args,omitempty"`
	Environment []string `json:"environment,omitempty"`
	User        string   `json:"user,omitempty"`
	Group       string   `json:"group,omitempty"`
	Acts        []string `json:"acts,omitempty"`
	// Former are bars of units that the member had before.
	Former []bar `json:"former,omitempty"`
}

func (u Unit) barPath() string { return filepath.Join(u.Layout.Base(), "barred.json") }

// fencePath is the drop-in with the assertion that never holds, firstPath the one with
// what only the first start needs. Both come after the one with the settings.
func fencePath(unit string) string {
	return planner.UnitDir + "/" + unit + ".d/zzz-requorum-fence.conf"
}

func firstPath(unit string) string {
	return runtimeDir + "/" + unit + ".d/zzz-requorum-first.conf"
}

const fenceText = `# Written by requorum: the member that this unit keeps is fenced. "requorum apply" takes
# this file away when it starts the member itself; by hand, its data may be lost.
[Unit]
AssertPathExists=!/
`

func (u Unit) readBar() (bar, error) {
	var b bar
	text, err := os.ReadFile(u.barPath())
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%s: %w", u.barPath(), err)
	}
	return b, nil
}

func (u Unit) writeBar(b bar) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if _, err := host.MkdirAll(u.Layout.Base()); err != nil {
		return err
	}
	return host.WriteFile(u.barPath(), append(text, '\n'))
}

// Bar stops the unit and keeps it from being started until Start. It is kept from
// being started first: somebody may start it as fast as it is stopped. A linked unit
// stays enabled, for systemctl disable would take the link away: the assertion is what
// keeps it.
func (u Unit) Bar(ctx context.Context) error {
	p, err := show(ctx, actLimit, u.Name)
	if err == nil {
		err = u.named(p)
	}
	if err != nil {
		return err
	}
	name := orElse(p["Id"], u.Name)
	if p["LoadState"] == "not-found" {
		return u.Stop(ctx) // there is nothing that could be started
	}
	b, err := u.readBar()
	switch {
	case err == nil && b.Unit == u.Name && !b.Lifting: // done before, or in part
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case p["LoadState"] == "masked" && (err != nil || b.Unit != u.Name):
		return fmt.Errorf("%s is masked, and not by requorum: systemctl unmask %s, if it may be started, then plan again", u.Name, u.Name)
	case p["LoadState"] == "masked":
		b.Lifting = false
	default:
		s := u.Status(ctx, 0)
		former := b.Former
		if err == nil && b.Unit != u.Name { // the file names another unit by now
			b.Former = nil
			former = append(former, b)
		}
		b = bar{Unit: u.Name, When: time.Now().UTC().Format(time.RFC3339), Fragment: p["FragmentPath"], User: p["User"], Group: p["Group"], Acts: p.acts(), Former: former}
		b.Linked = linkedTo(name)
		b.Masked = b.Linked == "" && !strings.HasPrefix(p["FragmentPath"], planner.UnitDir+"/")
		if s.Known() {
			b.Program, b.Args, b.Environment = s.Value.Unit.Program, s.Value.Args, s.Value.Unit.Environment
		}
	}
	b.Stopped = false
	if err := u.writeBar(b); err != nil {
		return err
	}
	if err := put(fencePath(name), fenceText, 0o644, os.Geteuid(), os.Getegid()); err != nil {
		return err
	}
	if err := dropFile(firstPath(name)); err != nil {
		return err
	}
	if p["LoadState"] != "masked" && b.Linked == "" {
		if err := disable(ctx, name); err != nil {
			return err
		}
	}
	if b.Masked && p["LoadState"] != "masked" {
		if err := systemctl(ctx, "mask", name); err != nil {
			return fmt.Errorf("%s is not masked: %w", name, err)
		}
	}
	if err := syncLinks(planner.UnitDir); err != nil {
		return err
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if p, err = show(ctx, actLimit, u.Name); err != nil {
		return err
	}
	if p["LoadState"] == "not-found" {
		return fmt.Errorf("%s is gone since it was disabled: its file was below %s only by that; put it back, then plan again", name, planner.UnitDir)
	}
	if err := u.Stop(ctx); err != nil {
		return err
	}
	b.Stopped = true
	return u.writeBar(b)
}

// lift takes the bar back, the record last: a crash in between, or a power cut, is no
// doing of somebody else's. A fence of requorum's without a record is taken back too.
func (u Unit) lift(ctx context.Context) error {
	b, err := u.readBar()
	recorded := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bars := b.Former
	if recorded {
		b.Lifting = true
		if err := u.writeBar(b); err != nil {
			return err
		}
		bars = append(bars, b)
	}
	for _, x := range bars {
		if x.Masked {
			if err := systemctl(ctx, "unmask", x.Unit); err != nil && x.Unit == u.Name {
				return fmt.Errorf("%s is not unmasked: %w", x.Unit, err)
			}
		}
		if err := dropFile(fencePath(x.Unit)); err != nil {
			return err
		}
	}
	if err := dropFile(fencePath(u.Name)); err != nil {
		return err
	}
	if err := syncLinks(planner.UnitDir); err != nil {
		return err
	}
	if err := systemctl(ctx, "daemon-reload"); err != nil || !recorded {
		return err
	}
	if err := os.Remove(u.barPath()); err != nil { // requorum's own record of what is taken back
		return err
	}
	return syncDir(u.Layout.Base())
}

// undone is what somebody else has taken back of a bar; "" for nothing. An unmask by
// itself lets nothing start as long as the drop-in is there: with lately it counts, for
// it was just masked, and else only where somebody is there to do it again.
func (u Unit) undone(ctx context.Context, b bar, p properties, lately bool) string {
	if b.Lifting || !b.Stopped {
		return ""
	}
	name := orElse(p["Id"], u.Name)
	what, only := "", false
	switch _, there := readOwn(fencePath(name)); {
	case p.up() && p.number("MainPID") == 0:
		what = "somebody tries to start " + name + " again"
	case p.up():
		what = fmt.Sprintf("%s was started again (process %s)", name, p["MainPID"])
	case !there:
		what = fencePath(name) + " was taken away"
	case b.Masked && p["LoadState"] == "loaded":
		what, only = name+" was unmasked", true
	case p["UnitFileState"] == "enabled" && b.Linked == "":
		what, only = name+" was enabled again", true
	default:
		return ""
	}
	who := u.rivals(ctx, name)
	switch {
	case len(who) > 0:
		return what + "; it may have been " + strings.Join(who, ", or ")
	case only && !lately:
		return ""
	}
	return what
}

// watchTime is how long a unit that was barred is looked at: a service manager that
// has it running again does so within some seconds.
const watchTime = 3 * time.Second

// Watch returns an error where somebody takes back what Bar did.
func (u Unit) Watch(ctx context.Context) error {
	b, err := u.readBar()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no such unit
	}
	if err != nil {
		return err
	}
	for end := time.Now().Add(watchTime); ; {
		p, err := show(ctx, actLimit, u.Name)
		if err != nil {
			return err
		}
		if what := u.undone(ctx, b, p, true); what != "" {
			return fmt.Errorf("somebody fights over the unit: %s. The data is behind the fence, and safe; stop who does it, then plan again", what)
		}
		if time.Now().After(end) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Idle returns an error where the unit runs, or is about to.
func (u Unit) Idle(ctx context.Context) error {
	if pid := process.Supervisor(u.Layout); pid != 0 {
		return fmt.Errorf("a supervisor (pid %d) is at work on %s", pid, u.Layout.DataDir)
	}
	p, err := show(ctx, actLimit, u.Name)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err == nil && p.up() {
		err = fmt.Errorf("%s is %s (pid %s): stop it first", u.Name, p["ActiveState"], p["MainPID"])
	}
	return err
}
