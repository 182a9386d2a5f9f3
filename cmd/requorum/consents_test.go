package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec/load"
)

// TestPolicyKnowsEveryConsent: the file's policy and --accept speak of one set
// of consents, although the reader of files can't import the planner.
func TestPolicyKnowsEveryConsent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.hcl")
	read := func(name string) bool {
		src := fmt.Sprintf(`cluster "c" {
  member "m1" {
    peer_urls   = ["http://127.0.0.1:2380"]
    client_urls = ["http://127.0.0.1:2379"]
    data_dir    = "data/m1"
  }
  policy { prevent = [%q] }
}
`, name)
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		return load.Load(file, load.Options{}).Cluster != nil
	}
	for _, c := range planner.Consents() {
		if kind, _, _ := strings.Cut(c, ":"); !read(kind) {
			t.Errorf("policy { prevent = [%q] } is refused", kind)
		}
	}
	if read("everything") {
		t.Error("policy { prevent } takes a consent that does not exist")
	}
}
