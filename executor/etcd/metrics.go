package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/requorum/requorum/planner"
)

// Bounds of asking for metrics: they are a help, and nobody waits for them.
const (
	maxMetrics   = 8 << 20 // bytes; an etcd has some 200 KB
	metricsLimit = 500 * time.Millisecond
)

// The metrics that are read. All of them are there from an etcd's start on, in
// every version from 3.4: server/etcdserver/metrics.go, server/storage/wal/metrics.go,
// and the Go client's own.
const (
	metricStarted       = "process_start_time_seconds"
	metricLeaderChanges = "etcd_server_leader_changes_seen_total"
	metricPending       = "etcd_server_proposals_pending"
	metricFailed        = "etcd_server_proposals_failed_total"
	metricFsync         = "etcd_disk_wal_fsync_duration_seconds"
	metricQuota         = "etcd_server_quota_backend_bytes"
)

// askMetrics is one GET /metrics, which needs no user and no quorum. It comes back
// within metricsLimit; whatever goes wrong is the reason why nothing is known.
func askMetrics(ctx context.Context, t target, a Access) planner.Fact[planner.Metrics] {
	ctx, cancel := context.WithTimeout(ctx, metricsLimit)
	defer cancel()
	m, err := getMetrics(ctx, t, a)
	if err != nil {
		if isDeadline(err) || ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		return planner.Unknown[planner.Metrics]("GET /metrics: " + oneLine(err))
	}
	return planner.Known(m)
}

func getMetrics(ctx context.Context, t target, a Access) (planner.Metrics, error) {
	rt, _ := requestTo(t, a)
	defer rt.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/metrics", nil)
	if err != nil {
		return planner.Metrics{}, err
	}
	resp, err := rt.RoundTrip(req) // a RoundTrip follows no redirect
	if err != nil {
		return planner.Metrics{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return planner.Metrics{}, errors.New(printable(resp.Status, 60))
	}
	now, err := http.ParseTime(resp.Header.Get("Date")) // the host's clock, not ours
	if err != nil {
		now = time.Now()
	}
	body := &io.LimitedReader{R: resp.Body, N: maxMetrics + 1}
	m, err := readMetrics(body, now)
	if body.N <= 0 {
		err = fmt.Errorf("more than %d bytes", maxMetrics)
	}
	return m, err
}

// readMetrics reads Prometheus's text format. One that is missing makes all of them
// unknown: a zero would say that all is calm.
func readMetrics(r io.Reader, now time.Time) (planner.Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return planner.Metrics{}, err
	}
	value := func(name string) float64 {
		f := families[name]
		if len(f.GetMetric()) != 1 {
			err = errors.Join(err, fmt.Errorf("not one value of %s", name))
			return 0
		}
		m := f.GetMetric()[0]
		for _, v := range []interface{ GetValue() float64 }{m.GetCounter(), m.GetGauge(), m.GetUntyped()} {
			if got := v.GetValue(); got != 0 {
				return got
			}
		}
		return 0
	}
	m := planner.Metrics{
		UpSeconds:     int(max(0, float64(now.Unix())-value(metricStarted))),
		LeaderChanges: int(value(metricLeaderChanges)),
		Pending:       int(value(metricPending)),
		FailedTotal:   int(value(metricFailed)),
	}
	if families[metricQuota] != nil { // no plan is made of it
		m.QuotaBytes = int64(value(metricQuota))
	}
	fsync := families[metricFsync].GetMetric()
	if len(fsync) != 1 || fsync[0].GetHistogram() == nil {
		return m, errors.Join(err, fmt.Errorf("not one histogram of %s", metricFsync))
	}
	h := fsync[0].GetHistogram()
	bounds := make([]bound, 0, len(h.GetBucket()))
	for _, b := range h.GetBucket() {
		bounds = append(bounds, bound{b.GetUpperBound(), b.GetCumulativeCount()})
	}
	m.FsyncSeconds = notExceeded(bounds, h.GetSampleCount())
	return m, err
}

// bound is a histogram's bucket: how many samples did not exceed upper.
type bound struct {
	upper float64
	count uint64
}

// notExceeded is a bucket's bound that 99 of 100 samples do not exceed; 0 without
// samples. Where they exceed the last one it is twice that, the next if there were
// one.
func notExceeded(bounds []bound, samples uint64) float64 {
	last := 0.0
	for _, b := range bounds {
		if math.IsInf(b.upper, 1) {
			break
		}
		if samples > 0 && float64(b.count) >= 0.99*float64(samples) {
			return b.upper
		}
		last = b.upper
	}
	if samples == 0 {
		return 0
	}
	return 2 * last
}
