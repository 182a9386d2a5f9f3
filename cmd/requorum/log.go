package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/render/page"
)

func newLog() *cobra.Command {
	var asJSON bool
	var dir string
	f := &form{}
	cmd := &cobra.Command{
		Use:   "log [RUN]",
		Short: "Show what applies and stops did",
		Long: `Lists the runs that changed something, or tried to, from this machine, the newest
first; with RUN, its steps: as text, as JSON, as Markdown, or as one HTML page, the
plan's own with what really happened and how long it took. RUN is a run's name, any
part of it that no other has, or "last".

The journal explains, and never drives: what is to be done next is always read
from the cluster and the disks. A copy of a run's journal lies beside each data
directory that it touched, in DATA_DIR.requorum/runs: --dir reads these.

Exit codes: 0 done, 1 there is no such run, or the journal can't be read.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if asJSON {
				f.format = "json"
			}
			if err := f.check(); err != nil {
				return err
			}
			if len(args) == 0 && f.format != "text" && f.format != "json" {
				return fmt.Errorf("--format %s is of one run: name it, or write last", f.format)
			}
			folder := dir
			if folder == "" {
				state, err := journal.Dir()
				if err != nil {
					return err
				}
				folder = journal.Folder(state)
			}
			if len(args) == 0 {
				return listRuns(folder, f.format == "json")
			}
			return f.showRun(folder, args[0])
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --format=json")
	cmd.Flags().StringVar(&dir, "dir", "", "the `FOLDER` with the runs, such as DATA_DIR.requorum/runs")
	return cmd
}

func listRuns(folder string, asJSON bool) error {
	runs, err := journal.Runs(folder)
	if err != nil {
		return err
	}
	if asJSON {
		if runs == nil {
			runs = []journal.Summary{}
		}
		return printJSON(runs)
	}
	if len(runs) == 0 {
		fmt.Printf("No runs yet in %s.\n", folder)
		return nil
	}
	st := style()
	rows := [][]string{{"Run", "Verb", "Result", "Steps", "Took", "By"}}
	for _, r := range runs {
		rows = append(rows, []string{r.ID, or(r.Verb, "apply"), painted(r.Result, st), stepsText(r), tookText(r), r.By})
	}
	fmt.Print(render.Table(rows, st))
	fmt.Println("\n  requorum log RUN shows the steps of one, requorum log last of the newest.")
	return nil
}

// painted is a run's result, or a step's.
func painted(result string, st render.Style) string {
	switch result {
	case journal.ResultDone:
		return st.Good(result)
	case journal.ResultStopped, journal.ResultCutOff, journal.Failed:
		return st.Bad(result)
	case journal.ResultInterrupted, journal.ResultRunning:
		return st.Warn(result)
	case journal.Skipped, journal.NotStarted:
		return st.Dim(result)
	}
	return result
}

func stepsText(r journal.Summary) string {
	if r.Steps == 0 {
		return fmt.Sprint(r.Done)
	}
	return fmt.Sprintf("%d of %d", r.Done+r.Skipped, r.Steps)
}

func tookText(r journal.Summary) string {
	began, err1 := time.Parse(time.RFC3339Nano, r.Began)
	ended, err2 := time.Parse(time.RFC3339Nano, r.Ended)
	if err1 != nil || err2 != nil {
		return "–"
	}
	return took(ended.Sub(began))
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (f *form) showRun(folder, name string) error {
	if name == "last" {
		name = ""
	}
	run, err := journal.Find(folder, name)
	if err != nil {
		return err
	}
	records, unreadable, err := journal.Read(run.Path)
	if err != nil {
		return err
	}
	switch f.format {
	case "json":
		return printJSON(struct {
			journal.Summary
			Unreadable int              `json:"unreadable_lines,omitempty"`
			Records    []journal.Record `json:"records"`
		}{run, unreadable, records})
	case "markdown", "html":
		ran, err := ranOf(run, records, unreadable)
		if err != nil {
			return err
		}
		out := []byte(render.RanMarkdown(ran, f.maxBytes))
		if f.format == "html" {
			if out, err = page.Ran(ran); err != nil {
				return err
			}
		}
		_, err = os.Stdout.Write(out)
		return err
	}
	st := style()
	fmt.Printf("Run %s: %s of cluster %s, %s\n\n", st.Bold(run.ID), or(run.Verb, "apply"), run.Cluster, painted(run.Result, st))
	fmt.Print(render.Facts(runFacts(run, unreadable), st))
	fmt.Println()
	fmt.Print(stepLines(records, st))
	return nil
}

func runFacts(run journal.Summary, unreadable int) []render.Fact {
	by := run.By
	if run.PID != 0 {
		by += fmt.Sprintf(" (pid %d)", run.PID)
	}
	with := "requorum " + run.Version
	if len(run.Binary) >= 12 {
		with += ", sha256 " + run.Binary[:12] + "…"
	}
	facts := []render.Fact{
		{Label: "Began", Text: clock(run.Began, "2006-01-02 15:04:05 MST") + ", by " + by},
		{Label: "Took", Text: tookText(run)},
		{Label: "With", Text: with},
		{Label: "Found", Text: run.Headline},
		{Label: "Error", Text: run.Error},
		{Label: "Was at", Text: run.At},
		{Label: "Left", Text: run.Now},
	}
	if len(run.Plan) >= 12 {
		facts = append(facts, render.Fact{Label: "Plan", Text: run.Plan[:12] + "… " + run.PlanPath})
	}
	if unreadable > 0 {
		facts = append(facts, render.Fact{Label: "Unreadable", Text: render.Count(unreadable, "line") + ", as a crash leaves it"})
	}
	return append(facts, render.Fact{Label: "Journal", Text: run.Path})
}

// clock is a record's time as people read it.
func clock(t, layout string) string {
	at, err := time.Parse(time.RFC3339Nano, t)
	if err != nil {
		return "?"
	}
	return at.UTC().Format(layout)
}

// stepLines has a line for each step, and below it one for each of its parts.
func stepLines(records []journal.Record, st render.Style) string {
	titles, targets := 0, 0
	for _, r := range records {
		if r.Step > 0 {
			titles, targets = max(titles, len(titleOf(r))), max(targets, min(maxTargets, len([]rune(targetsOf(r)))))
		}
	}
	var b strings.Builder
	line := func(r journal.Record, result string) {
		fmt.Fprintf(&b, "  %s  %2d  %-*s  %-*s  %s\n", clock(r.Time, "15:04:05"), r.Step, titles, titleOf(r), targets, cut(targetsOf(r), targets), result)
	}
	var open *journal.Record // an intent without an outcome
	var parts []string
	flush := func() {
		for _, p := range parts {
			b.WriteString(st.Dim(p) + "\n")
		}
		parts = nil
	}
	for _, r := range records {
		switch r.Event {
		case journal.Intent:
			open = &r
		case journal.Phase:
			parts = append(parts, fmt.Sprintf("  %s        %s", clock(r.Time, "15:04:05"), cut(r.Phase, st.Width-20)))
		case journal.Done, journal.Failed, journal.Skipped, journal.NotStarted:
			begun := r
			if open != nil && open.Step == r.Step {
				begun = *open
			}
			result := painted(r.Event, st)
			if r.Event == journal.Done || r.Event == journal.Failed {
				result += strings.Repeat(" ", 8-len(r.Event)) + stepTook(begun, r)
			}
			line(begun, result)
			flush()
			if r.Error != "" {
				b.WriteString(render.Paragraph("                "+r.Error, st))
			}
			open = nil
		}
	}
	if open != nil {
		line(*open, st.Bad("cut off here"))
		flush()
	}
	return b.String()
}

func titleOf(r journal.Record) string   { return or(r.Title, r.Kind) }
func targetsOf(r journal.Record) string { return strings.Join(r.Target, ", ") }

// stepTook is from the intent to the outcome, also of old records.
func stepTook(begun, ended journal.Record) string {
	from, err1 := time.Parse(time.RFC3339Nano, begun.Time)
	to, err2 := time.Parse(time.RFC3339Nano, ended.Time)
	if err1 != nil || err2 != nil {
		return ""
	}
	return took(to.Sub(from))
}
