package hosts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// QuorumError says that too few machines could be locked (S23).
type QuorumError struct {
	Voters, Locked int
	Missing        error
}

// Error implements error.
func (e *QuorumError) Error() string {
	return fmt.Sprintf("the locks of only %d of %d voters could be taken, and a majority is needed, so that nobody else is at work on the others meanwhile: %s",
		e.Locked, e.Voters, strings.ReplaceAll(e.Missing.Error(), "\n", "; "))
}

// Unwrap gives what was in the way.
func (e *QuorumError) Unwrap() error { return e.Missing }

// locks are those of several machines.
type locks struct{ held map[string]host.Lock }

// Lock implements host.Host: the locks of all machines that can be reached, of a
// majority of the file's voters at least, or none. A machine that does not answer in
// time counts as one that can't be reached.
func (h *Hosts) Lock(ctx context.Context, places []planner.Place, holder host.Holder) (host.Lock, error) {
	parts := part(h, places, func(p planner.Place) planner.Place { return p })
	all, missing := &locks{held: map[string]host.Lock{}}, h.silent(ctx, parts)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(parts)), func(name string) bool { return missing[name] != nil })
	var mu sync.Mutex
	lock := func(name string) error {
		k, err := within(ctx, h.patience(), func(ctx context.Context) (host.Lock, error) {
			return h.on(name).Lock(ctx, parts[name], holder)
		}, func(late host.Lock) { _ = late.Release() })
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			missing[name] = h.named(name, err)
		} else {
			all.held[name] = k
		}
		return nil
	}
	// The first one that can be had decides between two who begin at once: each would
	// have some otherwise, and neither all.
	for len(names) > 0 && len(all.held) == 0 {
		_ = lock(names[0])
		var locked *host.LockedError
		if errors.As(missing[names[0]], &locked) {
			return nil, missing[names[0]]
		}
		names = names[1:]
	}
	_ = h.each(names, lock)
	for _, why := range h.shared(places) {
		return nil, errors.Join(errors.New(why), all.Release())
	}
	if err := h.enough(parts, missing); err != nil {
		return nil, errors.Join(err, all.Release())
	}
	h.mu.Lock()
	h.unlocked = missing
	h.mu.Unlock()
	return all, nil
}

// lockPatience is how long a machine may take for its locks. A disk that hangs takes
// for ever, and can't be interrupted.
const lockPatience = 20 * time.Second

func (h *Hosts) patience() time.Duration {
	if h.limit > 0 {
		return h.limit
	}
	return lockPatience
}

// silent asks all machines at once how their locks stand, and gives those that don't
// say: so that the dead ones are waited for together, and not one after the other.
func (h *Hosts) silent(ctx context.Context, parts map[string][]planner.Place) map[string]error {
	out := map[string]error{}
	var mu sync.Mutex
	_ = h.each(slices.Sorted(maps.Keys(parts)), func(name string) error {
		_, err := within(ctx, h.patience(), func(ctx context.Context) (map[string]host.LockState, error) {
			return h.on(name).Locks(ctx, parts[name])
		}, nil)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			out[name] = h.named(name, err)
		}
		return nil
	})
	return out
}

// within gives what do gives, and an error where that takes longer than limit, or ctx
// ends; late is then told what comes after all. do may not listen to its ctx.
func within[T any](ctx context.Context, limit time.Duration, do func(context.Context) (T, error), late func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("nothing was said of its locks within %s: a disk that hangs, perhaps", limit))
	came := make(chan result, 1)
	go func() {
		defer cancel()
		v, err := do(ctx)
		came <- result{v, err}
	}()
	select {
	case r := <-came:
		return r.value, r.err
	case <-ctx.Done():
	}
	why := context.Cause(ctx)
	select {
	case r := <-came: // both at once
		return r.value, r.err
	default:
	}
	go func() {
		if r := <-came; r.err == nil && late != nil {
			late(r.value)
		}
	}()
	var none T
	return none, why
}

// enough says why what was locked does not do.
func (h *Hosts) enough(parts map[string][]planner.Place, missing map[string]error) error {
	var why []error
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		var locked *host.LockedError
		if errors.As(missing[name], &locked) || name == "" {
			return missing[name]
		}
		why = append(why, missing[name])
	}
	if len(why) == 0 {
		return nil
	}
	voters, locked := 0, 0
	for name, places := range parts {
		for _, p := range places {
			if m, ok := h.cluster.Member(p.Name); !ok || m.Learner {
				continue
			}
			voters++
			if missing[name] == nil {
				locked++
			}
		}
	}
	if locked >= voters/2+1 {
		return nil
	}
	return &QuorumError{Voters: voters, Locked: locked, Missing: errors.Join(why...)}
}

// Held implements host.Lock: all of them have to be.
func (l *locks) Held(ctx context.Context) error {
	return l.all(func(k host.Lock) error { return k.Held(ctx) })
}

// Note implements host.Lock.
func (l *locks) Note(plan string) error {
	return l.all(func(k host.Lock) error { return k.Note(plan) })
}

// Epochs implements host.Lock.
func (l *locks) Epochs() map[string]int64 {
	out := map[string]int64{}
	for _, k := range l.held {
		maps.Copy(out, k.Epochs())
	}
	return out
}

// Locks implements host.Host: of a machine that can't be asked they are unknown.
func (h *Hosts) Locks(ctx context.Context, places []planner.Place) (map[string]host.LockState, error) {
	out := map[string]host.LockState{}
	var mu sync.Mutex
	parts := part(h, places, func(p planner.Place) planner.Place { return p })
	err := h.each(slices.Sorted(maps.Keys(parts)), func(name string) error {
		found, err := h.on(name).Locks(ctx, parts[name])
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(out, found)
		if err == nil || name == "" {
			return err
		}
		for _, p := range parts[name] {
			out[p.Name] = host.LockState{Held: planner.Unknown[bool](err.Error())}
		}
		return nil
	})
	return out, err
}

// BreakLock implements host.Host.
func (h *Hosts) BreakLock(ctx context.Context, place planner.Place, epoch int64) error {
	return h.named(h.key(place.Host), h.on(place.Host).BreakLock(ctx, place, epoch))
}

// Record implements host.Host.
func (h *Hosts) Record(ctx context.Context, place planner.Place, run string, lines []byte) error {
	return h.named(h.key(place.Host), h.on(place.Host).Record(ctx, place, run, lines))
}

// Release implements host.Lock.
func (l *locks) Release() error {
	return l.all(host.Lock.Release)
}

func (l *locks) all(do func(host.Lock) error) error {
	names := slices.Sorted(maps.Keys(l.held))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = do(l.held[name]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
