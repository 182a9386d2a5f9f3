package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
)

func newStop(o *options) *cobra.Command {
	c := &consent{}
	var only []string
	cmd := &cobra.Command{
		Use:   "stop [PATH]",
		Short: "Stop the members' services and keep all data",
		Long: `Stops the services of all members, or of those named with --member, after
asking. Data stays where it is; requorum apply starts them again.

Exit codes: 0 done, 1 error before anything changed, 3 declined, 4 the cluster
changed while you were asked, 5 locked by somebody else, 6 refused, 7 stopped
part-way by a failure, 8 interrupted at a safe point.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open(cmd, o, pathOf(args))
			if err != nil {
				return err
			}
			defer s.close()
			for _, name := range only {
				if _, ok := s.cluster.Member(name); !ok {
					return fmt.Errorf("--member: the file has no member %q; it has %s", name, memberNames(s))
				}
			}
			return s.change(cmd, "stop", c, func(in planner.Input) *planner.Plan { return planner.NewStop(in, only) })
		},
	}
	addVars(cmd, o)
	addHosts(cmd, o)
	c.flags(cmd)
	cmd.Flags().StringArrayVar(&only, "member", nil, "only member `NAME` (repeatable)")
	return cmd
}

func memberNames(s *session) string {
	var names []string
	for _, m := range s.cluster.Members {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}
