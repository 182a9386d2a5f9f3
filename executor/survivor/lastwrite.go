package survivor

import (
	"bytes"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/raft/v3/raftpb"
)

// lastWrite holds the db's newest record to the entries that it says it has applied:
// the last of them that wrote for certain must have left it. A consistent_index that
// is too low would have what the db holds applied to it a second time, one that is
// too high would leave entries out.
func lastWrite(entries []*raftpb.Entry, newest *mvccpb.KeyValue, deleted bool) error {
	for _, e := range slices.Backward(entries) {
		r, err := request(e)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.GetIndex(), err)
		}
		if r == nil {
			continue
		}
		did, certain := wrote(r, newest, deleted)
		if did {
			return nil
		}
		if certain {
			return fmt.Errorf("the db's newest record, of key %q, is not what entry %d of the log wrote, the last that it says it has applied: "+
				"its consistent_index is not that of its records", newest.Key, e.GetIndex())
		}
	}
	return nil
}

// wrote is whether a request may have left this record as the newest one, and
// whether it wrote for certain.
func wrote(r *etcdserverpb.InternalRaftRequest, newest *mvccpb.KeyValue, deleted bool) (did, certain bool) {
	switch {
	case r.Put != nil:
		p := r.Put
		return didPut(p, newest, deleted), p.Lease == 0 && !p.IgnoreLease && !p.IgnoreValue
	case r.DeleteRange != nil:
		return deleted && inRange(r.DeleteRange, newest.Key), false
	case r.Txn != nil:
		return didTxn(r.Txn, newest, deleted), false
	case r.LeaseRevoke != nil:
		return deleted, false
	}
	return false, false
}

func didPut(p *etcdserverpb.PutRequest, newest *mvccpb.KeyValue, deleted bool) bool {
	return !deleted && bytes.Equal(p.Key, newest.Key) && (p.IgnoreValue || bytes.Equal(p.Value, newest.Value))
}

func inRange(d *etcdserverpb.DeleteRangeRequest, key []byte) bool {
	switch {
	case len(d.RangeEnd) == 0:
		return bytes.Equal(d.Key, key)
	case bytes.Equal(d.RangeEnd, []byte{0}):
		return bytes.Compare(key, d.Key) >= 0
	}
	return bytes.Compare(key, d.Key) >= 0 && bytes.Compare(key, d.RangeEnd) < 0
}

func didTxn(t *etcdserverpb.TxnRequest, newest *mvccpb.KeyValue, deleted bool) bool {
	for _, op := range slices.Concat(t.Success, t.Failure) {
		switch r := op.Request.(type) {
		case *etcdserverpb.RequestOp_RequestPut:
			if didPut(r.RequestPut, newest, deleted) {
				return true
			}
		case *etcdserverpb.RequestOp_RequestDeleteRange:
			if deleted && inRange(r.RequestDeleteRange, newest.Key) {
				return true
			}
		case *etcdserverpb.RequestOp_RequestTxn:
			if didTxn(r.RequestTxn, newest, deleted) {
				return true
			}
		}
	}
	return false
}
