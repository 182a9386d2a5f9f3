package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.log")
	must(t, os.WriteFile(path, []byte("small"), 0o600))
	must(t, rotate(path, 100))
	if _, err := os.Stat(path + ".1"); !absent(err) {
		t.Fatal("rotated too early")
	}
	for i := range 8 {
		must(t, os.WriteFile(path, []byte(strings.Repeat(itoa(i), 100)), 0o600))
		must(t, rotate(path, 100))
	}
	for i := 1; i <= keptLogs; i++ {
		b, err := os.ReadFile(path + "." + itoa(i))
		must(t, err)
		if want := strings.Repeat(itoa(8-i), 100); string(b) != want {
			t.Errorf("log %d is %.3s…, want %.3s…", i, b, want)
		}
	}
	if _, err := os.Stat(path + ".6"); !absent(err) {
		t.Error("more are kept than promised")
	}
}

func TestRotationUnderLoad(t *testing.T) {
	cfg, l := newStandIn(t, "--chatty")
	cfg.LogBytes = 10_000
	mustStart(t, cfg, l, Started)
	eventually(t, "rotated twice", func() bool { _, err := os.Stat(l.Log() + ".2"); return err == nil })
	fi, err := os.Stat(l.Log())
	must(t, err)
	if fi.Size() > 1<<20 {
		t.Errorf("the log has %d bytes: it was not written with O_APPEND", fi.Size())
	}
	b, err := os.ReadFile(l.Log())
	must(t, err)
	if strings.ContainsRune(string(b), 0) {
		t.Error("the log has a hole")
	}
}

func TestPrivateCopies(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "etcd")
	must(t, os.WriteFile(src, []byte("#!/bin/sh\n"), 0o755))
	a, b := host.LayoutOf(filepath.Join(dir, "a"), ""), host.LayoutOf(filepath.Join(dir, "b"), "")
	one, err := privateCopy(a, src, "etcd")
	must(t, err)
	two, err := privateCopy(b, src, "etcd")
	must(t, err)
	if !sameFile(t, one, two) {
		t.Error("siblings do not share their copy")
	}
	if sameFile(t, one, src) {
		t.Error("the user's own file was linked")
	}
	again, err := privateCopy(a, src, "etcd")
	must(t, err)
	if again != one {
		t.Errorf("%s, then %s", one, again)
	}
	must(t, os.WriteFile(src, []byte("#!/bin/sh\nexit\n"), 0o755))
	if next, err := privateCopy(a, src, "etcd"); err != nil || next == one {
		t.Errorf("a changed binary gave %s, %v", next, err)
	}
	must(t, os.Chmod(src, 0o644))
	if _, err := privateCopy(a, src, "etcd"); err == nil {
		t.Error("took a file that is not executable")
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	must(t, err)
	y, err := os.Stat(b)
	must(t, err)
	return os.SameFile(x, y)
}

func TestWords(t *testing.T) {
	ours := `{"level":"warn","ts":"","logger":"requorum","msg":"%s"}`
	for name, c := range map[string]struct{ log, loud, faint string }{
		"fatal":    {`{"level":"fatal","msg":"discovery failed","error":"x"}`, "discovery failed: x", ""},
		"panic":    {"panic: removed all voters\n\ngoroutine 1 [running]:", "panic: removed all voters", "goroutine 1 [running]:"},
		"flags":    {"flag provided but not defined: -foo\nUsage:", "", "flag provided but not defined: -foo"},
		"warning":  {`{"level":"warn","msg":"failed to verify flags","error":"y"}`, "", "failed to verify flags: y"},
		"ours":     {fmt.Sprintf(ours, "etcd: killed"), "", ""},
		"last run": {`{"level":"error","msg":"old"}` + "\n" + fmt.Sprintf(ours, startMsg+" m1"), "", ""},
	} {
		if loud, faint := parseWords([]byte(c.log)); loud != c.loud || faint != c.faint {
			t.Errorf("%s: %q, %q", name, loud, faint)
		}
	}
}

func TestPauses(t *testing.T) {
	for crashes, most := range map[int]time.Duration{0: firstPause, 1: firstPause, 2: 2 * firstPause, 5: 16 * firstPause, 99: mostPause} {
		for range 100 {
			if d := pauseAfter(crashes); d > most || d < most*3/4 {
				t.Fatalf("after %d crashes: %v", crashes, d)
			}
		}
	}
}

func TestSeal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m1")
	s, err := sealEmpty(dir)
	must(t, err)
	r := Ran{Empty: s}
	if !r.Untouched(dir) {
		t.Fatal("an untouched directory")
	}
	must(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	must(t, os.Remove(filepath.Join(dir, "x")))
	if r.Untouched(dir) {
		t.Error("something was written and removed again")
	}
	must(t, os.Remove(dir))
	if r.Untouched(dir) {
		t.Error("the directory is gone")
	}
}
