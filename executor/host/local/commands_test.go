package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/hosttest"
	"github.com/requorum/requorum/planner"
)

// TestSuiteUnderCommands is the shared suite with a script of the user's for each member,
// which starts, stops and tells about an etcd of its own.
func TestSuiteUnderCommands(t *testing.T) {
	hosttest.RunCommanded(t, func(t *testing.T) host.Host {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		script := filepath.Join(t.TempDir(), "member")
		if err := os.WriteFile(script, []byte(keeperScript), 0o755); err != nil {
			t.Fatal(err)
		}
		return underCommands{New(Options{}), script, self}
	})
}

// keeperScript keeps one etcd, by a pid file.
const keeperScript = `#!/bin/sh
run=$REQUORUM_DATA_DIR.run
# A pid that was written down may be another process's by now; a zombie has no command line.
up() { test -s "$run/pid" && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$run/pid")/cmdline" | grep -qF -- "--config-file=$REQUORUM_ETCD_CONFIG"; }
case $1 in
start)
	up && exit 0
	mkdir -p "$run"
	"$2" etcd --config-file="$REQUORUM_ETCD_CONFIG" </dev/null >>"$run/log" 2>&1 &
	echo $! >"$run/pid" ;;
stop)
	up || exit 0
	kill "$(cat "$run/pid")"
	while up; do sleep 0.05; done ;;
status)
	up || exit 3 ;;
esac
`

// underCommands gives each place commands, as a file would, and each start what the
// planner would say.
type underCommands struct {
	*Driver
	script, self string
}

func (u underCommands) place(p planner.Place) planner.Place {
	p.Commands = &planner.Commands{Start: []string{u.script, "start", u.self}, Stop: []string{u.script, "stop"}, Status: []string{u.script, "status"}}
	return p
}

func (u underCommands) places(ps []planner.Place) []planner.Place {
	out := make([]planner.Place, len(ps))
	for i, p := range ps {
		out[i] = u.place(p)
	}
	return out
}

func (u underCommands) Observe(ctx context.Context, places []planner.Place) (map[string]host.Facts, error) {
	return u.Driver.Observe(ctx, u.places(places))
}

func (u underCommands) Claim(ctx context.Context, a planner.Claim) error {
	for i := range a.Members {
		a.Members[i].Place = u.place(a.Members[i].Place)
	}
	return u.Driver.Claim(ctx, a)
}

func (u underCommands) Restore(ctx context.Context, a planner.Restore, p host.Progress) error {
	for i := range a.Members {
		a.Members[i].Place = u.place(a.Members[i].Place)
	}
	return u.Driver.Restore(ctx, a, p)
}

func (u underCommands) Install(ctx context.Context, a planner.Install) error {
	for i := range a.Members {
		a.Members[i].Place = u.place(a.Members[i].Place)
	}
	return u.Driver.Install(ctx, a)
}

func (u underCommands) Start(ctx context.Context, members []planner.StartMember) error {
	for i := range members {
		m := &members[i]
		m.Place = u.place(m.Place)
		text, err := planner.ConfigText(m, "3.7.0")
		if err != nil {
			return err
		}
		l := host.LayoutOf(m.DataDir, m.WALDir)
		m.Files = []planner.FileChange{{Path: planner.ConfigPath(l.Base()), Text: text}}
	}
	err := u.Driver.Start(ctx, members)
	for i := range members {
		if log, _ := os.ReadFile(members[i].DataDir + ".run/log"); err != nil && len(log) > 0 {
			err = fmt.Errorf("%w\nits etcd: …%s", err, log[max(0, len(log)-2000):])
		}
	}
	return err
}

func (u underCommands) Stop(ctx context.Context, cluster string, members []planner.StopMember) error {
	for i := range members {
		members[i].Place = u.place(members[i].Place)
	}
	return u.Driver.Stop(ctx, cluster, members)
}

func (u underCommands) SetAside(ctx context.Context, a planner.SetAside) error {
	a.Place = u.place(a.Place)
	return u.Driver.SetAside(ctx, a)
}

func (u underCommands) Fence(ctx context.Context, a planner.Fence) error {
	for i := range a.Members {
		a.Members[i].Place = u.place(a.Members[i].Place)
	}
	return u.Driver.Fence(ctx, a)
}

func (u underCommands) Unfence(ctx context.Context, a planner.Unfence) error {
	for i := range a.Members {
		a.Members[i].Place = u.place(a.Members[i].Place)
	}
	return u.Driver.Unfence(ctx, a)
}

func (u underCommands) Recover(ctx context.Context, a planner.Recover, p host.Progress) error {
	a.Place = u.place(a.Place)
	return u.Driver.Recover(ctx, a, p)
}
