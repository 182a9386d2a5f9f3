package load

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/requorum/requorum/spec"
)

// WriteDiagnostics writes r.Diags to w as text: what is wrong, the line with
// its subject underlined (where color is true), the values used there, and what
// to do. width is that of the terminal, or 0 for lines of any length. Sensitive
// values do not appear.
func WriteDiagnostics(w io.Writer, r Result, width uint, color bool) error {
	return hcl.NewDiagnosticTextWriter(w, r.Files, width, color).WriteDiagnostics(r.Diags)
}

// Diagnostic is an error or a warning in the form that --json prints.
type Diagnostic struct {
	Severity string `json:"severity"` // "error" or "warning"
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	Range    *Range `json:"range,omitempty"`
}

// Range is a part of a file, End exclusive.
type Range struct {
	Filename string `json:"filename"`
	Start    Point  `json:"start"`
	End      Point  `json:"end"`
}

// Point is a place in a file; Line and Column count from 1, Byte from 0.
type Point struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	Byte   int `json:"byte"`
}

// DiagnosticsJSON gives diagnostics as values for encoding/json; never nil, so
// that none is an empty list.
func DiagnosticsJSON(diags hcl.Diagnostics) []Diagnostic {
	list := make([]Diagnostic, 0, len(diags))
	for _, d := range diags {
		j := Diagnostic{Severity: "error", Summary: d.Summary, Detail: d.Detail}
		if d.Severity == hcl.DiagWarning {
			j.Severity = "warning"
		}
		if d.Subject != nil {
			j.Range = &Range{d.Subject.Filename, point(d.Subject.Start), point(d.Subject.End)}
		}
		list = append(list, j)
	}
	return list
}

func point(p hcl.Pos) Point { return Point{p.Line, p.Column, p.Byte} }

func position(r hcl.Range) spec.Position {
	return spec.Position{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

func (l *loader) errorAt(at origin, summary, format string, args ...any) {
	l.report(hcl.DiagError, at, summary, fmt.Sprintf(format, args...))
}

func (l *loader) warnAt(at origin, summary, format string, args ...any) {
	l.report(hcl.DiagWarning, at, summary, fmt.Sprintf(format, args...))
}

// plainError reports what has no place in a file.
func (l *loader) plainError(summary, detail string) {
	l.diags = append(l.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail})
}

func (l *loader) report(severity hcl.DiagnosticSeverity, at origin, summary, detail string) {
	d := &hcl.Diagnostic{Severity: severity, Summary: summary, Detail: detail, Subject: at.rng.Ptr()}
	if at.expr != nil && at.ctx != nil {
		d.Expression, d.EvalContext = at.expr, at.ctx
	}
	l.diags = append(l.diags, d)
}

// ordered gives diagnostics in the order of the files, those without a place
// first. What each instance of a for_each repeats is there once.
func ordered(diags hcl.Diagnostics) hcl.Diagnostics {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		var ra, rb hcl.Range
		if a.Subject != nil {
			ra = *a.Subject
		}
		if b.Subject != nil {
			rb = *b.Subject
		}
		return cmp.Or(cmp.Compare(ra.Filename, rb.Filename), cmp.Compare(ra.Start.Byte, rb.Start.Byte), cmp.Compare(a.Summary, b.Summary), cmp.Compare(a.Detail, b.Detail))
	})
	return slices.CompactFunc(diags, func(a, b *hcl.Diagnostic) bool {
		same := a.Subject == b.Subject || a.Subject != nil && b.Subject != nil && *a.Subject == *b.Subject
		return same && a.Severity == b.Severity && a.Summary == b.Summary && a.Detail == b.Detail
	})
}

// hide notes the texts of a sensitive value for redact.
func (l *loader) hide(v cty.Value) {
	v, _ = v.UnmarkDeep()
	_ = cty.Walk(v, func(_ cty.Path, e cty.Value) (bool, error) {
		if e.IsKnown() && !e.IsNull() {
			switch e.Type() {
			case cty.String:
				l.hideText(e.AsString())
			case cty.Number:
				l.hideText(formatNumber(e))
			}
		}
		return true, nil
	})
}

// hideText notes one text, also as it stands between quotes. One or two characters
// are no secret, and blanking them out everywhere would give them away.
func (l *loader) hideText(s string) {
	if len(s) < 3 {
		return
	}
	l.secrets = append(l.secrets, s)
	if q := strconv.Quote(s); q[1:len(q)-1] != s {
		l.secrets = append(l.secrets, q[1:len(q)-1])
	}
}

// hideSource notes that an expression holds a secret in so many words: what is
// written out in it is masked, references are not.
func (l *loader) hideSource(expr hcl.Expression) {
	node, native := expr.(hclsyntax.Expression)
	if literal(expr) || !native {
		l.masked = append(l.masked, expr.Range())
		return
	}
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		if e, ok := n.(hclsyntax.Expression); ok && literal(e) {
			l.masked = append(l.masked, e.Range())
		}
		return nil
	})
}

// redact is the second line behind the marks on sensitive values: it blanks out
// their text in messages and in the source that diagnostics quote, and takes away
// the values of a message's variables where one of them is, or is in, a secret.
func (l *loader) redact() {
	slices.SortFunc(l.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	l.suspects = map[string][]suspect{}
	for name, f := range l.files {
		l.suspects[name] = suspicious(f.Bytes, l.broken[name], slices.Contains(l.opts.VarFiles, name))
		l.scrubWords(name, f.Bytes)
	}
	for name, f := range l.files {
		l.files[name] = &hcl.File{Body: f.Body, Nav: f.Nav, Bytes: l.blank(name, f.Bytes)}
	}
	for _, d := range l.diags {
		for _, s := range l.secrets {
			d.Summary = strings.ReplaceAll(d.Summary, s, "(sensitive)")
			d.Detail = strings.ReplaceAll(d.Detail, s, "(sensitive)")
		}
		d.Detail = urlUser.ReplaceAllString(d.Detail, "://(sensitive)@")
		if d.Expression != nil && d.EvalContext != nil && l.usesSecret(d.Expression, d.EvalContext) {
			d.Expression, d.EvalContext = nil, nil
		}
	}
}

// usesSecret reports whether a value that an expression refers to has to do with a
// secret: also one that nobody called sensitive, and that a URL with a password in it
// was made of.
func (l *loader) usesSecret(expr hcl.Expression, ctx *hcl.EvalContext) bool {
	for _, t := range expr.Variables() {
		v, diags := t.TraverseAbs(ctx)
		if diags.HasErrors() || !v.IsKnown() || v.IsNull() || v.IsMarked() || v.Type() != cty.String {
			continue // not shown
		}
		text := v.AsString()
		if urlUser.MatchString(text) || slices.ContainsFunc(l.secrets, func(s string) bool {
			return strings.Contains(text, s) || len(text) > 2 && strings.Contains(s, text)
		}) {
			return true
		}
	}
	return false
}

// urlUser and urlSecret are what looks like a secret in a URL.
var (
	urlUser   = regexp.MustCompile(`://[^\s"]*@`)
	urlSecret = regexp.MustCompile(`(?i)[?&][^=&\s"]*(?:sig|token|key|secret|pass|cred)[^=&\s"]*=[^&\s"]*`)
)

// blank overwrites secrets byte by byte, so that positions stay what they were.
func (l *loader) blank(name string, src []byte) []byte {
	src = slices.Clone(src)
	stars := func(b []byte) {
		for i := range b {
			if b[i] != '\n' {
				b[i] = '*'
			}
		}
	}
	for _, r := range l.masked {
		if r.Filename == name && r.CanSliceBytes(src) {
			stars(r.SliceBytes(src))
		}
	}
	for _, part := range l.suspects[name] {
		stars(src[part.from:part.to])
	}
	for _, s := range l.secrets {
		for rest := src; ; {
			i := strings.Index(string(rest), s)
			if i < 0 {
				break
			}
			stars(rest[i : i+len(s)])
			rest = rest[i+len(s):]
		}
	}
	return src
}
