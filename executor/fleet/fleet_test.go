package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEachOnce: each is looked at once, and no more at a time than may be.
func TestEachOnce(t *testing.T) {
	var at, most atomic.Int64
	seen := make([]atomic.Int64, 200)
	if n := Each(t.Context(), len(seen), 3, func(i int) {
		now := at.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		time.Sleep(time.Millisecond)
		seen[i].Add(1)
		at.Add(-1)
	}); n != len(seen) {
		t.Errorf("%d begun", n)
	}
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("%d was looked at %d times", i, n)
		}
	}
	if n := most.Load(); n > 3*mostWaiting {
		t.Errorf("%d at a time", n)
	}
}

// TestDeadHoldUpNobody: those that answer nobody come first, more of them than may be at
// work, and the living are looked at while they wait.
func TestDeadHoldUpNobody(t *testing.T) {
	const parallel, dead = 2, 6
	living := make(chan struct{})
	var once sync.Once
	done := make(chan struct{})
	go func() {
		defer close(done)
		Each(t.Context(), dead+1, parallel, func(i int) {
			if i < dead {
				<-living // only the last one ends the wait
				return
			}
			once.Do(func() { close(living) })
		})
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the living one was never looked at")
	}
}

// TestBound: however many wait, no more than that.
func TestBound(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var begun atomic.Int64
	done := make(chan int)
	go func() {
		done <- Each(ctx, 100, 1, func(int) {
			begun.Add(1)
			<-ctx.Done()
		})
	}()
	for begun.Load() < mostWaiting {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(3 * Patience) // another would be begun by now
	cancel()
	if n := <-done; n != mostWaiting || begun.Load() != mostWaiting {
		t.Errorf("%d begun, %d looks", n, begun.Load())
	}
}
