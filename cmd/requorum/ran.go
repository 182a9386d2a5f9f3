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

// ranOf is a run with its plan, as its journal has them.
func ranOf(run journal.Summary, records []journal.Record) (*render.Ran, error) {
	p, err := planOf(run, records)
	if err != nil {
		return nil, err
	}
	out := &render.Ran{
		Plan: p, Named: run.PlanPath == "", Run: run.ID, Verb: or(run.Verb, "apply"), By: run.By, Version: run.Version,
		Began: clock(run.Began, "2006-01-02 15:04:05 MST"), Result: run.Result, Error: run.Error, Now: run.Now,
		Steps: make([]render.RanStep, len(p.Steps)),
	}
	for i := range out.Steps {
		out.Steps[i].Outcome = render.RanNotStarted
	}
	last := run.Began
	for _, r := range records {
		if r.Event != journal.State { // the look afterwards is no part of the run
			last = r.Time
		}
		i := slices.IndexFunc(p.Steps, func(s planner.Step) bool { return s.ID == r.Step })
		if r.Step > 0 && i >= 0 {
			happened(&out.Steps[i], run, r)
		}
	}
	out.Seconds = between(run.Began, or(run.Ended, last))
	if run.Result == journal.ResultRunning {
		out.Seconds = max(0, time.Since(moment(run.Began)).Seconds())
	}
	for i := range out.Steps { // of one that did not end
		if s := &out.Steps[i]; s.Outcome == render.RanRunning {
			s.Seconds = max(0, out.Seconds-s.At)
			if run.Result != journal.ResultRunning {
				s.Outcome = render.RanCutOff
			}
		}
	}
	return out, nil
}

// happened adds a record to its step.
func happened(s *render.RanStep, run journal.Summary, r journal.Record) {
	switch r.Event {
	case journal.Intent:
		s.Outcome, s.At, s.Clock = render.RanRunning, between(run.Began, r.Time), clock(r.Time, "15:04:05")
	case journal.Phase:
		s.Phases = append(s.Phases, render.RanPhase{Clock: clock(r.Time, "15:04:05"), Text: r.Phase})
	case journal.Done, journal.Failed, journal.Skipped, journal.NotStarted:
		if s.Outcome == render.RanRunning {
			s.Seconds = between(run.Began, r.Time) - s.At
		}
		s.Outcome, s.Error, s.Note = r.Event, r.Error, r.Note
	}
}

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
	for _, r := range records {
		if r.Step > 0 && !slices.ContainsFunc(p.Steps, func(s planner.Step) bool { return s.ID == r.Step }) {
			p.Steps = append(p.Steps, planner.Step{ID: r.Step, Kind: r.Kind, Title: titleOf(r), Target: r.Target})
		}
	}
	return p, nil
}

// moment is a record's time; zero where it has none.
func moment(t string) time.Time {
	at, _ := time.Parse(time.RFC3339Nano, t)
	return at
}

// between is how many seconds lie between two records' times.
func between(from, to string) float64 { return max(0, moment(to).Sub(moment(from)).Seconds()) }
