package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// locking is a machine whose locks do what the test wants.
type locking struct {
	*fake
	lock func() error
	held func(ctx context.Context) error
}

func (m *locking) Lock(context.Context, []planner.Place, host.Holder) (host.Lock, error) {
	if err := m.lock(); err != nil {
		return nil, err
	}
	return lockingLock{fakeLock{m.fake}, m}, nil
}

type lockingLock struct {
	fakeLock
	m *locking
}

func (l lockingLock) Held(ctx context.Context) error { return l.m.held(ctx) }

// A connection that drops while the lock is being taken again does not lose the lock:
// it is taken on the next one. What somebody says there does.
func TestDropWhileTakenAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		drops int32
		no    error
		want  string
	}{
		"once":       {drops: 1},
		"four times": {drops: 4},
		"and then somebody else has it": {drops: 1, want: "bob",
			no: &host.LockedError{Path: "/m1.requorum/lock", Holder: host.Holder{Who: "bob"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var wireNow func() *wire
			var taken atomic.Int32
			m := &locking{fake: &fake{}, held: func(context.Context) error { return nil }}
			m.lock = func() error {
				switch n := taken.Add(1); {
				case n > 1 && n <= 1+tc.drops:
					wireNow().cut()
				case n > 1:
					return tc.no
				}
				return nil
			}
			r, now := remoteOf(t, m)
			wireNow = now
			l, err := r.Lock(t.Context(), nil, host.Holder{Who: "me"})
			if err != nil {
				t.Fatal(err)
			}
			now().cut()
			err = l.Held(t.Context())
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("held: %v", err)
			}
			if n := taken.Load(); n != 2+tc.drops {
				t.Errorf("it was asked for %d times", n)
			}
			if again := l.Held(t.Context()); (again == nil) != (err == nil) {
				t.Errorf("then: %v", again)
			}
		})
	}
}

// Whoever is interrupted does not wait for a machine that says nothing.
func TestHeldIsLeft(t *testing.T) {
	asked, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	m := &locking{fake: &fake{}, lock: func() error { return nil }, held: func(context.Context) error {
		close(asked)
		<-never
		return nil
	}}
	r, _ := remoteOf(t, m)
	l, err := r.Lock(t.Context(), nil, host.Holder{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	began := time.Now()
	if err := l.Held(ctx); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "m: ") {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
