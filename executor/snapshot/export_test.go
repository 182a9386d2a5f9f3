package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/planner"
)

// The keys of a snapshot are what etcd served, in memory and through runs on disk.
func TestExportAgreesWithEtcd(t *testing.T) {
	l := makeRich(t, true)
	scratch := t.TempDir()
	for _, limit := range []int64{sortMemory, 4 << 10, 1} {
		was := sortMemory
		sortMemory = limit
		var got []*mvccpb.KeyValue
		out, err := Export(context.Background(), l.path, ExportOptions{Scratch: scratch}, func(kv *mvccpb.KeyValue) error {
			got = append(got, proto.Clone(kv).(*mvccpb.KeyValue))
			return nil
		}, nil)
		sortMemory = was
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(l.keys.Kvs) || out.Keys != len(got) || out.At != l.keys.Header.Revision {
			t.Fatalf("limit %d: %d keys at %d, etcd served %d at %d", limit, len(got), out.At, len(l.keys.Kvs), l.keys.Header.Revision)
		}
		for i, kv := range l.keys.Kvs {
			if string(kv.Key) != string(got[i].Key) || string(kv.Value) != string(got[i].Value) || kv.Lease != got[i].Lease ||
				kv.CreateRevision != got[i].CreateRevision || kv.ModRevision != got[i].ModRevision || kv.Version != got[i].Version {
				t.Fatalf("limit %d, key %d: %v, etcd served %v", limit, i, got[i], kv)
			}
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the scratch folder, %v", left, err)
	}
	for _, at := range []int64{1, l.keys.Header.Revision + 1} {
		_, err := Export(context.Background(), l.path, ExportOptions{Revision: at}, func(*mvccpb.KeyValue) error { return nil }, nil)
		if re := (*RevisionError)(nil); !errors.As(err, &re) {
			t.Errorf("at %d: %v", at, err)
		}
	}
	stop := errors.New("the disk is full")
	if _, err := Export(context.Background(), l.path, ExportOptions{}, func(*mvccpb.KeyValue) error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("an error of who writes: %v", err)
	}
}

// A damaged file exports nothing.
func TestExportRefuses(t *testing.T) {
	l := makeRich(t, false)
	b := must(os.ReadFile(l.path))(t)
	b[len(b)/2] ^= 1
	bad := l.path + ".bad"
	if err := os.WriteFile(bad, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Export(context.Background(), bad, ExportOptions{}, func(*mvccpb.KeyValue) error {
		t.Error("it gives a key")
		return nil
	}, nil)
	if r := Refusal(err); r == nil || r.Code != planner.CodeSnapshotDamaged {
		t.Errorf("%v", err)
	}
}

// What is read is what was proven, also where the name leads elsewhere since.
func TestWhatIsReadIsWhatWasProven(t *testing.T) {
	l := makeRich(t, false)
	dir := t.TempDir()
	path, empty := filepath.Join(dir, "link"), filepath.Join(dir, "empty.db")
	none := makeSource(t, 0, false)
	if err := os.WriteFile(empty, must(os.ReadFile(none.snapshot))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	lead := func(to string) {
		if err := errors.Join(os.Symlink(to, path+".new"), os.Rename(path+".new", path)); err != nil {
			t.Error(err)
		}
	}
	proven := func(what string, done, total int64) {
		if what == "checking pages and records" && done == total {
			lead(empty)
		}
	}
	lead(l.path)
	keys := 0
	_, err := Export(context.Background(), path, ExportOptions{}, func(*mvccpb.KeyValue) error { keys++; return nil }, proven)
	if err != nil || keys != len(l.keys.Kvs) {
		t.Errorf("%d keys, %v", keys, err)
	}
	lead(l.path)
	in, err := Inspect(context.Background(), path, InspectOptions{Prefixes: 3}, proven)
	if err != nil || len(in.ByCount) == 0 || in.LiveBytes == 0 {
		t.Errorf("%+v, %v", in, err)
	}
}

// Whatever is given, the last of each key comes out, in order.
func TestSorter(t *testing.T) {
	was := sortMemory
	defer func() { sortMemory = was }()
	sortMemory = 2000
	s := &sorter{scratch: t.TempDir()}
	defer s.close()
	want := map[string]string{}
	for i := range 3000 {
		key, record := fmt.Sprintf("k%03d", i*7919%500), []byte(fmt.Sprintf("%d%s", i, strings.Repeat("x", i%50)))
		if i%11 == 3 {
			delete(want, key)
			record = nil
		} else {
			want[key] = string(record)
		}
		if err := s.add([]byte(key), record); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.runs) < 10 {
		t.Fatalf("%d runs", len(s.runs))
	}
	var keys, got []string
	for k := range want {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		keys[i] = want[k]
	}
	err := s.merge(context.Background(), func(r []byte) error {
		got = append(got, string(r))
		return nil
	})
	if err != nil || !slices.Equal(got, keys) {
		t.Errorf("%v; %d came out, %d were expected", err, len(got), len(keys))
	}
}
