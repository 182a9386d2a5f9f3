package etcd

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// heldBy returns who has the db or the WAL locked: a pid, 0 for nobody, -1 for
// one that can't be named from here.
func heldBy(p dirPaths) (int, error) {
	files := []string{p.db}
	names, err := walFiles(p.wal)
	if err != nil && !errors.Is(err, ErrNoWAL) {
		return 0, err
	}
	// A preallocated file may be locked before it gets its name.
	return HeldBy(append(files, names...)...)
}

// HeldBy returns who has one of the files locked: a pid, 0 for nobody, -1 for
// one that can't be named from here (another user's process, or one in another
// container). Files that do not exist are held by nobody.
//
// No lock is taken to find out. etcd locks its WAL files with open-file
// locks, which the kernel tells of when it is asked (F_OFD_GETLK, another
// container's too), and its db with flock (bbolt), which only /proc/locks shows.
func HeldBy(files ...string) (int, error) {
	table, err := lockTable()
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		pid, err := fileHeldBy(name, table)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if pid != 0 {
			return pid, nil
		}
	}
	return 0, nil
}

// inode names a file in the whole system.
type inode struct{ dev, ino uint64 }

func inodeOf(info os.FileInfo) inode {
	s := info.Sys().(*syscall.Stat_t)
	return inode{s.Dev, s.Ino}
}

func fileHeldBy(name string, table []lockEntry) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	id := inodeOf(info)
	lk := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lk)
	if err == nil && lk.Type != unix.F_UNLCK {
		if lk.Pid > 0 {
			return int(lk.Pid), nil
		}
		return nameHolder(id, 0), nil
	}
	for _, e := range table {
		if e.ino != id.ino {
			continue
		}
		// Stacked file systems show another device here than stat does: then
		// only an open file is proof. Another process may have it open too, and wait
		// for the lock.
		same := sameDevice(e, id)
		if same && e.pid > 0 {
			return e.pid, nil
		}
		if holder := nameHolder(id, e.pid); holder > 0 || same {
			return holder, nil
		}
	}
	return 0, nil
}

type lockEntry struct {
	pid          int
	major, minor uint32
	ino          uint64
}

func sameDevice(e lockEntry, id inode) bool {
	return e.major == unix.Major(id.dev) && e.minor == unix.Minor(id.dev)
}

// lockTable reads /proc/locks; lines are as in proc_locks(5):
// "1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF".
func lockTable() ([]lockEntry, error) {
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil, fmt.Errorf("finding out who holds the data directory: %w", err)
	}
	var table []lockEntry
	for line := range strings.Lines(string(b)) {
		if e, ok := parseLock(strings.Fields(line)); ok {
			table = append(table, e)
		}
	}
	return table, nil
}

func parseLock(f []string) (lockEntry, bool) {
	var e lockEntry
	// A line of somebody who waits has "->" as its second field.
	if len(f) < 6 || !slices.Contains([]string{"FLOCK", "OFDLCK", "POSIX"}, f[1]) {
		return e, false
	}
	part := strings.Split(f[5], ":")
	if len(part) != 3 {
		return e, false
	}
	major, err1 := strconv.ParseUint(part[0], 16, 32)
	minor, err2 := strconv.ParseUint(part[1], 16, 32)
	ino, err3 := strconv.ParseUint(part[2], 10, 64)
	pid, err4 := strconv.Atoi(f[4])
	if errors.Join(err1, err2, err3, err4) != nil {
		return e, false
	}
	return lockEntry{pid: pid, major: uint32(major), minor: uint32(minor), ino: ino}, true
}

// nameHolder finds a process that has the file open for writing, -1 for none
// that can be seen. Where several have, first is asked first.
func nameHolder(id inode, first int) int {
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	if first > 0 {
		dirs = append([]string{fmt.Sprintf("/proc/%d/fd", first)}, dirs...)
	}
	for _, dir := range dirs {
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			info, err := os.Stat(filepath.Join(dir, fd.Name()))
			if err != nil || !info.Mode().IsRegular() || inodeOf(info) != id {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
			if writable(pid, fd.Name()) {
				return pid
			}
		}
	}
	return -1
}

// writable reads the access mode from /proc/PID/fdinfo; our own read-only look
// at a file is thereby left out.
func writable(pid int, fd string) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(v), 8, 64)
			return err == nil && flags&syscall.O_ACCMODE != syscall.O_RDONLY
		}
	}
	return false
}
