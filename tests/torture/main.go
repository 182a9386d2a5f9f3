// Command torture changes real clusters while chance breaks things, under writers
// and readers, and checks what these saw for linearizability.
//
// Each round has a seed, from which come the target (grow, shrink, replace, move,
// restart, recover), one or two faults, when they come and how long they last. The
// cluster lives in a network and on disks of its own. When the faults are mended,
// planning and applying has to end in sync without further consents; then every
// member is read, the history of each key is checked with porcupine, one cluster
// may have been alive at any time, and every data directory has to be somewhere. A
// round counts only where a fault came while a step was at work, and 500 writes
// were acknowledged.
//
// Rounds are written to a tally, and a run goes on where the last one stopped.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/requorum/requorum/tests/harness"
)

type options struct {
	rounds, parallel int
	seed             uint64
	first            uint64
	folder           string
}

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 300, "rounds that count, those of the tally included")
	flag.IntVar(&o.parallel, "parallel", 2, "rounds at a time")
	flag.Uint64Var(&o.seed, "seed", 0, "run this round alone, whatever the tally has")
	flag.Uint64Var(&o.first, "first", 1, "seed of the first round; each has the next one")
	flag.StringVar(&o.folder, "tally", "", "folder of the tally and of what failed rounds leave; in the user's cache where empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends it at once
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if err := unmountBelow(o.folder); err != nil {
		return err
	}
	folder, work, leave, err := harness.Workplace("torture", o.folder)
	if err != nil {
		return err
	}
	defer leave()
	bin, err := harness.Build(work)
	if err != nil {
		return err
	}
	harness.Use(bin)
	if o.seed > 0 {
		l := round(o.seed, folder)
		fmt.Println(l)
		if l.Error != "" {
			return errors.New("the round failed")
		}
		return nil
	}
	t, err := harness.OpenTally[line](filepath.Join(folder, "tally.jsonl"))
	if err != nil {
		return err
	}
	defer t.Close()
	rounds(ctx, o, folder, t)
	fmt.Println(filepath.Join(folder, "tally.jsonl"))
	return show(os.Stdout, t.Lines())
}

// rounds runs seeds that the tally does not have, until enough of them count.
func rounds(ctx context.Context, o options, folder string, t *harness.Tally[line]) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, max(1, o.parallel))
	for seed := o.first; ; seed++ {
		counted, has := 0, false
		for _, l := range t.Lines() {
			has = has || l.Seed == seed
			if l.counts() {
				counted++
			}
		}
		if counted >= o.rounds || ctx.Err() != nil {
			return
		}
		if has {
			continue
		}
		room <- struct{}{}
		if ctx.Err() != nil {
			return
		}
		wg.Go(func() {
			defer func() { <-room }()
			l := round(seed, folder)
			if err := t.Add(l); err != nil {
				fmt.Fprintln(os.Stderr, "torture:", err)
			}
			fmt.Println(l)
		})
	}
}

// show prints the figures; the error says what is wrong with them.
func show(w io.Writer, lines []line) error {
	counted, failed, writes, during := 0, 0, 0, 0
	targets, kinds := map[string]int{}, map[string]int{}
	for _, l := range lines {
		if l.Error != "" {
			failed++
			fmt.Fprintln(w, l)
		}
		if !l.counts() {
			continue
		}
		counted++
		writes, during = writes+l.Writes, during+l.During
		targets[l.Target]++
		for _, f := range l.Faults {
			if f.Step {
				kinds[f.Fault]++
			}
		}
	}
	for _, t := range allTargets() {
		fmt.Fprintf(w, "%4d rounds: %s\n", targets[t], t)
	}
	for _, f := range faults {
		fmt.Fprintf(w, "%4d times during a step: %s\n", kinds[f.name], f.name)
	}
	fmt.Fprintf(w, "rounds=%d counted=%d failed=%d writes=%d faults_during_steps=%d\n", len(lines), counted, failed, writes, during)
	switch {
	case failed > 0:
		return errors.New("rounds failed: see above; each is run again with -seed")
	case counted == 0:
		return errors.New("no round counts")
	}
	return nil
}

func allTargets() []string {
	var out []string
	for _, t := range targets {
		out = append(out, t.name)
	}
	return out
}

// unmountBelow takes away the disks that a run left which was killed.
func unmountBelow(folder string) error {
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		folder = filepath.Join(cache, "requorum", "torture")
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 1 && strings.HasPrefix(fields[1], folder+"/work/") {
			_ = harness.EndAll(filepath.Join(folder, "work"))
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", fields[1], err)
			}
		}
	}
	return nil
}
