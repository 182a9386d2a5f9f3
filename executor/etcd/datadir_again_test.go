package etcd_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// A log is read again from where it may have changed, and gives what a first look at it
// gives; a file that was written to since is read again, though it has its old time.
func TestReadDataDirAgain(t *testing.T) {
	t.Parallel()
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 6000)
	for range 3 { // while it grows
		m.put(t, 2000)
		read0(t, m.cfg.Dir)
	}
	stop()
	again := read(t, m.cfg.Dir, "")
	dir := copyDir(t, m.cfg.Dir)
	first := read(t, dir, "") // by another name nothing is known of it
	again.Path, again.DBSize = first.Path, first.DBSize
	if !reflect.DeepEqual(again, first) {
		t.Errorf("read again: %+v\nread once: %+v", again, first)
	}
	names := must2(filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")))(t)
	if len(names) < 3 {
		t.Fatalf("%d files of a log are too few for this test", len(names))
	}
	info := must2(os.Stat(names[0]))(t)
	b := must2(os.ReadFile(names[0]))(t)
	for i := range 64 { // one byte may be of what fills a record up to eight
		b[len(b)/2+i] ^= 1
	}
	if err := os.WriteFile(names[0], b, info.Mode()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(names[0], info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if d := read0(t, dir); d.Problem == "" {
		t.Errorf("flipped bits in %s were not seen on the second look", names[0])
	}
}
