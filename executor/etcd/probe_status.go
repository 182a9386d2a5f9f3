package etcd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/requorum/requorum/planner"
)

// absentKey is what the proof of a linearizable read asks for. It need not be
// readable to the user: etcd confirms the read index with a quorum first, and
// only then looks at permissions (EtcdServer.Range in
// server/etcdserver/v3_server.go, the same since 3.4).
const absentKey = "\x00requorum"

// probeOne asks one URL, within ctx's deadline.
func probeOne(ctx context.Context, url string, a Access) planner.Endpoint {
	e, err := askMember(ctx, url, a)
	if err != nil {
		reach, detail := reachOf(err)
		return planner.Endpoint{Reach: reach, Detail: detail}
	}
	return e
}

// askMember is probeOne with the reason as an error.
func askMember(ctx context.Context, url string, a Access) (planner.Endpoint, error) {
	t, err := parseTarget(url, a)
	if err != nil {
		return planner.Endpoint{}, err
	}
	if err := greet(ctx, t, a); err != nil {
		return planner.Endpoint{}, err
	}
	c, err := newClient(ctx, t, a, "")
	if err != nil {
		return planner.Endpoint{}, err
	}
	defer func() { _ = c.Close() }()

	st, err := c.status(ctx) // without a user first: it shows an etcd without quorum, and sends no secret
	if err != nil && !isAuth(err) {
		return planner.Endpoint{}, classifyCall(err)
	}
	proofCtx, cancel := reserve(ctx)
	defer cancel()
	in, loginErr := c.login(proofCtx, t, a)
	switch {
	case loginErr == nil:
		c = in
	case st == nil || isAuth(loginErr):
		return planner.Endpoint{}, classifyLogin(loginErr, a)
	}
	if st == nil {
		if st, err = c.status(ctx); err != nil {
			return planner.Endpoint{}, classifyCall(err)
		}
	}
	// Only of one that answers: one that hangs would hang here too.
	metrics := make(chan planner.Fact[planner.Metrics], 1)
	version := make(chan string, 1)
	go func() { metrics <- askMetrics(ctx, t, a) }()
	go func() { version <- askVersion(ctx, t, a) }()
	e, err := c.describe(ctx, proofCtx, st, loginErr)
	if err == nil {
		e.Metrics, e.ClusterVersion = <-metrics, <-version
	}
	return e, err
}

// reserve gives a context that ends a little before ctx does, so that there is
// time to ask for the leader once more after a read that got no answer.
func reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(left/5, 300*time.Millisecond)))
}

// classifyCall sorts the error of Status, after the greeting went well.
func classifyCall(err error) *unreached {
	text := oneLine(err)
	var ours rpctypes.EtcdError
	isEtcd := errors.As(err, &ours)
	switch {
	case errors.Is(err, context.Canceled):
		return &unreached{planner.ReachUnasked, "cancelled"}
	case isAuth(err):
		return &unreached{planner.ReachAuth, "etcd has authentication enabled and wants another user: " + text}
	case isTimeout(err):
		return &unreached{planner.ReachHangs, "HTTP/2 is spoken, but Status gets no answer in time"}
	case isEtcd:
		return &unreached{planner.ReachHangs, "etcd does not answer Status: " + text}
	case code(err) == codes.Unavailable && !strings.Contains(text, "HTTP status code"):
		return &unreached{planner.ReachHangs, "the connection broke off before an answer to Status: " + text}
	}
	return &unreached{planner.ReachWrongService, "not etcd: " + text}
}

// classifyLogin sorts the error of a log-in where nothing can be read without it.
func classifyLogin(err error, a Access) *unreached {
	switch {
	case isAuth(err):
		return &unreached{planner.ReachAuth, fmt.Sprintf("etcd refuses the log-in as %q: %s", a.Username, oneLine(err))}
	case errors.Is(err, context.Canceled):
		return &unreached{planner.ReachUnasked, "cancelled"}
	}
	return &unreached{planner.ReachHangs, fmt.Sprintf("etcd wants a user, and the log-in as %q gets no answer: "+
		"without quorum etcd can't check a password (%s)", a.Username, oneLine(err))}
}

// describe fills an Endpoint from Status, the member list and the proof of a
// linearizable read. loginErr is a log-in that failed though Status answered; it
// then stands for the proof, since a log-in is a linearizable read too.
func (c *client) describe(ctx, proofCtx context.Context, st *clientv3.StatusResponse, loginErr error,
) (planner.Endpoint, error) {
	if st.IsLearner {
		e := fromStatus(st)
		e.Linearizable = planner.Unknown[bool]("a learner answers no linearizable read")
		e.Members = planner.Unknown[[]planner.ListedMember]("a learner does not give its member list")
		return e, nil
	}
	members := make(chan planner.Fact[[]planner.ListedMember], 1)
	go func() { members <- c.memberList(proofCtx) }()
	proof := loginErr
	if proof == nil {
		_, proof = c.Get(proofCtx, absentKey, clientv3.WithCountOnly())
	}
	if errors.Is(proof, rpctypes.ErrPermissionDenied) {
		proof = nil
	}
	if isAuth(proof) { // before 3.7 Status answers without a user
		return planner.Endpoint{}, classifyCall(proof)
	}
	confirmed := false
	if proof != nil {
		if again, err := c.status(ctx); err == nil {
			st, confirmed = again, true
		}
	}
	e := fromStatus(st)
	e.Members = <-members
	e.Linearizable = linearizable(st.Leader, proof, confirmed)
	return e, nil
}

// fromStatus is what Status alone says.
func fromStatus(st *clientv3.StatusResponse) planner.Endpoint {
	e := planner.Endpoint{
		Reach:     planner.ReachServing,
		ClusterID: hexID(st.Header.ClusterId),
		MemberID:  hexID(st.Header.MemberId),
		Version:   printable(st.Version, 40),
		Learner:   st.IsLearner,
		Revision:  st.Header.Revision,
		Applied:   st.RaftAppliedIndex,
		Term:      st.RaftTerm,
		DBSize:    st.DbSize,
		Alarms:    alarmsOf(st.Errors),

		StorageVersion: printable(st.StorageVersion, 40),
	}
	if st.Leader != 0 {
		e.LeaderID = hexID(st.Leader)
	}
	if d := st.DowngradeInfo; d.GetEnabled() {
		e.Downgrade = printable(d.GetTargetVersion(), 40)
	}
	return e
}

// linearizable judges the proof read. "No" needs two witnesses: no answer, and
// Status without a leader after it (confirmed). All else that fails is unknown.
func linearizable(leader uint64, proof error, confirmed bool) planner.Fact[bool] {
	switch {
	case proof == nil:
		return planner.Known(true)
	case leader == 0 && confirmed:
		f := planner.Known(false)
		f.Why = "the member knows no leader, and a linearizable read got no answer: " + oneLine(proof)
		return f
	case leader == 0:
		return planner.Unknown[bool]("a linearizable read got no answer: " + oneLine(proof))
	}
	return planner.Unknown[bool]("the member follows leader " + hexID(leader) +
		", but a linearizable read got no answer: " + oneLine(proof))
}

// memberList is the member's own list, in its order.
func (c *client) memberList(ctx context.Context) planner.Fact[[]planner.ListedMember] {
	resp, err := c.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return planner.Unknown[[]planner.ListedMember]("member list: " + oneLine(err))
	}
	list := make([]planner.ListedMember, 0, len(resp.Members))
	for _, m := range resp.Members {
		list = append(list, fromProto(m))
	}
	return planner.Known(list)
}

func fromProto(m *etcdserverpb.Member) planner.ListedMember {
	return planner.ListedMember{
		ID: hexID(m.ID), Name: m.Name, PeerURLs: UntoldUser(m.PeerURLs), ClientURLs: withoutUser(m.ClientURLs), Learner: m.IsLearner,
	}
}

// Status.Errors holds AlarmMember in protobuf's text form, whose blanks vary on
// purpose, and "etcdserver: no leader".
var (
	alarmKind   = regexp.MustCompile(`\balarm:\s*(\w+)`)
	alarmMember = regexp.MustCompile(`\bmemberID:\s*(\d+)`)
)

// alarmsOf picks the alarms out of Status.Errors: "NOSPACE on 8e9e05c52164694d".
func alarmsOf(errs []string) []string {
	var out []string
	for _, e := range errs {
		kind := alarmKind.FindStringSubmatch(e)
		if kind == nil {
			continue
		}
		text := kind[1]
		if m := alarmMember.FindStringSubmatch(e); m != nil {
			if id, err := strconv.ParseUint(m[1], 10, 64); err == nil {
				text = alarmText(kind[1], id)
			}
		}
		out = append(out, text)
	}
	return out
}

func alarmText(kind string, member uint64) string { return kind + " on " + hexID(member) }
