package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/fatih/color"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// How an apply or a stop says what came of it.

// stoppedAt says in which state things are, whether they can stay so, and what
// planning again would do.
func (s *session) stoppedAt(err error, p, now *planner.Plan, run *journal.Run) error {
	code, word := endCode(err)
	var step *executor.StepError
	if !errors.As(err, &step) {
		return exitWith(code, fmt.Errorf("nothing was changed: %w", err))
	}
	fmt.Fprintf(os.Stderr, "\n%s\n", render.Paragraph(color.RedString(word+" at")+" "+err.Error(), errStyle()))
	facts := []render.Fact{{Label: "The cluster now", Text: "unknown: it could not be looked at"}}
	if now != nil {
		facts[0].Text = now.Headline
		facts = append(facts,
			render.Fact{Label: "Quorum", Text: render.Quorum(now.Before)},
			render.Fact{Label: "Safe to leave", Text: safeToLeave(now)},
			render.Fact{Label: "Plan again", Text: planAgain(now)})
	}
	if !step.Acted {
		text := "nothing: no step was begun"
		if s.saved != nil && s.saved.taken {
			text += "; the saved plan counts as used all the same"
		}
		facts = append(facts, render.Fact{Label: "Changed", Text: text})
	} else {
		facts = append(facts, render.Fact{Label: "Data", Text: "none was removed"})
	}
	facts = append(facts, render.Fact{Label: "Journal", Text: run.Path()})
	fmt.Fprint(os.Stderr, render.Facts(facts, errStyle()))
	fmt.Fprintln(os.Stderr, "  requorum plan gives the rest of the way from here.")
	return exitWith(code, nil)
}

// errStyle is style for stderr.
func errStyle() render.Style {
	st := style()
	st.Width = widthOf(os.Stderr)
	return st
}

// endCode is the exit code for a run that did not get through, and a word for it.
func endCode(err error) (int, string) {
	var step *executor.StepError
	var changed *executor.ChangedError
	var lost *host.LostError
	var locked *host.LockedError
	switch {
	case !errors.As(err, &step):
		return exitError, "Stopped"
	case step.Interrupted:
		return exitInterrupted, "Interrupted"
	case step.Acted:
		return exitPartWay, "Stopped"
	case errors.As(err, &changed):
		return exitStale, "Stopped"
	case errors.As(err, &lost), errors.As(err, &locked):
		return exitLocked, "Stopped"
	}
	return exitError, "Stopped"
}

// safeToLeave says what it means to go home now.
func safeToLeave(now *planner.Plan) string {
	q := now.Before
	switch {
	case now.Route == planner.RouteInSync:
		return "yes: it is as the file says"
	case q.Has() && q.Tolerance() > 0:
		return fmt.Sprintf("yes: clients are served, and %s may fail", render.Count(q.Tolerance(), "more voter"))
	case q.Has() && q.Voters == 1:
		return "yes: clients are served, by the one voter that there is"
	case q.Has():
		return "for a while: clients are served, and no further voter may fail"
	case now.Refusal != nil:
		return "no client is served by a quorum; no data is lost by waiting, and the plan says what stands in the way"
	case now.Route == planner.RouteStop:
		return "yes: all data is kept"
	}
	return "no client is served until it is carried on; no data is lost by waiting"
}

// planAgain says what the next plan would be.
func planAgain(now *planner.Plan) string {
	switch {
	case now.Refusal != nil:
		return fmt.Sprintf("is refused for now: %s (%s)", now.Refusal.Title, now.Refusal.Code)
	case len(now.Steps) == 0:
		return "finds nothing left to do"
	}
	var todo []string
	for _, st := range now.Steps {
		if len(todo) == 4 {
			todo = append(todo, "…")
			break
		}
		todo = append(todo, st.Title+" "+render.On(st))
	}
	text := fmt.Sprintf("takes %s: %s", render.Count(len(now.Steps), "step"), strings.Join(todo, "; "))
	if missing := planner.Missing(now.Needs, nil); len(missing) > 0 {
		var names []string
		for _, n := range missing {
			names = append(names, string(n.Consent))
		}
		text += "; it needs --accept=" + strings.Join(names, ",")
	}
	return text
}

// finished says how the cluster stands after a plan was carried out.
func finished(p, now *planner.Plan, verb string, behind []string) {
	text := doneText(p)
	if len(behind) > 0 {
		up := slices.DeleteFunc(slices.Clone(p.Steps[len(p.Steps)-1].Target), func(name string) bool { return slices.Contains(behind, name) })
		text = fmt.Sprintf("%s serve cluster %s, without %s: see above", strings.Join(up, ", "), p.ID(), strings.Join(behind, ", "))
	}
	fmt.Printf("\n%s %s.\n", color.GreenString("Done:"), text)
	if verb == "apply" && now != nil && now.Route != planner.RouteInSync {
		fmt.Printf("  Not yet as the file says: %s.\n", now.Headline)
	}
}

func doneText(p *planner.Plan) string {
	last := p.Steps[len(p.Steps)-1]
	switch {
	case p.Route == planner.RouteStop:
		var all []string
		for _, st := range p.Steps {
			all = append(all, st.Target...)
		}
		return strings.Join(all, ", ") + " stopped; all data is kept"
	case last.Kind == planner.Verify{}.Kind() && len(last.Target) == 1:
		return fmt.Sprintf("%s serves cluster %s", last.Target[0], p.ID())
	case last.Kind == planner.Verify{}.Kind():
		return fmt.Sprintf("%s serve cluster %s with equal data.\n  Quorum %s", strings.Join(last.Target, ", "), p.ID(), render.Quorum(last.After))
	}
	return last.Title + " " + strings.Join(last.Target, ", ")
}

// ownSum is the sha256 of this program, for the journal; "" where it can't be read.
// It is worked out while the cluster is looked at.
var ownSum = sync.OnceValue(func() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
})
