package source

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/klauspost/compress/zstd"

	"github.com/requorum/requorum/planner"
)

// fake is size bytes that look like a snapshot from here: bbolt's magic number
// and etcd's hash. What only the verifier sees is tested in executor/snapshot.
func fake(seed uint64, size int) []byte {
	b := make([]byte, size/512*512)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32() >> 27) // packs well
	}
	binary.LittleEndian.PutUint32(b[16:], 0xED0CDAED)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	return ended(t, &out, z, err)
}

func zstded(t testing.TB, b []byte, o ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, o...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Write(b)
	return ended(t, &out, z, err)
}

func encrypted(t testing.TB, b []byte, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(b)
	return ended(t, &out, w, err)
}

func armored(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := armor.NewWriter(&out)
	_, err := w.Write(b)
	return ended(t, &out, w, err)
}

func ended(t testing.TB, out *bytes.Buffer, c io.Closer, err error) []byte {
	t.Helper()
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func newIdentity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func file(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantBytes asserts what was fetched.
func wantBytes(t testing.TB, f File, want []byte) {
	t.Helper()
	got, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes that are not the %d expected", f.Path, len(got), len(want))
	}
}

// wantProblem asserts an error's code and words, and that it is a sentence
// without a secret.
func wantProblem(t testing.TB, err error, code planner.Code, words ...string) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("no problem: %v", err)
	}
	if p.Code != code {
		t.Errorf("code %s, want %s: %s", p.Code, code, p.Detail)
	}
	for _, w := range words {
		if !strings.Contains(p.Detail, w) {
			t.Errorf("%q is not in: %s", w, p.Detail)
		}
	}
	if strings.Contains(p.Detail, "sesame") || strings.Contains(p.Detail, "%!") {
		t.Errorf("shown: %s", p.Detail)
	}
}

// nothingHalf asserts that below dir no file has a half snapshot's place or
// name.
func nothingHalf(t testing.TB, dir string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if name := d.Name(); strings.HasSuffix(name, ".part") || strings.HasPrefix(name, "snapshot-") {
			t.Errorf("left behind: %s", path)
		}
		return nil
	})
}

func TestPackedInEveryWay(t *testing.T) {
	id := newIdentity(t)
	t.Setenv(IdentityVariable, "# a comment\n"+id.String()+"\n")
	plain := fake(1, 300_000)
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, b := range map[string][]byte{
		"plain":                plain,
		"gzip":                 zipped(t, plain),
		"zstd":                 zstded(t, plain),
		"age":                  encrypted(t, plain, id.Recipient()),
		"age armored":          append([]byte("\n \n"), armored(t, encrypted(t, plain, id.Recipient()))...),
		"age of zstd":          encrypted(t, zstded(t, plain), id.Recipient()),
		"gzip of armored age":  zipped(t, armored(t, encrypted(t, plain, id.Recipient()))),
		"zstd of age of gzip":  zstded(t, encrypted(t, zipped(t, plain), id.Recipient())),
		"two gzip members":     append(zipped(t, plain[:1000]), zipped(t, plain[1000:])...),
		"no hash, two frames":  nil,
		"gzip with wrong name": zipped(t, plain),
	} {
		t.Run(name, func(t *testing.T) {
			want := plain
			if b == nil {
				want = plain[:len(plain)-32]
				b = append(zstded(t, want[:5000]), zstded(t, want[5000:])...)
			}
			dir := t.TempDir()
			path := file(t, filepath.Join(dir, "snap.zst"), b)
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			o := Options{Cache: filepath.Join(dir, "cache")}
			f, err := Fetch(t.Context(), path, o)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, f, want)
			if f.Origin != path || f.ModifiedAt != old.UTC().Format(time.RFC3339) || (f.Path == path) != (name == "plain") {
				t.Errorf("%+v", f)
			}
			again, err := Fetch(t.Context(), path, o)
			if err != nil || again != f {
				t.Errorf("again: %+v, %v", again, err)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, b) {
				t.Error("the user's file was changed")
			}
		})
	}
}

func TestPackedAndDamaged(t *testing.T) {
	id, other := newIdentity(t), newIdentity(t)
	plain := fake(2, 300_000)
	enc := encrypted(t, plain, id.Recipient())
	flipped := bytes.Clone(enc)
	flipped[len(flipped)/2] ^= 1
	gz, zs := zipped(t, plain), zstded(t, plain)
	bad := bytes.Clone(plain)
	bad[5000] ^= 1
	wide := zstded(t, plain, zstd.WithWindowSize(256<<20))
	deep := plain
	for range maxLayers + 1 {
		deep = zipped(t, deep)
	}
	const damaged, unreadable = planner.CodeSnapshotDamaged, planner.CodeSnapshotUnreadable
	for _, c := range []struct {
		name     string
		bytes    []byte
		identity string
		code     planner.Code
		words    string
	}{
		{"gzip cut", gz[:len(gz)-20], "", damaged, "gzip data ends in the middle"},
		{"gzip cut in its header", gz[:5], "", damaged, "gzip data ends in the middle"},
		{"gzip with garbage", append(bytes.Clone(gz), "garbage after it"...), "", damaged, "follows its gzip data"},
		{"zstd cut", zs[:len(zs)-20], "", damaged, "zstd data ends in the middle"},
		{"zstd with garbage", append(bytes.Clone(zs), "garbage after it"...), "", damaged, "follows its zstd data"},
		{"zstd changed", func() []byte { b := bytes.Clone(zs); b[len(b)/2] ^= 1; return b }(), "", damaged, "zstd data is damaged"},
		{"zstd with a wide window", wide, "", unreadable, "window is larger than 128 MB"},
		{"age cut", enc[:len(enc)-20], id.String(), damaged, "age data"},
		{"age cut at a chunk's end", enc[:len(enc)-len(enc)%65552-0], id.String(), damaged, "age data"},
		{"age with garbage", append(bytes.Clone(enc), "garbage"...), id.String(), damaged, "age data is damaged"},
		{"age changed", flipped, id.String(), damaged, "age data is damaged"},
		{"age of a cut gzip", encrypted(t, gz[:len(gz)-20], id.Recipient()), id.String(), damaged, "gzip data ends in the middle"},
		{"gzip of a cut age", zipped(t, enc[:len(enc)-20]), id.String(), damaged, "age data"},
		{"armored cut", armored(t, enc)[:5000], id.String(), damaged, "age data"},
		{"wrong identity", enc, other.String(), unreadable, "not for this age identity"},
		{"no identity", enc, "", unreadable, IdentityVariable},
		{"identity that is none", enc, "sesame", unreadable, "has no age identity in it"},
		{"packed too often", deep, "", unreadable, "packed more than 4 times"},
		{"wrong hash inside", zipped(t, bad), "", damaged, "not the sha256 of the rest"},
		{"cut before it was packed", zipped(t, plain[:100_000]), "", damaged, "cut short"},
		{"no database inside", zipped(t, []byte("<html>not found</html>")), "", planner.CodeSnapshotNotEtcd, "<html>"},
		{"nothing inside", zipped(t, nil), "", damaged, "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(IdentityVariable, c.identity)
			dir := t.TempDir()
			path := file(t, filepath.Join(dir, "snap.db"), c.bytes)
			_, err := Fetch(t.Context(), path, Options{Cache: filepath.Join(dir, "cache")})
			wantProblem(t, err, c.code, c.words, path)
			nothingHalf(t, dir)
		})
	}
}

func TestIdentityFile(t *testing.T) {
	id := newIdentity(t)
	t.Setenv(IdentityVariable, "")
	dir := t.TempDir()
	plain := fake(3, 10_000)
	path := file(t, filepath.Join(dir, "snap.age"), encrypted(t, plain, id.Recipient()))
	key := file(t, filepath.Join(dir, "key"), []byte(id.String()+"\n"))
	o := Options{Cache: filepath.Join(dir, "cache"), Identity: key}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Fetch(t.Context(), path, o)
	wantProblem(t, err, planner.CodeSnapshotUnreadable, "can be used by everybody", "chmod 600", key)
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Fetch(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, f, plain)
	if info, _ := os.Stat(f.Path); info.Mode().Perm() != 0o600 {
		t.Errorf("the decrypted file has mode %v", info.Mode())
	}
	if info, _ := os.Stat(o.Cache); info.Mode().Perm() != 0o700 {
		t.Errorf("the cache has mode %v", info.Mode())
	}
	o.Identity = filepath.Join(dir, "none")
	o.Cache += "2"
	_, err = Fetch(t.Context(), path, o)
	wantProblem(t, err, planner.CodeSnapshotUnreadable, "identity file can't be read", o.Identity)
}

func TestNewestOfAFolder(t *testing.T) {
	dir := t.TempDir()
	now := time.Now().Truncate(time.Second)
	for name, age := range map[string]time.Duration{
		"a.db": 3 * time.Hour, "b.db": time.Hour, "c.db": time.Hour, "d.db": 2 * time.Hour,
		"e.db.sha256": 0, "f.db.part-123": 0, ".g.db": 0, "h.db.part": 0,
	} {
		p := file(t, filepath.Join(dir, name), fake(4, 2000))
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "z"), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := Fetch(t.Context(), dir+"/", Options{})
	if want := filepath.Join(dir, "c.db"); err != nil || f.Origin != want || f.Path != want {
		t.Errorf("%+v, %v", f, err)
	}
	list, err := List(t.Context(), dir)
	var names []string
	for _, o := range list {
		names = append(names, filepath.Base(o.Name))
	}
	if got := strings.Join(names, " "); err != nil || got != "c.db b.db d.db a.db" {
		t.Errorf("%s, %v", got, err)
	}
	cache := t.TempDir()
	f, err = Fetch(t.Context(), dir, Options{Hidden: true, Cache: cache})
	if err != nil || f.Origin != hiddenName || strings.Contains(f.Path, dir) {
		t.Errorf("%+v, %v", f, err)
	}
	if err := Remove(t.Context(), list[0].Name); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, Remove(t.Context(), list[0].Name), planner.CodeSnapshotMissing, "does not exist")
	wantProblem(t, Remove(t.Context(), dir), planner.CodeSnapshotUnsupported, "folder")
	own := filepath.Join(dir, "m1", "member", "snap")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, Remove(t.Context(), file(t, filepath.Join(own, "db"), nil)), planner.CodeSnapshotUnsupported, "data directory")
	_, err = Fetch(t.Context(), t.TempDir(), Options{})
	wantProblem(t, err, planner.CodeSnapshotMissing, "no snapshot is in the folder")
}

func TestPutAndFetch(t *testing.T) {
	id := newIdentity(t)
	t.Setenv(IdentityVariable, id.String())
	plain := fake(5, 3<<20)
	dir := t.TempDir()
	from := file(t, filepath.Join(dir, "s.db"), plain)
	to := filepath.Join(dir, "to")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]PutOptions{
		"s.db":         {},
		"s.db.gz":      {Compress: "gzip"},
		"s.db.zst.age": {Compress: "zstd", Recipients: []string{id.Recipient().String()}},
	} {
		got, err := Put(t.Context(), from, to+"/", o)
		if err != nil || got != filepath.Join(to, want) {
			t.Fatalf("%s, %v", got, err)
		}
		if info, err := os.Stat(got); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		f, err := Fetch(t.Context(), got, Options{Cache: filepath.Join(dir, "cache")})
		if err != nil {
			t.Fatal(err)
		}
		wantBytes(t, f, plain)
		_, err = Put(t.Context(), from, got, o)
		wantProblem(t, err, planner.CodeSnapshotUnreadable, "is there already")
	}
	_, err := Put(t.Context(), from, to+"/x", PutOptions{Compress: "lzma"})
	wantProblem(t, err, planner.CodeSnapshotUnsupported, "lzma")
	_, err = Put(t.Context(), from, to+"/x", PutOptions{Recipients: []string{"sesame"}})
	wantProblem(t, err, planner.CodeSnapshotUnsupported, "recipient")
	nothingHalf(t, to)
	if list, _ := os.ReadDir(to); len(list) != 3 {
		t.Errorf("%v", list)
	}
}

// A gigabyte of zeros packs into a few kilobytes: the disk is asked while it is
// written, and nothing is left of it.
func TestBombMeetsAFullDisk(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	z, _ := zstd.NewWriter(&b)
	for range 1024 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := file(t, filepath.Join(dir, "bomb"), b.Bytes())
	before := freeBytes
	defer func() { freeBytes = before }()
	most := int64(0)
	freeBytes = func(f *os.File) (int64, error) {
		info, err := f.Stat()
		if err != nil {
			return 0, err
		}
		most = max(most, info.Size())
		return 256<<20 - info.Size(), nil
	}
	_, err := Fetch(t.Context(), path, Options{Cache: filepath.Join(dir, "cache")})
	wantProblem(t, err, planner.CodeNoRoom, "MiB free", "make room")
	if most == 0 || most > 192<<20 {
		t.Errorf("%d bytes were written", most)
	}
	nothingHalf(t, dir)
}
