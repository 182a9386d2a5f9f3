package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

func marshal(v any) ([]byte, error) { return json.Marshal(v) }

// lock is one that an agent holds for this side. Remote.mu guards all but r.
type lock struct {
	r      *Remote
	args   lockArgs
	client *Client // whose number it is
	number uint64
	epochs map[string]int64
	first  map[string]int64 // the epochs of its first taking
	lost   error
}

// Lock implements host.Host.
func (r *Remote) Lock(ctx context.Context, places []planner.Place, holder host.Holder) (host.Lock, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := r.client(ctx)
	if err != nil {
		return nil, err
	}
	l := &lock{r: r, args: lockArgs{Places: places, Holder: holder}, client: c}
	n, err := take(ctx, c, l.args)
	if err != nil {
		return nil, err
	}
	l.number, l.epochs, l.first = n.Lock, n.Epochs, n.Epochs
	r.mu.Lock()
	r.locks = append(r.locks, l)
	r.mu.Unlock()
	return l, nil
}

func take(ctx context.Context, c *Client, in lockArgs) (lockNumber, error) {
	var out lockNumber
	err := c.call(ctx, "Lock", nil, in, &out, nil)
	var locked *host.LockedError
	if errors.As(err, &locked) {
		return out, locked
	}
	return out, err
}

// relock takes all locks again on a new connection. The agent of the old one may
// still be finishing what it was at, and has them until then. The error says that
// this connection was lost too, or that no answer came: nothing is known of the locks
// then, and they are taken on the next one.
func (r *Remote) relock(ctx context.Context, c *Client) error {
	r.mu.Lock()
	locks := slices.Clone(r.locks)
	r.mu.Unlock()
	for _, l := range locks {
		number, err := l.again(ctx, c)
		if errors.Is(err, errLost) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		r.mu.Lock()
		if l.lost == nil && err != nil {
			l.lost = fmt.Errorf("%s: after the connection was lost, the lock could not be taken again: %w", r.o.Name, err)
		}
		l.client, l.number, l.epochs = c, number.Lock, number.Epochs
		r.mu.Unlock()
	}
	return nil
}

func (l *lock) again(ctx context.Context, c *Client) (lockNumber, error) {
	l.r.mu.Lock()
	args := l.args
	args.Again = maps.Clone(l.first)
	l.r.mu.Unlock()
	for end := time.Now().Add(lockPatience); ; {
		// On a disk that hangs the connection is given up, and with it what waits there.
		limited, cancel := context.WithTimeout(ctx, lockPatience)
		number, err := take(limited, c, args)
		cancel()
		var locked *host.LockedError
		if !errors.As(err, &locked) || !same(locked.Holder, l.args.Holder) || time.Now().After(end) {
			return number, err
		}
		time.Sleep(againWait)
	}
}

// same reports whether both are one run's: the epoch is the place's, and the plan comes
// later.
func same(a, b host.Holder) bool {
	a.Epoch, a.Plan, b.Epoch, b.Plan = 0, "", 0, ""
	return a == b
}

// numbers are the locks that acts on this connection stand under.
func (r *Remote) numbers(c *Client) ([]uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []uint64
	for _, l := range r.locks {
		switch {
		case l.lost != nil:
			return nil, l.lost
		case l.client != c:
			return nil, fmt.Errorf("%s: the lock is of a connection that was lost", r.o.Name)
		}
		out = append(out, l.number)
	}
	return out, nil
}

// Held implements host.Lock: it asks the machine, and connects again where that
// takes it. Whoever gives up does not wait for what the machine says to that: nothing
// is at work there for this question.
func (l *lock) Held(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, againLimit+lockPatience)
	said := make(chan error, 1)
	go func() {
		defer cancel()
		said <- l.r.repeat(ctx, true, func(c *Client, _ []uint64) error {
			l.r.mu.Lock()
			number := l.number
			l.r.mu.Unlock()
			return c.call(ctx, "Held", nil, lockNumber{Lock: number}, nil, nil)
		})
	}()
	select {
	case err := <-said:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-said: // both at once
		return err
	default:
		return fmt.Errorf("%s: whether its lock is still held was not said: %w", l.r.o.Name, context.Cause(ctx))
	}
}

// Note implements host.Lock.
func (l *lock) Note(plan string) error {
	ctx, cancel := context.WithTimeout(context.Background(), againLimit)
	defer cancel()
	return l.r.repeat(ctx, false, func(c *Client, _ []uint64) error {
		l.r.mu.Lock()
		l.args.Holder.Plan = plan // for the next taking, too
		number := l.number
		l.r.mu.Unlock()
		return c.call(ctx, "Note", nil, noteArgs{number, plan}, nil, nil)
	})
}

// Epochs implements host.Lock.
func (l *lock) Epochs() map[string]int64 {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return maps.Clone(l.epochs)
}

// Release implements host.Lock. Where the connection is lost the agent has given it
// up, or will.
func (l *lock) Release() error {
	r := l.r
	r.mu.Lock()
	r.locks = slices.DeleteFunc(r.locks, func(o *lock) bool { return o == l })
	c, number, lost := l.client, l.number, l.lost
	r.mu.Unlock()
	if lost != nil || !c.Alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), againLimit)
	defer cancel()
	err := c.call(ctx, "Release", nil, lockNumber{Lock: number}, nil, nil)
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}
