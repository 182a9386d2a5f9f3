package scenario

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// While any member's data is left, a snapshot is not restored over it, however
// little of the cluster that is.
func TestNoRestoreOverASurvivor(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	harness.Snapshot(t, c.Members[0].Client, filepath.Join(c.Dir, "saved.db"))
	c.Snapshot = "saved.db"
	c.Write()
	c.Stop()
	aside := e.Path("aside")
	if err := os.Mkdir(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Members[:2] {
		rename(t, m.DataDir, filepath.Join(aside, m.Name))
	}
	recovers(t, e, c, "m3")

	// The survivor runs, alone: still no restore.
	rename(t, filepath.Join(aside, "m1"), c.Members[0].DataDir)
	e.Apply(c.Path())
	c.PowerCut()
	rename(t, c.Members[0].DataDir, filepath.Join(aside, "m1"))
	recovers(t, e, c, "m3")

	for _, m := range c.Members[:2] {
		rename(t, filepath.Join(aside, m.Name), m.DataDir)
	}
	onlyStart(t, e, c)
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// recovers asserts a plan that recovers from the member, and not without consent.
func recovers(t *testing.T, e *harness.Env, c *harness.Cluster, from string) {
	t.Helper()
	before := harness.Tree(t, e.Dir, ".log")
	p := e.Plan(c.Path())
	if p.Route != "recover" || !hasConsent(p, "data-loss") || p.Loss.Kind != "unknown" {
		t.Errorf("route %s, consents %q, loss %+v, refusal %+v: %s", p.Route, p.Consents(), p.Loss, p.Refusal, p.Headline)
	}
	for _, s := range p.Survivors {
		if s.Chosen != (s.Name == from) {
			t.Errorf("%s, not %s, is chosen", s.Name, from)
		}
	}
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "--accept=data-loss")
	harness.Unchanged(t, before, harness.Tree(t, e.Dir, ".log"))
}

// A directory that etcd can't start from is data all the same: neither a
// restore nor a bootstrap goes over it.
func TestDamagedDirectoryIsKept(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(*testing.T, string){
		"db cut short":       func(t *testing.T, dir string) { cutFile(t, filepath.Join(dir, "member", "snap", "db")) },
		"log is gone":        func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "member", "wal")) },
		"log has a bad byte": harmLog,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, _ := bootstrapped(t, e, 1)
			harness.Snapshot(t, c.Members[0].Client, filepath.Join(c.Dir, "saved.db"))
			c.Stop()
			harm(t, c.Members[0].DataDir)
			refused(t, e, c.Path(), "data-damaged", "data-unknown", "route-recover")
			c.Snapshot = "saved.db"
			c.Write()
			refused(t, e, c.Path(), "data-damaged", "data-unknown", "route-recover")
		})
	}
}

// A db alone that is gone is not: etcd makes it again from a log that reaches
// back to the beginning, and every key with it.
func TestDBIsMadeAgain(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	c.Stop()
	remove(t, filepath.Join(c.Members[0].DataDir, "member", "snap", "db"))
	onlyStart(t, e, c)
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// cutFile leaves 16 pages of a db, of which etcd preallocates more than it uses.
func cutFile(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 64<<10); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			t.Fatal(err)
		}
	}
}

// harmLog changes a byte in the middle of what the log has.
func harmLog(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	if len(logs) == 0 {
		t.Fatal("no log")
	}
	b := read(t, logs[0])
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	write(t, logs[0], flip(b, used/2, 0x10))
}

// What lies in the way of a restore and is no member's data is moved aside, not
// removed.
func TestWhatIsInTheWayIsKept(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, src.snapshot)
	m := c.Members[0]
	if err := os.MkdirAll(filepath.Join(m.DataDir, "notes"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.DataDir, "notes", "mine.txt"), []byte("keep me"))
	p := e.Plan(c.Path())
	if p.Refusal != nil {
		t.Logf("refused: %s", p.Code())
	} else {
		e.Apply(c.Path())
		harness.CompareAll(t, src.keys, c.Endpoints())
		e.InSync(c.Path())
	}
	found := ""
	_ = filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "mine.txt" {
			found = string(read(t, path))
		}
		return err
	})
	if found != "keep me" {
		t.Errorf("the file is gone; %q is what was found", found)
	}
}

// A data directory that is a symbolic link stays one, and what it leads to is
// restored into.
func TestLinkedDataDirectory(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, src.snapshot)
	m, disk := c.Members[0], e.Path("disk")
	for _, d := range []string{disk, filepath.Dir(m.DataDir)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(disk, m.DataDir); err != nil {
		t.Fatal(err)
	}
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
	if to, err := os.Readlink(m.DataDir); err != nil || to != disk {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	c.Stop()
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
}

// A file at the data directory's path is refused.
func TestFileAtDataDirectory(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	if err := os.Mkdir(filepath.Dir(c.Members[1].DataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, c.Members[1].DataDir, []byte("not a directory"))
	refused(t, e, c.Path(), "not-a-directory")
}

// A restore that was begun from one snapshot is not finished from another, once
// a member ran on the first.
func TestSnapshotExchangedAfterKill(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	if !killedWith(t, e, c, moments[8].there) {
		t.Fatal("apply had ended before")
	}
	s := e.Server("another")
	harness.Fill(t, []string{s.Client}, keysPerTest)
	harness.Snapshot(t, s.Client, filepath.Join(c.Dir, "snapshot.db"))
	if p := e.Plan(c.Path()); p.Refusal == nil {
		e.Apply(c.Path())
		harness.CompareAll(t, src.keys, c.Endpoints()) // nothing of the other
	}
	write(t, filepath.Join(c.Dir, "snapshot.db"), src.snapshot)
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
	e.InSync(c.Path())
}
