package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

const token = "bench"

func members(peers []string) spec.Cluster {
	var c spec.Cluster
	for i, p := range peers {
		c.Members = append(c.Members, spec.Member{Name: fmt.Sprintf("m%d", i+1), PeerURLs: []string{p}})
	}
	return c
}

var somewhere = members([]string{"http://127.0.0.1:1001", "http://127.0.0.1:1002", "http://127.0.0.1:1003"})

// restore puts three members' directories on the disk.
func (b *bench) restore(ctx context.Context, src *source) (comparison, error) {
	return b.compare(ctx, "restore three members",
		way{"requorum", func(ctx context.Context, dir string) (result, error) {
			return phased(ctx, b.self, part+"restore", dir, src.path, src.sha256)
		}},
		way{"`etcdutl snapshot restore` three times", func(ctx context.Context, dir string) (result, error) {
			return b.byEtcdutl(ctx, dir, src.path, somewhere)
		}},
		way{"the limit: three `cp` at once, each with `sync`, and one `sha256sum`", func(ctx context.Context, dir string) (result, error) {
			return command(ctx, nil, "sh", "-ec", `
for i in 1 2 3; do (cp "$1" "$2/$i" && sync "$2/$i" "$2") & pids="$pids $!"; done
sha256sum "$1" >/dev/null
for p in $pids; do wait "$p"; done`, "limit", src.path, dir)
		}})
}

// byEtcdutl restores one member after the other, with the bump that requorum
// makes.
func (b *bench) byEtcdutl(ctx context.Context, dir, path string, c spec.Cluster) (result, error) {
	var all result
	for _, m := range c.Members {
		r, err := command(ctx, nil, b.etcdutl, "snapshot", "restore", path, "--name", m.Name,
			"--data-dir", filepath.Join(dir, m.Name), "--initial-cluster", c.InitialCluster(), "--initial-cluster-token", token,
			"--initial-advertise-peer-urls", m.PeerURLs[0],
			"--bump-revision", strconv.FormatInt(spec.DefaultRevisionBump, 10), "--mark-compacted")
		if err != nil {
			return all, err
		}
		all.took += r.took
		all.cpu, all.peak = all.cpu+r.cpu, max(all.peak, r.peak)
	}
	return all, nil
}

func (b *bench) verify(ctx context.Context, src *source) (comparison, error) {
	return b.compare(ctx, "verify a snapshot",
		way{"requorum: hash, pages, records", func(ctx context.Context, _ string) (result, error) {
			return phased(ctx, b.self, part+"verify", src.path)
		}},
		way{"`etcdutl snapshot status`: pages, records", func(ctx context.Context, _ string) (result, error) {
			return command(ctx, nil, b.etcdutl, "snapshot", "status", src.path)
		}})
}

func (b *bench) save(ctx context.Context, src *source) (comparison, error) {
	s, err := b.startSource(ctx, src)
	if err != nil {
		return comparison{}, err
	}
	defer s.stop()
	return b.compare(ctx, "save a snapshot",
		way{"requorum", func(ctx context.Context, dir string) (result, error) {
			return phased(ctx, b.self, part+"save", s.client, filepath.Join(dir, "s.db"))
		}},
		way{"`etcdctl snapshot save`", func(ctx context.Context, dir string) (result, error) {
			return command(ctx, nil, b.etcdctl, "--endpoints", s.client, "snapshot", "save", filepath.Join(dir, "s.db"))
		}})
}

// part is how this program is asked to be one measured process.
const part = "part:"

// runPart is what no verb of requorum does alone.
func runPart(name string, args []string) error {
	ctx, phases := context.Background(), newPhases()
	switch name {
	case "restore":
		return restorePart(ctx, args[0], args[1], args[2], phases)
	case "verify":
		if s := snapshot.Verify(ctx, args[0], snapshot.Want{}, phases.tell); s.Problem != "" {
			return fmt.Errorf("%s", s.Detail)
		}
		return nil
	case "save":
		_, err := etcd.SaveSnapshot(ctx, args[0], etcd.Access{}, args[1], nil)
		return err
	}
	return fmt.Errorf("no part %q", name)
}

func restorePart(ctx context.Context, dir, path, sum string, phases *phaseLog) error {
	r := snapshot.RestoreRequest{Snapshot: path, SHA256: sum, RevisionBump: spec.DefaultRevisionBump}
	for _, m := range somewhere.Members {
		r.Members = append(r.Members, snapshot.RestoreMember{
			Name: m.Name, InitialCluster: somewhere.InitialCluster(), Token: token, PeerURLs: m.PeerURLs,
			OutDataDir: filepath.Join(dir, m.Name),
			ClusterID:  planner.ClusterID(somewhere.Members, token), MemberID: planner.MemberID(m.PeerURLs, token),
		})
	}
	return snapshot.Restore(ctx, r, phases.tell)
}

// phaseLog prints each phase once, when it begins.
type phaseLog struct {
	began time.Time
	seen  map[string]bool
	out   *json.Encoder
}

func newPhases() *phaseLog {
	return &phaseLog{began: time.Now(), seen: map[string]bool{}, out: json.NewEncoder(os.Stdout)}
}

func (p *phaseLog) tell(what string, _, _ int64) {
	if _, member, ok := strings.Cut(what, "): "); ok { // of one member: once for all
		what = member
	}
	if !p.seen[what] {
		p.seen[what] = true
		_ = p.out.Encode(phase{what, time.Since(p.began).Seconds()})
	}
}
