package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	etcdversion "go.etcd.io/etcd/api/v3/version"
)

// version is set by the Makefile.
var version = "dev"

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of requorum and of the etcd inside it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				fmt.Printf("requorum %s (etcd %s, %s, %s/%s)\n", version, etcdversion.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return nil
			}
			b, err := json.MarshalIndent(map[string]string{
				"requorum": version, "etcd": etcdversion.Version, "go": runtime.Version(),
				"os": runtime.GOOS, "arch": runtime.GOARCH,
			}, "", "  ")
			if err != nil {
				return err
			}
			fmt.Println(string(b))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
