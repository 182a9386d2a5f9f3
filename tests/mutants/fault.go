package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Fault is a patch that breaks the planner.
type Fault struct {
	Name   string   // the file's, without its ending
	Does   string   // what it does, in a line
	Breaks string   // the rule that the model check has to name
	Files  []string // that it patches, from the module's root
	Path   string
}

var patched = regexp.MustCompile(`(?m)^\+\+\+ b/(\S+)`)

// Faults reads the patches, by name. One without its two lines, or to another part
// than the planner, is an error.
func Faults(root string) ([]Fault, error) {
	paths, err := filepath.Glob(filepath.Join(root, "tests/mutants/patches/*.patch"))
	if err != nil {
		return nil, err
	}
	var out []Fault
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		f := Fault{Name: strings.TrimSuffix(filepath.Base(path), ".patch"), Path: path}
		head, _, _ := strings.Cut(string(text), "\n--- ")
		for _, line := range strings.Split(head, "\n") {
			if rule, ok := strings.CutPrefix(line, "Breaks: "); ok {
				f.Breaks = strings.TrimSpace(rule)
			} else if f.Does == "" {
				f.Does = strings.TrimSpace(line)
			}
		}
		for _, m := range patched.FindAllStringSubmatch(string(text), -1) {
			f.Files = append(f.Files, m[1])
		}
		outside := slices.ContainsFunc(f.Files, func(p string) bool { return !strings.HasPrefix(p, "planner/") || strings.HasSuffix(p, "_test.go") })
		if f.Does == "" || f.Breaks == "" || len(f.Files) == 0 || outside {
			return nil, fmt.Errorf("%s: it needs a line that says what it does, a line \"Breaks: RULE\", and a diff of the planner's source", path)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, errors.New("there are no patches")
	}
	return out, nil
}

// Overlay applies the patch to copies in dir, and writes there what makes `go build
// -overlay` take them; it returns that file's path.
func (f Fault) Overlay(ctx context.Context, root, dir string) (string, error) {
	replace := map[string]string{}
	for _, name := range f.Files {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, name)] = to
	}
	apply := exec.CommandContext(ctx, "git", "apply", "--whitespace=nowarn", f.Path)
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir)) // a folder, no repository
	if out, err := apply.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not fit the source any more: %w\n%s", f.Name, err, out)
	}
	for from, to := range replace {
		a, errA := os.ReadFile(from)
		b, errB := os.ReadFile(to)
		if errA != nil || errB != nil || string(a) == string(b) {
			return "", fmt.Errorf("%s changes nothing in %s (%w)", f.Name, from, errors.Join(errA, errB))
		}
	}
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// errBuild is a fault that is none: the planner does not compile with it.
var errBuild = errors.New("it does not build")

// check builds the model check with the fault and runs it. The error is errBuild, or
// the check's own exit. It ends at the rule that the fault breaks, or goes over all.
func (f Fault) check(ctx context.Context, root, work, bound string, all bool) ([]byte, error) {
	dir := filepath.Join(work, "fault-"+f.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "modelcheck")
	args := []string{"build", "-o", binary}
	if f.Name != "" {
		overlay, err := f.Overlay(ctx, root, dir)
		if err != nil {
			return nil, errors.Join(errBuild, err)
		}
		args = append(args, "-overlay", overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, "./tests/modelcheck")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return out, errors.Join(errBuild, err)
	}
	args = []string{"-bound", bound}
	if !all {
		args = append(args, "-until", f.Breaks)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = root
	return cmd.CombinedOutput()
}

// verdict is what became of a fault.
type verdict struct {
	tried, caught bool
	found         []string // the rules that the check named
	how           string   // the finding that names its rule
	why           string   // it was not caught
	took          time.Duration
}

// named finds the rules in the model check's findings: "BROKEN P6 one change at a time: …".
var named = regexp.MustCompile(`(?m)^BROKEN ([^:\n]+): (.*?)(?: \(\d+ times\))?$`)

func (f Fault) try(ctx context.Context, root, work, bound string, all bool) verdict {
	began := time.Now()
	out, err := f.check(ctx, root, work, bound, all)
	v := verdict{tried: true, took: time.Since(began)}
	for _, m := range named.FindAllStringSubmatch(string(out), -1) {
		if m[1] == f.Breaks && v.how == "" {
			v.how = m[2]
		}
		if !slices.Contains(v.found, m[1]) {
			v.found = append(v.found, m[1])
		}
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		v.why = "the model check found nothing"
	case errors.Is(err, errBuild), !errors.As(err, &exit), exit.ExitCode() != 1:
		v.why = fmt.Sprintf("%v\n%s", err, tail(out, 20))
	case !slices.Contains(v.found, f.Breaks):
		v.why = "found under other names only"
	default:
		v.caught = true
	}
	return v
}

func (v verdict) print(f Fault) {
	mark := "caught"
	if !v.caught {
		mark = "MISSED"
	}
	others := slices.DeleteFunc(slices.Clone(v.found), func(s string) bool { return s == f.Breaks })
	also := ""
	if len(others) > 0 {
		also = " (also " + strings.Join(others, ", ") + ")"
	}
	fmt.Printf("%s  %-34s %-34s %4.0f s%s\n        %s\n", mark, f.Name, f.Breaks, v.took.Seconds(), also, f.Does)
	if v.caught {
		fmt.Printf("        found: %s\n", v.how)
	}
	if v.why != "" {
		fmt.Printf("        %s\n", strings.ReplaceAll(v.why, "\n", "\n        "))
	}
}

func tail(out []byte, lines int) string {
	all := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
