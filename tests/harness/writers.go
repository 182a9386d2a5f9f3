package harness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// putLimit is how long one write may take: long, so that a stall shows as a gap
// and not as a failure. etcd's own client retries; nobody else does.
const putLimit = 10 * time.Second

// Writers write until they are stopped, and remember what was acknowledged.
type Writers struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	run    int64 // makes the keys of each run their own
	pause  atomic.Int64

	mu     sync.Mutex
	acked  Keys
	rev    map[string]int64 // the revision that a key was acknowledged with
	tried  map[string]bool
	failed []error
	gap    time.Duration
}

// NewWriters starts n writers, each with its own client of all endpoints, in a
// network (nil for this machine's).
func NewWriters(in *Net, n int, endpoints []string) (*Writers, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writers{cancel: cancel, run: time.Now().UnixNano(), acked: Keys{}, rev: map[string]int64{}, tried: map[string]bool{}}
	for i := range n {
		cli, err := in.Dial(endpoints...)
		if err != nil {
			w.Stop()
			return nil, err
		}
		w.done.Go(func() {
			defer cli.Close()
			w.write(ctx, cli, i)
		})
	}
	return w, nil
}

// StartWriters is NewWriters for tests, which end with them.
func StartWriters(t testing.TB, n int, endpoints []string) *Writers {
	t.Helper()
	return StartWritersIn(t, nil, n, endpoints)
}

// StartWritersIn is StartWriters in a network.
func StartWritersIn(t testing.TB, in *Net, n int, endpoints []string) *Writers {
	t.Helper()
	w, err := NewWriters(in, n, endpoints)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// Pause has each writer pause for so long after each write: where what matters is that
// there are writes, and many clusters share a machine.
func (w *Writers) Pause(d time.Duration) { w.pause.Store(int64(d)) }

func (w *Writers) write(ctx context.Context, cli *clientv3.Client, id int) {
	var last time.Time // of the last acknowledgement
	for i := 0; ctx.Err() == nil; i++ {
		k, v := fmt.Sprintf("/writer/%x/%d/%06d", w.run, id, i), fmt.Sprintf("%d of %d", i, id)
		w.mu.Lock()
		w.tried[k] = true
		w.mu.Unlock()
		one, cancel := context.WithTimeout(ctx, putLimit)
		began := time.Now()
		r, err := cli.Put(one, k, v)
		cancel()
		now := time.Now()
		w.mu.Lock()
		switch {
		case err == nil:
			w.acked[k], w.rev[k] = v, r.Header.Revision
			if !last.IsZero() {
				w.gap = max(w.gap, now.Sub(last))
			}
			last = now
		case ctx.Err() == nil:
			w.failed = append(w.failed, fmt.Errorf("%s after %s: %w", k, now.Sub(began).Round(time.Millisecond), err))
		default: // stopped in the middle of a stall
			if !last.IsZero() {
				w.gap = max(w.gap, now.Sub(last))
			}
		}
		w.mu.Unlock()
		pause := time.Duration(w.pause.Load())
		if err != nil {
			pause = max(pause, 5*time.Millisecond) // an error can come at once, again and again
		}
		if ctx.Err() == nil {
			time.Sleep(pause)
		}
	}
}

// Acked is how many writes were acknowledged so far.
func (w *Writers) Acked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// Await waits until n more writes are acknowledged.
func (w *Writers) Await(t testing.TB, n int) {
	t.Helper()
	n += w.Acked()
	for end := time.Now().Add(30 * time.Second); w.Acked() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d writes were acknowledged, waited for %d; failed: %v", w.Acked(), n, w.Failed())
		}
	}
}

// Keys are the acknowledged writes so far.
func (w *Writers) Keys() Keys {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.acked)
}

// UpTo are those that were acknowledged with a revision of rev or less.
func (w *Writers) UpTo(rev int64) Keys {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := maps.Clone(w.acked)
	maps.DeleteFunc(out, func(k, _ string) bool { return w.rev[k] > rev })
	return out
}

// Failed are the errors of the writes that failed, other than by Stop.
func (w *Writers) Failed() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failed)
}

// Gap is the longest time between two acknowledgements of one writer after
// another.
func (w *Writers) Gap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gap
}

// Stop ends the writers; it may be called again.
func (w *Writers) Stop() {
	w.cancel()
	w.done.Wait()
}

// Unhindered fails the test where a write failed or had to wait for longer than
// limit; it prints both.
func (w *Writers) Unhindered(t testing.TB, who string, limit time.Duration) {
	t.Helper()
	failed, gap := w.Failed(), w.Gap()
	t.Logf("%s: %d writes acknowledged, %d failed, longest gap %d ms", who, w.Acked(), len(failed), gap.Milliseconds())
	if len(failed) > 0 {
		t.Errorf("%s: %d writes failed, the first: %v", who, len(failed), failed[0])
	}
	if gap > limit {
		t.Errorf("%s: %s between two acknowledgements, more than %s", who, gap, limit)
	}
}

// Missing are the acknowledged keys that the member at endpoint, asked for its
// own store, does not have or has with another value.
func (w *Writers) Missing(ctx context.Context, endpoint string) ([]string, error) {
	got, err := ReadAll(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	return w.lost(got), nil
}

func (w *Writers) lost(got Keys) []string {
	var out []string
	for k, v := range w.Keys() {
		if g, ok := got[k]; !ok || g != v {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// Doubtful are those of the keys in got that were tried and never acknowledged.
func (w *Writers) Doubtful(got Keys) Keys {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := maps.Clone(got)
	maps.DeleteFunc(out, func(k, _ string) bool { return !w.tried[k] || w.acked[k] != "" })
	return out
}

// Check reads every endpoint: every acknowledged write is there, beside the
// keys of base; what was tried and not acknowledged may be there; nothing else
// is. All members have to be equal. It gives what they hold.
func (w *Writers) Check(t testing.TB, base Keys, endpoints []string) Keys {
	t.Helper()
	return CheckAll(t, base, endpoints, w)
}

// CheckAll is Check for the writes of several.
func CheckAll(t testing.TB, base Keys, endpoints []string, ws ...*Writers) Keys {
	t.Helper()
	want := maps.Clone(base)
	for _, w := range ws {
		w.Stop()
		maps.Copy(want, w.acked)
	}
	caughtUp(t, endpoints)
	first, err := ReadAll(Context(t), endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		maps.Copy(want, w.Doubtful(first))
	}
	CompareAll(t, want, endpoints)
	return want
}

// caughtUp waits until writes that were given up at the last moment are either
// nowhere or everywhere.
func caughtUp(t testing.TB, endpoints []string) {
	t.Helper()
	time.Sleep(100 * time.Millisecond)
	for _, ep := range endpoints {
		AwaitServing(t, ep) // a linearizable read: it has what the others have
	}
}
