package scenario

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// killed is a cluster of three by hand whose members were all killed at once, and
// what it had acknowledged; leader is the one that had all of it.
func killed(t *testing.T, e *harness.Env) (c *harness.Cluster, hands harness.Hands, leader int, want harness.Keys) {
	t.Helper()
	c = e.Cluster(3).Write()
	hands = e.ByHand(c.Members)
	harness.Fill(t, c.Endpoints(), keysPerTest)
	leader = hands.Leader()
	cli := harness.Client(t, c.Endpoints()[leader])
	for i := range 30 { // these are in the log alone
		put(t, cli, "/tail/"+strconv.Itoa(i), "acknowledged")
	}
	if _, err := cli.Delete(harness.Context(t), "/tail/7"); err != nil {
		t.Fatal(err)
	}
	want, err := harness.ReadAll(harness.Context(t), c.Endpoints()[leader])
	if err != nil {
		t.Fatal(err)
	}
	hands.Kill9()
	return c, hands, leader, want
}

// A snapshot of a dead member's directory holds all that its log does, comes back
// whole, and the directory stays as it was.
func TestSaveOfADeadDirectory(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, _, leader, want := killed(t, e)
	dir := c.Members[leader].DataDir
	before := harness.Tree(t, c.Dir)
	to := e.Path("backups")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	s := save(t, e, 0, "--data-dir", dir, "--to", to)
	if len(s.Saved) != 1 || s.Saved[0].Keys != len(want) || s.Saved[0].Member != c.Members[leader].Name {
		t.Fatalf("%+v, %d keys were there", s, len(want))
	}
	if s.Saved[0].ValuesProven || !strings.Contains(strings.Join(s.Notes, "\n"), dir+": its pages have no checksums") || !strings.Contains(s.Saved[0].File, "~disk-") {
		t.Errorf("what can't be proven (S14) is not said: %+v", s)
	}
	e.Run("snapshot", "save", "--data-dir", dir, "--to", e.Path("b.db")).Want(t, 0).Says(t, ", whole", "not provable")
	e.Run("snapshot", "inspect", "--data-dir", dir).Want(t, 0).Says(t, "appended by requorum", ": its pages have no checksums")
	e.Run("snapshot", "inspect", "--data-dir", dir, "--json").Want(t, 0).Says(t, `"values_proven": false`)
	e.Run("snapshot", "verify", "--json", s.Saved[0].File).Want(t, 0).Says(t, `"values_proven": false`)
	if info, err := os.Stat(s.Saved[0].File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(to, ".*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))
	e.Run("snapshot", "verify", s.Saved[0].File).Want(t, 0).Says(t, "Whole:", "appended by requorum")

	f := harness.New(t)
	again := restoreOf(t, f, 3, read(t, s.Saved[0].File))
	f.Apply(again.Path())
	harness.CompareAll(t, want, again.Endpoints())
}

// --all saves from whoever runs and from whoever does not, names the one that can't
// be saved from, and changes nothing.
func TestSaveAllLiveOrDead(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, hands, leader, want := killed(t, e)
	to := e.Path("backups")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	before := harness.Tree(t, c.Dir)
	s := save(t, e, 0, "--all", "--to", to, c.Path())
	if len(s.Saved) != 3 || len(s.Failed) != 0 {
		t.Fatalf("%+v", s)
	}
	for i, f := range s.Saved {
		if (i == leader && f.Keys != len(want)) || f.Keys < keysPerTest || !strings.HasPrefix(f.Role, "stopped, from "+c.Members[i].DataDir) {
			t.Errorf("%+v", f)
		}
		e.Run("snapshot", "verify", f.File).Want(t, 0).Says(t, "Whole:")
	}
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))

	// One runs again, without a quorum, and answers nobody; one's disk is gone.
	mute, gone := hands[(leader+1)%3], c.Members[(leader+2)%3]
	mute.Start()
	c.DropData(gone)
	s = save(t, e, 1, "--all", "--to", to, c.Path())
	if len(s.Saved) != 1 || s.Saved[0].Member != c.Members[leader].Name || len(s.Failed) != 2 {
		t.Fatalf("%+v", s)
	}
	for _, f := range s.Failed {
		word := map[bool]string{true: gone.DataDir + " is absent", false: "stop it, then save again"}[f.Member == gone.Name]
		if !strings.Contains(f.Why, word) {
			t.Errorf("%+v, want %q", f, word)
		}
	}
	mute.Term()
	// And of one alone; of nobody it is refused.
	s = save(t, e, 0, "--member", c.Members[leader].Name, "--to", e.Path("one.db"), c.Path())
	if len(s.Saved) != 1 {
		t.Errorf("%+v", s)
	}
	e.Run("snapshot", "save", "--to", e.Path("none.db"), c.Path()).Want(t, 1).Says(t, "unreachable:", "--all")
}

// Live and dead at the same time: each gives its own.
func TestSaveAllWithOneDead(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3).Write()
	hands := e.ByHand(c.Members)
	harness.Fill(t, c.Endpoints(), 200)
	hands[1].Signal(9)
	hands[1].AwaitEnd()
	to := e.Path("backups")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	s := save(t, e, 0, "--all", "--to", to, "--keep", "1", c.Path())
	roles := map[string]string{}
	for _, f := range s.Saved {
		roles[f.Member] = f.Role
		if dead := f.Member == "m2"; dead == f.ValuesProven || dead != strings.Contains(f.File, "@m2~disk-") {
			t.Errorf("%+v", f)
		}
	}
	if len(roles) != 3 || !strings.HasPrefix(roles["m2"], "stopped") || strings.HasPrefix(roles["m1"], "stopped") {
		t.Errorf("%+v", s)
	}
}

// Another cluster's directory, at the place of a member that is dead, is not saved as
// this cluster's: refused alone, and with --all named and kept apart.
func TestSaveOfAForeignDirectory(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	other := e.ClusterIn("another", 1)
	theirs := e.Hand(other.Members[0], other.Members)
	theirs.Serve()
	id := harness.ClusterID(t, other.Endpoints())
	theirs.Term()
	c := e.Cluster(3).Write()
	hands := e.ByHand(c.Members)
	hands.Leader()
	hands[2].Term()
	c.DropData(c.Members[2])
	if err := os.CopyFS(c.Members[2].DataDir, os.DirFS(other.Members[0].DataDir)); err != nil {
		t.Fatal(err)
	}
	to := e.Path("backups")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	e.Run("snapshot", "save", "--member", "m3", "--to", to, c.Path()).Want(t, 1).Says(t, "cluster-id-changed:", "is of cluster "+id)
	s := save(t, e, 0, "--all", "--to", to, c.Path())
	if len(s.Saved) != 3 || !strings.Contains(strings.Join(s.Notes, "\n"), c.Members[2].DataDir+" is of cluster "+id+", and demo's is ") {
		t.Fatalf("%+v", s)
	}
	for _, f := range s.Saved {
		if theirs := f.Member == "m3"; theirs != strings.Contains(f.File, "/demo~"+id[:8]+"@m3~disk-") {
			t.Errorf("%+v", f)
		}
	}
}

// What can't be saved from is refused, with the reason.
func TestSaveOfWhatIsNoDirectory(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c, hands, leader, _ := killed(t, e)
	dir := func(i int) string { return c.Members[(leader+i)%3].DataDir }
	run := func(dir string, more ...string) harness.Result {
		return e.Run(append([]string{"snapshot", "save", "--to", e.Path("x.db"), "--data-dir", dir}, more...)...).Want(t, 1)
	}
	run(e.Path("none")).Says(t, "snapshot-missing:", "absent")
	run(dir(0), c.Path()).Says(t, "--data-dir names all that is needed")
	harmLog(t, dir(1))
	run(dir(1)).Says(t, "data-damaged:")
	hands[(leader+2)%3].Start()
	run(dir(2)).Says(t, "data-held:", "process "+strconv.Itoa(hands[(leader+2)%3].PID()))
	hands[(leader+2)%3].Term()
	if exists(e.Path("x.db")) {
		t.Error("x.db is there")
	}
}

// exported are the lines of export --format json.
func exported(t *testing.T, e *harness.Env, args ...string) []map[string]any {
	t.Helper()
	r := e.Run(append([]string{"snapshot", "export"}, args...)...).Want(t, 0)
	var out []map[string]any
	for line := range strings.Lines(r.Stdout) {
		var kv map[string]any
		if err := json.Unmarshal([]byte(line), &kv); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out = append(out, kv)
	}
	return out
}

// sameAsServed compares an export with what etcd serves.
func sameAsServed(t *testing.T, got []map[string]any, kvs *clientv3.GetResponse) {
	t.Helper()
	if len(got) != len(kvs.Kvs) {
		t.Fatalf("%d keys were exported, etcd serves %d", len(got), len(kvs.Kvs))
	}
	text := func(kv map[string]any, name string) string {
		if s, ok := kv[name].(string); ok {
			return s
		}
		b, err := base64.StdEncoding.DecodeString(kv[name+"_base64"].(string))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i, kv := range kvs.Kvs {
		g := got[i]
		lease, _ := g["lease"].(string)
		wantLease := ""
		if kv.Lease != 0 {
			wantLease = strconv.FormatInt(kv.Lease, 16)
		}
		if text(g, "key") != string(kv.Key) || text(g, "value") != string(kv.Value) || lease != wantLease ||
			int64(g["create_revision"].(float64)) != kv.CreateRevision || int64(g["mod_revision"].(float64)) != kv.ModRevision || int64(g["version"].(float64)) != kv.Version {
			t.Fatalf("key %d: exported %v, etcd serves %v", i, g, kv)
		}
	}
}

// What is exported of a dead directory, or of a snapshot, is what etcd served: now,
// below a prefix, and as of any revision that is not compacted.
func TestExportIsWhatEtcdServes(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(1).Write()
	hand := e.Hand(c.Members[0], c.Members)
	hand.Serve()
	harness.Fill(t, c.Endpoints(), keysPerTest)
	cli := harness.Client(t, c.Endpoints()...)
	ctx := harness.Context(t)
	put(t, cli, "bin\xff\x00key", "\x80\x81")
	put(t, cli, "<html>&", "a\nb\tü")
	put(t, cli, "/gone", "x")
	if _, err := cli.Delete(ctx, "/gone"); err != nil {
		t.Fatal(err)
	}
	put(t, cli, "/gone", "and back")
	get := func(key string, opts ...clientv3.OpOption) *clientv3.GetResponse {
		r, err := cli.Get(ctx, key, append(opts, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	now := get("")
	newest := now.Header.Revision
	at := map[int64]*clientv3.GetResponse{}
	for back := int64(1); back < 6; back++ {
		at[newest-back] = get("", clientv3.WithRev(newest-back))
	}
	below := get("/registry/")
	file := harness.Snapshot(t, c.Endpoints()[0], e.Path("saved.db"))
	hand.Signal(9)
	hand.AwaitEnd()
	before := harness.Tree(t, c.Dir)

	for _, from := range [][]string{{file}, {"--data-dir", c.Members[0].DataDir}} {
		sameAsServed(t, exported(t, e, from...), now)
		sameAsServed(t, exported(t, e, append(from, "--prefix", "/registry/")...), below)
	}
	for revision, want := range at {
		sameAsServed(t, exported(t, e, file, "--at-revision", strconv.FormatInt(revision, 10)), want)
	}
	harness.Unchanged(t, before, harness.Tree(t, c.Dir))

	e.Run("snapshot", "export", file, "--at-revision", strconv.FormatInt(newest+1, 10)).Want(t, 1).Says(t, "future")
	e.Run("snapshot", "export", file, "--at-revision", "2").Want(t, 1).Says(t, "compacted")
	e.Run("snapshot", "export", file, "--format", "keys", "--prefix", "bin").Want(t, 0).Says(t, `"bin\xff\x00key"`)
	out := e.Path("keys.json")
	e.Run("snapshot", "export", file, "--to", out).Want(t, 0).Says(t, "Exported: "+strconv.Itoa(len(now.Kvs))+" keys as of revision "+strconv.FormatInt(newest, 10))
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	e.Run("snapshot", "export", file, "--to", out).Want(t, 1).Says(t, "never written over")
	e.Run("snapshot", "inspect", "--data-dir", c.Members[0].DataDir).Want(t, 0).Says(t, "revision "+strconv.FormatInt(newest, 10), strconv.Itoa(len(now.Kvs))+" keys")
	if left, _ := filepath.Glob(e.Path("tmp", "requorum-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
