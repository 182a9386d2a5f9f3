package source

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"

	"github.com/requorum/requorum/planner"
)

// Put writes the file at path to dest, a path or s3://BUCKET/KEY, atomically: a
// reader sees all of it or nothing. A dest that ends in "/", or is a folder, gets
// the file's own name below it, with ".gz", ".zst" and ".age" as they apply.
// written is the whole name of what was written, as List, Fetch and Remove take
// it. What is there already is never written over: that is an error. A local file
// is 0600; its folder must be there. Its errors are *Problem.
func Put(ctx context.Context, path, dest string, o PutOptions) (written string, err error) {
	p, err := parse(dest)
	if err != nil {
		return "", err
	}
	f, err := openFile(path)
	if err != nil {
		return "", asProblem(err, place{path: path})
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", asProblem(err, place{path: path})
	}
	suffix, err := o.suffix()
	if err != nil {
		return "", err
	}
	tell := func(n int64) {
		if o.Progress != nil {
			o.Progress("writing "+p.shown(), n, info.Size())
		}
	}
	from := &counter{ctx: ctx, r: f, tell: tell}
	fill := func(w io.Writer) error {
		if err := o.pack(w, from); err != nil {
			return err
		}
		if from.n != info.Size() {
			return refuse(planner.CodeSnapshotUnreadable, nil, "%s changed while it was read: wait until nothing writes it, then try again", path)
		}
		return nil
	}
	own := filepath.Base(path) + suffix
	switch p.scheme {
	case "":
		if st, err := os.Stat(p.path); p.folder || err == nil && st.IsDir() {
			p.path = filepath.Join(p.path, own)
		}
		err = putLocal(p, fill)
	case "s3":
		if p.folder || p.object() == "" {
			p = p.at(p.object() + own)
		}
		size := info.Size()
		if suffix != "" {
			size = -1
		}
		err = putS3(ctx, p, size, fill)
	default:
		err = refuse(planner.CodeSnapshotUnsupported, nil, "%s: nothing is written to a web server: name a path or s3://BUCKET/KEY", p.shown())
	}
	if err != nil {
		return "", asProblem(err, p)
	}
	return p.name(), nil
}

// suffix is how the name of what is packed so ends.
func (o PutOptions) suffix() (string, error) {
	s, ok := map[string]string{"": "", "gzip": ".gz", "zstd": ".zst"}[o.Compress]
	if !ok {
		return "", refuse(planner.CodeSnapshotUnsupported, nil, "there is no compression %q: gzip and zstd are known", o.Compress)
	}
	if len(o.Recipients) > 0 {
		if _, err := recipients(o.Recipients); err != nil {
			return "", err
		}
		s += ".age"
	}
	return s, nil
}

// pack writes what r has to w, compressed first and then encrypted.
func (o PutOptions) pack(w io.Writer, r io.Reader) error {
	var ends []io.Closer // the innermost last
	if len(o.Recipients) > 0 {
		to, err := recipients(o.Recipients)
		if err != nil {
			return err
		}
		enc, err := age.Encrypt(w, to...)
		if err != nil {
			return refuse(planner.CodeSnapshotUnsupported, err, "it can't be encrypted to these recipients: %v", err)
		}
		w, ends = enc, append(ends, enc)
	}
	switch o.Compress {
	case "gzip":
		z := gzip.NewWriter(w)
		w, ends = z, append(ends, z)
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(2))
		if err != nil {
			return err
		}
		w, ends = z, append(ends, z)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, 1<<20)); err != nil {
		return err
	}
	for i := len(ends) - 1; i >= 0; i-- {
		if err := ends[i].Close(); err != nil {
			return err
		}
	}
	return nil
}

func putLocal(p place, fill func(io.Writer) error) error {
	if _, err := os.Lstat(p.path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = refuse(planner.CodeSnapshotUnreadable, fs.ErrExist, "%s is there already, and no snapshot is written over: give another name", p.shown())
		}
		return err
	}
	err := writeNew(p.path, func(f *os.File) error { return fill(RoomWriter(f, "name another destination")) })
	var is *Problem
	if err != nil && !errors.As(err, &is) {
		return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be written: %v", p.shown(), err)
	}
	return err
}

// putS3 uploads in parts. The object is there when the last call says so; what
// was begun is taken back where something fails.
func putS3(ctx context.Context, p place, size int64, fill func(io.Writer) error) error {
	c, err := s3Client(p)
	if err != nil {
		return err
	}
	_, err = c.StatObject(ctx, p.bucket(), p.object(), minio.StatObjectOptions{})
	if err == nil {
		return refuse(planner.CodeSnapshotUnreadable, fs.ErrExist, "%s is there already, and no snapshot is written over: give another name", p.shown())
	}
	if r := minio.ToErrorResponse(err); r.Code != minio.NoSuchKey && r.Code != "NotFound" {
		return s3Problem(err, p)
	}
	pr, pw := io.Pipe()
	filled := make(chan error, 1)
	count := &counting{w: pw}
	go func() {
		err := fill(count)
		pw.CloseWithError(err) // nil is the end of the file
		filled <- err
	}()
	info, err := c.PutObject(ctx, p.bucket(), p.object(), pr, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: partSize, SendContentMd5: true,
	})
	pr.CloseWithError(errUploadEnded)
	switch fillErr := <-filled; {
	case fillErr != nil && !errors.Is(fillErr, errUploadEnded):
		return fillErr
	case err != nil:
		var is *Problem
		if is, _ = s3Problem(err, p).(*Problem); is != nil {
			return refuse(is.Code, err, "%s. %s", strings.TrimSuffix(is.Detail, "."), became(ctx, c, p, count.n))
		}
		return err
	case info.Size != count.n:
		return fmt.Errorf("%d bytes were sent and %d arrived: remove %s and try again", count.n, info.Size, p.shown())
	}
	return nil
}

// became says what there is of an upload that failed: what was lost may be the answer to
// its last call.
func became(ctx context.Context, c *minio.Client, p place, sent int64) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*limits.stall)
	defer cancel()
	info, err := c.StatObject(ctx, p.bucket(), p.object(), minio.StatObjectOptions{})
	r := minio.ToErrorResponse(err)
	switch {
	case err == nil:
		return fmt.Sprintf("An object is there all the same, of %d bytes, and %d were sent: prove it with requorum snapshot verify, or save another", info.Size, sent)
	case r.Code == minio.NoSuchKey || r.Code == "NotFound":
		return "Nothing was written"
	}
	return "It is not known whether it was written: look there before you rely on it"
}

var errUploadEnded = errors.New("the upload ended")

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
