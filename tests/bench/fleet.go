package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// The fleet: so many files, of clusters of one member that serve and of addresses where
// connections are taken and nothing is said, in turn.
const (
	fleetFiles = 300
	fleetLive  = 30
	fleetDead  = 20
)

// fleetMemory is what an audit of all may take, in KB.
const fleetMemory = 200 << 10

// fleet measures an audit of all files beside one of the living alone, and of one dead
// one: what a time-out is.
func (b *bench) fleet(ctx context.Context) (string, error) {
	dir := filepath.Join(b.dir, "fleet")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	ports, err := harness.ReservePorts(2 * fleetLive)
	if err != nil {
		return "", err
	}
	defer ports.Release()
	var clients []string
	for i := range fleetLive {
		name := fmt.Sprint("e", i)
		s, err := b.startEtcd(dir, name, ports.URL(2*i), ports.URL(2*i+1), "--initial-cluster", name+"="+ports.URL(2*i+1), "--initial-cluster-token", name)
		if err != nil {
			return "", err
		}
		defer s.stop()
		clients = append(clients, ports.URL(2*i))
	}
	for _, c := range clients { // each is a cluster of its own
		if _, err := serving(ctx, []string{c}); err != nil {
			return "", err
		}
	}
	var silent []string
	for range fleetDead {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer l.Close() // never accepts: the kernel takes the connection, and nobody answers
		silent = append(silent, "http://"+l.Addr().String())
	}
	var all, live, dead []string
	for i := range fleetFiles {
		target := i % (fleetLive + fleetDead)
		client, peer, data := "", "http://127.0.0.1:1", filepath.Join(dir, "none", fmt.Sprint(i))
		if target < fleetLive {
			client, peer, data = ports.URL(2*target), ports.URL(2*target+1), filepath.Join(dir, fmt.Sprint("e", target))
		} else {
			client = silent[target-fleetLive]
		}
		path := filepath.Join(dir, fmt.Sprintf("f%03d.hcl", i))
		text := fmt.Sprintf("cluster \"c%d\" {\n  member \"e%d\" {\n    peer_urls   = [%q]\n    client_urls = [%q]\n    data_dir    = %q\n  }\n}\n", i, target, peer, client, data)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		all = append(all, path)
		if target < fleetLive {
			live = append(live, path)
		} else {
			dead = append(dead, path)
		}
	}
	var took [3][]time.Duration
	var peak []int64
	for range b.runs {
		for i, files := range [][]string{all, live, dead[:1]} {
			r, err := b.audit(ctx, dir, files)
			if err != nil {
				return "", err
			}
			took[i] = append(took[i], r.took)
			if i == 0 {
				peak = append(peak, r.peak)
			}
			fmt.Fprintf(os.Stderr, "audit of %d: %.2f s, cpu %.2f s, %d MB\n", len(files), r.took.Seconds(), r.cpu.Seconds(), r.peak>>10)
		}
	}
	whole, living, one := median(took[0]), median(took[1]), median(took[2])
	bar := one*12/10 + living
	verdict := map[bool]string{true: "kept", false: "not kept"}
	return fmt.Sprintf("\n### A fleet of %d files: %d etcds that serve, %d addresses that say nothing\n\n| `requorum audit` of | median | memory |\n|---|---|---|\n"+
		"| all %d | %.2f s | %d MB |\n| the %d that serve | %.2f s | |\n| one that does not | %.2f s | |\n\n"+
		"All at once may take 1.2 of one time-out and the time of those that serve, %.2f s: %s. Memory, 200 MB: %s.\n",
		fleetFiles, fleetLive, fleetDead, len(all), whole.Seconds(), median(peak)>>10, len(live), living.Seconds(), one.Seconds(),
		bar.Seconds(), verdict[whole <= bar], verdict[median(peak) < fleetMemory]), nil
}

// audit runs one, and wants a whole report of it.
func (b *bench) audit(ctx context.Context, dir string, files []string) (result, error) {
	report := filepath.Join(dir, "report.prom")
	cmd := exec.CommandContext(ctx, b.requorum, append([]string{"audit", "--format", "prometheus", "--fail-on", "critical", "--out", report}, files...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	began := time.Now()
	out, err := cmd.CombinedOutput()
	r := result{took: time.Since(began)}
	if err != nil {
		return r, fmt.Errorf("audit: %w: %s", err, out)
	}
	r.use(cmd.ProcessState)
	text, err := os.ReadFile(report)
	if n := strings.Count(string(text), "requorum_audit_up{"); err == nil && n != len(files) {
		err = fmt.Errorf("audit: %d clusters are in the report of %d", n, len(files))
	}
	return r, err
}
