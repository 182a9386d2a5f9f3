package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func drillRequest(t *testing.T, path string, members int) DrillRequest {
	return DrillRequest{
		Snapshot: path, Members: members, Command: []string{must(os.Executable())(t), "etcd"},
		Scratch: filepath.Join(t.TempDir(), "drill"),
	}
}

func TestDrillComesBackWhole(t *testing.T) {
	for _, compact := range []bool{false, true} {
		for _, members := range []int{1, 3} {
			t.Run(fmt.Sprintf("compact=%v,members=%d", compact, members), func(t *testing.T) {
				l := makeRich(t, compact)
				before := tree(t, filepath.Dir(l.path))
				r := drillRequest(t, l.path, members)
				res, err := Drill(context.Background(), r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if res.Keys != len(l.keys.Kvs) || res.Revision != l.keys.Header.Revision || res.HashKV != l.hash.Hash ||
					!res.HashOfFile || res.Leases != 2 || res.Users != 1 || res.Roles != 2 || !res.Auth {
					t.Errorf("%+v", res)
				}
				if _, err := os.Stat(r.Scratch); err == nil {
					t.Error("the throwaway cluster is still there")
				}
				if after := tree(t, filepath.Dir(l.path)); after != before {
					t.Error("the snapshot was changed")
				}
			})
		}
	}
}

// TestDrillOfABumpedDb: what was restored with a revision bump, and then lies in a
// data directory, has a record without a key and everything compacted.
func TestDrillOfABumpedDb(t *testing.T) {
	l := makeRich(t, false)
	d := &drill{DrillRequest: drillRequest(t, l.path, 1), res: &DrillResult{}}
	ctx := context.Background()
	if err := errors.Join(d.prove(ctx), os.Mkdir(d.Scratch, 0o700), d.plan()); err != nil {
		t.Fatal(err)
	}
	err := Restore(ctx, RestoreRequest{
		Snapshot: l.path, SHA256: d.res.Snapshot.SHA256, RevisionBump: 1_000_000, Members: []RestoreMember{d.members[0].RestoreMember},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := drillRequest(t, filepath.Join(d.members[0].OutDataDir, "member", "snap", "db"), 1)
	r.Want.SkipHashCheck = true
	res, err := Drill(ctx, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Revision != l.keys.Header.Revision+1_000_000 || res.Keys != len(l.keys.Kvs) {
		t.Errorf("%+v", res)
	}
}

// TestDrillFindsWhatDidNotComeBack plants a fault in what was restored, and each
// has to be found by what reads it through etcd.
func TestDrillFindsWhatDidNotComeBack(t *testing.T) {
	l := makeRich(t, true)
	edit := func(bucket string, fn func(b *bolt.Bucket) error) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return fn(tx.Bucket([]byte(bucket))) }
	}
	deleteFirst := func(b *bolt.Bucket) error {
		k, _ := b.Cursor().First()
		return b.Delete(append([]byte{}, k...))
	}
	for name, c := range map[string]struct {
		fault func(*bolt.Tx) error
		want  string
	}{
		"a value": {edit("key", func(b *bolt.Bucket) error {
			c := b.Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if strings.Contains(string(v), "/after") {
					return b.Put(append([]byte{}, k...), []byte(strings.Replace(string(v), "compaction", "compactioN", 1)))
				}
			}
			return errors.New("no such key")
		}), "other values"},
		"a key": {edit("key", deleteFirst), "keys, and the file has"},
		"the last revision": {edit("key", func(b *bolt.Bucket) error {
			k, _ := b.Cursor().Last()
			return b.Delete(append([]byte{}, k...))
		}), "serves revision"},
		"a lease": {edit("lease", deleteFirst), "leases, and not the"},
		"a user":  {edit("authUsers", deleteFirst), "its users are"},
		"a role":  {edit("authRoles", deleteFirst), "its roles are"},
		"nothing": {func(*bolt.Tx) error { return nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			res := DrillResult{}
			d := &drill{DrillRequest: drillRequest(t, l.path, 1), res: &res}
			ctx := context.Background()
			if err := d.prove(ctx); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(d.Scratch, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := d.restore(ctx); err != nil {
				t.Fatal(err)
			}
			defer d.stop()
			db := must(bolt.Open(filepath.Join(d.members[0].OutDataDir, "member", "snap", "db"), 0o600, nil))(t)
			if err := errors.Join(db.Update(c.fault), db.Close()); err != nil {
				t.Fatal(err)
			}
			if err := d.start(ctx); err != nil {
				t.Fatal(err)
			}
			err := d.read(ctx)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestDrillEndsClean: an etcd that does not start, and an end in its midst, leave
// nothing.
func TestDrillEndsClean(t *testing.T) {
	l := makeRich(t, false)
	t.Run("an etcd that dies", func(t *testing.T) {
		script := filepath.Join(t.TempDir(), "etcd")
		body := "#!/bin/sh\n[ \"$1\" = --version ] && echo 'etcd Version: 3.7.3' && exit 0\necho '{\"level\":\"fatal\",\"msg\":\"no luck\"}' >&2\nexit 7\n"
		if err := os.WriteFile(script, []byte(body), 0o700); err != nil {
			t.Fatal(err)
		}
		r := drillRequest(t, l.path, 1)
		r.Command = []string{script}
		_, err := Drill(context.Background(), r, nil)
		if err == nil || !strings.Contains(err.Error(), "ended by itself") || !strings.Contains(err.Error(), "no luck") {
			t.Error(err)
		}
		gone(t, r.Scratch)
	})
	t.Run("no etcd", func(t *testing.T) {
		for _, bin := range []string{"/nowhere/etcd", "/bin/true", "/bin/false"} {
			r := drillRequest(t, l.path, 1)
			r.Command = []string{bin}
			_, err := Drill(context.Background(), r, nil)
			if ref := Refusal(err); ref == nil || ref.Code != "binary-missing" {
				t.Errorf("%s: %v", bin, err)
			}
		}
	})
	t.Run("an older etcd", func(t *testing.T) {
		script := filepath.Join(t.TempDir(), "etcd")
		if err := os.WriteFile(script, []byte("#!/bin/sh\necho 'etcd Version: 3.6.4'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		r := drillRequest(t, l.path, 1)
		r.Command = []string{script}
		_, err := Drill(context.Background(), r, nil)
		if ref := Refusal(err); ref == nil || ref.Code != "snapshot-version" {
			t.Error(err)
		}
		gone(t, r.Scratch)
	})
	for _, after := range []string{"checking pages and records", "starting etcd", "reading every key"} {
		t.Run("an end after "+after, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r := drillRequest(t, l.path, 1)
			began := time.Now()
			_, err := Drill(ctx, r, func(what string, _, _ int64) {
				if what == after {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v to end", took)
			}
			gone(t, r.Scratch)
		})
	}
}

func gone(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Lstat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}
