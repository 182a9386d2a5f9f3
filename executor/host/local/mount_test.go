package local

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// A data directory that is a mount point can't be renamed: only member/ is.
func TestDataDirIsMountPoint(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("mounting a tmpfs needs root: run the tests as root")
	}
	dir := t.TempDir()
	for name, mount := range map[string]func(to string) error{
		"tmpfs": func(to string) error { return unix.Mount("tmpfs", to, "tmpfs", 0, "size=300m") },
		"bind":  func(to string) error { return unix.Mount(t.TempDir(), to, "", unix.MS_BIND, "") },
	} {
		t.Run(name, func(t *testing.T) {
			at := filepath.Join(dir, name)
			must(t, os.Mkdir(at, 0o700))
			if err := mount(at); err != nil {
				t.Fatalf("this machine does not let us mount: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
			must(t, os.Mkdir(filepath.Join(at, "lost+found"), 0o700))
			installInside(t, at)
		})
	}
	t.Run("link", func(t *testing.T) {
		at := filepath.Join(dir, "link")
		must(t, os.Symlink(t.TempDir(), at))
		installInside(t, at)
	})
}

func installInside(t *testing.T, at string) {
	p := planner.Place{Name: "m1", DataDir: at}
	l := host.LayoutOf(at, "")
	if !l.Inside || l.Base() != filepath.Join(at, ".requorum") {
		t.Fatalf("layout %+v", l)
	}
	d := New(Options{})
	if f := d.observe(t.Context(), p).Data; !f.Known() || f.Value.State != planner.DirEmpty {
		t.Fatalf("empty: %+v", f)
	}
	for _, old := range []bool{false, true} {
		if old {
			must(t, os.RemoveAll(l.MemberDir()))
			makeMember(t, at, "", oldCluster, 1)
		}
		makeMember(t, l.StagingData(), "", newCluster, 2)
		must(t, os.WriteFile(l.StagingDone(), []byte(token+"\n"), 0o600))
		must(t, writeProvenance(context.Background(), l, planner.Provenance{Token: token, ClusterID: "bbbb", MemberID: "2"}))
		if s := d.observe(t.Context(), p).Data.Value.Staged; s != token {
			t.Fatalf("staged: %q", s)
		}
		must(t, install(t.Context(), overOld(p), token))
		must(t, install(t.Context(), overOld(p), token))
		checkInstalledInside(t, p, l, old)
		fenceInside(t, p, l)
	}
}

func checkInstalledInside(t *testing.T, p planner.Place, l host.Layout, old bool) {
	t.Helper()
	if from, _ := os.ReadFile(filepath.Join(l.MemberDir(), "from")); string(from) != "bbbb" {
		t.Fatalf("%s holds %q", l.MemberDir(), from)
	}
	if kept := len(keptData(l)); (kept == 1) != old {
		t.Errorf("%d directories are kept", kept)
	}
	if v := New(Options{}).observe(t.Context(), p).Data.Value; !v.ProvenanceAgrees || v.Staged != "" {
		t.Errorf("%+v", v)
	}
}
