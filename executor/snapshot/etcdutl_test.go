package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// What Restore writes for a member is what etcdutl writes for it: the WAL to the
// byte, the db to the byte but for blank space at its end, the .snap file but for
// what is in the order of a Go map. And etcdutl's own dbs are the same for all
// members of a cluster, in every format that it reads.
func TestAsEtcdutl(t *testing.T) {
	plain, compacted := makeSource(t, 250, false), makeSource(t, 60, true)
	for name, c := range map[string]struct {
		path    string
		copied  bool
		bump    int64
		walDirs bool
	}{
		"3.7":           {path: plain.snapshot},
		"3.7 bumped":    {path: plain.snapshot, bump: 1_000_000_000},
		"3.7 compacted": {path: compacted.snapshot, bump: 500, walDirs: true},
		"3.7 copied db": {path: filepath.Join(plain.dir, "member", "snap", "db"), copied: true, bump: 3},
		"3.6":           {path: recorded(t, "3.6"), copied: true, bump: 77},
		"3.5":           {path: recorded(t, "3.5"), copied: true, walDirs: true},
		"3.5 bumped":    {path: recorded(t, "3.5"), copied: true, bump: 1_000_000_000},
	} {
		t.Run(name, func(t *testing.T) {
			obs := Verify(ctx, c.path, Want{SkipHashCheck: c.copied}, nil)
			if obs.Problem != "" {
				t.Fatal(obs.Detail)
			}
			ours := threeMembers(t, c.path, obs, c.copied, c.bump, c.walDirs)
			if err := Restore(ctx, ours.request, nil); err != nil {
				t.Fatal(err)
			}
			theirs := byEtcdutl(t, ours.request)
			for i, m := range ours.request.Members {
				if err := sameMember(m, theirs[i]); err != nil {
					t.Errorf("%s: %v", m.Name, err)
				}
			}
			// The comparison must be one that can fail.
			if sameMember(ours.request.Members[0], theirs[1]) == nil {
				t.Error("two members' directories pass for the same")
			}
		})
	}
}

// byEtcdutl restores each member with etcdutl, the source's bump taken from its
// last key. A background commit of etcd's, every 100 ms, may add a transaction to
// a db on a busy machine: such a round counts for nothing.
func byEtcdutl(t *testing.T, r RestoreRequest) []RestoreMember {
	t.Helper()
	_, source, err := prove(ctx, r.Snapshot, Want{SkipHashCheck: r.SkipHashCheck}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		root := t.TempDir()
		var list []RestoreMember
		var dbs [][]byte
		for _, m := range r.Members {
			m.OutDataDir = filepath.Join(root, m.Name)
			if m.OutWALDir != "" {
				m.OutWALDir = filepath.Join(root, m.Name+".wal")
			}
			cfg := snapshot.RestoreConfig{
				SnapshotPath: r.Snapshot, Name: m.Name, OutputDataDir: m.OutDataDir, OutputWALDir: m.OutWALDir,
				PeerURLs: m.PeerURLs, InitialCluster: m.InitialCluster, InitialClusterToken: m.Token, SkipHashCheck: r.SkipHashCheck,
			}
			if r.RevisionBump > 0 {
				cfg.RevisionBump, cfg.MarkCompacted = uint64(source.revision()-source.keyRevision+r.RevisionBump), true
			}
			if err := snapshot.NewV3(zap.NewNop()).Restore(cfg); err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
			dbs = append(dbs, must(os.ReadFile(dbPath(m)))(t))
		}
		if bytes.Equal(dbs[0], dbs[1]) && bytes.Equal(dbs[0], dbs[2]) && transactions(dbs[0]) == transactionsOf(t, r.Members[0]) {
			return list
		}
	}
	t.Fatal("etcdutl's dbs are never the same")
	return nil
}

func transactions(db []byte) uint64 {
	f, err := boltfile.Open(bytes.NewReader(db), int64(len(db)))
	if err != nil {
		return 0
	}
	return f.Transaction()
}

func transactionsOf(t *testing.T, m RestoreMember) uint64 {
	return transactions(must(os.ReadFile(dbPath(m)))(t))
}

// sameMember compares two directories of one member.
func sameMember(a, b RestoreMember) error {
	x, err := os.ReadFile(dbPath(a))
	if err != nil {
		return err
	}
	y, err := os.ReadFile(dbPath(b))
	if err != nil {
		return err
	}
	n := min(len(x), len(y))
	if !bytes.Equal(x[:n], y[:n]) || len(bytes.Trim(x[n:], "\x00")) > 0 || len(bytes.Trim(y[n:], "\x00")) > 0 {
		return errors.New("the dbs differ")
	}
	for _, pair := range [][2]string{{a.OutDataDir, b.OutDataDir}, {a.OutWALDir, b.OutWALDir}} {
		if p, q := names(pair[0]), names(pair[1]); p != q {
			return fmt.Errorf("files differ:\n%s\n%s", p, q)
		}
	}
	snaps, err := filepath.Glob(filepath.Join(a.OutDataDir, "member", "snap", "*.snap"))
	if err != nil || len(snaps) != 1 {
		return fmt.Errorf("%d .snap files (%v)", len(snaps), err)
	}
	s, err := snap.Read(zap.NewNop(), snaps[0])
	if err != nil {
		return err
	}
	s2, err := snap.Read(zap.NewNop(), filepath.Join(b.OutDataDir, "member", "snap", filepath.Base(snaps[0])))
	if err != nil {
		return err
	}
	if !proto.Equal(s.Metadata, s2.Metadata) || storedKeys(s.Data) != storedKeys(s2.Data) {
		return errors.New("the .snap files differ")
	}
	return sameLog(walOf(a), walOf(b), s.Metadata.GetIndex(), s.Metadata.GetTerm())
}

// storedKeys is a v2 store's tree, without what etcd numbers in the order of a Go
// map, and without the history in that order.
func storedKeys(store []byte) string {
	var v struct{ Root json.RawMessage }
	if err := json.Unmarshal(store, &v); err != nil || len(v.Root) == 0 {
		return fmt.Sprintf("%v %q", err, store)
	}
	return string(storeIndex.ReplaceAll(v.Root, nil))
}

var storeIndex = regexp.MustCompile(`"(Created|Modified)Index":[0-9]+,`)

func walOf(m RestoreMember) string {
	if m.OutWALDir != "" {
		return m.OutWALDir
	}
	return filepath.Join(m.OutDataDir, "member", "wal")
}

func sameLog(a, b string, index, term uint64) error {
	var read [2]string
	for i, dir := range []string{a, b} {
		// From the beginning, and from the snapshot that etcd starts with.
		for _, from := range []*walpb.Snapshot{{Index: new(uint64), Term: new(uint64)}, {Index: &index, Term: &term}} {
			w, err := wal.OpenForRead(zap.NewNop(), dir, from)
			if err != nil {
				return err
			}
			metadata, state, entries, err := w.ReadAll()
			w.Close()
			if err != nil {
				return err
			}
			read[i] += fmt.Sprintf("%x %v %v\n", metadata, state, entries)
		}
	}
	if read[0] != read[1] {
		return fmt.Errorf("logs differ:\n%s%s", read[0], read[1])
	}
	const first = "0000000000000000-0000000000000000.wal"
	x, err := os.ReadFile(filepath.Join(a, first))
	if err != nil {
		return err
	}
	y, err := os.ReadFile(filepath.Join(b, first))
	if err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return errors.New("the bytes of the logs differ")
	}
	return nil
}

// names are the files of a tree with their modes; the db's size may differ.
func names(root string) string {
	var list []string
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(root, path)
		list = append(list, fmt.Sprintf("%s %v", rel, info.Mode()))
		return err
	})
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// recorded is the db of a real data directory of an older etcd.
func recorded(t *testing.T, version string) string {
	t.Helper()
	f := must(os.Open(filepath.Join("..", "etcd", "testdata", "datadir-"+version+".tar.gz")))(t)
	defer f.Close()
	tr := tar.NewReader(must(gzip.NewReader(f))(t))
	for {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("no db in it: %v", err)
		}
		if strings.HasSuffix(h.Name, "member/snap/db") {
			return write(t, must(io.ReadAll(tr))(t))
		}
	}
}

// The dbs that were recorded are what they are taken for.
func TestRecordedFormats(t *testing.T) {
	for version, stored := range map[string]bool{"3.5": false, "3.6": true} {
		db := must(bolt.Open(recorded(t, version), 0o600, &bolt.Options{ReadOnly: true}))(t)
		must(0, db.View(func(tx *bolt.Tx) error {
			v := tx.Bucket([]byte("meta")).Get([]byte("storageVersion"))
			if (v != nil) != stored || stored && !strings.HasPrefix(string(v), version) {
				t.Errorf("%s: storage version %q", version, v)
			}
			return nil
		}))(t)
		db.Close()
	}
}
