package executor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

const (
	copyLimit = 5 * time.Second // for one host to take some lines
	copyTries = 3               // after that a place is left alone
)

// copies keeps the journal's copies at the places that a run touches. It is best
// effort: it delays nothing, and what it can't write is missing there. The journal
// itself is with the operator.
type copies struct {
	host host.Host
	run  string
	wake chan struct{}
	done chan struct{}

	mu     sync.Mutex
	lines  []byte
	places []planner.Place
	sent   []int // of lines, for each place
	failed []int
	closed bool
}

// startCopies begins to copy what the journal gets; nil without a journal. A member
// that the plan takes away has its place in the plan only.
func (r *Runner) startCopies(p *planner.Plan) *copies {
	if r.Journal == nil || r.Host == nil {
		return nil
	}
	if r.copies != nil {
		return r.copies
	}
	c := &copies{host: r.Host, run: r.Journal.ID(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	for _, m := range r.Cluster.Members {
		c.places = append(c.places, planner.Place{Name: m.Name, Host: m.Host, DataDir: m.DataDir, WALDir: m.WALDir})
	}
	for _, s := range p.Steps {
		if stop, ok := s.Action.(planner.Stop); ok {
			for _, m := range stop.Members {
				if !slices.ContainsFunc(c.places, func(o planner.Place) bool { return o.Host == m.Host && o.DataDir == m.DataDir }) {
					c.places = append(c.places, m.Place)
				}
			}
		}
	}
	c.sent, c.failed = make([]int, len(c.places)), make([]int, len(c.places))
	for i := range c.sent {
		c.sent[i] = -1
	}
	r.Journal.Copy(c.add)
	go c.work()
	return c
}

// Close waits until the copies have all that the journal has, for some seconds.
func (r *Runner) Close() {
	if r.copies == nil {
		return
	}
	r.copies.mu.Lock()
	r.copies.closed = true
	r.copies.mu.Unlock()
	r.copies.knock()
	select {
	case <-r.copies.done:
	case <-time.After(copyLimit):
	}
}

func (c *copies) add(line []byte) {
	c.mu.Lock()
	c.lines = append(c.lines, line...)
	c.mu.Unlock()
	c.knock()
}

func (c *copies) knock() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// touch has the places of a step's targets copied to from now on, from the run's
// beginning.
func (c *copies) touch(s planner.Step) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.places {
		if c.sent[i] < 0 && slices.Contains(s.Target, p.Name) {
			c.sent[i] = 0
		}
	}
}

func (c *copies) work() {
	defer close(c.done)
	for range c.wake {
		c.mu.Lock()
		lines, closed := c.lines, c.closed
		c.mu.Unlock()
		var all sync.WaitGroup
		for i, p := range c.places {
			c.mu.Lock()
			from := c.sent[i]
			c.mu.Unlock()
			if from < 0 || from == len(lines) || c.failed[i] >= copyTries {
				continue
			}
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
				defer cancel()
				if err := c.host.Record(ctx, p, c.run, lines[from:]); err != nil {
					c.failed[i]++
					return
				}
				c.mu.Lock()
				c.sent[i] = len(lines)
				c.mu.Unlock()
			})
		}
		all.Wait()
		if closed {
			return
		}
	}
}
