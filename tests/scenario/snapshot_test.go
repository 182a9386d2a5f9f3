package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/requorum/requorum/tests/harness"
)

// savedJSON is what tests look at of snapshot save --json.
type savedJSON struct {
	Saved []struct {
		Member, Role, File string
		Revision           int64
		Keys               int
		ValuesProven       bool `json:"values_proven"`
		Removed            []string
	}
	Failed []struct{ Member, Why string }
	Notes  []string
}

func save(t *testing.T, e *harness.Env, exit int, args ...string) savedJSON {
	t.Helper()
	r := e.Run(append([]string{"snapshot", "save", "--json"}, args...)...).Want(t, exit)
	var s savedJSON
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	return s
}

// What save writes comes back whole, from whichever member; save takes a follower
// where one has as much, and a live cluster is not changed by any of it.
func TestSnapshotSaveComesBack(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 3)
	dir := e.Path("backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	leader, err := harness.Leader(harness.Context(t), c.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	one := save(t, e, 0, "--to", dir, c.Path())
	if len(one.Saved) != 1 || one.Saved[0].Role != "follower" || one.Saved[0].Member == c.Members[leader].Name || one.Saved[0].Keys != len(want) {
		t.Errorf("%+v, the leader is %s, %d keys", one, c.Members[leader].Name, len(want))
	}
	named := save(t, e, 0, "--to", e.Path("leader.db"), "--member", c.Members[leader].Name, c.Path())
	if len(named.Saved) != 1 || named.Saved[0].Role != "leader" || !named.Saved[0].ValuesProven {
		t.Errorf("%+v", named)
	}
	all := save(t, e, 0, "--to", dir, "--all", c.Path())
	if len(all.Saved) != 3 {
		t.Errorf("%+v", all)
	}
	files := []string{e.Path("leader.db")}
	for _, s := range append(all.Saved, one.Saved...) {
		files = append(files, s.File)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info, err)
		}
		e.Run("snapshot", "verify", f).Want(t, 0).Says(t, "Proven:")
	}
	before := harness.Tree(t, dir)
	e.Run("snapshot", "inspect", one.Saved[0].File).Want(t, 0).Says(t, "/registry/ ", "/lease/ ", "Leases 4, of 3600 s")
	e.Run("snapshot", "drill", "--members", "3", one.Saved[0].File).Want(t, 0).Says(t, "Drill passed:", "on each member", "4 of 4")
	harness.Unchanged(t, before, harness.Tree(t, dir))
	harness.CompareAll(t, want, c.Endpoints())

	// And in earnest.
	read := func(f string) []byte { return read(t, f) }
	f := harness.New(t)
	again := restoreOf(t, f, 3, read(one.Saved[0].File))
	f.Apply(again.Path())
	harness.CompareAll(t, want, again.Endpoints())
}

// With members down what is left gives the snapshot, without quorum too, and --all
// takes theirs from their directories.
func TestSnapshotSaveWithMembersDown(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hands := e.ByHand(c.Members)
	want := harness.Fill(t, c.Endpoints(), keysPerTest)
	leader := hands.Leader()
	hands[leader].Term()
	alive := append(append(harness.Hands{}, hands[:leader]...), hands[leader+1:]...)
	alive.Leader() // a new one is chosen
	dir := e.Path("backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := save(t, e, 0, "--to", dir, c.Path())
	if len(s.Saved) != 1 || s.Saved[0].Role != "follower" || len(s.Failed) != 1 || s.Failed[0].Member != c.Members[leader].Name {
		t.Errorf("%+v", s)
	}
	s = save(t, e, 0, "--to", dir, "--all", c.Path())
	if len(s.Saved) != 3 || len(s.Failed) != 0 {
		t.Errorf("%+v", s)
	}
	s = save(t, e, 0, "--to", e.Path("x.db"), "--member", c.Members[leader].Name, c.Path())
	if len(s.Saved) != 1 || !strings.HasPrefix(s.Saved[0].Role, "stopped, from ") {
		t.Errorf("%+v", s)
	}
	alive[0].Term()
	time.Sleep(3 * time.Second) // the last one learns that it has no leader
	s = save(t, e, 0, "--to", dir, c.Path())
	if len(s.Saved) != 1 || s.Saved[0].Keys != len(want) || !strings.Contains(strings.Join(s.Notes, ""), "no quorum") {
		t.Errorf("%+v", s)
	}
	e.Run("snapshot", "drill", s.Saved[0].File).Want(t, 0)
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left in the folder: %q", left)
	}
}

// --keep removes what this verb wrote for this cluster, and nothing else.
func TestSnapshotKeep(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, _ := bootstrapped(t, e, 1)
	dir := e.Path("backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	id := harness.ClusterID(t, c.Endpoints())
	own := "demo~" + id[:8]
	foreign := []string{
		"demo-5.db", "demo-3-20200101T000000Z.db", "demo~01234567-3-20200101T000000Z.db", own + "@m1-77-20200101T000000Z.db", own + "@m1~disk-77-20200101T000000Z.db",
		"notes.txt", own + "-7-20200101T000000Z.db.bak", own + "-7-29991231T000000Z.db",
	}
	old := []string{own + "-3-20200101T000000Z.db", own + "-4-20200102T000000Z.db.zst.age", own + "-2-20200103T000000Z.db"}
	for _, f := range append(foreign, old...) {
		write(t, filepath.Join(dir, f), []byte("kept"))
	}
	s := save(t, e, 0, "--to", dir, "--keep", "3", c.Path())
	if got := strings.Join(s.Saved[0].Removed, " "); !strings.HasSuffix(got, "/"+old[1]) || strings.Count(got, " ") != 1 || !strings.Contains(got, old[0]) {
		t.Errorf("removed %q", got)
	}
	for _, f := range append(foreign, old[2], filepath.Base(s.Saved[0].File)) {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
	}
}

// Encrypted and compressed, it comes back through the identity, and not without.
func TestSnapshotEncrypted(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, want := bootstrapped(t, e, 1)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity := write(t, e.Path("identity.txt"), []byte(key.String()+"\n"))
	dir := e.Path("backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := save(t, e, 0, "--to", dir, "--compress", "zstd", "--recipient", key.Recipient().String(), c.Path())
	file := s.Saved[0].File
	if !strings.HasSuffix(file, ".db.zst.age") || s.Saved[0].Keys != len(want) {
		t.Errorf("%+v", s)
	}
	if b := read(t, file); !strings.HasPrefix(string(b), "age-encryption.org/v1") {
		t.Errorf("it begins with %q", b[:20])
	}
	e.Run("snapshot", "verify", file).Want(t, 1)
	e.Run("snapshot", "verify", "--identity", identity, file).Want(t, 0).Says(t, "Proven:")
	e.Run("snapshot", "drill", "--identity", identity, file).Want(t, 0).Says(t, "Drill passed:")
}

// Ctrl-C, at any time, and a kill leave no etcd, and Ctrl-C no file either.
func TestSnapshotDrillInterrupted(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	file := write(t, e.Path("snapshot.db"), src.snapshot)
	for _, after := range []time.Duration{30, 150, 400, 800, 1200} {
		cmd := e.Command("snapshot", "drill", "--members", "3", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGINT)
		err := cmd.Wait()
		// -1: the signal came before requorum listened, and so before it made anything.
		if code := cmd.ProcessState.ExitCode(); code != 8 && code != 1 && code != 0 && code != -1 {
			t.Errorf("after %v ms: exit %d (%v)", int(after), code, err)
		}
		if left, _ := filepath.Glob(e.Path("tmp", "requorum-*")); len(left) > 0 {
			t.Errorf("after %v ms %q is left", int(after), left)
		}
		if ps := harness.Processes(e.Dir); len(ps) > 0 {
			t.Errorf("after %v ms these run: %v", int(after), ps)
		}
	}
	cmd := e.Command("snapshot", "drill", "--members", "3", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); len(harness.Processes(e.Path("tmp"))) == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); len(harness.Processes(e.Dir)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a kill these run: %v", harness.Processes(e.Dir))
		}
	}
	left, err := filepath.Glob(e.Path("tmp", "requorum-drill-*")) // who is killed can't tidy up
	if err != nil || len(left) != 1 {
		t.Fatalf("after a kill %q is left", left)
	}
	if err := os.RemoveAll(left[0]); err != nil {
		t.Fatal(err)
	}
}

// A drill of a damaged snapshot starts nothing, whichever byte it is.
func TestSnapshotDrillOfDamage(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	for i := range 5 {
		b := append([]byte{}, src.snapshot...)
		b[len(b)*(2*i+1)/10] ^= 0x40
		r := e.Run("snapshot", "drill", write(t, e.Path("flipped.db"), b)).Want(t, 1)
		if !regexp.MustCompile(`snapshot-(damaged|not-etcd): `).MatchString(r.Stderr) {
			t.Errorf("byte %d: %s", len(b)*(2*i+1)/10, r)
		}
	}
}
