// Package load reads a requorum file into a [spec.Cluster].
//
// A configuration is one file, or every *.hcl and *.hcl.json of a folder read
// as if it were one. Reading goes through these stages, each in its own file:
//
//	discover.go   which files belong to the configuration
//	variables.go  variable blocks, and the values given for them
//	locals.go     locals, in the order in which they need one another
//	hosts.go      host blocks, expanded by for_each
//	cluster.go    the cluster block with its parts; members.go its members
//	check_*.go    what must hold between the parts
//
// Two rules hold everywhere. First, everything that is wrong is reported at
// once: a stage never stops at its first error, and a value that could not be
// computed is unknown from there on, so that one mistake is one diagnostic.
// Second, the value of a sensitive variable leaves this package in two places
// only, spec.Auth.Password and spec.Snapshot.Source; diagnostics and the source
// lines they quote have it blanked out before the caller sees them.
//
// The package looks at the files it is given and at nothing else: no host is
// asked, no path of the configuration is opened (but for the function file),
// and a configuration that loads may still be one that no plan can reach.
package load

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/requorum/requorum/spec"
)

// Options are the inputs of a configuration beside its files.
type Options struct {
	// Vars are values of variables as NAME=VALUE, from --var. They win over
	// VarFiles, which win over the environment, which wins over defaults.
	Vars []string
	// VarFiles are paths of files with values of variables, from --var-file;
	// later ones win. Each is HCL, or JSON where its name ends in ".json".
	VarFiles []string
	// Env looks up an environment variable (os.LookupEnv). It serves
	// REQUORUM_VAR_x and the function env. nil is an empty environment.
	Env func(name string) (string, bool)
	// AsDir is an absolute folder at which relative paths of the configuration start,
	// in place of its own; "" for that. The function file reads from its own.
	AsDir string
}

// Result is what Load found.
type Result struct {
	// Cluster is nil where Diags has errors.
	Cluster *spec.Cluster
	// Files are the sources by name, for quoting lines in diagnostics. Sensitive
	// values are blanked out in their bytes.
	Files map[string]*hcl.File
	// Ephemeral are the secrets that Cluster has, in file order.
	Ephemeral []Ephemeral
	// Diags are all errors and warnings in the order of the files.
	Diags hcl.Diagnostics
}

// Load reads the configuration at path, a file or a folder. It never returns
// early on an error in the configuration: Diags has all of them.
func Load(path string, opts Options) Result {
	if opts.Env == nil {
		opts.Env = func(string) (string, bool) { return "", false }
	}
	l := &loader{opts: opts, files: map[string]*hcl.File{}, broken: map[string]bool{}, values: map[string][]hcl.Expression{}}
	cluster := l.load(path)
	l.redact()
	diags := ordered(l.diags)
	if diags.HasErrors() {
		cluster = nil
	}
	return Result{Cluster: cluster, Files: l.files, Ephemeral: l.ephemerals, Diags: diags}
}

// loader is the state of one Load.
type loader struct {
	opts  Options
	dir   string // absolute folder that relative paths start at
	files map[string]*hcl.File
	diags hcl.Diagnostics
	funcs map[string]function.Function

	// secrets are the texts, and masked the places in the source, that must not
	// be shown.
	secrets []string
	masked  []hcl.Range
	broken  map[string]bool // files that could not be parsed
	// suspects are the parts of each file's source that may be secrets.
	suspects map[string][]suspect
	// values are what is written out for a variable: its default, and in files of values.
	values map[string][]hcl.Expression

	ephemerals []Ephemeral

	// hostsIncomplete is true where a host's name could not be computed, so that
	// a name that is missing may still be there.
	hostsIncomplete bool
	// membersIncomplete says the same of members.
	membersIncomplete bool
	// tlsBroken is true where a tls block has a mistake.
	tlsBroken bool
}

var rootSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "host", LabelNames: []string{"name"}},
	{Type: "cluster", LabelNames: []string{"name"}},
}}

func (l *loader) load(path string) *spec.Cluster {
	names, ok := l.discover(path)
	if !ok {
		return nil
	}
	l.funcs = functions(l.dir, l.opts.Env)
	if l.opts.AsDir != "" {
		l.dir = l.opts.AsDir
	}
	files := l.parse(names)
	if l.diags.HasErrors() {
		// What follows a syntax error is guesswork, not a finding.
		return nil
	}
	content, diags := hcl.MergeFiles(files).Content(rootSchema)
	l.diags = append(l.diags, diags...)
	blocks := content.Blocks.ByType()

	ctx := &hcl.EvalContext{Functions: l.funcs, Variables: l.variables(blocks["variable"])}
	ctx = l.locals(blocks["locals"], ctx)
	hosts := l.hosts(blocks["host"], ctx)
	return l.cluster(blocks["cluster"], hosts, withHosts(ctx, hosts, l.hostsIncomplete), names)
}
