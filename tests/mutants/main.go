// Command mutants checks the model check: it plants faults in the planner, one at a
// time, and holds the model check to finding each, under the name of the promise or
// rule that the fault breaks.
//
// A fault is a patch to the planner's source in patches/, with two lines before the
// diff: what it does, and "Breaks: RULE", as the model check prints it. The source
// itself is not touched: the patched file is built through an overlay.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"time"
)

func main() {
	only := flag.String("run", "", "only the fault of this name")
	bound := flag.String("bound", "small", "the model check's bound")
	all := flag.Bool("all", false, "go on after a fault was caught, and show all rules that name it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *bound, *all); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, bound string, all bool) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	faults, err := Faults(root)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "requorum-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	// What the planner as it is fails at would be found with any fault.
	began := time.Now()
	if out, err := (Fault{}).check(ctx, root, work, bound, true); err != nil {
		return fmt.Errorf("the model check does not pass without a fault: %w\n%s", err, tail(out, 40))
	}
	fmt.Printf("without a fault the model check passes (%.0f s)\n\n", time.Since(began).Seconds())

	verdicts := make([]verdict, len(faults))
	var wg sync.WaitGroup
	room := make(chan struct{}, max(1, runtime.NumCPU()/2))
	for i, f := range faults {
		if only != "" && f.Name != only {
			continue
		}
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			verdicts[i] = f.try(ctx, root, work, bound, all)
			verdicts[i].print(f)
		})
	}
	wg.Wait()
	n, caught := 0, 0
	for _, v := range verdicts {
		if v.tried {
			n++
		}
		if v.caught {
			caught++
		}
	}
	fmt.Printf("\nmutants=%d caught=%d\n", n, caught)
	if n == 0 {
		return errors.New("there is no fault of that name")
	}
	if caught < n {
		return fmt.Errorf("%d faults were not found", n-caught)
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("where is the module? %w", err)
	}
	return string(out[:len(out)-1]), nil
}
