// Command crashmatrix kills requorum, or a member, at every boundary of its
// journal in every scenario, on real etcd, and then plans and applies again: it
// has to end in sync, with every acknowledged write, one cluster alive at any time,
// and every data directory kept.
//
// The table follows from the scenarios' steps. Each scenario is run once without an
// interruption, which must have these very steps; the kinds of action of all
// scenarios together are all that there are. Attempts are written to a tally as
// they end, and a run goes on where the last one stopped. Ctrl-C lets the attempts
// at work end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

type options struct {
	folder, only, who string
	parallel          int
	again, list       bool
}

func main() {
	o := options{}
	flag.StringVar(&o.folder, "tally", "", "folder of the tally and of what failed attempts leave; in the user's cache where empty")
	flag.StringVar(&o.only, "only", "", "only attempts whose line in the table contains this")
	flag.StringVar(&o.who, "who", "", "only victims that contain this")
	flag.IntVar(&o.parallel, "parallel", 2, "attempts at a time")
	flag.BoolVar(&o.again, "again", false, "run attempts again that failed, or whose kill came too late")
	flag.BoolVar(&o.list, "list", false, "print the tally, and run nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends it at once
	if err := runAll(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "crashmatrix:", err)
		os.Exit(1)
	}
}

func runAll(ctx context.Context, o options) error {
	folder, work, leave, err := harness.Workplace("crashmatrix", o.folder)
	if err != nil {
		return err
	}
	defer leave()
	sources.dir = work
	t, err := harness.OpenTally[line](filepath.Join(folder, "tally.jsonl"))
	if err != nil {
		return err
	}
	defer t.Close()
	if !o.list {
		bin, err := harness.Build(work)
		if err != nil {
			return err
		}
		harness.Use(bin)
		attempts(ctx, o, folder, t)
	}
	fmt.Println(filepath.Join(folder, "tally.jsonl"))
	return show(os.Stdout, t.Lines())
}

// attempts runs those that the tally does not have: the scenarios alone first, for
// their steps' times.
func attempts(ctx context.Context, o options, folder string, t *harness.Tally[line]) {
	for _, alone := range []bool{true, false} {
		var wg sync.WaitGroup
		room := make(chan struct{}, max(1, o.parallel))
		all := table()
		slices.SortStableFunc(all, func(a, b attempt) int { return a.Percent - b.Percent }) // those that take long last
		for _, a := range all {
			if (a.Place == whole) != alone || !strings.Contains(a.String(), o.only) && !(alone && strings.HasPrefix(o.only, a.Scenario)) || !strings.Contains(a.Who, o.who) && !alone {
				continue
			}
			done, steps := latest(t.Lines(), a)
			if done != nil && (!o.again || done.Error == "" && done.Hit) {
				continue
			}
			room <- struct{}{}
			if ctx.Err() != nil {
				break
			}
			wg.Go(func() {
				defer func() { <-room }()
				l := run(a, steps, folder)
				if err := t.Add(l); err != nil {
					fmt.Fprintln(os.Stderr, "crashmatrix:", err)
				}
				fmt.Println(l)
			})
		}
		wg.Wait()
	}
}

// latest is the last line of an attempt, and the seconds of its scenario's steps.
func latest(lines []line, a attempt) (done *line, steps []float64) {
	for i, l := range lines {
		if l.attempt == a {
			done = &lines[i]
		}
		if l.Scenario == a.Scenario && l.Place == whole && l.Error == "" {
			steps = l.Steps
		}
	}
	return done, steps
}

func (l line) result() string {
	switch {
	case l.Error != "":
		return "FAILED"
	case !l.Hit:
		return "not hit"
	}
	return "in sync"
}

func (l line) String() string {
	s := fmt.Sprintf("%-28s %-32s %-16s %-8s exit %2d, then %d applies; %5d writes, %d failed, gap %5d ms; %5.1f s",
		l.Scenario, l.boundary(), l.Who, l.result(), l.Exit, l.Applies, l.Acknowledged, l.Failed, l.GapMS, l.Seconds)
	if l.Back {
		s += "; with the voter in the file again"
	}
	if !l.Hit {
		s += " at: " + l.Landed
	}
	if l.Error != "" {
		s += "\n  " + l.Error
	}
	return s
}

// show prints the table; the error says what is wrong with it.
func show(w io.Writer, lines []line) error {
	hit, notHit, failed, missing := 0, 0, 0, 0
	seen := map[string]bool{}
	for _, a := range table() {
		l, _ := latest(lines, a)
		if l == nil {
			missing++
			continue
		}
		fmt.Fprintln(w, *l)
		switch l.result() {
		case "FAILED":
			failed++
		case "not hit":
			notHit++
		default:
			hit++
			if a.Place != whole {
				seen[a.kind()] = true
			}
		}
	}
	var absent []string
	for _, a := range planner.Actions() {
		if !seen[a.Kind()] {
			absent = append(absent, a.Kind())
		}
	}
	slices.Sort(absent)
	fmt.Fprintf(w, "attempts=%d in_sync=%d not_hit=%d failed=%d missing=%d kinds=%d of %d\n",
		len(table()), hit, notHit, failed, missing, len(planner.Actions())-len(absent), len(planner.Actions()))
	switch {
	case failed > 0:
		return errors.New("attempts failed: see above")
	case missing > 0:
		return errors.New("the table is not complete: run it again, it goes on where it stopped")
	case len(absent) > 0:
		return fmt.Errorf("no attempt came to %s", strings.Join(absent, ", "))
	}
	return nil
}
