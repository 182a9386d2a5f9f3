package etcd_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/ports"
)

func dirFreeURL(t testing.TB) url.URL {
	t.Helper()
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", ports.Free(t))}
}

type dirMember struct {
	cfg *embed.Config
	e   *embed.Etcd
	cli *clientv3.Client
}

func newDirMember(t testing.TB, walDir string) *dirMember {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.WalDir = "m1", filepath.Join(t.TempDir(), "data"), walDir
	c, p := dirFreeURL(t), dirFreeURL(t)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{c}, []url.URL{c}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{p}, []url.URL{p}
	cfg.InitialCluster = "m1=" + p.String()
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 50, 20
	return &dirMember{cfg: cfg}
}

// start runs it and returns a function that stops it.
func (m *dirMember) start(t testing.TB) (stop func()) {
	t.Helper()
	e, err := embed.StartEtcd(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			m.cli.Close()
			e.Close()
		})
	}
	m.cli, err = clientv3.New(clientv3.Config{Endpoints: []string{m.cfg.ListenClientUrls[0].String()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		t.Fatal("not ready")
	}
	m.e = e
	return stop
}

func (m *dirMember) put(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		if _, err := m.cli.Put(context.Background(), fmt.Sprintf("k%d", i), "v"); err != nil {
			t.Fatal(err)
		}
	}
}

func dirTree(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s %d %d", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// read reads a directory, which must stay as it is.
func read(t testing.TB, dir, walDir string) planner.DataDir {
	t.Helper()
	root := filepath.Dir(dir)
	if _, err := os.Stat(root); err != nil {
		root = filepath.Dir(root)
	}
	before := dirTree(t, root)
	f := etcd.ReadDataDir(dir, walDir)
	if dirTree(t, root) != before {
		t.Error("reading changed the directory")
	}
	if !f.Known() {
		t.Fatal(f.Why)
	}
	return f.Value
}

// copyDir copies a directory, of a member that runs too: a temporary file of etcd's
// that goes meanwhile is left out.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return gone(err)
		}
		at := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(at, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return gone(err)
		}
		return os.WriteFile(at, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// gone is err where it says anything else than that a file is no more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestReadDataDirWithoutMember(t *testing.T) {
	root := t.TempDir()
	mk := func(parts ...string) string {
		p := filepath.Join(append([]string{root}, parts...)...)
		if err := os.MkdirAll(p, 0o700); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file := filepath.Join(root, "file")
	os.WriteFile(file, nil, 0o600)
	link := filepath.Join(root, "link")
	os.Symlink(filepath.Join(root, "gone"), link)
	mk("mount", "lost+found")
	mk("mount", ".requorum")
	mk("fresh", "member", "snap")
	mk("fresh", "member", "wal")
	for path, want := range map[string]planner.DirState{
		"none": planner.DirAbsent, "none/below": planner.DirAbsent, "file": planner.DirNotDir,
		"mount": planner.DirEmpty, "fresh": planner.DirEmpty,
	} {
		d := read(t, filepath.Join(root, path), "")
		if d.State != want || d.Problem != "" || d.ClusterID != "" || d.Leftovers != (path == "fresh") || len(d.Evidence) > 0 != d.Leftovers {
			t.Errorf("%s: %+v, want %s", path, d, want)
		}
	}
	for _, path := range []string{"link", "file/below"} {
		if f := etcd.ReadDataDir(filepath.Join(root, path), ""); f.Known() || f.Why == "" {
			t.Errorf("%s: %+v", path, f)
		}
	}
	if _, _, err := etcd.Identity(filepath.Join(root, "none"), ""); !errors.Is(err, etcd.ErrNoWAL) {
		t.Error(err)
	}
}

func TestReadDataDirStopped(t *testing.T) {
	for _, separate := range []bool{false, true} {
		walDir := ""
		if separate {
			walDir = filepath.Join(t.TempDir(), "wal")
		}
		m := newDirMember(t, walDir)
		stop := m.start(t)
		m.put(t, 200)
		rev := must2(m.cli.Get(context.Background(), "k0"))(t).Header.Revision
		st := must2(m.cli.Status(context.Background(), m.cfg.ListenClientUrls[0].String()))(t)
		cluster, member := strconv.FormatUint(st.Header.ClusterId, 16), strconv.FormatUint(st.Header.MemberId, 16)
		stop()
		d := read(t, m.cfg.Dir, walDir)
		if d.State != planner.DirPresent || d.Problem != "" || d.ClusterID != cluster || d.MemberID != member ||
			d.Revision != rev || d.StorageVersion != "3.7.0" || d.HeldBy != 0 || d.DBSize == 0 ||
			d.LastIndex < st.RaftIndex || d.Commit > d.LastIndex || d.ConsistentIndex < st.RaftAppliedIndex ||
			d.LastTerm != st.RaftTerm || d.UncommittedMembership {
			t.Errorf("%+v\n%+v", d, st)
		}
		if len(d.Members) != 1 || d.Members[0].ID != member || d.Members[0].Name != "m1" || d.Members[0].Learner ||
			!slices.Equal(d.Members[0].PeerURLs, []string{m.cfg.AdvertisePeerUrls[0].String()}) || len(d.Members[0].ClientURLs) != 1 {
			t.Errorf("%+v", d.Members)
		}
		c, id, err := etcd.Identity(m.cfg.Dir, walDir)
		if c != cluster || id != member || err != nil {
			t.Error(c, id, err)
		}
		if separate {
			strayWAL(t, m.cfg.Dir, walDir, member)
		}
	}
}

func must2[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A data directory that is gone while its WAL is there is evidence.
func strayWAL(t *testing.T, dir, walDir, member string) {
	if err := os.Rename(dir, dir+".aside"); err != nil {
		t.Fatal(err)
	}
	d := read(t, dir, walDir)
	if d.State != planner.DirAbsent || d.MemberID != member || d.Problem == "" || len(d.Evidence) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestReadDataDirHeld(t *testing.T) {
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 120)
	done := make(chan struct{})
	go func() { // it moves while it is read
		defer close(done)
		for i := range 300 {
			if _, err := m.cli.Put(context.Background(), fmt.Sprintf("w%d", i), strings.Repeat("x", i*10)); err != nil {
				return
			}
		}
	}()
	for range 20 {
		f := etcd.ReadDataDir(m.cfg.Dir, "")
		d := f.Value
		if !f.Known() || d.State != planner.DirPresent || d.HeldBy != os.Getpid() || d.Problem != "" || d.MemberID == "" ||
			d.LastIndex == 0 || d.ConsistentIndex != 0 || d.Members != nil {
			t.Fatalf("%s %+v", f.Why, d)
		}
		// A copy of a live directory is what a power cut leaves, at best.
		c := etcd.ReadDataDir(copyDir(t, m.cfg.Dir), "")
		if !c.Known() || c.Value.HeldBy != 0 || c.Value.MemberID != d.MemberID {
			t.Errorf("%s %+v", c.Why, c.Value)
		}
	}
	<-done
	stop()
	if d := read(t, m.cfg.Dir, ""); d.HeldBy != 0 || d.Problem != "" {
		t.Errorf("%+v", d)
	}
	// Reading takes no lock that would be in a start's way.
	quit := make(chan struct{})
	go func() {
		for {
			select {
			case <-quit:
				return
			default:
				etcd.ReadDataDir(m.cfg.Dir, "")
			}
		}
	}()
	m.start(t)()
	close(quit)
}

func TestReadDataDirBroken(t *testing.T) {
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 200)
	stop()
	whole := read(t, m.cfg.Dir, "")
	walFile := func(dir string) string {
		names := must2(filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")))(t)
		return names[len(names)-1]
	}
	patch := func(name string, off int64, b []byte) {
		f := must2(os.OpenFile(name, os.O_RDWR, 0))(t)
		defer f.Close()
		must2(f.WriteAt(b, off))(t)
	}
	end := func(name string) int64 { // of the log's records
		b := must2(os.ReadFile(name))(t)
		return int64(len(strings.TrimRight(string(b), "\x00")))
	}
	for name, c := range map[string]struct {
		change  func(dir string)
		problem string // "" for none
	}{
		"wal lost":    {func(d string) { os.RemoveAll(filepath.Join(d, "member", "wal")) }, "wal directory lost"},
		"wal emptied": {func(d string) { os.Remove(walFile(d)) }, "wal directory lost"},
		"db lost":     {func(d string) { os.Remove(filepath.Join(d, "member", "snap", "db")) }, "failed to find database snapshot file"},
		"snap lost":   {func(d string) { os.RemoveAll(filepath.Join(d, "member", "snap")) }, "failed to find database snapshot file"},
		"db empty":    {func(d string) { os.Truncate(filepath.Join(d, "member", "snap", "db"), 0) }, "failed to find database snapshot file"},
		"db cut":      {func(d string) { os.Truncate(filepath.Join(d, "member", "snap", "db"), 8192) }, "invalid database"},
		"db garbage": {func(d string) {
			os.WriteFile(filepath.Join(d, "member", "snap", "db"), []byte(strings.Repeat("garbage ", 9999)), 0o600)
		}, "invalid database"},
		"wal crc": {func(d string) {
			n := walFile(d)
			patch(n, int64(strings.Index(string(must2(os.ReadFile(n))(t)), "k10"))+1, []byte{0xee})
		}, "crc mismatch"},
		"wal header": {func(d string) { patch(walFile(d), 200, []byte{0xee}) }, "wal: "},
		"wal torn": {func(d string) { // a record that a power cut left without its last sectors
			n := walFile(d)
			e := (end(n) + 7) &^ 7
			patch(n, e, []byte{0xd0, 7, 0, 0, 0, 0, 0, 0, 8, 2, 16, 1})
		}, ""},
		"wal cut": {func(d string) { n := walFile(d); os.Truncate(n, end(n)-3) }, ""},
		"wal shortened": {func(d string) { n := walFile(d); os.Truncate(n, end(n)/2) },
			"before the db's consistent_index"},
		".snap files lost": {func(d string) {
			for _, n := range must2(filepath.Glob(filepath.Join(d, "member", "snap", "*.snap")))(t) {
				os.Remove(n)
			}
		}, ""},
		"stray files": {func(d string) {
			os.WriteFile(filepath.Join(d, "member", "wal", "0.tmp"), []byte("x"), 0o600)
			os.WriteFile(filepath.Join(d, "member", "wal", "x.wal"), []byte("x"), 0o600)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, m.cfg.Dir)
			c.change(dir)
			d := read(t, dir, "")
			if d.State != planner.DirPresent || c.problem == "" && d.Problem != "" || !strings.Contains(d.Problem, c.problem) {
				t.Errorf("%s: %q, want %q", d.State, d.Problem, c.problem)
			}
			t.Log(d.Problem)
			if c.problem == "" && (d.Revision != whole.Revision || len(d.Members) != 1) {
				t.Errorf("%+v", d)
			}
			if c.problem == "" { // etcd agrees
				original := m.cfg.Dir
				defer func() { m.cfg.Dir = original }()
				m.cfg.Dir = dir
				m.start(t)()
			}
		})
	}
}

// No bytes make it panic, hang, or take a member for none.
func TestReadDataDirFlippedBytes(t *testing.T) {
	t.Parallel()
	m := newDirMember(t, "")
	stop := m.start(t)
	m.put(t, 20)
	stop()
	for _, rel := range []string{"member/snap/db", "wal"} {
		dir := copyDir(t, m.cfg.Dir)
		name := filepath.Join(dir, rel)
		if rel == "wal" {
			name = must2(filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal")))(t)[0]
			os.Truncate(name, 20000)
		}
		f := must2(os.OpenFile(name, os.O_RDWR, 0))(t)
		raw := must2(os.ReadFile(name))(t)
		for i := 0; i < min(len(raw), 40000); i += 11 {
			must2(f.WriteAt([]byte{raw[i] ^ byte(1<<(i%8))}, int64(i)))(t)
			d := etcd.ReadDataDir(dir, "")
			if !d.Known() || d.Value.State != planner.DirPresent {
				t.Fatalf("%s byte %d: %s %+v", rel, i, d.Why, d.Value)
			}
			must2(f.WriteAt(raw[i:i+1], int64(i)))(t)
		}
		f.Close()
	}
}

// TestReadDataDirUnreadable: no permission is unknown, never absent. Root reads
// everything, so there this one thread looks with somebody else's rights.
func TestReadDataDirUnreadable(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "data")
	if err := os.MkdirAll(filepath.Join(dir, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	if os.Getuid() == 0 {
		runtime.LockOSThread() // never unlocked: the thread ends with the test
		const nobody = 65534
		if err := unix.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(0)
	}
	if f := etcd.ReadDataDir(dir, ""); f.Known() || !strings.Contains(f.Why, "permission denied") {
		t.Errorf("%+v %s", f.Value, f.Why)
	}
}

// A membership change is listed once it is committed, and known before.
func TestReadDataDirMembership(t *testing.T) {
	m := newDirMember(t, "")
	stop := m.start(t)
	u := dirFreeURL(t)
	added := must2(m.cli.MemberAddAsLearner(context.Background(), []string{u.String()}))(t)
	stop()
	d := read(t, m.cfg.Dir, "")
	i := slices.IndexFunc(d.Members, func(l planner.ListedMember) bool {
		return l.ID == strconv.FormatUint(added.Member.ID, 16)
	})
	if len(d.Members) != 2 || i < 0 || !d.Members[i].Learner || d.Members[i].Name != "" || d.UncommittedMembership {
		t.Errorf("%+v", d)
	}
}

// Whoever has the lock holds the file, not whoever has it open: a second etcd on a
// directory opens the db, and then waits.
func TestHeldByWhoHasTheLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	locker := exec.Command("flock", "--no-fork", path, "sleep", "60")
	if err := locker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locker.Process.Kill(); _ = locker.Wait() }()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		pid, err := etcd.HeldBy(path)
		if err == nil && pid == locker.Process.Pid {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("held by %d (%v), want %d; this is %d", pid, err, locker.Process.Pid, os.Getpid())
		}
	}
}
