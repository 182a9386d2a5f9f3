package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFaultsFit: each patch fits the planner as it is, and makes Go of it; whether the
// model check finds it is `make mutants`.
func TestFaultsFit(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	faults, err := Faults(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(faults) < 15 {
		t.Errorf("there are %d faults only", len(faults))
	}
	does := map[string]string{}
	for _, f := range faults {
		if other := does[f.Does]; other != "" {
			t.Errorf("%s and %s say the same of themselves", f.Name, other)
		}
		does[f.Does] = f.Name
		t.Run(f.Name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := f.Overlay(t.Context(), root, dir); err != nil {
				t.Fatal(err)
			}
			for _, name := range f.Files {
				if _, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.SkipObjectResolution); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A patch that does not fit, or says nothing of itself, is an error and no fault.
func TestBadPatches(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diff := "--- a/planner/quorum.go\n+++ b/planner/quorum.go\n@@ -1,1 +1,1 @@\n-package nothing of the kind\n+package planner\n"
	f := Fault{Name: "stale", Files: []string{"planner/quorum.go"}, Path: filepath.Join(t.TempDir(), "stale.patch")}
	if err := os.WriteFile(f.Path, []byte("It is stale.\nBreaks: nothing\n"+diff), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Overlay(t.Context(), root, t.TempDir()); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("got %v", err)
	}
	for name, text := range map[string]string{"no rule": "It breaks something.\n" + diff, "no diff": "It does nothing.\nBreaks: P1 quorum\n", "a test's": "It spoils a test.\nBreaks: P1 quorum\n--- a/planner/x_test.go\n+++ b/planner/x_test.go\n"} {
		dir := t.TempDir()
		patches := filepath.Join(dir, "tests/mutants/patches")
		if err := os.MkdirAll(patches, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(patches, "x.patch"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Faults(dir); err == nil {
			t.Errorf("%s: taken for a fault", name)
		}
	}
}
