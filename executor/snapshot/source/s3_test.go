package source_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.DropS3()
	os.Exit(code)
}

// s3 starts a real server for the test, with its credentials in the environment.
func s3(t *testing.T) *harness.S3 {
	t.Helper()
	s := harness.StartS3(t)
	for name, value := range s.Environ("") {
		t.Setenv(name, value)
	}
	return s
}

// local writes random bytes that pass for a snapshot here, which don't pack.
func local(t *testing.T, size int) (path string, b []byte) {
	t.Helper()
	b = make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	copy(b[16:], []byte{0xED, 0xDA, 0x0C, 0xED})
	path = filepath.Join(t.TempDir(), "snapshot.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b
}

func same(t *testing.T, f source.File, want []byte) {
	t.Helper()
	got, err := os.ReadFile(f.Path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes, not the %d expected; %v", f.Path, len(got), len(want), err)
	}
}

func problem(t *testing.T, err error, code planner.Code, words ...string) {
	t.Helper()
	var p *source.Problem
	if !errors.As(err, &p) || p.Code != code {
		t.Fatalf("%v, want %s", err, code)
	}
	for _, w := range words {
		if !strings.Contains(p.Detail, w) {
			t.Errorf("%q is not in %s", w, p.Detail)
		}
	}
}

func TestS3(t *testing.T) {
	s := s3(t)
	ctx := t.Context()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(source.IdentityVariable, id.String())
	path, b := local(t, 40<<20) // three parts
	o := source.Options{Cache: t.TempDir()}

	// Plain, in parts; then packed and encrypted, newer; then a note beside them.
	one, err := source.Put(ctx, path, s.URL("etcd/one.db"), source.PutOptions{})
	if err != nil || one != s.URL("etcd/one.db") {
		t.Fatalf("%s, %v", one, err)
	}
	_, err = source.Put(ctx, path, one, source.PutOptions{})
	problem(t, err, planner.CodeSnapshotUnreadable, "is there already")
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("not recognisable: %v", err)
	}
	time.Sleep(1100 * time.Millisecond) // S3's times are whole seconds
	packed := source.PutOptions{Compress: "zstd", Recipients: []string{id.Recipient().String()}}
	two, err := source.Put(ctx, path, s.URL("etcd/"), packed)
	if err != nil || two != s.URL("etcd/snapshot.db.zst.age") {
		t.Fatalf("%s, %v", two, err)
	}
	if _, err := source.Put(ctx, path, s.URL("etcd/note.json"), source.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Put(ctx, path, s.URL("etcd/deeper/three.db"), source.PutOptions{}); err != nil {
		t.Fatal(err)
	}

	list, err := source.List(ctx, s.URL("etcd/"))
	if err != nil || len(list) != 2 || list[0].Name != two || list[1].Name != one || list[1].Size != int64(len(b)) || list[1].ModifiedAt.IsZero() {
		t.Fatalf("%+v, %v", list, err)
	}
	for from, origin := range map[string]string{one: one, two: two, s.URL("etcd/"): two} {
		f, err := source.Fetch(ctx, from, o)
		if err != nil {
			t.Fatal(err)
		}
		same(t, f, b)
		if f.Origin != origin || f.ModifiedAt == "" {
			t.Errorf("%+v", f)
		}
	}
	// The bucket has none of the plain bytes of what was encrypted.
	if err := source.Remove(ctx, two); err != nil {
		t.Fatal(err)
	}
	problem(t, source.Remove(ctx, two), planner.CodeSnapshotMissing, "no such object")
	_, err = source.Fetch(ctx, two, o)
	problem(t, err, planner.CodeSnapshotMissing, "no such file")
	f, err := source.Fetch(ctx, s.URL("etcd/"), o)
	if err != nil || f.Origin != one {
		t.Errorf("%+v, %v", f, err)
	}
	_, err = source.Fetch(ctx, s.URL("none/"), o)
	problem(t, err, planner.CodeSnapshotMissing, "no snapshot is below")
	_, err = source.List(ctx, "s3://nobucket/x/")
	problem(t, err, planner.CodeSnapshotMissing, "no such bucket")
}

// An odd name comes back as it was.
func TestS3Names(t *testing.T) {
	s := s3(t)
	path, b := local(t, 1<<20)
	o := source.Options{Cache: t.TempDir()}
	if _, err := source.Put(t.Context(), path, s.URL("a%20b%3Fc/d+e%23%C3%BC.db"), source.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	list, err := source.List(t.Context(), s.URL("a%20b%3Fc/"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	f, err := source.Fetch(t.Context(), list[0].Name, o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, b)
}

func TestS3Credentials(t *testing.T) {
	s := s3(t)
	path, _ := local(t, 1<<20)
	if _, err := source.Put(t.Context(), path, s.URL("x.db"), source.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	for what, err := range map[string]error{
		"list": func() error { _, err := source.List(t.Context(), s.URL("")); return err }(),
		"fetch": func() error {
			_, err := source.Fetch(t.Context(), s.URL("x.db"), source.Options{Cache: t.TempDir()})
			return err
		}(),
		"put": func() error {
			_, err := source.Put(t.Context(), path, s.URL("y.db"), source.PutOptions{})
			return err
		}(),
	} {
		t.Log(what, err)
		problem(t, err, planner.CodeSnapshotUnreadable, "credentials")
		if strings.Contains(err.Error(), "X-Amz") || strings.Contains(err.Error(), "Signature=") {
			t.Errorf("%s shows a signed URL: %v", what, err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("HOME", t.TempDir())
	_, err := source.Fetch(t.Context(), s.URL("x.db"), source.Options{Cache: t.TempDir()})
	problem(t, err, planner.CodeSnapshotUnreadable, "no credentials were found", "AWS_ACCESS_KEY_ID")
}

// The connection is cut in the middle: what came is not fetched twice, in this
// process or in the next, and an object that changed meanwhile is not mixed in.
func TestS3CutMidway(t *testing.T) {
	s := s3(t)
	path, b := local(t, 24<<20)
	url := s.URL("etcd/s.db")
	if _, err := source.Put(t.Context(), path, url, source.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	cut := harness.CutIn(t, strings.TrimPrefix(s.Endpoint, "http://"))
	t.Setenv("AWS_ENDPOINT_URL_S3", cut.URL)
	o := source.Options{Cache: t.TempDir()}
	size := int64(len(b))
	cut.After(size * 2 / 3)
	f, err := source.Fetch(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, f, b)
	// All of it came once, and no more than what lay in buffers twice: far less
	// than the two thirds that starting over takes.
	sent, cuts := cut.Count()
	if cuts != 1 || sent < size || sent > size+size/8 {
		t.Errorf("%d cuts; %d bytes for a file of %d", cuts, sent, size)
	}
	t.Logf("cut after %d: %d bytes for a file of %d", size*2/3, sent, size)
	cut.After(-1)
	again, err := source.Fetch(t.Context(), url, o)
	if sent, _ := cut.Count(); err != nil || again != f || sent > 10_000 {
		t.Errorf("again %+v, %v: %d bytes", again, err, sent)
	}
}

// The answer to the last call of an upload is lost: the object is there, and it is not
// said that nothing was written.
func TestS3PutAnswerLost(t *testing.T) {
	s := s3(t)
	path, b := local(t, 24<<20)
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host }}
	lossy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			through.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		through.ServeHTTP(w, r)
	}))
	defer lossy.Close()
	t.Setenv("AWS_ENDPOINT_URL_S3", lossy.URL)
	_, err = source.Put(t.Context(), path, s.URL("y.db"), source.PutOptions{})
	problem(t, err, planner.CodeSnapshotUnreadable, fmt.Sprintf("is there all the same, of %d bytes, and %d were sent", len(b), len(b)))
}

// A broken upload leaves no object.
func TestS3PutCut(t *testing.T) {
	s := s3(t)
	path, _ := local(t, 40<<20)
	cut := harness.CutIn(t, "127.0.0.1:1") // nobody
	t.Setenv("AWS_ENDPOINT_URL_S3", cut.URL)
	_, err := source.Put(t.Context(), path, s.URL("y.db"), source.PutOptions{})
	problem(t, err, planner.CodeSnapshotUnreadable, "y.db")
	t.Setenv("AWS_ENDPOINT_URL_S3", s.Endpoint)
	_, err = source.Put(t.Context(), path, s.URL("z.db"), source.PutOptions{Progress: func(_ string, done, total int64) {
		if done > 20<<20 {
			_ = os.Truncate(path, 30<<20) // it changes while it is read
		}
	}})
	problem(t, err, planner.CodeSnapshotUnreadable, "changed while it was read")
	list, err := source.List(t.Context(), s.URL(""))
	if err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
