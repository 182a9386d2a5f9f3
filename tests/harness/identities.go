package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Identities are the clusters that were seen alive at some endpoints, over a time.
// A cluster is alive where a member of it knows a leader.
type Identities struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	seen  []string // each change
	wrong []string
	asked int
}

// lookEvery is how often every endpoint is asked.
const lookEvery = 60 * time.Millisecond

// WatchIdentities asks the endpoints, in a network, until the test ends.
func WatchIdentities(t testing.TB, n *Net, endpoints []string) *Identities {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &Identities{cancel: cancel}
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	if n != nil {
		transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return n.dial(ctx, addr) }
	}
	cli := &http.Client{Transport: transport, Timeout: 500 * time.Millisecond}
	w.done.Go(func() {
		defer transport.CloseIdleConnections()
		for ctx.Err() == nil {
			for _, ep := range endpoints {
				if id := liveCluster(ctx, cli, ep); id != "" {
					w.note(id, ep)
				}
			}
			time.Sleep(lookEvery)
		}
	})
	t.Cleanup(w.Stop)
	return w
}

// liveCluster is the ID of the cluster that the member at ep is of, where it knows
// a leader.
func liveCluster(ctx context.Context, cli *http.Client, ep string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ep+"/v3/maintenance/status", strings.NewReader("{}"))
	if err != nil {
		return ""
	}
	r, err := cli.Do(req)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	var st struct {
		Header struct {
			ClusterID string `json:"cluster_id"`
		} `json:"header"`
		Leader string `json:"leader"`
	}
	if err := json.NewDecoder(r.Body).Decode(&st); err != nil || st.Leader == "" || st.Leader == "0" {
		return ""
	}
	id, err := strconv.ParseUint(st.Header.ClusterID, 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(id, 16)
}

// note enters what one member said. A cluster that comes back after another one
// was seen was alive beside it.
func (w *Identities) note(id, ep string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if n := len(w.seen); n > 0 && w.seen[n-1] == id {
		return
	}
	if slices.Contains(w.seen, id) {
		w.wrong = append(w.wrong, fmt.Sprintf("cluster %s answers at %s after %s did: both are alive", id, ep, w.seen[len(w.seen)-1]))
	}
	w.seen = append(w.seen, id)
}

// Stop ends the watch; it may be called again.
func (w *Identities) Stop() {
	w.cancel()
	w.done.Wait()
}

// Seen are the clusters in the order in which they were alive.
func (w *Identities) Seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// OneAtATime fails the test where two clusters were alive together, or where more
// than most clusters were.
func (w *Identities) OneAtATime(t testing.TB, most int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.wrong {
		t.Error(s)
	}
	if len(w.seen) > most {
		t.Errorf("%d clusters were alive, one after the other: %v; at most %d should be", len(w.seen), w.seen, most)
	}
	if w.asked == 0 {
		t.Error("no cluster was ever seen alive: nothing was watched")
	}
}
