package ssh_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/executor/host/hosttest"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/executor/host/ssh"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/harness"
)

// The test binary is also requorum: it is what is put on the host.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case "agent":
			if os.Args[2] == "serve" {
				err = serve()
			} else {
				err = process.Supervise(os.Args[3])
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "etcd":
			etcdmain.Main(os.Args[1:])
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

func serve() error {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	return agent.Serve(context.Background(), local.New(local.Options{}), version, os.Stdin, os.Stdout)
}

const version = "test"

// to are the options that lead to s.
func to(s *harness.SSHD) ssh.Options {
	return ssh.Options{
		Address: "host", SSH: spec.SSH{Command: []string{"ssh", "-F", s.Config}},
		Version: version, Program: program, Limit: 10 * time.Second,
	}
}

var program = ssh.NewProgram("")

func remote(t *testing.T, o ssh.Options) *agent.Remote {
	t.Helper()
	r := agent.NewRemote(agent.Options{Name: "host", Connect: func(ctx context.Context) (*agent.Client, error) { return ssh.Connect(ctx, o) }})
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestSuite(t *testing.T) {
	s := harness.StartSSHD(t, harness.SSHDOptions{})
	hosttest.Run(t, func(t *testing.T) host.Host { return remote(t, to(s)) })
}
