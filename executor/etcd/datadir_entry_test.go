package etcd

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/membershippb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/planner"
)

func marshalEntry(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testEntry(index, term uint64, kind raftpb.EntryType, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Type: &kind, Term: &term, Index: &index, Data: data}
}

func TestDescribeEntry(t *testing.T) {
	const secret = "hunter2"
	put := func(k string) *pb.PutRequest { return &pb.PutRequest{Key: []byte(k), Value: []byte(secret)} }
	op := func(ops ...any) (list []*pb.RequestOp) {
		for _, o := range ops {
			switch o := o.(type) {
			case *pb.PutRequest:
				list = append(list, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: o}})
			case *pb.DeleteRangeRequest:
				list = append(list, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: o}})
			case *pb.RangeRequest:
				list = append(list, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: o}})
			case *pb.TxnRequest:
				list = append(list, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: o}})
			}
		}
		return list
	}
	del := func(k, end string) *pb.DeleteRangeRequest {
		return &pb.DeleteRangeRequest{Key: []byte(k), RangeEnd: []byte(end)}
	}
	leased := put("/a")
	leased.Lease = 0x7587
	for _, c := range []struct {
		request         *pb.InternalRaftRequest
		kind, key, text string
		risky           bool
	}{
		{&pb.InternalRaftRequest{Put: leased}, planner.EntryPut, "/a", "put /a, 7 bytes, lease 7587", false},
		{&pb.InternalRaftRequest{Put: put("a b\x00")}, planner.EntryPut, `"a b\x00"`, `put "a b\x00", 7 bytes`, false},
		{&pb.InternalRaftRequest{Put: put("/x/*")}, planner.EntryPut, `"/x/*"`, `put "/x/*", 7 bytes`, false},
		{&pb.InternalRaftRequest{DeleteRange: del("/a", "")}, planner.EntryDelete, "/a", "delete /a", true},
		{&pb.InternalRaftRequest{DeleteRange: del("/x/", "/x0")}, planner.EntryDelete, "/x/*", "delete /x/*", true},
		{&pb.InternalRaftRequest{DeleteRange: del("a", "c")}, planner.EntryDelete, "a..c", "delete a..c", true},
		{&pb.InternalRaftRequest{DeleteRange: del("a", "\x00")}, planner.EntryDelete, "a..", "delete a..", true},
		{&pb.InternalRaftRequest{DeleteRange: del("\x00", "\x00")}, planner.EntryDelete, "all keys", "delete all keys", true},
		{&pb.InternalRaftRequest{Txn: &pb.TxnRequest{Success: op(put("a"), put("b"), &pb.RangeRequest{Key: []byte("c")})}},
			planner.EntryTxn, "", "txn: 2 puts (a, b)", false},
		{&pb.InternalRaftRequest{Txn: &pb.TxnRequest{Success: op(put("a")), Failure: op(&pb.TxnRequest{Failure: op(del("a", ""))})}},
			planner.EntryTxn, "a", "txn: 1 put, 1 delete (a)", true},
		{&pb.InternalRaftRequest{Txn: &pb.TxnRequest{Success: op(put("a"), put("b"), put("c"), put("d"), put("e"))}},
			planner.EntryTxn, "", "txn: 5 puts (a, b, c, …)", false},
		{&pb.InternalRaftRequest{Compaction: &pb.CompactionRequest{Revision: 7}}, planner.EntryCompact, "", "compact at revision 7", true},
		{&pb.InternalRaftRequest{LeaseGrant: &pb.LeaseGrantRequest{ID: 255, TTL: 9}}, planner.EntryLease, "", "grant lease ff, 9 s", false},
		{&pb.InternalRaftRequest{LeaseRevoke: &pb.LeaseRevokeRequest{ID: 255}}, planner.EntryRevoke, "", "revoke lease ff, and delete its keys", true},
		{&pb.InternalRaftRequest{LeaseCheckpoint: &pb.LeaseCheckpointRequest{}}, planner.EntryInternal, "", "lease checkpoint", false},
		{&pb.InternalRaftRequest{AuthUserAdd: &pb.AuthUserAddRequest{Name: "bob", Password: secret, HashedPassword: secret}}, planner.EntryAuth, "", "add user bob", true},
		{&pb.InternalRaftRequest{AuthUserChangePassword: &pb.AuthUserChangePasswordRequest{Name: "bob", Password: secret}}, planner.EntryAuth, "", "change the password of user bob", true},
		{&pb.InternalRaftRequest{Authenticate: &pb.InternalAuthenticateRequest{Name: "bob", Password: secret, SimpleToken: secret}}, planner.EntryInternal, "", "log-in of user bob", false},
		{&pb.InternalRaftRequest{Alarm: &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: 1}}, planner.EntryAlarm, "", "raise alarm NOSPACE of member 1", true},
		{&pb.InternalRaftRequest{DowngradeInfoSet: &membershippb.DowngradeInfoSetRequest{Enabled: true, Ver: "3.6.0"}}, planner.EntryInternal, "", "begin a downgrade to 3.6.0", true},
		{&pb.InternalRaftRequest{ClusterVersionSet: &membershippb.ClusterVersionSetRequest{Ver: "3.7.0"}}, planner.EntryInternal, "", "cluster version 3.7.0", false},
		{&pb.InternalRaftRequest{ClusterMemberAttrSet: &membershippb.ClusterMemberAttrSetRequest{Member_ID: 10}}, planner.EntryInternal, "", "name and client URLs of member a", false},
		{&pb.InternalRaftRequest{ID: 1}, planner.EntryInternal, "", "something that this requorum can't read, 2 bytes", true},
	} {
		e := describeEntry(testEntry(5, 2, raftpb.EntryNormal, marshalEntry(t, c.request)))
		want := planner.TailEntry{Index: 5, Term: 2, Kind: c.kind, Key: c.key, Text: c.text, Risky: c.risky}
		if e != want {
			t.Errorf("%+v\nwant %+v", e, want)
		}
		if strings.Contains(e.Text+e.Key, secret) {
			t.Errorf("a value is shown: %+v", e)
		}
	}
	if e := describeEntry(testEntry(1, 1, raftpb.EntryNormal, nil)); e.Kind != planner.EntryInternal || e.Risky {
		t.Errorf("%+v", e)
	}
	long := describeEntry(testEntry(1, 1, raftpb.EntryNormal, marshalEntry(t, &pb.InternalRaftRequest{Put: put(strings.Repeat("é", 1<<20))})))
	if len(long.Key) > 2*maxKey || len(long.Text) > 3*maxKey {
		t.Errorf("%d %d", len(long.Key), len(long.Text))
	}
}

// What the v2 store was told, before 3.6 and before 3.0.
func TestDescribeV2(t *testing.T) {
	request := func(method, path string) []byte {
		b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 77)
		for i, s := range []string{method, path, "hunter2"} {
			b = protowire.AppendString(protowire.AppendTag(b, protowire.Number(i+2), protowire.BytesType), s)
		}
		return b
	}
	for _, c := range []struct {
		method, path, want string
		risky              bool
	}{
		{"PUT", "/0/members/8e9e05c52164694d/attributes", "v2 PUT /0/members/8e9e05c52164694d/attributes", false},
		{"PUT", "/1/a", "v2 put /1/a", false},
		{"DELETE", "/1/a", "v2 delete /1/a", true},
	} {
		bare := request(c.method, c.path)
		inner := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), bare)
		for _, data := range [][]byte{bare, inner} {
			if e := describeEntry(testEntry(1, 1, raftpb.EntryNormal, data)); e.Text != c.want || e.Risky != c.risky {
				t.Errorf("%+v, want %s", e, c.want)
			}
		}
	}
}

func TestDescribeChange(t *testing.T) {
	m := membership.Member{ID: 4, RaftAttributes: membership.RaftAttributes{PeerURLs: []string{"http://m4:2380"}}}
	member, _ := json.Marshal(m)
	promote, _ := json.Marshal(membership.ConfigChangeContext{Member: m, IsPromote: true})
	id := uint64(4)
	for _, c := range []struct {
		kind    raftpb.ConfChangeType
		context []byte
		want    string
	}{
		{raftpb.ConfChangeAddNode, member, "add member 4 http://m4:2380"},
		{raftpb.ConfChangeAddLearnerNode, member, "add learner 4 http://m4:2380"},
		{raftpb.ConfChangeAddNode, promote, "promote learner 4"},
		{raftpb.ConfChangeUpdateNode, member, "move member 4 to http://m4:2380"},
		{raftpb.ConfChangeRemoveNode, nil, "remove member 4"},
	} {
		data := marshalEntry(t, &raftpb.ConfChange{Type: &c.kind, NodeId: &id, Context: c.context})
		e := describeEntry(testEntry(1, 1, raftpb.EntryConfChange, data))
		if e.Text != c.want || !e.Risky || e.Kind != planner.EntryMembership {
			t.Errorf("%+v, want %s", e, c.want)
		}
	}
	kind := raftpb.ConfChangeRemoveNode
	data := marshalEntry(t, &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: &kind, NodeId: &id}}})
	if e := describeEntry(testEntry(1, 1, raftpb.EntryConfChangeV2, data)); !e.Risky || !strings.Contains(e.Text, "RemoveNode 4") {
		t.Errorf("%+v", e)
	}
}

// No bytes make it panic.
func TestDescribeGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	whole := marshalEntry(t, &pb.InternalRaftRequest{ID: 5, Txn: &pb.TxnRequest{Success: []*pb.RequestOp{
		{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k"), Value: []byte("v")}}}}}})
	for range 20_000 {
		b := bytes.Clone(whole)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		for kind := range raftpb.EntryType_name {
			describeEntry(testEntry(1, 1, raftpb.EntryType(kind), b[:r.IntN(len(b)+1)]))
		}
	}
}

// The course of a log against one that is kept whole.
func TestCourse(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		var c course
		var entries []*raftpb.Entry // from index 11 on
		term := uint64(1)
		for range 3*maxSums/10 + r.IntN(100) {
			if r.IntN(50) == 0 {
				term++
			}
			index := 11 + uint64(len(entries))
			if r.IntN(40) == 0 { // a new leader overwrites
				index -= min(uint64(r.IntN(30)), uint64(len(entries)))
				term++
			}
			for range 1 + r.IntN(20) {
				e := testEntry(index, term, raftpb.EntryNormal, []byte{byte(r.Uint32())})
				entries = append(entries[:index-11], e)
				c.add(e)
				index++
			}
		}
		l := walLog{exists: true, course: c}
		log := l.log()
		var sums []uint32
		var runs []planner.TermRun
		for _, e := range entries {
			sums = append(sums, entrySum(e))
			if n := len(runs); n == 0 || runs[n-1].Term != e.GetTerm() {
				runs = append(runs, planner.TermRun{Term: e.GetTerm(), First: e.GetIndex()})
			}
		}
		sums = sums[max(0, len(sums)-maxSums):]
		end := 10 + uint64(len(entries))
		if log.First != 11 || !slices.Equal(log.Terms, runs) || !slices.Equal(log.Sums, sums) ||
			log.SumsFirst != end+1-uint64(len(sums)) || l.endIndex() != end {
			t.Fatalf("%d entries: first %d, %d sums from %d, %d runs", len(entries), log.First, len(log.Sums), log.SumsFirst, len(log.Terms))
		}
		for range 100 {
			if e := entries[r.IntN(len(entries))]; l.termAt(e.GetIndex()) != e.GetTerm() {
				t.Fatal(e)
			}
		}
	}
}

func TestCourseEmpty(t *testing.T) {
	var l walLog
	if log := l.log(); log.First != 1 || log.SumsFirst != 1 || log.Terms != nil {
		t.Errorf("%+v", log)
	}
	// A leader sent its database: what was before leads nowhere.
	l.add(testEntry(7, 2, raftpb.EntryNormal, nil))
	l.snapshots, l.commit = []walSnapshot{{position: position{3, 20}}}, 20
	if log := l.log(); log.First != 21 || log.Terms != nil || l.endIndex() != 20 || l.endTerm() != 3 {
		t.Errorf("%+v", log)
	}
	l.add(testEntry(21, 3, raftpb.EntryNormal, nil))
	if log := l.log(); log.First != 21 || len(log.Sums) != 1 || len(log.Terms) != 1 {
		t.Errorf("%+v", log)
	}
}

func TestTailList(t *testing.T) {
	data := marshalEntry(t, &pb.InternalRaftRequest{Put: &pb.PutRequest{Key: []byte("k")}})
	compact := marshalEntry(t, &pb.InternalRaftRequest{Compaction: &pb.CompactionRequest{}})
	var l tailList
	fill := func(from, to uint64) {
		for i := from; i < to; i++ {
			d := data
			if i%4 == 0 {
				d = compact
			}
			l.add(testEntry(i, 1, raftpb.EntryNormal, d))
		}
	}
	check := func(wantRisky int) {
		t.Helper()
		list := l.entries()
		risky := 0
		for i, e := range list {
			if e.Risky {
				risky++
			}
			if i > 0 && e.Index <= list[i-1].Index {
				t.Fatal("not in order", i)
			}
		}
		if len(list) != maxTail || risky != wantRisky {
			t.Errorf("%d entries, %d risky, want %d", len(list), risky, wantRisky)
		}
	}
	fill(1, 3001)
	check(750)
	fill(1501, 3001) // overwritten
	check(750)
	fill(3001, 9001)
	check(maxTail)
	if list := l.entries(); list[maxTail-1].Index != 4*maxTail {
		t.Error(list[maxTail-1])
	}
}

// Who votes is in doubt only where the log's end changes that.
func TestUncommittedVoters(t *testing.T) {
	id := uint64(4)
	for _, c := range []struct {
		kinds []raftpb.ConfChangeType
		want  bool
	}{
		{nil, false},
		{[]raftpb.ConfChangeType{raftpb.ConfChangeAddLearnerNode}, false},
		{[]raftpb.ConfChangeType{raftpb.ConfChangeUpdateNode}, false},
		{[]raftpb.ConfChangeType{raftpb.ConfChangeAddNode}, true}, // a promotion is one, too
		{[]raftpb.ConfChangeType{raftpb.ConfChangeRemoveNode}, true},
		{[]raftpb.ConfChangeType{raftpb.ConfChangeAddNode, raftpb.ConfChangeAddLearnerNode}, true},
	} {
		l := walLog{changes: []change{{index: 10, data: marshalEntry(t, &raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: &id})}}}
		for i, k := range c.kinds {
			l.changes = append(l.changes, change{index: 11 + uint64(i), data: marshalEntry(t, &raftpb.ConfChange{Type: &k, NodeId: &id})})
		}
		if got := l.uncommittedVoters(10); got != c.want {
			t.Errorf("%v: %t", c.kinds, got)
		}
	}
	if l := (walLog{changes: []change{{index: 11, data: []byte("not a change")}}}); !l.uncommittedVoters(10) {
		t.Error("what can't be read is no reason to be sure")
	}
}
