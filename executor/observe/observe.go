// Package observe looks at a cluster and its hosts and writes down what it
// learned, and what it could not. It only reads: no file is created but what is
// fetched of a snapshot, in a cache of the user's own; no call changes a cluster,
// and what does not answer delays nothing but itself.
package observe

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Observer holds what looking needs.
type Observer struct {
	Cluster *spec.Cluster
	Host    host.Host
	Client  etcd.Access // for client URLs
	Peer    etcd.Access // for peer URLs
	// Limit is how long one endpoint may take to answer.
	Limit time.Duration
	// KVLimit is how long the comparison of all members' data may take; it scans
	// their databases.
	KVLimit time.Duration
	// StateDir is the journal's folder, "" for none.
	StateDir string
	// CacheDir is the folder for snapshots that are fetched or unpacked.
	CacheDir string
	// Wanted are the sha256 sums of snapshots from a live member that a plan was made
	// over: where the cache has one of them still, no new one is saved.
	Wanted []string
	// Plans are, after Observe, the digests of the saved plans that were begun at each
	// member's place, by its name.
	Plans map[string]planner.Fact[[]string]
	// Progress is told about long reads; it may be nil.
	Progress func(what string, done, total int64)

	// Compared is a comparison of the members' data that was made a moment ago: it is
	// not made again where it is of the same members.
	Compared planner.Fact[planner.KVComparison]

	saved *planner.SnapshotObservation // from a live member; see live
}

// Observe looks at everything at once. It returns an error only when ctx ended
// or the host itself can't be asked; what can't be learned of a member is an
// unknown fact.
func (o *Observer) Observe(ctx context.Context) (planner.Observation, error) {
	obs := planner.Observation{Members: map[string]planner.MemberObservation{}}
	began := time.Now()
	facts, err := o.members(ctx, &obs)
	if waited := time.Since(began); err == nil && o.leaderless(&obs) && waited < noLeader {
		// An election, perhaps: only three of its time-outs without a leader say
		// that there is none (S2). A read that waited for one all that time does too.
		if pause(ctx, noLeader-waited) {
			facts, err = o.members(ctx, &obs)
		}
	}
	if err == nil && torn(&obs, facts) {
		facts, err = o.Host.Observe(ctx, o.places())
	}
	if err == nil && skewed(facts) {
		var later map[string]host.Facts
		if later, err = o.Host.Observe(ctx, o.places()); err == nil {
			facts = since(facts, later)
		}
	}
	if err != nil {
		return obs, err
	}
	o.addHostFacts(&obs, facts)
	o.Plans = map[string]planner.Fact[[]string]{}
	for name, f := range facts {
		o.Plans[name] = f.Plans
	}
	o.addCertificates(ctx, &obs)
	obs.Etcds = o.Host.Etcds(ctx)
	o.addJournal(&obs)
	o.addAdvertised(ctx, &obs)
	o.addOthers(ctx, &obs)
	obs.KV = o.compare(ctx, &obs)
	if o.wantsSnapshot(&obs) {
		s := o.snapshot(ctx, &obs)
		obs.Snapshot = &s
	}
	return obs, ctx.Err()
}

// torn reports whether a member answers whose directory was seen without it: it
// may have started between the two looks.
func torn(obs *planner.Observation, facts map[string]host.Facts) bool {
	for name, seen := range obs.Members {
		d := facts[name].Data
		if seen.Client.Reach == planner.ReachServing && d.Known() && (d.Value.State != planner.DirPresent || d.Value.HeldBy == 0) {
			return true
		}
	}
	return false
}

// skewed reports whether a member's log, that grows while it is read, ends before an
// entry that another disk proves to be agreed on: it may only have been read first.
func skewed(facts map[string]host.Facts) bool {
	var agreed uint64
	for _, f := range facts {
		if f.Data.Known() {
			agreed = max(agreed, f.Data.Value.Agreed())
		}
	}
	for _, f := range facts {
		if d := f.Data; d.Known() && d.Value.HeldBy != 0 && d.Value.LastIndex < agreed {
			return true
		}
	}
	return false
}

// since is later, with what was proven to be agreed on before it: so each log was read
// after what it is held to.
func since(before, later map[string]host.Facts) map[string]host.Facts {
	for name, f := range later {
		was := before[name].Data
		if f.Data.Known() && was.Known() && f.Data.Value.HeldBy != 0 {
			f.Data.Value.Commit = min(f.Data.Value.Commit, was.Value.Commit)
			f.Data.Value.ConsistentIndex = min(f.Data.Value.ConsistentIndex, was.Value.ConsistentIndex)
			later[name] = f
		}
	}
	return later
}

func (o *Observer) places() []planner.Place {
	var out []planner.Place
	for _, m := range o.Cluster.Members {
		out = append(out, planner.PlaceOf(o.Cluster, m))
	}
	return out
}

// members asks every endpoint and the host at the same time.
func (o *Observer) members(ctx context.Context, obs *planner.Observation) (map[string]host.Facts, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		facts map[string]host.Facts
		err   error
	)
	for _, m := range o.Cluster.Members {
		wg.Go(func() {
			client := make(chan planner.Endpoint, 1)
			go func() { client <- etcd.Probe(ctx, m.ClientURLs, o.Client, o.Limit) }()
			peer := etcd.ProbePeer(ctx, m.PeerURLs, o.Peer, o.Limit)
			seen := planner.MemberObservation{Client: <-client, Peer: peer}
			mu.Lock()
			defer mu.Unlock()
			obs.Members[m.Name] = seen
		})
	}
	machines, binaries := map[string]bool{}, map[string]planner.Fact[planner.Binary]{}
	for _, m := range o.Cluster.Members {
		machines[o.machine(m)] = true
	}
	for on := range machines {
		wg.Go(func() {
			b := host.On(o.Host, on).Binary(ctx, o.Cluster.Etcd.Binary)
			mu.Lock()
			defer mu.Unlock()
			binaries[on] = b
		})
	}
	wg.Go(func() { facts, err = o.Host.Observe(ctx, o.places()) })
	wg.Wait()
	o.addSealed(ctx, obs)
	for _, m := range o.Cluster.Members {
		seen := obs.Members[m.Name]
		seen.Host = o.machine(m)
		seen.Binary = binaries[seen.Host]
		obs.Members[m.Name] = seen
	}
	return facts, err
}

// machine is the machine of a member, as MemberObservation has it.
func (o *Observer) machine(m spec.Member) string {
	if h, ok := o.Cluster.Host(m.Host); ok && h.Access == spec.AccessLocal {
		return ""
	}
	return m.Host
}

// addSealed adds what members tell everybody that want a user: after a restore of a
// cluster with auth nobody here has one.
func (o *Observer) addSealed(ctx context.Context, obs *planner.Observation) {
	ask := map[string]etcd.SealedMember{}
	for _, m := range o.Cluster.Members {
		if e := obs.Members[m.Name].Client; e.Reach == planner.ReachAuth {
			ask[m.Name] = etcd.SealedMember{ClientURL: e.URL, PeerURLs: m.PeerURLs}
		}
	}
	if len(ask) == 0 {
		return
	}
	known, why := etcd.DescribeSealed(ctx, ask, o.Client, o.Peer, o.Limit)
	for name := range ask {
		seen := obs.Members[name]
		if e, ok := known[name]; ok {
			e.Detail = seen.Client.Detail
			seen.Client = e
		} else {
			seen.Client.Detail += "; without a user: " + why[name]
		}
		obs.Members[name] = seen
	}
}

func (o *Observer) addHostFacts(obs *planner.Observation, facts map[string]host.Facts) {
	for _, m := range o.Cluster.Members {
		o.addFactsOf(obs, m.Name, facts[m.Name])
	}
}

func (o *Observer) addFactsOf(obs *planner.Observation, name string, f host.Facts) {
	seen := obs.Members[name]
	seen.Data, seen.Service, seen.FreeBytes, seen.FileSystem, seen.Base = f.Data, f.Service, f.FreeBytes, f.FileSystem, f.Base
	if u := f.Service.Value.Unit; o.Cluster.Etcd.Binary == "" && f.Service.Known() && u != nil && len(u.Program) == 1 {
		seen.Binary = f.Binary // its unit's own
	}
	if s := seen.Service; s.Known() && s.Value.State == planner.ServiceRunning {
		if since, err := time.Parse(time.RFC3339, s.Value.Since); err == nil {
			seen.Service.Value.UpSeconds = int(time.Since(since).Seconds())
		}
	}
	seen.PortsTaken = portsTaken(seen)
	obs.Members[name] = seen
}

// portsTaken names the URLs at which something answers although the member does
// not run. An etcd that serves clients there is no such case: the planner
// compares its identity.
func portsTaken(seen planner.MemberObservation) []string {
	s, d := seen.Service, seen.Data
	runs := s.Known() && (s.Value.State == planner.ServiceRunning || s.Value.State == planner.ServiceBackoff)
	if !s.Known() || !d.Known() || runs || d.Value.HeldBy != 0 || seen.Client.Reach == planner.ReachServing {
		return nil
	}
	var out []string
	if seen.Client.Reach.Mute() {
		out = append(out, seen.Client.URL)
	}
	if seen.Peer.Reach.Mute() || seen.Peer.Reach == planner.ReachServing {
		out = append(out, seen.Peer.URL)
	}
	return out
}

// addJournal adds what this machine's journal remembers of the data
// directories. A journal that can't be read may have seen a cluster there.
func (o *Observer) addJournal(obs *planner.Observation) {
	if o.StateDir == "" {
		return
	}
	for _, m := range o.Cluster.Members {
		last, err := journal.LastSeen(o.StateDir, SeenDir(o.Cluster, m))
		evidence := ""
		switch {
		case err != nil:
			evidence = fmt.Sprintf("this machine's journal can't be read: %v", err)
		case last != nil:
			obs.JournalClusterID = last.ClusterID
			for i, name := range last.Members {
				if slices.Contains(obs.JournalMembers, name) {
					continue
				}
				obs.JournalMembers = append(obs.JournalMembers, name)
				if len(last.DataDirs) == len(last.Members) {
					for _, p := range o.placeSeen(name, last.DataDirs[i]) {
						if len(last.Units) == len(last.Members) {
							p.Unit = last.Units[i]
						}
						obs.JournalPlaces = append(obs.JournalPlaces, p)
					}
				}
			}
			evidence = fmt.Sprintf("this machine's journal saw cluster %s (%s) here at %s", last.Cluster, last.ClusterID, last.Time)
		}
		seen := obs.Members[m.Name]
		d := seen.Data
		if evidence != "" && d.Known() && (d.Value.State == planner.DirAbsent || d.Value.State == planner.DirEmpty) {
			seen.Data.Value.Evidence = append(seen.Data.Value.Evidence, evidence)
			obs.Members[m.Name] = seen
		}
	}
}

// SeenDir is a member's data directory as the journal has it: of a directory on
// another machine with that machine's address before a colon.
func SeenDir(c *spec.Cluster, m spec.Member) string {
	h, ok := c.Host(m.Host)
	if !ok || h.Access == spec.AccessLocal {
		return m.DataDir
	}
	return h.Address + ":" + m.DataDir
}

// placeSeen is the place that SeenDir wrote down; none where it was on a machine
// that the file does not have any more.
func (o *Observer) placeSeen(name, dir string) []planner.Place {
	if filepath.IsAbs(dir) {
		return []planner.Place{{Name: name, DataDir: dir}}
	}
	for _, h := range o.Cluster.Hosts {
		if path, ok := strings.CutPrefix(dir, h.Address+":"); ok && h.Access == spec.AccessSSH && filepath.IsAbs(path) {
			return []planner.Place{{Name: name, Host: h.Name, DataDir: path}}
		}
	}
	return nil
}

// compare hashes the members' data where all of the file's voters serve.
func (o *Observer) compare(ctx context.Context, obs *planner.Observation) planner.Fact[planner.KVComparison] {
	endpoints, sealed := map[string]string{}, map[string]etcd.SealedMember{}
	for _, m := range o.Cluster.Members {
		e := obs.Members[m.Name].Client
		switch {
		case e.Reach != planner.ReachServing:
			continue
		case e.Sealed && !e.Learner:
			sealed[m.Name] = etcd.SealedMember{ClientURL: e.URL, PeerURLs: m.PeerURLs}
		case !e.Learner:
			endpoints[m.Name] = e.URL
		}
	}
	if len(sealed) > 1 && len(endpoints) == 0 {
		return etcd.CompareSealed(ctx, sealed, o.Client, o.Peer, o.KVLimit)
	}
	if len(endpoints) < 2 {
		return planner.Unknown[planner.KVComparison](fmt.Sprintf("%d members serve", len(endpoints)))
	}
	if kv := o.Compared; kv.Known() && slices.Equal(slices.Sorted(maps.Keys(kv.Value.Hashes)), slices.Sorted(maps.Keys(endpoints))) {
		return kv
	}
	return etcd.CompareKV(ctx, endpoints, o.Client, o.KVLimit)
}

// wantsSnapshot reports whether the plan may need the file's snapshot: only
// where some member has no data is it worth reading a large file for.
func (o *Observer) wantsSnapshot(obs *planner.Observation) bool {
	if o.Cluster.Snapshot == nil || o.Cluster.Snapshot.Source == "" {
		return false
	}
	for _, m := range obs.Members {
		if m.Client.Linearizable.Known() && m.Client.Linearizable.Value {
			return false // there is a quorum
		}
	}
	some, all := false, true
	for _, m := range obs.Members {
		d := m.Data
		wants := m.Client.Reach != planner.ReachServing && d.Known() &&
			(d.Value.State == planner.DirAbsent || d.Value.State == planner.DirEmpty || !d.Value.EverRan)
		some, all = some || wants, all && wants && d.Value.HeldBy == 0
	}
	if o.isFile() {
		return some
	}
	// A database that a member would have to send, or a directory that would be read
	// through: only where nothing else is left.
	return all
}

// isFile reports whether the source is a file, wherever it lies.
func (o *Observer) isFile() bool {
	want := o.Cluster.Snapshot
	_, live := want.Live()
	return !live && !want.IsDataDir() && want.Survivor() == ""
}
