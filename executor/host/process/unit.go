package process

import (
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

// MayStart is what the supervisor asks before each start: the directories hold the
// member that they should, or, once, nothing, and then an empty directory takes the
// place of a fence. own is called when that directory is there, before anybody may
// write to it. It leaves the marker Ran behind.
func MayStart(cfg Config, own func() error, l host.Layout) error {
	s := &supervisor{layout: l, cfg: cfg, identity: etcd.Identity, own: own}
	return s.mayStart()
}
