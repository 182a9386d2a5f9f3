package snapshot

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot/boltfile"
	"github.com/requorum/requorum/planner"
)

// InspectOptions say what Inspect is to look for.
type InspectOptions struct {
	Want Want
	// Prefixes is how many are listed by count and by size; 0 for none.
	Prefixes int
	// Separator ends a prefix within a key, "/" as a rule.
	Separator string
}

// Inspection is what a proven snapshot holds.
type Inspection struct {
	planner.SnapshotObservation
	// Starts are the minors of etcd that start from it, "3.7".
	Starts         []string `json:"starts"`
	ClusterVersion string   `json:"cluster_version,omitempty"`
	// Index and Term are of the last log entry that is applied in it; 0 where the
	// db does not say.
	Index uint64 `json:"raft_index"`
	Term  uint64 `json:"raft_term"`
	// Compacted is the revision up to which history is gone, or is to go where
	// Compacting is true.
	Compacted  int64 `json:"compacted_revision"`
	Compacting bool  `json:"compacting,omitempty"`
	// Records counts those of all buckets, as etcdutl snapshot status does.
	Records int `json:"records"`
	// History counts the revisions and deletions that are no live key.
	History      int   `json:"history"`
	HistoryBytes int64 `json:"history_bytes"`
	LiveBytes    int64 `json:"live_bytes"` // of live keys and their values
	InUse        int64 `json:"size_in_use"`

	MemberList  []SnapshotMember `json:"member_list"`
	Removed     int              `json:"removed_members"`
	ShortestTTL int64            `json:"shortest_lease_ttl,omitempty"` // seconds
	LongestTTL  int64            `json:"longest_lease_ttl,omitempty"`
	AlarmList   []string         `json:"alarm_list"` // "NOSPACE on 8e9e05c52164694d"
	Auth        bool             `json:"auth_enabled"`
	Users       int              `json:"users"`
	Roles       int              `json:"roles"`

	ByCount []Prefix `json:"prefixes_by_count"`
	BySize  []Prefix `json:"prefixes_by_size"`
	// PrefixesCut says that there were more prefixes than are kept track of: the
	// keys of the others are counted where they begin alike.
	PrefixesCut bool `json:"prefixes_cut,omitempty"`
}

// SnapshotMember is a member as the db lists it.
type SnapshotMember struct {
	Name       string   `json:"name"` // "" for one that never started
	ID         string   `json:"id"`
	PeerURLs   []string `json:"peer_urls"`
	ClientURLs []string `json:"client_urls"`
	Learner    bool     `json:"learner"`
}

// Inspect proves the snapshot at path as Verify does, and tells what is in it. It
// changes nothing and needs memory for one page, 24 bytes for each live key and
// a bounded number of prefixes. progress may be nil. Refusal tells why a file is
// not taken.
func Inspect(ctx context.Context, path string, o InspectOptions, progress func(what string, done, total int64)) (*Inspection, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	obs, c, err := proveFile(ctx, f, info, o.Want, nil, progress)
	if err != nil {
		return nil, err
	}
	in := &Inspection{SnapshotObservation: obs, Compacted: c.compacted, Records: c.records,
		MemberList: []SnapshotMember{}, AlarmList: []string{}}
	db, err := boltfile.Open(f, obs.Size)
	if err != nil {
		return nil, damaged(path, err)
	}
	Progress(progress).tell("counting keys", 0, obs.Size)
	for _, step := range []func() error{
		func() (err error) { in.InUse, err = db.InUse(ctx); return err },
		func() error { return in.countKeys(ctx, db, o) },
		func() error { return in.readSmall(ctx, db) },
		func() error { return unchanged(f, info) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	in.Starts = planner.SnapshotServers(in.Version, in.ClusterVersion)
	return in, nil
}

// countKeys follows every key through its history.
func (in *Inspection) countKeys(ctx context.Context, db *boltfile.File, o InspectOptions) error {
	p, names, live := newPrefixes(o.Separator), newKeyNames(), map[[2]uint64]int64{}
	all := int64(0)
	revisions := 0
	err := forEachChange(ctx, db, func(c change) error {
		revisions++
		if c.kv == nil {
			return nil
		}
		key, size := c.kv.Key, int64(len(c.kv.Key)+len(c.kv.Value))
		all += size
		id := names.of(key)
		old, was := live[id]
		if was {
			p.add(key, -1, -old)
		}
		if c.tombstone {
			delete(live, id)
			return nil
		}
		live[id] = size
		p.add(key, 1, size)
		return nil
	})
	if err != nil {
		return err
	}
	in.History, in.LiveBytes, in.HistoryBytes = revisions-len(live), p.root.bytes, all-p.root.bytes
	groups := p.groups()
	in.ByCount = topPrefixes(groups, o.Prefixes, func(g Prefix) int64 { return int64(g.Keys) })
	in.BySize = topPrefixes(groups, o.Prefixes, func(g Prefix) int64 { return g.Bytes })
	in.PrefixesCut = p.cut
	return nil
}

// readSmall reads all buckets but the keys'.
func (in *Inspection) readSmall(ctx context.Context, db *boltfile.File) error {
	finished, scheduled := int64(0), int64(0)
	for bucket, fn := range map[string]func(k, v []byte) error{
		"meta": func(k, v []byte) error {
			switch string(k) {
			case "consistent_index":
				in.Index = binary.BigEndian.Uint64(v)
			case "term":
				in.Term = binary.BigEndian.Uint64(v)
			case "scheduledCompactRev":
				scheduled = int64(binary.BigEndian.Uint64(v))
			case "finishedCompactRev":
				finished = int64(binary.BigEndian.Uint64(v))
			}
			return nil
		},
		"cluster": func(k, v []byte) error {
			if string(k) == "clusterVersion" {
				in.ClusterVersion = string(v)
			}
			return nil
		},
		"members":         in.member,
		"members_removed": func(_, _ []byte) error { in.Removed++; return nil },
		"lease":           in.lease,
		"alarm":           in.alarm,
		"auth": func(k, v []byte) error {
			if string(k) == "authEnabled" {
				in.Auth = len(v) == 1 && v[0] == 1
			}
			return nil
		},
		"authUsers": func(_, _ []byte) error { in.Users++; return nil },
		"authRoles": func(_, _ []byte) error { in.Roles++; return nil },
	} {
		if err := db.ForEach(ctx, bucket, func(_ string, k, v []byte) error { return fn(k, v) }); err != nil {
			return fmt.Errorf("bucket %s: %w", bucket, err)
		}
	}
	slices.SortFunc(in.MemberList, func(a, b SnapshotMember) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	in.Compacting = scheduled > finished
	return nil
}

func (in *Inspection) member(_, v []byte) error {
	var m membership.Member
	if err := json.Unmarshal(v, &m); err != nil {
		return err
	}
	in.MemberList = append(in.MemberList, SnapshotMember{
		Name: m.Name, ID: m.ID.String(), PeerURLs: etcd.UntoldUser(m.PeerURLs), ClientURLs: etcd.UntoldUser(m.ClientURLs), Learner: m.IsLearner,
	})
	return nil
}

func (in *Inspection) lease(_, v []byte) error {
	var l leasepb.Lease
	if err := proto.Unmarshal(v, &l); err != nil {
		return err
	}
	if in.ShortestTTL == 0 || l.TTL < in.ShortestTTL {
		in.ShortestTTL = l.TTL
	}
	in.LongestTTL = max(in.LongestTTL, l.TTL)
	return nil
}

func (in *Inspection) alarm(k, _ []byte) error {
	var a etcdserverpb.AlarmMember
	if err := proto.Unmarshal(k, &a); err != nil {
		return err
	}
	in.AlarmList = append(in.AlarmList, a.Alarm.String()+" on "+strconv.FormatUint(a.MemberID, 16))
	return nil
}
