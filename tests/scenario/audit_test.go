package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/tests/harness"
)

// Each trouble that is planted in a real cluster gives exactly its finding, and what comes
// close to it gives none. What stands with a cluster of this test's shape (its members
// on one machine, say) is named with it. States of a cluster have their cases in
// TestStates, whose audits are held to the same.
func TestAuditFindings(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		name  string
		finds []audit.Code // that have to come up in it
		run   func(*auditing)
	}{
		{"by hand, adopted, changed", []audit.Code{"not-supervised", "no-boot-start", "drift-settings", "drift-urls", "drift-membership", "drift-version", "minority-down", "restarts", "cluster-down", "cluster-id-changed", "shared-host", "shared-disk"}, auditAdopted},
		{"how many voters", []audit.Code{"no-fault-tolerance", "even-voters"}, auditVoters},
		{"a learner that is to vote", []audit.Code{"learner-left", "learner-unstarted"}, auditLearner},
		{"a database that grows", []audit.Code{"quota-near", "db-fragmented", "max-learners", "space-exhausted"}, auditGrowth},
		{"backups", []audit.Code{"backup-missing", "backup-not-drilled", "backup-old", "backup-unreadable"}, auditBackups},
		{"backups in S3", []audit.Code{"backup-missing", "backup-not-drilled", "backup-unreadable"}, auditBackupsS3},
		{"who can't be reached", []audit.Code{"host-unreachable", "member-unreachable"}, auditUnreachable},
		{"a policy that forbids, and nothing there", []audit.Code{"no-safe-plan", "no-cluster"}, auditRefused},
		{"a leader that changes", []audit.Code{"leader-flapping"}, auditFlapping},
		{"a slow disk", []audit.Code{"slow-disk"}, auditSlowDisk},
		{"clocks that differ", []audit.Code{"clock-skew"}, auditClocks},
		{"two minors", []audit.Code{"mixed-minors"}, auditMinors},
		{"old versions", []audit.Code{"etcd-end-of-life", "etcd-security", "etcd-17780", "etcd-21378"}, auditVersions},
		{"authentication", []audit.Code{"without-user"}, auditAuth},
	} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			x := &auditing{T: t, e: harness.New(t), found: map[audit.Code]bool{}}
			k.run(x)
			for _, code := range k.finds {
				if !x.found[code] && !t.Failed() {
					t.Errorf("%s was not brought about", code)
				}
			}
		})
	}
}

// auditing is what a case looks at.
type auditing struct {
	*testing.T
	e *harness.Env
	// stands is what is the matter all along, by its codes.
	stands []string
	found  map[audit.Code]bool
}

// only wants these findings and no other one beside what stands, each as code or
// code@member; what stands has to be there too.
func (x *auditing) only(c *harness.Cluster, want ...string) []audit.Finding {
	x.Helper()
	list := x.e.Audit(c.Path()).Findings
	var got, facts []string
	for _, f := range list {
		key := string(f.Code)
		if f.Member != "" {
			key += "@" + f.Member
		}
		x.found[f.Code] = true
		got, facts = append(got, key), append(facts, fmt.Sprintf("%s %s (%s): %s", f.Severity, key, f.Pos, f.Fact))
		if f.Pos.File != c.Path() || f.Pos.Line == 0 || f.Fact == "" || len(f.Remedy) == 0 {
			x.Errorf("half said: %+v", f)
		}
	}
	want = append(slices.Clone(want), x.stands...)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		x.Errorf("found %s, want %s:\n%s", strings.Join(got, " "), strings.Join(want, " "), strings.Join(facts, "\n"))
	}
	return list
}

// quiet is a file in whose policy no backup is wanted.
func (x *auditing) quiet(n int) *harness.Cluster {
	x.Helper()
	c := x.e.Cluster(n)
	c.More = noBackups
	return c.Write()
}

const noBackups = "  policy {\n    max_backup_age = \"any\"\n    max_drill_age  = \"any\"\n  }\n"

func auditAdopted(x *auditing) {
	c := x.quiet(3)
	x.e.ByHand(c.Members)
	x.stands = []string{"shared-host", "shared-disk"}
	x.only(c, "not-supervised@m1", "not-supervised@m2", "not-supervised@m3")
	x.e.Apply(c.Path())
	x.stands = append(x.stands, "no-boot-start")
	x.only(c)

	// S25: an audit changes nothing, and asks for nothing but what only looks.
	calls := map[string]map[string]float64{}
	for _, m := range c.Members {
		calls[m.Name] = served(x.T, m.Client)
	}
	tree, revs := harness.Tree(x, x.e.Dir, ".log"), revisions(x.T, c)
	for _, format := range []string{"text", "json", "sarif", "markdown", "prometheus"} {
		x.e.Run("audit", "--format", format, c.Path()).Want(x, 2)
	}
	harness.Unchanged(x, tree, harness.Tree(x, x.e.Dir, ".log"))
	if now := revisions(x.T, c); !equal(revs, now) {
		x.Errorf("revisions %v became %v", revs, now)
	}
	for _, m := range c.Members {
		now, asked := served(x.T, m.Client), 0.0
		for method, n := range now {
			more := n - calls[m.Name][method]
			if more > 0 && !slices.Contains([]string{"Status", "MemberList", "Range", "HashKV"}, method) {
				x.Errorf("%s was asked %g times for %s", m.Name, more, method)
			}
			asked += more
		}
		if asked < 15 {
			x.Errorf("%s counted %g calls only", m.Name, asked)
		}
	}

	as := func(edit func(*harness.Cluster), want ...string) {
		x.Helper()
		changed := *c
		changed.Members = slices.Clone(c.Members)
		edit(&changed)
		changed.Write()
		x.only(&changed, want...)
		c.Write()
	}
	as(func(c *harness.Cluster) { c.More += "  etcd { config = { heartbeat-interval = 150 } }\n" }, "drift-settings@m1", "drift-settings@m2", "drift-settings@m3")
	as(func(c *harness.Cluster) { c.More += "  etcd { config = { heartbeat-interval = 100 } }\n" }, "drift-settings@m1", "drift-settings@m2", "drift-settings@m3")
	as(func(c *harness.Cluster) { c.Members[1].Client = x.e.Ports(1).URL(0) }, "drift-urls@m2")
	as(func(c *harness.Cluster) { c.Members[1].Peer = x.e.Ports(1).URL(0) }, "peer-url-stale@m2")
	as(func(c *harness.Cluster) { c.More += "  etcd { version = \"3.6\" }\n" }, "drift-version@m1", "drift-version@m2", "drift-version@m3")
	as(func(c *harness.Cluster) { c.More += "  etcd { version = \"3.7\" }\n" })
	as(func(c *harness.Cluster) { c.ID = "abcdef" }, "cluster-id-changed")
	as(func(c *harness.Cluster) { c.ID = harness.ClusterID(x, c.Endpoints()) })
	as(func(c *harness.Cluster) {
		ports := x.e.Ports(2)
		c.Members = append(c.Members, harness.Member{Name: "m4", Peer: ports.URL(0), Client: ports.URL(1), DataDir: filepath.Join(c.Dir, "data", "m4")})
	}, "drift-membership@m4")
	as(func(c *harness.Cluster) { c.Members = c.Members[:2] }, "drift-membership@m3")

	x.e.Run("stop", "--auto-approve", "--member", "m3", c.Path()).Want(x, 0)
	x.only(c, "minority-down@m3")
	x.e.Apply(c.Path())
	x.only(c)
	if err := syscall.Kill(c.Etcd(c.Members[2]).PID, syscall.SIGKILL); err != nil {
		x.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); !x.found["restarts"]; time.Sleep(500 * time.Millisecond) {
		for _, f := range x.e.Audit(c.Path()).Findings {
			x.found[f.Code] = true
		}
		if time.Now().After(end) {
			x.Fatal("it is not seen that m3 was started again")
		}
	}
	x.only(c, "restarts@m3")
	c.Stop()
	x.stands = []string{"shared-host", "shared-disk"}
	x.only(c, "cluster-down")
}

// served are the calls that an etcd has begun to serve, by their methods.
func served(t *testing.T, endpoint string) map[string]float64 {
	t.Helper()
	resp, err := http.Get(endpoint + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, m := range families["grpc_server_started_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "grpc_method" {
				out[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s counts no calls", endpoint)
	}
	return out
}

func auditVoters(x *auditing) {
	one := x.quiet(1)
	x.e.ByHand(one.Members)
	x.only(one, "not-supervised@m1", "no-fault-tolerance")
	four := x.e.ClusterIn("four", 4)
	four.More = noBackups
	x.e.ByHand(four.Write().Members)
	x.only(four, "not-supervised@m1", "not-supervised@m2", "not-supervised@m3", "not-supervised@m4", "shared-host", "shared-disk", "even-voters")
}

func auditLearner(x *auditing) {
	c := x.quiet(4)
	hs := x.e.ByHand(c.Members[:3])
	x.stands = []string{"shared-host", "shared-disk", "not-supervised@m1", "not-supervised@m2", "not-supervised@m3"}
	m := c.Members[3]
	addMember(x.T, hs[0].Client, m.Peer, true)
	x.only(c, "learner-unstarted@m4")
	h := x.e.Hand(m, c.Members, "--initial-cluster-state=existing")
	h.Start()
	x.await("the learner serves", func() bool {
		st, err := harness.Client(x, m.Client).Status(harness.Context(x), m.Client)
		return err == nil && st.IsLearner && st.Leader != 0 && st.RaftAppliedIndex > 0
	})
	x.stands = append(x.stands, "not-supervised@m4")
	x.only(c, "learner-left@m4")
	c.Members[3].Learner = true
	c.Write()
	x.only(c)
}

// await waits until it holds.
func (x *auditing) await(what string, holds func() bool) {
	x.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			x.Fatalf("%s: not within a minute", what)
		}
	}
}

func auditGrowth(x *auditing) {
	const quota = 128 << 20
	c := x.quiet(1)
	m := c.Members[0]
	h := x.e.Hand(m, nil, fmt.Sprintf("--quota-backend-bytes=%d", quota))
	h.Serve()
	x.stands = []string{"not-supervised@m1", "no-fault-tolerance"}
	cli := harness.Client(x, m.Client)
	value := strings.Repeat("x", 1<<20)
	size := func() int64 { return harness.Status(x, m.Client).DbSize }
	fill := func(share int64) {
		x.Helper()
		for i := 0; size() < quota/100*share; i++ {
			if _, err := cli.Put(harness.Context(x), fmt.Sprint("k", i), value); err != nil {
				x.Fatal(err)
			}
		}
	}
	fill(60)
	x.only(c)
	fill(82)
	x.only(c, "quota-near@m1")
	now := harness.Status(x, m.Client).Header.Revision
	if _, err := cli.Delete(harness.Context(x), "k", clientv3.WithPrefix()); err != nil {
		x.Fatal(err)
	}
	if _, err := cli.Compact(harness.Context(x), now+1, clientv3.WithCompactPhysical()); err != nil {
		x.Fatal(err)
	}
	x.await("the pages are free", func() bool { return harness.Status(x, m.Client).DbSizeInUse < 1<<20 })
	x.only(c, "quota-near@m1", "db-fragmented@m1")
	if _, err := cli.Defragment(harness.Context(x), m.Client); err != nil {
		x.Fatal(err)
	}
	x.only(c)
	h.Term()
	h.Set("--max-learners=2", "--quota-backend-bytes=1048576")
	h.Serve()
	x.only(c, "max-learners@m1")
	cli = harness.Client(x, m.Client)
	for i := range 100 {
		if _, err := cli.Put(harness.Context(x), fmt.Sprint("n", i), value[:100_000]); err != nil {
			break
		}
	}
	x.only(c, "max-learners@m1", "space-exhausted@m1")
}

func auditBackups(x *auditing) {
	c := x.e.Cluster(1).Write()
	x.e.Apply(c.Path())
	harness.Fill(x, c.Endpoints(), 20)
	x.stands = []string{"no-boot-start", "no-fault-tolerance"}
	x.only(c, "backup-missing") // none is named
	dir := x.e.Path("backups")
	policy := func(more string) {
		c.More = fmt.Sprintf("  policy {\n    backups = %q\n%s  }\n", dir, more)
		c.Write()
	}
	policy("")
	x.only(c, "backup-missing") // nor is the folder there
	if err := os.Mkdir(dir, 0o700); err != nil {
		x.Fatal(err)
	}
	for _, name := range []string{"other~0123abcd-5-20260101T000000Z.db", "demo~0123abcd-5-20260101T000000Z.db"} {
		write(x.T, filepath.Join(dir, name), make([]byte, 20<<10))
	}
	x.only(c, "backup-missing") // those are other clusters'
	for name, size := range map[string]int{"notes.db": 0, "README.md": 20 << 10, "restore.sh": 20 << 10, "demo-5-20260101T000000Z.db": 0, "demo-6-20991231T000000Z.db": 1} {
		write(x.T, filepath.Join(dir, name), make([]byte, size))
	}
	x.only(c, "backup-missing") // nor are those backups
	x.e.Run("snapshot", "save", "--to", dir, c.Path()).Want(x, 0)
	x.only(c, "backup-not-drilled")
	saved, err := filepath.Glob(filepath.Join(dir, "demo~*-*"))
	saved = slices.DeleteFunc(saved, func(s string) bool { return strings.Contains(s, "0123abcd") })
	if err != nil || len(saved) != 1 {
		x.Fatal(saved, err)
	}
	x.e.Run("snapshot", "drill", saved[0]).Want(x, 0)
	x.only(c)
	time.Sleep(2100 * time.Millisecond)
	policy("    max_backup_age = \"1s\"\n")
	x.only(c, "backup-old")
	policy("    max_drill_age = \"1s\"\n")
	x.only(c, "backup-not-drilled")
	policy("    max_backup_age = \"1h\"\n    max_drill_age = \"1h\"\n")
	x.only(c)
	// The same by the file's source.
	c.More, c.Snapshot = "", saved[0]
	c.Write()
	x.only(c)
	c.Snapshot = "https://127.0.0.1:1/x.db"
	c.Write()
	x.only(c, "backup-unreadable")
	// A drill of another place is none of this one's.
	c.Snapshot = ""
	dir = x.e.Path("elsewhere")
	if err := os.Mkdir(dir, 0o700); err != nil {
		x.Fatal(err)
	}
	policy("")
	x.e.Run("snapshot", "save", "--to", dir, c.Path()).Want(x, 0)
	x.only(c, "backup-not-drilled")
}

func auditBackupsS3(x *auditing) {
	s3 := harness.StartS3(x)
	for name, value := range s3.Environ("") {
		x.e.Setenv(name, value)
	}
	c := x.e.Cluster(1)
	c.More = fmt.Sprintf("  policy { backups = %q }\n", s3.URL("etcd/"))
	x.e.Apply(c.Write().Path())
	x.stands = []string{"no-boot-start", "no-fault-tolerance"}
	x.only(c, "backup-missing")
	x.e.Run("snapshot", "save", "--to", s3.URL("etcd/"), c.Path()).Want(x, 0)
	x.only(c, "backup-not-drilled")
	x.e.Run("snapshot", "drill", s3.URL("etcd/")).Want(x, 0)
	x.only(c)
	x.e.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	x.only(c, "backup-unreadable")
}

func auditUnreachable(x *auditing) {
	c := x.quiet(3)
	hs := x.e.ByHand(c.Members)
	x.stands = []string{"shared-host", "shared-disk", "not-supervised@m1", "not-supervised@m2", "not-supervised@m3"}
	x.only(c)
	hs[2].Freeze()
	defer hs[2].Signal(syscall.SIGCONT)
	x.stands = x.stands[:4]
	x.only(c, "member-unreachable@m3")
	hs[2].Signal(syscall.SIGCONT)
	hs.Await()

	// A host that no ssh leads to; its members serve, and were seen to.
	away := *c
	away.Head = "host \"h\" {\n  address = \"127.0.0.2\"\n  ssh { command = [\"false\"] }\n}\n"
	away.Members = slices.Clone(c.Members)
	for i := range away.Members {
		away.Members[i].Host = "h"
	}
	away.Write()
	x.stands = []string{"shared-host"}
	x.only(&away, "host-unreachable@m1", "host-unreachable@m2", "host-unreachable@m3")
}

func auditRefused(x *auditing) {
	c := x.quiet(1)
	x.only(c, "no-cluster")
	x.e.Apply(c.Path())
	x.stands = []string{"no-boot-start", "no-fault-tolerance"}
	x.only(c)
	c.More += "  etcd { config = { heartbeat-interval = 150 } }\n"
	c.Write()
	x.only(c, "drift-settings@m1")
	c.More = strings.Replace(c.More, "policy {\n", "policy {\n    prevent = [\"downtime\"]\n", 1)
	c.Write()
	list := x.only(c, "drift-settings@m1", "no-safe-plan")
	if f := list[0]; f.Code != "no-safe-plan" || !strings.HasPrefix(f.Fact, "policy-prevented: ") {
		x.Errorf("%+v", f)
	}
}

func auditFlapping(x *auditing) {
	c := x.quiet(3)
	hs := x.e.ByHand(c.Members)
	x.stands = []string{"shared-host", "shared-disk", "not-supervised@m1", "not-supervised@m2", "not-supervised@m3"}
	lead(x.T, hs, 0)
	lead(x.T, hs, 1)
	x.only(c)
	for i := range 6 {
		lead(x.T, hs, i%3)
	}
	x.only(c, "leader-flapping")
}

// auditSlowDisk stops the process while it syncs its log: to etcd, and to whoever reads
// its histogram, that is a sync that takes seconds.
func auditSlowDisk(x *auditing) {
	c := x.quiet(1)
	h := x.e.Hand(c.Members[0], nil)
	h.Serve()
	x.stands = []string{"not-supervised@m1", "no-fault-tolerance"}
	x.only(c)
	for tries := 0; !x.found["slow-disk"]; tries++ {
		if tries == 20 {
			x.Fatal("no sync was met")
		}
		cli := harness.Client(x, h.Client)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 30 {
				_, _ = cli.Put(harness.Context(x), fmt.Sprint(i), "x")
			}
		}()
		time.Sleep(time.Duration(3+2*tries) * time.Millisecond)
		h.Freeze()
		time.Sleep(2500 * time.Millisecond)
		h.Signal(syscall.SIGCONT)
		<-done
		for _, f := range x.e.Audit(c.Path()).Findings {
			x.found[f.Code] = true
		}
		if !x.found["slow-disk"] { // its counters begin anew: 1 of 100 has to be slow
			h.Term()
			h.Serve()
		}
	}
	x.only(c, "slow-disk@m1")
}

// auditClocks has each member see the others' clocks wrong: what they tell of the time
// goes through a proxy. etcd compares every 30 s.
func auditClocks(x *auditing) {
	c := x.quiet(3)
	x.e.Apply(c.Path())
	x.stands = []string{"shared-host", "shared-disk", "no-boot-start"}
	x.only(c)
	x.e.Run("stop", "--auto-approve", c.Path()).Want(x, 0)
	// The peers dial the proxy; m3 itself listens elsewhere.
	real := x.e.Ports(1).URL(0)
	path := c.Path()
	text := string(read(x.T, path))
	listen := fmt.Sprintf("    peer_urls   = [%q]\n", c.Members[2].Peer)
	text = strings.Replace(text, listen, listen+fmt.Sprintf("    listen_peer_urls = [%q]\n", real), 1)
	write(x.T, path, []byte(text))
	done := make(chan harness.Result, 1)
	go func() { done <- x.e.Run("apply", "--auto-approve", path) }()
	x.await("m3 listens", func() bool { // before, its address would count as taken
		conn, err := net.Dial("tcp", strings.TrimPrefix(real, "http://"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	skewed(x.T, c.Members[2].Peer, real)
	(<-done).Want(x, 0)
	x.await("a log that has it", func() bool {
		for _, f := range x.e.Audit(path).Findings {
			x.found[f.Code] = true
		}
		return x.found["clock-skew"]
	})
	got := map[string]bool{}
	for _, f := range x.e.Audit(path).Findings {
		if f.Code == "clock-skew" {
			got[f.Member] = true
		} else if !slices.Contains(x.stands, string(f.Code)) {
			x.Errorf("found too: %s@%s: %s", f.Code, f.Member, f.Fact)
		}
	}
	if got["m3"] || len(got) == 0 {
		x.Errorf("seen at %v", got)
	}
}

// skewed is a proxy at one URL for an etcd's peers at another: it passes all on, but has
// the etcd's clock five seconds behind: etcd tells of no clock that is ahead.
func skewed(t *testing.T, at, to string) {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Path != "/raft/probing" || r.StatusCode != http.StatusOK {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		var health struct {
			OK  bool
			Now time.Time
		}
		if err := json.Unmarshal(b, &health); err != nil {
			return err
		}
		health.Now = health.Now.Add(-5 * time.Second)
		if b, err = json.Marshal(health); err != nil {
			return err
		}
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(string(b))), int64(len(b))
		r.Header.Set("Content-Length", fmt.Sprint(len(b)))
		return nil
	}
	s := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

func auditMinors(x *auditing) {
	c := x.e.Cluster(3)
	old := harness.Etcd(x, "3.6")
	c.More = noBackups + old.Block()
	hs := x.e.ByHandOf(old, c.Write().Members)
	x.stands = []string{"shared-host", "shared-disk", "not-supervised@m1", "not-supervised@m2", "not-supervised@m3"}
	x.only(c)
	lead(x.T, hs, 0)
	hs[2].Term()
	hs[2].Of(harness.Etcd(x, "3.7")).Serve()
	x.only(c, "mixed-minors")
}

func auditVersions(x *auditing) {
	for i, minor := range harness.Minors[:3] {
		c := x.e.ClusterIn("v"+minor, 3)
		r := harness.Etcd(x, minor)
		c.More = noBackups + r.Block()
		x.e.ByHandOf(r, c.Write().Members)
		x.stands = []string{"shared-host", "shared-disk", "not-supervised@m1", "not-supervised@m2", "not-supervised@m3"}
		if i > 0 {
			x.only(c) // the last ones of their minors
			continue
		}
		x.only(c, "etcd-end-of-life", "etcd-security", "etcd-17780", "etcd-21378") // Debian's 3.4.23
	}
}

func auditAuth(x *auditing) {
	c := x.quiet(1)
	x.e.Apply(c.Path())
	x.stands = []string{"no-boot-start", "no-fault-tolerance"}
	x.only(c)
	cli := harness.Client(x, c.Members[0].Client)
	ctx := harness.Context(x)
	if _, err := cli.UserAdd(ctx, "root", "pw"); err != nil {
		x.Fatal(err)
	}
	if _, err := cli.UserGrantRole(ctx, "root", "root"); err != nil {
		x.Fatal(err)
	}
	x.only(c)
	if _, err := cli.AuthEnable(ctx); err != nil {
		x.Fatal(err)
	}
	x.only(c, "without-user")
}
