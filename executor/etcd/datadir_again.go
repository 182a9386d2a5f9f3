package etcd

import (
	"os"
	"slices"
	"sync"
	"syscall"
)

// A log's files but the last are never written to again (wal.WAL.cut), and a log may be
// gigabytes: a run looks at it before and after its steps, and reads what it has read
// before only where some of it is not what it was.

// fileMark is what no write leaves as it was.
type fileMark struct {
	name         string
	dev, ino     uint64
	size         int64
	ctime, mtime syscall.Timespec
}

func markOf(name string) (fileMark, error) {
	info, err := os.Stat(name)
	if err != nil {
		return fileMark{}, err
	}
	m := fileMark{name: name, size: info.Size()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		m.dev, m.ino, m.ctime, m.mtime = uint64(s.Dev), s.Ino, s.Ctim, s.Mtim
	}
	return m, nil
}

// walPart is a log's files but the last, as they were read.
type walPart struct {
	files []fileMark
	log   walLog
	crc   uint32
}

var walParts = struct {
	sync.Mutex
	of map[string]walPart // by the log's folder
}{of: map[string]walPart{}}

// readBefore gives what was read of the log's first files, where these are as they were.
func readBefore(dir string, names []string) (walPart, bool) {
	walParts.Lock()
	p, ok := walParts.of[dir]
	walParts.Unlock()
	if !ok || len(p.files) >= len(names) {
		return walPart{}, false
	}
	for i, f := range p.files {
		if now, err := markOf(names[i]); err != nil || now != f {
			return walPart{}, false
		}
	}
	p.files, p.log = slices.Clone(p.files), p.log.clone()
	return p, true
}

// keep remembers the part for the next time.
func (p walPart) keep(dir string) {
	p.log = p.log.clone()
	walParts.Lock()
	walParts.of[dir] = p
	walParts.Unlock()
}

func (l walLog) clone() walLog {
	l.terms, l.sums = slices.Clone(l.terms), slices.Clone(l.sums)
	l.snapshots, l.changes, l.metadata = slices.Clone(l.snapshots), slices.Clone(l.changes), slices.Clone(l.metadata)
	return l
}
