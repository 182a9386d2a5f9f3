package etcd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner"
)

func TestCompareKVThree(t *testing.T) {
	t.Parallel()
	all := startThree(t)
	c := all[0].cli(t, nil)
	for i := range 20 {
		put(t, c, fmt.Sprintf("k%d", i), "v")
	}
	compare := func() planner.Fact[planner.KVComparison] {
		return CompareKV(context.Background(), endpointsOf(all), Access{}, 5*time.Second)
	}
	if f := compare(); !f.Known() || !f.Value.Equal || f.Value.Revision != 21 || len(f.Value.Hashes) != 3 {
		t.Errorf("%+v", f)
	}
	if _, err := c.Compact(bounded(t), 10); err != nil {
		t.Fatal(err)
	}
	if f := compare(); !f.Known() || !f.Value.Equal {
		t.Errorf("after compaction: %+v", f)
	}
	// Under writes and compactions.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			resp, err := c.Put(ctx, "busy", "x")
			if err == nil && resp.Header.Revision%50 == 0 {
				_, _ = c.Compact(ctx, resp.Header.Revision-5)
			}
		}
	}()
	for range 3 {
		if f := compare(); !f.Known() || !f.Value.Equal {
			t.Errorf("under writes: %+v", f)
		}
	}
	cancel()
	<-done
	all[2].Close()
	if f := compare(); f.Known() || !strings.HasPrefix(f.Why, "m3: refused") {
		t.Errorf("one stopped: %+v", f)
	}
}

// Two clusters with other data at the same revision stand for members that have
// diverged.
func TestCompareKVUnequal(t *testing.T) {
	t.Parallel()
	a, b := startOne(t, "a", nil), startOne(t, "b", nil)
	ca, cb := a.cli(t, nil), b.cli(t, nil)
	put(t, ca, "k", "one")
	put(t, cb, "k", "two")
	both := endpointsOf([]*live{a, b})
	f := CompareKV(context.Background(), both, Access{}, 5*time.Second)
	if !f.Known() || f.Value.Equal || f.Value.Revision != 2 || f.Value.Hashes["a"] == f.Value.Hashes["b"] {
		t.Errorf("%+v", f)
	}
	// At other revisions nothing is claimed for strangers.
	put(t, ca, "k", "more")
	if f := CompareKV(context.Background(), both, Access{}, time.Second); f.Known() || !strings.Contains(f.Why, "another cluster") {
		t.Errorf("%+v", f)
	}
	if f := CompareKV(context.Background(), nil, Access{}, time.Second); f.Known() {
		t.Errorf("%+v", f)
	}
	if f := CompareKV(context.Background(), endpointsOf([]*live{a}), Access{}, time.Second); !f.Known() || !f.Value.Equal {
		t.Errorf("%+v", f)
	}
}

// One of two members with the same identity has the keys, the other began empty
// and applied as much of a log: equal at revision 1, and yet diverged.
func TestCompareKVSameLogFewerKeys(t *testing.T) {
	t.Parallel()
	peer := "http://" + freeAddr(t)
	twin := func() *live {
		l := liveConfig(t, "twin", "one-token", nil)
		l.cfg.AdvertisePeerUrls[0] = mustURL(t, peer)
		l.cfg.InitialCluster = "twin=" + peer
		l.begin(t)
		l.wait(t)
		return l
	}
	full, empty := twin(), twin()
	if full.Server.Cluster().ID() != empty.Server.Cluster().ID() {
		t.Fatal("not twins")
	}
	cf, ce := full.cli(t, nil), empty.cli(t, nil)
	for i := range 5 {
		put(t, cf, fmt.Sprint(i), "v")
	}
	for range 20 { // entries that change nothing
		if _, err := ce.Delete(bounded(t), "absent"); err != nil {
			t.Fatal(err)
		}
	}
	f := CompareKV(context.Background(), map[string]string{"full": full.client, "empty": empty.client}, Access{}, 2*time.Second)
	if !f.Known() || f.Value.Equal || f.Value.Revision != 6 || !strings.Contains(f.Why, "empty stays at revision 1") {
		t.Errorf("%+v", f)
	}
	// Less log: it may only be slow.
	for range 60 {
		if _, err := cf.Txn(bounded(t)).Then(clientv3.OpPut("x", "y")).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	f = CompareKV(context.Background(), map[string]string{"full": full.client, "empty": empty.client}, Access{}, time.Second)
	if f.Known() || !strings.Contains(f.Why, "empty stays at revision 1 while full is at 66") {
		t.Errorf("%+v", f)
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"rpc error: code = Unavailable desc = a\nb":                                  "a b",
		"x: rpc error: code = Unknown desc = y: rpc error: code = Internal desc = z": "x: y: z",
		"context deadline exceeded":                                                  "no answer in time",
		strings.Repeat("é", 400):                                                     strings.Repeat("é", 150) + "…",
	} {
		if got := oneLine(fmt.Errorf("%s", in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// Where the caller's context has a deadline and no limit is given, that alone holds: a
// hash that takes long is waited for, and not begun a second time beside itself.
func TestCompareKVTakesItsTime(t *testing.T) {
	t.Parallel()
	one := startOne(t, "slow", nil)
	b := newBetween(t, one.client)
	b.set(func(_ context.Context, method string, forward func(func([]byte) ([]byte, error)) error) error {
		if method == "HashKV" {
			time.Sleep(defaultLimit + time.Second)
		}
		return forward(asIs)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if f := CompareKV(ctx, map[string]string{"m1": b.url}, Access{}, 0); !f.Known() || !f.Value.Equal || b.count("HashKV") != 1 {
		t.Errorf("%+v after %d hashes", f, b.count("HashKV"))
	}
}
