package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/hosts"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/executor/observe"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// consent is what an apply or a stop was given on its command line.
type consent struct {
	autoApprove bool
	accept      []string
	json        bool
	jsonInto    string
}

func (c *consent) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.autoApprove, "auto-approve", false, "don't ask")
	cmd.Flags().BoolVar(&c.json, "json", false, "what happens, as JSON lines, and nothing else on stdout")
	cmd.Flags().StringVar(&c.jsonInto, "json-into", "", "append the same lines to `FILE`, beside the usual output")
}

func (c *consent) acceptFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&c.accept, "accept", nil, "give consents by name: `NAME,NAME…` (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("accept", cobra.FixedCompletions(planner.Consents(), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
}

func newApply(o *options) *cobra.Command {
	c := &consent{}
	expect := ""
	cmd := &cobra.Command{
		Use:   "apply [PATH|PLAN]",
		Short: "Show the plan, ask, and carry it out",
		Long: `Locks the members' places, plans as plan does, asks, and carries the plan out,
one step after the other. Takes only "yes" for a yes. It stops at the first
failure; planning again gives the rest of the way.

A saved plan (plan --out) is not asked for again. It is carried out once, where
planning again still gives its steps, and with --expect only under that digest.

The plan says which consents it needs; the prompt grants none. For --accept
there are:
  ` + strings.Join(planner.Consents(), "\n  ") + `

Exit codes: 0 done, 1 error before anything changed, 3 declined, 4 the saved
plan is stale, edited, used or foreign, or the cluster changed while you were
asked, 5 locked by somebody else, 6 refused or consent missing, 7 stopped
part-way by a failure, 8 interrupted at a safe point.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed("expect") // also with nothing in it
			if isSaved(pathOf(args)) {
				if !given {
					return applySaved(cmd, o, c, pathOf(args), nil)
				}
				return applySaved(cmd, o, c, pathOf(args), &expect)
			}
			if given {
				return fmt.Errorf("--expect is for a saved plan, and %s is none: make one with plan --out", pathOf(args))
			}
			s, err := open(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			defer s.close()
			return s.change(cmd, "apply", c, planner.New)
		},
	}
	addVars(cmd, o)
	addHosts(cmd, o)
	c.flags(cmd)
	c.acceptFlag(cmd)
	cmd.Flags().StringVar(&expect, "expect", "", "apply a saved plan only if this is its `DIGEST`")
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
	if s.lines, err = newLines(c.json, c.jsonInto); err != nil {
		return err
	}
	defer s.lines.close()
	defer func() { s.lines.result(codeOf(err), err, s.after) }()
	signal.Ignore(syscall.SIGPIPE) // whoever reads may go: the run is worth more
	go ownSum()
	lock, err := s.lock(ctx, verb)
	var few *hosts.QuorumError
	switch {
	case errors.As(err, &few): // the plan says what stands in the way
	case err != nil:
		return err
	default:
		defer func() {
			if err := lock.Release(); err != nil { // it ends with this process all the same
				fmt.Fprintf(os.Stderr, "The lock could not be given up: %v\n", err)
			}
		}()
	}
	in, err := s.observe(ctx)
	if err != nil {
		return err
	}
	p := plan(in)
	if err := s.checkSaved(in, p, lock); err != nil {
		return err
	}
	if err := s.showOnce(p); err != nil && !c.autoApprove {
		return err
	}
	// The journal is what a refusal may rest on, too.
	if err := journal.Check(s.stateDir); err != nil && (p.Refusal != nil || p.Changes()) {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if done, err := settled(p, given); done {
		if err == nil && verb == "apply" {
			s.remember(p)
		}
		return err
	}
	if few != nil {
		return exitWith(exitRefused, fmt.Errorf("nothing was changed: %w", few))
	}
	lock, release, err := s.takeKey(ctx, p, verb, lock)
	if err != nil {
		return err
	}
	defer release()
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

// showOnce shows the plan where a person looks: with JSON on stdout, on stderr.
func (s *session) showOnce(p *planner.Plan) error {
	s.lines.plan(p)
	if !s.lines.stdout {
		return show(p, false)
	}
	_, err := fmt.Fprint(os.Stderr, render.Text(p, errStyle()))
	return err
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
	run, err := s.openRun(p)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	defer run.Close()
	_ = lock.Note(p.Digest()) // for whoever asks; the lock holds without it
	fmt.Fprintln(os.Stderr)
	shown := newProgress(p.Steps)
	defer shown.end()
	atOnce.Store(shown)
	told := context.AfterFunc(ctx, func() {
		shown.say("  Interrupted: going to a safe point first. A second time ends requorum at once.")
	})
	defer told()
	r := executor.Runner{
		Cluster: s.cluster, Host: s.host, Lock: lock, Client: s.observer.Client, Peer: s.observer.Peer,
		Journal: run, Seen: s.seen, SeenAt: s.seenAt,
		About: executor.About{
			Cluster: s.cluster.Name, Verb: verb, By: s.by, Version: version, PID: os.Getpid(), Binary: ownSum(), Note: s.keyNote,
			Saved: s.savedDigest(),
		},
		Look: func(ctx context.Context, last planner.Observation, w executor.Want) (planner.Observation, error) {
			return s.observer.Again(ctx, last, w.Endpoints, w.Places, w.Processes)
		},
		Events: func(e executor.Event) { shown.event(e); s.lines.event(e) },
	}
	defer r.Close()
	var taken error
	r.Begin = func(ctx context.Context) error {
		taken = s.takeSaved(ctx, run, lock)
		return taken
	}
	err = r.Run(ctx, p)
	shown.end()
	if taken != nil {
		return taken
	}
	if err == nil {
		s.observer.Compared = r.Compared // by the last step, if it was that: each is a scan of all data
	}
	now := s.lookAgain()
	s.after = now
	if now != nil {
		if werr := run.Write(journal.Record{Event: journal.State, Headline: now.Headline, Observation: executor.Digest(s.seen)}); werr != nil {
			fmt.Fprintln(os.Stderr, "requorum: "+werr.Error())
		}
	}
	var unkept *executor.UnkeptError
	if errors.As(err, &unkept) {
		fmt.Fprintln(os.Stderr, "requorum: "+err.Error())
		err = nil
	}
	if err != nil {
		return s.stoppedAt(err, p, now, run)
	}
	if !s.lines.stdout {
		finished(p, now, verb, r.LeftBehind())
	}
	return nil
}

// openRun begins the journal, with the plan beside it.
func (s *session) openRun(p *planner.Plan) (*journal.Run, error) {
	b, err := render.JSON(p)
	if err != nil {
		return nil, err
	}
	run, err := journal.Open(s.stateDir, s.cluster.Name, time.Now())
	if err != nil {
		return nil, err
	}
	if err := run.SavePlan(b); err != nil {
		run.Close()
		return nil, err
	}
	return run, nil
}

// remember notes in the journal which cluster lives in these directories, so
// that their absence is one day known for a loss (S6). Only what was seen is
// noted: an identity that a plan is about to give may never come to be. As long as there
// is something to do the members that the file has no more stay known: they may be in the
// cluster still, or their services run.
func (s *session) remember(p *planner.Plan) {
	id := p.ClusterID
	if p.Refusal != nil || id == "" {
		return
	}
	seen := journal.Seen{Time: time.Now().UTC().Format(time.RFC3339), Cluster: s.cluster.Name, ClusterID: id}
	var commands []*journal.Commands
	for _, m := range s.cluster.Members {
		seen.DataDirs, seen.Members = append(seen.DataDirs, observe.SeenDir(s.cluster, m)), append(seen.Members, m.Name)
		at := planner.PlaceOf(s.cluster, m)
		seen.Units = append(seen.Units, at.Unit)
		commands = append(commands, (*journal.Commands)(at.Commands))
	}
	if slices.ContainsFunc(commands, func(c *journal.Commands) bool { return c != nil }) {
		seen.Commands = commands
	}
	known := true
	for _, dir := range slices.Clone(seen.DataDirs) {
		last, err := journal.LastSeen(s.stateDir, dir)
		if err == nil && last != nil && last.ClusterID == id && p.Route != planner.RouteInSync {
			seen.Keep(*last)
		}
		known = known && err == nil && last != nil && last.ClusterID == id && slices.Equal(last.Members, seen.Members) && slices.Equal(last.Units, seen.Units) && reflect.DeepEqual(last.Commands, seen.Commands)
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
