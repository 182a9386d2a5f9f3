package audit

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
)

var update = flag.Bool("update", false, "write docs/audit.md's list anew")

const listMark = "<!-- from here on: go test ./planner/audit -run Page -update -->\n"

// TestPage: docs/audit.md has a heading for each code, with what the program says of it;
// docs/bugs.md has those of bugs.
func TestPage(t *testing.T) {
	const path = "../../docs/audit.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, have, ok := strings.Cut(string(b), listMark)
	if !ok {
		t.Fatal("the list is not marked")
	}
	want := page()
	if *update {
		if err := os.WriteFile(path, []byte(head+listMark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Error("docs/audit.md is not what the kinds say: run with -update")
	}
}

func page() string {
	var b strings.Builder
	list := Kinds()
	slices.SortStableFunc(list, func(x, y Kind) int { return int(y.Severity) - int(x.Severity) })
	for _, k := range list {
		if !strings.HasPrefix(string(k.Code), "etcd-") {
			fmt.Fprintf(&b, "\n### `%s`\n*%s*: %s. %s\n", k.Code, k.Severity, k.Title, k.Remedy)
		}
	}
	return b.String()
}

// TestKinds: each is whole, and there once; every state and bug of the planner is one.
func TestKinds(t *testing.T) {
	seen := map[Code]bool{}
	for _, k := range Kinds() {
		if seen[k.Code] {
			t.Errorf("%s twice", k.Code)
		}
		seen[k.Code] = true
		if k.Title == "" || strings.HasSuffix(k.Title, ".") || !strings.HasSuffix(k.Remedy, ".") {
			t.Errorf("%s is half said: %q %q", k.Code, k.Title, k.Remedy)
		}
		if k.Severity.String() == "" {
			t.Errorf("%s has no severity", k.Code)
		}
	}
	for _, s := range planner.States() {
		if seen[Code(s.Code)] == (s.Code == planner.StateSnapshotBad) { // no audit reads a snapshot
			t.Errorf("state %s is no finding", s.Code)
		}
	}
	for _, b := range planner.Bugs() {
		if !seen[Code(b.Code)] {
			t.Errorf("bug %s is no finding", b.Code)
		}
	}
	if len(stateKinds) != len(planner.States())-1 {
		t.Errorf("%d states are said something of, there are %d", len(stateKinds), len(planner.States()))
	}
}
