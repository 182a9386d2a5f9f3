package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/requorum/requorum/tests/harness"
)

// Options say what a bed is like. The zero value is three hosts with Debian's etcd.
type Options struct {
	// Hosts is how many there are, m1 and on; 3 where 0.
	Hosts int
	// Etcds are further minor versions that lie on the hosts as /opt/etcd-MINOR.
	Etcds []string
	// FileSystem of the data disks is ext4 where empty, or xfs.
	FileSystem string
	// DiskMB is the size of each data disk; 1024 where 0. It is sparse.
	DiskMB int
	// Off leaves the hosts powered off.
	Off bool
}

// opLimit is how long one operation on a bed may take; on an idle machine none
// takes more than a few seconds.
const opLimit = 90 * time.Second

// Bed is some hosts and a controller, until the test ends.
type Bed struct {
	// Dir is the bed's folder on the machine; the controller sees it at the same
	// path. Path gives what lies in it.
	Dir string

	t       testing.TB
	o       Options
	ctx     context.Context
	claim   *claim
	group   cgroup
	base    string
	hosts   []*Host
	net     *harness.Net
	holder  *exec.Cmd // keeps the controller's namespaces
	watcher *exec.Cmd

	mu   sync.Mutex
	cuts []way
}

// New boots a bed, which ends with the test. The first one on a machine installs
// what it needs from Debian's packages and makes the hosts' base, in a minute or two.
func New(t testing.TB, o Options) *Bed {
	t.Helper()
	if o.Hosts == 0 {
		o.Hosts = 3
	}
	if o.DiskMB == 0 {
		o.DiskMB = 1024
	}
	if o.FileSystem == "" {
		o.FileSystem = "ext4"
	}
	b := &Bed{t: t, o: o, ctx: context.Background()}
	if err := b.prepare(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.end)
	ctx, cancel := b.limit()
	defer cancel()
	if err := b.build(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

// prepare makes what outlives a bed, and claims its number.
func (b *Bed) prepare() (err error) {
	// The base and the etcds may have to be downloaded and built.
	ctx, cancel := context.WithTimeout(b.ctx, 15*time.Minute)
	defer cancel()
	if err := ready(ctx); err != nil {
		return err
	}
	if b.base, err = base(ctx); err != nil {
		return err
	}
	etcds, err := etcdsOf(ctx, b.o.Etcds)
	if err != nil {
		return err
	}
	if b.claim, b.Dir, err = place(ctx, b.t.Name()); err != nil {
		return err
	}
	if b.group, err = cgroupOf(b.claim.number); err != nil {
		return err
	}
	for i := range b.o.Hosts {
		b.hosts = append(b.hosts, newHost(b, fmt.Sprintf("m%d", i+1), b.address(11+i), etcds))
	}
	return nil
}

func (b *Bed) build(ctx context.Context) error {
	if err := b.group.make(); err != nil {
		return err
	}
	if err := b.startWatcher(); err != nil {
		return err
	}
	if err := b.makeNetworks(ctx); err != nil {
		return err
	}
	if err := b.makeController(ctx); err != nil {
		return err
	}
	if err := each(b.hosts, func(h *Host) error { return h.make(ctx) }); err != nil {
		return err
	}
	if err := b.writeKnownHosts(); err != nil {
		return err
	}
	if b.o.Off {
		return nil
	}
	return each(b.hosts, func(h *Host) error { return h.boot(ctx) })
}

// end takes the bed away. Where the test failed it shows what the hosts say first.
func (b *Bed) end() {
	if b.t.Failed() {
		b.showLogs()
	} else {
		b.noStrays()
	}
	if b.net != nil {
		b.net.Close()
	}
	err := tearDown(b.ctx, b.claim.number, b.Dir)
	for _, h := range b.hosts {
		h.reap()
	}
	if b.holder != nil {
		_ = b.holder.Wait() // it was killed
	}
	b.stopWatcher()
	b.claim.release()
	if err != nil {
		b.t.Error(err)
	}
}

// limit bounds one operation.
func (b *Bed) limit() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(b.ctx, opLimit, fmt.Errorf("it took more than %s", opLimit))
}

func (b *Bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Hosts are all hosts, in their order.
func (b *Bed) Hosts() []*Host { return b.hosts }

// Host is the host with a name.
func (b *Bed) Host(name string) *Host {
	b.t.Helper()
	for _, h := range b.hosts {
		if h.Name == name {
			return h
		}
	}
	b.t.Fatalf("there is no host %q: %v", name, b.nodes())
	return nil
}

// Path is a path in the bed's folder.
func (b *Bed) Path(elem ...string) string { return filepath.Join(append([]string{b.Dir}, elem...)...) }

// each does f for all hosts at once.
func each(hosts []*Host, f func(h *Host) error) error {
	errs := make([]error, len(hosts))
	var done sync.WaitGroup
	for i, h := range hosts {
		done.Go(func() {
			if err := f(h); err != nil {
				errs[i] = fmt.Errorf("host %s: %w", h.Name, err)
			}
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

// startIn starts cmd as a process of a cgroup.
func startIn(group cgroup, cmd *exec.Cmd) error {
	if err := group.make(); err != nil {
		return err
	}
	dir, err := os.Open(string(group))
	if err != nil {
		return err
	}
	defer dir.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return cmd.Start()
}

// showLogs prints what the hosts that run have to say.
func (b *Bed) showLogs() {
	for _, h := range b.hosts {
		if frozen, err := h.group().event("frozen"); err == nil && frozen {
			b.t.Logf("%s is frozen", h.Name)
			continue
		}
		if h.initPID() == 0 {
			console, _ := os.ReadFile(h.path("console.log"))
			b.t.Logf("%s is off; the end of its console:\n%s", h.Name, lastLines(string(console), 10))
			continue
		}
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		r, err := h.run(ctx, "", "journalctl --no-pager --quiet --lines=200 --priority=notice | grep -vE 'sudo\\[|health check|pam_env|kex_exchange|fd limit' | tail -n 20; systemctl --no-pager --plain --no-legend list-units --all 'etcd*'")
		cancel()
		if err != nil {
			b.t.Logf("%s does not tell its journal: %v", h.Name, err)
			continue
		}
		b.t.Logf("the journal of %s:\n%s", h.Name, strings.TrimSpace(r.Stdout))
	}
}
