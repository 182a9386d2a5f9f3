package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/requorum/requorum/planner"
)

var ctx = context.Background()

func write(t testing.TB, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "snap.db")
	if err := os.WriteFile(p, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// full is whether every byte is to be tried, as make damage does; the ordinary run
// takes a part of them.
func full() bool { return os.Getenv("REQUORUM_DAMAGE") == "full" }

// stride is 1 for every byte.
func stride() int {
	if full() {
		return 1
	}
	return 11
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestVerifyRealSnapshot(t *testing.T) {
	s := makeSource(t, 300, false)
	before := tree(t, filepath.Dir(s.snapshot))
	obs := Verify(ctx, s.snapshot, Want{}, nil)
	if obs.Problem != "" {
		t.Fatal(obs.Problem, obs.Detail)
	}
	raw := must(os.ReadFile(s.snapshot))(t)
	body := raw[:len(raw)-32]
	if !obs.HasHash || obs.SHA256 != sum(body) || obs.Size != int64(len(body)) {
		t.Errorf("hash %v %s, size %d", obs.HasHash, obs.SHA256, obs.Size)
	}
	if obs.Keys != len(s.kv) || obs.Revision != s.revision || obs.Leases != 1 || obs.Members != 1 || obs.Version != "3.7.0" {
		t.Errorf("%+v, want %d keys at revision %d", obs, len(s.kv), s.revision)
	}
	if tree(t, filepath.Dir(s.snapshot)) != before {
		t.Error("verifying changed something")
	}
	for _, want := range []string{sum(raw), sum(body), strings.ToUpper(sum(body))} {
		if obs := Verify(ctx, s.snapshot, Want{SHA256: want}, nil); obs.Problem != "" {
			t.Errorf("expected %s: %s", want, obs.Detail)
		}
	}
	if obs := Verify(ctx, s.snapshot, Want{SHA256: sum(nil)}, nil); obs.Problem != planner.CodeSnapshotWrongSHA {
		t.Errorf("another sha256: %s %s", obs.Problem, obs.Detail)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if obs := Verify(cancelled, s.snapshot, Want{}, nil); obs.Problem != planner.CodeSnapshotUnreadable {
		t.Errorf("cancelled: %s %s", obs.Problem, obs.Detail)
	}
}

func TestVerifyCopiedDB(t *testing.T) {
	s := makeSource(t, 200, false)
	db := filepath.Join(s.dir, "member", "snap", "db")
	before := tree(t, s.dir)
	if obs := Verify(ctx, db, Want{}, nil); obs.Problem != planner.CodeSnapshotNoHash {
		t.Errorf("%s %s", obs.Problem, obs.Detail)
	}
	obs := Verify(ctx, db, Want{SkipHashCheck: true}, nil)
	if obs.Problem != "" || obs.HasHash || obs.Keys != len(s.kv) || obs.Revision != s.revision {
		t.Errorf("%+v", obs)
	}
	if tree(t, s.dir) != before {
		t.Error("verifying changed something")
	}
}

func TestVerifyHeldDB(t *testing.T) {
	dir := t.TempDir()
	e := start(t, config(dir, "m", freeURL(t), freeURL(t)))
	ready(t, e)
	obs := Verify(ctx, filepath.Join(dir, "member", "snap", "db"), Want{SkipHashCheck: true}, nil)
	if obs.Problem != planner.CodeDataHeld {
		t.Errorf("%s %s", obs.Problem, obs.Detail)
	}
}

// A compaction that reached further than the last record counts.
func TestVerifyCompactedAway(t *testing.T) {
	s := makeSource(t, 20, true)
	obs := Verify(ctx, s.snapshot, Want{}, nil)
	if obs.Problem != "" || obs.Revision != s.revision || obs.Keys != len(s.kv) {
		t.Errorf("%+v, want revision %d, %d keys", obs, s.revision, len(s.kv))
	}
}

func TestVerifyWhatIsNoSnapshot(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	db := must(bolt.Open(other, 0o600, nil))(t)
	must(0, db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("cats")); return err }))(t)
	db.Close()
	fifo := filepath.Join(dir, "fifo")
	must(0, syscall.Mkfifo(fifo, 0o600))(t)
	for name, c := range map[string]struct {
		path string
		code planner.Code
	}{
		"missing":     {filepath.Join(dir, "none"), planner.CodeSnapshotMissing},
		"directory":   {dir, planner.CodeSnapshotNotEtcd},
		"pipe":        {fifo, planner.CodeSnapshotNotEtcd},
		"empty":       {write(t, nil), planner.CodeSnapshotDamaged},
		"text":        {write(t, []byte("Dear colleague, here is the backup.\n")), planner.CodeSnapshotNotEtcd},
		"hashed text": {write(t, make([]byte, 544)), planner.CodeSnapshotNotEtcd},
		"zeroes":      {write(t, make([]byte, 1<<20)), planner.CodeSnapshotNotEtcd},
		"other bbolt": {other, planner.CodeSnapshotNotEtcd},
	} {
		for _, skip := range []bool{false, true} {
			obs := Verify(ctx, c.path, Want{SkipHashCheck: skip}, nil)
			if name == "other bbolt" && !skip {
				c.code = planner.CodeSnapshotNoHash
			} else if name == "other bbolt" {
				c.code = planner.CodeSnapshotNotEtcd
			}
			if obs.Problem != c.code || obs.Detail == "" {
				t.Errorf("%s (skip %v): %q %s, want %q", name, skip, obs.Problem, obs.Detail, c.code)
			}
		}
	}
}

func TestVerifyCutShort(t *testing.T) {
	s := makeSource(t, 40, false)
	raw := must(os.ReadFile(s.snapshot))(t)
	var lengths []int
	for n := 512 + 32; n < len(raw); n += 512 {
		lengths = append(lengths, n, n-32, n-1, n+1) // looks hashed; whole sectors; others
	}
	for i := range 600 {
		lengths = append(lengths, len(raw)-1-i)
	}
	for _, n := range lengths {
		if n <= 0 || n >= len(raw) {
			continue
		}
		p := write(t, raw[:n])
		for _, skip := range []bool{false, true} {
			obs := Verify(ctx, p, Want{SkipHashCheck: skip}, nil)
			switch {
			case n == len(raw)-32 && skip: // the whole db, without its hash
				if obs.Problem != "" {
					t.Errorf("%d bytes: %s", n, obs.Detail)
				}
			case n == len(raw)-32:
				if obs.Problem != planner.CodeSnapshotNoHash {
					t.Errorf("%d bytes: %q %s", n, obs.Problem, obs.Detail)
				}
			case n < 96:
				if obs.Problem == "" {
					t.Errorf("%d bytes: accepted", n)
				}
			case obs.Problem != planner.CodeSnapshotDamaged:
				t.Errorf("%d of %d bytes (skip %v): %q %s", n, len(raw), skip, obs.Problem, obs.Detail)
			}
		}
		os.Remove(p)
	}
}

// Without a hash every flipped byte is found or leaves every record in place;
// nothing panics, and what is accepted satisfies bbolt's own check.
func TestVerifyWithoutHashEveryFlippedByte(t *testing.T) {
	s := makeSource(t, 40, false)
	raw := must(os.ReadFile(s.snapshot))(t)
	raw = raw[:len(raw)-32]
	p := write(t, raw)
	_, whole, err := prove(ctx, p, Want{SkipHashCheck: true}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := must(os.OpenFile(p, os.O_RDWR, 0))(t)
	defer f.Close()
	var accepted, checked int
	for i := 0; i < len(raw); i += stride() {
		must(f.WriteAt([]byte{raw[i] ^ byte(1<<(i%8))}, int64(i)))(t)
		obs, c, err := prove(ctx, p, Want{SkipHashCheck: true}, nil, nil)
		if err == nil {
			accepted++
			if c.records != whole.records {
				t.Fatalf("byte %d: %d records, want %d", i, c.records, whole.records)
			}
			if accepted%97 == 0 {
				checked++
				boltCheck(t, p, i)
			}
		}
		_ = obs
		must(f.WriteAt(raw[i:i+1], int64(i)))(t)
	}
	t.Logf("%d bytes, %d accepted (values and unused space), %d of these checked with bbolt", len(raw), accepted, checked)
}

func boltCheck(t testing.TB, p string, i int) {
	t.Helper()
	db := must(bolt.Open(p, 0o600, &bolt.Options{ReadOnly: true}))(t)
	defer db.Close()
	must(0, db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("byte %d: bbolt: %v", i, err)
		}
		return nil
	}))(t)
}

// Heavier damage: several bytes, whole pages swapped, cleared or of garbage.
func TestVerifyGarbage(t *testing.T) {
	s := makeSource(t, 200, false)
	raw := must(os.ReadFile(s.snapshot))(t)
	raw = raw[:len(raw)-32]
	rnd := rand.New(rand.NewPCG(1, 2))
	pages := len(raw) / 4096
	for i := range 600 {
		b := append([]byte{}, raw...)
		p, q := rnd.IntN(pages), rnd.IntN(pages)
		switch i % 4 {
		case 0:
			for range 8 {
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			}
		case 1:
			copy(b[p*4096:(p+1)*4096], raw[q*4096:])
		case 2:
			for j := range 4096 {
				b[p*4096+j] = byte(rnd.Uint32())
			}
		case 3: // garbage behind a good page number and kind
			for j := 10; j < 512; j++ {
				b[p*4096+j] = byte(rnd.Uint32())
			}
		}
		path := write(t, b)
		Verify(ctx, path, Want{SkipHashCheck: true}, nil) // must not panic or hang
		os.Remove(path)
	}
}
