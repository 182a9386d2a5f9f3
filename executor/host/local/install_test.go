package local

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// makeMember writes a directory with a log of that identity.
func makeMember(t *testing.T, dataDir, walDir string, cluster, member uint64) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dataDir, "member", "snap"), 0o700))
	must(t, os.WriteFile(filepath.Join(dataDir, "member", "from"), fmt.Appendf(nil, "%x", cluster), 0o600))
	if walDir == "" {
		walDir = filepath.Join(dataDir, "member", "wal")
	}
	must(t, os.MkdirAll(filepath.Dir(walDir), 0o700))
	meta, err := proto.Marshal(&etcdserverpb.Metadata{NodeID: &member, ClusterID: &cluster})
	must(t, err)
	w, err := wal.Create(zap.NewNop(), walDir, meta)
	must(t, err)
	must(t, w.Close())
}

const (
	oldCluster, newCluster = 0xaaaa, 0xbbbb
	token                  = "token-of-the-restore"
)

// stage sets up a place with old data (cluster aaaa) and a complete staging
// (cluster bbbb).
func stage(t *testing.T, dir string, ownWAL bool) (planner.Place, host.Layout) {
	t.Helper()
	p := planner.Place{Name: "m1", DataDir: filepath.Join(dir, "m1")}
	if ownWAL {
		p.WALDir = filepath.Join(dir, "wal1")
	}
	makeMember(t, p.DataDir, p.WALDir, oldCluster, 1)
	l := host.LayoutOf(p.DataDir, p.WALDir)
	stagedWAL := ""
	if ownWAL {
		stagedWAL = l.StagingWAL()
	}
	makeMember(t, l.StagingData(), stagedWAL, newCluster, 2)
	must(t, os.WriteFile(l.StagingDone(), []byte(token+"\n"), 0o600))
	must(t, writeProvenance(context.Background(), l, planner.Provenance{Kind: planner.ProvenanceRestore, Token: token, ClusterID: "bbbb", MemberID: "2"}))
	return p, l
}

// TestInstallCrashes crashes before and after each rename of an install. At each
// point both directories are whole, the data path is there, whatever comes next
// keeps the old data, and the same request finishes the work.
func TestInstallCrashes(t *testing.T) {
	for _, ownWAL := range []bool{false, true} {
		for _, effect := range []bool{false, true} {
			for n := 1; ; n++ {
				name := fmt.Sprintf("wal=%t after=%t rename=%d", ownWAL, effect, n)
				p, l := stage(t, t.TempDir(), ownWAL)
				if !crashAt(n, effect, func() { must(t, install(t.Context(), overOld(p), token)) }) {
					if n < 3 {
						t.Fatalf("%s: never crashed", name)
					}
					break
				}
				checkCrashed(t, name, p, l)
				must(t, install(t.Context(), overOld(p), token))
				checkInstalled(t, name, p, l)
			}
		}
	}
}

// TestInstallCrashThenAnotherRestore: what follows the crash clears the staging
// for another restore. The old data must survive that.
func TestInstallCrashThenAnotherRestore(t *testing.T) {
	for _, next := range []string{token, "token-of-another"} {
		for _, effect := range []bool{false, true} {
			for n := 1; ; n++ {
				p, l := stage(t, t.TempDir(), true)
				if !crashAt(n, effect, func() { must(t, install(t.Context(), overOld(p), token)) }) {
					break
				}
				crashAt(1, false, func() { _ = clearStaging(l, next) }) // and crash in there
				must(t, clearStaging(l, next))
				if n := found(t, filepath.Dir(p.DataDir), "aaaa"); n != 1 {
					t.Fatalf("rename %d, %s: the old data is there %d times", n, next, n)
				}
			}
		}
	}
}

type crash struct{}

// crashAt runs do, which dies at its nth rename, before or after the effect.
func crashAt(n int, effect bool, do func()) (crashed bool) {
	real := renameat2
	defer func() {
		renameat2 = real
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			crashed = true
		}
	}()
	renameat2 = func(fd1 int, from string, fd2 int, to string, flags uint) error {
		n--
		if n > 0 {
			return real(fd1, from, fd2, to, flags)
		}
		if effect {
			_ = real(fd1, from, fd2, to, flags)
		}
		panic(crash{})
	}
	do()
	return false
}

func checkCrashed(t *testing.T, name string, p planner.Place, l host.Layout) {
	t.Helper()
	dir := filepath.Dir(p.DataDir)
	if found(t, dir, "aaaa") != 1 || found(t, dir, "bbbb") != 1 {
		t.Fatalf("%s: a directory is gone", name)
	}
	if _, err := os.Stat(l.MemberDir()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	d := New(Options{}).observe(t.Context(), p).Data.Value
	if installed, _ := os.ReadFile(filepath.Join(l.MemberDir(), "from")); string(installed) == "bbbb" {
		if !d.ProvenanceAgrees || d.Staged != "" {
			t.Fatalf("%s: installed, and seen as %+v", name, d)
		}
	} else if d.Staged != token || d.ProvenanceAgrees {
		t.Fatalf("%s: not installed, and seen as %+v", name, d)
	}
}

func checkInstalled(t *testing.T, name string, p planner.Place, l host.Layout) {
	t.Helper()
	if found(t, filepath.Dir(p.DataDir), "aaaa") != 1 {
		t.Fatalf("%s: the old data is gone", name)
	}
	if from, _ := os.ReadFile(filepath.Join(l.MemberDir(), "from")); string(from) != "bbbb" {
		t.Fatalf("%s: %s holds %q", name, l.MemberDir(), from)
	}
	prov, err := readProvenance(l)
	must(t, err)
	if !is(l.DataDir, l.WALDir, prov) {
		t.Fatalf("%s: data and WAL do not belong together", name)
	}
	if _, err := os.Stat(l.Staging()); !notExist(err) {
		t.Errorf("%s: the staging is left", name)
	}
}

// found counts the directories that came from a cluster.
func found(t *testing.T, dir, from string) (n int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if b, _ := os.ReadFile(path); d.Name() == "from" && string(b) == from {
			n++
		}
		return err
	}))
	return n
}

func TestInstallRefusesWhatIsHeld(t *testing.T) {
	p, l := stage(t, t.TempDir(), false)
	files, _ := filepath.Glob(filepath.Join(l.MemberDir(), "wal", "*.wal"))
	f, err := fileutil.LockFile(files[0], os.O_RDWR, 0o600)
	must(t, err)
	err = install(t.Context(), overOld(p), token)
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	must(t, f.Close())
	must(t, install(t.Context(), overOld(p), token))
}

func TestRemoveOwnRefuses(t *testing.T) {
	dir := t.TempDir()
	p, l := stage(t, dir, true)
	outside := filepath.Join(dir, "outside")
	must(t, os.Mkdir(outside, 0o700))
	must(t, os.Symlink(outside, filepath.Join(l.Staging(), "link")))
	for _, path := range []string{
		p.DataDir, p.WALDir, l.Base(), l.Aside(), l.MemberDir(), dir, "/", outside,
		filepath.Join(l.Staging(), "..", "..", "outside"), filepath.Join(l.Staging(), "link"),
	} {
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		if err := removeOwn(l, path); err == nil {
			t.Errorf("removed %s", path)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("%s is gone: %v", path, err)
		}
	}
	// A staging that is itself a link leads elsewhere.
	must(t, os.Rename(l.Staging(), filepath.Join(outside, "staging")))
	must(t, os.Symlink(filepath.Join(outside, "staging"), l.Staging()))
	if removeOwn(l, l.StagingData()) == nil || removeOwn(l, l.Staging()) == nil {
		t.Error("removed through a link")
	}
	must(t, os.Remove(l.Staging()))
	must(t, os.Rename(filepath.Join(outside, "staging"), l.Staging()))
	must(t, removeOwn(l, l.StagingData()))
	must(t, removeOwn(l, l.StagingData()))
	must(t, removeOwn(l, l.StagingWAL()))
}

func TestNoRoom(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "snapshot.db")
	f, err := os.Create(big)
	must(t, err)
	must(t, f.Truncate(1<<43)) // sparse
	must(t, f.Close())
	a := planner.Restore{Snapshot: big, Members: []planner.ClaimMember{{
		Place:      planner.Place{Name: "m1", DataDir: filepath.Join(dir, "m1")},
		Provenance: planner.Provenance{Token: token},
	}}}
	err = New(Options{}).Restore(t.Context(), a, nil)
	if err == nil || !strings.Contains(err.Error(), "not enough room") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was written: %v", entries)
	}
}

// overOld lets the old data of stage go aside.
func overOld(p planner.Place) planner.InstallMember {
	return planner.InstallMember{Place: p, Over: planner.Identity{ClusterID: "aaaa", MemberID: "1"}}
}

// TestInstallRefusesUnseenData: data that is not what the plan saw stays (S5).
func TestInstallRefusesUnseenData(t *testing.T) {
	for _, over := range []planner.Identity{{}, {ClusterID: "aaaa", MemberID: "2"}, {ClusterID: "cccc", MemberID: "1"}} {
		p, _ := stage(t, t.TempDir(), false)
		err := install(t.Context(), planner.InstallMember{Place: p, Over: over}, token)
		if err == nil || !strings.Contains(err.Error(), "did not see") {
			t.Errorf("%+v: %v", over, err)
		}
		if b, err := os.ReadFile(filepath.Join(p.DataDir, "member", "from")); err != nil || string(b) != "aaaa" {
			t.Errorf("%+v: the data was moved: %q %v", over, b, err)
		}
	}
}
