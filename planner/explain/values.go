package explain

import (
	"strings"

	"github.com/requorum/requorum/planner"
)

// EtcdVersion is the etcd that the texts are true of, and that the sources are in,
// with its raft and bbolt.
const (
	EtcdVersion  = "3.7.3"
	RaftVersion  = "3.7.0"
	BboltVersion = "1.5.0"
)

// Setting is the value that a placeholder has in a step of a plan.
type Setting struct {
	Member string `json:"member"`
	Name   string `json:"name"`
	Value  string `json:"value"`
}

// Values gives what a step's action sets the placeholders of its topic to, member
// by member. Placeholders whose values are known only when it is carried out (the
// ID of a member that is yet to be added, say) are not among them.
func Values(a planner.Action) []Setting {
	v := &values{}
	switch a := a.(type) {
	case planner.Claim:
		v.claims(a.Members)
	case planner.Restore:
		v.claims(a.Members)
		v.all(a.Targets(), "SNAPSHOT", a.Snapshot)
	case planner.Trial:
		v.place(a.Place)
		v.set(a.Name, "TOKEN", a.Token)
	case planner.Install:
		for _, m := range a.Members {
			v.place(m.Place)
		}
		v.all(a.Targets(), "TOKEN", a.Token)
	case planner.Start:
		for _, m := range a.Members {
			v.start(m)
		}
	case planner.Adopt:
		for _, m := range a.Members {
			v.start(m.StartMember)
			v.pid(m.Name, m.PID)
		}
	case planner.Stop:
		for _, m := range a.Members {
			v.place(m.Place)
			v.pid(m.Name, m.PID)
		}
	case planner.Update:
		v.listed(a.Name, a.MemberID, a.PeerURLs, a.Endpoints)
	case planner.Add:
		v.listed(a.Name, "", a.PeerURLs, a.Endpoints)
	case planner.Join:
		v.start(a.StartMember)
		v.listed(a.Name, "", a.PeerURLs, a.Endpoints)
	case planner.Promote:
		v.listed(a.Name, "", a.PeerURLs, a.Endpoints)
		v.set(a.Name, "CLIENT_URL", a.ClientURL)
	case planner.MoveLeader:
		v.set(a.To, "CLIENT_URL", a.ToURL)
	case planner.Downgrade:
		v.cluster(a.Members, a.Endpoints)
	case planner.CancelDowngrade:
		v.cluster(a.Members, a.Endpoints)
	case planner.TrimLog:
		for _, p := range a.Members {
			v.place(p)
		}
		v.cluster(a.Targets(), a.Endpoints)
	case planner.Remove:
		v.listed(a.Name, a.MemberID, nil, a.Endpoints)
	case planner.SetAside:
		v.place(a.Place)
	case planner.Save:
		v.listed(a.Name, a.MemberID, nil, []string{a.ClientURL})
		v.set(a.Name, "SNAPSHOT", a.Path)
	case planner.Fence:
		v.fenced(a.Members)
	case planner.Unfence:
		v.fenced(a.Members)
	case planner.Recover:
		v.place(a.Place)
		v.set(a.Name, "MEMBER_ID", a.MemberID)
		v.set(a.Name, "SNAPSHOT", a.Out)
	}
	return v.out
}

type values struct{ out []Setting }

func (v *values) set(member, name, value string) {
	if value != "" {
		v.out = append(v.out, Setting{member, name, value})
	}
}

func (v *values) all(members []string, name, value string) {
	for _, m := range members {
		v.set(m, name, value)
	}
}

func (v *values) place(p planner.Place) {
	v.set(p.Name, "NAME", p.Name)
	v.set(p.Name, "DATA_DIR", p.DataDir)
}

func (v *values) claims(ms []planner.ClaimMember) {
	for _, m := range ms {
		v.place(m.Place)
		v.set(m.Name, "TOKEN", m.Provenance.Token)
		v.set(m.Name, "INITIAL_CLUSTER", m.Provenance.InitialCluster)
		v.set(m.Name, "PEER_URL", peerOf(m.Name, m.Provenance.InitialCluster))
	}
}

func (v *values) fenced(ms []planner.FenceMember) {
	for _, m := range ms {
		v.place(m.Place)
	}
}

// start takes what etcd is started with out of its flags.
func (v *values) start(m planner.StartMember) {
	v.place(m.Place)
	v.set(m.Name, "CLIENT_URL", m.ClientURL)
	for _, arg := range m.Args {
		switch flag, value, _ := strings.Cut(arg, "="); flag {
		case "--initial-advertise-peer-urls":
			v.set(m.Name, "PEER_URL", value)
		case "--initial-cluster":
			v.set(m.Name, "INITIAL_CLUSTER", value)
		case "--initial-cluster-token":
			v.set(m.Name, "TOKEN", value)
		case "--initial-cluster-state":
			v.set(m.Name, "STATE", value)
		}
	}
}

func (v *values) listed(name, id string, peers, endpoints []string) {
	v.set(name, "MEMBER_ID", id)
	v.set(name, "PEER_URL", strings.Join(peers, ","))
	v.set(name, "ENDPOINTS", strings.Join(endpoints, ","))
	if len(endpoints) > 0 {
		v.set(name, "ENDPOINT", endpoints[0])
	}
}

// cluster is for what is asked of all, through any of them.
func (v *values) cluster(members, endpoints []string) {
	if len(members) > 0 {
		v.listed(members[0], "", nil, endpoints)
	}
}

func (v *values) pid(name string, pid int) {
	if pid > 0 {
		v.set(name, "PID", number(pid))
	}
}

func peerOf(name, initialCluster string) string {
	var urls []string
	for _, part := range strings.Split(initialCluster, ",") {
		if n, url, ok := strings.Cut(part, "="); ok && n == name {
			urls = append(urls, url)
		}
	}
	return strings.Join(urls, ",")
}
