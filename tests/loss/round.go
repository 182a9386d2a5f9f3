package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// trial is a round at work.
type trial struct {
	line
	t   testing.TB
	e   *harness.Env
	c   *harness.Cluster
	rng *rand.Rand
	of  harness.Release
	hs  harness.Hands
	w   *harness.Writers

	killed bool
}

// setups is how often a cluster is begun anew that did not get as far as its end:
// such a round shows nothing of requorum.
const setups = 3

// round runs one. It is not cancelled in its middle; all its waits have limits.
func round(seed uint64, r harness.Release, wantBehind bool, folder string) line {
	for try := 1; ; try++ {
		x := &trial{line: line{Seed: seed, Version: r.Version, Arm: newest}, of: r}
		began := time.Now()
		log, err := harness.Outside(context.Background(), fmt.Sprintf("loss-%d", seed), func(t testing.TB) {
			x.t = t
			x.rng = rand.New(rand.NewPCG(seed, uint64(try)))
			x.run(wantBehind)
		}, func(dir string) { keep(folder, seed, dir) })
		x.Seconds = time.Since(began).Seconds()
		if err != nil {
			x.Error = err.Error()
		}
		if err == nil || x.killed || try == setups {
			if x.failed() {
				_ = os.WriteFile(filepath.Join(folder, fmt.Sprintf("failed-%d.log", seed)), []byte(log+x.Error), 0o600)
			}
			return x.line
		}
		fmt.Printf("seed %d: again, no cluster to kill: %v\n", seed, err)
	}
}

// keep leaves what a failed round worked on, for whoever looks for the cause.
func keep(folder string, seed uint64, dir string) {
	to := filepath.Join(folder, fmt.Sprintf("failed-%d", seed))
	if out, err := exec.Command("cp", "-a", "--sparse=always", dir, to).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "loss: keeping %s: %v: %s\n", dir, err, out)
	}
}

func (x *trial) run(wantBehind bool) {
	x.e = harness.New(x.t)
	x.begin()
	x.fail(wantBehind)
	survivor := x.choose(wantBehind)
	x.ControlLost = x.control(x.c.Members[survivor])
	x.destroy(survivor)

	plans := x.e.Settle(x.c.Path(), harness.Granted)
	if len(plans) == 0 || plans[0].Route != string(planner.RouteRecover) {
		x.t.Fatalf("it was not recovered: %+v", plans)
	}
	x.Said = plans[0].Loss.Kind
	x.count(plans[0].Loss.Text)
	if x.failed() {
		x.t.Errorf("of %d acknowledged writes %d are gone, %d of them promised by: %s", x.Acknowledged, x.Lost, x.Understated, plans[0].Loss.Text)
	}
}

// begin starts the cluster and its writers. A snapshot of the log now and then, so
// that the disks' logs begin at different places.
func (x *trial) begin() {
	x.c = x.e.Cluster(3)
	x.c.More = x.of.Block()
	x.c.Write()
	every := []int{50, 500, 10000}[x.rng.IntN(3)]
	x.hs = x.e.ByHandOf(x.of, x.c.Members, "--heartbeat-interval=50", "--election-timeout=500", fmt.Sprintf("--snapshot-count=%d", every))
	x.hs.Leader()
	x.w = harness.StartWriters(x.t, 4+x.rng.IntN(9), x.hs.Endpoints())
	x.w.Await(x.t, 100+x.rng.IntN(300))
}

// fail makes the logs differ, and kills all members right after a write was
// acknowledged, which is when etcd has not yet written down that it is agreed on.
func (x *trial) fail(differ bool) {
	leader := x.hs.Leader()
	follower := x.hs[(leader+1+x.rng.IntN(2))%3]
	pause := time.Duration(100+x.rng.IntN(700)) * time.Millisecond
	faults := []string{"none", "none", "paused-follower", "resumed-follower", "resumed-leader", "deposed-leader"}
	if differ {
		faults = faults[2:]
	}
	switch x.Fault = faults[x.rng.IntN(len(faults))]; x.Fault {
	case "paused-follower":
		follower.Freeze()
		time.Sleep(pause)
	case "resumed-follower":
		follower.Freeze()
		time.Sleep(pause)
		follower.Signal(syscall.SIGCONT)
	case "resumed-leader":
		x.hs[leader].Freeze()
		time.Sleep(pause / 4)
		x.hs[leader].Signal(syscall.SIGCONT)
	case "deposed-leader":
		x.hs[leader].Freeze()
		time.Sleep(pause + time.Second)
		x.hs[leader].Signal(syscall.SIGCONT)
	}
	x.awaitAck(5 * time.Second)
	time.Sleep(time.Duration(x.rng.IntN(20_000)) * time.Microsecond)
	x.awaitAck(time.Second)
	hs := slices.Clone(x.hs)
	x.rng.Shuffle(len(hs), func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
	x.killed = true
	hs.Kill9()
	x.w.Stop()
	x.Acknowledged = x.w.Acked()
}

// awaitAck waits for the next acknowledgement, so long at most: after a fault there
// may be none for a while, and killing them then is as good.
func (x *trial) awaitAck(limit time.Duration) {
	end := time.Now().Add(limit)
	for n := x.w.Acked(); x.w.Acked() == n && time.Now().Before(end); {
		runtime.Gosched()
	}
}

// choose takes the member whose disk is left.
func (x *trial) choose(wantBehind bool) int {
	ends := make([]planner.DataDir, len(x.hs))
	var logs []string
	for i, m := range x.c.Members {
		d := etcd.ReadDataDir(m.DataDir, "")
		if !d.Known() || d.Value.Problem != "" || d.Value.LastIndex == 0 {
			x.t.Fatalf("%s: %s%s", m.DataDir, d.Why, d.Value.Problem)
		}
		ends[i] = d.Value
		logs = append(logs, fmt.Sprintf("%s %d#%d", m.Name, d.Value.LastTerm, d.Value.LastIndex))
	}
	x.Logs = strings.Join(logs, ", ")
	less := func(a, b planner.DataDir) bool {
		return a.LastTerm < b.LastTerm || a.LastTerm == b.LastTerm && a.LastIndex < b.LastIndex
	}
	best := slices.MaxFunc(ends, func(a, b planner.DataDir) int {
		switch {
		case less(a, b):
			return -1
		case less(b, a):
			return 1
		}
		return 0
	})
	var have, lack []int
	for i, d := range ends {
		if less(d, best) {
			lack = append(lack, i)
		} else {
			have = append(have, i)
		}
	}
	from := have
	if wantBehind && len(lack) > 0 {
		x.Arm, from = behind, lack
	}
	i := from[x.rng.IntN(len(from))]
	x.Survivor = x.c.Members[i].Name
	return i
}

// control is how many acknowledged writes are gone where etcd's own way is gone, on
// a copy.
func (x *trial) control(from harness.Member) int {
	ports := x.e.Ports(2)
	m := harness.Member{Name: from.Name, Client: ports.URL(0), Peer: ports.URL(1), DataDir: x.e.Path("control")}
	if out, err := exec.Command("cp", "-a", "--sparse=always", from.DataDir, m.DataDir).CombinedOutput(); err != nil {
		x.t.Fatalf("copying %s: %v: %s", from.DataDir, err, out)
	}
	h := x.e.Hand(m, nil, "--force-new-cluster").Of(x.of)
	h.Serve()
	gone, err := x.w.Missing(harness.Context(x.t), m.Client)
	if err != nil {
		x.t.Fatal(err)
	}
	harness.Hands{h}.Kill9()
	return len(gone)
}

// destroy takes the other disks out of the cluster's sight; where the round fails
// they are kept as evidence.
func (x *trial) destroy(survivor int) {
	for i, m := range x.c.Members {
		if i == survivor {
			continue
		}
		if err := os.Rename(m.DataDir, x.e.Path("destroyed-"+m.Name)); err != nil {
			x.t.Fatal(err)
		}
	}
}

var revisionInText = regexp.MustCompile(`revision (\d+)`)

// count compares what every member serves with what was acknowledged, and with what
// the plan promised.
func (x *trial) count(loss string) {
	ctx := harness.Context(x.t)
	gone := map[string]bool{}
	for _, m := range x.c.Members {
		missing, err := x.w.Missing(ctx, m.Client)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, k := range missing {
			gone[k] = true
		}
	}
	if err := harness.SameHash(ctx, x.c.Endpoints()); err != nil {
		x.t.Error(err)
	}
	promised := harness.Keys{}
	if found := revisionInText.FindStringSubmatch(loss); found != nil {
		x.Proven, _ = strconv.ParseInt(found[1], 10, 64)
		promised = x.w.UpTo(x.Proven)
	}
	if x.Said == string(planner.LossNone) {
		promised = x.w.Keys()
	}
	x.Lost = len(gone)
	for k := range gone {
		if len(x.Gone) < 20 {
			x.Gone = append(x.Gone, k)
		}
		if _, ok := promised[k]; ok {
			x.Understated++
		}
	}
	slices.Sort(x.Gone)
}
