package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// consent is what an apply or a stop was given on its command line.
type consent struct {
	autoApprove bool
	accept      []string
}

func (c *consent) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.autoApprove, "auto-approve", false, "don't ask")
}

func (c *consent) acceptFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&c.accept, "accept", nil, "give consents by name: `NAME,NAME…` (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("accept", cobra.FixedCompletions(planner.Consents(), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
}

func newApply(o *options) *cobra.Command {
	c := &consent{}
	cmd := &cobra.Command{
		Use:   "apply [PATH]",
		Short: "Show the plan, ask, and carry it out",
		Long: `Locks the members' places, plans as plan does, asks, and carries the plan out,
one step after the other. Takes only "yes" for a yes. It stops at the first
failure; planning again gives the rest of the way.

The plan says which consents it needs; the prompt grants none. For --accept
there are:
  ` + strings.Join(planner.Consents(), "\n  ") + `

Exit codes: 0 done, 1 error before anything changed, 3 declined, 4 the cluster
changed while you were asked, 5 locked by somebody else, 6 refused or consent
missing, 7 stopped part-way by a failure, 8 interrupted at a safe point.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			return s.change(cmd, "apply", c, planner.New)
		},
	}
	addVars(cmd, o)
	c.flags(cmd)
	c.acceptFlag(cmd)
	return cmd
}

// change is the way of every verb that changes something: lock, look, plan,
// show, ask, look again, carry out.
func (s *session) change(cmd *cobra.Command, verb string, c *consent, plan func(planner.Input) *planner.Plan) (err error) {
	ctx := cmd.Context()
	tidies()
	given, err := planner.ParseConsents(c.accept)
	if err != nil {
		return err
	}
	s.accept = given
	var lock host.Lock
	if s.local() {
		if lock, err = s.lock(ctx, verb); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Release()) }()
	}
	in, err := s.observe(ctx)
	if err != nil {
		return err
	}
	p := plan(in)
	if err := show(p, false); err != nil {
		return err
	}
	if done, err := settled(p, given); done {
		if err == nil && verb == "apply" {
			s.remember(p)
		}
		return err
	}
	if !c.autoApprove {
		if err := s.ask(ctx, cmd, verb, p, plan); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return exitWith(exitDeclined, errors.New("interrupted; nothing was changed"))
	}
	return s.carryOut(ctx, p, lock, verb)
}

// settled reports whether a plan ends here: nothing to do, refused, or a consent
// is missing.
func settled(p *planner.Plan, given map[planner.Consent]bool) (bool, error) {
	if p.Refusal != nil {
		return true, exitWith(exitRefused, nil)
	}
	if !p.Changes() {
		return true, nil
	}
	missing := planner.Missing(p.Needs, given)
	if len(missing) == 0 {
		return false, nil
	}
	var names []string
	for _, n := range missing {
		names = append(names, string(n.Consent))
	}
	return true, exitWith(exitRefused, fmt.Errorf("nothing was changed: this plan needs your consent by name: --accept=%s", strings.Join(names, ",")))
}

// ask takes a yes or exits with 3. Whoever asks waits, and the world moves on
// meanwhile: so it looks again, and exits with 4 where the plan is another one.
func (s *session) ask(ctx context.Context, cmd *cobra.Command, verb string, p *planner.Plan, plan func(planner.Input) *planner.Plan) error {
	switch confirm(ctx, cmd.InOrStdin(), question(verb, s.cluster.Name)) {
	case answerNone:
		return exitWith(exitDeclined, errors.New("nothing was changed: there was no answer; where nobody can give one, use --auto-approve"))
	case answerNo:
		return exitWith(exitDeclined, errors.New("declined; nothing was changed"))
	}
	in, err := s.observe(ctx)
	if err != nil {
		return err
	}
	if now := plan(in); now.Digest() != p.Digest() {
		return exitWith(exitStale, fmt.Errorf("nothing was changed: while you were asked the cluster changed; it would now be: %s. Plan again", now.Headline))
	}
	return nil
}

func question(verb, cluster string) string {
	if verb == "stop" {
		return fmt.Sprintf("Stop these members of cluster %s?", cluster)
	}
	return fmt.Sprintf("Apply this plan to cluster %s?", cluster)
}

// carryOut runs the plan and says how it ended.
func (s *session) carryOut(ctx context.Context, p *planner.Plan, lock host.Lock, verb string) error {
	run, err := journal.Open(s.stateDir, s.cluster.Name, time.Now())
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	defer run.Close()
	begin := journal.Record{Event: "begin", Cluster: s.cluster.Name, Plan: p.Digest(), By: s.by, Version: version}
	if err := run.Write(begin); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	fmt.Fprintln(os.Stderr)
	r := executor.Runner{
		Cluster: s.cluster, Host: s.host, Lock: lock, Client: s.observer.Client, Peer: s.observer.Peer,
		Journal: run, Events: newProgress(p.Steps).event,
	}
	err = r.Run(ctx, p)
	end := journal.Record{Event: "end", Result: "done"}
	if err != nil {
		end.Result, end.Error = "stopped", err.Error()
	}
	if werr := run.Write(end); werr != nil {
		fmt.Fprintln(os.Stderr, "requorum: "+werr.Error())
	}
	if err != nil {
		return s.stoppedAt(err, p, run.Path())
	}
	return s.finished(p, verb, r.LeftBehind())
}

// remember notes in the journal which cluster lives in these directories, so
// that their absence is one day known for a loss (S6). Only what was seen is
// noted: an identity that a plan is about to give may never come to be.
func (s *session) remember(p *planner.Plan) {
	id := p.ClusterID
	if p.Refusal != nil || id == "" {
		return
	}
	seen := journal.Seen{Time: time.Now().UTC().Format(time.RFC3339), Cluster: s.cluster.Name, ClusterID: id}
	known := true
	for _, m := range s.cluster.Members {
		seen.DataDirs, seen.Members = append(seen.DataDirs, m.DataDir), append(seen.Members, m.Name)
	}
	for _, dir := range seen.DataDirs {
		last, err := journal.LastSeen(s.stateDir, dir)
		known = known && err == nil && last != nil && last.ClusterID == id && slices.Equal(last.Members, seen.Members)
	}
	if known {
		return
	}
	if err := journal.AppendSeen(s.stateDir, seen); err != nil {
		fmt.Fprintf(os.Stderr, "requorum: the journal could not keep the cluster's ID: %v\n", err)
	}
}

// lookAgain observes and plans once more after a run, whatever its end, and
// remembers what is there now. The operator's interrupt must not keep it from
// happening.
func (s *session) lookAgain() *planner.Plan {
	ctx, cancel := context.WithTimeout(context.Background(), 3*endpointLimit+kvLimit)
	defer cancel()
	in, err := s.observe(ctx)
	if err != nil {
		return nil
	}
	p := planner.New(in)
	s.remember(p)
	return p
}

// finished says how the cluster stands after a plan was carried out; behind are the
// members without which it went on.
func (s *session) finished(p *planner.Plan, verb string, behind []string) error {
	text := doneText(p)
	if len(behind) > 0 {
		up := slices.DeleteFunc(slices.Clone(p.Steps[len(p.Steps)-1].Target), func(name string) bool { return slices.Contains(behind, name) })
		text = fmt.Sprintf("%s serve cluster %s, without %s: see above", strings.Join(up, ", "), p.ID(), strings.Join(behind, ", "))
	}
	fmt.Printf("\n%s %s.\n", color.GreenString("Done:"), text)
	if verb != "apply" {
		return nil
	}
	if now := s.lookAgain(); now != nil && now.Route != planner.RouteInSync {
		fmt.Printf("  Not yet as the file says: %s.\n", now.Headline)
	}
	return nil
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

// stoppedAt says in which state things are, and what planning again would do.
func (s *session) stoppedAt(err error, p *planner.Plan, path string) error {
	code, word := exitPartWay, "Stopped"
	var step *executor.StepError
	if errors.As(err, &step) && step.Interrupted {
		code, word = exitInterrupted, "Interrupted"
	}
	fmt.Fprintf(os.Stderr, "\n%s %v\n", color.RedString(word+" at"), err)
	if step != nil && step.Step.ID < len(p.Steps) {
		fmt.Fprintf(os.Stderr, "  Not begun: steps %d to %d.\n", step.Step.ID+1, len(p.Steps))
	}
	if now := s.lookAgain(); now != nil {
		fmt.Fprintf(os.Stderr, "  The cluster now: %s.\n", now.Headline)
	}
	fmt.Fprintf(os.Stderr, "  No data was removed. requorum plan gives the rest of the way from here.\n  Journal: %s\n", path)
	return exitWith(code, nil)
}
