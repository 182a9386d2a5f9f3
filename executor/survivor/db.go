package survivor

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// nowhere is a peer URL that can't be dialled: port 9 of 127.0.0.1 is privileged
// and discards.
const nowhere = "http://127.0.0.1:9"

// dbState is what matters here of a db.
type dbState struct {
	size            int64
	consistentIndex uint64
	storageVersion  string // "" before 3.6
	clusterVersion  string
	auth            bool
	alarms          int
	lease           map[int64]*leasepb.Lease
	ids             []types.ID // of members and of removed ones
}

// readDBState reads a db without bbolt: nothing has proven it yet. One that does
// not exist is empty.
func readDBState(path string) (dbState, error) {
	s := dbState{lease: map[int64]*leasepb.Lease{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	s.size = info.Size()
	b, err := boltfile.Open(f, s.size)
	if err == nil {
		err = s.read(b)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *dbState) read(b *boltfile.File) error {
	if err := b.MetaError(); err != nil {
		return fmt.Errorf("%w: bbolt would fall back to the transaction before", err)
	}
	for _, name := range []string{"meta", "cluster", "auth", "alarm", "lease", "members", "members_removed"} {
		if err := b.ForEach(context.Background(), name, s.record); err != nil {
			return err
		}
	}
	return nil
}

func (s *dbState) record(bucket string, k, v []byte) error {
	switch bucket + "/" + string(k) {
	case "meta/consistent_index":
		if len(v) != 8 {
			return fmt.Errorf("consistent_index has %d bytes", len(v))
		}
		s.consistentIndex = binary.BigEndian.Uint64(v)
	case "meta/storageVersion":
		s.storageVersion = string(v)
	case "cluster/clusterVersion":
		s.clusterVersion = string(v)
	case "auth/authEnabled":
		s.auth = len(v) == 1 && v[0] == 1
	}
	switch bucket {
	case "alarm":
		s.alarms++
	case "lease":
		l := &leasepb.Lease{}
		if err := proto.Unmarshal(v, l); err != nil {
			return fmt.Errorf("lease %x: %w", k, err)
		}
		s.lease[l.ID] = l
	case "members", "members_removed":
		id, err := strconv.ParseUint(string(k), 16, 64)
		if err != nil {
			return fmt.Errorf("%q is no member's ID", k)
		}
		s.ids = append(s.ids, types.ID(id))
	}
	return nil
}

// longLeases are the leases that are too short to be safe, made longer.
func (s dbState) longLeases() map[int64]*leasepb.Lease {
	long := maps.Clone(s.lease)
	for id, l := range long {
		long[id] = &leasepb.Lease{ID: id, TTL: max(l.TTL, hour)}
	}
	return long
}

// tx changes a db of ours.
type tx struct{ *bolt.Tx }

// editDB changes the db of the copy, whose structure was proven.
func editDB(path string, change func(*tx) error) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(t *bolt.Tx) error { return change(&tx{t}) })
	return errors.Join(err, db.Close())
}

func (t *tx) put(bucket, key string, value []byte) error {
	b, err := t.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	return b.Put([]byte(key), value)
}

// onlyMember makes m the one member (server/storage/schema/membership.go).
func (t *tx) onlyMember(m *membership.Member) error {
	if b := t.Bucket([]byte("members")); b != nil {
		if err := t.DeleteBucket([]byte("members")); err != nil {
			return err
		}
	}
	if b := t.Bucket([]byte("members_removed")); b != nil {
		if err := b.Delete([]byte(m.ID.String())); err != nil {
			return err
		}
	}
	v, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return t.put("members", m.ID.String(), v)
}

// remove lists members as removed for good.
func (t *tx) remove(ids []types.ID) error {
	for _, id := range ids {
		if err := t.put("members_removed", id.String(), []byte("removed")); err != nil {
			return err
		}
	}
	return nil
}

// consistentIndex changes anything only where the log begins at the very start.
func (t *tx) consistentIndex(p position) error {
	b := t.Bucket([]byte("meta"))
	if b == nil {
		return errors.New("the db has no meta bucket")
	}
	if v := b.Get([]byte("consistent_index")); len(v) == 8 && binary.BigEndian.Uint64(v) == p.index {
		return nil
	}
	return errors.Join(b.Put([]byte("consistent_index"), binary.BigEndian.AppendUint64(nil, p.index)),
		b.Put([]byte("term"), binary.BigEndian.AppendUint64(nil, p.term)))
}

// leases writes these leases over those of the same IDs.
func (t *tx) leases(list map[int64]*leasepb.Lease) error {
	for id, l := range list {
		v, err := proto.Marshal(l)
		if err != nil {
			return err
		}
		if err := t.put("lease", string(binary.BigEndian.AppendUint64(nil, uint64(id))), v); err != nil {
			return err
		}
	}
	return nil
}
