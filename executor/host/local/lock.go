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
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// lock is the locks of several places. Each is flock(2) on Layout.Lock, which
// the kernel drops with its holder; the file's content only tells who it is.
type lock struct {
	driver *Driver
	held   []*placeLock
}

type placeLock struct {
	file *os.File
	at   host.Layout
	name string   // of the member
	made []string // folders that were made for it, outermost first

	mu       sync.Mutex
	holder   host.Holder
	recorded bool // whether the epoch is in its own file
}

// Lock implements host.Host.
func (d *Driver) Lock(ctx context.Context, places []planner.Place, holder host.Holder) (host.Lock, error) {
	type wanted struct {
		name string
		at   host.Layout
	}
	var all []wanted
	for _, p := range places {
		l, err := layout(p)
		if err != nil {
			return nil, err
		}
		all = append(all, wanted{p.Name, l})
	}
	// One order for everybody, so that two can't each hold what the other wants.
	slices.SortFunc(all, func(a, b wanted) int { return strings.Compare(a.at.Lock(), b.at.Lock()) })
	all = slices.CompactFunc(all, func(a, b wanted) bool { return a.at.Lock() == b.at.Lock() })
	k := &lock{driver: d}
	for _, w := range all {
		p, err := lockPlace(ctx, w.at, holder)
		if err != nil {
			return nil, errors.Join(err, k.Release())
		}
		p.name = w.name
		k.held = append(k.held, p)
	}
	d.hold(k)
	return k, nil
}

// lockPlace tries until the file that it locked is the one at the path: a holder
// that lets go removes its file.
func lockPlace(ctx context.Context, l host.Layout, holder host.Holder) (*placeLock, error) {
	p := &placeLock{at: l}
	for patience := 50; ; {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, p.rmdirs())
		}
		made, err := host.MkdirAll(l.Base())
		p.made = append(p.made, made...)
		if err == nil {
			p.file, err = os.OpenFile(l.Lock(), os.O_CREATE|os.O_RDWR, 0o600)
		}
		if notExist(err) { // the folder was removed in between
			continue
		}
		if err != nil {
			return nil, errors.Join(err, p.rmdirs())
		}
		err = unix.Flock(int(p.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if patience > 0 && errors.Is(err, unix.EWOULDBLOCK) && p.holderDied() {
			patience--
			p.file.Close()
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err != nil {
			return nil, p.conflict(err)
		}
		if p.atPath() == nil {
			break
		}
		p.file.Close()
	}
	holder.Epoch = 1 + p.lastEpoch()
	if err := p.write(holder); err != nil {
		return nil, errors.Join(err, p.release())
	}
	return p, nil
}

// holderDied reports whether the process that the file names is gone. A process
// that it was just starting still has the lock, until its exec: for some
// milliseconds.
func (p *placeLock) holderDied() bool {
	h, ok := readHolder(p.file)
	return ok && h.PID > 0 && errors.Is(unix.Kill(h.PID, 0), unix.ESRCH)
}

// readHolder reads who the file says holds it.
func readHolder(f io.ReaderAt) (h host.Holder, ok bool) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 64<<10))
	return h, err == nil && json.Unmarshal(b, &h) == nil
}

// holderPatience is how long one that has just taken a lock may take to write who
// it is.
const holderPatience = 300 * time.Millisecond

func (p *placeLock) conflict(err error) error {
	defer p.file.Close()
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return errors.Join(fmt.Errorf("lock %s: %w", p.at.Lock(), err), p.rmdirs())
	}
	other, ok := readHolder(p.file)
	for end := time.Now().Add(holderPatience); !ok && time.Now().Before(end); other, ok = readHolder(p.file) {
		time.Sleep(20 * time.Millisecond) // it has just been taken, and is yet to say who by
	}
	if !ok {
		other = host.Holder{Who: "somebody", Operation: "?", Cluster: "?", Since: "?"}
	}
	return &host.LockedError{Path: p.at.Lock(), Holder: other}
}

// lastEpoch is the highest number that is recorded here: in its own file, or by a
// holder that was killed.
func (p *placeLock) lastEpoch() int64 {
	last := readEpoch(p.at).Epoch
	if h, ok := readHolder(p.file); ok {
		last = max(last, h.Epoch)
	}
	return last
}

// readEpoch is the last holder who acted here, and under which epoch; none where it is
// not recorded.
func readEpoch(l host.Layout) (h host.Holder) {
	if b, err := os.ReadFile(l.Epoch()); err == nil {
		_ = json.Unmarshal(b, &h)
	}
	return h
}

func writeEpoch(l host.Layout, h host.Holder) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return host.WriteFileIf(l.Epoch(), append(b, '\n'), func() error {
		if now := readEpoch(l).Epoch; now > h.Epoch {
			return &host.LostError{Path: l.Lock(), Why: fmt.Sprintf("epoch %d is recorded there, and this one is of epoch %d", now, h.Epoch)}
		}
		return nil
	})
}

// write says in the lock's file who holds it. A full disk must not keep anybody from
// what makes room there again: the lock holds without a name.
func (p *placeLock) write(holder host.Holder) error {
	b, err := json.Marshal(holder)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holder = holder
	// Longer than what was there before, so that there is no moment without a name.
	if fi, err := p.file.Stat(); err == nil && fi.Size() > int64(len(b)+1) {
		b = append(b, []byte(strings.Repeat(" ", int(fi.Size())-len(b)-1))...)
	}
	_, err = p.file.WriteAt(append(b, '\n'), 0)
	if err == nil {
		err = p.file.Sync()
	}
	if noRoom(err) {
		return nil
	}
	return err
}

// noRoom reports whether the disk is full, or the user's part of it.
func noRoom(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// atPath returns an error when the file at the path is not the open one.
func (p *placeLock) atPath() error {
	lost := func(why string) error { return &host.LostError{Path: p.at.Lock(), Why: why} }
	mine, err := p.file.Stat()
	if err != nil {
		return lost(err.Error())
	}
	there, err := os.Stat(p.at.Lock())
	switch {
	case notExist(err):
		return lost("its file is gone: somebody released it")
	case err != nil:
		return lost(err.Error())
	case !os.SameFile(mine, there):
		why := "another file is there now"
		if f, err := os.Open(p.at.Lock()); err == nil {
			if h, ok := readHolder(f); ok {
				why = fmt.Sprintf("%s (pid %d) has it, under epoch %d", h.Who, h.PID, h.Epoch)
			}
			f.Close()
		}
		return lost(why)
	}
	return nil
}

// Held returns an error when the lock is not the current one of its place: another
// file is at its path, or a higher epoch was recorded.
func (p *placeLock) Held() error {
	if err := p.atPath(); err != nil {
		return err
	}
	p.mu.Lock()
	mine := p.holder.Epoch
	p.mu.Unlock()
	if now := readEpoch(p.at).Epoch; now > mine {
		return &host.LostError{Path: p.at.Lock(), Why: fmt.Sprintf("epoch %d is recorded there, and this one is of epoch %d", now, mine)}
	}
	return nil
}

// record writes the epoch down, before the first act under it. A disk without room
// for it has the lock's own file to tell.
func (p *placeLock) record() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.recorded {
		return nil
	}
	if err := writeEpoch(p.at, p.holder); err != nil && !noRoom(err) {
		if lost := p.atPath(); lost != nil {
			return lost // its folder went, and the lock's file with it
		}
		return fmt.Errorf("the lock's epoch can't be recorded: %w", err)
	}
	p.recorded = true
	return nil
}

func (p *placeLock) release() error {
	defer p.file.Close() // after the removal: nobody can lock the same file in between
	if p.atPath() == nil {
		// Our own lock file, held by us, with a name in it: never data.
		if err := os.Remove(p.at.Lock()); err != nil {
			return err
		}
	}
	removeEmpty(append(p.made, p.at.Base()))
	return nil
}

// rmdirs takes back the folders of a lock that was not taken.
func (p *placeLock) rmdirs() error {
	removeEmpty(append(p.made, p.at.Base()))
	return nil
}

// Held implements host.Lock.
func (k *lock) Held(context.Context) error {
	for _, p := range k.held {
		if err := p.Held(); err != nil {
			return err
		}
	}
	return nil
}

// Note implements host.Lock. Where something is kept already the epoch is recorded with
// it: also a run that only asks etcd for changes has acted there.
func (k *lock) Note(plan string) error {
	var errs []error
	for _, p := range k.held {
		h := p.holder
		h.Plan = plan
		if errs = append(errs, p.write(h)); len(p.made) == 0 {
			errs = append(errs, p.record())
		}
	}
	return errors.Join(errs...)
}

// Untouched implements host.Regained.
func (k *lock) Untouched(since map[string]int64) error {
	for _, p := range k.held {
		last := readEpoch(p.at)
		if ours := last.Who == p.holder.Who && last.PID == p.holder.PID && last.Since == p.holder.Since; last.Epoch >= since[p.name] && !ours {
			return &host.LostError{Path: p.at.Lock(), Why: fmt.Sprintf("%s (pid %d) had it meanwhile, and acted", last.Who, last.PID)}
		}
	}
	return nil
}

// Epochs implements host.Lock.
func (k *lock) Epochs() map[string]int64 {
	out := map[string]int64{}
	for _, p := range k.held {
		out[p.name] = p.holder.Epoch
	}
	return out
}

// Release implements host.Lock.
func (k *lock) Release() error {
	k.driver.drop(k)
	var errs []error
	for _, p := range slices.Backward(k.held) {
		errs = append(errs, p.release())
	}
	k.held = nil
	return errors.Join(errs...)
}
