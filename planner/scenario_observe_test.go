package planner_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// tokenBefore is the cluster token of the identity that a scenario begins with.
const tokenBefore = "token-before"

// view makes an observation of the lines of an `observe` block. Whatever they leave
// out is as it is in a cluster that is well: every member of the file serves, m1
// leads, all have one list and the same data.
//
//	etcd 3.6.16            what runs and what would be started; 3.7.3 without it
//	list m1 m2 m3:learner  the cluster's own list; m4:unstarted, m2@10.0.0.9:2380
//	m2 down log=4/1098     a member: a state, then words and settings
//	other m4 serves        a listed member that the file does not have
//	kv unequal m3          or: kv equal, kv unknown "why"
//	snapshot problem=snapshot-damaged "what is wrong"
//	journal m1 m2 m3       the members that were applied from here last
//	journal-id C0          the cluster ID that the journal has
//	process m2 pid=77 data=/other  an etcd on this machine, at no place of the file
//
// scenario_words_test.go has the words of a member.
type view struct {
	file    *spec.Cluster
	cluster string // its ID
	list    []planner.ListedMember
	version string
	lead    string          // who leads, if it can
	alone   map[string]bool // follow nobody, though they serve
	leads   map[string]string
	kv      bool // whether a line told of it
}

func newView(c *spec.Cluster) *view {
	v := &view{file: c, version: "3.7.3", lead: "m1", alone: map[string]bool{}, leads: map[string]string{}}
	for _, m := range c.Members {
		v.list = append(v.list, v.entry(m.Name, nil))
		v.list[len(v.list)-1].Learner = m.Learner
	}
	v.identify()
	return v
}

// members are those of the list as the file would have them.
func (v *view) members() []spec.Member {
	if v == nil {
		return nil
	}
	var out []spec.Member
	for i, l := range v.list {
		out = append(out, spec.Member{Name: nameOr(l.Name, fmt.Sprintf("m%d", i+1)), PeerURLs: l.PeerURLs, Learner: l.Learner})
	}
	return out
}

// identify gives the cluster the ID that follows from its first members.
func (v *view) identify() { v.cluster = planner.ClusterID(v.members(), tokenBefore) }

// entry is mN as it is listed: at 10.0.0.N, unless words say otherwise.
func (v *view) entry(name string, words []string) planner.ListedMember {
	host := "10.0.0." + strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz")
	l := planner.ListedMember{Name: name, PeerURLs: []string{"http://" + host + ":2380"}, ClientURLs: []string{"http://" + host + ":2379"}}
	if n, at, ok := strings.Cut(name, "@"); ok {
		l = v.entry(n, nil)
		l.PeerURLs = []string{"http://" + at}
	} else if m, ok := v.file.Member(name); ok && !strings.HasPrefix(m.PeerURLs[0], "http://10.0.1.") {
		l.PeerURLs, l.ClientURLs = m.PeerURLs, m.ClientURLs
	}
	l.ID = planner.MemberID(l.PeerURLs, tokenBefore)
	for _, w := range words {
		switch w {
		case "learner":
			l.Learner = true
		case "unstarted":
			l.Name, l.ClientURLs = "", nil
		default:
			l.ID = w
		}
	}
	return l
}

// listed reads "m1", "m3:learner", "m4:unstarted", "m2@10.0.0.9:2380".
func (v *view) listed(word string) planner.ListedMember {
	name, rest, _ := strings.Cut(word, "@")
	if rest != "" { // a port follows the first colon
		parts := strings.Split(rest, ":")
		return v.entry(name+"@"+strings.Join(parts[:2], ":"), parts[2:])
	}
	parts := strings.Split(word, ":")
	return v.entry(parts[0], parts[1:])
}

func (v *view) observe(text string) (planner.Observation, error) {
	obs := planner.Observation{Members: map[string]planner.MemberObservation{}}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines { // what the others build on
		words := split(line)
		switch {
		case len(words) == 0:
		case words[0] == "list":
			v.list = nil
			for _, w := range words[1:] {
				v.list = append(v.list, v.listed(w))
			}
			v.identify()
		case words[0] == "etcd":
			v.version = words[1]
		}
	}
	for _, m := range v.file.Members {
		o := v.blank(m)
		if err := v.word(m, &o, "serves", ""); err != nil {
			return obs, err
		}
		obs.Members[m.Name] = o
	}
	if s := v.file.Snapshot; s != nil {
		obs.Snapshot = &planner.SnapshotObservation{
			Source: s.Source, Path: s.Source, Size: 45056, HasHash: true, Version: minorOf(v.version) + ".0",
			SHA256: strings.Repeat("5a", 32), Revision: 1204, Keys: 1000,
		}
	}
	for _, l := range v.list {
		if !v.inFile(l) {
			obs.Others = append(obs.Others, planner.OtherMember{
				ListedMember: l,
				Client:       planner.Endpoint{Reach: planner.ReachRefused}, Peer: planner.PeerEndpoint{Reach: planner.ReachRefused},
			})
		}
	}
	for _, m := range v.file.Members {
		obs.JournalMembers = append(obs.JournalMembers, m.Name)
	}
	obs.KV = planner.Unknown[planner.KVComparison]("not asked")
	return obs, v.change(&obs, text)
}

// inFile reports whether an address of the file leads to a listed member, or the
// place of the same name does.
func (v *view) inFile(l planner.ListedMember) bool {
	return slices.ContainsFunc(v.file.Members, func(m spec.Member) bool {
		return planner.SameURLs(m.PeerURLs, l.PeerURLs) || m.Name == l.Name
	})
}

// change carries the lines out on an observation, and has a leader where there can
// be one.
func (v *view) change(obs *planner.Observation, text string) error {
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := split(line)
		if len(words) == 0 {
			continue
		}
		if err := v.line(obs, words); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	v.settle(obs)
	return nil
}

func (v *view) line(obs *planner.Observation, words []string) error {
	switch first := words[0]; first {
	case "list", "etcd":
		return nil
	case "kv":
		return v.keys(obs, words[1:])
	case "journal":
		obs.JournalMembers = words[1:]
		return nil
	case "journal-id":
		obs.JournalClusterID = v.id(words[1])
		return nil
	case "snapshot":
		return v.snapshot(obs, words[1:])
	case "process":
		return v.process(obs, words[1:])
	case "other":
		return v.other(obs, words[1:])
	default:
		m, ok := v.file.Member(first)
		if !ok {
			return fmt.Errorf("the file has no member %s", first)
		}
		o := obs.Members[first]
		for _, w := range words[1:] {
			word, value, _ := strings.Cut(w, "=")
			if err := v.word(m, &o, word, value); err != nil {
				return err
			}
		}
		obs.Members[first] = o
		return nil
	}
}

// id writes a cluster's ID: C0 is the one that this scenario begins with.
func (v *view) id(word string) string {
	if word == "C0" {
		return v.cluster
	}
	return word
}

func (v *view) keys(obs *planner.Observation, words []string) error {
	v.kv = true
	if words[0] == "unknown" {
		obs.KV = planner.Unknown[planner.KVComparison](words[1])
		return nil
	}
	kv := planner.KVComparison{Revision: 1204, Equal: words[0] == "equal", Hashes: map[string]uint32{}}
	for _, m := range v.file.Members {
		if obs.Members[m.Name].Client.Reach == planner.ReachServing {
			kv.Hashes[m.Name] = 0x5eed
		}
	}
	for i, name := range words[1:] {
		kv.Hashes[name] = 0xbad0 + uint32(i)
	}
	obs.KV = planner.Known(kv)
	return nil
}

func (v *view) snapshot(obs *planner.Observation, words []string) error {
	s := obs.Snapshot
	if s == nil {
		return fmt.Errorf("the file names none")
	}
	for _, w := range words {
		word, value, set := strings.Cut(w, "=")
		switch {
		case word == "problem":
			*s = planner.SnapshotObservation{Source: s.Source, Problem: planner.Code(value)}
		case word == "no-hash":
			s.HasHash = false
		case set:
			var err error
			switch word {
			case "rev":
				_, err = fmt.Sscan(value, &s.Revision)
			case "leases":
				_, err = fmt.Sscan(value, &s.Leases)
			case "alarms":
				_, err = fmt.Sscan(value, &s.Alarms)
			case "version":
				s.Version = value
			case "sha":
				s.SHA256 = strings.Repeat(value, 32)
			default:
				err = fmt.Errorf("a snapshot has no %s", word)
			}
			if err != nil {
				return err
			}
		default:
			s.Detail = w
		}
	}
	return nil
}

func (v *view) process(obs *planner.Observation, words []string) error {
	l := v.listed(words[0])
	f := planner.Foreign{PID: 77, Start: 9, Exe: "/usr/bin/etcd", Settings: map[string]string{
		"name": l.Name, "initial-advertise-peer-urls": l.PeerURLs[0], "data-dir": "/elsewhere",
	}}
	for _, w := range words[1:] {
		word, value, _ := strings.Cut(w, "=")
		f.Settings[word] = value
	}
	obs.Etcds = append(obs.Etcds, f)
	return nil
}

// other is a listed member that the file does not have.
func (v *view) other(obs *planner.Observation, words []string) error {
	l := v.listed(words[0])
	i := slices.IndexFunc(obs.Others, func(o planner.OtherMember) bool { return o.ID == l.ID })
	if i < 0 {
		return fmt.Errorf("%s is not in the list, or is the file's", words[0])
	}
	o := &obs.Others[i]
	l = o.ListedMember
	o.Client.URL, o.Peer.URL = "http://"+words[0]+":2379", l.PeerURLs[0]
	if len(l.ClientURLs) > 0 {
		o.Client.URL = l.ClientURLs[0]
	}
	switch r, known := reaches[words[1]]; {
	case words[1] == "serves":
		o.Client = planner.Endpoint{
			URL: o.Client.URL, Reach: planner.ReachServing, ClusterID: v.cluster, MemberID: l.ID, Version: v.version,
			Learner: l.Learner, Revision: 1204, Members: planner.Known(v.list),
		}
		o.Peer.Reach, o.Peer.ClusterID = planner.ReachServing, v.cluster
	case known:
		o.Client, o.Peer.Reach = planner.Endpoint{URL: o.Client.URL, Reach: r}, r
	default:
		return fmt.Errorf("there is no %s", words[1])
	}
	return nil
}
