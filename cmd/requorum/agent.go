package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/host/process"
)

// newAgent is what requorum runs of itself; nobody types it.
func newAgent() *cobra.Command {
	command := &cobra.Command{Use: "agent", Short: "What requorum runs of itself", Hidden: true}
	command.AddCommand(&cobra.Command{
		Use:   "supervise FOLDER",
		Short: "Keep the member of DATA_DIR.requorum running",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return process.Supervise(args[0])
		},
	})
	command.AddCommand(&cobra.Command{
		Use:   "serve",
		Short: "Answer a requorum elsewhere, over stdin and stdout",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A connection that ends must not end an act in its midst: neither by a
			// signal, nor by a write that nobody reads any more.
			// Caught, not ignored: what is started here must not inherit that.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
			acting.Store(true)
			return agent.Serve(cmd.Context(), local.New(local.Options{NeedLock: true}), version, os.Stdin, os.Stdout)
		},
	})
	return command
}
