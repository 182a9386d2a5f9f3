package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// LockKey is where whoever changes a cluster says so in the cluster itself, so that
// two who can't see each other's hosts, or have different files, know of each other.
// It begins with a NUL byte: keys that programs make of text don't, and Kubernetes
// reads below /registry/ only, so that nobody lists or watches it by a prefix of
// theirs. It has a lease, and so ends with its holder.
//
// It is additional: where it can't be had (an alarm for space, authentication
// without rights, no quorum), the locks on the hosts have to do.
const LockKey = "\x00requorum/lock"

// keyTimes are the times of a key.
type keyTimes struct {
	ttl   int64         // seconds that it outlives its holder
	renew time.Duration // from one renewal to the next
	trust time.Duration // how old the last renewal may be that is relied on
	limit time.Duration // for one call
}

// lockTTL is twice the longest that an election usually takes.
const lockTTL = 20

// lockTimes leave room for two renewals that fail, and for the act that follows a look.
var lockTimes = keyTimes{ttl: lockTTL, renew: 5 * time.Second, trust: (lockTTL - 5) * time.Second, limit: 3 * time.Second}

// KeyHolder is what the key holds.
type KeyHolder struct {
	Who       string `json:"who"`
	PID       int    `json:"pid"`
	Operation string `json:"operation"`
	Cluster   string `json:"cluster"`
	Since     string `json:"since"`
	Plan      string `json:"plan,omitempty"`
	// Places are those whose locks the holder has as well: a path, and in front of it
	// what tells machines apart, however they are reached.
	Places []string `json:"places"`
}

// KeyTakenError says that somebody else has the key.
type KeyTakenError struct{ Holder KeyHolder }

// Error implements error.
func (e *KeyTakenError) Error() string {
	h := e.Holder
	return fmt.Sprintf("the cluster's own lock is held by %s (pid %d), who has been running %q on cluster %s since %s, with other members' places; it ends %d s after its holder",
		h.Who, h.PID, h.Operation, h.Cluster, h.Since, lockTTL)
}

// Key is the lock key while it is held.
type Key struct {
	access  Access
	holder  KeyHolder
	times   keyTimes
	cluster uint64 // whose it is
	stop    chan struct{}
	done    chan struct{}

	asking sync.Mutex // one Held at a time
	mu     sync.Mutex
	urls   []string // of members, the one that answered last in front
	lease  clientv3.LeaseID
	// renewed is when the last good renewal was sent, since boot; revision is one at
	// which the key was ours.
	renewed  time.Duration
	revision int64
	ended    bool // the lease, as etcd said
	lost     error
}

// TakeKey writes the key, with a lease that is renewed until Release. A key whose
// holder has one of our places is out of date, for we have these places' locks: it is
// taken over. Any other gives a *KeyTakenError. Endpoints are tried in turn; every
// other error means that there is no key, and why.
func TakeKey(ctx context.Context, endpoints []string, a Access, h KeyHolder) (*Key, error) {
	return takeKey(ctx, endpoints, a, h, lockTimes)
}

func takeKey(ctx context.Context, endpoints []string, a Access, h KeyHolder, times keyTimes) (*Key, error) {
	var errs []error
	for _, url := range endpoints {
		k := &Key{access: a, holder: h, times: times, stop: make(chan struct{}), done: make(chan struct{})}
		err := k.takeAt(ctx, url)
		var taken *KeyTakenError
		if err == nil {
			k.urls = slices.Clone(endpoints)
			go k.keep()
			return k, nil
		}
		if errors.As(err, &taken) {
			return nil, err
		}
		errs = append(errs, plain{fmt.Errorf("%s: %w", url, err)})
	}
	return nil, errors.Join(errs...)
}

// Beside names further members at which the key may be renewed: those that a plan adds.
func (k *Key) Beside(urls ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, u := range urls {
		if !slices.Contains(k.urls, u) {
			k.urls = append(k.urls, u)
		}
	}
}

func (k *Key) takeAt(ctx context.Context, url string) error {
	return k.at(ctx, url, func(ctx context.Context, c *client) error {
		got, err := c.Get(ctx, LockKey)
		if err != nil {
			return err
		}
		var seen int64
		if len(got.Kvs) > 0 {
			var other KeyHolder
			if json.Unmarshal(got.Kvs[0].Value, &other) == nil && other.Operation != keyReleased && !shares(other.Places, k.holder.Places) {
				return &KeyTakenError{other}
			}
			seen = got.Kvs[0].ModRevision
		}
		return k.put(ctx, c, seen)
	})
}

// put writes the key, with a new lease, where it is still of revision seen.
func (k *Key) put(ctx context.Context, c *client, seen int64) error {
	value, err := json.Marshal(k.holder)
	if err != nil {
		return err
	}
	began := sinceBoot()
	lease, err := c.Grant(ctx, k.times.ttl)
	if err != nil {
		return err
	}
	put, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(LockKey), "=", seen)).
		Then(clientv3.OpPut(LockKey, string(value), clientv3.WithLease(lease.ID))).
		Else(clientv3.OpGet(LockKey)).Commit()
	if err == nil && !put.Succeeded {
		var other KeyHolder
		if kvs := put.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			_ = json.Unmarshal(kvs[0].Value, &other)
		}
		err = &KeyTakenError{other}
	}
	if err != nil {
		_, _ = c.Revoke(context.WithoutCancel(ctx), lease.ID) // it ends by itself otherwise
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lease, k.renewed, k.revision, k.ended = lease.ID, began, put.Header.Revision, false
	if k.cluster == 0 {
		k.cluster = put.Header.ClusterId
	}
	return nil
}

func shares(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// keep renews the lease, at whichever member answers.
func (k *Key) keep() {
	defer close(k.done)
	tick := time.NewTicker(k.times.renew)
	defer tick.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-tick.C:
			_ = k.each(k.renew) // Held looks behind what was not renewed
		}
	}
}

func (k *Key) renew(ctx context.Context, c *client) error {
	k.mu.Lock()
	lease := k.lease
	k.mu.Unlock()
	began := sinceBoot()
	// The revision in the answer is one from before the renewal (api/v3rpc/lease.go,
	// leaseKeepAlive): the key was still there at it.
	r, err := c.KeepAliveOnce(ctx, lease)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.lease != lease:
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		k.ended = true
		return nil
	case err == nil:
		k.renewed, k.revision = began, max(k.revision, r.Revision)
	}
	return err
}

// each calls do at one member after the other until one has done it, and begins with
// that one the next time.
func (k *Key) each(do func(context.Context, *client) error) (err error) {
	k.mu.Lock()
	urls := slices.Clone(k.urls)
	k.mu.Unlock()
	for _, url := range urls {
		if err = k.at(context.Background(), url, do); err == nil {
			k.mu.Lock()
			k.urls = append([]string{url}, slices.DeleteFunc(k.urls, func(u string) bool { return u == url })...)
			k.mu.Unlock()
			return nil
		}
	}
	return err
}

// at calls do with a client of one member, of the cluster that the key is in.
func (k *Key) at(ctx context.Context, url string, do func(context.Context, *client) error) error {
	ctx, cancel := context.WithTimeout(ctx, k.times.limit)
	defer cancel()
	c, err := open(ctx, url, k.access)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if k.cluster != 0 {
		st, err := c.status(ctx)
		if err != nil {
			return err
		}
		if st.Header.ClusterId != k.cluster {
			return fmt.Errorf("%s is a member of another cluster, %s", url, hexID(st.Header.ClusterId))
		}
	}
	return do(ctx, c)
}

// Release takes the key away. Where nobody answers, its lease ends it.
func (k *Key) Release() error {
	close(k.stop)
	<-k.done
	return k.each(func(ctx context.Context, c *client) error {
		k.mu.Lock()
		lease := k.lease
		k.mu.Unlock()
		_, err := c.Revoke(ctx, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// sinceBoot is a clock that goes on while a process is frozen, and while the machine
// sleeps.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux that Go runs on has it
	}
	return time.Duration(t.Nano())
}
