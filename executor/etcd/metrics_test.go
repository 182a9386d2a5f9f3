package etcd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	l := liveConfig(t, "m1", "metrics", nil)
	l.cfg.UnsafeNoFsync = false
	l.begin(t)
	l.wait(t)
	put(t, l.cli(t, nil), "a", "1")
	e := Probe(context.Background(), []string{l.client}, Access{}, 5*time.Second)
	m := e.Metrics.Value
	if !e.Metrics.Known() || m.LeaderChanges < 1 || m.FsyncSeconds <= 0 || m.FsyncSeconds > 20 || m.Pending < 0 ||
		m.UpSeconds < 0 || m.UpSeconds > 3600 {
		t.Errorf("%+v", e.Metrics)
	}
}

// An etcd whose client URL serves gRPC alone, HTTP being elsewhere, has no metrics
// there; the rest is known.
func TestMetricsNotServed(t *testing.T) {
	t.Parallel()
	l := liveConfig(t, "m1", "elsewhere", nil)
	l.cfg.ListenClientHttpUrls = []url.URL{mustURL(t, "http://"+freeAddr(t))}
	l.begin(t)
	l.wait(t)
	e := Probe(context.Background(), []string{l.client}, Access{}, 5*time.Second)
	if e.Reach != planner.ReachServing || !e.Linearizable.Value || e.Metrics.Known() || !strings.HasPrefix(e.Metrics.Why, "GET /metrics: ") {
		t.Errorf("%+v", e)
	}
	checkDetail(t, e.Metrics.Why)
}

// Whatever answers instead, asking ends in time and gives a reason.
func TestMetricsHostile(t *testing.T) {
	t.Parallel()
	serve := func(h http.HandlerFunc) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: h, ErrorLog: quietLog()}
		go func() { _ = s.Serve(ln) }()
		t.Cleanup(func() { _ = s.Close() })
		return ln.Addr().String()
	}
	endless := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(line), 1000)); err != nil {
					return
				}
			}
		}
	}
	for name, addr := range map[string]string{
		"silent": listen(t, silent), "slow": listen(t, dribble("HTTP/1.1 200 OK\r\n")), "resets": listen(t, resets),
		"not found": serve(http.NotFound), "empty": serve(func(http.ResponseWriter, *http.Request) {}),
		"redirect":         serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }),
		"text":             serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello, world") }),
		"endless comments": serve(endless("# much to say\n")), "endless line": serve(endless("x")),
		"others": serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "etcd_server_proposals_pending 1") }),
	} {
		within(t, metricsLimit, func() {
			f := askMetrics(context.Background(), target{url: "http://" + addr, host: "127.0.0.1", addr: addr}, Access{})
			if f.Known() || !strings.HasPrefix(f.Why, "GET /metrics: ") {
				t.Errorf("%s: %+v", name, f)
			}
			checkDetail(t, f.Why)
			t.Logf("%s: %s", name, f.Why)
		})
	}
}

// A member that does not answer Status is not asked for anything else.
func TestMetricsNotAskedOfHanging(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	addr := listen(t, func(c net.Conn) {
		first := make([]byte, 3)
		if _, err := c.Read(first); err == nil && string(first) == "GET" {
			asked.Store(true)
		}
		settingsThen(c)
	})
	e := Probe(context.Background(), []string{"http://" + addr}, Access{}, time.Second)
	if e.Reach != planner.ReachHangs || e.Metrics.Known() || e.Metrics.Why != string(planner.ReachHangs) {
		t.Errorf("%s: %+v", e.Reach, e.Metrics)
	}
	if asked.Load() {
		t.Error("asked by HTTP/1")
	}
}

func TestReadMetrics(t *testing.T) {
	t.Parallel()
	const text = `# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79999700002e+09
# TYPE etcd_server_leader_changes_seen_total counter
etcd_server_leader_changes_seen_total 7
# TYPE etcd_server_proposals_pending gauge
etcd_server_proposals_pending 3
# TYPE etcd_server_proposals_failed_total counter
etcd_server_proposals_failed_total 12
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 10
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"} 97
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"} 99
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} 100
etcd_disk_wal_fsync_duration_seconds_sum 0.2
etcd_disk_wal_fsync_duration_seconds_count 100
`
	now := time.Unix(1_800_000_000, 0)
	m, err := readMetrics(strings.NewReader(text), now)
	if want := (planner.Metrics{UpSeconds: 2999, LeaderChanges: 7, FsyncSeconds: 0.004, Pending: 3, FailedTotal: 12}); err != nil || m != want {
		t.Errorf("%+v %v, want %+v", m, err, want)
	}
	for _, name := range []string{metricStarted, metricLeaderChanges, metricPending, metricFailed, metricFsync} {
		if m, err := readMetrics(strings.NewReader(strings.ReplaceAll(text, name, "other")), now); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %+v %v", name, m, err)
		}
	}
}

func TestNotExceeded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		counts  []uint64 // up to 1, 2, 4
		samples uint64
		want    float64
	}{
		{[]uint64{0, 0, 0}, 0, 0},
		{[]uint64{1, 1, 1}, 1, 1},
		{[]uint64{98, 99, 100}, 100, 2},
		{[]uint64{98, 98, 100}, 100, 4},
		{[]uint64{0, 0, 0}, 1, 8},
	} {
		var bounds []bound
		for i, c := range tt.counts {
			bounds = append(bounds, bound{float64(int(1) << i), c})
		}
		if got := notExceeded(bounds, tt.samples); got != tt.want {
			t.Errorf("%v of %d: %v, want %v", tt.counts, tt.samples, got, tt.want)
		}
	}
}

func TestDowngradeIsSeen(t *testing.T) {
	t.Parallel()
	l := startOne(t, "m1", nil)
	c := l.cli(t, nil)
	seen := func() string {
		return Probe(context.Background(), []string{l.client}, Access{}, 5*time.Second).Downgrade
	}
	if got := seen(); got != "" {
		t.Errorf("before: %q", got)
	}
	// Refused until the leader has decided on a cluster version.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := c.Downgrade(bounded(t), clientv3.DowngradeEnable, "3.6.0")
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if got := seen(); got != "3.6.0" {
		t.Errorf("enabled: %q", got)
	}
	if _, err := c.Downgrade(bounded(t), clientv3.DowngradeCancel, ""); err != nil {
		t.Fatal(err)
	}
	if got := seen(); got != "" {
		t.Errorf("cancelled: %q", got)
	}
}
