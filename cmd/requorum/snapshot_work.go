package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The names of folders for what is not finished begin so, beside its later name and
// below TMPDIR; the machine and something by chance follow.
const (
	savingPrefix  = ".requorum-saving-"
	scratchPrefix = "requorum-saving-"
)

// workFolder is a folder of our own, for what is not finished. As long as its maker
// lives it holds the lock in it. Others may write to the folder it lies in: what is
// removed is found from the folders that were opened, never by their paths again.
type workFolder struct {
	dir          string
	parent, root *os.Root
	lock         *os.File
}

const lockName = "lock"

// hereNow is this machine's name, and which of its boots this is. A lock is seen by all
// that the same kernel runs, and perhaps by nobody else who shares the file system. A
// folder of this name's and of another boot is taken for one of before: machines that
// share a destination need names that differ.
func hereNow() (host, boot string) {
	host, _ = os.Hostname()
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return fileName(host), string(b[:min(8, len(b))])
}

func newWork(parent, prefix string) (*workFolder, error) {
	parent, err := filepath.Abs(parent) // an etcd that runs in it has another working folder
	if err != nil {
		return nil, err
	}
	host, boot := hereNow()
	for {
		dir, err := os.MkdirTemp(parent, prefix+host+"~"+boot+"~")
		if err != nil {
			return nil, err
		}
		w, err := openWork(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			if err = w.take(os.O_CREATE); err == nil {
				return w, nil
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errors.Join(err, w.remove())
			}
			w.close()
		}
		// Another save took it for what a kill left behind, before it had its lock.
	}
}

// openWork opens the folder itself, not what a link in its place leads to. It is
// fs.ErrNotExist where it is there no more.
func openWork(dir string) (_ *workFolder, err error) {
	w := &workFolder{dir: dir}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.parent, err = os.OpenRoot(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if w.root, err = w.parent.OpenRoot(filepath.Base(dir)); err != nil {
		return nil, err
	}
	there, err := w.parent.Lstat(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	if ours, err := w.root.Stat("."); err != nil || !os.SameFile(ours, there) {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return w, nil
}

// take takes the lock. It is fs.ErrNotExist where there is none, or where it was taken
// away before it was ours.
func (w *workFolder) take(flag int) (err error) {
	if w.lock, err = w.root.OpenFile(lockName, flag|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	ours, err := w.lock.Stat()
	if err != nil {
		return err
	}
	there, err := w.root.Lstat(lockName)
	if err == nil && !os.SameFile(ours, there) {
		err = fs.ErrNotExist
	}
	return err
}

// ours tells whether it is this user's, and nobody else can enter it.
func (w *workFolder) ours() bool {
	info, err := w.root.Stat(".")
	return err == nil && info.Mode().Perm() == 0o700 && int(info.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
}

// remove takes the folder away: it was made by newWork, and nothing is in it but
// what came from a member, or was made of a directory's copy. The lock goes last:
// what a kill leaves of it is still known for ours.
func (w *workFolder) remove() error {
	defer w.close()
	entries, err := fs.ReadDir(w.root.FS(), ".")
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, w.root.RemoveAll(e.Name()))
		}
	}
	if err != nil {
		return err
	}
	if err := w.root.Remove(lockName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return w.removeEmpty()
}

// removeEmpty takes the folder away where nothing is in it, if nobody was faster.
func (w *workFolder) removeEmpty() error {
	err := w.parent.Remove(filepath.Base(w.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (w *workFolder) close() {
	for _, r := range []*os.Root{w.root, w.parent} {
		if r != nil {
			r.Close()
		}
	}
	if w.lock != nil {
		w.lock.Close()
	}
}

// dropWork removes folders of ours that nobody works in any more, and says so.
func dropWork(parent, prefix string) (notes []string) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(parent), prefix+"*"))
	if err != nil {
		return nil
	}
	for _, dir := range found {
		if note := dropOne(dir, prefix); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

func dropOne(dir, prefix string) (note string) {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return ""
	}
	w, err := openWork(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ""
	case err != nil:
		return fmt.Sprintf("%s looks like what an interrupted run left, and can't be opened: %v", dir, err)
	}
	defer w.close()
	if !w.ours() {
		return dir + " looks like what an interrupted run left, and is not this user's alone: it is left alone"
	}
	host, boot := hereNow()
	name := strings.Split(strings.TrimPrefix(filepath.Base(dir), prefix), "~")
	if len(name) != 3 || name[0] != host && name[1] != boot {
		return fmt.Sprintf("%s looks like what a run on another machine is at work in, or left: it is left alone", dir)
	}
	switch err := w.take(0); {
	case errors.Is(err, unix.EWOULDBLOCK): // another save is at work
		return ""
	case errors.Is(err, fs.ErrNotExist):
		// A kill came between folder and lock: it is empty. Who is only about to lock
		// it makes another one.
		if err := w.removeEmpty(); err != nil {
			return dir + " looks like what an interrupted run left, and has no lock in it: it is left alone"
		}
		return ""
	case err == nil:
		if err = w.remove(); err == nil {
			return "removed what an interrupted run had left: " + dir
		}
		fallthrough
	default:
		return fmt.Sprintf("%s is of a run that was interrupted, and can't be removed: %v", dir, err)
	}
}

// escapeGlob makes a path stand for itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
