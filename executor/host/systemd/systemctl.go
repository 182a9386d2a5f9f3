package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// askLimit is how long systemd may take to answer a question that only looks,
// actLimit to reload, to enable or to mask, and to answer where something is changed.
const (
	askLimit = 10 * time.Second
	actLimit = 30 * time.Second
)

// errAbsent says that this host has no systemd that could be asked.
var errAbsent = errors.New("systemd does not run on this host")

// running reports whether systemd is what keeps this machine (sd_booted(3)).
func running() bool {
	fi, err := os.Lstat("/run/systemd/system")
	return err == nil && fi.IsDir()
}

// command runs a tool of systemd's, and gives what it prints. One that does not end in
// time is killed: systemd itself may hang.
func command(ctx context.Context, limit time.Duration, argv ...string) (string, error) {
	if !running() {
		return "", errAbsent
	}
	return run(ctx, limit, argv)
}

func run(ctx context.Context, limit time.Duration, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out, words bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + searchPath(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="}
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	what := shown(argv)
	switch {
	case err == nil:
		return out.String(), nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("%s did not end within %s: does systemd hang? (%w)", what, limit, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", what, ctx.Err())
	case words.Len() > 0:
		return out.String(), fmt.Errorf("%s: %s", what, strings.Join(strings.Fields(words.String()), " "))
	}
	return out.String(), fmt.Errorf("%s: %w", what, err)
}

// shown is a command line without its lists of names.
func shown(argv []string) string {
	var out []string
	for _, a := range argv {
		if !strings.HasPrefix(a, "--property=") && !strings.HasPrefix(a, "--output-fields=") && a != "--no-pager" && a != "--quiet" && a != "--" {
			out = append(out, a)
		}
	}
	return strings.Join(out, " ")
}

func searchPath() string {
	const system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if p := os.Getenv("PATH"); p != "" {
		return p + ":" + system
	}
	return system
}

func systemctl(ctx context.Context, args ...string) error {
	_, err := command(ctx, actLimit, append([]string{"systemctl", "--no-pager", "--quiet"}, args...)...)
	return err
}

// properties are what systemd says of a unit, by name; one that comes several times
// has its values on lines of their own.
type properties map[string]string

var asked = []string{
	"Id", "LoadState", "LoadError", "ActiveState", "SubState", "Result", "NRestarts", "MainPID", "ControlPID", "UnitFileState",
	"FragmentPath", "User", "Group", "Environment", "EnvironmentFiles", "ExecStart", "WorkingDirectory", "InvocationID",
	"ExecMainStatus", "AssertResult", "AssertTimestampMonotonic", "NeedDaemonReload", "WantedBy", "RequiredBy",
	"Type", "PIDFile", "RemainAfterExit", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost",
}

func show(ctx context.Context, limit time.Duration, unit string) (properties, error) {
	text, err := command(ctx, limit, "systemctl", "show", "--no-pager", "--property="+strings.Join(asked, ","), "--", unit)
	if err != nil {
		return nil, err
	}
	p := properties{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "=")
		if !ok {
			continue
		}
		if old, there := p[name]; there {
			value = old + "\n" + value
		}
		p[name] = value
	}
	if p["LoadState"] == "" {
		return nil, fmt.Errorf("systemctl show %s told nothing of it", unit)
	}
	return p, nil
}

// up reports whether the unit has a process, or is about to have one.
func (p properties) up() bool {
	switch p["ActiveState"] {
	case "active", "activating", "reloading", "deactivating", "refreshing":
		return true
	}
	return false
}

func (p properties) number(name string) int {
	n := 0
	_, _ = fmt.Sscan(p[name], &n)
	return n
}
