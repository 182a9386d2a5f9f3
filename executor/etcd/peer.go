package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/requorum/requorum/planner"
)

// Bounds of a peer's answer, in bytes.
const (
	maxPeerBody   = 1 << 20
	maxPeerHeader = 64 << 10
)

// ProbePeer asks one member at its peer URLs for /members, all at once, and
// returns within limit (the default is 5 s) plus 0.2 s. The peer port answers
// without quorum and without a user (server/etcdserver/api/etcdhttp/peer.go),
// also where the client port hangs. It is chosen among the URLs as in Probe, and
// its Reach has the same meaning; ReachAuth does not occur.
func ProbePeer(ctx context.Context, urls []string, a Access, limit time.Duration) planner.PeerEndpoint {
	answers := race(ctx, urls, limit,
		func(ctx context.Context, url string) planner.PeerEndpoint { return peerOne(ctx, url, a) },
		func(e planner.PeerEndpoint) planner.Reach { return e.Reach })
	if len(answers) == 0 {
		return planner.PeerEndpoint{
			Reach: planner.ReachUnasked, Detail: "the member has no peer URL",
			Members: planner.Unknown[[]planner.ListedMember]("not asked"),
		}
	}
	reaches := make([]planner.Reach, len(answers))
	for i, e := range answers {
		e.URL = urls[i]
		if e.Reach == "" {
			e.Reach, e.Detail = planner.ReachUnasked, "given up before it answered"
		}
		answers[i], reaches[i] = e, e.Reach
	}
	best := answers[nearest(reaches)]
	if best.Reach != planner.ReachServing {
		best.Detail += others(best.URL, urls, reaches)
		best.Members = planner.Unknown[[]planner.ListedMember](string(best.Reach))
		return best
	}
	for _, e := range answers {
		if e.Reach == planner.ReachServing && e.ClusterID != best.ClusterID {
			why := fmt.Sprintf("the member's peer URLs lead to different clusters: %s to %s, %s to %s",
				best.URL, best.ClusterID, e.URL, e.ClusterID)
			return planner.PeerEndpoint{
				URL: best.URL, Reach: planner.ReachWrongService, Detail: why,
				Members: planner.Contradicted[[]planner.ListedMember](why),
			}
		}
	}
	return best
}

// peerOne asks one URL.
func peerOne(ctx context.Context, url string, a Access) planner.PeerEndpoint {
	e, err := askPeer(ctx, url, a)
	if errors.Is(err, errClosed) {
		if pause(ctx, patience/2) == nil {
			e, err = askPeer(ctx, url, a)
		}
	}
	if err == nil {
		return e
	}
	if errors.Is(err, errClosed) {
		err = &unreached{planner.ReachWrongService, "the connection is accepted and closed without a word: " +
			"not etcd's peer port, or a proxy that has no backend"}
	}
	var u *unreached
	if t, perr := parseTarget(url, Access{}); perr == nil && errors.As(err, &u) && u.reach == planner.ReachWrongService {
		err = crossCheck(ctx, t, u)
	}
	reach, detail := reachOf(err)
	return planner.PeerEndpoint{Reach: reach, Detail: detail, Refused: errors.As(err, &u) && u.refused()}
}

// askPeer is one GET on one connection. Its errors are an *unreached, errClosed
// or the context's.
func askPeer(ctx context.Context, url string, a Access) (planner.PeerEndpoint, error) {
	t, err := parseTarget(url, a)
	if err != nil {
		return planner.PeerEndpoint{}, err
	}
	rt, conn := requestTo(t, a)
	defer rt.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/members", nil)
	if err != nil {
		return planner.PeerEndpoint{}, err
	}
	resp, err := rt.RoundTrip(req) // a RoundTrip follows no redirect
	if err != nil {
		return planner.PeerEndpoint{}, classifyHTTP(ctx, err, conn.Load(), a)
	}
	defer resp.Body.Close()
	return readPeer(ctx, resp)
}

// requestTo makes connections to t as the probes do, one for each request. The last
// one is kept for who wants to know how its answer began; nil for none.
func requestTo(t target, a Access) (*http.Transport, *atomic.Pointer[heard]) {
	conn := new(atomic.Pointer[heard])
	dial := func(ctx context.Context) (*heard, error) {
		c, err := dialTCP(ctx, t)
		conn.Store(c)
		return c, err
	}
	return &http.Transport{ // Proxy stays nil: the environment's is not for etcd
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxPeerHeader,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			return handshakeOrClose(ctx, c, t, a)
		},
	}, conn
}

// handshakeOrClose is handshake that does not leave the connection open on error.
func handshakeOrClose(ctx context.Context, h *heard, t target, a Access) (net.Conn, error) {
	c, err := handshake(ctx, h, t, a)
	if err != nil {
		_ = h.Close()
		return nil, err
	}
	return c, nil
}

// classifyHTTP sorts the error of a request; h is its connection, nil for none.
func classifyHTTP(ctx context.Context, err error, h *heard, a Access) error {
	var u *unreached
	switch {
	case errors.As(err, &u):
		return u
	case errors.Is(err, errClosed):
		return errClosed
	case errors.Is(ctx.Err(), context.Canceled):
		return &unreached{planner.ReachUnasked, "cancelled"}
	case isTLS(err):
		return &unreached{planner.ReachTLSFailed, describeTLS(err, a.hasCertificate())}
	case isDeadline(err) && h == nil:
		return &unreached{planner.ReachTimeout, "no TCP connection in time"}
	case isDeadline(err) && maybeHTTP1(h.start()):
		return &unreached{planner.ReachHangs, "TCP accepts, but GET /members gets no answer in time"}
	case h != nil && h.count() == 0:
		return errClosed
	}
	said := ""
	if h != nil {
		said = " (it began " + quoted(h.start()) + ")"
	}
	return &unreached{planner.ReachWrongService, "the answer to GET /members is not HTTP" + said + ": " + oneLine(err)}
}

// maybeHTTP1 reports whether p is or may become an HTTP/1 answer.
func maybeHTTP1(p []byte) bool {
	return isHTTP1(p) || bytes.HasPrefix([]byte("HTTP/"), p)
}

// readPeer takes the answer's header and its bounded body.
func readPeer(ctx context.Context, resp *http.Response) (planner.PeerEndpoint, error) {
	wrong := func(why string) (planner.PeerEndpoint, error) {
		return planner.PeerEndpoint{}, &unreached{planner.ReachWrongService, "not etcd's peer port: " + why}
	}
	id := resp.Header.Get("X-Etcd-Cluster-ID")
	n, err := strconv.ParseUint(id, 16, 64)
	if resp.StatusCode != http.StatusOK || err != nil {
		return wrong(fmt.Sprintf("GET /members gives %s, X-Etcd-Cluster-ID %q",
			printable(resp.Status, 60), printable(id, 40)))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBody+1))
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return planner.PeerEndpoint{}, &unreached{planner.ReachUnasked, "cancelled"}
	case err != nil && isDeadline(err):
		return planner.PeerEndpoint{}, &unreached{planner.ReachHangs, "the answer to GET /members stopped in the middle"}
	case err != nil:
		return wrong("the answer to GET /members broke off: " + oneLine(err))
	case len(body) > maxPeerBody:
		return wrong(fmt.Sprintf("GET /members gives more than %d bytes", maxPeerBody))
	}
	members, err := decodePeerMembers(body)
	if err != nil {
		return wrong("GET /members gives no member list: " + oneLine(err))
	}
	return planner.PeerEndpoint{
		Reach: planner.ReachServing, ClusterID: hexID(n), Members: planner.Known(members),
	}, nil
}

// decodePeerMembers reads the JSON of membership.Member
// (server/etcdserver/api/membership/member.go).
func decodePeerMembers(body []byte) ([]planner.ListedMember, error) {
	var raw []struct {
		ID         uint64   `json:"id"`
		Name       string   `json:"name"`
		PeerURLs   []string `json:"peerURLs"`
		ClientURLs []string `json:"clientURLs"`
		IsLearner  bool     `json:"isLearner"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	list := make([]planner.ListedMember, 0, len(raw))
	for _, m := range raw {
		list = append(list, planner.ListedMember{
			ID: hexID(m.ID), Name: m.Name, PeerURLs: UntoldUser(m.PeerURLs), ClientURLs: withoutUser(m.ClientURLs), Learner: m.IsLearner,
		})
	}
	return list, nil
}
