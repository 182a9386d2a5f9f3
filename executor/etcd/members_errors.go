package etcd

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"github.com/requorum/requorum/planner"
)

// ErrUnknownOutcome is the kind of an error after which the change may have been
// made or not, or may still come: it was sent, no answer came, and the member
// list could not be had afterwards. List the members before another try.
var ErrUnknownOutcome = errors.New("outcome unknown")

// ErrIsVoter is the kind of RemoveLearner's error for a member that votes by now.
var ErrIsVoter = errors.New("it is a voter")

// errNotYet is the kind behind IsNotYet.
var errNotYet = errors.New("not yet")

// IsNotYet reports whether err is a "no" that may pass with time: the change was
// not made, and the same call may be sent again.
func IsNotYet(err error) bool { return errors.Is(err, errNotYet) }

// sortedError is an error of a kind, as one line.
type sortedError struct {
	kind  error // errNotYet, ErrUnknownOutcome, ErrIsVoter, nil for another final one
	text  string
	cause error
}

func (e *sortedError) Error() string        { return e.text }
func (e *sortedError) Is(target error) bool { return e.kind != nil && target == e.kind }
func (e *sortedError) Unwrap() error        { return e.cause }

// passes reports whether the reason why one endpoint could not be asked may pass
// with time.
func passes(err error) bool {
	var u *unreached
	if errors.As(err, &u) {
		return !slices.Contains([]planner.Reach{
			planner.ReachTLSFailed, planner.ReachWrongService, planner.ReachAuth, planner.ReachUnasked,
		}, u.reach)
	}
	return !isAuth(err) && code(err) != codes.Unimplemented
}

// refusals are etcd's definite answers that pass with time, and what they wait
// for (server/etcdserver/server.go mayAddMember, mayRemoveMember,
// mayPromoteMember).
var refusals = map[error]string{
	rpctypes.ErrUnhealthy:              "too few voters have been connected to the member that was asked for the last 5 s",
	rpctypes.ErrMemberNotEnoughStarted: "too few members have started",
	rpctypes.ErrMemberLearnerNotReady:  "the learner is still catching up with the leader",
	rpctypes.ErrNotLeader:              "the lead has moved meanwhile",
	rpctypes.ErrNotCapable:             "the members have not agreed on the cluster's version yet",
	rpctypes.ErrTooManyRequests:        "the member has too much to do",
}

// waitsFor says what a definite refusal waits for, "" for one that is final.
func waitsFor(err error) string {
	for e, why := range refusals {
		if errors.Is(err, e) {
			return why
		}
	}
	return ""
}

// isDefinite reports whether err is a member's own "no", given before anything
// was proposed or as the proposal was applied: it changed nothing. All else may
// have changed something: Unavailable covers what was in flight as a connection
// broke, etcd's own time-outs, and a member that stops.
func isDefinite(err error) bool {
	if errors.Is(err, rpctypes.ErrUnhealthy) { // Unavailable by its code
		return true
	}
	if code(err) == codes.Unimplemented {
		return true
	}
	var e rpctypes.EtcdError
	if !errors.As(err, &e) || isTimeout(err) || errors.Is(err, context.Canceled) {
		return false
	}
	switch e.Code() {
	case codes.FailedPrecondition, codes.NotFound, codes.InvalidArgument, codes.PermissionDenied,
		codes.Unauthenticated, codes.ResourceExhausted, codes.OutOfRange:
		return true
	}
	return false
}
