package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// How a lock that is not current any more keeps its former holder from acting. The
// driver knows which locks were taken through it, and looks at them again right
// before each act. What is left is the time between that look and the system call
// that follows: a process that is stopped exactly there acts once more when it goes
// on. No file system offers a call that would close it.

func (d *Driver) hold(k *lock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range k.held {
		d.locks[p.at.Lock()] = p
	}
}

func (d *Driver) drop(k *lock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range k.held {
		if d.locks[p.at.Lock()] == p {
			delete(d.locks, p.at.Lock())
		}
	}
}

// under gives the context for an act: it ends, with the reason, as soon as it is
// looked at after one of the driver's locks was lost. The act is refused where one is
// lost already, where a place is somebody else's, and where no lock was taken although
// one is needed. The function that comes with it ends the act; it makes a lost lock
// the act's error.
func (d *Driver) under(ctx context.Context, places ...planner.Place) (context.Context, func(*error), error) {
	var mine []*placeLock
	d.mu.Lock()
	for _, k := range d.locks {
		mine = append(mine, k)
	}
	d.mu.Unlock()
	for _, p := range places {
		l, err := layout(p)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(mine, func(k *placeLock) bool { return k.at.Lock() == l.Lock() }) {
			continue
		}
		if d.needLock && len(mine) == 0 {
			return nil, nil, &host.LostError{Path: l.Lock(), Why: "no lock was taken here"}
		}
		// A place that the file has no more, say.
		if s := lockState(l); len(mine) > 0 && s.Held.Known() && s.Held.Value {
			return nil, nil, &host.LockedError{Path: l.Lock(), Holder: s.Holder}
		}
	}
	for _, k := range mine {
		if err := k.Held(); err != nil {
			return nil, nil, fmt.Errorf("nothing is done: %w", err)
		}
	}
	for _, k := range mine {
		if err := k.record(); err != nil {
			return nil, nil, fmt.Errorf("nothing is done: %w", err)
		}
	}
	inner, cancel := context.WithCancelCause(ctx)
	g := &guarded{Context: inner, locks: mine, cancel: cancel}
	stop := make(chan struct{})
	go g.watch(stop)
	return g, func(err *error) {
		close(stop)
		var lost *host.LostError
		if *err != nil && errors.As(context.Cause(inner), &lost) && !errors.As(*err, &lost) {
			*err = fmt.Errorf("stopped half-way: %w", lost)
		}
		cancel(nil)
	}, nil
}

// placesOf are the places of an action's members.
func placesOf[M interface{ At() planner.Place }](ms []M) []planner.Place {
	out := make([]planner.Place, len(ms))
	for i, m := range ms {
		out[i] = m.At()
	}
	return out
}

// lockLook is how often a lock is looked at within a long act that does not ask,
// lockPause how long one look holds where it asks all the time.
const (
	lockLook  = time.Second
	lockPause = 20 * time.Millisecond
)

// guarded is a context that looks at the locks when somebody asks it whether to go
// on.
type guarded struct {
	context.Context
	locks  []*placeLock
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	looked time.Time
}

type guardedKey struct{}

// Value implements context.Context.
func (g *guarded) Value(key any) any {
	if key == (guardedKey{}) {
		return g
	}
	return g.Context.Value(key)
}

// Err implements context.Context.
func (g *guarded) Err() error {
	g.mu.Lock()
	due := time.Since(g.looked) > lockPause
	g.mu.Unlock()
	if due {
		g.look()
	}
	return g.Context.Err()
}

func (g *guarded) look() {
	for _, k := range g.locks {
		if err := k.Held(); err != nil {
			g.cancel(err)
		}
	}
	g.mu.Lock()
	g.looked = time.Now()
	g.mu.Unlock()
}

func (g *guarded) watch(stop chan struct{}) {
	tick := time.NewTicker(lockLook)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-g.Done():
			return
		case <-tick.C:
			g.look()
		}
	}
}

// goOn is the last look before a part of an act that can't be taken back. It gives
// the reason where the act was cancelled, or a lock was lost.
func goOn(ctx context.Context) error {
	if g, ok := ctx.Value(guardedKey{}).(*guarded); ok {
		g.look()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Locks implements host.Host.
func (d *Driver) Locks(_ context.Context, places []planner.Place) (map[string]host.LockState, error) {
	out := map[string]host.LockState{}
	for _, p := range places {
		l, err := layout(p)
		if err != nil {
			return nil, err
		}
		out[p.Name] = lockState(l)
	}
	return out, nil
}

func lockState(l host.Layout) host.LockState {
	s := host.LockState{Path: l.Lock(), Epoch: readEpoch(l).Epoch, Held: planner.Known(false)}
	f, err := os.Open(l.Lock())
	if notExist(err) {
		return s
	}
	if err != nil {
		s.Held = planner.Unknown[bool](err.Error())
		return s
	}
	defer f.Close()
	s.Holder, _ = readHolder(f)
	s.Epoch = max(s.Epoch, s.Holder.Epoch)
	pid, err := etcd.HeldBy(l.Lock())
	if err != nil {
		s.Held = planner.Unknown[bool](err.Error())
		return s
	}
	s.Held = planner.Known(pid != 0)
	if pid > 0 {
		s.Holder.PID = pid
	}
	return s
}

// BreakLock implements host.Host.
func (d *Driver) BreakLock(_ context.Context, place planner.Place, epoch int64) error {
	l, err := layout(place)
	if err != nil {
		return err
	}
	f, err := os.Open(l.Lock())
	if notExist(err) {
		return fmt.Errorf("%s: there is no lock to be released at %s", place.Name, l.Lock())
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h, ok := readHolder(f)
	if ok && h.Epoch != epoch || !ok && epoch != 0 {
		return fmt.Errorf("%s: the lock at %s is another one by now: of epoch %d, held by %s; look again with requorum lock status", place.Name, l.Lock(), h.Epoch, h.Who)
	}
	broken := host.Holder{Who: "requorum lock release", Epoch: max(readEpoch(l).Epoch, h.Epoch, epoch)}
	// A disk without room must not keep a lock in place: whoever had it notices by its
	// file that it is gone.
	if err := writeEpoch(l, broken); err != nil && !noRoom(err) {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(l.Lock())
	if err != nil || !os.SameFile(mine, there) {
		return fmt.Errorf("%s: the lock at %s changed meanwhile; look again with requorum lock status", place.Name, l.Lock())
	}
	// A lock's file, never data; who has it open notices that it is gone.
	if err := unix.Unlink(l.Lock()); err != nil {
		return err
	}
	return host.SyncDir(l.Base())
}

// Record implements host.Host.
func (d *Driver) Record(_ context.Context, place planner.Place, run string, lines []byte) error {
	l, err := layout(place)
	if err != nil {
		return err
	}
	if run == "" || strings.HasPrefix(run, ".") || strings.ContainsAny(run, "/\x00") {
		return fmt.Errorf("%q is no name for a run", run)
	}
	if !l.Exists() {
		return fmt.Errorf("%s: nothing is kept there yet", l.Base())
	}
	if _, err := host.MkdirAll(l.Runs()); err != nil {
		return err
	}
	f, err := os.OpenFile(l.Runs()+"/"+run+".jsonl", os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Sync(), f.Close(), host.SyncDir(l.Runs())) // it may be new
}
