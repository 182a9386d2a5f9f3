package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/requorum/requorum/planner"
)

// Sealed is what a member whose cluster has auth enabled tells those who have no
// user there.
type Sealed struct {
	ClusterID string // in hex
	// Healthy is whether a linearizable read was answered and no alarm is raised;
	// Why says why not.
	Healthy bool
	Why     string
	// Revision is the member's own, and Hash that of its key space at HashedAt. They
	// compare where HashedAt and Compacted are equal.
	Revision, HashedAt, Compacted int64
	Hash                          uint32
}

// ProbeSealed asks what etcd answers without a user: /health, for which it reads
// as root by itself (server/etcdserver/api/etcdhttp/health.go checkAPI), and at a
// peer URL /members and /members/hashkv (etcdserver/corrupt.go), 3.5 and later.
// The hash is that at revision at, 0 for the newest. It returns within limit for
// each of the three.
func ProbeSealed(ctx context.Context, clientURL string, client Access, peerURLs []string, peer Access, at int64, limit time.Duration) (Sealed, error) {
	var s Sealed
	p := ProbePeer(ctx, peerURLs, peer, limit)
	if p.Reach != planner.ReachServing {
		return s, fmt.Errorf("its peer URL: %s", p.Reach)
	}
	s.ClusterID = p.ClusterID
	body, err := getSmall(ctx, clientURL, "/health", nil, client, limit)
	if err != nil {
		return s, err
	}
	var health struct{ Health, Reason string }
	if err := json.Unmarshal(body, &health); err != nil {
		return s, fmt.Errorf("/health: %w", err)
	}
	s.Healthy, s.Why = health.Health == "true", orElse(health.Reason, "/health is not true")
	ask, err := json.Marshal(&etcdserverpb.HashKVRequest{Revision: at})
	if err != nil {
		return s, err
	}
	if body, err = getSmall(ctx, p.URL, "/members/hashkv", ask, peer, limit); err != nil {
		return s, err
	}
	var h etcdserverpb.HashKVResponse
	if err := json.Unmarshal(body, &h); err != nil {
		return s, fmt.Errorf("/members/hashkv: %w", err)
	}
	s.Revision, s.Hash, s.HashedAt, s.Compacted = h.GetHeader().GetRevision(), h.GetHash(), h.GetHashRevision(), h.GetCompactRevision()
	return s, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// getSmall is one GET with a small answer, /health's of a sick member too.
func getSmall(ctx context.Context, url, path string, body []byte, a Access, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t, err := parseTarget(url, a)
	if err != nil {
		return nil, err
	}
	rt, conn := requestTo(t, a)
	defer rt.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, classifyHTTP(ctx, err, conn.Load(), a)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBody))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && !strings.HasPrefix(string(got), "{") {
		return nil, fmt.Errorf("%s: %s %s", path, printable(resp.Status, 60), printable(string(got), 100))
	}
	return got, nil
}
