// Command loss kills real clusters under writers, takes two of three disks away,
// has requorum recover from the third, and counts the acknowledged writes that are
// gone.
//
// Each round is a cluster of three of one etcd version (3.4, 3.5, 3.6 and 3.7 in
// turn), kill -9 of all members at a moment that chance chooses, and one disk that
// is left. In most rounds that is one with the newest log of the three: nothing
// acknowledged may be lost then. On a copy of the same directory etcd's own way,
// --force-new-cluster, is tried as a control: where it loses nothing over the whole
// run, the run proves nothing and is void. In the other rounds, on purpose, the
// disk is one that lacks what the newest has: something may be lost, and the plan
// may not have promised more than what is there.
//
// Rounds are written to a tally as they end, and a run goes on where the last one
// stopped. Ctrl-C lets the rounds at work end.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/requorum/requorum/tests/harness"
)

type options struct {
	rounds, parallel int
	seed             uint64
	folder           string
	minors           []string
}

func main() {
	o := options{}
	versions := flag.String("versions", strings.Join(harness.Minors, ","), "minor versions of etcd, taken in turn")
	flag.IntVar(&o.rounds, "rounds", 200, "rounds in all, those of the tally included")
	flag.IntVar(&o.parallel, "parallel", 2, "rounds at a time")
	flag.Uint64Var(&o.seed, "seed", 1, "of the first round; each round has the next one")
	flag.StringVar(&o.folder, "tally", "", "folder of the tally and of what failed rounds leave; in the user's cache where empty")
	flag.Parse()
	o.minors = strings.Split(*versions, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends it at once
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "loss:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	folder, work, leave, err := harness.Workplace("loss", o.folder)
	if err != nil {
		return err
	}
	defer leave()
	bin, err := harness.Build(work)
	if err != nil {
		return err
	}
	harness.Use(bin)
	t, err := harness.OpenTally[line](filepath.Join(folder, "tally.jsonl"))
	if err != nil {
		return err
	}
	defer t.Close()
	if err := rounds(ctx, o, folder, t); err != nil {
		return err
	}
	fmt.Println(filepath.Join(folder, "tally.jsonl"))
	return report(os.Stdout, t.Lines())
}

// rounds runs those that the tally does not have.
func rounds(ctx context.Context, o options, folder string, t *harness.Tally[line]) error {
	had := t.Lines()
	releases := map[string]harness.Release{}
	for _, minor := range o.minors {
		if in := harness.Inside(); in.Minor == minor {
			releases[minor] = in
			continue
		}
		r, err := harness.FindEtcd(ctx, minor)
		if err != nil {
			return err
		}
		releases[minor] = r
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, max(1, o.parallel))
	for n := range o.rounds {
		seed := o.seed + uint64(n)
		if slices.ContainsFunc(had, func(l line) bool { return l.Seed == seed }) {
			continue
		}
		room <- struct{}{}
		if ctx.Err() != nil {
			return nil
		}
		wg.Go(func() {
			defer func() { <-room }()
			l := round(seed, releases[o.minors[n%len(o.minors)]], n/len(o.minors)%4 == 3, folder)
			if err := t.Add(l); err != nil {
				fmt.Fprintln(os.Stderr, "loss:", err)
			}
			fmt.Println(l)
		})
	}
	return nil
}
