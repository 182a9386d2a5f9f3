package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/spec"
)

var (
	ann = KeyHolder{Who: "ann@here", PID: 7, Operation: "apply", Cluster: "demo", Since: "now", Places: []string{"here:/m1"}}
	bob = KeyHolder{Who: "bob@there", PID: 42, Operation: "apply", Cluster: "demo", Since: "later", Places: []string{"there:/m1"}}
)

// short are the times of a holder that renews, frozen of one that does not come to it.
var (
	short  = keyTimes{ttl: 2, renew: 200 * time.Millisecond, trust: time.Second, limit: 3 * time.Second}
	frozen = keyTimes{ttl: 2, renew: time.Hour, trust: 10 * time.Millisecond, limit: 3 * time.Second}
)

func taken(t *testing.T, h KeyHolder, times keyTimes, endpoints ...string) *Key {
	t.Helper()
	k, err := takeKey(bounded(t), endpoints, Access{}, h, times)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func released(t *testing.T, k *Key) {
	t.Helper()
	if err := k.Release(); err != nil {
		t.Fatal(err)
	}
}

// gone waits until nobody has the key.
func gone(t *testing.T, endpoint string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s, err := LookKey(bounded(t), []string{endpoint}, Access{})
		if err == nil && !s.Held {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v %v", s, err)
		}
	}
}

func wantHolder(t *testing.T, endpoint, who string) {
	t.Helper()
	s, err := LookKey(bounded(t), []string{endpoint}, Access{})
	if err != nil || s.Holder.Who != who || s.Held != (who != "") {
		t.Errorf("held by %+v (%v), want %q", s, err, who)
	}
}

// The key outlives its lease as long as its holder renews it, and no longer.
func TestKeyIsRenewed(t *testing.T) {
	t.Parallel()
	one := startOne(t, "key", nil)
	k := taken(t, ann, short, one.client)
	time.Sleep(2 * time.Duration(short.ttl) * time.Second)
	wantHolder(t, one.client, ann.Who)
	if err := k.Held(t.Context()); err != nil {
		t.Error(err)
	}
	var no *KeyTakenError
	if _, err := takeKey(bounded(t), []string{one.client}, Access{}, bob, short); !errors.As(err, &no) || no.Holder.Who != ann.Who {
		t.Errorf("bob got %v", err)
	}
	released(t, k)
	wantHolder(t, one.client, "")
}

// A holder that was frozen until its lease had ended finds out whether anybody had the
// key since, and goes on only where nobody had.
func TestKeyOfAFrozenHolder(t *testing.T) {
	t.Parallel()
	compact := func(t *testing.T, one *live) {
		c := one.cli(t, nil)
		put(t, c, "x", "1")
		r, err := c.Get(bounded(t), "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Compact(bounded(t), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		meanwhile func(t *testing.T, one *live)
		want      string // "" where the key is ours again
	}{
		"nobody came": {meanwhile: func(t *testing.T, one *live) { put(t, one.cli(t, nil), "x", "1") }},
		"somebody has it": {want: "bob@there (pid 42) has it", meanwhile: func(t *testing.T, one *live) {
			k := taken(t, bob, short, one.client)
			t.Cleanup(func() { _ = k.Release() })
		}},
		"somebody had it": {want: "bob@there (pid 42) had it meanwhile", meanwhile: func(t *testing.T, one *live) {
			released(t, taken(t, bob, short, one.client))
			put(t, one.cli(t, nil), "x", "1")
		}},
		"somebody had it among many": {want: "had it meanwhile", meanwhile: func(t *testing.T, one *live) {
			for range 20 {
				released(t, taken(t, ann, short, one.client))
			}
			released(t, taken(t, bob, short, one.client))
		}},
		"nobody knows": {want: "was compacted", meanwhile: compact},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := startOne(t, "key", nil)
			k := taken(t, ann, frozen, one.client)
			gone(t, one.client)
			tc.meanwhile(t, one)
			err := k.Held(t.Context())
			var lost *KeyLostError
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				wantHolder(t, one.client, ann.Who)
				released(t, k)
				wantHolder(t, one.client, "")
				return
			}
			if !errors.As(err, &lost) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if again := k.Held(t.Context()); again == nil {
				t.Error("a lost key came back")
			}
			_ = k.Release()
		})
	}
}

// A lease that etcd says has ended is looked behind at once, and not when the last
// renewal is old.
func TestKeyWhoseLeaseWasRevoked(t *testing.T) {
	t.Parallel()
	one := startOne(t, "key", nil)
	times := short
	times.trust = time.Hour
	k := taken(t, ann, times, one.client)
	defer k.Release()
	if _, err := one.cli(t, nil).Revoke(bounded(t), k.lease); err != nil {
		t.Fatal(err)
	}
	b := taken(t, bob, short, one.client)
	defer b.Release()
	for end := time.Now().Add(5 * time.Second); k.Held(t.Context()) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was noticed")
		}
	}
}

// Releasing somebody else's key ends it for good, and its holder is told by whom; one
// that changed meanwhile stays.
func TestBreakKey(t *testing.T) {
	t.Parallel()
	one := startOne(t, "key", nil)
	k := taken(t, ann, short, one.client)
	defer k.Release()
	seen, err := LookKey(bounded(t), []string{one.client}, Access{})
	if err != nil {
		t.Fatal(err)
	}
	stale := seen
	stale.revision--
	if err := BreakKey(bounded(t), Access{}, stale, "carl@desk"); err == nil || !strings.Contains(err.Error(), "another one by now, of ann@here") {
		t.Errorf("a stale one: %v", err)
	}
	wantHolder(t, one.client, ann.Who)
	if err := BreakKey(bounded(t), Access{}, seen, "carl@desk"); err != nil {
		t.Fatal(err)
	}
	wantHolder(t, one.client, "")
	if err := BreakKey(bounded(t), Access{}, seen, "carl@desk"); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		err = k.Held(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "released by carl@desk") {
		t.Errorf("its holder was told %v", err)
	}
	wantHolder(t, one.client, "") // nobody takes it back
	released(t, taken(t, bob, short, one.client))
}

// Under an alarm for space no key is had, one that is there is renewed and can be
// released, and the holder is not stopped by that.
func TestKeyWithoutSpace(t *testing.T) {
	t.Parallel()
	one := startOne(t, "key", nil)
	k := taken(t, ann, short, one.client)
	defer k.Release()
	f := taken(t, KeyHolder{Who: "ann@here", Places: ann.Places}, frozen, one.client) // takes the key over
	defer f.Release()
	alarm(t, one)
	gone(t, one.client)
	if err := f.Held(t.Context()); err != nil {
		t.Errorf("one that can't be had again: %v", err)
	}
	_, err := takeKey(bounded(t), []string{one.client}, Access{}, bob, short)
	var no *KeyTakenError
	if err == nil || errors.As(err, &no) || !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("a key under the alarm: %v", err)
	}
	disarm(t, one)
	b := taken(t, bob, short, one.client)
	defer b.Release()
	alarm(t, one)
	time.Sleep(2 * time.Duration(short.ttl) * time.Second)
	wantHolder(t, one.client, bob.Who)
	if _, err := takeKey(bounded(t), []string{one.client}, Access{}, ann, short); !errors.As(err, &no) {
		t.Errorf("somebody else's under the alarm: %v", err)
	}
	seen, err := LookKey(bounded(t), []string{one.client}, Access{})
	if err == nil {
		err = BreakKey(bounded(t), Access{}, seen, "carl@desk")
	}
	if err != nil {
		t.Error(err)
	}
	wantHolder(t, one.client, "")
}

func alarm(t *testing.T, l *live) { setAlarm(t, l, etcdserverpb.AlarmRequest_ACTIVATE) }

func disarm(t *testing.T, l *live) { setAlarm(t, l, etcdserverpb.AlarmRequest_DEACTIVATE) }

func setAlarm(t *testing.T, l *live, action etcdserverpb.AlarmRequest_AlarmAction) {
	t.Helper()
	req := &etcdserverpb.AlarmRequest{Action: action, MemberID: uint64(l.Server.MemberID()), Alarm: etcdserverpb.AlarmType_NOSPACE}
	if _, err := l.Server.Alarm(bounded(t), req); err != nil {
		t.Fatal(err)
	}
}

// With authentication the key is for those who may write it; for others there is none,
// and they are told why, of somebody else's too.
func TestKeyWithAuth(t *testing.T) {
	t.Parallel()
	one := startOne(t, "key", nil)
	c := one.cli(t, nil)
	for _, do := range []func() (any, error){
		func() (any, error) { return c.UserAdd(bounded(t), "root", "right") },
		func() (any, error) { return c.UserGrantRole(bounded(t), "root", "root") },
		func() (any, error) { return c.UserAdd(bounded(t), "guest", "guest") },
		func() (any, error) { return c.AuthEnable(bounded(t)) },
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	root := Access{Username: "root", Password: spec.NewSecret("right")}
	k, err := takeKey(bounded(t), []string{one.client}, root, ann, short)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Release()
	for name, a := range map[string]Access{
		"nobody":           {},
		"without rights":   {Username: "guest", Password: spec.NewSecret("guest")},
		"a wrong password": {Username: "root", Password: spec.NewSecret("wrong")},
	} {
		_, err := takeKey(bounded(t), []string{one.client}, a, bob, short)
		var no *KeyTakenError
		if err == nil || errors.As(err, &no) || !isAuth(err) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := LookKey(bounded(t), []string{one.client}, a); !isAuth(err) {
			t.Errorf("%s looks: %v", name, err)
		}
	}
	time.Sleep(2 * time.Duration(short.ttl) * time.Second)
	if s, err := LookKey(bounded(t), []string{one.client}, root); err != nil || s.Holder.Who != ann.Who {
		t.Errorf("%+v %v", s, err)
	}
	if err := k.Held(t.Context()); err != nil {
		t.Error(err)
	}
}

// Where nobody answers nothing is known, and that is no reason to stop; whoever
// answers for another cluster is not believed.
func TestKeyOutOfReach(t *testing.T) {
	t.Parallel()
	all, other := startThree(t), startOne(t, "other", nil)
	for range 20 { // its history says nothing of the key
		put(t, other.cli(t, nil), "x", "1")
	}
	if _, err := other.cli(t, nil).Compact(bounded(t), 20); err != nil {
		t.Fatal(err)
	}
	k := taken(t, ann, short, all[0].client, all[1].client)
	k.Beside(all[2].client, other.client)
	all[0].Close() // the one that it was taken at
	time.Sleep(time.Duration(short.ttl) * time.Second)
	wantHolder(t, all[1].client, ann.Who)
	if err := k.Held(t.Context()); err != nil {
		t.Errorf("one of three is down: %v", err)
	}
	all[1].Close()
	time.Sleep(time.Duration(short.ttl) * time.Second)
	if err := k.Held(t.Context()); err != nil {
		t.Errorf("without a quorum: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Held(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	wantHolder(t, other.client, "")
	_ = k.Release()
}
