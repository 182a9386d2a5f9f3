package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// What the clients do: few keys, so that they meet.
const (
	writers  = 3
	readers  = 2
	keyCount = 24
	opLimit  = 2 * time.Second
	// undecided is how long the checker may take.
	undecided = 60 * time.Second
)

// request is what a client asked for: a put of a value that nobody else puts, or a
// linearizable read.
type request struct {
	key, value string
	put        bool
}

// history is what clients saw.
type history struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	zero   time.Time

	mu    sync.Mutex
	ops   []porcupine.Operation
	acked int
	reads int
	gap   time.Duration
	last  time.Time
}

// begin starts the clients, each with all endpoints, in a network.
func begin(n *harness.Net, endpoints []string, seed uint64) (*history, error) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &history{cancel: cancel, zero: time.Now()}
	for id := range writers + readers {
		cli, err := n.Dial(endpoints...)
		if err != nil {
			h.end()
			return nil, err
		}
		rng := rand.New(rand.NewPCG(seed, uint64(id)))
		h.done.Go(func() {
			defer cli.Close()
			for i := 0; ctx.Err() == nil; i++ {
				r := request{key: fmt.Sprintf("/torture/%02d", rng.IntN(keyCount)), put: id < writers}
				if r.put {
					r.value = fmt.Sprintf("%d-%d", id, i)
				}
				h.do(ctx, cli, id, r)
			}
		})
	}
	return h, nil
}

// do asks once, and enters what came of it. A put that failed may have been done,
// at any time from then on; a read that failed says nothing.
func (h *history) do(ctx context.Context, cli *clientv3.Client, id int, r request) {
	one, cancel := context.WithTimeout(context.Background(), opLimit)
	defer cancel()
	op := porcupine.Operation{ClientId: id, Input: r, Call: time.Since(h.zero).Nanoseconds()}
	var err error
	if r.put {
		_, err = cli.Put(one, r.key, r.value)
	} else {
		var got *clientv3.GetResponse
		if got, err = cli.Get(one, r.key); err == nil {
			value := ""
			if len(got.Kvs) > 0 {
				value = string(got.Kvs[0].Value)
			}
			op.Output = value
		}
	}
	op.Return = time.Since(h.zero).Nanoseconds()
	if err != nil {
		if r.put {
			op.Return = math.MaxInt64
			h.add(op, false)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // an error can come at once, again and again
		}
		return
	}
	h.add(op, true)
	time.Sleep(time.Millisecond)
}

func (h *history) add(op porcupine.Operation, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok && op.Input.(request).put {
		h.acked++
		if now := time.Now(); !h.last.IsZero() {
			h.gap = max(h.gap, now.Sub(h.last))
		}
		h.last = time.Now()
	} else if ok {
		h.reads++
	}
	h.ops = append(h.ops, op)
}

// counts are the acknowledged writes and reads so far, and the longest time between
// two acknowledged writes of anybody.
func (h *history) counts() (writes, reads int, gap time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked, h.reads, h.gap
}

// end stops the clients; it may be called again.
func (h *history) end() {
	h.cancel()
	h.done.Wait()
}

// readAll reads every key once more, through one endpoint.
func (h *history) readAll(ctx context.Context, cli *clientv3.Client) error {
	for i := range keyCount {
		key := fmt.Sprintf("/torture/%02d", i)
		call := time.Since(h.zero).Nanoseconds()
		got, err := cli.Get(ctx, key)
		if err != nil {
			return err
		}
		value := ""
		if len(got.Kvs) > 0 {
			value = string(got.Kvs[0].Value)
		}
		h.add(porcupine.Operation{ClientId: writers + readers, Input: request{key: key}, Call: call, Output: value, Return: time.Since(h.zero).Nanoseconds()}, true)
	}
	return nil
}

// register is what one key is: it holds the last value that was put.
var register = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range ops {
			k := op.Input.(request).key
			by[k] = append(by[k], op)
		}
		var out [][]porcupine.Operation
		for _, one := range by {
			out = append(out, one)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		if r := in.(request); r.put {
			return true, r.value
		}
		return out.(string) == state.(string), state
	},
}

// check says what is wrong with the history, or nothing.
func check(ops []porcupine.Operation) error {
	// A put that failed and that nobody ever read had no effect that can be told.
	seen := map[string]bool{}
	for _, op := range ops {
		if v, ok := op.Output.(string); ok {
			seen[v] = true
		}
	}
	var told []porcupine.Operation
	for _, op := range ops {
		if r := op.Input.(request); r.put && op.Return == math.MaxInt64 && !seen[r.value] {
			continue
		}
		told = append(told, op)
	}
	switch porcupine.CheckOperationsTimeout(register, told, undecided) {
	case porcupine.Illegal:
		return fmt.Errorf("the history is not linearizable: %s", wrongKeys(told))
	case porcupine.Unknown:
		return fmt.Errorf("the history could not be decided within %s", undecided)
	}
	return nil
}

// wrongKeys names the keys whose history is none.
func wrongKeys(ops []porcupine.Operation) string {
	text := ""
	for _, one := range register.Partition(ops) {
		if porcupine.CheckOperationsTimeout(register, one, undecided) != porcupine.Illegal {
			continue
		}
		last := one[len(one)-1]
		text += fmt.Sprintf("%s (of %d operations; the last read gave %v) ", one[0].Input.(request).key, len(one), last.Output)
	}
	return text
}
