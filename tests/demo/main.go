// Command demo shows a cluster lost twice, with and without a survivor, and
// brought back twice: what `make demo` runs.
//
//	go run ./tests/demo -requorum bin/requorum [-keep]
//
// Everything it makes lies in one folder of its own below the temporary folder,
// on ports that are free; every process it starts has that folder on its command
// line. Both are gone at the end, also after a failure or Ctrl-C (-keep keeps
// the folder). It exits with 1 where anything is not as it should be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fatih/color"

	"github.com/requorum/requorum/tests/harness"
)

const (
	keys    = 1500
	members = 3
	writers = 4
	limit   = 3 * time.Minute
)

// demo is one run.
type demo struct {
	bin, dir string
	ports    *harness.Ports // two for the old member, two for each new one
	old      *harness.Server
	want     harness.Keys
	writers  *harness.Writers
	survivor int // the member that keeps its disk
	act      int
}

func main() { os.Exit(run()) }

func run() int {
	bin := flag.String("requorum", "", "the requorum to show; without it, one is built")
	keep := flag.Bool("keep", false, "keep the folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	d, err := newDemo(*bin)
	if err == nil {
		err = errors.Join(d.play(ctx), d.clean(*keep))
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		fmt.Fprintf(os.Stderr, "\n%s %v\n", color.RedString("The demo failed:"), err)
		return 1
	}
	fmt.Printf("\n%s The cluster was lost twice: once with its only member, once with two of three.\n"+
		"All %d keys of the snapshot and all %d writes acknowledged since are there, in %.0f s.\n",
		color.GreenString("Done."), len(d.want), d.writers.Acked(), time.Since(began).Seconds())
	return 0
}

func newDemo(bin string) (d *demo, err error) {
	d = &demo{}
	if d.dir, err = os.MkdirTemp("", "requorum-demo-"); err != nil {
		return nil, err
	}
	if d.dir, err = filepath.EvalSymlinks(d.dir); err != nil {
		return nil, err
	}
	if bin == "" {
		d.bin, err = harness.Build(d.dir)
	} else {
		d.bin, err = filepath.Abs(bin)
	}
	if err == nil {
		d.ports, err = harness.ReservePorts(2 + 2*members)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	return d, nil
}

// play shows the acts, each after the one before it went well.
func (d *demo) play(ctx context.Context) error {
	fmt.Printf("Everything happens in %s\n", d.dir)
	for _, act := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"An etcd with data", d.begin},
		{"A snapshot, while it serves", d.snapshot},
		{"Disaster: the member and its disk are gone", d.destroy},
		{"What shall be: three members, from the snapshot", d.file},
		{"requorum plan", d.requorum("plan")},
		{"requorum apply", d.requorum("apply", "--auto-approve")},
		{"Proof: every key, on every member", d.prove},
		{"requorum plan, again", d.requorum("plan", "--detailed-exitcode")},
		{"Disaster again: two of three are gone, under writers", d.destroyTwo},
		{"requorum plan", d.requorum("plan")},
		{"requorum apply --accept=data-loss", d.requorum("apply", "--auto-approve", "--accept=data-loss")},
		{"Proof: every acknowledged write, on every member", d.proveWrites},
		{"requorum status", d.requorum("status")},
		{"requorum stop", d.requorum("stop", "--auto-approve")},
	} {
		d.act++
		fmt.Printf("\n%s\n", color.New(color.Bold, color.FgCyan).Sprintf("── %d  %s %s", d.act, act.title, line(act.title, d.act)))
		if err := act.do(ctx); err != nil {
			return fmt.Errorf("act %d (%s): %w", d.act, act.title, err)
		}
	}
	if left := harness.Processes(d.dir); len(left) > 0 {
		return fmt.Errorf("requorum stop left running: %v", left)
	}
	return nil
}

// line fills a title up to 80 columns.
func line(title string, act int) string {
	used := len([]rune(fmt.Sprintf("── %d  %s ", act, title)))
	return strings.Repeat("─", max(0, 80-used))
}

func say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

func (d *demo) begin(ctx context.Context) (err error) {
	d.old = harness.NewServer(d.bin, d.dir, "old", d.ports.URL(0), d.ports.URL(1))
	if err := d.old.Start(ctx); err != nil {
		return err
	}
	say("etcd serves at %s (pid %d), all alone.", d.old.Client, d.old.PID())
	if d.want, err = harness.FillKeys(ctx, d.old.Client, keys); err != nil {
		return err
	}
	say("It holds %d keys now; others were overwritten, deleted, or have leases.", len(d.want))
	return nil
}

func (d *demo) snapshot(ctx context.Context) error {
	path := filepath.Join(d.dir, "snapshot.db")
	if err := harness.SaveSnapshot(ctx, d.old.Client, path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	say("etcdctl snapshot save snapshot.db: %d KiB.", info.Size()>>10)
	return nil
}

func (d *demo) destroy(context.Context) error {
	say("kill -9 %d", d.old.PID())
	if err := d.old.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	say("rm -r %s", filepath.Base(d.old.DataDir))
	return os.RemoveAll(d.old.DataDir) // the demo's own, made a moment ago
}

func (d *demo) file(context.Context) error {
	var ports []string
	for i := range members {
		ports = append(ports, fmt.Sprintf("m%d = { client = %d, peer = %d }", i+1, d.ports.Numbers[2+2*i], d.ports.Numbers[3+2*i]))
	}
	text := fmt.Sprintf(`locals {
  ports = {
    %s
  }
}

cluster "demo" {
  member "node" {
    for_each    = local.ports
    name        = each.key
    peer_urls   = ["http://127.0.0.1:${each.value.peer}"]
    client_urls = ["http://127.0.0.1:${each.value.client}"]
    data_dir    = "data/${each.key}"
  }

  snapshot { source = "snapshot.db" }
}
`, strings.Join(ports, "\n    "))
	for l := range strings.Lines(text) {
		fmt.Println(strings.TrimRight("  "+l, " \n"))
	}
	return os.WriteFile(filepath.Join(d.dir, "requorum.hcl"), []byte(text), 0o600)
}

// requorum runs it and shows what it shows, unchanged.
func (d *demo) requorum(args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, d.bin, args...)
		cmd.Dir, cmd.Env = d.dir, d.environ()
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 20 * time.Second
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("requorum %s: %w", strings.Join(args, " "), err)
		}
		return nil
	}
}

// environ keeps requorum's journal and temporary files in the demo's folder.
func (d *demo) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "REQUORUM_") })
	return append(env, "XDG_STATE_HOME="+filepath.Join(d.dir, "state"), "TMPDIR="+d.dir)
}

// urls are the members' client URLs.
func (d *demo) urls() []string {
	var out []string
	for i := range members {
		out = append(out, d.ports.URL(2+2*i))
	}
	return out
}

func (d *demo) prove(ctx context.Context) error {
	for i, url := range d.urls() {
		if err := harness.CompareKeys(ctx, []string{url}, d.want); err != nil {
			return err
		}
		say("m%d at %s: all %d keys are there and equal, none more.", i+1, url, len(d.want))
	}
	return d.sameHash(ctx)
}

func (d *demo) sameHash(ctx context.Context) error {
	if err := harness.SameHash(ctx, d.urls()); err != nil {
		return err
	}
	say("HashKV is the same on all of them.")
	return nil
}

// destroyTwo lets clients write and takes two members away from under them, all
// but the leader.
func (d *demo) destroyTwo(ctx context.Context) (err error) {
	if d.writers, err = harness.NewWriters(nil, writers, d.urls()); err != nil {
		return err
	}
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.survivor, err = harness.Leader(ctx, d.urls()); err != nil {
		return err
	}
	say("%d clients write; %d writes were acknowledged so far. m%d leads.", writers, d.writers.Acked(), d.survivor+1)
	for i := range members {
		if i == d.survivor {
			continue
		}
		if err := d.loseMachine(fmt.Sprintf("m%d", i+1)); err != nil {
			return err
		}
	}
	say("m%d runs on, alone: it has no quorum and acknowledges nothing.", d.survivor+1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	d.writers.Stop()
	say("%d writes were acknowledged until then, each by at least two of the three;", d.writers.Acked())
	say("the leader was one of the two, so its log has them all.")
	return ctx.Err()
}

// loseMachine kills a member and its supervisor and takes away their disk: the
// demo's own folders, with all that requorum kept there.
func (d *demo) loseMachine(name string) error {
	data := filepath.Join(d.dir, "data", name)
	var ps []harness.Proc
	for _, p := range harness.Processes(d.dir) {
		if p.Supervises() == data+".requorum" {
			ps = append([]harness.Proc{p}, ps...)
		} else if p.DataDir() == data {
			ps = append(ps, p)
		}
	}
	if len(ps) != 2 {
		return fmt.Errorf("%s: a supervisor and an etcd should run, not %v", name, ps)
	}
	if err := harness.Kill9(ps); err != nil {
		return err
	}
	say("kill -9 %d %d; rm -r data/%s data/%s.requorum", ps[0].PID, ps[1].PID, name, name)
	return errors.Join(os.RemoveAll(data), os.RemoveAll(data+".requorum"))
}

func (d *demo) proveWrites(ctx context.Context) error {
	got, err := harness.ReadAll(ctx, d.urls()[0])
	if err != nil {
		return err
	}
	want, doubtful := d.writers.Keys(), d.writers.Doubtful(got)
	acked := len(want)
	maps.Copy(want, d.want)
	maps.Copy(want, doubtful)
	for i, url := range d.urls() {
		if err := harness.CompareKeys(ctx, []string{url}, want); err != nil {
			return err
		}
		say("m%d at %s: all %d acknowledged writes and the %d keys from before.", i+1, url, acked, len(d.want))
	}
	switch n := len(doubtful); n {
	case 0:
		say("No write is there that nobody had acknowledged.")
	default:
		say("%d more were in the log, never acknowledged, and were kept, as the plan said.", n)
	}
	return d.sameHash(ctx)
}

// clean ends what still runs below the folder, by pid, and removes the folder.
func (d *demo) clean(keep bool) error {
	if d.writers != nil {
		d.writers.Stop()
	}
	d.ports.Release()
	if err := harness.EndAll(d.dir); err != nil {
		return fmt.Errorf("%s is left: %w", d.dir, err)
	}
	if keep {
		fmt.Printf("\nKept: %s\n", d.dir)
		return nil
	}
	return os.RemoveAll(d.dir) // the demo's own
}
