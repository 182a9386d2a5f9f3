package main

import (
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/host/process"
)

// newAgent is what requorum runs of itself; nobody types it.
func newAgent() *cobra.Command {
	agent := &cobra.Command{Use: "agent", Short: "What requorum runs of itself", Hidden: true}
	agent.AddCommand(&cobra.Command{
		Use:   "supervise FOLDER",
		Short: "Keep the member of DATA_DIR.requorum running",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return process.Supervise(args[0])
		},
	})
	return agent
}
