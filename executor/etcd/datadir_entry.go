package etcd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/planner"
)

// describeEntry says what an entry does, without any value: those are secrets. One
// that can't be read is risky.
func describeEntry(e *raftpb.Entry) (t planner.TailEntry) {
	defer func() {
		t.Index, t.Term = e.GetIndex(), e.GetTerm()
	}()
	switch e.GetType() {
	case raftpb.EntryConfChange:
		return describeChange(e.Data)
	case raftpb.EntryConfChangeV2:
		return describeChangeV2(e.Data)
	}
	if len(e.Data) == 0 {
		return planner.TailEntry{Kind: planner.EntryInternal, Text: "empty: a new leader's first"}
	}
	var r pb.InternalRaftRequest
	err := proto.Unmarshal(e.Data, &r)
	if v2, ok := v2Request(e.Data, &r, err); ok {
		return describeV2(v2)
	}
	if err != nil {
		return unreadable(e.Data)
	}
	for _, describe := range []func(*pb.InternalRaftRequest) (planner.TailEntry, bool){
		describeKV, describeLease, describeAuth, describeCluster,
	} {
		if t, ok := describe(&r); ok {
			return t
		}
	}
	return unreadable(e.Data)
}

func unreadable(data []byte) planner.TailEntry {
	return planner.TailEntry{Kind: planner.EntryInternal, Risky: true,
		Text: fmt.Sprintf("something that this requorum can't read, %d bytes", len(data))}
}

func internal(format string, args ...any) (planner.TailEntry, bool) {
	return planner.TailEntry{Kind: planner.EntryInternal, Text: fmt.Sprintf(format, args...)}, true
}

func risky(kind, format string, args ...any) (planner.TailEntry, bool) {
	return planner.TailEntry{Kind: kind, Risky: true, Text: fmt.Sprintf(format, args...)}, true
}

func describeKV(r *pb.InternalRaftRequest) (planner.TailEntry, bool) {
	switch {
	case r.Put != nil:
		key := showKey(r.Put.Key)
		text := fmt.Sprintf("put %s, %d bytes", key, len(r.Put.Value))
		switch {
		case r.Put.IgnoreValue:
			text = fmt.Sprintf("put %s, its value kept", key)
		case len(r.Put.Value) == 1:
			text = fmt.Sprintf("put %s, 1 byte", key)
		}
		if r.Put.Lease != 0 {
			text += ", lease " + hexID(uint64(r.Put.Lease))
		}
		return planner.TailEntry{Kind: planner.EntryPut, Key: key, Text: text}, true
	case r.DeleteRange != nil:
		key := showRange(r.DeleteRange.Key, r.DeleteRange.RangeEnd)
		return planner.TailEntry{Kind: planner.EntryDelete, Key: key, Text: "delete " + key, Risky: true}, true
	case r.Txn != nil:
		return describeTxn(r.Txn), true
	case r.Compaction != nil:
		return risky(planner.EntryCompact, "compact at revision %d", r.Compaction.Revision)
	case r.Range != nil:
		return internal("read %s", showRange(r.Range.Key, r.Range.RangeEnd))
	}
	return planner.TailEntry{}, false
}

// maxTxnKeys are named in a transaction's text.
const maxTxnKeys = 3

// writes counts what a transaction may write, in either branch.
type writes struct {
	puts, deletes int
	keys          []string // each once, maxTxnKeys+1 at most
}

func (w *writes) add(txn *pb.TxnRequest) {
	for _, op := range slices.Concat(txn.GetSuccess(), txn.GetFailure()) {
		key := ""
		switch {
		case op.GetRequestPut() != nil:
			w.puts++
			key = showKey(op.GetRequestPut().Key)
		case op.GetRequestDeleteRange() != nil:
			w.deletes++
			key = showRange(op.GetRequestDeleteRange().Key, op.GetRequestDeleteRange().RangeEnd)
		case op.GetRequestTxn() != nil:
			w.add(op.GetRequestTxn())
		}
		if key != "" && len(w.keys) <= maxTxnKeys && !slices.Contains(w.keys, key) {
			w.keys = append(w.keys, key)
		}
	}
}

func describeTxn(txn *pb.TxnRequest) planner.TailEntry {
	var w writes
	w.add(txn)
	t := planner.TailEntry{Kind: planner.EntryTxn, Risky: w.deletes > 0}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{w.puts, "put"}, {w.deletes, "delete"}} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.what)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		t.Text = "txn: only reads"
		return t
	}
	if len(w.keys) == 1 {
		t.Key = w.keys[0]
	}
	list := w.keys
	if len(list) > maxTxnKeys {
		list = append(list[:maxTxnKeys:maxTxnKeys], "…")
	}
	t.Text = "txn: " + strings.Join(parts, ", ") + " (" + strings.Join(list, ", ") + ")"
	return t
}

func describeLease(r *pb.InternalRaftRequest) (planner.TailEntry, bool) {
	switch {
	case r.LeaseGrant != nil:
		return planner.TailEntry{Kind: planner.EntryLease, Text: fmt.Sprintf("grant lease %s, %d s",
			hexID(uint64(r.LeaseGrant.ID)), r.LeaseGrant.TTL)}, true
	case r.LeaseRevoke != nil:
		return risky(planner.EntryRevoke, "revoke lease %s, and delete its keys", hexID(uint64(r.LeaseRevoke.ID)))
	case r.LeaseCheckpoint != nil:
		return internal("lease checkpoint")
	}
	return planner.TailEntry{}, false
}

func describeAuth(r *pb.InternalRaftRequest) (planner.TailEntry, bool) {
	const auth = planner.EntryAuth
	switch {
	case r.AuthEnable != nil:
		return risky(auth, "auth enable")
	case r.AuthDisable != nil:
		return risky(auth, "auth disable")
	case r.AuthUserAdd != nil:
		return risky(auth, "add user %s", showText(r.AuthUserAdd.Name))
	case r.AuthUserDelete != nil:
		return risky(auth, "delete user %s", showText(r.AuthUserDelete.Name))
	case r.AuthUserChangePassword != nil:
		return risky(auth, "change the password of user %s", showText(r.AuthUserChangePassword.Name))
	case r.AuthUserGrantRole != nil:
		return risky(auth, "grant role %s to user %s", showText(r.AuthUserGrantRole.Role), showText(r.AuthUserGrantRole.User))
	case r.AuthUserRevokeRole != nil:
		return risky(auth, "revoke role %s from user %s", showText(r.AuthUserRevokeRole.Role), showText(r.AuthUserRevokeRole.Name))
	case r.AuthRoleAdd != nil:
		return risky(auth, "add role %s", showText(r.AuthRoleAdd.Name))
	case r.AuthRoleDelete != nil:
		return risky(auth, "delete role %s", showText(r.AuthRoleDelete.Role))
	case r.AuthRoleGrantPermission != nil:
		p := r.AuthRoleGrantPermission
		return risky(auth, "let role %s use %s", showText(p.Name), showRange(p.Perm.GetKey(), p.Perm.GetRangeEnd()))
	case r.AuthRoleRevokePermission != nil:
		p := r.AuthRoleRevokePermission
		return risky(auth, "no longer let role %s use %s", showText(p.Role), showRange(p.Key, p.RangeEnd))
	case r.Authenticate != nil:
		return internal("log-in of user %s", showText(r.Authenticate.Name))
	case r.AuthStatus != nil, r.AuthUserGet != nil, r.AuthUserList != nil, r.AuthRoleGet != nil, r.AuthRoleList != nil:
		return internal("reads users or roles")
	}
	return planner.TailEntry{}, false
}

func describeCluster(r *pb.InternalRaftRequest) (planner.TailEntry, bool) {
	switch {
	case r.Alarm != nil:
		kind, member := r.Alarm.Alarm, hexID(r.Alarm.MemberID)
		switch r.Alarm.Action {
		case pb.AlarmRequest_ACTIVATE:
			return risky(planner.EntryAlarm, "raise alarm %s of member %s", kind, member)
		case pb.AlarmRequest_DEACTIVATE:
			return risky(planner.EntryAlarm, "disarm %s of member %s", kind, member)
		}
		return internal("reads alarms")
	case r.ClusterVersionSet != nil:
		return internal("cluster version %s", showText(r.ClusterVersionSet.Ver))
	case r.ClusterMemberAttrSet != nil:
		return internal("name and client URLs of member %s", hexID(r.ClusterMemberAttrSet.Member_ID))
	case r.DowngradeInfoSet != nil:
		if r.DowngradeInfoSet.Enabled {
			return risky(planner.EntryInternal, "begin a downgrade to %s", showText(r.DowngradeInfoSet.Ver))
		}
		return risky(planner.EntryInternal, "end a downgrade")
	case r.DowngradeVersionTest != nil:
		return internal("tries a downgrade")
	}
	return planner.TailEntry{}, false
}

func describeChange(data []byte) planner.TailEntry {
	var cc raftpb.ConfChange
	var c membership.ConfigChangeContext
	if proto.Unmarshal(data, &cc) != nil || len(cc.Context) > 0 && json.Unmarshal(cc.Context, &c) != nil {
		return unreadable(data)
	}
	text, id := "", hexID(cc.GetNodeId())
	switch urls := showText(strings.Join(UntoldUser(c.PeerURLs), ",")); cc.GetType() {
	case raftpb.ConfChangeRemoveNode:
		text = "remove member " + id
	case raftpb.ConfChangeUpdateNode:
		text = fmt.Sprintf("move member %s to %s", id, urls)
	case raftpb.ConfChangeAddLearnerNode:
		text = fmt.Sprintf("add learner %s %s", id, urls)
	case raftpb.ConfChangeAddNode:
		text = fmt.Sprintf("add member %s %s", id, urls)
		if c.IsPromote {
			text = "promote learner " + id
		}
	}
	t, _ := risky(planner.EntryMembership, "%s", text)
	return t
}

// describeChangeV2 is of an entry that etcd does not write, and can't apply.
func describeChangeV2(data []byte) planner.TailEntry {
	var cc raftpb.ConfChangeV2
	if proto.Unmarshal(data, &cc) != nil {
		return unreadable(data)
	}
	text := "a joint change of members:"
	for _, c := range cc.Changes {
		text += fmt.Sprintf(" %s %s", strings.TrimPrefix(c.GetType().String(), "ConfChange"), hexID(c.GetNodeId()))
	}
	t, _ := risky(planner.EntryMembership, "%s", showLong(text))
	return t
}

// v2 is a request to the v2 store, which etcd 3.5 and older keep members'
// attributes and the cluster version in.
type v2 struct{ method, path string }

// v2Request finds one in an entry: as field 2 of a request of 3.0 to 3.5, or as
// all of it, as etcd 2 wrote it. 3.7 does not know either.
func v2Request(data []byte, r *pb.InternalRaftRequest, err error) (v2, bool) {
	if err == nil {
		data = r.ProtoReflect().GetUnknown()
	}
	field, ok := fields(data)
	if !ok {
		return v2{}, false
	}
	if slices.Contains([]string{"GET", "QGET", "POST", "PUT", "DELETE", "SYNC"}, string(field[2])) {
		return v2{string(field[2]), string(field[3])}, true
	}
	if inner, ok := fields(field[2]); err == nil && ok && len(inner[2]) > 0 {
		return v2{string(inner[2]), string(inner[3])}, true
	}
	return v2{}, false
}

// oldFormat reports whether an entry is one to the v2 store. They begin with the ID or the
// request itself, which no other entry has.
func oldFormat(e *raftpb.Entry) bool {
	if e.GetType() != raftpb.EntryNormal || len(e.Data) == 0 || e.Data[0] != 1<<3 && e.Data[0] != 2<<3|2 {
		return false
	}
	var r pb.InternalRaftRequest
	err := proto.Unmarshal(e.Data, &r)
	_, old := v2Request(e.Data, &r, err)
	return old
}

// fields are a message's byte fields by number.
func fields(data []byte) (map[protowire.Number][]byte, bool) {
	found := map[protowire.Number][]byte{}
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, false
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
			return nil, false
		}
		if typ == protowire.BytesType {
			found[num], _ = protowire.ConsumeBytes(data)
		}
		data = data[n:]
	}
	return found, true
}

func describeV2(r v2) planner.TailEntry {
	key := showText(r.path)
	// What etcd itself keeps there is below /0.
	if r.path == "/0" || strings.HasPrefix(r.path, "/0/") || r.method == "SYNC" || strings.HasSuffix(r.method, "GET") {
		t, _ := internal("v2 %s %s", showText(r.method), key)
		return t
	}
	if r.method == "DELETE" {
		return planner.TailEntry{Kind: planner.EntryDelete, Key: key, Text: "v2 delete " + key, Risky: true}
	}
	return planner.TailEntry{Kind: planner.EntryPut, Key: key, Text: "v2 put " + key}
}

// maxKey is how much of a key is shown: a key may be as long as a request.
const maxKey = 200

func showKey(key []byte) string { return showText(string(key)) }

// showText quotes what could be mistaken for something else on a terminal or in
// a range.
func showText(s string) string {
	plain := s != "" && !strings.ContainsAny(s, `"\*`) && !strings.Contains(s, "..")
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] > ' ' && s[i] < 0x7f
	}
	if !plain {
		s = strconv.Quote(s[:min(len(s), maxKey+1)])
	}
	return showLong(s)
}

func showLong(s string) string {
	if len(s) > maxKey {
		return strings.ToValidUTF8(s[:maxKey], "") + "…"
	}
	return s
}

// showRange shows [key, end) as etcd means it.
func showRange(key, end []byte) string {
	switch {
	case len(end) == 0:
		return showKey(key)
	case string(end) == "\x00":
		if len(key) == 0 || string(key) == "\x00" {
			return "all keys"
		}
		return showKey(key) + ".."
	case len(key) > 0 && string(end) == clientv3.GetPrefixRangeEnd(string(key)):
		return showKey(key) + "*"
	}
	return showKey(key) + ".." + showKey(end)
}
