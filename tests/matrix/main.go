// Command matrix restores snapshots taken on each minor version of etcd to servers
// of each, with requorum, and holds the plan's refusals to the truth: where it
// refuses, etcd's own restore must not lead to a server with all keys either, and
// where it does not, the members it restored serve and have every key.
//
// It prints a row for each pair: what requorum did, and what came of restoring by
// hand, with the server's own command and with etcdutl of the newest version.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

func main() {
	versions := flag.String("versions", strings.Join(harness.Minors, ","), "minor versions of etcd")
	parallel := flag.Int("parallel", 2, "pairs at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*versions, ","), *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, minors []string, parallel int) error {
	work, err := os.MkdirTemp("", "requorum-matrix-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) // our own
	bin, err := harness.Build(work)
	if err != nil {
		return err
	}
	harness.Use(bin)
	var taken []taken
	releases := map[string]harness.Release{}
	for _, minor := range minors {
		if releases[minor], err = harness.FindEtcd(ctx, minor); err != nil {
			return err
		}
		s, err := take(ctx, releases[minor], filepath.Join(work, minor+".db"))
		if err != nil {
			return fmt.Errorf("a snapshot on etcd %s: %w", minor, err)
		}
		taken = append(taken, s)
	}
	var pairs []*pair
	for _, s := range taken {
		for _, to := range minors {
			pairs = append(pairs, &pair{from: s, to: releases[to], newest: releases[minors[len(minors)-1]]})
		}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, max(1, parallel))
	for _, p := range pairs {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			p.try(ctx)
		})
	}
	wg.Wait()
	return table(pairs)
}

func table(pairs []*pair) error {
	fmt.Printf("%-8s %-8s | %-28s | %-34s | %s\n", "from", "to", "requorum", "by hand, with its own restore", "by hand, with the newest etcdutl")
	restored, refused, wrong := 0, 0, 0
	for _, p := range pairs {
		fmt.Printf("%-8s %-8s | %-28s | %-34s | %s\n", p.from.of.Version, p.to.Version, p.did, p.own, p.byNewest)
		switch {
		case p.code != "":
			refused++
		case p.err == nil:
			restored++
		}
		if p.err != nil {
			wrong++
			fmt.Printf("  WRONG: %v\n", p.err)
		}
	}
	fmt.Printf("pairs=%d restored=%d refused=%d wrong=%d\n", len(pairs), restored, refused, wrong)
	if wrong > 0 {
		return fmt.Errorf("%d pairs are not what requorum says", wrong)
	}
	return nil
}

// taken is a snapshot of a real server, and what it holds.
type taken struct {
	of   harness.Release
	path string
	keys harness.Keys
}

// take saves one of a cluster of three with the version's own etcdctl.
func take(ctx context.Context, r harness.Release, path string) (taken, error) {
	s := taken{of: r, path: path}
	_, err := harness.Outside(ctx, "matrix-take-"+r.Minor, func(t testing.TB) {
		e := harness.New(t)
		hs := e.ByHandOf(r, e.Cluster(3).Members)
		s.keys = harness.Fill(t, hs.Endpoints(), 1000)
		if _, err := harness.Client(t, hs[0].Client).UserAdd(harness.Context(t), "somebody", "secret"); err != nil {
			t.Fatal(err)
		}
		if r.Minor >= "3.6" {
			e.AwaitStorageVersion(hs[0])
		}
		e.Tool(r.Etcdctl, "--endpoints="+hs[0].Client, "snapshot", "save", path).Want(t, 0)
		hs.Kill9()
	}, nil)
	return s, err
}
