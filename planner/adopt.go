package planner

import (
	"fmt"
	"slices"
	"strings"
)

// carried are the flags, as --name=value and sorted, that a member goes on having
// although the file does not name them: those that it ran with when it was, or is
// about to be, adopted (a lost quota is NOSPACE at once), or that its unit has.
func (b *builder) carried(m *member) []string {
	if !m.seen.Service.Known() {
		return nil
	}
	settings := map[string]string{}
	for _, flag := range m.seen.Service.Value.Carried {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		settings[name] = value
	}
	if u, c := m.unit(), m.commands(); u != nil && !u.Ours || c != nil && c.Config == "" && !c.Closed && !c.Interim {
		settings = map[string]string{}
		for _, flag := range m.seen.Service.Value.Args {
			name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			settings[name] = value
		}
	}
	if f := m.foreign(); f != nil {
		settings = f.Settings
	}
	var out []string
	for name, value := range settings {
		if _, named := b.cluster.Etcd.Config[name]; !named && !owned(name) {
			out = append(out, "--"+name+"="+value)
		}
	}
	slices.Sort(out)
	return out
}

// owned reports whether requorum says a flag itself, or never wants it again.
func owned(name string) bool {
	switch name {
	case "name", "data-dir", "wal-dir", "config-file", "force-new-cluster":
		return true
	}
	for _, prefix := range []string{"listen-peer-", "listen-client-", "advertise-", "discovery"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return begins(name)
}

// begins reports whether a flag means something only when a member has no data yet. The
// election ticks that a member skips are those of each of its starts.
func begins(name string) bool {
	return strings.HasPrefix(name, "initial-") && name != "initial-election-tick-advance"
}

// Unsayable are the flags, sorted, that a member has and the file has no name for: started
// with the file's settings it would be without them.
func Unsayable(settings map[string]string) []string {
	var out []string
	for name, value := range settings {
		switch {
		case !owned(name), begins(name), strings.HasPrefix(name, "discovery"), value == "":
			continue
		}
		switch name {
		case "name", "data-dir", "wal-dir", "config-file", "force-new-cluster", "listen-peer-urls", "listen-client-urls", "advertise-client-urls":
			continue
		}
		out = append(out, "--"+name)
	}
	slices.Sort(out)
	return out
}

// runsWith are the settled flags of the member's process; nil where they are not
// known.
func (m *member) runsWith() []string {
	if f := m.foreign(); f != nil {
		if f.Settings == nil {
			return nil
		}
		var args []string
		for name, value := range f.Settings {
			if name != "config-file" && !strings.HasPrefix(name, "discovery") {
				args = append(args, "--"+name+"="+value)
			}
		}
		return settled(args)
	}
	if s := m.seen.Service; s.Known() && len(s.Value.Args) > 0 {
		return settled(s.Value.Args)
	}
	return nil
}

// forceNew reports whether the process that runs has --force-new-cluster: at its
// next start it would expel every other member (S22).
func (m *member) forceNew() bool {
	f := m.foreign()
	if f != nil && (f.Settings["force-new-cluster"] == "true" || f.Settings == nil && slices.ContainsFunc(f.Args, saysForceNew)) {
		return true
	}
	return f == nil && m.seen.Service.Known() && slices.ContainsFunc(m.seen.Service.Value.Args, saysForceNew)
}

// saysForceNew reports whether a word of a command line switches it on, for a process of
// which nothing else can be told.
func saysForceNew(arg string) bool {
	name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return strings.HasPrefix(arg, "-") && name == "force-new-cluster" && (!joined || !slices.Contains([]string{"false", "FALSE", "False", "f", "F", "0"}, value))
}

// adoptable reports whether the member runs without anybody who would start it
// again, and may be given a supervisor as it is.
func (m *member) adoptable() bool {
	if m.at.Unit != "" || m.at.Commands != nil {
		return false // systemd does that, or what the commands talk to
	}
	if f := m.foreign(); f != nil {
		return f.Problem == "" && f.Keeper == "" && !m.forceNew()
	}
	return m.orphan()
}

// restartWhy says why the process of a member that serves has to be started anew;
// empty where it doesn't.
func (b *builder) restartWhy(m *member) []string {
	var why []string
	if m.forceNew() {
		why = append(why, m.spec.Name+" runs with --force-new-cluster: its next start would expel the others")
	}
	if diff := b.settingsDiffer(m); diff != "" {
		why = append(why, diff)
	}
	why = append(why, b.keeperWhy(m)...)
	if diff := b.binaryDiffers(m); diff != "" {
		why = append(why, diff)
	}
	return why
}

// keeperWhy says where another keeps the process than the one that is to.
func (b *builder) keeperWhy(m *member) []string {
	var why []string
	if f := m.foreign(); f != nil && m.unit() != nil {
		why = append(why, fmt.Sprintf("%s runs as process %d, outside %s, which is to keep it", m.spec.Name, f.PID, m.at.Unit))
	}
	if m.interim() {
		why = append(why, m.spec.Name+" runs under requorum's own supervisor, and the file's commands are to keep it")
	}
	return why
}

// binaryDiffers says in words that the process is of another program than the file's; ""
// where it is not, and under commands, which run their own.
func (b *builder) binaryDiffers(m *member) string {
	s := m.seen.Service
	if runs, want := s.Value.Binary, ownBinary(b.binaryOf(m)); s.Known() && s.Value.State == ServiceRunning && m.foreign() == nil && m.at.Commands == nil && runs != want {
		return fmt.Sprintf("%s runs %s, the file says %s", m.spec.Name, runs, want)
	}
	return ""
}
