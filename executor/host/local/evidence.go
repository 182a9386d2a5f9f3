package local

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// evidence says why there should be data where there is none (S6). A claim or a
// staging that no etcd was ever started from is no evidence, nor is an etcd that
// is proven to have written nothing: nothing was lost with it. That holds for
// what came before the present claim as well.
func (d *Driver) evidence(l host.Layout, prov *planner.Provenance, provErr error, ran bool) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if ran {
		say("requorum started a member here (%s)", l.Ran())
	}
	if provErr != nil && !notExist(provErr) {
		say("the record of its data can't be read (%v)", provErr)
	}
	markers, err := process.Markers(l)
	if err != nil {
		say("what requorum started here can't be read (%v)", err)
	}
	for _, m := range markers {
		if !ran || m.Path != l.Ran() {
			say("requorum started an earlier member here (%s)", m.Path)
		}
	}
	for _, path := range keptRecords(l) {
		if p, err := readProvenanceAt(path); err != nil || process.RanUnder(p.Token, markers) {
			say("there is a record of earlier data (%s)", path)
		}
	}
	for _, path := range keptData(l) {
		say("data was moved aside from here (%s)", path)
	}
	if cfg, err := process.ReadConfig(l); err == nil && !ran && (prov == nil ||
		cfg.MemberID != prov.MemberID && (cfg.Token == "" || process.RanUnder(cfg.Token, markers))) {
		say("requorum has a service for it (%s)", l.Service())
	}
	if twin := (host.Layout{DataDir: l.DataDir, WALDir: l.WALDir, Inside: !l.Inside}); twin.Exists() {
		say("requorum kept data of it elsewhere before it was mounted or moved (%s)", twin.Base())
	}
	out = append(out, d.unmounted(l.DataDir)...)
	return append(out, d.otherOwners(l.DataDir)...)
}

func glob(pattern string) []string {
	out, _ := filepath.Glob(pattern)
	return out
}

// keptData are the set-aside folders that have data in them.
func keptData(l host.Layout) []string {
	var out []string
	for _, s := range slots(l.Aside()) {
		if _, waiting := s.waiting(); !waiting && s.name != "" {
			out = append(out, s.dir)
		}
	}
	return out
}

// unmounted names the entries of fstab and the mount units for path or a folder
// above it that are not mounted now.
func (d *Driver) unmounted(path string) []string {
	mounted := mountPoints()
	var out []string
	say := func(point, source string) {
		if point != "/" && within(path, point) && !mounted[point] {
			out = append(out, fmt.Sprintf("%s names the mount point %s, and nothing is mounted there", source, point))
		}
	}
	fstab := filepath.Join(d.etc, "fstab")
	for _, line := range lines(fstab) {
		if f := strings.Fields(line); len(f) >= 3 && !strings.HasPrefix(f[0], "#") && strings.HasPrefix(f[1], "/") {
			say(filepath.Clean(unescape(f[1])), fstab)
		}
	}
	for _, unit := range glob(filepath.Join(d.etc, "systemd/system/*.mount")) {
		for _, line := range lines(unit) {
			if where, ok := strings.CutPrefix(strings.TrimSpace(line), "Where="); ok {
				say(filepath.Clean(strings.TrimSpace(where)), unit)
			}
		}
	}
	return out
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func mountPoints() map[string]bool {
	out := map[string]bool{}
	for _, line := range lines("/proc/self/mountinfo") {
		if f := strings.Fields(line); len(f) > 4 {
			out[unescape(f[4])] = true
		}
	}
	return out
}

// unescape undoes the octal escapes of fstab and mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func lines(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(string(b), "\n")
}

// referred finds the files that a unit takes etcd's settings from.
var referred = regexp.MustCompile(`(?:EnvironmentFile=-?|--config-file[= ])(/\S+)`)

// otherOwners names the enabled systemd units, and the static pod of kubeadm,
// that run something on path.
func (d *Driver) otherOwners(path string) []string {
	var out []string
	for _, unit := range glob(filepath.Join(d.etc, "systemd/system/*.wants/*.service")) {
		b, err := os.ReadFile(unit)
		if err != nil {
			continue
		}
		text, name := string(b), filepath.Base(unit)
		for _, dir := range []string{"systemd/system", "../usr/lib/systemd/system"} {
			for _, path := range glob(filepath.Join(d.etc, dir, name+".d", "*.conf")) {
				more, _ := os.ReadFile(path)
				text += "\n" + string(more)
			}
		}
		short := strings.TrimSuffix(name, ".service")
		for _, m := range referred.FindAllStringSubmatch(text, -1) {
			more, _ := os.ReadFile(strings.NewReplacer("%p", short, "%N", short, "%n", name).Replace(m[1]))
			text += "\n" + string(more)
		}
		if names(text, path) {
			out = append(out, fmt.Sprintf("the enabled unit %s runs on it (%s)", name, unit))
		}
	}
	for _, pod := range glob(filepath.Join(d.etc, "kubernetes/manifests/*.yaml")) {
		if b, _ := os.ReadFile(pod); names(string(b), path) {
			out = append(out, fmt.Sprintf("the static pod %s runs on it (%s)", filepath.Base(pod), pod))
		}
	}
	return out
}

// names reports whether text has path as a whole: /var/lib/etcd is not in
// /var/lib/etcd2 or /var/lib/etcd/member.
func names(text, path string) bool {
	return regexp.MustCompile(`(?m)(?:^|[\s="':,])` + regexp.QuoteMeta(path) + `/?(?:$|[\s"',;])`).MatchString(text)
}
