package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/spec/load"
)

// policyVariable names the folder with an organisation's policies, where a machine or a
// pipeline sets it for whoever runs there. No flag takes it back.
const policyVariable = "REQUORUM_POLICY"

// stricter is a file's policy with all that the organisation adds to it.
func (o *options) stricter(cmd *cobra.Command, p spec.Policy) (spec.Policy, error) {
	for _, dir := range o.policyDirs() {
		more, r := load.Policies(dir)
		if len(r.Diags) > 0 {
			if err := load.WriteDiagnostics(cmd.ErrOrStderr(), r, uint(widthOf(os.Stderr)), false); err != nil {
				return p, err
			}
		}
		if r.Diags.HasErrors() {
			return p, exitWith(exitError, nil)
		}
		p = load.Stricter(p, more)
	}
	return p, nil
}

// policyDirs are the folders of the policies in force.
func (o *options) policyDirs() []string {
	return slices.DeleteFunc([]string{os.Getenv(policyVariable), o.policyDir}, func(dir string) bool { return dir == "" })
}

// checkPolicy refuses a saved plan that the policies in force here would not have let
// come about: it may have been made where there are none.
func (o *options) checkPolicy(cmd *cobra.Command, f *saved.File) error {
	c := *f.Inputs.Configuration
	now, err := o.stricter(cmd, c.Policy)
	if err != nil || reflect.DeepEqual(now, c.Policy) {
		return err
	}
	c.Policy = now
	given, err := planner.ParseConsents(f.Inputs.Accept)
	if err != nil {
		return err
	}
	in := f.Input(f.Inputs.Observation, given)
	in.Cluster = &c
	p := planner.New(in)
	switch r := p.Refusal; {
	case r != nil:
		return exitWith(exitRefused, fmt.Errorf("nothing was changed: the policy here forbids this plan: %s: %s. %s", r.Code, r.Title, r.Detail))
	case p.Digest() != f.Plan.Digest():
		return notThis(fmt.Errorf("under the policy here the plan would be another one: plan again"))
	}
	return nil
}
