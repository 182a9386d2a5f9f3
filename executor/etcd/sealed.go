package etcd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/requorum/requorum/planner"
)

// ErrNoHash is the kind of HashSealed's error where an etcd does not know the way to
// hash without a user: those before 3.4.
var ErrNoHash = errors.New("its peer URL has no " + hashPath)

const (
	hashPath      = "/members/hashkv"
	saysCompacted = "required revision has been compacted" // mvcc's ErrCompacted, as text
)

// Sealed is what a member whose cluster has auth enabled tells those who have no
// user there.
type Sealed struct {
	ClusterID string // in hex
	// Healthy is whether a linearizable read was answered, and no alarm but NOSPACE is
	// raised, which leaves reads alone; Why says why not.
	Healthy bool
	Why     string
	NoSpace bool // that alarm is raised
}

// ProbeSealed asks what etcd answers without a user, and without much work: /members
// of a peer URL, and /health, for which it reads as root by itself
// (server/etcdserver/api/etcdhttp/health.go checkAPI). It returns within limit for
// each question.
func ProbeSealed(ctx context.Context, clientURL string, client Access, peerURLs []string, peer Access, limit time.Duration) (s Sealed, err error) {
	p := ProbePeer(ctx, peerURLs, peer, limit)
	if p.Reach != planner.ReachServing {
		return s, fmt.Errorf("its peer URL: %s", p.Reach)
	}
	s.ClusterID = p.ClusterID
	if s.Healthy, s.Why, err = health(ctx, clientURL, "/health", client, limit); err != nil || s.Healthy {
		return s, err
	}
	s.Healthy, s.Why, err = health(ctx, clientURL, "/health?exclude=NOSPACE", client, limit)
	s.NoSpace = s.Healthy
	return s, err
}

func health(ctx context.Context, url, path string, a Access, limit time.Duration) (ok bool, why string, err error) {
	body, err := getSmall(ctx, url, path, nil, a, limit)
	if err != nil {
		return false, "", err
	}
	var h struct{ Health, Reason string }
	if err := json.Unmarshal(body, &h); err != nil {
		return false, "", fmt.Errorf("/health: %w", err)
	}
	return h.Health == "true", orElse(h.Reason, "/health is not true"), nil
}

// SealedRevision is the member's own revision, and how many leases have ended since it
// started, each of which may have raised the revision by one. Both are among its
// metrics, which need no user.
func SealedRevision(ctx context.Context, clientURL string, client Access, limit time.Duration) (revision, ended int64, err error) {
	body, err := getSmall(ctx, clientURL, "/metrics", nil, client, limit)
	if err != nil {
		return 0, 0, err
	}
	if revision, err = metricOf(body, metricRevision); err != nil {
		return 0, 0, err
	}
	ended, err = metricOf(body, metricLeasesEnded)
	return revision, ended, err
}

// metricOf is one whole number out of Prometheus's text, without reading all of it.
func metricOf(body []byte, name string) (int64, error) {
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return int64(value), err
		}
	}
	return 0, fmt.Errorf("/metrics: no %s", name)
}

// HashSealed hashes the whole key space of members that want a user, at their peer URLs
// (etcdserver/corrupt.go), all at once: at revision at, or each at its latest where at
// is 0. An etcd does not stop hashing when nobody waits for it any more, so that there
// is no limit but ctx's end, and it returns when all have answered: whoever asks again
// finds none of them still at it. Hashes of different things are an error.
func HashSealed(ctx context.Context, members map[string]SealedMember, peer Access, at int64) (planner.KVComparison, error) {
	all, err := hashSealed(ctx, members, peer, at)
	if at != 0 && (errors.Is(err, errClosed) || err != nil && strings.Contains(err.Error(), saysCompacted)) {
		// As in compareOnce: 3.4 refuses the revision of the last compaction itself, and
		// its refusal here is to close the connection.
		at = 0
		all, err = hashSealed(ctx, members, peer, at)
	}
	if err != nil {
		return planner.KVComparison{}, err
	}
	names := slices.Sorted(maps.Keys(all))
	first := all[names[0]]
	kv := planner.KVComparison{Revision: hashedAt(first, at), Equal: true, Hashes: map[string]uint32{}}
	for _, n := range names {
		h := all[n]
		if r := hashedAt(h, at); r != kv.Revision || h.GetCompactRevision() != first.GetCompactRevision() {
			return kv, fmt.Errorf("%s is hashed at %d, compacted at %d, and %s at %d and %d",
				names[0], kv.Revision, first.GetCompactRevision(), n, r, h.GetCompactRevision())
		}
		kv.Hashes[n] = h.GetHash()
		kv.Equal = kv.Equal && h.GetHash() == first.GetHash()
	}
	return kv, nil
}

// hashedAt is hashRevision of an answer that came over HTTP.
func hashedAt(h *etcdserverpb.HashKVResponse, asked int64) int64 {
	switch {
	case h.GetHashRevision() != 0:
		return h.GetHashRevision()
	case asked != 0:
		return asked
	}
	return h.GetHeader().GetRevision()
}

func hashSealed(ctx context.Context, members map[string]SealedMember, peer Access, at int64) (map[string]*etcdserverpb.HashKVResponse, error) {
	if len(members) == 0 {
		return nil, errors.New("no member to hash")
	}
	out, errs := map[string]*etcdserverpb.HashKVResponse{}, map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, m := range members {
		wg.Go(func() {
			h, err := hashOne(ctx, m.PeerURLs, peer, at)
			mu.Lock()
			defer mu.Unlock()
			out[name], errs[name] = h, err
		})
	}
	wg.Wait()
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		if errs[name] != nil {
			return nil, fmt.Errorf("%s: %w", name, errs[name])
		}
	}
	return out, nil
}

func hashOne(ctx context.Context, peerURLs []string, peer Access, at int64) (*etcdserverpb.HashKVResponse, error) {
	p := ProbePeer(ctx, peerURLs, peer, 0)
	if p.Reach != planner.ReachServing {
		return nil, fmt.Errorf("its peer URL: %s", p.Reach)
	}
	ask, err := json.Marshal(&etcdserverpb.HashKVRequest{Revision: at})
	if err != nil {
		return nil, err
	}
	body, err := getSmall(ctx, p.URL, hashPath, ask, peer, 0)
	var no *statusError
	switch {
	case errors.As(err, &no) && no.code == http.StatusNotFound:
		return nil, ErrNoHash
	case err != nil:
		return nil, err
	}
	h := &etcdserverpb.HashKVResponse{}
	if err := json.Unmarshal(body, h); err != nil {
		return nil, fmt.Errorf("%s: %w", hashPath, err)
	}
	return h, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// statusError is an answer that is not what was asked for.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// getSmall is one GET with a small answer, /health's of a sick member too. limit is 0
// for ctx's own.
func getSmall(ctx context.Context, url, path string, body []byte, a Access, limit time.Duration) ([]byte, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
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
		return nil, &statusError{resp.StatusCode, fmt.Sprintf("%s: %s %s", path, printable(resp.Status, 60), printable(string(got), 100))}
	}
	return got, nil
}
