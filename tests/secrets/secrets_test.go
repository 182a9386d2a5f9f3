package secrets

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// world is where secrets are planted: in is the folder with what a user wrote, which
// alone may have them.
type world struct {
	*harness.Env
	*marks
	t    *testing.T
	ran  map[string]bool // the verbs that were searched
	vals map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Env: harness.New(t), marks: &marks{t: t}, t: t, ran: map[string]bool{}, vals: map[string]string{}}
	if err := os.Mkdir(w.Path("in"), 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// input writes a file of the user's own.
func (w *world) input(name, text string) string {
	w.t.Helper()
	path := w.Path("in", name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// run runs a verb, wants an exit code, and searches what it says.
func (w *world) run(exit int, args ...string) harness.Result {
	w.t.Helper()
	w.ran[args[0]] = true
	r := w.said(w.Run(args...))
	if r.Exit != exit {
		w.t.Fatalf("exit %d, want %d\n%s", r.Exit, exit, r)
	}
	return r
}

// every runs all that looks at a configuration and changes nothing.
func (w *world) every(planned, status int, file string, args ...string) (plan string) {
	w.t.Helper()
	plan = w.Path(fmt.Sprintf("plan-%d.json", len(w.vals)))
	w.vals[plan] = file
	with := func(verb ...string) []string { return slices.Concat(verb, args, []string{file}) }
	w.run(0, with("validate")...)
	w.run(0, with("validate", "--json")...)
	w.run(planned, with("plan", "--out", plan)...)
	w.run(planned, with("plan", "--json")...)
	w.shown(plan)
	w.run(status, with("status")...)
	w.run(status, with("status", "--json")...)
	w.audited(file, args...)
	w.run(0, with("lock", "status")...)
	w.run(0, with("lock", "status", "--json")...)
	for step := 1; planned == 0 && step <= steps(w.t, plan); step++ {
		w.run(0, with("explain", "--step", fmt.Sprint(step))...)
		w.run(0, with("explain", "--json", "--step", fmt.Sprint(step))...)
	}
	return plan
}

// audited audits in every form. There are findings in all of these worlds, of no backup
// at least.
func (w *world) audited(file string, args ...string) {
	w.t.Helper()
	for _, f := range []string{"text", "json", "sarif", "markdown", "prometheus"} {
		w.run(2, slices.Concat([]string{"audit", "--format", f}, args, []string{file})...)
	}
}

// refused plans and applies what is refused.
func (w *world) refused(file string, args ...string) {
	w.t.Helper()
	plan := w.Path(fmt.Sprintf("plan-%d.json", len(w.vals)))
	w.vals[plan] = file
	w.run(6, slices.Concat([]string{"plan", "--out", plan}, args, []string{file})...)
	w.shown(plan)
	w.run(6, slices.Concat([]string{"apply", "--auto-approve", "--json"}, args, []string{file})...)
	w.audited(file, args...)
}

func (w *world) shown(plan string) {
	w.t.Helper()
	for _, f := range []string{"text", "json", "markdown", "html"} {
		w.run(0, "show", "--format", f, plan)
	}
}

// differ compares two configurations in every form.
func (w *world) differ(exit int, was, is string) {
	w.t.Helper()
	for _, f := range []string{"text", "json", "markdown", "html"} {
		w.run(exit, "diff", "--format", f, was, is)
	}
}

// logged reads the journals in every form.
func (w *world) logged() {
	w.t.Helper()
	w.run(0, "log")
	w.run(0, "log", "--json")
	r := w.Run("log", "--json")
	var runs []struct {
		Run string `json:"run"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &runs); err != nil || len(runs) == 0 {
		w.t.Fatalf("no runs: %v\n%s", err, r)
	}
	for _, x := range runs {
		w.run(0, "log", "--json", x.Run)
		for _, f := range []string{"text", "json", "markdown", "html"} {
			w.run(0, "log", "--format", f, x.Run)
		}
	}
}

func steps(t *testing.T, plan string) int {
	t.Helper()
	b, err := os.ReadFile(plan)
	var p struct {
		Steps []json.RawMessage `json:"steps"`
	}
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(p.Steps)
}

// ownLog is where etcd itself, or a command of the user's, writes, cached a snapshot that was fetched, or saved.
var (
	ownLog = regexp.MustCompile(`^cluster/data/m\d\.requorum/(etcd\.log(\.\d)?|start\.log)$`)
	cached = regexp.MustCompile(`^home/\.cache/requorum/snapshots/[^/]+/(snapshot|body|saving)[^/]*$`)
)

// search searches all that is left on the disk: the journal, the cache, what requorum
// keeps beside the members' data, plans. Only what the user wrote, and etcd's own log of
// a process that was started by hand or by a user's script, may have secrets; a member's own data, snapshots of
// it, and the log that its etcd writes may have what is in the cluster.
func (w *world) search(atLeast ...string) {
	w.t.Helper()
	seen := map[string]bool{}
	n := w.written(w.Dir, func(rel string, d fs.DirEntry) bool {
		for _, part := range atLeast {
			if ok, _ := filepath.Match(part, rel); ok {
				seen[part] = true
			}
		}
		return rel == "in" || rel == "cluster/commands" || strings.HasSuffix(rel, "-by-hand.log") || d.IsDir() && d.Name() == "member"
	}, func(rel string) bool {
		return strings.HasSuffix(rel, ".db") || ownLog.MatchString(rel) || cached.MatchString(rel)
	})
	for _, part := range atLeast {
		if !seen[part] {
			w.t.Errorf("nothing like %s was there to be searched, among %d files", part, n)
		}
	}
}

// everyVerb fails the test where a verb was not run that requorum has.
func (w *world) everyVerb(but ...string) {
	w.t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`).FindAllStringSubmatch(w.Run("--help").Stdout, -1) {
		if !w.ran[m[1]] && !slices.Contains(but, m[1]) {
			w.t.Errorf("requorum %s was not searched for secrets", m[1])
		}
	}
}

func hcl(s string) string {
	b, _ := json.Marshal(s)
	return strings.ReplaceAll(string(b), "${", "$${")
}

// TestForeign: etcds that somebody started by hand, with secrets on their command
// lines, in their environment and in their configuration files, are planned for and
// adopted, under a file that has secrets of its own.
func TestForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.Cluster(3)
	var hs harness.Hands
	for i, m := range c.Members {
		h := w.Hand(m, c.Members)
		switch i {
		case 0:
			h.Set("--discovery-user=ops", "--discovery-password="+w.odd("--discovery-password of a process"),
				"--advertise-client-urls="+strings.Replace(m.Client, "://", "://ops:"+w.data("a password in a URL that is advertised")+"@", 1))
		case 1:
			h.Environ("ETCD_DISCOVERY_USER="+w.word("the discovery user in a process's environment"), "ETCD_DISCOVERY_PASSWORD="+w.odd("ETCD_DISCOVERY_PASSWORD of a process"),
				"AWS_SECRET_ACCESS_KEY="+w.word("AWS_SECRET_ACCESS_KEY of a process"),
				"ETCD_ROOT_PASSWORD="+w.word("ETCD_ROOT_PASSWORD of a process"))
		case 2:
			path := w.input("m3.yaml", fmt.Sprintf("name: %s\ndata-dir: %s\nlisten-client-urls: %s\nadvertise-client-urls: %s\nlisten-peer-urls: %s\ninitial-advertise-peer-urls: %s\ninitial-cluster: %s\ninitial-cluster-token: by-hand\n",
				m.Name, m.DataDir, m.Client, m.Client, m.Peer, m.Peer, harness.InitialCluster(c.Members)))
			h.Set("--config-file="+path, "--discovery-password="+w.word("a flag that a configuration file hides"))
		}
		h.Start()
		hs = append(hs, h)
	}
	hs.Await()
	put(t, hs[0].Client, "/registry/secrets/x", w.data("a value in the cluster"))

	path := w.input("c.hcl", hcl3(c, `
variable "backup" {
  type      = string
  sensitive = true
}
variable "s3" {
  type    = object({ key = string, n = number })
  default = { key = `+hcl(w.odd("the default of a sensitive object"))+`, n = 1 }
  sensitive = true
}
locals {
  derived = "${var.backup}?sig=${jsonencode(upper(var.s3.key))}"
}
`, "  snapshot { source = local.derived }\n"))
	vars := w.input("x.vars.hcl", `backup = `+hcl("https://ops:"+w.word("a var file's password")+"@127.0.0.1:1/x.db")+"\n")
	w.Setenv("REQUORUM_VAR_s3", "{ key = "+hcl(w.odd("a sensitive variable in the environment"))+", n = 2 }")
	w.run(0, "import", "--endpoints", hs[1].Client)
	w.run(0, "import", "--endpoints", hs[0].Client, "--out", w.Path("imported.hcl"))
	plan := w.every(0, 2, path, "--var-file", vars)
	other := w.input("d.hcl", hcl3(c, "", `  snapshot { source = "http://ops:`+w.word("another password")+`@127.0.0.1:1/y.db" }`+"\n"))
	w.Setenv("REQUORUM_VAR_backup", "https://"+w.word("a token in place of a user")+"@127.0.0.1:1/z.db")
	w.differ(0, path, other)

	// Applied by the plan, whose secrets are taken from where they were.
	w.run(0, "apply", "--json-into", w.Path("lines.jsonl"), "--var-file", vars, plan)
	w.run(0, "plan", "--var-file", vars, path)
	w.run(0, "apply", "--auto-approve", "--json", "--var-file", vars, path)
	w.run(0, "stop", "--auto-approve", "--json", "--var-file", vars, path)
	w.run(0, "rescue", "--data-dir", filepath.Join(c.Dir, "data"))
	w.run(0, "apply", "--auto-approve", "--json", "--var-file", vars, path)
	w.run(0, "snapshot", "save", "--to", w.Path("s.db"), "--var-file", vars, path)
	w.run(0, "snapshot", "verify", "--json", w.Path("s.db"))
	w.run(0, "snapshot", "inspect", "--json", w.Path("s.db"))
	w.run(0, "snapshot", "export", "--format", "keys", w.Path("s.db"))
	w.run(0, "explain", "adopt")
	w.run(0, "fmt", "--check", vars)
	w.run(0, "version")
	w.logged()
	w.everyVerb("completion", "help", "etcd")
	w.search("state/requorum/runs/*/plan.json", "state/requorum/runs/*/journal.jsonl", "cluster/data/m?.requorum/supervisor.json",
		"cluster/data/m?.requorum/service.json", "cluster/data/m?.requorum/etcd.log", "cluster/data/m?.requorum/runs/*.jsonl", "plan-0.json", "lines.jsonl")
	w.run(0, "stop", "--auto-approve", "--var-file", vars, path)
}

// TestStrange: etcds whose settings can't be told whole, or have secrets that nobody
// could carry over, are told without what is in them, and not taken over.
func TestStrange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.Cluster(1)
	m := c.Members[0]
	own := fmt.Sprintf("name: m1\ndata-dir: %s\nlisten-client-urls: %s\nadvertise-client-urls: %s\nlisten-peer-urls: %s\ninitial-advertise-peer-urls: %s\ninitial-cluster: m1=%s\n",
		m.DataDir, m.Client, m.Client, m.Peer, m.Peer, m.Peer)
	path := w.input("c.hcl", hcl3(c, "", ""))
	const unread = "can't be told"
	look := func(i, exit int, path, why string) {
		t.Helper()
		plan := w.Path(fmt.Sprintf("strange-%d.json", i))
		w.run(exit, "plan", "--out", plan, path).Says(t, why)
		w.shown(plan)
		status := 0
		if exit != 0 {
			status = 2
		}
		w.run(status, "status", path)
		w.run(status, "status", "--json", path)
		rescue := 0
		if why == unread { // nor are its URLs, to ask it for its members
			rescue = 6
		}
		w.run(rescue, "rescue", "--data-dir", filepath.Join(c.Dir, "data"))
		if r := w.run(exit, "apply", "--auto-approve", "--accept=downtime", path); strings.Contains(r.Stdout, "Done:") {
			t.Errorf("it was taken over:\n%s", r)
		}
	}
	for i, flags := range [][]string{
		{"--cors=http://ops:" + w.word("a password in a URL on a command line") + "@127.0.0.1:9"},
		{"--distributed-tracing-address=http://ops:" + w.word("a password in a tracer's URL") + "@127.0.0.1:9"},
	} {
		h := w.Hand(m, nil, flags...)
		h.Serve()
		look(i, 0, path, "has a secret in it")
		h.Term()
	}
	h := w.Hand(m, nil).Environ("ETCD_CORS=http://" + w.word("a token in a URL in a process's environment") + "@127.0.0.1:9")
	h.Serve()
	look(2, 0, path, "has a secret in it")
	// It hides no other setting: what the file wants beside it is seen, and so is that its
	// next start would expel the others.
	quota := w.input("quota.hcl", hcl3(c, "", "  etcd {\n    config = { quota-backend-bytes = 123456789 }\n  }\n"))
	look(10, 6, quota, "would be started without --cors, which has a secret in it")
	h.Term()
	h = w.Hand(m, nil, "--force-new-cluster", "--cors=http://ops:"+w.word("a password beside --force-new-cluster")+"@127.0.0.1:9")
	h.Serve()
	look(11, 6, path, "would be started without --cors, which has a secret in it")
	h.Term()
	// A configuration file, in which somebody has made a mistake since, in a line with
	// a secret.
	h = w.Hand(m, nil, "--config-file="+w.input("m1.yaml", own))
	h.Serve()
	for i, text := range []string{
		"discovery-password: " + w.word("a broken configuration file of etcd's") + ": x\n",
		w.word("a configuration file that is one text") + "\n",
		"- " + w.word("a configuration file that is a list") + "\n",
		"strange: { password: " + w.word("a setting without a flag") + " }\n",
		own + "cors: http://ops:" + w.word("a password in a URL in a configuration file of etcd's") + "@127.0.0.1:9\n",
	} {
		w.input("m1.yaml", text)
		why := unread
		if strings.Contains(text, "cors") {
			why = "has a secret in it"
		}
		look(3+i, 0, path, why)
	}
	h.Term()
	// A script that keeps it, with a secret in its own text.
	h = w.Hand(m, nil)
	sh := exec.Command("sh", append([]string{"-c", "PW=" + w.word("the text of a shell") + `; "$@"; true`, "sh"}, h.Command()...)...)
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-sh.Process.Pid, syscall.SIGKILL) // this test's own group
		_ = sh.Wait()
	}()
	awaitServing(t, m.Client)
	look(9, 0, path, "the script that started it")
	w.search("strange-?.json", "strange-??.json")
}

// TestPeerURLs: a member that somebody has started with a user in its peer URL is moved
// to the file's, and the user is told nowhere.
func TestPeerURLs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.Cluster(1)
	m := c.Members[0]
	secret := strings.Replace(m.Peer, "://", "://ops:"+w.data("a password in a peer URL")+"@", 1)
	h := w.Hand(m, nil, "--initial-advertise-peer-urls="+secret, "--initial-cluster=m1="+secret)
	h.Serve()
	path := w.input("c.hcl", hcl3(c, "", ""))
	w.every(0, 2, path)
	w.run(0, "rescue", "--data-dir", filepath.Join(c.Dir, "data"))
	w.run(0, "apply", "--auto-approve", "--json", path)
	w.run(0, "plan", path).Says(t, "in sync")
	w.run(0, "snapshot", "save", "--to", w.Path("s.db"), path)
	w.run(0, "snapshot", "inspect", "--json", w.Path("s.db"))
	w.run(0, "stop", "--auto-approve", path)
	w.logged()
	w.search("state/requorum/runs/*/plan.json", "cluster/data/m1.requorum/service.json", "cluster/data/m1.requorum/supervisor.json", "plan-0.json")
}

// TestSources: snapshots whose places are secrets, as URLs with passwords, with
// signatures, through proxies, in S3, and as paths; fetched, refused and not there.
func TestSources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.Cluster(1)
	one := w.input("one.hcl", hcl3(c, "", ""))
	w.run(0, "apply", "--auto-approve", one)
	put(t, c.Members[0].Client, "/k", w.data("a value in the snapshot"))
	w.run(0, "snapshot", "save", "--to", w.Path("s.db"), one)
	w.run(0, "stop", "--auto-approve", one)
	c.DropData(c.Members...)

	user, word, sig := w.word("a user in a URL"), w.word("a password in a URL"), w.word("a signature in a URL")
	folder := w.word("a path in a URL from a sensitive variable")
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		switch {
		case u != user || p != word:
			// Servers repeat what they were asked with.
			http.Error(out, "no access for "+r.Header.Get("Authorization")+" to "+r.URL.String(), http.StatusForbidden)
		case r.URL.Path == "/"+folder+"/s.db":
			http.ServeFile(out, r, w.Path("s.db"))
		default:
			http.Redirect(out, r, "http://"+user+":"+word+"@127.0.0.1:1/"+folder+"?sig="+sig, http.StatusFound)
		}
	}))
	defer srv.Close()
	at := strings.TrimPrefix(srv.URL, "http://")
	secretive := w.input("v.hcl", hcl3(c, "variable \"backup\" {\n  type      = string\n  sensitive = true\n}\n", "  snapshot { source = var.backup }\n"))
	plain := func(source string) string {
		return w.input(fmt.Sprintf("l%d.hcl", len(w.vals)), hcl3(c, "", "  snapshot { source = "+hcl(source)+" }\n"))
	}
	good := "http://" + user + ":" + word + "@" + at + "/" + folder + "/s.db?sig=" + sig
	w.every(0, 2, secretive, "--var", "backup="+good)
	for what, bad := range map[string]string{
		"another password": "http://" + user + ":" + w.word("a wrong password in a URL") + "@" + at + "/x.db?sig=" + sig,
		"a redirection":    "http://" + user + ":" + word + "@" + at + "/elsewhere.db?sig=" + sig,
		"nobody there":     "https://" + user + ":" + word + "@127.0.0.1:1/x.db?X-Amz-Signature=" + sig,
		"no host":          "https://" + w.word("a token before a host that is none") + "@nosuch.invalid./x.db",
		"no path":          w.Path("in", w.word("a path in a sensitive variable")+".db"),
	} {
		t.Log(what)
		w.refused(secretive, "--var", "backup="+bad)
		if strings.Contains(bad, "@") {
			w.refused(plain(bad))
			r := w.Run("snapshot", "verify", bad) // said by whoever knows it
			r.Args = r.Args[:2]
			if w.said(r); r.Exit != 1 {
				t.Errorf("exit %d, want 1\n%s", r.Exit, r)
			}
		}
	}
	// Through a proxy, which has a password too, and is not there.
	w.Setenv("HTTP_PROXY", "http://ops:"+w.odd("a proxy's password")+"@127.0.0.1:1")
	w.refused(secretive, "--var", "backup=http://example.invalid/x.db?sig="+sig)

	// An S3 server that says what it was sent.
	w.Setenv("HTTP_PROXY", "")
	key, secret, token := w.word("AWS_ACCESS_KEY_ID"), w.word("AWS_SECRET_ACCESS_KEY"), w.word("AWS_SESSION_TOKEN")
	s3 := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(out, "<Error><Code>InvalidToken</Code><Message>The token %s of %s is none.</Message><Token-0>%[1]s</Token-0></Error>",
			r.Header.Get("X-Amz-Security-Token"), r.Header.Get("Authorization"))
	}))
	defer s3.Close()
	for _, kv := range []string{"AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_SESSION_TOKEN=" + token, "AWS_REGION=us-east-1", "AWS_ENDPOINT_URL_S3=" + s3.URL} {
		name, value, _ := strings.Cut(kv, "=")
		w.Setenv(name, value)
	}
	w.refused(plain("s3://bucket/x.db"))
	w.refused(plain("s3://bucket/etcd/"))
	// The same from a file of credentials, and from one with a mistake in it.
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		w.Setenv(name, "")
	}
	w.Setenv("AWS_SHARED_CREDENTIALS_FILE", w.Path("in", "credentials"))
	for _, text := range []string{
		"[default]\naws_access_key_id = " + w.word("a key in an AWS credentials file") + "\naws_secret_access_key = " + w.odd("a secret in an AWS credentials file") +
			"\naws_session_token = " + w.word("a token in an AWS credentials file") + "\n",
		"[default\naws_access_key_id = " + w.word("a key in a broken AWS credentials file") + "\naws_secret_access_key " + w.word("a secret in a broken AWS credentials file") + "\n",
		"[default]\naws_secret_access_key = " + w.word("a secret without a key in an AWS credentials file") + "\n",
	} {
		w.input("credentials", text)
		w.refused(plain("s3://bucket/x.db"))
	}

	// An identity that is none.
	w.input("key", "AGE-SECRET-KEY-1"+strings.ToUpper(w.word("an age identity"))+"\n")
	age := w.input("s.age", "age-encryption.org/v1\n-> X25519 "+strings.Repeat("A", 43)+"\n"+strings.Repeat("A", 43)+"\n--- "+strings.Repeat("A", 43)+"\n")
	sealed := w.input("age.hcl", hcl3(c, "", "  snapshot {\n    source   = "+hcl(age)+"\n    identity = "+hcl(w.Path("in", "key"))+"\n  }\n"))
	w.refused(sealed)
	w.run(1, "snapshot", "verify", "--identity", w.Path("in", "key"), age)

	// And then it is restored.
	w.run(0, "apply", "--accept=data-loss", "--json-into", w.Path("lines.jsonl"), "--var", "backup="+good, w.Path("plan-0.json"))
	w.run(0, "status", "--var", "backup="+good, secretive)
	w.run(0, "stop", "--auto-approve", "--var", "backup="+good, secretive)
	w.logged()
	w.search("state/requorum/runs/*/plan.json", "cluster/data/m1.requorum/provenance.json", "cluster/data/m1.requorum/runs/*.jsonl", "home/.cache/requorum/snapshots/*", "plan-0.json", "lines.jsonl")
}

// TestMistakes: a file with a secret in it, or in a variable, and a mistake beside it, is
// told to be wrong, by the line it stands in, without the secret.
func TestMistakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.Cluster(1)
	file, env := w.word("a file that a password is read from"), w.word("an environment variable that a password is read from")
	w.input("pw", file+"\n")
	w.Setenv("ETCD_PW", env)
	w.Setenv("REQUORUM_VAR_open", "http://ops:"+w.word("a variable that nobody called sensitive")+"@127.0.0.1:1/dir/")
	w.Setenv("REQUORUM_VAR_word", w.odd("a variable for a password that nobody called sensitive"))
	w.Setenv("REQUORUM_VAR_deep", "{ list = ["+hcl(w.odd("a sensitive list"))+"], n = 5 }")
	head := `
variable "open" { type = string }
variable "word" { type = string }
variable "deep" {
  type      = any
  sensitive = true
}
`
	auth := func(password string) string {
		return "  auth {\n    username = \"root\"\n    password = " + password + "\n  }\n"
	}
	source := func(s string) string { return "  snapshot { source = " + s + " }\n" }
	for name, text := range map[string]string{
		"a folder, from a variable":           hcl3(c, head, source("var.open")),
		"a folder, from a local value":        hcl3(c, head+"locals { x = { url = var.open } }\n", source("local.x.url")),
		"a folder, composed":                  hcl3(c, head, source(`"${var.open}sub/"`)),
		"a folder, written out":               hcl3(c, head, source(`"http://ops:`+w.word("a literal URL of a folder")+`@127.0.0.1:1/dir/"`)),
		"a template with a mistake":           hcl3(c, head, source(`"http://ops:`+w.word("a template's password")+`@${local.nosuch}/x.db"`)),
		"a template's signature":              hcl3(c, head, source(`"https://h/x.db?sig=`+w.word("a template's signature")+`&n=${var.nosuch}"`)),
		"a local's mistake":                   hcl3(c, head+"locals { url = \"http://ops:"+w.word("a local's password")+"@${var.nosuch}/x.db\" }\n", source("local.url")),
		"a scheme":                            hcl3(c, head, source(`"htp://ops:`+w.word("a URL with a mistyped scheme")+`@h/x.db"`)),
		"a port":                              hcl3(c, head, source(`"http://ops:`+w.word("a URL with a wrong port")+`@h:x/x.db"`)),
		"a password of another type":          hcl3(c, head, auth(`["`+w.word("a password in a list")+`"]`)),
		"a password and a mistake":            hcl3(c, head, auth(`"`+w.word("a password beside a mistake")+`${var.nosuch}"`)),
		"a password in a function":            hcl3(c, head, auth(`format("%d", "`+w.word("a password in a function call")+`")`)),
		"a number":                            hcl3(c, head, auth(`tostring(parseint("`+w.word("a password that is no number")+`", 10))`)),
		"a number from the environment":       hcl3(c, head, auth(`tostring(parseint(env("ETCD_PW"), 10))`)),
		"a number from a file":                hcl3(c, head, auth(`tostring(parseint(trimspace(file("pw")), 10))`)),
		"a number from a variable":            hcl3(c, head, auth(`tostring(parseint(var.word, 10))`)),
		"a password in a conditional":         hcl3(c, head, auth(`var.nosuch ? "`+w.word("one side of a condition")+`" : "x"`)),
		"a password in a heredoc":             hcl3(c, head, auth("<<-E\n      "+w.word("a heredoc")+"${var.nosuch}\n    E")),
		"a sensitive one where it is shown":   hcl3(c, head, "  id = var.deep.list[0]\n"),
		"a sensitive one in a function":       hcl3(c, head, "  policy { min_fault_tolerance = parseint(var.deep.list[0], 10) }\n"),
		"a sensitive one in a validation":     hcl3(c, head+"variable \"v\" {\n  default   = \""+w.word("a validated default")+"\"\n  sensitive = true\n  validation {\n    condition     = length(var.v) < 3\n    error_message = \"not ${var.v}\"\n  }\n}\n", ""),
		"a default of another type":           hcl3(c, head+"variable \"v\" {\n  type      = number\n  default   = \""+w.word("a default that is no number")+"\"\n  sensitive = true\n}\n", ""),
		"a default in a syntax error":         hcl3(c, head+"variable \"v\" {\n  sensitive = true\n  default = \""+w.word("a default in a line with a syntax error")+"\" \"\n}\n", ""),
		"a password in a syntax error":        hcl3(c, head, "  auth {\n    username = \"root\"\n    password = \""+w.word("a password in a line with a syntax error")+"\" +\n  }\n"),
		"a URL in a syntax error":             hcl3(c, head, source("\"http://ops:"+w.word("a URL in a line with a syntax error")+"@h/x.db\" +")),
		"a URL of a member":                   strings.Replace(hcl3(c, head, ""), "client_urls = [\"http://", "client_urls = [\"http://ops:"+w.word("a password in a member's URL")+"@", 1),
		"a setting's URL":                     hcl3(c, head, "  etcd { config = { cors = \"http://ops:"+w.word("a password in a setting's URL")+"@h\" } }\n"),
		"a setting's URL, in a list":          hcl3(c, head, "  etcd { config = { cors = [\"http://h\", \"http://"+w.word("a token in a setting's URL")+"@h\"] } }\n"),
		"a setting's URL, from a variable":    hcl3(c, head, "  etcd { config = { distributed-tracing-address = var.open } }\n"),
		"a setting's query":                   hcl3(c, head, "  etcd { config = { distributed-tracing-address = \"http://h/?token="+w.word("a token in a setting's query")+"\" } }\n"),
		"a peer URL of a member":              strings.Replace(hcl3(c, head, ""), "peer_urls   = [\"http://", "peer_urls   = [\"http://ops:"+w.word("a password in a member's peer URL")+"/x@", 1),
		"a URL that is listened to":           strings.Replace(hcl3(c, head, ""), "    peer_urls", "    listen_peer_urls = [\"http://"+w.word("a user in a URL that is listened to")+"@127.0.0.1:1\"]\n    peer_urls", 1),
		"a command's password":                keptBy(head, `"etcdctl", "--user", "root:`+w.word("a password in a command")+`"`) + hcl3(c, "", ""),
		"a command's script":                  keptBy(head, `"sh", "-c", "ETCDCTL_PASSWORD='`+w.word("a password in a command's script")+`' etcdctl endpoint health"`) + hcl3(c, "", ""),
		"a command's URL, from a variable":    keptBy(head, `"curl", var.open`) + hcl3(c, "", ""),
		"a command's sensitive word":          keptBy(head, `"curl", var.deep.list[0]`) + hcl3(c, "", ""),
		"no quotes":                           hcl3(c, head, auth(w.word("a password without quotes"))),
		"an inner quote":                      hcl3(c, head, auth(`"a"`+w.word("a password with a quote in it")+`"`)),
		"a heredoc left open":                 hcl3(c, head, auth("<<E\n"+w.word("a heredoc that is left open")+"\n")),
		"a nested default":                    hcl3(c, head+"variable \"v\" {\n  sensitive = true\n  default = {\n    db = { user = \"a\" \""+w.word("a nested default")+"\" }\n  }\n}\n", ""),
		"a local without quotes":              hcl3(c, head+"locals { db_pw = "+w.word("a local without quotes")+" }\n", ""),
		"a list of tokens":                    hcl3(c, head+"locals {\n  tokens = [\n    \"a\" \""+w.word("a list of tokens")+"\",\n  ]\n}\n", ""),
		"a key of a map":                      hcl3(c, head+"locals { m = { (var.deep.list[0]) = 1 } }\n", "  policy { min_fault_tolerance = local.m.nosuch }\n"),
		"an index":                            hcl3(c, head+"locals { m = { a = 1 } }\n", "  policy { min_fault_tolerance = local.m[var.deep.list[0]] }\n"),
		"for_each":                            strings.Replace(hcl3(c, head, ""), "    peer_urls", "    for_each = toset(var.deep.list)\n    peer_urls", 1),
		"a password of no user":               hcl3(c, head, "  auth { password = \""+w.word("a password without a user")+"\" }\n"),
		"a word misspelt":                     hcl3(c, head, "  auth {\n    username = \"root\"\n    pasword  = \""+w.word("a password under a misspelt name")+"\"\n  }\n"),
		"a block misspelt":                    hcl3(c, head, "  aut {\n    password = \""+w.word("a password in a misspelt block")+"\"\n  }\n"),
		"a flag that etcd takes for a secret": hcl3(c, head, "  etcd { config = { discovery-password = \""+w.word("a flag's password")+"\" } }\n"),
		"a source's wrong sum":                hcl3(c, head, "  snapshot {\n    source = var.open\n    sha256 = \"x\"\n  }\n"),
	} {
		path := w.input(strings.ReplaceAll(name, " ", "-")+".hcl", text)
		for _, args := range [][]string{{"validate"}, {"validate", "--json"}, {"plan", "--json"}, {"diff", path}} {
			if r := w.said(w.Run(append(args, path)...)); r.Exit != 1 {
				t.Errorf("%s: exit %d, want 1\n%s", name, r.Exit, r)
			}
		}
	}
	// Values from outside that do not fit.
	path := w.input("ok.hcl", hcl3(c, head, auth("var.word")))
	typed := w.input("typed.hcl", hcl3(c, head+"variable \"n\" {\n  type      = list(number)\n  sensitive = true\n}\n", ""))
	bad := w.input("bad.vars.hcl", "word = \""+w.word("a var file with a syntax error")+"\" x\n")
	list := w.input("list.vars.hcl", "word = [\""+w.word("a var file's value of another type")+"\"]\nwrd = \""+w.word("a var file's misspelt name")+"\"\n")
	for _, args := range [][]string{
		{"--var", "wrod=" + w.word("--var for a misspelt name"), path},
		{"--var", w.word("--var without a name"), path},
		{"--var-file", bad, path},
		{"--var-file", list, path},
		{"--var-file", w.input("bare.vars.hcl", "word = "+w.word("a var file's value without quotes")+"\n"), path},
		{"--var-file", w.input("open.vars.hcl", "word = <<E\n"+w.word("a var file's heredoc")+"==\n"), path},
		{"--var-file", w.input("nested.vars.hcl", "word = {\n  a = \"x\" "+w.word("a var file's map")+"\n}\n"), path},
		{"--var", "n=[\"" + w.word("--var of another type") + "\"]", typed},
		{"--var", "n=[" + w.word("--var with a name in it"), typed},
	} {
		for _, verb := range []string{"validate", "plan"} {
			r := w.Run(append([]string{verb}, args...)...)
			r.Args = []string{verb, "…"}
			if w.said(r); r.Exit != 1 {
				t.Errorf("exit %d, want 1\n%s", r.Exit, r)
			}
		}
	}
	w.run(6, "plan", "--out", w.Path("auth.json"), path) // auth is refused in this version
	w.shown(w.Path("auth.json"))
	w.search("auth.json")
}

// awaitServing waits until a member answers.
func awaitServing(t *testing.T, endpoint string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(endpoint + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not serve: %v", endpoint, err)
		}
	}
}

// put writes a key.
func put(t *testing.T, endpoint, key, value string) {
	t.Helper()
	cli, err := harness.Dial(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := cli.Put(ctx, key, value); err != nil {
		t.Fatal(err)
	}
}

// keptBy is a host whose status command has these words.
func keptBy(head, status string) string {
	return strings.TrimLeft(head, "\n") + "host \"kept\" {\n  service \"command\" {\n    start  = [\"sv\", \"start\", \"etcd\"]\n    stop   = [\"sv\", \"stop\", \"etcd\"]\n    status = [" + status + "]\n  }\n}\n"
}

// TestCommands: members that commands of the user's keep, which print secrets, and start
// etcd with secrets in its environment and its flags.
func TestCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := harness.Etcd(t, "3.6")
	c := w.Cluster(1).UnderCommands(r, nil)
	m := c.Members[0]
	w.run(0, "apply", "--auto-approve", "--json", c.Path())
	put(t, m.Client, "/k", w.data("a value in the cluster"))
	w.Setenv("ETCDCTL_PASSWORD", w.word("a password in requorum's own environment"))
	prints := func(verb, where string) {
		t.Helper()
		c.Spoil(m, verb, fmt.Sprintf("env; cat <<'END'; exit 1\nconnecting to http://ops:%s@keeper\nETCDCTL_USER=root:%s\n--password %s\n{\"token\": \"%s\"}\nEND\n",
			w.word("a URL that "+where), w.word("a user that "+where), w.odd("a flag that "+where), w.word("a token that "+where)))
	}
	prints("status", "a status command prints")
	w.run(0, "plan", "--json", c.Path())
	w.run(6, "stop", "--auto-approve", "--json", c.Path())
	c.Spoil(m, "status", "")
	prints("stop", "a stop command prints")
	w.run(7, "stop", "--auto-approve", "--json", c.Path()).Says(t, "ended with status 1")
	c.Spoil(m, "stop", "")
	w.run(0, "stop", "--auto-approve", "--json", c.Path())
	prints("start", "a start command prints")
	w.run(7, "apply", "--auto-approve", "--json", c.Path())
	c.Spoil(m, "start", "")
	// Its etcd has settings of its own, with secrets.
	c.Spoil(m, "start", "up && exit 0\nexport AWS_SECRET_ACCESS_KEY="+w.word("a secret in the environment that a command gives")+" ETCD_DISCOVERY_PASSWORD="+w.word("a password in the environment that a command gives")+"\n"+
		strings.Join(w.Hand(m, nil).Of(r).Command(), " ")+" --cors=http://ops:"+w.word("a password in a flag that a command gives")+`@127.0.0.1:9 </dev/null >"$here/etcd.log" 2>&1 & echo $! >"$here/pid"; exit 0`)
	w.run(7, "apply", "--auto-approve", "--json", c.Path()).Says(t, "with other settings than the plan says", "cors")
	w.every(0, 2, c.Path())
	// It is restarted with the file's settings, and has its own again.
	b, err := os.ReadFile(c.Path())
	if err != nil {
		t.Fatal(err)
	}
	quota := w.input("quota.hcl", strings.NewReplacer("etcd { binary", "etcd {\n    binary", "/etcd\" }", "/etcd\"\n    config = { quota-backend-bytes = 123456789 }\n  }").Replace(string(b)))
	w.run(0, "plan", "--json", quota)
	w.run(7, "apply", "--auto-approve", "--json", "--accept=downtime", quota).Says(t, "with other settings than the plan says", "cors")
	c.Spoil(m, "start", "")
	w.run(0, "stop", "--auto-approve", c.Path())
	w.logged()
	w.search("state/requorum/runs/*/plan.json", "state/requorum/runs/*/journal.jsonl", "cluster/data/m1.requorum/service.json", "cluster/data/m1.requorum/etcd.yaml")
}

// hcl3 is the file of a cluster, with something before it and something in it.
func hcl3(c *harness.Cluster, head, more string) string {
	var b strings.Builder
	b.WriteString(strings.TrimLeft(head, "\n") + "cluster \"demo\" {\n")
	for _, m := range c.Members {
		fmt.Fprintf(&b, "  member %q {\n    peer_urls   = [%q]\n    client_urls = [%q]\n    data_dir    = %q\n  }\n", m.Name, m.Peer, m.Client, m.DataDir)
	}
	return b.String() + more + "}\n"
}
