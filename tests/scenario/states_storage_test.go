package scenario

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	utl "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

var storageStates = []stateCase{
	{"a member's disk is harmed", []int{36, 37, 38, 40, 39, 41, 43, 44}, harmedDisks},
	{"an older etcd's directory", []int{45}, olderDirectory},
	{"a second process on a directory", []int{46}, heldTwice},
	{"a snapshot that can't be used", []int{48}, badSnapshot},
	{"no space, and a snapshot of then", []int{49, 50}, noSpace},
}

// harm is done to the disk of one of three, which is stopped.
type harm struct {
	name  string
	do    func(x *sight, dir, older string)
	state planner.StateCode
	words string // etcd's last ones when it is started on it; none where it takes it
}

var harms = []harm{
	{"the WAL is gone", func(x *sight, dir, _ string) { remove(x.T, filepath.Join(dir, "member/wal")) },
		planner.StateWALLost, "has already been bootstrapped"},
	{"the WAL is another's", func(x *sight, dir, older string) {
		remove(x.T, filepath.Join(dir, "member/wal"))
		copyDir(x.T, filepath.Join(older, "member/wal"), filepath.Join(dir, "member/wal"))
	}, planner.StateWALLost, "[lastIndex("},
	{"the db is gone", func(x *sight, dir, _ string) { remove(x.T, filepath.Join(dir, "member/snap/db")) },
		planner.StateDBLost, "failed to find database snapshot file"},
	{"snap is gone", func(x *sight, dir, _ string) { remove(x.T, filepath.Join(dir, "member/snap")) },
		planner.StateSnapDirLost, "failed to find database snapshot file"},
	{"pages of the db", func(x *sight, dir, _ string) {
		path := filepath.Join(dir, "member/snap/db")
		b := read(x.T, path)
		for i := range 8192 {
			b[i] ^= 0xa5
		}
		write(x.T, path, b)
	}, planner.StateDBCorrupt, "invalid database"},
	{"a record of the WAL", func(x *sight, dir, _ string) { harmEntry(x, dir) },
		planner.StateWALCRC, "walpb: crc mismatch"},
	{"a sector of the WAL", func(x *sight, dir, _ string) { tearLog(x, dir) },
		planner.StateWALLost, "[lastIndex("}, // etcd takes it for the end of its log
	{"old .snap files", func(x *sight, dir, _ string) {
		snaps, _ := filepath.Glob(filepath.Join(dir, "member/snap/*.snap"))
		if len(snaps) == 0 {
			x.Fatal("no .snap files")
		}
		remove(x.T, snaps...)
	}, planner.StateSnapFilesLost, ""},
	{"an older db", func(x *sight, dir, older string) {
		write(x.T, filepath.Join(dir, "member/snap/db"), read(x.T, filepath.Join(older, "member/snap/db")))
	}, planner.StateDBOlderThanLog, "failed to find database snapshot file"},
	{"a newer etcd's", func(x *sight, dir, _ string) { setVersion(x, dir, "3.8.0") },
		planner.StateDirNewerThanBinary, `version \"3.8.0\" is not supported`},
}

// harmEntry changes a letter of a key in the middle of the log: nowhere else would
// etcd surely not take it for the log's end.
func harmEntry(x *sight, dir string) {
	x.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "member/wal/*.wal"))
	if len(logs) == 0 {
		x.Fatal("no log")
	}
	b := read(x.T, logs[0])
	at := bytes.LastIndex(b[:len(bytes.TrimRight(b, "\x00"))/2], []byte("/registry/things/"))
	if at < 0 {
		x.Fatal("no such key")
	}
	write(x.T, logs[0], flip(b, at+1, 0x20))
}

// tearLog makes zeroes of a sector in the middle of what the log has, as a write that
// never reached the disk does.
func tearLog(x *sight, dir string) {
	x.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "member/wal/*.wal"))
	if len(logs) == 0 {
		x.Fatal("no log")
	}
	b := read(x.T, logs[0])
	at := len(bytes.TrimRight(b, "\x00")) / 2 / 512 * 512
	clear(b[at : at+512])
	write(x.T, logs[0], b)
}

// setVersion writes what an etcd of another minor has in its db: 3.5 had no storage
// version.
func setVersion(x *sight, dir, version string) {
	x.Helper()
	db, err := bolt.Open(filepath.Join(dir, "member/snap/db"), 0o600, nil)
	if err != nil {
		x.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if version == "" {
			return errors.Join(tx.Bucket([]byte("meta")).Delete([]byte("storageVersion")),
				tx.Bucket([]byte("cluster")).Put([]byte("clusterVersion"), []byte("3.5.0")))
		}
		return errors.Join(tx.Bucket([]byte("meta")).Put([]byte("storageVersion"), []byte(version)),
			tx.Bucket([]byte("cluster")).Put([]byte("clusterVersion"), []byte(version)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		x.Fatal(err)
	}
}

func harmedDisks(x *sight) {
	c, hs := x.byHand(3, "--snapshot-count=50")
	lead(x.T, hs, 0)
	m := c.Members[2]
	older, good := x.e.Path("older"), x.e.Path("good")
	hs[2].Term()
	copyDir(x.T, m.DataDir, older)
	hs[2].Serve()
	harness.Fill(x, hs.Endpoints()[:1], 200)
	hs[2].Await()
	hs[2].Term()
	copyDir(x.T, m.DataDir, good)
	for _, h := range harms {
		remove(x.T, m.DataDir)
		copyDir(x.T, good, m.DataDir)
		h.do(x, m.DataDir, older)
		x.Logf("%s:", h.name)
		if h.state == planner.StateDirNewerThanBinary {
			x.shows(c, h.state, "m3", "minority-down@m3")
		} else {
			x.shows(c, h.state, "m3")
		}
		remove(x.T, hs[2].Log())
		if h.words == "" {
			hs[2].Serve()
			hs[2].Term()
			continue
		}
		hs[2].Start()
		hs[2].AwaitEnd()
		x.logged(hs[2].Log(), h.words)
	}
}

// olderDirectory makes a directory of 3.5: its db names no version, and its log has
// requests of the API that 3.7 knows no more. It is those that 3.7 dies of; a 3.5
// that has compacted them away it takes.
func olderDirectory(x *sight) {
	c := x.e.Cluster(1).Write()
	m := c.Members[0]
	h := x.e.Hand(m, nil)
	h.Serve()
	h.Term()
	setVersion(x, m.DataDir, "")
	// {id: 1, method: "PUT", path: "/0/version", val: "3.5.0"}, an etcdserverpb.Request.
	v2 := append([]byte("\x08\x01\x12\x03PUT\x1a\x0a/0/version\x22\x05"), "3.5.0"...)
	w, err := wal.Open(zap.NewNop(), filepath.Join(m.DataDir, "member/wal"), &walpb.Snapshot{})
	if err != nil {
		x.Fatal(err)
	}
	_, state, entries, err := w.ReadAll()
	if err == nil {
		next := entries[len(entries)-1].GetIndex() + 1
		state.Commit = new(next)
		err = w.Save(state, []*raftpb.Entry{{Term: state.Term, Index: new(next), Data: v2}})
	}
	if err := errors.Join(err, w.Close()); err != nil {
		x.Fatal(err)
	}
	p := x.shows(c, planner.StateDirOlderThanBinary, "m1", "minority-down@m1",
		"etcd-19557", "etcd-20793", "etcd-20995", "etcd-upgrade-path") // what 3.5 had, of an audit
	if p.Refusal == nil {
		x.Errorf("not refused: route %s", p.Route)
	}
	remove(x.T, h.Log())
	h.Start()
	h.AwaitEnd()
	x.logged(h.Log(), "unmarshal should never fail")
}

func heldTwice(x *sight) {
	c, _ := bootstrapped(x.T, x.e, 3)
	m := c.Members[2]
	ports := x.e.Ports(2)
	h := x.e.Hand(harness.Member{Name: m.Name, DataDir: m.DataDir, Client: ports.URL(0), Peer: ports.URL(1)}, nil)
	h.Start()
	x.logged(h.Log(), "flocked by another process")
	if p := x.shows(c, planner.StateDirHeldTwice, "m3"); p.Route != "in-sync" {
		x.Errorf("route %s, refusal %q", p.Route, p.Code())
	}
	harness.Hands{h}.Kill9()
}

func badSnapshot(x *sight) {
	good := oldCluster(x.T).snapshot
	for words, b := range map[string][]byte{
		"expected sha256":       flip(good, len(good)/2, 1),
		"snapshot missing hash": good[:len(good)-32],
	} {
		dir := strings.ReplaceAll(words, " ", "-")
		c := x.e.ClusterIn(dir, 3)
		c.Snapshot = "snapshot.db"
		path := write(x.T, filepath.Join(c.Dir, "snapshot.db"), b)
		p := x.e.Plan(c.Write().Path())
		x.planned(p, planner.StateSnapshotBad, "")
		if !strings.HasPrefix(p.Code(), "snapshot-") {
			x.Errorf("refusal %q", p.Code())
		}
		m := c.Members[0]
		err := utl.NewV3(zap.NewNop()).Restore(utl.RestoreConfig{
			SnapshotPath: path, Name: m.Name, OutputDataDir: x.e.Path(dir, "out"), PeerURLs: []string{m.Peer},
			InitialCluster: m.Name + "=" + m.Peer, InitialClusterToken: "x",
		})
		if err == nil || !strings.Contains(err.Error(), words) {
			x.Errorf("etcdutl: %v, want %q", err, words)
		}
	}
}

func noSpace(x *sight) {
	c := x.e.Cluster(1).Write()
	m := c.Members[0]
	h := x.e.Hand(m, nil, "--quota-backend-bytes=1048576")
	h.Serve()
	cli := harness.Client(x, m.Client)
	for i := 0; ; i++ {
		_, err := cli.Put(harness.Context(x), "k", strings.Repeat("x", 100_000))
		if err != nil && strings.Contains(err.Error(), "database space exceeded") {
			break
		}
		if err != nil || i > 100 {
			x.Fatal(i, err)
		}
	}
	x.shows(c, planner.StateSpaceExhausted, "m1")
	path := harness.Snapshot(x, m.Client, x.e.Path("full.db"))
	h.Term()

	// Restored, the alarm is of an ID that nobody has any more.
	c2 := x.e.ClusterIn("restored", 1).Write()
	m2 := c2.Members[0]
	err := utl.NewV3(zap.NewNop()).Restore(utl.RestoreConfig{
		SnapshotPath: path, Name: m2.Name, OutputDataDir: m2.DataDir, PeerURLs: []string{m2.Peer},
		InitialCluster: m2.Name + "=" + m2.Peer, InitialClusterToken: "another",
	})
	if err != nil {
		x.Fatal(err)
	}
	h2 := x.e.Hand(m2, nil)
	h2.Serve()
	x.shows(c2, planner.StateAlarmInherited, "")
}
