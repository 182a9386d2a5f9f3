package etcd

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Nudge puts one entry into the cluster's log that changes nothing: the revocation of
// a lease that nobody has. It is agreed on and applied like a write, whatever alarms
// are raised, and the key space and its revision stay as they are.
//
// It is for a member that was sent a snapshot while nobody writes. etcd counts as
// applied only what a member applies after it (server/etcdserver/server.go
// setAppliedIndex), and holds back the member's own requests while more than 5000
// entries seem to be missing (util.go exceedsRequestLimit), the first of them the one
// with its name: it does not serve until there is another entry.
//
// With authentication etcd may want a user for it.
func (cl Cluster) Nudge(ctx context.Context) error {
	var reasons []string
	for _, url := range cl.Endpoints {
		_, err := cl.send(ctx, url, func(ctx context.Context, c *client, _ grpc.CallOption) error {
			_, err := c.Revoke(ctx, clientv3.LeaseID(rand.Int64()))
			return err
		})
		if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		reasons = append(reasons, url+": "+oneLine(err))
	}
	if len(reasons) == 0 {
		return errors.New("no endpoint to send an entry to")
	}
	return errors.New("no endpoint took an entry: " + strings.Join(reasons, "; "))
}
