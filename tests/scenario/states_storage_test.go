package scenario

import (
	"errors"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	utl "go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

var storageStates = []stateCase{
	{"a member's disk is harmed", []int{36, 37, 38, 40, 41, 43, 44, 45}, harmedDisks},
	{"a second process on a directory", []int{46}, heldTwice},
	{"a snapshot that can't be used", []int{48}, badSnapshot},
	{"no space, and a snapshot of then", []int{49, 50}, noSpace},
}

// harm is done to the disk of one of three, which is stopped.
type harm struct {
	name  string
	do    func(x *sight, dir, older string)
	state planner.StateCode
	words string // etcd's, when it is started on it
}

var harms = []harm{
	{"the WAL is gone", func(x *sight, dir, _ string) { remove(x.T, filepath.Join(dir, "member/wal")) },
		planner.StateWALLost, "wal"},
	{"the WAL is another's", func(x *sight, dir, older string) {
		remove(x.T, filepath.Join(dir, "member/wal"))
		copyDir(x.T, filepath.Join(older, "member/wal"), filepath.Join(dir, "member/wal"))
	}, planner.StateWALLost, ""},
	{"the db is gone", func(x *sight, dir, _ string) { remove(x.T, filepath.Join(dir, "member/snap/db")) },
		planner.StateDBLost, "failed to find database snapshot file"},
	{"snap is gone", func(x *sight, dir, _ string) { remove(x.T, filepath.Join(dir, "member/snap")) },
		planner.StateSnapDirLost, ""},
	{"pages of the db", func(x *sight, dir, _ string) {
		path := filepath.Join(dir, "member/snap/db")
		b := read(x.T, path)
		for i := range 8192 {
			b[i] ^= 0xa5
		}
		write(x.T, path, b)
	}, planner.StateDBCorrupt, "invalid database"},
	{"a record of the WAL", func(x *sight, dir, _ string) { harmLog(x.T, dir) },
		planner.StateWALCRC, "walpb: crc mismatch"},
	{"an older db", func(x *sight, dir, older string) {
		write(x.T, filepath.Join(dir, "member/snap/db"), read(x.T, filepath.Join(older, "member/snap/db")))
	}, planner.StateDBOlderThanLog, "failed to find database snapshot file"},
	{"a newer etcd's", func(x *sight, dir, _ string) { setVersion(x, dir, "3.8.0") },
		planner.StateDirNewerThanBinary, "not supported"},
	{"an older etcd's", func(x *sight, dir, _ string) { setVersion(x, dir, "") },
		planner.StateDirOlderThanBinary, ""},
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
		x.shows(c, h.state, "m3")
		log := hs[2].Log()
		remove(x.T, log)
		hs[2].Start()
		hs[2].AwaitEnd()
		for _, l := range strings.Split(string(read(x.T, log)), "\n") {
			if strings.Contains(l, "panic") || strings.Contains(l, "fatal") || strings.Contains(l, `"error"`) {
				x.Logf("etcd: %.400s", l)
			}
		}
	}
}

func heldTwice(x *sight) {
	c, _ := bootstrapped(x.T, x.e, 3)
	m := c.Members[2]
	x.e.Run("stop", "--auto-approve", "--member", m.Name, c.Path()).Want(x, 0)
	ports := x.e.Ports(2)
	h := x.e.Hand(harness.Member{Name: m.Name, DataDir: m.DataDir, Client: ports.URL(0), Peer: ports.URL(1)}, nil)
	h.Start()
	x.logged(h.Log(), "serving", "ready to serve")
	x.shows(c, planner.StateDirHeldTwice, "m3")

	// What etcd itself says to the second one.
	ports = x.e.Ports(2)
	second := x.e.Hand(harness.Member{Name: "second", DataDir: m.DataDir, Client: ports.URL(0), Peer: ports.URL(1)}, nil)
	second.Start()
	x.logged(second.Log(), "flocked")
	harness.Hands{second, h}.Kill9()
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
		p := x.shows(c.Write(), planner.StateSnapshotBad, "")
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
