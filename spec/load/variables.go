package load

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// envPrefix and a variable's name are the environment variable that sets it.
const envPrefix = "REQUORUM_VAR_"

var (
	variableSchema   = schema("type default description sensitive nullable validation{")
	validationSchema = schema("condition! error_message!")
)

// variable is one variable block.
type variable struct {
	block
	label     text
	ty        cty.Type
	defaults  *typeexpr.Defaults
	typed     bool // has a type
	sensitive bool
	nullable  bool
}

// given is a value for a variable from outside the configuration.
type given struct {
	value  cty.Value
	source string         // "--var", "the environment variable …", a file's name
	expr   hcl.Expression // in a file of values
	raw    *string        // on a command line or in the environment: not yet parsed
	at     origin         // in a file of values
}

// variables gives the value of "var": an object with one attribute for each
// variable block, unknown where its value could not be computed.
func (l *loader) variables(blocks hcl.Blocks) map[string]cty.Value {
	var list []*variable
	byName := map[string]*variable{}
	for _, b := range blocks {
		v := l.declare(b)
		if first, again := byName[v.label.string]; again {
			l.errorAt(v.label.at, "Duplicate variable", "The variable %q is declared at %s already.", v.label.string, first.rng)
			continue
		}
		byName[v.label.string] = v
		list = append(list, v)
	}
	values := l.givenValues(byName)
	attrs := map[string]cty.Value{}
	for _, v := range list {
		attrs[v.label.string] = l.variableValue(v, values[v.label.string])
	}
	root := map[string]cty.Value{"var": cty.ObjectVal(attrs)}
	ctx := &hcl.EvalContext{Functions: l.funcs, Variables: root}
	for _, v := range list {
		l.validate(v.with(ctx))
	}
	return root
}

// with is the same variable whose expressions are evaluated in ctx.
func (v *variable) with(ctx *hcl.EvalContext) *variable {
	w := *v
	w.block = v.block.with(ctx)
	return &w
}

func (l *loader) declare(b *hcl.Block) *variable {
	v := &variable{block: l.read(b, variableSchema, &hcl.EvalContext{Functions: l.funcs}), label: label(b), ty: cty.DynamicPseudoType}
	if !hclsyntax.ValidIdentifier(v.label.string) {
		l.errorAt(v.label.at, "Invalid variable name", "%q can't be written as var.NAME: a name starts with a letter and goes on with letters, digits, - and _.", v.label.string)
	}
	if v.has("type") {
		ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(v.attrs["type"].Expr)
		l.diags = append(l.diags, diags...)
		if !diags.HasErrors() {
			v.ty, v.defaults = ty, defaults
		}
		v.typed = true
	}
	v.text("description")
	v.sensitive = v.flag("sensitive", false)
	v.nullable = v.flag("nullable", true)
	return v
}

// givenValues collects the values from outside, the strongest source last.
func (l *loader) givenValues(declared map[string]*variable) map[string]given {
	values := map[string]given{}
	for name := range declared {
		if s, ok := l.opts.Env(envPrefix + name); ok {
			values[name] = given{source: "the environment variable " + envPrefix + name, raw: &s}
		}
	}
	for _, file := range l.opts.VarFiles {
		l.readVarFile(file, declared, values)
	}
	for _, pair := range l.opts.Vars {
		name, s, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok:
			// What there is may be a value: it is not repeated.
			l.plainError("Invalid --var", `--var needs NAME=VALUE; one has no "=".`)
		case declared[name] == nil:
			l.plainError("Unknown variable", fmt.Sprintf("--var sets %q, but the configuration declares no such variable.%s", name, didYouMean(name, names(declared))))
		default:
			values[name] = given{source: "--var", raw: &s}
		}
	}
	return values
}

func names[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for n := range m {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

func (l *loader) readVarFile(name string, declared map[string]*variable, values map[string]given) {
	f := l.parseFile(name)
	if f == nil {
		return
	}
	attrs, diags := f.Body.JustAttributes()
	l.diags = append(l.diags, diags...)
	ctx := &hcl.EvalContext{Functions: l.funcs}
	for _, n := range names(attrs) {
		a := attrs[n]
		v := declared[n]
		if v == nil {
			l.masked = append(l.masked, a.Expr.Range()) // may be a slip for a sensitive one
			l.errorAt(origin{rng: a.NameRange}, "Unknown variable", "The configuration declares no variable %q.%s", n, didYouMean(n, names(declared)))
			continue
		}
		l.values[n] = append(l.values[n], a.Expr)
		if v.sensitive {
			l.hideSource(a.Expr)
		}
		at := origin{rng: a.Expr.Range(), expr: a.Expr, ctx: ctx}
		values[n] = given{value: l.eval(a.Expr, ctx), source: name, expr: a.Expr, at: at}
	}
}

// variableValue settles one variable: its value from outside or its default,
// converted to its type and marked where it is sensitive.
func (l *loader) variableValue(v *variable, g given) cty.Value {
	fallback, hasDefault := l.defaultValue(v)
	val := fallback
	switch {
	case g.source != "":
		val = l.convertGiven(v, g)
		if val.IsKnown() && val.IsNull() && !v.nullable {
			if hasDefault {
				val = fallback
			} else {
				l.errorAt(v.label.at, "Variable is null", "%s sets %q to null, but it has nullable = false.", g.source, v.label.string)
				val = cty.UnknownVal(v.ty)
			}
		}
	case !hasDefault:
		n := v.label.string
		l.errorAt(v.label.at, "Variable without a value", "The variable %q has no default and was given no value. Give it one with --var %s=…, in a file with --var-file=…, or as the environment variable %s%s.", n, n, envPrefix, n)
		val = cty.UnknownVal(v.ty)
	}
	if v.sensitive {
		l.hide(val)
		val = val.Mark(sensitive)
	}
	return val
}

func (l *loader) defaultValue(v *variable) (cty.Value, bool) {
	if !v.has("default") {
		return cty.NilVal, false
	}
	l.values[v.label.string] = append(l.values[v.label.string], v.attrs["default"].Expr)
	if v.sensitive {
		l.hideSource(v.attrs["default"].Expr)
	}
	val := l.eval(v.attrs["default"].Expr, v.ctx)
	if v.sensitive {
		l.hide(val)
		val = val.Mark(sensitive)
	}
	val, ok := l.convertVariable(v, val, "The default", v.at("default"))
	val, _ = val.UnmarkDeep()
	if ok && val.IsKnown() && val.IsNull() && !v.nullable {
		l.errorAt(v.at("default"), "Variable is null", "The default is null, but the variable has nullable = false.")
		return cty.UnknownVal(v.ty), true
	}
	return val, true
}

func (l *loader) convertGiven(v *variable, g given) cty.Value {
	at := v.label.at
	val := g.value
	if g.raw != nil {
		var ok bool
		if val, ok = l.parseGiven(v, g); !ok {
			return cty.UnknownVal(v.ty)
		}
	} else {
		at = g.at
	}
	if v.sensitive {
		l.hide(val)
		val = val.Mark(sensitive)
	}
	what := "The value from " + g.source
	val, _ = l.convertVariable(v, val, what, at)
	val, _ = val.UnmarkDeep()
	return val
}

// parseGiven reads a value from a command line or the environment: as it is for
// a string, a number or a bool (and where no type is declared), as HCL for
// lists, maps and objects.
func (l *loader) parseGiven(v *variable, g given) (cty.Value, bool) {
	if !v.typed || v.ty.IsPrimitiveType() {
		return cty.StringVal(*g.raw), true
	}
	if v.sensitive {
		l.hideText(*g.raw)
	}
	detail := ""
	if diags := checkLimits([]byte(*g.raw), g.source); diags.HasErrors() {
		detail = diags[0].Detail
	} else if expr, diags := hclsyntax.ParseExpression([]byte(*g.raw), g.source, hcl.InitialPos); diags.HasErrors() {
		detail = diags[0].Detail
	} else if val, diags := expr.Value(&hcl.EvalContext{Functions: l.funcs}); diags.HasErrors() {
		detail = diags[0].Detail
	} else {
		return val, true
	}
	if v.sensitive {
		detail = "(the reason is not shown: the variable is sensitive)"
	}
	l.errorAt(v.label.at, "Invalid value for variable", "The value of %q from %s must be %s in HCL syntax: %s", v.label.string, g.source, typeexpr.TypeString(v.ty), detail)
	return cty.NilVal, false
}

func (l *loader) convertVariable(v *variable, val cty.Value, what string, at origin) (cty.Value, bool) {
	if v.defaults != nil && val.IsWhollyKnown() && !val.IsNull() {
		val = v.defaults.Apply(val)
	}
	got, err := convert.Convert(val, v.ty)
	if err == nil {
		return got, true
	}
	detail := err.Error()
	if v.sensitive {
		detail = "it has another type"
	}
	l.errorAt(at, "Invalid value for variable", "%s for the variable %q must be %s: %s.", what, v.label.string, typeexpr.TypeString(v.ty), detail)
	return cty.UnknownVal(v.ty), false
}

// validate checks a variable's validation blocks against its value.
func (l *loader) validate(v *variable) {
	for _, b := range v.blocks {
		rule := l.read(b, validationSchema, v.ctx)
		if !rule.has("condition") || !rule.has("error_message") {
			continue
		}
		condition, _, ok := rule.secret("condition", cty.Bool)
		if !ok || condition.True() {
			continue
		}
		message, marked, ok := rule.secret("error_message", cty.String)
		if !ok {
			continue
		}
		detail := message.AsString()
		if marked {
			detail = "The message is not shown, because it uses a sensitive value."
		}
		// The condition is what failed; the value to be changed is elsewhere.
		l.errorAt(v.label.at, "Invalid value for variable", "%s (The value of %q does not pass the validation at %s.)", detail, v.label.string, rule.at("condition").rng)
	}
}
