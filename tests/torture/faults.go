package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/tests/harness"
)

// fault is one that breaks something for a while. strike says what it did, or ""
// where there was nothing to break; heal mends it.
type fault struct {
	name   string
	strike func(x *trial) (what string, heal func())
}

var faults = []fault{
	{"kill a member", func(x *trial) (string, func()) { return x.killMember(false), nil }},
	{killBoth, func(x *trial) (string, func()) { return x.killMember(true), nil }},
	{killRequorum, func(x *trial) (string, func()) {
		x.apply.Kill()
		return requorum, nil
	}},
	{"freeze requorum", func(x *trial) (string, func()) {
		_ = x.apply.Signal(syscall.SIGSTOP)
		return requorum, func() { _ = x.apply.Signal(syscall.SIGCONT) }
	}},
	{"freeze a member", func(x *trial) (string, func()) {
		m, pid := x.running()
		if pid == 0 {
			return "", nil
		}
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		return m.Name, func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	}},
	{"slow a member", (*trial).slow},
	{"fill a disk", (*trial).fillDisk},
	{"a disk read-only", (*trial).readOnly},
	{"cut a member off its peers", func(x *trial) (string, func()) {
		m := x.any()
		return m.Name, x.cut(m.Peer)
	}},
	{"cut all members off each other", func(x *trial) (string, func()) {
		var urls []string
		for _, m := range x.all.Members {
			urls = append(urls, m.Peer)
		}
		return "all", x.cut(urls...)
	}},
	{"cut a member off its clients", func(x *trial) (string, func()) {
		m := x.any()
		return m.Name, x.cut(m.Client)
	}},
}

const requorum = "requorum"

// The faults that an exit code is judged by.
const (
	killBoth     = "kill a member and its supervisor"
	killRequorum = "kill requorum"
)

// any is a member of the file, as it was or as it is to be.
func (x *trial) any() harness.Member { return x.all.Members[x.rng.IntN(len(x.all.Members))] }

// running is one that runs, with its process.
func (x *trial) running() (harness.Member, int) {
	at := x.rng.IntN(len(x.all.Members))
	for i := range x.all.Members {
		m := x.all.Members[(at+i)%len(x.all.Members)]
		if p := x.all.Etcd(m); p.PID != 0 {
			return m, p.PID
		}
	}
	return harness.Member{}, 0
}

func (x *trial) killMember(supervisor bool) string {
	m, pid := x.running()
	if pid == 0 {
		return ""
	}
	if s := x.all.Supervisor(m); supervisor && s.PID != 0 {
		_ = syscall.Kill(s.PID, syscall.SIGKILL)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	return m.Name
}

// slow lets a member run for a tenth of the time, as one does whose disk or
// processor somebody else has.
func (x *trial) slow() (string, func()) {
	m, pid := x.running()
	if pid == 0 {
		return "", nil
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			select {
			case <-stop:
				_ = syscall.Kill(pid, syscall.SIGCONT)
				return
			case <-time.After(90 * time.Millisecond):
			}
			_ = syscall.Kill(pid, syscall.SIGCONT)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return m.Name, func() {
		close(stop)
		<-done
	}
}

func disk(m harness.Member) string { return filepath.Dir(m.DataDir) }

// fillDisk leaves no byte on a member's disk.
func (x *trial) fillDisk() (string, func()) {
	m := x.any()
	path := filepath.Join(disk(m), "filler")
	f, err := os.Create(path)
	if err != nil {
		x.t.Errorf("fill: %v", err)
		return "", nil
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 16
		}
	}
	return m.Name, func() { _ = os.Remove(path) }
}

// readOnly lets nobody open a file on a member's disk for writing; who has one open
// writes on.
func (x *trial) readOnly() (string, func()) {
	m := x.any()
	d := disk(m)
	if err := syscall.Mount(d, d, "", syscall.MS_BIND, ""); err != nil {
		x.t.Errorf("bind: %v", err)
		return "", nil
	}
	if err := syscall.Mount("", d, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		x.t.Errorf("read-only: %v", err)
	}
	return m.Name, func() { _ = syscall.Unmount(d, syscall.MNT_DETACH) }
}

// cut drops all that is sent to the ports of the URLs, in the round's network.
func (x *trial) cut(urls ...string) func() {
	x.cuts++
	c, err := nftables.New(nftables.WithNetNSFd(x.net.FD()))
	if err != nil {
		x.t.Errorf("nftables: %v", err)
		return nil
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: fmt.Sprintf("cut%d", x.cuts)})
	chain := c.AddChain(&nftables.Chain{Name: "in", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter})
	for _, u := range urls {
		port, _ := strconv.Atoi(u[strings.LastIndex(u, ":")+1:])
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	if err := c.Flush(); err != nil {
		x.t.Errorf("nftables: %v", err)
		return nil
	}
	return func() {
		c.DelTable(table)
		if err := c.Flush(); err != nil {
			x.t.Errorf("nftables: %v", err)
		}
	}
}
