package planner

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// TestEveryCodeIsDocumented: docs/refusals.md has one heading for each code that
// a plan can show, and none besides.
func TestEveryCodeIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	for _, m := range regexp.MustCompile("(?m)^### `([a-z0-9-]+)`$").FindAllStringSubmatch(string(page), -1) {
		if slices.Contains(headings, m[1]) {
			t.Errorf("docs/refusals.md has %s twice", m[1])
		}
		headings = append(headings, m[1])
	}
	codes := codesInSource(t)
	for _, c := range codes {
		if !slices.Contains(headings, c) {
			t.Errorf("docs/refusals.md has no heading for %s", c)
		}
	}
	for _, h := range headings {
		if !slices.Contains(codes, h) {
			t.Errorf("docs/refusals.md has %s, which no plan shows", h)
		}
	}
}

func codesInSource(t *testing.T) []string {
	f, err := parser.ParseFile(gotoken.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
			s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		return true
	})
	if len(out) < 20 {
		t.Fatalf("only %d codes found in refusal.go", len(out))
	}
	return out
}
