package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/planner"
)

// Foreign describes a process that runs on a member's data directory without
// having been started by its supervisor; nil where it is gone. It only reads
// /proc.
func Foreign(pid int) *planner.Foreign {
	id, ended, err := lookup(pid)
	if err != nil || ended {
		return nil
	}
	f := &planner.Foreign{PID: pid, Start: id.Start, Exe: exeOf(pid)}
	if args := cmdline(pid); len(args) > 1 {
		f.Args = tellArgs(args[1:])
	}
	if settings, err := settingsOf(pid); err != nil {
		f.Problem = err.Error()
	} else if f.Settings, f.Hidden = Tell(settings); f.Hidden != nil {
		f.Problem = fmt.Sprintf("process %d: %v", pid, untoldError(f.Hidden))
	}
	f.Keeper = keeper(pid)
	if !id.alive() {
		return nil // what was read may be of nobody
	}
	return f
}

func exeOf(pid int) string {
	exe, _ := os.Readlink(procPath(pid, "exe"))
	return strings.TrimSuffix(exe, " (deleted)")
}

func procPath(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// settingsOf is Settings of a process that requorum may start anew.
func settingsOf(pid int) (map[string]string, error) {
	uid, err := uidOf(pid)
	if err != nil {
		return nil, err
	}
	if me := os.Geteuid(); uid != me {
		// Started again by us it would run, and write its files, as somebody else.
		return nil, fmt.Errorf("process %d runs as user %d, and requorum as user %d", pid, uid, me)
	}
	return Settings(pid)
}

// Settings finds out with what an etcd runs: its flags by name, wherever they come
// from, and etcd's defaults for those that requorum owns. Secrets are among them: what is
// shown goes through Tell.
func Settings(pid int) (map[string]string, error) {
	env, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return nil, fmt.Errorf("the settings of process %d can't be told: %w", pid, err)
	}
	cwd, err := os.Readlink(procPath(pid, "cwd"))
	if err != nil {
		return nil, fmt.Errorf("the settings of process %d can't be told: %w", pid, err)
	}
	args := cmdline(pid)[1:]
	if len(args) > 0 && args[0] == "etcd" { // requorum etcd
		args = args[1:]
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return nil, fmt.Errorf("process %d is no etcd, but another program of its name", pid)
	}
	o := origin{args: args, env: strings.Split(string(env), "\x00"), cwd: cwd, root: procPath(pid, "root")}
	s, err := o.settings()
	if err != nil {
		return nil, fmt.Errorf("the settings of process %d can't be told: %w", pid, err)
	}
	return s, nil
}

func uidOf(pid int) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(procPath(pid, ""), &st); err != nil {
		return 0, err
	}
	return int(st.Uid), nil
}

// fileID names a file in the whole system.
type fileID struct{ dev, ino uint64 }

// filesOf are the files that lie in the directories now.
func filesOf(dirs ...string) (map[fileID]bool, error) {
	out := map[fileID]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil && d.Type().IsRegular() && unix.Lstat(path, &st) == nil {
				out[fileID{st.Dev, st.Ino}] = true
			}
			if absent(err) {
				return nil // it went while we looked
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// writes reports whether the process has one of the files open for writing; one
// that only reads, a backup perhaps, does not count.
func writes(pid int, files map[fileID]bool) (bool, error) {
	fds, err := os.ReadDir(procPath(pid, "fd"))
	if err != nil {
		return false, err
	}
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(procPath(pid, "fd/"+fd.Name()), &st) != nil || !files[fileID{st.Dev, st.Ino}] {
			continue
		}
		b, _ := os.ReadFile(procPath(pid, "fdinfo/"+fd.Name()))
		_, flags, _ := strings.Cut(string(b), "flags:")
		var mode int
		if _, err := fmt.Sscanf(strings.TrimSpace(flags), "%o", &mode); err == nil && mode&unix.O_ACCMODE != unix.O_RDONLY {
			return true, nil
		}
	}
	return false, nil
}

// memberDirs are where etcd writes.
func memberDirs(dataDir, walDir string) []string {
	dirs := []string{filepath.Join(dataDir, "member")}
	if walDir != "" {
		dirs = append(dirs, walDir)
	}
	return dirs
}

// holds reports whether a process has a member's files open for writing.
func holds(pid int, dataDir, walDir string) bool {
	files, err := filesOf(memberDirs(dataDir, walDir)...)
	if err != nil {
		return false
	}
	is, _ := writes(pid, files)
	return is
}

// users are the processes, but this one, that have files of the member open for
// writing. What belongs to others and can't be looked into is not among them.
func users(dataDir, walDir string) ([]procID, error) {
	files, err := filesOf(memberDirs(dataDir, walDir)...)
	if err != nil {
		return nil, err
	}
	var out []procID
	for _, pid := range pids() {
		if is, err := writes(pid, files); err != nil || !is || pid == os.Getpid() {
			continue
		}
		if id, ended, err := lookup(pid); err == nil && !ended {
			out = append(out, id)
		}
	}
	return out, nil
}

var errNotIt = errors.New("it is another process by now: plan again")

// named gives the process that the plan named, where it still is that one and has
// the member's files open; gone is true where it has ended.
func named(pid int, start uint64, dataDir, walDir string) (id procID, gone bool, err error) {
	now, ended, err := lookup(pid)
	switch {
	case err != nil || ended:
		return id, true, nil
	case now.Start != start:
		return id, false, fmt.Errorf("process %d: %w", pid, errNotIt)
	case !holds(pid, dataDir, walDir):
		return id, false, fmt.Errorf("process %d does not have %s open: plan again", pid, dataDir)
	}
	return now, false, nil
}
