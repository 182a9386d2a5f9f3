// Package page gives a saved plan as one HTML page: a timeline with a row for each
// member, the quorum under it, and each step to be opened; after an apply the same with
// what really happened, and when. The page needs nothing from anywhere, and no script:
// what opens does so by itself.
package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/saved"
)

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// view is what the template shows.
type view struct {
	*planner.Plan
	File    *saved.File // nil of a run
	Ran     *render.Ran // nil of a plan
	Quorums bool        // whether the quorum after each step is known
	Diff    bool
	Verdict string
	Mark    string // a word for the verdict's colour
	Risk    string
	Now     string
	Rows    []row
	Steps   []stepView
	Changes []change
	Told    []string
}

type change struct{ Path, Before, After, At string }

// row is a member's line of the timeline.
type row struct {
	Name  string
	Seen  string
	Alarm bool
	Cells []cell
}

// cell is a member at a step: what is done to it, or nothing.
type cell struct {
	ID    int
	Title string // "" where the step is about others
	Ran   *render.RanStep
}

type stepView struct {
	planner.Step
	On, Quorum, Undo, Because, Equivalents string
	Risk                                   planner.Risk
	Bar                                    string // a block for each voter, filled where it is healthy
	Margin                                 string
	Lost                                   bool
	Diffs                                  []fileDiff
	Ran                                    *render.RanStep
	Left, Wide                             float64 // where its bar is, in percent of the run
	Hint                                   string  // its bar in words
}

// fileDiff is how a step changes a file of a service.
type fileDiff struct{ Head, Text string }

// HTML gives the page.
func HTML(f *saved.File) ([]byte, error) {
	p := f.Plan
	v := view{Plan: p, File: f, Diff: f.Basis == saved.BasisDiff, Quorums: true, Now: render.Quorum(p.Before), Mark: "good", Verdict: "Nothing to do"}
	risk, at := p.Risk()
	switch {
	case p.Refusal != nil:
		v.Mark, v.Verdict = "bad", "Refused: there is no safe plan"
	case p.Changes():
		v.Verdict = render.Count(len(p.Steps), "step")
		if p.Loss.Kind == planner.LossUnknown {
			v.Verdict, v.Mark = v.Verdict+". Data may be lost", "warn"
		}
		v.Risk = string(risk.Level)
		if risk.Level != planner.RiskNone {
			v.Mark = "warn"
			v.Risk += fmt.Sprintf(" at step %d: %s", at, risk.Text)
		}
	}
	for _, s := range p.Steps {
		v.Steps = append(v.Steps, viewOf(s))
	}
	v.Rows, v.Told = rows(p, nil), render.Told(p)
	for _, c := range f.Changes {
		v.Changes = append(v.Changes, change{c.Path, render.ChangeValue(c.Before, c.Sensitive), render.ChangeValue(c.After, c.Sensitive), c.Pos.String()})
	}
	return v.bytes()
}

func (v view) bytes() ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, v)
	return b.Bytes(), err
}

// Ran gives the page of a run.
func Ran(r *render.Ran) ([]byte, error) {
	p := r.Plan
	v := view{Plan: p, Ran: r, Quorums: !r.Named, Now: render.Quorum(p.Before)}
	v.Verdict, v.Mark = r.Verdict()
	all := max(r.Seconds, 0.001)
	for i := range r.Steps {
		s, x := &r.Steps[i], viewOf(p.Steps[i])
		x.Ran = s
		x.Left = min(100, 100*s.At/all)
		x.Wide = max(0.5, min(100-x.Left, 100*s.Seconds/all)) // also a short one is seen
		x.Left = min(x.Left, 99.5)
		x.Hint = fmt.Sprintf("%s into the run, %s", render.Took(s.At), s.Took())
		switch s.Outcome {
		case render.RanDone, render.RanSkipped:
		case render.RanUnknown:
			x.Margin, x.Quorum, x.Bar, x.Lost = render.RanUnknown, r.QuorumAfter(i), "", false
		default:
			x.Margin, x.Quorum, x.Bar, x.Lost = "not reached", r.QuorumAfter(i), "", false
		}
		v.Steps = append(v.Steps, x)
	}
	v.Rows = rows(p, r.Steps)
	if !r.Named {
		v.Told = render.Told(p)
	}
	return v.bytes()
}

func viewOf(s planner.Step) stepView {
	v := stepView{Step: s, On: render.On(s), Quorum: render.Quorum(s.After), Undo: s.Undo, Because: s.Reason.Fact, Risk: s.Risk()}
	if v.Undo == "" {
		v.Undo = "no: " + s.NoUndo
	}
	if at := s.Reason.Pos.String(); at != "" {
		v.Because += " (" + at + ")"
	}
	v.Equivalents = strings.Join(s.Equivalent, "\n")
	for _, f := range s.Files {
		head := f.Member + ": " + f.Path
		if f.New {
			head += " (new)"
		}
		v.Diffs = append(v.Diffs, fileDiff{head, render.Diff(f)})
	}
	q := s.After
	v.Bar = strings.Repeat("■", q.Healthy) + strings.Repeat("□", max(0, q.Voters-q.Healthy))
	v.Margin, v.Lost = fmt.Sprintf("may lose %d", q.Tolerance()), !q.Has()
	if v.Lost {
		v.Margin = "no quorum"
	}
	return v
}

// rows are the members of the plan, and those that its steps name beside them.
func rows(p *planner.Plan, ran []render.RanStep) []row {
	var out []row
	add := func(name, seen string, alarm bool) {
		r := row{Name: name, Seen: seen, Alarm: alarm}
		for i, s := range p.Steps {
			c := cell{ID: s.ID}
			if i < len(ran) {
				c.Ran = &ran[i]
			}
			if slices.Contains(s.Target, name) {
				c.Title = s.Title
			}
			r.Cells = append(r.Cells, c)
		}
		out = append(out, r)
	}
	for _, m := range p.Members {
		add(m.Name, m.Seen, m.Alarm)
	}
	for _, s := range p.Steps {
		for _, name := range s.Target {
			if !slices.ContainsFunc(out, func(r row) bool { return r.Name == name }) {
				add(name, "", false)
			}
		}
	}
	return out
}

// Took is how long the run took.
func (v view) Took() string { return render.Took(v.Ran.Seconds) }

// Lost is what the plan gives up, without the word that stands before it.
func (v view) Lost() string { return strings.TrimPrefix(v.Loss.Text, "Lost: ") }
