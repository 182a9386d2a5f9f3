package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// takeKey takes the cluster's own lock beside those of the hosts, where a quorum is
// there to keep it; best effort, but for one that somebody else has. A stop takes
// none: the key would be stopped with the cluster. The lock that it gives is held only
// as long as both are.
func (s *session) takeKey(ctx context.Context, p *planner.Plan, verb string, held host.Lock) (_ host.Lock, release func(), err error) {
	release = func() {}
	if !p.Before.Has() || verb != "apply" {
		return held, release, nil
	}
	var endpoints []string
	for _, m := range s.cluster.Members {
		e := s.seen.Members[m.Name].Client
		if e.Reach == planner.ReachServing && e.Linearizable.Known() && e.Linearizable.Value {
			endpoints = append(endpoints, e.URL)
		}
	}
	// As the locks have it, so that who releases these finds it.
	h := etcd.KeyHolder{Who: s.holder.Who, PID: s.holder.PID, Operation: verb, Cluster: s.cluster.Name, Since: s.holder.Since, Plan: p.Digest()}
	epochs := held.Epochs()
	for _, pl := range s.places() {
		if _, ours := epochs[pl.Name]; !ours {
			continue // its machine could not be reached: somebody else may have its lock
		}
		h.Places = append(h.Places, s.host.Where(pl))
	}
	key, err := etcd.TakeKey(ctx, endpoints, s.observer.Client, h)
	var taken *etcd.KeyTakenError
	switch {
	case errors.As(err, &taken):
		return held, release, exitWith(exitLocked, err)
	case key == nil && err == nil:
		s.keyNote = "no lock in the cluster itself: no member answered a linearizable read"
		return held, release, nil
	case err != nil:
		s.keyNote = fmt.Sprintf("no lock in the cluster itself: %v", err)
		return held, release, nil
	}
	key.Beside(s.clientURLs()...)
	return &bothLocks{held, key}, func() { _ = key.Release() }, nil // its lease ends it otherwise
}

func (s *session) clientURLs() []string {
	var out []string
	for _, m := range s.cluster.Members {
		out = append(out, m.ClientURLs...)
	}
	return out
}

// bothLocks are the hosts' locks and the cluster's own.
type bothLocks struct {
	host.Lock
	key *etcd.Key
}

// Held implements host.Lock.
func (l *bothLocks) Held(ctx context.Context) error {
	if err := l.Lock.Held(ctx); err != nil {
		return err
	}
	err := l.key.Held(ctx)
	var lost *etcd.KeyLostError
	if errors.As(err, &lost) {
		return &host.LostError{Path: "in the cluster itself", Why: lost.Why}
	}
	return err
}

func newLock(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Show who is at work on a cluster, or end that",
		Long: `Whoever applies or stops has a lock at each member's place, which ends with the
process that holds it, and whoever applies to a cluster that has a quorum one in
the cluster itself, which ends 20 s after its holder. lock status shows them, lock
release ends one whose holder is frozen or out of reach.`,
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
its epoch, which grows with each run that does something; and the lock in the
cluster itself, as far as that can be asked: it is best effort, and where nothing
is known of it the others decide. Takes no lock.

Exit codes: 0 nobody is at work, 1 error or unknown, 5 somebody is.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			defer s.close()
			all, err := s.allLocks(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(all.asOne())
			} else {
				s.showLocks(all)
			}
			if err != nil {
				return err
			}
			return lockExit(all)
		},
	}
	addVars(cmd, o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, and nothing else on stdout")
	return cmd
}

// seenLocks is how all locks stand.
type seenLocks struct {
	hosts map[string]host.LockState // by the member's name
	key   etcd.KeyState
	why   string // nothing is known of the key; "" where it is
}

func (s *session) allLocks(ctx context.Context) (seenLocks, error) {
	var out seenLocks
	looked := make(chan error, 1)
	go func() {
		var err error
		out.key, err = etcd.LookKey(ctx, s.clientURLs(), s.observer.Client)
		looked <- err
	}()
	states, err := s.host.Locks(ctx, s.places())
	if kerr := <-looked; kerr != nil {
		out.why, _, _ = strings.Cut(kerr.Error(), "\n") // one member's reason will do
	}
	out.hosts = states
	return out, err
}

// keyName is what the cluster's own lock is called among the members' ones.
const keyName = "(in etcd)"

// keyLock is the cluster's own lock as if it were a place's.
func (l seenLocks) keyLock() host.LockState {
	h := l.key.Holder
	s := host.LockState{Path: etcd.LockKey, Held: planner.Known(l.key.Held)}
	if l.why != "" {
		s.Held = planner.Unknown[bool](l.why)
	}
	s.Holder = host.Holder{Who: h.Who, PID: h.PID, Operation: h.Operation, Cluster: h.Cluster, Since: h.Since, Plan: h.Plan}
	return s
}

func (l seenLocks) asOne() map[string]host.LockState {
	out := maps.Clone(l.hosts)
	out[keyName] = l.keyLock()
	return out
}

func lockExit(all seenLocks) error {
	code := exitOK
	if all.key.Held {
		code = exitLocked
	}
	for _, l := range all.hosts {
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

func (s *session) showLocks(all seenLocks) {
	st := style()
	rows := [][]string{{"Member", "Lock", "Epoch", "Holder", "For", "Since"}}
	row := func(name string, l host.LockState) {
		row := []string{name, lockWord(l, st), "–", "–", "–", "–"}
		if l.Epoch > 0 {
			row[2] = fmt.Sprint(l.Epoch)
		}
		if h := l.Holder; h.Who != "" {
			row[3], row[4], row[5] = fmt.Sprintf("%s, pid %d", h.Who, h.PID), h.Operation, h.Since
		}
		rows = append(rows, row)
	}
	for _, p := range s.places() {
		row(p.Name, all.hosts[p.Name])
	}
	key := all.keyLock()
	row(keyName, key)
	if all.why != "" { // in short; why stands below
		rows[len(rows)-1][1] = st.Dim("unknown")
	}
	fmt.Print(render.Table(rows, st))
	if all.why != "" {
		fmt.Println(render.Paragraph("Nothing is known of the lock in the cluster itself: "+all.why, st))
	}
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
holder died needs no release: the next apply takes it. The lock in the cluster
itself is ended with those of the same run, or where it is the only one.

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
			defer s.close()
			return s.releaseLocks(cmd, given)
		},
	}
	addVars(cmd, o)
	c.acceptFlag(cmd)
	return cmd
}

func (s *session) releaseLocks(cmd *cobra.Command, given map[planner.Consent]bool) error {
	ctx := cmd.Context()
	all, err := s.allLocks(ctx)
	if err != nil {
		return err
	}
	var held []planner.Place
	for _, p := range s.places() {
		if l := all.hosts[p.Name]; !l.Held.Known() || l.Held.Value {
			held = append(held, p)
		}
	}
	s.showLocks(all)
	if len(held) == 0 && !all.key.Held {
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
	theirs := len(held) == 0 // the key is what is meant
	for _, p := range held {
		l := all.hosts[p.Name]
		if err := s.host.BreakLock(ctx, p, l.Holder.Epoch); err != nil {
			errs = append(errs, err)
			continue
		}
		done = append(done, p.Name)
		k := all.key.Holder
		theirs = theirs || l.Holder.Who == k.Who && l.Holder.PID == k.PID && l.Holder.Since == k.Since
	}
	if all.key.Held && theirs {
		if err := etcd.BreakKey(ctx, s.observer.Client, all.key, s.by); err != nil {
			errs = append(errs, err)
		} else {
			done = append(done, keyName)
		}
	}
	if len(done) > 0 {
		fmt.Printf("\nReleased: %s. A run that held them does nothing more; requorum plan shows what it left.\n", strings.Join(done, ", "))
	}
	if k := all.key.Holder; all.key.Held && !theirs {
		fmt.Printf("The lock in the cluster itself is another run's, of %s (pid %d), and stays; once it is the only one, the same command releases it.\n", k.Who, k.PID)
	}
	return errors.Join(errs...)
}
