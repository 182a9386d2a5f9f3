package scenario

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 2: a snapshot that is not what etcd wrote is refused by plan and by
// apply, and nothing is created, no directory either.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	good := oldCluster(t).snapshot
	for _, d := range damages(t, good) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(3)
			c.Snapshot, c.SnapshotMore = "snapshot.db", d.more
			if d.make != nil {
				d.make(t, filepath.Join(c.Dir, "snapshot.db"))
			}
			refused(t, e, c.Write().Path(), d.codes...)
			if left := onlyFiles(t, c.Dir); left != "requorum.hcl" && left != "requorum.hcl snapshot.db" {
				t.Errorf("in the folder are now: %s", left)
			}
		})
	}
}

type damage struct {
	name  string
	make  func(*testing.T, string)
	more  string // further lines of the snapshot block
	codes []string
}

func damages(t *testing.T, good []byte) []damage {
	bytesOf := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { write(t, path, b) }
	}
	cut := func(n int) func(*testing.T, string) { return bytesOf(good[:n]) }
	damaged, notEtcd := "snapshot-damaged", "snapshot-not-etcd"
	out := []damage{
		{"hash missing", cut(len(good) - 32), "", []string{"snapshot-no-hash"}},
		{"empty file", bytesOf(nil), "", []string{notEtcd, damaged}},
		{"text file", bytesOf([]byte(strings.Repeat("not a database\n", 400))), "", []string{notEtcd, damaged, "snapshot-no-hash"}},
		{"text that looks hashed", bytesOf([]byte(strings.Repeat("x", 512*40+32))), "", []string{notEtcd, damaged}},
		{"zeros that look hashed", bytesOf(make([]byte, 512*40+32)), "", []string{notEtcd, damaged}},
		{"no file", nil, "", []string{"snapshot-missing"}},
		{"an empty directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "", []string{"snapshot-missing"}},
		{"another program's database", bytesOf(otherDatabase(t)), "", []string{notEtcd}},
		{"not the sha256 of the file", bytesOf(good), "    sha256 = \"" + strings.Repeat("ab", 32) + "\"\n", []string{"snapshot-wrong-sha256"}},
		{"cut to half", cut(len(good) / 2), "", []string{damaged, "snapshot-no-hash"}},
		{"cut by a byte", cut(len(good) - 1), "", []string{damaged, "snapshot-no-hash"}},
		{"cut short without the hash check", cut(len(good) / 2 / 4096 * 4096), "    skip_hash_check = true\n", []string{damaged}},
		{"a byte more", bytesOf(append(slices.Clone(good), 0)), "", []string{damaged, "snapshot-no-hash"}},
	}
	for _, pages := range []int{1, 2, len(good) / 3 / 512, len(good) / 2 / 512, len(good)/512 - 1} {
		out = append(out, damage{fmt.Sprintf("cut to %d·512+32", pages), cut(pages*512 + 32), "", []string{damaged, notEtcd}})
	}
	for name, at := range map[string]int{
		"first page": 20, "second page": 4096 + 30, "middle": len(good) / 2, "last page": len(good) - 40, "the hash": len(good) - 5,
	} {
		out = append(out, damage{"a byte changed in " + name, bytesOf(flip(good, at, 1)), "", []string{damaged, notEtcd}})
	}
	return out
}

func flip(b []byte, at int, mask byte) []byte {
	b = bytes.Clone(b)
	b[at] ^= mask
	return b
}

// otherDatabase is a sound bbolt file with a right hash that etcd did not write.
func otherDatabase(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("settings"))
			if err == nil {
				err = b.Put([]byte("key"), []byte("value"))
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer // as etcd writes a snapshot: what is in use, no more
	if err := db.View(func(tx *bolt.Tx) error { _, err := tx.WriteTo(&out); return err }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b := out.Bytes()
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// onlyFiles are the names in dir.
func onlyFiles(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// Wherever a byte changes, plan refuses; a handful of them go through apply too.
func TestRandomByteChanged(t *testing.T) {
	t.Parallel()
	good := oldCluster(t).snapshot
	const lots, each = 4, 55
	for lot := range lots {
		t.Run(fmt.Sprint(lot), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 3, good)
			before := harness.Tree(t, e.Dir)
			path := filepath.Join(c.Dir, "snapshot.db")
			for i := range each {
				at, mask := rand.IntN(len(good)), byte(1)<<rand.IntN(8)
				write(t, path, flip(good, at, mask))
				if p := e.Plan(c.Path()); p.Code() != "snapshot-damaged" && p.Code() != "snapshot-not-etcd" {
					t.Errorf("byte %d changed by %#x: refusal %q, route %s", at, mask, p.Code(), p.Route)
				}
				if i%20 == 0 {
					e.Run("apply", "--auto-approve", "--accept=data-loss", c.Path()).Want(t, 6)
				}
			}
			write(t, path, good)
			harness.Unchanged(t, before, harness.Tree(t, e.Dir))
		})
	}
}

// The file that a plan showed must be the one that apply restores: one that was
// exchanged while the operator was asked is not taken.
func TestSnapshotExchangedAtThePrompt(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, src.snapshot)
	before := harness.Tree(t, e.Dir, "snapshot.db")
	term := e.Terminal("apply", c.Path())
	term.Await("Only 'yes' will be accepted")
	write(t, filepath.Join(c.Dir, "snapshot.db"), flip(src.snapshot, len(src.snapshot)/2, 1))
	term.Type("yes\n")
	if r := term.End(); r.Exit != 4 && r.Exit != 6 {
		t.Errorf("exit %d, want 4 or 6\n%s", r.Exit, r)
	}
	harness.Unchanged(t, before, harness.Tree(t, e.Dir, "snapshot.db"))
}
