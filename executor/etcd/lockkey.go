package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
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

// lockTTL is how long the key outlives its holder, in seconds: twice the longest
// that an election usually takes.
const (
	lockTTL   = 20
	lockRenew = 5 * time.Second
	lockLimit = 3 * time.Second // for one call
)

// KeyHolder is what the key holds.
type KeyHolder struct {
	Who       string `json:"who"`
	PID       int    `json:"pid"`
	Operation string `json:"operation"`
	Cluster   string `json:"cluster"`
	Since     string `json:"since"`
	Plan      string `json:"plan,omitempty"`
	// Places are those whose locks the holder has as well, as HOST:PATH.
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
	endpoints []string
	access    Access
	lease     clientv3.LeaseID
	stop      chan struct{}
	done      chan struct{}
}

// TakeKey writes the key, with a lease that is renewed until Release. A key whose
// holder has one of our places is out of date, for we have these places' locks: it is
// taken over. Any other gives a *KeyTakenError. Endpoints are tried in turn; every
// other error means that there is no key, and why.
func TakeKey(ctx context.Context, endpoints []string, a Access, h KeyHolder) (*Key, error) {
	var errs []error
	for _, url := range endpoints {
		k, err := takeKeyAt(ctx, url, a, h)
		var taken *KeyTakenError
		if err == nil {
			k.endpoints, k.access = endpoints, a
			go k.renew()
			return k, nil
		}
		if errors.As(err, &taken) {
			return nil, err
		}
		errs = append(errs, plain{fmt.Errorf("%s: %w", url, err)})
	}
	return nil, errors.Join(errs...)
}

func takeKeyAt(ctx context.Context, url string, a Access, h KeyHolder) (*Key, error) {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	c, err := open(ctx, url, a)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	value, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	got, err := c.Get(ctx, LockKey)
	if err != nil {
		return nil, err
	}
	var seen int64
	if len(got.Kvs) > 0 {
		var other KeyHolder
		if json.Unmarshal(got.Kvs[0].Value, &other) == nil && !shares(other.Places, h.Places) {
			return nil, &KeyTakenError{other}
		}
		seen = got.Kvs[0].ModRevision
	}
	lease, err := c.Grant(ctx, lockTTL)
	if err != nil {
		return nil, err
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
		return nil, err
	}
	return &Key{lease: lease.ID, stop: make(chan struct{}), done: make(chan struct{})}, nil
}

func shares(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// renew keeps the lease, at whichever member answers.
func (k *Key) renew() {
	defer close(k.done)
	tick := time.NewTicker(lockRenew)
	defer tick.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-tick.C:
			_ = k.each(func(ctx context.Context, c *client) error {
				_, err := c.KeepAliveOnce(ctx, k.lease)
				return err
			}) // what is lost is only an addition
		}
	}
}

// each calls do at one member after the other until one has done it.
func (k *Key) each(do func(context.Context, *client) error) (err error) {
	for _, url := range k.endpoints {
		err = func() error {
			ctx, cancel := context.WithTimeout(context.Background(), lockLimit)
			defer cancel()
			c, err := open(ctx, url, k.access)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			return do(ctx, c)
		}()
		if err == nil {
			return nil
		}
	}
	return err
}

// Release takes the key away. Where nobody answers, its lease ends it.
func (k *Key) Release() error {
	close(k.stop)
	<-k.done
	return k.each(func(ctx context.Context, c *client) error {
		_, err := c.Revoke(ctx, k.lease)
		return err
	})
}
