package etcd

import (
	"cmp"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/planner"
)

// maxTail bounds the entries that are listed: more than a person would read. A
// member that was cut off for long as a leader has that many.
const maxTail = 1000

// tailList collects the tail. Each list has the first maxTail of its kind, so
// that what is cut off can be followed by something else.
type tailList struct{ plain, risky []planner.TailEntry }

func (t *tailList) cut(index uint64) {
	gone := func(e planner.TailEntry) bool { return e.Index >= index }
	t.plain, t.risky = slices.DeleteFunc(t.plain, gone), slices.DeleteFunc(t.risky, gone)
}

func (t *tailList) add(e *raftpb.Entry) {
	if n := max(lastIndex(t.plain), lastIndex(t.risky)); e.GetIndex() <= n {
		t.cut(e.GetIndex())
	}
	list := &t.plain
	d := describeEntry(e)
	if d.Risky {
		list = &t.risky
	}
	if len(*list) < maxTail {
		*list = append(*list, d)
	}
}

func lastIndex(list []planner.TailEntry) uint64 {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Index
}

// entries returns what is listed, in order: all risky ones that there is room
// for, then the oldest of the others.
func (t *tailList) entries() []planner.TailEntry {
	n := min(len(t.plain), maxTail-len(t.risky))
	list := slices.Concat(t.risky, t.plain[:n])
	slices.SortFunc(list, func(a, b planner.TailEntry) int { return cmp.Compare(a.Index, b.Index) })
	return list
}

// readTail lists the log's entries after floor and counts those left out. It is
// a second pass, for only after the first one is it known what is committed;
// most logs have no tail, or one in their last file. What is wrong with the
// bytes was said by the first pass: here it ends the list.
func readTail(dir string, l *walLog, floor uint64) ([]planner.TailEntry, int, error) {
	if l.last.index <= floor || l.endIndex() > l.last.index {
		return nil, 0, nil
	}
	names, err := walFiles(dir)
	if err != nil {
		return nil, 0, err
	}
	var t tailList
	for _, name := range filesFrom(names, floor+1) {
		bad, err := scanWAL(name, 0, func(d wal.Decoder, rec *walpb.Record) error {
			switch rec.GetType() {
			case wal.CrcType:
				d.UpdateCRC(rec.GetCrc())
			case wal.EntryType:
				var e raftpb.Entry
				if err := proto.Unmarshal(rec.Data, &e); err != nil {
					return err
				}
				// A log that is being written has grown since.
				if e.GetIndex() > floor && e.GetIndex() <= l.last.index {
					t.add(&e)
				}
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		if bad.err != nil {
			break
		}
	}
	list := t.entries()
	return list, max(0, int(l.last.index-max(floor, l.first-1))-len(list)), nil
}

// filesFrom leaves out the files whose entries are all before index. A file is
// named after the entry that follows when it is begun.
func filesFrom(names []string, index uint64) []string {
	for i := len(names) - 1; i > 0; i-- {
		if _, first, _ := parseWALName(filepath.Base(names[i])); first <= index {
			return names[i:]
		}
	}
	return names
}
