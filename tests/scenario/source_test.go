package scenario

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/requorum/requorum/tests/harness"
)

// restores plans twice, applies, and asserts that the data came back.
func restores(t *testing.T, e *harness.Env, c *harness.Cluster, src source) {
	t.Helper()
	for range 2 {
		if p := e.Plan(c.Path()); p.Route != "restore" || p.Consents() != "" {
			t.Fatalf("route %s, consents %q: %s %+v", p.Route, p.Consents(), p.Headline, p.Refusal)
		}
	}
	e.Apply(c.Path())
	harness.CompareAll(t, src.keys, c.Endpoints())
	bumped(t, c, src.revision+1_000_000_000)
	serves(t, c)
	e.InSync(c.Path())
}

// The newest snapshot below a prefix of a real S3 server, compressed with zstd and
// encrypted with age, onto three members; over a connection that breaks off once.
func TestRestoreFromS3(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	s := harness.StartS3(t)
	e := harness.New(t)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	packed := encrypt(t, pack(t, src.snapshot), id.Recipient())
	bucket, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(s.Access, s.Secret, "")})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		key  string
		data []byte
	}{{"etcd/a.db", []byte("an older one that is none")}, {"etcd/b.db.zst.age", packed}} {
		if _, err := bucket.PutObject(t.Context(), s.Bucket, o.key, bytes.NewReader(o.data), int64(len(o.data)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // S3's times are whole seconds
	}
	cut := harness.CutIn(t, strings.TrimPrefix(s.Endpoint, "http://"))
	for name, value := range s.Environ(cut.URL) {
		e.Setenv(name, value)
	}
	c := e.Cluster(3)
	write(t, filepath.Join(c.Dir, "key"), []byte(id.String()+"\n"))
	c.Snapshot, c.SnapshotMore = s.URL("etcd/"), "    identity = \"key\"\n"
	c.Write()
	cut.After(int64(len(packed)) / 2)
	e.Run("plan", c.Path()).Want(t, 0).Says(t, s.URL("etcd/b.db.zst.age"))
	if _, cuts := cut.Count(); cuts != 1 {
		t.Errorf("%d connections were cut", cuts)
	}
	cut.After(-1)
	restores(t, e, c, src)
	// What was planned three more times and applied came out of the cache.
	if sent, _ := cut.Count(); sent > int64(len(packed))/2 {
		t.Errorf("%d bytes were sent after the plan, for a file of %d", sent, len(packed))
	}
}

// From a web server, as its address stands in a sensitive variable: nobody sees
// the password, the query or even the host, in any output or in the journal.
func TestRestoreFromTheWeb(t *testing.T) {
	t.Parallel()
	src := oldCluster(t)
	e := harness.New(t)
	var sent atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pw, _ := r.BasicAuth(); user != "ops" || pw != "sesame" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Header.Get("If-None-Match") == "" {
			sent.Add(1)
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(src.snapshot))
	}))
	defer web.Close()
	host := strings.TrimPrefix(web.URL, "http://")
	c := e.Cluster(3)
	c.Snapshot = "http://ops:sesame@" + host + "/backup/etcd.db?token=0123456789"
	c.Write()
	for _, r := range []harness.Result{e.Run("plan", c.Path()).Want(t, 0), e.Run("plan", "--json", c.Path()).Want(t, 0)} {
		hides(t, r.String(), "sesame", host, "0123456789")
	}
	restores(t, e, c, src)
	if n := sent.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	_ = filepath.WalkDir(e.State(), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			hides(t, string(read(t, path)), "sesame", host, "0123456789")
		}
		return err
	})
	c.Snapshot = strings.Replace(c.Snapshot, "sesame", "wrong-one", 1)
	c.Write()
	c.Stop()
	c.DropData(c.Members...)
	p := e.Plan(c.Path())
	if p.Code() != "snapshot-unreadable" || !strings.Contains(p.Refusal.Detail, "401") {
		t.Errorf("%+v", p.Refusal)
	}
	hides(t, p.Refusal.Detail, "wrong-one", host, "0123456789")
}

func hides(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%q is shown in:\n%s", s, text)
		}
	}
}

func pack(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(b, nil)
}

func encrypt(t *testing.T, b []byte, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
