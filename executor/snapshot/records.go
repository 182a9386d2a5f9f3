package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// contents is what the records of a db add up to.
type contents struct {
	buckets map[string]bool

	keyRevision int64 // the highest main revision in the key bucket
	compacted   int64 // the highest that was compacted or is to be
	keys        int   // live ones
	leases      int
	members     int
	alarms      int
	alarmList   []string // the first of them, "NOSPACE on 8e9e05c52164694d"
	records     int      // of all buckets
	version     string   // storage version, "" before 3.6

	// digest covers every record of the key, lease and auth buckets up to the
	// revision that was asked for. Its seeds are this process's: it compares two
	// files that were read here, and is faster than a hash for strangers.
	digest [2]uint64
}

// revision is the one that etcd starts with: not lower than what was compacted
// (server/storage/mvcc/kvstore.go restore), and 1 for an empty db.
func (c *contents) revision() int64 { return max(c.keyRevision, c.compacted, 1) }

// recordError says which record is wrong.
type recordError struct {
	bucket string
	key    []byte
	what   string
}

func (e *recordError) Error() string {
	return fmt.Sprintf("bucket %q, record %x: %s", e.bucket, e.key, e.what)
}

// readContents walks the whole file and decodes every record. The digest leaves
// out what was written to the key bucket after revision upTo. Strict is for bytes
// that no hash vouches for: records then have the form that etcd gives them.
func readContents(ctx context.Context, f *boltfile.File, upTo int64, strict bool) (*contents, error) {
	r := &reader{c: &contents{buckets: map[string]bool{}}, upTo: upTo, strict: strict, live: map[[2]uint64]struct{}{}}
	begin := func(bucket string) error {
		r.c.buckets[bucket] = true
		if strict && !etcdBuckets[bucket] {
			return fmt.Errorf("bucket %q is none of etcd's", bucket)
		}
		return nil
	}
	if strict {
		if err := f.ForEach(ctx, "meta", r.metaRecord); err != nil {
			return nil, err
		}
	}
	if err := f.Walk(ctx, begin, r.record); err != nil {
		return nil, err
	}
	r.c.keys = len(r.live)
	return r.c, nil
}

// etcdBuckets are all that etcd 3.4 to 3.7 make (server/storage/schema/bucket.go).
var etcdBuckets = map[string]bool{
	"key": true, "meta": true, "lease": true, "alarm": true, "cluster": true, "members": true, "members_removed": true,
	"auth": true, "authUsers": true, "authRoles": true, "test": true,
}

type reader struct {
	c      *contents
	upTo   int64
	strict bool
	// live has a 128-bit hash of every live key: 16 bytes for each, however long
	// the keys are.
	live map[[2]uint64]struct{}
	main int64
	sub  int64
	any  bool
	kv   keyValue
	mix  [40]byte
}

// mostAlarms is how many are told by name.
const mostAlarms = 8

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func (r *reader) record(bucket string, k, v []byte) error {
	r.c.records++
	var err error
	switch bucket {
	case "key":
		err = r.keyRecord(k, v)
	case "lease":
		err = r.leaseRecord(k, v)
	case "meta":
		err = r.metaRecord(bucket, k, v)
	case "alarm":
		r.c.alarms++
		var a etcdserverpb.AlarmMember
		if e := proto.Unmarshal(k, &a); e != nil {
			err = fmt.Errorf("no alarm: %w", e)
		} else if len(r.c.alarmList) < mostAlarms {
			r.c.alarmList = append(r.c.alarmList, fmt.Sprintf("%s on %x", a.GetAlarm(), a.GetMemberID()))
		}
	case "members":
		r.c.members++
		var m membership.Member
		if e := json.Unmarshal(v, &m); e != nil || m.ID.String() != string(k) {
			err = fmt.Errorf("no member of that ID (%v)", e)
		}
	case "auth":
		r.add(k, v)
		err = r.authRecord(string(k), v)
	case "cluster":
		if r.strict && string(k) != "clusterVersion" && string(k) != "downgrade" {
			err = errUnknownName
		}
	case "authUsers":
		var u authpb.User
		err = r.named(k, v, &u, func() []byte { return u.Name })
	case "authRoles":
		var role authpb.Role
		err = r.named(k, v, &role, func() []byte { return role.Name })
	}
	if err != nil {
		return &recordError{bucket, bytes.Clone(k), err.Error()}
	}
	return nil
}

var errUnknownName = errors.New("etcd has no record of that name there")

func (r *reader) authRecord(k string, v []byte) error {
	switch {
	case k == "authEnabled" && (len(v) != 1 || v[0] > 1):
		return fmt.Errorf("neither on nor off: %x", v)
	case k == "authRevision" && len(v) != 8:
		return fmt.Errorf("%d bytes", len(v))
	case r.strict && k != "authEnabled" && k != "authRevision":
		return errUnknownName
	}
	return nil
}

// named is a record that has its own key in it.
func (r *reader) named(k, v []byte, m proto.Message, name func() []byte) error {
	r.add(k, v)
	if err := proto.Unmarshal(v, m); err != nil {
		return err
	}
	if !bytes.Equal(k, name()) {
		return fmt.Errorf("it says that it is %q", name())
	}
	return nil
}

// add enters a record into the digest, with its lengths and its place.
func (r *reader) add(k, v []byte) {
	for i, seed := range seeds {
		le := binary.LittleEndian
		le.PutUint64(r.mix[0:], r.c.digest[i])
		le.PutUint64(r.mix[8:], uint64(len(k)))
		le.PutUint64(r.mix[16:], uint64(len(v)))
		le.PutUint64(r.mix[24:], maphash.Bytes(seed, k))
		le.PutUint64(r.mix[32:], maphash.Bytes(seed, v))
		r.c.digest[i] = maphash.Bytes(seed, r.mix[:])
	}
}

// The layout of a key in the key bucket (server/storage/mvcc/revision.go).
const (
	revisionLen  = 17
	tombstoneLen = 18
)

// keyRecord checks one revision of one key.
func (r *reader) keyRecord(k, v []byte) error {
	if len(k) != revisionLen && len(k) != tombstoneLen || k[8] != '_' {
		return fmt.Errorf("its key of %d bytes is no revision", len(k))
	}
	main, sub := int64(binary.BigEndian.Uint64(k)), int64(binary.BigEndian.Uint64(k[9:]))
	if main < 0 || sub < 0 {
		return fmt.Errorf("negative revision %d.%d", main, sub)
	}
	if r.any && (main < r.main || main == r.main && sub <= r.sub) {
		return fmt.Errorf("revision %d.%d does not come after %d.%d", main, sub, r.main, r.sub)
	}
	if r.strict && main > r.c.compacted && !r.follows(main, sub) {
		return fmt.Errorf("revision %d.%d follows %d.%d: what was between them is missing", main, sub, r.main, r.sub)
	}
	r.main, r.sub, r.any, r.c.keyRevision = main, sub, true, main
	if main <= r.upTo {
		r.add(k, v)
	}
	if len(k) == revisionLen && len(v) == 0 {
		return nil // what etcdutl's revision bump leaves: no key's revision
	}
	if err := r.kv.decode(v); err != nil {
		return fmt.Errorf("its value is no key-value record: %w", err)
	}
	if r.strict {
		if err := canonical(v); err != nil {
			return fmt.Errorf("its value has not the form of a key-value record: %w", err)
		}
	}
	if len(r.kv.key) == 0 {
		return fmt.Errorf("its value has no key")
	}
	id := [2]uint64{maphash.Bytes(seeds[0], r.kv.key), maphash.Bytes(seeds[1], r.kv.key)}
	if len(k) == tombstoneLen {
		return r.tombstone(k, id)
	}
	return r.put(main, id)
}

// follows is whether nothing can have been between the record before and this one.
// Every revision has a record 0, and none is left out: only a compaction takes some
// away. The first of all is 2.
func (r *reader) follows(main, sub int64) bool {
	if r.any && main == r.main {
		return sub == r.sub+1
	}
	return sub == 0 && main == max(r.main, r.c.compacted, 1)+1
}

// tombstone has only the key in its value (mvcc/kvstore_txn.go delete).
func (r *reader) tombstone(k []byte, id [2]uint64) error {
	if k[tombstoneLen-1] != 't' {
		return fmt.Errorf("unknown mark %q", k[tombstoneLen-1])
	}
	if r.kv.modRevision != 0 || r.kv.createRevision != 0 || r.kv.version != 0 || len(r.kv.value) != 0 {
		return fmt.Errorf("a deletion with a value")
	}
	delete(r.live, id)
	return nil
}

func (r *reader) put(main int64, id [2]uint64) error {
	kv := &r.kv
	if kv.modRevision != main {
		return fmt.Errorf("it says that it is of revision %d", kv.modRevision)
	}
	if kv.createRevision < 1 || kv.createRevision > main || kv.version < 1 {
		return fmt.Errorf("created at revision %d, version %d", kv.createRevision, kv.version)
	}
	r.live[id] = struct{}{}
	return nil
}

func (r *reader) leaseRecord(k, v []byte) error {
	var l leasepb.Lease
	if err := proto.Unmarshal(v, &l); err != nil {
		return fmt.Errorf("no lease: %w", err)
	}
	if len(k) != 8 || l.ID != int64(binary.BigEndian.Uint64(k)) {
		return fmt.Errorf("it says that it is lease %x", l.ID)
	}
	r.add(k, v)
	r.c.leases++
	return nil
}

func (r *reader) metaRecord(_ string, k, v []byte) error {
	switch name := string(k); name {
	case "consistent_index", "term":
		if len(v) != 8 {
			return fmt.Errorf("%s has %d bytes", name, len(v))
		}
	case "scheduledCompactRev", "finishedCompactRev":
		if len(v) != revisionLen {
			return fmt.Errorf("%s has %d bytes", name, len(v))
		}
		rev := int64(binary.BigEndian.Uint64(v))
		if rev < 0 {
			return fmt.Errorf("negative revision %d", rev)
		}
		r.c.compacted = max(r.c.compacted, rev)
	case "storageVersion":
		r.c.version = string(v)
	default:
		if r.strict && name != "confState" {
			return errUnknownName
		}
	}
	return nil
}
