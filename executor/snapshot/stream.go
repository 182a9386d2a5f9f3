package snapshot

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// sink is given a file's bytes from its beginning, in order. The slice is the
// sink's until it returns.
type sink func([]byte) error

// What a stream holds in memory, whatever the file's size.
const (
	chunkSize = 1 << 20
	chunks    = 8
)

type chunk struct {
	data []byte
	left atomic.Int32 // sinks that have not done with it
}

// fanOut reads the first size bytes of f once and gives them to every sink, each
// at its own pace within the chunks there are. The first error ends it; it
// returns when no sink works any more.
func fanOut(ctx context.Context, f *os.File, size int64, sinks []sink, tell func(done int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan *chunk, chunks)
	for range min(chunks, size/chunkSize+1) {
		free <- &chunk{data: make([]byte, min(chunkSize, size))}
	}
	queues := make([]chan *chunk, len(sinks))
	var wg sync.WaitGroup
	for i, take := range sinks {
		queues[i] = make(chan *chunk, chunks) // never full: the chunks are no more
		wg.Go(func() {
			for c := range queues[i] {
				if ctx.Err() == nil {
					if err := take(c.data); err != nil {
						cancel(err)
					}
				}
				if c.left.Add(-1) == 0 {
					free <- c
				}
			}
		})
	}
	err := readChunks(ctx, io.NewSectionReader(f, 0, size), size, free, queues, tell)
	for _, q := range queues {
		close(q)
	}
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause // a sink's error comes before the reader's, which it stopped
	}
	return err
}

func readChunks(ctx context.Context, in io.Reader, size int64, free <-chan *chunk, queues []chan *chunk, tell func(int64)) error {
	for done := int64(0); done < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var c *chunk
		select {
		case c = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.data = c.data[:min(int64(chunkSize), size-done)]
		n, err := io.ReadFull(in, c.data)
		if err != nil {
			return fmt.Errorf("at offset %d: %w", done+int64(n), err)
		}
		done += int64(n)
		c.left.Store(int32(len(queues)))
		for _, q := range queues {
			q <- c
		}
		tell(done)
	}
	return nil
}
