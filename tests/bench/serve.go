package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// deadToServing begins with nothing but a snapshot and ends with the first
// linearizable read from a cluster of three.
func (b *bench) deadToServing(ctx context.Context, src *source) (comparison, error) {
	ports, err := harness.ReservePorts(6)
	if err != nil {
		return comparison{}, err
	}
	defer ports.Release()
	var clients, peers []string
	for i := range 3 {
		clients, peers = append(clients, ports.URL(2*i)), append(peers, ports.URL(2*i+1))
	}
	return b.compare(ctx, "from a dead cluster to one that serves",
		way{"`requorum apply`, until it serves", func(ctx context.Context, dir string) (result, error) {
			return b.byApply(ctx, dir, src, clients, peers)
		}},
		way{"by hand: `etcdutl snapshot restore` three times, then three etcds", func(ctx context.Context, dir string) (result, error) {
			return b.byHand(ctx, dir, src, clients, peers)
		}})
}

func (b *bench) byHand(ctx context.Context, dir string, src *source, clients, peers []string) (result, error) {
	began := time.Now()
	c := members(peers)
	r, err := b.byEtcdutl(ctx, dir, src.path, c)
	if err != nil {
		return r, err
	}
	r.phases = []phase{{"starting", time.Since(began).Seconds()}}
	for i, m := range c.Members {
		s, err := b.startEtcd(dir, m.Name, clients[i], peers[i], "--initial-cluster", c.InitialCluster(), "--initial-cluster-token", token)
		if err != nil {
			return r, err
		}
		defer s.stop()
	}
	t, err := serving(ctx, clients)
	r.took = t.Sub(began)
	return r, err
}

const file = `cluster "bench" {
  etcd {
    config = { quota-backend-bytes = 8589934592 }
  }
%s
  snapshot { source = %q }
}
`

func (b *bench) byApply(ctx context.Context, dir string, src *source, clients, peers []string) (r result, err error) {
	var list strings.Builder
	for i := range clients {
		fmt.Fprintf(&list, "  member \"m%d\" {\n    peer_urls   = [%q]\n    client_urls = [%q]\n    data_dir    = \"m%d\"\n  }\n", i+1, peers[i], clients[i], i+1)
	}
	path := filepath.Join(dir, "requorum.hcl")
	if err := os.WriteFile(path, fmt.Appendf(nil, file, list.String(), src.path), 0o600); err != nil {
		return r, err
	}
	verb := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, b.requorum, args...)
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "XDG_STATE_HOME=" + filepath.Join(dir, "state"), "TMPDIR=" + dir, "NO_COLOR=1", "PATH=" + os.Getenv("PATH")}
		return cmd
	}
	defer func() {
		if out, serr := verb("stop", "--auto-approve", path).CombinedOutput(); serr != nil {
			err = errors.Join(err, fmt.Errorf("requorum stop: %w: %s", serr, out))
		}
	}()
	apply := verb("apply", "--auto-approve", path)
	out, err := apply.StderrPipe() // where the steps are told
	if err != nil {
		return r, err
	}
	var words bytes.Buffer
	began := time.Now()
	if err := apply.Start(); err != nil {
		return r, err
	}
	read := make(chan []phase)
	go func() { read <- steps(bufio.NewScanner(io.TeeReader(out, &words)), began) }()
	served := make(chan time.Time, 1)
	go func() {
		t, _ := serving(ctx, clients)
		served <- t
	}()
	r.phases = <-read
	if err := apply.Wait(); err != nil {
		return r, fmt.Errorf("%w: %s", err, words.String())
	}
	done := time.Since(began)
	t := <-served
	r.took = t.Sub(began)
	r.use(apply.ProcessState)
	r.phases = append(r.phases, phase{"serving", r.took.Seconds()}, phase{"apply ended", done.Seconds()})
	slices.SortStableFunc(r.phases, func(a, b phase) int { return int((a.At - b.At) * 1000) })
	return r, nil
}

// steps are the lines that apply prints for steps that are done.
func steps(s *bufio.Scanner, began time.Time) []phase {
	var list []phase
	for s.Scan() {
		if m := stepDone.FindStringSubmatch(s.Text()); m != nil {
			list = append(list, phase{fmt.Sprintf("%q, which took %s, done", strings.Join(strings.Fields(m[1]), " "), m[2]), time.Since(began).Seconds()})
		}
	}
	return list
}

var stepDone = regexp.MustCompile(`^\s+\d+\s+(.*?)\s+done\s+([0-9.]+ s)`)
