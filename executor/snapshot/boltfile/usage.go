package boltfile

import (
	"context"
	"math/bits"
)

// InUse walks the whole structure as Walk does and gives how many bytes of the
// file are in use: what bbolt's own pages that are not free come to
// (server/storage/backend/backend.go SizeInUse).
func (f *File) InUse(ctx context.Context) (int64, error) {
	w := &walker{f: f, ctx: ctx, reached: newBitmap(f.highWater)}
	w.reached.set(0)
	w.reached.set(1)
	if _, err := w.readFreelist(); err != nil {
		return 0, err
	}
	list, err := w.buckets()
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		if err := w.bucket(b, nil); err != nil {
			return 0, err
		}
	}
	n := 0
	for _, word := range w.reached {
		n += bits.OnesCount64(word)
	}
	return int64(n) * f.pageSize, nil
}
