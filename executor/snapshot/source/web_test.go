package source

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/requorum/requorum/planner"
)

func init() {
	limits = patience{stall: 300 * time.Millisecond, wait: 5 * time.Millisecond, tries: 3, all: 20}
}

// web is a server that misbehaves as a test says.
type web struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []*http.Request
	sent  int64 // bytes of bodies
	serve func(w http.ResponseWriter, r *http.Request, n int)
}

// newWeb serves; n counts requests from 1.
func newWeb(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, n int)) *web {
	s := &web{serve: serve}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		n := len(s.seen)
		s.mu.Unlock()
		s.serve(&counted{w, s}, r, n)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *web) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *web) header(i int, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[i].Header.Get(name)
}

type counted struct {
	http.ResponseWriter
	s *web
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.s.mu.Lock()
	c.s.sent += int64(n)
	c.s.mu.Unlock()
	return n, err
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// content serves b as Go's own server does, with ranges and If-Range.
func content(w http.ResponseWriter, r *http.Request, b []byte, etag string) {
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// cut sends the head of an answer about b, n bytes of it, and ends the
// connection.
func cut(w http.ResponseWriter, b []byte, n int, headers ...string) {
	for i := 0; i < len(headers); i += 2 {
		w.Header().Set(headers[i], headers[i+1])
	}
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	}
	_, _ = w.Write(b[:n])
	_ = http.NewResponseController(w).Flush()
	time.Sleep(20 * time.Millisecond)
	panic(http.ErrAbortHandler)
}

func options(t *testing.T) Options { return Options{Cache: filepath.Join(t.TempDir(), "cache")} }

// second is a source's second fetch, after what the first one did.
func TestWebCache(t *testing.T) {
	plain := fake(10, 2<<20)
	etag := `"one"`
	s := newWeb(t, func(w http.ResponseWriter, r *http.Request, n int) { content(w, r, plain, etag) })
	o := options(t)
	source := strings.Replace(s.URL, "http://", "http://ops:sesame@", 1) + "/backup/s.db?sig=sesame-of-caves"
	f, err := Fetch(t.Context(), source, o)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, f, plain)
	if f.Origin != s.URL+"/backup/s.db" {
		t.Errorf("origin %s", f.Origin)
	}
	if user, pw, _ := s.seen[0].BasicAuth(); user != "ops" || pw != "sesame" {
		t.Errorf("asked as %s:%s", user, pw)
	}
	again, err := Fetch(t.Context(), source, o)
	if err != nil || again != f || s.requests() != 2 || s.sent != int64(len(plain)) {
		t.Errorf("%+v, %v: %d requests, %d bytes", again, err, s.requests(), s.sent)
	}
	_ = filepath.WalkDir(o.Cache, func(path string, d os.DirEntry, err error) error {
		b, _ := os.ReadFile(path)
		if strings.Contains(path, "sesame") || !d.IsDir() && !strings.Contains(path, "body-") && bytes.Contains(b, []byte("sesame")) {
			t.Errorf("the secret is in %s", path)
		}
		return err
	})
	plain, etag = fake(11, 1<<20), `"two"`
	f, err = Fetch(t.Context(), source, o)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, f, plain)
	if old, _ := filepath.Glob(filepath.Join(o.Cache, "*", "body-*")); len(old) != 1 {
		t.Errorf("the cache keeps %v", old)
	}
}

func TestWebResumes(t *testing.T) {
	plain := fake(12, 2<<20)
	half := len(plain) / 2
	when := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for name, headers := range map[string][]string{
		"by ETag": {"ETag", `"v"`},
		"by time": {"Last-Modified", when},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWeb(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n == 1 {
					cut(w, plain, half, headers...)
				}
				w.Header().Set(headers[0], headers[1])
				mod, _ := http.ParseTime(w.Header().Get("Last-Modified"))
				http.ServeContent(w, r, "", mod, bytes.NewReader(plain))
			})
			f, err := Fetch(t.Context(), s.URL+"/s.db", options(t))
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, f, plain)
			if got := s.header(1, "Range"); s.requests() != 2 || !strings.HasPrefix(got, "bytes=") || got == "bytes=0-" {
				t.Errorf("%d requests, the second for %q", s.requests(), got)
			}
			if s.header(1, "If-Range") != headers[1] {
				t.Errorf("If-Range %q", s.header(1, "If-Range"))
			}
			if s.sent > int64(len(plain))+(64<<10) {
				t.Errorf("%d bytes were sent for %d", s.sent, len(plain))
			}
		})
	}
}

// An interrupted Fetch leaves nothing that looks whole, and the next one, of
// another process perhaps, goes on.
func TestWebGoesOnLater(t *testing.T) {
	plain := fake(13, 2<<20)
	half := len(plain) / 2
	ctx, cancel := context.WithCancel(t.Context())
	s := newWeb(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n > 1 {
			content(w, r, plain, `"v"`)
			return
		}
		w.Header().Set("ETag", `"v"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(plain)))
		_, _ = w.Write(plain[:half])
		_ = http.NewResponseController(w).Flush()
		time.Sleep(50 * time.Millisecond)
		cancel()
		<-r.Context().Done()
	})
	o := options(t)
	_, err := Fetch(ctx, s.URL+"/s.db", o)
	wantProblem(t, err, planner.CodeSnapshotUnreadable, "was ended", "goes on from there")
	if b, _ := filepath.Glob(filepath.Join(o.Cache, "*", "body*")); len(b) != 0 {
		t.Errorf("there is %v", b)
	}
	f, err := Fetch(t.Context(), s.URL+"/s.db", o)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, f, plain)
	if s.sent > int64(len(plain))+(64<<10) {
		t.Errorf("%d bytes were sent for %d", s.sent, len(plain))
	}
}

// Servers that do what they should not: nothing of two versions is ever mixed,
// and nothing short is ever given for whole.
func TestWebServersThatMisbehave(t *testing.T) {
	plain, other := fake(14, 1<<20), fake(15, 1<<20)
	half := len(plain) / 2
	length := strconv.Itoa(len(plain))
	for _, c := range []struct {
		name  string
		serve func(w http.ResponseWriter, r *http.Request, n int)
		want  []byte
		code  planner.Code
		words string
	}{
		{"changes the file between two ranges", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				cut(w, plain, half, "ETag", `"one"`)
			}
			content(w, r, other, `"two"`)
		}, other, "", ""},
		{"changes it and ignores If-Range", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				cut(w, plain, half, "ETag", `"one"`)
			}
			r.Header.Del("If-Range")
			content(w, r, other, `"two"`)
		}, other, "", ""},
		{"changes it, ignores If-Range and has no ETag any more", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				cut(w, plain, half, "ETag", `"one"`)
			}
			r.Header.Del("If-Range")
			content(w, r, other, "")
		}, other, "", ""},
		{"changes it, ignores If-Range and has but times", func(w http.ResponseWriter, r *http.Request, n int) {
			at := time.Now().Add(-time.Hour)
			if n == 1 {
				cut(w, plain, half, "Last-Modified", at.Add(-time.Hour).UTC().Format(http.TimeFormat))
			}
			r.Header.Del("If-Range")
			http.ServeContent(w, r, "", at, bytes.NewReader(other))
		}, other, "", ""},
		{"knows no ranges", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				cut(w, plain, half, "ETag", `"one"`)
			}
			r.Header.Del("Range")
			content(w, r, plain, `"one"`)
		}, plain, "", ""},
		{"answers with another range", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				cut(w, plain, half, "ETag", `"one"`)
			}
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=0-99")
			}
			content(w, r, plain, `"one"`)
		}, plain, "", ""},
		{"has a weak ETag", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				cut(w, plain, half, "ETag", `W/"one"`)
			}
			if r.Header.Get("Range") != "" {
				t.Error("a range was asked for under a weak ETag")
			}
			content(w, r, plain, `W/"one"`)
		}, plain, "", ""},
		{"stalls once", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				w.Header().Set("ETag", `"one"`)
				w.Header().Set("Content-Length", length)
				_, _ = w.Write(plain[:half])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			content(w, r, plain, `"one"`)
		}, plain, "", ""},
		{"stalls always", func(w http.ResponseWriter, r *http.Request, n int) { <-r.Context().Done() },
			nil, planner.CodeSnapshotUnreadable, "nothing came for"},
		{"is slow, and moves", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Content-Length", length)
			for i := range 8 { // 0.8 s, more than twice the limit
				_, _ = w.Write(plain[i*len(plain)/8 : (i+1)*len(plain)/8])
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond)
			}
		}, plain, "", ""},
		{"says a longer length, always", func(w http.ResponseWriter, r *http.Request, n int) {
			cut(w, plain, len(plain), "Content-Length", strconv.Itoa(len(plain)+1000))
		}, nil, planner.CodeSnapshotUnreadable, "broke off"},
		{"says a shorter length", func(w http.ResponseWriter, r *http.Request, n int) {
			cut(w, plain, half, "ETag", `"one"`, "Content-Length", strconv.Itoa(half))
		}, nil, planner.CodeSnapshotDamaged, ""},
		{"ends early, without a length", func(w http.ResponseWriter, r *http.Request, n int) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"one\"\r\n\r\n")
			_, _ = c.Write(plain[:half-512+32])
			c.Close()
		}, nil, planner.CodeSnapshotDamaged, ""},
		{"sends what is no snapshot", func(w http.ResponseWriter, r *http.Request, n int) {
			content(w, r, []byte("<html>please log in</html>"), "")
		}, nil, planner.CodeSnapshotNotEtcd, "<html>"},
		{"sends a part unasked", func(w http.ResponseWriter, r *http.Request, n int) {
			r.Header.Set("Range", "bytes=5-")
			content(w, r, plain, `"one"`)
		}, nil, planner.CodeSnapshotUnreadable, "a part of it"},
		{"fails twice", func(w http.ResponseWriter, r *http.Request, n int) {
			if n < 3 {
				w.WriteHeader(503)
				return
			}
			content(w, r, plain, `"one"`)
		}, plain, "", ""},
		{"fails", func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(503) },
			nil, planner.CodeSnapshotUnreadable, "503 Service Unavailable"},
		{"asks who", func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(401) },
			nil, planner.CodeSnapshotUnreadable, "user and password"},
		{"refuses", func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(403) },
			nil, planner.CodeSnapshotUnreadable, "may not read it"},
		{"has it not", func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(404) },
			nil, planner.CodeSnapshotMissing, "no such file"},
		{"redirects for ever", func(w http.ResponseWriter, r *http.Request, n int) {
			http.Redirect(w, r, fmt.Sprintf("/%d?key=sesame", n), http.StatusFound)
		}, nil, planner.CodeSnapshotUnreadable, "redirected 6 times"},
		{"redirects to a file", func(w http.ResponseWriter, r *http.Request, n int) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, nil, planner.CodeSnapshotUnreadable, "redirected to file://"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newWeb(t, c.serve)
			o := options(t)
			f, err := Fetch(t.Context(), strings.Replace(s.URL, "//", "//ops:sesame@", 1)+"/s.db?key=sesame-here", o)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, f, c.want)
				return
			}
			wantProblem(t, err, c.code, c.words, s.URL+"/s.db")
			if b, _ := filepath.Glob(filepath.Join(o.Cache, "*", "body*")); len(b) != 0 {
				t.Errorf("there is %v", b)
			}
			// It is not believed at the next try either.
			before := s.requests()
			if _, err := Fetch(t.Context(), s.URL+"/s.db?key=sesame-here", o); err == nil || s.requests() == before {
				t.Errorf("then: %v, %d requests", err, s.requests()-before)
			}
		})
	}
}

func TestWebRedirectKeepsSecrets(t *testing.T) {
	plain := fake(16, 10_000)
	elsewhere := newWeb(t, func(w http.ResponseWriter, r *http.Request, n int) { content(w, r, plain, "") })
	to := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
	s := newWeb(t, func(w http.ResponseWriter, r *http.Request, n int) {
		http.Redirect(w, r, to+"/other.db", http.StatusFound)
	})
	f, err := Fetch(t.Context(), strings.Replace(s.URL, "//", "//ops:sesame@", 1)+"/s.db?key=sesame", options(t))
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, f, plain)
	for name, values := range elsewhere.seen[0].Header {
		if name == "Authorization" || strings.Contains(strings.Join(values, " "), "sesame") {
			t.Errorf("%s: %v went along", name, values)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = Fetch(t.Context(), "http://ops:sesame@"+addr+"/s.db?key=sesame", options(t))
	wantProblem(t, err, planner.CodeSnapshotUnreadable, "refused", "http://"+addr+"/s.db")
	o := options(t)
	o.Hidden = true
	_, err = Fetch(t.Context(), "http://"+addr+"/s.db", o)
	wantProblem(t, err, planner.CodeSnapshotUnreadable, hiddenName)
	if strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "s.db") {
		t.Errorf("shown: %v", err)
	}
	for source, words := range map[string]string{
		"http://" + addr + "/dir/": "no list", "ftp://x/y": "ftp://", "s3:///key": "no bucket",
		"s3://b/k?sesame=1": "no setting", "s3://a:sesame@b/k": "no place", "http://x/%zz?sesame": "no valid URL",
	} {
		_, err := Fetch(t.Context(), source, options(t))
		wantProblem(t, err, planner.CodeSnapshotUnsupported, words)
	}
}
