package etcd

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// v2Put is a request to the v2 store as etcd 3.4 and 3.5 write it: by itself, or as field 2
// of another request.
func v2Put(inside bool) []byte {
	var r []byte
	r = protowire.AppendTag(r, 1, protowire.VarintType)
	r = protowire.AppendVarint(r, 7587873)
	r = protowire.AppendTag(r, 2, protowire.BytesType)
	r = protowire.AppendString(r, "PUT")
	r = protowire.AppendTag(r, 3, protowire.BytesType)
	r = protowire.AppendString(r, "/0/members/8e9e05c52164694d/attributes")
	if !inside {
		return r
	}
	out := protowire.AppendTag(nil, 2, protowire.BytesType)
	return protowire.AppendBytes(out, r)
}

// TestOldFormat: entries that 3.7 can't read are told from those that it can.
func TestOldFormat(t *testing.T) {
	put, err := proto.Marshal(&pb.InternalRaftRequest{Header: &pb.RequestHeader{ID: 9}, Put: &pb.PutRequest{Key: []byte("k"), Value: []byte("v")}})
	if err != nil {
		t.Fatal(err)
	}
	withID, err := proto.Marshal(&pb.InternalRaftRequest{ID: 12, LeaseRevoke: &pb.LeaseRevokeRequest{ID: 5}})
	if err != nil {
		t.Fatal(err)
	}
	normal, change := raftpb.EntryNormal, raftpb.EntryConfChange
	for _, tt := range []struct {
		name string
		typ  raftpb.EntryType
		data []byte
		old  bool
	}{
		{"a request by itself", normal, v2Put(false), true},
		{"inside another", normal, v2Put(true), true},
		{"a put of 3.4 and later", normal, put, false},
		{"one with an ID", normal, withID, false},
		{"an empty one", normal, nil, false},
		{"a change of the members", change, v2Put(false), false},
	} {
		typ := tt.typ
		if got := oldFormat(&raftpb.Entry{Type: &typ, Data: tt.data}); got != tt.old {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.old)
		}
	}
}
