package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// removals is every place in the program that takes a file or folder away, or
// writes over one, and what that is. None is a data or WAL directory, or a file in
// one that a member has or had. A new place fails the test until it stands here;
// what they do to real directories is shown by the scenarios, which list the trees
// before and after.
var removals = map[string]string{
	"cmd/requorum/fmt.go replace os.Remove": "fmt's temporary file",
	"cmd/requorum/fmt.go replace os.Rename": "a configuration file by its formatted text",

	"cmd/requorum/audit.go writeReport os.Remove":    "a report's temporary file",
	"cmd/requorum/audit.go writeReport os.Rename":    "an older report of an audit by a new one",
	"cmd/requorum/saved.go writeSaved os.Remove":     "a saved plan's temporary file",
	"cmd/requorum/saved.go writeSaved os.Rename":     "an older saved plan by a new one",
	"cmd/requorum/diff.go dropCheckout os.RemoveAll": "the temporary copy of a folder at another revision",

	"executor/etcd/save.go write os.Remove":   "a snapshot file that was not finished",
	"executor/etcd/save.go publish os.Remove": "a snapshot's temporary name; the file keeps its own",

	"executor/host/durable.go writeFile os.Remove": "the temporary file of a small record",
	"executor/host/durable.go writeFile os.Rename": "a small record of requorum's by its next version",

	"executor/host/local/claim.go moveRan os.Rename":            "the marker `ran` gets the name of its token",
	"executor/host/local/fence.go moveRanBack os.Rename":        "and back",
	"executor/host/local/fence.go dropFences os.Rename":         "a fence's mark gets another name",
	"executor/host/local/lock.go release os.Remove":             "the lock's file",
	"executor/host/local/remove.go removeIncoming os.Remove":    "a snapshot that came from another machine, or a part of it",
	"executor/host/local/files.go Take os.Rename":               "such a snapshot becomes a part again, to be compared",
	"executor/host/local/files.go restart Truncate":             "a part of one that did not arrive as it was sent",
	"executor/members.go saveThere os.RemoveAll":                "the folder that a snapshot was saved in before it was sent to its member's machine",
	"executor/host/local/fencing.go BreakLock unix.Unlink":      "the lock's file, of a holder that was to be stopped",
	"executor/host/local/remove.go removeOwn os.RemoveAll":      "staging and throwaway copies, by path (see there)",
	"executor/host/local/remove.go removeUntouched os.Remove":   "the marker `ran` of an etcd that wrote nothing",
	"executor/host/local/remove.go removeFenceFile unix.Unlink": "a fence's plain file",
	"executor/host/local/remove.go removeFence unix.Unlink":     "the mark of a fence that stands nowhere",
	"executor/host/local/remove.go removeRecord os.Remove":      "a record that was kept under another name first",
	"executor/host/local/remove.go removeEmpty unix.Rmdir":      "empty folders of requorum's",

	"executor/host/process/fresh.go dropPlainFile unix.Unlink": "a fence's plain file",
	"executor/host/process/fresh.go openFence unix.Rmdir":      "an empty folder of requorum's",

	"executor/host/process/binary.go copyBinary os.Remove": "the half copy of a program",
	"executor/host/process/binary.go copyBinary os.Rename": "a finished copy gets its name",
	"executor/host/process/log.go rotate os.Rename":        "an old log's number",
	"executor/host/process/log.go rotate os.Truncate":      "the log, after it was copied",
	"executor/host/process/log.go rotate os.OpenFile":      "the copy of the log",

	"executor/host/command/start.go begin os.OpenFile":      "what the start command before printed",
	"executor/host/command/stop.go boundLog unix.Fallocate": "the older part of what it left running prints, and no part of it that is new",

	"executor/host/systemd/files.go put os.Remove":      "the temporary file of a unit's file",
	"executor/host/systemd/files.go put os.Rename":      "a unit's file by its next version, which the plan has shown",
	"executor/host/systemd/files.go dropFile os.Remove": "a drop-in of requorum's, and its folder where that is empty",
	"executor/host/systemd/bar.go lift os.Remove":       "the record of a bar that is taken back",

	"executor/snapshot/source/local.go removeLocal os.Remove": "one snapshot file that somebody named, or that is too many by --keep",
	"executor/snapshot/source/part.go openPart os.OpenFile":   "a half file of a fetch or save before",
	"executor/snapshot/source/part.go dropPart os.Remove":     "the same",
	"executor/snapshot/source/part.go publish os.Rename":      "a file in the cache gets its name",
	"executor/snapshot/source/part.go drop os.Remove":         "a file in the cache",

	"executor/journal/plans.go UsePlan os.Remove":             "the record of a plan's use that could not be written, made right before",
	"executor/snapshot/drill.go Drill os.RemoveAll":           "the throwaway cluster of a drill",
	"cmd/requorum/snapshot_drill.go run os.Remove":            "the folder that it was in, empty by then",
	"cmd/requorum/snapshot_work.go remove root.RemoveAll":     "what is in the folder that a snapshot was saved in before it was published, encrypted, compressed or sent",
	"cmd/requorum/snapshot_work.go remove root.Remove":        "the lock in it",
	"cmd/requorum/snapshot_work.go removeEmpty parent.Remove": "and the folder, empty by then",

	"executor/snapshot/sorter.go spill os.Remove":      "the name of a scratch file that was just made",
	"executor/snapshot/trial.go Trial os.RemoveAll":    "the trial's own copy",
	"executor/snapshot/place.go openPlacings Truncate": "the appended hash, of a file that has no name yet",
	"executor/snapshot/place.go link os.Truncate":      "the same, of the copy that was just made",
	"executor/snapshot/equal.go equalise Truncate":     "what a restore has just written, to the length of its first db",

	"executor/survivor/recover.go Recover os.RemoveAll":     "the recovery's own copy",
	"executor/survivor/finish.go freshLog os.RemoveAll":     "the log of that copy",
	"executor/survivor/finish.go move os.RemoveAll":         "a half-made result of a recovery that was killed",
	"executor/survivor/finish.go writeSnapshot os.OpenFile": "the same, as a snapshot",
	"executor/survivor/record.go renameNew unix.Rename":     "a result gets its name, where that is free",
	"executor/survivor/record.go writeIntent os.OpenFile":   "the note of what is being made",
}

// takes are the calls that can take something away.
var takes = []string{"os.Remove", "os.RemoveAll", "os.Rename", "os.Truncate", "os.Create", "unix.Unlink", "unix.Unlinkat", "unix.Rmdir", "unix.Rename", "unix.Fallocate", "syscall.Unlink", "syscall.Rmdir", "root.Remove", "root.RemoveAll", "parent.Remove"}

func TestEveryRemovalIsKnown(t *testing.T) {
	found := map[string]bool{}
	for _, p := range packages(t) {
		rel, ok := strings.CutPrefix(p.ImportPath, module+"/")
		if !ok || layerOf(p.ImportPath) < 0 || rel == "executor/host/hosttest" {
			continue // tests remove what they made
		}
		for _, name := range p.GoFiles {
			for _, call := range removalsIn(t, filepath.Join(p.Dir, name)) {
				found[rel+"/"+name+" "+call] = true
			}
		}
	}
	for call := range found {
		if removals[call] == "" {
			t.Errorf("%q takes something away and is not known: say what in removals", call)
		}
	}
	for call := range removals {
		if !found[call] {
			t.Errorf("%q is known and no more there", call)
		}
	}
	if len(found) < 20 {
		t.Errorf("only %d found: does the test still see them?", len(found))
	}
}

// removalsIn gives "function call" for each call in the file.
func removalsIn(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range file.Decls {
		name := "-"
		if f, ok := d.(*ast.FuncDecl); ok {
			name = f.Name.Name
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if what := takesAway(call); what != "" && !slices.Contains(out, name+" "+what) {
					out = append(out, name+" "+what)
				}
			}
			return true
		})
	}
	return out
}

// takesAway names the call where it can take something away; "" otherwise.
func takesAway(call *ast.CallExpr) string {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	what := sel.Sel.Name
	switch x := sel.X.(type) {
	case *ast.Ident:
		what = x.Name + "." + what
	case *ast.SelectorExpr: // an os.Root that a struct has
		what = x.Sel.Name + "." + what
	}
	switch {
	case slices.Contains(takes, what):
		return what
	case sel.Sel.Name == "Truncate":
		return "Truncate"
	case what == "os.OpenFile" && len(call.Args) == 3 && strings.Contains(flagsOf(call.Args[1]), "O_TRUNC"):
		return what
	case what == "exec.Command" || what == "exec.CommandContext":
		for _, a := range call.Args {
			if l, ok := a.(*ast.BasicLit); ok && slices.Contains([]string{`"rm"`, `"mv"`, `"sh"`, `"bash"`}, l.Value) {
				return what + " " + l.Value
			}
		}
	}
	return ""
}

func flagsOf(e ast.Expr) string {
	var out []string
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			out = append(out, id.Name)
		}
		return true
	})
	return fmt.Sprint(out)
}
