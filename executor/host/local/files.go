package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/host"
)

var _ host.Files = (*Driver)(nil)

// recordLimit is more than any record of a recovery has.
const recordLimit = 1 << 20

// Describe implements host.Files.
func (d *Driver) Describe(_ context.Context, path string) (host.File, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return host.File{}, err
	}
	if !fi.Mode().IsRegular() {
		return host.File{}, fmt.Errorf("%s is not a file", path)
	}
	f := host.File{Size: fi.Size()}
	r, err := os.Open(path + ".json")
	if notExist(err) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	defer r.Close()
	f.Record, err = io.ReadAll(io.LimitReader(r, recordLimit))
	return f, err
}

// Give implements host.Files.
func (d *Driver) Give(ctx context.Context, path string, from int64, w io.Writer) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if n, err := copyUntil(ctx, sum, io.LimitReader(f, from)); err != nil || n < from {
		return "", errors.Join(err, fmt.Errorf("%s has %d bytes, and is asked for from %d on", path, n, from))
	}
	if _, err := copyUntil(ctx, io.MultiWriter(sum, w), f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// copyUntil is io.Copy that ends with ctx.
func copyUntil(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := make([]byte, 1<<20)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := r.Read(buf)
		if k > 0 {
			if _, werr := w.Write(buf[:k]); werr != nil {
				return n, werr
			}
			n += int64(k)
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// keys are names of files that lead nowhere else.
var keys = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_:.-]{0,199}$`)

// arrival is where an incoming file is written, and where it lies at the end.
func arrival(in host.Incoming) (l host.Layout, part, path string, err error) {
	if len(in.Places) == 0 || !keys.MatchString(in.Key) || in.Size < 0 {
		return l, "", "", fmt.Errorf("%q of %d bytes for %d members is no file that could be taken", in.Key, in.Size, len(in.Places))
	}
	if l, err = layout(in.Places[0]); err != nil {
		return l, "", "", err
	}
	dir := l.Incoming()
	if in.Keep {
		return l, filepath.Join(dir, in.Key+".part"), filepath.Join(l.Saved(), in.Key), nil
	}
	return l, filepath.Join(dir, in.Key+".part"), filepath.Join(dir, in.Key+".db"), nil
}

// Take implements host.Files.
func (d *Driver) Take(ctx context.Context, in host.Incoming, fill host.Fill) (string, error) {
	l, part, path, err := arrival(in)
	if err != nil {
		return "", err
	}
	if in.Keep {
		if _, err := os.Lstat(path); !notExist(err) {
			return "", errors.Join(err, fmt.Errorf("%s is there already", path))
		}
	}
	if err := d.dropOthers(l, part, path); err != nil {
		return "", err
	}
	if !in.Keep {
		if err := os.Rename(path, part); err != nil && !notExist(err) { // whole, of a run that was cut: compared again
			return "", err
		}
	}
	if err := roomFor(l, in, part); err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Dir(part), filepath.Dir(path)} {
		if _, err := host.MkdirAll(dir); err != nil {
			return "", err
		}
	}
	if err := receive(ctx, part, in.Size, fill); err != nil {
		return "", err
	}
	if err := rename(part, path, unix.RENAME_NOREPLACE); err != nil {
		return "", err
	}
	if in.Keep {
		removeEmpty([]string{l.Incoming()})
	}
	return path, nil
}

// roomFor is S20 for a file that comes, and for what is made of it.
func roomFor(l host.Layout, in host.Incoming, part string) error {
	need := newRoom()
	left := in.Size
	if fi, err := os.Stat(part); err == nil {
		left -= min(left, fi.Size())
	}
	need.add(l.Base(), in.Places[0].Name, left)
	for _, p := range in.Places {
		at, err := layout(p)
		if err != nil {
			return err
		}
		if in.Keep {
			need.add(at.Base(), p.Name, walRoom) // etcd's own next log file
			continue
		}
		wal := at.WALDir
		if wal == "" {
			wal = at.DataDir
		}
		need.add(at.DataDir, p.Name, in.Size)
		need.add(wal, p.Name, walRoom)
	}
	return need.check()
}

// receive writes what fill gives behind what is there already, and compares.
func receive(ctx context.Context, part string, size int64, fill host.Fill) (err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	from, err := copyUntil(ctx, sum, f)
	if err != nil {
		return err
	}
	if from > size {
		from, sum = 0, sha256.New()
		if err := restart(f); err != nil {
			return err
		}
	}
	got := &arriving{ctx: ctx, to: io.MultiWriter(f, sum), left: size - from}
	want, err := fill(from, got)
	if err != nil {
		return errors.Join(err, f.Sync()) // what came stays: the next one goes on with it
	}
	if why := got.wrong(sum, want); why != "" {
		return errors.Join(fmt.Errorf("what arrived at %s is not what was sent: %s; nothing of it was used", part, why), restart(f))
	}
	return f.Sync()
}

// restart empties a half-made copy of requorum's own.
func restart(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// arriving takes no more than was announced.
type arriving struct {
	ctx  context.Context
	to   io.Writer
	left int64
}

func (a *arriving) Write(b []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	if a.left -= int64(len(b)); a.left < 0 {
		return 0, errors.New("more bytes came than were announced")
	}
	return a.to.Write(b)
}

func (a *arriving) wrong(sum hash.Hash, want string) string {
	got := hex.EncodeToString(sum.Sum(nil))
	switch {
	case a.left != 0:
		return fmt.Sprintf("%d bytes are missing", a.left)
	case got != want:
		return fmt.Sprintf("its sha256 is %s, and should be %s", got, want)
	}
	return ""
}

// Drop implements host.Files.
func (d *Driver) Drop(_ context.Context, in host.Incoming) error {
	l, part, path, err := arrival(in)
	if err != nil || in.Keep {
		return err
	}
	return errors.Join(removeIncoming(l, part), removeIncoming(l, path), dropFolder(l))
}

func dropFolder(l host.Layout) error {
	removeEmpty([]string{l.Incoming()})
	return nil
}

// dropOthers removes what an earlier transfer left, of another file: it would take
// the room.
func (d *Driver) dropOthers(l host.Layout, but ...string) error {
	entries, err := os.ReadDir(l.Incoming())
	if notExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(l.Incoming(), e.Name())
		if path == but[0] || path == but[1] {
			continue
		}
		if err := removeIncoming(l, path); err != nil {
			return err
		}
	}
	return nil
}
