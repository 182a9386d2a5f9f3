package load

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/requorum/requorum/spec"
)

// The file of an organisation's policy has policy blocks and nothing else; where backups
// are is each cluster's own.
var (
	policiesSchema  = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "policy"}}}
	orgPolicySchema = schema("min_fault_tolerance snapshot_before prevent strict max_backup_age max_drill_age")
)

// Policies reads the policies of an organisation: every *.hcl and *.hcl.json of a folder.
// What several say is joined by Stricter. A folder without any is an error, for a name
// misspelt would otherwise be no policy at all.
func Policies(dir string) (spec.Policy, Result) {
	l := &loader{opts: Options{Env: func(string) (string, bool) { return "", false }}, files: map[string]*hcl.File{}, broken: map[string]bool{}, membersIncomplete: true}
	out, n := spec.Policy{}, 0
	names := l.policyFiles(dir)
	for _, f := range l.parse(names) {
		content, diags := f.Body.Content(policiesSchema)
		l.diags = append(l.diags, diags...)
		for _, b := range content.Blocks {
			n++
			out = Stricter(out, l.policy(l.read(b, orgPolicySchema, &hcl.EvalContext{}), nil))
		}
	}
	if n == 0 && !l.diags.HasErrors() {
		l.plainError("No policy", fmt.Sprintf("No *.hcl or *.hcl.json in the folder %s has a policy block.", dir))
	}
	l.redact()
	return out, Result{Files: l.files, Diags: ordered(l.diags)}
}

// policyFiles lists the files of a folder of policies. What somebody may take for one of
// them, and is none, is an error: a policy that is passed over forbids nothing. Folders
// whose names begin with a dot are those of tools, as a mounted ConfigMap's.
func (l *loader) policyFiles(dir string) []string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		l.plainError("No folder of policies", fmt.Sprintf("There is no folder %s.", dir))
		return nil
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		l.plainError("Folder not readable", fmt.Sprintf("The folder %s can't be listed: %s.", dir, reason(err)))
		return nil
	}
	var names []string
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // of what a link leads to
		lower := strings.ToLower(name)
		switch {
		case err == nil && info.IsDir():
			if !strings.HasPrefix(name, ".") {
				l.plainError("Not a policy", fmt.Sprintf("%s is a folder, and policies are read from %s alone. Move its files there, or it away.", path, dir))
			}
		case strings.HasSuffix(name, ".hcl"), strings.HasSuffix(name, ".hcl.json"):
			names = append(names, path)
		case strings.HasSuffix(lower, ".hcl"), strings.HasSuffix(lower, ".json"):
			l.plainError("Not a policy", fmt.Sprintf("%s would not be read: a policy's name ends in .hcl or .hcl.json, in small letters. Rename it, or move it away.", path))
		}
	}
	return names
}

// Stricter joins a policy with one that may only be added to: of each setting what
// forbids more. Where more decides, it counts as standing where that does.
func Stricter(p, more spec.Policy) spec.Policy {
	out := p
	out.MinFaultTolerance = max(p.MinFaultTolerance, more.MinFaultTolerance)
	saves := []string{"", "membership", "always"}
	out.SnapshotBefore = saves[max(slices.Index(saves, p.SnapshotBefore), slices.Index(saves, more.SnapshotBefore), 0)]
	out.Strict = p.Strict || more.Strict
	out.Prevent = slices.Clone(p.Prevent)
	for _, c := range more.Prevent {
		if !slices.Contains(out.Prevent, c) {
			out.Prevent = append(out.Prevent, c)
		}
	}
	out.MaxBackupAge = younger(p.MaxBackupAge, more.MaxBackupAge, spec.DefaultMaxBackupAge)
	out.MaxDrillAge = younger(p.MaxDrillAge, more.MaxDrillAge, spec.DefaultMaxDrillAge)
	if out.MinFaultTolerance != p.MinFaultTolerance || out.SnapshotBefore != p.SnapshotBefore || out.Strict != p.Strict || len(out.Prevent) != len(p.Prevent) {
		out.Pos = more.Pos
	}
	return out
}

// younger is the shorter of two ages; more says nothing where it is 0 or any.
func younger(age, more, otherwise int64) int64 {
	switch {
	case more == 0 || more == spec.AnyAge:
		return age
	case age == spec.AnyAge:
		return more
	case age == 0:
		return min(otherwise, more)
	}
	return min(age, more)
}
