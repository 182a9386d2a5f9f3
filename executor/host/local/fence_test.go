package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

var oldIdentity = planner.Identity{ClusterID: "aaaa", MemberID: "1"}

func fenceOf(p planner.Place) planner.Fence {
	return planner.Fence{Members: []planner.FenceMember{{Place: p, Over: oldIdentity}}}
}

func unfenceOf(p planner.Place) planner.Unfence {
	return planner.Unfence{Members: fenceOf(p).Members}
}

// onePlace has old data and nothing else.
func onePlace(t *testing.T, ownWAL bool) (planner.Place, host.Layout) {
	t.Helper()
	dir := t.TempDir()
	p := planner.Place{Name: "m1", DataDir: filepath.Join(dir, "m1")}
	if ownWAL {
		p.WALDir = filepath.Join(dir, "wal1")
	}
	makeMember(t, p.DataDir, p.WALDir, oldCluster, 1)
	return p, host.LayoutOf(p.DataDir, p.WALDir)
}

// eachCrash crashes do before and after each of its renames, on a place of its own
// each time, until it gets through.
func eachCrash(t *testing.T, least int, do func(t *testing.T, crash func(func()) bool)) {
	t.Helper()
	for _, effect := range []bool{false, true} {
		for n := 1; ; n++ {
			crashed := false
			do(t, func(f func()) bool {
				crashed = crashAt(n, effect, f)
				return crashed
			})
			if t.Failed() {
				t.Fatalf("at rename %d, after it: %t", n, effect)
			}
			if !crashed {
				if n <= least {
					t.Fatalf("only %d renames", n-1)
				}
				break
			}
		}
	}
}

func wantOld(t *testing.T, p planner.Place) {
	t.Helper()
	if from, _ := os.ReadFile(filepath.Join(p.DataDir, "member", "from")); string(from) != "aaaa" {
		t.Errorf("%s holds %q", p.DataDir, from)
	}
}

// The path is never absent, the data is always there once, and what was begun can
// be finished or undone.
func TestFenceCrashes(t *testing.T) {
	for _, ownWAL := range []bool{false, true} {
		for _, undo := range []bool{false, true} {
			eachCrash(t, 1, func(t *testing.T, crash func(func()) bool) {
				d := New(Options{})
				p, l := onePlace(t, ownWAL)
				crash(func() { must(t, fence(t.Context(), fenceOf(p).Members[0])) })
				wantOneOld(t, l)
				if undo {
					must(t, d.Unfence(t.Context(), unfenceOf(p)))
					wantOld(t, p)
					if _, err := os.Stat(l.Aside()); !notExist(err) {
						t.Error("something of the fence is left")
					}
					return
				}
				must(t, d.Fence(t.Context(), fenceOf(p)))
				must(t, d.Fence(t.Context(), fenceOf(p)))
				wantFence(t, d, p, l)
			})
		}
	}
}

func wantOneOld(t *testing.T, l host.Layout) {
	t.Helper()
	if n := found(t, filepath.Dir(l.DataDir), "aaaa"); n != 1 {
		t.Errorf("the old data is there %d times", n)
	}
	if _, err := os.Lstat(l.FencePath()); err != nil {
		t.Error(err)
	}
}

func wantFence(t *testing.T, d *Driver, p planner.Place, l host.Layout) {
	t.Helper()
	v := d.observe(t.Context(), p).Data.Value
	if v.State != planner.DirFenced || v.Fenced == nil || v.Fenced.ClusterID != "aaaa" || len(v.Evidence) != 1 {
		t.Errorf("%+v", v)
	}
	if n := len(slots(l.Aside())); n != 1 {
		t.Errorf("%d slots", n)
	}
}

func TestUnfenceCrashes(t *testing.T) {
	eachCrash(t, 1, func(t *testing.T, crash func(func()) bool) {
		d := New(Options{})
		p, l := onePlace(t, false)
		must(t, d.Fence(t.Context(), fenceOf(p)))
		crash(func() { must(t, unfence(context.Background(), unfenceOf(p).Members[0])) })
		wantOneOld(t, l)
		must(t, d.Unfence(t.Context(), unfenceOf(p)))
		must(t, d.Unfence(t.Context(), unfenceOf(p)))
		wantOld(t, p)
		if _, err := os.Stat(l.Aside()); !notExist(err) {
			t.Error("something of the fence is left")
		}
	})
}

// What is restored over a fence keeps what is behind it, whatever interrupts it.
func TestInstallOverFenceCrashes(t *testing.T) {
	for _, ownWAL := range []bool{false, true} {
		eachCrash(t, 2, func(t *testing.T, crash func(func()) bool) {
			d := New(Options{})
			p, l := stage(t, t.TempDir(), ownWAL)
			must(t, d.Fence(t.Context(), fenceOf(p)))
			m := planner.InstallMember{Place: p}
			crash(func() { must(t, install(t.Context(), m, token)) })
			wantOneOld(t, l)
			if n := found(t, filepath.Dir(p.DataDir), "bbbb"); n != 1 {
				t.Errorf("the new data is there %d times", n)
			}
			if v := d.observe(t.Context(), p).Data.Value; (v.State == planner.DirFenced) != (v.Staged == token) || v.ProvenanceAgrees != (v.State == planner.DirPresent) {
				t.Errorf("%+v", v)
			}
			must(t, install(t.Context(), m, token))
			checkInstalled(t, "over a fence", p, l)
			kept := keptData(l)
			if len(kept) != 1 {
				t.Fatalf("kept: %v", kept)
			}
			for _, s := range slots(l.Aside()) {
				if s.fenceIn != "" {
					t.Errorf("a plain file of the fence is left: %s", s.fenceIn)
				}
			}
			if _, err := os.Stat(filepath.Join(l.Aside(), filepath.Base(kept[0]), "was-fenced.json")); err != nil {
				t.Error(err)
			}
		})
	}
}

// The path is never absent either: what was set aside has a fence before it.
func TestSetAsideCrashes(t *testing.T) {
	effect := 0
	for _, ownWAL := range []bool{false, true} {
		for _, behind := range []bool{false, true} {
			eachCrash(t, 0, func(t *testing.T, crash func(func()) bool) {
				d := New(Options{})
				p, l := onePlace(t, ownWAL)
				if behind {
					must(t, d.Fence(t.Context(), fenceOf(p)))
				}
				a := planner.SetAside{Place: p, Over: oldIdentity}
				crash(func() { must(t, d.SetAside(context.Background(), a)) })
				wantOneOld(t, l)
				must(t, d.SetAside(t.Context(), a))
				must(t, d.SetAside(t.Context(), a))
				wantOneOld(t, l)
				wantFence(t, d, p, l)
				if !vacant(l) || len(keptData(l)) != 1 {
					t.Errorf("vacant: %t, kept: %v", vacant(l), keptData(l))
				}
				if wals := slots(l.AsideWAL()); ownWAL && (len(wals) != 1 || !process.Vacant(l.WALDir)) {
					t.Errorf("logs: %v", wals)
				}
				other := a
				other.Over.MemberID = "2"
				if d.SetAside(t.Context(), other) == nil {
					t.Error("another member's was set aside")
				}
				if effect++; effect%2 == 0 {
					return
				}
				must(t, d.Unfence(t.Context(), unfenceOf(p)))
				must(t, d.Unfence(t.Context(), unfenceOf(p)))
				wantOld(t, p)
				if v := d.observe(t.Context(), p).Data.Value; v.ClusterID != "aaaa" || len(slots(l.Aside())) != 0 {
					t.Errorf("unfenced: %+v", v)
				}
			})
		}
	}
}

// A log that can't be read is moved only where the plan says why.
func TestSetAsideUnreadable(t *testing.T) {
	p, l := onePlace(t, false)
	must(t, os.RemoveAll(filepath.Join(l.MemberDir(), "wal")))
	must(t, os.WriteFile(filepath.Join(l.MemberDir(), "snap", "db"), []byte("x"), 0o600))
	d := New(Options{})
	for _, a := range []planner.SetAside{{Place: p}, {Place: p, Over: oldIdentity, Problem: "wal directory lost"}} {
		if err := d.SetAside(t.Context(), a); err == nil || !strings.Contains(err.Error(), "did not see") {
			t.Errorf("%+v: %v", a, err)
		}
	}
	wantOld(t, p)
	for range 2 {
		must(t, d.SetAside(t.Context(), planner.SetAside{Place: p, Problem: "wal directory lost"}))
	}
	if v := d.observe(t.Context(), p).Data; v.Value.State != planner.DirFenced || v.Value.Fenced.Problem == "" || !vacant(l) {
		t.Errorf("%+v", v)
	}
	if err := d.SetAside(t.Context(), planner.SetAside{Place: p, Over: oldIdentity}); err == nil {
		t.Error("what can't be read passed for the old data")
	}
}

// A log of its own goes aside alone where its data is lost; the path stays.
func TestSetAsideLogAlone(t *testing.T) {
	for _, empty := range []bool{false, true} {
		eachCrash(t, 1, func(t *testing.T, crash func(func()) bool) {
			d := New(Options{})
			p, l := onePlace(t, true)
			must(t, os.RemoveAll(p.DataDir))
			if empty {
				must(t, os.Mkdir(p.DataDir, 0o700))
			}
			a := planner.SetAside{Place: p, Over: oldIdentity}
			wrong := a
			wrong.Over.ClusterID = "beef"
			if d.SetAside(t.Context(), wrong) == nil {
				t.Error("another member's log was moved")
			}
			crash(func() { must(t, d.SetAside(context.Background(), a)) })
			for range 2 {
				must(t, d.SetAside(t.Context(), a))
			}
			want := planner.DirAbsent
			if empty {
				want = planner.DirEmpty
			}
			if v := d.observe(t.Context(), p).Data.Value; v.State != want || v.ClusterID != "" || !vacant(l) {
				t.Errorf("%+v", v)
			}
			if n := len(slots(l.AsideWAL())); n != 1 {
				t.Errorf("%d logs", n)
			}
		})
	}
}

// What somebody has open stays where it is, behind a fence too.
func TestSetAsideRefusesWhatIsHeld(t *testing.T) {
	d := New(Options{})
	p, l := onePlace(t, false)
	files, _ := filepath.Glob(filepath.Join(l.MemberDir(), "wal", "*.wal"))
	f, err := fileutil.LockFile(files[0], os.O_RDWR, 0o600)
	must(t, err)
	a := planner.SetAside{Place: p, Over: oldIdentity}
	wantHeld := func() {
		t.Helper()
		if err := d.SetAside(t.Context(), a); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("got %v", err)
		}
	}
	wantHeld()
	_, err = fenceFree(context.Background(), l) // as if it had come after the first look
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	wantOld(t, p)
	if _, err := os.Stat(l.Aside()); !notExist(err) {
		t.Error("something of the fence is left")
	}
	_, err = putFence(context.Background(), l)
	must(t, err)
	wantHeld()
	must(t, f.Close())
	must(t, d.SetAside(t.Context(), a))
	wantOneOld(t, l)
}

// A recovery in place has the IDs of what is behind the fence: neither is ever
// taken for the other.
func TestForceNewIsNotTheOldData(t *testing.T) {
	for _, ownWAL := range []bool{false, true} {
		d := New(Options{})
		p, l := onePlace(t, ownWAL)
		old := planner.Provenance{Kind: planner.ProvenanceBootstrap, Token: "token-one", ClusterID: "aaaa", MemberID: "1"}
		must(t, record(context.Background(), l, old))
		put(t, l.Ran(), `{"token":"token-one"}`)
		must(t, d.Fence(t.Context(), fenceOf(p)))
		now := old
		now.Kind, now.Token = planner.ProvenanceForceNew, "token-two"
		must(t, record(context.Background(), l, now))
		if v := d.observe(t.Context(), p).Data.Value; v.ProvenanceAgrees || recovered(l, &now) {
			t.Errorf("%+v", v)
		}
		if err := install(t.Context(), planner.InstallMember{Place: p}, now.Token); err == nil || !strings.Contains(err.Error(), "nothing is staged") {
			t.Errorf("installed nothing: %v", err)
		}
		must(t, d.Unfence(t.Context(), unfenceOf(p)))
		if v := d.observe(t.Context(), p).Data.Value; !v.ProvenanceAgrees || v.Provenance.Token != old.Token || !v.EverRan {
			t.Errorf("%+v", v)
		}
	}
}

// Somebody's own plain file is no fence.
func TestPlainFileIsNoFence(t *testing.T) {
	p, _ := onePlace(t, false)
	must(t, os.Rename(p.DataDir, p.DataDir+".x"))
	put(t, p.DataDir, "precious")
	d := New(Options{})
	if v := d.observe(t.Context(), p).Data.Value; v.State != planner.DirNotDir {
		t.Errorf("%+v", v)
	}
	if d.Unfence(t.Context(), unfenceOf(p)) == nil || d.Fence(t.Context(), fenceOf(p)) == nil {
		t.Error("it was taken for one")
	}
	if b, _ := os.ReadFile(p.DataDir); string(b) != "precious" {
		t.Errorf("it holds %q", b)
	}
}

func fenceInside(t *testing.T, p planner.Place, l host.Layout) {
	t.Helper()
	d := New(Options{})
	over := planner.Identity{ClusterID: fmt.Sprintf("%x", newCluster), MemberID: "2"}
	members := []planner.FenceMember{{Place: p, Over: over}}
	for range 2 {
		must(t, d.Fence(t.Context(), planner.Fence{Members: members}))
	}
	if v := d.observe(t.Context(), p).Data.Value; v.State != planner.DirFenced || v.Fenced.ClusterID != over.ClusterID {
		t.Errorf("%+v", v)
	}
	if fi, err := os.Lstat(l.MemberDir()); err != nil || !fi.Mode().IsRegular() {
		t.Error(err)
	}
	for range 2 {
		must(t, d.Unfence(t.Context(), planner.Unfence{Members: members}))
	}
	if v := d.observe(t.Context(), p).Data.Value; v.State != planner.DirPresent || v.ClusterID != over.ClusterID {
		t.Errorf("%+v", v)
	}
	for range 2 {
		must(t, d.SetAside(t.Context(), planner.SetAside{Place: p, Over: over}))
	}
	if v := d.observe(t.Context(), p).Data.Value; v.State != planner.DirFenced || v.Fenced.ClusterID != over.ClusterID || !vacant(l) {
		t.Errorf("%+v", v)
	}
	must(t, d.Unfence(t.Context(), planner.Unfence{Members: members}))
}
