package load

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// locals adds "local" to ctx. Local values may stand in any order and file:
// each is computed when the first that needs it is.
func (l *loader) locals(blocks hcl.Blocks, ctx *hcl.EvalContext) *hcl.EvalContext {
	r := &localResolver{l: l, ctx: ctx, attrs: map[string]*hcl.Attribute{}, values: map[string]cty.Value{}}
	for _, b := range blocks {
		attrs, diags := b.Body.JustAttributes()
		l.diags = append(l.diags, diags...)
		for _, name := range names(attrs) {
			a := attrs[name]
			if first := r.attrs[name]; first != nil {
				l.errorAt(origin{rng: a.NameRange}, "Duplicate local value", "local.%s is defined at %s already.", name, first.NameRange)
				continue
			}
			r.attrs[name] = a
		}
	}
	for _, name := range names(r.attrs) {
		r.value(name)
	}
	out := ctx.NewChild()
	out.Variables = map[string]cty.Value{"local": cty.ObjectVal(r.values)}
	return out
}

type localResolver struct {
	l      *loader
	ctx    *hcl.EvalContext
	attrs  map[string]*hcl.Attribute
	values map[string]cty.Value
	path   []string // what is being computed, outermost first
}

func (r *localResolver) value(name string) cty.Value {
	if v, done := r.values[name]; done {
		return v
	}
	if i := slices.Index(r.path, name); i >= 0 {
		cycle := append(slices.Clone(r.path[i:]), name)
		r.l.errorAt(origin{rng: r.attrs[name].NameRange}, "Local values in a circle", "local.%s needs itself: %s. Write one of them without the others.", name, strings.Join(cycle, " → "))
		r.values[name] = cty.DynamicVal
		return cty.DynamicVal
	}
	r.path = append(r.path, name)
	v := r.evaluate(r.attrs[name].Expr)
	r.path = r.path[:len(r.path)-1]
	if reported, done := r.values[name]; done {
		return reported // in a circle
	}
	r.values[name] = v
	return v
}

// evaluate computes one expression after the local values it refers to.
func (r *localResolver) evaluate(expr hcl.Expression) cty.Value {
	needed := map[string]cty.Value{}
	missing := false
	for _, t := range expr.Variables() {
		if t.RootName() != "local" {
			continue
		}
		name, ok := secondStep(t)
		if !ok {
			r.l.errorAt(origin{rng: t.SourceRange()}, "Incomplete reference", "Which local values this one needs can't be told from an index that is computed: write local.NAME.")
			return cty.DynamicVal
		}
		if r.attrs[name] == nil {
			missing = true
			continue
		}
		needed[name] = r.value(name)
	}
	if missing { // its message lists, or picks from, all that there are
		for name := range r.attrs {
			needed[name] = cty.DynamicVal
		}
	}
	ctx := r.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{"local": cty.ObjectVal(needed)}
	return r.l.eval(expr, ctx)
}
