package render_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/saved"
)

// long are texts that grow when they are escaped, or have long characters.
var long = []string{"x", "é`", "&", "#", "𝕏", "|", "-", "\x00&"}

// TestRanMarkdownFits: whatever the journal has, a run's comment has no more bytes than it
// may have, nothing of it is cut in the middle, and what came of the run is in it.
func TestRanMarkdownFits(t *testing.T) {
	for _, char := range long {
		for _, n := range []int{0, 1, 30, 500, 4000} {
			text := strings.Repeat(char, n)
			for _, steps := range []int{0, 1, 45, 400} {
				r := &render.Ran{
					Plan: &planner.Plan{Cluster: text, Headline: text}, Run: text, Verb: text, By: text, Version: text,
					Began: text, Result: render.RanStopped, Error: text, Now: text, Seconds: 1e9, Unreadable: 1 << 40,
				}
				for i := range steps {
					title := text
					if i > 1 && n > 100 {
						title = "start"
					}
					r.Plan.Steps = append(r.Plan.Steps, planner.Step{ID: i + 1, Title: title, Target: []string{title}})
					r.Steps = append(r.Steps, render.RanStep{Outcome: render.RanFailed, Seconds: 1e9, Error: title, Note: title, Phases: []render.RanPhase{{Clock: "12:00:00", Text: title}}})
				}
				limits := []int{render.MarkdownLeast, render.MarkdownLeast + 1, 5000, 6000, 10000, 20000, render.MarkdownLimit}
				whole := len(render.RanMarkdown(r, 1<<30))
				limits = append(limits, max(whole-1, render.MarkdownLeast), max(whole, render.MarkdownLeast), max(whole+1, render.MarkdownLeast), 1)
				for _, limit := range limits {
					got, name := render.RanMarkdown(r, limit), fmt.Sprintf("%q × %d, %d steps, %d bytes", char, n, steps, limit)
					if len(got) > max(limit, render.MarkdownLeast) {
						t.Errorf("%s: has %d", name, len(got))
					}
					if strings.Count(got, "<details>") != strings.Count(got, "</details>") || strings.Count(got, "\n```")%2 != 0 {
						t.Errorf("%s: something is cut in the middle", name)
					}
					if !strings.Contains(got, "**Stopped") || !strings.Contains(got, "| **Took** |") || !strings.Contains(got, "lines of the journal") {
						t.Errorf("%s: what came of it is not in it:\n%s", name, got)
					}
					if !strings.HasPrefix(got, "<!-- requorum:run ") || strings.Index(got, "-->") > 300 {
						t.Errorf("%s: begins %.350s", name, got)
					}
				}
			}
		}
	}
}

// TestMarkdownFits: the same of a plan.
func TestMarkdownFits(t *testing.T) {
	for _, char := range long {
		for _, n := range []int{0, 1, 60, 300, 4000} {
			text := strings.Repeat(char, n)
			p := &planner.Plan{Cluster: text, Headline: text, Loss: planner.Loss{Kind: planner.LossUnknown, Text: text}}
			for i := range 8 {
				p.Steps = append(p.Steps, planner.Step{ID: i + 1, Title: text, Target: []string{text}, NoUndo: text, Wait: text, Reason: planner.Reason{Fact: text}})
				p.Needs = append(p.Needs, planner.Need{Consent: planner.Consent(text), Why: text})
			}
			f := &saved.File{Plan: p, Digest: "aaaa-bbbb-cccc-dddd-eeee", Unchecked: text, Version: text, Timestamp: text}
			for _, limit := range []int{render.MarkdownLeast, 5000, 20000, render.MarkdownLimit} {
				got := render.Markdown(f, limit)
				if len(got) > limit || !strings.Contains(got, f.Digest) || !strings.Contains(got, "Data may be lost") {
					t.Errorf("%q × %d: %d bytes of %d:\n%.300s", char, n, len(got), limit, got)
				}
			}
		}
	}
}

// TestMarkerIsOneClusters: long names of clusters do not share a comment.
func TestMarkerIsOneClusters(t *testing.T) {
	a, b := render.Marker(strings.Repeat("x", 1000)+"a"), render.Marker(strings.Repeat("x", 1000)+"b")
	if a == b || a != render.Marker(strings.Repeat("x", 1000)+"a") || strings.Count(a, "--") != 2 {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestVerdictSaysWhere: a run that did not get through says at which step it was, or
// before which.
func TestVerdictSaysWhere(t *testing.T) {
	for _, c := range []struct {
		result   string
		outcomes string // of three steps, by their first letters; E: not started, with an error
		named    bool
		says     string
	}{
		{render.RanCutOff, "d?n", false, "Cut off at step 2, s2, with 1 of 3 steps done: whoever"},
		{render.RanCutOff, "ddn", false, "Cut off before step 3, s3, with 2 of 3 steps done: whoever"},
		{render.RanCutOff, "nnn", false, "Cut off before step 1, s1"},
		{render.RanCutOff, "ddd", false, "Cut off after step 3, s3, with 3 of 3"},
		{render.RanCutOff, "dd ", true, "Cut off before step 3, s3, with 2 of 3 steps done: this copy ends here"},
		{render.RanStopped, "dfn", false, "Stopped at step 2, s2"},
		{render.RanStopped, "dEn", false, "Stopped at step 2, s2"},
		{render.RanStopped, "d n", false, "Stopped before step 2, s2"},
		{render.RanInterrupted, "dnn", false, "Interrupted before step 2, s2"},
		{render.RanRunning, "dr ", false, "Running at step 2, s2"},
		{render.RanDone, "dsd", false, "Done: 3 of 3 steps in"},
	} {
		r := &render.Ran{Plan: &planner.Plan{}, Named: c.named, Result: c.result}
		for i, o := range c.outcomes {
			r.Plan.Steps = append(r.Plan.Steps, planner.Step{ID: i + 1, Title: fmt.Sprint("s", i+1)})
			s := render.RanStep{Outcome: map[rune]string{
				'd': render.RanDone, 's': render.RanSkipped, 'f': render.RanFailed, 'n': render.RanNotStarted, 'E': render.RanNotStarted,
				'?': render.RanCutOff, 'r': render.RanRunning, ' ': render.RanUnknown,
			}[o]}
			if o == 'E' {
				s.Error = "the cluster changed"
			}
			r.Steps = append(r.Steps, s)
		}
		if got, _ := r.Verdict(); !strings.HasPrefix(got, c.says) {
			t.Errorf("%s %q: %s; want %s", c.result, c.outcomes, got, c.says)
		}
	}
	if got, _ := (&render.Ran{Plan: &planner.Plan{}, Result: render.RanCutOff}).Verdict(); !strings.HasPrefix(got, "Cut off, with 0 of 0 steps done") {
		t.Error(got)
	}
}
