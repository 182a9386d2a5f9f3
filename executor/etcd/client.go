package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Limits of a client's calls.
const (
	defaultLimit = 5 * time.Second // where the caller set none
	maxReply     = 16 << 20        // bytes of one reply
	callAttempts = 8               // of a read that etcd says to try again
)

// client is an etcd client of exactly one client URL, on one connection.
type client struct {
	*clientv3.Client
	// maintenance goes over the client's own connection; Client.Maintenance would
	// dial another for each Status and HashKV.
	maintenance clientv3.Maintenance
	url         string
}

// newClient makes a client without touching the network. token is "" for none.
func newClient(ctx context.Context, t target, a Access, token string) (*client, error) {
	cfg := clientv3.Config{
		Context:            ctx,
		Endpoints:          []string{t.url},
		Token:              token,
		Logger:             zap.NewNop(),
		MaxUnaryRetries:    callAttempts,
		MaxCallRecvMsgSize: maxReply,
		DialOptions: []grpc.DialOption{
			// A dialer of our own also keeps gRPC from the environment's proxies.
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return t.dial(ctx)
			}),
		},
	}
	if t.secure {
		cfg.TLS = a.tlsFor(t.host)
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	remote := clientv3.RetryMaintenanceClient(c, c.ActiveConnection())
	return &client{c, clientv3.NewMaintenanceFromMaintenanceClient(remote, c), t.url}, nil
}

// open makes sure that something speaks HTTP/2 at url, then gives a client that
// is logged in where a password is at hand. Its errors are an *unreached or
// etcd's own.
func open(ctx context.Context, url string, a Access) (*client, error) {
	t, err := parseTarget(url, a)
	if err != nil {
		return nil, err
	}
	if err := greet(ctx, t, a); err != nil {
		return nil, err
	}
	c, err := newClient(ctx, t, a, "")
	if err != nil {
		return nil, err
	}
	// An etcd answers Status, if only to say that it wants a user.
	if _, err := c.status(ctx); err != nil && !isAuth(err) {
		_ = c.Close()
		return nil, fmt.Errorf("status: %w", err)
	}
	logged, err := c.login(ctx, t, a)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("log-in as %q: %w", a.Username, err)
	}
	return logged, nil
}

// login gives a client that acts as the user, and closes c then; c itself where
// there is no password or etcd has authentication disabled. It needs quorum:
// Authenticate reads linearizably (server/etcdserver/v3_server.go).
func (c *client) login(ctx context.Context, t target, a Access) (*client, error) {
	if a.Username == "" || a.Password.Empty() {
		return c, nil
	}
	resp, err := c.Authenticate(ctx, a.Username, a.Password.Reveal())
	if errors.Is(err, rpctypes.ErrAuthNotEnabled) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	in, err := newClient(ctx, t, a, resp.Token)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return in, nil
}

// status asks the one endpoint. A reply without IDs is not etcd's: an error with
// code Unimplemented then.
func (c *client) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	s, err := c.maintenance.Status(ctx, c.url)
	if err == nil && (s.Header == nil || s.Header.MemberId == 0) {
		return nil, status.Error(codes.Unimplemented, "the reply to Status names no member")
	}
	return s, err
}

// withLimit gives ctx a deadline where it has none.
func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok && limit <= 0 {
		return context.WithCancel(ctx)
	}
	if limit <= 0 {
		limit = defaultLimit
	}
	return context.WithTimeout(ctx, limit)
}

// isAuth reports whether etcd answered that it wants another user, password or
// permission.
func isAuth(err error) bool {
	for _, e := range []error{
		rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied,
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrInvalidAuthMgmt,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isTimeout reports whether err is a deadline's end, of the context or of gRPC.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || code(err) == codes.DeadlineExceeded
}

// code is the gRPC code behind err, Unknown for none.
func code(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	return codes.Unknown
}

// oneLine is err for people: without gRPC's prefixes, on one line, bounded.
func oneLine(err error) string {
	text := err.Error()
	// A wrapped gRPC error repeats its prefix in mid-text.
	for {
		i := strings.Index(text, "rpc error: code = ")
		if i < 0 {
			break
		}
		_, desc, ok := strings.Cut(text[i:], " desc = ")
		if !ok {
			break
		}
		text = text[:i] + desc
	}
	text = strings.ReplaceAll(text, "context deadline exceeded", "no answer in time")
	return printable(text, 300)
}

// printable makes s one line of at most limit bytes, control characters as
// spaces.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// plain is err as one line, keeping what it wraps.
type plain struct{ err error }

func (p plain) Error() string { return oneLine(p.err) }
func (p plain) Unwrap() error { return p.err }

// hexID prints an ID as etcd does: hex without padding.
func hexID(id uint64) string { return strconv.FormatUint(id, 16) }
