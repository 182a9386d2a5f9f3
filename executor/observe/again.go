package observe

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// Again looks anew at a part of what was seen before: at the addresses of some
// members, and at the places of some. The rest, and all that takes long (the
// comparison of data, the snapshot), stays as it was. What can't be learned any more
// is unknown, as in Observe. last is not changed.
func (o *Observer) Again(ctx context.Context, last planner.Observation, endpoints, places []string, processes bool) (planner.Observation, error) {
	obs := last
	obs.Members = maps.Clone(last.Members)
	obs.Others = slices.Clone(last.Others)
	limit := o.Limit
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, m := range o.Cluster.Members {
		if !slices.Contains(endpoints, m.Name) {
			continue
		}
		urls := m.ClientURLs
		advertised := last.Members[m.Name].Client.Advertised
		if advertised {
			urls = []string{last.Members[m.Name].Client.URL}
		}
		wg.Go(func() {
			client := make(chan planner.Endpoint, 1)
			go func() { client <- etcd.Probe(ctx, urls, o.Client, limit) }()
			peer := etcd.ProbePeer(ctx, m.PeerURLs, o.Peer, limit)
			mu.Lock()
			defer mu.Unlock()
			seen := obs.Members[m.Name]
			seen.Client, seen.Peer = <-client, peer
			seen.Client.Advertised = advertised && seen.Client.Reach == planner.ReachServing
			obs.Members[m.Name] = seen
		})
	}
	var facts map[string]host.Facts
	var err error
	look := o.placesOf(places)
	if len(look) > 0 {
		wg.Go(func() { facts, err = o.Host.Observe(ctx, look) })
	}
	if processes {
		wg.Go(func() { obs.Etcds = o.Host.Etcds(ctx) })
	}
	o.askOthers(ctx, &wg, obs.Others, limit)
	wg.Wait()
	o.addSealed(ctx, &obs)
	if err == nil && tornOf(&obs, facts) {
		facts, err = o.Host.Observe(ctx, look)
	}
	if err != nil {
		return last, err
	}
	for _, p := range look {
		o.addFactsOf(&obs, p.Name, facts[p.Name])
	}
	return obs, ctx.Err()
}

// askOthers asks those members outside the file again that served.
func (o *Observer) askOthers(ctx context.Context, wg *sync.WaitGroup, others []planner.OtherMember, limit time.Duration) {
	for i := range others {
		x := others[i]
		if x.Client.Reach == planner.ReachServing {
			wg.Go(func() { others[i].Client = etcd.Probe(ctx, x.ClientURLs, o.Client, limit) })
		}
		if x.Peer.Reach == planner.ReachServing {
			wg.Go(func() { others[i].Peer = etcd.ProbePeer(ctx, x.PeerURLs, o.Peer, limit) })
		}
	}
}

func (o *Observer) placesOf(names []string) []planner.Place {
	return slices.DeleteFunc(o.places(), func(p planner.Place) bool { return !slices.Contains(names, p.Name) })
}

// tornOf is torn for some members.
func tornOf(obs *planner.Observation, facts map[string]host.Facts) bool {
	some := planner.Observation{Members: map[string]planner.MemberObservation{}}
	for name := range facts {
		some.Members[name] = obs.Members[name]
	}
	return torn(&some, facts)
}
