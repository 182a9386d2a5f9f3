package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"bytes"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
	"unicode"
	"unicode/utf8"
)

// Limits on what is parsed. hcl's parser and evaluator recurse with the nesting
// of their input, and a Go stack that overflows cannot be recovered from.
const (
	maxFileSize = 256 << 10
	maxNesting  = 500
)

// discover lists the files of the configuration at path and sets the folder
// that its relative paths start at.
func (l *loader) discover(path string) ([]string, bool) {
	info, err := os.Stat(path)
	if err != nil {
		l.plainError("Configuration not found", fmt.Sprintf("There is no file or folder %s: %s. Give the path of a requorum file, or of a folder that has one.", path, reason(err)))
		return nil, false
	}
	folder := path
	if !info.IsDir() {
		folder = filepath.Dir(path)
	}
	if l.dir, err = filepath.Abs(folder); err != nil {
		l.plainError("Configuration not found", fmt.Sprintf("The absolute path of %s can't be told: %s.", path, err))
		return nil, false
	}
	if info.IsDir() {
		return l.discoverFolder(path)
	}
	if isVarFile(path) {
		l.plainError("Not a configuration", fmt.Sprintf("%s is a file of values for variables. Give it with --var-file=%s, beside the path of the configuration.", path, path))
		return nil, false
	}
	return []string{path}, true
}

func (l *loader) discoverFolder(path string) ([]string, bool) {
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		l.plainError("Configuration not readable", fmt.Sprintf("The folder %s can't be listed: %s.", path, reason(err)))
		return nil, false
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && isConfigFile(e.Name()) {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		l.plainError("No configuration", fmt.Sprintf("The folder %s has no file that ends in .hcl or .hcl.json (*.vars.hcl holds values of variables and does not count). Write one with a cluster block, or give another path.", path))
		return nil, false
	}
	return names, true
}

// isConfigFile tells whether a file of a folder belongs to its configuration.
// Names that start with a dot are editors' swap and lock files.
func isConfigFile(name string) bool {
	if strings.HasPrefix(name, ".") || isVarFile(name) {
		return false
	}
	return strings.HasSuffix(name, ".hcl") || strings.HasSuffix(name, ".hcl.json")
}

func isVarFile(name string) bool {
	return strings.HasSuffix(name, ".vars.hcl") || strings.HasSuffix(name, ".vars.hcl.json")
}

// parse reads all files, also after one of them failed.
func (l *loader) parse(names []string) []*hcl.File {
	var files []*hcl.File
	for _, name := range names {
		if f := l.parseFile(name); f != nil {
			files = append(files, f)
		}
	}
	return files
}

func (l *loader) parseFile(name string) *hcl.File {
	// Opening a pipe waits for its other end, for ever perhaps. A shell's <(…) is
	// one that has its other end already.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !strings.HasPrefix(name, "/dev/fd/") {
		l.plainError("Not a file", fmt.Sprintf("%s is not a regular file (%s).", name, info.Mode().Type()))
		return nil
	}
	src, err := os.ReadFile(name)
	if err != nil {
		l.plainError("File not readable", fmt.Sprintf("%s can't be read: %s.", name, reason(err)))
		return nil
	}
	f, diags := parseSource(src, name)
	l.diags = append(l.diags, diags...)
	if diags.HasErrors() {
		l.broken[name] = true
	}
	if f != nil {
		l.files[name] = f
	}
	return f
}

// parseSource parses native syntax, or JSON where the name ends in ".json".
func parseSource(src []byte, name string) (*hcl.File, hcl.Diagnostics) {
	if diags := checkLimits(src, name); diags.HasErrors() {
		return nil, diags
	}
	if strings.HasSuffix(name, ".json") {
		return json.Parse(src, name)
	}
	return hclsyntax.ParseConfig(src, name, hcl.InitialPos)
}

func checkLimits(src []byte, name string) hcl.Diagnostics {
	problem := ""
	switch {
	case len(src) > maxFileSize:
		problem = fmt.Sprintf("%s has %d bytes; a configuration file may have %d.", name, len(src), maxFileSize)
	case !isText(src):
		problem = fmt.Sprintf("%s is not text: it has bytes that no UTF-8 text has.", name)
	case nesting(src) > maxNesting:
		problem = fmt.Sprintf("%s nests its brackets or operators more than %d deep.", name, maxNesting)
	default:
		return nil
	}
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: "Not a configuration", Detail: problem,
		Subject: &hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}}}
}

// isText tells text from anything else: valid UTF-8 without control characters
// but white space. Only text is ever shown in a diagnostic.
func isText(src []byte) bool {
	return utf8.Valid(src) && !bytes.ContainsFunc(src, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

// nesting is an upper bound of how deep src nests: open brackets, operators in
// a row, and conditionals, of which each may be inside the one before.
func nesting(src []byte) int {
	deepest, depth, run, conditionals := 0, 0, 0, 0
	for _, b := range src {
		switch b {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
		switch b {
		case '!', '-':
			run++
		case ' ', '\t', '\r', '\n':
		default:
			run = 0
		}
		if b == '?' {
			conditionals++
		}
		deepest = max(deepest, depth, run, conditionals/10)
	}
	return deepest
}

// reason is the cause of a file error without the operation and path, which the
// message around it names.
func reason(err error) string {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// written is the text of a range as it stands in its file; "" where that can't be told.
func (l *loader) written(r hcl.Range) string {
	f := l.files[r.Filename]
	if f == nil || !r.CanSliceBytes(f.Bytes) {
		return ""
	}
	return string(r.SliceBytes(f.Bytes))
}
