package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

func newPlan(o *options) *cobra.Command {
	var detailed, asJSON bool
	out := ""
	c := &consent{}
	cmd := &cobra.Command{
		Use:   "plan [PATH]",
		Short: "Show what apply would do, and change nothing",
		Long: `Looks at the cluster, the processes and the disks, and shows the steps that lead
from there to what the file says, or why there is no safe way.

With --out the plan is saved, with all that it follows from and no secret, under
a digest that can be read out: requorum show FILE shows it, requorum apply FILE
carries out exactly this plan.

Exit codes: 0 done, 1 error, 6 refused (no safe plan); with --detailed-exitcode
0 nothing to do, 2 changes.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given, err := planner.ParseConsents(c.accept)
			if err != nil {
				return err
			}
			in, err := look(cmd, o, args)
			if err != nil {
				return err
			}
			in.Accept = given
			p := planner.New(in)
			if err := showAndSave(o, in, p, asJSON, out, pathOf(args)); err != nil {
				return err
			}
			return endOfPlan(p, detailed)
		},
	}
	addVars(cmd, o)
	addHosts(cmd, o)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 2 where there are changes")
	c.acceptFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "the plan as JSON, and nothing else on stdout")
	cmd.Flags().StringVar(&out, "out", "", "save the plan to `FILE`, to be shown and applied as it is")
	return cmd
}

// endOfPlan is how a verb ends that has shown a plan.
func endOfPlan(p *planner.Plan, detailed bool) error {
	switch {
	case p.Refusal != nil:
		return exitWith(exitRefused, nil)
	case detailed && p.Changes():
		return exitWith(exitChanges, nil)
	}
	return nil
}

// show prints the plan on stdout.
func show(p *planner.Plan, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprint(os.Stdout, render.Text(p, style()))
		return err
	}
	b, err := render.JSON(p)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(b)
	return err
}
