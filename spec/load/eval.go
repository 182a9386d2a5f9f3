package load

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// sensitive marks the value of a sensitive variable and all that is computed
// from it.
type sensitiveMark struct{}

var sensitive = sensitiveMark{}

// origin is where a value stands, and what it was computed from: enough to
// point at it in a diagnostic that also shows the values it used.
type origin struct {
	rng  hcl.Range
	expr hcl.Expression
	ctx  *hcl.EvalContext
}

// text is a string of the file with its place.
type text struct {
	string
	at origin
}

func (t text) given() bool { return t.string != "" }

// eval computes an expression. What can't be computed is reported and gives an
// unknown value, which everything after it passes on in silence.
func (l *loader) eval(expr hcl.Expression, ctx *hcl.EvalContext) cty.Value {
	if !l.checkReferences(expr, ctx) {
		return cty.DynamicVal
	}
	v, diags := expr.Value(ctx)
	if len(diags) > 0 && touchesSecret(expr, ctx) {
		withhold(diags, "this expression uses a sensitive value")
	}
	l.suggestFunctions(diags)
	l.diags = append(l.diags, diags...)
	if diags.HasErrors() {
		return cty.DynamicVal
	}
	return v
}

// suggestFunctions adds the likely name to hcl's message about an unknown
// function; hcl itself looks only in the innermost scope.
func (l *loader) suggestFunctions(diags hcl.Diagnostics) {
	for _, d := range diags {
		if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallUnknownDiagExtra](d); ok && !strings.Contains(d.Detail, "Did you mean") {
			d.Detail += didYouMean(extra.CalledFunctionName(), names(l.funcs))
		}
	}
}

// touchesSecret tells whether an expression refers to a sensitive value. An
// error of a function often quotes its argument.
func touchesSecret(expr hcl.Expression, ctx *hcl.EvalContext) bool {
	for _, t := range expr.Variables() {
		v, diags := t[:min(2, len(t))].TraverseAbs(ctx)
		if !diags.HasErrors() && v.ContainsMarked() {
			return true
		}
	}
	return false
}

func withhold(diags hcl.Diagnostics, why string) {
	for _, d := range diags {
		d.Detail = "The reason is not shown, because " + why + "."
		d.Extra, d.Expression, d.EvalContext = nil, nil, nil
	}
}

// checkReferences reports references that can't be resolved, in words that say
// what there is instead. hcl's own messages know only of object attributes.
func (l *loader) checkReferences(expr hcl.Expression, ctx *hcl.EvalContext) bool {
	ok := true
	for _, t := range expr.Variables() {
		if summary, detail := unresolved(t, ctx); summary != "" {
			ok = false
			l.errorAt(origin{rng: t.SourceRange()}, summary, "%s", detail)
		}
	}
	return ok
}

func unresolved(t hcl.Traversal, ctx *hcl.EvalContext) (summary, detail string) {
	root := t.RootName()
	scope, found := lookup(ctx, root)
	if !found {
		return unresolvedRoot(root)
	}
	kind, isNamespace := namespaces[root]
	if !isNamespace || !scope.Type().IsObjectType() {
		return "", ""
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range scope.Type().AttributeTypes() {
			if !yield(n) {
				return
			}
		}
	})
	name, ok := secondStep(t)
	if !ok || slices.Contains(names, name) { // host[each.key] is for hcl to resolve
		return "", ""
	}
	return "Unknown " + kind, fmt.Sprintf("There is no %s %q.%s", kind, name, didYouMean(name, names))
}

// namespaces are the names that a reference starts with.
var namespaces = map[string]string{"var": "variable", "local": "local value", "host": "host", "each": "part of each"}

func unresolvedRoot(root string) (summary, detail string) {
	switch root {
	case "each":
		return "No each here", `each.key and each.value exist only inside a block that has for_each.`
	case "host":
		return "No hosts here", `host.NAME.address can be used inside the cluster block only.`
	case "local":
		return "No local values here", `Local values can't be used here.`
	case "var":
		return "No variables here", `The value of a variable can't be used here.`
	}
	return "Unknown name", fmt.Sprintf(`Nothing is called %q here. A reference starts with var., local., each. or host.; a text needs quotes: "%s".`, root, root)
}

func secondStep(t hcl.Traversal) (string, bool) {
	if len(t) < 2 {
		return "", false
	}
	switch step := t[1].(type) {
	case hcl.TraverseAttr:
		return step.Name, true
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return step.Key.AsString(), true
		}
	}
	return "", false
}

func lookup(ctx *hcl.EvalContext, name string) (cty.Value, bool) {
	for ; ctx != nil; ctx = ctx.Parent() {
		if v, ok := ctx.Variables[name]; ok {
			return v, true
		}
	}
	return cty.NilVal, false
}

// convertTo converts v, or reports why it can't be. Its error never has the
// value in it.
func (l *loader) convertTo(v cty.Value, want cty.Type, name string, at origin) (cty.Value, bool) {
	got, err := convert.Convert(v, want)
	if err != nil {
		detail := err.Error()
		if v.ContainsMarked() {
			detail = "it has another type"
		}
		l.errorAt(at, "Wrong type", "%s must be %s: %s.", name, describeType(want), detail)
		return cty.DynamicVal, false
	}
	return got, true
}

func describeType(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a string"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsListType() && t.ElementType() == cty.String:
		return `a list of strings, like ["a", "b"]`
	}
	return t.FriendlyNameForConstraint()
}

// wholeNumber gives v as an int64; exact is false where it has a fraction or
// does not fit.
func wholeNumber(v cty.Value) (n int64, exact bool) {
	f := v.AsBigFloat()
	n, accuracy := f.Int64()
	return n, f.IsInt() && accuracy == big.Exact
}
