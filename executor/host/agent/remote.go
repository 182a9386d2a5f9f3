package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// How patient Remote is.
const (
	// forgetAfter is how long a machine that could not be reached is not tried
	// again: what is asked of it in one look is asked at once.
	forgetAfter = 20 * time.Second
	// againLimit is how long a connection that was lost is tried for, and againWait
	// the first pause.
	againLimit = 45 * time.Second
	againWait  = 250 * time.Millisecond
	// readPatience is how long a request that changes nothing waits for a connection
	// that was lost: what it would have said is unknown meanwhile.
	readPatience = 12 * time.Second
	// lookLimit is how long a look at a machine may take: what could not be read by
	// then (a file system that hangs) is unknown.
	lookLimit = time.Minute
	// repeats is how often a request is made again that a lost connection cut.
	repeats = 3
	// lockPatience is how long the agent of a lost connection may take to finish what
	// it is at and to give the lock up: until it finds out, and a while.
	lockPatience = 2 * time.Minute
)

// Options of a Remote.
type Options struct {
	// Name is what the machine is called in errors.
	Name string
	// Connect makes a connection. Its errors say what is wrong, for people.
	Connect func(ctx context.Context) (*Client, error)
	// Limit is how long a first connection may take.
	Limit time.Duration
}

// Remote is a machine with an agent, as a host.Host.
type Remote struct {
	o Options

	mu     sync.Mutex
	now    *Client
	trying *attempt
	failed error // of the last attempt, at failedAt
	at     time.Time
	ever   bool
	closed bool
	locks  []*lock
}

// attempt is a connection that is being made, for all who wait for it.
type attempt struct {
	done   chan struct{}
	client *Client
	err    error
}

var (
	_ host.Host  = (*Remote)(nil)
	_ host.Files = (*Remote)(nil)
)

// NewRemote gives the machine; it connects when it is first asked.
func NewRemote(o Options) *Remote { return &Remote{o: o} }

// Close ends the connection.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	c := r.now
	r.now = nil
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Close()
}

// Hello connects, and is who answers.
func (r *Remote) Hello(ctx context.Context) (Hello, error) {
	c, err := r.client(ctx)
	if err != nil {
		return Hello{}, err
	}
	return c.hello, nil
}

// client gives the connection, makes it, or makes it anew.
func (r *Remote) client(ctx context.Context) (*Client, error) {
	r.mu.Lock()
	switch {
	case r.closed:
		r.mu.Unlock()
		return nil, fmt.Errorf("%s: closed", r.o.Name)
	case r.now != nil && r.now.Alive():
		defer r.mu.Unlock()
		return r.now, nil
	case r.trying == nil && r.failed != nil && time.Since(r.at) < forgetAfter:
		defer r.mu.Unlock()
		return nil, r.failed
	}
	a := r.trying
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		r.trying = a
		go r.try(context.WithoutCancel(ctx), a)
	}
	r.mu.Unlock()
	select {
	case <-a.done:
		return a.client, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: not reached yet: %w", r.o.Name, context.Cause(ctx))
	}
}

// try makes one attempt of a first connection, and several of one that was lost.
func (r *Remote) try(ctx context.Context, a *attempt) {
	r.mu.Lock()
	again := r.ever
	r.mu.Unlock()
	began, wait, limit := time.Now(), againWait, againLimit
	for {
		if a.client, a.err = r.connect(ctx); a.err == nil {
			if a.err = r.relock(ctx, a.client); a.err == nil {
				break
			}
			_ = a.client.Close()
			a.client, a.err = nil, fmt.Errorf("%s: while its locks were taken again: %w", r.o.Name, a.err)
			limit = lockPatience // there is a way there, if a bad one
		}
		if !again || time.Since(began)+wait > limit {
			break
		}
		time.Sleep(wait)
		wait = min(2*wait, 5*time.Second)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trying, r.failed, r.at = nil, a.err, time.Now()
	if a.err == nil {
		r.now, r.ever = a.client, true
		if r.closed {
			_ = a.client.Close()
		}
	}
	close(a.done)
}

func (r *Remote) connect(ctx context.Context) (*Client, error) {
	limit := r.o.Limit
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
		defer cancel()
	}
	c, err := r.o.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.o.Name, err)
	}
	return c, nil
}

// do makes a request, and makes it again where the connection was lost. An act
// changes something: it is made again only under a lock, which proves that the
// agent which may have been at it has ended.
func (r *Remote) do(ctx context.Context, act bool, name string, in, out any, tell host.Progress) error {
	return r.repeat(ctx, act, func(c *Client, locks []uint64) error {
		return c.call(ctx, name, locks, in, out, tell)
	})
}

func (r *Remote) repeat(ctx context.Context, act bool, once func(c *Client, locks []uint64) error) error {
	var lost error
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, lost)
		}
		c, err := r.patiently(ctx, act)
		if err != nil {
			return r.unknown(lost, err)
		}
		var locks []uint64
		if act {
			if locks, err = r.numbers(c); err != nil {
				return r.unknown(lost, err)
			}
		}
		err = once(c, locks)
		if !errors.Is(err, errLost) {
			return err
		}
		switch {
		case act && len(locks) == 0, act && try == repeats:
			return &host.UnknownError{Host: r.o.Name, Err: err}
		case try == repeats:
			return fmt.Errorf("%s: %w", r.o.Name, err)
		}
		lost = err
	}
}

// patiently is client for a request: an act has the time for it, and waits.
func (r *Remote) patiently(ctx context.Context, act bool) (*Client, error) {
	r.mu.Lock()
	again := r.ever
	r.mu.Unlock()
	if !act && again {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, readPatience, errors.New("the connection was lost and is not back yet"))
		defer cancel()
	}
	return r.client(ctx)
}

// unknown is err, after a request of which it is not known what became of it.
func (r *Remote) unknown(lost, err error) error {
	if lost == nil {
		return err
	}
	return &host.UnknownError{Host: r.o.Name, Err: err}
}

// Observe implements host.Host. A machine that can't be asked gives unknown facts.
func (r *Remote) Observe(ctx context.Context, places []planner.Place) (map[string]host.Facts, error) {
	var out map[string]facts
	ctx, cancel := context.WithTimeoutCause(ctx, lookLimit, fmt.Errorf("%s: nothing was seen within %s", r.o.Name, lookLimit))
	defer cancel()
	if err := r.do(ctx, false, "Observe", placesArgs{places}, &out, nil); err != nil {
		return Unknown(places, err.Error()), nil
	}
	return unpackFacts(out), nil
}

// Unknown are the facts of places that can't be looked at.
func Unknown(places []planner.Place, why string) map[string]host.Facts {
	out := map[string]host.Facts{}
	for _, p := range places {
		out[p.Name] = host.Facts{
			Data: planner.Unknown[planner.DataDir](why), Service: planner.Unknown[planner.Service](why), FreeBytes: planner.Unknown[int64](why),
			Plans: planner.Unknown[[]string](why),
		}
	}
	return out
}

// Etcds implements host.Host.
func (r *Remote) Etcds(ctx context.Context) []planner.Foreign {
	var out []planner.Foreign
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	_ = r.do(ctx, false, "Etcds", nothing{}, &out, nil) // Observe says of the machine that it can't be asked
	return out
}

// Prove implements host.Host.
func (r *Remote) Prove(ctx context.Context, places []planner.Place, tell host.Progress) (map[string]string, error) {
	var out map[string]string
	err := r.do(ctx, false, "Prove", placesArgs{places}, &out, tell)
	return out, err
}

// Binary implements host.Host.
func (r *Remote) Binary(ctx context.Context, path string) planner.Fact[planner.Binary] {
	var out planner.Fact[planner.Binary]
	if err := r.do(ctx, false, "Binary", pathArgs{Path: path}, &out, nil); err != nil {
		return planner.Unknown[planner.Binary](err.Error())
	}
	return out
}

// Keys implements host.Host. Of a machine that can't be asked nothing is known.
func (r *Remote) Keys(ctx context.Context, asks []host.KeyAsk) map[string]planner.Fact[host.Keys] {
	var out map[string]planner.Fact[host.Keys]
	ctx, cancel := context.WithTimeoutCause(ctx, lookLimit, fmt.Errorf("%s: its certificates were not read within %s", r.o.Name, lookLimit))
	defer cancel()
	if err := r.do(ctx, false, "Keys", keysArgs{asks}, &out, nil); err != nil {
		return host.UnknownKeys(asks, err.Error())
	}
	return out
}

// Locks implements host.Host.
func (r *Remote) Locks(ctx context.Context, places []planner.Place) (map[string]host.LockState, error) {
	var out map[string]host.LockState
	err := r.do(ctx, false, "Locks", placesArgs{places}, &out, nil)
	return out, err
}

// BreakLock implements host.Host. It may be repeated: the epoch says whose it was.
func (r *Remote) BreakLock(ctx context.Context, place planner.Place, epoch int64) error {
	return r.do(ctx, false, "BreakLock", breakArgs{place, epoch}, nil, nil)
}

// Record implements host.Host. After a lost connection lines may be there twice.
func (r *Remote) Record(ctx context.Context, place planner.Place, run string, lines []byte) error {
	return r.do(ctx, false, "Record", recordArgs{place, run, lines}, nil, nil)
}

// Claim implements host.Host.
func (r *Remote) Claim(ctx context.Context, a planner.Claim) error {
	return r.do(ctx, true, "Claim", a, nil, nil)
}

// Restore implements host.Host: the snapshot is one on that machine.
func (r *Remote) Restore(ctx context.Context, a planner.Restore, tell host.Progress) error {
	return r.do(ctx, true, "Restore", a, nil, tell)
}

// Trial implements host.Host.
func (r *Remote) Trial(ctx context.Context, a planner.Trial, tell host.Progress) error {
	return r.do(ctx, true, "Trial", a, nil, tell)
}

// Install implements host.Host.
func (r *Remote) Install(ctx context.Context, a planner.Install) error {
	return r.do(ctx, true, "Install", a, nil, nil)
}

// Start implements host.Host.
func (r *Remote) Start(ctx context.Context, members []planner.StartMember) error {
	return r.do(ctx, true, "Start", startArgs{members}, nil, nil)
}

// Adopt implements host.Host.
func (r *Remote) Adopt(ctx context.Context, members []planner.AdoptMember) error {
	return r.do(ctx, true, "Adopt", adoptArgs{members}, nil, nil)
}

// Stop implements host.Host.
func (r *Remote) Stop(ctx context.Context, cluster string, members []planner.StopMember) error {
	return r.do(ctx, true, "Stop", stopArgs{cluster, members}, nil, nil)
}

// SetAside implements host.Host.
func (r *Remote) SetAside(ctx context.Context, a planner.SetAside) error {
	return r.do(ctx, true, "SetAside", a, nil, nil)
}

// Fence implements host.Host.
func (r *Remote) Fence(ctx context.Context, a planner.Fence) error {
	return r.do(ctx, true, "Fence", a, nil, nil)
}

// Unfence implements host.Host.
func (r *Remote) Unfence(ctx context.Context, a planner.Unfence) error {
	return r.do(ctx, true, "Unfence", a, nil, nil)
}

// Recover implements host.Host.
func (r *Remote) Recover(ctx context.Context, a planner.Recover, tell host.Progress) error {
	return r.do(ctx, true, "Recover", a, nil, tell)
}

// Describe implements host.Files.
func (r *Remote) Describe(ctx context.Context, path string) (host.File, error) {
	var out host.File
	err := r.do(ctx, false, "Describe", pathArgs{Path: path}, &out, nil)
	return out, err
}

// Drop implements host.Files.
func (r *Remote) Drop(ctx context.Context, in host.Incoming) error {
	return r.do(ctx, true, "Drop", in, nil, nil)
}

// Give implements host.Files. A lost connection is not gone on from here: what was
// written can't be taken back. Whoever takes the file goes on with it.
func (r *Remote) Give(ctx context.Context, path string, from int64, w io.Writer) (string, error) {
	c, err := r.client(ctx)
	if err != nil {
		return "", err
	}
	s, err := c.stream(ctx, "Give")
	if err != nil {
		return "", err
	}
	return c.give(s, pathArgs{Path: path, From: from}, w)
}

// Take implements host.Files: it goes on after a lost connection.
func (r *Remote) Take(ctx context.Context, in host.Incoming, fill host.Fill) (path string, err error) {
	err = r.repeat(ctx, true, func(c *Client, locks []uint64) error {
		body, err := marshal(in)
		if err != nil {
			return err
		}
		alive, end := context.WithCancel(ctx)
		defer end()
		s, err := c.stream(alive, "Take")
		if err != nil {
			return err
		}
		path, err = c.take(s, request{Body: body, Locks: locks}, fill)
		return err
	})
	return path, err
}
