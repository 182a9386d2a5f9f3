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
