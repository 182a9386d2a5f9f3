// Package layers holds the layout to its rules: which package may import which,
// and that each says what it is for.
package layers

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/requorum/requorum"

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath, Dir, Doc, Name string
	Imports, GoFiles           []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,Imports,GoFiles", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 8 {
		t.Fatalf("go list found %d packages only", len(all))
	}
	return all
}

// layers, the lowest first: a package imports from its own layer or below.
var layers = []string{"spec", "planner", "executor", "cmd"}

func layerOf(path string) int {
	rest, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return -1
	}
	top, _, _ := strings.Cut(rest, "/")
	return slices.Index(layers, top)
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		layer := layerOf(p.ImportPath)
		if layer < 0 {
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module+"/tests") {
				t.Errorf("%s imports the tests' %s", p.ImportPath, imp)
			}
			if layerOf(imp) > layer {
				t.Errorf("%s imports %s, which stands above it", p.ImportPath, imp)
			}
		}
	}
}

// TestImportsWithinLayers says for each package what it may import of the others.
func TestImportsWithinLayers(t *testing.T) {
	allowed := map[string][]string{
		"spec":                        nil,
		"spec/load":                   {"spec"},
		"planner":                     {"spec"},
		"planner/rescue":              {"planner", "spec"},
		"planner/saved":               {"planner", "spec"},
		"planner/render/page":         {"planner", "planner/render", "planner/saved"},
		"planner/explain":             {"planner"},
		"planner/audit":               {"planner", "spec"},
		"planner/render":              {"planner", "planner/audit", "planner/explain", "planner/saved", "spec"},
		"executor/journal":            nil,
		"executor/fleet":              nil,
		"executor/snapshot/boltfile":  nil,
		"executor/etcd":               {"planner", "spec", "executor/snapshot/boltfile"},
		"executor/snapshot/throwaway": nil,
		"executor/snapshot/source":    {"planner"},
		"executor/snapshot":           {"planner", "spec", "executor/etcd", "executor/snapshot/boltfile", "executor/snapshot/source", "executor/snapshot/throwaway"},
		"executor/survivor":           {"planner", "executor/etcd", "executor/snapshot", "executor/snapshot/boltfile", "executor/snapshot/throwaway"},
		"executor/host":               {"planner", "spec"},
		"executor/host/process":       {"planner", "spec", "executor/host", "executor/etcd"},
		"executor/host/command":       {"planner", "executor/host", "executor/host/process", "executor/etcd"},
		"executor/host/systemd":       {"planner", "executor/host", "executor/host/process", "executor/etcd"},
		"executor/host/local":         {"planner", "spec", "executor/host", "executor/host/process", "executor/host/command", "executor/host/systemd", "executor/etcd", "executor/snapshot", "executor/survivor"},
		"executor/host/hosttest":      {"planner", "spec", "executor/host"},
		"executor/host/agent":         {"planner", "executor/host"},
		"executor/host/ssh":           {"planner", "spec", "executor/host", "executor/host/agent"},
		"executor/host/hosts":         {"planner", "spec", "executor/host", "executor/host/local", "executor/host/agent", "executor/host/ssh"},
		"executor/observe":            {"planner", "spec", "executor/etcd", "executor/host", "executor/journal", "executor/snapshot", "executor/snapshot/source"},
		"executor":                    {"planner", "spec", "executor/etcd", "executor/host", "executor/journal"},
	}
	for _, p := range packages(t) {
		rest := strings.TrimPrefix(p.ImportPath, module+"/")
		if strings.HasPrefix(rest, "tests/") || strings.HasPrefix(rest, "cmd/") || strings.HasPrefix(rest, "examples") {
			continue
		}
		may, known := allowed[rest]
		if !known {
			t.Errorf("%s is new: say here what it may import", rest)
		}
		for _, imp := range p.Imports {
			if own, ok := strings.CutPrefix(imp, module+"/"); ok && !slices.Contains(may, own) {
				t.Errorf("%s must not import %s", rest, own)
			}
		}
	}
}

// pure lists all that planner, its renderers and spec may import: no clock, no
// context, no network, no files, no randomness, no logging.
var pure = []string{
	module + "/spec", module + "/planner", "crypto/sha1", "crypto/sha256", "encoding/binary", "encoding/hex",
	"encoding/json", "fmt", "math", "slices", "sort", "strconv", "strings", "time", "unicode/utf8",
	"github.com/mitchellh/go-wordwrap",
	"cmp", "maps",
	"bytes", "errors",
}

// alsoPure is what one of these may import beside that: what is computed from
// arguments, or is part of the program.
var alsoPure = map[string][]string{
	"planner/saved":       {"crypto/pbkdf2", "encoding/base32"},
	"planner/render":      {module + "/planner/audit", module + "/planner/explain", module + "/planner/saved"},
	"planner/render/page": {"embed", "html/template", module + "/planner/render", module + "/planner/saved"},
}

func TestPlannerIsPure(t *testing.T) {
	for _, p := range packages(t) {
		switch strings.TrimPrefix(p.ImportPath, module+"/") {
		case "spec", "planner", "planner/render", "planner/render/page", "planner/saved", "planner/rescue", "planner/explain", "planner/audit":
			for _, imp := range p.Imports {
				// What explain embeds is part of the program, as its constants are.
				if imp == "embed" && strings.HasSuffix(p.ImportPath, "/planner/explain") {
					continue
				}
				if slices.Contains(alsoPure[strings.TrimPrefix(p.ImportPath, module+"/")], imp) {
					continue
				}
				if !slices.Contains(pure, imp) {
					t.Errorf("%s imports %s: it must be a function of its arguments", p.ImportPath, imp)
				}
				// Only a renderer needs durations, and no clock to write one.
				if imp == "time" && !strings.HasSuffix(p.ImportPath, "/render") {
					t.Errorf("%s imports time", p.ImportPath)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only: their comment stands in the test file
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s has no doc comment that begins with %q", p.ImportPath, want)
		}
	}
}
