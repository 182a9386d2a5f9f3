package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/tests/harness"
)

// target is what the cluster is to become, of how many members at first.
type target struct {
	name  string
	begin int
	set   func(x *trial)
}

var targets = []target{
	{"grow 1 to 3", 1, func(x *trial) { x.more(2) }},
	{"grow 3 to 5", 3, func(x *trial) { x.more(2) }},
	{"shrink 3 to 1", 3, func(x *trial) { x.c.Members = x.c.Members[:1:1] }},
	{"replace", 3, func(x *trial) { x.replace() }},
	{"move", 3, func(x *trial) { x.move() }},
	{"restart", 3, func(x *trial) {
		x.c.More = "  etcd {\n    config = { max-request-bytes = 2000000 }\n  }\n"
	}},
	{"recover", 3, func(x *trial) { x.lose() }},
}

// more are n further members of the file, each on a disk of its own.
func (x *trial) more(n int) {
	ports := x.e.Ports(2 * n)
	for i := range n {
		name := fmt.Sprintf("m%d", len(x.c.Members)+1)
		m := harness.Member{Name: name, Client: ports.URL(2 * i), Peer: ports.URL(2*i + 1)}
		x.c.Members = append(x.c.Members, x.onDisk(m))
	}
}

// move gives every member another peer URL.
func (x *trial) move() {
	ports := x.e.Ports(3)
	for i := range x.c.Members {
		x.c.Members[i].Peer = ports.URL(i)
	}
}

// replace stops a member and takes its data away.
func (x *trial) replace() {
	m := x.c.Members[x.rng.IntN(3)]
	x.e.RunIn(x.net, "stop", "--auto-approve", "--member", m.Name, x.c.Path()).Want(x.t, 0)
	x.c.DropData(m)
}

// lose kills all members at once, under the writers, and takes two disks away: the
// one that is left has the newest log, so that nothing may be lost.
func (x *trial) lose() {
	x.c.PowerCut()
	best, at := 0, planner.DataDir{}
	for i, m := range x.c.Members {
		d := etcd.ReadDataDir(m.DataDir, "")
		if !d.Known() || d.Value.Problem != "" {
			x.t.Fatalf("%s: %s%s", m.DataDir, d.Why, d.Value.Problem)
		}
		if v := d.Value; v.LastTerm > at.LastTerm || v.LastTerm == at.LastTerm && v.LastIndex > at.LastIndex {
			best, at = i, v
		}
	}
	for i, m := range x.c.Members {
		if i != best {
			x.c.DropData(m)
		}
	}
}

// diskMB is how large a member's disk is: two segments of a log, a db, and what a
// recovery copies.
const diskMB = 700

// onDisk gives a member a file system of its own.
func (x *trial) onDisk(m harness.Member) harness.Member {
	disk := filepath.Join(x.c.Dir, "disk", m.Name)
	m.DataDir = filepath.Join(disk, "etcd")
	x.must(os.MkdirAll(disk, 0o700))
	x.must(syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", diskMB)))
	x.disks = append(x.disks, disk)
	x.e.Expect(m.DataDir)
	return m
}

// unmount takes the disks away, after everything on them has ended.
func (x *trial) unmount() {
	for _, d := range x.disks {
		for range 3 { // what a fault put on it, first
			if syscall.Unmount(d, syscall.MNT_DETACH) != nil {
				break
			}
		}
	}
}

// await waits until there says so, within limit.
func (x *trial) await(what string, limit time.Duration, there func() bool) {
	x.t.Helper()
	for end := time.Now().Add(limit); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%s: not within %s", what, limit)
		}
	}
}
