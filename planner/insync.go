package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// etcdInside is the version of the etcd inside requorum, for observations that
// are made up. A test compares it with the module's.
const etcdInside = "3.7.3"

// InSync gives what would be observed of a cluster that is as c says. Nothing is
// looked at: the cluster is built on paper, by the planner's own plans. An error is
// a refusal in words: there is no cluster as c says that this version could make.
func InSync(c *spec.Cluster) (Observation, error) {
	paper := *c
	// What leads to data of before, and what forbids, has no part in it.
	paper.Snapshot, paper.Recover, paper.Policy, paper.ID = nil, nil, spec.Policy{}, ""
	in := Input{Cluster: &paper, Token: "in-sync", Now: "1970-01-01T00:00:00Z", By: "paper", Accept: map[Consent]bool{ConsentDowntime: true}}
	in.Observation = nothing(&paper)
	for range 4 + 2*len(c.Members) {
		p := New(in)
		switch {
		case p.Refusal != nil:
			return in.Observation, fmt.Errorf("%s: %s", p.Refusal.Code, p.Refusal.Title)
		case !p.Changes():
			return settle(in), nil
		}
		for _, s := range p.Steps {
			next, err := Predict(in.Observation, s.Action)
			if err != nil {
				return in.Observation, fmt.Errorf("step %d (%s): %w", s.ID, s.Title, err)
			}
			in.Observation = next
		}
	}
	return in.Observation, fmt.Errorf("the plans for it come to no end")
}

// nothing is the observation of machines where no cluster ever was.
func nothing(c *spec.Cluster) Observation {
	obs := Observation{Members: map[string]MemberObservation{}, KV: Unknown[KVComparison]("no member serves")}
	for _, m := range c.Members {
		obs.Members[m.Name] = unborn(c, m)
	}
	return obs
}

// unborn is a member of which nothing is there.
func unborn(c *spec.Cluster, m spec.Member) MemberObservation {
	v := etcdInside
	if w := c.Etcd.Version; w != "" && !satisfies(v, w) {
		v = w
		if strings.Count(w, ".") == 1 {
			v += ".0"
		}
	}
	return MemberObservation{
		Client: Endpoint{URL: first(m.ClientURLs), Reach: ReachRefused}, Peer: PeerEndpoint{URL: first(m.PeerURLs), Reach: ReachRefused},
		Data: Known(DataDir{Path: m.DataDir, State: DirAbsent}), Service: Known(Service{State: ServiceNone}),
		Binary: Known(Binary{Path: c.Etcd.Binary, Version: v}), FreeBytes: Known(int64(1 << 50)),
		FileSystem: "paper", Base: m.DataDir + ".requorum", Certificates: goodCertificates(m),
	}
}

// goodCertificates are such as nothing can be said against.
func goodCertificates(m spec.Member) map[string]Fact[Certificate] {
	var out map[string]Fact[Certificate]
	for _, kind := range (&member{spec: m}).kindsOfTLS() {
		if out == nil {
			out = map[string]Fact[Certificate]{}
		}
		out[kind] = Known(Certificate{OldCA: Known("")})
	}
	return out
}

// settle lets time go by: nobody has only just been started, and the data is equal.
func settle(in Input) Observation {
	obs := in.Observation
	rev := int64(1)
	for name, o := range obs.Members {
		if o.Service.Known() && o.Service.Value.State == ServiceRunning {
			o.Service.Value.UpSeconds = max(o.Service.Value.UpSeconds, 3600)
		}
		rev = max(rev, o.Client.Revision)
		obs.Members[name] = o
	}
	obs.KV = Known(KVComparison{Revision: rev, Equal: true})
	// It is the file that was last applied.
	for _, m := range in.Cluster.Members {
		obs.JournalMembers = append(obs.JournalMembers, m.Name)
		obs.JournalPlaces = append(obs.JournalPlaces, PlaceOf(in.Cluster, m))
		if id := obs.Members[m.Name].Client.ClusterID; id != "" {
			obs.JournalClusterID = id
		}
	}
	return obs
}

// SeenThrough gives what the file next would see of a cluster that stands as obs
// says, which was observed through the file was: a member is whom an address or a
// directory leads to, whatever its name.
func SeenThrough(was, next *spec.Cluster, obs Observation) Observation {
	out := obs
	out.Members = map[string]MemberObservation{}
	found := map[string]bool{}
	for _, m := range next.Members {
		o := unborn(next, m)
		at := func(of func(spec.Member) bool) (MemberObservation, bool) {
			for _, x := range was.Members {
				if of(x) {
					found[x.Name] = true
					seen, ok := obs.Members[x.Name]
					return seen, ok
				}
			}
			return MemberObservation{}, false
		}
		if seen, ok := at(func(x spec.Member) bool { return samePlace(was, next, x, m) }); ok {
			o.Data, o.Service = seen.Data, seen.Service
			if e := seen.Client; e.Reach == ReachServing && !meet(e.URL, m.ClientURLs, was, seen) {
				e.Advertised = true
				o.Client = e
			}
		}
		if seen, ok := at(func(x spec.Member) bool { return overlap(x.ClientURLs, m.ClientURLs) }); ok {
			o.Client = seen.Client
			o.Client.URL = first(m.ClientURLs)
		}
		if seen, ok := at(func(x spec.Member) bool { return overlap(x.PeerURLs, m.PeerURLs) }); ok {
			o.Peer = seen.Peer
			o.Peer.URL = first(m.PeerURLs)
		}
		out.Members[m.Name] = o
	}
	for _, x := range was.Members {
		seen := obs.Members[x.Name]
		if found[x.Name] || seen.Client.MemberID == "" {
			continue
		}
		i := slices.IndexFunc(seen.Client.Members.Value, func(l ListedMember) bool { return l.ID == seen.Client.MemberID })
		if i < 0 {
			continue
		}
		out.Others = append(out.Others, OtherMember{ListedMember: seen.Client.Members.Value[i], Client: seen.Client, Peer: seen.Peer})
	}
	return out
}

// meet reports whether one of urls leads to the member that was seen at url.
func meet(url string, urls []string, was *spec.Cluster, seen MemberObservation) bool {
	for _, x := range was.Members {
		if seen.Data.Known() && x.DataDir == seen.Data.Value.Path {
			return overlap(x.ClientURLs, urls)
		}
	}
	return slices.Contains(urls, url)
}

// samePlace reports whether both members have one directory on one machine.
func samePlace(a, b *spec.Cluster, x, y spec.Member) bool {
	ha, _ := a.Host(x.Host)
	hb, _ := b.Host(y.Host)
	return x.DataDir == y.DataDir && ha.Access == hb.Access && ha.Address == hb.Address
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
