package load

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Ephemeral is a secret of the configuration: where it goes, and what gives it.
type Ephemeral struct {
	Attribute string // "auth.password" or "snapshot.source"
	// Variable is the one whose value it is; "" where it is computed, or written out.
	Variable string
}

// ephemeral notes that a secret goes to an attribute. The variable that gives it is a
// secret too, whether it is called sensitive or not.
func (l *loader) ephemeral(attribute string, e hcl.Expression) {
	name := variableOf(e)
	for _, value := range l.values[name] {
		l.hideSource(value)
	}
	l.ephemerals = append(l.ephemerals, Ephemeral{Attribute: attribute, Variable: name})
}

// variableOf is the name where e is var.NAME and nothing else.
func variableOf(e hcl.Expression) string {
	t, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() || len(t) != 2 || t.RootName() != "var" {
		return ""
	}
	a, ok := t[1].(hcl.TraverseAttr)
	if !ok {
		return ""
	}
	return a.Name
}

// Give gives the value of a variable from outside, as text, as Load would take it:
// from opts.Vars, a file or the environment. It serves secrets, whose configuration
// is not at hand. It reports nothing: what can't be read is not given.
func Give(name string, opts Options) (string, bool) {
	if opts.Env == nil {
		opts.Env = func(string) (string, bool) { return "", false }
	}
	l := &loader{opts: opts, files: map[string]*hcl.File{}, broken: map[string]bool{}, values: map[string][]hcl.Expression{}}
	l.funcs = functions(".", opts.Env)
	declared := map[string]*variable{name: {ty: cty.String, sensitive: true}}
	g, ok := l.givenValues(declared)[name]
	switch {
	case !ok:
		return "", false
	case g.raw != nil:
		return *g.raw, true
	case g.value.Type() == cty.String && g.value.IsKnown() && !g.value.IsNull():
		v, _ := g.value.Unmark()
		return v.AsString(), true
	}
	return "", false
}
