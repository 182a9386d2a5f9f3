package main

import (
	"errors"
	"os"

	"github.com/fatih/color"
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner/saved"
)

// options are the flags that every verb has.
type options struct {
	noColor  bool
	vars     []string
	varFiles []string
	// noInstall forbids to put requorum on another machine.
	noInstall bool
	// saved is the plan whose own configuration is taken, instead of one at a path;
	// ephemeral are the secrets of the configuration that was read last.
	saved     *saved.File
	policyDir string // of the organisation's policies; "" for none beside REQUORUM_POLICY
	asDir     string // where relative paths of a configuration start; "" for its own folder
	ephemeral []saved.Ephemeral
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "requorum",
		Short: "Brings an etcd cluster to what a file says, safely",
		Long: `requorum brings an etcd cluster to what an HCL file says, safely: it compares
the file with the live cluster and the disks, shows an ordered plan with the
quorum after each step and what could be lost, and applies it after you confirm.

PATH is a file or a folder with *.hcl files; this folder by default.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			if o.noColor || os.Getenv("NO_COLOR") != "" {
				color.NoColor = true
			}
		},
	}
	root.PersistentFlags().BoolVar(&o.noColor, "no-color", false, "no colours (also with NO_COLOR set, or without a terminal)")
	root.AddCommand(
		newValidate(o), newFmt(), newPlan(o), newApply(o), newStatus(o), newAudit(o), newStop(o), newExplain(o),
		newEtcd(), newAgent(), newVersion(),
		newRescue(o), newImport(o),
		newSnapshot(o),
		newLog(), newLock(o),
		newShow(), newDiff(o),
	)
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = func(*cobra.Command, []string) error {
				return errors.New("completion: name your shell: bash, zsh, fish or powershell")
			}
		}
	}
	return root
}

// addVars adds the flags for variables to verbs that read a file.
func addVars(cmd *cobra.Command, o *options) {
	cmd.Flags().StringArrayVar(&o.vars, "var", nil, "set a variable, `NAME=VALUE` (repeatable)")
	cmd.Flags().StringArrayVar(&o.varFiles, "var-file", nil, "read variables from `FILE` (repeatable)")
	cmd.Flags().StringVar(&o.policyDir, "policy-dir", "", "add the policies in `DIR`, which no file can loosen, to those in REQUORUM_POLICY")
}

// addHosts adds the flags for verbs that look at other machines.
func addHosts(cmd *cobra.Command, o *options) {
	cmd.Flags().BoolVar(&o.noInstall, "no-install", false, "don't put requorum's agent on hosts that are reached by ssh: it has to be there")
}

// pathOf is the PATH argument, this folder where there is none.
func pathOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}
