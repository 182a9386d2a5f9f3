package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
)

// span is a range of a file, in bytes.
type span struct{ from, to int64 }

// pieces cuts a file into parts for the cores there are.
func pieces(size int64) []span {
	n := int64(min(4, runtime.GOMAXPROCS(0)))
	each := (size/n/chunkSize + 1) * chunkSize
	var list []span
	for from := int64(0); from < size; from += each {
		list = append(list, span{from, min(from+each, size)})
	}
	return list
}

const blockSize = 4096

// equalise makes the files like the first, byte for byte: all of each is read and
// compared, and only what differs is written. It returns what that was.
func equalise(ctx context.Context, like *os.File, files []*os.File) ([]span, error) {
	info, err := like.Stat()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := f.Truncate(info.Size()); err != nil {
			return nil, err
		}
	}
	var (
		mu      sync.Mutex
		written []span
	)
	err = eachPiece(pieces(info.Size()), func(part span) error {
		return compare(ctx, like, files, part, func(f *os.File, at int64, want []byte) error {
			mu.Lock()
			written = append(written, span{at, at + int64(len(want))})
			mu.Unlock()
			_, err := f.WriteAt(want, at)
			return err
		})
	})
	return written, err
}

// proveEqual reads the spans again and refuses a difference.
func proveEqual(ctx context.Context, like *os.File, files []*os.File, spans []span) error {
	for _, s := range spans {
		err := compare(ctx, like, files, s, func(f *os.File, at int64, _ []byte) error {
			return fmt.Errorf("%s differs from %s at offset %d", f.Name(), like.Name(), at)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func eachPiece(list []span, do func(span) error) error {
	errs := make(chan error, len(list))
	for _, s := range list {
		go func() { errs <- do(s) }()
	}
	var first error
	for range list {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// compare reads one range of all files and tells of each block that differs.
func compare(ctx context.Context, like *os.File, files []*os.File, part span, differs func(f *os.File, at int64, want []byte) error) error {
	want, have := make([]byte, min(chunkSize, part.to-part.from)), make([]byte, min(chunkSize, part.to-part.from))
	for at := part.from; at < part.to; at += chunkSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		w := want[:min(chunkSize, part.to-at)]
		if _, err := like.ReadAt(w, at); err != nil {
			return err
		}
		for _, f := range files {
			h := have[:len(w)]
			if _, err := f.ReadAt(h, at); err != nil {
				return err
			}
			if bytes.Equal(w, h) {
				continue
			}
			for b := 0; b < len(w); b += blockSize {
				end := min(b+blockSize, len(w))
				if bytes.Equal(w[b:end], h[b:end]) {
					continue
				}
				if err := differs(f, at+int64(b), w[b:end]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
