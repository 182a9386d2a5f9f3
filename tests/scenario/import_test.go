package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/requorum/requorum/tests/harness"
)

// A cluster that people started by hand, each member in another way, is imported: its
// file is taken as it is, the only thing that a plan finds is that nobody would start
// the members again, and adopted by it there is nothing to do. Nothing is restarted.
func TestImport(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	c.Members[1].WALDir = c.Members[1].DataDir + "-wal"
	var hs harness.Hands
	for i, m := range c.Members {
		h := e.Hand(m, c.Members, "--heartbeat-interval=150")
		switch i {
		case 0: // etcd's own defaults, spelled out, are nothing to restart it for
			h.Set("--force-new-cluster=false", "--wal-dir="+m.DataDir+"/member/wal", "--initial-election-tick-advance=false")
		case 1:
			h.Environ("ETCD_QUOTA_BACKEND_BYTES=4294967296", "ETCD_DISCOVERY_PASSWORD=tOpSecret77")
		case 2:
			path := e.Path("m3.yaml")
			text := fmt.Sprintf("name: %s\ndata-dir: %s\nlisten-client-urls: %s\nadvertise-client-urls: %s\nlisten-peer-urls: %s\ninitial-advertise-peer-urls: %s\ninitial-cluster: %s\ninitial-cluster-token: by-hand\nheartbeat-interval: 150\n",
				m.Name, m.DataDir, m.Client, m.Client, m.Peer, m.Peer, harness.InitialCluster(c.Members))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			h.Set("--config-file=" + path)
		}
		h.Start()
		hs = append(hs, h)
	}
	hs.Await()
	keys := harness.Fill(t, hs.Endpoints(), keysPerTest)
	pids := []int{hs[0].PID(), hs[1].PID(), hs[2].PID()}
	tree := harness.Tree(t, e.Dir, ".log")

	shown := e.Run("import", "--endpoints", hs[0].Client).Want(t, 0).Stdout
	harness.Unchanged(t, tree, harness.Tree(t, e.Dir, ".log"))
	path := e.Path("imported.hcl")
	e.Run("import", "--endpoints", strings.TrimPrefix(hs[1].Client, "http://"), "--endpoints", hs[2].Client, "--out", path).Want(t, 0).Says(t, "m1, m2, m3 run without a supervisor: adopt")
	text := string(read(t, path))
	for _, word := range []string{"tOpSecret77", "heartbeat", "quota"} {
		if strings.Contains(text+shown, word) {
			t.Errorf("%q is in the file:\n%s", word, text)
		}
	}
	if strings.Count(text, `wal_dir`) != 1 || !strings.Contains(text, harness.ClusterID(t, hs.Endpoints())) {
		t.Errorf("the file:\n%s", text)
	}
	e.Run("fmt", "--check", path).Want(t, 0)
	e.Run("import", "--endpoints", hs[0].Client, "--out", path).Want(t, 1).Says(t, "not written over")
	if p := e.Plan(path); p.Kinds() != "adopt" {
		t.Errorf("steps %s", p.Kinds())
	}
	e.Apply(path)
	e.InSync(path)
	// What requorum runs is imported again under its own name.
	again := e.Path("again.hcl")
	e.Run("import", "--endpoints", hs[0].Client, "--out", again).Want(t, 0).Says(t, "nothing to do")
	e.InSync(again)
	for i, h := range hs {
		if !h.Runs() || h.PID() != pids[i] {
			t.Errorf("%s was restarted", h.Name)
		}
	}
	harness.CompareAll(t, keys, hs.Endpoints())
	e.Run("stop", "--auto-approve", path).Want(t, 0)
	// Started anew, they have what the file does not say.
	e.Apply(path)
	e.InSync(path)
	if log := e.Run("status", "--json", path).Stdout; !strings.Contains(log, "--initial-election-tick-advance=false") || strings.Contains(log, "force-new-cluster") {
		t.Errorf("the settings of m1:\n%s", log)
	}
	harness.CompareAll(t, keys, hs.Endpoints())
	e.Run("stop", "--auto-approve", path).Want(t, 0)
}

// What is no living cluster gives no file; what can't be looked at stands as a comment.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	hs := e.ByHand(c.Members)
	path := e.Path("imported.hcl")
	for _, bad := range [][]string{{}, {"--endpoints", "https://127.0.0.1:1"}, {"--endpoints", "http://ops:tOpSecret77@127.0.0.1:1"}, {"--endpoints", "ftp://x"}, {"--endpoints", "http://x/y?z=1"}} {
		r := e.Run(append([]string{"import", "--out", path}, bad...)...).Want(t, 1).Says(t, "--endpoints")
		if strings.Contains(r.Stderr, "tOpSecret77") {
			t.Errorf("the password is shown: %s", r)
		}
	}
	e.Run("import", "--endpoints", e.Ports(1).URL(0), "--out", path).Want(t, 6).Says(t, "no-leader", "requorum rescue")
	other := e.ClusterIn("other", 1)
	e.ByHand(other.Members)
	e.Run("import", "--endpoints", hs[0].Client+","+other.Members[0].Client, "--out", path).Want(t, 6).Says(t, "split-cluster")
	hs[1:].Kill9()
	e.Run("import", "--endpoints", hs[0].Client, "--out", path).Want(t, 6).Says(t, "no-leader")
	hs[1].Serve()
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a file was written")
	}
	e.Run("import", "--endpoints", hs[0].Client, "--out", path).Want(t, 0)
	text := string(read(t, path))
	if !strings.Contains(text, "m3 could not be looked at") || !strings.Contains(text, `# member "m3" {`) || !strings.Contains(text, `member "m2" {`) {
		t.Errorf("the file:\n%s", text)
	}
}

// What a member has and the file can't say is named, and the plan says that it goes; a file
// that can't be planned is no success.
func TestImportUnsaid(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	m := e.Cluster(1).Members[0]
	ports := e.Ports(1)
	h := e.Hand(m, nil, "--listen-client-urls="+m.Client+",unix://clients:1", "--listen-client-http-urls="+ports.URL(0))
	h.Start()
	h.Await()
	path := e.Path("imported.hcl")
	gaps := []string{
		"m1 has a unix:// address in --listen-client-urls, which can't be said in the file",
		"m1 has --listen-client-http-urls, which can't be said in the file",
	}
	r := e.Run("import", "--endpoints", m.Client, "--out", path).Want(t, 0).Says(t, gaps...)
	r.Says(t, "--listen-client-urls "+m.Client+",unix://clients:1 -> "+m.Client, "- --listen-client-http-urls="+ports.URL(0))
	if strings.Contains(r.Stdout, "nothing to do") {
		t.Errorf("nothing to do, and settings go:\n%s", r)
	}
	text := string(read(t, path))
	for _, gap := range gaps {
		if !strings.Contains(text, "# To be looked at: "+gap) {
			t.Errorf("the file does not say %q:\n%s", gap, text)
		}
	}
	h.Term()
	h.Set("--listen-client-http-urls=", "--listen-client-urls="+m.Client+",http://127.0.0.1:0")
	h.Start()
	h.Await()
	e.Run("import", "--endpoints", m.Client, "--out", e.Path("port.hcl")).Want(t, 1).Says(t, "It can't be planned yet")
}
