package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/requorum/requorum/planner"
)

// managers are the programs of configuration managers that stay or come again, by
// their command names.
var managers = regexp.MustCompile(`^(puppet|puppet-agent|chef-client|cinc-client|salt-minion|cf-agent|cf-execd|ansible-pull|ansible-playboo|monit|kubelet)$`)

// rivals guesses who starts, enables or unmasks a unit again: units and timetables
// that call systemctl for it and are not stopped, and configuration managers that run.
func (u Unit) rivals(ctx context.Context, name string) []string {
	short := strings.TrimSuffix(name, ".service")
	calls := regexp.MustCompile(`systemctl[^\n]*\b` + regexp.QuoteMeta(short) + `\b`)
	var out []string
	for _, pattern := range []string{
		planner.UnitDir + "/*.service", runtimeDir + "/*.service", "/usr/local/lib/systemd/system/*.service", "/run/systemd/transient/*.service",
		"/usr/lib/systemd/system/*.service", "/etc/crontab", "/etc/cron.*/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*",
	} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if filepath.Base(path) == name {
				continue
			}
			if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() || fi.Size() > largest {
				continue
			}
			b, err := os.ReadFile(path)
			switch {
			case err != nil || !calls.Match(b):
			case !strings.HasSuffix(path, ".service"):
				out = append(out, path)
			case live(ctx, filepath.Base(path)):
				out = append(out, fmt.Sprintf("the unit %s (%s)", filepath.Base(path), path))
			}
		}
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range comms {
		b, _ := os.ReadFile(path)
		if comm := strings.TrimSpace(string(b)); managers.MatchString(comm) {
			out = append(out, fmt.Sprintf("%s (pid %s)", comm, filepath.Base(filepath.Dir(path))))
		}
	}
	return out
}

// live reports whether a unit runs, or something that triggers it does.
func live(ctx context.Context, service string) bool {
	base := strings.TrimSuffix(service, ".service")
	// It prints a word for each, and fails where none is active.
	text, _ := command(ctx, askLimit, "systemctl", "is-active", "--", service, base+".timer", base+".path", base+".socket")
	for word := range strings.FieldsSeq(text) {
		if word == "active" || word == "activating" {
			return true
		}
	}
	return false
}
