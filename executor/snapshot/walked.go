package snapshot

import (
	"context"
	"os"
	"sync"

	"github.com/requorum/requorum/planner"
)

// walked is the last snapshot whose pages and records this process has walked: a plan
// proves it, and the restore that follows reads it once more. Where that has the same
// sha256, all that was found in it is so again, and only the hash is made.
type walked struct {
	sha256  string
	size    int64 // of the bbolt bytes
	hasHash bool
	found   *contents
}

var lastWalked struct {
	sync.Mutex
	walked *walked
}

func keepWalked(obs planner.SnapshotObservation, c *contents) {
	lastWalked.Lock()
	defer lastWalked.Unlock()
	lastWalked.walked = &walked{sha256: obs.SHA256, size: obs.Size, hasHash: obs.HasHash, found: c}
}

// walkedBefore is that snapshot where it has this size, so that another one may be the
// same; nil otherwise.
func walkedBefore(size int64) *walked {
	lastWalked.Lock()
	defer lastWalked.Unlock()
	if w := lastWalked.walked; w != nil && w.size == size {
		return w
	}
	return nil
}

// again proves a file that may be the one that was walked. Where its hash says that it
// is another one, it is walked too.
func (w *walked) again(ctx context.Context, f *os.File, info os.FileInfo, want Want, sinks []sink, progress Progress, obs planner.SnapshotObservation) (planner.SnapshotObservation, *contents, error) {
	err := guarded(obs.Path, func() error { return proveHash(ctx, f, info, want, sinks, progress, &obs) })
	if err != nil {
		return obs, nil, err
	}
	c := w.found
	if w.sha256 != obs.SHA256 || w.size != obs.Size || w.hasHash != obs.HasHash {
		progress.tell("checking pages and records", 0, obs.Size)
		err := guarded(obs.Path, func() (err error) {
			c, err = proveRecords(ctx, f, &planner.SnapshotObservation{Path: obs.Path, Size: obs.Size})
			return err
		})
		if err != nil {
			return obs, nil, err
		}
	}
	describe(&obs, c)
	progress.tell("checking pages and records", obs.Size, obs.Size)
	if err := unchanged(f, info); err != nil {
		return obs, c, err
	}
	keepWalked(obs, c)
	return obs, c, nil
}
