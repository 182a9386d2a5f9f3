package load

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/requorum/requorum/spec"
)

var memberSchema = schema("for_each name host peer_urls! client_urls! listen_peer_urls listen_client_urls data_dir! wal_dir learner tls{")

// member is a member block with the places of what checks point at.
type member struct {
	spec.Member
	name, host, dataDir, walDir text
	learnerAt                   origin
	ownTLS                      *ownTLS
	block                       origin
	peers, clients              []endpoint
	listenPeers, listenClients  []endpoint
	where                       spec.Host
	machine                     string // equal for members on one machine
}

// here tells whether the member is on this machine.
func (m member) here() bool { return m.where.Access == spec.AccessLocal }

// members reads all member blocks, each as often as its for_each says.
func (l *loader) members(blocks hcl.Blocks, hosts []host, ctx *hcl.EvalContext) []member {
	var list []member
	first := map[string]text{}
	for _, mb := range blocks {
		instances, ok := l.read(mb, memberSchema, ctx).expand(label(mb))
		l.membersIncomplete = l.membersIncomplete || !ok
		for _, in := range instances {
			m := l.member(in, hosts)
			if f, again := first[m.Name]; again && m.Name != "" {
				l.errorAt(m.name.at, "Duplicate member name", "The member %q is there already, at %s. Each member needs a name of its own.", m.Name, f.at.rng)
				continue
			}
			first[m.Name] = m.name
			list = append(list, m)
		}
	}
	return list
}

func (l *loader) member(in instance, hosts []host) member {
	m := member{name: in.name, block: origin{rng: in.rng, ctx: in.ctx}}
	m.Name = in.name.string
	m.Pos = position(in.rng)
	l.checkName("member", in.name)
	m.host = in.text("host")
	m.Host = m.host.string
	m.where = l.findHost(m.host, hosts)
	m.machine = machine(m.where)

	m.peers, m.clients = in.endpoints("peer_urls"), in.endpoints("client_urls")
	l.checkReachable("peer_urls", m.peers)
	l.checkReachable("client_urls", m.clients)
	m.listenPeers = l.listen(in, "listen_peer_urls", "peer_urls", m.peers)
	m.listenClients = l.listen(in, "listen_client_urls", "client_urls", m.clients)
	m.PeerURLs, m.ClientURLs = urls(m.peers), urls(m.clients)
	m.ListenPeerURLs, m.ListenClientURLs = urls(m.listenPeers), urls(m.listenClients)

	m.dataDir, m.walDir = in.text("data_dir"), in.text("wal_dir")
	if m.where.Access != "" { // else the host is unknown, and what is relative there
		m.DataDir = l.memberDir("data_dir", m.dataDir, m.here())
		m.WALDir = l.memberDir("wal_dir", m.walDir, m.here())
	}
	if m.DataDir != "" && m.WALDir == m.DataDir+"/member/wal" {
		m.WALDir = "" // where etcd has it anyway
	}
	m.Learner, m.learnerAt = in.flag("learner", false), in.at("learner")
	m.ownTLS = l.ownTLS(in.block, m)
	return m
}

// findHost gives the host of a member; one without Access where there is none
// or it can't be told.
func (l *loader) findHost(name text, hosts []host) spec.Host {
	if !name.given() {
		if name.at.expr != nil {
			return spec.Host{} // there, but wrong, or null
		}
		return spec.Host{Access: spec.AccessLocal, Service: spec.Service{Kind: spec.ServiceProcess}}
	}
	var names []string
	for _, h := range hosts {
		if h.Name == name.string {
			return h.Host
		}
		names = append(names, h.Name)
	}
	if !l.hostsIncomplete {
		hint := didYouMean(name.string, names)
		if len(hosts) == 0 {
			hint = fmt.Sprintf(` The file has no host block: write host %q { … }, or leave host out for this machine.`, name.string)
		}
		l.errorAt(name.at, "Unknown host", "There is no host %q.%s", name.string, hint)
	}
	return spec.Host{}
}

// machine tells hosts apart: two host blocks with one address are one machine.
func machine(h spec.Host) string {
	switch h.Access {
	case spec.AccessLocal:
		return string(spec.AccessLocal)
	case spec.AccessManual:
		return string(spec.AccessManual) + " " + h.Address
	case spec.AccessSSH:
	default:
		return "unknown " + h.Name
	}
	// Behind one address, ports and commands lead to different containers.
	return fmt.Sprintf("%s %s %d %q", spec.AccessSSH, h.Address, h.SSH.Port, h.SSH.Command)
}

// checkReachable refuses to advertise an address that only its owner can use.
func (l *loader) checkReachable(name string, list []endpoint) {
	for _, e := range list {
		if e.wildcard() {
			l.errorAt(e.at, "Address to listen on", "%s has %s: others can't connect to %s. Write the member's own address here, and this one in listen_%s.", name, e.url, e.host, name)
		}
	}
}

// listen gives the URLs that etcd binds to: those of attribute name, or else
// the advertised ones, where etcd can bind to them.
func (l *loader) listen(in instance, name, advertised string, fallback []endpoint) []endpoint {
	if in.has(name) {
		list := in.endpoints(name)
		for _, e := range list {
			if !e.bindable() {
				l.errorAt(e.at, "Name to listen on", "%s has %s, but etcd binds only to IP addresses (and localhost). Write the address of the interface, or 0.0.0.0 for all.", name, e.url)
			}
		}
		if list != nil {
			return list
		}
	}
	for _, e := range fallback {
		if !e.bindable() && !in.has(name) {
			l.errorAt(e.at, "Name to listen on", "%s has %s, but etcd binds only to IP addresses (and localhost). Keep it, and add %s = [\"%s://0.0.0.0:%s\"] or with the address of the interface.", advertised, e.url, name, e.scheme, e.port)
		}
	}
	return fallback
}

// memberNames are the names of all members, for suggestions.
func memberNames(members []member) []string {
	var list []string
	for _, m := range members {
		list = append(list, m.Name)
	}
	return list
}

func hasMember(members []member, name string) bool {
	for _, m := range members {
		if m.Name == name {
			return true
		}
	}
	return false
}

// elsewhere names the first member that is not on this machine, or "".
func elsewhere(members []member) string {
	for _, m := range members {
		if m.where.Access != "" && !m.here() {
			return m.Name
		}
	}
	return ""
}

// hostLabel names a member's host in a sentence.
func hostLabel(m member) string {
	if m.Host == "" {
		return "this machine"
	}
	return "host " + strings.TrimSpace(m.Host)
}
