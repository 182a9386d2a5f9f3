package etcd

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// dbContent is what a db says about its member.
type dbContent struct {
	exists  bool
	problem string

	size            int64
	consistentIndex uint64
	term            uint64 // of that index, 0 where it is not noted (before 3.5)
	revision        int64  // as etcd would start with it
	storageVersion  string
	clusterVersion  string
	members         []*membership.Member
	removed         []uint64
}

// untouched is what etcd leaves when a first start ended before its WAL was
// made: it would bootstrap over it.
func (c dbContent) untouched() bool {
	return c.problem == "" && c.consistentIndex == 0 && c.revision == 0 && len(c.members) == 0
}

// readDB reads the db that etcd would start from: member/snap/db, or the one
// that a leader sent and that etcd had no time to put in its place
// (storage/backend.go RecoverSnapshotBackend).
func readDB(p dirPaths, log walLog) (dbContent, error) {
	c, err := readDBFile(p.db)
	if err != nil {
		return c, err
	}
	snapshot := log.lastSnapshot().index
	if snapshot == 0 || c.problem == "" && c.consistentIndex >= snapshot {
		return c, nil
	}
	sent, err := readDBFile(filepath.Join(p.snap, fmt.Sprintf("%016x.snap.db", snapshot)))
	if err != nil {
		return c, err
	}
	// etcd opens the old one first, and dies of a broken one.
	if sent.exists && c.problem == "" {
		return sent, nil
	}
	return c, nil
}

// readDBFile returns an error of reading; wrong bytes are the content's problem.
func readDBFile(path string) (dbContent, error) {
	var c dbContent
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return c, err
	}
	c.exists, c.size = true, info.Size()
	if info.IsDir() {
		c.problem = fmt.Sprintf("invalid database: %s is a directory", path)
		return c, nil
	}
	if c.size == 0 {
		return c, nil // bbolt fills it when it opens it
	}
	err = c.read(f)
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return c, err
	}
	if err != nil {
		c.problem = fmt.Sprintf("invalid database: %v", err)
	}
	return c, nil
}

func (c *dbContent) read(f *os.File) error {
	b, err := boltfile.Open(f, c.size)
	if err != nil {
		return err
	}
	if err := c.readMeta(b); err != nil {
		return err
	}
	key, _, err := b.Last("key")
	if err != nil {
		return err
	}
	if key != nil {
		if len(key) < 17 || key[8] != '_' {
			return fmt.Errorf("the key bucket ends with a key that is no revision: %x", key)
		}
		c.revision = max(c.revision, int64(binary.BigEndian.Uint64(key)))
	}
	version, err := b.Get("cluster", "clusterVersion")
	if err != nil {
		return err
	}
	c.clusterVersion = string(version)
	err = b.ForEach(context.Background(), "members_removed", func(_ string, k, _ []byte) error {
		id, err := strconv.ParseUint(string(k), 16, 64)
		if err != nil {
			return fmt.Errorf("couldn't read members_removed from backend: %w", err)
		}
		c.removed = append(c.removed, id)
		return nil
	})
	if err != nil {
		return err
	}
	return b.ForEach(context.Background(), "members", func(_ string, k, v []byte) error {
		m := &membership.Member{}
		if err := json.Unmarshal(v, m); err != nil {
			return fmt.Errorf("couldn't read members from backend: %w", err)
		}
		c.members = append(c.members, m)
		return nil
	})
}

// readMeta reads the meta bucket. A revision that was compacted counts where it
// is above all that are left (mvcc/kvstore.go restore).
func (c *dbContent) readMeta(b *boltfile.File) error {
	return b.ForEach(context.Background(), "meta", func(_ string, k, v []byte) error {
		switch name := string(k); name {
		case "consistent_index":
			if len(v) != 8 {
				return fmt.Errorf("consistent_index has %d bytes", len(v))
			}
			c.consistentIndex = binary.BigEndian.Uint64(v)
		case "term":
			if len(v) != 8 {
				return fmt.Errorf("term has %d bytes", len(v))
			}
			c.term = binary.BigEndian.Uint64(v)
		case "storageVersion":
			c.storageVersion = string(v)
		case "scheduledCompactRev", "finishedCompactRev":
			if len(v) < 8 {
				return fmt.Errorf("%s has %d bytes", name, len(v))
			}
			c.revision = max(c.revision, int64(binary.BigEndian.Uint64(v)))
		}
		return nil
	})
}
