package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// TestTryLease: only etcd's own definite no is final.
func TestTryLease(t *testing.T) {
	t.Parallel()
	one := startOne(t, "lease", nil)
	b := newBetween(t, one.client)
	if why, err := TryLease(bounded(t), b.url, Access{}); why != "" || err != nil {
		t.Fatal(why, err)
	}
	for _, tt := range []struct {
		no     error
		method string
		passes bool
	}{
		{rpctypes.ErrGRPCNoLeader, "LeaseGrant", true},
		{rpctypes.ErrGRPCLeaderChanged, "LeaseGrant", true},
		{rpctypes.ErrGRPCTimeout, "LeaseGrant", true},
		{rpctypes.ErrGRPCTimeoutDueToLeaderFail, "LeaseRevoke", true},
		{rpctypes.ErrGRPCStopped, "LeaseGrant", true},
		{rpctypes.ErrGRPCRequestTooManyRequests, "LeaseGrant", true},
		{nil, "LeaseGrant", true}, // no answer at all
		{rpctypes.ErrGRPCNoSpace, "LeaseGrant", false},
		{rpctypes.ErrGRPCCorrupt, "LeaseGrant", false},
	} {
		b.set(func(ctx context.Context, method string, forward func(func([]byte) ([]byte, error)) error) error {
			switch {
			case method != tt.method:
				return forward(asIs)
			case tt.no == nil:
				<-ctx.Done()
			}
			return tt.no
		})
		limit := time.Minute
		if tt.no == nil {
			limit = 2 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		why, err := TryLease(ctx, b.url, Access{})
		cancel()
		if why != "" || err == nil || IsNotYet(err) != tt.passes {
			t.Errorf("%v to %s: %q, %v; passes: %t", tt.no, tt.method, why, err, IsNotYet(err))
		}
		if (tt.no == rpctypes.ErrGRPCNoSpace) != errors.Is(err, ErrNoSpace) {
			t.Errorf("%v: %v", tt.no, err)
		}
	}
}

// A member without quorum may have one in a moment.
func TestTryLeaseWithoutQuorum(t *testing.T) {
	t.Parallel()
	all := startThree(t)
	all[1].Close()
	all[2].Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if why, err := TryLease(ctx, all[0].client, Access{}); why != "" || !IsNotYet(err) {
		t.Errorf("%q, %v", why, err)
	}
}
