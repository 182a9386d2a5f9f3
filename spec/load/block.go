package load

import (
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// block is one block of the file, or one of the several that its for_each
// makes, with methods that read its attributes. They report what is wrong with
// an attribute themselves and then give "absent".
type block struct {
	l        *loader
	kind     string // "member", "host" and so on, for messages
	attrs    hcl.Attributes
	blocks   hcl.Blocks
	ctx      *hcl.EvalContext
	rng      hcl.Range
	required map[string]bool
}

// read takes a block apart along schema; what it does not know is reported.
func (l *loader) read(b *hcl.Block, schema *hcl.BodySchema, ctx *hcl.EvalContext) block {
	content, diags := b.Body.Content(schema)
	l.diags = append(l.diags, diags...)
	required := map[string]bool{}
	for _, a := range schema.Attributes {
		required[a.Name] = a.Required
	}
	return block{l: l, kind: b.Type, attrs: content.Attributes, blocks: content.Blocks, ctx: ctx, rng: b.DefRange, required: required}
}

// schema writes a hcl.BodySchema: attributes as words, a required one with a
// "!"; blocks with a "{", and a label with "{NAME".
func schema(words string) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for _, w := range strings.Fields(words) {
		if name, label, isBlock := strings.Cut(w, "{"); isBlock {
			h := hcl.BlockHeaderSchema{Type: name}
			if label != "" {
				h.LabelNames = []string{label}
			}
			s.Blocks = append(s.Blocks, h)
			continue
		}
		name, required := strings.CutSuffix(w, "!")
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: name, Required: required})
	}
	return s
}

// with is the same block evaluated in another context.
func (b block) with(ctx *hcl.EvalContext) block {
	b.ctx = ctx
	return b
}

// at is the place of an attribute's value, or of the block where it has none.
func (b block) at(name string) origin {
	if a, ok := b.attrs[name]; ok {
		return origin{rng: a.Expr.Range(), expr: a.Expr, ctx: b.ctx}
	}
	return origin{rng: b.rng}
}

func (b block) has(name string) bool { return b.attrs[name] != nil }

// secret gives an attribute that may be sensitive.
func (b block) secret(name string, want cty.Type) (v cty.Value, marked, ok bool) {
	a := b.attrs[name]
	if a == nil {
		return cty.NilVal, false, false
	}
	v = b.l.eval(a.Expr, b.ctx)
	if v, ok = b.l.convertTo(v, want, name, b.at(name)); !ok || !v.IsWhollyKnown() {
		return cty.NilVal, false, false
	}
	marked = v.ContainsMarked()
	v, _ = v.UnmarkDeep()
	if v.IsNull() {
		if b.required[name] {
			b.l.errorAt(b.at(name), "Missing required argument", "%s must have a value; it is null.", name)
		}
		return cty.NilVal, marked, false
	}
	return v, marked, true
}

// guarded is secret for an attribute that is a secret whoever gives it: why it can't be
// computed is not told where the reason may have a part of it, as the arguments of a
// function. What env and file say of a name or a path is told.
func (b block) guarded(name string, want cty.Type) (v cty.Value, marked, ok bool) {
	before := len(b.l.diags)
	if a := b.attrs[name]; a != nil && b.l.checkReferences(a.Expr, b.ctx) {
		v, marked, ok = b.secret(name, want)
	}
	for _, d := range b.l.diags[before:] {
		if call, is := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); is && call.FunctionCallError() != nil {
			switch call.CalledFunctionName() {
			case "env", "file":
			default:
				withhold(hcl.Diagnostics{d}, name+" may be a secret")
			}
		}
	}
	return v, marked, ok
}

// value gives an attribute that may not be sensitive.
func (b block) value(name string, want cty.Type) (cty.Value, bool) {
	v, marked, ok := b.secret(name, want)
	if marked {
		b.l.errorAt(b.at(name), "Sensitive value shown", "%s comes from a sensitive variable, but plans, logs and command lines show it. Only auth.password and snapshot.source may be sensitive: use a variable without sensitive = true.", name)
		return cty.NilVal, false
	}
	return v, ok
}

// text gives a string; an empty one is an error.
func (b block) text(name string) text {
	v, ok := b.value(name, cty.String)
	if !ok {
		return text{at: b.at(name)}
	}
	if v.AsString() == "" {
		b.l.errorAt(b.at(name), "Empty value", "%s must not be empty.%s", name, b.leaveOut(name))
	}
	return text{v.AsString(), b.at(name)}
}

func (b block) leaveOut(name string) string {
	if b.required[name] {
		return ""
	}
	return " To have the default, leave it out or give null."
}

// texts gives a list of strings, each with its own place where the file writes
// them out one by one; nil where there is none.
func (b block) texts(name string) []text {
	v, ok := b.value(name, cty.List(cty.String))
	if !ok {
		return nil
	}
	places := b.elements(name, v.LengthInt())
	list := []text{}
	for i, e := range v.AsValueSlice() {
		if e.IsNull() || e.AsString() == "" {
			b.l.errorAt(places[i], "Empty value", "An element of %s is empty.", name)
			continue
		}
		list = append(list, text{e.AsString(), places[i]})
	}
	return list
}

func (b block) elements(name string, n int) []origin {
	places := make([]origin, n)
	exprs, diags := hcl.ExprList(b.attrs[name].Expr)
	for i := range places {
		places[i] = b.at(name)
		if !diags.HasErrors() && len(exprs) == n {
			places[i] = origin{rng: exprs[i].Range(), expr: exprs[i], ctx: b.ctx}
		}
	}
	return places
}

// flag gives a bool, or def where there is none.
func (b block) flag(name string, def bool) bool {
	if v, ok := b.value(name, cty.Bool); ok {
		return v.True()
	}
	return def
}

// integer gives a whole number between low and high.
func (b block) integer(name string, low, high int64) (int64, bool) {
	v, ok := b.value(name, cty.Number)
	if !ok {
		return 0, false
	}
	n, exact := wholeNumber(v)
	if !exact || n < low || n > high {
		b.l.errorAt(b.at(name), "Number out of range", "%s must be a whole number from %d to %d; it is %s.", name, low, high, formatNumber(v))
		return 0, false
	}
	return n, true
}

// formatNumber writes a number as a command line has it: in digits, never with
// an exponent.
func formatNumber(v cty.Value) string {
	f := v.AsBigFloat()
	if s := f.Text('f', -1); len(s) < 40 {
		return s
	}
	return strconv.Quote(f.Text('g', 10))
}

// only gives the one block of a type that may stand once; further ones are
// reported.
func (b block) only(kind string) *hcl.Block {
	found := b.blocks.OfType(kind)
	if len(found) == 0 {
		return nil
	}
	for _, again := range found[1:] {
		b.l.errorAt(origin{rng: again.DefRange}, "Duplicate "+kind+" block", "A %s has one %s block; the first is at %s. Make them one.", b.kind, kind, found[0].DefRange)
	}
	return found[0]
}

// instance is one of the blocks that a for_each makes.
type instance struct {
	block
	name text
}

// expand gives the instances of a block that may have for_each, each with its
// name. ok is false where for_each or a name could not be computed.
func (b block) expand(label text) (list []instance, ok bool) {
	if !b.has("for_each") {
		name := b.name(label)
		return []instance{{b, name}}, name.given()
	}
	elements, ok := b.forEach()
	if !ok {
		return nil, false
	}
	if len(elements) > 1 && !b.has("name") {
		b.l.errorAt(label.at, "Duplicate "+b.kind+" name", "for_each makes %d %ss here and all would be called %q. Add name = each.key.", len(elements), b.kind, label.string)
		return nil, false
	}
	for _, e := range elements {
		inner := b.with(b.ctx.NewChild())
		inner.ctx.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": e.key, "value": e.value})}
		name := inner.name(label)
		ok = ok && name.given()
		list = append(list, instance{inner, name})
	}
	return list, ok
}

func (b block) name(label text) text {
	if b.has("name") {
		return b.text("name")
	}
	return label
}

type element struct{ key, value cty.Value }

// forEach evaluates for_each to its elements in the order of their keys.
func (b block) forEach() ([]element, bool) {
	at := b.at("for_each")
	v := b.l.eval(b.attrs["for_each"].Expr, b.ctx)
	ty := v.Type()
	switch {
	case v.IsMarked():
		b.l.errorAt(at, "Sensitive for_each", "for_each comes from a sensitive variable, but its keys become names, which plans show.")
		return nil, false
	case !v.IsKnown():
		return nil, false
	case v.IsNull(), !ty.IsObjectType() && !ty.IsMapType() && (!ty.IsSetType() || ty.ElementType() != cty.String):
		hint := ""
		if !v.IsNull() && (ty.IsListType() || ty.IsTupleType()) {
			hint = " Write toset(…) around the list."
		}
		b.l.errorAt(at, "Wrong for_each", "for_each must be a map, an object or a set of strings; it is %s.%s", kindOf(v), hint)
		return nil, false
	}
	var list []element
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if !key.IsKnown() || key.IsNull() {
			return nil, false
		}
		list = append(list, element{key, value})
	}
	return list, true
}

func kindOf(v cty.Value) string {
	if v.IsNull() {
		return "null"
	}
	return "a " + v.Type().FriendlyName()
}

// label is a block's label with its place.
func label(b *hcl.Block) text {
	if len(b.Labels) == 0 || len(b.LabelRanges) == 0 {
		return text{at: origin{rng: b.DefRange}}
	}
	return text{b.Labels[0], origin{rng: b.LabelRanges[0]}}
}

// literal tells whether an expression has its text written out in the file.
func literal(expr hcl.Expression) bool {
	switch expr.(type) {
	case *hclsyntax.LiteralValueExpr, *hclsyntax.TemplateExpr, *hclsyntax.TemplateWrapExpr,
		*hclsyntax.ObjectConsExpr, *hclsyntax.TupleConsExpr:
		return true
	case hclsyntax.Expression:
		return false
	}
	return len(expr.Variables()) == 0 // JSON, where a string is also a template
}
