package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/tests/harness"
)

// stall is what a client saw while a cluster changed.
type stall struct {
	total  time.Duration
	gap    time.Duration // the longest between two acknowledged writes
	acked  int
	failed int
	steps  []phase
}

// stallWay is one way to change a cluster under a writer.
type stallWay struct {
	name string
	do   func(ctx context.Context, dir string, urls urls) (stall, error)
}

// urls are a cluster's of three.
type urls struct{ clients, peers []string }

func reserve() (*harness.Ports, urls, error) {
	p, err := harness.ReservePorts(6)
	var u urls
	if err != nil {
		return nil, u, err
	}
	for i := range 3 {
		u.clients, u.peers = append(u.clients, p.URL(2*i)), append(u.peers, p.URL(2*i+1))
	}
	return p, u, nil
}

// targets are parts of the other way that ours may have at most.
type targets struct{ gap, total float64 }

// stalls runs the ways in turn, ours first in the table, in an order that changes.
func (b *bench) stalls(ctx context.Context, title string, to targets, u urls, ways ...stallWay) (string, error) {
	rounds := map[string][]stall{}
	for n := range b.runs {
		for i := range ways {
			w := ways[(i+n)%len(ways)]
			dir, err := os.MkdirTemp(b.dir, "round-")
			if err != nil {
				return "", err
			}
			unix.Sync()
			if err := sleep(ctx, settle); err != nil {
				return "", err
			}
			s, err := w.do(ctx, dir, u)
			if err != nil {
				return "", fmt.Errorf("%s: %s: %w", title, w.name, err)
			}
			rounds[w.name] = append(rounds[w.name], s)
			fmt.Fprintf(os.Stderr, "%s: %s: %.2f s, gap %.0f ms, %d acknowledged, %d failed\n", title, w.name, s.total.Seconds(), s.gap.Seconds()*1000, s.acked, s.failed)
			for _, p := range s.steps {
				fmt.Fprintf(os.Stderr, "  %6.2f s  %s\n", p.At, p.What)
			}
			if err := os.RemoveAll(dir); err != nil { // this round's own cluster
				return "", err
			}
		}
	}
	return stallTable(title, to, ways, rounds), nil
}

func stallTable(title string, to targets, ways []stallWay, rounds map[string][]stall) string {
	pick := func(name string, f func(stall) time.Duration) time.Duration {
		var all []time.Duration
		for _, s := range rounds[name] {
			all = append(all, f(s))
		}
		return median(all)
	}
	gap, total := func(s stall) time.Duration { return s.gap }, func(s stall) time.Duration { return s.total }
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | longest gap between two acknowledged writes | failed writes, all rounds | total | requorum's part of it |\n|---|---|---|---|---|\n", title)
	ours := ways[0].name
	for _, w := range ways {
		failed := 0
		for _, s := range rounds[w.name] {
			failed += s.failed
		}
		part := "–"
		if w.name != ours {
			g, t := pick(ours, gap).Seconds()/pick(w.name, gap).Seconds(), pick(ours, total).Seconds()/pick(w.name, total).Seconds()
			part = fmt.Sprintf("gap %.3f (at most %.2f)", g, to.gap)
			if to.total > 0 {
				part += fmt.Sprintf("; total %.2f (at most %.1f)", t, to.total)
			}
		}
		fmt.Fprintf(&b, "| %s | %.0f ms | %d | %.2f s | %s |\n", w.name, pick(w.name, gap).Seconds()*1000, failed, pick(w.name, total).Seconds(), part)
	}
	return b.String()
}

// under runs change while a writer writes to all endpoints. It has a second before
// and after, and nobody but etcd's own client retries.
func (b *bench) under(u urls, change func() error) (stall, error) {
	w, err := harness.NewWriters(nil, 1, u.clients)
	if err != nil {
		return stall{}, err
	}
	defer w.Stop()
	w.Pause(b.pause)
	time.Sleep(time.Second)
	if w.Acked() == 0 {
		return stall{}, fmt.Errorf("no write was acknowledged before the change: %v", w.Failed())
	}
	began := time.Now()
	err = change()
	s := stall{total: time.Since(began)}
	time.Sleep(time.Second)
	w.Stop()
	s.gap, s.acked, s.failed = w.Gap(), w.Acked(), len(w.Failed())
	for _, f := range w.Failed() {
		fmt.Fprintln(os.Stderr, "  failed:", f)
	}
	return s, err
}

// growth makes three members of one that has mb megabytes.
func (b *bench) growth(ctx context.Context, mb int) (string, error) {
	ports, u, err := reserve()
	if err != nil {
		return "", err
	}
	defer ports.Release()
	single := filepath.Join(b.dir, fmt.Sprintf("single-%d", mb))
	if err := os.Mkdir(single, 0o700); err != nil {
		return "", err
	}
	defer os.RemoveAll(single)
	s, err := b.startEtcd(single, "m1", u.clients[0], u.peers[0], "--initial-cluster", "m1="+u.peers[0], "--unsafe-no-fsync")
	if err != nil {
		return "", err
	}
	if _, err = serving(ctx, u.clients[:1]); err == nil {
		err = fill(ctx, u.clients[0], mb)
	}
	s.stop()
	if err != nil {
		return "", err
	}
	first := func(ctx context.Context, dir string) (*server, error) {
		if _, err := command(ctx, nil, "cp", "-a", filepath.Join(single, "m1"), dir); err != nil {
			return nil, err
		}
		s, err := b.startEtcd(dir, "m1", u.clients[0], u.peers[0], "--initial-cluster", "m1="+u.peers[0])
		if err == nil {
			if _, err = serving(ctx, u.clients[:1]); err != nil {
				s.stop()
			}
		}
		return s, err
	}
	return b.stalls(ctx, "from 1 to 3 members", targets{gap: 0.05, total: 0.7}, u,
		stallWay{"`requorum apply`", func(ctx context.Context, dir string, u urls) (stall, error) {
			m1, err := first(ctx, dir)
			if err != nil {
				return stall{}, err
			}
			defer m1.stop()
			return b.applied(ctx, dir, u, "8589934592", "")
		}},
		stallWay{"by hand: `etcdctl member add` of a voter and its start, twice", func(ctx context.Context, dir string, u urls) (stall, error) {
			m1, err := first(ctx, dir)
			if err != nil {
				return stall{}, err
			}
			defer m1.stop()
			return b.addByHand(ctx, dir, u)
		}})
}

// addByHand adds members as etcd's documentation says: member add, start it with
// the cluster's state "existing", one after the other.
func (b *bench) addByHand(ctx context.Context, dir string, u urls) (stall, error) {
	var started []*server
	defer func() {
		for _, s := range started {
			s.stop()
		}
	}()
	return b.under(u, func() error {
		initial := "m1=" + u.peers[0]
		for i := 1; i < 3; i++ {
			name := fmt.Sprintf("m%d", i+1)
			if err := retried(ctx, func() error {
				_, err := command(ctx, nil, b.etcdctl, "--endpoints", u.clients[0], "member", "add", name, "--peer-urls", u.peers[i])
				return err
			}); err != nil {
				return err
			}
			initial += "," + name + "=" + u.peers[i]
			s, err := b.startEtcd(dir, name, u.clients[i], u.peers[i], "--initial-cluster", initial, "--initial-cluster-state", "existing")
			if err != nil {
				return err
			}
			started = append(started, s)
			if _, err := serving(ctx, u.clients[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// retried does what etcd refuses for a while: it wants its voters connected.
func retried(ctx context.Context, do func() error) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		err := do()
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// applied applies a file of three members under a writer, and stops them.
func (b *bench) applied(ctx context.Context, dir string, u urls, quota, snapshot string) (s stall, err error) {
	path := filepath.Join(dir, "requorum.hcl")
	if err := os.WriteFile(path, []byte(stallFile(u, quota, snapshot)), 0o600); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, b.verb(ctx, dir, "stop", path)) }()
	journal := []phase{}
	s, err = b.under(u, func() error {
		began := time.Now()
		err := b.verb(ctx, dir, "apply", path)
		journal = append(journal, stepsOf(dir, began)...)
		return err
	})
	s.steps = journal
	return s, err
}

func stallFile(u urls, quota, snapshot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster \"bench\" {\n  etcd {\n    config = { quota-backend-bytes = %s }\n  }\n", quota)
	for i := range u.clients {
		fmt.Fprintf(&b, "  member \"m%d\" {\n    peer_urls   = [%q]\n    client_urls = [%q]\n    data_dir    = \"m%d\"\n  }\n", i+1, u.peers[i], u.clients[i], i+1)
	}
	if snapshot != "" {
		fmt.Fprintf(&b, "  snapshot { source = %q }\n", snapshot)
	}
	return b.String() + "}\n"
}

func (b *bench) verb(ctx context.Context, dir, verb, path string) error {
	cmd := exec.CommandContext(ctx, b.requorum, verb, "--auto-approve", path)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "XDG_STATE_HOME=" + filepath.Join(dir, "state"), "TMPDIR=" + dir, "NO_COLOR=1", "PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("requorum %s: %w: %s", verb, err, out)
	}
	return nil
}

// stepsOf reads from the journal when each step of the last run ended.
func stepsOf(dir string, began time.Time) []phase {
	var out []phase
	for _, r := range harness.LastRun(filepath.Join(dir, "state")) {
		if r.Event == "intent" || r.Event == "done" {
			out = append(out, phase{r.String(), r.Time.Sub(began).Seconds()})
		}
	}
	return out
}

// rolling restarts three members, one after the other.
func (b *bench) rolling(ctx context.Context, src *source) (string, error) {
	ports, u, err := reserve()
	if err != nil {
		return "", err
	}
	defer ports.Release()
	return b.stalls(ctx, "three members restarted in turn", targets{gap: 0.3}, u,
		stallWay{"`requorum apply`", func(ctx context.Context, dir string, u urls) (stall, error) {
			path := filepath.Join(dir, "requorum.hcl")
			if err := os.WriteFile(path, []byte(stallFile(u, "8589934592", src.path)), 0o600); err != nil {
				return stall{}, err
			}
			if err := b.verb(ctx, dir, "apply", path); err != nil {
				return stall{}, errors.Join(err, b.verb(ctx, dir, "stop", path))
			}
			return b.applied(ctx, dir, u, "8589934000", src.path)
		}},
		stallWay{"by hand: SIGTERM, start, wait for its port, the next", func(ctx context.Context, dir string, u urls) (stall, error) {
			return b.restartByHand(ctx, dir, src, u)
		}})
}

func (b *bench) restartByHand(ctx context.Context, dir string, src *source, u urls) (stall, error) {
	c := members(u.peers)
	if _, err := b.byEtcdutl(ctx, dir, src.path, c); err != nil {
		return stall{}, err
	}
	start := func(i int) (*server, error) {
		return b.startEtcd(dir, c.Members[i].Name, u.clients[i], u.peers[i], "--initial-cluster", c.InitialCluster(), "--initial-cluster-token", token)
	}
	servers := make([]*server, 3)
	defer func() {
		for _, s := range servers {
			if s != nil {
				s.stop()
			}
		}
	}()
	for i := range servers {
		s, err := start(i)
		if err != nil {
			return stall{}, err
		}
		servers[i] = s
	}
	for i := range servers {
		if _, err := serving(ctx, u.clients[i:i+1]); err != nil {
			return stall{}, err
		}
	}
	return b.under(u, func() error {
		for i := range servers {
			_ = servers[i].cmd.Process.Signal(syscall.SIGTERM)
			<-servers[i].ended
			s, err := start(i)
			if err != nil {
				return err
			}
			servers[i] = s
			if err := retried(ctx, func() error { return port(u.clients[i]) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// port reports whether something listens there.
func port(url string) error {
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// stallOnly are the cases of this file, by their names on the command line.
var stallOnly = []string{"stall", "stall-growth", "stall-restart"}

func (b *bench) wants(name string) bool {
	return b.only == "" || b.only == name || b.only == "stall" && slices.Contains(stallOnly, name)
}
