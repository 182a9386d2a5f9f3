package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// ranOf is a run with its plan, as its journal has them; unreadable is how many lines of
// that are none.
func ranOf(run journal.Summary, records []journal.Record, unreadable int) (*render.Ran, error) {
	p, err := planOf(run, records)
	if err != nil {
		return nil, err
	}
	out := &render.Ran{
		Plan: p, Named: run.PlanPath == "", Unreadable: unreadable, Run: run.ID, Verb: or(run.Verb, "apply"), By: or(run.By, "?"), Version: run.Version,
		Began: clock(run.Began, "2006-01-02 15:04:05 MST"), Result: run.Result, Error: run.Error, Now: run.Now,
		Steps: make([]render.RanStep, len(p.Steps)),
	}
	began := run.Began
	if len(records) > 0 {
		began = or(began, records[0].Time) // where the first line can't be read
	}
	last, lastStep := began, -1
	for _, r := range records {
		if r.Event != journal.State { // the look afterwards is no part of the run
			last = r.Time
		}
		i := slices.IndexFunc(p.Steps, func(s planner.Step) bool { return s.ID == r.Step })
		if r.Step > 0 && i >= 0 {
			happened(&out.Steps[i], began, r)
			lastStep = i
		}
	}
	out.Seconds = between(began, or(run.Ended, last))
	if at := moment(began); run.Result == journal.ResultRunning && !at.IsZero() {
		out.Seconds = max(0, time.Since(at).Seconds())
	}
	for i := range out.Steps {
		settle(out, i, lastStep)
	}
	return out, nil
}

// settle gives an outcome to a step whose records have none.
func settle(out *render.Ran, i, lastStep int) {
	s, over := &out.Steps[i], out.Result != journal.ResultRunning && out.Result != journal.ResultCutOff
	switch {
	case s.Outcome == render.RanRunning && out.Result == journal.ResultRunning && i == lastStep:
		s.Seconds = max(0, out.Seconds-s.At)
	case s.Outcome == render.RanRunning && (over || i < lastStep):
		s.Outcome = render.RanUnknown // the run went on: its outcome stood in a line that is missing
	case s.Outcome == render.RanRunning:
		s.Outcome, s.Seconds = render.RanCutOff, max(0, out.Seconds-s.At)
	case s.Outcome != "":
	case over, i < lastStep, out.Named, out.Unreadable > 0:
		s.Outcome = render.RanUnknown // a copy may lack what came last, and a bad line may be of any step
	default:
		s.Outcome = render.RanNotStarted
	}
}

// happened adds a record to its step.
func happened(s *render.RanStep, began string, r journal.Record) {
	switch r.Event {
	case journal.Intent:
		s.Outcome, s.At, s.Clock = render.RanRunning, between(began, r.Time), clock(r.Time, "15:04:05")
	case journal.Phase:
		s.Phases = append(s.Phases, render.RanPhase{Clock: clock(r.Time, "15:04:05"), Text: r.Phase})
	case journal.Done, journal.Failed, journal.Skipped, journal.NotStarted:
		switch {
		case s.Outcome == render.RanRunning:
			s.Seconds = max(0, between(began, r.Time)-s.At)
		case r.Event == journal.Done || r.Event == journal.Failed: // its beginning can't be read
			s.Seconds = r.Seconds
			s.At = max(0, between(began, r.Time)-r.Seconds)
		}
		s.Outcome, s.Error, s.Note = r.Event, r.Error, r.Note
	}
}

// mostSteps is how many steps of a plan that was not kept are shown, whatever number a
// journal has.
const mostSteps = 1000

// planOf is the run's plan: what was kept of it, or its steps as the records name them.
func planOf(run journal.Summary, records []journal.Record) (*planner.Plan, error) {
	p := &planner.Plan{}
	if run.PlanPath != "" {
		b, err := os.ReadFile(run.PlanPath)
		if err == nil {
			err = json.Unmarshal(b, p)
		}
		if err != nil {
			return nil, fmt.Errorf("the plan of run %s can't be read from %s: %w; --format text shows the run without it", run.ID, run.PlanPath, err)
		}
		return p, nil
	}
	p.Cluster, p.Headline = run.Cluster, run.Headline
	for id := 1; id <= min(run.Steps, mostSteps); id++ { // those that did not begin have no record
		p.Steps = append(p.Steps, planner.Step{ID: id, Title: "not named here"})
	}
	for _, r := range records {
		i := slices.IndexFunc(p.Steps, func(s planner.Step) bool { return s.ID == r.Step })
		switch step := (planner.Step{ID: r.Step, Kind: r.Kind, Title: titleOf(r), Target: r.Target}); {
		case r.Step <= 0:
		case i < 0 && len(p.Steps) < mostSteps:
			p.Steps = append(p.Steps, step)
		case i >= 0:
			p.Steps[i] = step
		}
	}
	slices.SortStableFunc(p.Steps, func(a, b planner.Step) int { return a.ID - b.ID })
	return p, nil
}

// moment is a record's time; zero where it has none.
func moment(t string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, t)
	return at
}

// between is how many seconds lie between two records' times; 0 where one has none.
func between(from, to string) float64 {
	a, b := moment(from), moment(to)
	if a.IsZero() || b.IsZero() {
		return 0
	}
	return max(0, b.Sub(a).Seconds())
}
