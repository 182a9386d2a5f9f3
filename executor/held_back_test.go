package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
	"github.com/requorum/requorum/tests/harness"
)

// run starts an etcd of a release that takes snapshots often, and gives what ends it.
func run(t *testing.T, r harness.Release, name, client, peer, initial string, flags ...string) (end func()) {
	t.Helper()
	dir := t.TempDir()
	words, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	cmd := exec.Command(r.Etcd, append([]string{
		"--name=" + name, "--data-dir=" + filepath.Join(dir, name), "--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + initial, "--snapshot-count=1000",
	}, flags...)...)
	cmd.Stdout, cmd.Stderr = words, words
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(end)
	return end
}

// A started member that got a snapshot, in a cluster that nobody writes to, is held
// back by etcd until there is another entry in the log: it gets one. Where it is quick
// its own publish is that entry, sent before the snapshot is there: then it is tried with
// another one.
func TestHeldBackByEtcd(t *testing.T) {
	release := harness.Etcd(t, "3.6")
	const tries = 12
	ports, err := harness.ReservePorts(2 + 2*tries)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	run(t, release, "m1", ports.URL(0), ports.URL(1), "m1="+ports.URL(1))
	harness.AwaitServing(t, ports.URL(0))
	ctx, c := harness.Context(t), harness.Client(t, ports.URL(0))
	var wg sync.WaitGroup
	errs := make([]error, 64)
	for i := range errs {
		wg.Go(func() {
			for n := 0; n < 130 && errs[i] == nil; n++ {
				_, errs[i] = c.Put(ctx, fmt.Sprint("k", i), fmt.Sprint(n))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range tries {
		client, peer := ports.URL(2+2*i), ports.URL(3+2*i)
		added, err := c.MemberAddAsLearner(ctx, []string{peer})
		if err != nil {
			t.Fatal(err)
		}
		end := run(t, release, "m2", client, peer, fmt.Sprintf("m1=%s,m2=%s", ports.URL(1), peer), "--initial-cluster-state=existing")
		before := harness.Status(t, ports.URL(0))
		r := &Runner{
			Host: &stub{}, Lock: &lock{}, clusterID: fmt.Sprintf("%x", before.Header.ClusterId),
			Cluster: &spec.Cluster{Members: []spec.Member{
				{Name: "m1", ClientURLs: []string{ports.URL(0)}, PeerURLs: []string{ports.URL(1)}},
				{Name: "m2", ClientURLs: []string{client}, PeerURLs: []string{peer}},
			}},
		}
		r.Seen.Members = map[string]planner.MemberObservation{"m1": {Client: etcd.Probe(ctx, []string{ports.URL(0)}, etcd.Access{}, probeLimit)}}
		start := planner.Start{Voters: 1, Members: []planner.StartMember{{
			Place: planner.Place{Name: "m2"}, ClusterID: r.clusterID, MemberID: fmt.Sprintf("%x", added.Member.ID), ClientURL: client,
		}}}
		// Without an entry it stays as it is.
		if err := r.awaitCopied(within(t, 5*time.Second), start, nil, 0, nil); err == nil {
			end()
			if _, err := c.MemberRemove(ctx, added.Member.ID); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Logf("held back was learner %d", i+1)
		if err := r.awaitServing(within(t, 10*time.Second), start, nil); err != nil {
			t.Error(err)
		}
		if now := harness.Status(t, ports.URL(0)).Header.Revision; now != before.Header.Revision {
			t.Errorf("revision %d, before %d: the key space was touched", now, before.Header.Revision)
		}
		return
	}
	t.Fatalf("etcd held none of %d learners back: this test shows nothing", tries)
}

// Only who serves in the same cluster is asked for an entry, and nobody while clients
// are kept out.
func TestOthers(t *testing.T) {
	serves := func(cluster string, learner bool) planner.MemberObservation {
		return planner.MemberObservation{Client: planner.Endpoint{Reach: planner.ReachServing, URL: "u" + cluster, ClusterID: cluster, Learner: learner}}
	}
	r := &Runner{Cluster: &spec.Cluster{Members: []spec.Member{{Name: "m1"}, {Name: "m2"}, {Name: "m3"}, {Name: "m4"}, {Name: "m5"}}}}
	r.Seen.Members = map[string]planner.MemberObservation{
		"m1": serves("c", false), "m2": serves("c", false), "m3": serves("c", true), "m4": serves("other", false), "m5": {},
	}
	start := planner.Start{Members: []planner.StartMember{{Place: planner.Place{Name: "m1"}, ClusterID: "c"}}}
	if got := fmt.Sprint(r.others(start)); got != "[uc]" {
		t.Error(got)
	}
	start.Closed = true
	if got := r.others(start); got != nil {
		t.Error(got)
	}
}

// slow is a host whose looks take until somebody gives them up.
type slow struct {
	stub
	looks atomic.Int32
	limit time.Duration
}

func (s *slow) Observe(ctx context.Context, places []planner.Place) (map[string]host.Facts, error) {
	s.looks.Add(1)
	select {
	case <-ctx.Done():
	case <-time.After(s.limit):
	}
	return map[string]host.Facts{}, ctx.Err()
}

// The looks at a member's place, which read its whole log, neither hold up the wait for
// it nor follow each other closely.
func TestLooksBesideTheWait(t *testing.T) {
	e := serve(t, "3.6", false)
	m := planner.StartMember{Place: planner.Place{Name: "m1"}, ClusterID: e.clusterID, MemberID: e.id, ClientURL: e.client}
	for _, limit := range []time.Duration{0, time.Minute} {
		ports, err := harness.ReservePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		h := &slow{limit: limit}
		r := &Runner{Host: h, Lock: &lock{}, Cluster: &spec.Cluster{Members: []spec.Member{{Name: "m1"}}}}
		m.ClientURL = ports.URL(0)
		time.AfterFunc(2500*time.Millisecond, func() { forward(t, ports, e.client) })
		began := time.Now()
		if err := r.awaitServing(within(t, 20*time.Second), planner.Start{Members: []planner.StartMember{m}}, nil); err != nil {
			t.Error(err)
		}
		if n, took := h.looks.Load(), time.Since(began); n < 1 || n > 6 || took > 8*time.Second {
			t.Errorf("looks of %s: %d of them, served after %s", limit, n, took)
		}
	}
}

// forward gives whoever connects to the port a connection to the URL.
func forward(t *testing.T, from *harness.Ports, to string) {
	l, err := net.Listen("tcp", strings.TrimPrefix(from.URL(0), "http://"))
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { _ = l.Close(); from.Release() })
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", strings.TrimPrefix(to, "http://"))
		if err != nil {
			_ = in.Close()
			continue
		}
		go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
	}
}
