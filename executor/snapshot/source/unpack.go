package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/klauspost/compress/zstd"

	"github.com/requorum/requorum/planner"
)

// How a file begins that is not plain.
var (
	gzipMagic  = []byte{0x1f, 0x8b}
	zstdMagic  = []byte{0x28, 0xb5, 0x2f, 0xfd}
	ageMagic   = []byte("age-encryption.org/")
	armorMagic = []byte(armor.Header)
)

const (
	// maxLayers is how often a file may be packed: an archive that holds itself
	// never ends.
	maxLayers = 4
	// maxWindow bounds what zstd keeps in memory; it is what zstd's own command
	// takes without being told.
	maxWindow = 128 << 20
)

// layerOf tells from a file's beginning how it is packed, "" for not at all.
func layerOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return "gzip"
	case bytes.HasPrefix(head, zstdMagic):
		return "zstd"
	case bytes.HasPrefix(head, ageMagic):
		return "age"
	case bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), armorMagic):
		return "armored age"
	}
	return ""
}

// headSize is enough to tell, with some blank lines before an armored file.
const headSize = 256

// packed tells how the file at path is packed, "" for not at all.
func packed(path string) (string, error) {
	f, err := openFile(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return layerOf(head[:n]), nil
}

// layer is one packing of a file. It notes the first error below it, which says
// more than what those above make of it.
type layer struct {
	io.Reader
	kind, origin string
	first        *error
}

func (l *layer) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && *l.first == nil {
		*l.first = l.explain(err)
	}
	if err != nil && *l.first != nil {
		err = *l.first
	}
	return n, err
}

// explain says what an error of a layer means for the file.
func (l *layer) explain(err error) error {
	damaged := func(what string) error {
		return refuse(planner.CodeSnapshotDamaged, err, "%s: %s; fetch it again from where it was saved, or use another snapshot", l.origin, what)
	}
	var none *age.NoIdentityMatchError
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &none):
		return refuse(planner.CodeSnapshotUnreadable, err, "%s is encrypted, and not for this age identity: give the one whose recipient it was encrypted to", l.origin)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("its " + l.kind + " data ends in the middle: the file was cut short")
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuse(planner.CodeSnapshotUnreadable, err, "%s: its zstd window is larger than %d MB, which is the most that is kept in memory: pack it again without --ultra and --long", l.origin, maxWindow>>20)
	case errors.Is(err, gzip.ErrHeader) || errors.Is(err, zstd.ErrMagicMismatch):
		return damaged("something that is no " + l.kind + " follows its " + l.kind + " data")
	}
	return damaged(fmt.Sprintf("its %s data is damaged: %v", l.kind, err))
}

// unpacking is a packed file that is being read.
type unpacking struct {
	io.Reader
	layers []*layer
	close  []func()
	first  error
}

// openLayers takes one packing after the other off r until plain bytes come.
func openLayers(r io.Reader, origin, identity string) (_ *unpacking, err error) {
	u := &unpacking{}
	defer func() {
		if err != nil {
			u.end()
		}
	}()
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		head, err := in.Peek(headSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, u.cause(err)
		}
		kind := layerOf(head)
		if kind == "" {
			u.Reader = in
			return u, nil
		}
		if len(u.layers) == maxLayers {
			return nil, refuse(planner.CodeSnapshotUnreadable, nil, "%s is packed more than %d times: unpack it by hand", origin, maxLayers)
		}
		l := &layer{kind: kind, origin: origin, first: &u.first}
		if l.Reader, err = u.open(kind, in, origin, identity); err != nil {
			var p *Problem
			if u.first == nil && !errors.As(err, &p) {
				u.first = l.explain(err)
			}
			return nil, u.cause(err)
		}
		u.layers = append(u.layers, l)
		in = bufio.NewReaderSize(l, 64<<10)
	}
}

// open begins to read one packing.
func (u *unpacking) open(kind string, in *bufio.Reader, origin, identity string) (io.Reader, error) {
	switch kind {
	case "gzip":
		return gzip.NewReader(in)
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		u.close = append(u.close, z.Close)
		return z, nil
	}
	ids, err := identities(identity, origin)
	if err != nil {
		return nil, err
	}
	var r io.Reader = in
	if kind == "armored age" {
		r = armor.NewReader(in)
	}
	return age.Decrypt(r, ids...)
}

// cause is the first error that a layer had, else err.
func (u *unpacking) cause(err error) error {
	if u.first != nil {
		return u.first
	}
	return err
}

// finish reads every layer to its end: an inner one may stop before the outer
// one has shown that it is whole.
func (u *unpacking) finish() error {
	for i := len(u.layers) - 1; i >= 0; i-- {
		l := u.layers[i]
		n, err := io.Copy(io.Discard, io.LimitReader(l, 1))
		if err != nil {
			return u.cause(err)
		}
		if n > 0 {
			return refuse(planner.CodeSnapshotDamaged, nil, "%s: more bytes follow the end of what is packed in its %s data; use another snapshot", l.origin, l.kind)
		}
	}
	return nil
}

func (u *unpacking) end() {
	for _, c := range u.close {
		c()
	}
}

// unpack writes the plain bytes of the file at from to the file at to, whole or
// not at all.
func unpack(ctx context.Context, from, to string, p place, o Options) error {
	origin := p.shown()
	f, err := openFile(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := &counter{ctx: ctx, r: f, tell: func(n int64) { o.tell("unpacking "+origin, n, info.Size()) }}
	u, err := openLayers(in, origin, o.Identity)
	if err != nil {
		return err
	}
	defer u.end()
	return writeWhole(to, func(out *os.File) error {
		if _, err := io.CopyBuffer(RoomWriter(out, elsewhere), struct{ io.Reader }{u}, make([]byte, 1<<20)); err != nil {
			return u.cause(err)
		}
		if err := u.finish(); err != nil {
			return err
		}
		return endsRight(out.Name(), p)
	})
}

// counter tells how much was read, and ends with ctx.
type counter struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	said int64
	tell func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.tell != nil && (c.n-c.said >= 1<<20 || err != nil) {
		c.said = c.n
		c.tell(c.n)
	}
	return n, err
}
