package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/requorum/requorum/executor/host/process"
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
func (u Unit) Disable(ctx context.Context) error { return systemctl(ctx, "disable", u.Name) }
