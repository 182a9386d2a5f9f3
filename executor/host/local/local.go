// Package local is the driver for the machine that requorum itself runs on. It
// is also what the agent runs on the far side of ssh.
//
// What it changes lies in host.Layout's folder beside each data directory, but
// for the data directories themselves, which Install puts in place, Fence, Unfence
// and SetAside move, and for the empty one that a first start is given (package
// process).
//
// The order of writes is what makes every request repeatable after any crash:
// the provenance with its token before the first staged byte, the mark
// "complete" after the last; a staged directory moves into its place in one
// rename, or in one exchange with what lies there. Before the exchange it is
// moved next to where the old directory will be kept, so that a user's data
// never lies, not even for a moment, in the folder that half-made copies are
// removed from (remove.go).
package local

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Options of the driver.
type Options struct {
	// Self is the path of requorum, which supervises and contains an etcd; "" is
	// this program.
	Self string
	// NeedLock refuses every act on a place without a lock that was taken through
	// this driver: for whoever acts on somebody's behalf. Without it only a lock that
	// was taken and lost keeps it from acting.
	NeedLock bool
}

// Driver implements host.Host for this machine.
type Driver struct {
	self     string
	etc      string // "/etc", elsewhere in tests
	needLock bool

	mu    sync.Mutex
	locks map[string]*placeLock // that were taken through it, by their path
}

var _ host.Host = (*Driver)(nil)

// New gives the driver.
func New(o Options) *Driver {
	return &Driver{self: o.Self, etc: "/etc", needLock: o.NeedLock, locks: map[string]*placeLock{}}
}

// layout gives the member's layout; paths that are not absolute are refused.
func layout(p planner.Place) (host.Layout, error) {
	if !filepath.IsAbs(p.DataDir) || (p.WALDir != "" && !filepath.IsAbs(p.WALDir)) {
		return host.Layout{}, fmt.Errorf("%s: the directories %q and %q must be absolute", p.Name, p.DataDir, p.WALDir)
	}
	if filepath.Clean(p.DataDir) == "/" {
		return host.Layout{}, fmt.Errorf("%s: the data directory can't be /", p.Name)
	}
	return host.LayoutOf(p.DataDir, p.WALDir), nil
}

// each runs do for n members at once and joins the errors.
func each(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// installed reports whether what the provenance leads to is in place: not only a
// log of its own, while the data waits, and not the old data behind a fence, which
// in a recovery in place has the same IDs.
func installed(l host.Layout, p *planner.Provenance) bool {
	return l.FenceText() == "" && !process.Vacant(l.DataDir) && is(l.DataDir, l.WALDir, p)
}

// is reports whether the directories hold what the provenance leads to.
func is(dataDir, walDir string, p *planner.Provenance) bool {
	cluster, member, err := etcd.Identity(dataDir, walDir)
	return err == nil && p != nil && cluster == p.ClusterID && member == p.MemberID
}
