package harness

import (
	"context"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/requorum/requorum/executor/snapshot"
)

// Tool runs one of etcd's own commands to its end, in the test's world.
func (e *Env) Tool(path string, args ...string) Result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = e.Dir, append(e.environ(), "ETCDCTL_API=3")
	return e.Finish(cmd, "")
}

// AwaitStorageVersion waits until the member has written into its db which version
// it is of, which etcd 3.6 and later do some seconds after their first start.
func (e *Env) AwaitStorageVersion(h *Hand) {
	e.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		copied := filepath.Join(e.Dir, "storage-version.db")
		if err := SaveSnapshot(Context(e.t), h.Client, copied); err != nil {
			e.t.Fatal(err)
		}
		if snapshot.Verify(Context(e.t), copied, snapshot.Want{}, nil).Version != "" {
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("%s wrote no storage version", h.Name)
		}
	}
}
