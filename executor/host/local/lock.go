package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// lock is the locks of several places. Each is flock(2) on Layout.Lock, which
// the kernel drops with its holder; the file's content only tells who it is.
type lock struct{ held []*placeLock }

type placeLock struct {
	file *os.File
	path string
	made []string // folders that were made for it, outermost first
}

// Lock implements host.Host.
func (d *Driver) Lock(ctx context.Context, places []planner.Place, holder host.Holder) (host.Lock, error) {
	var all []host.Layout
	for _, p := range places {
		l, err := layout(p)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	// One order for everybody, so that two can't each hold what the other wants.
	slices.SortFunc(all, func(a, b host.Layout) int { return strings.Compare(a.Lock(), b.Lock()) })
	all = slices.CompactFunc(all, func(a, b host.Layout) bool { return a.Lock() == b.Lock() })
	k := &lock{}
	for _, l := range all {
		p, err := lockPlace(ctx, l, holder)
		if err != nil {
			return nil, errors.Join(err, k.Release())
		}
		k.held = append(k.held, p)
	}
	return k, nil
}

// lockPlace tries until the file that it locked is the one at the path: a holder
// that lets go removes its file.
func lockPlace(ctx context.Context, l host.Layout, holder host.Holder) (*placeLock, error) {
	p := &placeLock{path: l.Lock()}
	for patience := 50; ; {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, p.rmdirs(l))
		}
		made, err := host.MkdirAll(l.Base())
		p.made = append(p.made, made...)
		if err == nil {
			p.file, err = os.OpenFile(p.path, os.O_CREATE|os.O_RDWR, 0o600)
		}
		if notExist(err) { // the folder was removed in between
			continue
		}
		if err != nil {
			return nil, errors.Join(err, p.rmdirs(l))
		}
		err = unix.Flock(int(p.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if patience > 0 && errors.Is(err, unix.EWOULDBLOCK) && p.holderDied() {
			patience--
			p.file.Close()
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			return nil, p.conflict(l, err)
		}
		if p.Held() == nil {
			break
		}
		p.file.Close()
	}
	if err := p.write(holder); err != nil {
		return nil, errors.Join(err, p.release(l.Base()))
	}
	return p, nil
}

// holderDied reports whether the process that the file names is gone. A process
// that it was just starting still has the lock, until its exec: for some
// milliseconds.
func (p *placeLock) holderDied() bool {
	h, ok := p.holder()
	return ok && h.PID > 0 && errors.Is(unix.Kill(h.PID, 0), unix.ESRCH)
}

// holder reads who the file says holds it.
func (p *placeLock) holder() (h host.Holder, ok bool) {
	b, err := io.ReadAll(io.NewSectionReader(p.file, 0, 64<<10))
	return h, err == nil && json.Unmarshal(b, &h) == nil
}

// holderPatience is how long one that has just taken a lock may take to write who
// it is.
const holderPatience = 300 * time.Millisecond

func (p *placeLock) conflict(l host.Layout, err error) error {
	defer p.file.Close()
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return errors.Join(fmt.Errorf("lock %s: %w", p.path, err), p.rmdirs(l))
	}
	other, ok := p.holder()
	for end := time.Now().Add(holderPatience); !ok && time.Now().Before(end); other, ok = p.holder() {
		time.Sleep(20 * time.Millisecond) // it has just been taken, and is yet to say who by
	}
	if !ok {
		other = host.Holder{Who: "somebody", Operation: "?", Cluster: "?", Since: "?"}
	}
	return &host.LockedError{Path: p.path, Holder: other}
}

func (p *placeLock) write(holder host.Holder) error {
	b, err := json.Marshal(holder)
	if err != nil {
		return err
	}
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	if _, err := p.file.WriteAt(append(b, '\n'), 0); err != nil {
		return err
	}
	return p.file.Sync()
}

// Held returns an error when the file at the path is no longer the locked one.
func (p *placeLock) Held() error {
	mine, err := p.file.Stat()
	if err != nil {
		return fmt.Errorf("the lock %s was lost: %w", p.path, err)
	}
	there, err := os.Stat(p.path)
	if err != nil {
		return fmt.Errorf("the lock %s was lost: %w", p.path, err)
	}
	if !os.SameFile(mine, there) {
		return fmt.Errorf("the lock %s was lost: another file is there now", p.path)
	}
	return nil
}

func (p *placeLock) release(base string) error {
	defer p.file.Close() // after the removal: nobody can lock the same file in between
	if p.Held() == nil {
		// Our own lock file, held by us, with a name in it: never data.
		if err := os.Remove(p.path); err != nil {
			return err
		}
	}
	removeEmpty(append(p.made, base))
	return nil
}

// rmdirs takes back the folders of a lock that was not taken.
func (p *placeLock) rmdirs(l host.Layout) error {
	removeEmpty(append(p.made, l.Base()))
	return nil
}

// Held implements host.Lock.
func (k *lock) Held() error {
	for _, p := range k.held {
		if err := p.Held(); err != nil {
			return err
		}
	}
	return nil
}

// Release implements host.Lock.
func (k *lock) Release() error {
	var errs []error
	for _, p := range slices.Backward(k.held) {
		errs = append(errs, p.release(baseOf(p.path)))
	}
	k.held = nil
	return errors.Join(errs...)
}
