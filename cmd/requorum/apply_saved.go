package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
)

// savedRun is the saved plan that an apply carries out.
type savedRun struct {
	file  *saved.File
	taken bool // whether it counts as used by now
}

// applySaved carries out a saved plan without a question: its digest stands for the
// answer. What is carried out is the plan that is made now from its inputs, where
// that does the same as the one in the file.
func applySaved(cmd *cobra.Command, o *options, c *consent, path string, expect *string) error {
	f, _, err := readSaved(path)
	if err != nil {
		return notIfWrong(err)
	}
	if expect != nil && !saved.SameDigest(*expect, f.Digest) {
		if strings.TrimSpace(*expect) == "" {
			return notThis(errors.New("no digest was given: --expect has nothing in it, and would approve no plan"))
		}
		return notThis(fmt.Errorf("this is not the plan that was approved: its digest is %s, and --expect has %s", f.Digest, *expect))
	}
	if err := checkMachine(f); err != nil {
		return notThis(err)
	}
	if err := checkUnused(f); err != nil {
		return err
	}
	if err := o.giveSecrets(cmd, f, load.Options{Vars: o.vars, VarFiles: o.varFiles, Env: os.LookupEnv}); err != nil {
		return err
	}
	if err := f.Derive(version); err != nil {
		return notIfWrong(err)
	}
	if err := o.checkPolicy(cmd, f); err != nil {
		return err
	}
	o.saved = f
	s, err := open(cmd, o, path)
	if err != nil {
		return err
	}
	defer s.close()
	s.saved = &savedRun{file: f}
	with := *c
	with.autoApprove, with.accept = true, append(with.accept, f.Inputs.Accept...)
	return s.change(cmd, "apply", &with, func(in planner.Input) *planner.Plan {
		return planner.New(f.Input(in.Observation, in.Accept))
	})
}

// notIfWrong ends an apply whose file is no plan to be carried out here; one that
// could not be read ends it in another way.
func notIfWrong(err error) error {
	var edited *saved.EditedError
	var foreign *saved.ForeignError
	var derived *saved.DerivedError
	switch {
	case errors.As(err, &derived):
		return notThis(&saved.ForeignError{Why: err.Error() + ". Plan again with this one"})
	case errors.As(err, &edited), errors.As(err, &foreign):
		return notThis(err)
	}
	return err
}

// notThis ends an apply whose plan is not to be carried out.
func notThis(err error) error { return exitWith(exitStale, fmt.Errorf("nothing was changed: %w", err)) }

// checkMachine refuses a plan for members of another machine, and one that no
// cluster was looked at for.
func checkMachine(f *saved.File) error {
	if f.Basis != saved.BasisObserved {
		return &saved.ForeignError{Why: "it was made by diff, without a look at any cluster. Make one with requorum plan --out"}
	}
	for _, m := range f.Inputs.Configuration.Members {
		if h, _ := f.Inputs.Configuration.Host(m.Host); h.Access == spec.AccessLocal && f.Machine != machineName() {
			return &saved.ForeignError{Why: fmt.Sprintf("%s is on the machine where it was made, %s, and this is %s", m.Name, f.Machine, machineName())}
		}
	}
	return nil
}

// giveSecrets puts into a plan's configuration what its file does not have: from
// the variables that gave it first, or else from the configuration where it was read.
func (o *options) giveSecrets(cmd *cobra.Command, f *saved.File, opts load.Options) error {
	c, missing := f.Inputs.Configuration, []saved.Ephemeral{}
	for _, e := range f.Ephemeral {
		v, ok := "", false
		if e.Variable != "" {
			v, ok = load.Give(e.Variable, opts)
		}
		switch {
		case !ok:
			missing = append(missing, e)
		case e.Attribute == "auth.password" && c.Auth != nil:
			c.Auth.Password = spec.NewSecret(v)
		case e.Attribute == "snapshot.source" && c.Snapshot != nil:
			c.Snapshot.Source = v
			if !strings.Contains(v, "://") && !filepath.IsAbs(v) {
				c.Snapshot.Source = filepath.Join(c.Dir, v)
			}
		}
	}
	if len(missing) == 0 {
		return checkVars(f, opts.Vars)
	}
	var lacks []string
	for _, e := range missing {
		word := e.Attribute
		if e.Variable != "" {
			word += fmt.Sprintf(" (give it with --var %s=…, --var-file or REQUORUM_VAR_%s)", e.Variable, e.Variable)
		}
		lacks = append(lacks, word)
	}
	fail := func(why string) error {
		return fmt.Errorf("nothing was changed: a saved plan has no secrets, and this one needs %s; %s", strings.Join(lacks, ", "), why)
	}
	r := load.Load(f.Inputs.Source, opts)
	if r.Cluster == nil {
		return fail("the configuration at " + f.Inputs.Source + " does not give it either")
	}
	same, err := o.sameConfiguration(cmd, f, r.Cluster)
	if err != nil {
		return err
	}
	if !same {
		return fail("the configuration at " + f.Inputs.Source + " is not the one that was planned for any more")
	}
	r.Cluster.Policy = c.Policy // with what an organisation's added to it
	f.Inputs.Configuration = r.Cluster
	return nil
}

// sameConfiguration reports whether a plan was made for c, under the policies in force
// here or under the file's own: whether those here allow it is looked at afterwards.
func (o *options) sameConfiguration(cmd *cobra.Command, f *saved.File, c *spec.Cluster) (bool, error) {
	own := c.Policy
	defer func() { c.Policy = own }()
	here, err := o.stricter(cmd, own)
	if err != nil {
		return false, err
	}
	for _, p := range []spec.Policy{here, own} {
		c.Policy = p
		sum, err := saved.ConfigurationSum(c)
		if err != nil || sum == f.Sums.Configuration {
			return err == nil, err
		}
	}
	return false, nil
}

// checkVars refuses a --var that nothing would be done with: whoever gives it means
// to change something.
func checkVars(f *saved.File, vars []string) error {
	for _, v := range vars {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(f.Ephemeral, func(e saved.Ephemeral) bool { return e.Variable == name }) {
			return fmt.Errorf("nothing was changed: --var %s: a saved plan has the values of all variables in it, but for secrets, and %s is none of these; to change it, plan again", name, name)
		}
	}
	return nil
}

// checkUnused refuses a plan that was carried out, or begun, already.
func checkUnused(f *saved.File) error {
	dir, err := journal.Dir()
	if err != nil {
		return err
	}
	use, err := journal.PlanUse(dir, f.Digest)
	if err != nil {
		return fmt.Errorf("nothing was changed: whether this plan was used can't be told: %w", err)
	}
	if use == nil {
		// The mark may be gone, and the journal of what was begun be there. Where that
		// can't be read, no run begins.
		runs, _ := journal.Runs(journal.Folder(dir))
		for _, r := range runs {
			if r.Saved == f.Digest && r.Acted {
				use = &journal.Use{Time: r.Began, By: r.By}
			}
		}
	}
	return usedError(use)
}

func usedError(use *journal.Use) error {
	if use == nil {
		return nil
	}
	return notThis(fmt.Errorf("this plan was used: %s began to carry it out at %s. Plan again", use.By, use.Time))
}

// checkSaved holds the plan that was just made against the saved one. It says what
// changed meanwhile without harm.
func (s *session) checkSaved(in planner.Input, p *planner.Plan, lock host.Lock) error {
	if s.saved == nil {
		return nil
	}
	if err := s.checkBegun(in.Observation, lock); err != nil {
		return err
	}
	moved, err := s.saved.file.Compare(in.Observation, p)
	if err != nil {
		if made := s.saved.file.Version; made != version {
			err = fmt.Errorf("%w. (It was made by requorum %s, this is %s)", err, made, version)
		}
		return notThis(err)
	}
	same := s.saved.file.SameOrder(p)
	for _, m := range moved {
		text := "Since the plan was made: " + m.String()
		if same {
			text = "Since the plan was made: " + m.Text + ": the plan stays the same"
		}
		fmt.Fprintln(os.Stderr, text+".")
	}
	if !same {
		fmt.Fprintln(os.Stderr, "So it was made anew: it does the same with every member, with the leader last, and is what is carried out now.")
	}
	return nil
}

// checkBegun refuses a plan that was begun already from elsewhere: by the marks at the
// places that are locked, and by its token, which data was made under or the journal
// has seen.
func (s *session) checkBegun(obs planner.Observation, lock host.Lock) error {
	f := s.saved.file
	if lock != nil {
		for _, name := range slices.Sorted(maps.Keys(lock.Epochs())) {
			begun := s.observer.Plans[name]
			switch {
			case !begun.Known():
				return fmt.Errorf("nothing was changed: whether this plan was used can't be told at %s: %s", name, begun.Why)
			case slices.Contains(begun.Value, f.Digest):
				return notThis(fmt.Errorf("this plan was used: %s has the mark of the apply that began it. Plan again", name))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(obs.Members)) {
		d := obs.Members[name].Data.Value
		for _, p := range []*planner.Provenance{d.Provenance, behindFence(d)} {
			if p != nil && p.Token == f.Inputs.Token {
				return notThis(fmt.Errorf("this plan was used: %s has data of the cluster that it was to make. Plan again", name))
			}
		}
	}
	if id := f.Plan.NewClusterID; id != "" && obs.JournalClusterID == id && f.Inputs.Observation.JournalClusterID != id {
		return notThis(errors.New("this plan was used: the journal here has seen the cluster that it was to make. Plan again"))
	}
	return nil
}

func behindFence(d planner.DataDir) *planner.Provenance {
	if d.Fenced == nil {
		return nil
	}
	return d.Fenced.Provenance
}

// savedDigest is that of the saved plan that is applied; "" for none.
func (s *session) savedDigest() string {
	if s.saved == nil {
		return ""
	}
	return s.saved.file.Digest
}

// markLimit is for all of the marks that a plan is used: they are made side by side.
const markLimit = 20 * time.Second

// takeSaved uses the plan up, right before it changes anything: at the places of a
// majority of the voters at least, and here once these have it. Whoever wants to carry it
// out again has to lock a majority too, and finds a mark.
func (s *session) takeSaved(ctx context.Context, run *journal.Run, lock host.Lock) error {
	if s.saved == nil {
		return nil
	}
	digest, now := s.saved.file.Digest, time.Now().UTC().Format(time.RFC3339)
	before, err := journal.PlanUse(s.stateDir, digest)
	if err == nil && before != nil {
		return usedError(before)
	}
	mark, jerr := json.Marshal(journal.Record{Time: now, Event: journal.Began, Run: run.ID(), Cluster: s.cluster.Name, Verb: "apply", Saved: digest, By: s.by, PID: os.Getpid(), Version: version})
	if err = errors.Join(err, jerr); err != nil {
		return fmt.Errorf("nothing was changed: that this plan is used can't be recorded: %w", err)
	}
	epochs, voters := lock.Epochs(), 0
	var places []planner.Place
	for _, m := range s.cluster.Members {
		if m.Learner {
			continue
		}
		voters++
		if _, locked := epochs[m.Name]; locked {
			places = append(places, planner.PlaceOf(s.cluster, m))
		}
	}
	marked, err := markAll(ctx, places, markLimit, func(ctx context.Context, p planner.Place) error {
		return s.host.Record(ctx, p, host.PlanRun(digest), append(slices.Clone(mark), '\n'))
	})
	if marked < voters/2+1 {
		return tooFewMarks(marked, voters, err)
	}
	s.saved.taken = true
	before, err = journal.UsePlan(s.stateDir, journal.Use{Time: now, By: s.by, Cluster: s.cluster.Name, Digest: digest})
	switch {
	case err != nil:
		return fmt.Errorf("nothing was changed: that this plan is used can't be recorded here: %w; the members have it, and so it is refused from now on: plan again", err)
	case before != nil:
		return usedError(before)
	}
	return nil
}

// tooFewMarks is why a plan is not begun. Where a place did not answer in time the mark
// may be there.
func tooFewMarks(marked, voters int, err error) error {
	text := fmt.Sprintf("nothing was changed: that this plan is used could be recorded at %d of %d voters only, and a majority is needed", marked, voters)
	if err != nil {
		return fmt.Errorf("%s: %w; who has the mark refuses the plan from now on: plan again, or apply the configuration itself", text, err)
	}
	return errors.New(text + "; plan again, or apply the configuration itself")
}

// markAll has record called for all places at once, and gives for how many it was done
// within the limit. Half of the marks would use a plan up for nothing, so an interrupt
// does not end it; a place that says nothing in time has no mark that counts, although it
// may be there.
func markAll(ctx context.Context, places []planner.Place, limit time.Duration, record func(context.Context, planner.Place) error) (marked int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	ends := make([]chan error, len(places))
	for i, p := range places {
		ends[i] = make(chan error, 1)
		go func() { ends[i] <- record(ctx, p) }()
	}
	for i, p := range places {
		var rerr error
		select {
		case rerr = <-ends[i]:
		case <-ctx.Done():
			select { // one that is there already counts
			case rerr = <-ends[i]:
			default:
				rerr = fmt.Errorf("no answer within %s", limit)
			}
		}
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", p.Name, rerr))
			continue
		}
		marked++
	}
	return marked, err
}
