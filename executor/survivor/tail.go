package survivor

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// hour is how long leases last at least while the copy runs, in seconds.
const hour = 3600

// tail is what is in the entries that are still to be applied.
type tail struct {
	leases  []leaseEntry // in order
	auth    bool         // something about auth
	alarm   bool         // an alarm raised or disarmed
	version string       // the cluster's, where it was set
}

// leaseEntry grants a lease, or revokes it where ttl is 0 and grant is false.
type leaseEntry struct {
	id, ttl int64
	grant   bool
}

// harmless returns the entries with the same indexes and terms, but without
// anything about members, and with long leases.
func (t *tail) harmless(entries []*raftpb.Entry) ([]*raftpb.Entry, error) {
	list := make([]*raftpb.Entry, 0, len(entries))
	for _, e := range entries {
		data, err := t.entry(e)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.GetIndex(), err)
		}
		list = append(list, &raftpb.Entry{
			Term: new(e.GetTerm()), Index: new(e.GetIndex()), Type: raftpb.EntryNormal.Enum(), Data: data,
		})
	}
	return list, nil
}

// entry returns what takes the place of the entry's data; nothing makes it an
// empty one, as every new leader writes them.
func (t *tail) entry(e *raftpb.Entry) ([]byte, error) {
	r, err := request(e)
	if r == nil || err != nil {
		return nil, err
	}
	t.note(r)
	switch {
	case r.ClusterMemberAttrSet != nil:
		return nil, nil // etcd panics where it does not know the member (UpdateAttributes)
	case r.LeaseCheckpoint != nil:
		return nil, nil // it would let the lease end within the time that was left of it
	case r.LeaseGrant != nil:
		t.leases = append(t.leases, leaseEntry{r.LeaseGrant.ID, r.LeaseGrant.TTL, true})
		r.LeaseGrant.TTL = max(r.LeaseGrant.TTL, hour)
		return proto.Marshal(r)
	case r.LeaseRevoke != nil:
		t.leases = append(t.leases, leaseEntry{id: r.LeaseRevoke.ID})
	}
	return e.Data, nil
}

func (t *tail) note(r *etcdserverpb.InternalRaftRequest) {
	if r.Alarm != nil {
		t.alarm = t.alarm || r.Alarm.Action != etcdserverpb.AlarmRequest_GET
	}
	if r.AuthEnable != nil || r.AuthDisable != nil {
		t.auth = true
	}
	if r.ClusterVersionSet != nil {
		t.version = r.ClusterVersionSet.Ver
	}
}

// request decodes an entry; nil for one that is about members, or empty, or of
// etcd's v2 API, whose store no snapshot has.
func request(e *raftpb.Entry) (*etcdserverpb.InternalRaftRequest, error) {
	if e.GetType() != raftpb.EntryNormal || len(e.Data) == 0 {
		return nil, nil
	}
	v2, err := isV2(e.Data)
	if v2 || err != nil {
		return nil, err
	}
	r := &etcdserverpb.InternalRaftRequest{}
	if err := proto.Unmarshal(e.Data, r); err != nil {
		return nil, fmt.Errorf("of a kind that this requorum does not know: %w", err)
	}
	return r, nil
}

// isV2 finds field 2: that was the v2 request in InternalRaftRequest until 3.6,
// and is the method in a v2 request by itself (which a 3.5 still publishes its
// attributes with, in a cluster that was at 3.4).
func isV2(data []byte) (bool, error) {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return false, protowire.ParseError(n)
		}
		if num == 2 {
			return true, nil
		}
		m := protowire.ConsumeFieldValue(num, typ, data[n:])
		if m < 0 {
			return false, protowire.ParseError(m)
		}
		data = data[n+m:]
	}
	return false, nil
}
