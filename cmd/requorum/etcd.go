package main

import "github.com/spf13/cobra"

// newEtcd is there for the help text: main hands the verb to etcd before cobra
// sees it, for its flags are etcd's.
func newEtcd() *cobra.Command {
	return &cobra.Command{
		Use:                "etcd [etcd's own flags]",
		Short:              "Be etcd",
		Long:               "requorum etcd is etcd: the same flags, the same exit codes. See requorum etcd --help.",
		DisableFlagParsing: true,
		Run:                func(*cobra.Command, []string) {},
	}
}
