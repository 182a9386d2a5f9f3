// Command modelcheck holds the planner to its promises over every state within bounds:
// what `make modelcheck` runs.
//
//	go run ./tests/modelcheck [-bound full|small] [-until RULE]
//
// It enumerates observations beside files, plans for each, carries the plan out on
// planner.Predict's word, cuts it everywhere, lets a fault happen, and plans again.
// Every plan and every step is held to the promises of the design and the rules of
// safety, which stand here as code of their own. It prints the states for each route,
// the refusals and actions that were reached, and states=N transitions=N seconds=N, and
// exits with 1 where a rule was broken or something was never reached. With -until it ends
// where the first finding of that rule is.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/requorum/requorum/planner"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("modelcheck", flag.ContinueOnError)
	set.SetOutput(stderr)
	name := set.String("bound", "full", "how far: full or small")
	profile := set.String("cpuprofile", "", "write a CPU profile to this file")
	workers := set.Int("workers", 2, "how many states are planned for at once")
	every := set.Int("every", 1, "take one of so many mixtures only, for a quick look")
	shown := set.Int("show", 3, "how many findings are shown for each rule")
	until := set.String("until", "", "stop at the first finding of this rule")
	if err := set.Parse(args); err != nil {
		return 1
	}
	if *until != "" && !slices.Contains(rules, *until) {
		fmt.Fprintf(stderr, "modelcheck: there is no rule %q\n", *until)
		return 1
	}
	b, ok := bounds[*name]
	if n := *every; n > 1 {
		b.every = n
	}
	if !ok {
		fmt.Fprintf(stderr, "modelcheck: there is no bound %q: full or small\n", *name)
		return 1
	}
	codes, err := refusalCodes()
	if err != nil {
		fmt.Fprintln(stderr, "modelcheck:", err)
		return 1
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			fmt.Fprintln(stderr, "modelcheck:", err)
			return 1
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			fmt.Fprintln(stderr, "modelcheck:", err)
			return 1
		}
		defer pprof.StopCPUProfile()
	}
	debug.SetGCPercent(400) // short-lived garbage, and room enough
	began := time.Now()
	s := newSearch(b)
	s.findings.until = *until
	transitions := s.run(*workers)
	took := time.Since(began)
	s.cover.print(stdout, s.perRoute())
	s.findings.print(stdout, *shown)
	var missing []string
	if !s.findings.enough.Load() {
		missing = s.cover.missing(codes)
	}
	for _, m := range missing {
		fmt.Fprintf(stdout, "NEVER REACHED: %s\n", m)
	}
	fmt.Fprintf(stdout, "states=%d transitions=%d seconds=%d\n", s.states(), transitions, int(took.Seconds()+0.999))
	if len(s.findings.all) > 0 || len(missing) > 0 {
		return 1
	}
	return 0
}

func (s *search) states() int {
	n := 0
	for i := range s.shards {
		n += len(s.shards[i].states)
	}
	return n
}

// perRoute counts the distinct states by the route of their plan.
func (s *search) perRoute() map[string]int {
	out := map[string]int{}
	for i := range s.shards {
		for _, k := range s.shards[i].states {
			name := "refused"
			if r := planner.Routes(); int(k.verdict) < len(r) {
				name = string(r[k.verdict])
			}
			out[name]++
		}
	}
	return out
}
