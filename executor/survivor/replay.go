package survivor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
)

// The limits of the copy's etcd.
const (
	replayBase  = 2 * time.Minute // until it has applied all and leads,
	replaySpeed = 4 << 20         // and a second more for so many bytes of db
	replayStop  = 2 * time.Minute // between SIGTERM and SIGKILL: it commits what it applied
	replayAbort = 5 * time.Second // the same where nothing of it is wanted any more
)

// replay runs etcd on the copy until it has applied all and leads, and stops it.
func (j *job) replay(ctx context.Context) (err error) {
	p, err := throwaway.Start(append(append([]string{}, j.r.Command...), replayArgs(j.dir)...), j.r.Work)
	if err != nil {
		return err
	}
	defer p.Stop(replayAbort)
	limit := replayBase + time.Duration(j.src.dbSize/replaySpeed)*time.Second
	wait, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("etcd had not applied all within %v", limit))
	defer cancel()
	if err := j.applied(wait, p); err != nil {
		p.Stop(replayAbort)
		if words := p.LastWords(); words != "" && ctx.Err() == nil {
			err = fmt.Errorf("%w; etcd said: %s", err, words)
		}
		return err
	}
	j.tell("stopping etcd", 0, 0)
	p.Stop(replayStop)
	if how := p.How(); how != "exit status 0" && how != "signal: terminated" { // etcd ends itself by the signal that it got
		return fmt.Errorf("etcd did not stop cleanly: %s; etcd said: %s", how, p.LastWords())
	}
	return nil
}

// replayArgs: sockets, in the folder that it runs in and that only we can enter;
// nobody else can reach it, and no port can be taken. It has no quota: what the
// log's course had refused for lack of space is refused by the alarm in the log.
func replayArgs(dataDir string) []string {
	const name = "requorum-recover"
	return []string{
		"--name", name, "--data-dir", dataDir, "--quota-backend-bytes", "-1",
		"--listen-client-urls", "unix://client:1", "--advertise-client-urls", "unix://client:1",
		"--listen-peer-urls", "unix://peer:1", "--initial-advertise-peer-urls", "unix://peer:1",
		"--listen-metrics-urls", "unix://metrics:1", "--initial-cluster", name + "=unix://peer:1",
		"--logger", "zap", "--log-outputs", "stderr", "--log-level", "info",
	}
}

// applied waits until etcd says that it has applied everything and leads. Its
// metrics need no user and no linearizable read.
func (j *job) applied(ctx context.Context, p *throwaway.Child) error {
	// A socket's path has 108 bytes at most, a scratch folder may have more.
	dir, err := os.Open(j.r.Work)
	if err != nil {
		return err
	}
	defer dir.Close()
	socket := filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), "metrics:1")
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	web := &http.Client{Transport: t, Timeout: 10 * time.Second}
	for {
		applied, leads, err := metrics(ctx, web)
		if err == nil {
			j.tell("applying the log", int64(min(applied, j.r.Upto)), int64(j.r.Upto))
		}
		if err == nil && leads && applied >= j.r.Upto+2 { // a leader's first entry, and its attributes: it is ready
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("etcd ended by itself (%s)", p.How())
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// metrics reads what etcd has applied, and whether it leads.
func metrics(ctx context.Context, web *http.Client) (applied uint64, leads bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://etcd/metrics", nil)
	if err != nil {
		return 0, false, err
	}
	resp, err := web.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, false, errors.New(resp.Status)
	}
	s := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for s.Scan() {
		name, value, _ := strings.Cut(s.Text(), " ")
		switch name {
		case "etcd_server_proposals_applied_total":
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, false, err
			}
			applied = uint64(f)
		case "etcd_server_is_leader":
			leads = value == "1"
		}
	}
	return applied, leads, s.Err()
}
