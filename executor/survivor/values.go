package survivor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// putValue is the last put of a key that the log has.
type putValue struct {
	index uint64
	sum   [sha256.Size]byte
}

// lastPuts are the keys whose current value must be the one of their last put in
// the log. Left out is whatever may have been refused or changed otherwise.
func lastPuts(entries []*raftpb.Entry) (map[string]putValue, error) {
	puts := map[string]putValue{}
	for _, e := range entries {
		r, err := request(e)
		switch {
		case err != nil:
			return nil, fmt.Errorf("entry %d: %w", e.GetIndex(), err)
		case r == nil:
		case r.Put != nil:
			notePut(puts, e.GetIndex(), r.Put)
		case r.DeleteRange != nil:
			forget(puts, r.DeleteRange)
		case r.Txn != nil:
			forgetTxn(puts, r.Txn)
		}
	}
	return puts, nil
}

// notePut: with a lease, a put is refused where that has ended, and the key ends
// with it.
func notePut(puts map[string]putValue, index uint64, p *etcdserverpb.PutRequest) {
	if p.IgnoreValue || p.IgnoreLease || p.Lease != 0 {
		delete(puts, string(p.Key))
		return
	}
	puts[string(p.Key)] = putValue{index, sha256.Sum256(p.Value)}
}

func forget(puts map[string]putValue, d *etcdserverpb.DeleteRangeRequest) {
	if len(d.RangeEnd) == 0 {
		delete(puts, string(d.Key))
		return
	}
	for k := range puts { // an end of one zero byte means all that follow
		if k >= string(d.Key) && (bytes.Equal(d.RangeEnd, []byte{0}) || k < string(d.RangeEnd)) {
			delete(puts, k)
		}
	}
}

func forgetTxn(puts map[string]putValue, t *etcdserverpb.TxnRequest) {
	for _, ops := range [][]*etcdserverpb.RequestOp{t.Success, t.Failure} {
		for _, op := range ops {
			switch r := op.Request.(type) {
			case *etcdserverpb.RequestOp_RequestPut:
				delete(puts, string(r.RequestPut.GetKey()))
			case *etcdserverpb.RequestOp_RequestDeleteRange:
				forget(puts, r.RequestDeleteRange)
			case *etcdserverpb.RequestOp_RequestTxn:
				forgetTxn(puts, r.RequestTxn)
			}
		}
	}
}

// checkValues holds the db's records to each other, and to the puts that the log
// has: the only witness of values that there is. With auth or alarms a put in the
// log may have been refused when it was applied, and says nothing.
func (j *job) checkValues(ctx context.Context, path string, size int64, entries []*raftpb.Entry) error {
	puts := map[string]putValue{}
	witness := !j.db.auth && !j.src.tail.auth && j.db.alarms == 0 && !j.src.tail.alarm && !authOrAlarm(entries)
	if witness {
		var err error
		if puts, err = lastPuts(entries); err != nil {
			return err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	db, err := boltfile.Open(f, size)
	if err != nil {
		return err
	}
	h := history{last: map[[16]byte]past{}}
	if err := db.ForEach(ctx, "meta", h.meta); err != nil {
		return err
	}
	same := map[string]bool{}
	var newest *mvccpb.KeyValue
	var revision int64
	deleted := false
	err = db.ForEach(ctx, "key", func(_ string, k, v []byte) error {
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(v, &kv); err != nil || len(kv.Key) == 0 { // empty is what etcdutl's bump leaves
			return err
		}
		newest, deleted, revision = &kv, len(k) == 18, int64(binary.BigEndian.Uint64(k))
		if put, ok := puts[string(kv.Key)]; ok { // the records are in the order of their revisions
			same[string(kv.Key)] = len(k) == 17 && kv.Lease == 0 && sha256.Sum256(kv.Value) == put.sum
		}
		return h.record(k, &kv)
	})
	for k, put := range puts {
		if err == nil && !same[k] {
			err = fmt.Errorf("key %q has not the value that entry %d of the log gave it: the db is damaged", k, put.index)
		}
	}
	// A compaction up to there may have taken newer ones away.
	if err == nil && witness && newest != nil && revision > h.compacted {
		err = lastWrite(entries, newest, deleted)
	}
	return err
}

// history follows each key through its revisions: a changed name, version or
// revision leaves a gap there.
type history struct {
	compacted int64
	last      map[[16]byte]past // by a hash of the key
}

// past is a key's newest record so far; no version for a deletion.
type past struct{ created, version int64 }

func (h *history) meta(_ string, k, v []byte) error {
	if n := string(k); (n == "scheduledCompactRev" || n == "finishedCompactRev") && len(v) >= 8 {
		h.compacted = max(h.compacted, int64(binary.BigEndian.Uint64(v)))
	}
	return nil
}

// record checks that kv comes after what was there of its key. What came before
// it may be compacted away, where it is not above that revision itself.
func (h *history) record(k []byte, kv *mvccpb.KeyValue) error {
	main := int64(binary.BigEndian.Uint64(k))
	sum := sha256.Sum256(kv.Key)
	id := [16]byte(sum[:16])
	before, now := h.last[id], past{kv.CreateRevision, kv.Version}
	ok := before.version > 0
	if len(k) == 17 {
		ok = now.version == 1 && now.created == main && before.version == 0 ||
			now.version == before.version+1 && now.created == before.created
	}
	if !ok && main > h.compacted {
		return fmt.Errorf("key %q at revision %d (version %d, created at %d) does not go on from what is before it "+
			"(version %d, created at %d): the db is damaged", kv.Key, main, now.version, now.created, before.version, before.created)
	}
	h.last[id] = now
	return nil
}

// authOrAlarm is whether auth or an alarm was ever changed in these entries.
func authOrAlarm(entries []*raftpb.Entry) bool {
	var t tail
	_, err := t.harmless(entries)
	return err != nil || t.auth || t.alarm
}

var errNotOurs = errors.New("it is there already, without a record that says that a recovery made it")
