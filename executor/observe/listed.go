package observe

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// noLeader is three election time-outs of etcd's default of one second.
const noLeader = 3 * time.Second

// pause waits; false where ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// leaderless reports whether some member serves and none has a quorum behind it.
func (o *Observer) leaderless(obs *planner.Observation) bool {
	serves := false
	for _, m := range obs.Members {
		e := m.Client
		if e.Reach != planner.ReachServing {
			continue
		}
		if e.LeaderID != "" && e.Linearizable.Known() && e.Linearizable.Value {
			return false
		}
		serves = true
	}
	return serves
}

// lists are all member lists that were seen, the cluster's own first.
func lists(obs *planner.Observation) [][]planner.ListedMember {
	var proven, own, disk [][]planner.ListedMember
	for _, m := range obs.Members {
		if e := m.Client; e.Members.Known() {
			if e.Linearizable.Known() && e.Linearizable.Value {
				proven = append(proven, e.Members.Value)
			} else {
				own = append(own, e.Members.Value)
			}
		}
		if m.Peer.Members.Known() {
			own = append(own, m.Peer.Members.Value)
		}
		if d := m.Data.Value; m.Data.Known() {
			disk = append(disk, d.Members)
			if d.Fenced != nil {
				disk = append(disk, d.Fenced.Members)
			}
		}
	}
	if len(proven) > 0 {
		return proven
	}
	return append(own, disk...)
}

// addAdvertised asks members that do not answer at the file's addresses, though
// their process may run, at those that the cluster has for them: so a changed
// client URL is told from a dead member.
func (o *Observer) addAdvertised(ctx context.Context, obs *planner.Observation) {
	ask := map[string][]string{} // before anybody is asked: the answers change obs
	for _, m := range o.Cluster.Members {
		if urls := o.advertised(obs, m); len(urls) > 0 {
			ask[m.Name] = urls
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for name, urls := range ask {
		wg.Go(func() {
			e := etcd.Probe(ctx, urls, o.Client, o.Limit)
			mu.Lock()
			defer mu.Unlock()
			seen := obs.Members[name]
			if e.Reach != planner.ReachServing || e.MemberID != seen.Data.Value.MemberID {
				return
			}
			e.Advertised = true
			// Whatever answers at the file's addresses is somebody else.
			seen.PortsTaken = nil
			if seen.Client.Reach.Mute() {
				seen.PortsTaken = append(seen.PortsTaken, seen.Client.URL)
			}
			seen.Client = e
			obs.Members[name] = seen
		})
	}
	wg.Wait()
}

// advertised are the client URLs at which a member that runs, and does not answer
// where the file says, may be found; nil where there are no others.
func (o *Observer) advertised(obs *planner.Observation, m spec.Member) []string {
	seen := obs.Members[m.Name]
	if seen.Client.Reach == planner.ReachServing || !seen.Data.Known() || seen.Data.Value.HeldBy == 0 {
		return nil
	}
	var urls []string
	for _, list := range lists(obs) {
		for _, l := range list {
			if l.ID == seen.Data.Value.MemberID {
				urls = union(urls, l.ClientURLs)
			}
		}
	}
	urls = union(urls, runsAt(seen.Service))
	if planner.SameURLs(urls, m.ClientURLs) {
		return nil
	}
	return urls
}

// runsAt are the client URLs that the member's process advertises, by its flags:
// where every address of the file is new, nobody else can say.
func runsAt(s planner.Fact[planner.Service]) []string {
	value := ""
	for _, a := range s.Value.Args {
		if v, ok := strings.CutPrefix(a, "--advertise-client-urls="); ok {
			value = v
		}
	}
	if f := s.Value.Foreign; f != nil {
		value = f.Settings["advertise-client-urls"]
	}
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// addOthers asks the members that the cluster has and the file does not, all at
// once: whether they live decides what may be done without them.
func (o *Observer) addOthers(ctx context.Context, obs *planner.Observation) {
	others := map[string]planner.ListedMember{}
	for _, list := range lists(obs) {
		for _, l := range list {
			if _, ok := others[l.ID]; !ok && !o.inFile(obs, l) {
				others[l.ID] = l
			}
		}
	}
	out := make([]planner.OtherMember, 0, len(others))
	for _, l := range others {
		out = append(out, planner.OtherMember{ListedMember: l})
	}
	slices.SortFunc(out, func(a, b planner.OtherMember) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	var wg sync.WaitGroup
	for i := range out {
		l := out[i].ListedMember
		wg.Go(func() { out[i].Client = etcd.Probe(ctx, l.ClientURLs, o.Client, o.Limit) })
		wg.Go(func() { out[i].Peer = etcd.ProbePeer(ctx, l.PeerURLs, o.Peer, o.Limit) })
	}
	wg.Go(func() { o.addOtherDisks(ctx, obs, out) })
	wg.Wait()
	if len(out) > 0 {
		obs.Others = out
	}
}

// addOtherDisks looks at the places that the journal has for such members.
func (o *Observer) addOtherDisks(ctx context.Context, obs *planner.Observation, out []planner.OtherMember) {
	var places []planner.Place
	of := map[string]int{}
	for i, l := range out {
		for _, p := range obs.JournalPlaces {
			_, twice := of[p.Name]
			if _, file := o.Cluster.Member(p.Name); !file && !twice && p.Name != "" && p.Name == l.Name {
				of[p.Name], places = i, append(places, p)
			}
		}
	}
	if len(places) == 0 {
		return
	}
	facts, err := o.Host.Observe(ctx, places)
	for _, p := range places {
		data := planner.Unknown[planner.DataDir]("it was not looked at")
		if f, ok := facts[p.Name]; ok && err == nil {
			data = f.Data
		}
		out[of[p.Name]].Disk = &planner.OtherDisk{Place: p, Data: data}
	}
}

// inFile reports whether the listed member is one of the file's, by the ID that
// serves there or lies on its disk, or by its peer URLs.
func (o *Observer) inFile(obs *planner.Observation, l planner.ListedMember) bool {
	for _, m := range o.Cluster.Members {
		seen := obs.Members[m.Name]
		d := seen.Data.Value
		if seen.Client.MemberID == l.ID || d.MemberID == l.ID || d.Fenced != nil && d.Fenced.MemberID == l.ID || planner.SameURLs(l.PeerURLs, m.PeerURLs) {
			return true
		}
	}
	return false
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
