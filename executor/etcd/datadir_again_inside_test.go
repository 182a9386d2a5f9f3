package etcd

import (
	"os"
	"path/filepath"
	"testing"
)

// What is read of a log's closed files is remembered, and only as long as they are what
// they were and another file follows them.
func TestReadBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var names []string
	for _, name := range []string{"0.wal", "1.wal", "2.wal"} {
		names = append(names, filepath.Join(dir, name))
		must1(t, os.WriteFile(names[len(names)-1], []byte(name), 0o600))
	}
	part := walPart{crc: 7, log: walLog{commit: 9}}
	for _, name := range names[:2] {
		mark, err := markOf(name)
		must1(t, err)
		part.files = append(part.files, mark)
	}
	if _, ok := readBefore(dir, names); ok {
		t.Error("nothing was read before")
	}
	part.keep(dir)
	if p, ok := readBefore(dir, names); !ok || len(p.files) != 2 || p.crc != 7 || p.log.commit != 9 {
		t.Errorf("%t, %+v", ok, p)
	}
	for _, less := range [][]string{names[:2], names[1:]} { // no last file to read; the first one purged
		if _, ok := readBefore(dir, less); ok {
			t.Errorf("of %v", less)
		}
	}
	must1(t, os.Rename(names[1], names[1]+".old"))
	must1(t, os.WriteFile(names[1], []byte("1.wal"), 0o600))
	if _, ok := readBefore(dir, names); ok {
		t.Error("another file of the same name and size is taken for what was read")
	}
}
