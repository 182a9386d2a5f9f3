package etcd_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
)

// stride is 1 for every byte, as make damage has it, and n for a part of them.
func stride(n int) int {
	if os.Getenv("REQUORUM_DAMAGE") == "full" {
		return 1
	}
	return n
}

// A log that is cut, at every length. What a crash leaves is a log with less at its
// end, and etcd repairs that: so it is no problem by itself, and its end is then what
// is there. But a log that lacks what the db has applied was not left by a crash.
func TestReadDataDirCutLog(t *testing.T) {
	t.Parallel()
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 30)
	stop()
	whole := read(t, m.cfg.Dir, "")
	dir := copyDir(t, m.cfg.Dir)
	name := must2(filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")))(t)[0]
	end := len(strings.TrimRight(string(must2(os.ReadFile(name))(t)), "\x00"))
	step := stride(7)
	var intact, problems int
	for n := end - 1; n >= 0; n -= step {
		if err := os.Truncate(name, int64(n)); err != nil {
			t.Fatal(err)
		}
		fact := etcd.ReadDataDir(dir, "")
		d := fact.Value
		switch {
		case !fact.Known() || d.State != planner.DirPresent:
			t.Fatalf("cut to %d: %s %+v", n, fact.Why, d)
		case d.Problem != "":
			problems++
		case d.LastIndex < whole.ConsistentIndex || d.LastIndex < d.Commit || d.MemberID != whole.MemberID:
			t.Fatalf("cut to %d of %d: called intact: %+v", n, end, d)
		default:
			intact++
		}
	}
	t.Logf("%d lengths, %d of them intact to what the db has applied, %d with a problem", intact+problems, intact, problems)
	if problems < end/step/2 {
		t.Error("most cuts went unnoticed")
	}
}

// A .snap file changed in any place: from 3.6 on the db is the truth, so that
// nothing else is read than before, or a problem.
func TestReadDataDirFlippedSnap(t *testing.T) {
	t.Parallel()
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 200)
	stop()
	dir := copyDir(t, m.cfg.Dir)
	for _, log := range must2(filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")))(t) { // 64 MB of zeros each
		end := len(strings.TrimRight(string(must2(os.ReadFile(log))(t)), "\x00"))
		if err := os.Truncate(log, int64(end+4096)); err != nil {
			t.Fatal(err)
		}
	}
	whole := etcd.ReadDataDir(dir, "")
	if whole.Value.Problem != "" {
		t.Fatal(whole.Value.Problem)
	}
	names := must2(filepath.Glob(filepath.Join(dir, "member", "snap", "*.snap")))(t)
	if len(names) == 0 {
		t.Fatal("no .snap file")
	}
	name := names[len(names)-1]
	raw := must2(os.ReadFile(name))(t)
	step := stride(41)
	for i := rand.IntN(step); i < len(raw); i += step {
		bad := slices.Clone(raw)
		bad[i] ^= byte(1 + rand.IntN(255))
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if now := etcd.ReadDataDir(dir, ""); !reflect.DeepEqual(now, whole) && now.Value.Problem == "" {
			t.Fatalf("byte %d of %d: %+v, want %+v", i, len(raw), now, whole)
		}
	}
	for n := len(raw) - 1; n >= 0; n -= step {
		if err := os.Truncate(name, int64(n)); err != nil {
			t.Fatal(err)
		}
		if now := etcd.ReadDataDir(dir, ""); !reflect.DeepEqual(now, whole) && now.Value.Problem == "" {
			t.Fatalf("cut to %d: %+v", n, now)
		}
	}
	t.Logf("%d bytes and lengths", len(raw))
}
