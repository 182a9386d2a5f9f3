package process

import (
	"path/filepath"
	"strings"

	"github.com/requorum/requorum/planner"
)

// Etcds describes every etcd that runs on this machine, whoever started it and in
// whatever network: a member that no address leads to may be one of them. What
// can't be looked into is left out.
func Etcds() []planner.Foreign {
	var out []planner.Foreign
	for _, pid := range pids() {
		if !isEtcd(cmdline(pid)) {
			continue
		}
		f := Foreign(pid)
		if f != nil && f.Settings == nil { // of another user's, too
			if settings, err := Settings(pid); err == nil {
				f.Settings, f.Hidden = Tell(settings)
			}
		}
		if f != nil && f.Settings != nil {
			out = append(out, *f)
		}
	}
	return out
}

// Waiting are the etcds, but the holder, that have files of the member open for
// writing: a second one on a directory opens its db and then waits for the lock.
func Waiting(dataDir, walDir string, holder int) []int {
	files, err := filesOf(memberDirs(dataDir, walDir)...)
	if err != nil {
		return nil
	}
	var out []int
	for _, pid := range pids() {
		if pid == holder || !isEtcd(cmdline(pid)) {
			continue
		}
		if is, err := writes(pid, files); err == nil && is {
			out = append(out, pid)
		}
	}
	return out
}

// isEtcd goes by the command line: the program's name, requorum's own verb, or one
// of the flags that every etcd with a peer has.
func isEtcd(args []string) bool {
	if len(args) == 0 {
		return false
	}
	if filepath.Base(args[0]) == "etcd" || len(args) > 1 && args[1] == "etcd" {
		return true
	}
	for _, a := range args[1:] {
		if flag := strings.TrimLeft(a, "-"); flag != a && (strings.HasPrefix(flag, "listen-peer-urls") || strings.HasPrefix(flag, "initial-advertise-peer-urls")) {
			return true
		}
	}
	return false
}
