package process

import (
	"path/filepath"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
)

// What a service of another kind needs of this package's rules.

// Record writes down whose service is at l, and what it runs, without starting any.
func Record(cfg Config, l host.Layout) error {
	if err := ClaimedBy(l, cfg.Cluster); err != nil {
		return err
	}
	if _, err := host.MkdirAll(l.Base()); err != nil {
		return err
	}
	if old, err := ReadConfig(l); err == nil && old.equal(cfg) {
		return nil
	}
	return writeJSON(l.Service(), cfg)
}

// HeldBy is who has a member's files locked: 0 for nobody, -1 for one that can't be
// named.
func HeldBy(dataDir, walDir string) (int, error) {
	files := []string{filepath.Join(dataDir, "member", "snap", "db")}
	if walDir == "" {
		walDir = filepath.Join(dataDir, "member", "wal")
	}
	logs, _ := filepath.Glob(filepath.Join(walDir, "*.wal"))
	return etcd.HeldBy(append(files, logs...)...)
}

// Users are the processes, but this one, that have files of the member open for
// writing, as far as they can be looked into.
func Users(dataDir, walDir string) ([]int, error) {
	all, err := users(dataDir, walDir)
	var out []int
	for _, id := range all {
		out = append(out, id.PID)
	}
	return out, err
}

// MayStart is what the supervisor asks before each start: the directories hold the
// member that they should, or, once, nothing, and then an empty directory takes the
// place of a fence. own is called when that directory is there, before anybody may
// write to it. It leaves the marker Ran behind.
func MayStart(cfg Config, own func() error, l host.Layout) error {
	s := &supervisor{layout: l, cfg: cfg, identity: etcd.Identity, own: own}
	return s.mayStart()
}
