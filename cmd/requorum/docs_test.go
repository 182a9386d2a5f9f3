package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec/load"
)

// TestFilesInTheDocsAreValid: every HCL block on the pages can be used as it
// stands.
func TestFilesInTheDocsAreValid(t *testing.T) {
	n := 0
	for _, page := range []string{"../../README.md", "../../docs/file.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			n++
			file := filepath.Join(t.TempDir(), "cluster.hcl")
			if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := load.Load(file, load.Options{}); r.Cluster == nil {
				t.Errorf("%s: %s", page, r.Diags.Error())
			}
			if out, _ := load.Format([]byte(block[1]), file); !bytes.Equal(out, []byte(block[1])) {
				t.Errorf("%s: a block is not in the layout of requorum fmt; it would be:\n%s", page, out)
			}
		}
	}
	if n < 2 {
		t.Fatalf("%d blocks found", n)
	}
}

// TestReadmeNamesEveryVerb: the table of verbs has those of the program, no more
// and no fewer.
func TestReadmeNamesEveryVerb(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Verbs")
	table, _, _ = strings.Cut(table, "PATH is")
	var documented []string
	for _, m := range regexp.MustCompile("`([a-z]+)[ `]").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	has := map[string]bool{"completion": true} // cobra adds it when it runs
	for _, c := range newRoot().Commands() {
		if !c.Hidden {
			has[c.Name()] = true
		}
	}
	for _, v := range documented {
		if !has[v] {
			t.Errorf("README has the verb %q, the program has not", v)
		}
		delete(has, v)
	}
	for v := range has {
		t.Errorf("README lacks the verb %q", v)
	}
}
