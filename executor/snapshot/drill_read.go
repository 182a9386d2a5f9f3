package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// expectation is what a file says that an etcd has to serve.
type expectation struct {
	revision     int64
	keys         int
	digest       keySum
	largest      int64 // bytes of the largest record
	hashKV       uint32
	hashable     bool
	leases       []int64
	users, roles []string
	auth         bool
	alarms       []string
}

// expectationOf reads a proven file: 48 bytes of memory for each live key.
func expectationOf(ctx context.Context, path string, size int64, tell Progress) (*expectation, error) {
	db, f, err := openProven(path, size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tell.tell("reading what has to come back", 0, size)
	e := &expectation{}
	in := &Inspection{} // for the few buckets whose records both want
	if err := in.readSmall(ctx, db); err != nil {
		return nil, err
	}
	e.auth, e.alarms, e.hashable = in.Auth, in.AlarmList, !in.Compacting
	c, err := e.readMeta(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := e.readKeys(ctx, db, c); err != nil {
		return nil, err
	}
	for bucket, fn := range map[string]func(k []byte){
		"lease":     func(k []byte) { e.leases = append(e.leases, int64(binary.BigEndian.Uint64(k))) },
		"authUsers": func(k []byte) { e.users = append(e.users, string(k)) },
		"authRoles": func(k []byte) { e.roles = append(e.roles, string(k)) },
	} {
		if err := db.ForEach(ctx, bucket, func(_ string, k, _ []byte) error { fn(k); return nil }); err != nil {
			return nil, err
		}
	}
	slices.Sort(e.leases)
	tell.tell("reading what has to come back", size, size)
	return e, nil
}

// readMeta gives the revision up to which the file is compacted.
func (e *expectation) readMeta(ctx context.Context, db *boltfile.File) (compacted int64, err error) {
	err = db.ForEach(ctx, "meta", func(_ string, k, v []byte) error {
		if name := string(k); name == "finishedCompactRev" || name == "scheduledCompactRev" {
			compacted = max(compacted, int64(binary.BigEndian.Uint64(v)))
		}
		return nil
	})
	e.revision = max(compacted, 1)
	return compacted, err
}

// liveKey is what is known of a live key.
type liveKey struct {
	digest keySum
	at     [16]byte // its revision
}

// readKeys adds up the live keys, and hashes the records as etcd does.
func (e *expectation) readKeys(ctx context.Context, db *boltfile.File, compacted int64) error {
	names, live := newKeyNames(), map[[2]uint64]liveKey{}
	var bumped [16]byte // where a revision bump left its record: to etcd it is a key without a name
	err := forEachChange(ctx, db, func(c change) error {
		e.revision, e.largest = max(e.revision, c.main), max(e.largest, int64(len(c.value)))
		if c.kv == nil {
			bumped = c.at()
			return nil
		}
		id := names.of(c.kv.Key)
		if old, was := live[id]; was {
			e.digest.remove(old.digest)
			delete(live, id)
		}
		if !c.tombstone {
			k := liveKey{digest: digestOf(c.kv), at: c.at()}
			live[id] = k
			e.digest.add(k.digest)
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.keys = len(live)
	e.hashKV, err = hashKV(ctx, db, compacted, func(c change) bool {
		if c.kv == nil {
			return bumped == c.at()
		}
		return live[names.of(c.kv.Key)].at == c.at()
	}, len(live) > 0 || bumped != [16]byte{})
	return err
}

// hashKV follows server/storage/mvcc/hash.go WriteKeyValue: what was compacted
// counts only where it is what a key still is, and a deletion at the compacted
// revision never does.
func hashKV(ctx context.Context, db *boltfile.File, compacted int64, isLive func(change) bool, anyLive bool) (uint32, error) {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	h.Write([]byte("key"))
	err := forEachChange(ctx, db, func(c change) error {
		switch {
		case c.main <= compacted && anyLive && !isLive(c), c.main == compacted && c.tombstone:
			return nil
		}
		h.Write(c.key)
		h.Write(c.value)
		return nil
	})
	return h.Sum32(), err
}

// pageBytes bounds one reply, as far as the largest record lets it.
const pageBytes = 16 << 20

// read takes every key from every member's own store and compares, then the
// leases, users and roles.
func (d *drill) read(ctx context.Context) error {
	ctx, end := d.whileAllRun(ctx)
	defer end()
	for i, m := range d.members {
		got, bytes, revision, err := d.readAll(ctx, m, i)
		if err != nil {
			return ended(ctx, fmt.Errorf("%s: reading keys: %w", m.Name, err))
		}
		w := d.want
		switch {
		case revision != w.revision:
			return fmt.Errorf("%s serves revision %d, and the file is at %d", m.Name, revision, w.revision)
		case got.keys != w.keys:
			return fmt.Errorf("%s serves %d keys, and the file has %d", m.Name, got.keys, w.keys)
		case got.digest != w.digest:
			return fmt.Errorf("%s serves other values than the file has: their digest is %s, not %s", m.Name, got.digest, w.digest)
		}
		if err := d.compareRest(ctx, m); err != nil {
			return ended(ctx, fmt.Errorf("%s: %w", m.Name, err))
		}
		d.res.Revision, d.res.Keys, d.res.Bytes, d.res.Digest = revision, got.keys, bytes, got.digest.String()
	}
	d.res.Auth, d.res.Alarms = d.want.auth, d.want.alarms
	return nil
}

// ended is err, or why an etcd ended if that was behind it.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (d *drill) readAll(ctx context.Context, m drillMember, i int) (got expectation, bytes, revision int64, err error) {
	limit := min(max(pageBytes/max(d.want.largest, 1), 1), 5000)
	total := int64(d.want.keys * len(d.members))
	for from := "\x00"; ; { // a revision bump leaves a key that is empty, users' never are
		opts := []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithLimit(limit), clientv3.WithRev(revision)}
		if revision > 0 {
			opts = append(opts, clientv3.WithSerializable())
		}
		r, err := m.cli.Get(ctx, from, opts...)
		if err != nil {
			return got, bytes, revision, err
		}
		if revision == 0 {
			revision = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			got.keys++
			bytes += int64(len(kv.Key) + len(kv.Value))
			got.digest.add(digestOf(kv))
		}
		d.tell.tell("reading every key", int64(i*d.want.keys+got.keys), total)
		if !r.More || len(r.Kvs) == 0 {
			return got, bytes, revision, nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

// compareRest compares leases, users and roles.
func (d *drill) compareRest(ctx context.Context, m drillMember) error {
	l, err := m.cli.Leases(ctx)
	if err != nil {
		return fmt.Errorf("listing leases: %w", err)
	}
	var leases []int64
	for _, s := range l.Leases {
		leases = append(leases, int64(s.ID))
	}
	slices.Sort(leases)
	if !slices.Equal(leases, d.want.leases) {
		return fmt.Errorf("it has %d leases, and not the %d of the file", len(leases), len(d.want.leases))
	}
	users, err := m.cli.UserList(ctx)
	if err != nil {
		return fmt.Errorf("listing users: %w", err)
	}
	roles, err := m.cli.RoleList(ctx)
	if err != nil {
		return fmt.Errorf("listing roles: %w", err)
	}
	for _, c := range []struct {
		what      string
		got, want []string
	}{{"users", users.Users, d.want.users}, {"roles", roles.Roles, d.want.roles}} {
		got, want := slices.Sorted(slices.Values(c.got)), slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			return fmt.Errorf("its %s are %s, and the file has %s", c.what, strings.Join(got, ", "), strings.Join(want, ", "))
		}
	}
	d.res.Leases, d.res.Users, d.res.Roles = len(leases), len(users.Users), len(roles.Roles)
	return nil
}

// hash compares HashKV of the members with each other and with the file.
func (d *drill) hash(ctx context.Context) error {
	ctx, end := d.whileAllRun(ctx)
	defer end()
	d.tell.tell("hashing the key space", 0, int64(len(d.members)))
	for i, m := range d.members {
		r, err := m.cli.HashKV(ctx, m.client, d.res.Revision)
		if err != nil {
			return ended(ctx, fmt.Errorf("%s: HashKV: %w", m.Name, err))
		}
		if i > 0 && r.Hash != d.res.HashKV {
			return fmt.Errorf("%s has HashKV %d, and %s has %d", m.Name, r.Hash, d.members[0].Name, d.res.HashKV)
		}
		d.res.HashKV = r.Hash
		d.tell.tell("hashing the key space", int64(i+1), int64(len(d.members)))
	}
	if d.want.hashable && d.res.HashKV != d.want.hashKV {
		return fmt.Errorf("HashKV is %d, and the records of the file give %d", d.res.HashKV, d.want.hashKV)
	}
	d.res.HashOfFile = d.want.hashable
	return nil
}
