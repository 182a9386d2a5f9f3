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

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Unit is the systemd unit of one member.
type Unit struct {
	Name   string
	Layout host.Layout
	Self   string // the path of requorum; "" for this program
}

// Status says how the member's unit stands. held is the process that has the
// member's files open, 0 for none.
func (u Unit) Status(ctx context.Context, held int) planner.Fact[planner.Service] {
	p, err := show(ctx, askLimit, u.Name)
	if errors.Is(err, errAbsent) {
		return planner.Known(planner.Service{State: planner.ServiceNone, Unit: &planner.Unit{Name: u.Name, Load: "not-found", Problem: err.Error()}})
	}
	if err != nil {
		return planner.Unknown[planner.Service](err.Error())
	}
	cfg, cfgErr := process.ReadConfig(u.Layout)
	out := planner.Service{Log: "journalctl --unit=" + u.Name, Restarts: p.number("NRestarts"), Unit: u.unit(p)}
	if cfgErr == nil {
		out.Cluster = cfg.Cluster
		if cfg.Unit == u.Name && out.Unit.Ours {
			out.Carried = process.TellFlags(cfg.Carried)
		}
	}
	var problem error
	pid := p.number("MainPID")
	if held > 0 && held != pid && keptBy(held) == p["Id"] {
		pid = held // of a unit that runs a script which runs etcd
	}
	state(&out, p, pid)
	if out.PID != 0 {
		out.SupervisorPID = 1
		out.UpSeconds = process.UpSeconds(pid)
		out.Since = time.Now().Add(-time.Duration(out.UpSeconds) * time.Second).UTC().Format(time.RFC3339)
		var settings map[string]string
		if !passing(pid) {
			settings, problem = process.Settings(pid)
		}
		if problem != nil && process.Ending(pid) {
			settings, problem = nil, nil
		}
		out.Args = args(settings)
	}
	u.fillFromUnit(ctx, &out, p, problem)
	if held > 0 && held != out.PID {
		if out.Unit.Nearest = keptBy(held); out.Unit.Nearest == p["Id"] {
			out.Unit.Nearest = ""
		}
	} else if p["LoadState"] == "not-found" {
		out.Unit.Nearest = u.nearest(ctx)
	}
	u.tell(ctx, &out, p)
	return planner.Known(out)
}

// passing reports whether a process is not yet what the unit runs, or not any more, as one
// of a unit that is started again and again is most of the time: what it was started with
// tells nothing then.
func passing(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return process.Ending(pid) || err == nil && strings.HasPrefix(filepath.Base(exe), "systemd")
}

// state is the unit's in the planner's words.
func state(out *planner.Service, p properties, pid int) {
	switch {
	case p["ActiveState"] == "failed":
		out.State = planner.ServiceFailed
	case p["ActiveState"] == "activating" && (p["SubState"] == "auto-restart" || pid == 0):
		out.State = planner.ServiceBackoff
	case p.up():
		out.State, out.PID = planner.ServiceRunning, pid
	case p["LoadState"] == "not-found":
		out.State = planner.ServiceNone
	default:
		out.State = planner.ServiceStopped
	}
}

// args are settings as flags, without those that say where settings come from, as they
// are told.
func args(settings map[string]string) []string {
	if settings == nil {
		return nil
	}
	var out []string
	told, _ := process.Tell(settings)
	for _, a := range process.AsArgs(told) {
		if !strings.HasPrefix(a, "--config-file=") {
			out = append(out, a)
		}
	}
	return out
}

// fillFromUnit adds what the unit itself says: of one that is masked by requorum, what
// it said before.
func (u Unit) fillFromUnit(ctx context.Context, out *planner.Service, p properties, problem error) {
	unit := out.Unit
	if _, ok := readOwn(fencePath(u.Name)); ok { // its record may be lost
		unit.Barred = true
	}
	if bar, err := u.readBar(); err == nil && bar.Unit == u.Name {
		unit.Barred = true
		unit.Undone = u.undone(ctx, bar, p, false)
		if p["LoadState"] == "masked" {
			unit.Fragment, unit.Program, unit.Environment, unit.Acts = bar.Fragment, bar.Program, bar.Environment, bar.Acts
			out.Binary, out.Args = binary(bar.Program), process.TellFlags(bar.Args)
			return
		}
	}
	if p["LoadState"] != "loaded" {
		return
	}
	env, err := p.environment()
	argv := p.argv(env)
	unit.Environment = runtimeVariables(env)
	program, next, nextErr := p.next()
	if program != nil {
		unit.Program = program
		out.Binary = binary(program)
		if out.PID != 0 {
			out.Binary = runningBinary(out.PID, program)
		}
		switch {
		case out.Args != nil: // nil is not known
			unit.Next = next
		case problem == nil:
			out.Args, problem = next, nextErr
		}
		if out.State != planner.ServiceRunning {
			unit.Unborn = u.unborn(next)
		}
	} else if out.State == planner.ServiceRunning && out.PID != 0 {
		out.Binary, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", out.PID))
	}
	switch err = errors.Join(err, problem); {
	case unit.Problem != "" || unit.Barred:
	case err != nil && !unit.Ours:
		unit.Problem = fmt.Sprintf("with what %s runs etcd can't be told: %v", u.Name, err)
	case unit.Program == nil && out.Args == nil:
		unit.Problem = fmt.Sprintf("what %s runs is no etcd that requorum knows how to start (ExecStart: %s)", u.Name, shownProgram(argv))
	}
}

// unborn reports whether a unit that would start etcd with these settings has never had
// one on their data directory, which is another one than the member's.
func (u Unit) unborn(settings []string) bool {
	dirs := 0
	for _, a := range settings {
		dir, ok := strings.CutPrefix(a, "--data-dir=")
		if !ok {
			if strings.HasPrefix(a, "--wal-dir=") {
				return false
			}
			continue
		}
		dirs++
		if resolved(dir) == resolved(u.Layout.DataDir) {
			return false
		}
		if _, err := os.Lstat(filepath.Join(dir, "member")); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return dirs == 1
}

// acts are the settings of a unit, beside ExecStart, that do something when it starts or
// ends, or that have systemd take another process than etcd's for its own.
func (p properties) acts() []string {
	var out []string
	switch p["Type"] {
	case "", "simple", "exec", "notify", "notify-reload", "idle":
	default:
		out = append(out, "Type")
	}
	for _, name := range []string{"PIDFile", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost"} {
		if p[name] != "" {
			out = append(out, name)
		}
	}
	if p["RemainAfterExit"] == "yes" {
		out = append(out, "RemainAfterExit")
	}
	return out
}

// next is what the unit would start: the program that runs etcd, and with which
// settings, as flags. program is nil where that is no etcd that is known.
func (p properties) next() (program, settings []string, err error) {
	env, err := p.environment()
	if err != nil {
		return nil, nil, err
	}
	program, rest := programOf(p.argv(env))
	if program == nil {
		return nil, nil, nil
	}
	cwd := strings.TrimPrefix(orElse(p["WorkingDirectory"], "/"), "!") // of one that may be missing
	if !filepath.IsAbs(cwd) {
		return program, nil, fmt.Errorf("where its working directory %s is can't be told", cwd)
	}
	found, err := process.SettingsFrom(rest, pairs(env), cwd)
	if err != nil {
		return program, nil, err
	}
	return program, args(found), nil
}

// shownProgram is what a unit runs without its arguments: they may have secrets in them
// that came from a file of variables.
func shownProgram(argv []string) string {
	if len(argv) == 0 {
		return "none, or several"
	}
	return argv[0] + ", and its arguments"
}

// runningBinary is what a process runs that a unit with this program has started: the
// program, unless the process plainly has another etcd. A script's process is a shell's.
func runningBinary(pid int, program []string) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !isEtcd(filepath.Base(exe)) || script(program[0]) {
		return binary(program)
	}
	now, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return binary(program)
	}
	for _, root := range []string{"", fmt.Sprintf("/proc/%d/root", pid)} {
		if fi, err := os.Stat(root + program[0]); err == nil && os.SameFile(fi, now) {
			return binary(program)
		}
	}
	path := strings.TrimSuffix(exe, " (deleted)")
	switch at, err := filepath.EvalSymlinks(program[0]); {
	case path == program[0] || err == nil && path == at: // another one lies there since
		return binary(program)
	case strings.HasPrefix(filepath.Base(path), "requorum"):
		return "requorum"
	}
	return path
}

func isEtcd(base string) bool {
	return strings.HasPrefix(base, "etcd") || strings.HasPrefix(base, "requorum")
}

func script(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [2]byte
	_, err = f.Read(head[:])
	return err == nil && string(head[:]) == "#!"
}

// unit is what systemd says of the unit as such.
func (u Unit) unit(p properties) *planner.Unit {
	out := &planner.Unit{
		Name: orElse(p["Id"], u.Name), Load: p["LoadState"], Enabled: p["UnitFileState"], Fragment: p["FragmentPath"],
		Stale: p["NeedDaemonReload"] == "yes", Wanted: p["WantedBy"]+p["RequiredBy"] != "", Acts: p.acts(),
		Files: map[string]string{},
	}
	if p["LoadState"] == "not-found" {
		out.Name = u.Name
	}
	switch p["LoadState"] {
	case "loaded", "not-found", "masked":
	default:
		out.Problem = fmt.Sprintf("systemd can't load %s (%s): %s", u.Name, p["LoadState"], orElse(p["LoadError"], "no reason given"))
	}
	for _, path := range []string{planner.UnitPath(out.Name), planner.DropInPath(out.Name)} {
		if text, ok := readOwn(path); ok {
			out.Files[path] = process.TellUnit(text)
			out.Ours = true
		}
	}
	if own, err := u.own(); err == nil {
		out.Own = own
	}
	return out
}

// tell adds what the journal has about the unit.
func (u Unit) tell(ctx context.Context, out *planner.Service, p properties) {
	if p["LoadState"] == "not-found" && out.State == planner.ServiceNone {
		return
	}
	s := readJournal(ctx, out.Unit.Name, p["InvocationID"])
	switch out.State {
	case planner.ServiceRunning:
		out.LastError, _ = process.Words(s.etcd)
		if out.LastError == "" && out.Restarts > 0 {
			out.LastError, _ = process.Words(s.before)
		}
		out.Signs = s.signs(true)
	case planner.ServiceStopped, planner.ServiceNone:
		if p["Result"] != "success" {
			out.LastError = s.words()
		}
		for _, sign := range s.signs(false) { // of a removal etcd ends as if it was told to
			if sign.Kind == planner.SignRemoved && !out.Unit.Barred {
				out.State, out.LastError, out.Signs = planner.ServiceFailed, sign.Text, []planner.LogSign{sign}
			}
		}
	default:
		out.LastError = orElse(explain(p, s.words()), "it ended, and nothing tells why")
		out.Signs = s.signs(false)
	}
	out.LastError = process.Scrub(out.LastError)
}

// explain puts how a unit failed before its words where that says more.
func explain(p properties, words string) string {
	how := ""
	switch p["Result"] {
	case "timeout":
		how = "it did not report within the unit's time that it serves (TimeoutStartSec; without a quorum it can't)"
	case "oom-kill":
		how = "the kernel killed it for want of memory"
	case "start-limit-hit":
		how = "it ended too often, and systemd gave up (systemctl reset-failed)"
	case "signal", "core-dump":
		how = "it was ended by signal " + p["ExecMainStatus"]
		if p["ExecMainStatus"] == "0" { // before etcd itself was started
			how = "it was ended by a signal while it started"
		}
	case "exit-code":
		switch p["ExecMainStatus"] {
		case "200":
			how = "its working directory can't be entered (status 200)"
		case "203":
			how = "its program can't be executed (status 203)"
		case "217":
			how = "its user does not exist (status 217: " + p["User"] + ")"
		case "226":
			how = "its name space can't be set up (status 226)"
		default:
			how = "it ended with status " + p["ExecMainStatus"]
		}
	case "resources":
		how = "systemd could not start it"
	}
	switch {
	case words == "":
		return how
	case how == "" || p["Result"] == "exit-code" && !strings.Contains(how, "(status"):
		return words
	}
	return how + ": " + words
}

// programOf takes a command line apart: what runs etcd, and etcd's arguments.
func programOf(argv []string) (program, rest []string) {
	switch {
	case len(argv) == 0:
		return nil, nil
	case len(argv) > 1 && argv[1] == "etcd" && strings.HasPrefix(filepath.Base(argv[0]), "requorum"):
		return argv[:2], argv[2:]
	case strings.HasPrefix(filepath.Base(argv[0]), "etcd") && filepath.IsAbs(argv[0]) && (len(argv) == 1 || strings.HasPrefix(argv[1], "-")):
		return argv[:1], argv[1:]
	}
	return nil, nil
}

// binary is how a service reports the binary of the file.
func binary(program []string) string {
	switch len(program) {
	case 0:
		return ""
	case 1:
		return program[0]
	}
	return "requorum"
}

// meant are the variables that mean something to a program of Go's, beside etcd's own
// ones: a unit keeps them. A proxy's would stand between peers.
var meant = []string{"TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "GOTRACEBACK"}

func runtimeVariables(env map[string]string) []string {
	var out []string
	for _, name := range meant {
		if v, ok := env[name]; ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

func pairs(env map[string]string) []string {
	var out []string
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// keptBy is the unit that a process belongs to; "" for none.
func keptBy(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 || f[1] != "" && f[1] != "name=systemd" {
			continue
		}
		parts := strings.Split(f[2], "/")
		for _, part := range slices.Backward(parts) {
			if strings.HasSuffix(part, ".service") {
				return part
			}
		}
	}
	return ""
}

// nearest is another unit that runs an etcd on the member's directory.
func (u Unit) nearest(ctx context.Context) string {
	text, err := command(ctx, askLimit, "systemctl", "list-unit-files", "--no-pager", "--no-legend", "--full", "--type=service", "*etcd*")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.Contains(f[0], "@.") || f[0] == u.Name {
			continue
		}
		p, err := show(ctx, askLimit, f[0])
		if err != nil || p["LoadState"] != "loaded" {
			continue
		}
		env, err := p.environment()
		_, rest := programOf(p.argv(env))
		if err != nil {
			continue
		}
		settings, err := process.SettingsFrom(rest, pairs(env), orElse(p["WorkingDirectory"], "/"))
		if err == nil && settings["data-dir"] == u.Layout.DataDir {
			return p["Id"]
		}
	}
	return ""
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
