package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// procID is a process that can't be mistaken for a later one of the same pid.
type procID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot: /proc/PID/stat, field 22
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
}

var bootID = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})

// lookup gives the identity of a process that is there now; ended is true for
// one that only waits to be reaped.
func lookup(pid int) (id procID, ended bool, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procID{}, false, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 {
		return procID{}, false, fmt.Errorf("/proc/%d/stat: too short", pid)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	return procID{PID: pid, Start: start, Boot: bootID()}, f[0] == "Z" || f[0] == "X", err
}

// alive reports whether it is that very process that runs.
func (p procID) alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, ended, err := lookup(p.PID)
	return err == nil && !ended && now == p
}

// up is how long the process has been there, in seconds. The kernel counts in
// hundredths for every program (USER_HZ).
func (p procID) up() int {
	b, _ := os.ReadFile("/proc/uptime")
	now, _, _ := strings.Cut(string(b), " ")
	uptime, err := strconv.ParseFloat(now, 64)
	if err != nil {
		return 0
	}
	return max(0, int(uptime-float64(p.Start)/100))
}

// signal sends sig to that very process; one that is gone is no error. The
// pidfd is opened before the identity is checked, so that the pid can't be given
// to somebody else in between.
func (p procID) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil
	case err == nil:
		defer unix.Close(fd)
		if !p.alive() {
			return nil
		}
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	case p.alive(): // a kernel before 5.3
		err = unix.Kill(p.PID, sig)
	default:
		return nil
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// wait returns nil when the process has ended, or ctx's error.
func (p procID) wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err == nil {
		defer unix.Close(fd)
	}
	for p.alive() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		// Bounded, so that ctx is looked at; a pidfd is readable once its process
		// has ended.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
	}
	return nil
}

func cmdline(pid int) []string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// UpSeconds is how long a process has been there; 0 where it is gone.
func UpSeconds(pid int) int {
	id, ended, err := lookup(pid)
	if err != nil || ended {
		return 0
	}
	return id.up()
}

// StartedAt is when a process began, as exactly as the kernel counts (hundredths).
func StartedAt(pid int) (time.Time, error) {
	id, ended, err := lookup(pid)
	if err != nil || ended {
		return time.Time{}, fmt.Errorf("process %d is gone", pid)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}, err
	}
	return time.Now().Add(time.Duration(id.Start)*10*time.Millisecond - time.Duration(now.Nano())), nil
}

// Ending reports whether a process is about to be gone, or is: its command line is
// empty then. It holds its files until the last of its threads has ended.
func Ending(pid int) bool {
	if pid <= 0 {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && len(b) == 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// supervising is the command line of the supervisor of l; agent is the private
// copy of requorum.
func supervising(agent string, l host.Layout) []string {
	return []string{agent, "agent", "supervise", l.Base()}
}

// supervises reports whether args are the command line of a supervisor of l.
func supervises(args []string, l host.Layout) bool {
	return filepath.Dir(args[0]) == l.Bin() && slices.Equal(args, supervising(args[0], l))
}

// hasDataDir reports whether etcd's arguments name the data directory.
func hasDataDir(args []string, dir string) bool {
	for i, a := range args {
		flag, value, joined := strings.Cut(a, "=")
		if flag != "--data-dir" && flag != "-data-dir" {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if filepath.IsAbs(value) && filepath.Clean(value) == dir {
			return true
		}
	}
	return false
}

// find looks for a process that has the data directory in its command line;
// ours is whether it runs from our private copies. It closes the gap between
// starting etcd and writing its pid down.
func find(l host.Layout) (p procID, ours, found bool) {
	for _, pid := range pids() {
		if !hasDataDir(cmdline(pid), l.DataDir) {
			continue
		}
		id, ended, err := lookup(pid)
		if err != nil || ended {
			continue
		}
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if mine := filepath.Dir(exe) == l.Bin(); mine || !found {
			p, ours, found = id, mine, true
		}
		if ours {
			break
		}
	}
	return p, ours, found
}

// Supervisor gives the pid of a supervisor of l that is at work, or 0. It looks at
// the processes themselves, so that one which has not reported yet is found too.
func Supervisor(l host.Layout) int {
	for _, pid := range pids() {
		if !supervises(cmdline(pid), l) {
			continue
		}
		if _, ended, err := lookup(pid); err == nil && !ended {
			return pid
		}
	}
	return 0
}
