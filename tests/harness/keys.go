package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Keys is what a key space holds.
type Keys map[string]string

// leased is the prefix of keys that have a lease.
const leased = "/lease/"

const batch = 100 // operations in a transaction; etcd takes 128

// FillKeys writes a key space with at least n live keys and a history: values
// that were overwritten, keys that were deleted, some of them written again,
// binary keys and values, empty values, leases, and a compaction.
func FillKeys(ctx context.Context, endpoint string, n int) (Keys, error) {
	cli, err := Dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer cli.Close()
	f := &filler{ctx: ctx, cli: cli, keys: Keys{}}
	for round, part := range []int{n, n / 4, n / 10} {
		f.puts(round, part)
		f.deletes(round, n)
	}
	f.puts(3, n/20)
	f.single(n / 10)
	f.leases()
	f.compact()
	return f.keys, f.err
}

type filler struct {
	ctx  context.Context
	cli  *clientv3.Client
	keys Keys
	rev  int64
	err  error
}

func (f *filler) txn(ops []clientv3.Op) {
	if f.err != nil || len(ops) == 0 {
		return
	}
	r, err := f.cli.Txn(f.ctx).Then(ops...).Commit()
	if err != nil {
		f.err = err
		return
	}
	f.rev = r.Header.Revision
}

func (f *filler) puts(round, n int) {
	for from := 0; from < n; from += batch {
		var ops []clientv3.Op
		for i := from; i < min(from+batch, n); i++ {
			k, v := keyName(i), randomValue(i, round)
			f.keys[k] = v
			ops = append(ops, clientv3.OpPut(k, v))
		}
		f.txn(ops)
	}
}

// single overwrites keys one by one: a revision each.
func (f *filler) single(n int) {
	for i := 0; i < n && f.err == nil; i++ {
		k, v := keyName(3*i), randomValue(i, 4)
		f.keys[k] = v
		_, f.err = f.cli.Put(f.ctx, k, v)
	}
}

// deletes takes keys above n away again, and some that live on in later rounds.
func (f *filler) deletes(round, n int) {
	var puts, dels []clientv3.Op
	for i := range batch / 2 {
		k := fmt.Sprintf("/gone/%d/%d", round, i)
		puts, dels = append(puts, clientv3.OpPut(k, "x")), append(dels, clientv3.OpDelete(k))
	}
	for i := 0; i < n/20; i += 7 {
		delete(f.keys, keyName(i))
		dels = append(dels, clientv3.OpDelete(keyName(i)))
	}
	f.txn(puts)
	f.txn(dels[:min(len(dels), 120)])
}

func (f *filler) leases() {
	for i := 0; i < 4 && f.err == nil; i++ {
		l, err := f.cli.Grant(f.ctx, 3600)
		if err != nil {
			f.err = err
			return
		}
		var ops []clientv3.Op
		for j := range 10 {
			k, v := fmt.Sprintf("%s%d/%d", leased, i, j), randomValue(j, i)
			f.keys[k] = v
			ops = append(ops, clientv3.OpPut(k, v, clientv3.WithLease(l.ID)))
		}
		f.txn(ops)
	}
}

func (f *filler) compact() {
	if f.err == nil {
		_, f.err = f.cli.Compact(f.ctx, f.rev/2, clientv3.WithCompactPhysical())
	}
}

func keyName(i int) string {
	if i%9 == 4 {
		return fmt.Sprintf("\x00\xff/bin\n/%05d\xfe", i)
	}
	return fmt.Sprintf("/registry/things/%05d", i)
}

func randomValue(i, round int) string {
	switch i % 5 {
	case 0:
		return fmt.Sprintf("value %d of round %d", i, round)
	case 1:
		return ""
	}
	b := make([]byte, 1+rand.IntN(400))
	for j := range b {
		b[j] = byte(rand.IntN(256))
	}
	return string(b)
}

// Fill is FillKeys through the first of the endpoints.
func Fill(t testing.TB, endpoints []string, n int) Keys {
	t.Helper()
	keys, err := FillKeys(Context(t), endpoints[0], n)
	if err != nil {
		t.Fatalf("fill: %v", err)
	}
	if len(keys) < n {
		t.Fatalf("filled %d keys, want at least %d", len(keys), n)
	}
	return keys
}

// ReadAll reads every key of the member at endpoint from its own store.
func ReadAll(ctx context.Context, endpoint string) (Keys, error) {
	cli, err := Dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer cli.Close()
	// A linearizable read first: the member then has applied all that was
	// acknowledged.
	if _, err := cli.Get(ctx, "x"); err != nil {
		return nil, err
	}
	r, err := cli.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithSerializable())
	if err != nil {
		return nil, err
	}
	keys := Keys{}
	for _, kv := range r.Kvs {
		keys[string(kv.Key)] = string(kv.Value)
		if strings.HasPrefix(string(kv.Key), leased) && kv.Lease == 0 {
			return nil, fmt.Errorf("%q lost its lease", kv.Key)
		}
	}
	return keys, nil
}

// CompareKeys reads every key from every endpoint's own store and compares it
// with want, and then HashKV of all.
func CompareKeys(ctx context.Context, endpoints []string, want Keys) error {
	var errs []error
	for _, ep := range endpoints {
		got, err := ReadAll(ctx, ep)
		if err == nil {
			err = want.compare(got)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ep, err))
		}
	}
	return errors.Join(append(errs, SameHash(ctx, endpoints))...)
}

// lockKey is requorum's own (executor/etcd.LockKey): after a kill it stays until its
// lease ends.
const lockKey = "\x00requorum/lock"

func (want Keys) compare(got Keys) error {
	var missing, wrong, extra []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		switch v, ok := got[k]; {
		case !ok:
			missing = append(missing, k)
		case v != want[k]:
			wrong = append(wrong, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok && k != lockKey {
			extra = append(extra, k)
		}
	}
	if len(missing)+len(wrong)+len(extra) == 0 {
		return nil
	}
	return fmt.Errorf("of %d keys %d are missing %.80q, %d are wrong %.80q, %d should not be there %.80q",
		len(want), len(missing), missing, len(wrong), wrong, len(extra), extra)
}

// SameHash compares HashKV of the endpoints at one revision that all have.
func SameHash(ctx context.Context, endpoints []string) error {
	cli, err := Dial(endpoints...)
	if err != nil {
		return err
	}
	defer cli.Close()
	rev := int64(0)
	for _, ep := range endpoints {
		st, err := cli.Status(ctx, ep)
		if err != nil {
			return fmt.Errorf("%s: %w", ep, err)
		}
		if rev == 0 || st.Header.Revision < rev {
			rev = st.Header.Revision
		}
	}
	hashes := map[uint32]string{}
	for _, ep := range endpoints {
		h, err := cli.HashKV(ctx, ep, rev)
		if errors.Is(err, rpctypes.ErrCompacted) { // 3.4's word for a revision that is the compacted one; 0 is the latest
			if h, err = cli.HashKV(ctx, ep, 0); err == nil && h.Header.Revision != rev {
				err = fmt.Errorf("it went on to %d", h.Header.Revision)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: HashKV at %d: %w", ep, rev, err)
		}
		hashes[h.Hash] = ep
	}
	if len(hashes) != 1 {
		return fmt.Errorf("HashKV at revision %d differs: %v", rev, hashes)
	}
	return nil
}

// CompareAll is CompareKeys for tests.
func CompareAll(t testing.TB, want Keys, endpoints []string) {
	t.Helper()
	if len(want) < 1000 {
		t.Errorf("only %d keys to compare", len(want))
	}
	if err := CompareKeys(Context(t), endpoints, want); err != nil {
		t.Fatal(err)
	}
}
