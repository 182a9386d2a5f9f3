package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// stopLimit is how long systemd is waited for where ctx has no end; the unit's own
// limit for a stop is shorter.
const stopLimit = 10 * time.Minute

// Stop ends what the unit runs, and any supervisor of requorum's that was there before
// it, and returns when both have ended. It is nil where nothing runs.
func (u Unit) Stop(ctx context.Context) error {
	if err := process.Stop(ctx, u.Layout); err != nil {
		return err
	}
	p, err := show(ctx, actLimit, u.Name)
	if err != nil {
		return err
	}
	if !p.up() {
		return nil
	}
	limit := stopLimit
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	if _, err := command(ctx, limit, "systemctl", "--quiet", "--no-pager", "stop", "--", u.Name); err != nil {
		return fmt.Errorf("%s was told to stop: %w", u.Name, err)
	}
	if p, err = show(ctx, actLimit, u.Name); err != nil {
		return err
	}
	if p.up() {
		what := fmt.Sprintf("%s was stopped, and is %s again (pid %s)", u.Name, p["ActiveState"], p["MainPID"])
		for _, who := range u.rivals(ctx, orElse(p["Id"], u.Name)) {
			what += "; it may have been " + who
		}
		return fmt.Errorf("%s: stop who does it, then plan again", what)
	}
	return nil
}

// Disable keeps the unit from coming back after a boot.
func (u Unit) Disable(ctx context.Context) error {
	p, err := show(ctx, actLimit, u.Name)
	if err != nil || p["LoadState"] == "not-found" {
		return err
	}
	name := orElse(p["Id"], u.Name)
	target := linkedTo(name)
	if err := disable(ctx, name); err != nil || target == "" {
		return err
	}
	// systemctl disable takes the link to a unit that lies elsewhere away too.
	return relink(ctx, name, target)
}

// Elsewhere reports whether the unit runs etcd on another directory than the member's.
func (u Unit) Elsewhere(ctx context.Context) bool {
	s := u.Status(ctx, 0)
	if !s.Known() {
		return false
	}
	for _, a := range s.Value.Args {
		if dir, ok := strings.CutPrefix(a, "--data-dir="); ok {
			return resolved(dir) != resolved(u.Layout.DataDir)
		}
	}
	return false
}

func resolved(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}

func disable(ctx context.Context, name string) error {
	if err := systemctl(ctx, "disable", name); err != nil {
		return fmt.Errorf("%s is not disabled: %w", name, err)
	}
	return syncLinks(planner.UnitDir)
}

// linkedTo is where the unit's own file lies where systemctl link has brought it in;
// "" for any other.
func linkedTo(name string) string {
	target, err := os.Readlink(planner.UnitPath(name))
	if err != nil || target == os.DevNull {
		return ""
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(planner.UnitDir, target)
	}
	return target
}

func relink(ctx context.Context, name, target string) error {
	if linkedTo(name) == target {
		return nil
	}
	if err := systemctl(ctx, "link", target); err != nil {
		return fmt.Errorf("%s is not linked to %s again: %w", name, target, err)
	}
	return syncLinks(planner.UnitDir)
}

// named refuses a name that is another one of the unit's: systemctl disable takes such
// names away, and what was started by it could not be found any more.
func (u Unit) named(p properties) error {
	if id := p["Id"]; p["LoadState"] != "not-found" && id != "" && id != u.Name {
		return fmt.Errorf("%s is another name of %s: write unit = %q in the file, then plan again", u.Name, id, id)
	}
	return nil
}
