package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/requorum/requorum/tests/harness"
)

// Scenario 7: a client whose watch spans the loss of a cluster and its restore,
// at the same address, is told "compacted" and lists again; what was written
// after the snapshot is nowhere any more.
func TestWatchAcrossRestore(t *testing.T) {
	t.Parallel()
	e := harness.New(t)
	c := e.Cluster(3)
	old := e.ServerAt("old", c.Members[0].Client, e.Ports(1).URL(0))
	want := harness.Fill(t, []string{old.Client}, keysPerTest)
	harness.Snapshot(t, old.Client, filepath.Join(c.Dir, "snapshot.db"))

	client := harness.Client(t, old.Client)
	w := watchEverything(t, client, 60)
	var stale []string
	for i := range 60 { // more than the bump of a careless restore would cover
		stale = append(stale, fmt.Sprintf("/after/snapshot/%d", i))
		if _, err := client.Put(harness.Context(t), stale[i], "stale"); err != nil {
			t.Fatal(err)
		}
	}
	w.await(t, 60)

	if err := old.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(old.DataDir); err != nil {
		t.Fatal(err)
	}
	c.Snapshot, c.SnapshotMore = "snapshot.db", "    revision_bump = 1000000\n"
	e.Apply(c.Write().Path())

	end := w.end(t)
	if end.CompactRevision <= w.last || !errors.Is(end.Err(), rpctypes.ErrCompacted) {
		t.Errorf("the watch ended with %v, compact revision %d, last seen %d", end.Err(), end.CompactRevision, w.last)
	}
	// It lists again, as every client does then.
	r, err := client.Get(harness.Context(t), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		if _, ok := want[string(kv.Key)]; !ok {
			t.Errorf("a stale key: %q", kv.Key)
		}
	}
	if r.Header.Revision <= w.last {
		t.Errorf("the revision is %d, the client saw %d before", r.Header.Revision, w.last)
	}
	harness.CompareAll(t, want, c.Endpoints())
	e.InSync(c.Path())
}

// watch is a client's watch of everything.
type watch struct {
	last int64 // the revision that the client saw last
	seen chan int64
	over chan clientv3.WatchResponse
}

func watchEverything(t *testing.T, c *clientv3.Client, room int) *watch {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	w := &watch{seen: make(chan int64, room), over: make(chan clientv3.WatchResponse, 1)}
	events := c.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithCreatedNotify())
	if r := <-events; !r.Created {
		t.Fatalf("the watch was not created: %v", r.Err())
	}
	go func() {
		for r := range events {
			if r.Err() != nil {
				w.over <- r
				return
			}
			for _, e := range r.Events {
				w.seen <- e.Kv.ModRevision
			}
		}
	}()
	return w
}

func (w *watch) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case w.last = <-w.seen:
		case <-time.After(10 * time.Second):
			t.Fatal("the watch is silent")
		}
	}
}

func (w *watch) end(t *testing.T) clientv3.WatchResponse {
	t.Helper()
	select {
	case r := <-w.over:
		return r
	case rev := <-w.seen:
		t.Fatalf("the watch goes on, at revision %d", rev)
	case <-time.After(60 * time.Second):
		t.Fatal("the watch is silent after the restore")
	}
	return clientv3.WatchResponse{}
}
