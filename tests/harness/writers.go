package harness

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Writers write until they are stopped, and remember what was acknowledged.
type Writers struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	run    int64 // makes the keys of each run their own

	mu    sync.Mutex
	acked Keys
	tried map[string]bool
}

// StartWriters starts n writers, each with its own client of all endpoints.
func StartWriters(t testing.TB, n int, endpoints []string) *Writers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writers{cancel: cancel, run: time.Now().UnixNano(), acked: Keys{}, tried: map[string]bool{}}
	t.Cleanup(w.Stop)
	for i := range n {
		cli := Client(t, endpoints...)
		w.done.Add(1)
		go w.write(ctx, cli, i)
	}
	return w
}

func (w *Writers) write(ctx context.Context, cli *clientv3.Client, id int) {
	defer w.done.Done()
	for i := 0; ctx.Err() == nil; i++ {
		k, v := fmt.Sprintf("/writer/%x/%d/%06d", w.run, id, i), fmt.Sprintf("%d of %d", i, id)
		w.mu.Lock()
		w.tried[k] = true
		w.mu.Unlock()
		one, cancel := context.WithTimeout(ctx, time.Second)
		_, err := cli.Put(one, k, v)
		cancel()
		if err == nil {
			w.mu.Lock()
			w.acked[k] = v
			w.mu.Unlock()
		}
	}
}

// Acked is how many writes were acknowledged so far.
func (w *Writers) Acked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// Stop ends the writers; it may be called again.
func (w *Writers) Stop() {
	w.cancel()
	w.done.Wait()
}

// Check reads every endpoint: every acknowledged write is there, beside the
// keys of base; what was tried and not acknowledged may be there; nothing else
// is. All members have to be equal. It gives what they hold.
func (w *Writers) Check(t testing.TB, base Keys, endpoints []string) Keys {
	t.Helper()
	first, err := ReadAll(Context(t), endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(base)
	maps.Copy(want, w.acked)
	for k, v := range first {
		if _, known := want[k]; !known && w.tried[k] {
			want[k] = v
		}
	}
	CompareAll(t, want, endpoints)
	return want
}
