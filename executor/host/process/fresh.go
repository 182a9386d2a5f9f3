package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// openFence puts an empty directory in the place of a fence, in one step: the path
// is never absent, and until then nothing can start on it (S18). The plain file goes
// to Layout.Fresh, and stays there until it is sure that the directory is ours; so a
// start after a crash finds out how far this one came. opened is false where no
// fence was.
func openFence(l host.Layout) (opened bool, err error) {
	if l.FenceText() == "" {
		return host.FenceTextAt(l.Fresh()) != "", nil
	}
	if err := dropPlainFile(l); err != nil {
		return false, err
	}
	if l.Inside { // etcd makes member/ itself
		_ = unix.Rmdir(l.Fresh()) // an empty one, of before it was mounted
		return true, swap(l.FencePath(), l.Fresh(), unix.RENAME_NOREPLACE)
	}
	if err := os.Mkdir(l.Fresh(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	if !isEmpty(l.Fresh()) { // that of an earlier start, which died, is empty
		return false, refuse("%s is not the empty directory that requorum made there", l.Fresh())
	}
	if err := host.SyncDir(l.Fresh()); err != nil {
		return false, err
	}
	if err := swap(l.Fresh(), l.FencePath(), unix.RENAME_EXCHANGE); err != nil {
		return false, err
	}
	if host.FenceTextAt(l.Fresh()) != "" {
		return true, nil
	}
	// Somebody put something else there at that moment.
	err = swap(l.Fresh(), l.FencePath(), unix.RENAME_EXCHANGE)
	return false, errors.Join(fmt.Errorf("what stood at %s was no fence any more", l.FencePath()), err)
}

// closeFence undoes openFence, where nobody has made use of the empty directory.
func closeFence(l host.Layout) error {
	if l.Inside {
		err := swap(l.Fresh(), l.FencePath(), unix.RENAME_NOREPLACE)
		if errors.Is(err, fs.ErrExist) {
			return nil // somebody did
		}
		return err
	}
	if !isEmpty(l.DataDir) {
		return nil
	}
	err := swap(l.Fresh(), l.FencePath(), unix.RENAME_EXCHANGE)
	if err == nil && !isEmpty(l.Fresh()) { // somebody did, just now
		err = swap(l.Fresh(), l.FencePath(), unix.RENAME_EXCHANGE)
	}
	return err
}

// renameat2 is what tests crash at.
var renameat2 = unix.Renameat2

// swap renames or exchanges, durably.
func swap(from, to string, flags uint) error {
	if err := renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	if err := host.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	return host.SyncDir(filepath.Dir(from))
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// dropPlainFile removes a fence's plain file from Layout.Fresh, where none but
// requorum puts one: requorum's own words, which are read here once more, in a
// regular file. What they stood for lies in its slot, and stays there; a directory
// can't be removed by it.
func dropPlainFile(l host.Layout) error {
	if host.FenceTextAt(l.Fresh()) == "" {
		return nil
	}
	if err := unix.Unlink(l.Fresh()); err != nil { // of a file only
		return err
	}
	return host.SyncDir(l.Base())
}
