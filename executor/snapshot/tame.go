package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/etcd"
)

// tame makes a throwaway copy harmless and readable. It is only ever called on
// Trial's own copy, whose structure Restore has proven.
//
//   - Members are at an address where nobody can be: etcd dials what it has
//     stored before force-new-cluster has expelled them (etcdserver/server.go
//     NewServer, AddPeer). From 3.6 on they are in the db, before that in the
//     .snap file.
//   - Leases last an hour: one of two seconds would take its keys along before
//     they are counted (S11).
//   - Auth is off and alarms are gone: the trial has no password, and under
//     CORRUPT etcd answers nothing.
func tame(dataDir, walDir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	db, err := bolt.Open(filepath.Join(dataDir, "member", "snap", "db"), 0o600,
		&bolt.Options{Timeout: time.Second, NoFreelistSync: true, NoSync: true})
	if err != nil {
		return err
	}
	var members []*membership.Member
	err = db.Update(func(tx *bolt.Tx) error {
		if members, err = hideMembers(tx); err != nil {
			return err
		}
		if err := keepLeases(tx); err != nil {
			return err
		}
		return openDoors(tx)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return hideInSnap(dataDir, walDir, members)
}

// nowhere is a peer URL that can't be dialled: port 9 of 127.0.0.1 is privileged
// and discards.
const nowhere = "http://127.0.0.1:9"

func hideMembers(tx *bolt.Tx) ([]*membership.Member, error) {
	b := tx.Bucket([]byte("members"))
	if b == nil {
		return nil, nil
	}
	var list []*membership.Member
	err := b.ForEach(func(_, v []byte) error {
		m := &membership.Member{}
		list = append(list, m)
		return json.Unmarshal(v, m)
	})
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		m.PeerURLs = []string{nowhere}
		v, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		if err := b.Put([]byte(m.ID.String()), v); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func keepLeases(tx *bolt.Tx) error {
	b := tx.Bucket([]byte("lease"))
	if b == nil {
		return nil
	}
	longer := map[string][]byte{}
	err := b.ForEach(func(k, v []byte) error {
		l := &leasepb.Lease{}
		if err := proto.Unmarshal(v, l); err != nil {
			return err
		}
		l.TTL, l.RemainingTTL = max(l.TTL, 3600), 0
		v, err := proto.Marshal(l)
		longer[string(k)] = v
		return err
	})
	for k, v := range longer {
		err = errors.Join(err, b.Put([]byte(k), v))
	}
	return err
}

func openDoors(tx *bolt.Tx) error {
	if b := tx.Bucket([]byte("auth")); b != nil {
		if err := b.Put([]byte("authEnabled"), []byte{0}); err != nil {
			return err
		}
	}
	b := tx.Bucket([]byte("alarm"))
	if b == nil {
		return nil
	}
	var keys []string
	err := b.ForEach(func(k, _ []byte) error {
		keys = append(keys, string(k))
		return nil
	})
	for _, k := range keys {
		err = errors.Join(err, b.Delete([]byte(k)))
	}
	return err
}

// hideInSnap rewrites the membership that the restore's .snap file has (etcdutl
// saveWALAndSnap).
func hideInSnap(dataDir, walDir string, members []*membership.Member) error {
	dir := filepath.Join(dataDir, "member", "snap")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	cluster, _, err := etcd.Identity(dataDir, walDir)
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(cluster, 16, 64)
	if err != nil {
		return err
	}
	lg := zap.NewNop()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".snap") {
			continue
		}
		s, err := snap.Read(lg, filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		s.Data = etcdserver.GetMembershipInfoInV2Format(lg, membership.NewClusterFromMembers(lg, types.ID(id), members))
		if err := snap.New(lg, dir).SaveSnap(s); err != nil {
			return err
		}
	}
	return nil
}
