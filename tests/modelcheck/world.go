package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

const (
	most     = 5 // members of the cluster and of the file together
	oldToken = "token-of-before"
	begun    = "token-of-the-restore" // of one that was begun and not finished
	oldPeers = "http://127.0.0.1:238"
	newPeers = "http://127.0.0.1:248" // of a member that moves
	clients  = "http://127.0.0.1:237"
)

// slot is the text that belongs to a place in the enumeration: names, addresses.
type slot struct {
	name, dir, id, removedID   string
	peers, moved, clients      []string
	args, movedArgs, otherArgs []string // what its process runs with
	settings, movedSettings    map[string]string
	forcedSettings             map[string]string
}

var slots = func() (out [most]slot) {
	for i := range out {
		n := strconv.Itoa(i + 1)
		s := slot{name: "m" + n, dir: "/data/m" + n, peers: []string{oldPeers + n}, moved: []string{newPeers + n}, clients: []string{clients + n}}
		s.id, s.removedID = planner.MemberID(s.peers, oldToken), planner.MemberID(s.peers, "an older token")
		s.args, s.movedArgs = s.flags(s.peers), s.flags(s.moved)
		s.otherArgs = append(append([]string{}, s.args...), "--snapshot-count=5000")
		s.settings, s.movedSettings = settings(s.args), settings(s.movedArgs)
		s.forcedSettings = settings(s.args)
		s.forcedSettings["force-new-cluster"] = "true"
		out[i] = s
	}
	return out
}()

// flags is the command line that a member runs with, but for what is said of its
// beginning.
func (s slot) flags(peers []string) []string {
	return []string{
		"--name=" + s.name, "--data-dir=" + s.dir,
		"--listen-peer-urls=" + peers[0], "--listen-client-urls=" + s.clients[0], "--advertise-client-urls=" + s.clients[0],
	}
}

func settings(args []string) map[string]string {
	out := map[string]string{"auto-compaction-retention": "8h"}
	for _, a := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		out[name] = value
	}
	return out
}

// world is a state within bounds, made concrete.
type world struct {
	ks     []kind
	in     planner.Input
	cid    string
	token  string // of what was begun
	list   []planner.ListedMember
	old    []planner.ListedMember // before the last change
	voters int
	leader string // "" without a quorum
}

// build makes a world of these kinds, each at a place of its own.
func build(ks []kind, c *circumstance) *world {
	w := &world{ks: ks, token: begun}
	if c.begun != "" { // all that is there is of what was begun
		w.token = oldToken
	}
	w.in = planner.Input{Now: "2026-01-02T03:04:05Z", By: "ops@here", Token: tokens[0]}
	w.in.Cluster = w.file()
	w.in.Observation = planner.Observation{Members: make(map[string]planner.MemberObservation, len(ks)), KV: planner.Unknown[planner.KVComparison]("not asked")}
	w.lists()
	w.in.Observation.JournalMembers = names
	for i, k := range ks {
		if k.file != none {
			w.in.Observation.Members[slots[i].name] = w.member(i, k)
			continue
		}
		w.in.Observation.Others = append(w.in.Observation.Others, w.other(i, k))
	}
	if c.begun != "" {
		w.provenance(c.begun)
	}
	c.edit(w)
	return w
}

var names = []string{"m1", "m2", "m3", "m4", "m5"}

func (w *world) file() *spec.Cluster {
	c := &spec.Cluster{Name: "demo", Members: make([]spec.Member, 0, len(w.ks)), Pos: spec.Position{File: "demo.hcl", Line: 1}}
	for i, k := range w.ks {
		if k.file == none {
			continue
		}
		s := &slots[i]
		peers := s.peers
		if k.moved {
			peers = s.moved
		}
		c.Members = append(c.Members, spec.Member{
			Name: s.name, DataDir: s.dir, PeerURLs: peers, ListenPeerURLs: peers, ClientURLs: s.clients, ListenClientURLs: s.clients,
			Learner: k.file == learner, Pos: spec.Position{File: "demo.hcl", Line: 4 * (i + 2)},
		})
	}
	return c
}

// lists are the cluster's own list of members and who leads: a majority of its
// voters has to serve.
func (w *world) lists() {
	serving, alive := 0, 0
	var began []spec.Member // whom the cluster's ID comes from
	for i, k := range w.ks {
		if !k.listed() {
			continue
		}
		s := &slots[i]
		l := planner.ListedMember{ID: s.id, PeerURLs: s.peers, Learner: k.list == learner || k.list == newLearner}
		if k.list == voter || k.list == learner {
			l.Name, l.ClientURLs = s.name, s.clients
		}
		w.list = append(w.list, l)
		if !k.votes() {
			continue
		}
		began = append(began, spec.Member{PeerURLs: s.peers})
		w.voters++
		if k.follows() {
			serving++
			if w.leader == "" {
				w.leader = s.id
			}
		}
		if k.file == none && k.cond == away {
			alive++
		}
	}
	if serving == 0 || serving+alive < w.voters/2+1 { // those that are away may be alive
		w.leader = ""
	}
	w.cid = planner.ClusterID(began, oldToken)
	if n := len(w.list); n > 0 {
		w.old = w.list[: n-1 : n-1]
	}
}

// The ends of logs: all of history 0 agree up to agreedEnd.
const (
	agreedEnd = 20
	firstSum  = 11
)

// logTo is a log of a history up to last: of history 0 up to from, its own after.
func logTo(history uint32, from, last uint64) *planner.Log {
	l := &planner.Log{First: 1, Terms: []planner.TermRun{{Term: 1, First: 1}, {Term: 3, First: 9}}, SumsFirst: firstSum}
	for i := uint64(firstSum); i <= last; i++ {
		h := history
		if i < from {
			h = 0
		}
		l.Sums = append(l.Sums, uint32(i)*2654435761+h*97)
	}
	return l
}

// The logs that members have, made once: nobody changes them.
var (
	logAgreed, logBehind = logTo(0, 0, agreedEnd), logTo(0, 0, 17)
	logAhead, logRisky   = logTo(1, 21, 22), logTo(2, 21, 22)
	logDoubt             = logTo(3, 21, 21)
	logTerm              = func() *planner.Log {
		l := logTo(4, 21, 21)
		l.Terms = append(l.Terms, planner.TermRun{Term: 4, First: 21})
		return l
	}()
	logParted = logTo(5, 15, agreedEnd)
	logForced = func() *planner.Log {
		l := logTo(6, 19, 23)
		l.Forced, l.Terms = 19, append(l.Terms, planner.TermRun{Term: 4, First: 19})
		return l
	}()
)

// ran is a whole directory of the member at slot i.
func (w *world) ran(i int) planner.DataDir {
	return planner.DataDir{
		Path: slots[i].dir, State: planner.DirPresent, ClusterID: w.cid, MemberID: slots[i].id, LastTerm: 3, LastIndex: agreedEnd, Commit: agreedEnd,
		ConsistentIndex: agreedEnd, Revision: 15, StorageVersion: "3.7.0", ClusterVersion: "3.7.0", DBSize: 45056,
		EverRan: true, Members: w.list, Log: logAgreed,
	}
}

func (w *world) restored(i int) *planner.Provenance {
	c := w.in.Cluster
	m, _ := c.Member(slots[i].name)
	return &planner.Provenance{
		Kind: planner.ProvenanceRestore, Token: w.token, Name: m.Name, ClusterID: planner.ClusterID(c.Members, w.token), MemberID: planner.MemberID(m.PeerURLs, w.token), InitialCluster: c.InitialCluster(),
		Source: snapshotPath, SHA256: snapshotSum, Revision: 1204, RevisionBump: spec.DefaultRevisionBump, When: "2026-01-01T00:00:00Z", By: "ops@here",
	}
}

const (
	snapshotPath = "/backup/snapshot.db"
	snapshotSum  = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func (w *world) snapshot() {
	w.in.Cluster.Snapshot = &spec.Snapshot{Source: snapshotPath, Pos: spec.Position{File: "demo.hcl", Line: 40}, SourcePos: spec.Position{File: "demo.hcl", Line: 41}}
	w.in.Observation.Snapshot = &planner.SnapshotObservation{
		Source: snapshotPath, Path: snapshotPath, Size: 45056, HasHash: true, Version: "3.7.0", SHA256: snapshotSum, Revision: 1204, Keys: 1000,
	}
}

// sourceDir has a stopped member's directory for a source, of another cluster or of
// the one that is here.
func (w *world) sourceDir(own bool) {
	w.snapshot()
	d := planner.DataDir{
		Path: "/rescued", State: planner.DirPresent, ClusterID: "feed", MemberID: "beef", LastTerm: 4, LastIndex: 900, Commit: 898, ConsistentIndex: 890,
		Revision: 700, StorageVersion: "3.7.0", DBSize: 1 << 20,
		Tail:    []planner.TailEntry{{Index: 899, Term: 4, Kind: planner.EntryPut, Key: "a"}, {Index: 900, Term: 4, Kind: planner.EntryDelete, Key: "b", Risky: true}},
		Members: []planner.ListedMember{{ID: "beef", Name: "other", PeerURLs: []string{"http://10.9.9.1:2380"}}},
	}
	if own {
		d.ClusterID = w.cid
		for _, m := range w.in.Cluster.Members {
			d.Members = append(d.Members, planner.ListedMember{ID: planner.MemberID(m.PeerURLs, oldToken), Name: m.Name, PeerURLs: m.PeerURLs})
		}
	}
	w.in.Cluster.Snapshot.Source = "datadir:///rescued"
	w.in.Observation.Snapshot = &planner.SnapshotObservation{
		Source: "datadir:///rescued", Size: d.DBSize, Revision: d.Revision, Version: "3.7.0", Keys: -1, Dir: &planner.SourceDir{DataDir: d},
	}
}

// liveSource has a member that serves for a source.
func (w *world) liveSource(own bool) {
	w.snapshot()
	l := &planner.LiveSource{URL: "http://10.9.9.1:2379", ClusterID: "feed", MemberID: "beef", Quorum: true, At: "2026-01-02T03:00:00Z"}
	if own {
		l.ClusterID = w.cid
		w.in.Observation.JournalClusterID = w.cid
	}
	w.in.Cluster.Snapshot.Source = "etcd://10.9.9.1:2379"
	w.in.Observation.Snapshot.Source, w.in.Observation.Snapshot.Live = "etcd://10.9.9.1:2379", l
}

// provenance makes what is begun of another kind, and gives every whole directory
// that identity.
func (w *world) provenance(kind string) {
	for i, k := range w.ks {
		o, ok := w.in.Observation.Members[slots[i].name]
		if !ok || !o.Data.Known() {
			continue
		}
		d := &o.Data.Value
		if d.Provenance == nil && d.State == planner.DirPresent && d.ClusterID == w.cid && w.cid == planner.ClusterID(w.in.Cluster.Members, oldToken) && d.MemberID == slots[i].id && k.cond != disagreeing && !k.moved && k.file == voter {
			d.Provenance, d.ProvenanceAgrees = w.restored(i), true
		}
		if d.Provenance != nil {
			d.Provenance.Kind = kind
			if kind == planner.ProvenanceRecover {
				d.Provenance.Source = "/data/m1.requorum/recovered/x.db"
			}
			if kind == planner.ProvenanceBootstrap {
				d.Staged, d.EverRan = "", d.EverRan || d.State == planner.DirPresent // nothing is staged for it
				d.Provenance.Source, d.Provenance.SHA256, d.Provenance.Revision, d.Provenance.RevisionBump = "", "", 0, 0
			}
		}
		w.in.Observation.Members[slots[i].name] = o
	}
}

func (w *world) compared(equal bool) {
	kv := planner.KVComparison{Revision: 15, Equal: true, Hashes: map[string]uint32{}}
	for i, k := range w.ks {
		if k.follows() && k.file != none && w.leader != "" {
			kv.Hashes[slots[i].name] = 7
			if !equal && len(kv.Hashes) > 1 {
				kv.Hashes[slots[i].name], kv.Equal = 8, false
			}
		}
	}
	if len(kv.Hashes) > 1 {
		w.in.Observation.KV = planner.Known(kv)
	}
}

// unseen: an etcd runs on this machine as the first member, in a network of its own.
func (w *world) unseen() {
	w.in.Observation.Etcds = []planner.Foreign{{PID: 99, Start: 5, Exe: "/usr/bin/etcd", Settings: map[string]string{
		"name": slots[0].name, "initial-advertise-peer-urls": slots[0].peers[0], "data-dir": "/elsewhere",
	}}}
}

// otherDisks: the members that the file does not have lie where the journal has them.
func (w *world) otherDisks() {
	w.journalPlaces()
	for i := range w.in.Observation.Others {
		o := &w.in.Observation.Others[i]
		for n, s := range slots {
			if s.id == o.ID {
				o.Disk = &planner.OtherDisk{Place: planner.Place{Name: s.name, DataDir: s.dir}, Data: planner.Known(w.ran(n))}
			}
		}
	}
}

// startedInVain: who was added was started too, and nothing is left of that.
func (w *world) startedInVain() {
	for i, k := range w.ks {
		o, ok := w.in.Observation.Members[slots[i].name]
		if !ok || k.list != newVoter && k.list != newLearner || !o.Data.Known() || o.Data.Value.State != planner.DirAbsent && o.Data.Value.State != planner.DirEmpty || processRuns(&o) {
			continue
		}
		d := &o.Data.Value
		d.Evidence = []string{"requorum started a member here"}
		d.State, d.EverRan, d.Leftovers = planner.DirEmpty, true, true
		d.Provenance = &planner.Provenance{
			Kind: planner.ProvenanceJoin, Token: planner.JoinToken(w.cid, slots[i].id), Name: slots[i].name, ClusterID: w.cid, MemberID: slots[i].id, By: "ops@here",
		}
		w.in.Observation.Members[slots[i].name] = o
	}
}

// unreadLists: what runs was looked at between two of its starts. Beside a disk that was
// forced to go on alone its log may be the beginning of that one's.
func (w *world) unreadLists() {
	wasForced := slices.ContainsFunc(w.ks, func(k kind) bool { return k.cond == forcedDisk })
	for n, o := range w.in.Observation.Members {
		if !processRuns(&o) || o.Client.Reach == planner.ReachServing || !o.Data.Known() || o.Data.Value.State != planner.DirPresent {
			continue
		}
		d := &o.Data.Value
		d.Members, o.Peer.Members = nil, planner.Fact[[]planner.ListedMember]{}
		if wasForced {
			d.LastTerm, d.LastIndex, d.Commit, d.ConsistentIndex, d.Log = 3, 17, 17, 17, logBehind
		}
		w.in.Observation.Members[n] = o
	}
}

func (w *world) journalPlaces() {
	for _, s := range slots[:len(w.ks)] {
		w.in.Observation.JournalPlaces = append(w.in.Observation.JournalPlaces, planner.Place{Name: s.name, DataDir: s.dir})
	}
}
