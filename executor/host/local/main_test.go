package local

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/hosttest"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

func install(ctx context.Context, m planner.InstallMember, token string) error {
	return New(Options{}).install(ctx, m, token)
}

func fence(ctx context.Context, m planner.FenceMember) error { return New(Options{}).fence(ctx, m) }

// The test binary is also requorum.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent":
			if err := process.Supervise(os.Args[3]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "etcd":
			etcdmain.Main(os.Args[1:])
			os.Exit(0)
		case "hold-lock":
			holdLock(os.Args[2])
		case "lock-and-end":
			lockAndEnd(os.Args[2])
		}
	}
	os.Exit(m.Run())
}

func TestSuite(t *testing.T) {
	hosttest.Run(t, func(*testing.T) host.Host { return New(Options{}) })
}
