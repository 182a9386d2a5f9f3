package main

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// canon gives states that differ only in the names of things one key. A state is a
// graph: members, the entries of member lists, and what they refer to (IDs, names,
// addresses, tokens), which counts for nothing but for who else refers to it. The key
// is what colour refinement makes of it, so that no renaming changes it; two states
// that only a finer look could tell apart are counted as one.
//
// Numbers of a log count by their order alone. What no plan depends on (paths, times,
// sizes, details in words) is left out.
type canon struct {
	seen    []planner.MemberObservation // of the state at work; the room is used again
	atoms   map[string]int32
	occs    []occurrence
	local   []uint64 // colours of the nodes by themselves
	color   []uint64
	next    []uint64
	atom    []uint64
	lists   []listNode
	refs    []listRef
	edges   []edge
	ranks   []uint64
	terms   []uint64
	disks   []disk
	records []record
}

type occurrence struct {
	node, atom int32
	tag        uint64
}

// listNode is a member list: its entries are nodes from first on.
type listNode struct {
	at           *planner.ListedMember
	first, count int
	color        uint64
}

type listRef struct {
	node, list int
	tag        uint64
}

type edge struct {
	a, b  int
	value uint64
}

type record struct {
	node int
	p    *planner.Provenance
}

type disk struct {
	node int
	d    *planner.DataDir
}

func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 29
	return h
}

func text(h uint64, s string) uint64 {
	f := uint64(14695981039346656037)
	for i := range len(s) {
		f = (f ^ uint64(s[i])) * 1099511628211
	}
	return mix(h, f)
}

func bits(h uint64, bs ...bool) uint64 {
	v := uint64(1)
	for _, b := range bs {
		v <<= 1
		if b {
			v |= 1
		}
	}
	return mix(h, v)
}

// fileKey is all of the file but its members.
func fileKey(in *planner.Input) uint64 {
	c := in.Cluster
	return text(1, fmt.Sprint(c.Etcd, c.Hosts, snapshotKey(c.Snapshot), c.Recover != nil, c.Recover != nil && c.Recover.InPlace, c.TLS != nil, c.Auth != nil, c.Policy, in.Accept))
}

func snapshotKey(s *spec.Snapshot) string {
	if s == nil {
		return ""
	}
	bump := int64(-1)
	if s.RevisionBump != nil {
		bump = *s.RevisionBump
	}
	return fmt.Sprint(s.Source, s.SkipHashCheck, bump)
}

// key is the canonical key of what is observed beside a file.
func (c *canon) key(in *planner.Input, file uint64) uint64 {
	c.reset()
	top := c.node(file)
	c.cluster(top, in)
	if n := len(in.Cluster.Members); len(c.seen) < n {
		c.seen = make([]planner.MemberObservation, n)
	}
	for i := range in.Cluster.Members {
		m := &in.Cluster.Members[i]
		c.seen[i] = in.Observation.Members[m.Name]
		c.member(m, &c.seen[i])
	}
	for i := range in.Observation.Others {
		o := &in.Observation.Others[i]
		n := c.node(2)
		c.entry(n, &o.ListedMember)
		c.client(n, &o.Client)
		c.peer(n, &o.Peer)
		c.add(n, bits(1, o.Disk != nil))
	}
	members := len(c.local)
	c.rankRecords(in.Observation.Snapshot)
	c.rankDisks()
	c.fillLists()
	return c.refine(members)
}

func (c *canon) reset() {
	if c.atoms == nil {
		c.atoms = map[string]int32{}
	}
	clear(c.atoms)
	c.occs, c.local, c.lists, c.refs, c.edges, c.ranks, c.disks, c.records = c.occs[:0], c.local[:0], c.lists[:0], c.refs[:0], c.edges[:0], c.ranks[:0], c.disks[:0], c.records[:0]
}

func (c *canon) node(local uint64) int {
	c.local = append(c.local, local)
	return len(c.local) - 1
}

// refers notes that a node refers to what s names, in the way that tag says.
func (c *canon) refers(node int, tag uint64, s string) {
	if s == "" {
		c.local[node] = mix(c.local[node], tag)
		return
	}
	a, ok := c.atoms[s]
	if !ok {
		a = int32(len(c.atoms))
		c.atoms[s] = a
	}
	c.occs = append(c.occs, occurrence{int32(node), a, tag})
}

func (c *canon) refersAll(node int, tag uint64, ss []string) {
	for _, s := range ss {
		c.refers(node, tag, s)
	}
}

func (c *canon) add(node int, h uint64) { c.local[node] = mix(c.local[node], h) }

func (c *canon) list(node int, tag uint64, f *planner.Fact[[]planner.ListedMember]) {
	if !f.Known() {
		c.add(node, tag)
		return
	}
	c.listOf(node, tag, f.Value)
}

func (c *canon) listOf(node int, tag uint64, l []planner.ListedMember) {
	if len(l) == 0 {
		c.add(node, tag+1)
		return
	}
	at := unsafe.SliceData(l)
	i := slices.IndexFunc(c.lists, func(x listNode) bool { return x.at == at && x.count == len(l) })
	if i < 0 {
		i = len(c.lists)
		c.lists = append(c.lists, listNode{at: at, count: len(l)})
	}
	c.refs = append(c.refs, listRef{node, i, tag})
}

// fillLists makes a node of each entry of each list.
func (c *canon) fillLists() {
	for i := range c.lists {
		x := &c.lists[i]
		x.first = len(c.local)
		for _, l := range unsafe.Slice(x.at, x.count) {
			c.entry(c.node(3), &l)
		}
	}
}

func (c *canon) entry(n int, l *planner.ListedMember) {
	c.add(n, bits(30, l.Learner, l.Name == "", len(l.ClientURLs) > 0))
	c.refers(n, 31, l.ID)
	c.refers(n, 32, l.Name)
	c.refersAll(n, 33, l.PeerURLs)
	c.refersAll(n, 34, l.ClientURLs)
}

func (c *canon) cluster(n int, in *planner.Input) {
	o := &in.Observation
	c.refers(n, 1, in.Cluster.ID)
	c.refers(n, 2, o.JournalClusterID)
	c.refersAll(n, 3, o.JournalMembers)
	c.add(n, bits(4, o.KV.Known(), o.KV.Known() && o.KV.Value.Equal, len(o.JournalPlaces) > 0, len(o.JournalMembers) > 0))
	if in.Cluster.Recover != nil {
		c.refers(n, 5, in.Cluster.Recover.From)
	}
	if s := o.Snapshot; s != nil {
		c.add(n, text(bits(6, s.HasHash), string(s.Problem)+s.Version))
		c.refers(n, 7, s.SHA256)
		c.add(n, uint64(s.Revision))
	}
	for _, f := range o.Etcds {
		c.refers(n, 8, f.Settings["name"])
		c.refers(n, 9, f.Settings["initial-advertise-peer-urls"])
	}
}

func (c *canon) member(m *spec.Member, o *planner.MemberObservation) {
	n := c.node(1)
	c.add(n, bits(10, m.Learner, len(o.PortsTaken) > 0, o.Binary.Known(), o.FreeBytes.Known(), o.Base != ""))
	c.add(n, text(11, o.Binary.Value.Version))
	c.refers(n, 12, m.Name)
	c.refersAll(n, 13, m.PeerURLs)
	c.refersAll(n, 14, m.ClientURLs)
	c.client(n, &o.Client)
	c.peer(n, &o.Peer)
	if f := o.Certificates[planner.CertificatePeer]; m.TLS != nil {
		c.add(n, text(19, string(f.Value.Problem)))
		c.add(n, bits(17, f.Known(), f.Value.NoClient != "", f.Value.OldCA.Value != "", o.Peer.Refused))
	}
	c.service(n, m, &o.Service)
	if !o.Data.Known() {
		c.add(n, 15)
		return
	}
	c.data(n, 100, &o.Data.Value)
	if o.Client.Reach == planner.ReachServing {
		c.add(n, bits(16, o.Client.Applied < o.Data.Value.LastIndex))
	}
}

func (c *canon) client(n int, e *planner.Endpoint) {
	c.add(n, text(text(20, string(e.Reach)), e.Version+e.Downgrade+alarm(e.Alarms)))
	if x := e.Metrics; x.Known() {
		c.add(n, bits(18, x.Value.LeaderChanges > 10, x.Value.FsyncSeconds > 1, x.Value.Pending > 100))
	}
	if e.Reach != planner.ReachServing {
		return
	}
	c.add(n, bits(21, e.Learner, e.LeaderID == e.MemberID, e.Linearizable.Known(), e.Linearizable.Value, len(e.Alarms) > 0, e.Sealed))
	c.refers(n, 22, e.ClusterID)
	c.refers(n, 23, e.MemberID)
	c.refers(n, 24, e.LeaderID)
	c.list(n, 25, &e.Members)
}

func (c *canon) peer(n int, e *planner.PeerEndpoint) {
	c.add(n, text(27, string(e.Reach)))
	if e.Reach == planner.ReachServing {
		c.refers(n, 28, e.ClusterID)
		c.list(n, 29, &e.Members)
	}
}

func (c *canon) service(n int, m *spec.Member, f *planner.Fact[planner.Service]) {
	if !f.Known() {
		c.add(n, 40)
		return
	}
	s := &f.Value
	c.add(n, text(bits(41, s.SupervisorPID != 0, s.Restarts > 0, s.UpSeconds > 60, s.PID != 0, len(s.Args) > 0, len(s.Carried) > 0), string(s.State)+s.LastError+s.Cluster))
	for _, x := range s.Signs {
		c.add(n, text(45, x.Kind))
	}
	if u := s.Unit; u != nil {
		c.add(n, text(bits(46, u.Barred, u.Ours, u.Fragment != "", len(u.Program) == 1, len(u.Files) > 0), u.Load+u.Enabled+u.Undone))
	}
	for _, a := range s.Args {
		c.setting(n, m, a)
	}
	if x := s.Foreign; x != nil {
		c.add(n, bits(42, x.Keeper != "", x.Settings != nil, x.Settings["force-new-cluster"] == "true", x.Problem != ""))
		c.refers(n, 43, x.Settings["listen-peer-urls"])
	}
}

// setting counts where it is not the file's.
func (c *canon) setting(n int, m *spec.Member, arg string) {
	name, value, _ := strings.Cut(arg, "=")
	want := ""
	switch name {
	case "--name":
		want = m.Name
	case "--data-dir":
		want = m.DataDir
	case "--listen-peer-urls":
		want = m.ListenPeerURLs[0]
	case "--listen-client-urls":
		want = m.ListenClientURLs[0]
	case "--advertise-client-urls":
		want = m.ClientURLs[0]
	}
	if value == want || strings.HasPrefix(name, "--initial-") {
		return
	}
	c.refers(n, text(44, name), value)
}

func (c *canon) data(n int, tag uint64, d *planner.DataDir) {
	c.add(n, text(bits(tag, d.EverRan, d.Leftovers, d.ProvenanceAgrees, d.HeldBy != 0, d.HeldBy < 0, len(d.Evidence) > 0, d.UncommittedMembership, d.Log != nil, d.TailMore > 0), string(d.State)+d.Problem+d.StorageVersion+d.ClusterVersion))
	c.refers(n, tag+1, d.ClusterID)
	c.refers(n, tag+2, d.MemberID)
	c.refers(n, tag+3, d.Staged)
	c.refersAll(n, tag+4, d.Removed)
	c.listOf(n, tag+5, d.Members)
	if p := d.Provenance; p != nil {
		c.add(n, text(tag+6, p.Kind))
		c.refers(n, tag+7, p.Token)
		c.refers(n, tag+8, p.ClusterID)
		c.refers(n, tag+9, p.MemberID)
		c.refers(n, tag+10, p.SHA256)
		c.refers(n, tag+11, p.Replaces)
		c.refers(n, tag+12, p.InitialCluster)
		c.records = append(c.records, record{n, p})
	}
	if d.ClusterID != "" {
		c.disks = append(c.disks, disk{n, d})
	}
	if d.Fenced != nil {
		c.data(n, tag+1000, d.Fenced)
	}
}

// alarm is the kind of the first one: whose it is is its own.
func alarm(list []string) string {
	if len(list) == 0 {
		return ""
	}
	kind, _, _ := strings.Cut(list[0], " ")
	return kind
}
