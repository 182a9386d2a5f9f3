// Command bedshell boots a bed of hosts and gives a shell on its controller, for
// trying things by hand. The bed ends with the shell.
//
//	go run ./tests/e2e/bedshell -hosts 3 -etcds 3.5,3.6 -cluster packaged
//	# ssh ops@m1 …
//
// With -sweep it only takes away what dead runs left.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/e2e/bed"
	"github.com/requorum/requorum/tests/harness"
)

func main() {
	hosts := flag.Int("hosts", 3, "how many hosts")
	etcds := flag.String("etcds", "", "minor versions of etcd to have in /opt, with commas between")
	fileSystem := flag.String("fs", "ext4", "file system of the data disks: ext4 or xfs")
	style := flag.String("cluster", "", fmt.Sprintf("set a cluster up by hand: one of %v", bed.Styles))
	minor := flag.String("minor", "3.4", "version of that cluster")
	sweep := flag.Bool("sweep", false, "take away what dead runs left, and end")
	flag.Parse()
	if err := run(*sweep, bed.Options{Hosts: *hosts, Etcds: split(*etcds), FileSystem: *fileSystem}, bed.Install{Style: bed.Style(*style), Minor: *minor}, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bedshell:", err)
		os.Exit(1)
	}
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func run(sweep bool, o bed.Options, in bed.Install, argv []string) error {
	ctx := context.Background()
	if sweep {
		return bed.Sweep(ctx)
	}
	dir, err := os.MkdirTemp("", "requorum-bedshell-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // our own copy of the binary
	bin, err := harness.Build(dir)
	if err != nil {
		return err
	}
	harness.Use(bin)
	if len(argv) == 0 {
		argv = []string{"bash", "--norc", "-i"}
	}
	signal.Ignore(os.Interrupt) // it is the shell's
	log, err := harness.Outside(ctx, "bedshell", func(t testing.TB) {
		b := bed.New(t, o)
		if in.Style != "" {
			fmt.Println(b.ByHand(in).Write(bed.File{}))
		}
		cmd := b.Command(ctx, argv...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(cmd.Env, "REQUORUM="+bin, `PS1=bed \w\$ `)
		b.Start(cmd)
		var ended *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &ended) {
			t.Error(err)
		}
	}, nil)
	fmt.Fprint(os.Stderr, log)
	return err
}
