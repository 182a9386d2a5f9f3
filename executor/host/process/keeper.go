package process

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keeper says who would start the process again if it ended; "" for nobody that
// could be found. Two keepers of one member would fight over it (S22).
func keeper(pid int) string {
	if pid == 1 {
		return "the machine or container that it is the first process of"
	}
	groups, own := cgroups(pid), cgroups(os.Getpid())
	for _, g := range groups {
		// Of the one that requorum itself is in it is known that a person can
		// start things there by hand.
		if slices.Contains(own, g) {
			continue
		}
		if k := keeperOfCgroup(g); k != "" {
			return k
		}
	}
	return keeperOfParents(pid, groups)
}

// cgroups are the paths of /proc/PID/cgroup.
func cgroups(pid int) []string {
	b, _ := os.ReadFile(procPath(pid, "cgroup"))
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 && f[2] != "/" {
			out = append(out, f[2])
		}
	}
	return out
}

var (
	container = regexp.MustCompile(`^(docker|cri-containerd|containerd|crio|libpod|lxc|kubepods)([-.:_].*)?$`)
	plainID   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// sessions are services that people, or timetables, start things from.
	sessions = regexp.MustCompile(`^(user@.*|sshd?(@.*)?|ssh-.*|dropbear.*|crond?|atd|anacron|getty@.*|serial-getty@.*|console-getty|container-getty@.*|` +
		`gdm|sddm|lightdm|xrdp.*|gnome-terminal-server|dbus(-broker)?|rescue|emergency|systemd-nspawn@.*)\.service$`)
)

func keeperOfCgroup(path string) string {
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		name := parts[i]
		switch {
		case strings.HasSuffix(name, ".service"):
			if container.MatchString(strings.TrimSuffix(name, ".service")) || sessions.MatchString(name) {
				continue
			}
			return "the systemd unit " + name
		case plainID.MatchString(name), container.MatchString(name):
			return "the container " + shortName(path)
		}
	}
	return ""
}

// shortName is the last part of a cgroup's path, with long IDs cut as the
// container tools do.
func shortName(path string) string {
	name := filepath.Base(path)
	if i := strings.LastIndexByte(name, '-'); i >= 0 && len(name) > 64 {
		name = name[i+1:]
	}
	if len(name) > 12 && plainID.MatchString(strings.TrimSuffix(name, ".scope")) {
		name = name[:12]
	}
	return name
}

// keepers are the programs that start their children again, by command name, as
// the kernel has it: 15 characters.
var keepers = regexp.MustCompile(`^(supervisord|runsv|s6-supervise|perpd|supervise|monit|circusd|nomad|conmon|containerd-shim.*|PM2 .*|pm2.*)$`)

// inits run one program and nothing else; what is orphaned comes to them too.
var inits = []string{"tini", "dumb-init", "docker-init", "catatonit", "podman-init"}

// entrances are where a person, or a timetable, came in: what keeps them keeps
// nothing below them.
var entrances = []string{"sshd", "sshd-session", "login", "cron", "crond", "atd", "tmux: server", "screen", "dropbear"}

func keeperOfParents(pid int, groups []string) string {
	own, script := ancestors(os.Getpid()), ""
	for i, p := range ancestors(pid) {
		name := commandName(p)
		direct := i == 0
		switch {
		case slices.Contains(entrances, name):
			return script
		case slices.Contains(own, p) && !direct:
			return script // it keeps requorum, or requorum's shell
		case keepers.MatchString(name):
			return fmt.Sprintf("%s (pid %d)", name, p)
		case direct && slices.Contains(inits, name) && together(p, pid):
			return fmt.Sprintf("%s (pid %d)", name, p)
		case direct && name == "systemd" && p != 1 && !inScope(groups):
			return fmt.Sprintf("the user's systemd (pid %d)", p)
		case direct && p != 1 && !slices.Contains(own, p): // ours waits for us, and starts nothing
			script = scriptOf(p, name) // unless something better known is found above it
		}
	}
	return script
}

// interpreters may run a loop that starts its command again; so may any program, but
// most that start a process wait for it, and end.
var (
	shells   = regexp.MustCompile(`^(sh|bash|dash|zsh|[mo]?ksh[0-9.]*|ash|busybox)$`)
	programs = regexp.MustCompile(`^(python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node|nodejs)$`)
)

// scriptOf describes a living shell or interpreter that was started with a script;
// "" for any other process, and for a shell that a person sits at.
func scriptOf(pid int, name string) string {
	args := cmdline(pid)
	// The name is the script's where it was started by its first line.
	for _, n := range []string{name, filepath.Base(exeOf(pid)), filepath.Base(args[0])} {
		if shells.MatchString(n) && shellScript(args) || programs.MatchString(n) && programScript(args) {
			return fmt.Sprintf("the script that started it (pid %d: %s)", pid, shortened(args))
		}
	}
	return ""
}

// withValue are the flags of shells and interpreters that take the next word.
var withValue = []string{"-o", "+o", "-O", "+O", "--rcfile", "--init-file", "-W", "-X", "-I", "-r", "--require"}

// shellScript reports whether a shell has -c or a script among its arguments.
func shellScript(args []string) bool {
	if strings.HasPrefix(args[0], "-") {
		return false // a login shell
	}
	if filepath.Base(args[0]) == "busybox" {
		if len(args) < 2 || !shells.MatchString(args[1]) {
			return false
		}
		args = args[1:]
	}
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains(withValue, a):
			i++
		case a == "--", a == "-":
			return i+1 < len(args)
		case !strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "+"):
			return true
		case strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "c"):
			return true
		case a == "-s":
			return false // what follows is no script
		}
	}
	return false
}

// programScript is the same for a script's interpreter.
func programScript(args []string) bool {
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains([]string{"-c", "-m", "-e", "-E", "--eval"}, a):
			return true
		case slices.Contains(withValue, a):
			i++
		case a == "--":
			return i+1 < len(args)
		case !strings.HasPrefix(a, "-"):
			return true
		}
	}
	return false
}

// shortened is a command line as one short line of text: up to the script, without
// what it is given, and without commands that stand there themselves. Either may have
// secrets in it.
func shortened(args []string) string {
	const most = 60
	words := args[:1]
	for i, a := range args[1:] {
		isFlag := strings.HasPrefix(a, "-") || strings.HasPrefix(a, "+")
		if !isFlag && strings.ContainsAny(a, " \t\n=@") {
			a = "…"
		}
		words = append(words[:i+1:i+1], a)
		if !isFlag && !shells.MatchString(a) { // busybox sh
			if a != "…" && i+2 < len(args) {
				words = append(words, "…")
			}
			break
		}
	}
	r := []rune(strings.Join(words, " "))
	if len(r) <= most {
		return string(r)
	}
	return string(r[:most-1]) + "…"
}

// together reports whether one was started right after the other.
func together(parent, pid int) bool {
	a, _, err1 := lookup(parent)
	b, _, err2 := lookup(pid)
	return err1 == nil && err2 == nil && b.Start >= a.Start && time.Duration(b.Start-a.Start)*(time.Second/100) < 5*time.Second
}

func inScope(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return strings.HasSuffix(g, ".scope") })
}

func commandName(pid int) string {
	b, _ := os.ReadFile(procPath(pid, "comm"))
	return strings.TrimSpace(string(b))
}

// ancestors are the parents of a process, the nearest first.
func ancestors(pid int) []int {
	var out []int
	for len(out) < 100 {
		b, err := os.ReadFile(procPath(pid, "stat"))
		if err != nil {
			return out
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 2 {
			return out
		}
		if pid, err = strconv.Atoi(f[1]); err != nil || pid <= 0 {
			return out
		}
		out = append(out, pid)
	}
	return out
}

func pids() []int {
	dirs, _ := os.ReadDir("/proc")
	var out []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
