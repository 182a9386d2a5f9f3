package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/hosttest"
	"github.com/requorum/requorum/planner"
)

// TestSuiteUnderSystemd is the shared suite with a systemd unit for each member: it
// needs a host that systemd keeps, and root there, as tests/e2e has.
func TestSuiteUnderSystemd(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root on a host with systemd")
	}
	hosttest.RunKept(t, func(*testing.T) host.Host { return underUnits{New(Options{})} })
}

// underUnits gives each place a unit, as a file would, and each start what the planner
// would say.
type underUnits struct{ *Driver }

func unitOf(p planner.Place) planner.Place {
	sum := sha256.Sum256([]byte(p.DataDir))
	p.Unit = "requorum-test-" + hex.EncodeToString(sum[:6]) + ".service"
	return p
}

func unitsOf(ps []planner.Place) []planner.Place {
	out := make([]planner.Place, len(ps))
	for i, p := range ps {
		out[i] = unitOf(p)
	}
	return out
}

func (u underUnits) Observe(ctx context.Context, places []planner.Place) (map[string]host.Facts, error) {
	return u.Driver.Observe(ctx, unitsOf(places))
}

func (u underUnits) Claim(ctx context.Context, a planner.Claim) error {
	for i := range a.Members {
		a.Members[i].Place = unitOf(a.Members[i].Place)
	}
	return u.Driver.Claim(ctx, a)
}

func (u underUnits) Restore(ctx context.Context, a planner.Restore, p host.Progress) error {
	for i := range a.Members {
		a.Members[i].Place = unitOf(a.Members[i].Place)
	}
	return u.Driver.Restore(ctx, a, p)
}

func (u underUnits) Install(ctx context.Context, a planner.Install) error {
	for i := range a.Members {
		a.Members[i].Place = unitOf(a.Members[i].Place)
	}
	return u.Driver.Install(ctx, a)
}

func (u underUnits) Start(ctx context.Context, members []planner.StartMember) error {
	for i := range members {
		m := &members[i]
		m.Place = unitOf(m.Place)
		facts, err := u.Driver.Observe(ctx, []planner.Place{m.Place})
		if err != nil {
			return err
		}
		s := facts[m.Name].Service
		if !s.Known() {
			return fmt.Errorf("%s: %s", m.Unit, s.Why)
		}
		m.Program = s.Value.Unit.Own
		if m.Binary != "" {
			m.Program = []string{m.Binary}
		}
		path, text := planner.UnitFile(s.Value.Unit, m)
		f := planner.FileChange{Path: path, Text: text}
		if now, ok := s.Value.Unit.Files[path]; ok {
			sum := sha256.Sum256([]byte(now))
			f.Was = hex.EncodeToString(sum[:])
		}
		m.Files = []planner.FileChange{f}
		// The folders of tests are root's alone.
		if err := os.MkdirAll(filepath.Dir(m.DataDir), 0o755); err != nil {
			return err
		}
	}
	return u.Driver.Start(ctx, members)
}

func (u underUnits) Stop(ctx context.Context, cluster string, members []planner.StopMember) error {
	for i := range members {
		members[i].Place = unitOf(members[i].Place)
	}
	return u.Driver.Stop(ctx, cluster, members)
}

func (u underUnits) SetAside(ctx context.Context, a planner.SetAside) error {
	a.Place = unitOf(a.Place)
	return u.Driver.SetAside(ctx, a)
}

func (u underUnits) Fence(ctx context.Context, a planner.Fence) error {
	for i := range a.Members {
		a.Members[i].Place = unitOf(a.Members[i].Place)
	}
	return u.Driver.Fence(ctx, a)
}

func (u underUnits) Unfence(ctx context.Context, a planner.Unfence) error {
	for i := range a.Members {
		a.Members[i].Place = unitOf(a.Members[i].Place)
	}
	return u.Driver.Unfence(ctx, a)
}

func (u underUnits) Recover(ctx context.Context, a planner.Recover, p host.Progress) error {
	a.Place = unitOf(a.Place)
	return u.Driver.Recover(ctx, a, p)
}
