package harness

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Tree is everything below root: each path with its mode and size and the hash
// of its bytes, a line each. Paths that end in one of skip are left out.
func Tree(t testing.TB, root string, skip ...string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			b.WriteString("absent\n")
			return nil
		}
		if err != nil {
			return err
		}
		for _, s := range skip {
			if strings.HasSuffix(path, s) {
				return nil
			}
		}
		line, err := describe(path, d)
		rel, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %s\n", rel, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Settled waits until what a running etcd keeps below dir has not changed for a while:
// it commits to its file at most 100 ms after it applied an entry (backend.go), and later
// on a busy machine.
func Settled(t testing.TB, dir string) {
	t.Helper()
	begun := time.Now()
	for last, since := Tree(t, dir), time.Now(); time.Since(since) < time.Second; {
		time.Sleep(100 * time.Millisecond)
		if now := Tree(t, dir); now != last {
			last, since = now, time.Now()
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("%s changes without end", dir)
		}
	}
}

func describe(path string, d fs.DirEntry) (string, error) {
	info, err := d.Info()
	if err != nil || !info.Mode().IsRegular() {
		if err == nil {
			return info.Mode().String(), nil
		}
		return "", err
	}
	b, err := os.ReadFile(path)
	return fmt.Sprintf("%s %d %x", info.Mode(), info.Size(), sha256.Sum256(b)), err
}

// Unchanged fails the test where two trees differ.
func Unchanged(t testing.TB, before, after string) {
	t.Helper()
	if before != after {
		t.Errorf("the tree changed:\n%s", cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
	}
}
