package etcd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strings"
)

// leaseSeconds is how long a lease of TryLease's would live if it could not be revoked.
const leaseSeconds = 5

// TryLease grants a lease without keys and revokes it: both are agreed on by a quorum,
// as writes are, and the key space and its revision stay as they are. why says why it
// was not tried: that a user is wanted. An error is etcd's no, NOSPACE for one, or no
// answer in time.
func TryLease(ctx context.Context, url string, a Access) (why string, err error) {
	ctx, cancel := withLimit(ctx, defaultLimit)
	defer cancel()
	c, err := open(ctx, url, a)
	if err != nil {
		return "", plain{err}
	}
	defer func() { _ = c.Close() }()
	l, err := c.Grant(ctx, leaseSeconds)
	switch {
	case isAuth(err):
		return "etcd wants a user: " + oneLine(err), nil
	case err != nil:
		return "", plain{fmt.Errorf("grant a lease: %w", err)}
	}
	if _, err := c.Revoke(ctx, l.ID); err != nil && !isAuth(err) { // it runs out by itself
		return "", plain{fmt.Errorf("revoke a lease: %w", err)}
	}
	return "", nil
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
