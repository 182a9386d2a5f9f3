// Package fleet looks at many clusters side by side, so many at a time, and lets none
// that is dead hold up the others.
package fleet

import (
	"context"
	"sync"
	"time"
)

// Patience is how long a look counts as work: what takes longer waits for an answer that
// may never come, and lets another begin beside it.
const Patience = 250 * time.Millisecond

// mostWaiting is how many looks there may be in all, working or waiting, for each that
// may be at work: so memory stays bounded however many are dead.
const mostWaiting = 8

// Each calls look for 0 to n-1, in this order as far as beginning goes, with at most
// parallel at work at a time, and returns when all have come back. When ctx ends no
// further one is begun; it gives how many were.
func Each(ctx context.Context, n, parallel int, look func(i int)) (begun int) {
	work, all := make(chan struct{}, parallel), make(chan struct{}, parallel*mostWaiting)
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		if !enter(ctx, all) {
			return i
		}
		if !enter(ctx, work) {
			return i
		}
		wg.Go(func() {
			defer func() { <-all }()
			leave := sync.OnceFunc(func() { <-work })
			defer leave()
			timer := time.AfterFunc(Patience, leave)
			defer timer.Stop()
			look(i)
		})
	}
	return n
}

func enter(ctx context.Context, room chan struct{}) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}
