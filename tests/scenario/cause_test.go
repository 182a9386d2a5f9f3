package scenario

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/tests/harness"
)

// What stands in an apply's way from outside, disks above all: each ends with a clear
// error, with 1 before anything changed and with 7 part-way, nothing is lost, and an
// apply succeeds once the cause is gone.

// tmpfs mounts one of so many bytes at dir, which it makes.
func tmpfs(t *testing.T, dir, size string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// fill takes all room that is left in dir, most of it at once, and gives how to give
// it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	noErr(t, unix.Fstatfs(int(f.Fd()), &st))
	size := int64(0)
	for more := int64(st.Bfree) * st.Bsize; more >= 4096; {
		if unix.Fallocate(int(f.Fd()), 0, size, more) == nil {
			size += more
		} else {
			more /= 2
		}
	}
	_, err = f.Seek(0, io.SeekEnd)
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// The state directory can't be written: no apply begins.
func TestStateUnwritable(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	state := func(e *harness.Env) string { return filepath.Join(e.State(), "requorum") }
	for name, block := range map[string]func(t *testing.T, e *harness.Env) (mend func()){
		"a file": func(t *testing.T, e *harness.Env) func() {
			write(t, e.State(), nil)
			return func() { noErr(t, os.Remove(e.State())) }
		},
		"read-only": func(t *testing.T, e *harness.Env) func() {
			tmpfs(t, e.State(), "8m")
			noErr(t, unix.Mount("", e.State(), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			return func() { noErr(t, unix.Mount("", e.State(), "", unix.MS_REMOUNT, "")) }
		},
		"full": func(t *testing.T, e *harness.Env) func() {
			tmpfs(t, e.State(), "8m")
			return fill(t, e.State())
		},
		"a folder in the journal's place": func(t *testing.T, e *harness.Env) func() {
			noErr(t, os.MkdirAll(state(e), 0o700))
			write(t, filepath.Join(state(e), "runs"), nil)
			return func() { noErr(t, os.Remove(filepath.Join(state(e), "runs"))) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 1, src.snapshot)
			mend := block(t, e)
			before := harness.Tree(t, c.Dir)
			e.Run("plan", c.Path()).Want(t, 0)
			// Nobody is asked for nothing.
			e.Run("apply", c.Path()).Want(t, 1).Says(t, "nothing was changed", "the journal can't be written below "+state(e), "XDG_STATE_HOME")
			e.Run("apply", "--auto-approve", c.Path()).Want(t, 1).Says(t, "nothing was changed")
			harness.Unchanged(t, before, harness.Tree(t, c.Dir))
			mend()
			e.Apply(c.Path())
			e.InSync(c.Path())
			harness.CompareAll(t, src.keys, c.Endpoints())
		})
	}
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The journal can't be written any more while an apply is at work: it stops before the
// next action.
func TestStateUnwritableMidRun(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for name, block := range map[string]func(t *testing.T, e *harness.Env) (mend func()){
		"full": func(t *testing.T, e *harness.Env) func() { return fill(t, e.State()) },
		"gone": func(t *testing.T, e *harness.Env) func() {
			runs := journal.Folder(filepath.Join(e.State(), "requorum"))
			noErr(t, os.Rename(runs, runs+".away"))
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			tmpfs(t, e.State(), "8m")
			c := restoreOf(t, e, 3, src.snapshot)
			cmd := e.Command("apply", "--auto-approve", c.Path())
			ended := make(chan harness.Result, 1)
			go func() { ended <- e.Finish(cmd, "") }()
			e.AwaitRecord(0, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "restore" })
			mend := block(t, e)
			r := (<-ended).Want(t, 7)
			r.Says(t, "the journal can't be", "requorum plan gives the rest of the way")
			for _, m := range c.Members {
				// A full disk still takes what fits into the journal's last block.
				if name == "gone" && exists(m.DataDir) {
					t.Errorf("%s was put in place without a journal", m.Name)
				}
			}
			if all := e.Runs(); name == "full" {
				if last := all[len(all)-1]; last.Result != journal.ResultCutOff || last.Done == last.Steps {
					t.Errorf("the journal has %+v", last)
				}
			}
			mend()
			e.Apply(c.Path())
			e.InSync(c.Path())
			harness.CompareAll(t, src.keys, c.Endpoints())
		})
	}
}

// A member's disk has no room for what is to come, or is full up to its last byte.
func TestDataDiskFull(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for _, last := range []bool{false, true} {
		t.Run(fmt.Sprintf("to the last byte %v", last), func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := restoreOf(t, e, 3, src.snapshot)
			disk := filepath.Dir(c.Members[0].DataDir)
			tmpfs(t, disk, "1200m")
			var free func()
			if last {
				free = fill(t, disk)
			} else {
				path := write(t, filepath.Join(disk, "filler"), nil)
				noErr(t, unixFallocate(path, 1100<<20))
				free = func() { noErr(t, os.Remove(path)) }
			}
			// It shows in the plan: nothing is begun.
			e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "there is no room for m1", "no-room",
				"The file system of cluster/data/m1 has", "MiB free", "are needed", "Make room there", "Nothing was changed")
			for _, m := range c.Members {
				if exists(m.DataDir) {
					t.Errorf("%s is there", m.DataDir)
				}
			}
			free()
			e.Apply(c.Path())
			e.InSync(c.Path())
			harness.CompareAll(t, src.keys, c.Endpoints())
		})
	}
}

func unixFallocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, 0, size)
}

// The disk fills up behind the plan's back, at the first record of a restore and of a
// growing: what is begun stops with 7, what serves goes on, and so does the next apply
// once there is room.
func TestDiskFillsMidRun(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	for kind, prepare := range map[string]func(*testing.T, *harness.Env) (*harness.Cluster, harness.Keys){
		"restore": func(t *testing.T, e *harness.Env) (*harness.Cluster, harness.Keys) {
			return restoreOf(t, e, 3, src.snapshot), src.keys
		},
		"add-learner": func(t *testing.T, e *harness.Env) (*harness.Cluster, harness.Keys) {
			c, want := bootstrapped(t, e, 1)
			m := e.ClusterIn("more", 2).Members[1]
			m.DataDir = filepath.Join(c.Dir, "disk", "m2")
			e.Expect(m.DataDir)
			c.Members = append(c.Members, m)
			return c.Write(), want
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c, want := prepare(t, e)
			disk := filepath.Dir(c.Members[len(c.Members)-1].DataDir)
			tmpfs(t, disk, "1200m")
			runs := len(e.Runs())
			cmd := e.Command("apply", "--auto-approve", c.Path())
			ended := make(chan harness.Result, 1)
			go func() { ended <- e.Finish(cmd, "") }()
			e.AwaitRecord(runs, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == kind })
			noErr(t, syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP)) // filling takes a moment
			free := fill(t, disk)
			noErr(t, syscall.Kill(cmd.Process.Pid, syscall.SIGCONT))
			r := (<-ended).Want(t, 7)
			r.Says(t, "Stopped at", "Safe to leave")
			t.Logf("%s", r.Stderr)
			free()
			e.Apply(c.Path())
			e.InSync(c.Path())
			harness.CompareAll(t, want, c.Endpoints())
		})
	}
}

// A new member's disk has no room: nothing is begun, the members that serve are not
// touched, and it goes on once there is room. One that fills up later is in
// TestDiskFillsMidRun.
func TestNewMembersDiskFull(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	more := e.ClusterIn("more", 2)
	disk := filepath.Join(c.Dir, "disk")
	tmpfs(t, disk, "400m")
	m := more.Members[1]
	m.DataDir = filepath.Join(disk, "m2")
	e.Expect(m.DataDir)
	c.Members = append(c.Members, m)
	c.Write()
	path := write(t, filepath.Join(disk, "filler"), nil)
	noErr(t, unixFallocate(path, 330<<20)) // etcd wants more than 64 MB to start
	w := harness.StartWriters(t, 2, []string{c.Members[0].Client})
	e.Run("apply", "--auto-approve", c.Path()).Want(t, 6).Says(t, "there is no room for m2", "no-room",
		"The file system of cluster/disk/m2 has", "MiB free", "are needed", "Make room there", "Nothing was changed")
	noErr(t, os.Remove(path))
	e.Apply(c.Path())
	w.Stop()
	if failed := w.Failed(); len(failed) > 0 {
		t.Errorf("%d writes failed, the first: %v", len(failed), failed[0])
	}
	e.InSync(c.Path())
	w.Check(t, want, c.Endpoints())
}

// A directory vanishes between the plan and its step, and one is taken by somebody
// else: the step is not done, and the error says what changed.
func TestDirectoryVanishes(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 3, src.snapshot)
	cmd := e.Command("apply", "--auto-approve", c.Path())
	ended := make(chan harness.Result, 1)
	go func() { ended <- e.Finish(cmd, "") }()
	e.AwaitRecord(0, func(r journal.Record) bool { return r.Event == journal.Intent && r.Kind == "restore" })
	noErr(t, syscall.Kill(cmd.Process.Pid, syscall.SIGSTOP))
	m := c.Members[2]
	noErr(t, os.Rename(m.Base(), m.Base()+".away"))
	noErr(t, syscall.Kill(cmd.Process.Pid, syscall.SIGCONT))
	(<-ended).Want(t, 7).Says(t, "cluster/data/m3.requorum/lock was lost: its file is gone", "Stopped at", "Safe to leave", "requorum plan gives the rest of the way")
	noErr(t, os.RemoveAll(m.Base())) // what a lock or a copy made there anew: never data
	noErr(t, os.Rename(m.Base()+".away", m.Base()))
	e.Apply(c.Path())
	e.InSync(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
}

// Without the right to write where a member's data goes, nothing is changed; with it
// the same apply goes through.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("it acts as another user")
	}
	src := oldCluster(t)
	e := harness.New(t)
	c := restoreOf(t, e, 1, src.snapshot)
	const nobody = 65534
	noErr(t, filepath.WalkDir(e.Dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	}))
	for dir := filepath.Dir(e.Dir); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		noErr(t, os.Chmod(dir, 0o711))
	}
	data := filepath.Dir(c.Members[0].DataDir)
	noErr(t, os.Mkdir(data, 0o755)) // root's
	apply := func() harness.Result {
		cmd := e.Command("apply", "--auto-approve", c.Path())
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return e.Finish(cmd, "")
	}
	before := harness.Tree(t, c.Dir)
	apply().Want(t, 1).Says(t, "permission denied", data)
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))
	noErr(t, os.Chown(data, nobody, nobody))
	apply().Want(t, 0)
	harness.CompareAll(t, src.keys, c.Endpoints())
}
