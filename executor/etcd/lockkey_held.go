package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// KeyLostError says that the key is not ours any more.
type KeyLostError struct{ Why string }

// Error implements error.
func (e *KeyLostError) Error() string { return "the cluster's own lock was lost: " + e.Why }

// Held returns a *KeyLostError where somebody else has the key, or had it, since the
// last renewal that was answered, and ctx's error where that ended first. Without a
// renewal for a while it reads the key; one that ran out, and that nobody took
// meanwhile, is taken again. Where no member with a quorum answers, nothing is known
// and nil is returned: the key is only an addition.
func (k *Key) Held(ctx context.Context) error {
	k.asking.Lock()
	defer k.asking.Unlock()
	k.mu.Lock()
	lost, fresh := k.lost, !k.ended && sinceBoot()-k.renewed < k.times.trust
	k.mu.Unlock()
	if lost != nil || fresh {
		return lost
	}
	state, err := k.look(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return nil
	case state.Held && state.lease == k.lease:
		return nil
	case state.Held:
		return k.lose(fmt.Sprintf("%s (pid %d) has it, for %q since %s", state.Holder.Who, state.Holder.PID, state.Holder.Operation, state.Holder.Since))
	}
	return k.again(ctx, state.url)
}

func (k *Key) lose(why string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = &KeyLostError{why}
	return k.lost
}

// again takes a key that ran out, where nobody had it since.
func (k *Key) again(ctx context.Context, url string) error {
	var why string
	err := k.at(ctx, url, func(ctx context.Context, c *client) (err error) {
		if why, err = k.history(ctx, c); err != nil || why != "" {
			return err
		}
		old := k.lease
		if err = k.put(ctx, c, 0); err == nil {
			_, _ = c.Revoke(ctx, old) // it is gone, unless somebody removed the key alone
		}
		return err
	})
	var taken *KeyTakenError
	switch {
	case why != "":
		return k.lose(why)
	case errors.As(err, &taken):
		return k.lose(fmt.Sprintf("%s (pid %d) has it", taken.Holder.Who, taken.Holder.PID))
	}
	return ctx.Err() // what stood in the way does so best effort
}

// history says who had the key since it was ours: "" for nobody.
func (k *Key) history(ctx context.Context, c *client) (string, error) {
	k.mu.Lock()
	lease, revision := k.lease, k.revision
	k.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range c.Watch(ctx, LockKey, clientv3.WithRev(revision+1)) {
		if r.CompactRevision != 0 {
			return "it ran out, and whether anybody had it since is not known: that part of the history was compacted", nil
		}
		if err := r.Err(); err != nil {
			return "", err
		}
		for _, e := range r.Events {
			if e.Type != clientv3.EventTypePut || clientv3.LeaseID(e.Kv.Lease) == lease {
				continue
			}
			var other KeyHolder
			_ = json.Unmarshal(e.Kv.Value, &other)
			if other.Operation == keyReleased {
				return "it was released by " + other.Who, nil
			}
			return fmt.Sprintf("%s (pid %d) had it meanwhile, for %q", other.Who, other.PID, other.Operation), nil
		}
		// All that happened by then comes at once: one key has few revisions
		// (server/storage/mvcc/watchable_store.go, syncWatchers).
		if len(r.Events) > 0 {
			return "", nil
		}
	}
	return "", ctx.Err()
}

// KeyState is how the key stands.
type KeyState struct {
	Held   bool
	Holder KeyHolder

	url      string // of the member that said so
	lease    clientv3.LeaseID
	revision int64
}

// LookKey reads the key at whichever member answers first. An error says that nothing
// is known of it.
func LookKey(ctx context.Context, endpoints []string, a Access) (KeyState, error) {
	k := &Key{access: a, times: lockTimes, urls: endpoints}
	return k.look(ctx)
}

func (k *Key) look(ctx context.Context) (KeyState, error) {
	k.mu.Lock()
	urls := k.urls
	k.mu.Unlock()
	type answer struct {
		state KeyState
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(urls))
	for _, url := range urls {
		go func() {
			var s KeyState
			err := k.at(ctx, url, func(ctx context.Context, c *client) (err error) {
				s, err = readKey(ctx, c)
				return err
			})
			if err != nil {
				err = plain{fmt.Errorf("%s: %w", url, err)}
			}
			answers <- answer{s, err}
		}()
	}
	errs := make([]error, 0, len(urls))
	for range urls {
		got := <-answers
		if got.err == nil {
			return got.state, nil
		}
		errs = append(errs, got.err)
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("no member to ask"))
	}
	return KeyState{}, errors.Join(errs...)
}

// readKey reads the key, as a quorum has it.
func readKey(ctx context.Context, c *client) (KeyState, error) {
	got, err := c.Get(ctx, LockKey)
	if err != nil {
		return KeyState{}, err
	}
	s := KeyState{url: c.url}
	if len(got.Kvs) == 0 {
		return s, nil
	}
	kv := got.Kvs[0]
	s.Held, s.lease, s.revision = true, clientv3.LeaseID(kv.Lease), kv.ModRevision
	if json.Unmarshal(kv.Value, &s.Holder) != nil || s.Holder.Who == "" {
		s.Holder.Who = "somebody"
	}
	return s, nil
}

// keyReleased is the operation of whoever ended somebody else's key, for a moment.
const keyReleased = "lock release"

// BreakKey ends somebody else's key, as it was seen. By is who does, for its former
// holder, who learns of it from the key's history.
func BreakKey(ctx context.Context, a Access, s KeyState, by string) error {
	k := &Key{access: a, times: lockTimes, holder: KeyHolder{Who: by, Operation: keyReleased}}
	err := k.at(ctx, s.url, func(ctx context.Context, c *client) error {
		err := k.put(ctx, c, s.revision)
		var other *KeyTakenError
		switch {
		case errors.As(err, &other) && other.Holder.Who == "":
			return nil // it ended meanwhile
		case errors.As(err, &other):
			return fmt.Errorf("it is another one by now, of %s; look again with requorum lock status", other.Holder.Who)
		}
		if err != nil { // under an alarm for space nothing is written, and deletes are
			var gone *clientv3.TxnResponse
			if gone, err = c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(LockKey), "=", s.revision)).Then(clientv3.OpDelete(LockKey)).Commit(); err != nil {
				return err
			}
			if !gone.Succeeded {
				return errors.New("it is another one by now; look again with requorum lock status")
			}
		} else if _, err := c.Revoke(ctx, k.lease); err != nil {
			return err
		}
		_, _ = c.Revoke(ctx, s.lease) // its holder renews it else, to no end
		return nil
	})
	if err != nil {
		return plain{fmt.Errorf("the cluster's own lock, at %s: %w", s.url, err)}
	}
	return nil
}
