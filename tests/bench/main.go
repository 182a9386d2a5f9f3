// Command bench measures requorum beside what one would do by hand: in one run,
// on one machine, in turn, medians of several rounds. It is what `make bench` runs.
//
//	go run ./tests/bench -requorum bin/requorum -etcdutl … -etcdctl … [-mb 300,1200] [-runs 5] [-write docs/benchmarks.md]
//
// Each measured thing is a process of its own, so that its peak memory can be told
// (its pages of mapped files count). Everything lies in one folder below -dir, which
// is removed at the end; ports are free ones of loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	requorum, etcdutl, etcdctl string
	self                       string // this program, for what has no verb
	dir                        string
	runs                       int
	only                       string
	pause                      time.Duration
}

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], part) {
		if err := runPart(os.Args[1][len(part):], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() (err error) {
	var b bench
	flag.StringVar(&b.requorum, "requorum", "", "the requorum to measure")
	flag.StringVar(&b.etcdutl, "etcdutl", "", "etcd's etcdutl")
	flag.StringVar(&b.etcdctl, "etcdctl", "", "etcd's etcdctl")
	flag.StringVar(&b.dir, "dir", "", "where the folder for the run is made; the system's temporary folder if not given")
	flag.IntVar(&b.runs, "runs", 5, "rounds; medians are shown")
	flag.StringVar(&b.only, "only", "", "one of restore, verify, save, serve, stall (stall-growth, stall-restart), fleet")
	flag.DurationVar(&b.pause, "pause", 0, "of stall: how long its writer pauses after each write")
	sizes := flag.String("mb", "300,1200", "sizes of the snapshot, in MB")
	out := flag.String("write", "", "a document whose figures are replaced")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	for _, p := range []*string{&b.requorum, &b.etcdutl, &b.etcdctl} {
		if *p == "" {
			return errors.New("bench: -requorum, -etcdutl and -etcdctl are needed")
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if b.dir, err = os.MkdirTemp(b.dir, "requorum-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	var report strings.Builder
	machine(&report, b.dir)
	if b.wants("fleet") {
		text, err := b.fleet(ctx)
		if err != nil {
			return err
		}
		fmt.Print(text)
		report.WriteString(text)
	}
	for _, s := range strings.Split(*sizes, ",") {
		if b.only == "fleet" {
			break
		}
		mb, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || mb < 1 {
			return fmt.Errorf("bench: %q is no number of megabytes", s)
		}
		if err := b.size(ctx, &report, mb); err != nil {
			return err
		}
	}
	if *out == "" {
		return nil
	}
	return replaceFigures(*out, report.String())
}

// size measures all with a snapshot of mb megabytes, and prints each table as
// soon as it is there.
func (b *bench) size(ctx context.Context, report *strings.Builder, mb int) error {
	if err := roomFor(b.dir, int64(mb)<<20*9); err != nil {
		return err
	}
	src := &source{bytes: int64(mb) << 20}
	if b.only != "stall-growth" {
		fmt.Fprintf(os.Stderr, "making a snapshot of %d MB\n", mb)
		var err error
		if src, err = b.makeSource(ctx, mb); err != nil {
			return err
		}
		defer os.RemoveAll(src.dir)
	}
	table := func(measure func(context.Context, *source) (comparison, error)) func() (string, error) {
		return func() (string, error) {
			c, err := measure(ctx, src)
			if err != nil {
				return "", err
			}
			return c.table(), nil
		}
	}
	cases := []struct {
		name    string
		measure func() (string, error)
	}{
		{"restore", table(b.restore)}, {"serve", table(b.deadToServing)}, {"save", table(b.save)}, {"verify", table(b.verify)},
		{"stall-growth", func() (string, error) { return b.growth(ctx, mb) }},
		{"stall-restart", func() (string, error) { return b.rolling(ctx, src) }},
	}
	text := fmt.Sprintf("\n### A snapshot of %d MB with %d keys\n", src.bytes>>20, src.keys)
	if src.keys == 0 {
		text = fmt.Sprintf("\n### A db of %d MB\n", mb)
	}
	fmt.Print(text)
	report.WriteString(text)
	for _, one := range cases {
		if !b.wants(one.name) {
			continue
		}
		text, err := one.measure()
		if err != nil {
			return err
		}
		fmt.Print(text)
		report.WriteString(text)
	}
	return nil
}
