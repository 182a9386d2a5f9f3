package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// result is one measured thing.
type result struct {
	took   time.Duration
	cpu    time.Duration // of all its processes; where the machine is busy it says more than took
	peak   int64         // the largest process, in KB; 0 where it is not told
	phases []phase
}

// phase is a part of it, from its beginning to the next one's; those of several
// members at once overlap.
type phase struct {
	What string  `json:"what"`
	At   float64 `json:"at"` // seconds since the beginning
}

// way is one way to do a thing: ours, or another.
type way struct {
	name string
	do   func(ctx context.Context, dir string) (result, error)
}

// comparison has the rounds of each way; the first way is ours.
type comparison struct {
	title  string
	ways   []string
	rounds map[string][]result
}

// settle is how long memory that was freed takes to come to rest. A virtual machine
// gives it back to its host some seconds later, and who writes files before that is
// spared the fetching: up to half of the time of writing three times 1.2 GB.
const settle = 6 * time.Second

// compare runs all ways in each round, in an order that is drawn anew each time, in
// folders of their own on one file system.
func (b *bench) compare(ctx context.Context, title string, ways ...way) (comparison, error) {
	c := comparison{title: title, rounds: map[string][]result{}}
	for _, w := range ways {
		c.ways = append(c.ways, w.name)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range b.runs {
		for _, i := range rnd.Perm(len(ways)) {
			w := ways[i]
			dir, err := os.MkdirTemp(b.dir, "round-")
			if err != nil {
				return c, err
			}
			unix.Sync() // what came before is not this one's load
			if err := sleep(ctx, settle); err != nil {
				return c, err
			}
			r, err := w.do(ctx, dir)
			if err != nil {
				return c, fmt.Errorf("%s: %s: %w", title, w.name, err)
			}
			c.rounds[w.name] = append(c.rounds[w.name], r)
			fmt.Fprintf(os.Stderr, "%s: %s: %.2f s, cpu %.2f s, %d MB\n", title, w.name, r.took.Seconds(), r.cpu.Seconds(), r.peak>>10)
			if err := os.RemoveAll(dir); err != nil { // this round's own output
				return c, err
			}
		}
	}
	return c, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// command runs a process to its end.
func command(ctx context.Context, out *bytes.Buffer, argv ...string) (result, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var words bytes.Buffer
	cmd.Stderr = &words
	if out != nil {
		cmd.Stdout = out
	}
	began := time.Now()
	err := cmd.Run()
	r := result{took: time.Since(began)}
	if err != nil {
		return r, fmt.Errorf("%s: %w: %s", strings.Join(argv[:min(3, len(argv))], " "), err, words.String())
	}
	r.use(cmd.ProcessState)
	return r, nil
}

// use enters what a process took.
func (r *result) use(p *os.ProcessState) {
	r.cpu += p.UserTime() + p.SystemTime()
	r.peak = max(r.peak, p.SysUsage().(*syscall.Rusage).Maxrss)
}

// phased runs a part of this program, which prints its phases.
func phased(ctx context.Context, argv ...string) (result, error) {
	var out bytes.Buffer
	r, err := command(ctx, &out, argv...)
	s := bufio.NewScanner(&out)
	for s.Scan() {
		var p phase
		if json.Unmarshal(s.Bytes(), &p) == nil {
			r.phases = append(r.phases, p)
		}
	}
	return r, err
}

func median[T int64 | float64 | time.Duration](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func (c comparison) times(way string) (all []time.Duration) {
	for _, r := range c.rounds[way] {
		all = append(all, r.took)
	}
	return all
}

// table shows medians, the range of the rounds, and ours as a part of each.
func (c comparison) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | median | from – to | processor time | peak memory | requorum's part of it |\n|---|---|---|---|---|---|\n", c.title)
	ours := median(c.times(c.ways[0]))
	for _, w := range c.ways {
		all := c.times(w)
		var peaks []int64
		var cpus []time.Duration
		for _, r := range c.rounds[w] {
			peaks, cpus = append(peaks, r.peak), append(cpus, r.cpu)
		}
		memory, part := "–", "–"
		if p := median(peaks); p > 0 {
			memory = fmt.Sprintf("%d MB", p>>10)
		}
		if w != c.ways[0] {
			part = fmt.Sprintf("%.2f", ours.Seconds()/median(all).Seconds())
			if p, o := median(peaks), c.peak(c.ways[0]); p > 0 && o > 0 {
				part += fmt.Sprintf("; memory %.2f", float64(o)/float64(p))
			}
		}
		fmt.Fprintf(&b, "| %s | %.2f s | %.2f – %.2f s | %.2f s | %s | %s |\n", w, median(all).Seconds(),
			slices.Min(all).Seconds(), slices.Max(all).Seconds(), median(cpus).Seconds(), memory, part)
	}
	if line := c.phaseLine(); line != "" {
		fmt.Fprintf(&b, "\nrequorum's phases, of the median round: %s.\n", line)
	}
	return b.String()
}

func (c comparison) peak(way string) int64 {
	var peaks []int64
	for _, r := range c.rounds[way] {
		peaks = append(peaks, r.peak)
	}
	return median(peaks)
}

// phaseLine says when each phase began, in the round whose time is the median.
func (c comparison) phaseLine() string {
	ours := c.rounds[c.ways[0]]
	want := median(c.times(c.ways[0]))
	for _, r := range ours {
		if r.took != want {
			continue
		}
		var list []string
		for _, p := range r.phases {
			list = append(list, fmt.Sprintf("%s from %.2f s", p.What, p.At))
		}
		return strings.Join(list, ", ")
	}
	return ""
}

// machine says what the figures were taken on, and how busy it was.
func machine(b *strings.Builder, dir string) {
	load, _ := os.ReadFile("/proc/loadavg")
	var fs unix.Statfs_t
	_ = unix.Statfs(dir, &fs)
	kinds := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs"}
	kind := kinds[int64(fs.Type)]
	if kind == "" {
		kind = fmt.Sprintf("a file system of type %#x", fs.Type)
	}
	one, _, _ := strings.Cut(string(load), " ")
	text := fmt.Sprintf("%d cores, %s, %s; %s at the beginning.\n", runtime.NumCPU(), runtime.GOARCH, kind, "load "+one)
	fmt.Print(text)
	b.WriteString(text)
}

func roomFor(dir string, need int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < need {
		return fmt.Errorf("bench: %s has %d MB free, and %d MB are needed", dir, free>>20, need>>20)
	}
	return nil
}

const figuresBegin, figuresEnd = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"

// replaceFigures puts the figures between the two marks of a document.
func replaceFigures(path, figures string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), figuresBegin)
	_, after, ok2 := strings.Cut(rest, figuresEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks for figures", filepath.Base(path))
	}
	return os.WriteFile(path, []byte(before+figuresBegin+"\n"+figures+"\n"+figuresEnd+after), 0o644)
}
