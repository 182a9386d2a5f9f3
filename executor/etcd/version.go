package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// Bounds of asking for a version, as for metrics.
const (
	maxVersion   = 64 << 10 // bytes
	versionLimit = 500 * time.Millisecond
)

// askVersion is one GET /version: what the members have agreed on that all of them
// understand, "3.6.0" (server/etcdserver/api/etcdhttp/version.go, the same since 3.4). It
// needs no user and no quorum. "" where it was not told.
func askVersion(ctx context.Context, t target, a Access) string {
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	rt, _ := requestTo(t, a)
	defer rt.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url+"/version", nil)
	if err != nil {
		return ""
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var told struct {
		Cluster string `json:"etcdcluster"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, maxVersion)).Decode(&told) != nil || told.Cluster == "not_decided" {
		return ""
	}
	return printable(told.Cluster, 40)
}

// PeerVersion is the cluster's version as a member tells it at its peer URLs, for one whose
// client port has no HTTP; "" where none does.
func PeerVersion(ctx context.Context, urls []string, a Access) string {
	for _, url := range urls {
		t, err := parseTarget(url, a)
		if err != nil {
			continue
		}
		if v := askVersion(ctx, t, a); v != "" {
			return v
		}
	}
	return ""
}

// EnableDowngrade tells the cluster that it is to go back to a minor version ("3.6"), after
// etcd has said that it may. One to that version that is on already is what was wanted.
func (cl Cluster) EnableDowngrade(ctx context.Context, version string) error {
	version += ".0"
	return cl.change(ctx, edit{
		what: "enable a downgrade to " + version, toLeader: true,
		done: func(*listing) bool { return false }, // no list shows it: call finds out
		bar:  func(*listing) error { return nil },
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			if st, err := c.status(ctx); err == nil && st.DowngradeInfo.GetEnabled() && strings.HasPrefix(st.DowngradeInfo.GetTargetVersion(), strings.TrimSuffix(version, "0")) {
				return nil
			}
			m := etcdserverpb.NewMaintenanceClient(c.ActiveConnection())
			if _, err := m.Downgrade(ctx, &etcdserverpb.DowngradeRequest{Action: etcdserverpb.DowngradeRequest_VALIDATE, Version: version}); err != nil {
				return err
			}
			_, err := m.Downgrade(ctx, &etcdserverpb.DowngradeRequest{Action: etcdserverpb.DowngradeRequest_ENABLE, Version: version}, once)
			return err
		},
	})
}

// CancelDowngrade calls off the downgrade that is on; nothing where none is.
func (cl Cluster) CancelDowngrade(ctx context.Context) error {
	return cl.change(ctx, edit{
		what: "call the downgrade off", toLeader: true,
		done: func(*listing) bool { return false }, // no list shows it: call finds out
		bar:  func(*listing) error { return nil },
		call: func(ctx context.Context, c *client, once grpc.CallOption) error {
			_, err := etcdserverpb.NewMaintenanceClient(c.ActiveConnection()).
				Downgrade(ctx, &etcdserverpb.DowngradeRequest{Action: etcdserverpb.DowngradeRequest_CANCEL}, once)
			if errors.Is(rpctypes.Error(err), rpctypes.ErrNoInflightDowngrade) {
				return nil
			}
			return err
		},
	})
}
