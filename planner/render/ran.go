package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/requorum/requorum/planner"
)

// Ran is a plan and what became of it, as a journal has it.
type Ran struct {
	Plan *planner.Plan
	// Named is true where the plan itself was not kept, as beside a member's data: of
	// its steps no more is known then than the names of those that began, and no quorum.
	Named bool
	// Unreadable is how many lines of the journal can't be read.
	Unreadable int

	Run, Verb, By, Version string
	Began                  string // when, for people; "?" where the journal does not say
	Result                 string // one of the results below
	Error                  string
	Now                    string  // how the cluster was seen afterwards; "" where it was not
	Seconds                float64 // to the run's end, or to the last that is known of it
	Steps                  []RanStep
}

// RanStep is what became of the plan's step at the same place.
type RanStep struct {
	Outcome     string  // one of the outcomes below
	At, Seconds float64 // when it began, from the run's beginning, and how long it took
	Clock       string  // of its beginning
	Error, Note string
	Phases      []RanPhase
}

// RanPhase is a part of a long step.
type RanPhase struct {
	Clock, Text string
}

// The results of a run, and the outcomes of its steps.
const (
	RanDone        = "done"
	RanStopped     = "stopped"     // by a failure
	RanInterrupted = "interrupted" // by the operator, at a safe point
	RanRunning     = "running"
	RanCutOff      = "cut off" // killed: whether the step was done is not known
	RanFailed      = "failed"
	RanSkipped     = "skipped" // it was as it should be already
	RanNotStarted  = "not started"
	RanUnknown     = "not known" // the journal, or what can be read of it, does not say
)

// Took is a time that something took, in words.
func Took(seconds float64) string {
	if seconds >= 60 {
		return (time.Duration(seconds) * time.Second).String()
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// Took is how long the step took; "" for one that did not begin.
func (s RanStep) Took() string {
	switch s.Outcome {
	case RanDone, RanFailed, RanCutOff, RanRunning:
		return Took(s.Seconds)
	}
	return ""
}

// Began reports whether anything of the step was done.
func (s RanStep) Began() bool { return s.Took() != "" }

// Mark is a sign for an outcome, beside its word.
func (s RanStep) Mark() string {
	switch s.Outcome {
	case RanDone, RanSkipped:
		return "✓"
	case RanFailed:
		return "✗"
	case RanCutOff, RanUnknown:
		return "?"
	case RanRunning:
		return "▸"
	}
	return "·"
}

// Verdict is what came of the run, in one sentence, and how bad that is: "good",
// "warn" or "bad".
func (r *Ran) Verdict() (text, mark string) {
	done := 0
	for _, s := range r.Steps {
		if s.Outcome == RanDone || s.Outcome == RanSkipped {
			done++
		}
	}
	of, at := fmt.Sprintf("%d of %s", done, Count(len(r.Steps), "step")), r.at()
	switch r.Result {
	case RanDone:
		return fmt.Sprintf("Done: %s in %s", of, Took(r.Seconds)), "good"
	case RanStopped:
		return "Stopped" + at + ", with " + of + " done", "bad"
	case RanInterrupted:
		return "Interrupted" + at + ", with " + of + " done", "warn"
	case RanRunning:
		return "Running" + at + ", with " + of + " done", "warn"
	}
	text = "Cut off" + at + ", with " + of + " done: "
	if r.Named {
		// A copy has what reached it, and is not locked by whoever is at work.
		return text + "this copy ends here. The journal itself says more, and requorum plan gives the rest of the way", "bad"
	}
	return text + "whoever carried it out was killed. requorum plan gives the rest of the way", "bad"
}

// at is where the run was when it ended, as it goes on in a sentence: at a step, or
// before the first that is not done.
func (r *Ran) at() string {
	word, at := "", 0
	for i, s := range r.Steps {
		begun := s.Outcome == RanFailed || s.Outcome == RanCutOff || s.Outcome == RanRunning
		switch {
		case begun, s.Outcome == RanNotStarted && s.Error != "" && word != " at":
			word, at = " at", i // the last such, for one goes on only after a step
		case word == "" && s.Outcome != RanDone && s.Outcome != RanSkipped:
			word, at = " before", i
		}
	}
	if word == "" {
		if len(r.Steps) == 0 || r.Result == RanDone {
			return ""
		}
		word, at = " after", len(r.Steps)-1
	}
	return fmt.Sprintf("%s step %d, %s", word, r.Plan.Steps[at].ID, r.Plan.Steps[at].Title)
}

// Gaps says what is missing from the journal; "" for nothing.
func (r *Ran) Gaps() string {
	if r.Unreadable == 0 {
		return ""
	}
	verb := "are"
	if r.Unreadable == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%s of the journal %s not readable, as a crash leaves it: what stood there is missing here", Count(r.Unreadable, "line"), verb)
}

// RanMarkdown gives a run as a comment, in at most limit bytes: what came of it first,
// and whole.
func RanMarkdown(r *Ran, limit int) string {
	m := &markdown{limit: max(limit, MarkdownLeast) - len(cutNote)}
	text, mark := r.Verdict()
	sign := map[string]string{"good": "✅", "warn": "⚠️", "bad": "⛔"}[mark]
	var b strings.Builder
	// In less than MarkdownLeast bytes, whatever the journal has.
	fmt.Fprintf(&b, "<!-- requorum:run %s -->\n## %s Cluster %s: %s\n\n**%s**\n\n| | |\n|---|---|\n", commentWord(r.Plan.Cluster), sign, fitted(short(r.Plan.Cluster, 100), 200), fitted(r.Verb, 40), fitted(text, 400))
	row := func(what, text string, most int) {
		if text != "" {
			fmt.Fprintf(&b, "| **%s** | %s |\n", what, fitted(short(text, 400), most))
		}
	}
	row("Error", r.Error, 700)
	row("Found", r.Plan.Headline, 500)
	row("Left", r.Now, 500)
	row("Began", r.Began+", by "+r.By, 200)
	row("Took", Took(r.Seconds), 40)
	row("Run", r.Run, 250)
	row("Missing", r.Gaps(), 200)
	m.always(b.String())
	m.table("### What happened", []string{"#", "Step", "On", "Result", "Took", "Quorum after"}, len(r.Steps), func(i int) []string {
		s, p := r.Steps[i], r.Plan.Steps[i]
		result := s.Mark() + " " + s.Outcome
		if s.Note != "" {
			result += ": " + s.Note
		}
		return []string{fmt.Sprint(p.ID), p.Title, On(p), result, or(s.Took(), "–"), r.QuorumAfter(i)}
	})
	if len(r.Steps) > 0 {
		m.section(r.mermaid())
	}
	for i, s := range r.Steps {
		if s.Error == "" && len(s.Phases) == 0 {
			continue
		}
		p := r.Plan.Steps[i]
		var b strings.Builder
		fmt.Fprintf(&b, "\n<details><summary>Step %d: %s %s</summary>\n\n", p.ID, escape(p.Title), escape(On(p)))
		if s.Error != "" {
			b.WriteString(escape(s.Error) + "\n\n")
		}
		for _, x := range s.Phases {
			fmt.Fprintf(&b, "- %s %s\n", x.Clock, escape(x.Text))
		}
		b.WriteString("\n</details>\n")
		m.section(b.String())
	}
	m.section("\n<sub>requorum " + escape(r.Version) + "</sub>\n")
	return m.text()
}

// QuorumAfter is the quorum after a step: as planned, for those that were done.
func (r *Ran) QuorumAfter(i int) string {
	switch s := r.Steps[i]; {
	case r.Named:
		return "not kept"
	case s.Outcome == RanDone, s.Outcome == RanSkipped:
		return Quorum(r.Plan.Steps[i].After)
	case s.Outcome == RanUnknown:
		return RanUnknown
	case s.Began():
		return "not reached"
	}
	return "–"
}

// mermaid is how long each step took, as a timeline.
func (r *Ran) mermaid() string {
	var b strings.Builder
	b.WriteString("\n```mermaid\ntimeline\n    title What each step took\n")
	for i, s := range r.Steps {
		if i == mostPeriods {
			fmt.Fprintf(&b, "    and %d more : see above\n", len(r.Steps)-i)
			break
		}
		p := r.Plan.Steps[i]
		fmt.Fprintf(&b, "    %d %s %s : %s", p.ID, diagramWord(p.Title), diagramWord(short(On(p), 40)), diagramWord(s.Outcome))
		if t := s.Took(); t != "" {
			b.WriteString(" : " + t)
		}
		b.WriteString("\n")
	}
	b.WriteString("```\n")
	return b.String()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
