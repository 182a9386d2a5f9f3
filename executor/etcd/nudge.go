package etcd

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"

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

// nudgers is how many entries of NudgeMany are on their way at a time: few enough that
// others' writes do not wait for them.
const nudgers = 16

// NudgeMany is Nudge for n entries, through one member.
func (cl Cluster) NudgeMany(ctx context.Context, n int) error {
	var reasons []string
	for _, url := range cl.Endpoints {
		c, _, err := cl.dial(ctx, url)
		if err == nil {
			err = revokeMany(ctx, c, n)
			_ = c.Close()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		reasons = append(reasons, url+": "+oneLine(err))
	}
	return errors.New("no endpoint took the entries: " + strings.Join(reasons, "; "))
}

func revokeMany(ctx context.Context, c *client, n int) error {
	left := make(chan struct{}, n)
	for range n {
		left <- struct{}{}
	}
	close(left)
	var wg sync.WaitGroup
	errs := make(chan error, nudgers)
	for range nudgers {
		wg.Go(func() {
			for range left {
				one, cancel := context.WithTimeout(ctx, changeLimit)
				_, err := c.Revoke(one, clientv3.LeaseID(rand.Int64()))
				cancel()
				if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
