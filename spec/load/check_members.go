package load

import (
	"strings"

	"github.com/requorum/requorum/spec"
)

// checkMembers holds what must be true between members.
func (l *loader) checkMembers(members []member, cluster block) {
	l.checkVoters(members, cluster)
	l.checkSharedURLs(members)
	l.checkLoopback(members)
	l.checkSharedListeners(members)
	l.checkSharedDirs(members)
	l.checkSharedUnits(members)
}

func (l *loader) checkVoters(members []member, cluster block) {
	if l.membersIncomplete {
		return // what can't be counted can't be miscounted
	}
	voters := 0
	var learner *member
	for i, m := range members {
		switch {
		case !m.Learner:
			voters++
		case learner != nil:
			l.errorAt(m.learnerAt, "More than one learner", "%s is a learner, and so is %s, at %s. etcd takes one at a time: let the first become a voter (remove learner = true) before adding the next.", m.Name, learner.Name, learner.learnerAt.rng)
		default:
			learner = &members[i]
		}
	}
	switch at := (origin{rng: cluster.rng}); {
	case len(members) == 0:
		l.errorAt(at, "No member", `The cluster has no member. Write member "NAME" { … } for each.`)
	case voters == 0:
		l.errorAt(at, "No voter", "All members are learners; a cluster needs a voter. Remove learner = true from one.")
	case voters%2 == 0:
		l.warnAt(at, "Even number of voters", "%s tolerate %s, no more than %s would, and there is one more that can fail. Take an odd number.", count(voters, "voter"), count((voters-1)/2, "failure"), count(voters-1, "voter"))
	}
}

// checkLoopback holds that members which are not all on one machine have addresses
// that lead to them from elsewhere. A host that is itself reached by a loopback
// address may be a container, whose ports are this machine's.
func (l *loader) checkLoopback(members []member) {
	machines := map[string]bool{}
	for _, m := range members {
		machines[m.machine] = true
	}
	for _, m := range members {
		if isLoopback(m.where.Address) || m.where.Access == "" {
			continue
		}
		for _, e := range m.peers {
			if isLoopback(e.host) && len(machines) > 1 {
				l.errorAt(e.at, "Address of one machine only", "%s is on %s, and other members are elsewhere: there %s leads to their own machine. Write an address by which they reach it.", m.Name, hostLabel(m), e.url)
			}
		}
		for _, e := range m.clients {
			if isLoopback(e.host) && m.where.Access == spec.AccessSSH {
				l.errorAt(e.at, "Address of one machine only", "%s is on %s: here, and for every client elsewhere, %s leads to another machine. Write an address by which it is reached from here.", m.Name, hostLabel(m), e.url)
			}
		}
	}
}

// use is a thing that only one may use, and who does.
type use struct {
	who  string
	what string // "peer URL", "data_dir"
	at   origin
}

// checkSharedURLs holds that every advertised URL leads to one listener.
func (l *loader) checkSharedURLs(members []member) {
	seen := map[string]use{}
	for _, m := range members {
		for _, e := range m.peers {
			l.claim(seen, e, use{m.Name, "peer URL", e.at})
		}
	}
	for _, m := range members {
		for _, e := range m.clients {
			l.claim(seen, e, use{m.Name, "client URL", e.at})
		}
	}
}

func (l *loader) claim(seen map[string]use, e endpoint, u use) {
	first, taken := seen[e.socket()]
	switch {
	case !taken:
		seen[e.socket()] = u
	case first.what == u.what:
		l.errorAt(u.at, "Duplicate "+u.what, "%s is the %s of %s already, at %s. Each member needs its own.", e.url, u.what, first.who, first.at.rng)
	default:
		l.errorAt(u.at, "Client URL equal to a peer URL", "%s is the %s of %s, at %s, and can't serve clients of %s, too. Usual are 2380 for peers and 2379 for clients.", e.url, first.what, first.who, first.at.rng, u.who)
	}
}

// checkSharedListeners holds that no two listeners of one machine want the same
// port. Advertised URLs have had their check: only pairs with a listen_*_urls
// of its own are left.
func (l *loader) checkSharedListeners(members []member) {
	type listener struct {
		use
		endpoint
		machine  string
		explicit bool
	}
	var all []listener
	for _, m := range members {
		for _, set := range []struct {
			what             string
			list, advertised []endpoint
		}{{"listen_peer_urls", m.listenPeers, m.peers}, {"listen_client_urls", m.listenClients, m.clients}} {
			for _, e := range set.list {
				all = append(all, listener{use{m.Name, set.what, e.at}, e, m.machine, len(set.advertised) == 0 || &set.list[0] != &set.advertised[0]})
			}
		}
	}
	byPort := map[string][]listener{}
	for _, a := range all {
		key := a.machine + " " + a.port
		for _, b := range byPort[key] {
			same := a.host == b.host || a.wildcard() || b.wildcard()
			if same && (a.explicit || b.explicit) && (a.who != b.who || a.what != b.what) {
				l.errorAt(a.use.at, "Port in use", "%s of %s is %s, but %s listens on %s already, at %s.", a.what, a.who, a.url, b.who, b.url, b.use.at.rng)
				break
			}
		}
		byPort[key] = append(byPort[key], a)
	}
}

// checkSharedDirs holds that on one machine no member's directory is, or is
// inside, another's.
func (l *loader) checkSharedDirs(members []member) {
	type dir struct {
		use
		path   string
		member member
	}
	perMachine := map[string][]dir{}
	for _, m := range members {
		for _, d := range []dir{
			{use{m.Name, "data_dir", m.dataDir.at}, m.DataDir, m},
			{use{m.Name, "wal_dir", m.walDir.at}, m.WALDir, m},
		} {
			if d.path == "" {
				continue
			}
			for _, other := range perMachine[m.machine] {
				if !inside(d.path, other.path) && !inside(other.path, d.path) {
					continue
				}
				if d.path == other.path && d.what == "data_dir" && other.what == d.what {
					l.errorAt(d.at, "Shared data directory", "%s is the data_dir of %s on %s already, at %s. Each member needs its own.", d.path, other.who, hostLabel(m), other.at.rng)
				} else {
					l.errorAt(d.at, "Overlapping directories", "%s of %s, %s, and %s of %s, %s at %s, are one inside the other on %s. requorum moves them aside one by one: keep them apart.", d.what, d.who, d.path, other.what, other.who, other.path, other.at.rng, hostLabel(m))
				}
				break
			}
			perMachine[m.machine] = append(perMachine[m.machine], d)
		}
	}
}

// checkSharedUnits holds that a systemd unit, or a set of commands, starts and
// stops one member only.
func (l *loader) checkSharedUnits(members []member) {
	seen := map[string]member{}
	for _, m := range members {
		s := m.where.Service
		var key string
		switch s.Kind {
		case spec.ServiceSystemd:
			key = m.machine + " unit " + s.Unit
		case spec.ServiceCommand:
			key = m.machine + " command " + strings.Join(s.Start, "\x00")
		default:
			continue
		}
		if first, taken := seen[key]; taken {
			l.errorAt(m.host.at, "Shared service", "%s and %s, at %s, would be started and stopped by the same service on %s. Write a host block for each, with a service of its own.", m.Name, first.Name, first.Pos, hostLabel(m))
			continue
		}
		seen[key] = m
	}
}
