package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/spec"
)

// TestOnePathOnce: a file is looked at once, however often and in whatever way it is named.
func TestOnePathOnce(t *testing.T) {
	whole, err := filepath.Abs("a.hcl")
	if err != nil {
		t.Fatal(err)
	}
	got := unique([]string{"./a.hcl", "a.hcl", whole, "x/../a.hcl", "b/", "b", ".", "./", "a.hcl.json"})
	if want := []string{"./a.hcl", "b/", ".", "a.hcl.json"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFromHere: a file has one name in a report for code scanning.
func TestFromHere(t *testing.T) {
	for _, tc := range []struct{ dir, path, want string }{
		{"/w", "./b/../a.hcl", "a.hcl"}, {"/w", "/w/../w//a.hcl", "a.hcl"}, {"/w", "a.hcl", "a.hcl"}, {"/w/x", "../x/a.hcl", "a.hcl"},
		{"/w", "/w2/a.hcl", "/w2/a.hcl"}, {"/w", "../a.hcl", "../a.hcl"}, {"/w", "..a.hcl", "..a.hcl"}, {"", "./a.hcl", "a.hcl"}, {"", "/a.hcl", "/a.hcl"}, {"/w", "", ""},
	} {
		in := audit.Report{Clusters: []audit.Cluster{{Path: tc.path, Findings: []audit.Finding{{Pos: spec.Position{File: tc.path, Line: 3}}}}}}
		got := fromHere(in, tc.dir).Clusters[0]
		if got.Path != tc.want || got.Findings[0].Pos != (spec.Position{File: tc.want, Line: 3}) || in.Clusters[0].Findings[0].Pos.File != tc.path {
			t.Errorf("%q from %q: %+v, want %q", tc.path, tc.dir, got, tc.want)
		}
	}
}
