package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/tests/damage"
)

// random is a source whose seed is printed, so that a failure can be had again.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	a, b := rand.Uint64(), rand.Uint64()
	t.Logf("seed: rand.NewPCG(%d, %d)", a, b)
	return rand.New(rand.NewPCG(a, b))
}

// bounded runs look, which must neither panic nor hang.
func bounded(t testing.TB, limit time.Duration, look func()) {
	t.Helper()
	hangs := time.AfterFunc(limit, func() { panic("verification hangs") })
	defer hangs.Stop()
	look()
}

// records are all records of a db, one string for each.
func records(t testing.TB, db []byte) map[string]bool {
	t.Helper()
	f := must(boltfile.Open(bytes.NewReader(db), int64(len(db))))(t)
	set := map[string]bool{}
	must(0, f.Walk(ctx, nil, func(bucket string, k, v []byte) error {
		set[fmt.Sprintf("%s %x %x", bucket, k, v)] = true
		return nil
	}))(t)
	return set
}

// unlike counts the records of a that b has not.
func unlike(a, b map[string]bool) (n int) {
	for k := range a {
		if !b[k] {
			n++
		}
	}
	return n
}

// rich is a stopped server's db with all that etcd keeps: history, a compaction,
// leases, alarms, users and roles. With freelist it has bbolt's list of free pages,
// which etcd's own have only where another tool wrote them.
func rich(t testing.TB, freelist bool) []byte {
	t.Helper()
	s := makeSource(t, 250, false)
	u := freeURL(t)
	e := start(t, config(s.dir, "src", u, freeURL(t)))
	ready(t, e)
	c := client(t, u.String())
	d := must(c.Get(ctx, "any"))(t)
	must(c.Compact(ctx, d.Header.Revision/2, clientv3.WithCompactPhysical()))(t)
	for i := range 20 {
		must(c.Put(ctx, fmt.Sprintf("/large/%d", i), strings.Repeat("large ", i*i*7)))(t)
	}
	must(c.Delete(ctx, "/large/3"))(t)
	must(c.RoleAdd(ctx, "reader"))(t)
	must(c.RoleGrantPermission(ctx, "reader", "/k/", "/k0", clientv3.PermissionType(clientv3.PermRead)))(t)
	must(c.UserAdd(ctx, "root", "secret"))(t)
	must(c.UserGrantRole(ctx, "root", "root"))(t)
	e.Close()
	path := filepath.Join(s.dir, "member", "snap", "db")
	if freelist {
		db := must(bolt.Open(path, 0o600, nil))(t)
		for range 2 { // both meta pages know it
			must(0, db.Update(func(tx *bolt.Tx) error {
				meta := tx.Bucket([]byte("meta"))
				return meta.Put([]byte("consistent_index"), bytes.Clone(meta.Get([]byte("consistent_index"))))
			}))(t)
		}
		must(0, db.Close())(t)
	}
	return must(os.ReadFile(path))(t)
}

// In a db without a hash, one byte changed: structure is found wherever it is, and
// what somebody stored can't be: then nothing else is another. 2,000 places, all
// kinds of them as often as each other.
func TestVerifyDamagedStructure(t *testing.T) {
	t.Parallel()
	for _, freelist := range []bool{false, true} {
		t.Run(fmt.Sprintf("freelist=%v", freelist), func(t *testing.T) {
			t.Parallel()
			rnd, db := random(t), rich(t, freelist)
			places := must(damage.Places(db))(t)
			whole, path := records(t, db), write(t, db)
			if obs := Verify(ctx, path, Want{SkipHashCheck: true}, nil); obs.Problem != "" {
				t.Fatal(obs.Detail)
			}
			f := must(os.OpenFile(path, os.O_RDWR, 0))(t)
			defer f.Close()
			rounds := map[damage.Class]int{damage.Structure: 700, damage.Content: 200, damage.Unused: 100}
			tally := map[string][2]int{} // found, not found
			for class, n := range rounds {
				for range n {
					c := damage.Random(rnd, places, class)
					changed := slices.Clone(db)
					changed[c.At] ^= c.Mask
					must(f.WriteAt(changed[c.At:c.At+1], int64(c.At)))(t)
					var found bool
					bounded(t, time.Minute, func() { found = Verify(ctx, path, Want{SkipHashCheck: true}, nil).Problem != "" })
					must(f.WriteAt(db[c.At:c.At+1], int64(c.At)))(t)
					key := string(class) + ": " + c.What
					was := tally[key]
					if found {
						was[0]++
					} else {
						was[1]++
						judgeMissed(t, c, whole, changed)
					}
					tally[key] = was
				}
			}
			for _, k := range slices.Sorted(maps.Keys(tally)) {
				t.Logf("%-45s found %4d, not found %4d", k, tally[k][0], tally[k][1])
			}
		})
	}
}

// judgeMissed holds what was accepted to what it may be.
func judgeMissed(t testing.TB, c damage.Change, whole map[string]bool, changed []byte) {
	t.Helper()
	if c.Class == damage.Structure {
		t.Errorf("byte %d ^ %#x (%s at %d, %d bytes): accepted", c.At, c.Mask, c.What, c.Off, c.Len)
		return
	}
	now, most := records(t, changed), 1
	if c.Class == damage.Unused || c.What == "branch key" {
		most = 0
	}
	if lost, added := unlike(whole, now), unlike(now, whole); lost > most || added != lost {
		t.Errorf("byte %d ^ %#x (%s): %d records gone, %d new", c.At, c.Mask, c.What, lost, added)
	}
}

// Every byte of a snapshot as etcd saves it, and every length that it can be cut
// to; without make damage every 11th, from a random one on.
func TestVerifyEveryByteAndLength(t *testing.T) {
	t.Parallel()
	raw := must(os.ReadFile(makeSource(t, 40, false).snapshot))(t)
	a, b := rand.Uint64(), rand.Uint64()
	t.Logf("%d bytes, seed: rand.NewPCG(%d, %d + worker)", len(raw), a, b)
	const workers = 4
	from := rand.IntN(stride())
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(a, b+uint64(w)))
			path := filepath.Join(t.TempDir(), "snap.db")
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Error(err)
				return
			}
			for at := from + w*stride(); at < len(raw) && !t.Failed(); at += workers * stride() {
				flipOne(t, path, raw, at, byte(1+rnd.IntN(255)))
			}
			for n := len(raw) - 1 - from - w*stride(); n >= 0 && !t.Failed(); n -= workers * stride() {
				cutTo(t, path, len(raw), n)
			}
		})
	}
	all.Wait()
}

func flipOne(t *testing.T, path string, raw []byte, at int, mask byte) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{raw[at] ^ mask}, int64(at))
	bounded(t, time.Minute, func() {
		if obs := Verify(context.Background(), path, Want{SkipHashCheck: at%2 == 0}, nil); obs.Problem == "" {
			t.Errorf("byte %d ^ %#x: accepted", at, mask)
		}
	})
	if _, err2 := f.WriteAt(raw[at:at+1], int64(at)); err != nil || err2 != nil {
		t.Error(err, err2)
	}
}

// cutTo goes from long to short: what was cut off stays off.
func cutTo(t *testing.T, path string, whole, n int) {
	if err := os.Truncate(path, int64(n)); err != nil {
		t.Error(err)
		return
	}
	bounded(t, time.Minute, func() {
		for _, skip := range []bool{false, true} {
			obs := Verify(context.Background(), path, Want{SkipHashCheck: skip}, nil)
			// Without its hash it is a copied db, whole.
			if ok := n == whole-sha256.Size && skip; (obs.Problem == "") != ok {
				t.Errorf("cut to %d of %d bytes (skip %v): %q %s", n, whole, skip, obs.Problem, obs.Detail)
			}
		}
	})
}

// 2,000 random bytes of a large snapshot, 64 MB at least, are found by its hash.
// The whole file is read each time: without make damage there are 20.
func TestVerifyLargeRandomBytes(t *testing.T) {
	rounds := 20
	if full() {
		rounds = 2000
	}
	rnd, path := random(t), large(t)
	size := must(os.Stat(path))(t).Size()
	var places []int64
	for range rounds {
		places = append(places, rnd.Int64N(size))
	}
	began := time.Now()
	if obs := Verify(ctx, path, Want{}, nil); obs.Problem != "" || obs.Size < 64<<20 {
		t.Fatal(obs.Size, obs.Detail)
	}
	one := time.Since(began)
	f := must(os.OpenFile(path, os.O_RDWR, 0))(t)
	defer f.Close()
	for _, at := range places {
		var was [1]byte
		must(f.ReadAt(was[:], at))(t)
		mask := byte(1 + rnd.IntN(255))
		must(f.WriteAt([]byte{was[0] ^ mask}, at))(t)
		bounded(t, time.Minute, func() {
			if obs := Verify(ctx, path, Want{SkipHashCheck: at%2 == 0}, nil); obs.Problem == "" {
				t.Errorf("byte %d ^ %#x: accepted", at, mask)
			}
		})
		must(f.WriteAt(was[:], at))(t)
	}
	t.Logf("%d places of %d MiB in %v (sound: %v)", rounds, size>>20, time.Since(began).Round(time.Millisecond), one.Round(time.Millisecond))
}

// large is a snapshot of a real server with more than 64 MB in it.
func large(t testing.TB) string {
	t.Helper()
	u := freeURL(t)
	cfg := config(filepath.Join(t.TempDir(), "large"), "large", u, freeURL(t))
	e := start(t, cfg)
	ready(t, e)
	c := client(t, u.String())
	value := make([]byte, 8<<10)
	for i := 0; i < 9000; i += 100 {
		var ops []clientv3.Op
		for j := range 100 {
			for k := 0; k < len(value); k += 8 {
				copy(value[k:], fmt.Sprintf("%08x", rand.Uint32()))
			}
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/large/%06d", i+j), string(value)))
		}
		must(c.Txn(ctx).Then(ops...).Commit())(t)
	}
	path := filepath.Join(t.TempDir(), "large.db")
	r := must(c.Snapshot(ctx))(t)
	defer r.Close()
	f := must(os.Create(path))(t)
	defer f.Close()
	must(f.ReadFrom(r))(t)
	e.Close()
	return path
}
