package survivor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/snapshot/boltfile"
)

// Dir is a stopped member's directory.
type Dir struct {
	Name            string // for people
	DataDir, WALDir string // WALDir is "" for the one inside
}

// Compare holds directories that Prove found nothing wrong with against each other:
// a db's values against the log of another that reaches further back than its own,
// and two dbs against each other, revision by revision. It changes nothing, and its
// memory is that of the logs.
//
// It says what is wrong with which, by name: where a log, which has checksums, or
// two other dbs that agree speak against one db, that one is damaged. Where two
// differ and nothing says which is right, both are named, and a person has to
// choose. Directories of another cluster, or of another history, are not compared.
// The error is ctx's.
func Compare(ctx context.Context, dirs []Dir, progress func(what string, done, total int64)) (wrong map[string]string, err error) {
	c := &comparison{tell: Progress(progress).tell, wrong: map[string]string{}}
	for _, d := range dirs {
		if s := open(d); s != nil {
			c.all = append(c.all, s)
		}
	}
	for _, s := range c.all {
		c.byLogs(ctx, s)
	}
	c.byDBs(ctx)
	return c.wrong, ctx.Err()
}

// other is one of several survivors.
type other struct {
	Dir
	*source
	db dbState
}

// open reads what Prove has read; nil where it can't be: that is said elsewhere.
func open(d Dir) (o *other) {
	defer func() {
		if recover() != nil { // of etcd's own packages, on bytes that they don't expect
			o = nil
		}
	}()
	if d.WALDir == "" {
		d.WALDir = filepath.Join(d.DataDir, "member", "wal")
	}
	s := &source{}
	var err error
	if s.raftLog, err = readLog(d.WALDir); err != nil {
		return nil
	}
	if err := s.findDB(d.DataDir); err != nil {
		return nil
	}
	o = &other{Dir: d, source: s}
	if o.db, err = readDBState(s.db); err != nil {
		return nil
	}
	return o
}

type comparison struct {
	all   []*other
	wrong map[string]string
	tell  func(string, int64, int64)
}

// kin reports whether two logs are of one history as far as both dbs go: an entry
// that both have proves all before it (raft's log matching).
func kin(a, b *other) bool {
	if a.cluster != b.cluster || a.member == b.member {
		return false
	}
	first := max(a.snapshot.index, b.snapshot.index)
	for _, at := range []uint64{first, max(first, min(a.base.index, b.base.index))} {
		p, okA := a.at(at)
		q, okB := b.at(at)
		if !okA || !okB || p != q {
			return false
		}
	}
	return true
}

// byLogs holds s's db to the log of whoever's reaches furthest back beyond its own.
func (c *comparison) byLogs(ctx context.Context, s *other) {
	var by *other
	for _, o := range c.all {
		p, ok := o.at(s.snapshot.index)
		if o == s || o.cluster != s.cluster || !ok || p != s.snapshot || o.snapshot.index >= s.snapshot.index {
			continue
		}
		if by == nil || o.snapshot.index < by.snapshot.index {
			by = o
		}
	}
	if by == nil || s.db.consistentIndex == 0 {
		return
	}
	c.tell("comparing "+s.Name+" with the log of "+by.Name, 0, s.dbSize)
	entries := slices.Concat(by.entries[:s.snapshot.index-by.snapshot.index], s.entries[:s.base.index-s.snapshot.index])
	if err := c.values(ctx, s, entries); err != nil && ctx.Err() == nil {
		c.wrong[s.Name] = fmt.Sprintf("%v; the log is that of %s", err, by.Name)
	}
}

func (c *comparison) values(ctx context.Context, s *other, entries []*raftpb.Entry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	j := &job{src: s.source, db: s.db, tell: c.tell}
	return j.checkValues(ctx, s.source.db, s.db.size, entries)
}

// byDBs holds each pair of dbs to each other that no log has spoken against.
func (c *comparison) byDBs(ctx context.Context) {
	var left []*other
	for _, s := range c.all {
		if c.wrong[s.Name] == "" {
			left = append(left, s)
		}
	}
	differ, agree := map[*other]map[*other]string{}, map[*other]map[*other]bool{}
	for i, a := range left {
		for _, b := range left[i+1:] {
			if !kin(a, b) || ctx.Err() != nil {
				continue
			}
			c.tell("comparing "+a.Name+" with "+b.Name, 0, a.dbSize)
			what, err := difference(ctx, a, b)
			for _, p := range [][2]*other{{a, b}, {b, a}} {
				switch {
				case err != nil: // not compared: Prove has read both, so it is ctx's, or they changed
				case what != "":
					note(differ, p[0], p[1], what)
				default:
					note(agree, p[0], p[1], true)
				}
			}
		}
	}
	for a, list := range differ {
		var others []string
		what, alone := "", true
		for b, text := range list {
			others, what = append(others, b.Name), text
			if len(differ[b]) > 1 || len(agree[b]) == 0 {
				alone = false
			}
		}
		slices.Sort(others)
		switch {
		case len(others) > 1 && alone:
			c.wrong[a.Name] = fmt.Sprintf("%s; %s agree against it", what, strings.Join(others, " and "))
		case len(agree[a]) > 0 && outvoted(differ, agree, list): // the other one is
		default:
			c.wrong[a.Name] = what + ", and nothing says which of them is right"
		}
	}
}

// outvoted reports whether all that a differs from are alone with what they hold.
func outvoted(differ map[*other]map[*other]string, agree map[*other]map[*other]bool, list map[*other]string) bool {
	for b := range list {
		if len(differ[b]) < 2 || len(agree[b]) > 0 {
			return false
		}
	}
	return true
}

func note[V any](m map[*other]map[*other]V, a, b *other, v V) {
	if m[a] == nil {
		m[a] = map[*other]V{}
	}
	m[a][b] = v
}

// record is one of the key bucket's.
type record struct{ key, value []byte }

func (r record) revision() int64 { return int64(binary.BigEndian.Uint64(r.key)) }

// at is the revision's bytes, without the mark of a deletion.
func (r record) at() []byte { return r.key[:17] }

// difference walks through two dbs at once. What both hold of a revision has to be
// the same; what only one holds may have been compacted away in the other, or not
// be applied there yet. It says where they differ first; "" for nowhere.
func difference(ctx context.Context, a, b *other) (string, error) {
	var stop func()
	next := [2]func() (record, error, bool){}
	var compacted int64
	for i, o := range []*other{a, b} {
		f, err := os.Open(o.source.db)
		if err != nil {
			return "", err
		}
		defer f.Close()
		db, err := boltfile.Open(f, o.db.size)
		if err != nil {
			return "", err
		}
		h := history{}
		if err := db.ForEach(ctx, "meta", h.meta); err != nil {
			return "", err
		}
		compacted = max(compacted, h.compacted)
		next[i], stop = iter.Pull2(records(ctx, db))
		defer stop()
	}
	x, errX, okX := next[0]()
	y, errY, okY := next[1]()
	for okX && okY {
		if err := errors.Join(errX, errY); err != nil {
			return "", err
		}
		switch c := bytes.Compare(x.at(), y.at()); {
		case c == 0 && (len(x.key) != len(y.key) || !bytes.Equal(x.value, y.value)):
			return fmt.Sprintf("%s and %s differ at revision %d, in %s", a.Name, b.Name, x.revision(), keyText(x, y)), nil
		case c == 0:
			x, errX, okX = next[0]()
			y, errY, okY = next[1]()
		case c < 0:
			if x.revision() > compacted {
				return fmt.Sprintf("%s has revision %d, of %s, and %s has not, though it has later ones", a.Name, x.revision(), keyText(x, x), b.Name), nil
			}
			x, errX, okX = next[0]()
		default:
			if y.revision() > compacted {
				return fmt.Sprintf("%s has revision %d, of %s, and %s has not, though it has later ones", b.Name, y.revision(), keyText(y, y), a.Name), nil
			}
			y, errY, okY = next[1]()
		}
	}
	return "", errors.Join(errX, errY)
}

// records are those of the key bucket, each valid until the next is asked for.
func records(ctx context.Context, db *boltfile.File) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		done := errors.New("done")
		err := db.ForEach(ctx, "key", func(_ string, k, v []byte) error {
			if len(k) < 17 {
				return fmt.Errorf("record %x of the key bucket is no revision", k)
			}
			if !yield(record{k, v}, nil) {
				return done
			}
			return nil
		})
		if err != nil && !errors.Is(err, done) {
			yield(record{}, err)
		}
	}
}

// keyText names the key of two records, or the two keys.
func keyText(x, y record) string {
	var a, b mvccpb.KeyValue
	if proto.Unmarshal(x.value, &a) != nil || proto.Unmarshal(y.value, &b) != nil {
		return "a record that can't be read"
	}
	if bytes.Equal(a.Key, b.Key) {
		return fmt.Sprintf("key %q", a.Key)
	}
	return fmt.Sprintf("keys %q and %q", a.Key, b.Key)
}
