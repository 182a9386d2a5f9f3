package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
)

// TestHasNext: a member is stopped only where the etcd lies that comes next.
func TestHasNext(t *testing.T) {
	d := New(Options{})
	path := filepath.Join(t.TempDir(), "etcd")
	say := func(version string) {
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'etcd Version: "+version+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	next := &planner.Binary{Path: path, Version: "3.6.16"}
	if err := d.hasNext(t.Context(), next); err == nil || !strings.Contains(err.Error(), "there is no etcd at") {
		t.Errorf("without it: %v", err)
	}
	say("3.6.11")
	if err := d.hasNext(t.Context(), next); err == nil || !strings.Contains(err.Error(), "is 3.6.11 now") {
		t.Errorf("with another: %v", err)
	}
	say("3.6.16")
	if err := d.hasNext(t.Context(), next); err != nil {
		t.Error(err)
	}
	if err := d.hasNext(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("\x7fELF of another machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.hasNext(t.Context(), next); err == nil {
		t.Error("a program of another architecture will do")
	}
}
