package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/requorum/requorum/planner"
)

// The metrics by which a member says who it is, in every version from 3.4.
const (
	metricServerID = "etcd_server_id"
	metricVersion  = "etcd_server_version"
	metricIsLeader = "etcd_server_is_leader"
	metricLed      = "etcd_server_has_leader"
	metricLearner  = "etcd_server_is_learner"
	metricRevision = "etcd_debugging_mvcc_current_revision"
	metricDBSize   = "etcd_mvcc_db_total_size_in_bytes"

	metricLeasesEnded = "etcd_debugging_lease_revoked_total"
)

// SealedMember is a member whose cluster has auth enabled: where it is asked.
type SealedMember struct {
	ClientURL string
	PeerURLs  []string
}

// DescribeSealed gives what members that want a user tell everybody, at /health and
// /metrics of the client URL and /members of the peer URL, as an Endpoint that has
// Sealed set. A member of whom not all of that is known is left out, with the reason
// in why: it is one that wants a user, and no more. Who leads is known where one of
// them does.
func DescribeSealed(ctx context.Context, members map[string]SealedMember, client, peer Access, limit time.Duration) (out map[string]planner.Endpoint, why map[string]string) {
	leader := map[string]string{}
	out, why = map[string]planner.Endpoint{}, map[string]string{}
	led := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, m := range members {
		wg.Go(func() {
			e, says, err := describeSealed(ctx, m, client, peer, limit)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				why[name] = oneLine(err)
				return
			}
			out[name], led[name] = e, says.led
			if says.leads {
				leader[e.ClusterID] = e.MemberID
			}
		})
	}
	wg.Wait()
	for name, e := range out {
		e.LeaderID = leader[e.ClusterID]
		if out[name] = e; led[name] && e.LeaderID == "" {
			why[name] = "it follows a leader, and which one can't be asked"
			delete(out, name)
		}
	}
	return out, why
}

// lead is what a member's metrics say of who leads.
type lead struct{ leads, led bool }

func describeSealed(ctx context.Context, m SealedMember, client, peer Access, limit time.Duration) (planner.Endpoint, lead, error) {
	e := planner.Endpoint{URL: m.ClientURL, Reach: planner.ReachServing, Sealed: true}
	p := ProbePeer(ctx, m.PeerURLs, peer, limit)
	if p.Reach != planner.ReachServing || !p.Members.Known() {
		return e, lead{}, fmt.Errorf("its peer URL: %s", p.Reach)
	}
	e.ClusterID, e.Members = p.ClusterID, p.Members
	body, err := getSmall(ctx, m.ClientURL, "/metrics", nil, client, limit)
	if err != nil {
		return e, lead{}, err
	}
	says, err := readIdentity(body, &e)
	if err != nil {
		return e, says, err
	}
	e.Metrics = planner.Unknown[planner.Metrics]("not asked")
	if calm, err := readMetrics(bytes.NewReader(body), time.Now()); err == nil {
		e.Metrics = planner.Known(calm)
	}
	if e.Learner {
		e.Linearizable = planner.Unknown[bool]("a learner answers no linearizable read")
		return e, says, nil
	}
	return e, says, readHealth(ctx, m.ClientURL, client, limit, &e)
}

// readHealth takes /health for the proof of a linearizable read, which it makes as root
// by itself (server/etcdserver/api/etcdhttp/health.go). Alarms come before the read, so
// that with one there is no proof: where there is a leader it is not known.
func readHealth(ctx context.Context, url string, a Access, limit time.Duration, e *planner.Endpoint) error {
	ok, why, err := health(ctx, url, "/health", a, limit)
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("/health: " + why)
	}
	e.Linearizable = planner.Known(true)
	return nil
}

// readIdentity reads who the member is, and how it stands, from its metrics.
func readIdentity(body []byte, e *planner.Endpoint) (lead, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return lead{}, err
	}
	label := func(name string) string {
		for _, m := range families[name].GetMetric() {
			if m.GetGauge().GetValue() == 1 && len(m.GetLabel()) == 1 {
				return m.GetLabel()[0].GetValue()
			}
		}
		err = errors.Join(err, fmt.Errorf("no %s", name))
		return ""
	}
	number := func(name string) float64 {
		f := families[name]
		if len(f.GetMetric()) != 1 {
			err = errors.Join(err, fmt.Errorf("no %s", name))
			return 0
		}
		m := f.GetMetric()[0]
		return m.GetGauge().GetValue() + m.GetUntyped().GetValue() + m.GetCounter().GetValue()
	}
	e.MemberID, e.Version = strings.TrimLeft(label(metricServerID), "0"), label(metricVersion)
	e.Learner = number(metricLearner) == 1
	e.Revision, e.DBSize = int64(number(metricRevision)), int64(number(metricDBSize))
	return lead{leads: number(metricIsLeader) == 1, led: number(metricLed) == 1}, err
}

// CompareSealed is CompareKV for members that want a user, by the hashes at their peer
// URLs, at the lowest revision that one of them has. limit is for all of it.
func CompareSealed(ctx context.Context, members map[string]SealedMember, client, peer Access, limit time.Duration) planner.Fact[planner.KVComparison] {
	ctx, cancel := withLimit(ctx, limit)
	defer cancel()
	var least int64
	for _, name := range slices.Sorted(maps.Keys(members)) {
		revision, _, err := SealedRevision(ctx, members[name].ClientURL, client, limit)
		if err != nil {
			return planner.Unknown[planner.KVComparison](name + ": " + oneLine(err))
		}
		if least == 0 || revision < least {
			least = revision
		}
	}
	kv, err := HashSealed(ctx, members, peer, least)
	if err != nil {
		return planner.Unknown[planner.KVComparison](oneLine(err))
	}
	return planner.Known(kv)
}
