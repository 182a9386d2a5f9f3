package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/spec/load"
)

func newValidate(o *options) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate [PATH]",
		Short: "Check a file, without any cluster",
		Long: `Reads the file and reports all that is wrong with it at once, with file and
line.

Exit codes: 0 valid, 1 not.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				return validateJSON(o, pathOf(args))
			}
			c, err := loadCluster(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			members := "1 member"
			if n := len(c.Members); n != 1 {
				members = fmt.Sprintf("%d members", n)
			}
			fmt.Printf("%s Cluster %s, %s.\n", style().Good("Valid."), c.Name, members)
			return nil
		},
	}
	addVars(cmd, o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "the diagnostics as JSON")
	return cmd
}

func validateJSON(o *options, path string) error {
	r := load.Load(path, load.Options{Vars: o.vars, VarFiles: o.varFiles, Env: os.LookupEnv})
	diags := r.Diags
	for _, dir := range o.policyDirs() {
		_, p := load.Policies(dir)
		diags = append(diags, p.Diags...)
	}
	out := struct {
		Valid       bool              `json:"valid"`
		Diagnostics []load.Diagnostic `json:"diagnostics"`
	}{r.Cluster != nil && !diags.HasErrors(), load.DiagnosticsJSON(diags)}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	if !out.Valid {
		return exitWith(exitError, nil)
	}
	return nil
}
