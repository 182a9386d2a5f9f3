package scenario

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/requorum/requorum/executor/etcd"
	layout "github.com/requorum/requorum/tests/damage"
	"github.com/requorum/requorum/tests/harness"
)

// samples is how many damaged files go through plan and apply on each of the ways.
const samples = 100

// A snapshot with one byte changed, or cut short, on the way to three members: plan
// and apply both refuse with a code, and nothing of what was there is another, and
// nothing new is there. Every damaged file goes through both.
func TestDamageOfASnapshot(t *testing.T) {
	t.Parallel()
	good := oldCluster(t).snapshot
	codes := refusals{}
	t.Run("lots", func(t *testing.T) {
		for lot := range 4 {
			t.Run(fmt.Sprint(lot), func(t *testing.T) {
				t.Parallel()
				rnd := seeded(t)
				e := harness.New(t)
				c := restoreOf(t, e, 3, good)
				path := filepath.Join(c.Dir, "snapshot.db")
				for i := range samples / 4 {
					bad, what := slices.Clone(good), ""
					if i%3 == 2 {
						bad = bad[:rnd.IntN(len(bad))]
						what = fmt.Sprintf("cut to %d of %d", len(bad), len(good))
					} else {
						at, mask := rnd.IntN(len(bad)), byte(1+rnd.IntN(255))
						bad[at] ^= mask
						what = fmt.Sprintf("byte %d ^ %#x", at, mask)
					}
					write(t, path, bad)
					codes.refused(t, e, c.Path(), what)
				}
			})
		}
	})
	codes.show(t, samples)
}

// The one disk that is left, damaged in its db's structure or in its log: no plan
// recovers from it, and apply changes nothing: the member is not fenced either.
func TestDamageOfASurvivor(t *testing.T) {
	t.Parallel()
	codes := refusals{}
	t.Run("lots", func(t *testing.T) {
		for lot := range 4 {
			t.Run(fmt.Sprint(lot), func(t *testing.T) {
				t.Parallel()
				rnd := seeded(t)
				e := harness.New(t)
				c := e.Cluster(3).Write()
				hs := e.ByHand(c.Members)
				lead(t, hs, 0)
				harness.Fill(t, hs.Endpoints(), keysPerTest)
				hs.Term() // the db has applied all of the log: an end that is lost is seen
				c.DropData(c.Members[1:]...)
				if p := e.Plan(c.Path()); p.Route != "recover" {
					t.Fatalf("route %s, refusal %+v", p.Route, p.Refusal)
				}
				dir := c.Members[0].DataDir
				whole := etcd.ReadDataDir(dir, "")
				for n := 0; n < samples/4; {
					undo, what := damageSurvivor(t, rnd, dir, n%2 == 0)
					if now := etcd.ReadDataDir(dir, ""); n%2 == 1 && cmp.Equal(now, whole) {
						t.Logf("harmless: %s: nothing that is read is another", what) // what fills up a record of the log
					} else {
						codes.refused(t, e, c.Path(), what)
						n++
					}
					undo()
				}
				if p := e.Plan(c.Path()); p.Route != "recover" {
					t.Fatalf("whole again: route %s, refusal %+v", p.Route, p.Refusal)
				}
			})
		}
	})
	codes.show(t, samples)
}

func seeded(t *testing.T) *rand.Rand {
	a, b := rand.Uint64(), rand.Uint64()
	t.Logf("seed: rand.NewPCG(%d, %d)", a, b)
	return rand.New(rand.NewPCG(a, b))
}

// damageSurvivor changes one byte of the db's structure, or of the log's records or
// cuts them.
func damageSurvivor(t *testing.T, rnd *rand.Rand, dir string, ofDB bool) (undo func(), what string) {
	t.Helper()
	path := filepath.Join(dir, "member", "snap", "db")
	if !ofDB {
		names, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		path = names[len(names)-1]
	}
	good := read(t, path)
	undo = func() { write(t, path, good) }
	if ofDB {
		places, err := layout.Places(good)
		if err != nil {
			t.Fatal(err)
		}
		c := layout.Random(rnd, places, layout.Structure)
		write(t, path, flip(good, c.At, c.Mask))
		return undo, fmt.Sprintf("db: %s, byte %d ^ %#x", c.What, c.At, c.Mask)
	}
	end := len(strings.TrimRight(string(good), "\x00"))
	good = good[:min(len(good), end+4096)] // 64 MB of zeros need not be hashed each time
	at := rnd.IntN(end - 64)               // the last record's own bytes are what a crash tears
	if rnd.IntN(3) == 0 {
		write(t, path, good[:at])
		return undo, fmt.Sprintf("log cut to %d of %d", at, end)
	}
	mask := byte(1 + rnd.IntN(255))
	write(t, path, flip(good, at, mask))
	return undo, fmt.Sprintf("log: byte %d of %d ^ %#x", at, end, mask)
}

// refusals counts codes.
type refusals map[string]int

var refusalsLock sync.Mutex

// refused runs plan and apply with all consents that there are: each ends with exit
// 6 and a code, and everything in the test's folder is as it was.
func (n refusals) refused(t *testing.T, e *harness.Env, path, what string) {
	t.Helper()
	before := harness.Tree(t, e.Dir)
	p := e.Plan(path)
	if p.Code() == "" {
		t.Errorf("%s: not refused: route %s: %s", what, p.Route, p.Headline)
		return
	}
	e.Run("apply", "--auto-approve", "--accept=data-loss,stale-watchers,tail-keep", path).Want(t, 6).Says(t, p.Code()+":")
	harness.Unchanged(t, before, harness.Tree(t, e.Dir))
	refusalsLock.Lock()
	defer refusalsLock.Unlock()
	n[p.Code()]++
}

func (n refusals) show(t *testing.T, want int) {
	t.Helper()
	sum := 0
	for _, i := range n {
		sum += i
	}
	t.Logf("%d of %d refused: %v", sum, want, n)
	if sum != want {
		t.Errorf("%d were not", want-sum)
	}
}
