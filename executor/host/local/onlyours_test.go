package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Commands on record are run only where nobody else can have written them.
func TestCommandsOnRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := planner.Place{Name: "m1", DataDir: filepath.Join(dir, "data")}
	l := host.LayoutOf(p.DataDir, "")
	ran := filepath.Join(dir, "ran")
	script := []string{"/bin/sh", "-c", "touch " + ran + "; exit 3"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(l.Base(), 0o711))
	b, err := json.Marshal(process.Config{Name: "m1", DataDir: p.DataDir, Commands: &planner.Commands{Start: script, Stop: script, Status: script}})
	must(err)
	must(os.WriteFile(l.Service(), b, 0o600))
	d := New(Options{})
	stop := func() error { return d.Stop(t.Context(), "", []planner.StopMember{{Place: p, Removed: true}}) }
	refused := func(words string) {
		t.Helper()
		if err := stop(); err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "Stop it by hand") {
			t.Errorf("%v, want %q", err, words)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Fatal("it was run")
		}
	}
	must(os.Chmod(l.Base(), 0o777))
	refused("can be written to by others")
	must(os.Chmod(l.Base(), 0o711))
	must(os.Chmod(l.Service(), 0o664))
	refused("can be written to by others")
	must(os.Chmod(l.Service(), 0o600))
	if os.Geteuid() == 0 {
		must(os.Chown(l.Base(), 65534, 65534))
		refused("belongs to user 65534")
		must(os.Chown(l.Base(), 0, 0))
	}
	must(os.Rename(l.Service(), l.Service()+"-real"))
	must(os.Symlink(l.Service()+"-real", l.Service()))
	refused("symbolic link")
	must(os.Rename(l.Service()+"-real", l.Service()))
	must(stop())
	if _, err := os.Stat(ran); err != nil {
		t.Error("its own commands were not asked")
	}
}
