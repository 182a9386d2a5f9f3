package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/tests/harness"
)

// fat fills a cluster with about megabytes that don't compress.
func fat(t *testing.T, endpoint string, megabytes int) {
	t.Helper()
	cli := harness.Client(t, endpoint)
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, 1<<20)
	for i := range megabytes {
		_, _ = r.Read(b)
		if _, err := cli.Put(harness.Context(t), fmt.Sprintf("/fat/%03d", i), string(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// Saved to a real S3 server and back again; the oldest go by --keep. A save that is
// killed while it uploads leaves no object, and the next one names what it left.
func TestSaveToS3(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	e.Hand(c.Members[0], c.Members).Serve()
	harness.Fill(t, c.Endpoints(), keysPerTest)
	s := harness.StartS3(t)
	for name, value := range s.Environ(s.Endpoint) {
		e.Setenv(name, value)
	}
	to := s.URL("etcd/")
	var files []string
	for range 3 {
		out := save(t, e, 0, "--to", to, "--keep", "2", "--compress", "zstd", c.Path())
		files = append(files, out.Saved[0].File)
		time.Sleep(1100 * time.Millisecond) // S3's times, and the names', are whole seconds
	}
	e.Run("snapshot", "drill", files[2]).Want(t, 0).Says(t, "Drill passed:")
	e.Run("snapshot", "verify", to).Want(t, 0).Says(t, filepath.Base(files[2]))
	e.Run("snapshot", "verify", files[0]).Want(t, 1).Says(t, "snapshot-missing:")

	fat(t, c.Endpoints()[0], 48)
	bucket, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(s.Access, s.Secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	unfinished := func() (n int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range bucket.ListIncompleteUploads(ctx, s.Bucket, "etcd/", true) {
			n++
		}
		return n
	}
	objects := func() (n int) {
		for range bucket.ListObjects(t.Context(), s.Bucket, minio.ListObjectsOptions{Prefix: "etcd/"}) {
			n++
		}
		return n
	}
	hit := runAndKill(t, e.Command("snapshot", "save", "--to", to, "--compress", "gzip", c.Path()), func() bool { return unfinished() > 0 })
	if !hit || unfinished() != 1 || objects() != 2 {
		t.Fatalf("killed: %v; %d uploads are unfinished, %d objects there", hit, unfinished(), objects())
	}
	out := save(t, e, 0, "--to", to, c.Path())
	if notes := strings.Join(out.Notes, "\n"); strings.Contains(notes, "an upload of "+to) || !strings.Contains(notes, "requorum-saving-") {
		t.Errorf("the save after a killed one says %q", notes) // the upload may be somebody's who is at work
	}
	s.AgeUploads(t, 7*time.Hour)
	out = save(t, e, 0, "--to", to+"?region=us-east-1", "--keep", "1", c.Path())
	if notes := strings.Join(out.Notes, "\n"); !strings.Contains(notes, "an upload of "+to) || !strings.Contains(notes, "or is still running") {
		t.Errorf("the save long after a killed one says %q", notes)
	}
	if objects() != 1 || !strings.HasSuffix(out.Saved[0].File, ".db?region=us-east-1") {
		t.Errorf("%d objects after --keep 1; %+v", objects(), out)
	}
	e.Run("snapshot", "verify", out.Saved[0].File).Want(t, 0)
	noScratch(t, e)
}

func noScratch(t *testing.T, e *harness.Env) {
	t.Helper()
	if left, _ := filepath.Glob(e.Path("tmp", "requorum-*")); len(left) > 0 {
		t.Errorf("left in TMPDIR: %q", left)
	}
}

// working are the folders of saves that are at work, or were killed.
func working(dirs ...string) (out []string) {
	for _, d := range dirs {
		for _, pattern := range []string{".requorum-saving-*", "requorum-saving-*"} {
			found, _ := filepath.Glob(filepath.Join(d, pattern))
			out = append(out, found...)
		}
	}
	return out
}

// kill -9 of saves at moments that chance chooses: whatever has a final name is
// whole, and the next save takes away what was left.
func TestKilledSaves(t *testing.T) {
	t.Parallel()
	for name, more := range map[string][]string{
		"live": {}, "live, packed": {"--compress", "zstd"}, "dead": {"--data-dir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := harness.New(t)
			c := e.Cluster(1).Write()
			hand := e.Hand(c.Members[0], c.Members)
			hand.Serve()
			harness.Fill(t, c.Endpoints(), keysPerTest)
			fat(t, c.Endpoints()[0], 24)
			args := append([]string{"snapshot", "save"}, more...)
			limit := 1200 * time.Millisecond
			if name == "dead" {
				hand.Signal(9)
				hand.AwaitEnd()
				args, limit = append(args, c.Members[0].DataDir), 3*time.Second
			} else {
				args = append(args, c.Path())
			}
			dir := e.Path("backups")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			kills, strays := 0, 0
			for i := range 12 {
				until := time.Now().Add(time.Duration(rand.Int64N(int64(limit))))
				to := filepath.Join(dir, fmt.Sprintf("%d.db", i))
				// Each second time the moment is counted from the first folder on that was
				// not there, however long a busy machine takes to come to it.
				before, begun := working(dir, e.Path("tmp")), i%2 == 0
				now := func() bool {
					fresh := func(w string) bool { return !slices.Contains(before, w) }
					if !begun && slices.ContainsFunc(working(dir, e.Path("tmp")), fresh) {
						begun, until = true, time.Now().Add(time.Duration(rand.Int64N(int64(limit/3))))
					}
					return begun && time.Now().After(until)
				}
				if runAndKill(t, e.Command(append(args, "--to", to)...), now) {
					kills++
				}
				if exists(to) {
					e.Run("snapshot", "verify", to).Want(t, 0)
				}
				left, _ := filepath.Glob(filepath.Join(dir, ".requorum-*"))
				strays += len(working(dir, e.Path("tmp")))
				if len(left) > 1 {
					t.Errorf("%q: the saves before left what this one did not take away", left)
				}
			}
			for end := time.Now().Add(10 * time.Second); len(harness.Processes(dir)) > 0 && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond) // what dies with its parent
			}
			e.Run(append(args, "--to", filepath.Join(dir, "last.db"))...).Want(t, 0)
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if !strings.HasSuffix(f.Name(), ".db") {
					t.Errorf("%s is left", f.Name())
				}
			}
			noScratch(t, e)
			if kills < 3 || strays == 0 {
				t.Errorf("%d of 12 were killed, %d left something: nothing was tried", kills, strays)
			}
		})
	}
}

// Who reads the output goes away, or the terminal does: nothing is left in TMPDIR of the
// keys that were on their way.
func TestExportWhoseReaderGoes(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	hand := e.Hand(c.Members[0], c.Members)
	hand.Serve()
	fat(t, c.Endpoints()[0], 8)
	hand.Term()
	cmd := e.Command("snapshot", "export", "--data-dir", c.Members[0].DataDir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Error(err)
	}
	out.Close()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("whose reader went away: %v", err)
	}
	noScratch(t, e)

	cmd = e.Command("snapshot", "export", "--data-dir", c.Members[0].DataDir)
	cmd.Args = append([]string{"env", "--default-signal=HUP"}, cmd.Args...) // this test may run under nohup
	if cmd.Path, cmd.Err = exec.LookPath("env"); cmd.Err != nil {
		t.Fatal(cmd.Err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); len(working(e.Path("tmp"))) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	_ = cmd.Process.Signal(unix.SIGHUP)
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 8 {
		t.Errorf("whose terminal went away: %v", err)
	}
	noScratch(t, e)
}

// An interrupt after the file has its name: it is said that it is saved, and what was
// removed for it.
func TestSaveInterruptedLate(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	e.Hand(c.Members[0], c.Members).Serve()
	dir := e.Path("backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	id := harness.ClusterID(t, c.Endpoints())
	const old = 4000
	for i := range old {
		write(t, filepath.Join(dir, fmt.Sprintf("demo~%s-%d-20200101T000000Z.db", id[:8], i)), nil)
	}
	cmd := e.Command("snapshot", "save", "--to", dir, "--keep", "1", c.Path())
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var file []string
	for end := time.Now().Add(20 * time.Second); len(file) == 0 && time.Now().Before(end); {
		all, _ := filepath.Glob(filepath.Join(dir, "demo~*-1-*.db"))
		file = slices.DeleteFunc(all, func(f string) bool { return strings.Contains(f, "-2020") })
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	text := strings.Join(strings.Fields(said.String()), " ")
	if len(file) != 1 || cmd.ProcessState.ExitCode() != 8 || !strings.Contains(text, "saved before: "+file[0]+", and") || !strings.Contains(text, "older files removed") {
		t.Errorf("%q, exit %d: %s", file, cmd.ProcessState.ExitCode(), text)
	}
}

// small mounts a file system of so many megabytes at a folder of the test's.
func small(t *testing.T, e *harness.Env, name string, megabytes int) (path string, resize func(int)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("mounting a tmpfs needs root: run the tests as README says")
	}
	path = e.Path(name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	size := func(n int) string { return fmt.Sprintf("mode=0700,size=%dm", n) }
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, size(megabytes)); err != nil {
		t.Fatalf("mounting a tmpfs, which a container needs CAP_SYS_ADMIN for: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", path, err)
		}
	})
	return path, func(n int) {
		if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_REMOUNT, size(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// eats fills the file system at path as soon as now says so, and until the returned
// function makes room again; that tells whether it did.
func eats(t *testing.T, path string, now func() bool) (free func() bool) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan bool, 1)
	filler := filepath.Join(path, "somebody-elses")
	go func() {
		for !now() {
			select {
			case <-stop:
				done <- false
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
		f, err := os.Create(filler)
		if err != nil {
			done <- false
			return
		}
		defer f.Close()
		b := make([]byte, 1<<20)
		for {
			select {
			case <-stop:
				done <- true
				return
			default:
			}
			if _, err := f.Write(b); err != nil {
				if len(b) > 4096 {
					b = b[:len(b)/2]
				} else {
					time.Sleep(time.Millisecond)
				}
			}
		}
	}()
	return func() bool {
		close(stop)
		ate := <-done
		_ = os.Remove(filler)
		return ate
	}
}

// A disk that is too small for a save, or that somebody fills meanwhile: a clear
// error, nothing left, and with room it works.
func TestSaveToAFullDisk(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	hand := e.Hand(c.Members[0], c.Members)
	hand.Serve()
	harness.Fill(t, c.Endpoints(), 200)
	fat(t, c.Endpoints()[0], 24)
	disk, resize := small(t, e, "backups", 40)
	nothing := func() {
		t.Helper()
		files, err := os.ReadDir(disk)
		if err != nil || len(files) > 0 {
			t.Errorf("%v is left, %v", files, err)
		}
	}
	live := []string{"snapshot", "save", "--to", disk, c.Path()}
	e.Run(live...).Want(t, 1).Says(t, "no-room:", "MiB free")
	nothing()
	e.Run(append(live, "--compress", "gzip")...).Want(t, 1).Says(t, "no-room:")
	nothing()
	resize(600)
	free := eats(t, disk, func() bool {
		parts, _ := filepath.Glob(filepath.Join(disk, ".requorum-saving-*", "snapshot.db.part-*"))
		return len(parts) > 0
	})
	r := e.Run(live...)
	if ate := free(); ate && r.Exit != 0 { // it may have been faster
		r.Want(t, 1).Says(t, "no space left on device")
		nothing()
	}
	if r.Exit != 0 { // a second one in the same second would have the same name
		e.Run(live...).Want(t, 0).Says(t, "Saved:")
	}

	hand.Signal(9)
	hand.AwaitEnd()
	before := harness.Tree(t, c.Dir)
	dead := []string{"snapshot", "save", "--data-dir", c.Members[0].DataDir, "--to", filepath.Join(disk, "dead.db")}
	resize(100)
	r = e.Run(dead...).Want(t, 1).Says(t, "no-room:", "MiB may be needed")
	m := regexp.MustCompile(`([0-9]+)\s+MiB\s+free;\s+([0-9]+)\s+MiB`).FindStringSubmatch(r.Stderr)
	if m == nil {
		t.Fatal(r)
	}
	left, _ := strconv.Atoi(m[1])
	need, _ := strconv.Atoi(m[2])
	resize(100 - left + need + 20) // enough, and little to spare
	e.Run(dead...).Want(t, 1).Says(t, "no-room:", "are to stay free")
	resize(600)
	free = eats(t, disk, func() bool {
		copies, _ := filepath.Glob(filepath.Join(disk, ".requorum-saving-*", "copy", "data"))
		return len(copies) > 0
	})
	r = e.Run(dead...)
	if ate := free(); ate && r.Exit != 0 {
		r.Want(t, 1).Says(t, "no-room:", "no space left on device")
	}
	if left, _ := filepath.Glob(filepath.Join(disk, ".requorum-*")); len(left) > 0 {
		t.Errorf("%q is left", left)
	}
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))
	if !exists(disk, "dead.db") {
		e.Run(dead...).Want(t, 0).Says(t, "Saved:")
	}
}

// An export leaves room on the disk that it sorts on, and on the one it writes to.
func TestExportToAFullDisk(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	e.Hand(c.Members[0], c.Members).Serve()
	fat(t, c.Endpoints()[0], 40)
	file := harness.Snapshot(t, c.Endpoints()[0], e.Path("saved.db"))
	disk, resize := small(t, e, "disk", 110)
	export := []string{"snapshot", "export", file, "--format", "keys"}
	scratch := append(export, "--scratch", disk)
	to := []string{"snapshot", "export", file, "--to", filepath.Join(disk, "keys.json")}
	resize(60)
	e.Run(scratch...).Want(t, 1).Says(t, "no-room:", "MiB free", "--scratch")
	e.Run(to...).Want(t, 1).Says(t, "no-room:", "MiB free", "--to")
	resize(110) // it begins, and ends before the disk is full
	e.Run(to...).Want(t, 1).Says(t, "no-room:", "MiB free", "--to")
	if left, _ := os.ReadDir(disk); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	resize(300)
	e.Run(scratch...).Want(t, 0)
	e.Run(to...).Want(t, 0)
}

// The disk of the cache is full: nothing half there is used, and with room the plan
// is made.
func TestFetchToAFullDisk(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	from := e.ClusterIn("another", 1)
	e.Hand(from.Members[0], from.Members).Serve()
	harness.Fill(t, from.Endpoints(), keysPerTest)
	fat(t, from.Endpoints()[0], 24)
	want, err := harness.ReadAll(harness.Context(t), from.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	disk, resize := small(t, e, "cache", 40)
	e.Setenv("XDG_CACHE_HOME", disk)
	c := e.Cluster(1)
	c.Snapshot = "etcd://" + addressOf(from.Endpoints()[0])
	c.Write()
	p := e.Plan(c.Path())
	if p.Code() != "no-room" || !strings.Contains(p.Refusal.Detail, "MiB free") {
		t.Errorf("%+v", p.Refusal)
	}
	s := harness.StartS3(t)
	for name, value := range s.Environ(s.Endpoint) {
		e.Setenv(name, value)
	}
	saved := save(t, e, 0, "--to", s.URL("etcd/"), from.Write().Path())
	c.Snapshot = saved.Saved[0].File
	c.Write()
	if p := e.Plan(c.Path()); p.Code() != "no-room" {
		t.Errorf("%+v", p.Refusal)
	}
	resize(700)
	if p := e.Plan(c.Path()); p.Refusal != nil {
		t.Errorf("%+v", p.Refusal)
	}
	c.Snapshot = "etcd://" + addressOf(from.Endpoints()[0])
	c.Write()
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
}

// A disk that somebody fills while a restore is staged on it: apply says so, what
// was there stays, and goes on when there is room.
func TestRestoreToAFullDisk(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	from := e.ClusterIn("another", 1)
	e.Hand(from.Members[0], from.Members).Serve()
	harness.Fill(t, from.Endpoints(), keysPerTest)
	fat(t, from.Endpoints()[0], 24)
	want, err := harness.ReadAll(harness.Context(t), from.Endpoints()[0])
	if err != nil {
		t.Fatal(err)
	}
	file := harness.Snapshot(t, from.Endpoints()[0], e.Path("saved.db"))
	c := e.Cluster(1)
	disk, resize := small(t, e, "disk", 60)
	c.Members[0].DataDir = filepath.Join(disk, "m1")
	e.Expect(c.Members[0].DataDir)
	c.Snapshot = file
	c.Write()
	refused(t, e, c.Path(), "no-room")
	resize(600)
	free := eats(t, disk, func() bool { return exists(c.Members[0].Base(), "staging") })
	r := e.Run("apply", "--auto-approve", c.Path())
	if ate := free(); ate && r.Exit != 0 {
		r.Want(t, 7).Says(t, "no space left on device")
	}
	t.Logf("the first apply: exit %d", r.Exit)
	e.Apply(c.Path())
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
	c.Stop() // before its disk goes
}
