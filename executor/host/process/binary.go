package process

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

// copies serialises the making of private copies in this process and remembers
// what was learned, so that the members of one machine share the work.
var copies = struct {
	sync.Mutex
	sum  map[fileKey]string  // sha256 by the file's identity
	made map[string][]string // our copies, by name
}{sum: map[fileKey]string{}, made: map[string][]string{}}

type fileKey struct {
	dev, ino     uint64
	size         int64
	sec, ns, csc int64
}

// privateCopy puts a copy of the executable src into Layout.Bin, named
// label-SHA256 (its first 16 digits), and gives its path. One that is there is
// used; a sibling member's copy on the same file system is hard-linked. The
// user's own file is only read.
func privateCopy(l host.Layout, src, label string) (string, error) {
	copies.Lock()
	defer copies.Unlock()
	in, fi, name, err := program(src, label)
	if err != nil {
		return "", err
	}
	defer in.Close()
	dst := filepath.Join(l.Bin(), name)
	if isOurs(dst, fi.Size()) {
		return dst, nil
	}
	if _, err := host.MkdirAll(l.Bin()); err != nil {
		return "", err
	}
	if !linkSibling(l, dst, name, fi.Size()) {
		if err := copyBinary(in, dst); err != nil {
			return "", fmt.Errorf("private copy of %s: %w", src, err)
		}
	}
	copies.made[name] = append(copies.made[name], dst)
	return dst, nil
}

// program opens an executable and names its copy. The caller holds copies.
func program(src, label string) (in *os.File, fi os.FileInfo, name string, err error) {
	if in, err = os.Open(src); err != nil {
		return nil, nil, "", err
	}
	if fi, err = in.Stat(); err == nil && (!fi.Mode().IsRegular() || fi.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is not an executable file", src)
	}
	sum := ""
	if err == nil {
		sum, err = sumOf(in, fi)
	}
	if err != nil {
		in.Close()
		return nil, nil, "", err
	}
	return in, fi, label + "-" + sum[:16], nil
}

// CopyPath is where Copy puts its copy. self is the path of requorum; "" is this
// program.
func CopyPath(dir, self, label string) (string, error) {
	copies.Lock()
	defer copies.Unlock()
	in, _, name, err := program(orElse(self, ownBinary), label)
	if err != nil {
		return "", err
	}
	in.Close()
	return filepath.Join(dir, name), nil
}

// Copy is privateCopy into a folder that is there, for everybody to run.
func Copy(dir, self, label string) (string, error) {
	copies.Lock()
	defer copies.Unlock()
	in, fi, name, err := program(orElse(self, ownBinary), label)
	if err != nil {
		return "", err
	}
	defer in.Close()
	dst := filepath.Join(dir, name)
	if isOurs(dst, fi.Size()) {
		return dst, nil
	}
	return dst, copyBinary(in, dst)
}

func sumOf(in *os.File, fi os.FileInfo) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(in.Fd()), &st); err != nil {
		return "", err
	}
	key := fileKey{dev: st.Dev, ino: st.Ino, size: fi.Size(), sec: st.Mtim.Sec, ns: st.Mtim.Nsec, csc: st.Ctim.Nano()}
	if s, ok := copies.sum[key]; ok {
		return s, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return "", err
	}
	s := hex.EncodeToString(h.Sum(nil))
	copies.sum[key] = s
	return s, nil
}

// isOurs reports whether path is a whole private copy that nobody else could
// have written: the name carries the sum and comes by rename once all is there.
func isOurs(path string, size int64) bool {
	var st, dir unix.Stat_t
	if unix.Lstat(path, &st) != nil || unix.Lstat(filepath.Dir(path), &dir) != nil {
		return false
	}
	me := uint32(os.Geteuid())
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == size && st.Mode&0o100 != 0 &&
		st.Uid == me && st.Mode&0o022 == 0 && dir.Uid == me && dir.Mode&0o022 == 0
}

func linkSibling(l host.Layout, dst, name string, size int64) bool {
	near, _ := filepath.Glob(filepath.Join(filepath.Dir(l.DataDir), "*.requorum", "bin", name))
	for _, path := range append(copies.made[name], near...) {
		if isOurs(path, size) && os.Link(path, dst) == nil {
			return host.SyncDir(filepath.Dir(dst)) == nil
		}
	}
	return false
}

func copyBinary(in *os.File, dst string) (err error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(dst), ".copy-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(out.Name()) // the half copy of a program, made above: never data
		}
	}()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		if _, err = io.Copy(out, in); err != nil {
			return err
		}
	}
	if err = out.Chmod(0o755); err != nil {
		return err
	}
	if err = out.Sync(); err != nil {
		return err
	}
	if err = out.Close(); err != nil {
		return err
	}
	if err = os.Rename(out.Name(), dst); err != nil {
		return err
	}
	return host.SyncDir(filepath.Dir(dst))
}
