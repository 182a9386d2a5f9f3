package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/spec"
)

// takeKey takes the cluster's own lock beside those of the hosts, where a quorum is
// there to keep it; best effort, but for one that somebody else has. A stop takes
// none: the key would be stopped with the cluster.
func (s *session) takeKey(ctx context.Context, p *planner.Plan, verb string, held host.Lock) (release func(), err error) {
	release = func() {}
	if !p.Before.Has() || verb != "apply" {
		return release, nil
	}
	var endpoints []string
	for _, m := range s.cluster.Members {
		e := s.seen.Members[m.Name].Client
		if e.Reach == planner.ReachServing && e.Linearizable.Known() && e.Linearizable.Value {
			endpoints = append(endpoints, e.URL)
		}
	}
	h := etcd.KeyHolder{Who: s.by, PID: os.Getpid(), Operation: verb, Cluster: s.cluster.Name, Since: s.now, Plan: p.Digest()}
	here, _ := os.Hostname()
	epochs := held.Epochs()
	for _, pl := range s.places() {
		if _, ours := epochs[pl.Name]; !ours {
			continue // its machine could not be reached: somebody else may have its lock
		}
		machine := here
		if x, ok := s.cluster.Host(pl.Host); ok && x.Access == spec.AccessSSH {
			machine = x.Address
		}
		h.Places = append(h.Places, machine+":"+pl.DataDir)
	}
	key, err := etcd.TakeKey(ctx, endpoints, s.observer.Client, h)
	var taken *etcd.KeyTakenError
	switch {
	case errors.As(err, &taken):
		return nil, exitWith(exitLocked, err)
	case err != nil || key == nil:
		s.keyNote = fmt.Sprintf("no lock in the cluster itself: %v", err)
		return release, nil
	}
	return func() { _ = key.Release() }, nil // its lease ends it otherwise
}

func newLock(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Show who is at work on a cluster, or end that",
		Long: `Whoever applies or stops has a lock at each member's place, which ends with the
process that holds it. lock status shows them, lock release ends one whose holder
is frozen or out of reach.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLockStatus(o), newLockRelease(o))
	return cmd
}

func newLockStatus(o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [PATH]",
		Short: "Show who is at work on the cluster",
		Long: `Shows the lock of each member's place: who holds it, since when, for what, and
its epoch, which grows with each run that does something. Takes no lock.

Exit codes: 0 nobody is at work, 1 error or unknown, 5 somebody is.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			states, err := s.host.Locks(cmd.Context(), s.places())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(states)
			} else {
				s.showLocks(states)
			}
			if err != nil {
				return err
			}
			return lockExit(states)
		},
	}
	addVars(cmd, o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, and nothing else on stdout")
	return cmd
}

func lockExit(states map[string]host.LockState) error {
	code := exitOK
	for _, l := range states {
		switch {
		case !l.Held.Known():
			code = exitError
		case l.Held.Value && code == exitOK:
			code = exitLocked
		}
	}
	if code == exitOK {
		return nil
	}
	return exitWith(code, nil)
}

func (s *session) showLocks(states map[string]host.LockState) {
	st := style()
	rows := [][]string{{"Member", "Lock", "Epoch", "Holder", "For", "Since"}}
	for _, p := range s.places() {
		l := states[p.Name]
		row := []string{p.Name, lockWord(l, st), "–", "–", "–", "–"}
		if l.Epoch > 0 {
			row[2] = fmt.Sprint(l.Epoch)
		}
		if h := l.Holder; h.Who != "" {
			row[3], row[4], row[5] = fmt.Sprintf("%s, pid %d", h.Who, h.PID), h.Operation, h.Since
		}
		rows = append(rows, row)
	}
	fmt.Print(render.Table(rows, st))
}

func lockWord(l host.LockState, st render.Style) string {
	switch {
	case !l.Held.Known():
		return st.Bad("unknown: " + l.Held.Why)
	case l.Held.Value:
		return st.Warn("held")
	case l.Holder.Who != "":
		return "left behind" // by one that was killed; it holds nobody up
	}
	return st.Good("free")
}

func newLockRelease(o *options) *cobra.Command {
	c := &consent{}
	cmd := &cobra.Command{
		Use:   "release [PATH]",
		Short: "End somebody else's lock, with --accept=lock-release",
		Long: `Ends the locks of a run that is frozen or out of reach. Be sure that it is: one
that goes on later notices before its next act that its lock is gone, and does
nothing more; what it was doing at that very moment it may finish. A lock whose
holder died needs no release: the next apply takes it.

Exit codes: 0 done or nothing was held, 1 error, 6 the consent is missing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := planner.ParseConsents(c.accept)
			if err != nil {
				return err
			}
			s, err := open(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			return s.releaseLocks(cmd, given)
		},
	}
	addVars(cmd, o)
	c.acceptFlag(cmd)
	return cmd
}

func (s *session) releaseLocks(cmd *cobra.Command, given map[planner.Consent]bool) error {
	states, err := s.host.Locks(cmd.Context(), s.places())
	if err != nil {
		return err
	}
	var held []planner.Place
	for _, p := range s.places() {
		if l := states[p.Name]; !l.Held.Known() || l.Held.Value {
			held = append(held, p)
		}
	}
	s.showLocks(states)
	if len(held) == 0 {
		fmt.Println("\nNobody holds a lock; nothing was changed.")
		return nil
	}
	if slices.Contains(s.cluster.Policy.Prevent, string(planner.ConsentLockRelease)) {
		return exitWith(exitRefused, errors.New("nothing was changed: policy { prevent } in the file never grants "+string(planner.ConsentLockRelease)))
	}
	if !given[planner.ConsentLockRelease] {
		return exitWith(exitRefused, errors.New("nothing was changed: releasing a lock needs your consent by name: --accept="+string(planner.ConsentLockRelease)))
	}
	var errs []error
	var done []string
	for _, p := range held {
		if err := s.host.BreakLock(cmd.Context(), p, states[p.Name].Holder.Epoch); err != nil {
			errs = append(errs, err)
			continue
		}
		done = append(done, p.Name)
	}
	if len(done) > 0 {
		fmt.Printf("\nReleased: %s. A run that held them does nothing more; requorum plan shows what it left.\n", strings.Join(done, ", "))
	}
	return errors.Join(errs...)
}
