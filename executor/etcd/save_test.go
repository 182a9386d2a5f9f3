package etcd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// onlyFiles checks what a folder holds.
func onlyFiles(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must1(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %v, not %v", dir, got, want)
	}
}

// filled is an etcd with some hundred kilobytes that can't be compressed.
func filled(t testing.TB) *live {
	t.Helper()
	l := startOne(t, "filled", nil)
	c := l.cli(t, nil)
	for i := range 4 {
		b := make([]byte, 100<<10)
		_, _ = rand.Read(b)
		put(t, c, string(rune('a'+i)), string(b))
	}
	return l
}

func TestSaveSnapshot(t *testing.T) {
	t.Parallel()
	l := filled(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	var last, most int64
	s, err := SaveSnapshot(context.Background(), l.client, Access{}, path, func(done, total int64) { last, most = done, total })
	must1(t, err)
	data, err := os.ReadFile(path)
	must1(t, err)
	body := data[:len(data)-sha256.Size]
	sum := sha256.Sum256(body)
	if s.SHA256 != hex.EncodeToString(sum[:]) || !slices.Equal(sum[:], data[len(body):]) || s.Size != int64(len(data)) ||
		s.Path != path || s.Version != "3.7.3" || s.MemberID != l.id() || s.ClusterID == "" || s.Revision != 5 {
		t.Errorf("%+v", s)
	}
	if last != s.Size || most != s.Size {
		t.Errorf("progress: %d of %d, size %d", last, most, s.Size)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if st, err := snapshot.NewV3(zap.NewNop()).Status(path); err != nil || st.Revision != 5 {
		t.Errorf("%+v %v", st, err)
	}
	// What is there stays.
	must1(t, os.WriteFile(path, []byte("mine"), 0o600))
	if _, err := SaveSnapshot(context.Background(), l.client, Access{}, path, nil); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	onlyFiles(t, dir, "x.db")
	if data, _ := os.ReadFile(path); string(data) != "mine" {
		t.Error("overwritten")
	}
	if _, err := SaveSnapshot(context.Background(), l.client, Access{}, filepath.Join(dir, "no/x.db"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestSaveSnapshotBroken(t *testing.T) {
	t.Parallel()
	l := filled(t)
	b := newBetween(t, l.client)
	// third meddles with the third message of a snapshot.
	third := func(f func([]byte) ([]byte, error)) meddler {
		return func(_ context.Context, method string, forward func(func([]byte) ([]byte, error)) error) error {
			n := 0
			return forward(func(p []byte) ([]byte, error) {
				if n++; method == "Snapshot" && n == 3 {
					return f(p)
				}
				return p, nil
			})
		}
	}
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	for _, tt := range []struct {
		name, text string
		do         func([]byte) ([]byte, error)
	}{
		{"cut", "broke off after", func([]byte) ([]byte, error) { return nil, status.Error(codes.Unavailable, "made up") }},
		{"ended", "no snapshot with its hash", func([]byte) ([]byte, error) { return nil, io.EOF }},
		{"skipped", "does not match its hash", func([]byte) ([]byte, error) { return nil, nil }},
		{"flipped", "does not match its hash", func(p []byte) ([]byte, error) { p[len(p)/2] ^= 1; return p, nil }},
		{"hangs", "broke off after", func(p []byte) ([]byte, error) { <-hold; return p, io.EOF }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			b.set(third(tt.do))
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := SaveSnapshot(ctx, b.url, Access{}, filepath.Join(dir, "x.db"), nil)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Error(err)
			}
			onlyFiles(t, dir)
		})
	}
	// Somebody else takes the name meanwhile.
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	b.set(third(func(p []byte) ([]byte, error) { return p, os.WriteFile(path, []byte("mine"), 0o600) }))
	if _, err := SaveSnapshot(context.Background(), b.url, Access{}, path, nil); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	onlyFiles(t, dir, "x.db")
	if data, _ := os.ReadFile(path); string(data) != "mine" {
		t.Error("overwritten")
	}
	b.set(nil)
	if _, err := SaveSnapshot(context.Background(), b.url, Access{}, path+"2", nil); err != nil {
		t.Error(err)
	}
}
