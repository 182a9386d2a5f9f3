package etcd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// leaseSeconds is how long a lease of TryLease's would live if it could not be revoked.
const leaseSeconds = 5

// leaseLimit is how long etcd may take for one try: longer than its own limit for what
// is to be agreed on (ReqTimeout, 7 s with the election timeout it has by itself).
const leaseLimit = 8 * time.Second

// ErrNoSpace is the error of TryLease where the alarm NOSPACE is raised: reads are
// answered, and no write is.
var ErrNoSpace = rpctypes.ErrNoSpace

// TryLease grants a lease without keys and revokes it: both are agreed on by a quorum,
// as writes are, and the key space and its revision stay as they are. why says why it
// was not tried: that a user is wanted. An error is etcd's no, or satisfies IsNotYet
// where it may pass with time: no answer, no leader, a leader that just changed.
func TryLease(ctx context.Context, url string, a Access) (why string, err error) {
	ctx, cancel := withLimit(ctx, leaseLimit)
	defer cancel()
	c, err := open(ctx, url, a)
	if err != nil {
		return leaseRefused("ask", err)
	}
	defer func() { _ = c.Close() }()
	l, err := c.Grant(ctx, leaseSeconds)
	if err != nil {
		return leaseRefused("grant a lease", err)
	}
	if _, err := c.Revoke(ctx, l.ID); err != nil && !isAuth(err) { // it runs out by itself
		return leaseRefused("revoke a lease", err)
	}
	return "", nil
}

// leaseRefused sorts what stood in a lease's way.
func leaseRefused(what string, err error) (why string, sorted error) {
	var u *unreached
	final := errors.Is(err, rpctypes.ErrCorrupt) || isDefinite(err) && waitsFor(err) == "" || errors.As(err, &u) && !passes(err)
	switch {
	case isAuth(err):
		return "etcd wants a user: " + oneLine(err), nil
	case final:
		return "", plain{fmt.Errorf("%s: %w", what, err)}
	}
	return "", &sortedError{kind: errNotYet, text: what + ": " + oneLine(err), cause: err}
}

// Leads reports whether the member at this client URL leads, by its own metrics, which
// need no user; false too where it does not say.
func Leads(ctx context.Context, url string, a Access) bool {
	body, err := getSmall(ctx, url, "/metrics", nil, a, metricsLimit)
	if err != nil {
		return false
	}
	for s := bufio.NewScanner(bytes.NewReader(body)); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), "etcd_server_is_leader "); ok {
			return value == "1"
		}
	}
	return false
}
