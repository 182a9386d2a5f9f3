package survivor

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/requorum/requorum/tests/damage"
)

// A survivor's db, damaged in 300 places of its structure: found before anything is
// copied, without a panic or a hang, and nothing is changed by looking.
func TestProveDamage(t *testing.T) {
	t.Parallel()
	n, _ := one(t)
	path := filepath.Join(n.dir, "member", "snap", "db")
	prove := func() error {
		hangs := time.AfterFunc(time.Minute, func() { panic("it hangs") })
		defer hangs.Stop()
		return Prove(context.Background(), n.dir, "", nil)
	}
	before := tree(t, n.dir)
	if err := prove(); err != nil || tree(t, n.dir) != before {
		t.Fatalf("the whole one: %v", err)
	}
	a, b := rand.Uint64(), rand.Uint64()
	t.Logf("seed: rand.NewPCG(%d, %d)", a, b)
	rnd, db := rand.New(rand.NewPCG(a, b)), must(os.ReadFile(path))(t)
	places := must(damage.Places(db))(t)
	f := must(os.OpenFile(path, os.O_RDWR, 0))(t)
	defer f.Close()
	for range 300 {
		c := damage.Random(rnd, places, damage.Structure)
		must(f.WriteAt([]byte{db[c.At] ^ c.Mask}, int64(c.At)))(t)
		if prove() == nil {
			t.Errorf("%s: byte %d ^ %#x: not found", c.What, c.At, c.Mask)
		}
		must(f.WriteAt(db[c.At:c.At+1], int64(c.At)))(t)
	}
}

// A consistent_index that is not that of the records: too low, and what the db has
// would be applied twice; too high, and entries would be left out.
func TestProveConsistentIndex(t *testing.T) {
	t.Parallel()
	nodes, cluster := members(t, 1)
	n := nodes[0]
	for range 2 { // every key once: no older value gives it away
		c := dial(t, n, "")
		for i := range 40 {
			put(t, c, fmt.Sprintf("%d/%d", n.cmd.Process.Pid, i), fmt.Sprint(i))
		}
		n.stop()
		n.start(t, cluster, allInTail...)
	}
	c := dial(t, n, "")
	for i := range 30 {
		put(t, c, fmt.Sprintf("tail/%d", i), fmt.Sprint(i))
	}
	n.kill()
	path := filepath.Join(n.dir, "member", "snap", "db")
	was := must(readDBState(path))(t).consistentIndex
	set := func(index uint64) {
		db := must(bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true}))(t)
		defer db.Close()
		must(0, db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("consistent_index"), binary.BigEndian.AppendUint64(nil, index))
		}))(t)
	}
	for _, by := range []int{-60, -20, -9, +9, +20} {
		set(uint64(int(was) + by))
		if err := Prove(context.Background(), n.dir, "", nil); err == nil {
			t.Errorf("%d by %d: not found", was, by)
		} else {
			t.Log(err)
		}
	}
	set(was)
	if err := Prove(context.Background(), n.dir, "", nil); err != nil {
		t.Error(err)
	}
}

// Directories that real servers of older minors left are whole.
func TestProveOlder(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.5", "3.6"} {
		dir := t.TempDir()
		tar := exec.Command("tar", "-xzf", filepath.Join("..", "etcd", "testdata", "datadir-"+version+".tar.gz"), "-C", dir)
		if out, err := tar.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := Prove(context.Background(), dir, "", nil); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}
