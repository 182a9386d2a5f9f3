package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

func newStatus(o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [PATH]",
		Short: "Show how the cluster stands, and change nothing",
		Long: `Shows each member: its role, version, revision, process and disk, and whether
the cluster is healthy and as the file says.

Exit codes: 0 healthy and as the file says, 2 not, 1 unknown.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := look(cmd, o, args)
			if err != nil {
				return err
			}
			p := planner.New(in)
			if err := showStatus(in, p, asJSON); err != nil {
				return err
			}
			switch p.Health() {
			case planner.HealthGood:
				return nil
			case planner.HealthUnknown:
				return exitWith(exitError, nil)
			}
			return exitWith(exitChanges, nil)
		},
	}
	addVars(cmd, o)
	addHosts(cmd, o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "what was observed and what is planned, as JSON")
	return cmd
}

func showStatus(in planner.Input, p *planner.Plan, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprint(os.Stdout, render.Status(in, p, style()))
		return err
	}
	b, err := json.MarshalIndent(struct {
		Health      planner.Health      `json:"health"`
		Observation planner.Observation `json:"observation"`
		Plan        *planner.Plan       `json:"plan"`
	}{p.Health(), in.Observation, p}, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	return nil
}
